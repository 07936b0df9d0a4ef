"""Samples as the solvers take them: rows of X with their classes, targets and weights, and a part set aside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_sample_weight


class Samples:
    """Rows of X with their classes, targets (n, k) and weights.

    Parameters
    ----------
    X : ndarray or SciPy sparse array (n, d)
    y : ndarray (n,) or (n, n_labels)
    targets : ndarray (n, k)
    weights : ndarray (n,), optional
        How much each sample counts.
    given : ndarray (n,), optional
        The same without the classes' own weights.

    Attributes
    ----------
    total : float
        The sum of the weights.
    """

    def __init__(
        self, X: Any, y: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, given: np.ndarray | None
    ):
        self.X, self.y, self.targets, self.weights, self.given = X, y, targets, weights, given
        self.total = float(X.shape[0] if weights is None else weights.sum())

    def part(self, rows: Any) -> Samples:
        """Return some of the rows."""
        weights, given = (None if w is None else w[rows] for w in (self.weights, self.given))
        return Samples(self.X[rows], self.y[rows], self.targets[rows], weights, given)

    def unweighted(self) -> Samples:
        """Return the same samples without the classes' weights, as scores want them."""
        return Samples(self.X, self.y, self.targets, self.given, self.given)


def weighted_samples(
    X: Any, y: np.ndarray, labels: LabelBinarizer, sample_weight: Any = None, class_weight: Any = None
) -> Samples:
    """Put samples, targets and weights together, in one float type.

    Raises
    ------
    ValueError
        For weights that are below 0, all 0, or of classes that there are not.
    """
    targets = labels.transform(y).astype(X.dtype)
    weights = given = None
    if sample_weight is not None:
        weights = given = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
    if class_weight is not None:
        by_class = _weights_by_class(y, labels.classes_, class_weight).astype(X.dtype)
        weights = by_class if weights is None else weights * by_class
    if weights is not None and not weights.sum() > 0.0:
        raise ValueError("sample_weight and class_weight: all weights are 0; there is no class to learn from")
    return Samples(X, y, targets, weights, given)


def _weights_by_class(y: np.ndarray, classes: np.ndarray, class_weight: Any) -> np.ndarray:
    if isinstance(class_weight, dict):
        unknown = [label for label in class_weight if label not in classes]
        if unknown:
            raise ValueError(f"class_weight: {unknown} are not in classes_, {classes}")
        class_weight = {label: w for label, w in class_weight.items() if label in y}  # a part may lack some
    weights = compute_sample_weight(class_weight, y)
    if not (weights >= 0.0).all():
        raise ValueError("class_weight: weights must be at least 0")
    return weights


def check_classes_known(y: np.ndarray, classes: np.ndarray, *, all_of_them: bool) -> None:
    """Raise ValueError unless y has only classes that are known, and if wanted each of these."""
    found = unique_labels(y)
    unknown, missing = np.setdiff1d(found, classes), np.setdiff1d(classes, found)
    if all_of_them and (unknown.size or missing.size):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
            f"Previously got {classes}, `y` has {found}"
        )
    if unknown.size:
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {found}.")


def check_classes_present(samples: Samples) -> None:
    """Raise ValueError unless two classes have a weight."""
    counted = samples.y if samples.weights is None else samples.y[samples.weights > 0.0]
    present = np.unique(counted)
    if len(present) < 2:
        weighted = "" if samples.weights is None else " with a weight above 0"
        raise ValueError(
            f"y: all samples{weighted} are of one class, {present.tolist()}; a classifier needs two classes or more"
        )


def set_aside(samples: Samples, fraction: float, generator: np.random.RandomState) -> tuple[Samples, Samples]:
    """Split off a validation part, two classes in proportion; return what is left, and that part.

    Raises
    ------
    ValueError
        If one of the two were too small.
    """
    n = samples.X.shape[0]
    size = math.ceil(fraction * n)
    two_classes = samples.targets.shape[1] == 1
    too_small = (
        f"The validation set is too small: validation_fraction={fraction:g} of {n} samples "
        f"sets {size} aside and leaves {n - size}; both parts need at least 2"
    )
    if size < 2 or n - size < 2:
        raise ValueError(too_small)
    stratify = samples.y if two_classes else None
    rows = train_test_split(np.arange(n), random_state=generator, test_size=fraction, stratify=stratify)
    parts = samples.part(rows[0]), samples.part(rows[1])
    if two_classes and any(len(np.unique(part.y)) < 2 for part in parts):
        raise ValueError(f"{too_small}, one of each class")
    return parts[0], parts[1].unweighted()
