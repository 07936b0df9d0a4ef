"""Is a backward pass right? Compare it with central differences, and say where it is not."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradlab.check.differences import Difference, Gradient
from gradlab.check.mistakes import Suspect, of_any_array, of_paths, rounded
from gradlab.check.target import MOST_TAKEN_APART, SAME, Subject, broken
from gradlab.nn.checks import check_float, check_int
from gradlab.nn.layers import Layer
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.wiring import walk


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
        ``"x"`` for the gradient of the layer's input, else the parameter: ``"W"``, ``"b"``, …; where the layer
        breaks its contract, the array concerned, which may also be ``"y"`` or ``"dy"``.
    entry : tuple of int
        Where in that array; ``()`` if not one entry is wrong but the whole.
    analytic, numeric : float
        The backward pass's value there, and the central difference; NaN if not one entry is wrong but the whole.
    checked, kinks : int
        Entries compared, and entries left out because the function has a kink within the step.
    tolerance : float
    reason : str
        What is wrong, in a sentence; empty if nothing is.
    mistake : str
        Which known mistake explains the numbers, in a word or two: "mean missing", "transposed", "dropped term", …;
        empty if none does.
    explanation : str
        The same in a sentence.
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
    mistake: str = ""
    explanation: str = ""

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
        likely = f". Most likely: {self.explanation}" if self.explanation else ""
        return f"gradients wrong: {self.reason}{likely} ({counted})"


def check_gradients(
    subject: Network | Layer | Loss,
    x: np.ndarray | None = None,
    *,
    loss: Loss | None = None,
    targets: np.ndarray | None = None,
    training: bool = False,
    tolerance: float = 1e-6,
    max_entries: int = 1000,
    seed: int = 0,
) -> GradientCheck:
    """Compare every gradient of a network, of one layer or of a loss with central differences.

    Each layer is checked on its own, on the input that it gets in the network: for L = Σ c·y with random c, the
    layer's dL/dx and dL/dparameter against how L really changes. So a fault is found in the layer that has it,
    and a gradient that vanishes on the way down is still checked at full precision. All is done in float64,
    on a copy.

    Each layer must also keep its contract, or it would go wrong in training: it leaves x, y and dy as they are,
    writes into its parameters and gradients instead of replacing them, gives the same for the same x, and keeps the
    float type. A loss is a mean over the samples.

    Where a gradient is wrong, the known mistakes are tried on its numbers: what each would have made of the right ones,
    and whether the backward pass is right once it is told y where it was told x, and the like.

    Parameters
    ----------
    subject : Network, Layer or Loss
        Of replicas, the first is checked.
    x : ndarray (n, d), optional
        Input, for a loss the logits; 5 samples from N(0, 1) if not given.
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
        If x does not fit the first layer, a layer needs a width that nothing tells, forward does not give an
        array (n, d), or every entry stands at a kink.

    Notes
    -----
    Differences over h and h/2 are combined so that the error is of order h⁴ (Richardson). A function that is
    smooth within the step also has f(h) − 2f(0) + f(−h) fall to a quarter when h is halved; where it does not,
    there is a kink if the function is straight on at least one side: the entry is left out and counted. Else the
    function bends too fast for h, and a hundredth of it is tried; also beside a kink, if nothing else of that
    array could be compared. An array that then still has nothing to compare is wrong, unless all of it stands at
    kinks, as a ReLU does whose input is 0.

    Examples
    --------
    >>> from gradlab.nn import Sigmoid
    >>> print(check_gradients(Sigmoid()))  # doctest: +ELLIPSIS
    gradients right: worst relative error ... (15 entries compared, 0 left out at kinks)
    """
    tolerance, max_entries = check_float("tolerance", tolerance, 0.0, above=True), check_int("max_entries", max_entries)
    rng = np.random.default_rng(seed)
    gradients: Iterator[Gradient | _Fault] = iter(())
    if isinstance(subject, Loss):
        loss, place = subject, 0
        logits = rng.standard_normal((5, 3)) if x is None else np.array(x, np.float64)
    else:
        network = _as_network(subject)
        tape = _tape(network, x, training, rng)
        gradients, logits, place = _gradients_of_layers(network, tape, rng), tape[-1], len(network.layers)
    if loss is not None:
        wanted = rng.integers(0, 2, logits.shape) if targets is None else targets
        gradients = itertools.chain(gradients, _gradient_of_loss(place, loss, logits, np.array(wanted, np.float64)))

    worst, worst_error, checked, kinks = None, -1.0, 0, 0
    for gradient in gradients:
        if isinstance(gradient, _Fault):
            return gradient.verdict(checked, kinks, tolerance)
        if gradient.analytic.shape != gradient.values.shape:
            has, should = gradient.analytic.shape, gradient.values.shape
            what = f"the gradient of {gradient.parameter} has shape {has}, but {gradient.parameter} has {should}"
            suspect = gradient.explained(gradient.differences(max_entries, rng))
            return _fault(gradient, what, suspect).verdict(checked, kinks, tolerance)
        before, too_fast = checked, False
        differences = gradient.differences(max_entries, rng)
        for entry, d in differences.items():
            if d.numeric is None:
                kinks += 1
                too_fast |= not d.kink
                continue
            checked += 1
            a = gradient.analytic[entry]
            error = abs(a - d.numeric) / max(abs(a), abs(d.numeric), d.noise / tolerance)
            error = np.inf if np.isnan(error) else error
            if error > worst_error:
                worst, worst_error = (gradient, entry, differences), error
        if too_fast and checked == before:
            what = (
                f"nothing to compare for {gradient.parameter}: the output jumps with it, however small the step; "
                "make it smooth, or give another x"
            )
            return _fault(gradient, what).verdict(checked, kinks, tolerance)
        words = rounded(gradient.analytic, gradient.right(differences))
        if words and worst_error <= tolerance:
            what = f"the gradient of {gradient.parameter} is inexact"
            return _fault(gradient, what, Suspect("dtype", words, gradient.analytic)).verdict(checked, kinks, tolerance)
    if worst is None:
        raise ValueError(f"nothing to compare: all {kinks} entries stand at kinks; give another x")
    return _verdict(*worst, worst_error, checked, kinks, tolerance)


@dataclass(frozen=True)
class _Fault:
    """Something wrong that is not one entry of a gradient."""

    layer: int
    name: str
    parameter: str
    what: str
    mistake: str = ""
    explanation: str = ""

    def verdict(self, checked: int, kinks: int, tolerance: float) -> GradientCheck:
        """Put it into words."""
        reason = f"layer {self.layer} ({self.name}): {self.what}"
        place = self.layer, self.name, self.parameter, (), np.nan, np.nan
        return GradientCheck(np.inf, *place, checked, kinks, tolerance, reason, self.mistake, self.explanation)


def _fault(gradient: Gradient, what: str, suspect: Suspect | None = None) -> _Fault:
    """Say what is wrong with a whole array of derivatives."""
    known = suspect[:2] if suspect is not None else ()
    return _Fault(gradient.layer, gradient.name, gradient.parameter, what, *known)


def _verdict(
    gradient: Gradient,
    entry: tuple[int, ...],
    differences: dict[tuple[int, ...], Difference],
    error: float,
    checked: int,
    kinks: int,
    tolerance: float,
) -> GradientCheck:
    """Put the worst entry into words."""
    a, numeric = float(gradient.analytic[entry]), differences[entry].numeric
    assert numeric is not None
    reason, suspect = "", None
    if error > tolerance:
        suspect = gradient.explained(differences)
        reason = (
            f"layer {gradient.layer} ({gradient.name}): the gradient of {gradient.parameter} at {list(entry)} is "
            f"{a:.10g}, but the central difference is {numeric:.10g}"
        )
    place = gradient.layer, gradient.name, gradient.parameter, entry, a, numeric
    known = suspect[:2] if suspect is not None else ()
    return GradientCheck(float(error), *place, checked, kinks, tolerance, reason, *known)


def _as_network(subject: Network | Layer) -> Network:
    """Copy the subject as one network in float64, its parameters as they are."""
    if isinstance(subject, Network):
        return (subject.replica(0) if subject.replicas else subject).astype(np.float64)
    if not isinstance(subject, Layer):
        raise ValueError(f"{subject!r} is neither a Network nor a Layer nor a Loss")
    network = Network([copy.deepcopy(subject)])
    for inner, twin in zip(walk([subject]), walk(network.layers), strict=True):
        for name, shape in {**inner.parameter_shapes(), **inner.state_shapes()}.items():
            if hasattr(inner, name):
                getattr(twin, name)[...] = np.reshape(getattr(inner, name), (-1, *shape))[0]
    return network


def _features(layer: Layer) -> int:
    """Return how many features the layer takes; three steps if it takes a sequence, and 0 if that is not known."""
    return getattr(layer, "n_in", None) or 3 * getattr(layer, "features", 0)


def _tape(network: Network, x: np.ndarray | None, training: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """Run the layers one by one, each on a copy of its input; return all inputs, and the last output."""
    given = x is not None
    if x is None:
        n_in = next((n for layer in network.layers if (n := _features(layer))), 3)  # the others keep the number
        x = rng.standard_normal((5, n_in))
    tape = [np.array(x, np.float64, order="C")]
    if tape[0].ndim != 2:
        raise ValueError(f"x: an array of shape {tape[0].shape} is not (samples, features)")
    for layer in walk(network.layers):
        layer.training = training
    for i, layer in enumerate(network.layers):
        given = given or hasattr(layer, "n_in")
        try:
            y = layer.forward(tape[-1].copy())
        except Exception as error:
            if given:
                raise
            raise ValueError(
                f"layer {i} ({layer!r}): forward fails for {tape[-1].shape[1]} features, a guess: "
                f"give x, or set n_in on the layer ({error})"
            ) from error
        if np.ndim(y) != 2:
            what = f"{type(y).__name__} of shape {np.shape(y)}"
            raise ValueError(f"layer {i} ({layer!r}): forward must return an array (n, d), not {what}")
        tape.append(np.array(y, np.float64, order="C"))
    return tape


def _gradients_of_layers(
    network: Network, tape: list[np.ndarray], rng: np.random.Generator
) -> Iterator[Gradient | _Fault]:
    """Yield every gradient of every layer, from the last layer to the first, or how it breaks its contract."""
    for i in range(len(network.layers) - 1, -1, -1):
        dy = rng.standard_normal(tape[i + 1].shape)
        on_trial = Subject(network, i, tape[i], dy, copy.deepcopy(network.streams))
        name = repr(on_trial.layer)
        try:
            faults = list(on_trial.faults())
        except Exception as error:  # whatever a layer of somebody's own raises
            suspect = on_trial.why_it_fails()
            if suspect is None:
                raise
            yield _Fault(i, name, "x", f"backward raises {type(error).__name__}: {error}", *suspect[:2])
            return
        for parameter, what, mistake in faults:
            yield _Fault(i, name, parameter, what, mistake)
        results, _ = on_trial.run()
        for parameter, array in on_trial.values().items():
            found = results[parameter]
            suspects = functools.partial(on_trial.suspects, parameter, found)
            yield Gradient(i, name, parameter, array, found, on_trial.output, dy, suspects)


def _gradient_of_loss(place: int, loss: Loss, logits: np.ndarray, targets: np.ndarray) -> Iterator[Gradient | _Fault]:
    """Yield the loss's gradient, as that of one more layer, or how it breaks its contract."""

    def output() -> np.ndarray:
        return np.array(loss.value(logits, targets))

    def suspects(right: np.ndarray) -> Iterator[Suspect]:
        yield from of_any_array(right, len(logits))
        n, k = logits.shape
        if k > 1:
            says = f"it is divided by the {k} outputs instead of the {n} samples"
            yield Suspect("wrong axis", says, right * n / k)
            yield Suspect("wrong axis", f"it is divided by samples and outputs, {n} times {k}", right / k)
        if right.size <= MOST_TAKEN_APART:
            arrays = {"logits": logits, "targets": targets}
            value = lambda logits, targets: loss.value(logits, targets)  # noqa: E731
            yield from of_paths("logits", found, np.ones(()), value, arrays)

    seen, name = [logits.copy(), targets.copy()], repr(loss)
    loss.value(*seen)
    for parameter, before, after in (("x", logits, seen[0]), ("targets", targets, seen[1])):
        if not np.array_equal(before, after):
            what = f"value changes {'the logits' if parameter == 'x' else parameter} in place; use a new array"
            yield _Fault(place, name, parameter, what, "changes input")
    once, twice = (loss.value(np.tile(seen[0], (k, 1)), np.tile(seen[1], (k, 1))) for k in (1, 2))
    if not np.allclose(once, twice, SAME, SAME):
        what = f"value is {float(once):.6g} for some samples, and {float(twice):.6g} for the same ones twice"
        yield _Fault(place, name, "x", what, "mean missing", "a loss is the mean over the samples, not their sum")
    found = np.asarray(loss.gradient(*seen))
    faults = broken("gradient", "dx", found, [("x", logits, seen[0]), ("targets", targets, seen[1])])
    for parameter, what, mistake in faults:
        yield _Fault(place, name, parameter, what, mistake)
    yield Gradient(place, name, "x", logits, np.array(found, np.float64), output, np.ones(()), suspects)
