"""A run's folder: what was configured, every epoch's numbers, the gradient flow, the parameters, the figures."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from gradlab.files import whole_or_not_at_all
from gradlab.lab.config import Config, Experiment
from gradlab.lab.experiment import Result, Verdict, summarize

FORMAT = "1"  # of the folder; raised when a reader of the old one could not read the new


class RunFolder:
    """Writes a run's folder.

    Every file but the log is written under a temporary name and renamed, so it is whole or not there.

    ==================== ============================================================================================
    config.toml          the configuration, overrides and defaults filled in
    metrics.jsonl        a line an epoch and group of seeds: losses and accuracies; null for what is not finite
    flow.npz             ``VARIANT/QUANTITY`` (steps, layers, seeds), ``VARIANT/step``, ``VARIANT/epoch``
    model.safetensors    ``VARIANT/PARAMETER`` (seeds, ...), and the data's mean and scale
    boundary.npz         for two features: the median seed's probabilities on a grid
    summary.json         what ``--json`` prints
    figures/             drawn from the files above
    ==================== ============================================================================================

    Parameters
    ----------
    path : Path
        Made now; it must not exist, or be empty.
    config : Config

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, config: Config):
        self.path, self.config = path, config
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise FileExistsError(f"{path}: the folder is not empty; give another --out")
        import tomli_w

        self._write("config.toml", lambda file: file.write(tomli_w.dumps(config.resolved).encode()))
        self._log: IO[str] = open(path / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def epoch(
        self, experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]
    ) -> None:
        """Append an epoch's numbers of some seeds to the log."""
        line: dict[str, Any] = {"variant": experiment.name, "epoch": epoch, "seeds": list(seeds)}
        for name, values in numbers.items():
            line[name] = [float(v) if np.isfinite(v) else None for v in values]
        self._log.write(json.dumps(line, allow_nan=False) + "\n")
        self._log.flush()

    def finish(self, results: Sequence[Result], verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """Write what is known after training, and return the summary."""
        from safetensors.numpy import save

        flow: dict[str, np.ndarray] = {}
        tensors: dict[str, np.ndarray] = {}
        boundary: dict[str, np.ndarray] = {}
        for result in results:
            name = result.experiment.name
            flow |= {f"{name}/{quantity}": array for quantity, array in result.flow.items()}
            tensors |= {f"{name}/{p}": np.ascontiguousarray(array) for p, array in result.tensors.items()}
            boundary |= {f"{name}/{key}": array for key, array in result.boundary.items()}
        self._write("flow.npz", lambda file: np.savez(file, allow_pickle=False, **flow))
        header = {"gradlab": json.dumps({"format": FORMAT, "seeds": self.config.resolved["seeds"]})}
        self._write("model.safetensors", lambda file: file.write(save(tensors, header)))
        if boundary:
            self._write("boundary.npz", lambda file: np.savez(file, allow_pickle=False, **boundary))
        summary = self.summary(results, verdicts)
        text = json.dumps(summary, indent=1, allow_nan=False)
        self._write("summary.json", lambda file: file.write(text.encode()))
        return summary

    def summary(self, results: Sequence[Result], verdicts: Sequence[Verdict]) -> dict[str, Any]:
        """Return results and verdicts as plain numbers and texts."""
        variants = {
            r.experiment.name: summarize(r)
            | {
                "variant": r.experiment.variant,
                "point": r.experiment.point,
                "activation": r.experiment.network.activation,
                "layers": list(r.layers),
                "seeds": list(r.experiment.seeds),
                "median_seed": r.median_seed,
                "seconds": round(r.seconds, 3),
                "diverged": r.diverged,
                "interrupted": r.interrupted,
                "underflow": _underflow(r),
            }
            for r in results
        }
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

    def _write(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        with whole_or_not_at_all(self.path / name) as file:
            write(file)


def _underflow(result: Result) -> float:
    """Return the largest share, over layers, steps and seeds, of gradient entries that are subnormal.

    Zeros are no sign of underflow by themselves: a dead unit has them too.
    """
    return float(np.nanmax(result.flow["subnormal_share"], initial=0.0)) if result.flow else 0.0


def free_folder(stem: str, parent: Path = Path("runs")) -> Path:
    """Return ``runs/STEM``, or the first of ``runs/STEM-2``, ``runs/STEM-3``, … that does not exist."""
    stem = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "run"
    path, number = parent / stem, 1
    while path.exists():
        number += 1
        path = parent / f"{stem}-{number}"
    return path


# --- reading -------------------------------------------------------------------------------------------------------


def read_summary(path: Path) -> dict[str, Any]:
    """Read what a run found."""
    return json.loads((path / "summary.json").read_text("utf-8"))


def read_arrays(path: Path, name: str) -> dict[str, dict[str, np.ndarray]]:
    """Read ``flow.npz`` or ``boundary.npz`` by variant; empty if the run has none. Nothing in it can run."""
    arrays: dict[str, dict[str, np.ndarray]] = {}
    if (path / name).exists():
        with np.load(path / name, allow_pickle=False) as file:
            for key in file.files:
                variant, _, quantity = key.rpartition("/")
                arrays.setdefault(variant, {})[quantity] = file[key]
    return arrays


def read_history(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the log: for each variant, each metric (epochs, seeds) from before training on; nan where there is none."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for text in (path / "metrics.jsonl").read_text("utf-8").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue  # a last line that was cut off
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
