"""A layer carries samples forward and gradients backward; Dense is the one that learns.

Arrays are ``(..., n, d)``: n samples of d features. The leading ``...`` is empty for one network and
``(R,)`` for R replicas trained side by side. A layer never asks which: it addresses the samples as
``axis=-2``, the features as ``axis=-1``, and transposes with ``.mT``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from gradlab.nn.arrays import Streams, as_floats, product, row_of_ones
from gradlab.nn.checks import real, whole
from gradlab.nn.initializers import Initializer, get_initializer

OURS: set[type[Layer]] = set()  # the layers of this package, whose calls are known; filled where they are defined
CHANGES = [0]  # how often a layer of these was changed after it was made: what was planned with it holds no longer


class Layer(ABC):
    """The contract: `forward` gives y from x, `backward` gives dL/dx from dL/dy.

    A layer of your own needs these two, and `parameter_shapes` and `initialize` if it learns. The network
    keeps all parameters in one flat vector and gives every layer views of it: the entry ``"W"`` of
    `parameter_shapes` becomes ``self.W``, and its gradient ``self.dW``. Write into them, as in
    ``self.dW[...] = x.mT @ dy``: an array put in their place is one that the network does not know of.

    Attributes
    ----------
    layers : tuple of Layer
        The layers inside this one; empty but for containers such as `Residual`.
    training : bool
        Whether this pass trains (batch statistics, dropout) or predicts; set by the network.
    streams : Streams
        Where a layer draws random numbers while training; set by the network.
    adopted : bool
        Whether a network has taken the layer in.
    """

    layers: tuple[Layer, ...] = ()
    training: bool = False
    streams: Streams
    adopted: bool = False

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of what this layer learns; a name that begins with W is a weight, and is decayed."""
        return {}

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of what this layer keeps but does not learn, such as running statistics."""
        return {}

    def output_features(self, features: int | None) -> int | None:
        """Return how many features y has if x has `features`; None is for not known.

        A layer says it with attributes: ``n_out``, and ``n_in`` if x must have so many; without, the number stays.
        """
        n_in: int | None = getattr(self, "n_in", None)
        return getattr(self, "n_out", features if n_in is None else n_in)

    def initialize(self, rng: np.random.Generator) -> None:
        """Write the first values into parameters and state, which are zero until then."""
        return

    @abstractmethod
    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y.

        Parameters
        ----------
        x : ndarray (..., n, d_in)
        out : ndarray (..., n, d_out), optional
            Where to write y, as in NumPy's ufuncs; it does not overlap x. Without it a new array is made.

        Returns
        -------
        y : ndarray (..., n, d_out)
        """

    @abstractmethod
    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute dL/dx, and write (never add to) the gradients of the parameters.

        Parameters
        ----------
        dy : ndarray (..., n, d_out)
            dL/dy.
        x, y : ndarray (..., n, d_in), (..., n, d_out)
            What `forward` was given, and what it returned.
        out : ndarray (..., n, d_in), optional
            Where to write dL/dx; it does not overlap dy, x or y.

        Returns
        -------
        dx : ndarray (..., n, d_in)
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Dense(Layer):
    """y = xW + b: every output is a weighted sum of all inputs.

    Parameters
    ----------
    n_in, n_out : int
        Number of input and of output features.
    weight_init, bias_init : str or callable
        A name from `INITIALIZERS`, or a function ``(rng, shape, gain) -> array``.
    gain : float
        Factor on the standard deviation of the first weights (not of the biases).

    Attributes
    ----------
    W, b : ndarray (..., n_in, n_out), (..., 1, n_out)
        The parameters; ``dW`` and ``db`` are their gradients. Outside a network they are the layer's own
        arrays, drawn with seed 0.

    Raises
    ------
    ValueError
        For a size below 1, an unknown initializer, or a gain that is not above 0.
    """

    W: np.ndarray
    b: np.ndarray
    dW: np.ndarray
    db: np.ndarray
    joint: np.ndarray | None = None  # in a network: W with b below it, as they stand in the flat vector
    djoint: np.ndarray | None = None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        weight_init: str | Initializer = "glorot_uniform",
        bias_init: str | Initializer = "zeros",
        gain: float = 1.0,
    ):
        self.n_in = whole("Dense: n_in", n_in)
        self.n_out = whole("Dense: n_out", n_out)
        self.weight_init = get_initializer(weight_init)
        self.bias_init = get_initializer(bias_init, "bias_init")
        self.gain = real("Dense: gain", gain, 0.0, above=True)
        stand_alone(self)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; in a network, W and b are written where they stand, so that they stay views of it."""
        if name in ("W", "b") and self.joint is not None:
            getattr(self, name)[...] = value
            return
        if name in ("forward", "backward"):
            CHANGES[0] += 1
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, object]:
        """Leave the network's views behind: a copy is on its own until a network takes it in."""
        return {name: value for name, value in vars(self).items() if name not in ("joint", "djoint")}

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"W": (self.n_in, self.n_out), "b": (1, self.n_out)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.W[...] = self.weight_init(rng, (self.n_in, self.n_out), self.gain)
        self.b[...] = self.bias_init(rng, (1, self.n_out), 1.0)

    def forward(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute y = xW + b; the row b is added to every sample."""
        if out is None:
            check_features(self, x, self.n_in)
            return product(as_floats(x), self.W) + self.b
        product(x, self.W, out)
        return np.add(out, self.b, out)

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Apply the chain rule to y_ik = Σ_j x_ij·W_jk + b_k.

        - W_jk changes y_ik of every sample i, with slope x_ij: dL/dW = xᵀ·dy;
        - b_k changes the same y_ik, with slope 1: dL/db = Σ_i dy_i, which is a row of ones times dy;
        - x_ij changes every y_ik, with slope W_jk: dL/dx = dy·Wᵀ.
        """
        if out is None:
            x, dy = as_floats(x), as_floats(dy)
        product(x.mT, dy, self.dW)
        product(row_of_ones(dy), dy, self.db)
        return product(dy, self.W.mT, out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in}, {self.n_out})"


def check_features(layer: Layer, x: np.ndarray, n_features: int) -> None:
    """Raise ValueError unless x is (..., n, n_features)."""
    if np.ndim(x) < 2 or np.shape(x)[-1] != n_features:
        raise ValueError(f"{layer!r} takes (samples, {n_features} features), not an array of shape {np.shape(x)}")


def walk(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Yield every layer, each followed by the layers inside it."""
    for layer in layers:
        yield layer
        yield from walk(layer.layers)


def bind(layer: Layer, name: str, value: np.ndarray, gradient: np.ndarray) -> None:
    """Give a layer the arrays of one parameter: ``"W"`` becomes its W and its dW."""
    object.__setattr__(layer, name, value)
    object.__setattr__(layer, f"d{name}", gradient)


def stand_alone(layer: Layer) -> None:
    """Give a layer outside any network arrays of its own, drawn with seed 0."""
    for name, shape in layer.parameter_shapes().items():
        bind(layer, name, np.zeros(shape), np.zeros(shape))
    for name, shape in layer.state_shapes().items():
        setattr(layer, name, np.zeros(shape))
    layer.streams = Streams([np.random.default_rng(0)])
    layer.initialize(np.random.default_rng(0))


OURS.add(Dense)
