"""The first step of a compiled training is held against the layers, array by array.

Each layer is given what the compiled engine gave to its kernel, so that no difference is passed on. Both then compute
the same sums in another order, with another rounding of each term. A sum of n terms, in whatever order, is within
n·eps·Σ abs(term) of the exact one (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 4.2), so two of
them are within twice that. n counts the terms; `ROUNDINGS` more stand for the operations that make a term of its
inputs, elementary functions included, which are exact to a few units in the last place. The bound is taken over the
whole array, from the largest sum in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlab.nn.layers import Dense, Layer
from gradlab.nn.network import Network
from gradlab.nn.remedies import BatchNorm, Residual
from gradlab.nn.wiring import walk
from gradlab.training.batches import Epoch
from gradlab.training.engines.errors import EngineError
from gradlab.training.engines.task import Task

ROUNDINGS = 32


def compare_step(
    task: Task,
    network: Network,
    optimizer: Any,
    epoch: Epoch,
    batch: int,
    tape: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray],
) -> None:
    """Raise EngineError, naming layer and quantity, if a compiled step is not what the layers make of it.

    Parameters
    ----------
    task : Task
        After the step.
    network, optimizer
        Copies from before the step; they are changed.
    epoch, batch
        Which step it was.
    tape, deltas : list of ndarray
        Of the step.
    """
    rows = epoch.rows(batch)
    targets, weights = epoch.wanted(rows)
    for layer in walk(network.layers):
        layer.training = True
    with np.errstate(all="ignore"):
        _compare_forward(network.layers, task.network.layers, tape, "")
        gradient = task.loss.gradient(tape[-1], targets, weights)
        share = 1.0 if weights is None else float(np.max(weights))
        terms = np.abs(gradient) + share * (1.0 + np.abs(targets)) / max(rows.stop - rows.start, 1)
        _check("the loss", "gradient", deltas[-1], gradient, terms, rows.stop - rows.start)
        _compare_backward(network.layers, task.network.layers, tape, deltas, "")
        network.grads[...] = task.network.grads
        before = network.params.copy()
        optimizer.learning_rate = task.rate(epoch, batch)
        optimizer.step(network.params, task.penalties.gradient(network, _weight(rows, weights)))
        terms = np.abs(before) + np.abs(network.params - before)
        _check(repr(optimizer), "update", task.network.params, network.params, terms, before.shape[-1])


def _compare_forward(layers: Sequence[Layer], own: Sequence[Layer], tape: Sequence[np.ndarray], path: str) -> None:
    """Compare what each layer gives; `own` are those of the network that was trained."""
    for i, (layer, trained) in enumerate(zip(layers, own, strict=True)):
        x, y, name = tape[i], tape[i + 1], f"layer {path}{i} ({layer!r})"
        if isinstance(layer, Residual) and isinstance(trained, Residual):
            inner = trained.passes[True].tape
            _compare_forward(layer.layers, trained.layers, inner, f"{path}{i}.")
            _check(name, "output", y, x + inner[-1], np.abs(x) + np.abs(inner[-1]), 2)
            continue
        expected = layer.forward(x)
        if isinstance(layer, Dense):
            terms, n = np.abs(x) @ np.abs(layer.W) + np.abs(layer.b), layer.n_in + 1
        elif isinstance(layer, BatchNorm):
            normalised, per_unit, _ = _normalised(layer, x)
            terms = np.abs(layer.gamma) * per_unit * (1.0 + np.abs(normalised)) + np.abs(layer.beta)
            n = x.shape[-2]
        else:
            terms, n = np.abs(x) + np.abs(expected), 1
        _check(name, "output", y, expected, terms, n)


def _compare_backward(
    layers: Sequence[Layer],
    own: Sequence[Layer],
    tape: Sequence[np.ndarray],
    deltas: Sequence[np.ndarray],
    path: str,
) -> None:
    """Compare what each layer carries back, and its gradients."""
    for i, (layer, trained) in reversed(list(enumerate(zip(layers, own, strict=True)))):
        x, y, dy, dx, name = tape[i], tape[i + 1], deltas[i + 1], deltas[i], f"layer {path}{i} ({layer!r})"
        if isinstance(layer, Residual) and isinstance(trained, Residual):
            inner = trained.passes[True]
            _compare_backward(layer.layers, trained.layers, inner.tape, inner.deltas, f"{path}{i}.")
            _check(name, "delta", dx, dy + inner.deltas[0], np.abs(dy) + np.abs(inner.deltas[0]), 2)
            continue
        expected = layer.backward(dy, x, y)
        n = x.shape[-2]
        if isinstance(layer, Dense) and isinstance(trained, Dense):
            _check(name, "gradient of W", trained.dW, layer.dW, np.abs(x).mT @ np.abs(dy), n)
            _check(name, "gradient of b", trained.db, layer.db, np.sum(np.abs(dy), axis=-2, keepdims=True), n)
            _check(name, "delta", dx, expected, np.abs(dy) @ np.abs(layer.W).mT, layer.n_out)
            continue
        if isinstance(layer, BatchNorm) and isinstance(trained, BatchNorm):
            normalised, per_unit, spread = _normalised(layer, x)
            along = np.sum(np.abs(dy) * per_unit * (1.0 + np.abs(normalised)), axis=-2, keepdims=True)
            total = np.sum(np.abs(dy), axis=-2, keepdims=True)
            _check(name, "gradient of gamma", trained.dgamma, layer.dgamma, along, n)
            _check(name, "gradient of beta", trained.dbeta, layer.dbeta, total, n)
            terms = (np.abs(dy) + total / n + per_unit * along / n) * (1.0 + per_unit) * np.abs(layer.gamma) / spread
        else:
            terms = np.abs(dy) + np.abs(expected)
        _check(name, "delta", dx, expected, terms, n)


def _normalised(layer: BatchNorm, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x̂ = (x − mean)/s, the sum of its absolute terms, (abs(x) + abs(mean))/s, and s.

    A rounding of the mean moves x̂ by so much, and s, which is made of it too, x̂ times so much.
    """
    mean, variance = layer.moments(x)
    s = np.sqrt(variance + layer.epsilon)
    return (x - mean) / s, (np.abs(x) + np.abs(mean)) / s, s


def _check(name: str, quantity: str, found: Any, expected: np.ndarray, terms: np.ndarray, n: int) -> None:
    """Raise EngineError unless all entries agree to within 2·(n + ROUNDINGS)·eps of the largest sum of terms."""
    found, limits = np.asarray(found), np.finfo(expected.dtype)
    bound = 2.0 * (n + ROUNDINGS) * limits.eps * float(np.max(terms, initial=0.0))
    close = np.abs(found - expected) <= bound + limits.tiny
    if close.all():
        return
    # Where the layers overflow, training is about to diverge; which number does so depends on the order of operations.
    wrong = ~(close | (found == expected) | ~np.isfinite(expected) | ~np.isfinite(bound))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise EngineError(
            f"engine: in the first step the {quantity} of {name} at {list(at)} is {found[at]:.9g} compiled and "
            f"{expected[at]:.9g} by the layers; train with engine='plain'"
        )


def _weight(rows: slice, weights: np.ndarray | None) -> int | np.ndarray:
    return rows.stop - rows.start if weights is None else weights
