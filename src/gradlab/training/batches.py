"""In each epoch the rows come in a new order, every row exactly once; the batches are slices of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.nn.losses import Loss
from gradlab.nn.streams import Streams

Order = Callable[[np.ndarray], np.ndarray]


def count_batches(n: int, batch_size: int, normalised: bool) -> int:
    """Count the batches of n rows.

    A last row alone is a batch of its own, but where there is batch normalisation it joins the batch before: alone it
    would be its own mean, and without a variance.
    """
    alone = normalised and n % batch_size == 1 and n > batch_size
    return -(-n // batch_size) - alone


@dataclass(slots=True)
class Epoch:
    """An epoch's rows in their order, and the logits that each batch got.

    Attributes
    ----------
    number : int
        Counted from 0.
    x : ndarray (..., n, d) or SciPy sparse array (n, d)
    targets, logits : ndarray (..., n, k)
    weights : ndarray (..., n, 1), optional
    batch_size, batches : int
        How many rows a batch has, and how many batches there are.
    """

    number: int
    x: Any
    targets: np.ndarray
    weights: np.ndarray | None
    logits: np.ndarray
    batch_size: int
    batches: int

    def rows(self, batch: int) -> slice:
        """Return the rows of a batch; the last one may be shorter, or longer by one."""
        start = batch * self.batch_size
        return slice(start, self.targets.shape[-2] if batch + 1 == self.batches else start + self.batch_size)

    def inputs(self, rows: slice) -> np.ndarray:
        """Return x of some rows; those of a sparse array are made dense."""
        return self.x[..., rows, :] if isinstance(self.x, np.ndarray) else self.x[rows].toarray()

    def wanted(self, rows: slice) -> tuple[np.ndarray, np.ndarray | None]:
        """Return targets and weights of some rows."""
        return self.targets[..., rows, :], None if self.weights is None else self.weights[..., rows, :]

    def loss(self, loss: Loss, rows: slice) -> np.ndarray:
        """Compute the mean loss (...) of some rows, each as it was when its batch came."""
        with np.errstate(over="ignore", invalid="ignore"):
            return loss.value(self.logits[..., rows, :], *self.wanted(rows))


class Rows:
    """The data of a training, handed out in a new order each epoch: one gather, of which the batches are slices.

    Parameters
    ----------
    x, targets, weights
        As `check_data` returns them.
    batch_size : int
    replicas : tuple
        Of the network.
    orders : Streams
        Where the permutations come from, one generator per replica.
    shuffle : bool or callable
        As in `train`.
    normalised : bool
        Whether there is batch normalisation, see `count_batches`.

    Attributes
    ----------
    n, batches, largest : int
        How many rows there are, how many batches an epoch has, and how many rows the largest.
    """

    def __init__(
        self,
        x: Any,
        targets: np.ndarray,
        weights: np.ndarray | None,
        batch_size: int,
        replicas: tuple[int, ...],
        orders: Streams,
        shuffle: bool | Order,
        normalised: bool,
    ):
        self._x, self._targets, self._weights = x, targets, weights
        self._batch_size, self._replicas = batch_size, replicas
        self.orders, self._shuffle = orders, shuffle
        self.n = x.shape[-2]
        self.batches = count_batches(self.n, batch_size, normalised)
        self.largest = max(batch_size, self.n - (self.batches - 1) * batch_size)
        self._order = np.broadcast_to(np.arange(self.n), (*replicas, self.n)).copy()

    @property
    def can_be_continued(self) -> bool:
        """Whether the orders to come follow from the state of generators: those of a function may not."""
        return not callable(self._shuffle)

    def epoch(self, number: int) -> Epoch:
        """Permute the rows, each replica's by its own generator."""
        orders = self._order.reshape(-1, self.n)
        if callable(self._shuffle):
            orders[:] = self._checked(self._shuffle(orders[0].copy()))
        elif self._shuffle:
            for order, generator in zip(orders, self.orders.generators, strict=True):
                order[:] = generator.permutation(self.n)
        x = self._gather(self._x) if isinstance(self._x, np.ndarray) else self._x[self._order]
        targets = self._gather(self._targets)
        weights = None if self._weights is None else self._gather(self._weights)
        return Epoch(number, x, targets, weights, np.empty_like(targets), self._batch_size, self.batches)

    def _checked(self, order: Any) -> np.ndarray:
        """Return an order that a function has made; raise ValueError unless it has every row once."""
        order = np.asarray(order)
        if (
            order.shape != (self.n,)
            or order.dtype.kind not in "iu"
            or not np.array_equal(np.sort(order), range(self.n))
        ):
            raise ValueError(f"shuffle: it gave {order!r}, which does not have each of the {self.n} rows once")
        return order

    def _gather(self, array: np.ndarray) -> np.ndarray:
        """Return the rows in their order, (..., n, d)."""
        orders = self._order.reshape(-1, self.n)
        gathered = np.empty((*self._replicas, *array.shape[-2:]), array.dtype)
        each = array if array.ndim > 2 else [array] * len(orders)  # one per replica, or the same for all
        for source, order, target in zip(each, orders, gathered.reshape(-1, *array.shape[-2:]), strict=True):
            np.take(source, order, axis=0, out=target, mode="clip")
        return gathered
