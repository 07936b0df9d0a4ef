"""What an engine is told of a training: its parts, and what follows from the number of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.schedules import Schedule
from gradlab.training.batches import Epoch
from gradlab.training.divergence import DivergenceError
from gradlab.training.engines.errors import EngineError
from gradlab.training.penalties import Penalties
from gradlab.training.recording import Record


@dataclass
class Task:
    """The parts of a training.

    Attributes
    ----------
    network : Network
    loss : Loss
    optimizer : Optimizer
        Or any object with `step`.
    penalties : Penalties
    schedule : callable, optional
    record : Record
    n : int
        Number of samples.
    last_loss : ndarray (...), optional
        The loss of the last batch before a training that is continued.
    previous : Epoch, optional
        The epoch before this one, if it was trained too.
    """

    network: Network
    loss: Loss
    optimizer: Any
    penalties: Penalties
    schedule: Schedule | None
    record: Record
    n: int
    last_loss: np.ndarray | None = None
    previous: Epoch | None = None
    base_rate: float = 0.0

    def index(self, epoch: Epoch, batch: int) -> int:
        """Return the number of a step, counted from the start of the training."""
        return epoch.number * epoch.batches + batch

    def rate(self, epoch: Epoch, batch: int) -> float:
        """Return the learning rate of a batch: with a schedule, that of the time of its middle."""
        if self.schedule is None:
            return self.optimizer.learning_rate
        rows = epoch.rows(batch)
        return self.base_rate * self.schedule(epoch.number + (rows.start + rows.stop) / 2 / self.n)

    def rates(self, epoch: Epoch, first: int, last: int) -> np.ndarray:
        """Return the learning rates of the batches `first`, … `last` − 1."""
        if self.schedule is None:
            return np.full(last - first, self.optimizer.learning_rate, np.float64)
        rates = np.array([self.rate(epoch, batch) for batch in range(first, last)], np.float64)
        if rates.ndim != 1:
            raise EngineError(f"engine: the compiled engine cannot go on: the schedule gives no number: {rates[0]!r}")
        return rates

    def set_rate(self, epoch: Epoch, batch: int) -> None:
        """Give the optimizer the learning rate of a batch, if there is a schedule."""
        if self.schedule is not None:
            self.optimizer.learning_rate = self.rate(epoch, batch)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Put the learning rate back in the end, if there is a schedule; add to a DivergenceError what was recorded."""
        if self.schedule is not None:
            self.base_rate = self.optimizer.learning_rate
        try:
            yield
        except DivergenceError as error:
            error.recorded = self.record.take()
            raise
        finally:
            if self.schedule is not None:
                self.optimizer.learning_rate = self.base_rate

    def loss_before(self, epoch: Epoch, batch: int) -> np.ndarray | None:
        """Return the loss of the batch before; None if there was none."""
        if batch:
            return epoch.loss(self.loss, epoch.rows(batch - 1))
        if self.previous is None:
            return self.last_loss
        return self.previous.loss(self.loss, self.previous.rows(epoch.batches - 1))


class Engine(Protocol):
    """The contract of an engine: it takes steps, and shows the last one.

    Attributes
    ----------
    name : str
    tape, deltas : sequence of ndarray
        Of the last step.
    """

    name: str
    tape: Sequence[np.ndarray]
    deltas: Sequence[np.ndarray]

    def run(self, epoch: Epoch, first: int, last: int) -> None:
        """Take the steps of the batches `first`, … `last` − 1 of an epoch, and record what is asked for."""
