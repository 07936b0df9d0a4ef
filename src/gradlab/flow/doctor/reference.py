"""What the data have to tell, found without a network: by a straight line, by a smooth curve, by near neighbours.

Each predicts every sample from all others, in closed form, so that nothing is fitted by heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

MOST_SAMPLES = 600  # that are looked at, of each class as many as of the others where there are enough
RIDGE = 0.1  # of n times the mean eigenvalue
NEIGHBOURS = 5
FEWEST = 10  # samples of a class, below which nothing can be said of it


@dataclass(frozen=True)
class Reference:
    """How well the classes can be told apart.

    Attributes
    ----------
    areas : ndarray (classes,)
        For each class the largest area under the ROC curve of the three ways: 1/2 is chance.
    limits : ndarray (classes,)
        What chance does not exceed, but once in a thousand times.
    accuracy, line_accuracy : float
        Share that is right, averaged over the classes, of the best way, and of the straight line.
    margin : float
        How far such a share is off by chance: two standard errors.
    """

    areas: np.ndarray
    limits: np.ndarray
    accuracy: float
    line_accuracy: float
    margin: float

    @classmethod
    def of(cls, x: np.ndarray, labels: np.ndarray) -> Self:
        """Let each way predict every sample without having seen it."""
        from scipy.spatial.distance import pdist, squareform

        rows = _balanced_rows(labels)
        x, labels = _standardized(np.asarray(x[rows], float)), labels[rows]
        classes = np.unique(labels)
        member = labels[:, np.newaxis] == classes
        line = _left_out(x @ x.T, member)
        distances = squareform(pdist(x, "sqeuclidean"))
        width = np.median(distances[distances > 0.0]) if (distances > 0.0).any() else 1.0
        curves = [_left_out(np.exp(-distances / (share * width)), member) for share in (1.0, 0.1)]
        np.fill_diagonal(distances, np.inf)
        near = np.argpartition(distances, min(NEIGHBOURS, len(x) - 1), axis=1)[:, :NEIGHBOURS]
        ways = [line, *curves, member[near].mean(axis=1)]
        sizes = member.sum(axis=0)
        others = len(labels) - sizes
        deviation = np.sqrt((len(labels) + 1) / (12.0 * sizes * np.maximum(others, 1)))
        areas = np.max([_areas(way, member) for way in ways], axis=0)
        accuracies = [_accuracy(way, member) for way in ways]
        margin = float(np.mean(0.5 / np.sqrt(sizes)))
        return cls(areas, 0.5 + 3.5 * deviation, max(accuracies), accuracies[0], margin)

    @property
    def has_signal(self) -> bool:
        """Whether any class can be told from the others better than by chance."""
        return bool((self.areas > self.limits).any())

    @property
    def bends(self) -> bool:
        """Whether a curve tells the classes apart a good deal better than a straight line."""
        return self.accuracy > self.line_accuracy + max(2.0 * self.margin, 0.05)


def _balanced_rows(labels: np.ndarray) -> np.ndarray:
    """Choose at most `MOST_SAMPLES` rows: all of a small class, and of the large ones what is left for each."""
    rng = np.random.default_rng(0)
    groups = sorted((rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)), key=len)
    chosen: list[np.ndarray] = []
    for i, group in enumerate(groups):
        room = (MOST_SAMPLES - sum(map(len, chosen))) // (len(groups) - i)
        chosen.append(group[:room])
    return np.sort(np.concatenate(chosen))


def _left_out(kernel: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Predict each sample's membership (n, classes) by kernel ridge regression on the others.

    With H = K·(K + λ1)⁻¹ the prediction without the sample itself is (H·t − h_ii·t_i) / (1 − h_ii): Wahba (1990),
    eq. 4.2.1.
    """
    n = len(kernel)
    share = member.mean(axis=0)
    ridge = RIDGE * max(float(np.trace(kernel)), 1e-12)
    hat = np.linalg.solve(kernel + ridge / np.sqrt(n) * np.eye(n), kernel).T
    own = np.diag(hat)[:, np.newaxis]
    return share + (hat @ (member - share) - own * (member - share)) / (1.0 - own)


def _areas(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Compute for each class the area under the ROC curve, from the ranks of its members (Mann and Whitney 1947)."""
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=0)
    sizes = member.sum(axis=0)
    others = np.maximum(len(member) - sizes, 1)
    return (np.sum(ranks * member, axis=0) - sizes * (sizes + 1) / 2.0) / (sizes * others)


def _accuracy(scores: np.ndarray, member: np.ndarray) -> float:
    """Compute the share right, averaged over the classes, if each score is held against its class's share."""
    guesses = (scores / np.maximum(member.mean(axis=0), 1e-12)).argmax(axis=1)
    truth = member.argmax(axis=1)
    return float(np.mean([np.mean(guesses[truth == c] == c) for c in range(member.shape[1])]))


def _standardized(x: np.ndarray) -> np.ndarray:
    scale = x.std(axis=0)
    return (x - x.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
