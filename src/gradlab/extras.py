"""The extras of the installation: which of them brings a package that is not there, said in one line."""

from collections.abc import Iterator
from contextlib import contextmanager

BROUGHT_BY = {
    "annotated_types": "lab",
    "distributed": "cluster",
    "filelock": "lab",
    "matplotlib": "lab",
    "numba": "fast",
    "onnx": "onnx",
    "pydantic": "lab",
    "safetensors": "lab",
    "tomli_w": "lab",
    "typer": "cli",
}


@contextmanager
def needed_by(what: str, extra: str = "") -> Iterator[None]:
    """Let a package of an extra that cannot be imported say what needs it, and what to install.

    Parameters
    ----------
    what : str
        The command or function.
    extra : str, optional
        What `what` needs as a whole, in place of the extra that brings the one package.

    Raises
    ------
    ModuleNotFoundError
        With that in its message; for a package of no extra, as it was.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in BROUGHT_BY:
            raise
        extra = extra or BROUGHT_BY[package]
        message = f'{what} needs {package}, which the extra "{extra}" brings: pip install "gradlab[{extra}]"'
        raise MissingExtraError(message, name=error.name) from None


class MissingExtraError(ModuleNotFoundError):
    """A package that an extra brings is not installed."""
