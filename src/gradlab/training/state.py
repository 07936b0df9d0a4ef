"""What a training depends on between two epochs, as plain arrays: with them it goes on as if it had never ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlab.nn.network import Network
from gradlab.nn.optimizers import Optimizer
from gradlab.nn.streams import Streams
from gradlab.training.engines import NAMES
from gradlab.training.generators import positions, reposition

State = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[np.dtype, tuple[int, ...]]]


def state_shapes(network: Network, optimizer: Optimizer) -> Shapes:
    """Tell the names, types and shapes of what `Step.state` gives."""
    kind, vector, whole_number = network.dtype, network.params.shape, np.dtype(np.int64)
    generators = np.dtype(np.uint64), (len(network.seeds), 6)
    shapes: Shapes = {"epochs": (whole_number, ()), "engine": (whole_number, ()), "last_loss": (kind, network.replicas)}
    shapes |= {"params": (kind, vector), "initial_params": (kind, vector), "statistics": (kind, network.state.shape)}
    shapes |= {"streams": generators, "orders": generators, "optimizer.t": (whole_number, ())}
    return shapes | {f"optimizer.{name}": (kind, vector) for name in optimizer.averages}


def check_state(start: State, shapes: Shapes) -> None:
    """Raise ValueError unless `start` has arrays of these names, types and shapes; it may have others."""
    for name, (kind, shape) in shapes.items():
        if name not in start:
            raise ValueError(f"start: {name!r} is missing; it is what step.state() gave")
        given = np.asarray(start[name])
        if given.shape != shape or given.dtype != kind:
            raise ValueError(f"start: {name!r} is {given.dtype} {given.shape}; here it must be {kind} {shape}")


def capture(network: Network, optimizer: Any, orders: Streams) -> dict[str, np.ndarray]:
    """Copy what the next epoch depends on.

    Raises
    ------
    ValueError
        If the optimizer does not tell its state.
    """
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer: {optimizer!r} has no state that could be kept; derive it from Optimizer")
    return {
        "params": network.params.copy(),
        "statistics": network.state.copy(),
        "streams": positions(network.streams),
        "orders": positions(orders),
        **{f"optimizer.{name}": array for name, array in optimizer.state().items()},
    }


def check_start(start: State, network: Network, optimizer: Any, epochs: int) -> None:
    """Raise ValueError unless `start` was taken in such a training, and epochs are left."""
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"start: {optimizer!r} has no state that could be restored; derive it from Optimizer")
    check_state(start, state_shapes(network, optimizer))
    if not 0 < start["epochs"] < epochs:
        raise ValueError(f"start: {int(start['epochs'])} epochs are done, of {epochs}: nothing is left to go on with")
    if start["engine"] not in range(len(NAMES)):
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(NAMES))
        raise ValueError(f"start: 'engine' is {int(start['engine'])}; it must be one of {known}")


def restore(start: State, network: Network, optimizer: Optimizer, orders: Streams) -> None:
    """Make everything what it was when `start`, which was checked, was taken."""
    reposition(network.streams, start["streams"])
    reposition(orders, start["orders"])
    network.params[...], network.state[...] = start["params"], start["statistics"]
    names = ("t", *optimizer.averages)
    optimizer.restore({name: start[f"optimizer.{name}"] for name in names})
