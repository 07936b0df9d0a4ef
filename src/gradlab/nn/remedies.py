"""What repairs a deep network: BatchNorm rescales its activations, Residual gives the gradient a way around,
Dropout keeps it from leaning on single units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gradlab.nn.arrays import as_floats
from gradlab.nn.backpropagation import backward, forward
from gradlab.nn.checks import check_float, check_int
from gradlab.nn.layers import Layer
from gradlab.nn.part import stand_alone


class BatchNorm(Layer):
    """y = gamma·(x − mean)/√(variance + epsilon) + beta, feature by feature (Ioffe & Szegedy 2015, arXiv 1502.03167).

    While training, mean and variance are those of the batch; afterwards, running averages of them.

    Parameters
    ----------
    n : int
        Number of features.
    momentum : float
        Share of the newest batch in the running averages, in (0, 1].
    epsilon : float
        Added to the variance, above 0.

    Attributes
    ----------
    gamma, beta : ndarray (..., 1, n)
        The parameters, first 1 and 0.
    running_mean, running_variance : ndarray (..., 1, n)
        The running averages; the variance is the unbiased one, as in PyTorch. A batch of one sample has none
        and leaves them as they are.
    """

    gamma: np.ndarray
    beta: np.ndarray
    dgamma: np.ndarray
    dbeta: np.ndarray
    running_mean: np.ndarray
    running_variance: np.ndarray

    def __init__(self, n: int, momentum: float = 0.1, epsilon: float = 1e-5):
        self.n_in = check_int("BatchNorm: n", n)
        self.momentum = check_float("BatchNorm: momentum", momentum, 0.0, 1.0, above=True)
        self.epsilon = check_float("BatchNorm: epsilon", epsilon, 0.0, above=True)
        stand_alone(self)

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"gamma": (1, self.n_in), "beta": (1, self.n_in)}

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"running_mean": (1, self.n_in), "running_variance": (1, self.n_in)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = self.running_variance[...] = 1.0
        self.beta[...] = self.running_mean[...] = 0.0

    def moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (..., 1, n) that this pass normalises with."""
        if not self.training:
            return self.running_mean, self.running_variance
        mean = np.mean(x, axis=-2, keepdims=True)
        return mean, np.mean((x - mean) ** 2, axis=-2, keepdims=True)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Normalise every feature, then scale by gamma and shift by beta."""
        if x.shape[-1] != self.n_in:  # one feature would be broadcast to n
            raise ValueError(f"{self!r} takes (samples, {self.n_in} features), not an array of shape {x.shape}")
        mean, variance = self.moments(x)
        n = x.shape[-2]
        if self.training and n > 1:
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_variance += self.momentum * (variance * (n / (n - 1)) - self.running_variance)
        return self.gamma * (x - mean) / np.sqrt(variance + self.epsilon) + self.beta

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Differentiate through the batch's own mean and variance.

        With s = √(variance + epsilon), x̂ = (x − mean)/s and dx̂ = gamma·dy:

        - dL/dgamma = Σ_i dy_i·x̂_i and dL/dbeta = Σ_i dy_i;
        - predicting, mean and variance are constants: dL/dx = dx̂/s;
        - training, both depend on every x_i. Moving all x together changes nothing, nor does stretching them
          (epsilon aside), so these two directions are taken out of dx̂:
          dL/dx = (dx̂ − mean(dx̂) − x̂·mean(dx̂·x̂))/s.

        The moments are computed again from x, so there is no cache to go stale.
        """
        mean, variance = self.moments(x)
        s = np.sqrt(variance + self.epsilon)
        normalised = (x - mean) / s
        self.dgamma[...] = np.sum(dy * normalised, axis=-2, keepdims=True)
        self.dbeta[...] = np.sum(dy, axis=-2, keepdims=True)
        if not self.training:
            return dy * self.gamma / s
        n = x.shape[-2]
        return (dy - self.dbeta / n - normalised * (self.dgamma / n)) * self.gamma / s

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in})"


class Dropout(Layer):
    """Zero each number with probability `rate` while training (Srivastava et al. 2014).

    What stays is divided by 1 − rate then and there (inverted dropout), so predicting needs no scaling.

    Parameters
    ----------
    rate : float
        In [0, 1).

    Attributes
    ----------
    mask : ndarray (..., n, d)
        What the last training pass multiplied by: 0 or 1/(1 − rate).
    """

    mask: np.ndarray

    def __init__(self, rate: float):
        self.rate = check_float("Dropout: rate", rate, 0.0, 1.0)
        if self.rate == 1.0:
            raise ValueError("Dropout: rate: 1 would zero everything; it must be below 1")
        self.mask = np.empty(0)
        stand_alone(self)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Multiply by a new mask while training, by 1 otherwise."""
        if not self.training:
            return 1.0 * x
        x = as_floats(x)
        kept = self.streams.uniform(x.shape, x.dtype) >= self.rate
        self.mask = kept.astype(x.dtype) / (1.0 - self.rate)
        return x * self.mask

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Multiply by the mask of the pass before, which was the slope of y = x·mask."""
        return dy * self.mask if self.training else 1.0 * dy

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate:g})"


class Pass(NamedTuple):
    """One pass through some layers: the tape, and the deltas if it came back."""

    tape: list[np.ndarray]
    deltas: list[np.ndarray]


class Residual(Layer):
    """y = x + f(x), with f some layers in a row that keep the shape (He et al. 2016, arXiv 1512.03385).

    Parameters
    ----------
    layers : sequence of Layer
        f. They must give as many features as they take.

    Attributes
    ----------
    passes : dict of bool to Pass
        f's own tape and deltas, of the last pass that trained (True) and of the last one that predicted (False).

    Notes
    -----
    If `backward` is given another x than the last pass saw, f runs again first.
    """

    def __init__(self, layers: Sequence[Layer]):
        if not isinstance(layers, Sequence) or not layers or not all(isinstance(layer, Layer) for layer in layers):
            raise ValueError(f"Residual: {layers!r} is not a sequence of at least one layer")
        self.layers = tuple(layers)
        sized = [layer for layer in self.layers if hasattr(layer, "n_in") or hasattr(layer, "n_out")]
        if sized and hasattr(sized[0], "n_in"):
            self.n_in = n_out = sized[0].n_in
            for layer in sized:
                n_out = layer.output_features(n_out)
            if self.n_in != n_out:
                raise ValueError(f"Residual: x has {self.n_in} features but f(x) has {n_out}; they cannot be added")
        self.passes: dict[bool, Pass] = {}

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Add x to what the layers make of it."""
        tape = forward(self.layers, x.copy())  # so that `backward` notices an x that was changed in between
        self.passes[self.training] = Pass(tape, [])
        return x + tape[-1]

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Add dy, which came around, to what came through: dL/dx = dy + f'(x)ᵀ·dy."""
        last = self.passes.get(self.training)
        tape = last.tape if last and np.array_equal(last.tape[0], x) else forward(self.layers, x)
        deltas = backward(self.layers, dy, tape)
        self.passes[self.training] = Pass(tape, deltas)
        return dy + deltas[0]

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"passes": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}])"
