"""Samples that count more than others: each one's share in a mean."""

from __future__ import annotations

import numpy as np


def shares(weights: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Compute each sample's share in a weighted mean, w_i / Σ_i w_i in place of 1/n, as (..., n, 1).

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
