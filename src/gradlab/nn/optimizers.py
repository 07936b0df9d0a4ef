"""An optimizer turns gradients into steps; it knows two flat arrays, and no network.

The formulas are PyTorch's, so that results can be compared. A step is a list of calls on arrays that are kept, written
down when the first two arrays come; the numbers in it are 0-d arrays, in which each step puts its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlab.nn.checks import real
from gradlab.nn.recording import Call, make


class _Setting:
    """A number of an optimizer that may be changed between steps: the calls are written down anew then."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    if TYPE_CHECKING:  # at run time there is no such method, so that reading is reading an attribute

        def __get__(self, optimizer: Optimizer, owner: type) -> float: ...

    def __set__(self, optimizer: Optimizer, value: float) -> None:
        vars(optimizer)[self._name] = value
        vars(optimizer)["_arrays"] = None


class Optimizer(ABC):
    """The contract: `step` changes params, given their gradients.

    Parameters
    ----------
    learning_rate : float
        Above 0. It may be changed between steps.

    Attributes
    ----------
    t : int
        Steps taken so far.
    """

    averages: tuple[str, ...]  # names of the arrays that are carried from step to step

    def __init__(self, learning_rate: float):
        self.learning_rate = real(f"{type(self).__name__}: learning_rate", learning_rate, 0.0, above=True)
        self.t = 0
        self._shape: tuple[int, ...] | None = None
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None
        self._calls: list[Call] = []

    def step(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Move params, in place, against their gradients.

        Parameters
        ----------
        params, grads : ndarray (..., P)
            Of the same shape at every step: running averages belong to the entries of one vector.

        Raises
        ------
        ValueError
            If the shapes differ from each other, or from the first step's, or params are not floats.
        """
        if self._arrays is None or params is not self._arrays[0] or grads is not self._arrays[1]:
            self._start(params, grads)
        self.t += 1
        self._set_numbers()
        make(self._calls)

    def _start(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Check two arrays, and write down what a step does with them."""
        if params.shape != grads.shape or self._shape not in (None, params.shape):
            first = f"; the first step had {self._shape}" if self._shape is not None else ""
            raise ValueError(f"params of shape {params.shape}, gradients of shape {grads.shape}{first}")
        if not np.issubdtype(params.dtype, np.floating):
            raise ValueError(f"params of type {params.dtype}: only floats can be moved by a fraction")
        if self._shape is None:
            self._shape = params.shape
            self._allocate(params)
        self._arrays = params, grads
        self._calls = self._list_calls(params, grads)

    def state(self) -> dict[str, np.ndarray]:
        """Copy what the next step depends on besides params and gradients: ``t``, and the averages (..., P)."""
        return {"t": np.array(self.t), **{name: getattr(self, name).copy() for name in self.averages}}

    def restore(self, params: np.ndarray, state: Mapping[str, np.ndarray]) -> None:
        """Go on, with params of the same shape as before, from what `state` gave."""
        self._shape, self._arrays = params.shape, None
        self._allocate(params)
        self.t = int(state["t"])
        for name in self.averages:
            getattr(self, name)[...] = state[name]

    @abstractmethod
    def _allocate(self, params: np.ndarray) -> None:
        """Make the arrays that are kept between steps, shaped and typed like params."""

    @abstractmethod
    def _set_numbers(self) -> None:
        """Put the numbers of step `t` where the calls find them."""

    @abstractmethod
    def _list_calls(self, params: np.ndarray, grads: np.ndarray) -> list[Call]:
        """Write down the calls of a step."""

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_arrays": None, "_calls": []}  # the arrays are somebody else's


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum·v + g, then p −= learning_rate·v.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        In [0, 1]. With 0, v is the gradient itself.
    nesterov : bool
        Whether to step along g + momentum·v: the gradient as seen from where the momentum leads.
    """

    momentum = _Setting()
    averages = ("velocity",)

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False):
        super().__init__(learning_rate)
        self.momentum = real("SGD: momentum", momentum, 0.0, 1.0)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def _allocate(self, params: np.ndarray) -> None:
        self._update = np.zeros_like(params)
        self.velocity = np.zeros_like(params)

    def _set_numbers(self) -> None:
        self._rate[()] = self.learning_rate

    def _list_calls(self, params: np.ndarray, grads: np.ndarray) -> list[Call]:
        velocity, update = self.velocity, self._update
        self._rate, momentum = _number(params, 0.0), _number(params, self.momentum)
        calls: list[Call] = []
        direction = grads
        if self.momentum:
            calls += [(np.multiply, (velocity, momentum, velocity)), (np.add, (velocity, grads, velocity))]
            direction = velocity
        if self.nesterov:
            calls += [(np.multiply, (velocity, momentum, update)), (np.add, (update, grads, update))]
            direction = update
        return [
            *calls,
            (np.multiply, (direction, self._rate, update)),
            (np.subtract, (params, update, params)),
        ]


class RMSProp(Optimizer):
    """v = decay·v + (1 − decay)·g², then p −= learning_rate·g/(√v + epsilon) (Tieleman & Hinton 2012).

    Parameters
    ----------
    learning_rate : float
    decay : float
        In [0, 1).
    epsilon : float
        Above 0.
    """

    decay, epsilon = _Setting(), _Setting()
    averages = ("mean_square",)

    def __init__(self, learning_rate: float = 0.001, decay: float = 0.9, epsilon: float = 1e-8):
        super().__init__(learning_rate)
        self.decay = _share("RMSProp: decay", decay)
        self.epsilon = real("RMSProp: epsilon", epsilon, 0.0, above=True)

    def _allocate(self, params: np.ndarray) -> None:
        self._update = np.zeros_like(params)
        self.mean_square = np.zeros_like(params)

    def _set_numbers(self) -> None:
        self._rate[()] = self.learning_rate

    def _list_calls(self, params: np.ndarray, grads: np.ndarray) -> list[Call]:
        mean_square, update = self.mean_square, self._update
        self._rate, epsilon = _number(params, 0.0), _number(params, self.epsilon)
        decay, rest = _number(params, self.decay), _number(params, 1.0 - self.decay)
        return [
            (np.multiply, (grads, grads, update)),
            (np.multiply, (update, rest, update)),
            (np.multiply, (mean_square, decay, mean_square)),
            (np.add, (mean_square, update, mean_square)),
            (np.sqrt, (mean_square, update)),
            (np.add, (update, epsilon, update)),
            (np.divide, (grads, update, update)),
            (np.multiply, (update, self._rate, update)),
            (np.subtract, (params, update, params)),
        ]


class Adam(Optimizer):
    """Steps scaled by running averages of g and g² (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1).

    With m = beta1·m + (1 − beta1)·g and v = beta2·v + (1 − beta2)·g², both divided by what they lack after t
    steps from zero: p −= learning_rate · (m/(1 − beta1^t)) / (√(v/(1 − beta2^t)) + epsilon).

    Parameters
    ----------
    learning_rate : float
    beta1, beta2 : float
        In [0, 1).
    epsilon : float
        Above 0.
    epsilon_hat : bool
        Whether epsilon is added to √v before v is divided by what it lacks: the epsilon-hat of the paper's section 2,
        as in scikit-learn and TensorFlow. The first steps are shorter then.

    Attributes
    ----------
    first, second : ndarray (..., P)
        m/(1 − beta1) and v/(1 − beta2): sums, so that a step needs two products less. The constants are put
        back where p is changed.
    """

    beta1, beta2 = _Setting(), _Setting()
    averages = ("first", "second")

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
        self.epsilon = real(f"{type(self).__name__}: epsilon", epsilon, 0.0, above=True)

    def _allocate(self, params: np.ndarray) -> None:
        self._update = np.zeros_like(params)
        self.first = np.zeros_like(params)
        self.second = np.zeros_like(params)

    def _set_numbers(self) -> None:
        # √(v/(1 − beta2^t)) = c·√second. Dividing the fraction's both sides by c leaves epsilon/c in it, and 1/c
        # joins the learning rate and m's constants. Epsilon-hat goes with √v = √(1 − beta2)·√second.
        c = math.sqrt((1.0 - self.beta2) / (1.0 - self.beta2**self.t))
        self._epsilon[()] = self.epsilon / (math.sqrt(1.0 - self.beta2) if self.epsilon_hat else c)
        self._rate[()] = self.learning_rate * (1.0 - self.beta1) / (1.0 - self.beta1**self.t) / c

    def _list_calls(self, params: np.ndarray, grads: np.ndarray) -> list[Call]:
        first, second, update = self.first, self.second, self._update
        self._rate, self._epsilon = _number(params, 0.0), _number(params, 0.0)
        beta1, beta2 = _number(params, self.beta1), _number(params, self.beta2)
        return [
            (np.multiply, (first, beta1, first)),
            (np.add, (first, grads, first)),
            (np.multiply, (second, beta2, second)),
            (np.multiply, (grads, grads, update)),
            (np.add, (second, update, second)),
            (np.sqrt, (second, update)),
            (np.add, (update, self._epsilon, update)),
            (np.divide, (first, update, update)),
            (np.multiply, (update, self._rate, update)),
            (np.subtract, (params, update, params)),
        ]


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
        self.weight_decay = real("AdamW: weight_decay", weight_decay, 0.0)
        self.mask = mask

    def _allocate(self, params: np.ndarray) -> None:
        super()._allocate(params)
        if self.mask is not None and np.shape(self.mask) not in (params.shape, params.shape[-1:]):
            raise ValueError(
                f"AdamW: a mask of shape {np.shape(self.mask)} does not fit params of shape {params.shape}"
            )
        self._mask = np.ones_like(params) if self.mask is None else np.array(self.mask, params.dtype)

    def _set_numbers(self) -> None:
        super()._set_numbers()
        self._decay[()] = self.learning_rate * self.weight_decay

    def _list_calls(self, params: np.ndarray, grads: np.ndarray) -> list[Call]:
        self._decay = _number(params, 0.0)
        return [
            (np.multiply, (params, self._mask, self._update)),
            (np.multiply, (self._update, self._decay, self._update)),
            (np.subtract, (params, self._update, params)),
            *super()._list_calls(params, grads),
        ]


def _number(like: np.ndarray, value: float) -> np.ndarray:
    """Return a number as a 0-d array of the same type as `like`."""
    return np.array(value, like.dtype)


def _share(name: str, value: float) -> float:
    """Return a float in [0, 1)."""
    value = real(name, value, 0.0, 1.0)
    if value == 1.0:
        raise ValueError(f"{name}: 1 never takes in anything new; it must be below 1")
    return value


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "rmsprop": RMSProp, "adam": Adam, "adamw": AdamW}
