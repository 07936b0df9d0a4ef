"""The interpreter is compiled once per float width, and kept in a folder that nobody else can write."""

from __future__ import annotations

import os
import stat
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = 20  # that a compilation takes, as it is announced
LOCK = "interpreter.lock"  # of the one process that reads or writes the cache


class NoCacheError(OSError):
    """There is no folder for what would be compiled."""


def folder() -> Path:
    """Return where compiled code is kept: the package's ``__pycache__``, or a folder of the user's own.

    Raises
    ------
    NoCacheError
        If neither can be written, or somebody else could write to the second.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        if not _is_writable(Path(chosen)):
            raise NoCacheError(f"NUMBA_CACHE_DIR: {chosen} cannot be written")
        return Path(chosen)
    beside = Path(__file__).parent / "__pycache__"
    if _is_writable(beside):
        return beside
    try:
        own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradlab"
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # there may be no home
        raise NoCacheError(f"{beside} cannot be written, and there is no folder of the user's own: {error}") from None
    about = own.stat()
    if os.name == "posix" and (about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077):
        raise NoCacheError(f"{own} is not a folder of this user's alone; chmod 700 makes it one")
    if not _is_writable(own):
        raise NoCacheError(f"neither {beside} nor {own} can be written")
    return own


def _is_writable(path: Path) -> bool:
    """Whether a file can be made in a folder, which is made if need be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)


@lru_cache(maxsize=2)
def load(dtype: np.dtype) -> Any:
    """Return the module `interpreter`, compiled for a float width; a line on standard error says if it was not yet."""
    interpreter = _imported()
    from filelock import FileLock
    from numba.core import event

    # Numba numbers its files by those that it sees: of two processes that compile two widths at once, each could find
    # the other's code under its own width. The listener hears nothing if the cache has the code.
    with FileLock(folder() / LOCK), event.install_listener("numba:compile", _announcer(dtype)):
        _compile(interpreter, dtype)
    return interpreter


def _imported() -> Any:
    """Import the interpreter, whose functions take their folder then."""
    import numba

    before, chosen = numba.config.CACHE_DIR, folder()
    if chosen != Path(__file__).parent / "__pycache__":  # where Numba looks first
        numba.config.CACHE_DIR = str(chosen)
    try:
        from gradlab.training.engines import interpreter
    finally:
        numba.config.CACHE_DIR = before
    return interpreter


def _announcer(dtype: np.dtype) -> Any:
    """Return a listener that says once that something is being compiled."""
    from numba.core import event

    class Announcer(event.Listener):  # type: ignore[misc]
        def __init__(self) -> None:
            self._is_new = True

        def on_start(self, event: Any) -> None:
            if self._is_new:
                text = f"gradlab: compiling the engine for {dtype}, once: about {SECONDS} seconds"
                print(text, file=sys.stderr, flush=True)
                self._is_new = False

        def on_end(self, event: Any) -> None:
            return

    return Announcer()


def _compile(vm: Any, dtype: np.dtype) -> None:
    """Call the interpreter's entry points on a network of one weight."""
    program = np.zeros((1, 11), np.int64)
    program[0, [vm.N_IN, vm.N_OUT, vm.Y, vm.DY]] = 1
    settings, row, none, stop = (
        np.zeros((1, 2), dtype),
        np.zeros((1, 1), dtype),
        np.zeros(0, dtype),
        np.zeros(1, np.uint8),
    )
    rows = vm.Rows(row, row.copy(), none, row.copy(), 1)
    buffers = vm.Buffers(np.zeros(2, dtype), np.zeros(2, dtype), np.zeros(1, dtype))
    vectors = vm.Vectors(*(np.zeros(2, dtype) for _ in range(7)), np.zeros(0, dtype))
    method = vm.Method(vm.BINARY_CROSS_ENTROPY, vm.SGD, np.zeros(5), np.zeros(4))
    flags = np.zeros(1, np.uint8), np.zeros(6, np.uint8)
    records = vm.Records(*flags, np.zeros((0, 4), np.int64), np.zeros((0, 6, 0)), none)
    generator = np.random.default_rng(0)
    vm.train_batches(
        program, settings, rows, 1, 0, 1, buffers, vectors, method, np.zeros(1), 0, generator, stop, records
    )
    vm.predict_rows(program, settings, row, row.copy(), 1, np.zeros(2, dtype), none, np.zeros(2, dtype), none, stop)
