"""Every use of an array in a computation, so that it can be asked what a gradient is without one of them.

A function is run once on arrays that write down what is done with them. It can then be run again with a small change
of an input, and on the way any single use of a number may see none of that change, or its reverse, or twice as much:
what the derivative would be if a term of the sum, or a factor of the chain, had been forgotten.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

STEP = 1e-5  # of the central differences
LONGEST_LINE = 70  # characters of a program's line that are shown
MOST_USES = 60  # in a computation that is taken apart; a longer one is not
NOT_USER_CODE = (str(Path(np.__file__).parent), __file__)


@dataclass(frozen=True)
class Reference:
    """The result of a node, as an argument of another."""

    node: int


@dataclass(frozen=True)
class Use:
    """One place where a number enters an operation.

    Attributes
    ----------
    node, argument : int
        The operation, and which of its traced arguments, both counted from 0.
    source : int
        The node whose result is used.
    where : str
        The line of the program: ``"line 12, `y = x * s`"``; empty if it is not known.
    """

    node: int
    argument: int
    source: int
    where: str


@dataclass(frozen=True)
class Stretch:
    """What lies between two numbers of one shape, the second made of the first, such as a function and its argument.

    Attributes
    ----------
    start, end : int
        The two nodes.
    where : str
        The line of the second.
    """

    start: int
    end: int
    where: str


@dataclass
class _Node:
    """One operation: a function, and its arguments with `Reference` where a result is used."""

    function: Callable[..., Any] | None  # None for an input
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    where: str = ""


class _Traced(NDArrayOperatorsMixin):
    """Stands in for an array, and writes down what is done with it."""

    __array_priority__ = 1000

    def __init__(self, graph: Graph, node: int):
        self.graph, self.node = graph, node

    @property
    def value(self) -> np.ndarray:
        return self.graph.values[self.node]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        result = self.graph.record(getattr(ufunc, method), inputs, options)
        return result if out is None else self._written(out[0], result)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        out = options.pop("out", None) if isinstance(options, dict) else None
        result = self.graph.record(function, args, options)
        return result if out is None else self._written(out, result)

    def _written(self, out: Any, result: Any) -> Any:
        """Let `out` stand for the result from now on."""
        if isinstance(out, _Traced):
            out.node = result.node
            return out
        out[...] = result.value
        return result

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.value, dtype)  # whoever takes the plain numbers is not followed any further

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = getattr(self.value, name)
        if isinstance(attribute, np.ndarray):
            return self.graph.record(lambda a: getattr(a, name), (self,), {})
        if callable(attribute):
            return lambda *args, **options: self.graph.record(
                lambda a, *rest, **given: getattr(a, name)(*rest, **given), (self, *args), options
            )
        return attribute

    def __getitem__(self, key: Any) -> Any:
        return self.graph.record(lambda a, k: a[k], (self, key), {})

    def __len__(self) -> int:
        return len(self.value)

    def __float__(self) -> float:
        return float(self.value)


class Graph:
    """What a function does with its inputs, operation by operation.

    Parameters
    ----------
    function : callable
        From the inputs, as keyword arguments, to one array.
    inputs : mapping of ndarray

    Raises
    ------
    ValueError
        If not everything that the function does with its inputs could be followed.
    """

    def __init__(self, function: Callable[..., Any], inputs: Mapping[str, np.ndarray]):
        self.nodes: list[_Node] = []
        self.values: list[Any] = []
        self.inputs = {name: self._add(_Node(None), np.array(value)) for name, value in inputs.items()}
        result = function(**{name: _Traced(self, node) for name, node in self.inputs.items()})
        if not isinstance(result, _Traced):
            raise ValueError("the result does not come from the inputs by operations that can be followed")
        self.output = result.node
        self._needed = self._ancestors(self.output)
        again = self._run({})
        if len(self.uses) > MOST_USES or not np.allclose(again, self.values[self.output], equal_nan=True):
            raise ValueError("the operations are too many, or change arrays in place")

    def record(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Do an operation, and write it down."""
        node = _Node(function, tuple(map(self._refer, arguments)), options, _line_of_program())
        if any(isinstance(value, _Traced) for value in options.values()):
            raise ValueError("an array is given by the name of an option")
        value = self._do(node, self.values)
        if not isinstance(value, np.ndarray | np.generic):
            return value
        return _Traced(self, self._add(node, np.asarray(value)))

    def _add(self, node: _Node, value: np.ndarray) -> int:
        self.nodes.append(node)
        self.values.append(value)
        return len(self.nodes) - 1

    def _refer(self, argument: Any) -> Any:
        if isinstance(argument, _Traced):
            return Reference(argument.node)
        if isinstance(argument, list | tuple):
            return type(argument)(map(self._refer, argument))
        return np.array(argument) if isinstance(argument, np.ndarray) else argument

    @staticmethod
    def _do(node: _Node, values: Any, changed: Mapping[int, np.ndarray] | None = None) -> Any:
        """Do an operation with these results; `changed` has what single arguments see instead."""
        count = -1

        def look_up(argument: Any) -> Any:
            nonlocal count
            if isinstance(argument, Reference):
                count += 1
                return changed[count] if changed and count in changed else values[argument.node]
            if isinstance(argument, list | tuple):
                return type(argument)(map(look_up, argument))
            return argument

        assert node.function is not None
        return node.function(*map(look_up, node.arguments), **node.options)

    def _ancestors(self, node: int) -> list[int]:
        """Return the nodes that a result depends on, in order, itself included."""
        needed, waiting = set(), [node]
        while waiting:
            at = waiting.pop()
            if at not in needed:
                needed.add(at)
                waiting += [r.node for r in _references(self.nodes[at].arguments)]
        return sorted(needed)

    @property
    def uses(self) -> list[Use]:
        """Every use of every result on the way to the output; but of floats only, as others change by no small step."""
        return [
            Use(n, i, reference.node, self.nodes[n].where)
            for n in self._needed
            for i, reference in enumerate(_references(self.nodes[n].arguments))
            if self.values[reference.node].dtype.kind == "f"
        ]

    def _run(
        self,
        inputs: Mapping[str, np.ndarray],
        weights: Mapping[Use, float] | None = None,
        stretch: Stretch | None = None,
        slope: np.ndarray | float | None = None,
    ) -> np.ndarray:
        """Run it again on other inputs.

        Parameters
        ----------
        inputs : mapping of ndarray
            By name; the others are as they were.
        weights : mapping from Use to float
            How much of the change single uses see: 0 for none, 1 for all of it.
        stretch : Stretch, optional
            One that has another slope than its own.
        slope : ndarray or float, optional
            That slope; if not given, its own, but at its result in place of its argument.
        """
        values: dict[int, np.ndarray] = {}
        for n in self._needed:
            node = self.nodes[n]
            if node.function is None:
                name = next(name for name, at in self.inputs.items() if at == n)
                values[n] = inputs.get(name, self.values[n])
            elif stretch is not None and n == stretch.end:
                change = values[stretch.start] - self.values[stretch.start]
                if slope is None:
                    change = self._along(stretch, self.values[n] + change) - self._along(stretch, self.values[n])
                else:
                    change = change * slope
                values[n] = self.values[n] + change
            else:
                changed = {
                    use.argument: self.values[use.source] + weight * (values[use.source] - self.values[use.source])
                    for use, weight in (weights or {}).items()
                    if use.node == n
                }
                values[n] = self._do(node, values, changed)
        return values[self.output]

    def _along(self, stretch: Stretch, value: np.ndarray) -> np.ndarray:
        """Return a stretch's result for another argument."""
        values = dict(enumerate(self.values)) | {stretch.start: value}
        for n in self._ancestors(stretch.end):
            if n > stretch.start and self.nodes[n].function is not None:
                values[n] = self._do(self.nodes[n], values)
        return values[stretch.end]

    def slope(self, name: str, direction: np.ndarray, dy: np.ndarray, **edit: Any) -> float:
        """Return the central difference of Σ dy·output as an input moves along `direction`; `edit` as for `_run`."""
        value = self.values[self.inputs[name]]
        above, below = (self._run({name: value + side * STEP * direction}, **edit) for side in (1.0, -1.0))
        return float(np.sum(dy * above) - np.sum(dy * below)) / (2.0 * STEP)

    def gradient(self, name: str, dy: np.ndarray, **edit: Any) -> np.ndarray:
        """Return the central difference by each entry of an input, shaped like it; `edit` as for `_run`."""
        directions = np.eye(self.values[self.inputs[name]].size)
        shape = self.values[self.inputs[name]].shape
        slopes = [self.slope(name, direction.reshape(shape), dy, **edit) for direction in directions]
        return np.array(slopes).reshape(shape)

    def stretches(self) -> Iterator[Stretch]:
        """Yield every stretch on the way to the output."""
        for end in self._needed:
            if self.nodes[end].function is None or not self.values[end].shape or self.values[end].dtype.kind != "f":
                continue
            for start in self._ancestors(end)[:-1]:
                value = self.values[start]
                if value.shape == self.values[end].shape and value.dtype.kind == "f":
                    yield Stretch(start, end, self.nodes[end].where or f"operation {end}")


def _references(argument: Any) -> Iterator[Reference]:
    if isinstance(argument, Reference):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _references(part)


def _line_of_program() -> str:
    """Return the line of the program that is at work, NumPy and this file aside."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(NOT_USER_CODE):
        frame = frame.f_back
    source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    shown = source if len(source) <= LONGEST_LINE else f"{source[:LONGEST_LINE]}…"
    return f"line {frame.f_lineno}, `{shown}`" if source else ""
