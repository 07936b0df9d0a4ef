"""A loss says how wrong the logits are, and which way to move them.

Logits are what the last layer gives, before any squashing: fusing the squashing with the loss keeps both
exact where one after the other would overflow or round to zero. All losses are means over the samples, so
the learning rate does not depend on the batch size.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradlab.nn.activations import sigmoid
from gradlab.nn.arrays import as_floats, scratch
from gradlab.nn.checks import not_one_of


class Loss:
    """The contract: `value` and its `gradient` with respect to the logits.

    A loss of your own needs `losses_of_samples` and `slopes_of_samples`; the means, and the samples' weights, are then
    taken care of. Or it has `value` and `gradient` of its own.

    Attributes
    ----------
    target_range : tuple of float
        Least and largest target that makes sense.
    """

    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def value(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Compute the mean loss L = Σ_i w_i·l_i / Σ_i w_i over samples i, with w_i = 1 unless given.

        Parameters
        ----------
        logits : ndarray (..., n, k)
        targets : ndarray (n, k) or (..., n, k)
            What the output should be; shared by the replicas if it has no leading axis.
        weights : ndarray (n,), (n, 1), (..., n) or (..., n, 1), optional
            How much each sample counts.

        Returns
        -------
        ndarray (...)
            A number, or one a replica.

        Raises
        ------
        ValueError
            If the shapes do not agree; it names both.
        """
        logits, targets = as_floats(logits), np.asarray(targets)
        check_targets(logits, targets)
        losses = self.losses_of_samples(logits, targets)
        if weights is None:
            return np.mean(losses, axis=-1)
        w = column_of_weights(weights, logits)[..., 0]
        total = np.sum(w, axis=-1)
        return np.sum(w * losses, axis=-1) / np.where(total > 0.0, total, 1.0)  # a batch of weight 0 has loss 0

    def gradient(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Compute dL/dlogits: the slope of each sample's loss times w_i / Σ_i w_i.

        Parameters
        ----------
        logits, targets, weights
            As in `value`.
        out : ndarray (..., n, k), optional
            Where to write it.

        Returns
        -------
        ndarray (..., n, k)
        """
        if out is None:
            logits, targets = as_floats(logits), np.asarray(targets)
            out = np.empty(logits.shape, logits.dtype)
        check_targets(logits, targets)
        self.slopes_of_samples(logits, targets, out)
        if weights is None:
            return np.multiply(out, 1.0 / logits.shape[-2], out)
        w = column_of_weights(weights, logits)
        total = np.sum(w, axis=-2, keepdims=True)
        np.multiply(out, w, out)
        return np.divide(out, np.where(total > 0.0, total, 1.0), out)  # a batch of weight 0 pulls nowhere

    def losses_of_samples(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute each sample's loss, (..., n): summed over the k outputs."""
        raise NotImplementedError(f"{type(self).__name__} needs `losses_of_samples`, or a `value` of its own")

    def slopes_of_samples(self, logits: np.ndarray, targets: np.ndarray, out: np.ndarray) -> None:
        """Write the derivative of each sample's loss by its logits to `out`."""
        raise NotImplementedError(f"{type(self).__name__} needs `slopes_of_samples`, or a `gradient` of its own")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class BinaryCrossEntropy(Loss):
    """−t·log σ(z) − (1 − t)·log(1 − σ(z)), for targets t in [0, 1]: the sigmoid is part of the loss."""

    target_range = (0.0, 1.0)

    def losses_of_samples(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute max(z, 0) − z·t + log(1 + e^(−abs(z))), exact for any z."""
        smooth = np.log1p(np.exp(-np.abs(logits)))
        return np.sum(np.maximum(logits, 0.0) - logits * targets + smooth, axis=-1)

    def slopes_of_samples(self, logits: np.ndarray, targets: np.ndarray, out: np.ndarray) -> None:
        """Write σ(z) − t: σ' cancels against the logarithm's slope, so a wrong output never stalls."""
        sigmoid(logits, out)
        np.subtract(out, targets, out)


class SoftmaxCrossEntropy(Loss):
    """−Σ_k t_k·log softmax(z)_k, for one-hot or probability targets; the softmax is part of the loss."""

    target_range = (0.0, 1.0)

    def losses_of_samples(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute Σ_k t_k·(log Σ_j e^(z_j) − z_k), the largest logit subtracted first.

        The sum is then 1, from that logit, and a rest: log(1 + rest) keeps a rest too small to change the 1.
        """
        largest = np.argmax(logits, axis=-1, keepdims=True)
        z = logits - np.take_along_axis(logits, largest, axis=-1)
        e = np.exp(z)
        np.put_along_axis(e, largest, 0.0, axis=-1)
        log_sum = np.log1p(np.sum(e, axis=-1, keepdims=True))
        return np.sum(targets * (log_sum - z), axis=-1)

    def slopes_of_samples(self, logits: np.ndarray, targets: np.ndarray, out: np.ndarray) -> None:
        """Write softmax(z)·Σ_k t_k − t; the sum is 1 for probabilities."""
        softmax(logits, out)
        np.multiply(out, np.sum(targets, axis=-1, keepdims=True), out)
        np.subtract(out, targets, out)


class SquaredError(Loss):
    """½·Σ_k (a_k − t_k)², where a is the logits themselves, or σ of them.

    Parameters
    ----------
    on : "identity" or "sigmoid"
        With "sigmoid" the slope keeps the factor σ', and learning stalls where the output is saturated.
    """

    def __init__(self, on: str = "identity"):
        if on not in ("identity", "sigmoid"):
            raise ValueError(f"SquaredError: on: {not_one_of(on, ('identity', 'sigmoid'))}")
        self.on = on

    def losses_of_samples(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        a = sigmoid(logits, np.empty(logits.shape, logits.dtype)) if self.on == "sigmoid" else logits
        return 0.5 * np.sum((a - targets) ** 2, axis=-1)

    def slopes_of_samples(self, logits: np.ndarray, targets: np.ndarray, out: np.ndarray) -> None:
        """Write a − t, times σ'(z) = a·(1 − a) if a is σ(z)."""
        if self.on == "identity":
            np.subtract(logits, targets, out)
            return
        a = sigmoid(logits, scratch(logits))
        np.subtract(1.0, a, out)
        np.multiply(out, a, out)
        np.subtract(a, targets, a)
        np.multiply(out, a, out)

    def __repr__(self) -> str:
        return f"SquaredError(on={self.on!r})"


def softmax(logits: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write e^(z_k) / Σ_j e^(z_j) to `out`; the largest logit is subtracted first, which changes nothing else."""
    np.subtract(logits, np.max(logits, axis=-1, keepdims=True), out)
    np.exp(out, out)
    return np.divide(out, np.sum(out, axis=-1, keepdims=True), out)


def check_targets(logits: np.ndarray, targets: np.ndarray) -> None:
    """Raise ValueError unless the targets are shaped like the logits, replicas' axis aside."""
    if logits.shape == targets.shape and logits.ndim >= 2:
        return
    if logits.ndim < 2 or targets.shape != logits.shape[-2:]:
        raise ValueError(
            f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}: "
            "both are (samples, outputs), with the replicas in front"
        )


def column_of_weights(weights: np.ndarray, logits: np.ndarray, what: str = "logits") -> np.ndarray:
    """Return weights as (..., n, 1); raise ValueError, naming both shapes, if there is not one a sample."""
    weights = np.asarray(weights, dtype=logits.dtype)
    n = logits.shape[-2]
    column = weights if weights.shape[-2:] == (n, 1) else weights[..., np.newaxis]
    if column.shape[-2:] != (n, 1) or column.shape[:-2] not in ((), logits.shape[:-2]):
        raise ValueError(f"weights of shape {weights.shape} do not fit {what} of shape {logits.shape}: one a sample")
    return column


LOSSES: dict[str, Callable[[], Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "squared_error": SquaredError,
}
