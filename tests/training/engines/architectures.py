"""Random trainings: an architecture, a loss, an optimizer, and what else `train` takes, all drawn from one seed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlab.nn import (
    ACTIVATIONS,
    ELU,
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    LeakyReLU,
    Network,
    Residual,
    RMSProp,
    SoftmaxCrossEntropy,
    SquaredError,
    schedules,
)
from gradlab.nn.wiring import walk


@dataclass
class Training:
    """Everything that a training needs, made anew at each call."""

    layers: Any
    loss: Any
    optimizer: Any
    x: np.ndarray
    y: np.ndarray
    seed: Any
    dtype: Any
    options: dict[str, Any] = field(default_factory=dict)

    def network(self):
        return Network(self.layers(), seed=self.seed, dtype=self.dtype)


def activation(rng):
    name = rng.choice([*ACTIVATIONS, "LeakyReLU", "ELU"])
    if name == "LeakyReLU":
        return LeakyReLU(float(rng.uniform(0, 1)))
    if name == "ELU":
        return ELU(float(rng.uniform(0, 2)))
    return ACTIVATIONS[name]()


def block(rng, width, depth=0):
    """Some layers that keep the width."""
    layers = [Dense(width, width, bias_init="normal", gain=float(rng.uniform(0.3, 1.0)))] if rng.random() < 0.7 else []
    if rng.random() < 0.4:
        layers.append(BatchNorm(width, momentum=float(rng.uniform(0.05, 1.0))))
    layers.append(activation(rng))
    if rng.random() < 0.3:
        layers.append(Dropout(float(rng.uniform(0, 0.6))))
    if depth < 2 and rng.random() < 0.3:
        layers.insert(int(rng.integers(len(layers) + 1)), Residual(block(rng, width, depth + 1)))
    return layers


def architecture(seed, n_in, n_out):
    rng = np.random.default_rng([seed, 1])
    layers, width = [], n_in
    if rng.random() < 0.2:
        layers.append(rng.choice([BatchNorm(n_in), Dropout(0.2), activation(rng)]))
    for _ in range(int(rng.integers(0, 4))):
        wide = int(rng.integers(1, 9))
        layers += [Dense(width, wide, bias_init="normal")]
        width = wide
        inner = block(rng, width)
        layers += [Residual(inner)] if rng.random() < 0.4 else inner
    return [*layers, Dense(width, n_out)]


def random_training(seed, dtype=np.float64, replicas=True):
    rng = np.random.default_rng([seed, 0])
    n, n_in = int(rng.integers(3, 40)), int(rng.integers(1, 6))
    kind = str(rng.choice(["binary", "softmax", "squared", "squared on sigmoid"]))
    n_out = 1 if kind == "binary" and rng.random() < 0.5 else int(rng.integers(2, 4))
    targets = rng.random((n, n_out)).round(2)
    if kind == "softmax":
        targets = np.eye(n_out)[rng.integers(n_out, size=n)]
    losses = {
        "binary": BinaryCrossEntropy,
        "softmax": SoftmaxCrossEntropy,
        "squared": SquaredError,
        "squared on sigmoid": lambda: SquaredError(on="sigmoid"),
    }
    optimizers = [
        lambda: SGD(0.05),
        lambda: SGD(0.02, momentum=0.8),
        lambda: SGD(0.02, momentum=0.8, nesterov=True),
        lambda: RMSProp(0.005),
        lambda: Adam(0.01),
        lambda: Adam(0.01, epsilon_hat=True, epsilon=1e-3),
        lambda: AdamW(0.01, weight_decay=0.1),
    ]
    options: dict[str, Any] = {"batch_size": int(rng.integers(1, n + 1))}
    if options["batch_size"] == 1 and any(isinstance(one, BatchNorm) for one in walk(architecture(seed, n_in, n_out))):
        options["batch_size"] = 3  # two rows come to ±1 whatever they were: what is in front of them learns by rounding
    if rng.random() < 0.3:
        options["weights"] = rng.random(n) * (rng.random(n) < 0.8) + 1e-3
    for name, most in (("l1", 1e-2), ("l2", 1e-1), ("alpha", 1.0), ("clip_norm", 1.0)):
        if rng.random() < 0.25:
            options[name] = float(rng.uniform(0, most)) + 1e-6
    if rng.random() < 0.25:
        options["schedule"] = schedules.warm_up(schedules.exponential(0.9), 2.0)
    shared = rng.normal(size=(n, n_in)) * rng.choice([0.3, 1.0, 3.0])
    own_seed = [1, 5, 9] if replicas and rng.random() < 0.4 else int(rng.integers(100))
    return Training(
        lambda: architecture(seed, n_in, n_out),
        losses[kind],
        optimizers[int(rng.integers(len(optimizers)))],
        shared,
        targets,
        own_seed,
        dtype,
        options,
    )
