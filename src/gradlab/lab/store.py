"""Arrays and what they are about, in one file that cannot run code, take memory by lying, or change unnoticed.

The file is one of safetensors, so that others can read it. Its only metadata, ``gradlab``, is a JSON text: the format's
version, the kind of file, what it is about, and a SHA-256 over all of that and over every array's name, type, shape and
bytes. A reader declares which arrays must be there, and reads none before the file's header agrees in every point.
"""

import hashlib
import json
import math
import os
import reprlib
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from gradlab.files import read_file, whole_or_not_at_all

FORMAT = 4  # of every file of a run; raised when a reader of the old one could not read the new
TYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "U64": "<u8"}
MAX_ARRAYS = 100_000
MAX_JSON = 10**8  # bytes of a file of JSON
_MAX_HEADER = 16_000_000  # bytes
_MAX_MARKS = 12 * MAX_ARRAYS  # commas and brackets of a header, to which the memory of its parsed JSON is proportional
_MAX_AXES = 8

Declared = Mapping[str, tuple[np.dtype | str, tuple[int | range, ...]]]
"""Type and shape of every array by name; an axis may have a range of lengths."""
Declare = Callable[[dict[str, Any]], Declared]
"""From a file's metadata to the arrays that it must hold; ValueError or KeyError for metadata that cannot be."""


class StoreError(ValueError):
    """A file that cannot be trusted or read; it names the file and the reason."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(str(path), reason)  # so that it can be sent from one process to another
        self.path, self.reason = str(path), reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


# --- one file ------------------------------------------------------------------------------------------------------


def save(path: Path, kind: str, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, and what they are about, whole or not at all.

    Parameters
    ----------
    path : Path
    kind : str
        What the file is: a reader asks for it.
    about : mapping
        Of what JSON can hold.
    arrays : mapping of str to ndarray
        Of the types in `TYPES`.

    Raises
    ------
    OSError
        If it cannot be written. What was there before is still there.
    """
    from safetensors.numpy import save as to_bytes

    if len(arrays) > MAX_ARRAYS:
        raise StoreError(path, f"{len(arrays)} arrays are more than the {MAX_ARRAYS} that a file may hold")
    arrays = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    types = {name: _name_of(array.dtype) for name, array in arrays.items()}
    entries = {name: _Entry(types[name], array.shape, 0, 0) for name, array in arrays.items()}
    parts = {name: array.reshape(-1).view(np.uint8).data for name, array in arrays.items() if array.size}
    metadata = {"format": FORMAT, "kind": kind, "about": about, "sha256": _digest(kind, about, entries, parts)}
    content = to_bytes(arrays, {"gradlab": json.dumps(metadata, allow_nan=False)})
    with whole_or_not_at_all(path) as file:
        file.write(content)


def load(path: Path, kind: str, declare: Declare) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that `save` wrote.

    Parameters
    ----------
    path : Path
    kind : str
        As it was saved.
    declare : callable
        A `Declare`: the arrays must be these and no others.

    Returns
    -------
    about : dict
    arrays : dict of str to ndarray

    Raises
    ------
    StoreError
        If it is not such a file, not of this kind or version, not what was declared, or changed since. Nothing is
        allocated that is larger than the file.
    """
    with _opened(path) as (file, size):
        header, start = _read_header(path, file, size)
        entries, metadata = _entries(path, header, size - start)
        about = _about(path, kind, metadata)
        try:
            declared = declare(about)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise StoreError(path, f"its metadata cannot be: {reason}") from None
        _compare(path, entries, declared)
        content = memoryview(bytearray(size - start))
        if file.readinto(content) != len(content):  # type: ignore[attr-defined]
            raise StoreError(path, "it ends too soon")
    parts = {name: content[entry.begin : entry.end] for name, entry in entries.items()}
    if _digest(kind, about, entries, parts) != metadata.get("sha256"):
        raise StoreError(path, "its checksum does not fit: it was changed, or damaged, after it was written")
    arrays = {name: np.frombuffer(parts[name], TYPES[e.type]).reshape(e.shape) for name, e in entries.items()}
    return about, arrays


class _Entry(NamedTuple):
    """An array as the file's header describes it: type, shape, and where in the rest its bytes are."""

    type: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _name_of(kind: np.dtype | str) -> str:
    kind = np.dtype(kind)
    for name, code in TYPES.items():
        if kind == np.dtype(code):
            return name
    raise TypeError(f"arrays of {kind} are not stored")


def _digest(kind: str, about: Any, entries: Mapping[str, _Entry], parts: Mapping[str, Any]) -> str:
    """Hash all metadata and arrays, in the order of their names."""
    total = hashlib.sha256(json.dumps([FORMAT, kind, about], sort_keys=True).encode())
    for name in sorted(entries):
        total.update(json.dumps([name, entries[name].type, entries[name].shape]).encode())
        total.update(parts.get(name, b""))
    return total.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file, and return its size too; every failure names the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise StoreError(path, "it is not a file")
        with open(path, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from None


def _read_header(path: Path, file: IO[bytes], size: int) -> tuple[Any, int]:
    """Read the header, and return where the rest begins."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > size - 8:
        raise StoreError(path, "it is no file of safetensors, or it was cut off")
    if length > _MAX_HEADER:
        raise StoreError(path, f"its header has {length} bytes; at most {_MAX_HEADER} are read")
    text = file.read(length)
    if sum(map(text.count, (b",", b"[", b"{"))) > _MAX_MARKS:
        raise StoreError(path, "its header lists more than any file that gradlab writes")
    return parse(path, text), 8 + length


def parse(path: Path, text: bytes | str) -> Any:
    """Read JSON in which no key comes twice; raise StoreError, naming the file that it is from, if it is not that."""

    def once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key comes twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise StoreError(path, f"it is not JSON, or not where it should be: {error}") from None


def parse_object(path: Path, text: bytes) -> dict[str, Any]:
    """Read a JSON object; raise StoreError, naming the file that it is from, if it is none."""
    found = parse(path, text)
    if not isinstance(found, dict):
        raise StoreError(path, "it is not a JSON object")
    return found


def read_object(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file; raise StoreError if there is none."""
    try:
        return parse_object(path, read_file(path, MAX_JSON))
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from None


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _entries(path: Path, header: Any, size: int) -> tuple[dict[str, _Entry], dict[str, Any]]:
    """Return the arrays that the header lists, filling the rest of the file without a gap, and the metadata."""
    texts = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if not isinstance(texts, dict) or list(texts) != ["gradlab"] or not isinstance(texts["gradlab"], str):
        raise StoreError(path, "it was not written by gradlab, or is damaged")
    metadata = parse(path, texts["gradlab"])
    if not isinstance(metadata, dict):
        raise StoreError(path, "it was not written by gradlab, or is damaged")
    if len(header) > MAX_ARRAYS:
        raise StoreError(path, f"it lists {len(header)} arrays; at most {MAX_ARRAYS} are read")
    entries = {name: _entry(path, name, entry) for name, entry in header.items()}
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != end:
            raise StoreError(path, f"array {reprlib.repr(name)} does not begin where the one before ends")
        end = entry.end
    if end != size:
        raise StoreError(path, f"its arrays take {end} bytes, but {size} follow its header")
    return entries, metadata


def _entry(path: Path, name: str, listed: Any) -> _Entry:
    """Check the header's entry of one array by itself."""
    try:
        kind, shape, (begin, end) = listed["dtype"], tuple(listed["shape"]), listed["data_offsets"]
        numbers = (*shape, begin, end)
        fine = len(listed) == 3 and kind in TYPES and len(shape) <= _MAX_AXES
        fine = fine and all(type(number) is int and 0 <= number < 2**48 for number in numbers)
        if fine and end - begin == math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
            return _Entry(kind, shape, begin, end)
    except (TypeError, KeyError, ValueError):
        pass
    raise StoreError(path, f"array {reprlib.repr(name)} is described as no array can be")


def _about(path: Path, kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of the kind of file, if it is of the right kind and version."""
    if metadata.get("format") != FORMAT:
        raise StoreError(
            path, f"it is of format {reprlib.repr(metadata.get('format'))}; this version of gradlab reads {FORMAT}"
        )
    if metadata.get("kind") != kind:
        raise StoreError(
            path, f"it is a file of kind {reprlib.repr(metadata.get('kind'))}, where one of kind {kind!r} is expected"
        )
    if metadata.keys() != {"format", "kind", "about", "sha256"} or not isinstance(metadata["about"], dict):
        raise StoreError(path, "it was not written by gradlab, or is damaged")
    return metadata["about"]


def _compare(path: Path, entries: Mapping[str, _Entry], declared: Declared) -> None:
    """Refuse arrays that are not as declared."""
    for name in entries:
        if name not in declared:
            raise StoreError(path, f"it has an array {reprlib.repr(name)}, which does not belong there")
    for name, (kind, shape) in declared.items():
        if name not in entries:
            raise StoreError(path, f"the array {reprlib.repr(name)} is missing")
        found = entries[name]
        fits = len(found.shape) == len(shape) and all(
            size in length if isinstance(length, range) else size == length
            for size, length in zip(found.shape, shape, strict=True)
        )
        if found.type != _name_of(kind) or not fits:
            wanted = ", ".join(f"{n.start} to {n.stop - 1}" if isinstance(n, range) else str(n) for n in shape)
            what = f"{found.type} ({', '.join(map(str, found.shape))})"
            raise StoreError(
                path, f"the array {reprlib.repr(name)} is {what}, where {_name_of(kind)} ({wanted}) belongs"
            )


# --- NumPy's archives ----------------------------------------------------------------------------------------------


def save_archive(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers and texts as a ``.npz``, whole or not at all."""
    with whole_or_not_at_all(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
        archive.comment = _seal(archive)


def load_archive(path: Path) -> dict[str, np.ndarray]:
    """Read a ``.npz`` that `save_archive` wrote; no array may be larger than the file.

    Raises
    ------
    StoreError
        If it is damaged, or no such file.
    """
    with _opened(path) as (file, size):
        try:
            with zipfile.ZipFile(file) as archive:
                if archive.comment != _seal(archive):
                    raise ValueError("its list of arrays is not as it was written")
                return {info.filename.removesuffix(".npy"): _member(archive, info, size) for info in archive.infolist()}
        except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, OverflowError, SyntaxError) as error:
            raise StoreError(path, f"it is no archive of arrays, or damaged: {error}") from None


def _seal(archive: zipfile.ZipFile) -> bytes:
    """Hash the list of what is in an archive: names, sizes and checksums, which are checked when an array is read."""
    listed = [[info.filename, info.file_size, info.CRC] for info in archive.infolist()]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest().encode()


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray:
    """Read one array of an archive."""
    if info.compress_type != zipfile.ZIP_STORED or not info.file_size == info.compress_size <= size:
        raise ValueError(f"{info.filename!r} is not stored as it is")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{info.filename!r} is of another version")
        shape, fortran, kind = np.lib.format.read_array_header_1_0(member)
        count = math.prod(map(int, shape))
        if kind.kind not in "fiuU" or (kind.itemsize == 0 and count):
            raise ValueError(f"{info.filename!r} holds neither numbers nor texts")
        if count * kind.itemsize != info.file_size - member.tell():
            raise ValueError(f"{info.filename!r} has not the size that it claims")
        return np.frombuffer(member.read(), kind).reshape(shape, order="F" if fortran else "C")
