"""What the last bits of a run's numbers depend on besides its configuration."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gradlab
from gradlab.lab.store import FORMAT

LIBRARIES = ("numpy", "scipy", "scikit-learn", "numba", "llvmlite", "matplotlib", "safetensors")


def environment(brief: bool = False) -> dict[str, Any]:
    """Return the versions of gradlab and its files, and unless `brief` those of everything else, as plain texts."""
    about: dict[str, Any] = {"format": FORMAT, "gradlab": gradlab.__version__}
    if brief:
        return about
    about |= {"commit": _commit(), "python": platform.python_version(), "platform": platform.platform()}
    about |= {"processor": platform.machine()} | {name: _version(name) for name in LIBRARIES}
    return about | {"blas": _blas()}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _blas() -> list[dict[str, Any]]:
    """Describe the BLAS that NumPy uses, whatever else is loaded; one version differs between processors."""
    from threadpoolctl import threadpool_info

    libraries = [info for info in threadpool_info() if info.get("user_api") == "blas"]
    own = [info for info in libraries if "numpy" in info.get("filepath", "")] or libraries
    wanted = ("internal_api", "version", "architecture", "threading_layer")
    return [{key: info.get(key) for key in wanted} for info in own]


def _commit() -> str | None:
    """Return the commit that gradlab's source is at, with ``-dirty`` if changed since; None outside its repository."""
    source = Path(gradlab.__file__)
    git = ["git", "-C", str(source.parent)]
    try:
        for arguments in (
            ["ls-files", "--error-unmatch", source.name],
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            done = subprocess.run([*git, *arguments], capture_output=True, text=True, timeout=5.0, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
