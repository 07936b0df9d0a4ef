"""A run's folder: what was configured, where, every epoch's numbers, the gradient flow, the parameters, the figures.

One process at a time writes it, and whatever ends that process, another can resume the run: each experiment has a
checkpoint while it is trained and a result when it is finished, and everything else is made from the results.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from gradlab.files import naming, remove_leftovers, whole_or_not_at_all
from gradlab.lab.engines import engines_of
from gradlab.lab.environment import environment
from gradlab.lab.examine import examine
from gradlab.lab.log import LOG, append_epoch, epochs_of, line_of
from gradlab.lab.models import check_count, save_model
from gradlab.lab.results import Result, Verdict, summarize
from gradlab.lab.schema import Config, Experiment
from gradlab.lab.size import estimate
from gradlab.lab.store import load_archive, read_object, save_archive
from gradlab.training.engines.compiled import default_threads


class FolderInUseError(OSError):
    """Another process writes this folder."""


class RunFolder:
    """Writes a run's folder, under its lock, and resumes a run that is unfinished.

    Every file but the log is written under a temporary name and renamed, so it is complete or not there.

    ==================== ============================================================================================
    config.toml          the configuration, overrides and defaults filled in
    environment.json     versions, platform, BLAS, commit, seeds, engines: what the last bits depend on; threads
    metrics.jsonl        one line per epoch and group of seeds: losses and accuracies; null for what is not finite
    checkpoints/         the checkpoint of each experiment that is being trained; empty in the end
    results/             the result of each experiment, named by its key
    flow.npz             ``VARIANT/QUANTITY`` (steps, layers, seeds), ``VARIANT/step``, ``VARIANT/epoch``
    model.safetensors    ``VARIANT/PARAMETER`` (seeds, ...), ``VARIANT/data.mean``, ``VARIANT/data.scale`` (d,); in its
                         header the architectures
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
        With the engine of each experiment settled, as `FolderState.settled` does.
    threads : int, optional
        On how many each experiment is trained; all cores, unless given. It is recorded, and changes no number.

    Attributes
    ----------
    config : Config
    begun : bool
        Whether a process before this one has begun it.

    Raises
    ------
    FolderInUseError
        If another process has it open; it is named.
    FileExistsError
        If there is something else in it.
    StoreError
        If there are more networks than their file may hold.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, config: Config, threads: int | None = None):
        from filelock import FileLock, Timeout

        self.path, self.config, self._threads = path, config, threads
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
        state = examine(self.path)  # again, now that nobody else can change it
        if obstacle := state.obstacle(self.config):
            raise FileExistsError(f"{self.path}: {obstacle}; give another --out")
        if (self.path / LOG).exists() and not (self.path / LOG).is_file():
            raise FileExistsError(f"{self.path / LOG}: it is not a file")
        self._write(".writer", str(os.getpid()).encode())
        for folder in (self.path, *(self.path / name for name in ("results", "checkpoints", "figures"))):
            if folder.is_dir():
                remove_leftovers(folder)
        self.begun = state.is_run
        if not self.begun:
            about = environment() | {"seeds": self.config.resolved["seeds"], "engine": engines_of(self.config)}
            about["threads"] = self._threads or default_threads()
            self._write("environment.json", json.dumps(about, indent=1).encode())
            self._write("config.toml", self.config.as_toml())
        for name in ("results", "checkpoints"):
            (self.path / name).mkdir(exist_ok=True)
        with naming(self.path / LOG):
            open(self.path / LOG, "wb").close()  # the epochs of results and checkpoints are reported again

    def __enter__(self) -> Self:
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
        """Write the files that are made from the results, and return the summary."""
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
                file.writelines(line_of(*epoch) for epoch in epochs_of(result))
        summary = self.summary(results, verdicts)
        self._write("summary.json", json.dumps(summary, indent=1, allow_nan=False).encode())
        return summary

    def done(self) -> None:
        """Mark the run as finished."""
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
    """Return the summary's entry of one experiment: its measures, and what else describes it."""
    return summarize(result) | {
        "variant": result.experiment.variant,
        "point": result.experiment.point,
        "activation": result.experiment.network.activation,
        "engine": result.experiment.training.engine,
        "layers": list(result.layers),
        "thinned": estimate(result.experiment).recorded_steps.thinned,
        "seeds": list(result.experiment.seeds),
        "median_seed": result.median_seed,
        "seconds": round(result.seconds, 3),
        "diverged": result.diverged,
        "interrupted": result.interrupted,
        "underflow": _underflow(result),
    }


def _writer(path: Path) -> str:
    """Name the process that holds the lock of a folder."""
    try:
        with open(path / ".writer", "rb") as file:
            number = file.read(20)
    except OSError:
        number = b""
    return f"process {int(number)}" if number.isdigit() else "another process"


def _underflow(result: Result) -> float:
    """Return the largest share, over layers, steps and seeds, of gradient entries that are subnormal.

    Zeros are no sign of underflow by themselves: a dead unit has them too.
    """
    return float(np.nanmax(result.flow["subnormal_share"], initial=0.0)) if result.flow else 0.0


def read_summary(path: Path) -> dict[str, Any]:
    """Read what a run found."""
    return read_object(path / "summary.json")


def read_arrays(path: Path, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Read ``flow.npz`` or ``boundary.npz`` by variant; empty if the run has none."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    if (path / name).exists():
        for key, array in load_archive(path / name).items():
            variant, _, quantity = key.rpartition("/")
            arrays.setdefault(variant, {})[quantity] = array
    return arrays
