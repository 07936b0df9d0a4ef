"""Penalties pull the weights towards 0, and clipping bounds the gradient's length, on its way to the optimizer."""

from __future__ import annotations

import numpy as np

from gradlab.nn.arrays import norm
from gradlab.nn.checks import check_float
from gradlab.nn.network import Network


class Penalties:
    """What is added to the gradient of the data's loss before a step, and how long the sum may be.

    Parameters
    ----------
    l1, l2 : float
        Penalties l1·Σ abs(W) and ½·l2·Σ W² on the weights, not on biases, whatever the batch size.
    alpha : float
        Penalty ½·alpha·Σ W² / Σ_i w_i, the second sum over the batch (w_i = 1 unless given): scikit-learn's definition,
        which does depend on the batch size.
    clip_norm : float
        Largest norm of the whole gradient, penalties included; a longer one is shortened. 0 for no limit.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, alpha: float = 0.0, clip_norm: float = 0.0):
        self.l1, self.l2, self.alpha = (
            check_float("l1", l1, 0.0),
            check_float("l2", l2, 0.0),
            check_float("alpha", alpha, 0.0),
        )
        self.clip_norm = check_float("clip_norm", clip_norm, 0.0)

    def gradient(self, network: Network, weights: int | np.ndarray) -> np.ndarray:
        """Compute g + l1·sign(W) + (l2 + alpha/Σw)·W, times clip_norm/norm where its norm is larger than clip_norm.

        Parameters
        ----------
        network : Network
            Its ``grads`` are g; they stay as they are.
        weights : int or ndarray (..., n, 1)
            Those of the batch's samples, or how many samples there are.

        Returns
        -------
        ndarray (..., P)
        """
        g, params, mask = network.grads, network.params, network.weight_mask
        if self.l2 or self.alpha:
            g = g + (self.l2 + self.alpha * _inverse(weights)) * mask * params
        if self.l1:
            g = g + self.l1 * mask * np.sign(params)
        if self.clip_norm:
            g = g * (self.clip_norm / np.maximum(norm(g), self.clip_norm))
        return g


def _inverse(weights: int | np.ndarray) -> float | np.ndarray:
    """Compute 1/Σ_i w_i, a number or (..., 1); 0 for a batch of weight 0."""
    if isinstance(weights, int):
        return 1.0 / weights
    total = np.sum(weights, axis=-2)
    return np.where(total > 0.0, 1.0 / np.where(total > 0.0, total, 1.0), 0.0).astype(weights.dtype)
