"""How fast a gradient should vanish or explode, before any network is made: the mean-field theory of random weights.

A deep network repeats z = xW + b, y = φ(z), the entries of W with variance gain²/n_in and those of b with variance
bias_std². When it is wide, the pre-activations z of a layer are N(0, q), and q alone says what comes next:

- forward, q becomes gain²·E[φ(√q·z)²] + bias_std² in the next layer, z ~ N(0, 1), and settles at a fixed point q*
  (Poole et al. 2016, arXiv 1606.05340, eq. 3);
- backward, the squared norm of dL/dy becomes χ = gain²·E[φ'(√q·z)²] times as large by passing a layer
  (Schoenholz et al. 2017, arXiv 1611.01232).

Below χ = 1 gradients vanish, above they explode, over a depth of ξ = 1/abs(ln χ) layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from gradlab.nn.activations import ACTIVATIONS, Activation
from gradlab.nn.checks import check_float, check_int, lookup

TOLERANCE = 1e-13  # of the integral over one panel, relative to the whole
ROUNDING = 1e-14  # what two floats that are equal in theory may differ by, relatively
MOST_PANELS = 100_000


@dataclass(frozen=True)
class MeanField:
    """What becomes of variance and gradient in a deep, wide network.

    Attributes
    ----------
    activation : str or Activation
    gain, bias_std : float
        Standard deviation of the weights times √n_in, and of the biases.
    q : float
        The fixed point q* of the pre-activations' variance; may be 0 or inf.
    chi : float
        χ(q*), the factor on the squared norm of dL/dy a layer.
    """

    activation: str | Activation
    gain: float
    bias_std: float
    q: float
    chi: float

    @property
    def depth_scale(self) -> float:
        """ξ = 1/abs(ln χ), in layers; inf at χ = 1.

        Below χ = 1 it is −1/ln χ, the depth over which the squared norm of a gradient falls to 1/e; above, it is
        1/ln χ, the depth over which it grows by e.
        """
        if self.chi == 1.0:
            return math.inf
        return 1.0 / abs(math.log(self.chi)) if self.chi > 0.0 else 0.0


class _Moments:
    """E[φ(√q·z)²] and E[φ'(√q·z)²] of one activation, each computed once for a q."""

    def __init__(self, activation: str | Activation):
        phi = as_activation(activation)
        self.name = repr(phi)
        self.square = cache(lambda q: _mean_square(lambda x: phi.forward(x), q, f"{self.name}: φ"))
        self.slope_square = cache(
            lambda q: _mean_square(lambda x: phi.derivative(x, phi.forward(x)), q, f"{self.name}: φ'")
        )


def as_activation(activation: str | Activation) -> Activation:
    """Return an activation as it is, or the one of a name from `ACTIVATIONS`; raise ValueError for another name."""
    return activation if isinstance(activation, Activation) else lookup("activation", activation, ACTIVATIONS)()


def variance_map(activation: str | Activation, q: float, gain: float, bias_std: float = 0.0) -> float:
    """Compute the next layer's variance, gain²·E[φ(√q·z)²] + bias_std² (Poole et al. 2016, eq. 3).

    Parameters
    ----------
    activation : str or Activation
        A name from `ACTIVATIONS`, or an object.
    q : float
        Variance of a layer's pre-activations, at least 0; inf stands for the limit.
    gain : float
        Standard deviation of the weights times √n_in, above 0.
    bias_std : float
        Standard deviation of the biases, at least 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an unknown activation or a number out of its range.
    """
    moments, q, gain, bias_std = _Moments(activation), _variance("q", q), _gain(gain), _bias_std(bias_std)
    return _next(moments, q, gain, bias_std)


def chi(activation: str | Activation, q: float, gain: float) -> float:
    """Compute χ = gain²·E[φ'(√q·z)²], the factor on the squared norm of dL/dy a layer (Schoenholz et al. 2017).

    At q = 0 it is the limit: gain²·(φ'(0+)² + φ'(0−)²)/2, since half of all units are on either side of a kink.

    Parameters
    ----------
    activation, q, gain
        As in `variance_map`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For an unknown activation or a number out of its range.
    """
    moments, q, gain = _Moments(activation), _variance("q", q), _gain(gain)
    return _chi(moments, q, gain)


def mean_field(activation: str | Activation, gain: float, bias_std: float = 0.0) -> MeanField:
    """Find the fixed point q* of `variance_map`, and χ there.

    Parameters
    ----------
    activation, gain, bias_std
        As in `variance_map`.

    Returns
    -------
    MeanField

    Raises
    ------
    ValueError
        For an unknown activation or a number out of its range.

    Notes
    -----
    Where there are several fixed points, q* is the one that iterating from q = 1 leads to, as a network
    does that is fed with standardised data. The variance maps of all `ACTIVATIONS` increase, so it is the first fixed
    point from 1 in the direction of the first step; the same is returned if the map of an activation of your own does
    not increase. It can be

    - 0, where nothing keeps the variance up: tanh with a gain of at most 1, ReLU below √2;
    - inf, where nothing keeps it down: ReLU above √2. χ is then its limit;
    - 1 if 1 is one of them: for ReLU and a gain of √2 every q is a fixed point.

    A χ that is 1 but for rounding is returned as 1.

    Examples
    --------
    >>> theory = mean_field("sigmoid", 1.0)
    >>> round(theory.chi**0.5, 5), round(theory.depth_scale, 5)
    (0.23605, 0.34633)
    """
    moments, gain, bias_std = _Moments(activation), _gain(gain), _bias_std(bias_std)
    q, slope = _solve(moments, gain, bias_std)
    return MeanField(activation, gain, bias_std, q, slope)


def critical_gain(activation: str | Activation, bias_std: float = 0.0) -> float:
    """Find the gain at which gradients neither vanish nor explode: χ(q*) = 1.

    Parameters
    ----------
    activation, bias_std
        As in `variance_map`.

    Returns
    -------
    float
        The least, if there are several.

    Raises
    ------
    ValueError
        If there is none between 1e-4 and 1e4, or for an unknown activation or a number out of its range. There
        is none for GELU and SiLU without biases: when the gain grows, q* leaps from 0 to infinity, and χ over 1.
    """
    from scipy.optimize import brentq

    moments, bias_std = _Moments(activation), _bias_std(bias_std)

    def excess(gain: float) -> float:
        return _solve(moments, gain, bias_std)[1] - 1.0

    gains = np.geomspace(1e-4, 1e4, 257).tolist()
    k = next((k for k, gain in enumerate(gains) if excess(gain) >= 0.0), None)
    if not k:
        raise ValueError(f"{moments.name}: no gain is critical, χ stays {'below' if k is None else 'above'} 1")
    below, above = gains[k - 1], gains[k]
    for q in (0.0, math.inf):  # where χ/gain² is a limit, the gain is known to the last digit
        limit = moments.slope_square(q)
        gain = math.sqrt(1.0 / limit) if limit > 0.0 else math.inf
        if below <= gain <= above and excess(gain) == 0.0:
            above = gain * (1.0 - 1e-9)
            if excess(above) < 0.0:  # else χ came down to 1 here, and another gain is less
                return gain
    gain = brentq(excess, below, above, xtol=1e-300, rtol=1e-15)
    if abs(excess(gain)) > 1e-9:
        low, high = (1.0 + excess(gain * factor) for factor in (1.0 - 1e-9, 1.0 + 1e-9))
        raise ValueError(
            f"{moments.name}: no gain is critical with bias_std {bias_std:g}, since χ leaps from {low:.3g} to "
            f"{high:.3g} at {gain:.6g}"
        )
    return gain


def predicted_decay(
    activation: str | Activation, gain: float, depth: int, q0: float, bias_std: float = 0.0
) -> np.ndarray:
    """Predict the factor on the norm of dL/dy at each layer, before the fixed point is reached as well.

    Critical tanh and softsign never reach it: q falls like 1/l.

    Parameters
    ----------
    activation, gain, bias_std
        As in `variance_map`.
    depth : int
        Number of hidden layers.
    q0 : float
        Variance of the first hidden layer's pre-activations: gain²·(mean square of the inputs) + bias_std².

    Returns
    -------
    ndarray (depth,)
        √χ(q_l) for each hidden layer z_l = y_(l−1)·W + b, y_l = φ(z_l), from l = 0 next to the input to l = depth − 1,
        where q_l is the variance of z_l. Entry l is the norm of dL/dy_(l−1) over that of dL/dy_l, so what passing layer
        l does; y_(−1) is the network's input. It is also the norm of dL/dz_l over that of dL/dz_(l+1). What reaches the
        input of layer a from the output of layer b is the product of the entries a to b.

    Raises
    ------
    ValueError
        For an unknown activation or a number out of its range.
    """
    moments, gain, bias_std = _Moments(activation), _gain(gain), _bias_std(bias_std)
    depth, q = check_int("depth", depth), _variance("q0", q0)
    factors = np.empty(depth)
    for layer in range(depth):
        factors[layer] = math.sqrt(_chi(moments, q, gain))
        q = _next(moments, q, gain, bias_std)
    return factors


def _gain(value: float) -> float:
    return check_float("gain", value, 0.0, above=True)


def _bias_std(value: float) -> float:
    return check_float("bias_std", value, 0.0)


def _variance(name: str, value: float) -> float:
    return math.inf if value == math.inf else check_float(name, value, 0.0)


def _next(moments: _Moments, q: float, gain: float, bias_std: float) -> float:
    return gain * gain * moments.square(q) + bias_std * bias_std


def _chi(moments: _Moments, q: float, gain: float) -> float:
    return gain * gain * moments.slope_square(q)


def _solve(moments: _Moments, gain: float, bias_std: float) -> tuple[float, float]:
    """Return q* and χ(q*)."""
    q = _fixed_point(moments, gain, bias_std)
    slope = _chi(moments, q, gain)
    return q, 1.0 if abs(slope - 1.0) < 10.0 * ROUNDING else slope


def _fixed_point(moments: _Moments, gain: float, bias_std: float) -> float:
    """Find the fixed point that q = 1 leads to, by looking from there in growing steps of ln q."""
    from scipy.optimize import brentq, minimize_scalar

    def rise(u: float) -> float:
        """How much ln q grows in the next layer, at ln q = u."""
        q = math.exp(u)
        ratio = _next(moments, q, gain, bias_std) / q  # before the logarithm, which far out would round it away
        return math.log(ratio) if 0.0 < ratio < math.inf else math.copysign(math.inf, ratio - 1.0)

    first = rise(0.0)
    if abs(first) <= ROUNDING:
        return 1.0
    way = math.copysign(1.0, first)

    def ahead(u: float) -> float:
        return way * rise(u)

    def root(a: float, b: float) -> float:
        return math.exp(brentq(rise, a, b, xtol=1e-300, rtol=1e-15))

    grid = [way * (1.05**k - 1.0) for k in range(135)]  # to q = e^±689
    passed = 0.0
    for before, u, after in zip([-grid[1], *grid], grid, grid[1:], strict=False):
        if ahead(u) < -ROUNDING:
            return root(passed, u)
        if ahead(u) < min(ahead(before), ahead(after)) - ROUNDING:  # two fixed points may hide between
            bounds = sorted((before if u else u, after))
            dip = minimize_scalar(ahead, bounds=bounds, method="bounded", options={"xatol": 1e-9})
            if dip.fun <= ROUNDING:
                return root(passed, dip.x) if dip.fun < 0.0 else math.exp(dip.x)
        if ahead(u) > 0.0:
            passed = u
    return math.inf if way > 0.0 else _next(moments, 0.0, gain, bias_std)


def _mean_square(f: Callable[[np.ndarray], np.ndarray], q: float, name: str) -> float:
    """Integrate E[f(√q·z)²], z ~ N(0, 1), to about 1e-13 of itself.

    Gauss–Legendre on panels graded towards z = 0, where f bends on its own scale, which is 1/√q of the Gaussian's.
    A panel over which its two halves disagree with it, as over a kink, is halved again.

    At q = 0 and q = inf it is the limit: f at ±1e-200 and ±1e200, whose squares are 0 and inf.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if q in (0.0, math.inf):
            x = 1e-200 if q == 0.0 else 1e200
            return float(np.mean(np.square(_known(f(np.array([[-x, x]])), name, q))))
        root = math.sqrt(q)
        nodes, weights = _legendre()
        left, right = panels(root)

        def root_of_integrand(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            z = ((left + right)[:, None] + (right - left)[:, None] * nodes) / 2.0
            return _known(f(root * z), name, q) * np.exp(-0.25 * z * z)

        values = root_of_integrand(left, right)
        largest = float(np.max(np.abs(values)))  # is divided out: its square may overflow, or underflow
        if not 0.0 < largest < math.inf:
            return largest

        def integral(values: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return np.square(values / largest) @ weights * (right - left) / 2.0

        coarse = integral(values, left, right)
        total = 0.0
        while left.size:
            if left.size > MOST_PANELS:
                raise ValueError(f"{name} at q = {q:g} is too rough to be integrated")
            middle = (left + right) / 2.0
            lower = integral(root_of_integrand(left, middle), left, middle)
            upper = integral(root_of_integrand(middle, right), middle, right)
            both = lower + upper
            rough = np.abs(both - coarse) > TOLERANCE * (total + np.sum(both))
            total += float(np.sum(both[~rough]))
            left, right = np.r_[left[rough], middle[rough]], np.r_[middle[rough], right[rough]]
            coarse = np.r_[lower[rough], upper[rough]]
        return total / math.sqrt(2.0 * math.pi) * largest * largest


def _known(values: np.ndarray, name: str, q: float) -> np.ndarray:
    if np.isnan(values).any():
        raise ValueError(f"{name} is not a number somewhere in N(0, q = {q:g})")
    return values


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(16)


@lru_cache
def panels(root: float, outermost: float = 40.0) -> tuple[np.ndarray, np.ndarray]:
    """Left and right ends of panels over z ~ N(0, 1), graded towards 0, where f(root·z) bends on a scale of 1/root."""
    halvings = 10 + max(0, math.ceil(math.log2(root)))
    edges = np.r_[0.0, 2.0 ** -np.arange(halvings, 0.0, -1.0), np.arange(1.0, 11.0), 20.0, 40.0]
    edges = np.r_[edges[edges < outermost], outermost]
    edges = np.r_[-edges[:0:-1], edges]
    return edges[:-1], edges[1:]
