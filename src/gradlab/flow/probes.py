"""The recorder takes the probes along a training, and keeps what each says of each layer at each step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradlab.flow.quantities import (
    OF_ACTIVATIONS,
    OF_ALL,
    OF_BIASES,
    PROBES,
    Activations,
    Probe,
    Sight,
    biases,
    find_probe,
)
from gradlab.nn.checks import lookup
from gradlab.nn.network import Network
from gradlab.nn.wiring import numbered
from gradlab.training.loop import Step
from gradlab.training.passes import lay_open, part_of
from gradlab.training.recording import Weights, check_every, is_recorded

__all__ = ["PROBES", "FlowRecorder", "Probe", "Sight", "Weights"]


def _name(what: str | Probe) -> str:
    name = what if isinstance(what, str) else getattr(what, "__name__", "")
    if not isinstance(name, str) or (callable(what) and (not name.isidentifier() or name in PROBES)):
        raise ValueError(f"what: {what!r} is neither a name nor a function with a name of its own")
    return name


def rows_of(name: str, network: Network, n_features: int) -> int:
    """Return how many rows a quantity has: one per weight matrix, activation, row of biases or unit, or one for all."""
    _, at, place = name.partition("@")
    if at:
        tape = network.forward(np.zeros((1, n_features), network.dtype))
        return part_of(network, place, lay_open(network.layers, tape)).y.shape[-1]
    if name in OF_ACTIVATIONS:
        return len(Activations(network).names)
    if name in OF_BIASES:
        return len(biases(network))
    return 1 if name in OF_ALL else len(Weights(network).names)


class FlowRecorder:
    """Records the gradient flow of the steps that it is called with.

    Call it with every step; it takes those that it wants. If `train` was told to ``record`` all that is wanted, it
    takes what was recorded, also of steps that were not handed over. Nothing of the network is kept but the numbers in
    `table` and, for ``update_ratio``, one copy of the parameters.

    Parameters
    ----------
    every : "step", "epoch" or int
        Which steps: all; the first of all and the last of each epoch; or one in so many, from the first.
    what : sequence of str or callable
        Names from `PROBES`, or a probe of your own: a function with a name, from a `Sight` to numbers (rows, ...), with
        a column per replica, if there are any.

        Of each weight matrix, ``layers``: ``weight_gradient_norm``, ``weight_norm`` (after the step), ``zero_share``
        and ``subnormal_share`` of the gradient, ``delta_rms`` (of dL/dz of the batch's mean loss), and
        ``update_ratio``, ‖ΔW‖/‖W‖ with W from before the step. That is from before the training or from when the
        recorder was called with the step before, so what else is done to the weights in between counts too. It is nan
        if the recorder was not called with the step before; where W was zero it is inf, or nan if it is zero still.

        ``gradient_min``, ``gradient_max``, ``gradient_q05``, ``_q25``, ``_q50``, ``_q75`` and ``_q95`` of the entries
        of each matrix's gradient. Of each layer's biases: ``bias_norm`` and ``bias_gradient_norm``. Of all parameters
        together: ``total_gradient_norm``.

        Of the units of one layer, at its place in the network, over the batch's samples: ``activation_mean@3``,
        ``activation_std@3``, ``delta_rms@3`` (of dL/dy) and ``saturated_share@3``.

        Of each activation, over the batch's samples and the units: ``preactivation_mean``, ``_std``, ``_q05``,
        ``_q25``, ``_q50``, ``_q75``, ``_q95`` of its input, ``activation_mean``, … of its output, and
        ``saturated_share``, where abs(φ') is below 5 % of its largest value. ``dead_share`` is the share of units with
        φ' = 0 at every sample of `x`, when the network predicts, after the step.
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array (n, d), optional
        The data, for ``dead_share``. They are not copied.

    Attributes
    ----------
    layers : tuple of str
        Names of the weight matrices, from the input to the logits; empty before the first step.

    Raises
    ------
    ValueError
        For an unknown name; ``dead_share`` without x; or, when called, what is not a step, a step of another network
        than the first, or a network that has no layers of the wanted kind.

    Examples
    --------
    >>> from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
    >>> from gradlab.training import train
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0.0, 1.0])
    >>> recorder = FlowRecorder(what=["weight_gradient_norm", "activation_mean"])
    >>> for step in train(Network(mlp([2, 3, 1])), BinaryCrossEntropy(), SGD(), x, y, epochs=5, batch_size=2):
    ...     recorder(step)
    >>> recorder.table()["weight_gradient_norm"].shape  # steps, layers, replicas
    (5, 2, 1)
    >>> recorder.layers, recorder.layers_of("activation_mean")
    (('0.W', '2.W'), ('1',))
    """

    def __init__(
        self, every: str | int = 1, what: str | Sequence[str | Probe] = ("weight_gradient_norm",), *, x: Any = None
    ):
        self.every = check_every(every)
        what = (what,) if isinstance(what, str) or callable(what) else what
        self._probes = {_name(one): one if callable(one) else find_probe(one) for one in what}
        if "dead_share" in self._probes and x is None:
            raise ValueError("x: dead_share is of the whole data; give them, FlowRecorder(..., x=...)")
        self._x = x if x is None or hasattr(x, "toarray") else np.asarray(x)
        if self._x is not None and (self._x.ndim < 2 or self._x.shape[-2] == 0):
            raise ValueError(
                f"x: an array of shape {self._x.shape} is not (samples, features) with at least one sample"
            )
        self._steps: list[tuple[int, int]] = []
        self._records: dict[str, list[np.ndarray]] = {name: [] for name in self._probes}
        self._network: Network | None = None
        self._weights: Weights
        self._activations: Activations | None = None
        self._copy: np.ndarray | None = None  # of the parameters after a step:
        # of which training, by its first ones (None: the one that is continued), and its index
        self._copied_after: tuple[np.ndarray | None, int] | None = None
        self.layers: tuple[str, ...] = ()

    def __call__(self, step: Step) -> None:
        """Record a step, if it is one of those wanted."""
        if not isinstance(step, Step):
            raise ValueError(f"step: {step!r} is not a Step of train")
        if step.network is not self._network:
            self._meet(step)
        if step.recorded and self._probes.keys() <= step.recorded.keys():
            self._take_over(step)
        elif is_recorded(self.every, step.index, step.ends_epoch):
            self._look_at(step)
        if "update_ratio" in self._probes and (self.every == "epoch" or (step.index + 1) % self.every == 0):  # type: ignore[operator]
            self._keep(step)

    def _take_over(self, step: Step) -> None:
        """Take what the engine has recorded of the steps up to this one, of those that are wanted."""
        times = [step.recorded[name].tolist() for name in ("step", "epoch", "ends_epoch")]
        for i, (index, epoch, ends_epoch) in enumerate(zip(*times, strict=True)):
            if is_recorded(self.every, index, ends_epoch):
                self._steps.append((index, epoch))
                for name, record in self._records.items():
                    record.append(step.recorded[name][i])

    def _look_at(self, step: Step) -> None:
        """Take the probes of a step."""
        sight = Sight(
            step.network, step.tape, step.deltas, self._weights, self._before(step), self._activations, self._x
        )
        numbers = {name: np.array(probe(sight)) for name, probe in self._probes.items()}
        self._steps.append((step.index, step.epoch))
        for name, record in self._records.items():
            record.append(numbers[name])

    def _meet(self, step: Step) -> None:
        """Look for the layers that the wanted probes are about."""
        network = step.network
        if self._network is not None:
            raise ValueError(f"step: it is of another network, {network!r}, than the steps before; use a recorder each")
        x, inputs = self._x, step.tape[0].shape
        if x is not None and (x.shape[-1] != inputs[-1] or x.shape[:-2] not in ((), inputs[:-2])):
            raise ValueError(f"x: an array of shape {x.shape} does not fit a network that trains on {inputs}")
        weights = Weights(network)
        if self._probes.keys() & OF_BIASES and not biases(network):
            raise ValueError(f"{network!r} has no biases that could be recorded")
        places = {place for place, _ in numbered(network.layers)}
        for name in self._probes:
            _, at, place = name.partition("@")
            if at and place not in places:
                raise ValueError(
                    f"what: {name!r}: {network!r} has no layer {place}; it has {', '.join(sorted(places))}"
                )
        if self._probes.keys() & OF_ACTIVATIONS:
            self._activations = Activations(network)
        self._network, self._weights, self.layers = network, weights, weights.names

    def _before(self, step: Step) -> np.ndarray | None:
        """Return the parameters from before the step, if they are known."""
        if step.index == 0:
            return step.initial_params
        if self._copied_after is None:
            return None
        training, index = self._copied_after
        goes_on = training is None or training is step.initial_params
        return self._copy if goes_on and index == step.index - 1 else None

    def _keep(self, step: Step) -> None:
        """Copy the parameters: the next step may be one that is recorded."""
        if self._copy is None:
            self._copy = np.empty_like(step.network.params)
        np.copyto(self._copy, step.network.params)
        self._copied_after = step.initial_params, step.index

    def state(self) -> dict[str, np.ndarray]:
        """Copy what was recorded, as arrays by name: `table`, and the copy of the parameters if one is kept.

        It is empty before the first record. Together with `Step.state` it is all that a recorded training depends on.
        """
        kept = self.table() if self._steps else {}
        if self._copy is not None and self._copied_after is not None:
            kept |= {"copy": self._copy.copy(), "copied_after": np.array(self._copied_after[1])}
        return kept

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on recording from what `state` gave: the next step is one of `train` with ``start=``."""
        self._steps = list(zip(state["step"].tolist(), state["epoch"].tolist(), strict=True)) if state else []
        for name, record in self._records.items():
            record[:] = list(state[name]) if state else []
        if "copy" in state:
            self._copy, self._copied_after = state["copy"].copy(), (None, int(state["copied_after"]))

    def layers_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the layers of one recorded quantity, the second axis of its table.

        Weight matrices are ``"0.W"``, ``"2.W"``, …; activations go by their place, ``"1"``, ``"3"``, …; both are
        ``"2.0.W"``, ``"2.1"`` inside a container at 2. Biases are ``"0.b"``, …, all parameters together ``"all"``;
        units, and the rows of a probe of your own, are numbered from ``"0"``. Empty before the first step.

        Raises
        ------
        ValueError
            If that quantity is not recorded.
        """
        lookup("name", name, self._probes)
        if not self.layers or self._network is None:
            return ()
        if name in OF_ACTIVATIONS:
            return () if self._activations is None else self._activations.names
        if name in OF_BIASES:
            return tuple(p.name for p in biases(self._network))
        if name in OF_ALL:
            return ("all",)
        if name in PROBES:
            return self.layers
        return tuple(str(i) for i in range(len(self._records[name][0])))

    def table(self) -> dict[str, np.ndarray]:
        """Return ``step`` and ``epoch`` (steps,), and each quantity (steps, layers, replicas); one network is one.

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        if not self._steps:
            raise ValueError("no step was recorded: call the recorder with the steps of train")
        table = {"step": np.array([i for i, _ in self._steps]), "epoch": np.array([e for _, e in self._steps])}
        for name, records in self._records.items():
            table[name] = np.stack([record.reshape(len(record), -1) for record in records])
        return table
