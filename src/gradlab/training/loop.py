"""Training is a generator of steps: stopping early is `break`, a progress bar is `tqdm(train(...))`, and whoever wants
to know something looks at each step as it passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradlab.nn.checks import check_int
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.optimizers import Optimizer
from gradlab.nn.remedies import BatchNorm
from gradlab.nn.schedules import Schedule
from gradlab.nn.streams import Streams
from gradlab.nn.wiring import walk
from gradlab.training import engines
from gradlab.training.batches import Epoch, Order, Rows
from gradlab.training.data import check_data
from gradlab.training.penalties import Penalties
from gradlab.training.recording import Record, Records, check_every
from gradlab.training.state import State, capture, check_start, restore


class Given(NamedTuple):
    """What a training was given, for whoever looks into it: not copied, and with the rows in the epoch's order."""

    x: Any
    targets: np.ndarray
    weights: np.ndarray | None
    loss: Loss
    optimizer: Optimizer
    batch_size: int


@dataclass(slots=True)
class Step:
    """One step of training, as `train` hands it over: the parameters have just been changed.

    Attributes
    ----------
    epoch : int
        Counted from 0.
    index : int
        Counted from 0 at the start of the training, not of the epoch.
    ends_epoch : bool
        Whether this was the epoch's last batch.
    tape, deltas : list of ndarray
        Activations and their gradients in this step, before the parameters changed. They are live: the next step may
        write over them, so copy what you keep.
    network : Network
        ``network.grads`` still holds dL/dparams of this step.
    initial_params : ndarray (..., P)
        The parameters from before the first step: one copy, made when the training begins, in all its steps.
    ends_training : bool
        Whether no step follows.
    engine : str
        "plain" or "compiled".
    recorded : dict of str to ndarray
        What ``record`` asked for, of the steps since the last hand-over: ``step``, ``epoch`` and ``ends_epoch``
        (steps,), and each quantity (steps, layers, replicas). Empty if none was recorded.
    """

    epoch: int
    index: int
    ends_epoch: bool
    tape: Sequence[np.ndarray]
    deltas: Sequence[np.ndarray]
    network: Network
    initial_params: np.ndarray = field(repr=False)
    ends_training: bool = field(repr=False)
    engine: str
    recorded: Records = field(repr=False)
    _loss: Loss = field(repr=False)
    _optimizer: Optimizer = field(repr=False)
    _epoch: Epoch = field(repr=False)
    _rows: slice = field(repr=False)
    _kept: Callable[[], Mapping[str, np.ndarray]] = field(repr=False)

    @property
    def loss(self) -> np.ndarray:
        """Loss (...) of this batch, before the step; computed when asked for, and right at any later time."""
        return self._epoch.loss(self._loss, self._rows)

    @property
    def running_loss(self) -> np.ndarray:
        """Mean loss (...) over the epoch's samples so far, each as it was when its batch came.

        The parameters moved meanwhile, so at the epoch's end this is not the loss of the network as it is then.
        """
        return self._epoch.loss(self._loss, slice(0, self._rows.stop))

    @property
    def given(self) -> Given:
        """What the training was given: data, loss, optimizer and batch size."""
        epoch = self._epoch
        return Given(epoch.x, epoch.targets, epoch.weights, self._loss, self._optimizer, epoch.batch_size)

    def state(self) -> State:
        """Copy all that the training depends on from here on: parameters, moments, generators, engine, and the rest.

        Called at the end of an epoch. Given as ``start``, it lets `train`, and `early_stopping` if it watches, go on
        as if they had never ended. It is plain arrays, so that ``np.savez("state.npz", **step.state())`` keeps it.

        Raises
        ------
        ValueError
            Within an epoch, if the order of the rows is a function's, which may depend on anything, or if the optimizer
            does not tell its state.
        """
        if not self.ends_epoch:
            raise ValueError(f"step {self.index} does not end an epoch: a training can go on only from there")
        return {
            "epochs": np.array(self.epoch + 1),
            "engine": np.array(engines.NAMES.index(self.engine)),
            "last_loss": np.asarray(self.loss, self.network.dtype),
            "initial_params": self.initial_params,
            **self._kept(),
        }

    def keep_also(self, more: Callable[[], State]) -> None:
        """Let `state` give more: what whoever hands the step on depends on."""
        kept = self._kept
        self._kept = lambda: {**kept(), **more()}


def train(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int,
    batch_size: int,
    seed: int | Sequence[int] = 0,
    weights: np.ndarray | None = None,
    shuffle: bool | Order = True,
    schedule: Schedule | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    alpha: float = 0.0,
    clip_norm: float = 0.0,
    engine: str = "auto",
    threads: int | None = None,
    each: str | int = "step",
    record: Sequence[str] = (),
    record_every: str | int = "step",
    start: State | None = None,
) -> Iterator[Step]:
    """Train by backpropagation on mini-batches; hand over steps after they are taken.

    In each epoch the rows are permuted and every row is used exactly once; the last batch may be shorter.

    Parameters
    ----------
    network : Network
    loss : Loss
        Or any object with its `value` and `gradient`.
    optimizer : Optimizer
        Or any object with its `step`.
    x : ndarray or SciPy sparse array (n, d)
        Finite numbers. Rows of a sparse array are made dense batch by batch.
    y : ndarray (n, k), or (n,) for a network with one output
        Targets.
    epochs, batch_size : int
        At least 1. A batch larger than the data is all of it.
    seed : int or sequence of int
        Of the permutations, together with the network's own seed; a sequence gives one per replica.
    weights : ndarray (n,), optional
        How much each sample counts, at least 0.
    shuffle : bool or callable
        Without it every epoch takes the rows as they come. A function makes an epoch's order, row numbers (n,), from
        that of the epoch before, in place of the generators of `seed`.
    schedule : callable, optional
        From the time trained, in epochs, to a factor on the optimizer's learning rate. A batch's time is its middle.
    l1, l2, alpha, clip_norm : float
        See `Penalties`. They change the steps; losses and ``network.grads`` are those of the data alone.
    engine : "plain", "compiled" or "auto"
        What takes the steps: the layers themselves, or kernels that are held against them. "auto" is compiled for large
        work, if Numba is installed and all parts are known.
    threads : int, optional
        Most threads on which the compiled engine trains replicas; all cores, unless given. It changes no number.
    each : "step", "epoch" or int
        How often a step is handed over: every one, the last of each epoch, or after every so many and at each epoch's
        end. What is changed at a hand-over holds from the next step on.
    record : sequence of str
        Names from `training.recording.QUANTITIES`: what is recorded between hand-overs, for ``step.recorded``.
    record_every : "step", "epoch" or int
        Of which steps: all; the first of all and the last of each epoch; or one in so many.
    start : mapping of str to ndarray, optional
        From `Step.state`, in a training of the same network and optimizer, with the same arguments except that `epochs`
        may be more: the training goes on after that epoch, to the same numbers as if it had never ended, on the same
        engine. The network and the optimizer are made what they were then.

    Yields
    ------
    Step

    Raises
    ------
    ValueError
        At once, if an argument does not fit; or `EngineError`, if the compiled engine is asked for and cannot run.
    DivergenceError
        When a number of a step is no longer finite.
    """
    _check_parts(network, loss, optimizer, schedule)
    epochs, each = check_int("epochs", epochs), check_every(each, "each")
    x, y, weights = check_data(network, loss, x, y, weights)
    batch_size = min(check_int("batch_size", batch_size), x.shape[-2])
    normalised = any(isinstance(layer, BatchNorm) for layer in walk(network.layers))
    if normalised and batch_size == 1:
        raise ValueError("batch_size: BatchNorm needs batches of at least 2 samples: one is its own mean")
    orders = Streams(_generators(seed, network))
    rows = Rows(x, y, weights, batch_size, network.replicas, orders, shuffle, normalised)
    penalties = Penalties(l1, l2, alpha, clip_norm)
    task = engines.Task(network, loss, optimizer, penalties, schedule, Record(network, record, record_every), rows.n)
    if start is not None:
        check_start(start, network, optimizer, epochs)
        begun, task.last_loss = engines.NAMES[int(start["engine"])], start["last_loss"]
        if engine not in ("auto", begun):
            raise ValueError(f"engine: {engine!r} is asked for, but start is of a training on the {begun} engine")
        engine = begun
    running = engines.start(engine, task, x, epochs, rows.largest, threads)
    if start is not None:
        restore(start, network, optimizer, rows.orders)
    stride = rows.batches if each == "epoch" else int(each)
    return _steps(task, running, rows, epochs, stride, start)


def _steps(
    task: engines.Task, engine: engines.Engine, rows: Rows, epochs: int, stride: int, start: State | None
) -> Iterator[Step]:
    """Let the engine take steps, from one hand-over to the next: the loop itself."""
    network = task.network
    initial_params = network.params.copy() if start is None else start["initial_params"].copy()
    initial_params.flags.writeable = False
    done = 0 if start is None else int(start["epochs"])

    def kept() -> dict[str, np.ndarray]:
        if not rows.can_be_continued:
            raise ValueError("shuffle: the order is a function's; such a training cannot be kept and continued")
        return capture(network, task.optimizer, rows.orders)

    def step_of(epoch: Epoch, batch: int) -> Step:
        ends = batch + 1 == epoch.batches
        return Step(
            epoch.number,
            task.index(epoch, batch),
            ends,
            engine.tape,
            engine.deltas,
            network,
            initial_params,
            ends and epoch.number + 1 == epochs,
            engine.name,
            task.record.take(),
            task.loss,
            task.optimizer,
            epoch,
            epoch.rows(batch),
            kept,
        )

    with task.running():
        for number in range(done, epochs):
            epoch = rows.epoch(number)
            for first, last in _hand_overs(epoch, stride):
                engine.run(epoch, first, last)
                yield step_of(epoch, last - 1)
            task.previous = epoch


def _hand_overs(epoch: Epoch, stride: int) -> Iterator[tuple[int, int]]:
    """Cut the batches of an epoch, first and one behind the last, after every so many of the whole training."""
    last = 0
    while last < epoch.batches:
        first = last
        last = min(first + stride - (epoch.number * epoch.batches + first) % stride, epoch.batches)
        yield first, last


def _check_parts(network: Any, loss: Any, optimizer: Any, schedule: Schedule | None) -> None:
    """Raise ValueError for what is no network, loss or optimizer."""
    if not isinstance(network, Network):
        raise ValueError(f"network: {network!r} is not a Network")
    wanted = [("loss", loss, ("value", "gradient")), ("optimizer", optimizer, ("step",))]
    for name, given, methods in wanted:
        if isinstance(given, type) or not all(callable(getattr(given, method, None)) for method in methods):
            kind = {"loss": "a Loss", "optimizer": "an Optimizer"}[name]
            raise ValueError(f"{name}: {given!r} is not {kind}: it needs {' and '.join(methods)}")
    if schedule is not None and not hasattr(optimizer, "learning_rate"):
        raise ValueError(f"schedule: {optimizer!r} has no learning_rate that it could change")


def _generators(seed: int | Sequence[int], network: Network) -> list[np.random.Generator]:
    """Return where the permutations of each replica come from."""
    seeds = list(seed) if isinstance(seed, Iterable) else [seed] * len(network.seeds)
    if len(seeds) != len(network.seeds):
        raise ValueError(f"seed: {len(seeds)} seeds for {len(network.seeds)} replicas")
    return [np.random.default_rng([check_int("seed", s, 0), own]) for s, own in zip(seeds, network.seeds, strict=True)]
