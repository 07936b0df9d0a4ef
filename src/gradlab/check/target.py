"""One layer as a check sees it: whether it keeps its contract, and which mistake explains what it gives."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.check.differences import STEP
from gradlab.check.mistakes import Suspect, Told, find, of_any_array, of_layer, of_paths, of_sums
from gradlab.nn.layers import Layer
from gradlab.nn.network import Network
from gradlab.nn.streams import Streams
from gradlab.nn.wiring import Parameter, walk

SAME = 1e-9  # relative and absolute difference up to which two results count as the same
MOST_TAKEN_APART = 64  # entries of an array whose sums and paths are tried

Breach = tuple[str, str, str]  # the array concerned, what is wrong in a sentence, and the mistake in a word


@dataclass(frozen=True)
class Subject:
    """One layer, with the input that it gets in the network and random numbers that stay the same."""

    network: Network
    index: int
    x: np.ndarray
    dy: np.ndarray
    streams: Streams

    @property
    def layer(self) -> Layer:
        """The layer."""
        return self.network.layers[self.index]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The layer's parameters, by their names in it: ``"W"``, or ``"1.W"`` inside a container."""
        split = [(p.name.split(".", 1), p) for p in self.network.parameters]
        return {name: p for (place, name), p in split if place == str(self.index)}

    def output(self) -> np.ndarray:
        """Return y for x and the parameters as they are now."""
        self._hold_streams()
        return np.array(self.layer.forward(self.x))

    def _hold_streams(self) -> None:
        for inner in walk([self.layer]):
            inner.streams = copy.deepcopy(self.streams)  # the same random masks every time

    def run(self) -> tuple[dict[str, np.ndarray], list[Breach]]:
        """Run forward and backward on copies.

        Returns
        -------
        results : dict
            y, and the gradients: under ``"x"``, and under each parameter's name.
        faults : list of (str, str, str)
            What was changed that is not the layer's to change, or is of another type.
        """
        self._hold_streams()
        self.network.grads[...] = 1.0  # a layer that adds to its gradient instead of writing it is wrong by 1
        x, dy = self.x.copy(), self.dy.copy()
        given = np.asarray(self.layer.forward(x))
        faults, y = broken("forward", "y", given, [("x", self.x, x)]), np.array(given, np.float64)
        seen = y.copy()
        given = np.asarray(self.layer.backward(dy, x, seen))
        dx = np.array(given, np.float64)
        faults += broken("backward", "dx", given, [("x", self.x, x), ("y", y, seen), ("dy", self.dy, dy)])
        gradients = {name: self.network.grads[p.where].reshape(p.shape).copy() for name, p in self.parameters.items()}
        return {"y": y, "x": dx, **gradients}, faults

    def faults(self) -> Iterator[Breach]:
        """Yield where the layer breaks its contract: the array, a sentence, and the mistake in a word."""
        first, changed = self.run()
        yield from changed
        yield from self._replaced()
        second, _ = self.run()
        for name, call in _differing(first, second):
            what = f"{call} gives another result the second time; use nothing but its arguments and the parameters"
            yield name, what, ""

    def _replaced(self) -> Iterator[Breach]:
        """Yield the arrays that are no longer views of the network's flat vectors."""
        for name, p in self.parameters.items():
            for flat, attribute in ((self.network.params, p.attribute), (self.network.grads, f"d{p.attribute}")):
                view = flat[p.where]
                if view.size and not np.shares_memory(np.asarray(getattr(p.layer, attribute)), view):
                    path = name.removesuffix(p.attribute)
                    what = f"{path}{attribute} was replaced; write into it: self.{attribute}[...] = …"
                    yield name, what, "not in place"

    def told(self, name: str, turned: bool = False) -> Told:
        """Return the backward pass as a function of dy, x and y to one result.

        Turned, it meets transposed weights on its way to dx, or a transposed array to write a gradient to.
        """

        def backward(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
            self._hold_streams()
            self.layer.forward(self.x.copy())  # what it keeps for itself is that of its own input
            prefix, asked = ("", self.parameters.values()) if name == "x" else ("d", [self.parameters[name]])
            try:
                for p in asked if turned else ():
                    if len(p.shape) == 2 and min(p.shape) > 1:
                        array = getattr(p.layer, prefix + p.attribute)
                        object.__setattr__(p.layer, prefix + p.attribute, array.T.copy())
                dx = np.array(self.layer.backward(dy.copy(), x.copy(), y.copy()), np.float64)
                if name == "x":
                    return dx
                p = self.parameters[name]
                gradient = np.array(getattr(p.layer, "d" + p.attribute))
                return gradient if gradient.shape == p.shape else gradient.T
            finally:
                self.network._bind()

        return backward

    def values(self) -> dict[str, np.ndarray]:
        """Return what derivatives are taken by: the input, and views of the parameters."""
        parameters = {name: self.network.params[p.where].reshape(p.shape) for name, p in self.parameters.items()}
        return {"x": self.x} | parameters

    def why_it_fails(self) -> Suspect | None:
        """Return the mistake without which a backward pass that raises an error would be right."""
        y, nothing = self.output(), np.empty(0)
        for name, values in self.values().items():
            right = np.sum(self.effects(values), axis=(-2, -1))
            told, turned = self.told(name), self.told(name, turned=True)
            for suspect in of_layer(name, nothing, right, self.dy, self.x, y, told, turned):
                if suspect.makes is nothing:
                    return suspect
        n, d = y.shape
        if n == d:
            return None
        rows = np.resize(np.arange(n), d)  # as many samples as features: a sum over the wrong axis now goes through
        square = Subject(
            self.network, self.index, self.x[rows] + np.arange(d)[:, np.newaxis], self.dy[rows], self.streams
        )
        try:
            results, _ = square.run()
        except Exception:  # whatever the backward pass raises
            return None
        for name, values in square.values().items():
            right = np.sum(square.effects(values), axis=(-2, -1))
            found = find(results[name], right, square.suspects(name, results[name], right))
            if found is not None:
                return found
        return None

    def effects(self, values: np.ndarray) -> np.ndarray:
        """Return dy·∂y/∂value for each entry of some values and each number of y: (*values.shape, n, d_out)."""
        effects = np.empty((*values.shape, *self.dy.shape))
        for entry in np.ndindex(values.shape):
            value, sides = values[entry], []
            for side in (STEP, -STEP):
                values[entry] = value + side
                sides.append(self.output())
            values[entry] = value
            effects[entry] = self.dy * (sides[0] - sides[1]) / (2.0 * STEP)
        return effects

    def forward_of(self, **arrays: Any) -> Any:
        """Run forward on x and parameters given by name, in place of its own."""
        self._hold_streams()
        try:
            for name, p in self.parameters.items():
                if name in arrays:
                    object.__setattr__(p.layer, p.attribute, arrays[name])
            return self.layer.forward(arrays["x"])
        finally:
            self.network._bind()

    def suspects(self, name: str, found: np.ndarray, right: np.ndarray) -> Iterator[Suspect]:
        """Yield what may be wrong with one result of the backward pass, the likeliest first."""
        y = self.output()
        told, turned = self.told(name), self.told(name, turned=True)
        yield from of_layer(name, found, right, self.dy, self.x, y, told, turned)
        yield from of_any_array(right, len(self.x), None if name == "x" else np.ones(right.shape))
        if right.size <= MOST_TAKEN_APART:
            inputs = self.values()
            if name != "x":
                yield from of_sums(right, self.effects(inputs[name]))
            yield from of_paths(name, found, self.dy, self.forward_of, inputs)


def broken(
    method: str, gives: str, given: np.ndarray, arrays: list[tuple[str, np.ndarray, np.ndarray]]
) -> list[Breach]:
    """Return what a method changed, of arrays before and after it, and whether what it gave is of another type."""
    faults: list[Breach] = []
    for name, before, after in arrays:
        if not np.array_equal(before, after, equal_nan=True):
            what = f"{method} changes {name} in place; use a new array"
            faults.append((name, what, "changes input"))
    if given.dtype != np.float64 and given.dtype.kind in "biufc":
        what = f"{method} gives {gives} as {given.dtype} where x is float64; keep the float type of x"
        faults.append((gives.removeprefix("d"), what, "dtype"))
    return faults


def _differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Yield the results that differ between two runs, and the method that they come from."""
    for name in a:
        if a[name].shape != b[name].shape or not np.allclose(a[name], b[name], SAME, SAME, equal_nan=True):
            yield name, "forward" if name == "y" else "backward"
