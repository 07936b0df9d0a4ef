"""An activation applies a function φ to each number; its derivative φ' stands next to it.

Without one, two layers would be no more than one: (x·W₁ + b₁)·W₂ + b₂ = x·(W₁·W₂) + (b₁·W₂ + b₂). No formula below
overflows, however large x is.
"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradlab.nn.layers import Layer


class Activation(Layer):
    """A layer without parameters that acts on each number alone, y = φ(x), so y is shaped like x.

    An activation of your own needs `forward` and `derivative`, or a `backward` in place of the latter: each of the two
    is written in terms of the other.
    """

    weight_init: ClassVar[str] = "glorot_uniform"  # what `mlp` draws the weights in front of it from
    reusable = True  # it may stand in several places of a network: it has nothing of its own

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute dL/dx = dL/dy·φ'(x), entry by entry: x_i changes y_i alone, so the chain rule's sum has one term."""
        return dy * self.derivative(x, y)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute φ'(x), shaped like x; y is φ(x). Without a formula, it is what `backward` makes of dL/dy = 1."""
        return self.backward(np.ones_like(y), x, y)

    def __init_subclass__(cls) -> None:
        if cls.derivative is Activation.derivative and cls.backward is Activation.backward:
            raise TypeError(f"{cls.__name__}: an activation needs `derivative` or `backward`")


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute σ(x) = e^x / (1 + e^x); above x = 40, where σ is 1 to every digit, e^x is kept from overflowing."""
    e = np.exp(np.minimum(x, 40.0))
    return e / (1.0 + e)


class Sigmoid(Activation):
    """σ(x) = 1 / (1 + e^(−x)) = e^x / (1 + e^x): S-shaped, from 0 to 1."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return sigmoid(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute σ'(x) = e^(−x) / (1 + e^(−x))² = y·(1 − y), for 1 − y = e^(−x) / (1 + e^(−x)).

        It is at most ¼, at x = 0, and almost 0 in both tails.
        """
        return y * (1.0 - y)


class Tanh(Activation):
    """tanh(x) = 2σ(2x) − 1: the sigmoid stretched to (−1, 1) and centred."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute tanh'(x) = 1 − y²: with a = σ(2x) it is 4·a·(1 − a), and a is (1 + y)/2, 1 − a is (1 − y)/2."""
        return 1.0 - y * y


class ReLU(Activation):
    """max(x, 0): zero below 0, the identity above."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0.0)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute ReLU'(x): 1 where x > 0, which is where y > 0; else 0, by convention also at x = 0, the kink."""
        return (y > 0.0).astype(y.dtype)


class Identity(Activation):
    """The input itself: what a linear network has for an activation."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = 1·x, in a new array, like every layer."""
        return 1.0 * x

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.ones_like(y)


ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "identity": Identity,
}  # and those of relatives.py
