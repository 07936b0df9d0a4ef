"""The command itself: its exit codes, and how mistakes end it."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

DONE, FAILED, USAGE, CLAIM_FAILED, INTERRUPTED = 0, 1, 2, 3, 130  # exit codes

app = typer.Typer(
    help="Train small networks, and see where the gradient goes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run_app() -> None:
    """Run the command line; exit with its code."""
    try:
        app()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # the reader of our output went away, which is no mistake
            print(f"gradlab: {reason_of(error)}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more can be written there
        sys.exit(FAILED)


def reason_of(error: OSError) -> str:
    """Say which file it was, and what went wrong with it."""
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)


def _version(wanted: bool) -> None:
    if wanted:
        from gradlab import __version__

        print(f"gradlab {__version__}")
        raise typer.Exit


@app.callback()
def _gradlab(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Train small networks, and see where the gradient goes."""


@contextmanager
def mistakes_named() -> Iterator[None]:
    """Exit with 2 and a line for each mistake in the configuration, 1 for a file at fault, and 130 if interrupted."""
    from gradlab.lab.errors import ConfigError
    from gradlab.lab.store import StoreError

    try:
        yield
    except ConfigError as error:
        for line in error.problems:
            print(f"gradlab: {line}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    except StoreError as error:
        print(f"gradlab: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except MemoryError as error:
        print(f"gradlab: not enough memory: {str(error) or 'for what is asked for'}", file=sys.stderr)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        print("gradlab: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def print_in_utf_8(text: str) -> None:
    """Print what says of itself that it is UTF-8; σ has no place in some other encodings."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text)
