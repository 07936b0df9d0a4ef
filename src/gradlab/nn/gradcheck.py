"""Is a backward pass right? Compare it with central differences, and say where it is not."""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradlab.nn.arrays import Streams
from gradlab.nn.checks import real, whole
from gradlab.nn.layers import Layer, walk
from gradlab.nn.losses import Loss
from gradlab.nn.mistakes import (
    Suspect,
    Told,
    find,
    of_a_factor,
    of_any_array,
    of_layer,
    of_paths,
    of_sums,
    rounded,
)
from gradlab.nn.network import Network, Parameter

STEP = 1e-4  # h, for values up to 1; larger values get a proportional one
SMALLER = 1e-2  # times h, where the function bends too fast for h
SAME = 1e-9  # relative and absolute difference up to which two results count as the same
KINK = 1e-4  # relative change of a difference, when h is halved, from which on it is not smooth
MOST_TAKEN_APART = 64  # entries of an array whose sums and paths are tried

Breach = tuple[str, str, str]  # the array concerned, what is wrong in a sentence, and the mistake in a word


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
    writes into its parameters and gradients instead of replacing them, gives the same for the same x, gives the same
    with ``out`` as without, and keeps the float type. A loss is a mean over the samples.

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
    tolerance, max_entries = real("tolerance", tolerance, 0.0, above=True), whole("max_entries", max_entries)
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
            return gradient.fault(what, suspect).verdict(checked, kinks, tolerance)
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
            return gradient.fault(what).verdict(checked, kinks, tolerance)
        words = rounded(gradient.analytic, gradient.right(differences))
        if words and worst_error <= tolerance:
            what = f"the gradient of {gradient.parameter} is inexact"
            return gradient.fault(what, Suspect("dtype", words, gradient.analytic)).verdict(checked, kinks, tolerance)
    if worst is None:
        raise ValueError(f"nothing to compare: all {kinks} entries stand at kinks; give another x")
    return worst[0].verdict(worst_error, *worst[1:], checked, kinks, tolerance)


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


class Difference(NamedTuple):
    """A central difference, how much of it may be rounding, and why there is none (None) if so: at a kink or not."""

    numeric: float | None
    noise: float
    kink: bool


@dataclass(frozen=True)
class Gradient:
    """One array of derivatives: what the backward pass says, and the function that it should differentiate."""

    layer: int
    name: str
    parameter: str
    values: np.ndarray
    analytic: np.ndarray
    output: Callable[[], np.ndarray]  # with the values as they are now
    c: np.ndarray  # L = Σ c·output()
    suspects: Callable[[np.ndarray], Iterator[Suspect]] = field(default=lambda right: iter(()))

    def fault(self, what: str, suspect: Suspect | None = None) -> _Fault:
        """Say what is wrong with the whole array."""
        return _Fault(self.layer, self.name, self.parameter, what, *(suspect[:2] if suspect else ()))

    def right(self, differences: dict[tuple[int, ...], Difference]) -> np.ndarray:
        """Return the central differences as an array; nan where there is none."""
        right = np.full(self.values.shape, np.nan)
        for entry, d in differences.items():
            right[entry] = np.nan if d.numeric is None else d.numeric
        return right

    def explained(self, differences: dict[tuple[int, ...], Difference]) -> Suspect | None:
        """Return the mistake that makes these numbers of the right ones, if it is a known one."""
        right = self.right(differences)
        words = rounded(self.analytic, right)
        if words:
            return Suspect("dtype", words, self.analytic)
        suspect = find(self.analytic, right, self.suspects(right))
        if suspect is None or suspect.mistake in ("factor", "slope missing"):  # one number for all of it is simpler
            suspect = find(self.analytic, right, of_a_factor(self.analytic, right)) or suspect
        return suspect

    def differences(self, max_entries: int, rng: np.random.Generator) -> dict[tuple[int, ...], Difference]:
        """Return the differences by entry; those that could not be compared were tried again with a smaller step."""
        entries = list(np.ndindex(self.values.shape))
        if len(entries) > max_entries:
            entries = [entries[i] for i in sorted(rng.choice(len(entries), max_entries, replace=False))]
        y = self.output()
        found = {entry: self.difference(entry, STEP, y) for entry in entries}
        some = any(d.numeric is not None for d in found.values())
        for entry, d in found.items():
            if d.numeric is None and not (d.kink and some):
                found[entry] = self.difference(entry, STEP * SMALLER, y)
        return found

    def difference(self, entry: tuple[int, ...], step: float, y: np.ndarray) -> Difference:
        """Compare the slopes over h and h/2, above and below."""
        h = step * max(1.0, abs(float(self.values[entry])))
        above, below = self._slopes(entry, h, y)
        near_above, near_below = self._slopes(entry, h / 2.0, y)
        coarse, fine = (above + below) / 2.0, (near_above + near_below) / 2.0
        noise = float(np.finfo(np.float64).eps * (1.0 + np.sum(np.abs(self.c * y))) / h)
        smooth = KINK * max(abs(coarse), abs(fine)) + noise / KINK * (step / STEP)  # the last as large at every step
        if abs(coarse - fine) > smooth or abs(above - below - 2.0 * (near_above - near_below)) > smooth:
            return Difference(None, noise, abs(above - near_above) <= smooth or abs(below - near_below) <= smooth)
        return Difference((4.0 * fine - coarse) / 3.0, noise, False)

    def _slopes(self, entry: tuple[int, ...], h: float, y: np.ndarray) -> tuple[float, float]:
        """Return (L(+h) − L(0))/h and (L(0) − L(−h))/h."""
        value = self.values[entry]
        self.values[entry] = value + h
        above = self.output() - y
        self.values[entry] = value - h
        below = y - self.output()
        self.values[entry] = value
        return float(np.sum(self.c * above)) / h, float(np.sum(self.c * below)) / h

    def verdict(
        self,
        error: float,
        entry: tuple[int, ...],
        differences: dict[tuple[int, ...], Difference],
        checked: int,
        kinks: int,
        tolerance: float,
    ) -> GradientCheck:
        """Put the worst entry into words."""
        a, numeric = float(self.analytic[entry]), differences[entry].numeric
        assert numeric is not None
        reason, suspect = "", None
        if error > tolerance:
            suspect = self.explained(differences)
            reason = (
                f"layer {self.layer} ({self.name}): the gradient of {self.parameter} at {list(entry)} is {a:.10g}, "
                f"but the central difference is {numeric:.10g}"
            )
        place = self.layer, self.name, self.parameter, entry, a, numeric
        return GradientCheck(float(error), *place, checked, kinks, tolerance, reason, *(suspect[:2] if suspect else ()))


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


@dataclass(frozen=True)
class _Trial:
    """One layer, with the input that it gets in the network and random numbers that stay the same."""

    network: Network
    index: int
    x: np.ndarray
    dy: np.ndarray
    streams: Streams

    @property
    def layer(self) -> Layer:
        """The layer."""
        return self.network.layers[self.index]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The layer's parameters, by their names in it: ``"W"``, or ``"1.W"`` inside a container."""
        split = [(p.name.split(".", 1), p) for p in self.network.parameters]
        return {name: p for (place, name), p in split if place == str(self.index)}

    def output(self) -> np.ndarray:
        """Return y for x and the parameters as they are now."""
        self._hold_streams()
        return np.array(self.layer.forward(self.x))

    def _hold_streams(self) -> None:
        for inner in walk([self.layer]):
            inner.streams = copy.deepcopy(self.streams)  # the same random masks every time

    def run(self, told: bool = False) -> tuple[dict[str, np.ndarray], list[Breach]]:
        """Run forward and backward on copies, with `out` if told.

        Returns
        -------
        results : dict
            y, and the gradients: under ``"x"``, and under each parameter's name.
        faults : list of (str, str, str)
            What was changed that is not the layer's to change, or is of another type.
        """
        self._hold_streams()
        self.network.grads[...] = 1.0  # a layer that adds to its gradient instead of writing it is wrong by 1
        x, dy = self.x.copy(), self.dy.copy()
        y_out, dx_out = ([np.full(a.shape, np.nan)] if told else [] for a in (dy, x))
        given = np.asarray(self.layer.forward(x, *y_out))
        faults, y = _kept("forward", "y", given, [("x", self.x, x)]), np.array(given, np.float64)
        seen = y.copy()
        given = np.asarray(self.layer.backward(dy, x, seen, *dx_out))
        dx = np.array(given, np.float64)
        faults += _kept("backward", "dx", given, [("x", self.x, x), ("y", y, seen), ("dy", self.dy, dy)])
        gradients = {name: self.network.grads[p.where].reshape(p.shape).copy() for name, p in self.parameters.items()}
        return {"y": y, "x": dx, **gradients}, faults

    def faults(self) -> Iterator[Breach]:
        """Yield where the layer breaks its contract: the array, a sentence, and the mistake in a word."""
        first, changed = self.run()
        yield from changed
        yield from self._replaced()
        second, _ = self.run()
        for name, call in _differing(first, second):
            what = f"{call} gives another result the second time; use nothing but its arguments and the parameters"
            yield name, what, ""
        if first["x"].shape != self.x.shape:
            return
        told, changed = self.run(told=True)
        yield from changed
        yield from self._replaced()
        for name, call in _differing(first, told):
            remedies = {"y": "fill out with y", "x": "fill out with dx"}
            remedy = remedies.get(name, f"write the gradient of {name} as without")
            yield name, f"{call} gives another result when told where to write (out=); {remedy}", ""

    def _replaced(self) -> Iterator[Breach]:
        """Yield the arrays that are no longer views of the network's flat vectors."""
        for name, p in self.parameters.items():
            for flat, attribute in ((self.network.params, p.attribute), (self.network.grads, f"d{p.attribute}")):
                view = flat[p.where]
                if view.size and not np.shares_memory(np.asarray(getattr(p.layer, attribute)), view):
                    path = name.removesuffix(p.attribute)
                    what = f"{path}{attribute} was replaced; write into it: self.{attribute}[...] = …"
                    yield name, what, "not in place"

    def told(self, name: str, turned: bool = False) -> Told:
        """Return the backward pass as a function of dy, x and y to one result.

        Turned, it meets transposed weights on its way to dx, or a transposed array to write a gradient to.
        """

        def backward(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
            self._hold_streams()
            self.layer.forward(self.x.copy())  # what it keeps for itself is that of its own input
            prefix, asked = ("", self.parameters.values()) if name == "x" else ("d", [self.parameters[name]])
            try:
                for p in asked if turned else ():
                    if len(p.shape) == 2 and min(p.shape) > 1:
                        array = getattr(p.layer, prefix + p.attribute)
                        object.__setattr__(p.layer, prefix + p.attribute, array.T.copy())
                dx = np.array(self.layer.backward(dy.copy(), x.copy(), y.copy()), np.float64)
                if name == "x":
                    return dx
                p = self.parameters[name]
                gradient = np.array(getattr(p.layer, "d" + p.attribute))
                return gradient if gradient.shape == p.shape else gradient.T
            finally:
                self.network._bind()

        return backward

    def values(self) -> dict[str, np.ndarray]:
        """Return what derivatives are taken by: the input, and views of the parameters."""
        parameters = {name: self.network.params[p.where].reshape(p.shape) for name, p in self.parameters.items()}
        return {"x": self.x} | parameters

    def why_it_fails(self) -> Suspect | None:
        """Return the mistake without which a backward pass that raises an error would be right."""
        y, nothing = self.output(), np.empty(0)
        for name, values in self.values().items():
            right = np.sum(self.effects(values), axis=(-2, -1))
            told, turned = self.told(name), self.told(name, turned=True)
            for suspect in of_layer(name, nothing, right, self.dy, self.x, y, told, turned):
                if suspect.makes is nothing:
                    return suspect
        n, d = y.shape
        if n == d:
            return None
        rows = np.resize(np.arange(n), d)  # as many samples as features: a sum over the wrong axis now goes through
        square = _Trial(
            self.network, self.index, self.x[rows] + np.arange(d)[:, np.newaxis], self.dy[rows], self.streams
        )
        try:
            results, _ = square.run()
        except Exception:  # whatever the backward pass raises
            return None
        for name, values in square.values().items():
            right = np.sum(square.effects(values), axis=(-2, -1))
            found = find(results[name], right, square.suspects(name, results[name], right))
            if found is not None:
                return found
        return None

    def effects(self, values: np.ndarray) -> np.ndarray:
        """Return dy·∂y/∂value for each entry of some values and each number of y: (*values.shape, n, d_out)."""
        effects = np.empty((*values.shape, *self.dy.shape))
        for entry in np.ndindex(values.shape):
            value, sides = values[entry], []
            for side in (STEP, -STEP):
                values[entry] = value + side
                sides.append(self.output())
            values[entry] = value
            effects[entry] = self.dy * (sides[0] - sides[1]) / (2.0 * STEP)
        return effects

    def forward_of(self, **arrays: Any) -> Any:
        """Run forward on x and parameters given by name, in place of its own."""
        self._hold_streams()
        try:
            for name, p in self.parameters.items():
                if name in arrays:
                    object.__setattr__(p.layer, p.attribute, arrays[name])
            return self.layer.forward(arrays["x"])
        finally:
            self.network._bind()

    def suspects(self, name: str, found: np.ndarray, right: np.ndarray) -> Iterator[Suspect]:
        """Yield what may be wrong with one result of the backward pass, the likeliest first."""
        y = self.output()
        told, turned = self.told(name), self.told(name, turned=True)
        yield from of_layer(name, found, right, self.dy, self.x, y, told, turned)
        yield from of_any_array(right, len(self.x), None if name == "x" else np.ones(right.shape))
        if right.size <= MOST_TAKEN_APART:
            inputs = self.values()
            if name != "x":
                yield from of_sums(right, self.effects(inputs[name]))
            yield from of_paths(name, found, self.dy, self.forward_of, inputs)


def _kept(method: str, gives: str, given: np.ndarray, arrays: list[tuple[str, np.ndarray, np.ndarray]]) -> list[Breach]:
    """Return what a method changed, of arrays before and after it, and whether what it gave is of another type."""
    faults: list[Breach] = []
    for name, before, after in arrays:
        if not np.array_equal(before, after, equal_nan=True):
            what = f"{method} changes {name} in place; write into out, or into a new array"
            faults.append((name, what, "changes input"))
    if given.dtype != np.float64 and given.dtype.kind in "biufc":
        what = f"{method} gives {gives} as {given.dtype} where x is float64; keep the float type of x"
        faults.append((gives.removeprefix("d"), what, "dtype"))
    return faults


def _differing(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Yield the results that differ between two runs, and the method that they come from."""
    for name in a:
        if a[name].shape != b[name].shape or not np.allclose(a[name], b[name], SAME, SAME, equal_nan=True):
            yield name, "forward" if name == "y" else "backward"


def _gradients_of_layers(
    network: Network, tape: list[np.ndarray], rng: np.random.Generator
) -> Iterator[Gradient | _Fault]:
    """Yield every gradient of every layer, from the last layer to the first, or how it breaks its contract."""
    for i in range(len(network.layers) - 1, -1, -1):
        dy = rng.standard_normal(tape[i + 1].shape)
        trial = _Trial(network, i, tape[i], dy, copy.deepcopy(network.streams))
        name = repr(trial.layer)
        try:
            faults = list(trial.faults())
        except Exception as error:  # whatever a layer of somebody's own raises
            suspect = trial.why_it_fails()
            if suspect is None:
                raise
            yield _Fault(i, name, "x", f"backward raises {type(error).__name__}: {error}", *suspect[:2])
            return
        for parameter, what, mistake in faults:
            yield _Fault(i, name, parameter, what, mistake)
        results, _ = trial.run()
        for parameter, array in trial.values().items():
            found = results[parameter]
            suspects = functools.partial(trial.suspects, parameter, found)
            yield Gradient(i, name, parameter, array, found, trial.output, dy, suspects)


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
    faults = _kept("gradient", "dx", found, [("x", logits, seen[0]), ("targets", targets, seen[1])])
    for parameter, what, mistake in faults:
        yield _Fault(place, name, parameter, what, mistake)
    yield Gradient(place, name, "x", logits, np.array(found, np.float64), output, np.ones(()), suspects)
