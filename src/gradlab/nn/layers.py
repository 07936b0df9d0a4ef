"""A layer carries samples forward and gradients backward; Dense is the one that learns.

Samples are rows: x is an array (n, d), n samples of d features each, and ``x.mT`` is its transpose (NumPy 2).

Training lowers one number, the loss L. For an array y, dL/dy says of each entry how fast L grows with it; in code it is
``dy``, short for dL/dy. Backpropagation is the chain rule, one layer at a time: an entry of x acts on L through every
entry of y that it changes, so for one sample dL/dx_j = Σ_k dL/dy_k·∂y_k/∂x_j. A layer y = f(x) that is given dL/dy can
thus work out dL/dx, which is the dL/dy of the layer before it, and on the way the gradients of its own parameters.

Axes are counted from the end, samples ``axis=-2`` and features ``axis=-1``: then the same lines serve many networks
side by side, whose arrays have one axis more in front.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from gradlab.nn.checks import check_float, check_int
from gradlab.nn.initializers import Initializer, get_initializer
from gradlab.nn.part import Part, stand_alone


class Layer(Part, ABC):
    """The contract: `forward` gives y from x, `backward` gives dL/dx from dL/dy.

    A layer of your own needs these two. If it learns, it also names its parameters in `parameter_shapes`, and for an
    entry ``"W"`` it is given two arrays: ``self.W``, whose initial values `initialize` writes, and ``self.dW``, for
    dL/dW. In a network they are parts of two long vectors, all parameters and all gradients, which an optimizer works
    on. So they are written into, ``self.dW[...] = …``, and never replaced.
    """

    @abstractmethod
    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y (n, d_out) from x (n, d_in), in a new array."""

    @abstractmethod
    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Compute dL/dx (n, d_in) from dL/dy (n, d_out), and write (never add to) the parameters' gradients.

        The layer is told x, which `forward` was given, and y, which it returned: it need not keep them.
        """


class Dense(Layer):
    """y = xW + b: every output is a weighted sum of all inputs.

    Parameters
    ----------
    n_in, n_out : int
        Number of input and of output features.
    weight_init, bias_init : str or callable
        A name from `INITIALIZERS`, or a function ``(rng, shape, gain) -> array``.
    gain : float
        Factor on the initial weights (not on the biases), above 0.

    Attributes
    ----------
    W, b : ndarray (n_in, n_out), (1, n_out)
        The parameters; outside a network they are drawn with seed 0.
    dW, db : ndarray
        dL/dW and dL/db of the last `backward`.
    """

    W: np.ndarray
    b: np.ndarray
    dW: np.ndarray
    db: np.ndarray

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"W": (self.n_in, self.n_out), "b": (1, self.n_out)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.W[...] = self.weight_init(rng, (self.n_in, self.n_out), self.gain)
        self.b[...] = self.bias_init(rng, (1, self.n_out), 1.0)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Compute y = xW + b; the row b is added to every sample."""
        return x @ self.W + self.b

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Apply the chain rule to y_ik = Σ_j x_ij·W_jk + b_k.

        - W_jk changes y_ik of every sample i, with slope x_ij: dL/dW_jk = Σ_i x_ij·dL/dy_ik, so dL/dW = xᵀ @ dy;
        - b_k changes the same y_ik, with slope 1: dL/db_k = Σ_i dL/dy_ik;
        - x_ij changes every y_ik, with slope W_jk: dL/dx_ij = Σ_k dL/dy_ik·W_jk, so dL/dx = dy @ Wᵀ.

        L is a mean over n samples; its 1/n is in dy already, for the loss has put it there.
        """
        self.dW[...] = x.mT @ dy
        self.db[...] = dy.sum(axis=-2, keepdims=True)
        return dy @ self.W.mT

    def __init__(
        self,
        n_in: int,
        n_out: int,
        weight_init: str | Initializer = "glorot_uniform",
        bias_init: str | Initializer = "zeros",
        gain: float = 1.0,
    ):
        self.n_in, self.n_out = check_int("Dense: n_in", n_in), check_int("Dense: n_out", n_out)
        self.weight_init, self.bias_init = get_initializer(weight_init), get_initializer(bias_init, "bias_init")
        self.gain = check_float("Dense: gain", gain, 0.0, above=True)
        stand_alone(self)  # makes W, b, dW and db, arrays of the shapes above, and calls `initialize`

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n_in}, {self.n_out})"
