"""What can be measured of a step: of each weight matrix and its gradient (see also `training.recording`), of biases, of
the whole gradient, of each activation, and of the units of one layer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from gradlab.nn.activations import Activation
from gradlab.nn.arrays import norm
from gradlab.nn.checks import lookup
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.nn.wiring import Parameter, numbered
from gradlab.training.passes import LayerPass, in_a_row, lay_open, part_of, root_mean_square
from gradlab.training.recording import QUANTITIES as OF_WEIGHTS
from gradlab.training.recording import Moment

SATURATED = 0.05  # share of the largest slope below which an activation counts as saturated
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Probe = Callable[["Sight"], np.ndarray]


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
        self.names = tuple(place for place, layer in numbered(network.layers) if isinstance(layer, Activation))
        if not self.names:
            raise ValueError(f"{network!r} has no activations that could be recorded: none of its layers is one")
        self._largest: dict[tuple[Any, ...], float] = {}

    def largest_slope(self, name: str, activation: Activation) -> float:
        """Return `largest_slope` of an activation, computed once for each place and settings."""
        key = name, *activation.settings().items()
        if key not in self._largest:
            self._largest[key] = largest_slope(activation)
        return self._largest[key]


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
class Sight(Moment):
    """What a probe sees of one step; what several probes need is computed for the first of them.

    Attributes
    ----------
    activations : Activations, optional
        None if no wanted probe needs them.
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array, optional
        The data, for probes that look at all of them.
    """

    activations: Activations | None = None
    x: Any = None

    def activated(self, passes: dict[str, LayerPass] | None = None) -> list[tuple[str, Activation, LayerPass]]:
        """Return each activation with its place and its part in a pass: the step's, unless another is given."""
        assert self.activations is not None
        parts = [(name, part_of(self.network, name, passes or self.passes)) for name in self.activations.names]
        return [(name, part.layer, part) for name, part in parts]  # type: ignore[misc]

    @cached_property
    def preactivation(self) -> list[np.ndarray]:
        """The inputs (..., n·d) of the activations."""
        return [in_a_row(part.x) for _, _, part in self.activated()]

    @cached_property
    def activation(self) -> list[np.ndarray]:
        """The outputs (..., n·d) of the activations."""
        return [in_a_row(part.y) for _, _, part in self.activated()]

    @cached_property
    def gradient_quantiles(self) -> np.ndarray:
        """Those `QUANTILES` of the entries of dL/dW (layers, quantiles, ...)."""
        grads = self.network.grads
        return np.stack([np.quantile(grads[..., p.where], QUANTILES, axis=-1) for p in self.weights.places])

    @cached_property
    def preactivation_quantiles(self) -> np.ndarray:
        """Their `QUANTILES` (layers, quantiles, ...)."""
        return np.stack([np.quantile(row, QUANTILES, axis=-1) for row in self.preactivation])

    @cached_property
    def activation_quantiles(self) -> np.ndarray:
        """Their `QUANTILES` (layers, quantiles, ...)."""
        return np.stack([np.quantile(row, QUANTILES, axis=-1) for row in self.activation])


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


def extreme(sight: Sight, largest: bool) -> np.ndarray:
    """Least or largest entry, sign and all, of each layer's dL/dW."""
    grads = sight.network.grads
    return np.stack([(np.max if largest else np.min)(grads[..., p.where], axis=-1) for p in sight.weights.places])


def gradient_quantile(sight: Sight, i: int) -> np.ndarray:
    """Quantile number i of `QUANTILES` of the entries of each layer's dL/dW."""
    return sight.gradient_quantiles[:, i]


def total_gradient_norm(sight: Sight) -> np.ndarray:
    """Norm of the gradient by all parameters together, biases included: one number per replica."""
    return np.moveaxis(norm(sight.network.grads), -1, 0)


def biases(network: Network) -> list[Parameter]:
    """Return where the biases of the layers stand, from the input to the logits."""
    return [p for p in network.parameters if p.attribute == "b"]


def bias_norm(sight: Sight) -> np.ndarray:
    """Norm of b of each layer, after the step."""
    return np.stack([norm(sight.network.params[..., p.where])[..., 0] for p in biases(sight.network)])


def bias_gradient_norm(sight: Sight) -> np.ndarray:
    """Norm of dL/db of each layer."""
    return np.stack([norm(sight.network.grads[..., p.where])[..., 0] for p in biases(sight.network)])


def of_units(name: str, place: str) -> Probe:
    """Return the probe that measures each unit of one layer, over the batch's samples.

    Parameters
    ----------
    name : str
        A key of `OF_UNITS`.
    place : str
        Of the layer: ``"1"``, or ``"2.1"`` inside a container at 2.
    """

    def probe(sight: Sight) -> np.ndarray:
        part = part_of(sight.network, place, sight.passes)
        return np.moveaxis(OF_UNITS[name](part, sight, place), -1, 0)

    return probe


def _saturated_units(part: LayerPass, sight: Sight, place: str) -> np.ndarray:
    activation = part.layer
    if not isinstance(activation, Activation):
        raise ValueError(f"what: saturated_share@{place}: layer {place} ({activation!r}) is no activation")
    limit = SATURATED * largest_slope(activation)
    return np.mean(np.abs(activation.derivative(part.x, part.y)) < limit, axis=-2)


OF_UNITS: dict[str, Callable[[LayerPass, Sight, str], np.ndarray]] = {
    "activation_mean": lambda part, sight, place: np.mean(part.y, axis=-2),
    "activation_std": lambda part, sight, place: np.std(part.y, axis=-2),
    "delta_rms": lambda part, sight, place: root_mean_square(np.swapaxes(part.dy, -1, -2)),  # type: ignore[arg-type]
    "saturated_share": _saturated_units,
}
OF_BIASES: dict[str, Probe] = {"bias_norm": bias_norm, "bias_gradient_norm": bias_gradient_norm}
OF_GRADIENTS: dict[str, Probe] = {
    "gradient_min": partial(extreme, largest=False),
    "gradient_max": partial(extreme, largest=True),
}
for _i, _q in enumerate(QUANTILES):
    OF_GRADIENTS[f"gradient_q{100 * _q:02.0f}"] = partial(gradient_quantile, i=_i)
OF_ACTIVATIONS: dict[str, Probe] = {"saturated_share": saturated_share, "dead_share": dead_share}
for _of in ("preactivation", "activation"):
    OF_ACTIVATIONS[f"{_of}_mean"] = partial(mean, of=_of)
    OF_ACTIVATIONS[f"{_of}_std"] = partial(standard_deviation, of=_of)
    for _i, _q in enumerate(QUANTILES):
        OF_ACTIVATIONS[f"{_of}_q{100 * _q:02.0f}"] = partial(quantile, of=_of, i=_i)
OF_ALL: dict[str, Probe] = {"total_gradient_norm": total_gradient_norm}
PROBES: dict[str, Probe] = {**OF_WEIGHTS, **OF_GRADIENTS, **OF_BIASES, **OF_ALL, **OF_ACTIVATIONS}


def find_probe(name: str) -> Probe:
    """Return the probe of a name from `PROBES`, or ``NAME@PLACE`` with a name from `OF_UNITS`.

    Raises
    ------
    ValueError
        For an unknown name, naming those that there are.
    """
    what, at, place = name.partition("@") if isinstance(name, str) else (name, "", "")
    if not at:
        return lookup("what", name, PROBES)
    lookup(f"what: {name!r}", what, OF_UNITS)
    if not all(number.isdecimal() for number in place.split(".")):
        raise ValueError(
            f"what: {name!r}: {place!r} is not the place of a layer, such as 1, or 2.1 inside a Residual at 2"
        )
    return of_units(what, place)
