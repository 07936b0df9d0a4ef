"""The compiled engine runs from one hand-over to the next without Python, each replica on a thread.

A network becomes a program, a table of operations over flat buffers, which `interpreter` carries out. The first step of
every training is held against the layers, see `comparison`.
"""

from __future__ import annotations

import copy
import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradlab.nn.layers import Layer
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.nn.remedies import Dropout, Pass, Residual
from gradlab.nn.wiring import Parameter
from gradlab.training.batches import Epoch
from gradlab.training.divergence import DivergenceError, raise_if_diverged
from gradlab.training.engines.cache import load
from gradlab.training.engines.comparison import compare_step
from gradlab.training.engines.errors import EngineError
from gradlab.training.engines.kernels import LAYERS, LOSSES, OPTIMIZERS, why_no_setting
from gradlab.training.engines.task import Task
from gradlab.training.generators import positions, reposition
from gradlab.training.recording import QUANTITIES

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

SHORT = 1e8  # parameters × rows that take well below a second
HYPERPARAMETERS = 5  # of the optimizer that has most
MOMENTS = {"sgd": ("velocity", None), "rmsprop": (None, "mean_square"), "adam": ("m", "v"), "adamw": ("m", "v")}


def is_installed() -> bool:
    """Whether Numba is there."""
    return importlib.util.find_spec("numba") is not None


def default_threads() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- lowering ------------------------------------------------------------------------------------------------------


class Slot(NamedTuple):
    """Where an array (b, width), of a batch of b rows, stands in the tape's buffer, and its delta in the deltas'."""

    tape: int
    delta: int
    width: int


class Program:
    """A network as a table of operations over flat buffers.

    Parameters
    ----------
    network : Network
        Of known layers only.
    n_features : int
    rows : int
        Of the largest batch.

    Attributes
    ----------
    table : ndarray of int64 (operations, 11)
        Its columns are named in `interpreter`.
    settings : ndarray (operations, 2)
    sizes : tuple of int
        Numbers in the buffers for tape, deltas, and scratch.
    slots : list of Slot
        Of x0, x1, … xL.
    inner : list of (Residual, list of Slot)
        Of the tapes of the layers inside.
    masks : list of (Dropout, int, int)
        Where each mask stands in the scratch buffer, and its width.
    """

    def __init__(self, network: Network, n_features: int, rows: int, interpreter: Any):
        self.network, self._rows, self._vm = network, rows, interpreter
        self.inner: list[tuple[Residual, list[Slot]]] = []
        self.masks: list[tuple[Dropout, int, int]] = []
        self._operations: list[list[int]] = []
        self._layers: list[Layer | None] = []
        self._sizes = [0, 0, 0]
        self._params = {(id(p.layer), p.attribute): p.where.start for p in network.parameters}
        self._state = {(id(p.layer), p.attribute): p.where.start for p in network.states}
        self._activations = {name: interpreter.ACTIVATION + i for i, name in enumerate(interpreter.ACTIVATIONS)}
        self._deltas_of: dict[int, tuple[int, int]] = {}
        self.slots = self._lower(network.layers, self._new_slot(n_features))
        self.table = np.array(self._operations, np.int64)
        self.settings = np.zeros((len(self.table), 2), network.dtype)
        layers = [(row, layer) for row, layer in enumerate(self._layers) if layer is not None]
        self._with_settings = [(row, layer) for row, layer in layers if len(LAYERS[type(layer)].of(layer)) > 1]
        self.refresh()

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers in the buffers for tape, deltas, and scratch."""
        tape, deltas, scratch = self._sizes
        return tape, deltas, max(scratch, 1)

    def refresh(self) -> None:
        """Take in the settings of the layers as they are now."""
        for row, layer in self._with_settings:
            if why := why_no_setting(layer, LAYERS):
                raise EngineError(f"engine: the compiled engine cannot go on: {why}")
            _, *settings = LAYERS[type(layer)].of(layer)
            self.settings[row, : len(settings)] = settings

    def dy_of(self, parameter: Parameter) -> tuple[int, int]:
        """Return where the delta of what a weight matrix gives stands, and its width."""
        return self._deltas_of[id(parameter.layer)]

    def _new_slot(self, width: int) -> Slot:
        slot = Slot(self._sizes[0], self._sizes[1], width)
        self._sizes[0] += self._rows * width
        self._sizes[1] += self._rows * width
        return slot

    def _scratch(self, numbers: int) -> int:
        self._sizes[2] += numbers
        return self._sizes[2] - numbers

    def _emit(self, layer: Layer | None, kind: int, x: Slot, y: Slot, **columns: int) -> None:
        vm, row = self._vm, [0] * 11
        row[vm.KIND], row[vm.X], row[vm.DX], row[vm.N_IN] = kind, x.tape, x.delta, x.width
        row[vm.Y], row[vm.DY], row[vm.N_OUT] = y.tape, y.delta, y.width
        for name, value in columns.items():
            row[getattr(vm, name)] = value
        self._operations.append(row)
        self._layers.append(layer)

    def _lower(self, layers: Sequence[Layer], x: Slot) -> list[Slot]:
        """Append the operations of some layers; return the slots of their tape."""
        slots = [x]
        for layer in layers:
            slots.append(self._lower_one(layer, slots[-1]))
        return slots

    def _lower_one(self, layer: Layer, x: Slot) -> Slot:
        vm = self._vm
        if isinstance(layer, Residual):
            return self._lower_residual(layer, x)
        width = layer.output_features(x.width)
        assert width is not None
        y = self._new_slot(width)
        name = LAYERS[type(layer)].of(layer)[0]
        if name == "dense":
            self._emit(layer, vm.DENSE, x, y, PARAMS=self._params[id(layer), "W"])
            self._deltas_of[id(layer)] = y.delta, y.width
        elif name == "batch_norm":
            scratch = self._scratch(2 * width)
            params, state = self._params[id(layer), "gamma"], self._state[id(layer), "running_mean"]
            self._emit(layer, vm.BATCH_NORM, x, y, PARAMS=params, STATE=state, SCRATCH=scratch)
        elif isinstance(layer, Dropout):
            scratch = self._scratch(self._rows * width)
            self._emit(layer, vm.DROPOUT, x, y, SCRATCH=scratch)
            self.masks.append((layer, scratch, width))
        else:
            self._emit(layer, self._activations[name], x, y)
        return y

    def _lower_residual(self, layer: Residual, x: Slot) -> Slot:
        """Y = x + f(x): the inner layers read the same x, and have a delta of their own for it."""
        vm = self._vm
        inside = Slot(x.tape, self._new_slot(x.width).delta, x.width)
        fork = len(self._operations)
        self._emit(None, vm.FORK, x, x, OTHER=inside.delta)
        slots = self._lower(layer.layers, inside)
        y = self._new_slot(x.width)
        self._operations[fork][vm.DY] = y.delta
        self._emit(None, vm.ADD, slots[-1], y, OTHER=x.tape)
        self.inner.append((layer, slots))
        return y


class Buffers:
    """The arrays that a program works on, for each replica, and views of them as a tape and deltas."""

    def __init__(self, program: Program):
        network = program.network
        self._program, self._lead = program, network.replicas
        n = len(network.seeds)
        self.tape, self.deltas, self.scratch = (np.zeros((n, size), network.dtype) for size in program.sizes)
        self._views: dict[int, tuple[list[np.ndarray], list[np.ndarray], list[Pass], list[np.ndarray]]] = {}

    def show(self, rows: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return tape and deltas of a batch of so many rows, and show the layers inside others theirs."""
        if rows not in self._views:
            inner = [Pass(*self._pass(slots, rows)) for _, slots in self._program.inner]
            masks = [self._view(self.scratch, start, rows, width) for _, start, width in self._program.masks]
            self._views[rows] = *self._pass(self._program.slots, rows), inner, masks
        tape, deltas, inner, masks = self._views[rows]
        for (layer, _), its_pass in zip(self._program.inner, inner, strict=True):
            layer.passes[True] = its_pass
        for (dropout, _, _), mask in zip(self._program.masks, masks, strict=True):
            dropout.mask = mask
        return tape, deltas

    def _pass(self, slots: Sequence[Slot], rows: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        tape = [self._view(self.tape, slot.tape, rows, slot.width) for slot in slots]
        return tape, [self._view(self.deltas, slot.delta, rows, slot.width) for slot in slots]

    def _view(self, buffer: np.ndarray, start: int, rows: int, width: int) -> np.ndarray:
        return buffer[:, start : start + rows * width].reshape(*self._lead, rows, width)


# --- threads -------------------------------------------------------------------------------------------------------


class Threads:
    """Computes replicas side by side, so that a key pressed here stops what runs there.

    Parameters
    ----------
    most : int, optional
        How many at a time; as many as there are cores, unless given.
    """

    def __init__(self, most: int | None):
        self._most = most or default_threads()
        self.stop = np.zeros(1, np.uint8)  # set to end all that runs

    def run(self, work: Callable[[int], Any], count: int, size: float) -> list[Any]:
        """Return ``work(0)``, … ``work(count − 1)``; interrupted, wait for the end of all that has begun.

        What is done in one thread anyway, and is short, is done in the thread that calls: no key is heard until it
        ends. `size` counts the parameters times the rows of one piece of work.
        """
        if (count == 1 or self._most == 1) and count * size <= SHORT:
            return [work(i) for i in range(count)]
        from concurrent.futures import wait

        results: list[Any] = [None] * count
        left = iter(range(count))  # the next piece for whichever thread is free

        def take_pieces() -> None:
            for i in left:
                results[i] = work(i)

        pool = thread_pool(self._most, os.getpid())
        futures = [pool.submit(take_pieces) for _ in range(min(self._most, count))]
        try:
            for future in futures:
                future.result()
            return results
        except BaseException:
            self.stop[0] = 1
            deque(left, maxlen=0)  # what nobody has begun
            while not all(future.done() for future in futures):
                with suppress(KeyboardInterrupt):  # pressed once more: what runs would go on writing
                    wait(futures)
            raise
        finally:
            self.stop[0] = 0


@lru_cache
def thread_pool(size: int, process: int) -> ThreadPoolExecutor:
    """Return the pool of a process, kept: a new thread may begin on the core of another one, and stay there a while.

    A process that is forked has its parent's pool, but not its threads: it gets one of its own.
    """
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(size, "gradlab")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS multiply in the calling thread: replicas are computed side by side as it is."""
    before = [(library, library.num_threads) for library in _blas() if library.num_threads != 1]
    try:
        for library, _ in before:
            library.set_num_threads(1)
        yield
    finally:
        for library, count in before:
            library.set_num_threads(count)


@lru_cache(maxsize=1)
def _blas() -> Any:
    """Find the libraries that multiply, those that the interpreter has loaded included."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers


# --- training ------------------------------------------------------------------------------------------------------


class CompiledEngine:
    """Takes all steps up to the next hand-over in compiled code, each replica on its own.

    Parameters
    ----------
    task : Task
        Of known parts only, see `kernels.unknown`.
    n_features, batch_size : int
    threads : int, optional
        How many replicas are trained at a time, as many as there are cores unless given; it changes no number.
    """

    name = "compiled"

    def __init__(self, task: Task, n_features: int, batch_size: int, threads: int | None):
        self._task, self._threads = task, Threads(threads)
        network, optimizer = task.network, task.optimizer
        self._vm = load(network.dtype)
        optimizer.prepare(network.params, network.grads)
        self._program = Program(network, n_features, batch_size, self._vm)
        self._buffers = Buffers(self._program)
        self._weights = np.array(
            [(p.where.start, p.where.stop - p.where.start, *self._program.dy_of(p)) for p in task.record.places],
            np.int64,
        ).reshape(-1, 4)
        self._asked = np.array([name in task.record.names for name in QUANTITIES], np.uint8)
        n, size, kind = len(network.seeds), network.params.shape[-1], network.dtype
        self._none = np.empty((n, 0), kind)
        self._update = np.empty((n, size), kind) if any(vars(task.penalties).values()) else self._none
        self._ones = np.ones((n, size), kind)
        self._is_compared = False
        self._undo = _Undo(task)
        self.tape: Sequence[np.ndarray] = []
        self.deltas: Sequence[np.ndarray] = []

    def run(self, epoch: Epoch, first: int, last: int) -> None:
        """Take the steps of the batches `first`, … `last` − 1 of an epoch.

        Raises
        ------
        EngineError
            If the first step of all is not what the layers make of it.
        KeyboardInterrupt
            The network and the optimizer are then what they were before.
        """
        self._undo.remember()
        try:
            if not self._is_compared:
                before = copy.deepcopy(self._task.network), copy.deepcopy(self._task.optimizer)
                self._advance(epoch, first, first + 1)
                compare_step(self._task, *before, epoch, first, self.tape, self.deltas)
                self._is_compared = True
                first += 1
            if first < last:
                self._advance(epoch, first, last)
        except DivergenceError:
            raise
        except BaseException:
            self._undo()
            raise

    def _advance(self, epoch: Epoch, first: int, last: int) -> None:
        task, n = self._task, len(self._task.network.seeds)
        self._program.refresh()
        wanted = task.record.wanted(task.index(epoch, first), task.index(epoch, last), epoch.batches)
        steps = np.flatnonzero(wanted)
        measured = np.empty((n, len(steps), len(QUANTITIES), len(self._weights)))
        with one_blas_thread():
            size = task.network.params.shape[-1] * epoch.batch_size * (last - first)
            ended = self._threads.run(self._work(epoch, first, last, wanted, measured), n, size)
        finite = min((batch for batch, code in ended if code != self._vm.DONE), default=last)
        after_update = (finite, self._vm.PARAMETERS_NOT_FINITE) in ended
        task.optimizer.t += finite - first + after_update
        if len(steps):
            self._record(epoch, first + steps[first + steps < finite], np.moveaxis(measured, 0, -1))
        if finite < last:
            self._diverged(epoch, ended)
        self._show(epoch, last - 1)

    def _work(
        self, epoch: Epoch, first: int, last: int, wanted: np.ndarray, measured: np.ndarray
    ) -> Callable[[int], tuple[int, int]]:
        """Return the function that takes the steps of one replica, and says at which batch it ended, and how."""
        task, network, optimizer, vm = self._task, self._task.network, self._task.optimizer, self._vm
        n, kind = len(network.seeds), network.dtype
        x, y, logits = (array.reshape(n, *array.shape[-2:]) for array in (epoch.x, epoch.targets, epoch.logits))
        weights = (np.empty(0, kind) if epoch.weights is None else epoch.weights).reshape(n, -1)
        if why := why_no_setting(optimizer, OPTIMIZERS):
            raise EngineError(f"engine: the compiled engine cannot go on: {why}")
        name, *hyper = OPTIMIZERS[type(optimizer)].of(optimizer)
        loss, *_ = LOSSES[type(task.loss)].of(task.loss)
        method = vm.Method(
            getattr(vm, loss.upper()),
            getattr(vm, name.upper()),
            np.array(hyper + [0.0] * (HYPERPARAMETERS - len(hyper))),
            np.array([task.penalties.l1, task.penalties.l2, task.penalties.alpha, task.penalties.clip_norm]),
        )
        moments = [self._none if moment is None else getattr(optimizer, moment) for moment in MOMENTS[name]]
        moving = [array.reshape(n, -1) for array in (network.params, network.grads, self._update, *moments)]
        mask = getattr(optimizer, "mask", None)
        decayed = self._ones if mask is None else np.array(np.broadcast_to(mask, self._ones.shape), kind, order="C")
        state, buffers = network.state.reshape(n, -1), self._buffers
        rates = task.rates(epoch, first, last)
        before = np.empty((n, network.params.shape[-1] if self._asked[-1] else 0), kind)
        t, generators, stop = int(optimizer.t), network.streams.generators, self._threads.stop

        def train(r: int) -> tuple[int, int]:
            return vm.train_batches(
                self._program.table,
                self._program.settings,
                vm.Rows(x[r], y[r], weights[r], logits[r], epoch.batches),
                epoch.batch_size,
                first,
                last,
                vm.Buffers(buffers.tape[r], buffers.deltas[r], buffers.scratch[r]),
                vm.Vectors(*(array[r] for array in moving), network.weight_mask, decayed[r], state[r]),
                method,
                rates,
                t,
                generators[r],
                stop,
                vm.Records(wanted, self._asked, self._weights, measured[r], before[r]),
            )

        return train

    def _show(self, epoch: Epoch, batch: int) -> None:
        """Show tape and deltas of a batch."""
        rows = epoch.rows(batch)
        self.tape, self.deltas = self._buffers.show(rows.stop - rows.start)

    def _record(self, epoch: Epoch, batches: np.ndarray, measured: np.ndarray) -> None:
        """Record what was measured of some batches (steps, quantities, layers, replicas); shares are always float64."""
        record, kind = self._task.record, self._task.network.dtype
        kinds = [np.float64 if name.endswith("share") else kind for name in record.names]
        places = [list(QUANTITIES).index(name) for name in record.names]
        chosen = [measured[: len(batches), place].astype(k) for place, k in zip(places, kinds, strict=True)]
        steps = self._task.index(epoch, 0) + batches
        record.write(steps, epoch.number, batches + 1 == epoch.batches, chosen)

    def _diverged(self, epoch: Epoch, ended: list[tuple[int, int]]) -> None:
        """Raise DivergenceError for the replicas that were the first to leave the finite numbers."""
        task, done = self._task, self._vm.DONE
        batch = min(s for s, code in ended if code != done)
        among = [r for r, (s, code) in enumerate(ended) if code != done and s == batch]
        self._show(epoch, batch)
        index, last_loss = task.index(epoch, batch), task.loss_before(epoch, batch)
        raise_if_diverged(task.network, self.tape, self.deltas, epoch.number, index, last_loss, among)


class _Undo:
    """Remembers what steps change, and puts it back."""

    def __init__(self, task: Task):
        self._network, self._optimizer = task.network, task.optimizer
        self._arrays = [(array, np.empty_like(array)) for array in self._changed()]

    def _changed(self) -> list[np.ndarray]:
        network, optimizer = self._network, self._optimizer
        return [
            network.params,
            network.grads,
            network.state,
            *(getattr(optimizer, name) for name in optimizer.averages),
        ]

    def remember(self) -> None:
        """Copy everything as it is now."""
        self._arrays = [(now, kept) for now, (_, kept) in zip(self._changed(), self._arrays, strict=True)]
        for array, kept in self._arrays:
            np.copyto(kept, array)
        self._drawn, self._t = positions(self._network.streams), self._optimizer.t

    def __call__(self) -> None:
        for array, kept in self._arrays:
            np.copyto(array, kept)
        reposition(self._network.streams, self._drawn)
        self._optimizer.t = self._t


# --- predicting ----------------------------------------------------------------------------------------------------


def writable(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Return an array that may be written to, in C order, if need be a copy: Numba compiles for each kind."""
    return np.require(array, dtype, ["C", "W"])


def predict(network: Network, x: np.ndarray, threads: int | None) -> np.ndarray:
    """Compute the logits (..., n, k) of samples (..., n, d)."""
    vm = load(network.dtype)
    n, rows = len(network.seeds), min(x.shape[-2], ROWS_AT_ONCE)
    program = Program(network, x.shape[-1], max(rows, 1), vm)
    samples = writable(x, network.dtype).reshape(n, *x.shape[-2:])
    logits = np.empty((n, x.shape[-2], program.slots[-1].width), network.dtype)
    params, state = (writable(array, network.dtype).reshape(n, -1) for array in (network.params, network.state))
    pool = Threads(threads)

    def work(r: int) -> None:
        tape, _, scratch = (np.empty(size, network.dtype) for size in program.sizes)
        vm.predict_rows(
            program.table, program.settings, samples[r], logits[r], rows, tape, scratch, params[r], state[r], pool.stop
        )

    with one_blas_thread():
        pool.run(work, n, params.shape[-1] * x.shape[-2])
    return logits.reshape(*network.replicas, *logits.shape[-2:])
