"""What a layer is to a network: something with parameters that stand in the network's flat vectors."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gradlab.nn.streams import Streams


class Part:
    """What a network can hold: it declares its parameters, and is given views of them."""

    layers: tuple[Any, ...] = ()  # inside this one; empty but for containers such as Residual
    training: bool = False  # whether this pass trains or predicts; set by the network
    streams: Streams  # where random numbers come from while training; set by the network
    adopted: bool = False  # whether a network has taken it in
    reusable: bool = False  # whether it may stand in several places of a network
    views: frozenset[str] = frozenset()  # names of the parameters and statistics that stand in a vector

    def parameter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of what this layer learns; a name that begins with W is a weight, which penalties are on."""
        return {}

    def state_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of what this layer keeps but does not learn, such as running statistics."""
        return {}

    def initialize(self, rng: np.random.Generator) -> None:
        """Write the first values into parameters and state, which are zero until then."""
        return

    def output_features(self, features: int | None) -> int | None:
        """Return how many features y has if x has `features`; None is for not known.

        A layer says it with attributes: ``n_out``, and ``n_in`` if x must have that many; without, the number stays.
        """
        return getattr(self, "n_out", getattr(self, "n_in", features))

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; a value assigned to a parameter is written where the parameter stands."""
        if name in self.views:
            getattr(self, name)[...] = value
        else:
            super().__setattr__(name, value)

    def settings(self) -> dict[str, float]:
        """Return the numbers that this layer was made with, but not what a network sets."""
        return {name: v for name, v in vars(self).items() if isinstance(v, int | float) and not hasattr(Part, name)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={v:g}' for name, v in self.settings().items())})"


P = TypeVar("P", bound=Part)


class Parameter(NamedTuple):
    """Where one parameter of one layer stands in the flat vector."""

    name: str  # its layer's place and its own name: "0.W", or "3.1.W" inside a container
    layer: Any
    attribute: str  # "W": the layer holds W and dW
    shape: tuple[int, ...]
    where: slice  # its part of the network's params and grads, along the last axis


def bind(layer: Part, name: str, array: np.ndarray) -> None:
    """Let an attribute be this array; what is assigned to a parameter from now on is written there."""
    object.__setattr__(layer, name, array)
    object.__setattr__(layer, "views", frozenset({*layer.parameter_shapes(), *layer.state_shapes()}))


def stand_alone(layer: Part) -> None:
    """Give a layer outside any network arrays of its own, drawn with seed 0."""
    for name, shape in layer.parameter_shapes().items():
        bind(layer, name, np.zeros(shape))
        bind(layer, f"d{name}", np.zeros(shape))
    for name, shape in layer.state_shapes().items():
        bind(layer, name, np.zeros(shape))
    layer.streams = Streams([np.random.default_rng(0)])
    layer.initialize(np.random.default_rng(0))


def walk(layers: Iterable[P]) -> Iterator[P]:
    """Return every layer, each followed by the layers inside it."""
    return (layer for _, layer in numbered(layers))


def lay_out(layers: Sequence[Part], shapes: str) -> tuple[tuple[Parameter, ...], int]:
    """Place what every layer declares under `shapes` in one flat vector; return the places and its length."""
    places: list[Parameter] = []
    size = 0
    for place, layer in numbered(layers):
        for name, shape in getattr(layer, shapes)().items():
            end = size + int(np.prod(shape, dtype=np.int64))
            places.append(Parameter(f"{place}.{name}", layer, name, tuple(shape), slice(size, end)))
            size = end
    return tuple(places), size


def numbered(layers: Iterable[P], path: str = "") -> Iterator[tuple[str, P]]:
    """Yield every layer with its place: ``"0"``, ``"1"``, … and ``"1.0"`` inside a container at 1."""
    for i, layer in enumerate(layers):
        yield f"{path}{i}", layer
        yield from numbered(layer.layers, f"{path}{i}.")


def adopt(layers: Sequence[P]) -> tuple[P, ...]:
    """Check that the layers fit one another, and make them one network's own.

    Raises
    ------
    ValueError
        If there are none, one is no layer or does not fit the one before, or one that is not reusable stands in two
        places.
    """
    if not layers:
        raise ValueError("layers: a network needs at least one")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Part):
            raise ValueError(f"layers[{i}]: {layer!r} is not a Layer")
    check_fit(layers)
    own: list[P] = []
    seen: list[P] = []
    for i, layer in enumerate(layers):
        inside = list(walk([layer]))
        for inner in inside:
            if any(inner is other for other in seen) and not inner.reusable:
                raise ValueError(f"layers[{i}]: {inner!r} stands in two places; each needs a layer of its own")
            seen.append(inner)
        own.append(copy.deepcopy(layer) if any(inner.adopted for inner in inside) else layer)
    for layer in walk(own):
        layer.adopted = True
    return tuple(own)


def check_fit(layers: Sequence[Part], features: int | None = None, source: str = "") -> None:
    """Raise ValueError unless each layer takes as many features as what is before it gives (None: not known)."""
    for i, layer in enumerate(layers):
        n_in = getattr(layer, "n_in", None)
        if None not in (features, n_in) and features != n_in:
            raise ValueError(f"layers[{i}]: {layer!r} takes {n_in} features, but {source} gives {features}")
        try:
            features = layer.output_features(features)
        except ValueError as error:
            raise ValueError(f"layers[{i}]: {error}, as {source} gives") from None
        if n_in is not None or hasattr(layer, "n_out"):
            source = f"layers[{i}], {layer!r},"
