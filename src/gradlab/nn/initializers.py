"""How large the first weights are decides whether a deep network learns at all.

An initializer is a function ``(rng, shape, gain) -> array``. A weight matrix ``(n_in, n_out)`` has fan-in n_in and
fan-out n_out. The variance-scaling family keeps the variance of activations (or of gradients) the same from layer to
layer; `gain` multiplies its standard deviation. U(−a, a) has variance a²/3.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gradlab.nn.checks import lookup

Shape = tuple[int, int]
Initializer = Callable[["np.random.Generator", Shape, float], np.ndarray]


def zeros(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """All zero: right for biases; hidden units that start with equal weights stay equal."""
    return np.zeros(shape)


def constant(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Every entry equal to `gain`."""
    return np.full(shape, float(gain))


def identity(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """`gain` on the diagonal, 0 elsewhere: a recurrence starts by keeping its state (arXiv 1504.00941)."""
    return gain * np.eye(*shape)


def normal(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """N(0, gain²), whatever the fan-in."""
    return gain * rng.standard_normal(shape)


def uniform(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """U(−gain, gain), whatever the fan-in."""
    return rng.uniform(-gain, gain, shape)


def lecun_normal(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Variance gain²/n_in: a linear layer keeps the variance of its input (LeCun et al. 1998, eq. 16)."""
    return normal(rng, shape, gain * math.sqrt(1.0 / shape[0]))


def lecun_uniform(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """As `lecun_normal`, uniform."""
    return uniform(rng, shape, gain * math.sqrt(3.0 * (1.0 / shape[0])))


def glorot_normal(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Variance 2·gain²/(n_in + n_out): between forward and backward (Glorot & Bengio 2010, eq. 12)."""
    return normal(rng, shape, gain * math.sqrt(2.0 / sum(shape)))


def glorot_uniform(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """As `glorot_normal`, uniform (Glorot & Bengio 2010, eq. 16)."""
    return uniform(rng, shape, gain * math.sqrt(3.0 * (2.0 / sum(shape))))


def he_normal(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Variance 2·gain²/n_in: makes up for the half that a ReLU cuts off (He et al. 2015, eq. 10)."""
    return normal(rng, shape, gain * math.sqrt(2.0 / shape[0]))


def he_uniform(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """As `he_normal`, uniform."""
    return uniform(rng, shape, gain * math.sqrt(3.0 * (2.0 / shape[0])))


def orthogonal(rng: np.random.Generator, shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Orthonormal columns, or rows where there are fewer, times gain (Saxe et al. 2014, arXiv 1312.6120).

    Q of a Gaussian matrix's QR decomposition, the signs of R's diagonal moved into Q: without them Q is not uniformly
    distributed (Mezzadri 2007, arXiv math-ph/0609050).
    """
    q, r = np.linalg.qr(rng.standard_normal((max(shape), min(shape))))
    q *= np.where(np.diagonal(r) < 0.0, -1.0, 1.0)
    return gain * (q if shape[0] >= shape[1] else q.T)


_ALL = (zeros, constant, identity, normal, uniform, lecun_normal, lecun_uniform, glorot_normal, glorot_uniform)
INITIALIZERS: dict[str, Initializer] = {f.__name__: f for f in (*_ALL, he_normal, he_uniform, orthogonal)}


def get_initializer(initializer: str | Initializer, what: str = "weight_init") -> Initializer:
    """Return the initializer of a name, or a function as it is."""
    return initializer if callable(initializer) else lookup(what, initializer, INITIALIZERS)
