"""From the names of a configuration to the objects that they stand for: data, networks, losses, optimizers."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from gradlab.datasets import Dataset, load
from gradlab.lab.schema import Experiment, NetworkConfig, TrainingConfig
from gradlab.nn import schedules
from gradlab.nn.architectures import mlp
from gradlab.nn.initializers import normal
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SquaredError
from gradlab.nn.network import Network
from gradlab.nn.optimizers import OPTIMIZERS, AdamW, Optimizer


def load_data(experiment: Experiment) -> Dataset:
    """Load the experiment's data; with early stopping, a part of the training data is set aside for validation."""
    data = experiment.data
    return load(
        data.name,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction if experiment.training.patience else 0.0,
        seed=data.seed,
        standardize=data.standardize,
        **data.options,
    )


def build_network(network: NetworkConfig, data: Dataset | int, seed: int | Sequence[int]) -> Network:
    """Make the configured network for some data, or number of features, its parameters drawn with a seed or several."""
    layers = mlp(
        [data if isinstance(data, int) else data.x_train.shape[1], *network.widths, 1],
        network.activation,
        network.weight_init,
        gain=network.gain,
        bias_init=partial(_normal_biases, network.bias_std) if network.bias_std else network.bias_init,
        dropout=network.dropout,
        batch_norm=network.batch_norm,
        residual=network.residual,
    )
    return Network(layers, seed=seed, dtype=network.dtype)


def _normal_biases(std: float, rng: np.random.Generator, shape: tuple[int, int], gain: float) -> np.ndarray:
    return normal(rng, shape, std)


def blank_network(network: NetworkConfig, n_features: int) -> Network:
    """Make the configured network with nothing drawn, to be filled, or to see what it is made of."""
    return Network(network.layers(n_features), dtype=network.dtype)


def fill(network: Network, tensors: Mapping[str, np.ndarray], r: int) -> Network:
    """Give a network the parameters and running statistics of one of several seeds (seeds, ...)."""
    for places, vector in ((network.parameters, network.params), (network.states, network.state)):
        for p in places:
            vector[p.where] = tensors[p.name][r].ravel()
    return network


def tensor_shapes(network: Network) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Return type and shape of each parameter and running statistic of one network."""
    return {p.name: (network.dtype, p.shape) for p in (*network.parameters, *network.states)}


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
