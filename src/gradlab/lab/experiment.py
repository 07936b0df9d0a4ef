"""One experiment: its data, the replicas of one variant trained on them, and what was recorded."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlab.datasets import Dataset, load, shape
from gradlab.flow.probes import FlowRecorder
from gradlab.flow.statistics import mean_interval
from gradlab.lab.config import Expectation, Experiment, NetworkConfig, TrainingConfig
from gradlab.nn import schedules
from gradlab.nn.architectures import mlp
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SquaredError
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.nn.optimizers import OPTIMIZERS, AdamW, Optimizer
from gradlab.nn.stopping import early_stopping
from gradlab.nn.training import DivergenceError, Step, train

CACHE = 1_000_000  # bytes of one batch's arrays, over all replicas trained together, that stay close to the processor
GRID = 150  # points along each side of the plane on which a decision boundary is drawn
HISTORY = ("running_loss", "train_loss", "train_accuracy", "test_loss", "test_accuracy")

OnEpoch = Callable[[Experiment, int, Sequence[int], Mapping[str, np.ndarray]], None]


@dataclass
class Result:
    """What one experiment gave; the last axis of every array is the seeds.

    Attributes
    ----------
    experiment : Experiment
    layers : tuple of str
        The weight matrices whose gradient was recorded.
    flow : dict of ndarray
        ``step`` and ``epoch`` (steps,), and quantities (steps, layers, seeds).
    final : dict of ndarray (seeds,)
        The measures of `MEASURES`, at the end; nan where training diverged.
    tensors : dict of ndarray (seeds, ...)
        Parameters and running statistics, by name.
    boundary : dict of ndarray
        For data with two features: the axes ``x1`` and ``x2`` (GRID,) and the ``probability`` (GRID, GRID) that the
        median seed's network gives, in the data's own units, the features' ``names``, and the test part's ``points``
        and ``labels``.
    median_seed : int
        The seed whose test accuracy is the median of all.
    seconds : float
    diverged : str
        What `DivergenceError` said, else empty.
    """

    experiment: Experiment
    layers: tuple[str, ...] = ()
    flow: dict[str, np.ndarray] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    boundary: dict[str, np.ndarray] = field(default_factory=dict)
    median_seed: int = -1
    seconds: float = 0.0
    diverged: str = ""


# --- from names to objects -----------------------------------------------------------------------------------------


def build_network(network: NetworkConfig, data: Dataset, seed: int | Sequence[int]) -> Network:
    """Make the configured network for some data, its parameters drawn with one seed or with several."""
    layers = mlp(
        [data.x_train.shape[1], *network.widths, 1],
        network.activation,
        network.weight_init,
        gain=network.gain,
        dropout=network.dropout,
        batch_norm=network.batch_norm,
        residual=network.residual,
    )
    return Network(layers, seed=seed, dtype=network.dtype)


def build_loss(training: TrainingConfig) -> Loss:
    """Make the configured loss; the squared error is that of the sigmoid's output."""
    return BinaryCrossEntropy() if training.loss == "binary_cross_entropy" else SquaredError(on="sigmoid")


def build_optimizer(training: TrainingConfig, network: Network) -> Optimizer:
    """Make the configured optimizer; AdamW decays weights only."""
    optimizer = OPTIMIZERS[training.optimizer](training.learning_rate, **training.optimizer_options)
    if isinstance(optimizer, AdamW):
        optimizer.mask = network.weight_mask
    return optimizer


def build_schedule(training: TrainingConfig) -> schedules.Schedule | None:
    """Make the configured schedule; None for a constant rate."""
    factor = {"factor": training.schedule_factor} if training.schedule_factor is not None else {}
    if training.schedule == "step":
        schedule = schedules.step(training.schedule_every or 1.0, **factor)
    elif training.schedule == "exponential":
        schedule = schedules.exponential(**({"factor": 0.95} | factor))
    elif training.schedule == "cosine":
        schedule = schedules.cosine(training.epochs, training.schedule_floor or 0.0)
    elif training.warm_up:
        schedule = schedules.constant()
    else:
        return None
    return schedules.warm_up(schedule, training.warm_up)


def load_data(experiment: Experiment) -> Dataset:
    """Load the experiment's data; with early stopping, a part of the training data is kept for validation."""
    data = experiment.data
    return load(
        data.name,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction if experiment.training.patience else 0.0,
        seed=data.seed,
        **data.options,
    )


# --- how large it will be ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What an experiment will take: parameters of one network, and bytes of memory."""

    parameters: int
    bytes: int


def estimate(experiment: Experiment) -> Size:
    """Work out the size of an experiment from its configuration alone, before anything is allocated."""
    n_samples, n_features = shape(experiment.data.name, **experiment.data.options)
    network, training, seeds = experiment.network, experiment.training, len(experiment.seeds)
    widths = [n_features, *network.widths, 1]
    norms = 2 * sum(network.widths) if network.batch_norm else 0
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(widths)) + norms
    itemsize = np.dtype(network.dtype).itemsize
    batch = min(training.batch_size, n_samples)
    row = sum(widths) + sum(network.widths) * (1 + network.batch_norm + bool(network.dropout) + network.residual)
    together = min(seeds, replicas_at_once(experiment, n_features))
    steps = -(-n_samples // batch) * training.epochs
    records = {"epoch": training.epochs + 1, "step": steps}.get(str(experiment.probe.every))
    records = records or -(-steps // int(experiment.probe.every))
    numbers = together * (6 * parameters + 2 * batch * row + 4 * ROWS_AT_ONCE * row + n_samples * (n_features + 3))
    numbers += seeds * (parameters + records * (len(widths) - 1) + training.epochs * len(HISTORY))
    return Size(parameters, itemsize * numbers + 8 * 4 * n_samples * n_features)


def replicas_at_once(experiment: Experiment, n_features: int) -> int:
    """Choose how many replicas to train side by side: many enough to share a call, few enough for the cache.

    It changes no number. With early stopping each seed trains alone, and stops alone.
    """
    if experiment.training.patience:
        return 1
    widths = experiment.network.widths
    each = np.dtype(experiment.network.dtype).itemsize * experiment.training.batch_size * (n_features + 4 * sum(widths))
    return int(np.clip(CACHE // each, 1, 32))


# --- running it ----------------------------------------------------------------------------------------------------


def run(experiment: Experiment, data: Dataset, on_epoch: OnEpoch | None = None) -> Result:
    """Train every seed of an experiment, and record it.

    Parameters
    ----------
    experiment : Experiment
    data : Dataset
        From `load_data`.
    on_epoch : callable, optional
        Called with the experiment, the epoch (0 before training), the seeds trained together, and their numbers.

    Returns
    -------
    Result
        If training diverged: what was recorded until then, and why it ended.
    """
    started = time.perf_counter()
    together = replicas_at_once(experiment, data.x_train.shape[1])
    groups = [experiment.seeds[i : i + together] for i in range(0, len(experiment.seeds), together)]
    parts: list[_Part] = []
    diverged = ""
    for seeds in groups:
        network = build_network(experiment.network, data, seeds if len(seeds) > 1 else seeds[0])
        recorder = FlowRecorder(experiment.probe.every)
        try:
            for epoch, numbers in _epochs(experiment, data, network, recorder):
                if on_epoch is not None:
                    on_epoch(experiment, epoch, seeds, numbers)
        except DivergenceError as error:
            diverged = str(error)
        parts.append(_part(experiment, data, network, recorder))
        if diverged:
            break
    result = _collect(experiment, data, parts, diverged)
    result.seconds = time.perf_counter() - started
    return result


def _epochs(
    experiment: Experiment, data: Dataset, network: Network, recorder: FlowRecorder
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Train some seeds; yield each epoch's numbers (seeds,), first those before training."""
    training = experiment.training
    loss = build_loss(training)
    steps: Iterator[Step] = train(
        network,
        loss,
        build_optimizer(training, network),
        data.x_train,
        data.y_train,
        epochs=training.epochs,
        batch_size=training.batch_size,
        schedule=build_schedule(training),
        l1=training.l1,
        l2=training.l2,
        clip_norm=training.clip_norm,
    )
    if training.patience:
        steps = early_stopping(
            steps, lambda trained: evaluate(trained, loss, data.x_valid, data.y_valid)[0], training.patience
        )
    yield 0, _numbers(network, loss, data) | {"running_loss": np.full(len(network.seeds), np.nan)}
    for step in steps:
        recorder(step)
        if step.ends_epoch:
            running = {"running_loss": np.atleast_1d(step.running_loss)}
            yield step.epoch + 1, _numbers(network, loss, data) | running


def _numbers(network: Network, loss: Loss, data: Dataset) -> dict[str, np.ndarray]:
    train_loss, train_accuracy = evaluate(network, loss, data.x_train, data.y_train)
    test_loss, test_accuracy = evaluate(network, loss, data.x_test, data.y_test)
    return {
        "train_loss": np.atleast_1d(train_loss),
        "train_accuracy": np.atleast_1d(train_accuracy),
        "test_loss": np.atleast_1d(test_loss),
        "test_accuracy": np.atleast_1d(test_accuracy),
    }


def evaluate(network: Network, loss: Loss, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute loss and accuracy (...) of the network as it is now."""
    with np.errstate(over="ignore", invalid="ignore"):  # a network about to diverge is named by the next step
        logits = network.decision_function(x)
        return loss.value(logits, y[:, np.newaxis]), np.mean((logits[..., 0] > 0.0) == y, axis=-1)


@dataclass
class _Part:
    """What is kept of some seeds trained side by side: not their network, whose tape is far larger."""

    tensors: dict[str, np.ndarray]
    layers: tuple[str, ...]
    flow: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]


def _part(experiment: Experiment, data: Dataset, network: Network, recorder: FlowRecorder) -> _Part:
    tensors = {p.name: network.params[..., p.where].reshape(-1, *p.shape).copy() for p in network.parameters}
    tensors |= {p.name: network.state[..., p.where].reshape(-1, *p.shape).copy() for p in network.states}
    flow = recorder.table() if recorder.layers else {}
    return _Part(tensors, recorder.layers, flow, _numbers(network, build_loss(experiment.training), data))


def _collect(experiment: Experiment, data: Dataset, parts: Sequence[_Part], diverged: str) -> Result:
    """Put the seeds' parts together, and work out the measures."""
    result = Result(experiment, layers=parts[0].layers, diverged=diverged)
    recorded = [part.flow for part in parts if part.flow]
    if recorded:
        longest = max(recorded, key=lambda flow: len(flow["step"]))
        result.flow = {name: longest[name] for name in ("step", "epoch")}
        result.flow |= {q: _side_by_side([flow[q] for flow in recorded]) for q in longest if q not in result.flow}
    for name in parts[0].tensors:
        result.tensors[name] = np.concatenate([part.tensors[name] for part in parts])
    if diverged:
        return result
    result.final = {name: np.concatenate([part.numbers[name] for part in parts]) for name in parts[0].numbers}
    norms = result.flow["weight_gradient_norm"]
    last = np.sum(~np.isnan(norms[:, 0]), axis=0) - 1  # a seed that stopped early has fewer records
    seeds = np.arange(norms.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        result.final["gradient_ratio"] = norms[0, 0] / norms[0, -1]
        result.final["final_gradient_ratio"] = norms[last, 0, seeds] / norms[last, -1, seeds]
    accuracy = result.final["test_accuracy"]
    middle = int(np.argsort(accuracy, kind="stable")[(len(accuracy) - 1) // 2])
    result.median_seed = experiment.seeds[middle]
    if data.x_train.shape[1] == 2:
        network = build_network(experiment.network, data, result.median_seed)
        for places, vector in ((network.parameters, network.params), (network.states, network.state)):
            for p in places:
                vector[p.where] = result.tensors[p.name][middle].ravel()
        result.boundary = _boundary(network, data)
    return result


def _side_by_side(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Join (steps, layers, seeds) along the seeds; where fewer steps were recorded the rest is nan."""
    steps = max(len(table) for table in tables)
    return np.concatenate(
        [np.pad(t, [(0, steps - len(t)), (0, 0), (0, 0)], constant_values=np.nan) for t in tables], axis=-1
    )


def _boundary(network: Network, data: Dataset) -> dict[str, np.ndarray]:
    """Compute what a network of two features says at each point of the plane around the data."""
    points = data.x_test * data.scale + data.mean
    every = np.concatenate([points, data.x_train * data.scale + data.mean])
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 0.1 * (high - low)
    x1, x2 = (np.linspace(low[i] - margin[i], high[i] + margin[i], GRID) for i in (0, 1))
    plane = np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)
    probability = network.predict_proba((plane - data.mean) / data.scale).reshape(GRID, GRID)
    names = np.array(data.feature_names)
    return {"x1": x1, "x2": x2, "names": names, "probability": probability, "points": points, "labels": data.y_test}


# --- what it shows -------------------------------------------------------------------------------------------------


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
    values = result.final.get(expectation.measure, np.array([np.nan]))
    return Verdict(expectation, result.experiment.name, float(getattr(np, expectation.statistic)(values)))


def summarize(result: Result) -> dict[str, Any]:
    """Return each measure's mean, 95 % interval, median and values, as plain numbers; None for what is not finite."""
    summary: dict[str, Any] = {}
    for measure, values in result.final.items():
        interval = mean_interval(values)
        summary[measure] = {
            "mean": _plain(interval.mean),
            "low": _plain(interval.low),
            "high": _plain(interval.high),
            "median": _plain(float(np.median(values))),
            "values": [_plain(float(value)) for value in values],
        }
    return summary


def _plain(value: float) -> float | None:
    """Return a float that JSON can hold."""
    return value if np.isfinite(value) else None
