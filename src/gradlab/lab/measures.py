"""How good a trained network is, by more than its accuracy: what a majority hides, and how its samples are ordered."""

from __future__ import annotations

import numpy as np

from gradlab.nn.losses import BinaryCrossEntropy


def scores(logits: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Measure predictions of two classes; all are those of scikit-learn's functions of the same name.

    Parameters
    ----------
    logits : ndarray (..., n)
        A logit above 0 is the second class.
    y : ndarray (n,)
        0 or 1.

    Returns
    -------
    dict of ndarray (...)
        ``balanced_accuracy``, the share of each class that is right, averaged over the classes that there are; ``f1``,
        the harmonic mean of precision and recall of the second class, 0 where none is told as such; ``roc_auc``, the
        share of pairs of both classes whose logits are in order, where equal ones count half, nan if there is but one
        class; ``log_loss``, the mean cross-entropy.
    """
    positive = y > 0.5
    said = logits > 0.0
    recalls = [np.mean(said[..., positive == c] == c, axis=-1) for c in (False, True) if np.any(positive == c)]
    hits, told = np.sum(said & positive, axis=-1), np.sum(said, axis=-1)
    loss = BinaryCrossEntropy().value(logits.astype(np.float64)[..., np.newaxis], y.astype(np.float64)[:, np.newaxis])
    return {
        "balanced_accuracy": np.mean(recalls, axis=0),
        "f1": 2.0 * hits / np.maximum(told + np.sum(positive), 1),
        "roc_auc": _area(logits, positive),
        "log_loss": np.asarray(loss),
    }


def majority(y: np.ndarray) -> float:
    """Compute the share of the larger of two classes."""
    share = float(np.mean(y > 0.5))
    return max(share, 1.0 - share)


def _area(logits: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Compute the area under the ROC curve by the sum of ranks of the second class (Mann & Whitney 1947)."""
    m, n = int(np.sum(positive)), int(np.sum(~positive))
    if not m or not n:
        return np.full(logits.shape[:-1], np.nan)
    areas = []
    for row in logits.reshape(-1, logits.shape[-1]):
        ordered = np.sort(row)
        ranks = np.searchsorted(ordered, row[positive], "left") + np.searchsorted(ordered, row[positive], "right") + 1
        areas.append((np.sum(ranks) / 2.0 - m * (m + 1) / 2.0) / (m * n))
    return np.reshape(areas, logits.shape[:-1])


def of_flow(norms: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the gradient of one step, layer by layer.

    Parameters
    ----------
    norms : ndarray (layers, seeds)
        Of the layers' weight gradients, from the first to the last.

    Returns
    -------
    dict of ndarray (seeds,)
        ``gradient_ratio``, the first layer's norm over the last's; ``gradient_decay``, the factor that this is a layer,
        1 for a single one; ``least_gradient``, the least of all norms: where all layers vanish alike, the ratio shows
        nothing.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (norms[0] / norms[-1]).astype(np.float64)
        decay = ratio ** (1.0 / max(len(norms) - 1, 1))
    return {"gradient_ratio": ratio, "gradient_decay": decay, "least_gradient": norms.min(axis=0).astype(np.float64)}
