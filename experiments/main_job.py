"""The laboratory's main job, written for gradlab and for its peers as each does it best: many seeds side by side.

Each variant of a configuration is trained with all of its seeds; at the end of every epoch loss and accuracy on both
parts of the data and the norm of each layer's weight gradient are kept. PyTorch stacks the seeds and multiplies them
with one call per layer; JAX compiles a whole training of all seeds into one function. Everybody may use all cores, so
``python experiments/main_job.py LIBRARY JOB.npz RESULT.npz`` runs one of them in a process of its own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class MainJob:
    """Networks of one shape, their data and how to train them; all numbers in float64.

    Attributes
    ----------
    x_train, y_train, x_test, y_test : ndarray (n, d), (n, 1)
    widths : ndarray (layers + 1,)
    activations : ndarray of str (variants,)
        Of the hidden layers: "sigmoid", "tanh" or "relu".
    learning_rate : float
        Of plain gradient descent.
    batch_size : int
    orders : ndarray of int (seeds, epochs, n)
        The rows of each epoch, as ``train(..., seed=0)`` draws them.
    first : ndarray (variants, seeds, P)
        The first weights: W and b of each layer, one after another.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    widths: np.ndarray
    activations: np.ndarray
    learning_rate: float
    batch_size: int
    orders: np.ndarray
    first: np.ndarray

    @property
    def batches(self) -> list[slice]:
        """The rows of each step of an epoch."""
        n = len(self.x_train)
        return [slice(i, min(i + self.batch_size, n)) for i in range(0, n, self.batch_size)]

    def weights(self, variant: int) -> list[np.ndarray]:
        """Copy a variant's first weights: W (seeds, n_in, n_out) and b (seeds, 1, n_out), layer after layer."""
        found, at, vector = [], 0, self.first[variant]
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            for rows in (n_in, 1):
                found.append(vector[:, at : at + rows * n_out].reshape(-1, rows, n_out).copy())
                at += rows * n_out
        return found

    def save(self, path: Path) -> None:
        """Write the job to an ``.npz`` file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: str) -> MainJob:
        """Read a job that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] if file[name].ndim else file[name].item() for name in file.files})


@dataclass
class Trained:
    """What a variant's training gave.

    Attributes
    ----------
    params : ndarray (seeds, P)
        The last weights.
    scores : ndarray (epochs, 4, seeds)
        Loss and accuracy on the training part, then on the test part, after each epoch.
    norms : ndarray (epochs, layers, seeds)
        Of each layer's weight gradient, in the last step of each epoch.
    """

    params: np.ndarray
    scores: np.ndarray
    norms: np.ndarray


Training = Callable[[], Trained]


def gradlab(job: MainJob) -> Callable[[int], Training]:
    """Train with gradlab: all seeds in one network, the compiled engine on all cores."""
    from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
    from gradlab.training import evaluate, train
    from gradlab.training.engines import cache

    cache.load(np.dtype(np.float64))

    def prepare(variant: int) -> Training:
        network = Network(mlp(job.widths.tolist(), str(job.activations[variant])), seed=range(len(job.orders)))
        network.params[...] = job.first[variant]
        loss = BinaryCrossEntropy()
        options: dict[str, Any] = {"epochs": job.orders.shape[1], "batch_size": job.batch_size, "engine": "compiled"}
        options |= {"each": "epoch", "record": ["weight_gradient_norm"], "record_every": "epoch"}
        parts = (job.x_train, job.y_train), (job.x_test, job.y_test)

        def run() -> Trained:
            scores, norms = [], []
            for step in train(network, loss, SGD(job.learning_rate), *parts[0], **options):
                scores.append(np.concatenate([evaluate(network, loss, *part, engine="compiled") for part in parts]))
                norms.append(step.recorded["weight_gradient_norm"][-1])
            return Trained(network.params, np.stack(scores), np.stack(norms))

        return run

    return prepare


def torch(job: MainJob) -> Callable[[int], Training]:
    """Train with PyTorch: eager, every array with the seeds as its first axis, the fused optimizer."""
    import torch

    functions = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}
    x, y, x_test, y_test = map(torch.from_numpy, (job.x_train, job.y_train, job.x_test, job.y_test))
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    orders = torch.from_numpy(job.orders)

    def prepare(variant: int) -> Training:
        parameters = [torch.from_numpy(array).requires_grad_() for array in job.weights(variant)]
        pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
        optimizer = torch.optim.SGD(parameters, lr=job.learning_rate, fused=True)
        function = functions[str(job.activations[variant])]

        def forward(x: Any) -> Any:
            for w, b in pairs[:-1]:
                x = function(torch.baddbmm(b, x, w))
            return torch.baddbmm(pairs[-1][1], x, pairs[-1][0])

        def score(x: Any, y: Any) -> list[Any]:
            logits = forward(x.expand(len(orders), -1, -1))
            targets = y.expand_as(logits)
            losses = cross_entropy(logits, targets, reduction="none").mean((1, 2))
            return [losses, ((logits > 0.0) == (targets > 0.5)).double().mean((1, 2))]

        def run() -> Trained:
            scores, norms = [], []
            for epoch in range(orders.shape[1]):
                permuted = x[orders[:, epoch]], y[orders[:, epoch]]
                for rows in job.batches:
                    optimizer.zero_grad()
                    inputs, targets = (array[:, rows] for array in permuted)
                    cross_entropy(forward(inputs), targets, reduction="none").mean((1, 2)).sum().backward()
                    optimizer.step()
                with torch.no_grad():
                    norms.append(torch.stack([w.grad.norm(dim=(1, 2)) for w, _ in pairs]))
                    scores.append(torch.stack([*score(x, y), *score(x_test, y_test)]))
            params = torch.cat([p.detach().flatten(1) for p in parameters], dim=1)
            return Trained(params.numpy(), torch.stack(scores).numpy(), torch.stack(norms).numpy())

        return run

    return prepare


def jax(job: MainJob) -> Callable[[int], Training]:
    """Train with JAX: one seed's training is a scan over epochs of a scan over batches, mapped over seeds, compiled."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    functions = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
    x, y, x_test, y_test = map(jnp.asarray, (job.x_train, job.y_train, job.x_test, job.y_test))
    full, cut = divmod(len(x), job.batch_size)
    cut = len(x) - cut

    def prepare(variant: int) -> Training:
        function = functions[str(job.activations[variant])]

        def forward(weights: list[Any], x: Any) -> Any:
            for i in range(0, len(weights) - 2, 2):
                x = function(x @ weights[i] + weights[i + 1])
            return x @ weights[-2] + weights[-1]

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            z = forward(weights, x)
            return jnp.mean(jnp.logaddexp(z, 0.0) - z * y)

        def step(weights: list[Any], rows: Any) -> tuple[list[Any], Any]:
            grads = jax.grad(loss)(weights, x[rows], y[rows])
            return [w - job.learning_rate * g for w, g in zip(weights, grads, strict=True)], grads[::2]

        def score(weights: list[Any], x: Any, y: Any) -> list[Any]:
            return [loss(weights, x, y), jnp.mean((forward(weights, x) > 0.0) == (y > 0.5))]

        def epoch(weights: list[Any], order: Any) -> tuple[list[Any], Any]:
            def quiet_step(weights: list[Any], rows: Any) -> tuple[list[Any], None]:
                return step(weights, rows)[0], None

            last = full if cut < len(x) else full - 1  # the step whose norms are kept
            weights, _ = jax.lax.scan(quiet_step, weights, order[: last * job.batch_size].reshape(last, -1))
            weights, grads = step(weights, order[last * job.batch_size :])
            norms = jnp.stack([jnp.linalg.norm(g) for g in grads])
            return weights, (jnp.stack(score(weights, x, y) + score(weights, x_test, y_test)), norms)

        def whole(weights: list[Any], orders: Any) -> Any:
            return jax.lax.scan(epoch, weights, orders)

        given = [jnp.asarray(w) for w in job.weights(variant)], jnp.asarray(job.orders)
        compiled = jax.jit(jax.vmap(whole)).lower(*given).compile()

        def run() -> Trained:
            weights, (scores, norms) = jax.block_until_ready(compiled(*given))
            params = np.concatenate([np.asarray(w).reshape(len(w), -1) for w in weights], axis=1)
            return Trained(params, *(np.moveaxis(np.asarray(values), 0, -1) for values in (scores, norms)))

        return run

    return prepare


LIBRARIES: dict[str, Callable[[MainJob], Callable[[int], Training]]] = {
    "gradlab": gradlab,
    "PyTorch": torch,
    "JAX": jax,
}


def main(library: str, file: str, result: str) -> None:
    """Train all variants; write what they gave, and the seconds of wall time for compiling and for training."""
    job = MainJob.load(file)
    started = time.perf_counter()
    prepare = LIBRARIES[library](job)
    runs = [prepare(variant) for variant in range(len(job.activations))]
    compiled = time.perf_counter()
    trained = [run() for run in runs]
    ended = time.perf_counter()
    arrays = {f.name: np.stack([getattr(one, f.name) for one in trained]) for f in fields(Trained)}
    np.savez(result, compilation=compiled - started, training=ended - compiled, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
