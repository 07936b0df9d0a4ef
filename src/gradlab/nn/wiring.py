"""How layers become one network: their places, and where their parameters stand in its flat vectors."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gradlab.nn.part import Part

P = TypeVar("P", bound=Part)


class Parameter(NamedTuple):
    """Where one parameter of one layer stands in the flat vector."""

    name: str  # its layer's place and its own name: "0.W", or "3.1.W" inside a container
    layer: Any
    attribute: str  # "W": the layer holds W and dW
    shape: tuple[int, ...]
    where: slice  # its part of the network's params and grads, along the last axis


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
