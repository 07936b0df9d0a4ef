"""A run's log, ``metrics.jsonl``: one line per epoch and group of seeds, appended as it ends, read for the curves."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradlab.files import naming, read_file
from gradlab.lab.results import Result
from gradlab.lab.schema import Experiment

LOG = "metrics.jsonl"
MAX_LOG = 10**10  # bytes


def append_epoch(
    folder: Path, experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]
) -> None:
    """Append an epoch's numbers of some seeds to a run's log, as one write, and flush it."""
    with naming(folder / LOG), open(folder / LOG, "ab") as file:
        file.write(line_of(experiment, epoch, seeds, numbers))


def line_of(experiment: Experiment, epoch: int, seeds: Sequence[int], numbers: Mapping[str, np.ndarray]) -> bytes:
    """Return an epoch's numbers as a line of JSON: null for nan, and a flag if training diverged."""
    line: dict[str, Any] = {"variant": experiment.name, "epoch": epoch, "seeds": list(seeds)}
    for name, values in numbers.items():
        line[name] = [float(v) if np.isfinite(v) else None for v in values]
    if not all(np.isfinite(values).all() for name, values in numbers.items() if name != "running_loss"):
        line["diverged"] = True
    return (json.dumps(line, allow_nan=False) + "\n").encode()


def epochs_of(result: Result) -> Iterator[tuple[Experiment, int, Sequence[int], Mapping[str, np.ndarray]]]:
    """Yield of each epoch of a result what was reported when it ended."""
    first = 0
    for history in result.history:
        seeds = result.experiment.seeds[first : first + history["train_loss"].shape[1]]
        first += len(seeds)
        for epoch in range(len(history["train_loss"])):
            yield result.experiment, epoch, seeds, {name: array[epoch] for name, array in history.items()}


def read_history(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read the log: for each variant, each metric (epochs, seeds) from before training on; nan where there is none.

    The epoch in which training diverged has no numbers, and is left out.
    """
    lines: dict[str, list[dict[str, Any]]] = {}
    for text in read_file(path / LOG, MAX_LOG).decode("utf-8").splitlines():
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
