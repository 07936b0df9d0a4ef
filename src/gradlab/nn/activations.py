"""An activation applies a nonlinear function φ to each number; its derivative φ' stands next to it.

``derivative`` is written in whichever of x and y = φ(x) gives it best; ``backward`` multiplies dL/dy by it. Every
formula holds on the whole line, in float32 and in float64: nothing overflows, and no value of φ is clipped.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradlab.nn.checks import check_flag, check_float
from gradlab.nn.layers import Layer


class Activation(Layer):
    """A layer without parameters that acts on each number alone, y = φ(x), so y is shaped like x.

    An activation of your own needs `forward`, and one of `derivative` and `backward`.
    """

    weight_init: ClassVar[str] = "glorot_uniform"  # what `mlp` draws the weights in front of it from
    reusable = True  # it has nothing of its own

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute φ'(x), shaped like x; y is φ(x)."""
        return self.backward(np.ones_like(y), x, y)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute dL/dx = dL/dy·φ'(x), entry by entry: each number has an effect on its own result alone."""
        return dy * self.derivative(x, y)

    def __init_subclass__(cls) -> None:
        if cls.derivative is Activation.derivative and cls.backward is Activation.backward:
            raise TypeError(f"{cls.__name__}: an activation needs `derivative` or `backward`")

    def settings(self) -> dict[str, float]:
        """Return the numbers and flags that this activation was made with, but not those that a network sets."""
        return {name: v for name, v in vars(self).items() if isinstance(v, int | float) and not hasattr(Layer, name)}

    def __repr__(self) -> str:
        shown = {name: v for name, v in self.settings().items() if v is not False}
        settings = ", ".join(f"{name}={v}" if v is True else f"{name}={v:g}" for name, v in shown.items())
        return f"{type(self).__name__}({settings})"


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute σ(x) = e^x / (1 + e^x), exact to 4 ulp in both tails; the exponent is bounded: σ(40) rounds to 1."""
    e = np.exp(np.minimum(x, 40.0))
    return e / (1.0 + e)


class Sigmoid(Activation):
    """σ(x) = 1 / (1 + e^(−x)): S-shaped, from 0 to 1.

    Centred, it is moved down by ½, from −½ to ½, and just as steep: inputs that are symmetric about 0 then give outputs
    of mean 0 (LeCun et al. 1998, section 4.3).
    """

    def __init__(self, centred: bool = False):
        self.centred = check_flag("Sigmoid: centred", centred)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = σ(x), or σ(x) − ½ = ½·tanh(x/2), which keeps all its digits near 0."""
        return 0.5 * np.tanh(0.5 * x) if self.centred else sigmoid(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute σ'(x) = e^(−x) / (1 + e^(−x))² = y·(1 − y), at most 1/4.

        Where y rounds to 1 (in float64 from x = 37 on), the slope is 0; where y is small, it keeps its digits.
        Centred, y rounds to ½ and to −½: there the slope is taken from x, which loses no digits on either side.
        """
        if self.centred:
            e = np.exp(-np.abs(x))
            return e / (1.0 + e) ** 2
        return y * (1.0 - y)


class Tanh(Activation):
    """tanh(x) = 2σ(2x) − 1: the sigmoid stretched to (−1, 1) and centred."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.tanh(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute tanh'(x) = 1 − y²."""
        return 1.0 - y * y


class ReLU(Activation):
    """max(x, 0): nothing below zero, the identity above."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0.0)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute ReLU'(x): 1 where x > 0 and 0 elsewhere; at the kink, where there is none, 0 by convention."""
        return (y > 0.0).astype(y.dtype)


class LeakyReLU(Activation):
    """max(x, slope·x), with a slope in [0, 1]: unless it is 0, no unit can die (Maas et al. 2013)."""

    weight_init = "he_normal"

    def __init__(self, slope: float = 0.01):
        self.slope = check_float("LeakyReLU: slope", slope, 0.0, 1.0)

    def forward(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, self.slope * x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute 1 where x > 0 and slope elsewhere."""
        return np.where(x > 0.0, 1.0, self.slope).astype(y.dtype)


class ELU(Activation):
    """x above zero, alpha·(e^x − 1) below, with alpha ≥ 0 (Clevert et al. 2016, arXiv 1511.07289)."""

    weight_init = "he_normal"

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_float("ELU: alpha", alpha, 0.0)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = max(x, 0) + alpha·(e^min(x, 0) − 1): one of the two terms is 0."""
        return np.maximum(x, 0.0) + self.alpha * np.expm1(np.minimum(x, 0.0))

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute 1 where x > 0 and alpha·e^x elsewhere."""
        return np.where(x > 0.0, 1.0, self.alpha * np.exp(np.minimum(x, 0.0))).astype(y.dtype)


class SELU(Activation):
    """scale·ELU(x), with constants that keep mean 0 and variance 1 (Klambauer et al. 2017, eq. 2 and 14)."""

    weight_init = "lecun_normal"
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946
    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717

    def forward(self, x: np.ndarray) -> np.ndarray:
        return self.SCALE * (np.maximum(x, 0.0) + self.ALPHA * np.expm1(np.minimum(x, 0.0)))

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute scale where x > 0 and scale·alpha·e^x elsewhere."""
        return (self.SCALE * np.where(x > 0.0, 1.0, self.ALPHA * np.exp(np.minimum(x, 0.0)))).astype(y.dtype)


class GELU(Activation):
    """x·Φ(x), with Φ the standard normal's distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = x·Φ(x), exactly: no tanh in Φ's place."""
        from scipy.special import ndtr

        return x * ndtr(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute Φ(x) + x·φ(x), with φ = Φ' = e^(−x²/2)/√(2π).

        φ(x) is 0 in floating point from abs(x) = 40 on; stopping there keeps x² from overflowing.
        """
        from scipy.special import ndtr

        near = np.clip(x, -40.0, 40.0)
        return ndtr(x) + near * np.exp(-0.5 * near * near) / math.sqrt(2.0 * math.pi)


class SiLU(Activation):
    """x·σ(x), also called swish (Elfwing et al. 2017, arXiv 1702.03118)."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x * sigmoid(x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute σ(x) + x·σ(x)·(1 − σ(x)) = σ(x) + y·(1 − σ(x))."""
        s = sigmoid(x)
        return s + y * (1.0 - s)


class Softplus(Activation):
    """log(1 + e^x): a ReLU without its corner, and the integral of σ."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = log(e^x + e^0), which does not overflow: it equals max(x, 0) + log(1 + e^(−abs(x)))."""
        return np.logaddexp(x, 0.0)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute σ(x) = 1 − e^(−y)."""
        return -np.expm1(-y)


class Softsign(Activation):
    """x / (1 + abs(x)): from −1 to 1 like tanh, with polynomial tails (Glorot & Bengio 2010)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x / (1.0 + np.abs(x))

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute 1 / (1 + abs(x))²: squared last, since (1 + abs(x))² may overflow."""
        return (1.0 / (1.0 + np.abs(x))) ** 2


class Identity(Activation):
    """The input itself: what a linear network has for an activation."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = 1·x, in a new array: the tape holds one per layer."""
        return 1.0 * x

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.ones_like(y)


def centred_sigmoid() -> Sigmoid:
    """σ(x) − ½: the sigmoid moved down to pass through 0, from −½ to ½."""
    return Sigmoid(centred=True)


ACTIVATIONS: dict[str, Callable[[], Activation]] = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
    "softsign": Softsign,
    "identity": Identity,
    "centred_sigmoid": centred_sigmoid,
}
