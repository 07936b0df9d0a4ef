"""A run's folder: what was configured, where, every epoch's numbers, the gradient flow, the parameters, the figures.

One process at a time writes it, and whatever ends that process, another can go on: each experiment keeps a checkpoint
while it is under way and a result when it is done, and everything else is made from the results.
"""

import itertools
import json
import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gradlab.datasets import Dataset
from gradlab.files import naming, read_file, remove_leftovers, whole_or_not_at_all
from gradlab.lab.build import load_data
from gradlab.lab.config import MOST_BYTES, Config, Experiment
from gradlab.lab.engines import check, engines_of, keep, settle
from gradlab.lab.environment import environment
from gradlab.lab.experiment import OnEpoch, run_experiment
from gradlab.lab.kept import Checkpoint, key_of, load_result, save_result
from gradlab.lab.models import check_count, save_model
from gradlab.lab.results import Result, Verdict, summarize
from gradlab.lab.size import estimate
from gradlab.lab.store import StoreError, load_archive, parse, save_archive
from gradlab.training.engines.compiled import default_threads

__all__ = ["RunFolder", "carry_out", "key_of", "work"]

LOG = "metrics.jsonl"
MOST_JSON = 10**8  # bytes
MOST_LOG = 10**10


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
        If interrupted; what it needs to go on is kept.
    """
    from threadpoolctl import threadpool_limits

    experiment, path = Experiment.model_validate_json(experiment_json), Path(folder)
    parent = multiprocessing.parent_process()

    def on_epoch(*epoch: Any) -> None:
        append_epoch(path, *epoch)
        if parent is not None and not parent.is_alive():
            raise SystemExit("the process that gave this work is gone")  # and its successor may be writing here

    with threadpool_limits(1):  # products this small are slower in threads
        result = carry_out(experiment, load_data(experiment), path, checkpoint_every, on_epoch, threads)
    if result.interrupted:
        raise KeyboardInterrupt
    return f"{key_of(experiment)}.safetensors"


def carry_out(
    experiment: Experiment,
    data: Dataset,
    folder: Path,
    checkpoint_every: int | None = None,
    on_epoch: OnEpoch | None = None,
    threads: int | None = None,
) -> Result:
    """Return the result of one experiment of a run: read it, or go on from its checkpoint, or start.

    Parameters
    ----------
    experiment : Experiment
        Its engine is settled.
    data : Dataset
        From `load_data`.
    folder : Path
        The run's.
    checkpoint_every : int, optional
        After how many epochs its state is kept; by default some seconds after the last time.
    on_epoch : callable, optional
        As in `experiment.run_experiment`; also called for all epochs of a result that is there already.
    threads : int, optional
        As in `experiment.run_experiment`.

    Raises
    ------
    StoreError
        If what was kept is damaged.
    OSError
        If something cannot be written. What was kept last is still there.
    """
    key = key_of(experiment)
    path = folder / "results" / f"{key}.safetensors"
    keeper = Checkpoint(folder / "checkpoints" / f"{key}.safetensors", key, checkpoint_every)
    if path.exists():
        result = load_result(path, key, experiment)
        if on_epoch is not None:
            for epoch in _epochs(result):
                on_epoch(*epoch)
    else:
        try:
            result = run_experiment(experiment, data, on_epoch, keeper, threads)
        except ValueError as error:
            if not keeper.found or isinstance(error, StoreError):
                raise
            raise StoreError(keeper.path, str(error)) from None  # right in form, but no state that there can be
        if result.interrupted:
            return result
        save_result(path, key, result)
    keeper.path.unlink(missing_ok=True)
    return load_result(path, key, experiment)


def _epochs(result: Result) -> Iterator[tuple[Experiment, int, Sequence[int], Mapping[str, np.ndarray]]]:
    """Yield what was told of each epoch of a result as it came to be."""
    first = 0
    for history in result.history:
        seeds = result.experiment.seeds[first : first + history["train_loss"].shape[1]]
        first += len(seeds)
        for epoch in range(len(history["train_loss"])):
            yield result.experiment, epoch, seeds, {name: array[epoch] for name, array in history.items()}


def append_epoch(
    folder: Path, experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]
) -> None:
    """Append an epoch's numbers of some seeds to a run's log, in one piece, and flushed."""
    with naming(folder / LOG), open(folder / LOG, "ab") as file:
        file.write(_line(experiment, epoch, seeds, numbers))


def _line(experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]) -> bytes:
    """Write an epoch's numbers as a line of JSON, which knows no nan: null, and a word if training diverged."""
    line: dict[str, Any] = {"variant": experiment.name, "epoch": epoch, "seeds": list(seeds)}
    for name, values in numbers.items():
        line[name] = [float(v) if np.isfinite(v) else None for v in values]
    if not all(np.isfinite(values).all() for name, values in numbers.items() if name != "running_loss"):
        line["diverged"] = True
    return (json.dumps(line, allow_nan=False) + "\n").encode()


# --- the folder ----------------------------------------------------------------------------------------------------


class FolderInUseError(OSError):
    """Another process writes this folder."""


class RunFolder:
    """Writes a run's folder, alone, and goes on with one that a process left unfinished.

    Every file but the log is written under a temporary name and renamed, so it is whole or not there.

    ==================== ============================================================================================
    config.toml          the configuration, overrides and defaults filled in
    environment.json     versions, platform, BLAS, commit, seeds, engines: what the last bits depend on; threads
    metrics.jsonl        a line an epoch and group of seeds: losses and accuracies; null for what is not finite
    checkpoints/         the state of each experiment under way; empty in the end
    results/             the result of each experiment, named by what it depends on
    flow.npz             ``VARIANT/QUANTITY`` (steps, layers, seeds), ``VARIANT/step``, ``VARIANT/epoch``
    model.safetensors    ``VARIANT/PARAMETER`` (seeds, ...), ``VARIANT/data.mean``, ``VARIANT/data.scale`` (d,); in its
                         head the architectures
    boundary.npz         for two features: the median seed's probabilities on a grid
    summary.json         what ``--json`` prints
    figures/             drawn from the files above
    DONE                 empty; written last
    ==================== ============================================================================================

    Parameters
    ----------
    path : Path
        Made now, or empty, or an unfinished run of the same configuration.
    config : Config
    threads : int, optional
        On how many each experiment is trained; all cores, unless given. It is noted, and changes no number.

    Attributes
    ----------
    config : Config
        With the engine of each experiment settled.
    begun : bool
        Whether a process before this one has begun it.

    Raises
    ------
    EngineError
        If an engine is asked for, or the run was begun with one, that cannot be used here.
    FolderInUseError
        If another process has it open; it is named.
    FileExistsError
        If there is something else at `path`.
    StoreError
        If there are more networks than their file may hold.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, config: Config, threads: int | None = None):
        from filelock import FileLock, Timeout

        self.path, self._threads = path, threads
        self.config, _ = settled(path, config)
        check_count(path / "model.safetensors", config.experiments)
        path.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path / ".lock")
        try:
            with naming(path / ".lock"):
                self._lock.acquire(blocking=False)
        except Timeout:
            raise FolderInUseError(
                f"{path}: {_writer(path)} is writing there; wait for its end, or give another --out"
            ) from None
        try:
            self._prepare()
        except BaseException:
            self._lock.release()
            raise

    def _prepare(self) -> None:
        if is_taken(self.path, self.config):
            stranger = _stranger(self.path, self.config)
            changed = f"{stranger} is of another experiment: the data or config.toml have changed since it was begun"
            raise FileExistsError(
                f"{self.path}: {changed if stranger else 'the folder is not empty'}; give another --out"
            )
        if (self.path / LOG).exists() and not (self.path / LOG).is_file():
            raise FileExistsError(f"{self.path / LOG}: it is not a file")
        self._write(".writer", str(os.getpid()).encode())
        for folder in (self.path, *(self.path / name for name in ("results", "checkpoints", "figures"))):
            if folder.is_dir():
                remove_leftovers(folder)
        self.begun = (self.path / "config.toml").exists()
        if not self.begun:
            about = environment() | {"seeds": self.config.resolved["seeds"], "engine": engines_of(self.config)}
            about["threads"] = self._threads or default_threads()
            self._write("environment.json", json.dumps(about, indent=1).encode())
            self._write("config.toml", _as_toml(self.config))
        for name in ("results", "checkpoints"):
            (self.path / name).mkdir(exist_ok=True)
        with naming(self.path / LOG):
            open(self.path / LOG, "wb").close()  # what is kept of the experiments is told again

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (self.path / ".writer").unlink(missing_ok=True)
        if (self.path / "DONE").exists():
            (self.path / ".lock").unlink(missing_ok=True)  # nobody opens it again
        self._lock.release()

    def epoch(
        self, experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]
    ) -> None:
        """Append an epoch's numbers of some seeds to the log."""
        append_epoch(self.path, experiment, epoch, seeds, numbers)

    def finish(self, results: Sequence[Result], verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """Write what is known after training, and return the summary."""
        flow: dict[str, np.ndarray] = {}
        boundary: dict[str, np.ndarray] = {}
        for result in results:
            name = result.experiment.name
            flow |= {f"{name}/{quantity}": array for quantity, array in result.flow.items()}
            boundary |= {f"{name}/{key}": array for key, array in result.boundary.items()}
        save_archive(self.path / "flow.npz", flow)
        if boundary:
            save_archive(self.path / "boundary.npz", boundary)
        save_model(self.path / "model.safetensors", results)
        with whole_or_not_at_all(self.path / LOG) as file:  # in order, whichever process trained what, and when
            for result in results:
                file.writelines(_line(*epoch) for epoch in _epochs(result))
        summary = self.summary(results, verdicts)
        self._write("summary.json", json.dumps(summary, indent=1, allow_nan=False).encode())
        return summary

    def done(self) -> None:
        """Say that nothing is missing."""
        with suppress(OSError):  # where somebody else has put something
            (self.path / "checkpoints").rmdir()
        self._write("DONE", b"")

    def summary(self, results: Sequence[Result], verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """Return results and verdicts as plain numbers and texts."""
        variants = {result.experiment.name: entry(result) for result in results}
        expectations = [
            {
                "variant": v.experiment,
                "measure": v.expectation.measure,
                "statistic": v.expectation.statistic,
                "bound": v.expectation.bound,
                "measured": v.measured if np.isfinite(v.measured) else None,
                "holds": v.holds,
            }
            for v in verdicts
        ]
        return {
            "title": self.config.title,
            "run_dir": str(self.path),
            "variants": variants,
            "expectations": expectations,
        }

    def _write(self, name: str, content: bytes) -> None:
        with whole_or_not_at_all(self.path / name) as file:
            file.write(content)


def entry(result: Result) -> dict[str, Any]:
    """Return what a summary says of one experiment: its measures, and what is to be known of it."""
    return summarize(result) | {
        "variant": result.experiment.variant,
        "point": result.experiment.point,
        "activation": result.experiment.network.activation,
        "engine": result.experiment.training.engine,
        "layers": list(result.layers),
        "thinned": estimate(result.experiment).recording.thinned,
        "seeds": list(result.experiment.seeds),
        "median_seed": result.median_seed,
        "seconds": round(result.seconds, 3),
        "diverged": result.diverged,
        "interrupted": result.interrupted,
        "underflow": _underflow(result),
    }


def _as_toml(config: Config) -> bytes:
    import tomli_w

    return tomli_w.dumps(config.resolved).encode()


def _writer(path: Path) -> str:
    """Name the process that says it is writing a folder."""
    try:
        with open(path / ".writer", "rb") as file:
            number = file.read(20)
    except OSError:
        number = b""
    return f"process {int(number)}" if number.isdigit() else "another process"


def is_taken(path: Path, config: Config) -> bool:
    """Whether there is anything at a path but an unfinished run of this configuration, or an empty folder."""
    if not path.exists():
        return False
    if not path.is_dir():
        return True
    if (path / "config.toml").exists():
        return not _can_go_on(path, config)
    return any(not file.name.startswith(".") and file.name != "environment.json" for file in path.iterdir())


def _can_go_on(path: Path, config: Config) -> bool:
    """Whether a folder is an unfinished run of this configuration, by this version."""
    if not (path / "config.toml").exists() or (path / "DONE").exists():
        return False
    if read_file(path / "config.toml", MOST_BYTES) != _as_toml(config):
        return False
    return not other_version(path) and not _stranger(path, as_begun(path, config))


def settled(path: Path, config: Config) -> tuple[Config, list[str]]:
    """Settle the engine of each experiment, as the run in a folder was begun, if one was; see `engines.settle`.

    Raises
    ------
    EngineError
        If one is asked for, or the run was begun with one, that cannot be used here.
    """
    if not _can_go_on(path, config):
        return settle(config)
    config = as_begun(path, config)
    check(config)
    return config, []


def as_begun(path: Path, config: Config) -> Config:
    """Give each experiment of a run the engine that it was begun with; StoreError if that is not to be found."""
    file = path / "environment.json"
    try:
        return keep(config, read_json(file).get("engine"))
    except ValueError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(file, str(error)) from None


def _stranger(path: Path, config: Config) -> str:
    """Name something in a folder that was kept of an experiment that its configuration has not; else nothing."""
    keys = {key_of(experiment) for experiment in config.experiments}
    kept = sorted(path.glob("results/*.safetensors")) + sorted(path.glob("checkpoints/*.safetensors"))
    return next((str(file.relative_to(path)) for file in kept if file.stem not in keys), "")


def other_version(path: Path) -> str:
    """Say by which version a run was begun, if that is not one whose runs this one can go on with; else nothing."""
    here, begun = environment(brief=True), read_json(path / "environment.json")
    versions = [(e.get("format"), ".".join(str(e.get("gradlab")).split(".")[:2])) for e in (here, begun)]
    if versions[0] == versions[1]:
        return ""
    now, then = (f"gradlab {version}, format {number}" for number, version in versions)
    return f"it was begun by {then}; this is {now}, which cannot go on with it"


def unfinished(stem: str, config: Config, parent: Path = Path("runs")) -> Path | None:
    """Return the newest of ``runs/STEM``, ``runs/STEM-2``, … if it is an unfinished run of this configuration that no
    process is writing."""
    from filelock import FileLock, Timeout

    newest = None
    for path in _folders(stem, parent):
        if not path.exists():
            break
        newest = path
    try:
        if newest is None or not (newest / "config.toml").exists() or not _can_go_on(newest, config):
            return None
        with FileLock(newest / ".lock").acquire(blocking=False):
            return newest
    except (Timeout, OSError, StoreError):
        return None


def free_folder(stem: str, parent: Path = Path("runs")) -> Path:
    """Return ``runs/STEM``, or the first of ``runs/STEM-2``, ``runs/STEM-3``, … that does not exist."""
    return next(path for path in _folders(stem, parent) if not path.exists())


def _folders(stem: str, parent: Path) -> Iterator[Path]:
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
    yield parent / stem
    yield from (parent / f"{stem}-{number}" for number in itertools.count(2))


def _underflow(result: Result) -> float:
    """Return the largest share, over layers, steps and seeds, of gradient entries that are subnormal.

    Zeros are no sign of underflow by themselves: a dead unit has them too.
    """
    return float(np.nanmax(result.flow["subnormal_share"], initial=0.0)) if result.flow else 0.0


# --- reading -------------------------------------------------------------------------------------------------------


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise StoreError if it is none."""
    try:
        found = parse(path, read_file(path, MOST_JSON))
    except OSError as error:
        raise StoreError(path, error.strerror or str(error)) from None
    if not isinstance(found, dict):
        raise StoreError(path, "it is not a JSON object")
    return found


def read_summary(path: Path) -> dict[str, Any]:
    """Read what a run found."""
    return read_json(path / "summary.json")


def read_arrays(path: Path, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Read ``flow.npz`` or ``boundary.npz`` by variant; empty if the run has none."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    if (path / name).exists():
        for key, array in load_archive(path / name).items():
            variant, _, quantity = key.rpartition("/")
            arrays.setdefault(variant, {})[quantity] = array
    return arrays


def read_history(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the log: for each variant, each metric (epochs, seeds) from before training on; nan where there is none.

    The epoch in which training diverged has no numbers, and is left out.
    """
    lines: dict[str, list[dict[str, Any]]] = {}
    for text in read_file(path / LOG, MOST_LOG).decode("utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # a last line that was cut off
        if not line.pop("diverged", False) or line["train_loss"] != [None] * len(line["seeds"]):
            lines.setdefault(line["variant"], []).append(line)
    histories = {}
    for variant, own in lines.items():
        seeds = list(dict.fromkeys(seed for line in own for seed in line["seeds"]))
        names = [name for name in own[0] if name not in ("variant", "epoch", "seeds")]
        shape = (1 + max(line["epoch"] for line in own), len(seeds))
        history = {name: np.full(shape, np.nan) for name in names}
        for line in own:
            columns = [seeds.index(seed) for seed in line["seeds"]]
            for name in names:
                history[name][line["epoch"], columns] = np.array(line[name], dtype=float)
        histories[variant] = history
    return histories
