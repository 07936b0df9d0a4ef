"""A patient: a network, its data and how it is trained; what the probes show at its start, what a trial brings."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from gradlab.flow.doctor.reference import Reference
from gradlab.flow.probes import FlowRecorder
from gradlab.nn import Activation, BatchNorm, Dense, Dropout, Network, Recurrent, Residual
from gradlab.nn.checks import check_int
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from gradlab.nn.optimizers import SGD, Optimizer
from gradlab.nn.wiring import walk
from gradlab.training.divergence import DivergenceError
from gradlab.training.loop import Step, train

LOOKED_INTO = (Dense, Activation, BatchNorm, Dropout, Residual, Recurrent)
LONGER = 5
SETTLING = 0.1  # share of a trial's epochs, its last, over which the loss is averaged: what jumps about is not learned


@dataclass(frozen=True)
class Trial:
    """What a moment's training brings.

    Attributes
    ----------
    left : float
        The loss in the end over that of the best constant output: 1 means that nothing was learned; inf, that training
        diverged.
    recalls : ndarray (classes,)
        Share of the samples of each class that are right.
    """

    left: float
    recalls: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the samples that are right, averaged over the classes, so that each class counts the same."""
        return float(np.mean(self.recalls))

    def is_better_than(self, other: Trial) -> bool:
        """Tell whether this is a good deal better: a third of the loss, or of the errors, gone."""
        errors, others = 1.0 - self.accuracy, 1.0 - other.accuracy
        return self.left < 0.7 * min(other.left, 1.0) or (self.left <= other.left and errors < 0.7 * others - 0.01)


@dataclass(frozen=True, eq=False)
class Patient:
    """What is examined, checked.

    Attributes
    ----------
    network : Network
    x : ndarray (n, d)
    y : ndarray (n, k)
        Targets as the loss takes them.
    labels : ndarray (n,)
        The class of each sample, from 0.
    loss, optimizer
    weights : ndarray (n,), optional
        Of the samples.
    batch_size, moment, seed : int
        As in `diagnose`.
    start : Network
        The network as it was when its first weights were drawn: another one if it has been trained since.
    """

    network: Network
    x: np.ndarray
    y: np.ndarray
    labels: np.ndarray
    loss: Loss
    optimizer: Optimizer
    weights: np.ndarray | None
    batch_size: int
    moment: int
    seed: int
    start: Network

    @classmethod
    def admit(
        cls,
        network: Network | Step,
        x: Any,
        y: Any,
        loss: Loss | None,
        optimizer: Optimizer | None,
        weights: Any,
        batch_size: int | None,
        moment: int,
        seed: int,
    ) -> Self:
        """Check what `diagnose` was given, and fill in what it was not."""
        start = None
        if isinstance(network, Step):
            step, network = network, network.network
            start = copy.deepcopy(network)
            start.params[...] = step.initial_params
            given = step.given
            x, y, weights, loss = given.x, given.targets, given.weights, loss or given.loss
            optimizer, batch_size = optimizer or given.optimizer, batch_size or given.batch_size
        elif x is None or y is None:
            raise ValueError("x, y: the data are needed; only a Step brings its own")
        for name, kind, thing in (
            ("network", Network, network),
            ("loss", Loss, loss),
            ("optimizer", Optimizer, optimizer),
        ):
            if thing is not None and not isinstance(thing, kind):
                raise ValueError(f"{name}: {thing!r} is not a {kind.__name__}")
        if network.replicas:
            raise ValueError(f"network: {network!r} is of replicas; diagnose network.replica(r)")
        for layer in walk(network.layers):
            if not isinstance(layer, LOOKED_INTO):
                known = ", ".join(kind.__name__ for kind in LOOKED_INTO)
                raise ValueError(f"network: {layer!r} is not among the layers that can be looked into: {known}")
        if not any(isinstance(layer, Dense | Recurrent) for layer in walk(network.layers)):
            raise ValueError(f"network: {network!r} has no weights")
        x = np.asarray(x.toarray() if hasattr(x, "toarray") else x, network.dtype)
        if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
            raise ValueError(f"x: an array of shape {x.shape} is not (samples, features) of finite numbers")
        with np.errstate(over="ignore", invalid="ignore"):
            k = network.forward(x[:1])[-1].shape[-1]
        targets, labels = _targets(y, len(x), k, network.dtype)
        batch_size = min(check_int("batch_size", 32 if batch_size is None else batch_size), len(x))
        if batch_size == 1 and any(isinstance(layer, BatchNorm) for layer in walk(network.layers)):
            raise ValueError("batch_size: BatchNorm needs at least 2 samples in a batch: one has no variance")
        return cls(
            network,
            x,
            targets,
            labels,
            loss or (BinaryCrossEntropy() if k == 1 else SoftmaxCrossEntropy()),
            SGD(0.1) if optimizer is None else optimizer,
            None if weights is None else np.asarray(weights, network.dtype).reshape(-1),
            batch_size,
            check_int("moment", moment),
            check_int("seed", seed, 0),
            start
            or Network([copy.deepcopy(layer) for layer in network.layers], seed=network.seeds[0], dtype=network.dtype),
        )

    def but(self, **changes: Any) -> Self:
        """Return the same patient, but for some attributes."""
        if "network" in changes:
            changes.setdefault("start", changes["network"])
        return dataclasses.replace(self, **changes)

    # --- what it is made of ---

    @cached_property
    def hidden(self) -> list[Dense]:
        """The Dense layers in front of hidden units."""
        return [layer for layer in walk(self.network.layers) if isinstance(layer, Dense)][:-1]

    @cached_property
    def activations(self) -> list[Activation]:
        """All activations, in order; those of Recurrent layers last."""
        layers = list(walk(self.network.layers))
        own = [layer for layer in layers if isinstance(layer, Activation)]
        return own + [layer.activation for layer in layers if isinstance(layer, Recurrent)]

    def layers_of(self, kind: type) -> list[Any]:
        """Return all layers of a kind, also inside containers."""
        return [layer for layer in walk(self.network.layers) if isinstance(layer, kind)]

    @property
    def is_classifiers(self) -> bool:
        """Whether a classifier could have such a network: layers of units, and nothing else."""
        return not self.layers_of(Recurrent) and not self.layers_of(Residual)

    @cached_property
    def is_trained(self) -> bool:
        """Whether the weights are others than those that its seed draws."""
        network = self.network
        moved = (network.params != self.start.params) & (network.weight_mask > 0.0)
        return bool(moved.sum() > 0.5 * network.weight_mask.sum())

    @cached_property
    def targets_fit(self) -> bool:
        """Whether the loss takes these targets."""
        low, high = self.loss.target_range
        return bool(low <= self.y.min() and self.y.max() <= high)

    # --- what its data are ---

    @cached_property
    def counts(self) -> np.ndarray:
        """Samples of each class."""
        return np.bincount(self.labels)

    @property
    def majority(self) -> float:
        """The largest class's share of the samples."""
        return float(self.counts.max() / len(self.labels))

    @cached_property
    def reference(self) -> Reference:
        """What other ways of learning make of the same data."""
        return Reference.of(self.x, self.labels)

    @cached_property
    def constant_loss(self) -> float:
        """The loss of the best constant output, found by Newton's method on a network's last bias.

        Without weights it is the entropy of the labels for cross-entropy, half their variance for a squared error.
        """
        from scipy.optimize import minimize

        shape = self.y.shape

        def value_and_slope(logits: np.ndarray) -> tuple[float, np.ndarray]:
            row = np.broadcast_to(logits, shape).astype(self.y.dtype)
            gradient = self.loss.gradient(row, self.y, self.weights)
            return float(self.loss.value(row, self.y, self.weights)), np.asarray(gradient.sum(axis=0), float)

        return float(minimize(value_and_slope, np.zeros(shape[1]), jac=True, method="L-BFGS-B").fun)

    # --- what can be measured of it ---

    @cached_property
    def first(self) -> dict[str, np.ndarray]:
        """What the probes say of the first step, on all samples: (layers,) each; empty if it is not finite."""
        what = ["delta_rms"]
        if any(isinstance(layer, Activation) for layer in walk(self.network.layers)):
            what += ["saturated_share", "dead_share", "preactivation_std"]
        recorder = FlowRecorder(what=what, x=self.x)
        still = SGD(1e-300)  # a step so short that it changes nothing
        try:
            for step in train(
                copy.deepcopy(self.network), self.loss, still, self.x, self.y, epochs=1, batch_size=len(self.x)
            ):
                recorder(step)
        except DivergenceError:
            return {}
        return {name: v[0, :, 0] for name, v in recorder.table().items() if v.ndim == 3}

    @cached_property
    def through_time(self) -> np.ndarray:
        """The size (T,) of dL/dx_t at each step of the sequences that the first layer, a Recurrent, is given."""
        network = copy.deepcopy(self.network)
        (first,) = [layer for layer in network.layers[:1] if isinstance(layer, Recurrent)]
        with np.errstate(over="ignore", invalid="ignore"):
            tape = network.forward(self.x, training=True)
            dx = network.backward(self.loss.gradient(tape[-1], self.y, self.weights), tape)[0]
        steps = dx.reshape(len(dx), -1, first.features)
        return np.sqrt(np.mean(steps**2, axis=(0, 2)))

    @cached_property
    def trial(self) -> Trial:
        """A moment's training of a copy, as it is."""
        return self._try(self.moment)

    @cached_property
    def long_trial(self) -> Trial:
        """The same for `LONGER` moments: some networks are slow, and learn."""
        return self._try(LONGER * self.moment)

    def _try(self, steps: int) -> Trial:
        """Train a copy for so many steps."""
        network, optimizer = copy.deepcopy(self.network), copy.deepcopy(self.optimizer)
        epochs = max(1, round(steps * self.batch_size / len(self.x)))
        ends = []
        try:
            for step in train(
                network, self.loss, optimizer, self.x, self.y, epochs=epochs, batch_size=self.batch_size,
                weights=self.weights, seed=self.seed,
            ):  # fmt: skip
                if step.ends_epoch and step.epoch >= (1.0 - SETTLING) * epochs - 1:
                    ends.append(self.loss_of(network))
        except DivergenceError:
            return Trial(np.inf, np.arange(len(self.counts)) == self.counts.argmax())
        left = float(np.mean(ends)) / max(self.constant_loss, 1e-12)
        return Trial(left if np.isfinite(left) else np.inf, self.recalls_of(network))

    def loss_of(self, network: Network) -> float:
        """Compute a network's loss on all samples."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(self.loss.value(network.decision_function(self.x), self.y, self.weights))

    def recalls_of(self, network: Network) -> np.ndarray:
        """Compute the share of each class's samples that a network has right."""
        with np.errstate(over="ignore", invalid="ignore"):
            logits = network.decision_function(self.x)
        if logits.shape[1] > 1:
            guesses = logits.argmax(axis=1)
        else:
            middle = 0.5 * (self.y.min() + self.y.max()) if np.isinf(self.loss.target_range[1]) else 0.0
            if getattr(self.loss, "on", "") == "sigmoid":
                middle = 0.0
            guesses = logits[:, 0] > middle
        return np.array([np.mean(guesses[self.labels == c] == c) for c in np.flatnonzero(self.counts)])


def _targets(y: Any, n: int, k: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return targets (n, k) and labels (n,) of what was given: targets, or the names of classes."""
    y = np.asarray(y)
    if y.dtype.kind in "OUS" or (y.ndim == 1 and k > 1):
        names, labels = np.unique(y, return_inverse=True)
        wanted = 2 if k == 1 else k
        if y.shape != (n,) or len(names) != wanted:
            raise ValueError(f"y: {len(names)} classes in shape {y.shape}; a network with {k} output(s) takes {wanted}")
        return (labels[:, np.newaxis] if k == 1 else np.eye(k)[labels]).astype(dtype), labels
    try:
        targets = np.asarray(y, dtype)
    except (TypeError, ValueError):
        raise ValueError(f"y: {y!r} holds neither numbers nor names of classes") from None
    targets = targets[:, np.newaxis] if targets.ndim == 1 else targets
    if targets.ndim != 2 or len(targets) != n or not np.isfinite(targets).all():
        raise ValueError(f"y: an array of shape {y.shape} does not hold a finite target for each of {n} samples")
    if targets.shape[1] != k:
        raise ValueError(f"y: {targets.shape[1]} targets a sample for a network with {k} output(s)")
    middle = 0.5 * (targets.min() + targets.max())
    labels = targets.argmax(axis=1) if k > 1 else (targets[:, 0] > middle).astype(int)
    return targets, labels
