"""Many experiments on any workers: each is done once, one that fails costs no other, and one that kills is given up."""

import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.datasets import Dataset
from gradlab.files import whole_or_not_at_all
from gradlab.lab.config import Experiment
from gradlab.lab.executors import Workers
from gradlab.lab.experiment import OnEpoch
from gradlab.lab.kept import key_of, load_result
from gradlab.lab.results import Result
from gradlab.lab.runs import carry_out, work
from gradlab.lab.store import StoreError

TRIES = 2

# --- any tasks -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What became of a task: the value that it returned, or the error that it raised.

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
    """The worker of a task died, every time that it was tried."""


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
    running: dict[Future, str] = {}
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
            while waiting and len(running) < workers.at_once():
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


# --- experiments ---------------------------------------------------------------------------------------------------


@dataclass
class Findings:
    """What became of a run's experiments, by name.

    Attributes
    ----------
    results : dict of str to Result
        Also of one that was interrupted in this process, with what was recorded until then.
    failures : dict of str to exception
        Of the experiments that have no result.
    interrupted : bool
    """

    results: dict[str, Result] = field(default_factory=dict)
    failures: dict[str, BaseException] = field(default_factory=dict)
    interrupted: bool = False


def carry_out_all(
    experiments: Sequence[Experiment],
    data: Sequence[Dataset],
    folder: Path,
    workers: Workers,
    checkpoint_every: int | None = None,
    on_epoch: OnEpoch | None = None,
    on_done: Callable[[str], None] | None = None,
    threads: int | None = None,
) -> Findings:
    """Carry out what is missing of a run's experiments, on any workers, to the same numbers.

    Parameters
    ----------
    experiments : sequence of Experiment
        Their engines are settled.
    data : sequence of Dataset
        Of each; used in this process only.
    folder : Path
        The run's, which this process has opened as a `RunFolder`.
    workers : Workers
    checkpoint_every, on_epoch
        As in `runs.carry_out`; epochs are told of only in this process.
    on_done : callable, optional
        Called with the name of each experiment that has ended, or had before.
    threads : int, optional
        As in `experiment.run_experiment`; other workers than this process use one each, unless told otherwise.

    Raises
    ------
    StoreError
        If a result that is there is damaged.
    OSError
        If a result cannot be written.
    """
    found = Findings()
    every = {experiment.name: (experiment, dataset) for experiment, dataset in zip(experiments, data, strict=True)}

    def here(name: str) -> Result:
        result = carry_out(*every[name], folder, checkpoint_every, on_epoch, threads)
        if result.interrupted:
            found.results[name] = result
            raise KeyboardInterrupt
        return result

    def end(name: str, outcome: Outcome) -> None:
        error = outcome.error
        if workers.here and error is not None and not isinstance(error, OSError | StoreError | MemoryError):
            raise error  # which can only be a fault of ours
        if error is None:
            found.results[name] = outcome.value if workers.here else _fetch(every[name][0], folder, outcome.value)
        else:
            found.failures[name] = error
        if on_done is not None:
            on_done(name)

    tasks: dict[str, tuple[Any, ...]] = {}
    for name, (experiment, _) in every.items():
        asked = experiment.model_dump_json(warnings=False)
        if workers.here:
            tasks[name] = (name,)
        elif _path(experiment, folder).exists():
            end(name, Outcome((_path(experiment, folder).name, None)))
        else:
            where = () if workers.apart else (str(folder), checkpoint_every)
            tasks[name] = (asked, threads or 1, *where)
    try:
        run_all(tasks, here if workers.here else work_apart if workers.apart else work_beside, workers, end)
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def work_beside(experiment_json: str, threads: int, folder: str, checkpoint_every: int | None) -> tuple[str, None]:
    """Carry out one experiment in another process of this machine; return the name of its file."""
    return work(experiment_json, folder, checkpoint_every, threads), None


def work_apart(experiment_json: str, threads: int) -> tuple[str, bytes]:
    """Carry out one experiment where no folder is shared; return the name of its file, and what is in it."""
    with tempfile.TemporaryDirectory(prefix="gradlab-") as folder:
        name = work(experiment_json, folder, threads=threads)
        return name, (Path(folder) / "results" / name).read_bytes()


def _path(experiment: Experiment, folder: Path) -> Path:
    return folder / "results" / f"{key_of(experiment)}.safetensors"


def _fetch(experiment: Experiment, folder: Path, value: tuple[str, bytes | None]) -> Result:
    """Read the result that a worker has left or sent."""
    path, (name, content) = _path(experiment, folder), value
    if name != path.name:
        raise StoreError(path, "the worker has another version of gradlab, or another file of data, than this process")
    if content is not None:
        with whole_or_not_at_all(path) as file:
            file.write(content)
    return load_result(path, path.stem, experiment)
