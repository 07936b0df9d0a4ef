"""What can be recorded of every step: how large each weight matrix, its gradient and its change are.

An engine records these itself, between one hand-over and the next; whatever else is to be known of a step is looked at
when it is handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradlab.nn.arrays import norm
from gradlab.nn.checks import check_int, lookup
from gradlab.nn.network import Network
from gradlab.nn.wiring import Parameter
from gradlab.training.passes import LayerPass, in_a_row, lay_open, part_of, root_mean_square

Records = dict[str, np.ndarray]


class Weights:
    """The weight matrices of a network: one per layer that has one, from the input to the logits.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    names : tuple of str
        ``"0.W"``, ``"2.W"``, …
    places : list of Parameter
        Where they stand in the flat vector.

    Raises
    ------
    ValueError
        If the network has no weights.
    """

    def __init__(self, network: Network):
        self.places: list[Parameter] = [p for p in network.parameters if p.attribute == "W"]
        if not self.places:
            raise ValueError(f"{network!r} has no weights whose gradient could be recorded")
        self.names = tuple(p.name for p in self.places)
        # np.add.reduceat sums from each edge to the next: every second part is a weight matrix, and the rest is not
        # wanted. The last edge is left out where the vector ends with it.
        edges = [edge for p in self.places for edge in (p.where.start, p.where.stop)]
        self._edges = np.array(edges if edges[-1] < network.params.shape[-1] else edges[:-1])

    def norms(self, vector: np.ndarray) -> np.ndarray:
        """Compute the norm (layers, ...) of each weight matrix's part of a flat vector (..., P)."""
        with np.errstate(over="ignore", under="ignore"):
            sums = np.add.reduceat(vector * vector, self._edges, axis=-1)[..., ::2]
        norms = np.moveaxis(np.sqrt(sums), -1, 0)
        limits = np.finfo(vector.dtype)
        doubtful = (sums < limits.tiny / limits.eps) | ~np.isfinite(sums)
        for i in np.flatnonzero(doubtful.reshape(-1, len(self.names)).any(axis=0)):
            norms[i] = norm(vector[..., self.places[i].where])[..., 0]
        return norms

    def share(self, vector: np.ndarray, wanted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Compute the share (layers, ...) of entries of each weight matrix for which `wanted` holds."""
        return np.stack([np.mean(wanted(vector[..., p.where]), axis=-1) for p in self.places])


@dataclass
class Moment:
    """A step that has just been taken, as its quantities are computed from it.

    Attributes
    ----------
    network : Network
        After the step; its ``grads`` are the step's.
    tape, deltas : list of ndarray
        Of the step.
    weights : Weights
    before : ndarray (..., P), optional
        The parameters from before the step; None if they are not known.
    """

    network: Network
    tape: Sequence[np.ndarray]
    deltas: Sequence[np.ndarray]
    weights: Weights
    before: np.ndarray | None

    @cached_property
    def passes(self) -> dict[str, LayerPass]:
        """Every layer's part in the step's pass, by its place."""
        return lay_open(self.network.layers, self.tape, self.deltas)


def weight_gradient_norm(moment: Moment) -> np.ndarray:
    """Norm of dL/dW of each layer; right however small, as long as the float type can hold the number itself."""
    return moment.weights.norms(moment.network.grads)


def weight_norm(moment: Moment) -> np.ndarray:
    """Norm of W of each layer, after the step."""
    return moment.weights.norms(moment.network.params)


def zero_share(moment: Moment) -> np.ndarray:
    """Share of each layer's dL/dW that is exactly zero: underflowed, or behind dead units."""
    return moment.weights.share(moment.network.grads, lambda g: g == 0.0)


def subnormal_share(moment: Moment) -> np.ndarray:
    """Share of each layer's dL/dW too small for the float type's full precision: about to underflow."""
    tiny = np.finfo(moment.network.dtype).tiny
    return moment.weights.share(moment.network.grads, lambda g: (g != 0.0) & (np.abs(g) < tiny))


def delta_rms(moment: Moment) -> np.ndarray:
    """Root mean square over samples and units of δ = dL/dz, z being what the layer of each W gives.

    L is the mean over the batch, so δ of a sample has the factor 1/n.
    """
    places = [name.removesuffix(".W") for name in moment.weights.names]
    deltas = [part_of(moment.network, place, moment.passes).dy for place in places]
    return np.stack([root_mean_square(in_a_row(dy)) for dy in deltas if dy is not None])


def update_ratio(moment: Moment) -> np.ndarray:
    """Compute ‖ΔW‖/‖W‖ of each layer: by how much the step changed W, whatever the optimizer did, over W before it.

    nan if W before the step is not known. Where it was zero, inf, or nan if it is zero still.
    """
    params, before = moment.network.params, moment.before
    if before is None:
        return np.full((len(moment.weights.names), *moment.network.replicas), np.nan, params.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return moment.weights.norms(params - before) / moment.weights.norms(before)


QUANTITIES: dict[str, Callable[[Moment], np.ndarray]] = {
    "weight_gradient_norm": weight_gradient_norm,
    "weight_norm": weight_norm,
    "zero_share": zero_share,
    "subnormal_share": subnormal_share,
    "delta_rms": delta_rms,
    "update_ratio": update_ratio,
}


def check_every(every: str | int, name: str = "every") -> str | int:
    """Return 1 for "step", "epoch", or a whole number of steps; raise ValueError for what is none of them."""
    if isinstance(every, str):
        if every not in ("step", "epoch"):
            raise ValueError(f"{name}: {every!r} is not 'step', 'epoch' or a whole number of at least 1")
        return 1 if every == "step" else every
    return check_int(name, every)


def is_recorded(every: str | int, index: int, ends_epoch: bool) -> bool:
    """Whether a step is recorded: of "epoch" the first of all and the last of each, else one in so many."""
    return index == 0 or ends_epoch if every == "epoch" else index % int(every) == 0


class Record:
    """What an engine writes down of its steps until somebody takes it.

    Parameters
    ----------
    network : Network
    names : sequence of str
        Of `QUANTITIES`; without any, nothing is recorded.
    every : "step", "epoch" or int
        Which steps: all; the first of all and the last of each epoch; or one in so many, from the first.
    """

    def __init__(self, network: Network, names: Sequence[str], every: str | int):
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise ValueError(f"record: {names!r} is not a sequence of names, of {', '.join(QUANTITIES)}")
        self._network, self.names = network, tuple(names)
        for name in self.names:
            lookup("record", name, QUANTITIES)
        self._every = check_every(every, "record_every")
        self.weights = Weights(network) if self.names else None
        self.places = [] if self.weights is None else self.weights.places
        self._parts: list[list[np.ndarray]] = []

    def wants(self, index: int, ends_epoch: bool) -> bool:
        """Whether a step is to be written down."""
        return self.weights is not None and is_recorded(self._every, index, ends_epoch)

    def wanted(self, first: int, last: int, batches: int) -> np.ndarray:
        """Tell which of the steps `first`, … `last` − 1 are to be written down, of epochs of so many batches; uint8."""
        steps = np.arange(first, last)
        if self.weights is None:
            return np.zeros(len(steps), np.uint8)
        ends = (steps + 1) % batches == 0
        return np.array([self.wants(i, end) for i, end in zip(steps.tolist(), ends.tolist(), strict=True)], np.uint8)

    def measure(
        self,
        index: int,
        epoch: int,
        ends_epoch: bool,
        tape: Sequence[np.ndarray],
        deltas: Sequence[np.ndarray],
        before: np.ndarray | None,
    ) -> None:
        """Compute a step's quantities, and write them down."""
        assert self.weights is not None
        moment = Moment(self._network, tape, deltas, self.weights, before)
        quantities = [np.array(QUANTITIES[name](moment)) for name in self.names]
        self.write([index], epoch, [ends_epoch], [q.reshape(1, len(q), -1) for q in quantities])

    def write(self, steps: Any, epoch: int, ends: Any, quantities: Sequence[np.ndarray]) -> None:
        """Write down some steps' quantities (steps, layers, replicas), in the order of the names."""
        self._parts.append([np.array(steps), np.full(len(steps), epoch), np.array(ends), *quantities])

    def take(self) -> Records:
        """Hand over what was written since the last time: arrays as ``step.recorded`` has them."""
        parts, self._parts = self._parts, []
        columns = zip(("step", "epoch", "ends_epoch", *self.names), zip(*parts, strict=True), strict=False)
        return {name: np.concatenate(column) for name, column in columns}
