"""Relatives of the sigmoid, of tanh and of ReLU: what has been put in their places, and why."""

import math
from typing import ClassVar

import numpy as np

from gradlab.nn.activations import ACTIVATIONS, Activation, sigmoid
from gradlab.nn.checks import check_float


class CentredSigmoid(Activation):
    """σ(x) − ½: the sigmoid moved down to pass through 0, from −½ to ½, and just as steep.

    Inputs that are symmetric about 0 give outputs of mean 0 (LeCun et al. 1998, section 4.3).
    """

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = σ(x) − ½ = ½·tanh(x/2), which keeps all its digits near 0."""
        return 0.5 * np.tanh(0.5 * x)

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute σ'(x) = e^(−abs(x)) / (1 + e^(−abs(x)))², since σ' is even.

        It is written in x: y rounds to ½ and to −½ in the tails, where x loses no digits.
        """
        e = np.exp(-np.abs(x))
        return e / (1.0 + e) ** 2


class Softsign(Activation):
    """x / (1 + abs(x)): from −1 to 1 like tanh, with polynomial tails (Glorot & Bengio 2010)."""

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x / (1.0 + np.abs(x))

    def derivative(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute 1 / (1 + abs(x))²: squared last, since (1 + abs(x))² may overflow."""
        return (1.0 / (1.0 + np.abs(x))) ** 2


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


ACTIVATIONS |= {
    "centred_sigmoid": CentredSigmoid,
    "softsign": Softsign,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
}
