"""The same training job, written for gradlab and for what users would pick instead.

Every function takes a `Job` and returns a callable that trains it once, from the job's own first weights and with its
batches in the order of the rows, and gives back the final weights. Each library is imported inside its function, so
that ``python experiments/peers.py LIBRARY JOB.npz``, which trains one job in a fresh process, pays for one only.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

THREADS = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
os.environ.update(dict.fromkeys(THREADS, "1"))
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np  # the number of threads is read when BLAS is loaded

Weights = list[tuple[np.ndarray, np.ndarray]]  # W (n_in, n_out) and b (n_out,) of each layer


@dataclass
class Job:
    """A network, its data and how to train it; all numbers in the same float type.

    Attributes
    ----------
    x, y : ndarray (n, d), (n, 1)
    widths : list of int
    activation : "sigmoid" or "relu"
    optimizer : "adam" or "sgd"
    learning_rate : float
    batch_size, epochs : int
    record : bool
        Whether the norm of each layer's weight gradient is recorded at every step.
    first : ndarray (P,)
        The first weights: W and b of each layer, one after another.
    """

    x: np.ndarray
    y: np.ndarray
    widths: list[int]
    activation: str
    optimizer: str
    learning_rate: float
    batch_size: int
    epochs: int
    record: bool
    first: np.ndarray

    @property
    def batches(self) -> list[slice]:
        """The rows of each step of an epoch."""
        return [slice(i, i + self.batch_size) for i in range(0, len(self.x), self.batch_size)]

    def weights(self) -> Weights:
        """Copy the first weights, layer by layer."""
        weights, at = [], 0
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            w = self.first[at : at + n_in * n_out].reshape(n_in, n_out).copy()
            at += n_in * n_out
            weights.append((w, self.first[at : at + n_out].copy()))
            at += n_out
        return weights

    def save(self, path: Path) -> None:
        """Write the job to an ``.npz`` file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: str) -> Job:
        """Read a job that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            values = {name: file[name] for name in file.files}
        return cls(
            **{name: v.item() if v.ndim == 0 else v for name, v in values.items()}
            | {"widths": values["widths"].tolist()}
        )


def gradlab(job: Job, engine: str = "auto") -> Callable[[], Weights]:
    """Train with gradlab, on one of its engines; it hands over one step per epoch."""
    from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Dense, Network, mlp
    from gradlab.training import train

    def run() -> Weights:
        network = Network(mlp(job.widths, job.activation), dtype=job.x.dtype)
        network.params[...] = job.first
        optimizer = Adam(job.learning_rate) if job.optimizer == "adam" else SGD(job.learning_rate)
        options = {"epochs": job.epochs, "batch_size": job.batch_size, "shuffle": False, "each": "epoch"}
        if job.record:
            options["record"] = ["weight_gradient_norm"]
        records = []
        for step in train(network, BinaryCrossEntropy(), optimizer, job.x, job.y, engine=engine, **options):
            records.append(step.recorded)
        return [(layer.W, layer.b[0]) for layer in network.layers if isinstance(layer, Dense)]

    return run


def sklearn(job: Job) -> Callable[[], Weights]:
    """Train with scikit-learn's MLPClassifier; it records no gradients."""
    from sklearn.neural_network import MLPClassifier

    options = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8} if job.optimizer == "adam" else {"momentum": 0.0}
    model = MLPClassifier(
        job.widths[1:-1], activation={"sigmoid": "logistic"}.get(job.activation, job.activation), solver=job.optimizer,
        alpha=0.0, batch_size=min(job.batch_size, len(job.x)), learning_rate_init=job.learning_rate, shuffle=False,
        tol=0.0, n_iter_no_change=job.epochs + 1, warm_start=True, max_iter=1, random_state=0, **options,
    )  # fmt: skip
    labels = job.y[:, 0].astype(int)
    warnings.filterwarnings("ignore", message="Stochastic Optimizer: Maximum iterations")
    model.fit(job.x, labels)  # allocates the weights, which each run then sets
    model.max_iter = job.epochs

    def run() -> Weights:
        model.coefs_, model.intercepts_ = (list(arrays) for arrays in zip(*job.weights(), strict=True))
        model.fit(job.x, labels)
        return list(zip(model.coefs_, model.intercepts_, strict=True))

    return run


def torch(job: Job) -> Callable[[], Weights]:
    """Train with PyTorch: eager, with its fused optimizers."""
    import torch

    torch.set_num_threads(1)
    dtype = torch.from_numpy(job.x[:0]).dtype
    x, y = torch.from_numpy(job.x), torch.from_numpy(job.y)
    loss = torch.nn.BCEWithLogitsLoss()
    activation = torch.nn.Sigmoid if job.activation == "sigmoid" else torch.nn.ReLU

    def run() -> Weights:
        layers: list[torch.nn.Module] = []
        for w, b in job.weights():
            layer = torch.nn.Linear(*w.shape, dtype=dtype)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(w).T)
                layer.bias.copy_(torch.from_numpy(b))
            layers += [layer, activation()]
        model = torch.nn.Sequential(*layers[:-1])
        make = torch.optim.Adam if job.optimizer == "adam" else torch.optim.SGD
        optimizer = make(model.parameters(), lr=job.learning_rate, fused=True)
        linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
        norms = []
        for _ in range(job.epochs):
            for rows in job.batches:
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                if job.record:
                    norms.append(torch.stack([layer.weight.grad.norm() for layer in linear]))
                optimizer.step()
        return [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]

    return run


def jax(job: Job) -> Callable[[], Weights]:
    """Train with JAX: one jitted function for a whole training, its full batches in a scan."""
    import jax
    import jax.numpy as jnp

    if job.x.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    act = jax.nn.sigmoid if job.activation == "sigmoid" else jax.nn.relu
    full = len(job.x) // job.batch_size
    x, y = jnp.asarray(job.x), jnp.asarray(job.y)
    cut = full * job.batch_size
    xs, ys = (a[:cut].reshape(full, job.batch_size, -1) for a in (x, y))
    rate, beta1, beta2, epsilon = job.learning_rate, 0.9, 0.999, 1e-8

    def loss(weights, x, y):
        for w, b in weights[:-1]:
            x = act(x @ w + b)
        z = (x @ weights[-1][0] + weights[-1][1])[:, 0]
        return jnp.mean(jnp.logaddexp(z, 0.0) - z * y[:, 0])

    def step(state, batch):
        weights, first, second, t = state
        grads = jax.grad(loss)(weights, *batch)
        norms = jnp.stack([jnp.linalg.norm(g) for g, _ in grads]) if job.record else jnp.zeros(())
        if job.optimizer == "sgd":
            weights = jax.tree.map(lambda p, g: p - rate * g, weights, grads)
            return (weights, first, second, t), norms
        t = t + 1.0
        first = jax.tree.map(lambda m, g: beta1 * m + (1.0 - beta1) * g, first, grads)
        second = jax.tree.map(lambda v, g: beta2 * v + (1.0 - beta2) * g * g, second, grads)

        def moved(p, m, v):
            return p - rate * (m / (1.0 - beta1**t)) / (jnp.sqrt(v / (1.0 - beta2**t)) + epsilon)

        weights = jax.tree.map(moved, weights, first, second)
        return (weights, first, second, t), norms

    def epoch(state, _):
        state, norms = jax.lax.scan(step, state, (xs, ys))
        if cut < len(x):
            state, _ = step(state, (x[cut:], y[cut:]))
        return state, norms

    @jax.jit
    def whole(weights):
        zeros = jax.tree.map(jnp.zeros_like, weights)
        state = (weights, zeros, zeros, jnp.zeros((), x.dtype))
        (weights, *_), norms = jax.lax.scan(epoch, state, None, length=job.epochs)
        return weights, norms

    def run() -> Weights:
        weights, _ = jax.block_until_ready(whole(job.weights()))
        return [(np.asarray(w), np.asarray(b)) for w, b in weights]

    return run


PEERS: dict[str, Callable[[Job], Callable[[], Weights]]] = {
    "gradlab": gradlab,
    "compiled": partial(gradlab, engine="compiled"),
    "plain": partial(gradlab, engine="plain"),
    "scikit-learn": sklearn,
    "PyTorch": torch,
    "JAX": jax,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](Job.load(sys.argv[2]))()
