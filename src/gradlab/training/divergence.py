"""Training that leaves the finite numbers ends with an error that names the first place where it did."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradlab.nn.network import Network


class DivergenceError(ArithmeticError):
    """Training left the finite numbers.

    Attributes
    ----------
    epoch, step : int
        When, both counted from 0.
    layer : int
        Index in ``network.layers`` where the first number that is not finite stood.
    quantity : str
        Of which kind it was: "output", "delta", "gradient" or "parameters".
    seed : int
        Of the network, or of the first replica, concerned.
    last_loss : float
        The loss of the batch before; nan if there was none.
    name : str
        The layer, in words.
    recorded : dict of str to ndarray
        What was to be recorded of the steps since the last hand-over, see `Step`.
    """

    def __init__(self, epoch: int, step: int, layer: int, quantity: str, seed: int, last_loss: float, name: str):
        super().__init__(epoch, step, layer, quantity, seed, last_loss, name)  # so that it can be pickled
        self.epoch, self.step, self.layer, self.quantity = epoch, step, layer, quantity
        self.seed, self.last_loss, self.name = seed, last_loss, name
        self.recorded: dict[str, np.ndarray] = {}

    def __str__(self) -> str:
        known = f"; the last finite loss was {self.last_loss:.6g}" if math.isfinite(self.last_loss) else ""
        return (
            f"training diverged in epoch {self.epoch}, step {self.step}: the {self.quantity} of layer {self.layer} "
            f"({self.name}), seed {self.seed}, is not finite{known}. A smaller learning rate, clip_norm, or smaller "
            "first weights may help"
        )


def raise_if_diverged(
    network: Network,
    tape: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray],
    epoch: int,
    index: int,
    last_loss: np.ndarray | None,
    among: Sequence[int] | None = None,
) -> None:
    """Raise DivergenceError naming the first array of a step with a number that is not finite.

    Parameters
    ----------
    network : Network
    tape, deltas : list of ndarray (..., n, d)
        Of the step.
    epoch, index : int
        When the step was, both counted from 0.
    last_loss : ndarray (...), optional
        The loss of the batch before.
    among : sequence of int, optional
        The replicas that are looked at; all, unless given.
    """
    last_layer = len(network.layers) - 1
    found: list[tuple[int, str, np.ndarray]] = [(i, "output", y) for i, y in enumerate(tape[1:])]
    found += [(min(i, last_layer), "delta", deltas[i]) for i in range(last_layer + 1, 0, -1)]
    for quantity, vector in (("gradient", network.grads), ("parameters", network.params)):
        found += [(int(p.name.split(".")[0]), quantity, vector[..., p.where]) for p in network.parameters]
    looked_at = np.zeros(len(network.seeds), bool)
    looked_at[slice(None) if among is None else list(among)] = True
    for layer, quantity, array in found:
        bad = looked_at & ~np.isfinite(array).reshape(len(network.seeds), -1).all(axis=1)
        if bad.any():
            r = int(np.argmax(bad))
            loss = math.nan if last_loss is None else float(np.ravel(last_loss)[r])
            raise DivergenceError(epoch, index, layer, quantity, network.seeds[r], loss, repr(network.layers[layer]))
