"""Which steps of a training have their gradient flow recorded, decided before any is taken."""

import math
from dataclasses import dataclass

import numpy as np

from gradlab.flow.probes import Weights
from gradlab.lab.schema import Experiment
from gradlab.nn.network import Network
from gradlab.training.recording import Records

RECORDED = ("weight_gradient_norm", "zero_share", "subnormal_share")
FLOW = ("step", "epoch", *RECORDED)


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
    batches = math.ceil(n_train / experiment.training.batch_size)
    if every == "epoch":
        stride = math.ceil(epochs / (limit - 1))
        first = batches > 1 or (epochs - 1) % stride > 0  # whether the first step is not the last of such an epoch
        return RecordedSteps(True, stride, 1, epochs, math.ceil(epochs / stride) + first)
    asked, steps = 1 if every == "step" else int(every), batches * epochs
    stride = asked * math.ceil(math.ceil(steps / asked) / limit)
    return RecordedSteps(False, stride, asked, epochs, math.ceil(steps / stride))


def flow_shapes(network: Network, n_steps: int, n_seeds: int) -> dict[str, tuple[np.dtype | str, tuple[int, ...]]]:
    """Return type and shape of what is recorded of the flow at so many steps."""
    shape = n_steps, len(Weights(network).names), n_seeds
    shapes: dict[str, tuple[np.dtype | str, tuple[int, ...]]] = dict.fromkeys(("step", "epoch"), ("i8", (n_steps,)))
    return shapes | {name: (network.dtype if name.endswith("norm") else "f8", shape) for name in RECORDED}
