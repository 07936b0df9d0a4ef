"""A recurrent layer applies the same weights at every step of a sequence; unrolled, it is a network as deep as that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradlab.nn.activations import ACTIVATIONS, Activation
from gradlab.nn.arrays import as_floats
from gradlab.nn.checks import check_flag, check_float, check_int, lookup
from gradlab.nn.initializers import Initializer, get_initializer
from gradlab.nn.layers import Layer
from gradlab.nn.part import stand_alone


class Recurrent(Layer):
    """h_t = φ(x_t·W + h_{t−1}·W_recurrent + b) for t = 1 … T, with h_0 = 0 (Elman 1990).

    A sequence stands in the features of one sample, step after step: x is ``(..., n, T·n_in)``, and T is whatever fits.
    y is the last state h_T, ``(..., n, n_out)``; or all of them, ``(..., n, T·n_out)``, step after step too.

    Parameters
    ----------
    n_in, n_out : int
        Number of features of one step, and of the state.
    activation : str or Activation
        φ: a name from `ACTIVATIONS`, or an object without parameters of its own.
    weight_init, recurrent_init, bias_init : str or callable
        Of W, of W_recurrent and of b: a name from `INITIALIZERS`, or a function ``(rng, shape, gain) -> array``.
    gain : float
        Factor on the standard deviation of the first weights (not of the biases).
    recurrent_gain : float, optional
        The factor for W_recurrent, if it is another one than for W.
    sequence : bool
        Whether y is all states rather than the last one.

    Attributes
    ----------
    W, W_recurrent, b : ndarray (..., n_in, n_out), (..., n_out, n_out), (..., 1, n_out)
        The parameters; ``dW``, ``dW_recurrent`` and ``db`` are their gradients.
    features : int
        Number of features of one step. There is no ``n_in``: x may have any multiple of it.

    Raises
    ------
    ValueError
        For a size below 1, an unknown activation or initializer, an activation that learns, or a gain that is not
        above 0.

    Notes
    -----
    No state is kept from one pass to the next, nor from `forward` to `backward`, which computes the states again from
    x: there is no cache to go stale.

    Examples
    --------
    >>> layer = Recurrent(2, 3)
    >>> layer.forward(np.ones((5, 8))).shape  # five sequences of four steps
    (5, 3)
    """

    W: np.ndarray
    W_recurrent: np.ndarray
    b: np.ndarray
    dW: np.ndarray
    dW_recurrent: np.ndarray
    db: np.ndarray

    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str | Activation = "tanh",
        weight_init: str | Initializer = "glorot_uniform",
        recurrent_init: str | Initializer = "orthogonal",
        bias_init: str | Initializer = "zeros",
        gain: float = 1.0,
        recurrent_gain: float | None = None,
        sequence: bool = False,
    ):
        self.features = check_int("Recurrent: n_in", n_in)
        self.n_out = check_int("Recurrent: n_out", n_out)
        if not isinstance(activation, Activation):
            activation = lookup("activation", activation, ACTIVATIONS)()
        if activation.parameter_shapes() or activation.state_shapes():
            raise ValueError(f"Recurrent: activation: {activation!r} learns; it must be a function alone")
        self.activation = activation
        self.weight_init = get_initializer(weight_init)
        self.recurrent_init = get_initializer(recurrent_init, "recurrent_init")
        self.bias_init = get_initializer(bias_init, "bias_init")
        self.gain = check_float("Recurrent: gain", gain, 0.0, above=True)
        self.recurrent_gain = self.gain
        if recurrent_gain is not None:
            self.recurrent_gain = check_float("Recurrent: recurrent_gain", recurrent_gain, 0.0, above=True)
        self.sequence = check_flag("Recurrent: sequence", sequence)
        stand_alone(self)

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        n = self.n_out
        return {"W": (self.features, n), "W_recurrent": (n, n), "b": (1, n)}

    def initialize(self, rng: np.random.Generator) -> None:
        n = self.n_out
        self.W[...] = self.weight_init(rng, (self.features, n), self.gain)
        self.W_recurrent[...] = self.recurrent_init(rng, (n, n), self.recurrent_gain)
        self.b[...] = self.bias_init(rng, (1, n), 1.0)

    def output_features(self, features: int | None) -> int | None:
        """Return n_out, or n_out for each step; ValueError if these features are not a number of whole steps."""
        if features is None:
            return None if self.sequence else self.n_out
        if features < self.features or features % self.features:
            raise ValueError(f"{self!r} takes a multiple of {self.features} features, not {features}")
        return self.n_out * (features // self.features if self.sequence else 1)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Go through the sequence, from the first step to the last."""
        _, _, h = self._states(x)
        return _in_a_row(h if self.sequence else h[..., -1:, :, :])

    def backward(self, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Backpropagate through time (Werbos 1990): the chain rule on the unrolled network.

        Let a_t = x_t·W + h_{t−1}·W_recurrent + b, so h_t = φ(a_t), and δ_t = dL/da_t. From the last step to the first:

        - h_t reaches L through y, if it is part of y, and through a_{t+1}: dL/dh_t = dy_t + δ_{t+1}·W_recurrentᵀ;
        - each number of a_t has an effect on its own result alone: δ_t = dL/dh_t · φ'(a_t).

        Then as in Dense, summed over the steps, since all of them use the same parameters:

        - dL/dW = Σ_t x_tᵀ·δ_t, dL/dW_recurrent = Σ_t h_{t−1}ᵀ·δ_t and dL/db = Σ_t Σ_i δ_ti;
        - x_t is used once: dL/dx_t = δ_t·Wᵀ.
        """
        rows, a, h = self._states(x)
        errors = self._errors(as_floats(dy), a, h)
        delta = _joined(errors)
        self.dW[...] = rows.mT @ delta
        self.dW_recurrent[...] = _joined(h[..., :-1, :, :]).mT @ _joined(errors[..., 1:, :, :])
        self.db[...] = np.sum(delta, axis=-2, keepdims=True)
        dx = delta @ self.W.mT
        return _in_a_row(dx.reshape(*a.shape[:-1], self.features))

    def deltas(self, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Compute the error that reaches each step, δ_t = dL/da_t, and no gradient.

        One step back multiplies it by W_recurrentᵀ and by φ'(a_t). Whether it vanishes is seen from the norms: with
        ``norms = np.linalg.norm(deltas, axis=(-2, -1))``, ``norms[..., :-1] / norms[..., 1:]`` are the factors of the
        steps, the first entry that from the second step to the first (Hochreiter 1991; Bengio et al. 1994). With
        `sequence` the errors of several outputs add up, and it is not the factor of one.

        Parameters
        ----------
        dy : ndarray (..., n, n_out) or (..., n, T·n_out)
            dL/dy.
        x : ndarray (..., n, T·n_in)

        Returns
        -------
        ndarray (..., T, n, n_out)
        """
        _, a, h = self._states(x)
        return self._errors(as_floats(dy), a, h)

    def _states(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return x, a and h: x one row a step and sample (..., T·n, n_in), the others (..., T, n, n_out)."""
        self.output_features(np.shape(x)[-1])
        steps = _by_step(as_floats(x), self.features)
        rows = _joined(steps)
        a = rows @ self.W + self.b  # the inputs of all steps at once
        a = a.reshape(*steps.shape[:-1], self.n_out)
        h = np.empty_like(a)
        for t in range(a.shape[-3]):
            if t > 0:
                a[..., t, :, :] += h[..., t - 1, :, :] @ self.W_recurrent
            h[..., t, :, :] = self.activation.forward(a[..., t, :, :])
        return rows, a, h

    def _errors(self, dy: np.ndarray, a: np.ndarray, h: np.ndarray) -> np.ndarray:
        """Return δ (..., T, n, n_out), from the last step back; see `backward`."""
        errors = np.empty_like(a)
        each = _by_step(dy, self.n_out)
        for t in range(a.shape[-3] - 1, -1, -1):
            if t == a.shape[-3] - 1:
                dh = each[..., -1, :, :]
            else:
                dh = errors[..., t + 1, :, :] @ self.W_recurrent.mT
                if self.sequence:
                    dh += each[..., t, :, :]
            errors[..., t, :, :] = self.activation.backward(dh, a[..., t, :, :], h[..., t, :, :])
        return errors

    def __repr__(self) -> str:
        sequence = ", sequence=True" if self.sequence else ""
        return f"{type(self).__name__}({self.features}, {self.n_out}, {self.activation!r}{sequence})"


def _by_step(x: np.ndarray, features: int) -> np.ndarray:
    """Return the view (..., T, n, features) of an array (..., n, T·features)."""
    return x.reshape(*x.shape[:-1], x.shape[-1] // features, features).swapaxes(-3, -2)


def _in_a_row(steps: np.ndarray) -> np.ndarray:
    """Return steps (..., T, n, features) as (..., n, T·features), in a new array."""
    *lead, t, n, d = steps.shape
    return steps.swapaxes(-3, -2).reshape(*lead, n, t * d)


def _joined(steps: np.ndarray) -> np.ndarray:
    """Put the steps (..., T, n, d) one below another: (..., T·n, d)."""
    *lead, t, n, d = steps.shape
    return steps.reshape(*lead, t * n, d)
