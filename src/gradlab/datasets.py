"""Scikit-learn's data sets and a CSV of your own, as two classes, split and standardised.

What a data set is called, which options it takes and how large it will be is known without importing scikit-learn,
which takes a second; that waits for the first `load`.
"""

import csv
import difflib
import math
import os
import re
import reprlib
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import chain
from numbers import Real
from typing import Any, NamedTuple, TextIO

import numpy as np

from gradlab.nn.checks import lookup, not_one_of, real, whole


class Table(NamedTuple):
    """A data set before it is split: x (n, d), y (n,) of 0 and 1, the names of the features and of the classes."""

    x: np.ndarray
    y: np.ndarray
    feature_names: tuple[str, ...]
    classes: tuple[str, str]


@dataclass(frozen=True)
class Option:
    """An option of a data set.

    Attributes
    ----------
    default : object
        None if the option must be given.
    check : callable
        ``check(key, value)`` returns the value to use, or raises ValueError naming the key.
    """

    default: Any
    check: Callable[[str, Any], Any] = field(repr=False)


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a data set before it is loaded.

    Attributes
    ----------
    description : str
        One line.
    options : mapping of str to Option
    shape : callable
        From all options to (samples, features).
    table : callable
        From a seed and all options to a `Table`.
    """

    description: str
    options: Mapping[str, Option]
    shape: Callable[..., tuple[int, int]] = field(repr=False)
    table: Callable[..., Table] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Two classes to tell apart, in a part to train on and a part to test on.

    Attributes
    ----------
    name : str
        One of `DATASETS`.
    x_train, x_test, x_valid : ndarray (n, d)
        float64, standardised by ``mean`` and ``scale``. The last has no rows unless a part was kept for validation.
    y_train, y_test, y_valid : ndarray (n,)
        float64, 0 or 1.
    feature_names : tuple of str
        One for each of the d columns.
    classes : tuple of str
        What 0 and what 1 means.
    mean, scale : ndarray (d,)
        Mean and standard deviation of the training part as it was: ``x_train * scale + mean`` restores it. The
        scale of a column that is constant there is 1.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    feature_names: tuple[str, ...]
    classes: tuple[str, str]
    mean: np.ndarray
    scale: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray


def load(
    name: str, *, test_fraction: float = 0.25, validation_fraction: float = 0.0, seed: int = 0, **options: Any
) -> Dataset:
    """Load or generate a data set, split it, and standardise all parts by the training part alone.

    Parameters
    ----------
    name : str
        One of `DATASETS`.
    test_fraction : float
        Above 0 and below 1. Each part gets its share of each class, and holds at least one sample of it.
    validation_fraction : float
        Share of the training part that is kept for validation instead; below 1, and 0 for none.
    seed : int
        Of the generator, if there is one, and of the split; from 0 to 2³² − 1.
    **options
        Those that ``DATASETS[name].options`` lists.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Beginning with the key at fault: ``name``, ``test_fraction``, ``validation_fraction``, ``seed``, or an option.
    """
    checked = check_options(name, options)
    test_fraction = _fraction("test_fraction", test_fraction)
    if validation_fraction != 0.0:
        validation_fraction = _fraction("validation_fraction", validation_fraction)
    seed = _whole(0, 2**32 - 1)("seed", seed)
    table = DATASETS[name].table(seed, **checked)
    x, y = np.asarray(table.x, dtype=np.float64), np.asarray(table.y, dtype=np.float64)
    x_train, x_test, y_train, y_test = _split(x, y, table.classes, "test_fraction", test_fraction, seed)
    x_valid, y_valid = x_train[:0], y_train[:0]
    if validation_fraction:
        x_train, x_valid, y_train, y_valid = _split(
            x_train, y_train, table.classes, "validation_fraction", validation_fraction, seed
        )
    mean, scale = _mean_and_scale(x_train)
    for part in (x_train, x_test, x_valid):
        part -= mean
        part /= scale
    return Dataset(
        name, x_train, y_train, x_test, y_test, table.feature_names, table.classes, mean, scale, x_valid, y_valid
    )


def shape(name: str, **options: Any) -> tuple[int, int]:
    """Tell how large a data set is, both parts together, without loading it; a CSV is read through and not kept.

    Returns
    -------
    samples, features : int

    Raises
    ------
    ValueError
        Beginning with the key at fault: ``name`` or an option.
    """
    checked = check_options(name, options)
    return DATASETS[name].shape(**checked)


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a data set, checked, with defaults for those not given.

    Raises
    ------
    ValueError
        Beginning with the key at fault: ``name``, or an option that is unknown, missing or has a value out of range.
    """
    known = lookup("name", name, DATASETS).options
    for key in options:
        if key not in known:
            why = f"not an option of {name}: {not_one_of(key, known)}" if known else f"{name} takes no options"
            raise ValueError(f"{key}: {why}")
    for key, option in known.items():
        if option.default is None and key not in options:
            raise ValueError(f"{key}: not given; {name} needs {' and '.join(known)}")
    return {key: option.check(key, options.get(key, option.default)) for key, option in known.items()}


# --- split and standardise -------------------------------------------------------------------------------------------


def _split(
    x: np.ndarray, y: np.ndarray, classes: tuple[str, str], key: str, fraction: float, seed: int
) -> list[np.ndarray]:
    """Return new arrays of x's rest and x's fraction, then of y's, the classes shared as equally as they can be."""
    from sklearn.model_selection import train_test_split

    try:
        parts = train_test_split(x, y, test_size=fraction, random_state=seed, stratify=y)
    except ValueError:  # fewer samples in a part, or in a class, than two
        parts = [x, x, y[:0], y]
    if any(np.unique(y_part).size < 2 for y_part in parts[2:]):
        counts = " and ".join(f"{np.sum(y == i)} of {name!r}" for i, name in enumerate(classes))
        raise ValueError(
            f"{key}: {fraction:g} of {len(y)} samples, {counts}, does not leave both classes in "
            "both parts; it must give each part at least one sample of each class"
        )
    return parts


def _mean_and_scale(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (d,) of the columns of x (n, d), the latter 1 where a column is constant.

    Whether it is constant is asked of its values: the mean of many 0.1 is rounded, and differs from each of them.
    """
    constant = np.ptp(x, axis=0) == 0.0
    mean, std = np.where(constant, x[0], x.mean(axis=0)), x.std(axis=0)
    return mean, np.where(constant | (std == 0.0), 1.0, std)  # a spread below 1e-162 has a square of 0


# --- what options may be ---------------------------------------------------------------------------------------------


def _whole(least: int, most: int) -> Callable[[str, Any], int]:
    """Make a check for whole numbers from `least` to `most`."""

    def check(key: str, value: Any) -> int:
        if whole(key, value, least) > most:
            raise ValueError(f"{key}: {value!r} is not a whole number of at most {most}")
        return int(value)

    return check


def _spread(key: str, value: Any) -> float:
    """Check a standard deviation or a distance."""
    return real(key, value, 0.0, 1e6)


def _fraction(key: str, value: Any) -> float:
    """Check a number above 0 and below 1."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0.0 < value < 1.0:
        raise ValueError(f"{key}: {value!r} is not a number above 0 and below 1")
    return float(value)


def _chosen(most: int, least_many: int, most_many: int) -> Callable[[str, Any], list[int]]:
    """Make a check for a list of different whole numbers from 0 to `most`, in the order given."""
    many = f"{least_many}" if least_many == most_many else f"{least_many} to {most_many}"

    def check(key: str, value: Any) -> list[int]:
        try:
            if not isinstance(value, Sequence) or isinstance(value, str):
                raise ValueError
            chosen = [_whole(0, most)(key, item) for item in value]
            if not least_many <= len(set(chosen)) == len(chosen) <= most_many:
                raise ValueError
        except ValueError:
            raise ValueError(f"{key}: {value!r} is not a list of {many} different numbers from 0 to {most}") from None
        return chosen

    return check


def _path(key: str, value: Any) -> str:
    """Check the name of a file; whether it exists is found when it is opened."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else ""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{key}: {value!r} is not the name of a file")
    return text


def _column_name(key: str, value: Any) -> str:
    """Check the name of a column; whether it exists is found when the file is opened."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}: {value!r} is not the name of a column")
    return value.strip()


# --- scikit-learn's data sets ----------------------------------------------------------------------------------------


def _numbered(x: np.ndarray) -> tuple[str, ...]:
    """Name the columns of x (n, d) by number: x0, x1 and so on."""
    return tuple(f"x{i}" for i in range(x.shape[1]))


def _moons(seed: int, n_samples: int, noise: float) -> Table:
    from sklearn.datasets import make_moons

    x, y = make_moons(n_samples, noise=noise, random_state=seed)
    return Table(x, y, _numbered(x), ("upper", "lower"))


def _circles(seed: int, n_samples: int, noise: float, factor: float) -> Table:
    from sklearn.datasets import make_circles

    x, y = make_circles(n_samples, noise=noise, factor=factor, random_state=seed)
    return Table(x, y, _numbered(x), ("outer", "inner"))


def _blobs(seed: int, n_samples: int, cluster_std: float, n_features: int) -> Table:
    from sklearn.datasets import make_blobs

    x, y = make_blobs(n_samples, n_features, centers=2, cluster_std=cluster_std, random_state=seed)
    return Table(x, y, _numbered(x), ("blob 0", "blob 1"))


def _classification(seed: int, n_samples: int, n_features: int, class_sep: float) -> Table:
    from sklearn.datasets import make_classification

    x, y = make_classification(
        n_samples, n_features, n_redundant=min(2, n_features - 2), class_sep=class_sep, random_state=seed
    )
    return Table(x, y, _numbered(x), ("class 0", "class 1"))


def _gaussian_quantiles(seed: int, n_samples: int, n_features: int) -> Table:
    from sklearn.datasets import make_gaussian_quantiles

    x, y = make_gaussian_quantiles(n_samples=n_samples, n_features=n_features, n_classes=2, random_state=seed)
    return Table(x, y, _numbered(x), ("inner", "outer"))


def _hastie(seed: int, n_samples: int) -> Table:
    from sklearn.datasets import make_hastie_10_2

    x, y = make_hastie_10_2(n_samples, random_state=seed)
    return Table(x, y > 0.0, _numbered(x), ("inner", "outer"))


def _breast_cancer(seed: int) -> Table:
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    malignant, benign = map(str, bunch.target_names)
    return Table(bunch.data, bunch.target, tuple(map(str, bunch.feature_names)), (malignant, benign))


def _digits(seed: int, positive: list[int]) -> Table:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    negative = ", ".join(str(digit) for digit in range(10) if digit not in positive)
    classes = (negative, ", ".join(map(str, positive)))
    return Table(bunch.data, np.isin(bunch.target, positive), tuple(bunch.feature_names), classes)


def _iris(seed: int, classes: list[int]) -> Table:
    from sklearn.datasets import load_iris

    return _two_of_three(load_iris(), classes)


def _wine(seed: int, classes: list[int]) -> Table:
    from sklearn.datasets import load_wine

    return _two_of_three(load_wine(), classes)


def _two_of_three(bunch: Any, classes: list[int]) -> Table:
    """Keep the samples of two classes; the second becomes 1."""
    rows = np.isin(bunch.target, classes)
    first, second = (str(bunch.target_names[index]) for index in classes)
    return Table(bunch.data[rows], bunch.target[rows] == classes[1], tuple(bunch.feature_names), (first, second))


# --- a CSV of your own -----------------------------------------------------------------------------------------------

MOST_BYTES = 10**9
MOST_ROWS = 10**6
MOST_COLUMNS = 10**5
_LONGEST_LINE = 10**7  # characters
_LARGEST = 1e100  # squares of numbers up to here, and sums of many squares, are finite
_MISSING = {"", "nan", "na", "n/a", "null", "none", "?"}
_MOST_CLASSES_SHOWN = 5
_MOST_NAMES_SHOWN = 20


@dataclass(slots=True)
class _Class:
    """A class of a CSV: what identifies it, its text and line where first met, its code, and how many rows it has."""

    label: Decimal | str
    text: str
    line: int
    code: int
    n_rows: int = 0


def _csv(seed: int, path: str, target: str) -> Table:
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


def _csv_shape(path: str, target: str) -> tuple[int, int]:
    """Count the rows and the features of a CSV."""
    with _opened_table(path, target) as (columns, rows):
        return sum(1 for _ in rows), len(columns) - 1


def _fault(path: str, what: str, line: int | None = None, column: str | None = None, key: str = "path") -> ValueError:
    """Make the error that says where in a file something is wrong."""
    where = "" if line is None else f", line {line}"
    where += "" if column is None else f", column {column!r}"
    return ValueError(f"{key}: {path}{where}: {what}")


@contextmanager
def _opened_table(path: str, target: str) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
    """Open a CSV file: the names of its columns, and its rows, each with the line that it begins on."""
    with _opened(path) as file:
        lines = _lines(path, file)
        first = next(lines, "")
        rows = _rows(path, chain([first], lines))
        try:
            columns = _columns(path, target, first, next(rows)[1])
        except ValueError as error:
            raise ValueError(f"{error}{_separator_hint(first)}") from None
        yield columns, _body(path, rows, len(columns))


def _opened(path: str) -> TextIO:
    """Open a file of bearable size; bytes that are not UTF-8 become lone surrogates, for `_lines` to find."""
    try:
        status = os.stat(path)
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


def _columns(path: str, target: str, first: str, header: list[str]) -> list[str]:
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
    if target not in columns:
        raise _fault(path, not_one_of(target, _nearest(target, columns)), 1, key="target")
    if len(columns) == 1:
        raise _fault(path, "there is no other column; at least one feature is needed", 1, target)
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


# --- the data sets by name -------------------------------------------------------------------------------------------

_N_SAMPLES = Option(1000, _whole(10, 1_000_000))
_MOST_FEATURES = 10_000
_WINE_COUNTS = (59, 71, 48)

DATASETS: dict[str, DatasetSpec] = {
    "moons": DatasetSpec(
        "two interleaved half circles in the plane",
        {"n_samples": _N_SAMPLES, "noise": Option(0.2, _spread)},
        lambda n_samples, noise: (n_samples, 2),
        _moons,
    ),
    "circles": DatasetSpec(
        "a circle within a circle, `factor` times as large",
        {"n_samples": _N_SAMPLES, "noise": Option(0.1, _spread), "factor": Option(0.5, _fraction)},
        lambda n_samples, noise, factor: (n_samples, 2),
        _circles,
    ),
    "blobs": DatasetSpec(
        "two round normal clouds; the seed places their centres",
        {
            "n_samples": _N_SAMPLES,
            "cluster_std": Option(1.0, _spread),
            "n_features": Option(2, _whole(1, _MOST_FEATURES)),
        },
        lambda n_samples, cluster_std, n_features: (n_samples, n_features),
        _blobs,
    ),
    "classification": DatasetSpec(
        "two normal clouds a class; two features inform, two repeat them mixed, the others are noise",
        {
            "n_samples": _N_SAMPLES,
            "n_features": Option(20, _whole(2, _MOST_FEATURES)),
            "class_sep": Option(1.0, _spread),
        },
        lambda n_samples, n_features, class_sep: (n_samples, n_features),
        _classification,
    ),
    "gaussian_quantiles": DatasetSpec(
        "the inner and the outer half of one normal cloud",
        {"n_samples": _N_SAMPLES, "n_features": Option(2, _whole(1, _MOST_FEATURES))},
        lambda n_samples, n_features: (n_samples, n_features),
        _gaussian_quantiles,
    ),
    "hastie": DatasetSpec(
        "inside or outside a sphere in ten dimensions (Hastie, Tibshirani and Friedman, example 10.2)",
        {"n_samples": _N_SAMPLES},
        lambda n_samples: (n_samples, 10),
        _hastie,
    ),
    "breast_cancer": DatasetSpec(
        "569 tumours by 30 measures of their cells: malignant or benign (Wisconsin)",
        {},
        lambda: (569, 30),
        _breast_cancer,
    ),
    "digits": DatasetSpec(
        "1797 handwritten digits of 8 × 8 pixels: those in `positive` against the rest",
        {"positive": Option([5, 6, 7, 8, 9], _chosen(9, 1, 9))},
        lambda positive: (1797, 64),
        _digits,
    ),
    "iris": DatasetSpec(
        "two species of iris by 4 measures, 50 flowers of each (Fisher)",
        {"classes": Option([0, 1], _chosen(2, 2, 2))},
        lambda classes: (100, 4),
        _iris,
    ),
    "wine": DatasetSpec(
        "wines of two Italian growers by 13 measures",
        {"classes": Option([0, 1], _chosen(2, 2, 2))},
        lambda classes: (sum(_WINE_COUNTS[index] for index in classes), 13),
        _wine,
    ),
    "csv": DatasetSpec(
        "a table of your own: a header, the column `target` of two classes, numbers in all others",
        {"path": Option(None, _path), "target": Option(None, _column_name)},
        _csv_shape,
        _csv,
    ),
}
