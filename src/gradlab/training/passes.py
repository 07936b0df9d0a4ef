"""A pass laid open: every layer, those inside a Residual too, with what it was given and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.nn.arrays import norm
from gradlab.nn.layers import Layer
from gradlab.nn.network import Network
from gradlab.nn.remedies import Residual


@dataclass(frozen=True)
class LayerPass:
    """One layer's part in a pass; the arrays are live.

    Attributes
    ----------
    x, y : ndarray (..., n, d_in), (..., n, d_out)
        What it was given, and what it gave.
    dy : ndarray (..., n, d_out), optional
        dL/dy; None if the pass did not go back.
    """

    layer: Layer
    x: np.ndarray
    y: np.ndarray
    dy: np.ndarray | None


def lay_open(
    layers: Sequence[Layer],
    tape: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray] | None = None,
    path: str = "",
) -> dict[str, LayerPass]:
    """Find each layer's part, by its place: ``"0"``, ``"1"``, … and ``"1.0"`` inside a Residual at 1.

    Parameters
    ----------
    layers : sequence of Layer
    tape : list of ndarray
        Of a pass through them.
    deltas : list of ndarray, optional
        Of the way back, if it trained; without them it predicted.
    path : str
        What their places begin with.

    Raises
    ------
    ValueError
        If a Residual among them has gone through another pass since.
    """
    found: dict[str, LayerPass] = {}
    for i, layer in enumerate(layers):
        x = tape[i]
        found[f"{path}{i}"] = LayerPass(layer, x, tape[i + 1], None if deltas is None else deltas[i + 1])
        if isinstance(layer, Residual):
            inner = layer.passes.get(deltas is not None)
            if inner is None or not np.array_equal(inner.tape[0], x):
                raise ValueError(f"layer {path}{i} ({layer!r}) has gone through another pass since")
            found |= lay_open(layer.layers, inner.tape, None if deltas is None else inner.deltas, f"{path}{i}.")
    return found


def part_of(network: Network, place: str, passes: dict[str, LayerPass]) -> LayerPass:
    """Return one layer's part; raise ValueError naming the layer around it if that does not show its inside."""
    if place not in passes:
        outer = place.partition(".")[0]
        layer = network.layers[int(outer)]
        raise ValueError(f"layer {outer} ({layer!r}) does not show the pass of the layers inside it; a Residual does")
    return passes[place]


def in_a_row(array: np.ndarray) -> np.ndarray:
    """Return an array (..., n, d) as (..., n·d)."""
    return array.reshape(*array.shape[:-2], -1)


def root_mean_square(row: np.ndarray) -> np.ndarray:
    """Compute √(Σ_i v_i²/m) of (..., m), also where the squares would underflow or overflow."""
    return norm(row)[..., 0] / np.sqrt(row.shape[-1], dtype=row.dtype)
