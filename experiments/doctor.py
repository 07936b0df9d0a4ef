"""Does the doctor name what is wrong, and does its prescription help?

Claim: from a moment's training and the probes it can be told what keeps a network from learning, and what to change.
Reference: gradlab's own `gradlab.flow.diagnose`; the bank of faults is this script.
Set-up: eighteen faults of ten kinds, each planted in a healthy network, and six healthy networks, on moons, circles and
breast cancer, ten seeds of first weights each. The verdict is the first finding. Its prescription is applied as a user
would, once; the network is cured if it then reaches, in 100 epochs, a training accuracy within 0.05 of what the healthy
network (the same but for the fault) reaches. Labels without signal have no cure, and are left out of it.
"""

import copy
import sys
import tomllib
from typing import Any

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm

from gradlab.datasets import load
from gradlab.flow import diagnose, share_interval
from gradlab.flow.doctor import KINDS
from gradlab.nn import LOSSES, OPTIMIZERS, Network, Sigmoid, SquaredError, mlp
from gradlab.training import DivergenceError, train

DATA = {"moons": {"n_samples": 400}, "circles": {"n_samples": 400}, "breast_cancer": {}}
EPOCHS, NEAR = 100, 0.05

Spec = dict[str, Any]  # dotted keys, as in a configuration, and a few that no configuration has
BASE: Spec = {
    "data.standardize": True,
    "network.width": 32,
    "network.depth": 2,
    "network.activation": "relu",
    "network.weight_init": None,
    "network.bias_init": "zeros",
    "network.gain": 1.0,
    "network.batch_norm": False,
    "training.optimizer": "sgd",
    "training.learning_rate": 0.1,
    "training.loss": "binary_cross_entropy",
    "scale": 1.0,  # what the features are multiplied by
    "shuffled": False,  # the labels
    "bent": False,  # a sigmoid after the logits
}
HEALTHY: dict[str, Spec] = {
    "ReLU, 2 layers, SGD": {},
    "ReLU, 5 layers, SGD": {"network.depth": 5},
    "ReLU, 2 layers, Adam": {"training.optimizer": "adam", "training.learning_rate": 0.01},
    "tanh, 3 layers, SGD": {"network.activation": "tanh", "network.depth": 3},
    "sigmoid, 1 layer, Adam": {"network.activation": "sigmoid", "network.depth": 1, "training.optimizer": "adam",
                               "training.learning_rate": 0.03},
    "sigmoid, 6 layers, batch norm": {"network.activation": "sigmoid", "network.depth": 6, "network.batch_norm": True},
}  # fmt: skip
FAULTS: dict[str, tuple[str, Spec, Spec]] = {  # name: (kind, the healthy network, what is planted in it)
    "sigmoid, 8 layers": ("vanishing", {"network.depth": 8}, {"network.activation": "sigmoid"}),
    "ReLU, gain 0.2": ("vanishing", {"network.depth": 6}, {"network.gain": 0.2}),
    "ReLU, gain 6": ("exploding", {"network.depth": 6}, {"network.gain": 6.0}),
    "leaky ReLU, gain 8": ("exploding", {"network.depth": 5, "network.activation": "leaky_relu"},
                           {"network.gain": 8.0}),
    "tanh, gain 20": ("saturated", {"network.activation": "tanh"}, {"network.gain": 20.0}),
    "sigmoid, gain 80": ("saturated", {"network.activation": "sigmoid", "training.optimizer": "adam",
                                      "training.learning_rate": 0.03}, {"network.gain": 80.0}),
    "biases at −10": ("dead", {}, {"network.bias_init": -10.0}),
    "SGD at 100": ("rate_too_high", {}, {"training.learning_rate": 100.0}),
    "Adam at 10": ("rate_too_high", HEALTHY["ReLU, 2 layers, Adam"], {"training.learning_rate": 10.0}),
    "SGD at 1e-5": ("rate_too_low", {}, {"training.learning_rate": 1e-5}),
    "Adam at 1e-6": ("rate_too_low", HEALTHY["ReLU, 2 layers, Adam"], {"training.learning_rate": 1e-6}),
    "features × 1000": ("unscaled", {}, {"scale": 1000.0, "data.standardize": False}),
    "features × 0.0001": ("unscaled", {}, {"scale": 1e-4, "data.standardize": False}),
    "labels shuffled": ("no_signal", {}, {"shuffled": True}),
    "squared error": ("wrong_loss", {}, {"training.loss": "squared_error"}),
    "sigmoid after the logits": ("wrong_loss", {}, {"bent": True}),
    "weights of 0": ("symmetric", {}, {"network.weight_init": "zeros"}),
    "weights all equal": ("symmetric", {"network.activation": "tanh"}, {"network.weight_init": "constant"}),
}  # fmt: skip


class Patient:
    """A network and its data, made from a specification."""

    def __init__(self, data: str, spec: Spec, seed: int):
        self.spec, self.data, self.seed = BASE | spec, data, seed
        loaded = load(data, seed=0, standardize=True, **DATA[data])
        self.x = loaded.x_train if self.spec["data.standardize"] else loaded.x_train * self.spec["scale"]
        self.y = loaded.y_train.copy()
        if self.spec["shuffled"]:
            np.random.default_rng(seed).shuffle(self.y)

    def build(self) -> Network:
        """Make the network, with the first weights of its seed."""
        spec = {key.partition(".")[2] or key: value for key, value in self.spec.items()}
        widths = [self.x.shape[1], *[spec["width"]] * spec["depth"], 1]
        layers = mlp(
            widths, spec["activation"], spec["weight_init"], gain=spec["gain"], batch_norm=spec["batch_norm"],
        )  # fmt: skip
        shift = 0.0 if spec["bias_init"] == "zeros" else spec["bias_init"]  # a number: all hidden biases are that
        network = Network([*layers, Sigmoid()] if spec["bent"] else layers, seed=self.seed)
        for p in network.parameters[:-2]:
            if p.attribute == "b":
                network.params[p.where] += shift
        return network

    def loss(self) -> Any:
        """Make the loss; a squared error is that of the sigmoid's output."""
        name = self.spec["training.loss"]
        return SquaredError(on="sigmoid") if name == "squared_error" else LOSSES[name]()

    def optimizer(self) -> Any:
        """Make the optimizer."""
        return OPTIMIZERS[self.spec["training.optimizer"]](self.spec["training.learning_rate"])

    def diagnose(self) -> Any:
        """Ask the doctor."""
        return diagnose(self.build(), self.x, self.y, loss=self.loss(), optimizer=self.optimizer())

    def cured_by(self, finding: Any) -> "Patient":
        """Apply a prescription as a user would: paste the override, or do what the advice says."""
        spec = copy.deepcopy(self.spec)
        for assignment in finding.override.split():
            key, _, value = assignment.partition("=")
            try:
                spec[key] = tomllib.loads(f"value = {value}")["value"]
            except tomllib.TOMLDecodeError:
                spec[key] = value
        if finding.kind == "wrong_loss" and not finding.override:
            spec["bent"] = False
        return Patient(self.data, spec, self.seed)

    def accuracy(self, epochs: int) -> float:
        """Train, and return the accuracy on the samples trained on; that of one class if it diverges."""
        network = self.build()
        try:
            for _ in train(network, self.loss(), self.optimizer(), self.x, self.y, epochs=epochs, batch_size=32,
                           seed=self.seed):  # fmt: skip
                pass
        except DivergenceError:
            return float(max(self.y.mean(), 1.0 - self.y.mean()))
        logits = network.decision_function(self.x)[:, 0]
        return float(np.mean((logits > (0.5 if self.spec["bent"] else 0.0)) == self.y))


def experiment(report: Report, quick: bool) -> None:
    data = ["circles"] if quick else list(DATA)
    seeds = range(1 if quick else 10)
    healthy = {
        name: [Patient(d, spec, s).diagnose().kind for d in data for s in seeds] for name, spec in HEALTHY.items()
    }
    calm = np.array([kind == "healthy" for kinds in healthy.values() for kind in kinds])
    named: dict[str, list[str]] = {}
    cured: dict[str, list[bool]] = {}
    for name, (kind, base, fault) in tqdm(FAULTS.items(), disable=None, unit="fault"):
        named[name], cured[name] = [], []
        for d in data:
            for s in seeds:
                patient = Patient(d, base | fault, s)
                findings = patient.diagnose().findings
                named[name].append(findings[0].kind if findings else "healthy")
                if kind != "no_signal":
                    after = patient.cured_by(findings[0]).accuracy(EPOCHS) if findings else 0.0
                    cured[name].append(after > Patient(d, base, s).accuracy(EPOCHS) - NEAR)
    right = np.array([found == FAULTS[name][0] for name, kinds in named.items() for found in kinds])
    helped = np.array([c for cures in cured.values() for c in cures])
    report.numbers |= {
        "named": {name: float(np.mean([k == FAULTS[name][0] for k in kinds])) for name, kinds in named.items()},
        "mistaken": {name: sorted({KINDS[k] for k in kinds if k != FAULTS[name][0]}) for name, kinds in named.items()},
        "cured": {name: float(np.mean(cures)) if cures else None for name, cures in cured.items()},
        "calm": {name: float(np.mean([k == "healthy" for k in kinds])) for name, kinds in healthy.items()},
        "alarms": {name: sorted({KINDS[k] for k in kinds if k != "healthy"}) for name, kinds in healthy.items()},
        "kind": {name: KINDS[kind] for name, (kind, _, _) in FAULTS.items()},
    }
    for says, happened, least in (
        (f"planted faults that are named rightly, of {len(right)}", right, 0.9),
        (f"healthy networks without an alarm, of {len(calm)}", calm, 0.95),
        (f"planted faults that the prescription cures, of {len(helped)}", helped, 0.8),
    ):
        interval = share_interval(int(happened.sum()), len(happened))
        share = f"{happened.mean():.1%} (95 % interval {interval.low:.1%} to {interval.high:.1%})"
        report.claim(says, f"at least {least:.0%}", share, bool(happened.mean() >= least))
    least = min(cured, key=lambda name: report.numbers["cured"][name] if cured[name] else 1.0)
    worst = min(report.numbers["named"], key=lambda name: report.numbers["named"][name])
    report.conclusion = (
        f"Of {len(right)} planted faults {right.mean():.0%} get the right name, of {len(calm)} healthy networks "
        f"{1.0 - calm.mean():.1%} a false alarm, and {helped.mean():.0%} of the prescriptions cure. The fault that is "
        f"named least often is “{worst}” ({report.numbers['named'][worst]:.0%}), the one that is cured least often "
        f"“{least}” ({report.numbers['cured'][least]:.0%})."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    names = list(numbers["named"])
    figure = Figure(figsize=(8.5, 0.34 * (len(names) + len(numbers["calm"])) + 1.8))
    top, bottom = figure.subplots(2, 1, height_ratios=[len(names), len(numbers["calm"])], sharex=True)
    place = np.arange(len(names))
    top.barh(place - 0.2, array([numbers["named"][n] for n in names]), 0.38, color="#307EC7", label="named rightly")
    top.barh(
        place + 0.2,
        array([numbers["cured"][n] for n in names]),
        0.38,
        color="#E69F00",
        label="cured by the prescription",
    )
    top.set_yticks(place, [f"{n}: {numbers['kind'][n]}" for n in names])
    top.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    calm = list(numbers["calm"])
    bottom.barh(np.arange(len(calm)), array([numbers["calm"][n] for n in calm]), 0.5, color="#4D4D4D")
    bottom.set_yticks(np.arange(len(calm)), [f"healthy: {n}" for n in calm])
    bottom.set_xlabel("share of seeds and data sets (below: without an alarm)")
    for ax in (top, bottom):
        ax.invert_yaxis()
        ax.set_xlim(0.0, 1.0)
        ax.grid(axis="y", visible=False)
    figure.suptitle("What the doctor names and what it cures: planted faults, and healthy networks", fontsize=11)
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
