"""A file is written whole, or not at all; and whoever cannot write says which file it was."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when everything is in it and on the disk.

    A link is followed. What is there but no file, such as a pipe, is written to directly.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with naming(path), open(path, "wb") as file:
            yield file
        return
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    try:
        with naming(path, temporary):
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def read_file(path: Path, most: int) -> bytes:
    """Return what is in a file of at most so many bytes; OSError for what is no file, or is larger."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a file", str(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"it has {found.st_size} bytes; at most {most} are read", str(path))
    with open(path, "rb") as file:
        return file.read(most)


@contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an error of the operating system name the file: those of writing do not by themselves."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary), temporary):
            error.filename = str(path)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder; none may be writing there now."""
    for path in folder.iterdir():
        if re.fullmatch(r"\..+\.\d+", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have a new name on the disk too; not every system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
