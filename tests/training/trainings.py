"""Small trainings, and the data they share."""

import numpy as np

from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
from gradlab.training import train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 2))
Y = (X[:, :1] > 0).astype(float)
IDS = np.arange(10.0)[:, np.newaxis]  # a feature that names the row
SEEDS = (0, 1, 5)
BCE = BinaryCrossEntropy()


def make(seed=0, **options):
    return Network(mlp([2, 4, 4, 1], "tanh", **options), seed=seed)


def fitted(network=None, optimizer=None, x=X, y=Y, *, loss=BCE, epochs=3, batch_size=4, **options):
    network = make() if network is None else network
    for _ in train(network, loss, optimizer or SGD(0.5), x, y, epochs=epochs, batch_size=batch_size, **options):
        pass
    return network


def rows(network, epochs=1, batch_size=4, **options):
    """The rows of each batch, of each epoch, by their ids."""
    batches = [[] for _ in range(epochs)]
    for step in train(network, BCE, SGD(), IDS, np.zeros(10), epochs=epochs, batch_size=batch_size, **options):
        batches[step.epoch].append(step.tape[0][..., 0].astype(int).copy())
    return batches
