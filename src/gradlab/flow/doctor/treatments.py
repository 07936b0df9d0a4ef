"""A treatment changes a patient as keys of a configuration say; it is tried before it is given."""

from __future__ import annotations

import copy
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gradlab.flow.doctor.patient import Patient
from gradlab.nn import (
    ACTIVATIONS,
    LOSSES,
    OPTIMIZERS,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    Network,
    Recurrent,
    Residual,
    mlp,
)
from gradlab.nn.optimizers import Optimizer

Treatment = Mapping[str, Any]  # keys of a configuration, and what they are set to

# In a classifier's words; what is not here it cannot be told.
CLASSIFIER = {
    "network.activation": "activation",
    "network.weight_init": "weight_init",
    "network.batch_norm": "batch_norm",
    "network.dropout": "dropout",
    "network.width": "hidden_layer_sizes",
    "training.optimizer": "solver",
    "training.learning_rate": "learning_rate_init",
    "training.loss": "loss",
    "training.class_weight": "class_weight",
}


def treated(patient: Patient, treatment: Treatment) -> Patient | None:
    """Return the patient after a treatment; None if that is what it is already, or cannot be done to it."""
    changes: dict[str, Any] = {}
    structure = {key.removeprefix("network."): v for key, v in treatment.items() if key.startswith("network.")}
    if structure:
        layers = _rebuilt(patient.network.layers, structure)
        changes["network"] = Network(layers, seed=patient.network.seeds[0], dtype=patient.network.dtype)
        changes["optimizer"] = _fresh(patient.optimizer)
    after = patient.but(**changes)
    for key, value in treatment.items():
        if not key.startswith("network."):
            after = after.but(**OTHERWISE[key](after, value))
    return None if _is_same(patient, after) else after


def _is_same(one: Patient, other: Patient) -> bool:
    """Tell whether a treatment has changed nothing."""
    same_data = np.array_equal(one.x, other.x) and one.weights is other.weights
    same_training = one.optimizer is other.optimizer and one.loss is other.loss and one.batch_size == other.batch_size
    same_network = _described(one.network) == _described(other.network) and np.array_equal(
        one.network.params, other.network.params
    )
    return same_data and same_training and same_network


def _described(network: Network) -> str:
    return repr(network.layers)


# --- the network ----------------------------------------------------------------------------------------------------


def _rebuilt(layers: Sequence[Layer], change: Mapping[str, Any]) -> list[Layer]:
    """Lay out the same layers anew, but for what is to change; they have no parameters drawn by hand any more."""
    dense = [layer for layer in _opened(layers) if isinstance(layer, Dense)]
    rebuild = _Rebuilding(change, dense[-1] if dense else None)
    return rebuild.all_of(layers)


def _opened(layers: Sequence[Layer]) -> list[Layer]:
    return [inner for layer in layers for inner in (_opened(layer.layers) if layer.layers else [layer])]


class _Rebuilding:
    """Makes each layer again, from the input on."""

    def __init__(self, change: Mapping[str, Any], last: Dense | None):
        self._change, self._last = change, last
        self._given: int | None = None  # how many features the layer before gives now, if another number than it did

    def all_of(self, layers: Sequence[Layer]) -> list[Layer]:
        made: list[Layer] = []
        for i, layer in enumerate(layers):
            made += self._one(layer, layers[i + 1] if i + 1 < len(layers) else None)
        return made

    def _one(self, layer: Layer, following: Layer | None) -> list[Layer]:
        change = self._change
        if isinstance(layer, Residual):
            return [Residual(self.all_of(layer.layers))]
        if isinstance(layer, Dense):
            return self._dense(layer, following)
        if isinstance(layer, Recurrent):
            return [self._recurrent(layer)]
        if isinstance(layer, BatchNorm):
            return [BatchNorm(self._given or layer.n_in, layer.momentum, layer.epsilon)]
        if isinstance(layer, Activation) and "activation" in change:
            return [ACTIVATIONS[change["activation"]]()]
        if isinstance(layer, Dropout) and "dropout" in change:
            return [Dropout(change["dropout"])] if change["dropout"] else []
        return [copy.deepcopy(layer)]

    def _dense(self, layer: Dense, following: Layer | None) -> list[Layer]:
        change, is_last = self._change, layer is self._last
        n_in = self._given or layer.n_in
        n_out = layer.n_out if is_last or "width" not in change else change["width"]
        self._given = n_out if "width" in change else None
        inits = change.get("weight_init", layer.weight_init), change.get("bias_init", layer.bias_init)
        made: list[Layer] = [Dense(n_in, n_out, *inits, change.get("gain", layer.gain))]
        if change.get("batch_norm") and not is_last and not isinstance(following, BatchNorm):
            made.append(BatchNorm(n_out))
        return made

    def _recurrent(self, layer: Recurrent) -> Recurrent:
        change = self._change
        return Recurrent(
            layer.features,
            layer.n_out,
            ACTIVATIONS[change["activation"]]() if "activation" in change else copy.deepcopy(layer.activation),
            layer.weight_init,
            change.get("recurrent_init", layer.recurrent_init),
            layer.bias_init,
            layer.gain,
            change.get("recurrent_gain", layer.recurrent_gain),
            layer.sequence,
        )


# --- what stands around it ------------------------------------------------------------------------------------------


def _standardize(patient: Patient, value: bool) -> dict[str, Any]:
    scale = patient.x.std(axis=0)
    return {"x": (patient.x - patient.x.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0).astype(patient.x.dtype)}


def _set_rate(patient: Patient, value: float) -> dict[str, Any]:
    if math.isclose(value, patient.optimizer.learning_rate):
        return {}
    optimizer = copy.deepcopy(patient.optimizer)
    optimizer.learning_rate = value
    return {"optimizer": optimizer}


def _set_optimizer(patient: Patient, value: str) -> dict[str, Any]:
    kind = OPTIMIZERS[value]
    return {} if type(patient.optimizer) is kind else {"optimizer": kind()}


def _set_loss(patient: Patient, value: str) -> dict[str, Any]:
    return {} if isinstance(patient.loss, LOSSES[value]) else {"loss": LOSSES[value]()}  # type: ignore[arg-type]


def _weigh_classes(patient: Patient, value: str) -> dict[str, Any]:
    """Weigh each class by n / (classes · its samples), as scikit-learn's "balanced" does."""
    weights = (len(patient.labels) / (np.count_nonzero(patient.counts) * patient.counts))[patient.labels]
    return {"weights": weights.astype(patient.x.dtype)}


def _cut_last_activation(patient: Patient, value: bool) -> dict[str, Any]:
    """End with the Dense that gives the logits; its parameters stay."""
    layers = [copy.deepcopy(layer) for layer in patient.network.layers]
    while layers and isinstance(layers[-1], Activation):
        layers.pop()
    network = Network(layers, seed=patient.network.seeds[0], dtype=patient.network.dtype)
    network.params[...] = patient.network.params
    return {"network": network, "optimizer": _fresh(patient.optimizer)}


def _begin_again(patient: Patient, value: bool) -> dict[str, Any]:
    """Go back to the first weights."""
    return {"network": copy.deepcopy(patient.start), "optimizer": _fresh(patient.optimizer)}


def _fresh(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer that has not taken a step: itself, or a copy without its running averages."""
    if not optimizer.t:
        return optimizer
    optimizer = copy.deepcopy(optimizer)
    optimizer.t = 0
    for name in optimizer.averages:
        vars(optimizer).pop(name, None)
    return optimizer


OTHERWISE: dict[str, Callable[[Patient, Any], dict[str, Any]]] = {
    "data.standardize": _standardize,
    "training.optimizer": _set_optimizer,
    "training.learning_rate": _set_rate,
    "training.loss": _set_loss,
    "training.class_weight": _weigh_classes,
    # of a network in Python; a configuration has no such keys
    "ends in logits": _cut_last_activation,
    "begin again": _begin_again,
}
WITHOUT_KEY = ("ends in logits", "begin again", "network.recurrent_init", "network.recurrent_gain")


# --- in words -------------------------------------------------------------------------------------------------------


def as_override(treatment: Treatment) -> str:
    """Write a treatment as keys of a configuration, ``key=value``, with spaces between several."""
    return " ".join(f"{key}={_toml(value)}" for key, value in treatment.items() if key not in WITHOUT_KEY)


def as_flags(override: str, variant: str = "") -> str:
    """Write an override as options of the command line, quoted for the shell; for one variant, if it is named."""
    prefix = f"{variant}:" if variant else ""
    return " ".join(f"--set {shlex.quote(prefix + assignment)}" for assignment in override.split())


def as_python(after: Patient, treatment: Treatment) -> str:
    """Write a treatment in Python's words: arguments in place of those given; if possible, a classifier's too."""
    arguments = []
    if any(key.startswith("network.") for key in treatment) or "ends in logits" in treatment:
        arguments.append(f"network={_construction(after.network)}")
    if "begin again" in treatment:
        arguments.append("network with its first weights")
    if "data.standardize" in treatment:
        arguments.append("x=StandardScaler().fit_transform(x)")
    if "training.learning_rate" in treatment or "training.optimizer" in treatment:
        arguments.append(f"optimizer={type(after.optimizer).__name__}({after.optimizer.learning_rate:.3g})")
    if "training.loss" in treatment:
        arguments.append(f"loss={after.loss!r}")
    if "training.class_weight" in treatment:
        arguments.append('weights=compute_sample_weight("balanced", y)')
    told = {CLASSIFIER[key]: value for key, value in treatment.items() if key in CLASSIFIER}
    if not after.is_classifiers:
        told = {}
    if "hidden_layer_sizes" in told:
        told["hidden_layer_sizes"] = tuple(layer.n_out for layer in after.hidden)
    classifier = ", ".join(f"{name}={value!r}" for name, value in told.items())
    return ", ".join(arguments) + (f"\nMLPClassifier({classifier})" if told else "")


def _construction(network: Network) -> str:
    """Write a call that makes the network: by `mlp`, if that makes the same layers."""
    dense = [layer for layer in _opened(network.layers) if isinstance(layer, Dense)]
    acts = [layer for layer in _opened(network.layers) if isinstance(layer, Activation)]
    names = {name for name, make in ACTIVATIONS.items() if acts and type(make()) is type(acts[0])}
    options: dict[str, Any] = {}
    if dense and names:
        name = min(names)
        inits = {layer.weight_init.__name__ for layer in dense[:-1]}
        if inits != {acts[0].weight_init} and len(inits) == 1:
            options["weight_init"] = inits.pop()
        if (gain := dense[0].gain) != 1.0:
            options["gain"] = gain
        dropout = [layer.rate for layer in _opened(network.layers) if isinstance(layer, Dropout)]
        if dropout:
            options["dropout"] = dropout[0]
        for option, kind in (("batch_norm", BatchNorm), ("residual", Residual)):
            holders = network.layers if kind is Residual else _opened(network.layers)
            if any(isinstance(layer, kind) for layer in holders):
                options[option] = True
        widths = [dense[0].n_in, *[layer.n_out for layer in dense]]
        if repr(mlp(widths, name, **options)) == repr(list(network.layers)):
            told = "".join(f", {option}={value!r}" for option, value in options.items())
            return f'Network(mlp({widths}, "{name}"{told}), seed={network.seeds[0]})'
    return f"Network([{', '.join(map(repr, network.layers))}], seed={network.seeds[0]})"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)
