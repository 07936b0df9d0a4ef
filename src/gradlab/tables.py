"""A table of your own: a CSV with one column of two classes and numbers in all others, or words that say why not."""

import csv
import difflib
import math
import re
import reprlib
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from gradlab.nn.checks import not_one_of

MOST_BYTES = 10**9
MOST_ROWS = 10**6
MOST_COLUMNS = 10**5
_LONGEST_LINE = 10**7  # characters
_LARGEST = 1e100  # squares of numbers up to here, and sums of many squares, are finite
_MISSING = {"", "nan", "na", "n/a", "null", "none", "?"}
_MOST_CLASSES_SHOWN = 5
_MOST_NAMES_SHOWN = 20


class Table(NamedTuple):
    """A data set before it is split: x (n, d), y (n,) of 0 and 1, the names of the features and of the classes."""

    x: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    classes: tuple[str, str]


@dataclass(slots=True)
class _Class:
    """A class of a CSV: what identifies it, its text and line where first met, its code, and how many rows it has."""

    label: Decimal | str
    text: str
    line: int
    code: int
    n_rows: int = 0


def read_csv(path: str, target: str) -> Table:
    """Read a table with a header, one column of two classes, and numbers in all others.

    Spaces around names and values do not count. Labels that are equal as numbers, as 1 and 1.0, are one class. The
    classes are in the order of their numbers, else of their text.
    """
    numbers, codes = array("d"), array("b")
    found: dict[Decimal | str, _Class] = {}
    with _opened_table(path, target) as (columns, rows):
        place = columns.index(target)
        for line, row in rows:
            label, features = _values(path, line, columns, row, place)
            if label not in found:
                found[label] = _Class(label, row[place].strip(), line, len(found))
            found[label].n_rows += 1
            codes.append(found[label].code)
            numbers.extend(features)
            if len(found) > _MOST_CLASSES_SHOWN:
                break
    first, second = _two_classes(path, target, list(found.values()))
    return Table(
        np.frombuffer(numbers).reshape(len(codes), -1),
        np.frombuffer(codes, np.int8) == second.code,
        tuple(column for column in columns if column != target),
        (first.text, second.text),
    )


def count_csv(path: str, target: str) -> tuple[int, int]:
    """Count the rows and the features of a CSV."""
    with _opened_table(path, target) as (columns, rows):
        return sum(1 for _ in rows), len(columns) - 1


def read_features(path: str, names: Sequence[str]) -> np.ndarray:
    """Read the columns of a CSV that have these names, and no others, in this order: numbers (n, d).

    Raises
    ------
    ValueError
        Naming the file, and where and what is wrong; for columns that are missing, or too many, naming them.
    """
    numbers = array("d")
    with _opened(path) as file:
        columns, rows = _header(path, file, lambda columns: _check_same(path, names, columns))
        places = [columns.index(name) for name in names]
        for line, row in _body(path, rows, len(columns)):
            for place in places:
                try:
                    numbers.append(_number(row[place]))
                except ValueError as error:
                    raise _fault(path, f"{error}", line, columns[place]) from None
    return np.frombuffer(numbers).reshape(-1, len(names))


def _fault(path: str, what: str, line: int | None = None, column: str | None = None, key: str = "path") -> ValueError:
    """Make the error that says where in a file something is wrong."""
    where = "" if line is None else f", line {line}"
    where += "" if column is None else f", column {column!r}"
    return ValueError(f"{key}: {path}{where}: {what}")


@contextmanager
def _opened_table(path: str, target: str) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """Open a CSV file: the names of its columns, and its rows, each with the line that it begins on."""
    with _opened(path) as file:
        columns, rows = _header(path, file, lambda columns: _check_target(path, target, columns))
        yield columns, _body(path, rows, len(columns))


def _header(
    path: str, file: TextIO, check: Callable[[list[str]], None]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read the names of the columns; return them, and the rows that follow, each with the line that it begins on."""
    lines = _lines(path, file)
    first = next(lines, "")
    rows = _rows(path, chain([first], lines))
    try:
        columns = _columns(path, first, next(rows)[1])
        check(columns)
    except ValueError as error:
        raise ValueError(f"{error}{_separator_hint(first)}") from None
    return columns, rows


def _check_target(path: str, target: str, columns: list[str]) -> None:
    """Refuse a table without the column of the classes, or with nothing else."""
    if target not in columns:
        raise _fault(path, not_one_of(target, _nearest(target, columns)), 1, key="target")
    if len(columns) == 1:
        raise _fault(path, "there is no other column; at least one feature is needed", 1, target)


def _check_same(path: str, names: Sequence[str], columns: list[str]) -> None:
    """Refuse a table with other columns than these, in whatever order."""
    wanted, given, faults = set(names), set(columns), []
    for fault, these in (
        ("the trained network needs", [name for name in names if name not in given]),
        ("the trained network does not know", [name for name in columns if name not in wanted]),
    ):
        if these:
            shown = ", ".join(map(reprlib.repr, these[:_MOST_NAMES_SHOWN])) + ", …" * (len(these) > _MOST_NAMES_SHOWN)
            faults.append(f"{fault} {'a column' if len(these) == 1 else f'{len(these)} columns'}: {shown}")
    if faults:
        raise _fault(path, "; ".join(faults), 1)


def _opened(path: str) -> TextIO:
    """Open a file of bearable size; bytes that are not UTF-8 become lone surrogates, for `_lines` to find."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            raise _fault(path, f"it is {kind}; a file is expected")
        if status.st_size > MOST_BYTES:
            raise _fault(path, f"it has {status.st_size} bytes; at most {MOST_BYTES} are read")
        return open(path, encoding="utf-8-sig", errors="surrogateescape", newline="")
    except OSError as error:
        raise _fault(path, f"it cannot be read: {error.strerror}") from None


def _lines(path: str, file: TextIO) -> Iterator[str]:
    """Yield the lines of a file, as long as they are text."""
    for number, line in enumerate(iter(partial(file.readline, _LONGEST_LINE), ""), 1):
        if len(line) == _LONGEST_LINE:
            raise _fault(path, f"it has {_LONGEST_LINE} characters or more; a row must be shorter", number)
        if not line.isascii() and (byte := re.search("[\udc80-\udcff]", line)):
            raise _fault(path, f"byte 0x{ord(byte[0]) - 0xDC00:02x} is not UTF-8; only text in UTF-8 is read", number)
        if "\0" in line:
            raise _fault(path, "it holds a NUL byte; only text is read", number)
        yield line


def _rows(path: str, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a file, the header too, each with the line that it begins on."""
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise _fault(path, f"it is not CSV: {error}", line) from None


def _columns(path: str, first: str, header: list[str]) -> list[str]:
    """Return the names of the columns, once they are all right."""
    if not first:
        raise _fault(path, "the file is empty; a header and rows are expected")
    if _is_blank(header):
        raise _fault(path, "it is blank; a header is expected", 1)
    if len(header) > MOST_COLUMNS:
        raise _fault(path, f"it has {len(header)} columns; at most {MOST_COLUMNS} are read", 1)
    columns = [name.strip() for name in header]
    first_with: dict[str, int] = {}
    for number, name in enumerate(columns, 1):
        if not name:
            raise _fault(path, f"column {number} of {len(columns)} has no name; every column needs one", 1)
        if (before := first_with.setdefault(name, number)) < number:
            raise _fault(path, f"columns {before} and {number} have the same name; each needs its own", 1, name)
    return columns


def _nearest(target: str, columns: list[str]) -> list[str]:
    """Return the columns to show to whoever asked for `target`: all, or of many those with names most like it."""
    if len(columns) <= _MOST_NAMES_SHOWN:
        return columns
    nearest = difflib.get_close_matches(target, columns, _MOST_NAMES_SHOWN, cutoff=0.0)
    return [*nearest, f"… ({len(columns)} in all)"]


def _separator_hint(header: str) -> str:
    """Say so if a header looks as if something else than commas separated it."""
    for separator, name in ((";", "';'"), ("\t", "tabs")):
        if header.count(separator) > header.count(","):
            return f"; the file seems to be separated by {name}; commas are expected"
    return ""


def _body(path: str, rows: Iterable[tuple[int, list[str]]], n_columns: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, as long as all have the same fields; blank lines may only end the file."""
    blank = n_rows = 0
    for line, row in rows:
        if _is_blank(row):
            blank = blank or line
            continue
        if blank:
            raise _fault(path, "it is blank; only the end of the file may be", blank)
        if len(row) != n_columns:
            raise _fault(path, f"it has {len(row)} fields; the header has {n_columns}", line)
        n_rows += 1
        if n_rows > MOST_ROWS:
            raise _fault(path, f"at most {MOST_ROWS} rows are read", line)
        yield line, row
    if not n_rows:
        raise _fault(path, "nothing follows the header; rows are expected", 1)


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _values(path: str, line: int, columns: list[str], row: list[str], place: int) -> tuple[Decimal | str, list[float]]:
    """Return the label of a row, which stands at `place`, and its features."""
    column = columns[place]
    features = []
    try:
        label = _label(row[place])
        for i, text in enumerate(row):
            if i != place:
                column = columns[i]
                features.append(_number(text))
    except ValueError as error:
        raise _fault(path, f"{error}", line, column) from None
    return label, features


def _number(text: str) -> float:
    """Return the number that a field holds; raise ValueError saying what it holds otherwise."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if abs(number) <= _LARGEST and "_" not in text:  # Python reads 1_000 as a number; a table hardly means it
        return number
    _refuse_missing(text)
    raise ValueError(
        f"{reprlib.repr(text)} is not a finite number from {-_LARGEST:g} to {_LARGEST:g}; "
        "every column but the target holds numbers"
    )


def _label(text: str) -> Decimal | str:
    """Return what identifies the class of a label: its exact number if it is one, else its text."""
    _refuse_missing(text)
    text = text.strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    return number if number.is_finite() and "_" not in text else text


def _refuse_missing(text: str) -> None:
    if text.strip().lower() in _MISSING:
        raise ValueError(f"{text!r} is a missing value; every field must be filled")


def _two_classes(path: str, target: str, found: list[_Class]) -> list[_Class]:
    """Return the two classes in order; raise ValueError unless there are two, of two rows or more."""
    if len(found) != 2:
        shown = [f"{reprlib.repr(each.text)} (line {each.line})" for each in found[:_MOST_CLASSES_SHOWN]]
        listed = ", ".join(shown + ["…"] * (len(found) > len(shown)))
        raise _fault(path, f"exactly 2 classes are needed, but it holds {listed}", column=target)
    for each in found:
        if each.n_rows < 2:
            what = f"{reprlib.repr(each.text)} has one row; each class needs at least 2, to be in both parts"
            raise _fault(path, what, each.line, target)
    both_numeric = all(isinstance(each.label, Decimal) for each in found)
    return sorted(found, key=lambda each: each.label if both_numeric else each.text)
