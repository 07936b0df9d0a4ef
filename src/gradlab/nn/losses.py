"""A loss says how wrong the network's outputs are; its gradient is where backpropagation begins.

The outputs z are what the last layer gives, and targets t are shaped like them. The loss L is the mean of the samples'
losses, so gradients do not grow with the number n of samples.

Where classes are told apart, z can be any number, and a sigmoid or softmax makes probabilities of it; z is then called
a logit (the code says ``logits`` throughout). The two cross-entropies below apply it themselves, because both steps
together are simpler, and more accurate, than one after the other.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradlab.nn.activations import sigmoid
from gradlab.nn.checks import check_targets, not_one_of
from gradlab.nn.weighting import shares


class Loss:
    """The contract: `value`, the mean loss L of some samples, and `gradient`, dL/dz.

    A loss of your own needs the loss of each sample, `sample_losses`, and its derivative, `sample_gradients`; or a
    `value` and a `gradient` of its own. Samples may have weights w (n,): where a formula says 1/n, sample i then has
    w_i / Σ_j w_j in its place.
    """

    target_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)  # least and largest target that makes sense

    def sample_losses(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute the loss l_i of each sample, (n,): the sum over its outputs."""
        raise NotImplementedError(f"{type(self).__name__} needs `sample_losses`, or a `value` of its own")

    def sample_gradients(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute dl_i/dz of each sample, in row i."""
        raise NotImplementedError(f"{type(self).__name__} needs `sample_gradients`, or a `gradient` of its own")

    def value(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Compute L = Σ_i 1/n · l_i, a number."""
        check_targets(logits, targets)
        losses = self.sample_losses(logits, targets)
        if weights is None:
            return np.mean(losses, axis=-1)
        return np.sum(shares(weights, logits)[..., 0] * losses, axis=-1)

    def gradient(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Compute dL/dz, shaped like z: row i is 1/n · dl_i/dz."""
        check_targets(logits, targets)
        gradients = self.sample_gradients(logits, targets)
        return gradients / logits.shape[-2] if weights is None else shares(weights, logits) * gradients

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class SquaredError(Loss):
    """½·Σ_k (z_k − t_k)²; or, with ``on="sigmoid"``, ½·Σ_k (a_k − t_k)², where a = σ(z).

    The gradient of the second has the factor σ': where σ is flat it is next to nothing, however wrong the output.
    """

    def __init__(self, on: str = "identity"):
        if on not in ("identity", "sigmoid"):
            raise ValueError(f"SquaredError: on: {not_one_of(on, ('identity', 'sigmoid'))}")
        self.on = on

    def sample_losses(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        a = sigmoid(logits) if self.on == "sigmoid" else logits
        return 0.5 * np.sum((a - targets) ** 2, axis=-1)

    def sample_gradients(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute z − t, for the ½ cancels the square's 2; or (a − t)·σ'(z), with σ'(z) = a·(1 − a)."""
        if self.on == "identity":
            return logits - targets
        a = sigmoid(logits)
        return (a - targets) * a * (1.0 - a)

    def __repr__(self) -> str:
        return f"SquaredError(on={self.on!r})"


class BinaryCrossEntropy(Loss):
    """−t·log σ(z) − (1 − t)·log(1 − σ(z)), where σ(z) is the probability of class 1; summed, if there are more outputs.

    For a label t of 1 or 0 one term is left: −log of the probability given to the right class. A t between the two is
    itself a probability, and weighs both terms.
    """

    target_range = (0.0, 1.0)

    def sample_losses(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute the formula above in a form that has the same value, and overflows for no z.

        −log σ(z) = log(1 + e^(−z)), and −log(1 − σ(z)) = log(1 + e^(−z)) + z. With weights t and 1 − t that comes to
        log(1 + e^(−z)) + z − z·t. The first two are log(1 + e^z), which is the better form where z < 0. So for both
        signs it is log(1 + e^(−abs(z))) + max(z, 0) − z·t.
        """
        smooth = np.log1p(np.exp(-np.abs(logits)))
        return np.sum(np.maximum(logits, 0.0) - logits * targets + smooth, axis=-1)

    def sample_gradients(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute −t·(1 − σ(z)) + (1 − t)·σ(z) = σ(z) − t.

        The derivative of log σ is σ'/σ = 1 − σ, that of log(1 − σ) is −σ'/(1 − σ) = −σ. The factor σ' is gone: the
        gradient is the error itself, small only where the output is nearly right.
        """
        return sigmoid(logits) - targets


class SoftmaxCrossEntropy(Loss):
    """−Σ_k t_k·log softmax(z)_k, where softmax(z)_k = e^(z_k) / Σ_j e^(z_j) is the probability of class k.

    For a label, t is 1 at its class and 0 elsewhere; or it is a probability for each class.
    """

    target_range = (0.0, 1.0)

    def sample_losses(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return np.sum(targets * minus_log_softmax(logits), axis=-1)

    def sample_gradients(self, logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute softmax(z)_k·Σ_j t_j − t_k, where Σ_j t_j is 1 for probabilities.

        The loss is Σ_j t_j·(log Σ_m e^(z_m) − z_j). The derivative of log Σ_m e^(z_m) by z_k is e^(z_k) / Σ_m e^(z_m) =
        softmax(z)_k, in every term; that of −t_j·z_j is −t_k, in the term of k.
        """
        return softmax(logits) * np.sum(targets, axis=-1, keepdims=True) - targets


def softmax(logits: np.ndarray) -> np.ndarray:
    """Compute e^(z_k) / Σ_j e^(z_j); the largest logit is subtracted first, which cancels, and nothing overflows."""
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def minus_log_softmax(logits: np.ndarray) -> np.ndarray:
    """Compute log Σ_j e^(z_j) − z_k, with the largest logit subtracted from all first: the same value.

    The largest one's own term of Σ_j is then e^0 = 1, and log(1 + rest) keeps every digit of the rest, however small.
    """
    place = np.argmax(logits, axis=-1, keepdims=True)
    z = logits - np.take_along_axis(logits, place, axis=-1)
    rest = np.exp(z)
    np.put_along_axis(rest, place, 0.0, axis=-1)
    return np.log1p(np.sum(rest, axis=-1, keepdims=True)) - z


LOSSES: dict[str, Callable[[], Loss]] = {
    "binary_cross_entropy": BinaryCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "squared_error": SquaredError,
}
