"""The mean over samples, and that in which some count more than others."""

from __future__ import annotations

import numpy as np


def mean(losses: np.ndarray, weights: np.ndarray | None, logits: np.ndarray) -> np.ndarray:
    """Compute 1/n · Σ_i l_i of losses (..., n), or Σ_i w_i·l_i / Σ_i w_i."""
    return np.mean(losses, axis=-1) if weights is None else np.sum(shares(weights, logits)[..., 0] * losses, axis=-1)


def parts_of_mean(gradients: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Compute what each sample's gradient (..., n, k) is in that of the mean: 1/n of it, or w_i / Σ_i w_i of it."""
    return gradients / gradients.shape[-2] if weights is None else shares(weights, gradients) * gradients


def shares(weights: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute each sample's share in a weighted mean, w_i / Σ_i w_i, as (..., n, 1).

    Weights are (n,), (n, 1), or with the replicas in front; if all are 0, so is every share.
    """
    w = column_of_weights(weights, logits)
    total = np.sum(w, axis=-2, keepdims=True)
    return w / np.where(total > 0.0, total, 1.0).astype(w.dtype)


def column_of_weights(weights: np.ndarray, logits: np.ndarray, what: str = "logits") -> np.ndarray:
    """Return weights as (..., n, 1); raise ValueError, naming both shapes, if there is not one per sample."""
    weights = np.asarray(weights, dtype=logits.dtype)
    n = logits.shape[-2]
    column = weights if weights.shape[-2:] == (n, 1) else weights[..., np.newaxis]
    if column.shape[-2:] != (n, 1) or column.shape[:-2] not in ((), logits.shape[:-2]):
        raise ValueError(f"weights of shape {weights.shape} do not fit {what} of shape {logits.shape}: one per sample")
    return column


def check_targets(logits: np.ndarray, targets: np.ndarray) -> None:
    """Raise ValueError unless the targets are shaped like the logits, replicas' axis aside."""
    if logits.ndim < 2 or targets.shape not in (logits.shape, logits.shape[-2:]):
        raise ValueError(
            f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}: "
            "both are (samples, outputs), with the replicas in front"
        )
