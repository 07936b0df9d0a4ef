"""Where tasks run: in this process, in processes of its own, or on a cluster; each is a standard Executor.

The pool of processes is written here because loky's, which comes with scikit-learn, breaks a promise of ours. When one
of its workers is killed, loky ends every task with the same TerminatedWorkerError, those that wait and those of the
other workers too: the work of the neighbours is lost, and nothing tells which task to try again alone. (The standard
library's ProcessPoolExecutor does the same.) An executor of its own for each worker would keep the tasks apart, but a
worker of loky outlives a parent that is killed, while somebody else may be going on with the run already.
`tests/lab/test_executors.py` shows both.
"""

import asyncio
import logging
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pickle import PicklingError
from queue import SimpleQueue
from typing import Any, TypeVar

GRACE = 20.0  # seconds that a worker has to save its checkpoint when it is stopped
CONNECT = 10.0  # seconds that a cluster has to answer in
MAX_WORKERS = 1024
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """Workers, and how tasks are submitted to them.

    Attributes
    ----------
    executor : Executor
    capacity : callable
        How many tasks to have submitted at a time; it may change, as workers come and go.
    deaths : tuple of exception classes
        What a future raises when not its task failed but the worker that had it died.
    stop : callable
        Interrupts what is running, and lets nothing else begin.
    in_this_process : bool
        Whether they are this process: then tasks need not be plain data.
    remote : bool
        Whether they may be on other machines, and share no folder with this process.
    """

    executor: Executor
    capacity: Callable[[], int]
    deaths: tuple[type[BaseException], ...] = (BrokenExecutor,)
    stop: Callable[[], None] = lambda: None
    in_this_process: bool = False
    remote: bool = False


def count(where: str) -> int:
    """Return how many processes of this machine a text names; 0 for a cluster.

    Raises
    ------
    ValueError
        If it names neither.
    """
    if re.fullmatch(r"tcp://[^\s/:]+:\d{1,5}", where):
        return 0
    if not re.fullmatch("[0-9]{1,9}", where) or not 1 <= int(where) <= MAX_WORKERS:
        raise ValueError(f"{where!r} is neither a number of processes from 1 to {MAX_WORKERS} nor tcp://HOST:PORT")
    return int(where)


@contextmanager
def workers(where: str) -> Iterator[Workers]:
    """Open the workers that a text names, and close them.

    Parameters
    ----------
    where : str
        ``"1"`` is this process, ``"4"`` are four of their own, ``"tcp://HOST:PORT"`` those of a Dask cluster.

    Raises
    ------
    ValueError
        If it names none, or needs a package that is not installed.
    OSError
        If no cluster answers there.
    """
    n = count(where)
    if n == 0:
        with _cluster(where) as found:
            yield found
    elif n == 1:
        yield Workers(InThisProcess(), lambda: 1, in_this_process=True)
    else:
        with Processes(n) as executor:
            stop = partial(executor.shutdown, cancel_futures=True)
            yield Workers(executor, lambda: n, (BrokenExecutor, KeyboardInterrupt), stop)


# --- in this process -----------------------------------------------------------------------------------------------


class InThisProcess(Executor):
    """Runs a task where it is submitted, at once; an interrupt passes through."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # a task may raise anything
            future.set_exception(error)
        return future


# --- in processes --------------------------------------------------------------------------------------------------


class Processes(Executor):
    """Runs tasks in processes of its own; one that dies fails the task that it had, and is replaced.

    Each has one thread for linear algebra, and ends when the process that began it does. Told to cancel, the executor
    also interrupts what is running, as Ctrl-C would.

    Parameters
    ----------
    n : int
    """

    def __init__(self, n: int):
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # begun later, it would unblock the interrupts that are blocked
        self._processes = [_Process() for _ in range(n)]
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        for process in self._processes:
            self._idle.put(process)
        self._threads = ThreadPoolExecutor(n, initializer=_block_interrupts)  # one waits for each process

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self._threads.submit(self._run, partial(fn, *args, **kwargs))

    def _run(self, task: Callable[[], T]) -> T:
        process = self._idle.get()
        try:
            return process.run(task)
        finally:
            self._idle.put(process)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # it waits in any case
        self._threads.shutdown(wait=not cancel_futures, cancel_futures=cancel_futures)
        try:
            for process in self._processes:
                process.stop(cancel_futures)
            deadline = time.monotonic() + GRACE
            for process in self._processes:
                process.join(deadline - time.monotonic())
        finally:
            for process in self._processes:
                process.kill()


class _Process:
    """One process, started when there is a task for it, and started again when it has died."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None
        self._tasks: Connection
        self._lock = threading.Lock()  # so that none is started when it is to stop
        self._stopped = False

    def run(self, task: Callable[[], T]) -> T:
        """Run a task, and wait for it; raise BrokenExecutor if the process died."""
        try:
            if not self._send(task):  # it died idle, however lately: that is not the task's fault
                self._process = None
                self._send(task)
            answer: tuple[T, BaseException | None] = self._tasks.recv()
        except (EOFError, OSError):
            self._process = None
            raise BrokenExecutor("the process died") from None
        value, error = answer
        if isinstance(error, KeyboardInterrupt):
            self._process = None  # it takes no other task
        if error is not None:
            raise error
        return value

    def _send(self, task: Callable[[], T]) -> bool:
        """Send the process a task, and wait until it acknowledges it; return whether it did."""
        with self._lock:
            if self._stopped:
                raise CancelledError
            if self._process is None:
                self._start()
        try:
            self._tasks.send(task)
            return bool(self._tasks.recv() == RECEIVED)
        except (EOFError, OSError):
            return False

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._tasks, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with theirs, _one_thread():
            process.start()
        self._process = process

    def stop(self, now: bool) -> None:
        """Let the process end, after its task or, interrupting that, now."""
        with self._lock:
            self._stopped = True
            if self._process is None:
                return
            if now:
                self._process.terminate()
            else:
                self._tasks.close()

    def join(self, timeout: float) -> None:
        """Wait for the process to end."""
        process = self._process
        if process is not None:
            process.join(max(timeout, 0.0))

    def kill(self) -> None:
        """End the process, if it has not ended."""
        process = self._process
        if process is not None:
            process.kill()
            process.join()


RECEIVED = "received"  # how a process acknowledges a task before it runs it
_ENVIRONMENT = threading.Lock()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes started within use one thread: a library of linear algebra reads that when it is loaded."""
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(ONE_THREAD)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _block_interrupts() -> None:
    """Leave Ctrl-C to the main thread; processes that this one starts inherit that."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def _serve(tasks: Connection) -> None:
    """Run tasks in a worker's process, until there are no more or one is interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it cannot be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError, KeyboardInterrupt):
        error: BaseException | None = None
        while not isinstance(error, KeyboardInterrupt):
            task = tasks.recv()
            tasks.send(RECEIVED)
            value, error = _execute(task)
            try:
                tasks.send((value, error))
            except (TypeError, AttributeError, PicklingError) as unsent:
                tasks.send((None, RuntimeError(f"its result cannot be sent to another process: {unsent}")))


def _execute(task: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Run a task, which SIGTERM interrupts meanwhile; return what it returned and what it raised."""
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return task(), None
    except BaseException as error:  # noqa: BLE001
        return None, error
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_parent() -> None:
    """End this process when its parent has ended: another process may be resuming the run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


# --- on a cluster --------------------------------------------------------------------------------------------------


@contextmanager
def _cluster(address: str) -> Iterator[Workers]:
    """Connect with a Dask cluster.

    Its scheduler is told not to retry a task whose worker died: it would do so more often than is promised, and
    `run_all` does it.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise ValueError(f'{address}: a cluster needs distributed: pip install "gradlab[cluster]"') from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL + 1)  # its failures are reported here, in one line
    asyncio.run(_meet_scheduler(address))
    with Client(address, timeout=CONNECT, set_as_default=False) as client:
        start_one = f"dask worker {address} --nthreads 1"
        try:
            client.wait_for_workers(1, CONNECT)
        except TimeoutError:
            raise ConnectionError(f"{address}: the cluster has no workers; start one: {start_one}") from None
        if max(client.nthreads().values(), default=1) > 1:
            raise ConnectionError(
                f"{address}: a worker has several threads, which would share the settings of linear algebra; "
                f"start it with one: {start_one}"
            )
        before = client.run_on_scheduler(_allow_failures, 0)
        try:
            executor = client.get_executor(pure=False)
            stop = partial(executor.shutdown, wait=False)
            yield Workers(executor, lambda: max(1, len(client.nthreads())), (KilledWorker,), stop, remote=True)
        except CancelledError:
            raise ConnectionError(f"{address}: the scheduler went away") from None
        finally:
            with suppress(OSError):
                client.run_on_scheduler(_allow_failures, before)


async def _meet_scheduler(address: str) -> None:
    """Raise ConnectionError unless a scheduler answers; a client would wait for ever for what answers nothing."""
    from distributed import rpc

    try:
        async with rpc(address) as scheduler:
            found = await asyncio.wait_for(scheduler.identity(), CONNECT)
    except OSError:
        found = {}
    if found.get("type") != "Scheduler":
        raise ConnectionError(f"{address}: no Dask scheduler answers there")


def _allow_failures(n: int, dask_scheduler: Any) -> int:
    """Set how many deaths of its worker a task survives on the scheduler; return what it was."""
    before: int = dask_scheduler.allowed_failures
    dask_scheduler.allowed_failures = n
    return before
