"""Any tasks on any workers: each is done once, one that fails stops no other, one that kills its worker is given up."""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

from gradlab.lab.executors import Workers

TRIES = 2


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with the value that it returned, or the error that it raised.

    Attributes
    ----------
    value : object
    error : exception, optional
        `WorkerDiedError` if it was given up.
    tries : int
    """

    value: Any = None
    error: BaseException | None = None
    tries: int = 1


class WorkerDiedError(RuntimeError):
    """The worker of a task died each time that it was tried."""


def run_all(
    tasks: Mapping[str, Sequence[Any]],
    work: Callable[..., Any],
    workers: Workers,
    on_done: Callable[[str, Outcome], None] | None = None,
) -> dict[str, Outcome]:
    """Run every task, and wait for all.

    A task is tried again if the worker that had it died: once, when all others are done, and alone. So nothing but
    the task itself can be the cause when its worker dies again.

    Parameters
    ----------
    tasks : mapping of str to sequence
        The arguments of `work` for each task: plain data, so that they can go to another process.
    work : callable
        A function that a worker can import.
    workers : Workers
    on_done : callable, optional
        Called here with a task's key and outcome, as each ends.

    Returns
    -------
    dict of str to Outcome
        In the order of `tasks`.
    """
    outcomes: dict[str, Outcome] = {}
    tries: Counter[str] = Counter()
    running: dict[Future[Any], str] = {}
    waiting, suspects = deque(tasks), deque[str]()

    def submit(key: str) -> None:
        tries[key] += 1
        running[workers.executor.submit(work, *tasks[key])] = key

    def end(key: str, outcome: Outcome) -> None:
        outcomes[key] = outcome
        if on_done is not None:
            on_done(key, outcome)

    try:
        while waiting or suspects or running:
            while waiting and len(running) < workers.capacity():
                submit(waiting.popleft())
            if not running:
                submit(suspects.popleft())
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                error = future.exception()
                if error is None:
                    end(key, Outcome(future.result(), None, tries[key]))
                elif not isinstance(error, workers.deaths):
                    end(key, Outcome(None, error, tries[key]))
                elif tries[key] < TRIES:
                    suspects.append(key)
                else:
                    died = WorkerDiedError(f"its worker died each of {TRIES} times that it was tried")
                    end(key, Outcome(None, died, TRIES))
    except BaseException:
        workers.stop()
        raise
    return {key: outcomes[key] for key in tasks}
