"""Where a layer's parameters stand: in a network's long vectors, or outside one in arrays of the layer's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
