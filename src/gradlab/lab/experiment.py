"""One experiment: the replicas of one variant, trained group by group, from wherever it was interrupted."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gradlab.datasets import Dataset
from gradlab.lab.build import (
    build_loss,
    build_network,
    build_optimizer,
    build_schedule,
    build_weights,
    tensor_shapes,
)
from gradlab.lab.measures import majority, of_flow, scores
from gradlab.lab.names import MEASURES
from gradlab.lab.recording import Probes, flow_shapes, recorded_steps
from gradlab.lab.results import HISTORY, GroupResult, Result, gather, under
from gradlab.lab.schema import Experiment
from gradlab.lab.size import replicas_at_once
from gradlab.lab.store import Declared
from gradlab.nn.network import Network
from gradlab.training.batches import count_batches
from gradlab.training.divergence import DivergenceError
from gradlab.training.engines import NAMES, evaluate, predict
from gradlab.training.loop import Step, train
from gradlab.training.recording import Records
from gradlab.training.state import State, state_shapes
from gradlab.training.stopping import early_stopping, stopping_shapes

OnEpoch = Callable[[Experiment, int, Sequence[int], Mapping[str, np.ndarray]], None]


class Checkpointer(Protocol):
    """Saves the state of an experiment where it outlives the process, and loads it again."""

    def load(
        self, declare: Callable[[dict[str, Any]], Declared]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """Return what was saved last, if it is as declared; None if nothing was."""

    def due(self, epoch: int) -> bool:
        """Say, at the end of an epoch, counted from 1, whether to save."""

    def save(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Save, in place of what was saved before."""


def run_experiment(
    experiment: Experiment,
    data: Dataset,
    on_epoch: OnEpoch | None = None,
    checkpointer: Checkpointer | None = None,
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
        for the epochs in a checkpoint. The numbers of the epoch in which training diverged are nan.
    checkpointer : Checkpointer, optional
        If it has a checkpoint, the experiment is resumed from there, to bitwise the same numbers as without the break.
        Interrupted, it is given the state after the last complete epoch.
    threads : int, optional
        Most threads of the compiled engine; all cores, unless given. It changes no number.

    Returns
    -------
    Result
        If training diverged or was interrupted: what was recorded until then, and why it ended.
    """
    progress = _Progress(experiment, data, on_epoch or (lambda *_: None), threads)
    result = Result(experiment, data.feature_names, data.classes, data.mean, data.scale)
    try:
        if checkpointer is not None:
            progress.load(checkpointer)
        progress.train_remaining(checkpointer)
    except DivergenceError as error:
        result.diverged = str(error)
        progress.diverge(error)
    except KeyboardInterrupt:
        result.interrupted = True
        if checkpointer is not None:
            progress.save(checkpointer)
    groups = progress.finished
    if progress.group is not None:
        groups = [*groups, _group_result(experiment, data, progress.group, False, threads)]
    if groups:
        gather(result, data, groups)
    result.seconds = progress.seconds
    return result


class _Group:
    """A group of seeds that are trained side by side, and what is recorded of them.

    Attributes
    ----------
    flow : dict of ndarray
        What is recorded of the gradient flow, by step; empty before the first.
    history : list of dict
        Each epoch's numbers (seeds,), first those before training.
    checkpoint : tuple, optional
        The state of the training after its last complete epoch, unless that was the last of all; how many steps, and
        how many entries of `history`, were before. None in the first epoch.
    """

    def __init__(self, experiment: Experiment, data: Dataset, seeds: Sequence[int]):
        self.seeds, self.engine = seeds, experiment.training.engine
        self.network = build_network(experiment.network, data, seeds if len(seeds) > 1 else seeds[0])
        self.optimizer = build_optimizer(experiment.training, self.network)
        n = len(data.x_train)
        batch_size = min(experiment.training.batch_size, n)
        self._steps_per_epoch = count_batches(n, batch_size, experiment.network.batch_norm)
        self.recorded_steps = recorded_steps(experiment, len(data.x_train))
        self.probes = Probes(experiment, self.network, data.x_train)
        self._flow: list[Records] = []
        self.history: list[dict[str, np.ndarray]] = []
        self.checkpoint: tuple[State, int, int] | None = None

    @property
    def flow(self) -> Records:
        if len(self._flow) > 1:
            self._flow = [{name: np.concatenate([part[name] for part in self._flow]) for name in self._flow[0]}]
        return dict(self._flow[0]) if self._flow else {}

    def record(self, recorded: Records, step: Step | None = None) -> None:
        """Append what was recorded since the last hand-over, and what is to be seen of the step that it hands over."""
        wanted = self.recorded_steps.select(recorded)
        if len(wanted.get("step", ())):
            self._flow.append(self.probes.complete(wanted, step))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state in the checkpoint, and what was recorded until then."""
        if self.checkpoint is None:
            return {}
        state, steps, epochs = self.checkpoint
        table = self.flow
        before = table["step"] < steps
        arrays = {f"state/{name}": array for name, array in state.items()}
        arrays |= {f"flow/{name}": array[before] for name, array in table.items()}
        return arrays | {f"history/{name}": array for name, array in _by_name(self.history[:epochs]).items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore the checkpoint, and what was recorded until then, from such arrays."""
        state, history, flow = (under(part, arrays) for part in ("state", "history", "flow"))
        epochs, recorded = len(history["train_loss"]), flow["step"]
        steps = (epochs - 1) * self._steps_per_epoch
        if state["epochs"] != epochs - 1:
            raise ValueError(f"{int(state['epochs'])} epochs were trained, but {epochs - 1} recorded")
        if recorded[0] != 0 or recorded[-1] >= steps or (np.diff(recorded) <= 0).any():
            raise ValueError(f"what was recorded is not of the {steps} steps that were trained")
        if NAMES.index(self.engine) != state["engine"]:
            raise ValueError("it was trained on another engine")
        self._flow = [flow]
        self.history = [{name: history[name][i] for name in HISTORY} for i in range(epochs)]
        self.checkpoint = state, steps, epochs


class _Progress:
    """How far an experiment has come: the groups that are finished, and the one that is being trained."""

    def __init__(self, experiment: Experiment, data: Dataset, on_epoch: OnEpoch, threads: int | None):
        self.experiment, self.data, self._threads = experiment, data, threads
        together = replicas_at_once(experiment, *data.x_train.shape)
        self.groups = [experiment.seeds[i : i + together] for i in range(0, len(experiment.seeds), together)]
        self.finished: list[GroupResult] = []
        self.group: _Group | None = None
        self._on_epoch = on_epoch
        self._started, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """How long it has taken, without the breaks."""
        return self._before + time.perf_counter() - self._started

    def train_remaining(self, checkpointer: Checkpointer | None) -> None:
        """Train the groups that are not finished."""
        while len(self.finished) < len(self.groups):
            if self.group is None:
                self.group = _Group(self.experiment, self.data, self.groups[len(self.finished)])
            group = self.group
            for step in _epochs(self.experiment, self.data, group, self._threads):
                self._record(group, step)
                if checkpointer is not None and step is not None and not step.ends_training:
                    group.checkpoint = step.state(), step.index + 1, len(group.history)
                    if checkpointer.due(step.epoch + 1):
                        self.save(checkpointer)
            result = _group_result(self.experiment, self.data, group, True, self._threads)
            self.finished, self.group = [*self.finished, result], None

    def diverge(self, error: DivergenceError) -> None:
        """Record the steps of the epoch in which training diverged, and that it has no numbers."""
        assert self.group is not None
        self.group.record(error.recorded)
        self.group.history.append({name: np.full(len(self.group.seeds), np.nan) for name in HISTORY})
        self._report(self.group.seeds, self.group.history[-1:], len(self.group.history) - 1)

    def _record(self, group: _Group, step: Step | None) -> None:
        """Record an epoch's numbers, or those before training."""
        numbers = _numbers(self.experiment, group.network, self.data, self._threads)
        running = np.full(len(group.seeds), np.nan) if step is None else np.atleast_1d(step.running_loss)
        numbers["running_loss"] = running.astype(np.float64)
        group.history.append(numbers)
        self._report(group.seeds, [numbers], len(group.history) - 1)

    def _report(self, seeds: Sequence[int], history: Sequence[Mapping[str, np.ndarray]], first: int = 0) -> None:
        for epoch, numbers in enumerate(history, first):
            self._on_epoch(self.experiment, epoch, seeds, numbers)

    def save(self, checkpointer: Checkpointer) -> None:
        """Save all that a later process needs to resume, if there is anything."""
        group = self.group
        waiting = self.groups[len(self.finished) :]
        now = group.arrays() if group is not None and group.seeds in waiting else {}
        arrays = dict(now)
        for i, result in enumerate(self.finished):
            arrays |= {f"{i}/{name}": array for name, array in result.arrays().items()}
        if arrays:
            done = [[len(result.history["train_loss"]), len(result.flow["step"])] for result in self.finished]
            lengths = [len(now["history/train_loss"]), len(now["flow/step"])] if now else None
            checkpointer.save({"done": done, "under_way": lengths, "seconds": self.seconds}, arrays)

    def load(self, checkpointer: Checkpointer) -> None:
        """Restore what was saved last, if anything was."""
        found = checkpointer.load(self._declare)
        if found is None:
            return
        about, arrays = found
        self._before = about["seconds"]
        for i in range(len(about["done"])):
            self.finished.append(GroupResult.of(under(str(i), arrays)))
            self._report(self.groups[i], _by_epoch(self.finished[i].history))
        if about["under_way"] is not None:
            self.group = _Group(self.experiment, self.data, self.groups[len(self.finished)])
            self.group.restore(arrays)
            self._report(self.group.seeds, self.group.history)

    def _declare(self, about: dict[str, Any]) -> Declared:
        """Declare the arrays of a checkpoint: how many groups are finished, and how much is recorded of each."""
        done, now, seconds = about["done"], about["under_way"], about["seconds"]
        if about.keys() != {"done", "under_way", "seconds"} or type(seconds) is not float or not 0.0 <= seconds < 1e12:
            raise ValueError("its metadata are not those of a checkpoint")
        if len(done) + (now is not None) > len(self.groups):
            raise ValueError(f"{len(done)} groups are finished, of {len(self.groups)}")
        one = _Group(self.experiment, self.data, self.groups[0][:1])
        declared: dict[str, tuple[np.dtype | str, tuple[int | range, ...]]] = {}
        for i, (lengths, seeds) in enumerate(zip(done, self.groups, strict=False)):
            shapes = self._recorded_shapes(one, lengths, len(seeds))
            shapes |= {f"numbers/{name}": ("f8", (len(seeds),)) for name in MEASURES}
            shapes |= {f"tensors/{n}": (kind, (len(seeds), *s)) for n, (kind, s) in tensor_shapes(one.network).items()}
            declared |= {f"{i}/{name}": shape for name, shape in shapes.items()}
        if now is not None:
            group = _Group(self.experiment, self.data, self.groups[len(done)])
            state = state_shapes(group.network, group.optimizer)
            if self.experiment.training.patience:
                state |= stopping_shapes(group.network)
            declared |= {f"state/{name}": shape for name, shape in state.items()}
            declared |= self._recorded_shapes(one, now, len(group.seeds))
        return declared

    def _recorded_shapes(self, one: _Group, lengths: Any, n_seeds: int) -> dict[str, Any]:
        """Declare what is recorded of some seeds: the numbers of so many epochs, and the flow at so many steps."""
        epochs, recorded = lengths
        steps = self.experiment.training.epochs * len(self.data.x_train)
        if not (
            type(epochs) is type(recorded) is int
            and 2 <= epochs <= self.experiment.training.epochs + 1
            and 1 <= recorded <= steps
        ):
            raise ValueError(f"{lengths!r} are no numbers of epochs and of steps")
        shapes: dict[str, Any] = {f"history/{name}": ("f8", (epochs, n_seeds)) for name in HISTORY}
        flow = flow_shapes(self.experiment, one.network, self.data.x_train.shape[1], recorded, n_seeds)
        return shapes | {f"flow/{name}": shape for name, shape in flow.items()}


def _epochs(experiment: Experiment, data: Dataset, group: _Group, threads: int | None) -> Iterator[Step | None]:
    """Train a group; yield the last step of each epoch, after None for what was before training."""
    training, loss, start = (
        experiment.training,
        build_loss(experiment.training),
        group.checkpoint and group.checkpoint[0],
    )
    steps: Iterator[Step] = train(
        group.network,
        loss,
        group.optimizer,
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
        each=group.probes.each,
        record=group.probes.by_engine,
        record_every=group.recorded_steps.every,
        start=start,
    )
    if training.patience:

        def score(network: Network) -> np.ndarray:
            return evaluate(network, loss, data.x_valid, data.y_valid, engine=training.engine, threads=threads)[0]

        steps = early_stopping(steps, score, training.patience, start=start)
    if start is None:
        yield None
    for step in steps:
        group.record(step.recorded, step)
        if step.ends_epoch:
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


def _group_result(
    experiment: Experiment, data: Dataset, group: _Group, ended: bool, threads: int | None
) -> GroupResult:
    """Take from a group what its seeds gave; `ended` says whether their training came to its end."""
    network = group.network
    tensors = {p.name: network.params[..., p.where].reshape(-1, *p.shape).copy() for p in network.parameters}
    tensors |= {p.name: network.state[..., p.where].reshape(-1, *p.shape).copy() for p in network.states}
    flow = group.flow
    numbers = _numbers(experiment, network, data, threads) if ended else {}
    if ended:
        logits = predict(network, data.x_test, engine=experiment.training.engine, threads=threads)[..., 0]
        for name, values in scores(logits.reshape(-1, len(data.y_test)), data.y_test).items():
            numbers[f"test_{name}"] = values
        numbers["test_majority"] = np.full(len(group.seeds), majority(data.y_test))
    if flow:
        norms = flow["weight_gradient_norm"]
        numbers |= of_flow(norms[0])
        if ended:
            numbers |= {f"final_{name}": values for name, values in of_flow(norms[-1]).items()}
    return GroupResult(tensors, flow, numbers, _by_name(group.history))


def _by_name(history: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Turn the numbers (seeds,) of each epoch into arrays (epochs, seeds)."""
    return {name: np.stack([numbers[name] for numbers in history]) for name in HISTORY} if history else {}


def _by_epoch(history: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Turn arrays (epochs, seeds) into the numbers (seeds,) of each epoch."""
    return [dict(zip(history, rows, strict=True)) for rows in zip(*history.values(), strict=True)]
