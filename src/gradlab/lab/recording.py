"""Which steps of a training have their gradient flow recorded, decided before any is taken."""

import math
from dataclasses import dataclass

import numpy as np

from gradlab.flow.probes import Sight, Weights, rows_of
from gradlab.flow.quantities import OF_ACTIVATIONS, Activations, find_probe
from gradlab.lab.schema import Experiment
from gradlab.nn.network import Network
from gradlab.training.batches import count_batches
from gradlab.training.loop import Step
from gradlab.training.recording import QUANTITIES, Records

RECORDED = ("weight_gradient_norm", "zero_share", "subnormal_share")


def flow_names(experiment: Experiment) -> tuple[str, ...]:
    """Return the quantities that are recorded of an experiment: always `RECORDED`, then what ``probe.what`` adds."""
    return RECORDED + tuple(name for name in experiment.probe.what if name not in RECORDED)


class Probes:
    """What is measured of the recorded steps of a network: some by the engine, the rest by looking at each step.

    Attributes
    ----------
    names, by_engine : tuple of str
        All quantities, and those that the engine records by itself.
    each : "epoch" or "step"
        How often the training has to hand over a step.
    """

    def __init__(self, experiment: Experiment, network: Network, x: np.ndarray):
        self.names = flow_names(experiment)
        self.by_engine = tuple(name for name in self.names if name in QUANTITIES)
        self._looks = {name: find_probe(name) for name in self.names if name not in QUANTITIES}
        self.each = "step" if self._looks else "epoch"
        self._network, self._x, self._n = network, x, len(network.seeds)
        self._weights = Weights(network)
        self._activations = Activations(network) if self._looks.keys() & OF_ACTIVATIONS else None

    def complete(self, wanted: Records, step: Step | None) -> Records:
        """Add to what the engine recorded what is to be seen of the same steps; nan where no step is handed over."""
        table = {name: wanted[name] for name in ("step", "epoch", *self.by_engine)}
        n = len(wanted["step"])
        if step is None:
            rows = {name: rows_of(name, self._network, self._x.shape[1]) for name in self._looks}
            return table | {name: np.full((n, count, self._n), np.nan) for name, count in rows.items()}
        sight = Sight(step.network, step.tape, step.deltas, self._weights, None, self._activations, self._x)
        for name, look in self._looks.items():
            seen = np.array(look(sight), np.float64)
            table[name] = seen.reshape(1, len(seen), -1)
        return table


@dataclass(frozen=True)
class RecordedSteps:
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
        """The `record_every` of `train` that records at least these."""
        return "epoch" if self.by_epoch else self.stride

    def select(self, recorded: Records) -> Records:
        """Return the wanted ones of the steps that an engine recorded."""
        if not self.by_epoch or self.stride == 1 or not recorded:
            return recorded
        last = recorded["ends_epoch"] & ((self.epochs - 1 - recorded["epoch"]) % self.stride == 0)
        wanted = last | (recorded["step"] == 0)
        return {name: array[wanted] for name, array in recorded.items()}

    @property
    def thinned(self) -> str:
        """What is recorded in place of what was asked for; empty if that is recorded."""
        if self.stride == self.asked:
            return ""
        unit = "epoch" if self.by_epoch else "step"
        asked = f"every {unit}" if self.asked == 1 else f"one {unit} in {self.asked}"
        return f"one {unit} in {self.stride} is recorded, not {asked}, which would be more than probe.limit allows"


def recorded_steps(experiment: Experiment, n_train: int) -> RecordedSteps:
    """Choose which steps are recorded, before any is taken: no more than ``probe.limit``, however long training is."""
    every, limit, epochs = experiment.probe.every, experiment.probe.limit, experiment.training.epochs
    batches = count_batches(n_train, min(experiment.training.batch_size, n_train), experiment.network.batch_norm)
    if every == "epoch":
        stride = math.ceil(epochs / (limit - 1))
        first = batches > 1 or (epochs - 1) % stride > 0  # whether the first step is not the last of such an epoch
        return RecordedSteps(True, stride, 1, epochs, math.ceil(epochs / stride) + first)
    asked, steps = 1 if every == "step" else int(every), batches * epochs
    stride = asked * math.ceil(math.ceil(steps / asked) / limit)
    return RecordedSteps(False, stride, asked, epochs, math.ceil(steps / stride))


def flow_shapes(
    experiment: Experiment, network: Network, n_features: int, n_steps: int, n_seeds: int
) -> dict[str, tuple[np.dtype | str, tuple[int, ...]]]:
    """Return type and shape of what is recorded of the flow at so many steps."""
    shapes: dict[str, tuple[np.dtype | str, tuple[int, ...]]] = dict.fromkeys(("step", "epoch"), ("i8", (n_steps,)))
    for name in flow_names(experiment):
        kind = network.dtype if name in QUANTITIES and not name.endswith("share") else "f8"
        shapes[name] = kind, (n_steps, rows_of(name, network, n_features), n_seeds)
    return shapes
