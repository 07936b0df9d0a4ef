"""What a network really does in a pass: the arrays kept for one shape of input, and the calls that fill them.

The layers say what is computed; a plan computes the same with fewer calls. It keeps each array of the tape features
first, one row of n numbers a feature, with a row of ones below: the layers are shown the usual (n, d), transposed. So
the bias rides in the matrix product: [x 1]·[W; b] is xW + b, and [x 1]ᵀ·dy is dW with db below it. And the arrays of
equal activations stand one below another, so that the derivatives of all of them are taken in one go.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from gradlab.nn.activations import Activation
from gradlab.nn.arrays import KEPT_SHAPES
from gradlab.nn.layers import CHANGES, OURS, Dense, Layer, check_features
from gradlab.nn.recording import Call, Rooms, make, note_calls


class Arrays(list[np.ndarray]):
    """Arrays that a plan keeps: they are written over by the next pass, and none is put in another's place.

    A copy, a slice or ``list(arrays)`` is a list like any other.
    """

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("this list belongs to the network, which goes on using it; change a copy: list(...)")

    append = clear = extend = insert = pop = remove = reverse = sort = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    def __reduce__(self) -> Any:
        return list, (list(self),)


class Tape(Arrays):
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
        self._blocks = _blocks(layers, x)
        self._with_ones = [self._room(0, x.shape, x.dtype)]
        tape = [_usual(self._with_ones[0])]
        np.copyto(tape[0], x)
        self._rooms: Rooms = {}
        self._forward: list[Call] = []
        for i, layer in enumerate(layers):
            if _is_ours(layer):
                d: int = tape[i].shape[-1]
                check_features(layer, tape[i], cast(int, getattr(layer, "n_in", d)))
                y, shape = None, (*x.shape[:-1], cast(int, layer.output_features(d)))
            else:
                y = layer.forward(np.array(tape[i], order="C"))
                shape = y.shape
            self._with_ones.append(self._room(i + 1, shape, x.dtype))
            tape.append(_usual(self._with_ones[-1]))
            calls = self._forward_calls(i, tape[i], tape[i + 1])
            if y is None:
                make(calls)
            else:
                np.copyto(tape[-1], y)
            self._forward += calls
        self.tape = Tape(tape, self)
        self._backward: list[Call] = []
        self._to_input: list[Call] = []
        self._deltas: Arrays | None = None
        self._without_input: Arrays

    def forward(self, x: np.ndarray) -> Tape:
        """Fill the tape, from the input on."""
        np.copyto(self.tape[0], x)
        make(self._forward)
        return self.tape

    @property
    def deltas(self) -> list[np.ndarray]:
        """The deltas of the last pass back, [dL/dx0, … dL/dxL]; a loss may write its slopes to the last one."""
        if self._deltas is None:
            deltas = [_usual(_features_first(x.shape, x.dtype, ones=False), ones=False) for x in self.tape]
            calls = [call for block in self._blocks for call in block.calls(self._rooms)]
            for i in range(len(self._layers) - 1, -1, -1):
                calls += self._backward_calls(i, deltas[i], deltas[i + 1])
            last = len(calls) - bool(_joint(self._layers[0]))  # dL/dx0 is all that the last call of a Dense makes
            self._backward, self._to_input = calls[:last], calls[last:]
            nan = np.array(np.nan, deltas[0].dtype)
            self._without_input = Arrays([np.broadcast_to(nan, deltas[0].shape), *deltas[1:]])
            self._deltas = Arrays(deltas)  # from here on everything is there
        return self._deltas

    def backward(self, dy: np.ndarray, input_gradient: bool = True) -> list[np.ndarray]:
        """Fill the deltas, from the last one back, and every gradient."""
        deltas = self.deltas
        if dy is not deltas[-1]:
            np.copyto(deltas[-1], dy)
        make(self._backward)
        if not input_gradient and self._to_input:
            return self._without_input
        make(self._to_input)
        return deltas

    def _room(self, i: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return the array, features first, of tape[i]: its part of a block, or one of its own."""
        for block in self._blocks:
            if i in block.rooms:
                return block.rooms[i]
        return _features_first(shape, dtype)

    def _forward_calls(self, i: int, x: np.ndarray, y: np.ndarray) -> list[Call]:
        layer = self._layers[i]
        if (joint := _joint(layer)) is not None:
            return [_product(joint[0].mT, self._with_ones[i], y.mT)]
        if _is_ours(layer):
            is_activation = isinstance(layer, Activation)
            return note_calls(self._rooms, layer.forward, x, y) if is_activation else [(layer.forward, (x, y))]
        return [(_call_ones_own, (layer.forward, (x,), y, _rooms_in_c_order(x, y)))]

    def _backward_calls(self, i: int, dx: np.ndarray, dy: np.ndarray) -> list[Call]:
        layer, x, y = self._layers[i], self.tape[i], self.tape[i + 1]
        if (joint := _joint(layer)) is not None:
            weights = joint[0][..., :-1, :]
            return [_product(self._with_ones[i], dy, joint[1]), _product(weights, dy.mT, dx.mT)]
        for block in self._blocks:
            if i in block.derivatives:
                return [(np.multiply, (block.derivatives[i], dy, dx))]
        if _is_ours(layer):
            if isinstance(layer, Activation):
                return note_calls(self._rooms, layer.backward, dy, x, y, dx)
            return [(layer.backward, (dy, x, y, dx))]
        return [(_call_ones_own, (layer.backward, (dy, x, y), dx, _rooms_in_c_order(dy, x, y, dx)))]


class _Block:
    """Equal activations: their inputs stand in one array, their outputs and derivatives in two more.

    Attributes
    ----------
    rooms : dict
        From a place in the tape to its array (..., d + 1, n), features first, the last row ones.
    derivatives : dict
        From an activation's place among the layers to its φ'(x), (..., n, d); made with `calls`.
    """

    def __init__(self, activation: Activation, places: Sequence[int], widths: Sequence[int], x: np.ndarray):
        *lead, n, _ = x.shape
        self._activation, self._places = activation, places
        self._edges = np.cumsum([0] + [widths[i] + 1 for i in places]).tolist()
        self._inputs, self._outputs = (np.ones((*lead, self._edges[-1], n), x.dtype) for _ in range(2))
        self.rooms = dict(zip(places, self._parts(self._inputs), strict=True))
        self.rooms |= {i + 1: room for i, room in zip(places, self._parts(self._outputs), strict=True)}
        self.derivatives: dict[int, np.ndarray] = {}

    def _parts(self, array: np.ndarray) -> list[np.ndarray]:
        return [array[..., start:stop, :] for start, stop in itertools.pairwise(self._edges)]

    def calls(self, rooms: Rooms) -> list[Call]:
        """Return the calls that take all derivatives. Those of the ones between them are taken too, and not used."""
        derivatives = np.empty_like(self._inputs)
        self.derivatives = {i: _usual(room) for i, room in zip(self._places, self._parts(derivatives), strict=True)}
        return note_calls(rooms, self._activation.derivative, self._inputs, self._outputs, derivatives)


def _blocks(layers: Sequence[Layer], x: np.ndarray) -> list[_Block]:
    """Find the activations that are equal, two or more, if all layers are ours, so that all shapes are known."""
    if not all(_is_ours(layer) for layer in layers):
        return []
    widths = [x.shape[-1]]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, layer in enumerate(layers):
        widths.append(cast(int, layer.output_features(widths[-1])))
        after_another = i > 0 and isinstance(layers[i - 1], Activation)  # its input already is somebody's output
        if isinstance(layer, Activation) and not after_another:
            groups.setdefault((type(layer), *layer.settings().values()), []).append(i)
    return [_Block(layers[places[0]], places, widths, x) for places in groups.values() if len(places) > 1]  # type: ignore[arg-type]


class Plans:
    """The plans of some layers, one for each shape and type of input, and for training and predicting."""

    def __init__(self, layers: Sequence[Layer]):
        self._layers = layers
        self._plans: dict[tuple[tuple[int, ...], np.dtype, bool], Plan] = {}
        self._changes = CHANGES[0]

    def forward(self, x: np.ndarray, training: bool) -> Tape:
        """Return the tape of a pass."""
        if self._changes != CHANGES[0]:  # some layer is not what it was
            self._plans.clear()
            self._changes = CHANGES[0]
        key = x.shape, x.dtype, training
        plan = self._plans.get(key)
        if plan is not None:
            return plan.forward(x)
        if len(self._plans) >= KEPT_SHAPES:
            del self._plans[next(iter(self._plans))]
        plan = self._plans[key] = Plan(self._layers, x, training)
        return plan.tape


def _is_ours(layer: Layer) -> bool:
    """Tell whether a layer is one of gradlab's own, of which it is known that it fills the array that it is given."""
    return type(layer) in OURS and not {"forward", "backward"} & vars(layer).keys()


def _joint(layer: Layer) -> tuple[np.ndarray, np.ndarray] | None:
    """Return [W; b] and its gradient, if this is a Dense in a network."""
    if _is_ours(layer) and isinstance(layer, Dense) and layer.joint is not None and layer.djoint is not None:
        return layer.joint, layer.djoint
    return None


def _features_first(shape: tuple[int, ...], dtype: np.dtype, ones: bool = True) -> np.ndarray:
    """Make room (..., d + 1, n) for an array (..., n, d), the last row ones; or (..., d, n) without it."""
    *lead, n, d = shape
    return np.ones((*lead, d + ones, n), dtype)


def _usual(room: np.ndarray, ones: bool = True) -> np.ndarray:
    """Return the view (..., n, d) of such a room."""
    return (room[..., :-1, :] if ones else room).mT


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> Call:
    """Return the call of a matrix product: `ndarray.dot` starts sooner, and takes plain matrices only."""
    return (a.dot, (b, out)) if a.ndim == b.ndim == 2 else (np.matmul, (a, b, out))


def _rooms_in_c_order(*arrays: np.ndarray) -> list[np.ndarray]:
    return [np.empty(array.shape, array.dtype) for array in arrays]


def _call_ones_own(
    method: Callable[..., np.ndarray], inputs: Sequence[np.ndarray], out: np.ndarray, rooms: Sequence[np.ndarray]
) -> None:
    """Run a layer that somebody wrote: it sees arrays in C order, and may give back an array of its own."""
    for room, array in zip(rooms, inputs, strict=False):
        np.copyto(room, array)
    np.copyto(out, method(*rooms))
