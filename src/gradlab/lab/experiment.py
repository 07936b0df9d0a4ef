"""One experiment: its data, the replicas of one variant trained on them, and what was recorded."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from gradlab.datasets import Dataset, load, shape
from gradlab.flow.probes import Weights
from gradlab.flow.statistics import mean_interval
from gradlab.lab.config import MEASURES, Expectation, Experiment, NetworkConfig, TrainingConfig
from gradlab.lab.store import Declared
from gradlab.nn import schedules
from gradlab.nn.architectures import mlp
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SquaredError
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.nn.optimizers import OPTIMIZERS, AdamW, Optimizer
from gradlab.training.divergence import DivergenceError
from gradlab.training.engines import NAMES, evaluate
from gradlab.training.engines.compiled import default_threads
from gradlab.training.loop import Step, train
from gradlab.training.recording import Records
from gradlab.training.state import State, state_shapes
from gradlab.training.stopping import early_stopping, stopping_shapes

CACHE = 4_000_000  # bytes of one batch's arrays, over all replicas trained together, that stay close to the processor
TOGETHER = 32  # replicas trained together at most,
MEMORY = 2**30  # and bytes that they take, as far as that can be had with fewer
LOGGED = 22  # characters of a number in the log
GRID = 150  # points along each side of the plane on which a decision boundary is drawn
RECORDED = ("weight_gradient_norm", "zero_share", "subnormal_share")
FLOW = ("step", "epoch", *RECORDED)
HISTORY = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "running_loss")

OnEpoch = Callable[[Experiment, int, Sequence[int], Mapping[str, np.ndarray]], None]


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
        What `DivergenceError` said, else empty.
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


# --- from names to objects -----------------------------------------------------------------------------------------


def build_network(network: NetworkConfig, data: Dataset | int, seed: int | Sequence[int]) -> Network:
    """Make the configured network for some data, or number of features, its parameters drawn with a seed or several."""
    layers = mlp(
        [data if isinstance(data, int) else data.x_train.shape[1], *network.widths, 1],
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


def build_weights(training: TrainingConfig, y: np.ndarray) -> np.ndarray | None:
    """Weigh each sample by n / (classes · samples of its class), as scikit-learn's "balanced" does; None: all alike."""
    if training.class_weight is None:
        return None
    _, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (len(y) / (len(counts) * counts))[labels.reshape(-1)]


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


# --- how much is recorded ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recording:
    """Which steps of an experiment are recorded: one in `stride`, or the first and the last of one epoch in `stride`.

    Epochs are counted from the last, so that the end of training is always among them.

    Attributes
    ----------
    by_epoch : bool
    stride, asked : int
        Of steps or epochs; `asked` is what ``probe.every`` says, `stride` a multiple of it that ``probe.limit`` allows.
    epochs : int
    count : int
        How many steps are recorded, unless training ends early.
    """

    by_epoch: bool
    stride: int
    asked: int
    epochs: int
    count: int

    @property
    def every(self) -> str | int:
        """What an engine is told to record, as in `train`."""
        return "epoch" if self.by_epoch else self.stride

    def of(self, recorded: Records) -> Records:
        """Return those of the steps that an engine recorded which are wanted."""
        if not self.by_epoch or self.stride == 1 or not recorded:
            return recorded
        last = recorded["ends_epoch"] & ((self.epochs - 1 - recorded["epoch"]) % self.stride == 0)
        wanted = last | (recorded["step"] == 0)
        return {name: array[wanted] for name, array in recorded.items()}

    @property
    def thinned(self) -> str:
        """What is recorded in place of what was asked for; empty if it is that."""
        if self.stride == self.asked:
            return ""
        unit = "epoch" if self.by_epoch else "step"
        asked = f"every {unit}" if self.asked == 1 else f"one {unit} in {self.asked}"
        return f"one {unit} in {self.stride} is recorded, not {asked}, which would be more than probe.limit allows"


def recording(experiment: Experiment, n_train: int) -> Recording:
    """Choose which steps are recorded, before any is taken: no more than ``probe.limit``, however long training is."""
    every, limit, epochs = experiment.probe.every, experiment.probe.limit, experiment.training.epochs
    batches = math.ceil(n_train / experiment.training.batch_size)
    if every == "epoch":
        stride = math.ceil(epochs / (limit - 1))
        first = batches > 1 or (epochs - 1) % stride > 0  # whether the first step is not the last of such an epoch
        return Recording(True, stride, 1, epochs, math.ceil(epochs / stride) + first)
    asked, steps = 1 if every == "step" else int(every), batches * epochs
    stride = asked * math.ceil(math.ceil(steps / asked) / limit)
    return Recording(False, stride, asked, epochs, math.ceil(steps / stride))


# --- how large it will be ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """What an experiment will take.

    Attributes
    ----------
    parameters : int
        Of one network.
    bytes : int
        Of memory, while it runs.
    kept : int
        Bytes on disk at the end, without figures.
    recording : Recording
    """

    parameters: int
    bytes: int
    kept: int
    recording: Recording


def estimate(experiment: Experiment) -> Size:
    """Work out the size of an experiment from its configuration alone, before anything is allocated."""
    n_samples, n_features = shape(experiment.data.name, **experiment.data.options)
    network, training, seeds = experiment.network, experiment.training, len(experiment.seeds)
    widths = [n_features, *network.widths, 1]
    parameters = count_parameters(network, n_features)
    row = sum(widths) + sum(network.widths) * (1 + network.batch_norm + bool(network.dropout) + network.residual)
    batch = min(training.batch_size, n_samples)
    trained = 4 * batch  # rows of tape and deltas, and as many temporaries
    predicted = min(ROWS_AT_ONCE, n_samples)  # rows of the tape of a pass without learning
    drawn = ROWS_AT_ONCE * (n_features == 2)  # and of that for the decision boundary
    recorded = recording(experiment, _n_train(experiment, n_samples))
    together = min(seeds, replicas_at_once(experiment, n_samples, n_features))
    averages = 1 if training.optimizer in ("sgd", "rmsprop") else 2
    vectors = 6 + 3 * averages  # parameters, gradients, averages, those that are kept, and temporaries
    passes = together
    if training.engine == "compiled":
        vectors += 2 + averages  # to put back if it is interrupted
        passes = min(together, default_threads())
    numbers = together * (vectors * parameters + trained * row + n_samples * (n_features + 3))
    numbers += (passes * predicted + drawn) * row + seeds * (
        parameters + len(RECORDED) * recorded.count * (len(widths) - 1) + training.epochs * len(HISTORY)
    )
    width = np.dtype(network.dtype).itemsize
    kept = width * (seeds * parameters + GRID**2 * (n_features == 2))
    kept += 8 * seeds * (len(RECORDED) * recorded.count * (len(widths) - 1) + (training.epochs + 1) * len(HISTORY))
    kept = 2 * kept + LOGGED * seeds * (training.epochs + 1) * len(HISTORY)  # of each experiment, of all, and the log
    return Size(parameters, width * numbers + 8 * 4 * n_samples * n_features, kept, recorded)


def _n_train(experiment: Experiment, n_samples: int) -> int:
    """Count the samples of the training part, rounded as scikit-learn does."""
    n_train = n_samples - math.ceil(experiment.data.test_fraction * n_samples)
    if experiment.training.patience:
        n_train -= math.ceil(experiment.data.validation_fraction * n_train)
    return n_train


def count_parameters(network: NetworkConfig, n_features: int) -> int:
    """Count the parameters of a network from its configuration alone."""
    norms = 2 * sum(network.widths) if network.batch_norm else 0
    return sum((a + 1) * b for a, b in itertools.pairwise([n_features, *network.widths, 1])) + norms


def replicas_at_once(experiment: Experiment, n_samples: int, n_features: int) -> int:
    """Choose how many replicas to train together.

    On the plain engine many enough to share a call, few enough for the cache; compiled, where each is computed on its
    own, all that memory has room for. It changes no number. With early stopping each seed trains, and stops, alone.
    """
    if experiment.training.patience:
        return 1
    network, width = experiment.network, np.dtype(experiment.network.dtype).itemsize
    arrays = width * min(experiment.training.batch_size, n_samples) * (n_features + 4 * sum(network.widths))
    if experiment.training.engine == "compiled":
        each = 16 * width * count_parameters(network, n_features) + 2 * arrays
        return int(np.clip(MEMORY // each, 1, TOGETHER))
    return int(np.clip(CACHE // arrays, 1, TOGETHER))


# --- running it ----------------------------------------------------------------------------------------------------


class Keeper(Protocol):
    """Keeps what an experiment needs to go on, where the end of a process does not reach it."""

    def load(
        self, declare: Callable[[dict[str, Any]], Declared]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Return what was saved last, if it is as declared; None if nothing was."""

    def due(self, epoch: int) -> bool:
        """Say, at the end of an epoch, counted from 1, whether to save."""

    def save(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Save, in place of what was saved before."""


def run(
    experiment: Experiment,
    data: Dataset,
    on_epoch: OnEpoch | None = None,
    keeper: Keeper | None = None,
    threads: int | None = None,
) -> Result:
    """Train every seed of an experiment, and record it.

    Parameters
    ----------
    experiment : Experiment
    data : Dataset
        From `load_data`.
    on_epoch : callable, optional
        Called with the experiment, the epoch (0 before training), the seeds trained together, and their numbers; also
        for the epochs that were kept. The numbers of the epoch in which training diverged are nan.
    keeper : Keeper, optional
        If it has something, the experiment goes on from there, to the same numbers as without a break. Interrupted, it
        is given the state after the last whole epoch.
    threads : int, optional
        Most threads of the compiled engine; all cores, unless given. It changes no number.

    Returns
    -------
    Result
        If training diverged or was interrupted: what was recorded until then, and why it ended.
    """
    course = _Course(experiment, data, on_epoch or (lambda *_: None), threads)
    result = Result(experiment, data.feature_names, data.classes, data.mean, data.scale)
    try:
        if keeper is not None:
            course.load(keeper)
        course.go_on(keeper)
    except DivergenceError as error:
        result.diverged = str(error)
        course.diverge(error)
    except KeyboardInterrupt:
        result.interrupted = True
        if keeper is not None:
            course.save(keeper)
    parts = course.parts
    if course.training is not None:
        parts = [*parts, _part(experiment, data, course.training, False, threads)]
    if parts:
        _collect(result, data, parts)
    result.seconds = course.seconds
    return result


class _Training:
    """Some seeds that are trained side by side, and what is recorded of them.

    Attributes
    ----------
    flow : dict of ndarray
        What is recorded of the gradient flow, by step; empty before the first.
    history : list of dict
        Each epoch's numbers (seeds,), first those before training.
    kept : tuple, optional
        What the training needs to go on after its last whole epoch that was not the last of all; how many steps, and
        how many entries of `history`, were before. None in the first epoch.
    """

    def __init__(self, experiment: Experiment, data: Dataset, seeds: Sequence[int]):
        self.seeds, self.engine = seeds, experiment.training.engine
        self.network = build_network(experiment.network, data, seeds if len(seeds) > 1 else seeds[0])
        self.optimizer = build_optimizer(experiment.training, self.network)
        self._steps_an_epoch = -(-len(data.x_train) // experiment.training.batch_size)
        self.recording = recording(experiment, len(data.x_train))
        self._flow: list[Records] = []
        self.history: list[dict[str, np.ndarray]] = []
        self.kept: tuple[State, int, int] | None = None

    @property
    def flow(self) -> Records:
        if len(self._flow) > 1:
            self._flow = [{name: np.concatenate([part[name] for part in self._flow]) for name in FLOW}]
        return dict(self._flow[0]) if self._flow else {}

    def record(self, recorded: Records) -> None:
        """Note what an engine recorded since the last hand-over."""
        wanted = self.recording.of(recorded)
        if len(wanted.get("step", ())):
            self._flow.append({name: wanted[name] for name in FLOW})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what was kept, and what was recorded until then."""
        if self.kept is None:
            return {}
        state, steps, epochs = self.kept
        table = self.flow
        before = table["step"] < steps
        arrays = {f"state/{name}": array for name, array in state.items()}
        arrays |= {f"flow/{name}": array[before] for name, array in table.items()}
        return arrays | {f"history/{name}": array for name, array in _by_name(self.history[:epochs]).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Become what gave these arrays."""
        state, history, flow = (_within(part, arrays) for part in ("state", "history", "flow"))
        epochs, recorded = len(history["train_loss"]), flow["step"]
        steps = (epochs - 1) * self._steps_an_epoch
        if state["epochs"] != epochs - 1:
            raise ValueError(f"{int(state['epochs'])} epochs were trained, but {epochs - 1} recorded")
        if recorded[0] != 0 or recorded[-1] >= steps or (np.diff(recorded) <= 0).any():
            raise ValueError(f"what was recorded is not of the {steps} steps that were trained")
        if NAMES.index(self.engine) != state["engine"]:
            raise ValueError("it was trained on another engine")
        self._flow = [flow]
        self.history = [{name: history[name][i] for name in HISTORY} for i in range(epochs)]
        self.kept = state, steps, epochs


class _Course:
    """How far an experiment has come: the parts that are done, and the seeds that are being trained."""

    def __init__(self, experiment: Experiment, data: Dataset, on_epoch: OnEpoch, threads: int | None):
        self.experiment, self.data, self._threads = experiment, data, threads
        together = replicas_at_once(experiment, *data.x_train.shape)
        self.groups = [experiment.seeds[i : i + together] for i in range(0, len(experiment.seeds), together)]
        self.parts: list[_Part] = []
        self.training: _Training | None = None
        self._on_epoch = on_epoch
        self._started, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken, without the breaks."""
        return self._before + time.perf_counter() - self._started

    def go_on(self, keeper: Keeper | None) -> None:
        """Train what is left."""
        while len(self.parts) < len(self.groups):
            if self.training is None:
                self.training = _Training(self.experiment, self.data, self.groups[len(self.parts)])
            training = self.training
            for step in _epochs(self.experiment, self.data, training, self._threads):
                self._record(training, step)
                if keeper is not None and step is not None and not step.ends_training:
                    training.kept = step.state(), step.index + 1, len(training.history)
                    if keeper.due(step.epoch + 1):
                        self.save(keeper)
            part = _part(self.experiment, self.data, training, True, self._threads)
            self.parts, self.training = [*self.parts, part], None

    def diverge(self, error: DivergenceError) -> None:
        """Record that the epoch under way has no numbers, and the steps that it had."""
        assert self.training is not None
        self.training.record(error.recorded)
        self.training.history.append({name: np.full(len(self.training.seeds), np.nan) for name in HISTORY})
        self._tell(self.training.seeds, self.training.history[-1:], len(self.training.history) - 1)

    def _record(self, training: _Training, step: Step | None) -> None:
        """Note an epoch's numbers, or those before training."""
        numbers = _numbers(self.experiment, training.network, self.data, self._threads)
        running = np.full(len(training.seeds), np.nan) if step is None else np.atleast_1d(step.running_loss)
        numbers["running_loss"] = running.astype(np.float64)
        training.history.append(numbers)
        self._tell(training.seeds, [numbers], len(training.history) - 1)

    def _tell(self, seeds: Sequence[int], history: Sequence[Mapping[str, np.ndarray]], first: int = 0) -> None:
        for epoch, numbers in enumerate(history, first):
            self._on_epoch(self.experiment, epoch, seeds, numbers)

    def save(self, keeper: Keeper) -> None:
        """Hand over all that a later process needs, if there is anything."""
        training = self.training
        waiting = self.groups[len(self.parts) :]
        now = training.arrays() if training is not None and training.seeds in waiting else {}
        arrays = dict(now)
        for i, part in enumerate(self.parts):
            arrays |= {f"{i}/{name}": array for name, array in part.arrays().items()}
        if arrays:
            done = [[len(part.history["train_loss"]), len(part.flow["step"])] for part in self.parts]
            lengths = [len(now["history/train_loss"]), len(now["flow/step"])] if now else None
            keeper.save({"done": done, "under_way": lengths, "seconds": self.seconds}, arrays)

    def load(self, keeper: Keeper) -> None:
        """Become what was handed over last, if anything was."""
        found = keeper.load(self._declare)
        if found is None:
            return
        about, arrays = found
        self._before = about["seconds"]
        for i in range(len(about["done"])):
            self.parts.append(_Part.of(_within(str(i), arrays)))
            self._tell(self.groups[i], _by_epoch(self.parts[i].history))
        if about["under_way"] is not None:
            self.training = _Training(self.experiment, self.data, self.groups[len(self.parts)])
            self.training.restore(arrays)
            self._tell(self.training.seeds, self.training.history)

    def _declare(self, about: dict[str, Any]) -> Declared:
        """Tell what arrays there must be, from how many parts are done and how long their records are."""
        done, now, seconds = about["done"], about["under_way"], about["seconds"]
        if about.keys() != {"done", "under_way", "seconds"} or type(seconds) is not float or not 0.0 <= seconds < 1e12:
            raise ValueError("it does not say how far the experiment has come")
        if len(done) + (now is not None) > len(self.groups):
            raise ValueError(f"{len(done)} parts are done, of {len(self.groups)}")
        one = _Training(self.experiment, self.data, self.groups[0][:1])
        declared: dict[str, tuple[np.dtype | str, tuple[int | range, ...]]] = {}
        for i, (lengths, seeds) in enumerate(zip(done, self.groups, strict=False)):
            shapes = self._records(one, lengths, len(seeds))
            shapes |= {f"numbers/{name}": ("f8", (len(seeds),)) for name in MEASURES}
            shapes |= {f"tensors/{n}": (kind, (len(seeds), *s)) for n, (kind, s) in tensor_shapes(one.network).items()}
            declared |= {f"{i}/{name}": shape for name, shape in shapes.items()}
        if now is not None:
            training = _Training(self.experiment, self.data, self.groups[len(done)])
            state = state_shapes(training.network, training.optimizer)
            if self.experiment.training.patience:
                state |= stopping_shapes(training.network)
            declared |= {f"state/{name}": shape for name, shape in state.items()}
            declared |= self._records(one, now, len(training.seeds))
        return declared

    def _records(self, one: _Training, lengths: Any, n_seeds: int) -> dict[str, Any]:
        """Tell the shapes of what is recorded of some seeds: so many epochs, and so many steps of the flow."""
        epochs, records = lengths
        steps = self.experiment.training.epochs * len(self.data.x_train)
        if not (
            type(epochs) is type(records) is int
            and 2 <= epochs <= self.experiment.training.epochs + 1
            and 1 <= records <= steps
        ):
            raise ValueError(f"{lengths!r} are no numbers of epochs and of steps")
        shapes: dict[str, Any] = {f"history/{name}": ("f8", (epochs, n_seeds)) for name in HISTORY}
        return shapes | {f"flow/{n}": shape for n, shape in flow_shapes(one.network, records, n_seeds).items()}


def blank_network(network: NetworkConfig, n_features: int) -> Network:
    """Make the configured network with nothing drawn, to be filled, or to see what it is made of."""
    return build_network(network.model_copy(update={"weight_init": "zeros", "bias_init": "zeros"}), n_features, 0)


def fill(network: Network, tensors: Mapping[str, np.ndarray], r: int) -> Network:
    """Give a network the parameters and running statistics of one of several seeds (seeds, ...)."""
    for places, vector in ((network.parameters, network.params), (network.states, network.state)):
        for p in places:
            vector[p.where] = tensors[p.name][r].ravel()
    return network


def tensor_shapes(network: Network) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Tell type and shape of each parameter and running statistic of one network."""
    return {p.name: (network.dtype, p.shape) for p in (*network.parameters, *network.states)}


def flow_shapes(network: Network, records: int, n_seeds: int) -> dict[str, tuple[np.dtype | str, tuple[int, ...]]]:
    """Tell type and shape of what is recorded of the flow, at so many steps."""
    shape = records, len(Weights(network).names), n_seeds
    shapes: dict[str, tuple[np.dtype | str, tuple[int, ...]]] = dict.fromkeys(("step", "epoch"), ("i8", (records,)))
    return shapes | {name: (network.dtype if name.endswith("norm") else "f8", shape) for name in RECORDED}


def _epochs(experiment: Experiment, data: Dataset, seeds: _Training, threads: int | None) -> Iterator[Step | None]:
    """Train some seeds; yield the last step of each epoch, after None for what was before training."""
    training, loss, start = experiment.training, build_loss(experiment.training), seeds.kept and seeds.kept[0]
    steps: Iterator[Step] = train(
        seeds.network,
        loss,
        seeds.optimizer,
        data.x_train,
        data.y_train,
        epochs=training.epochs,
        batch_size=training.batch_size,
        weights=build_weights(training, data.y_train),
        schedule=build_schedule(training),
        l1=training.l1,
        l2=training.l2,
        clip_norm=training.clip_norm,
        engine=training.engine,
        threads=threads,
        each="epoch",
        record=RECORDED,
        record_every=seeds.recording.every,
        start=start,
    )
    if training.patience:

        def score(network: Network) -> np.ndarray:
            return evaluate(network, loss, data.x_valid, data.y_valid, engine=training.engine, threads=threads)[0]

        steps = early_stopping(steps, score, training.patience, start=start)
    if start is None:
        yield None
    for step in steps:
        seeds.record(step.recorded)
        yield step


def _numbers(experiment: Experiment, network: Network, data: Dataset, threads: int | None) -> dict[str, np.ndarray]:
    """Compute losses and accuracies (seeds,) of the networks as they are now."""
    loss, engine = build_loss(experiment.training), experiment.training.engine
    train_loss, train_accuracy = evaluate(network, loss, data.x_train, data.y_train, engine=engine, threads=threads)
    test_loss, test_accuracy = evaluate(network, loss, data.x_test, data.y_test, engine=engine, threads=threads)
    return {
        "train_loss": np.array(train_loss, np.float64, ndmin=1),
        "train_accuracy": np.array(train_accuracy, np.float64, ndmin=1),
        "test_loss": np.array(test_loss, np.float64, ndmin=1),
        "test_accuracy": np.array(test_accuracy, np.float64, ndmin=1),
    }


@dataclass
class _Part:
    """What is kept of some seeds trained side by side: not their network, whose tape is far larger."""

    tensors: dict[str, np.ndarray]
    flow: dict[str, np.ndarray]
    numbers: dict[str, np.ndarray]
    history: dict[str, np.ndarray]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything by name."""
        return {f"{kind}/{name}": array for kind, arrays in vars(self).items() for name, array in arrays.items()}

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "_Part":
        """Put together again what `arrays` gave."""
        return cls(*(_within(field.name, arrays) for field in fields(cls)))


def _part(experiment: Experiment, data: Dataset, training: _Training, ended: bool, threads: int | None) -> _Part:
    network = training.network
    tensors = {p.name: network.params[..., p.where].reshape(-1, *p.shape).copy() for p in network.parameters}
    tensors |= {p.name: network.state[..., p.where].reshape(-1, *p.shape).copy() for p in network.states}
    flow = training.flow
    numbers = _numbers(experiment, network, data, threads) if ended else {}
    if flow:
        norms = flow["weight_gradient_norm"]
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers["gradient_ratio"] = (norms[0, 0] / norms[0, -1]).astype(np.float64)
            if ended:
                numbers["final_gradient_ratio"] = (norms[-1, 0] / norms[-1, -1]).astype(np.float64)
    return _Part(tensors, flow, numbers, _by_name(training.history))


def _by_name(history: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Turn the numbers (seeds,) of each epoch into arrays (epochs, seeds)."""
    return {name: np.stack([numbers[name] for numbers in history]) for name in HISTORY} if history else {}


def _by_epoch(history: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Turn arrays (epochs, seeds) into the numbers (seeds,) of each epoch."""
    return [dict(zip(history, rows, strict=True)) for rows in zip(*history.values(), strict=True)]


def _within(part: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what is named ``PART/…``, without that."""
    return {name.removeprefix(f"{part}/"): array for name, array in arrays.items() if name.startswith(f"{part}/")}


def _collect(result: Result, data: Dataset, parts: Sequence[_Part]) -> None:
    """Put the seeds' parts together, in their order; nan stands for what a seed has not."""
    seeds = result.experiment.seeds
    result.history = [part.history for part in parts if part.history]
    result.layers = Weights(blank_network(result.experiment.network, data.x_train.shape[1])).names
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
        network = fill(blank_network(result.experiment.network, 2), result.tensors, middle)
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
