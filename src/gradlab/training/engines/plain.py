"""The plain engine calls the layers, and nothing else: it defines what is right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gradlab.training.batches import Epoch
from gradlab.training.divergence import raise_if_diverged
from gradlab.training.engines.task import Task


class PlainEngine:
    """Takes one step after the other: forward, loss, backward, update.

    Parameters
    ----------
    task : Task
    """

    name = "plain"

    def __init__(self, task: Task):
        self._task = task
        self.tape: Sequence[np.ndarray] = []
        self.deltas: Sequence[np.ndarray] = []

    def run(self, epoch: Epoch, first: int, last: int) -> None:
        """Take the steps of the batches `first`, … `last` − 1 of an epoch."""
        with np.errstate(over="ignore", invalid="ignore"):  # a number that is not finite raises DivergenceError
            for batch in range(first, last):
                self._take_step(epoch, batch)

    def _take_step(self, epoch: Epoch, batch: int) -> None:
        task, network = self._task, self._task.network
        rows = epoch.rows(batch)
        targets, weights = epoch.wanted(rows)

        self.tape = network.forward(epoch.inputs(rows), training=True)
        logits = epoch.logits[..., rows, :] = self.tape[-1]
        self.deltas = network.backward(task.loss.gradient(logits, targets, weights), self.tape)
        if not math.isfinite(np.vdot(logits, logits) + np.vdot(network.grads, network.grads)):  # or too large to square
            self._raise_if_diverged(epoch, batch)

        ends_epoch = batch + 1 == epoch.batches
        is_recorded = task.record.wants(task.index(epoch, batch), ends_epoch)
        before = network.params.copy() if is_recorded else None
        task.set_rate(epoch, batch)
        total = rows.stop - rows.start if weights is None else weights
        task.optimizer.step(network.params, task.penalties.gradient(network, total))
        if ends_epoch and not np.isfinite(network.params).all():
            self._raise_if_diverged(epoch, batch)
        if is_recorded:
            task.record.measure(task.index(epoch, batch), epoch.number, ends_epoch, self.tape, self.deltas, before)

    def _raise_if_diverged(self, epoch: Epoch, batch: int) -> None:
        """Raise DivergenceError if a number of the step is not finite."""
        last_loss, index = self._task.loss_before(epoch, batch), self._task.index(epoch, batch)
        raise_if_diverged(self._task.network, self.tape, self.deltas, epoch.number, index, last_loss)
