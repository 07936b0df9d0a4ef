"""An activation bends each number on its own: its function φ and its derivative φ' stand next to each other.

``derivative`` is written in whichever of x and y = φ(x) gives it best; ``backward`` multiplies dL/dy by it. Nothing is
clipped, nothing overflows, and nothing is computed on a branch that is then thrown away: every formula
holds on the whole line, in float32 and in float64.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from gradlab.nn.arrays import as_floats, scratch, with_room
from gradlab.nn.checks import flag, real
from gradlab.nn.layers import CHANGES, OURS, Layer


class Activation(Layer):
    """A layer without parameters that acts on each number alone, y = φ(x), so y is shaped like x.

    An activation of your own needs `forward`, and one of `derivative` and `backward`.

    Attributes
    ----------
    weight_init : str
        The initializer that suits the weights in front of it.
    """

    weight_init: ClassVar[str] = "glorot_uniform"

    def __init_subclass__(cls) -> None:
        if cls.derivative is Activation.derivative and cls.backward is Activation.backward:
            raise TypeError(f"{cls.__name__}: an activation needs `derivative` or `backward`")

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute φ'(x), shaped like x; y is φ(x), and `out`, which does not overlap them, where to write it."""
        return self.backward(np.ones_like(y), x, y, out)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Multiply dL/dy by dy/dx = φ'(x): each number has an effect on its own result alone."""
        out = self.derivative(x, y, out)
        return np.multiply(out, dy, out)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; another number, flag or method makes it another activation."""
        if name in ("forward", "backward", "derivative") or name in self.settings():
            CHANGES[0] += 1
        super().__setattr__(name, value)

    def settings(self) -> dict[str, float]:
        """Return the numbers and flags that this activation was made with, but not those that a network sets."""
        return {name: v for name, v in vars(self).items() if isinstance(v, int | float) and name not in vars(Layer)}

    def __repr__(self) -> str:
        shown = {name: v for name, v in self.settings().items() if v is not False}
        settings = ", ".join(f"{name}={v}" if v is True else f"{name}={v:g}" for name, v in shown.items())
        return f"{type(self).__name__}({settings})"


def sigmoid(x: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write σ(x) = e^x / (1 + e^x) to `out`, exact to 4 ulp in both tails.

    e^x overflows for large x. But σ(x) rounds to 1 from x = 37 on, so taking e^40 for everything above
    changes no result.
    """
    x.clip(-np.inf, 40.0, out=out)  # NumPy has vector code for it, and for the minimum with a number it has not
    np.exp(out, out)
    one_plus_e = np.add(out, 1.0, scratch(out, 1))
    return np.divide(out, one_plus_e, out)


class Sigmoid(Activation):
    """σ(x) = 1 / (1 + e^(−x)): S-shaped, from 0 to 1.

    Parameters
    ----------
    centred : bool
        Whether it is moved down by ½, so that σ(0) − ½ = 0: from −½ to ½, and just as steep. What a next layer is given
        then has mean 0 where x has (LeCun et al. 1998, section 4.3).
    """

    centred: bool = False

    def __init__(self, centred: bool = False):
        self.centred = flag("Sigmoid: centred", centred)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = σ(x), or σ(x) − ½ = ½·tanh(x/2).

        Written with tanh, the centred value keeps all its digits near 0, where σ(x) − ½ is a difference of equals.
        """
        if out is None:
            x, out = with_room(x)
        if not self.centred:
            return sigmoid(x, out)
        np.multiply(x, 0.5, out)
        np.tanh(out, out)
        return np.multiply(out, 0.5, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute σ'(x) = e^(−x) / (1 + e^(−x))² = y·(1 − y), at most 1/4.

        Where y rounds to 1, so from x = 37 on, 1 − y and the slope are 0; on the other side, where y is small but
        not rounded, the slope keeps all its digits.

        Centred, y·(1 − y) becomes (½ + y)·(½ − y) = ¼ − y², which is 0 on *both* sides, since y rounds to −½ too. So
        the slope is then taken from x, as σ(x)·σ(−x) = e^(−abs(x)) / (1 + e^(−abs(x)))², which keeps all its digits.
        """
        if self.centred:
            out = np.abs(as_floats(x), out)
            np.negative(out, out)
            np.exp(out, out)
            one_plus_e = np.add(out, 1.0, scratch(out))
            np.multiply(one_plus_e, one_plus_e, one_plus_e)
            return np.divide(out, one_plus_e, out)
        out = np.subtract(1.0, y, out)
        return np.multiply(out, y, out)


class Tanh(Activation):
    """tanh(x) = 2σ(2x) − 1: the sigmoid stretched to (−1, 1) and centred."""

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = tanh(x)."""
        return np.tanh(as_floats(x) if out is None else x, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute tanh'(x) = 1 − y²."""
        out = np.multiply(y, y, out)
        return np.subtract(1.0, out, out)


class ReLU(Activation):
    """max(x, 0): nothing below zero, the identity above."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = max(x, 0)."""
        return np.maximum(as_floats(x) if out is None else x, 0.0, out=out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute ReLU'(x): 1 where x > 0 and 0 elsewhere, which is the sign of y; at the kink, ReLU'(0) = 0."""
        return np.sign(as_floats(y) if out is None else y, out)


class LeakyReLU(Activation):
    """x above zero, slope·x below: a ReLU that never dies (Maas et al. 2013).

    Parameters
    ----------
    slope : float
        Slope below zero, in [0, 1].
    """

    weight_init = "he_normal"

    def __init__(self, slope: float = 0.01):
        self.slope = real("LeakyReLU: slope", slope, 0.0, 1.0)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = max(x, slope·x)."""
        if out is None:
            x, out = with_room(x)
        np.multiply(x, self.slope, out)
        return np.maximum(x, out, out=out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute 1 where x > 0 and slope elsewhere: slope + (1 − slope)·[x > 0]."""
        out = np.multiply(_is_positive(as_floats(x)), 1.0 - self.slope, out)
        return np.add(out, self.slope, out)


def _is_positive(x: np.ndarray) -> np.ndarray:
    """Return 1.0 where x > 0 and 0.0 elsewhere, in a scratch array."""
    return np.heaviside(x, 0.0, out=scratch(x))


def _elu_forward(x: np.ndarray, alpha: float, out: np.ndarray) -> np.ndarray:
    """Write max(x, 0) + alpha·(e^min(x, 0) − 1) to `out`."""
    np.minimum(x, 0.0, out=out)
    np.expm1(out, out)
    np.multiply(out, alpha, out)
    return np.add(out, np.maximum(x, 0.0, out=scratch(out)), out)


def _elu_derivative(x: np.ndarray, alpha: float, out: np.ndarray | None) -> np.ndarray:
    """Compute e^min(x, 0), which is 1 above zero, times alpha where x is not above zero."""
    factor = _is_positive(x)
    np.multiply(factor, 1.0 - alpha, factor)
    np.add(factor, alpha, factor)
    out = np.minimum(x, 0.0, out=out)
    np.exp(out, out)
    return np.multiply(out, factor, out)


class ELU(Activation):
    """x above zero, alpha·(e^x − 1) below (Clevert et al. 2016, arXiv 1511.07289).

    Parameters
    ----------
    alpha : float
        Minus the value far below zero, at least 0.
    """

    weight_init = "he_normal"

    def __init__(self, alpha: float = 1.0):
        self.alpha = real("ELU: alpha", alpha, 0.0)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = x above zero, alpha·(e^x − 1) below."""
        if out is None:
            x, out = with_room(x)
        return _elu_forward(x, self.alpha, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute 1 where x > 0 and alpha·e^x elsewhere."""
        return _elu_derivative(as_floats(x), self.alpha, out)


class SELU(Activation):
    """scale·ELU(x), the two constants such that N(0, 1) stays N(0, 1) (Klambauer et al. 2017, eq. 2 and 14)."""

    weight_init = "lecun_normal"
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946
    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = scale·x above zero, scale·alpha·(e^x − 1) below."""
        if out is None:
            x, out = with_room(x)
        _elu_forward(x, self.ALPHA, out)
        return np.multiply(out, self.SCALE, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute scale where x > 0 and scale·alpha·e^x elsewhere."""
        out = _elu_derivative(as_floats(x), self.ALPHA, out)
        return np.multiply(out, self.SCALE, out)


class GELU(Activation):
    """x·Φ(x), with Φ the standard normal's distribution function (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = x·Φ(x), exactly: no tanh in Φ's place."""
        from scipy.special import ndtr

        if out is None:
            x, out = with_room(x)
        ndtr(x, out)
        return np.multiply(out, x, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute Φ(x) + x·φ(x), with φ = Φ' = e^(−x²/2)/√(2π).

        φ(x) is 0 in floating point from abs(x) = 40 on; stopping there keeps x² from overflowing.
        """
        from scipy.special import ndtr

        x = as_floats(x)
        near = np.clip(x, -40.0, 40.0, out=scratch(x))
        out = np.multiply(near, near, out)
        np.multiply(out, -0.5, out)
        np.exp(out, out)
        np.multiply(out, 1.0 / math.sqrt(2.0 * math.pi), out)
        np.multiply(out, near, out)
        return np.add(out, ndtr(x, scratch(x)), out)


class SiLU(Activation):
    """x·σ(x), also called swish (Elfwing et al. 2017, arXiv 1702.03118)."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = x·σ(x)."""
        if out is None:
            x, out = with_room(x)
        sigmoid(x, out)
        return np.multiply(out, x, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute σ(x) + x·σ(x)·(1 − σ(x)) = σ(x) + y·(1 − σ(x))."""
        x = as_floats(x)
        s = sigmoid(x, scratch(x))
        out = np.subtract(1.0, s, out)
        np.multiply(out, y, out)
        return np.add(out, s, out)


class Softplus(Activation):
    """log(1 + e^x): a ReLU without its corner, and the integral of σ."""

    weight_init = "he_normal"

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = log(e^x + e^0), which does not overflow: it equals max(x, 0) + log(1 + e^(−abs(x)))."""
        return np.logaddexp(as_floats(x) if out is None else x, 0.0, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute σ(x) = 1 − e^(−y)."""
        out = np.negative(as_floats(y) if out is None else y, out)
        np.expm1(out, out)
        return np.negative(out, out)


class Softsign(Activation):
    """x / (1 + abs(x)): from −1 to 1 like tanh, with polynomial tails (Glorot & Bengio 2010)."""

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = x / (1 + abs(x))."""
        if out is None:
            x, out = with_room(x)
        np.abs(x, out)
        np.add(out, 1.0, out)
        return np.divide(x, out, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute 1 / (1 + abs(x))²."""
        out = np.abs(as_floats(x), out)
        np.add(out, 1.0, out)
        np.divide(1.0, out, out)
        return np.multiply(out, out, out)


class Identity(Activation):
    """The input itself: what a linear network has for an activation."""

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copy x: the tape holds one array a layer."""
        return np.positive(as_floats(x) if out is None else x, out)

    def derivative(self, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute 1."""
        return np.positive(1.0, np.empty_like(as_floats(x)) if out is None else out)


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
OURS.update(type(make()) for make in ACTIVATIONS.values())
