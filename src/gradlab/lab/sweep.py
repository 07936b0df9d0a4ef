"""A run's experiments, on any workers: each is read if it is done, or resumed from its checkpoint, or started."""

import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradlab.datasets import Dataset
from gradlab.files import whole_or_not_at_all
from gradlab.lab.build import load_data
from gradlab.lab.checkpoints import CheckpointFile, load_result, result_path, save_result
from gradlab.lab.executors import Workers
from gradlab.lab.experiment import OnEpoch, run_experiment
from gradlab.lab.log import append_epoch, epochs_of
from gradlab.lab.results import Result
from gradlab.lab.schema import Experiment
from gradlab.lab.store import StoreError
from gradlab.lab.tasks import Outcome, run_all

# --- one experiment ------------------------------------------------------------------------------------------------


def work(experiment_json: str, folder: str, checkpoint_every: int | None = None, threads: int | None = 1) -> str:
    """Carry out one experiment of a run, in whatever process this is; its epochs are appended to the run's log.

    Parameters
    ----------
    experiment_json : str
        From ``experiment.model_dump_json()``; its engine is settled.
    folder : str
        The run's, which some process has opened as a `RunFolder`.
    checkpoint_every, threads : int, optional
        As in `carry_out`; one thread, unless told otherwise, since there are other workers.

    Returns
    -------
    str
        The name of the result's file in ``results/``.

    Raises
    ------
    KeyboardInterrupt
        If interrupted; its checkpoint is saved.
    """
    from threadpoolctl import threadpool_limits

    experiment, path = Experiment.model_validate_json(experiment_json), Path(folder)
    parent = multiprocessing.parent_process()

    def on_epoch(*epoch: Any) -> None:
        append_epoch(path, *epoch)
        if parent is not None and not parent.is_alive():
            raise SystemExit("the parent process has ended")  # and another may be resuming the run in this folder

    with threadpool_limits(1):  # products this small are slower in threads
        result = carry_out(experiment, load_data(experiment), path, checkpoint_every, on_epoch, threads)
    if result.interrupted:
        raise KeyboardInterrupt
    return result_path(path, experiment).name


def carry_out(
    experiment: Experiment,
    data: Dataset,
    folder: Path,
    checkpoint_every: int | None = None,
    on_epoch: OnEpoch | None = None,
    threads: int | None = None,
) -> Result:
    """Return the result of one experiment of a run: read it, or resume from its checkpoint, or start.

    Parameters
    ----------
    experiment : Experiment
        Its engine is settled.
    data : Dataset
        From `load_data`.
    folder : Path
        The run's.
    checkpoint_every : int, optional
        After how many epochs a checkpoint is saved; by default some seconds after the last.
    on_epoch : callable, optional
        As in `experiment.run_experiment`; also called for all epochs of a result that is there already.
    threads : int, optional
        As in `experiment.run_experiment`.

    Raises
    ------
    StoreError
        If the result or the checkpoint is damaged.
    OSError
        If something cannot be written. The last checkpoint is still there.
    """
    path = result_path(folder, experiment)
    key = path.stem
    checkpointer = CheckpointFile(folder / "checkpoints" / path.name, key, checkpoint_every)
    if path.exists():
        result = load_result(path, key, experiment)
        if on_epoch is not None:
            for epoch in epochs_of(result):
                on_epoch(*epoch)
    else:
        try:
            result = run_experiment(experiment, data, on_epoch, checkpointer, threads)
        except ValueError as error:
            if not checkpointer.found or isinstance(error, StoreError):
                raise
            raise StoreError(checkpointer.path, str(error)) from None  # well formed, but no state of this training
        if result.interrupted:
            return result
        save_result(path, key, result)
    checkpointer.path.unlink(missing_ok=True)
    return load_result(path, key, experiment)


# --- all of a run --------------------------------------------------------------------------------------------------


@dataclass
class SweepResults:
    """How a run's experiments ended, by name.

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
) -> SweepResults:
    """Carry out what is missing of a run's experiments; on any workers the numbers are bitwise identical.

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
        As in `carry_out`; epochs are reported only in this process.
    on_done : callable, optional
        Called with the name of each experiment that has ended, or had before.
    threads : int, optional
        As in `experiment.run_experiment`; other workers than this process use one each, unless told otherwise.

    Raises
    ------
    StoreError
        If the file of a result is damaged.
    OSError
        If a result cannot be written.
    """
    found = SweepResults()
    every = {experiment.name: (experiment, dataset) for experiment, dataset in zip(experiments, data, strict=True)}

    def carry_out_here(name: str) -> Result:
        result = carry_out(*every[name], folder, checkpoint_every, on_epoch, threads)
        if result.interrupted:
            found.results[name] = result
            raise KeyboardInterrupt
        return result

    def end(name: str, outcome: Outcome) -> None:
        error = outcome.error
        if workers.in_this_process and error is not None and not isinstance(error, OSError | StoreError | MemoryError):
            raise error  # a bug of gradlab
        if error is None:
            value = outcome.value
            found.results[name] = value if workers.in_this_process else _fetch(every[name][0], folder, value)
        else:
            found.failures[name] = error
        if on_done is not None:
            on_done(name)

    do = carry_out_here if workers.in_this_process else work_remotely if workers.remote else work_locally
    tasks: dict[str, tuple[Any, ...]] = {}
    for name, (experiment, _) in every.items():
        asked = experiment.model_dump_json(warnings=False)
        if workers.in_this_process:
            tasks[name] = (name,)
        elif result_path(folder, experiment).exists():
            end(name, Outcome((result_path(folder, experiment).name, None)))
        else:
            where = () if workers.remote else (str(folder), checkpoint_every)
            tasks[name] = (asked, threads or 1, *where)
    try:
        run_all(tasks, do, workers, end)
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def work_locally(experiment_json: str, threads: int, folder: str, checkpoint_every: int | None) -> tuple[str, None]:
    """Carry out one experiment in another process of this machine; return the name of its file."""
    return work(experiment_json, folder, checkpoint_every, threads), None


def work_remotely(experiment_json: str, threads: int) -> tuple[str, bytes]:
    """Carry out one experiment where no folder is shared; return the name of its file, and what is in it."""
    with tempfile.TemporaryDirectory(prefix="gradlab-") as folder:
        name = work(experiment_json, folder, threads=threads)
        return name, (Path(folder) / "results" / name).read_bytes()


def _fetch(experiment: Experiment, folder: Path, value: tuple[str, bytes | None]) -> Result:
    """Read the result that a worker has left or sent."""
    path, (name, content) = result_path(folder, experiment), value
    if name != path.name:
        raise StoreError(path, "the worker has another version of gradlab, or another file of data, than this process")
    if content is not None:
        with whole_or_not_at_all(path) as file:
            file.write(content)
    return load_result(path, path.stem, experiment)
