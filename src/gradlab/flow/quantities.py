"""What can be measured of a step: of each weight matrix and its gradient, and of each activation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from gradlab.flow.passes import LayerPass, in_a_row, lay_open, part_of, root_mean_square
from gradlab.nn.activations import Activation
from gradlab.nn.arrays import norm
from gradlab.nn.layers import Layer
from gradlab.nn.network import ROWS_AT_ONCE, Network, Parameter
from gradlab.nn.training import Step

SATURATED = 0.05  # share of the largest slope below which an activation counts as saturated
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Probe = Callable[["Sight"], np.ndarray]


class Weights:
    """The weight matrices of a network: one a layer that has one, from the input to the logits.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    names : tuple of str
        ``"0.W"``, ``"2.W"``, …

    Raises
    ------
    ValueError
        If the network has no weights.
    """

    def __init__(self, network: Network):
        self._places: list[Parameter] = [p for p in network.parameters if p.attribute == "W"]
        if not self._places:
            raise ValueError(f"{network!r} has no weights whose gradient could be recorded")
        self.names = tuple(p.name for p in self._places)
        # np.add.reduceat sums from each edge to the next: every second part is a weight matrix, and the rest is not
        # wanted. The last edge is left out where the vector ends with it.
        edges = [edge for p in self._places for edge in (p.where.start, p.where.stop)]
        self._edges = np.array(edges if edges[-1] < network.params.shape[-1] else edges[:-1])

    def norms(self, vector: np.ndarray) -> np.ndarray:
        """Compute the norm (layers, ...) of each weight matrix's part of a flat vector (..., P)."""
        with np.errstate(over="ignore", under="ignore"):
            sums = np.add.reduceat(vector * vector, self._edges, axis=-1)[..., ::2]
        norms = np.moveaxis(np.sqrt(sums), -1, 0)
        limits = np.finfo(vector.dtype)
        doubtful = (sums < limits.tiny / limits.eps) | ~np.isfinite(sums)
        for i in np.flatnonzero(doubtful.reshape(-1, len(self.names)).any(axis=0)):
            norms[i] = norm(vector[..., self._places[i].where])[..., 0]
        return norms

    def share(self, vector: np.ndarray, wanted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Compute the share (layers, ...) of entries of each weight matrix for which `wanted` holds."""
        return np.stack([np.mean(wanted(vector[..., p.where]), axis=-1) for p in self._places])


class Activations:
    """The activations of a network, from the input to the logits, those inside containers included.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    names : tuple of str
        Their places: ``"1"``, ``"3"``, … and ``"2.1"`` inside a container.

    Raises
    ------
    ValueError
        If the network has none.
    """

    def __init__(self, network: Network):
        self.names = tuple(_places_of_activations(network.layers))
        if not self.names:
            raise ValueError(f"{network!r} has no activations that could be recorded: none of its layers is one")
        self._largest: dict[tuple[Any, ...], float] = {}

    def largest_slope(self, name: str, activation: Activation) -> float:
        """Return `largest_slope` of an activation, computed once for each place and settings."""
        key = name, *activation.settings().items()
        if key not in self._largest:
            self._largest[key] = largest_slope(activation)
        return self._largest[key]


def _places_of_activations(layers: Sequence[Layer], path: str = "") -> Iterator[str]:
    for i, layer in enumerate(layers):
        if isinstance(layer, Activation):
            yield f"{path}{i}"
        yield from _places_of_activations(layer.layers, f"{path}{i}.")


def largest_slope(activation: Activation) -> float:
    """Find the largest abs(φ') on a grid: x from −40 to 40 in steps of 0.005, with 0, where many are steepest.

    1/4 for the sigmoid, 1 for tanh and ReLU, 1.129 for GELU. Half a step beside a smooth peak of φ' the error is
    φ'''·0.0025²/2, of the order of 1e-6. A slope without bound has its largest value at the end of the grid.
    """
    activation = copy.deepcopy(activation)  # whatever it may keep of a call, the one in training does not
    x = np.arange(-8000, 8001)[:, np.newaxis] * 0.005
    with np.errstate(all="ignore"):
        slopes = np.abs(activation.derivative(x, activation.forward(x)))
    return float(slopes[np.isfinite(slopes)].max(initial=0.0))


@dataclass
class Sight:
    """What a probe sees of one step; what several probes need is computed for the first of them.

    Attributes
    ----------
    step : Step
    weights : Weights
    activations : Activations, optional
        None if no wanted probe needs them.
    before : ndarray (..., P), optional
        The parameters from before the step; None if they are not known.
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array, optional
        The data, for probes that look at all of them.
    """

    step: Step
    weights: Weights
    activations: Activations | None = None
    before: np.ndarray | None = None
    x: Any = None

    @property
    def network(self) -> Network:
        """The network, after the step."""
        return self.step.network

    @cached_property
    def passes(self) -> dict[str, LayerPass]:
        """Every layer's part in the step's pass, by its place."""
        return lay_open(self.network.layers, self.step.tape, self.step.deltas)

    def activated(self, passes: dict[str, LayerPass] | None = None) -> list[tuple[str, Activation, LayerPass]]:
        """Return each activation with its place and its part in a pass: the step's, unless another is given."""
        assert self.activations is not None
        parts = [(name, part_of(self.network, name, passes or self.passes)) for name in self.activations.names]
        return [(name, part.layer, part) for name, part in parts]  # type: ignore[misc]

    @cached_property
    def preactivation(self) -> list[np.ndarray]:
        """The inputs (..., d·n) of the activations."""
        return [in_a_row(part.x) for _, _, part in self.activated()]

    @cached_property
    def activation(self) -> list[np.ndarray]:
        """The outputs (..., d·n) of the activations."""
        return [in_a_row(part.y) for _, _, part in self.activated()]

    @cached_property
    def preactivation_quantiles(self) -> np.ndarray:
        """Their `QUANTILES` (layers, quantiles, ...)."""
        return np.stack([np.quantile(row, QUANTILES, axis=-1) for row in self.preactivation])

    @cached_property
    def activation_quantiles(self) -> np.ndarray:
        """Their `QUANTILES` (layers, quantiles, ...)."""
        return np.stack([np.quantile(row, QUANTILES, axis=-1) for row in self.activation])


def weight_gradient_norm(sight: Sight) -> np.ndarray:
    """Norm of dL/dW of each layer; right however small, as long as the float type can hold the number itself."""
    return sight.weights.norms(sight.network.grads)


def weight_norm(sight: Sight) -> np.ndarray:
    """Norm of W of each layer, after the step."""
    return sight.weights.norms(sight.network.params)


def zero_share(sight: Sight) -> np.ndarray:
    """Share of each layer's dL/dW that is exactly zero: underflowed, or behind dead units."""
    return sight.weights.share(sight.network.grads, lambda g: g == 0.0)


def subnormal_share(sight: Sight) -> np.ndarray:
    """Share of each layer's dL/dW too small for the float type's full precision: about to underflow."""
    tiny = np.finfo(sight.network.dtype).tiny
    return sight.weights.share(sight.network.grads, lambda g: (g != 0.0) & (np.abs(g) < tiny))


def delta_rms(sight: Sight) -> np.ndarray:
    """Root mean square over samples and units of δ = dL/dz, z being what the layer of each W gives.

    L is the mean over the batch, so δ of a sample has the factor 1/n.
    """
    places = [name.removesuffix(".W") for name in sight.weights.names]
    deltas = [part_of(sight.network, place, sight.passes).dy for place in places]
    return np.stack([root_mean_square(in_a_row(dy)) for dy in deltas if dy is not None])


def update_ratio(sight: Sight) -> np.ndarray:
    """Compute ‖ΔW‖/‖W‖ of each layer: by how much the step changed W, whatever the optimizer did, over W before it.

    nan if W before the step is not known. Where it was zero, inf, or nan if it is zero still.
    """
    params, before = sight.network.params, sight.before
    if before is None:
        return np.full((len(sight.weights.names), *sight.network.replicas), np.nan, params.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return sight.weights.norms(params - before) / sight.weights.norms(before)


def mean(sight: Sight, of: str) -> np.ndarray:
    """Mean over the batch's samples and the units of each activation's input ("preactivation") or output."""
    return np.stack([np.mean(row, axis=-1) for row in getattr(sight, of)])


def standard_deviation(sight: Sight, of: str) -> np.ndarray:
    """Compute the standard deviation, of all samples and units together, of each activation's input or output."""
    return np.stack([root_mean_square(row - np.mean(row, axis=-1, keepdims=True)) for row in getattr(sight, of)])


def quantile(sight: Sight, of: str, i: int) -> np.ndarray:
    """Quantile number i of `QUANTILES`, over samples and units, of each activation's input or output."""
    return getattr(sight, f"{of}_quantiles")[:, i]


def saturated_share(sight: Sight) -> np.ndarray:
    """Share of the batch's samples and the units where abs(φ') is below 5 % of its largest value, `largest_slope`."""
    assert sight.activations is not None
    shares = []
    for name, activation, part in sight.activated():
        limit = SATURATED * sight.activations.largest_slope(name, activation)
        shares.append(np.mean(in_a_row(np.abs(activation.derivative(part.x, part.y)) < limit), axis=-1))
    return np.stack(shares)


def dead_share(sight: Sight) -> np.ndarray:
    """Share of each activation's units with φ' = 0 at every sample of the data: no gradient passes through them.

    The network predicts, as it is after the step: with running statistics, and without dropout.
    """
    network, x = sight.network, sight.x
    alive: list[np.ndarray] = []
    for start in range(0, x.shape[-2], ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        rows = x[..., start:stop, :] if isinstance(x, np.ndarray) else x[start:stop].toarray()
        with np.errstate(over="ignore", invalid="ignore"):  # a network about to diverge is named by the next step
            passes = lay_open(network.layers, network.forward(rows))
            sloped = [
                np.any(activation.derivative(part.x, part.y) != 0.0, axis=-2)
                for _, activation, part in sight.activated(passes)
            ]
        alive = [a | b for a, b in zip(alive, sloped, strict=True)] if alive else sloped
    return np.stack([1.0 - np.mean(units, axis=-1) for units in alive])


OF_WEIGHTS: dict[str, Probe] = {
    "weight_gradient_norm": weight_gradient_norm,
    "weight_norm": weight_norm,
    "zero_share": zero_share,
    "subnormal_share": subnormal_share,
    "delta_rms": delta_rms,
    "update_ratio": update_ratio,
}
OF_ACTIVATIONS: dict[str, Probe] = {"saturated_share": saturated_share, "dead_share": dead_share}
for _of in ("preactivation", "activation"):
    OF_ACTIVATIONS[f"{_of}_mean"] = partial(mean, of=_of)
    OF_ACTIVATIONS[f"{_of}_std"] = partial(standard_deviation, of=_of)
    for _i, _q in enumerate(QUANTILES):
        OF_ACTIVATIONS[f"{_of}_q{100 * _q:02.0f}"] = partial(quantile, of=_of, i=_i)
PROBES: dict[str, Probe] = OF_WEIGHTS | OF_ACTIVATIONS
