"""How much memory and disk an experiment will take, from its configuration alone."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from gradlab.datasets import shape
from gradlab.lab.recording import RecordedSteps, flow_names, recorded_steps
from gradlab.lab.results import GRID, HISTORY
from gradlab.lab.schema import Experiment, NetworkConfig
from gradlab.nn.network import ROWS_AT_ONCE
from gradlab.training.engines.compiled import default_threads

CACHE = 4_000_000  # bytes of one batch's arrays, over all replicas trained together, that fit the processor's cache
MAX_REPLICAS = 32  # trained together,
MEMORY = 2**30  # and bytes that they take, unless one alone takes more
LOGGED = 22  # characters of a number in the log


@dataclass(frozen=True)
class Size:
    """What an experiment will need.

    Attributes
    ----------
    parameters : int
        Of one network.
    memory : int
        Bytes, while it runs.
    disk : int
        Bytes at the end, without figures.
    recorded_steps : RecordedSteps
    """

    parameters: int
    memory: int
    disk: int
    recorded_steps: RecordedSteps


def estimate(experiment: Experiment) -> Size:
    """Work out the size of an experiment from its configuration alone, before anything is allocated."""
    n_samples, n_features = shape(experiment.data.name, **experiment.data.options)
    network, training, seeds = experiment.network, experiment.training, len(experiment.seeds)
    widths = [n_features, *network.widths, 1]
    parameters = count_parameters(network, n_features)
    row = sum(widths) + sum(network.widths) * (1 + network.batch_norm + bool(network.dropout) + network.residual)
    batch = min(training.batch_size, n_samples)
    trained = 4 * batch  # rows of tape and deltas, and as many of temporaries
    predicted = min(ROWS_AT_ONCE, n_samples)  # rows of the tape of a pass without learning
    drawn = ROWS_AT_ONCE * (n_features == 2)  # and of that for the decision boundary
    recorded = recorded_steps(experiment, _n_train(experiment, n_samples))
    together = min(seeds, replicas_at_once(experiment, n_samples, n_features))
    averages = 1 if training.optimizer in ("sgd", "rmsprop") else 2
    vectors = 6 + 3 * averages  # parameters, gradients, averages, the checkpoint's, and temporaries
    passes = together
    if training.engine == "compiled":
        vectors += 2 + averages  # to roll back to if it is interrupted
        passes = min(together, default_threads())
    rows = sum(max(widths) if "@" in name else len(widths) - 1 for name in flow_names(experiment))
    numbers = together * (vectors * parameters + trained * row + n_samples * (n_features + 3))
    numbers += (passes * predicted + drawn) * row + seeds * (
        parameters + recorded.count * rows + training.epochs * len(HISTORY)
    )
    width = np.dtype(network.dtype).itemsize
    disk = width * (seeds * parameters + GRID**2 * (n_features == 2))
    disk += 8 * seeds * (recorded.count * rows + (training.epochs + 1) * len(HISTORY))
    disk = 2 * disk + LOGGED * seeds * (training.epochs + 1) * len(HISTORY)  # of each experiment, of all, and the log
    return Size(parameters, width * numbers + 8 * 4 * n_samples * n_features, disk, recorded)


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
    own, as many as `MEMORY` allows. It changes no number. With early stopping each seed trains, and stops, alone.
    """
    if experiment.training.patience:
        return 1
    network, width = experiment.network, np.dtype(experiment.network.dtype).itemsize
    arrays = width * min(experiment.training.batch_size, n_samples) * (n_features + 4 * sum(network.widths))
    if experiment.training.engine == "compiled":
        each = 16 * width * count_parameters(network, n_features) + 2 * arrays
        return int(np.clip(MEMORY // each, 1, MAX_REPLICAS))
    return int(np.clip(CACHE // arrays, 1, MAX_REPLICAS))
