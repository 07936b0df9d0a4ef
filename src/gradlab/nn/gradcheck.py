"""Is a backward pass right? Compare it with central differences, and say where it is not."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradlab.nn.arrays import Streams
from gradlab.nn.checks import real, whole
from gradlab.nn.layers import Layer, walk
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network

STEP = 1e-4  # h, for values up to 1; larger values get a proportional one
KINK = 1e-4  # relative change of a difference, when h is halved, from which on it is not smooth


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found; true if the gradients are right.

    Attributes
    ----------
    error : float
        Worst relative error: abs(analytic − numeric) / max(abs(analytic), abs(numeric), what rounding hides).
    layer : int
        Index of the layer where it stands; the number of layers stands for the loss.
    name : str
        That layer, in words.
    parameter : str
        ``"x"`` for the gradient of the layer's input, else the parameter: ``"W"``, ``"b"``, …
    entry : tuple of int
        Where in that array.
    analytic, numeric : float
        The backward pass's value there, and the central difference.
    checked, kinks : int
        Entries compared, and entries left out because the function has a kink within the step.
    tolerance : float
    reason : str
        What is wrong, in a sentence; empty if nothing is.
    """

    error: float
    layer: int
    name: str
    parameter: str
    entry: tuple[int, ...]
    analytic: float
    numeric: float
    checked: int
    kinks: int
    tolerance: float
    reason: str

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.reason

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        counted = f"{self.checked} entries compared, {self.kinks} left out at kinks"
        if self.ok:
            return f"gradients right: worst relative error {self.error:.1e} ({counted})"
        return f"gradients wrong: {self.reason} ({counted})"


def check_gradients(
    subject: Network | Layer,
    x: np.ndarray | None = None,
    *,
    loss: Loss | None = None,
    targets: np.ndarray | None = None,
    training: bool = False,
    tolerance: float = 1e-6,
    max_entries: int = 1000,
    seed: int = 0,
) -> GradientCheck:
    """Compare every gradient of a network, or of one layer, with central differences.

    Each layer is checked on its own, on the input that it gets in the network: for L = Σ c·y with random c, the
    layer's dL/dx and dL/dparameter against how L really changes. So a fault is found in the layer that has it,
    and a gradient that vanishes on the way down is still checked at full precision. All is done in float64,
    on a copy.

    Parameters
    ----------
    subject : Network or Layer
        Of replicas, the first is checked.
    x : ndarray (n, d), optional
        Input; 5 samples from N(0, 1) if not given.
    loss, targets : Loss, ndarray (n, k), optional
        The loss's gradient is checked too if there is one; the targets are random zeros and ones if not given.
    training : bool
        Whether to check the pass that trains. Random masks are held fixed.
    tolerance : float
        Largest relative error that counts as right.
    max_entries : int
        Entries compared of each array; of a larger one, as many are drawn.
    seed : int
        Of what is drawn here.

    Returns
    -------
    GradientCheck

    Raises
    ------
    ValueError
        If x does not fit the first layer, or every entry stands at a kink.

    Notes
    -----
    Differences over h and h/2 are combined so that the error is of order h⁴ (Richardson). A function that is
    smooth within the step also has f(h) − 2f(0) + f(−h) fall to a quarter when h is halved; where it does not,
    there is a kink, and the entry is left out and counted.

    Examples
    --------
    >>> from gradlab.nn import Sigmoid
    >>> print(check_gradients(Sigmoid()))  # doctest: +ELLIPSIS
    gradients right: worst relative error ... (15 entries compared, 0 left out at kinks)
    """
    tolerance, max_entries = real("tolerance", tolerance, 0.0, above=True), whole("max_entries", max_entries)
    rng = np.random.default_rng(seed)
    network = _as_network(subject)
    if x is None:
        n_in = next((layer.n_in for layer in network.layers if hasattr(layer, "n_in")), 3)  # the others keep the number
        x = rng.standard_normal((5, n_in))
    tape = [y.copy() for y in network.forward(np.asarray(x, np.float64), training)]
    gradients = _gradients_of_layers(network, tape, rng)
    if loss is not None:
        if targets is None:
            targets = rng.integers(0, 2, tape[-1].shape)
        gradients = itertools.chain(gradients, [_gradient_of_loss(network, loss, tape[-1], np.asarray(targets, float))])

    worst, worst_error, checked, kinks = None, -1.0, 0, 0
    for gradient in gradients:
        if gradient.analytic.shape != gradient.values.shape:
            return gradient.verdict(np.inf, (), np.nan, checked, kinks, tolerance)
        for entry, numeric, noise in gradient.differences(max_entries, rng):
            if numeric is None:
                kinks += 1
                continue
            checked += 1
            a = gradient.analytic[entry]
            error = abs(a - numeric) / max(abs(a), abs(numeric), noise / tolerance)
            error = np.inf if np.isnan(error) else error
            if error > worst_error:
                worst, worst_error = (gradient, entry, numeric), error
    if worst is None:
        raise ValueError(f"nothing to compare: all {kinks} entries stand at kinks; give another x")
    return worst[0].verdict(worst_error, *worst[1:], checked, kinks, tolerance)


@dataclass(frozen=True)
class _Gradient:
    """One array of derivatives: what the backward pass says, and the function that it should differentiate."""

    layer: int
    name: str
    parameter: str
    values: np.ndarray
    analytic: np.ndarray
    output: Callable[[], np.ndarray]  # with the values as they are now
    c: np.ndarray  # L = Σ c·output()

    def differences(
        self, max_entries: int, rng: np.random.Generator
    ) -> Iterator[tuple[tuple[int, ...], float | None, float]]:
        """Yield entry, central difference (None at a kink) and how much of it may be rounding."""
        entries = list(np.ndindex(self.values.shape))
        if len(entries) > max_entries:
            entries = [entries[i] for i in sorted(rng.choice(len(entries), max_entries, replace=False))]
        y = self.output()
        for entry in entries:
            h = STEP * max(1.0, abs(float(self.values[entry])))
            coarse, coarse_bend = self._difference(entry, h, y)
            fine, fine_bend = self._difference(entry, h / 2.0, y)
            noise = np.finfo(np.float64).eps * (1.0 + np.sum(np.abs(self.c * y))) / h
            smooth = KINK * max(abs(coarse), abs(fine)) + noise / KINK
            kink = abs(coarse - fine) > smooth or abs(coarse_bend - 2.0 * fine_bend) > smooth
            yield entry, None if kink else float((4.0 * fine - coarse) / 3.0), float(noise)

    def _difference(self, entry: tuple[int, ...], h: float, y: np.ndarray) -> tuple[float, float]:
        """Return (L(+h) − L(−h))/2h, and (L(+h) − 2L(0) + L(−h))/h, which is how much the slope changes."""
        value = self.values[entry]
        self.values[entry] = value + h
        above = self.output() - y
        self.values[entry] = value - h
        below = self.output() - y
        self.values[entry] = value
        return float(np.sum(self.c * (above - below))) / (2.0 * h), float(np.sum(self.c * (above + below))) / h

    def verdict(
        self, error: float, entry: tuple[int, ...], numeric: float, checked: int, kinks: int, tolerance: float
    ) -> GradientCheck:
        """Put the worst entry into words."""
        where = f"layer {self.layer} ({self.name}): the gradient of {self.parameter}"
        fits = self.analytic.shape == self.values.shape
        a = float(self.analytic[entry]) if fits else np.nan
        reason = ""
        if not fits:
            reason = f"{where} has shape {self.analytic.shape}, but {self.parameter} has {self.values.shape}"
        elif error > tolerance:
            reason = f"{where} at {list(entry)} is {a:.10g}, but the central difference is {numeric:.10g}"
        return GradientCheck(
            float(error), self.layer, self.name, self.parameter, entry, a, numeric, checked, kinks, tolerance, reason
        )


def _as_network(subject: Network | Layer) -> Network:
    """Copy the subject as one network in float64, its parameters as they are."""
    if isinstance(subject, Network):
        return (subject.replica(0) if subject.replicas else subject).astype(np.float64)
    if not isinstance(subject, Layer):
        raise ValueError(f"{subject!r} is neither a Network nor a Layer")
    network = Network([copy.deepcopy(subject)])
    for inner, twin in zip(walk([subject]), walk(network.layers), strict=True):
        for name, shape in {**inner.parameter_shapes(), **inner.state_shapes()}.items():
            if hasattr(inner, name):
                getattr(twin, name)[...] = np.reshape(getattr(inner, name), (-1, *shape))[0]
    return network


def _gradients_of_layers(network: Network, tape: list[np.ndarray], rng: np.random.Generator) -> Iterator[_Gradient]:
    """Yield every gradient of every layer, from the last layer to the first."""
    for i in range(len(network.layers) - 1, -1, -1):
        layer, x = network.layers[i], tape[i]
        streams = copy.deepcopy(network.streams)

        def output(layer: Layer = layer, x: np.ndarray = x, streams: Streams = streams) -> np.ndarray:
            for inner in walk([layer]):
                inner.streams = copy.deepcopy(streams)  # the same random masks every time
            return np.array(layer.forward(x))

        y = output()
        c = rng.standard_normal(y.shape)
        parameters = [p for p in network.parameters if p.name.split(".")[0] == str(i)]
        network.grads[...] = 1.0  # a layer that adds to its gradient instead of writing it is wrong by 1
        dx = np.array(layer.backward(c, x, y))
        gradients = [np.array(getattr(p.layer, f"d{p.attribute}")) for p in parameters]
        yield _Gradient(i, repr(layer), "x", x, dx, output, c)
        for p, gradient in zip(parameters, gradients, strict=True):
            name = p.name.split(".", 1)[1]
            yield _Gradient(i, repr(layer), name, getattr(p.layer, p.attribute), gradient, output, c)


def _gradient_of_loss(network: Network, loss: Loss, logits: np.ndarray, targets: np.ndarray) -> _Gradient:
    """Return the loss's gradient, as that of one more layer."""

    def output() -> np.ndarray:
        return np.array(loss.value(logits, targets))

    return _Gradient(len(network.layers), repr(loss), "x", logits, loss.gradient(logits, targets), output, np.ones(()))
