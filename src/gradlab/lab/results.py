"""What an experiment gave: what was recorded of all seeds, and whether it bears out the claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from gradlab.datasets import Dataset
from gradlab.flow.probes import Weights
from gradlab.flow.statistics import mean_interval
from gradlab.lab.build import blank_network, fill
from gradlab.lab.names import MEASURES
from gradlab.lab.recording import flow_names
from gradlab.lab.schema import Expectation, Experiment
from gradlab.nn.network import Network

GRID = 150  # points along each side of the plane on which a decision boundary is drawn
UNBOUNDED = {m for m in MEASURES if "loss" in m or "gradient" in m}
HISTORY = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "running_loss")


@dataclass
class Result:
    """What one experiment gave; the last axis of every array is the seeds.

    Attributes
    ----------
    experiment : Experiment
    features, classes : tuple of str
        What the data's columns are called, and their classes.
    mean, scale : ndarray (d,)
        What the columns were standardised by.
    layers : tuple of str
        The weight matrices whose gradient was recorded.
    flow : dict of ndarray
        ``step`` and ``epoch`` (steps,), and quantities (steps, layers, seeds).
    final : dict of ndarray (seeds,)
        The measures of `MEASURES`, at the end; nan for seeds that were not trained to their end.
    tensors : dict of ndarray (seeds, ...)
        Parameters and running statistics, by name; nan for seeds that were not begun.
    boundary : dict of ndarray
        For data with two features: the axes ``x1`` and ``x2`` (GRID,) and the ``probability`` (GRID, GRID) that the
        median seed's network gives, in the data's own units, the ``names`` of the features and of the ``classes``, and
        the test part's ``points`` and ``labels``.
    median_seed : int
        The seed whose test accuracy is the median of all.
    history : list of dict of ndarray
        For each group of seeds that were trained side by side, in their order: the numbers `HISTORY` (epochs, seeds),
        first those before training.
    seconds : float
    diverged : str
        The message of the `DivergenceError`, else empty.
    interrupted : bool
        Whether the training was interrupted from the keyboard.
    """

    experiment: Experiment
    features: tuple[str, ...]
    classes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    layers: tuple[str, ...] = ()
    flow: dict[str, np.ndarray] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    boundary: dict[str, np.ndarray] = field(default_factory=dict)
    median_seed: int = -1
    history: list[dict[str, np.ndarray]] = field(default_factory=list)
    seconds: float = 0.0
    diverged: str = ""
    interrupted: bool = False


@dataclass
class GroupResult:
    """What a group of seeds gave that were trained side by side: not their network, whose tape is far larger."""

    tensors: dict[str, np.ndarray]
    flow: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    history: dict[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything by name."""
        return {f"{kind}/{name}": array for kind, arrays in vars(self).items() for name, array in arrays.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "GroupResult":
        """Restore what `arrays` returned."""
        return cls(*(under(field.name, arrays) for field in fields(cls)))


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is named ``PREFIX/…``, by the rest of the name."""
    return {name.removeprefix(f"{prefix}/"): array for name, array in arrays.items() if name.startswith(f"{prefix}/")}


def gather(result: Result, data: Dataset, groups: Sequence[GroupResult]) -> None:
    """Join the results of all groups, in the order of the seeds; nan stands for what a seed has not."""
    seeds = result.experiment.seeds
    result.history = [group.history for group in groups if group.history]
    result.layers = Weights(blank_network(result.experiment.network, data.x_train.shape[1])).names
    longest = max((group.flow for group in groups), key=lambda flow: len(flow.get("step", ())))
    if longest:
        result.flow = {name: longest[name] for name in ("step", "epoch")}
        for name in flow_names(result.experiment):
            result.flow[name] = _side_by_side([group.flow[name] for group in groups if group.flow], len(seeds))
    for measure in MEASURES:
        values = [group.numbers[measure] for group in groups if measure in group.numbers]
        result.final[measure] = _pad(np.concatenate(values) if values else np.empty(0), len(seeds))
    for name in groups[0].tensors:
        result.tensors[name] = _pad(np.concatenate([group.tensors[name] for group in groups]), len(seeds))
    if result.diverged or result.interrupted:
        return
    accuracy = result.final["test_accuracy"]
    middle = int(np.argsort(accuracy, kind="stable")[(len(accuracy) - 1) // 2])
    result.median_seed = seeds[middle]
    if data.x_train.shape[1] == 2:
        network = fill(blank_network(result.experiment.network, 2), result.tensors, middle)
        result.boundary = _boundary(network, data)


def _pad(values: np.ndarray, n_seeds: int) -> np.ndarray:
    """Append nan for the seeds that are missing at the end of (seeds, ...)."""
    missing = np.full((n_seeds - len(values), *values.shape[1:]), np.nan, values.dtype)
    return np.concatenate([values, missing])


def _side_by_side(tables: Sequence[np.ndarray], n_seeds: int) -> np.ndarray:
    """Join (steps, layers, seeds) along the seeds; nan stands for steps and seeds that were not recorded."""
    joined = np.full((max(map(len, tables)), tables[0].shape[1], n_seeds), np.nan)
    start = 0
    for table in tables:
        joined[: len(table), :, start : start + table.shape[2]] = table
        start += table.shape[2]
    return joined


def _boundary(network: Network, data: Dataset) -> dict[str, np.ndarray]:
    """Compute the probabilities that a network of two features gives on a grid around the data."""
    points = data.x_test * data.scale + data.mean
    every = np.concatenate([points, data.x_train * data.scale + data.mean])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.1 * (high - low)
    x1, x2 = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID) for i in (0, 1))
    plane = np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)
    probability = network.predict_proba((plane - data.mean) / data.scale).reshape(GRID, GRID)
    return {
        "x1": x1,
        "x2": x2,
        "probability": probability,
        "points": points,
        "labels": data.y_test,
        "names": np.array(data.feature_names),
        "classes": np.array(data.classes),
    }


@dataclass(frozen=True)
class Verdict:
    """A claim, what was measured, and whether the claim holds."""

    expectation: Expectation
    experiment: str
    measured: float

    @property
    def holds(self) -> bool:
        """Whether the measured number is within the bounds."""
        return self.expectation.holds(self.measured)


def judge(expectation: Expectation, result: Result) -> Verdict:
    """Hold a claim against the result that it is about."""
    values = result.final[expectation.measure]
    return Verdict(expectation, result.experiment.name, float(getattr(np, expectation.statistic)(values)))


def summarize(result: Result) -> dict[str, Any]:
    """Return each measure's mean, 95 % interval, median and values, as plain numbers; None for what is not finite.

    An interval ends where the measure does: no accuracy is above 1, and no measure below 0.
    """
    summary: dict[str, Any] = {}
    for measure, values in result.final.items():
        interval = mean_interval(values)
        most = np.inf if measure in UNBOUNDED else 1.0  # and nothing measured here is below 0
        summary[measure] = {
            "mean": _plain(interval.mean),
            "low": _plain(max(interval.low, 0.0)),
            "high": _plain(min(interval.high, most)),
            "median": _plain(float(np.median(values))),
            "values": [_plain(float(value)) for value in values],
        }
    return summary


def _plain(value: float) -> float | None:
    """Return a float that JSON can hold."""
    return value if np.isfinite(value) else None
