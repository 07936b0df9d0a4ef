"""One training step, taken by a copy of the network: its arrays, what each number is called, and which are shown."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlab.check.differences import SMALLER, STEP, Gradient
from gradlab.learn.worked.formulas import Formula, Symbol, named
from gradlab.learn.worked.lines import Line
from gradlab.nn.activations import Activation
from gradlab.nn.backpropagation import forward
from gradlab.nn.checks import check_int
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.remedies import BatchNorm, Dropout, Residual
from gradlab.nn.streams import Streams
from gradlab.nn.wiring import walk
from gradlab.training.data import check_data
from gradlab.training.divergence import raise_if_diverged

MOST_LINES = 150  # of a network that is shown whole
MOST_TERMS = 8  # of a sum that is written out
MOST_LAYERS = 12  # that are worked; of more, the first and the last
ROUNDINGS = 10  # of a difference, in units in the last place of a loss over h: Richardson triples those of a loss,
# which has some three, of the last sum, the logarithm and the mean


class _SameMask(Streams):
    """Draws that give a Dropout the mask again that it has."""

    def __init__(self, mask: np.ndarray):
        self._kept = mask > 0.0

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return 1, which no rate is above, where the mask keeps, and −1, which every rate is above, where not."""
        return np.where(self._kept, 1.0, -1.0).astype(dtype)


class WorkedStep:
    """Forward and backward of one batch, in float64, and nothing given changed.

    Parameters
    ----------
    network : Network
        One, not replicas.
    loss : Loss
    x : ndarray (n, d)
    y : ndarray (n, k), or (n,) for a network with one output
    samples : sequence of int, optional
        Rows that make the batch; all, unless given.

    Attributes
    ----------
    network, layers
        The copy, and its layers. They give the same again: a Dropout keeps its mask.
    rows : list of int
        Of x, that make the batch.
    tape, deltas : list of ndarray
        Of the step, for good.
    grads : dict of str to ndarray
        By the parameters' names.
    through : dict of int to (ndarray, ndarray)
        By the index of a Residual: what its inner layers make of x, and of dL/dy going back.
    value : float
        The loss.
    sample : int
        The row of the batch whose loss has the largest slope.
    whole : bool
        Whether the network is small enough to be shown whole.
    entries : list of list of (int, int)
        Sample and unit of the entries that are shown of each array of the tape: all, or one.
    left_out : range
        Layers that are not shown.

    Raises
    ------
    ValueError
        If an argument does not fit.
    DivergenceError
        If a number of the step is not finite.
    """

    def __init__(
        self, network: Network, loss: Loss, x: np.ndarray, y: np.ndarray, samples: Sequence[int] | None = None
    ):
        for name, kind, given in (("network", Network, network), ("loss", Loss, loss)):
            if not isinstance(given, kind):
                raise ValueError(f"{name}: {given!r} is not a {kind.__name__}")
        if network.replicas:
            raise ValueError("network: it has replicas; take one of them, as in network.replica(0)")
        network = copy.deepcopy(network) if network.dtype == np.float64 else network.astype(np.float64)
        x, y, _ = check_data(network, loss, x, y, None)
        self.rows = _rows(samples, x.shape[0])
        x, y = x[self.rows], y[self.rows]
        x = x if isinstance(x, np.ndarray) else x.toarray()
        self.network, self.loss, self.y, self.layers = network, loss, y, network.layers
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            tape = network.forward(x, training=True)
            deltas = network.backward(loss.gradient(tape[-1], y), tape)
            if not all(np.isfinite(array).all() for array in (*tape, *deltas, network.grads)):
                raise_if_diverged(network, tape, deltas, 0, 0, None)
        self.tape, self.deltas = [np.array(a, order="C") for a in tape], [np.array(d, order="C") for d in deltas]
        self.grads = {p.name: network.grads[p.where].reshape(p.shape).copy() for p in network.parameters}
        self.through = {i: _through(layer) for i, layer in enumerate(self.layers) if type(layer) is Residual}
        for layer in walk(self.layers):
            if isinstance(layer, Dropout):
                layer.streams = _SameMask(layer.mask)
        self.value = float(loss.value(self.tape[-1], y))
        self._names = _names(self.layers)
        n, widths = x.shape[0], sum(a.shape[1] for a in self.tape)
        self.sample = int(np.argmax(np.abs(self.deltas[-1]).max(axis=1)))
        self.whole = 2 * n * widths + 2 * network.params.size <= MOST_LINES
        self.most = MOST_TERMS if self.whole else MOST_TERMS // 2
        self.entries = [list(np.ndindex(a.shape)) for a in self.tape] if self.whole else self._path()
        depth, ends = len(self.layers), MOST_LAYERS // 2
        self.left_out = range(ends, depth - ends) if depth > MOST_LAYERS else range(0)

    def _path(self) -> list[list[tuple[int, int]]]:
        """Choose in each layer the unit with the largest delta, for the sample with the largest slope of the loss."""
        unit = int(np.argmax(np.abs(self.deltas[-1][self.sample])))
        path = [[(self.sample, unit)]]
        for layer, delta in zip(reversed(self.layers), reversed(self.deltas[:-1]), strict=True):
            if not acts_unit_by_unit(layer):
                unit = int(np.argmax(np.abs(delta[self.sample])))
            path.append([(self.sample, unit)])
        return path[::-1]

    # --- numbers with their names ----------------------------------------------------------------------------------

    def out(self, i: int, entry: tuple[int, ...]) -> Formula:
        """Return an entry of x_i, which is what layer i is given."""
        return named(self.symbol(i, entry), self.tape[i][entry])

    def delta(self, i: int, entry: tuple[int, ...]) -> Formula:
        """Return an entry of dL/dx_i."""
        return named(self.symbol(i, entry, True), self.deltas[i][entry])

    def symbol(self, i: int, entry: tuple[int, ...], derivative: bool = False) -> Symbol:
        """Name an entry of x_i, or dL by it."""
        return Symbol(*self._names[i], entry, derivative)

    def number(self, i: int) -> int:
        """Return the number of layer i in the names of what belongs to it."""
        return self._names[i + 1][1] or 0

    def parameter(self, name: str, entry: tuple[int, ...], derivative: bool = False) -> Symbol:
        """Name an entry of a parameter, or dL by it."""
        place, _, attribute = name.rpartition(".")
        if place.isdigit() and type(self.layers[int(place)]) in (Dense, BatchNorm):
            return Symbol(attribute, self.number(int(place)), entry if attribute == "W" else entry[1:], derivative)
        return Symbol(f"layers[{place}].{attribute}", None, entry, derivative)

    def chosen(self, name: str) -> list[tuple[int, ...]]:
        """Return the entries of a parameter that are shown."""
        gradient = self.grads[name]
        if self.whole:
            return list(np.ndindex(gradient.shape))
        place, _, attribute = name.rpartition(".")
        if place.isdigit() and type(self.layers[int(place)]) in (Dense, BatchNorm):
            j, k = (self.entries[i][0][1] for i in (int(place), int(place) + 1))
            return [(j if attribute == "W" else 0, k)]
        return [tuple(map(int, np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)))]

    def derivative(
        self, symbol: Symbol, formula: Formula | None, words: str, place: np.ndarray, entry: tuple[int, ...], i: int,
        value: float,
    ) -> Line:  # fmt: skip
        """Return the line of a derivative, by an entry of what layer i has or is given, with the central difference."""
        x = self.tape[i]

        def output() -> np.ndarray:
            return np.asarray(self.loss.value(forward(self.layers[i:], x)[-1], self.y))

        gradient = Gradient(i, "", "", place, place, output, np.ones(()))
        with np.errstate(over="ignore", invalid="ignore"):
            y = output()
            d = gradient.difference(entry, STEP, y)
            if d.numeric is None:  # it bends too fast, or has a kink nearby
                d = gradient.difference(entry, STEP * SMALLER, y)
        return Line(symbol, formula, float(value), words, d.numeric, ROUNDINGS * d.noise, d.numeric is None)


def acts_unit_by_unit(layer: Layer) -> bool:
    """Return whether an output of the layer depends on one unit of its input alone."""
    return isinstance(layer, Activation | Dropout | BatchNorm)


def _through(layer: Residual) -> tuple[np.ndarray, np.ndarray]:
    inner = layer.passes[True]
    return inner.tape[-1].copy(), inner.deltas[0].copy()


def _rows(samples: Sequence[int] | None, n: int) -> list[int]:
    """Return the rows of the batch; raise ValueError for one that there is not, or that is named twice."""
    if samples is None:
        return list(range(n))
    rows = [check_int(f"samples[{i}]", s, 0) for i, s in enumerate(samples)]
    if not rows:
        raise ValueError("samples: name at least one")
    for i, row in enumerate(rows):
        if row >= n:
            raise ValueError(f"samples[{i}]: {row} is not one of the {n} samples, counted from 0")
        if row in rows[:i]:
            raise ValueError(f"samples[{i}]: {row} is named twice")
    return rows


def _names(layers: Sequence[Layer]) -> list[tuple[str, int | None]]:
    """Name what stands on the tape: x, z1 and a1 for the first Dense and the activation behind it, h where neither."""
    names: list[tuple[str, int | None]] = [("x", None)]
    number = 0
    for i, layer in enumerate(layers):
        if type(layer) is Dense:
            number += 1
            names.append(("z", number))
        elif isinstance(layer, Activation) and names[-1] == ("z", number):
            names.append(("a", number))
        else:
            names.append(("h", i + 1))
    return names
