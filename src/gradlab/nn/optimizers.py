"""An optimizer turns gradients into steps; it knows two flat arrays, and no network.

The formulas are PyTorch's, so that results can be compared.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np

from gradlab.nn.checks import check_float


class Optimizer(ABC):
    """The contract: `step` moves params, in place, against their gradients.

    Parameters
    ----------
    learning_rate : float
        Above 0. It may be changed between steps, as may every other setting.

    Attributes
    ----------
    t : int
        Steps taken so far.
    averages : tuple of str
        Names of the arrays that are carried from step to step; they are zeros, shaped like params, at the first.
    """

    averages: tuple[str, ...]

    def __init__(self, learning_rate: float):
        self.learning_rate = check_float(f"{type(self).__name__}: learning_rate", learning_rate, 0.0, above=True)
        self.t = 0

    @abstractmethod
    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Move params, in place, against their gradients; it calls `begin` first.

        Parameters
        ----------
        params, grads : ndarray (..., P)
            Of the same shape at every step: running averages belong to the entries of one vector.

        Raises
        ------
        ValueError
            If the shapes differ from each other, or from the first step's, or params are not floats.
        """

    def begin(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Count one more step, for which the running averages are there."""
        self.prepare(params, grads)
        self.t += 1

    def prepare(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Check the arrays, and make the running averages, zeros shaped and typed like params, unless they are there.

        Raises
        ------
        ValueError
            As `step`.
        """
        known = getattr(self, self.averages[0], params).shape
        if not params.shape == grads.shape == known:
            first = f"; the first step had {known}" if self.t else ""
            raise ValueError(f"params of shape {params.shape}, gradients of shape {grads.shape}{first}")
        if not hasattr(self, self.averages[0]):
            if not np.issubdtype(params.dtype, np.floating):
                raise ValueError(f"params of type {params.dtype}: only floats can be moved by a fraction")
            for name in self.averages:
                setattr(self, name, np.zeros_like(params))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(learning_rate={self.learning_rate:g})"

    def state(self) -> dict[str, np.ndarray]:
        """Copy what the next step depends on besides params and gradients: ``t``, and the averages (..., P)."""
        return {"t": np.array(self.t), **{name: getattr(self, name).copy() for name in self.averages}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on, with params of the same shape as before, from what `state` gave."""
        self.t = int(state["t"])
        for name in self.averages:
            setattr(self, name, state[name].copy())


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum·v + g, then p −= learning_rate·v.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        In [0, 1]. With 0, v is the gradient itself.
    nesterov : bool
        Whether to step along g + momentum·v: the gradient as seen from where the momentum leads.

    Attributes
    ----------
    velocity : ndarray (..., P)
        v; without momentum it is not used.
    """

    averages = ("velocity",)
    velocity: np.ndarray

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False):
        super().__init__(learning_rate)
        self.momentum = check_float("SGD: momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.begin(params, grads)
        direction = grads
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += grads
            direction = grads + self.momentum * self.velocity if self.nesterov else self.velocity
        params -= self.learning_rate * direction


class RMSProp(Optimizer):
    """s = decay·s + (1 − decay)·g², then p −= learning_rate·g/(√s + epsilon) (Tieleman & Hinton 2012).

    Parameters
    ----------
    learning_rate : float
    decay : float
        In [0, 1).
    epsilon : float
        Above 0.

    Attributes
    ----------
    mean_square : ndarray (..., P)
        s.
    """

    averages = ("mean_square",)
    mean_square: np.ndarray

    def __init__(self, learning_rate: float = 0.001, decay: float = 0.9, epsilon: float = 1e-8):
        super().__init__(learning_rate)
        self.decay = _share("RMSProp: decay", decay)
        self.epsilon = check_float("RMSProp: epsilon", epsilon, 0.0, above=True)

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.begin(params, grads)
        self.mean_square *= self.decay
        self.mean_square += (1 - self.decay) * grads**2
        params -= self.learning_rate * grads / (np.sqrt(self.mean_square) + self.epsilon)


class Adam(Optimizer):
    """Steps scaled by running averages of g and g² (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

    With m = beta1·m + (1 − beta1)·g and v = beta2·v + (1 − beta2)·g², both bias-corrected, since they start at zero:
    p −= learning_rate · (m/(1 − beta1^t)) / (√(v/(1 − beta2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    epsilon_hat : bool
        Whether epsilon is added to √v before v is bias-corrected: the epsilon-hat of the paper's section 2, as in
        scikit-learn and TensorFlow. The first steps are shorter then.

    Attributes
    ----------
    m, v : ndarray (..., P)
    """

    averages = ("m", "v")
    m: np.ndarray
    v: np.ndarray

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        epsilon_hat: bool = False,
    ):
        super().__init__(learning_rate)
        self.epsilon_hat = bool(epsilon_hat)
        self.beta1 = _share(f"{type(self).__name__}: beta1", beta1)
        self.beta2 = _share(f"{type(self).__name__}: beta2", beta2)
        self.epsilon = check_float(f"{type(self).__name__}: epsilon", epsilon, 0.0, above=True)

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.begin(params, grads)
        self.m += (1 - self.beta1) * (grads - self.m)
        self.v += (1 - self.beta2) * (grads**2 - self.v)
        m_hat = self.m / (1 - self.beta1**self.t)
        v_hat = self.v / (1 - self.beta2**self.t)
        epsilon = self.epsilon / (1 - self.beta2**self.t) ** 0.5 if self.epsilon_hat else self.epsilon
        params -= self.learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


class AdamW(Adam):
    """Adam after a decay of its own: p −= learning_rate·weight_decay·p (Loshchilov & Hutter 2019, arXiv 1711.05101).

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float
        As in `Adam`.
    weight_decay : float
        At least 0.
    mask : ndarray (P,), optional
        What the decay is multiplied by; ``network.weight_mask`` spares the biases. Without it everything decays.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        mask: np.ndarray | None = None,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon)
        self.weight_decay = check_float("AdamW: weight_decay", weight_decay, 0.0)
        self.mask = mask

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        self.prepare(params, grads)
        decay = self.learning_rate * self.weight_decay
        params -= decay * params if self.mask is None else decay * (params * self.mask)
        super().step(params, grads)

    def prepare(self, params: np.ndarray, grads: np.ndarray) -> None:
        if self.mask is not None and np.shape(self.mask) not in (params.shape, params.shape[-1:]):
            raise ValueError(
                f"AdamW: a mask of shape {np.shape(self.mask)} does not fit params of shape {params.shape}"
            )
        super().prepare(params, grads)


def _share(name: str, value: float) -> float:
    """Return a float in [0, 1)."""
    value = check_float(name, value, 0.0, 1.0)
    if value == 1.0:
        raise ValueError(f"{name}: 1 never takes in anything new; it must be below 1")
    return value


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}
