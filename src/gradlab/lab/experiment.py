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
from gradlab.lab.config import MEASURES, Expectation, Experiment, NetworkConfig, TrainingConfig
from gradlab.nn import schedules
from gradlab.nn.architectures import mlp
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SquaredError
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.nn.optimizers import OPTIMIZERS, AdamW, Optimizer
from gradlab.nn.stopping import early_stopping
from gradlab.nn.training import DivergenceError, Step, train

CACHE = 4_000_000  # bytes of one batch's arrays, over all replicas trained together, that stay close to the processor
GRID = 150  # points along each side of the plane on which a decision boundary is drawn
RECORDED = ("weight_gradient_norm", "zero_share", "subnormal_share")
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
        The measures of `MEASURES`, at the end; nan for seeds that were not trained to their end.
    tensors : dict of ndarray (seeds, ...)
        Parameters and running statistics, by name; nan for seeds that were not begun.
    boundary : dict of ndarray
        For data with two features: the axes ``x1`` and ``x2`` (GRID,) and the ``probability`` (GRID, GRID) that the
        median seed's network gives, in the data's own units, the ``names`` of the features and of the ``classes``, and
        the test part's ``points`` and ``labels``.
    median_seed : int
        The seed whose test accuracy is the median of all.
    seconds : float
    diverged : str
        What `DivergenceError` said, else empty.
    interrupted : bool
        Whether the training was interrupted from the keyboard.
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
    interrupted: bool = False


# --- from names to objects -----------------------------------------------------------------------------------------


def build_network(network: NetworkConfig, data: Dataset, seed: int | Sequence[int]) -> Network:
    """Make the configured network for some data, its parameters drawn with one seed or with several."""
    layers = mlp(
        [data.x_train.shape[1], *network.widths, 1],
        network.activation,
        network.weight_init,
        gain=network.gain,
        bias_init=network.bias_init,
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
        standardize=data.standardize,
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
    row = sum(widths) + sum(network.widths) * (1 + network.batch_norm + bool(network.dropout) + network.residual)
    batch = min(training.batch_size, n_samples)
    trained = 4 * (batch + n_samples % batch)  # rows of tape, deltas, derivatives and what comes in between, for full
    # batches and the last one
    predicted = 2 * 3 * min(ROWS_AT_ONCE, n_samples)  # rows of the tapes of full passes, and of two that are shorter
    drawn = 2 * 2 * ROWS_AT_ONCE * (n_features == 2)  # rows of the tapes for the decision boundary
    steps = -(-n_samples // batch) * training.epochs
    records = {"epoch": training.epochs + 1, "step": steps}.get(str(experiment.probe.every))
    records = records or -(-steps // int(experiment.probe.every))
    together = min(seeds, replicas_at_once(experiment, n_samples, n_features))
    numbers = together * (6 * parameters + (trained + predicted) * row + n_samples * (n_features + 3))
    numbers += drawn * row + seeds * (
        parameters + len(RECORDED) * records * (len(widths) - 1) + training.epochs * len(HISTORY)
    )
    return Size(parameters, np.dtype(network.dtype).itemsize * numbers + 8 * 4 * n_samples * n_features)


def replicas_at_once(experiment: Experiment, n_samples: int, n_features: int) -> int:
    """Choose how many replicas to train side by side: many enough to share a call, few enough for the cache.

    It changes no number. With early stopping each seed trains alone, and stops alone.
    """
    if experiment.training.patience:
        return 1
    widths = experiment.network.widths
    batch = min(experiment.training.batch_size, n_samples)
    each = np.dtype(experiment.network.dtype).itemsize * batch * (n_features + 4 * sum(widths))
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
    together = replicas_at_once(experiment, *data.x_train.shape)
    groups = [experiment.seeds[i : i + together] for i in range(0, len(experiment.seeds), together)]
    result = Result(experiment)
    parts: list[_Part] = []
    for seeds in groups:
        network = build_network(experiment.network, data, seeds if len(seeds) > 1 else seeds[0])
        recorder = FlowRecorder(experiment.probe.every, RECORDED)
        ended = False
        try:
            for epoch, numbers in _epochs(experiment, data, network, recorder):
                if on_epoch is not None:
                    on_epoch(experiment, epoch, seeds, numbers)
            ended = True
        except DivergenceError as error:
            result.diverged = str(error)
        except KeyboardInterrupt:
            result.interrupted = True
        parts.append(_part(experiment, data, network, recorder, ended))
        if not ended:
            break
    _collect(result, data, parts)
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
        input_gradient=False,
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


def _part(experiment: Experiment, data: Dataset, network: Network, recorder: FlowRecorder, ended: bool) -> _Part:
    tensors = {p.name: network.params[..., p.where].reshape(-1, *p.shape).copy() for p in network.parameters}
    tensors |= {p.name: network.state[..., p.where].reshape(-1, *p.shape).copy() for p in network.states}
    flow = recorder.table() if recorder.layers else {}
    numbers = _numbers(network, build_loss(experiment.training), data) if ended else {}
    if flow:
        norms = flow["weight_gradient_norm"]
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers["gradient_ratio"] = norms[0, 0] / norms[0, -1]
            if ended:
                numbers["final_gradient_ratio"] = norms[-1, 0] / norms[-1, -1]
    return _Part(tensors, recorder.layers, flow, numbers)


def _collect(result: Result, data: Dataset, parts: Sequence[_Part]) -> None:
    """Put the seeds' parts together, in their order; nan stands for what a seed has not."""
    seeds = result.experiment.seeds
    result.layers = parts[0].layers
    longest = max((part.flow for part in parts), key=lambda flow: len(flow.get("step", ())))
    if longest:
        result.flow = {name: longest[name] for name in ("step", "epoch")}
        for name in RECORDED:
            result.flow[name] = _side_by_side([part.flow[name] for part in parts if part.flow], len(seeds))
    for measure in MEASURES:
        values = [part.numbers[measure] for part in parts if measure in part.numbers]
        result.final[measure] = _fill(np.concatenate(values) if values else np.empty(0), len(seeds))
    for name in parts[0].tensors:
        result.tensors[name] = _fill(np.concatenate([part.tensors[name] for part in parts]), len(seeds))
    if result.diverged or result.interrupted:
        return
    accuracy = result.final["test_accuracy"]
    middle = int(np.argsort(accuracy, kind="stable")[(len(accuracy) - 1) // 2])
    result.median_seed = seeds[middle]
    if data.x_train.shape[1] == 2:
        network = build_network(result.experiment.network, data, result.median_seed)
        for places, vector in ((network.parameters, network.params), (network.states, network.state)):
            for p in places:
                vector[p.where] = result.tensors[p.name][middle].ravel()
        result.boundary = _boundary(network, data)


def _fill(values: np.ndarray, n_seeds: int) -> np.ndarray:
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
    """Compute what a network of two features says at each point of the plane around the data."""
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
    values = result.final[expectation.measure]
    return Verdict(expectation, result.experiment.name, float(getattr(np, expectation.statistic)(values)))


def summarize(result: Result) -> dict[str, Any]:
    """Return each measure's mean, 95 % interval, median and values, as plain numbers; None for what is not finite.

    An interval ends where the measure does: no accuracy is above 1, and no measure below 0.
    """
    summary: dict[str, Any] = {}
    for measure, values in result.final.items():
        interval = mean_interval(values)
        most = 1.0 if measure.endswith("accuracy") else np.inf  # and nothing measured here is below 0
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
