"""Scikit-learn's data sets and a CSV of your own, as two classes, split and standardised.

What a data set is called, which options it takes and how large it will be is known without importing scikit-learn,
which takes a second; that waits for the first `load`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from gradlab.nn.checks import check_float, check_int, lookup, not_one_of
from gradlab.tables import Table, count_csv, read_csv


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
    name: str,
    *,
    test_fraction: float = 0.25,
    validation_fraction: float = 0.0,
    seed: int = 0,
    standardize: bool = True,
    **options: Any,
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
    standardize : bool
        Without it the columns stay as they are, with a mean of 0 and a scale of 1 for the record.
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
    mean, scale = _mean_and_scale(x_train) if standardize else (np.zeros(x.shape[1]), np.ones(x.shape[1]))
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
        parts: list[np.ndarray] = train_test_split(x, y, test_size=fraction, random_state=seed, stratify=y)
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
        if check_int(key, value, least) > most:
            raise ValueError(f"{key}: {value!r} is not a whole number of at most {most}")
        return int(value)

    return check


def _spread(key: str, value: Any) -> float:
    """Check a standard deviation or a distance."""
    return check_float(key, value, 0.0, 1e6)


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
        count_csv,
        lambda seed, path, target: read_csv(path, target),
    ),
}
