"""What the experiments on trainability share: how often networks are right while they train, one learning rate or many.

Accuracy is that on the training part. The question is what can be learned at all; how well it carries over is another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gradlab.datasets import Dataset
from gradlab.nn import SGD, BinaryCrossEntropy, Layer, Loss, Network, Optimizer
from gradlab.training import DivergenceError, train

WIDTH, BATCH = 32, 32


def widths(depth: int) -> list[int]:
    """Return the widths of a network for two features and two classes with so many hidden layers."""
    return [2, *[WIDTH] * depth, 1]


def accuracies(
    layers: Sequence[Layer],
    data: Dataset,
    optimizer: Optimizer,
    *,
    epochs: int,
    every: int,
    seeds: int = 10,
    loss: Loss | None = None,
    right: Callable[[Network, Dataset], np.ndarray] | None = None,
) -> np.ndarray:
    """Train replicas with the seeds from 0; return the accuracy (epochs // every, seeds) after each `every` epochs.

    If a replica diverges, all of them are nan: a learning rate at which training may diverge is of no use.
    """
    network = Network(layers, seed=range(seeds))
    steps = train(network, loss or BinaryCrossEntropy(), optimizer, data.x_train, data.y_train,
                  epochs=epochs, batch_size=BATCH, each="epoch")  # fmt: skip
    try:
        return np.array([(right or share_right)(network, data) for s in steps if (s.epoch + 1) % every == 0])
    except DivergenceError:
        return np.full((epochs // every, seeds), np.nan)


def share_right(network: Network, data: Dataset) -> np.ndarray:
    """Return the accuracy (seeds,) on the training part; a logit of exactly 0 chooses class 0."""
    return np.mean((network.decision_function(data.x_train)[..., 0] > 0.0) == (data.y_train == 1.0), axis=-1)


def over_rates(
    layers: Sequence[Layer],
    data: Dataset,
    rates: Iterable[float],
    optimizer: Callable[[float], Optimizer] = SGD,
    **how,
) -> dict[float, np.ndarray]:
    """Return the `accuracies` at each learning rate, every time from the same first weights."""
    return {rate: accuracies(layers, data, optimizer(rate), **how) for rate in rates}


def best(curves: dict[float, np.ndarray]) -> float:
    """Return the learning rate with the best mean accuracy at the end; of equals, the smallest."""
    return max(sorted(curves), key=lambda rate: np.nan_to_num(curves[rate][-1].mean()))
