"""When do two inputs become one? What a deep, wide network makes of the correlation of two samples.

The pre-activations of two samples at one layer are N(0, q*) with the correlation c. The next layer makes of it

    C(c) = (gain²·E[φ(√q*·u)·φ(√q*·v)] + bias_std²)/q*,    u, v ~ N(0, 1) with correlation c

(Poole et al. 2016, arXiv 1606.05340, eq. 5). C(1) = 1: a sample stays like itself. C is a power series in c without a
negative coefficient (Mehler's formula), so it is convex on [0, 1], and its slope at 1, which is χ, says all: up to
χ = 1 two samples become one, c* = 1; above, they settle at a c* below 1, whatever they were. Either way the distance to
c* shrinks by C'(c*) a layer: over ξ_c = −1/ln C'(c*) layers it falls to 1/e (Schoenholz et al. 2017, arXiv 1611.01232,
eq. 9), and as deep as some ξ_c can a network tell its samples apart, and be trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradlab.flow.theory import as_activation, mean_field, panels
from gradlab.nn.activations import Activation
from gradlab.nn.checks import check_float

NEAR_ONE = 1e-9  # from 1: how close c* is looked for where χ is above 1
OUTERMOST = 12.0  # standard deviations; beyond there is less than 1e-32 of a Gaussian


@dataclass(frozen=True)
class Correlation:
    """What becomes of the correlation of two samples in a deep, wide network.

    Attributes
    ----------
    activation : str or Activation
    gain, bias_std : float
        Standard deviation of the weights times √n_in, and of the biases.
    q : float
        The fixed point q* of the pre-activations' variance.
    c : float
        The fixed point c* of their correlation that two samples come to; 1 also where every correlation stays as it
        is, as in a linear network.
    slope : float
        C'(c*), the factor on the distance to c* in one layer.
    """

    activation: str | Activation
    gain: float
    bias_std: float
    q: float
    c: float
    slope: float

    @property
    def depth_scale(self) -> float:
        """ξ_c = −1/ln C'(c*), in layers; inf where the slope is 1."""
        if self.slope >= 1.0 - NEAR_ONE:
            return math.inf
        return -1.0 / math.log(self.slope) if self.slope > 0.0 else 0.0


def correlation_map(
    activation: str | Activation, c: float, gain: float, bias_std: float = 0.0, q: float | None = None
) -> float:
    """Compute the correlation C(c) in the next layer (Poole et al. 2016, eq. 5).

    Parameters
    ----------
    activation : str or Activation
        A name from `ACTIVATIONS`, or an object.
    c : float
        Correlation of two samples' pre-activations, from −1 to 1.
    gain : float
        Standard deviation of the weights times √n_in, above 0.
    bias_std : float
        Standard deviation of the biases, at least 0.
    q : float, optional
        Variance of the pre-activations, the same for both; the fixed point q* unless given.

    Returns
    -------
    float
        From −1 to 1. Where q* is 0 or inf it is the limit.

    Raises
    ------
    ValueError
        For an unknown activation, a number out of its range, or a network that gives 0 for every sample.
    """
    c = check_float("c", c, -1.0, 1.0)
    return _Map(activation, gain, bias_std, q).value(c)


def correlation_fixed_point(activation: str | Activation, gain: float, bias_std: float = 0.0) -> Correlation:
    """Find the fixed point c* of `correlation_map`, and C'(c*).

    Parameters
    ----------
    activation, gain, bias_std
        As in `correlation_map`.

    Returns
    -------
    Correlation

    Raises
    ------
    ValueError
        As `correlation_map`.

    Examples
    --------
    >>> round(correlation_fixed_point("tanh", 1.0, 0.2236).depth_scale, 3)  # ordered: c* = 1, and ξ_c = −1/ln χ
    3.627
    >>> round(correlation_fixed_point("tanh", 2.0, 0.2236).c, 3)  # chaotic
    0.165
    """
    from scipy.optimize import brentq

    theory = mean_field(activation, gain, bias_std)
    here = _Map(activation, gain, bias_std, theory.q)
    slope = theory.chi if 0.0 < theory.q < math.inf else here.slope(1.0)  # C'(1)

    def excess(c: float) -> float:
        return here.value(c) - c

    c, highest = 1.0, 1.0 - NEAR_ONE
    if slope > 1.0 + NEAR_ONE and excess(highest) < 0.0:
        c = 0.0 if excess(0.0) <= 0.0 else brentq(excess, 0.0, highest, xtol=1e-13, rtol=1e-12)
        slope = here.slope(c)
    return Correlation(activation, gain, bias_std, theory.q, c, slope)


class _Map:
    """C and C' for one activation and one q."""

    def __init__(self, activation: str | Activation, gain: float, bias_std: float, q: float | None):
        phi = as_activation(activation)
        self._gain, self._bias = check_float("gain", gain, 0.0, above=True), check_float("bias_std", bias_std, 0.0)
        if q is None:
            q = mean_field(activation, gain, bias_std).q
        elif q != math.inf:
            q = check_float("q", q, 0.0)
        self._root = math.sqrt(min(max(q, 1e-200), 1e200))  # far enough out for the limits, and not for overflow
        self._phi: Callable[[np.ndarray], np.ndarray] = lambda x: phi.forward(x)
        self._derivative: Callable[[np.ndarray], np.ndarray] = lambda x: phi.derivative(x, phi.forward(x))
        self._next = self._covariance(1.0)  # of a sample with itself
        if not 0.0 < self._next < math.inf:
            raise ValueError(f"{phi!r} with gain {gain:g}: nothing is left of two samples that could be correlated")

    def value(self, c: float) -> float:
        return min(max(self._covariance(c) / self._next, -1.0), 1.0)

    def slope(self, c: float) -> float:
        """Compute C'(c) = gain²·E[φ'(√q·u)·φ'(√q·v)]·q/(the next layer's q), by parts."""
        return self._gain**2 * expectation(self._derivative, self._root, c) * (self._root**2 / self._next)

    def _covariance(self, c: float) -> float:
        return self._gain**2 * expectation(self._phi, self._root, c) + self._bias**2


def expectation(f: Callable[[np.ndarray], np.ndarray], root: float, c: float) -> float:
    """Integrate E[f(root·u)·f(root·v)], u and v ~ N(0, 1) with correlation c, to about 1e-12 of itself.

    v = c·u + s·w with w ~ N(0, 1) and s = √(1 − c²). Gauss–Legendre, over u on panels graded towards 0, where f bends;
    for each u over w, on panels graded towards −c·u/s, where v is 0.
    """
    nodes, weights = np.polynomial.legendre.leggauss(10)
    left, right = panels(root, OUTERMOST)
    u = (((left + right)[:, None] + (right - left)[:, None] * nodes) / 2.0).ravel()
    du = ((right - left)[:, None] * weights / 2.0).ravel()
    fu = f((root * u)[:, None])[:, 0] * _density(u) * du
    s = math.sqrt((1.0 - c) * (1.0 + c))
    if s == 0.0:
        return float(np.sum(fu * f((root * math.copysign(1.0, c) * u)[:, None])[:, 0]))
    # the same panels, moved to where v = 0, and those of the Gaussian itself
    bends = np.r_[left, right[-1]] / s
    edges = np.concatenate(
        [bends - (c / s) * u[:, None], np.broadcast_to(np.arange(-OUTERMOST, OUTERMOST + 1.0), (len(u), 25))], axis=1
    )
    edges = np.sort(np.clip(edges, -OUTERMOST, OUTERMOST), axis=1)
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        w = ((edges[:, :-1] + edges[:, 1:]) + (edges[:, 1:] - edges[:, :-1]) * node) / 2.0
        inner = f(root * (c * u[:, None] + s * w)) * _density(w) * (edges[:, 1:] - edges[:, :-1])
        total += float(fu @ inner.sum(axis=1)) * float(weight) / 2.0
    return total


def _density(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
