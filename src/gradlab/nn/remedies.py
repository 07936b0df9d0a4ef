"""What repairs a deep network: BatchNorm rescales its activations, Residual gives the gradient a way around,
Dropout keeps it from leaning on single units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradlab.nn.arrays import as_floats, scratch, with_room
from gradlab.nn.checks import real, whole
from gradlab.nn.layers import OURS, Layer, check_features, stand_alone
from gradlab.nn.plan import Plans, Tape


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
        self.n_in = whole("BatchNorm: n", n)
        self.momentum = real("BatchNorm: momentum", momentum, 0.0, 1.0, above=True)
        self.epsilon = real("BatchNorm: epsilon", epsilon, 0.0, above=True)
        stand_alone(self)

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"gamma": (1, self.n_in), "beta": (1, self.n_in)}

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"running_mean": (1, self.n_in), "running_variance": (1, self.n_in)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.gamma[...] = self.running_variance[...] = 1.0
        self.beta[...] = self.running_mean[...] = 0.0

    def _moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and variance (..., 1, n) that this pass normalises with."""
        if not self.training:
            return self.running_mean, self.running_variance
        mean = np.mean(x, axis=-2, keepdims=True)
        centred = np.subtract(x, mean, scratch(x))
        return mean, np.mean(np.multiply(centred, centred, centred), axis=-2, keepdims=True)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Normalise every feature, then scale by gamma and shift by beta."""
        if out is None:
            check_features(self, x, self.n_in)
            x, out = with_room(x)
        mean, variance = self._moments(x)
        n = x.shape[-2]
        if self.training and n > 1:
            self.running_mean += self.momentum * (mean - self.running_mean)
            self.running_variance += self.momentum * (variance * (n / (n - 1)) - self.running_variance)
        np.subtract(x, mean, out)
        np.multiply(out, self.gamma / np.sqrt(variance + self.epsilon), out)
        return np.add(out, self.beta, out)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Differentiate through the batch's own mean and variance.

        With s = √(variance + epsilon), x̂ = (x − mean)/s and dx̂ = gamma·dy:

        - dL/dgamma = Σ_i dy_i·x̂_i and dL/dbeta = Σ_i dy_i;
        - predicting, mean and variance are constants: dL/dx = dx̂/s;
        - training, both depend on every x_i. Moving all x together changes nothing, nor does stretching them
          (epsilon aside), so these two directions are taken out of dx̂:
          dL/dx = (dx̂ − mean(dx̂) − x̂·mean(dx̂·x̂))/s.

        The moments are computed again from x, so there is no cache to go stale.
        """
        x = as_floats(x)
        mean, variance = self._moments(x)
        scale = 1.0 / np.sqrt(variance + self.epsilon)
        out = np.subtract(x, mean, out)
        np.multiply(out, scale, out)  # x̂
        dy_times_x = np.multiply(dy, out, scratch(out))
        np.sum(dy_times_x, axis=-2, keepdims=True, out=self.dgamma)
        np.sum(dy, axis=-2, keepdims=True, out=self.dbeta)
        factor = self.gamma * scale
        if not self.training:
            return np.multiply(dy, factor, out)
        n = x.shape[-2]
        np.multiply(out, self.dgamma / n, out)
        np.subtract(dy, out, out)
        np.subtract(out, self.dbeta / n, out)
        return np.multiply(out, factor, out)

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
        self.rate = real("Dropout: rate", rate, 0.0, 1.0)
        if self.rate == 1.0:
            raise ValueError("Dropout: rate: 1 would zero everything; it must be below 1")
        self.mask = np.empty(0)
        stand_alone(self)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Multiply by a new mask while training; copy x otherwise."""
        if out is None:
            x, out = with_room(x)
        if not self.training:
            return np.positive(x, out)
        if self.mask.shape != x.shape or self.mask.dtype != x.dtype:
            self.mask = np.empty(x.shape, x.dtype)
        self.streams.uniform(self.mask)
        np.greater_equal(self.mask, self.rate, out=self.mask, casting="unsafe")
        np.divide(self.mask, 1.0 - self.rate, self.mask)
        return np.multiply(x, self.mask, out)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Multiply by the mask of the pass before, which was the slope of y = x·mask."""
        if self.training:
            return np.multiply(dy, self.mask, out)
        return np.positive(as_floats(dy) if out is None else dy, out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate:g})"


class Residual(Layer):
    """y = x + f(x), with f some layers in a row that keep the shape (He et al. 2016, arXiv 1512.03385).

    Parameters
    ----------
    layers : sequence of Layer
        f. They must give as many features as they take.

    Notes
    -----
    The tape of f is kept from the forward pass. If `backward` is given another x than that pass saw, f runs
    again first.
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
        self._plans = Plans(self.layers)
        self._tapes: dict[bool, Tape] = {}  # of the last pass that predicted, and of the last one that trained

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Add x to what the layers make of it."""
        tape = self._tapes[self.training] = self._plans.forward(as_floats(x), self.training)
        return np.add(tape[0], tape[-1], out)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Add dy, which came around, to what came through: dL/dx = dy + f'(x)ᵀ·dy."""
        if out is None:
            dy = as_floats(dy)
        tape = self._tapes.get(self.training)
        if tape is None or tape.plan is None or not np.array_equal(tape[0], x):
            tape = self._tapes[self.training] = self._plans.forward(as_floats(x), self.training)
        plan = tape.plan
        assert plan is not None
        return np.add(dy, plan.backward(dy)[0], out)

    def tape(self, training: bool) -> Tape:
        """Return f's tape of the last pass of this kind, live like the network's.

        Raises
        ------
        ValueError
            If there was none, or its arrays have been given up.
        """
        tape = self._tapes.get(training)
        if tape is None or tape.plan is None:
            raise ValueError(f"{self!r} has no tape of a pass that {'trained' if training else 'predicted'}")
        return tape

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_plans": Plans(self.layers), "_tapes": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self.layers))}])"


OURS.update((BatchNorm, Dropout, Residual))
