"""Training is a generator of steps: stopping early is `break`, a progress bar is `tqdm(train(...))`,
and whoever wants to know something looks at each step as it passes."""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlab.nn.arrays import Streams, norm
from gradlab.nn.checks import real, whole
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SquaredError, column_of_weights
from gradlab.nn.network import Network
from gradlab.nn.optimizers import Optimizer
from gradlab.nn.plan import Tape
from gradlab.nn.recording import Call, make, note_calls
from gradlab.nn.schedules import Schedule

State = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[np.dtype, tuple[int, ...]]]


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
    """

    def __init__(self, epoch: int, step: int, layer: int, quantity: str, seed: int, last_loss: float, name: str):
        super().__init__(epoch, step, layer, quantity, seed, last_loss, name)  # so that it can be pickled
        self.epoch, self.step, self.layer, self.quantity = epoch, step, layer, quantity
        self.seed, self.last_loss, self.name = seed, last_loss, name

    def __str__(self) -> str:
        known = f"; the last finite loss was {self.last_loss:.6g}" if math.isfinite(self.last_loss) else ""
        return (
            f"training diverged in epoch {self.epoch}, step {self.step}: the {self.quantity} of layer {self.layer} "
            f"({self.name}), seed {self.seed}, is not finite{known}. A smaller learning rate, clip_norm, or smaller "
            "first weights may help"
        )


@dataclass(slots=True)
class _Epoch:
    """An epoch's rows in their order, and the logits that each batch got; only x is written over by the next epoch."""

    loss: Loss
    x: Any
    targets: np.ndarray
    weights: np.ndarray | None
    logits: np.ndarray

    def inputs(self, start: int, stop: int) -> np.ndarray:
        """Return x of some rows; those of a sparse array are made dense."""
        if isinstance(self.x, np.ndarray):
            return self.x[..., start:stop, :]
        return self.x[start:stop].toarray()

    def wanted(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return targets and weights of some rows."""
        weights = None if self.weights is None else self.weights[..., start:stop, :]
        return self.targets[..., start:stop, :], weights

    def value(self, start: int, stop: int) -> np.ndarray:
        """Compute the mean loss of some rows, as they were when their batch came."""
        return self.loss.value(self.logits[..., start:stop, :], *self.wanted(start, stop))


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
        Activations and their gradients in this step, before the parameters changed. They are live: the next
        step writes over them, so copy what you keep.
    network : Network
        ``network.grads`` still holds dL/dparams of this step.
    initial_params : ndarray (..., P)
        The parameters from before the first step: one copy, made when the training begins, in all its steps.
    ends_training : bool
        Whether no step follows.
    """

    epoch: int
    index: int
    ends_epoch: bool
    tape: list[np.ndarray]
    deltas: list[np.ndarray]
    network: Network
    initial_params: np.ndarray = field(repr=False)
    ends_training: bool = field(repr=False)
    _batches: _Epoch = field(repr=False)
    _start: int = field(repr=False)
    _stop: int = field(repr=False)
    _kept: Callable[[Step], State] = field(repr=False)

    @property
    def loss(self) -> np.ndarray:
        """Loss (...) of this batch, before the step; computed when asked for, and right at any later time."""
        return self._batches.value(self._start, self._stop)

    @property
    def running_loss(self) -> np.ndarray:
        """Mean loss (...) over the epoch's samples so far, each as it was when its batch came.

        The parameters moved meanwhile, so at the epoch's end this is not the loss of the network as it is then.
        """
        return self._batches.value(0, self._stop)

    def state(self) -> State:
        """Copy all that the training depends on from here on: parameters, moments, generators, and what else there is.

        Called at the end of an epoch. Given as ``start``, it lets `train`, and `early_stopping` if it watches, go on
        as if they had never ended. It is plain arrays, so that ``np.savez("state.npz", **step.state())`` keeps it.

        Raises
        ------
        ValueError
            Within an epoch, or if the order of the rows is a function's, which may depend on anything.
        """
        if not self.ends_epoch:
            raise ValueError(f"step {self.index} does not end an epoch: a training can go on only from there")
        return self._kept(self)

    def keep_also(self, more: Callable[[], State]) -> None:
        """Let `state` give more: what whoever hands the step on depends on."""
        kept = self._kept
        self._kept = lambda step: {**kept(step), **more()}


def state_shapes(network: Network, optimizer: Optimizer) -> Shapes:
    """Tell the names, types and shapes of what `Step.state` gives."""
    kind, vector, whole_number = network.dtype, network.params.shape, np.dtype(np.int64)
    generators = np.dtype(np.uint64), (len(network.seeds), 6)
    shapes: Shapes = {"epochs": (whole_number, ()), "last_loss": (kind, network.replicas)}
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
    shuffle: bool | Callable[[np.ndarray], np.ndarray] = True,
    schedule: Schedule | None = None,
    l1: float = 0.0,
    l2: float = 0.0,
    alpha: float = 0.0,
    clip_norm: float = 0.0,
    input_gradient: bool = True,
    start: State | None = None,
) -> Iterator[Step]:
    """Train by backpropagation on mini-batches; yield every step after it is taken.

    In each epoch the rows are permuted and every row is used exactly once; the last batch may be shorter.

    Parameters
    ----------
    network : Network
    loss : Loss
    optimizer : Optimizer
    x : ndarray or SciPy sparse array (n, d)
        Finite numbers. Rows of a sparse array are made dense batch by batch.
    y : ndarray (n, k), or (n,) for a network with one output
        Targets.
    epochs, batch_size : int
        At least 1. A batch larger than the data is all of it.
    seed : int or sequence of int
        Of the permutations, together with the network's own seed; a sequence gives one a replica.
    weights : ndarray (n,), optional
        How much each sample counts, at least 0.
    shuffle : bool or callable
        Without it every epoch takes the rows as they come. A function makes an epoch's order, row numbers (n,), from
        that of the epoch before, in place of the generators of `seed`.
    schedule : callable, optional
        From the time trained, in epochs, to a factor on the optimizer's learning rate. A batch's time is its middle.
    l1, l2 : float
        Penalties l1·Σ abs(W) and ½·l2·Σ W² on the weights, not on biases, whatever the batch size. They change
        the steps; losses and ``network.grads`` are those of the data alone.
    alpha : float
        Penalty ½·alpha·Σ W² / Σ_i w_i, the second sum over the batch (w_i = 1 unless given): scikit-learn's definition,
        which does depend on the batch size.
    clip_norm : float
        Largest norm of the whole gradient, penalties included; a longer one is shortened. 0 for no limit.
    input_gradient : bool
        Whether ``step.deltas[0]``, the gradient of the input, is wanted. Nothing is trained by it; without it, it may
        be nan, and a step is a matrix product shorter.
    start : mapping of str to ndarray, optional
        From `Step.state`, in a training of the same network and optimizer, with the same arguments except that `epochs`
        may be more: the training goes on after that epoch, to the same numbers as if it had never ended. The network
        and the optimizer are made what they were then.

    Yields
    ------
    Step

    Raises
    ------
    ValueError
        At once, if an argument does not fit.
    DivergenceError
        When a number of a step is no longer finite.
    """
    for name, kind, given in (("network", Network, network), ("loss", Loss, loss), ("optimizer", Optimizer, optimizer)):
        if not isinstance(given, kind):
            raise ValueError(f"{name}: {given!r} is not a {kind.__name__}")
    epochs = whole("epochs", epochs)
    x, y, weights = check_data(network, loss, x, y, weights)
    batch_size = min(whole("batch_size", batch_size), x.shape[-2])
    seeds = list(seed) if isinstance(seed, Iterable) else [seed] * len(network.seeds)
    if len(seeds) != len(network.seeds):
        raise ValueError(f"seed: {len(seeds)} seeds for {len(network.seeds)} replicas")
    generators = [
        np.random.default_rng([whole("seed", s, 0), own]) for s, own in zip(seeds, network.seeds, strict=True)
    ]
    update = Update(network, optimizer, l1, l2, alpha, clip_norm)
    own_order = shuffle if callable(shuffle) else None
    rows = _Rows(network, loss, x, y, weights, own_order, Streams(generators), bool(shuffle))
    if start is not None:
        _restore(start, network, optimizer, rows, epochs)
    return _steps(network, loss, update, rows, schedule, epochs, batch_size, input_gradient, start)


def _restore(start: State, network: Network, optimizer: Optimizer, rows: _Rows, epochs: int) -> None:
    """Make everything what it was when `start` was taken."""
    check_state(start, state_shapes(network, optimizer))
    if not 0 < start["epochs"] < epochs:
        raise ValueError(f"start: {int(start['epochs'])} epochs are done, of {epochs}: nothing is left to go on with")
    network.params[...], network.state[...] = start["params"], start["statistics"]
    network.streams.restore(start["streams"])
    rows.orders.restore(start["orders"])
    names = ("t", *optimizer.averages)
    optimizer.restore(network.params, {name: start[f"optimizer.{name}"] for name in names})


def _steps(
    network: Network,
    loss: Loss,
    update: Update,
    rows: _Rows,
    schedule: Schedule | None,
    epochs: int,
    batch_size: int,
    input_gradient: bool,
    start_state: State | None,
) -> Iterator[Step]:
    """Forward, backward, update: the loop itself."""
    n = rows.n
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    slopes: dict[int, _Slopes] = {}  # by the batch's size: the last batch may be shorter
    all_grads = network.grads.reshape(-1)
    first_epoch, last_loss, initial_params = 0, None, network.params
    if start_state is not None:
        first_epoch, last_loss = int(start_state["epochs"]), start_state["last_loss"]
        initial_params = start_state["initial_params"]
    initial_params = initial_params.copy()
    initial_params.flags.writeable = False
    optimizer, base_rate = update.optimizer, update.optimizer.learning_rate
    # What is not finite is named, not warned of. NumPy's settings are part of the context; one of our own, entered
    # for each step, leaves those of whoever takes the steps alone, and costs less than np.errstate.
    quiet = contextvars.copy_context()
    quiet.run(np.seterr, over="ignore", invalid="ignore")

    def kept(step: Step) -> State:
        return _state(step, optimizer, rows)

    def take_step(batches: _Epoch, epoch: int, index: int, start: int, stop: int, last: Step | None) -> Step:
        y, weights = batches.wanted(start, stop)
        tape = network.forward(batches.inputs(start, stop), training=True)
        batches.logits[..., start:stop, :] = tape[-1]
        slope = slopes.get(stop - start)
        if slope is None or slope.tape is not tape or slope.settings != vars(loss):
            slope = slopes[stop - start] = _Slopes(loss, tape)
        deltas = network.backward(slope(y, weights), tape, input_gradient)
        if not math.isfinite(all_grads.dot(all_grads)):
            raise_if_diverged(network, tape, deltas, epoch, index, last_loss if last is None else last.loss)
        update(stop - start if weights is None else weights)
        if stop == n and not np.isfinite(network.params).all():
            raise_if_diverged(network, tape, deltas, epoch, index, last_loss if last is None else last.loss)
        ends = stop == n
        over = ends and epoch + 1 == epochs
        return Step(epoch, index, ends, tape, deltas, network, initial_params, over, batches, start, stop, kept)

    step: Step | None = None
    index = first_epoch * len(bounds)
    try:
        for epoch in range(first_epoch, epochs):
            batches = rows.shuffled()
            for start, stop in bounds:
                if schedule is not None:
                    optimizer.learning_rate = base_rate * schedule(epoch + (start + stop) / 2 / n)
                step = quiet.run(take_step, batches, epoch, index, start, stop, step)
                yield step
                index += 1
    finally:
        optimizer.learning_rate = base_rate


def _state(step: Step, optimizer: Optimizer, rows: _Rows) -> State:
    """Copy what a training depends on after the step that ends an epoch; `state_shapes` lists it."""
    network = step.network
    if rows.own_order is not None:
        raise ValueError("shuffle: the order of the rows is a function's; such a training cannot be kept and continued")
    with np.errstate(all="ignore"):
        last_loss = np.asarray(step.loss, network.dtype)
    return {
        "epochs": np.array(step.epoch + 1),
        "last_loss": last_loss,
        "params": network.params.copy(),
        "initial_params": step.initial_params,
        "statistics": network.state.copy(),
        "streams": network.streams.state(),
        "orders": rows.orders.state(),
        **{f"optimizer.{name}": array for name, array in optimizer.state().items()},
    }


def check_data(
    network: Network, loss: Loss, x: Any, y: np.ndarray, weights: np.ndarray | None
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return the data in the network's float type; raise ValueError for what could not be trained on."""
    sparse = hasattr(x, "toarray")
    x = x.tocsr().astype(network.dtype) if sparse else np.asarray(x, dtype=network.dtype)
    y = np.asarray(y, dtype=network.dtype)
    if sparse and network.replicas:
        raise ValueError("x: a sparse array is for one network, not for replicas")
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"x: an array of shape {x.shape} is not (samples, features) with at least one sample")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named below
        logits = network.forward(x[:1].toarray() if sparse else x[..., :1, :])[-1]
    if y.ndim == 1 and logits.shape[-1] == 1:
        y = y[:, np.newaxis]
    if y.shape[-2:] != (x.shape[-2], logits.shape[-1]) or y.shape[:-2] not in ((), network.replicas):
        raise ValueError(
            f"y: an array of shape {y.shape} does not fit x of shape {x.shape} and a network with "
            f"{logits.shape[-1]} output(s): it is (samples, outputs)"
        )
    for name, array in (("x", x), ("y", y)):
        values = array if isinstance(array, np.ndarray) else array.data
        if not np.isfinite(values).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            value, where = values[place], place
            if sparse and name == "x":  # it is in rows: which of them, and which column, the entry belongs to
                where = int(np.searchsorted(x.indptr, place[0], side="right")) - 1, int(x.indices[place[0]])
            raise ValueError(f"{name}: {value} at {list(where)} is not a finite number")
    least, most = loss.target_range
    if y.min() < least or y.max() > most:
        raise ValueError(f"y: {loss!r} takes targets from {least:g} to {most:g}, not {y.min():g} to {y.max():g}")
    if weights is None:
        return x, y, None
    weights = column_of_weights(weights, x, "x")
    if not np.isfinite(weights).all() or weights.min() < 0.0 or weights.sum() == 0.0:
        raise ValueError("weights: they must be finite, at least 0, and not all 0")
    return x, y, weights


class _Rows:
    """The data, handed out in a new order each epoch: one gather, of which the batches are slices."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        x: Any,
        y: np.ndarray,
        weights: np.ndarray | None,
        own_order: Callable[[np.ndarray], np.ndarray] | None,
        orders: Streams,
        shuffle: bool,
    ):
        self.own_order, self.orders, self._shuffle = own_order, orders, shuffle
        self.n, self.n_outputs = x.shape[-2], y.shape[-1]
        self._replicas, self._loss = network.replicas, loss
        self._x, self._y, self._weights = x, y, weights
        self._order = np.broadcast_to(np.arange(self.n), (*network.replicas, self.n)).copy()
        self._sparse = not isinstance(x, np.ndarray)
        if not self._sparse:
            self._shuffled_x = np.empty((*network.replicas, self.n, x.shape[-1]), x.dtype)

    def shuffled(self) -> _Epoch:
        """Permute the rows, each replica's by its own generator."""
        if self.own_order is not None:
            self._order[:] = self.own_order(self._order.reshape(-1, self.n)[0].copy())
        elif self._shuffle:
            for order, generator in zip(self._order.reshape(-1, self.n), self.orders.generators, strict=True):
                order[:] = generator.permutation(self.n)
        y = self._gather(self._y)
        weights = None if self._weights is None else self._gather(self._weights)
        x = self._x[self._order] if self._sparse else self._gather(self._x, self._shuffled_x)
        return _Epoch(self._loss, x, y, weights, np.empty_like(y))

    def _gather(self, array: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            out = np.empty((*self._replicas, *array.shape[-2:]), array.dtype)
        orders = self._order.reshape(-1, self.n)
        each = array if array.ndim > 2 else [array] * len(orders)  # one a replica, or the same for all
        for source, order, target in zip(each, orders, out.reshape(-1, *array.shape[-2:]), strict=True):
            np.take(source, order, axis=0, out=target, mode="clip")
        return out


class _Slopes:
    """The loss's slopes for a tape, written where the pass back begins; the calls of a loss of ours are noted."""

    def __init__(self, loss: Loss, tape: list[np.ndarray]):
        self.tape, self._loss = tape, loss
        self.settings = dict(vars(loss))
        self._calls: list[Call] = []
        plan = tape.plan if isinstance(tape, Tape) else None
        self._out = np.empty_like(tape[-1]) if plan is None else plan.deltas[-1]
        self._targets = np.zeros_like(self._out)
        if type(loss) in (BinaryCrossEntropy, SquaredError):
            self._calls = note_calls({}, loss.gradient, tape[-1], self._targets, None, self._out)

    def __call__(self, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        if not self._calls or weights is not None:
            return self._loss.gradient(self.tape[-1], targets, weights, self._out)
        np.copyto(self._targets, targets)
        make(self._calls)
        return self._out


class Update:
    """One step of the optimizer along the gradient, the penalties' added and its length bounded."""

    def __init__(self, network: Network, optimizer: Optimizer, l1: float, l2: float, alpha: float, clip_norm: float):
        self.network, self.optimizer = network, optimizer
        self.l2, self.alpha = real("l2", l2, 0.0), real("alpha", alpha, 0.0)
        self.l1 = real("l1", l1, 0.0) * network.weight_mask if l1 else None
        self._decays: dict[int, np.ndarray] = {}
        self.clip_norm = real("clip_norm", clip_norm, 0.0)
        self.plain = not (l1 or l2 or alpha or clip_norm)
        if not self.plain:
            self._grads, self._term = np.empty_like(network.grads), np.empty_like(network.grads)

    def __call__(self, weights: int | np.ndarray) -> None:
        """Take a step; `weights` are those of the batch's rows (..., n, 1), or how many rows there are."""
        self.optimizer.step(self.network.params, self.gradient(weights))

    def gradient(self, weights: int | np.ndarray) -> np.ndarray:
        """Return g + l1·sign(W) + (l2 + alpha/Σw)·W, times clip_norm/norm where its norm is larger than clip_norm."""
        if self.plain:
            return self.network.grads
        params, grads, term = self.network.params, self._grads, self._term
        np.multiply(params, self._decay(weights), term)
        np.add(self.network.grads, term, grads)
        if self.l1 is not None:
            np.sign(params, term)
            np.multiply(term, self.l1, term)
            np.add(grads, term, grads)
        if self.clip_norm:
            longest = np.maximum(norm(grads, term), self.clip_norm)
            np.multiply(grads, self.clip_norm / longest, grads)
        return grads

    def _decay(self, weights: int | np.ndarray) -> np.ndarray:
        """Return l2 + alpha/Σw at weights, 0 elsewhere; kept for the sizes of batch that come again and again."""
        if isinstance(weights, np.ndarray):
            total = np.sum(weights, axis=-2)
            return self.network.weight_mask * (self.l2 + self.alpha / np.where(total > 0.0, total, np.inf))
        if weights not in self._decays:
            self._decays[weights] = self.network.weight_mask * (self.l2 + self.alpha / weights)
        return self._decays[weights]


def raise_if_diverged(
    network: Network,
    tape: list[np.ndarray],
    deltas: list[np.ndarray],
    epoch: int,
    index: int,
    last_loss: np.ndarray | None,
) -> None:
    """Raise DivergenceError naming the first array of this step with a number that is not finite."""
    last_layer = len(network.layers) - 1
    found: list[tuple[int, str, np.ndarray]] = [(i, "output", y) for i, y in enumerate(tape[1:])]
    found += [(min(i, last_layer), "delta", deltas[i]) for i in range(last_layer + 1, 0, -1)]
    for quantity, vector in (("gradient", network.grads), ("parameters", network.params)):
        found += [(int(p.name.split(".")[0]), quantity, vector[..., p.where]) for p in network.parameters]
    for layer, quantity, array in found:
        if np.isfinite(array).all():
            continue
        bad = ~np.isfinite(array).reshape(len(network.seeds), -1).all(axis=1)
        r = int(np.argmax(bad))
        loss = math.nan if last_loss is None else float(np.ravel(last_loss)[r])
        raise DivergenceError(epoch, index, layer, quantity, network.seeds[r], loss, repr(network.layers[layer]))
