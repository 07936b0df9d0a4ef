"""What a network really does in a pass: the arrays kept for one shape of input, and the calls that fill them.

The layers say what is computed; a plan computes the same with fewer calls. It keeps each array of the tape features
first, one row of n numbers a feature, with a row of ones below: the layers are shown the usual (n, d), transposed. So
the bias rides in the matrix product: [x 1]·[W; b] is xW + b, and [x 1]ᵀ·dy is dW with db below it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlab.nn.activations import ACTIVATIONS
from gradlab.nn.arrays import KEPT_SHAPES
from gradlab.nn.layers import Dense, Layer, check_features
from gradlab.nn.recording import Call, Rooms, note_calls


class Tape(list[np.ndarray]):
    """The activations of one pass, [x0, x1, … xL], and the plan that filled them, as long as there is one.

    It is held weakly: a plan and its tape would otherwise keep each other, and all their arrays, until Python looks for
    such circles.
    """

    def __init__(self, arrays: Sequence[np.ndarray], plan: Plan):
        super().__init__(arrays)
        self._plan = weakref.ref(plan)
        self.training = plan.training

    @property
    def plan(self) -> Plan | None:
        """The plan; None if its network has given it up."""
        return self._plan()


class Plan:
    """A pass through some layers in a row, and back, for one shape and type of input.

    The arrays are live: the next pass writes over them. They are made in the first pass, which runs the layers to see
    what shapes they give.

    Parameters
    ----------
    layers : sequence of Layer
    x : ndarray (..., n, d)
        The first input.
    training : bool
        Which kind of pass it is; the layers are told by whoever owns them.
    """

    def __init__(self, layers: Sequence[Layer], x: np.ndarray, training: bool):
        self._layers, self.training = layers, training
        self._with_ones = [_features_first(x.shape, x.dtype)]
        self.tape = Tape([_usual(self._with_ones[0])], self)
        np.copyto(self.tape[0], x)
        self._rooms: Rooms = {}
        self._forward: list[Call] = []
        for i, layer in enumerate(layers):
            if _is_ours(layer):
                n_in: Any = getattr(layer, "n_in", self.tape[i].shape[-1])
                check_features(layer, self.tape[i], n_in)
                y, shape = None, (*x.shape[:-1], getattr(layer, "n_out", n_in))
            else:
                y = layer.forward(self.tape[i])
                shape = y.shape
            self._with_ones.append(_features_first(shape, x.dtype))
            self.tape.append(_usual(self._with_ones[-1]))
            calls = self._forward_calls(i)
            if y is None:
                _make(calls)
            else:
                np.copyto(self.tape[-1], y)
            self._forward += calls
        self._backward: list[Call] = []
        self._to_input: list[Call] = []
        self._nan = np.array(np.nan, x.dtype)
        self.deltas: list[np.ndarray] = []

    def forward(self, x: np.ndarray) -> Tape:
        """Fill the tape, from the input on."""
        np.copyto(self.tape[0], x)
        _make(self._forward)
        return self.tape

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> list[np.ndarray]:
        """Fill the deltas, [dL/dx0, … dL/dxL], from the last one back, and every gradient."""
        if not self.deltas:
            self.deltas = [_usual(_features_first(x.shape, x.dtype, ones=False), ones=False) for x in self.tape]
            self._backward = [call for i in range(len(self._layers) - 1, -1, -1) for call in self._backward_calls(i)]
            self._to_input = self._backward[-1:] if _joint(self._layers[0]) else []  # dL/dx0 is all that it makes
            del self._backward[len(self._backward) - len(self._to_input) :]
        np.copyto(self.deltas[-1], dy)
        _make(self._backward)
        if input_gradient:
            _make(self._to_input)
        elif self._to_input:
            return [np.broadcast_to(self._nan, self.deltas[0].shape), *self.deltas[1:]]
        return self.deltas

    def _forward_calls(self, i: int) -> list[Call]:
        layer, x, y = self._layers[i], self.tape[i], self.tape[i + 1]
        if (joint := _joint(layer)) is not None:
            return [_product(joint[0].mT, self._with_ones[i], y.mT)]
        if type(layer) in ACTIVATIONS.values():
            return note_calls(self._rooms, layer.forward, x, y)
        if _is_ours(layer):
            return [(layer.forward, (x, y))]
        return [(_forward_of_ones_own, (layer, x, y))]

    def _backward_calls(self, i: int) -> list[Call]:
        layer, x, y, dx, dy = self._layers[i], self.tape[i], self.tape[i + 1], self.deltas[i], self.deltas[i + 1]
        if (joint := _joint(layer)) is not None:
            weights = joint[0][..., :-1, :]
            return [_product(self._with_ones[i], dy, joint[1]), _product(weights, dy.mT, dx.mT)]
        if type(layer) in ACTIVATIONS.values():
            return note_calls(self._rooms, layer.backward, dy, x, y, dx)
        if _is_ours(layer):
            return [(layer.backward, (dy, x, y, dx))]
        return [(_backward_of_ones_own, (layer, dy, x, y, dx))]


class Plans:
    """The plans of some layers, one for each shape and type of input, and for training and predicting."""

    def __init__(self, layers: Sequence[Layer]):
        self._layers = layers
        self._plans: dict[tuple[tuple[int, ...], np.dtype, bool], Plan] = {}

    def forward(self, x: np.ndarray, training: bool) -> Tape:
        """Return the tape of a pass."""
        key = x.shape, x.dtype, training
        plan = self._plans.get(key)
        if plan is not None:
            return plan.forward(x)
        if len(self._plans) >= KEPT_SHAPES:
            self._plans.clear()
        plan = self._plans[key] = Plan(self._layers, x, training)
        return plan.tape


def _is_ours(layer: Layer) -> bool:
    """Tell whether a layer is one of gradlab's own, of which it is known that it fills the array that it is given."""
    return type(layer).__module__.startswith("gradlab.nn.")


def _joint(layer: Layer) -> tuple[np.ndarray, np.ndarray] | None:
    """Return [W; b] and its gradient, if this is a Dense in a network."""
    if isinstance(layer, Dense) and _is_ours(layer) and layer.joint is not None and layer.djoint is not None:
        return layer.joint, layer.djoint
    return None


def _features_first(shape: tuple[int, ...], dtype: np.dtype, ones: bool = True) -> np.ndarray:
    """Make room (..., d + 1, n) for an array (..., n, d), the last row ones; or (..., d, n) without it."""
    *lead, n, d = shape
    return np.ones((*lead, d + ones, n), dtype)


def _usual(room: np.ndarray, ones: bool = True) -> np.ndarray:
    """Return the view (..., n, d) of such a room."""
    return (room[..., :-1, :] if ones else room).mT


def _make(calls: Sequence[Call]) -> None:
    for call, arguments in calls:
        call(*arguments)


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Call:
    """Return the call of a matrix product: `ndarray.dot` starts sooner, and takes plain matrices only."""
    return (a.dot, (b, out)) if a.ndim == b.ndim == 2 else (np.matmul, (a, b, out))


def _forward_of_ones_own(layer: Layer, x: np.ndarray, out: np.ndarray) -> None:
    """Run a layer that somebody wrote: it may give back an array of its own."""
    y = layer.forward(x, out)
    if y is not out:
        np.copyto(out, y)


def _backward_of_ones_own(layer: Layer, dy: np.ndarray, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    dx = layer.backward(dy, x, y, out)
    if dx is not out:
        np.copyto(out, dx)
