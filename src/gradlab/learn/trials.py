"""What the answers to the exercises are tried on, and what the known mistakes would make of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from gradlab.learn.recipes import START, gradient, recipes
from gradlab.nn.activations import sigmoid as _σ

Draw = dict[str, Any]  # a function's arguments, by name
Answer = Callable[..., Any]
Wrong = tuple[str, str, Answer]  # a mistake in a word, in a sentence, and as a function of the same arguments


@dataclass(frozen=True)
class Trial:
    """Calls of one function of an exercise.

    Attributes
    ----------
    function : str
    draws : sequence of dict
        The arguments of each call, in their order. Where the result is a number, there are several, so that there is something to
        compare.
    results : tuple of str
        What the function returns, in order; or the arguments that it leaves its results in.
    written : bool
        Whether it leaves them in its arguments.
    samples : int
        In the batch.
    wrongs : sequence of Wrong
        The known mistakes, the likeliest first.
    extreme : bool
        Whether the numbers are so large that a careless formula leaves the finite numbers.
    """

    function: str
    draws: Sequence[Draw]
    results: tuple[str, ...]
    written: bool = False
    samples: int = 1
    wrongs: Sequence[Wrong] = ()
    extreme: bool = False


def solution(exercise: str) -> ModuleType:
    """Return the module that solves an exercise."""
    return importlib.import_module(f"gradlab.learn.exercises.{exercise}")


def trials(exercise: str) -> list[Trial]:
    """Return what an exercise's answer is tried on, function by function, the ordinary numbers first."""
    return list(TRIALS[exercise](np.random.default_rng(0)))


def why_extreme(found: np.ndarray) -> str:
    """Say why a result is wrong where the numbers are very large."""
    if np.isfinite(found).all():
        return "something is cut off, or a small number added, and hides how large the logits are"
    return "e to such a power, or the logarithm of what it leaves, is not finite; write it so that neither is needed"


Trials = Iterator[Trial]
N = 5  # samples
NO_SLOPE = "it is dy itself: the slope is missing"
NO_DELTA = "it is the slope alone, not multiplied by dy"
FOR_Y = "the formula is right for the output y, but is fed the input x"
AT_Y = "the slope is taken at the output y, where it belongs to the input x"


def _slope(z: np.ndarray) -> np.ndarray:
    return _σ(z) * (1.0 - _σ(z))


def _sigmoid(rng: np.random.Generator) -> Trials:
    x, dy = 2.0 * rng.standard_normal((2, N, 3))
    wrongs: list[Wrong] = [
        ("sign", "the exponent has the wrong sign: this is 1 − σ(x)", lambda x: _σ(-x)),
        ("dropped term", "the 1 in the denominator is missing", lambda x: np.exp(x)),
        ("dropped term", "1 is added outside of the fraction, not below its line", lambda x: 1.0 + np.exp(-x)),
        ("dropped term", "it is e^x over 1 + e^(−x)", lambda x: np.exp(x) / (1.0 + np.exp(-x))),
        ("factor", "this is tanh(x), which runs from −1 to 1", np.tanh),
        ("factor", "x counts twice in the exponent", lambda x: _σ(2.0 * x)),
    ]
    yield Trial("sigmoid", [{"x": x}], ("y",), samples=N, wrongs=wrongs)
    yield Trial("sigmoid", [{"x": np.array([[-30.0, -1e-3, 0.0, 1e-3, 30.0]])}], ("y",), wrongs=wrongs)
    y = _σ(x)
    back: list[Wrong] = [
        ("slope missing", NO_SLOPE, lambda dy, x, y: dy),
        ("delta missing", NO_DELTA, lambda dy, x, y: y * (1.0 - y)),
        ("slope at the input", FOR_Y, lambda dy, x, y: dy * x * (1.0 - x)),
        ("slope at the output", AT_Y, lambda dy, x, y: dy * _slope(y)),
        ("dropped term", "the factor 1 − y is missing", lambda dy, x, y: dy * y),
        ("dropped term", "the factor y is missing", lambda dy, x, y: dy * (1.0 - y)),
        ("dropped term", "y² is not subtracted from y: it stands alone", lambda dy, x, y: dy * y * y),
        ("factor", "this is the slope of tanh, 1 − y²", lambda dy, x, y: dy * (1.0 - y * y)),
        ("sign", "1 + y stands where 1 − y belongs", lambda dy, x, y: dy * y * (1.0 + y)),
        ("slope twice", "the slope is in it twice", lambda dy, x, y: dy * (y * (1.0 - y)) ** 2),
        ("dropped term", "dy is added to the slope, not multiplied by it", lambda dy, x, y: dy + y * (1.0 - y)),
    ]
    yield Trial("sigmoid_backward", [{"dy": dy, "x": x, "y": y}], ("dx",), samples=N, wrongs=back)


def _relu(rng: np.random.Generator) -> Trials:
    x, dy = rng.standard_normal((2, N, 3))
    wrongs: list[Wrong] = [
        ("sign", "it keeps the negative numbers, and zeroes the positive ones", lambda x: np.minimum(x, 0.0)),
        ("sign", "this is max(−x, 0)", lambda x: np.maximum(-x, 0.0)),
        ("factor", "this is the absolute value", np.abs),
        (
            "factor",
            "a small part of the negative numbers is kept, as in a leaky ReLU",
            lambda x: np.where(x > 0.0, x, 0.01 * x),
        ),
        (
            "wrong axis",
            "one maximum is taken of all numbers, where each has its own",
            lambda x: np.full(x.shape, max(x.max(), 0.0)),
        ),
        ("slope missing", "nothing is zeroed: it is x itself", lambda x: x),
        ("factor", "this is the slope, 1 or 0, not the number itself", lambda x: (x > 0.0) * 1.0),
    ]
    yield Trial("relu", [{"x": x}], ("y",), samples=N, wrongs=wrongs)
    back: list[Wrong] = [
        ("slope missing", NO_SLOPE, lambda dy, x, y: dy),
        ("delta missing", NO_DELTA, lambda dy, x, y: (x > 0.0) * 1.0),
        ("sign", "it lets through where x is negative, and stops where x is positive", lambda dy, x, y: dy * (x < 0.0)),
        ("sign", "where x is negative, dy goes through with the other sign", lambda dy, x, y: dy * np.sign(x)),
        ("slope at the input", "it multiplies by x where x > 0; the slope there is 1", lambda dy, x, y: dy * y),
        ("slope at the input", "it multiplies by x; the slope is 1 or 0", lambda dy, x, y: dy * x),
        (
            "wrong layer",
            "it is ReLU of dy: the sign of dy decides, not that of x",
            lambda dy, x, y: np.maximum(dy, 0.0),
        ),
        ("wrong layer", "the sign of dy decides, not that of x", lambda dy, x, y: (dy > 0.0) * 1.0),
        ("wrong layer", "it gives x where dy > 0: dy and x are exchanged", lambda dy, x, y: x * (dy > 0.0)),
        ("wrong layer", "it gives y: forward once more", lambda dy, x, y: y),
    ]
    arguments = {"dy": dy, "x": x, "y": np.maximum(x, 0.0)}
    yield Trial("relu_backward", [arguments], ("dx",), samples=N, wrongs=back)
    x = np.array([[0.0, -1.0, 0.0, 2.0]])
    kink: list[Wrong] = [
        ("kink", "at x = 0 the slope is to be 0", lambda dy, x, y: dy * (x >= 0.0)),
        ("kink", "at x = 0 the slope is to be 0, and not ½", lambda dy, x, y: dy * np.heaviside(x, 0.5)),
    ]
    arguments = {"dy": np.array([[1.0, 2.0, -3.0, 4.0]]), "x": x, "y": np.maximum(x, 0.0)}
    yield Trial("relu_backward", [arguments], ("dx",), wrongs=kink)


def _dense_forward(rng: np.random.Generator) -> Trials:
    wrongs: list[Wrong] = [
        ("dropped term", "the bias is missing", lambda x, W, b: x @ W),
        (
            "transposed",
            "it is right with W transposed: the sum runs over the wrong index of W",
            lambda x, W, b: x @ W.T + b,
        ),
        ("transposed", "it is W times x: the two stand in the wrong order", lambda x, W, b: W @ x + b),
        ("transposed", "x is transposed", lambda x, W, b: x.T @ W + b),
        ("sign", "the bias is subtracted", lambda x, W, b: x @ W - b),
        ("wrong axis", "the bias is added along the samples, not to each of them", lambda x, W, b: x @ W + b.T),
        ("wrong axis", "the sum of the biases is added to each output", lambda x, W, b: x @ W + b.sum()),
        ("wrong axis", "x and W are multiplied entry by entry, not as matrices", lambda x, W, b: x * W + b),
        ("factor", "the bias is counted once for each input", lambda x, W, b: x @ W + len(W) * b),
        ("factor", "the bias is divided by the number of samples", lambda x, W, b: x @ W + b / len(x)),
        ("mean twice", "the sum over the inputs is divided by their number", lambda x, W, b: x @ W / len(W) + b),
        ("mean twice", "the sum over the inputs, not the bias, is divided by n", lambda x, W, b: x @ W / len(x) + b),
        ("sign", "the product has the wrong sign", lambda x, W, b: b - x @ W),
        (
            "transposed",
            "W is brought into shape by reshape, which reads it in another order than transposing",
            lambda x, W, b: x @ W.reshape(W.shape[::-1]).T + b,
        ),
        (
            "dropped term",
            "only the last input is in it: each one writes over the one before",
            lambda x, W, b: x[:, -1:] @ W[-1:] + b,
        ),
        ("dropped term", "only the last input is in it, and no bias", lambda x, W, b: x[:, -1:] @ W[-1:]),
        ("dropped term", "only the first input is in it", lambda x, W, b: x[:, :1] @ W[:1] + b),
        (
            "dropped term",
            "the bias is added to the first sample only",
            lambda x, W, b: x @ W + b * (np.arange(len(x)) == 0)[:, np.newaxis],
        ),
        (
            "dropped term",
            "the bias is added to the last sample only",
            lambda x, W, b: x @ W + b * (np.arange(len(x)) == len(x) - 1)[:, np.newaxis],
        ),
        ("dropped term", "the first input is left out of the sum", lambda x, W, b: x[:, 1:] @ W[1:] + b),
        ("dropped term", "the last input is left out of the sum", lambda x, W, b: x[:, :-1] @ W[:-1] + b),
        ("factor", "x + b is multiplied by W: the bias comes after", lambda x, W, b: (x + b) @ W),
        ("wrong layer", "an activation has been applied; xW + b alone is asked for", lambda x, W, b: _σ(x @ W + b)),
    ]
    for n, d, k in ((N, 4, 3), (4, 4, 4)):
        arguments = {
            "x": rng.standard_normal((n, d)),
            "W": rng.standard_normal((d, k)),
            "b": rng.standard_normal((1, k)),
        }
        yield Trial("dense", [arguments], ("y",), samples=n, wrongs=wrongs)


def _dense_backward(rng: np.random.Generator) -> Trials:
    def wrong(
        dx: Answer = lambda dy, x, W: dy @ W.T,
        dW: Answer = lambda dy, x, W: x.T @ dy,
        db: Answer = lambda dy, x, W: dy.sum(axis=0, keepdims=True),
    ) -> Answer:
        return lambda dy, x, W: (dx(dy, x, W), dW(dy, x, W), db(dy, x, W))

    wrongs: list[Wrong] = [
        ("transposed", "it is right with W transposed: dy and W are summed over the wrong index", wrong(dx=lambda dy, x, W: dy @ W)),
        ("transposed", "the order of dy and W is exchanged", wrong(dx=lambda dy, x, W: W @ dy)),
        ("transposed", "the order of dy and W is exchanged", wrong(dx=lambda dy, x, W: W.T @ dy)),
        ("transposed", "it is right once transposed: x and dy stand in the wrong order", wrong(dW=lambda dy, x, W: dy.T @ x)),
        ("transposed", "x is not transposed", wrong(dW=lambda dy, x, W: x @ dy)),
        ("transposed", "dy is transposed, not x", wrong(dW=lambda dy, x, W: x @ dy.T)),
        ("wrong layer", "it is made of x where dy belongs", wrong(dx=lambda dy, x, W: x @ W.T)),
        ("wrong layer", "it is made of y = xW where dy belongs", wrong(dx=lambda dy, x, W: x @ W @ W.T)),
        ("wrong layer", "it is made of y = xW where x belongs", wrong(dW=lambda dy, x, W: (x @ W).T @ dy)),
        ("wrong layer", "it is made of y = xW where dy belongs", wrong(db=lambda dy, x, W: (x @ W).sum(axis=0, keepdims=True))),
        ("wrong layer", "x and W are multiplied; dL/dW comes from x and dy", wrong(dW=lambda dy, x, W: x.T @ (x @ W))),
        ("wrong layer", "it is made of dL/dx where x belongs", wrong(dW=lambda dy, x, W: (dy @ W.T).T @ dy)),
        ("wrong layer", "it is made of dy alone", wrong(dW=lambda dy, x, W: dy.T @ dy)),
        ("wrong layer", "it is W itself", wrong(dW=lambda dy, x, W: W)),
        ("wrong axis", "dy is summed over the outputs, not over the samples", wrong(db=lambda dy, x, W: dy.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dy is summed over samples and outputs", wrong(db=lambda dy, x, W: np.full((1, dy.shape[1]), dy.sum()))),
        ("wrong axis", "dy is averaged over the outputs, not summed over the samples", wrong(db=lambda dy, x, W: dy.mean(axis=1)[np.newaxis])),
        ("dropped term", "only the first sample is in it", wrong(dW=lambda dy, x, W: x[:1].T @ dy[:1])),
        ("dropped term", "only the last sample is in it", wrong(dW=lambda dy, x, W: x[-1:].T @ dy[-1:])),
        ("dropped term", "the first sample is left out", wrong(dW=lambda dy, x, W: x[1:].T @ dy[1:])),
        ("dropped term", "the last sample is left out", wrong(dW=lambda dy, x, W: x[:-1].T @ dy[:-1])),
        ("dropped term", "only the first sample is in it", wrong(db=lambda dy, x, W: dy[:1])),
        ("dropped term", "only the last sample is in it", wrong(db=lambda dy, x, W: dy[-1:])),
        ("dropped term", "the first sample is left out", wrong(db=lambda dy, x, W: dy[1:].sum(axis=0, keepdims=True))),
        ("dropped term", "the last sample is left out", wrong(db=lambda dy, x, W: dy[:-1].sum(axis=0, keepdims=True))),
        ("dropped term", "only the last output is in it", wrong(dx=lambda dy, x, W: dy[:, -1:] @ W.T[-1:])),
        ("dropped term", "only the first output is in it", wrong(dx=lambda dy, x, W: dy[:, :1] @ W.T[:1])),
        ("wrong axis", "dy is summed before it meets x", wrong(dW=lambda dy, x, W: x.sum(axis=0)[:, np.newaxis] * dy.sum(axis=0))),
    ]  # fmt: skip
    for n, d, k in ((N, 4, 3), (4, 4, 4)):
        arguments = {
            "dy": rng.standard_normal((n, k)),
            "x": rng.standard_normal((n, d)),
            "W": rng.standard_normal((d, k)),
        }
        yield Trial("dense_backward", [arguments], ("dx", "dW", "db"), samples=n, wrongs=wrongs)


def _logits(rng: np.random.Generator, k: int, scale: float = 2.0) -> Draw:
    """Draw logits, and targets that are probabilities: one number each, or several that sum to 1."""
    t = rng.dirichlet(np.ones(k), N) if k > 1 else rng.uniform(size=(N, 1))
    sure = t[: N // 2]
    sure[...] = np.eye(k)[np.argmax(sure, axis=1)] if k > 1 else np.round(sure)
    return {"z": scale * rng.standard_normal((N, k)), "t": t}


OF_A_SUM: list[tuple[str, str, Callable[[np.ndarray], Any]]] = [  # of a loss's terms (n, k) in place of Σ/n
    ("mean missing", "it is the sum over the samples: the mean is missing", np.sum),
    ("wrong axis", "it is the mean over samples and outputs: the outputs are to be summed", np.mean),
    ("mean twice", "it is divided by n twice", lambda terms: np.sum(terms) / len(terms) ** 2),
    (
        "wrong axis",
        "it is divided by the number of outputs, not of samples",
        lambda terms: np.sum(terms) / terms.shape[1],
    ),
    ("sign", "it has the wrong sign", lambda terms: -np.sum(terms) / len(terms)),
    ("factor", "it is twice as large as it should be", lambda terms: 2.0 * np.sum(terms) / len(terms)),
    ("factor", "it is half as large as it should be", lambda terms: 0.5 * np.sum(terms) / len(terms)),
    ("dropped term", "the first sample is left out", lambda terms: np.sum(terms[1:]) / len(terms)),
    ("dropped term", "the last sample is left out", lambda terms: np.sum(terms[:-1]) / len(terms)),
    ("dropped term", "only the first output is in it", lambda terms: np.sum(terms[:, :1]) / len(terms)),
]


def _of_terms(terms: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[Wrong]:
    """Return the wrong ways to make a loss of its right terms (n, k)."""
    return [(mistake, says, lambda z, t, f=f: f(terms(z, t))) for mistake, says, f in OF_A_SUM]


def _mean_of(*wrongs: tuple[str, str, Callable[[np.ndarray, np.ndarray], np.ndarray]]) -> list[Wrong]:
    """Return wrong terms, each as the loss that they make."""
    return [(m, says, lambda z, t, f=f: np.sum(f(z, t)) / len(z)) for m, says, f in wrongs]


def _slopes_of(*wrongs: tuple[str, str, Callable[[np.ndarray, np.ndarray], np.ndarray]]) -> list[Wrong]:
    """Return wrong slopes of the samples' losses, each as the gradient of the mean; then those of a wrong mean."""
    return [(m, says, lambda z, t, f=f: f(z, t) / len(z)) for m, says, f in wrongs]


DIVIDED_BY_K: tuple[str, str] = (
    "wrong axis",
    "it is divided by the number of outputs too, or in place of the samples'",
)


def _mean_over_outputs(slope: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[Wrong]:
    """Return the right slopes, divided by the wrong number."""
    return [
        (*DIVIDED_BY_K, lambda z, t: slope(z, t) / z.size),
        (*DIVIDED_BY_K, lambda z, t: slope(z, t) / z.shape[1]),
    ]


def _squared_error(rng: np.random.Generator) -> Trials:
    def terms(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return 0.5 * (_σ(z) - t) ** 2

    def slopes(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return (_σ(z) - t) * _slope(z)

    wrongs = _of_terms(terms) + _mean_of(
        ("slope missing", "σ is missing: the logits themselves are compared with the targets", lambda z, t: 0.5 * (z - t) ** 2),
        ("dropped term", "the square is missing", lambda z, t: 0.5 * (_σ(z) - t)),
        ("dropped term", "the square is missing: it is the distance", lambda z, t: 0.5 * np.abs(_σ(z) - t)),
        ("slope twice", "σ is applied twice", lambda z, t: 0.5 * (_σ(_σ(z)) - t) ** 2),
        ("sign", "a + t stands where a − t belongs", lambda z, t: 0.5 * (_σ(z) + t) ** 2),
    )  # fmt: skip
    back = _slopes_of(
        ("slope missing", "the slope of σ is missing: z goes into the loss through σ", lambda z, t: _σ(z) - t),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (_σ(z) - t) * z * (1 - z)),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (_σ(z) - t) * _slope(_σ(z))),
        ("slope missing", "σ is missing in the difference: the logits themselves are compared", lambda z, t: (z - t) * _slope(z)),
        ("slope missing", "σ and its slope are missing", lambda z, t: z - t),
        ("dropped term", "the factor 1 − a of the slope of σ is missing", lambda z, t: (_σ(z) - t) * _σ(z)),
        ("dropped term", "the factor a of the slope of σ is missing", lambda z, t: (_σ(z) - t) * (1.0 - _σ(z))),
        ("delta missing", "the difference a − t is missing: this is the slope of σ alone", lambda z, t: _slope(z)),
        ("dropped term", "the difference is still squared", lambda z, t: 0.5 * (_σ(z) - t) ** 2 * _slope(z)),
        ("dropped term", "the difference is still squared", lambda z, t: (_σ(z) - t) ** 2 * _slope(z)),
        ("slope twice", "the slope of σ is in it twice", lambda z, t: (_σ(z) - t) * _slope(z) ** 2),
        ("dropped term", "t is missing", lambda z, t: _σ(z) * _slope(z)),
    ) + _mean_over_outputs(slopes)  # fmt: skip
    yield from _loss_trials(rng, "squared_error", "squared_error_gradient", (3,), wrongs, back)


def _loss_trials(
    rng: np.random.Generator,
    value: str,
    slope: str,
    widths: tuple[int, ...],
    wrongs: Sequence[Wrong],
    back: Sequence[Wrong],
    extremes: Sequence[Draw] = (),
) -> Trials:
    """Yield the trials of a loss, then those of its gradient; numbers that overflow last."""
    draws = [_logits(rng, k) for k in widths for _ in range(6)]
    yield Trial(value, draws, ("L",), samples=N, wrongs=wrongs)
    for draw in extremes:
        yield Trial(value, [draw], ("L",), samples=N, extreme=True)
    for k in widths:
        yield Trial(slope, [_logits(rng, k)], ("dz",), samples=N, wrongs=back)
    for draw in extremes:
        yield Trial(slope, [draw], ("dz",), samples=N, extreme=True)


def _cross_entropy(rng: np.random.Generator) -> Trials:
    def terms(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.logaddexp(0.0, z) - t * z

    wrongs = _of_terms(terms) + _mean_of(
        ("dropped term", "the term with 1 − t is missing: the samples whose target is 0", lambda z, t: t * np.logaddexp(0.0, -z)),
        ("dropped term", "the term with t is missing: the samples whose target is 1", lambda z, t: (1.0 - t) * np.logaddexp(0.0, z)),
        ("dtype", "the targets are rounded to 0 and 1; they may be any probability", lambda z, t: np.logaddexp(0.0, z) - np.round(t) * z),
        ("sign", "t and 1 − t are exchanged", lambda z, t: np.logaddexp(0.0, z) - (1.0 - t) * z),
        ("sign", "the two terms have different signs", lambda z, t: t * np.logaddexp(0.0, -z) - (1.0 - t) * np.logaddexp(0.0, z)),
        ("sign", "the two terms have different signs", lambda z, t: (1.0 - t) * np.logaddexp(0.0, z) - t * np.logaddexp(0.0, -z)),
        ("sign", "t·z is added, not subtracted", lambda z, t: np.logaddexp(0.0, z) + t * z),
        ("dropped term", "t·z is missing", lambda z, t: np.logaddexp(0.0, z)),
        ("slope twice", "σ is applied twice", lambda z, t: np.logaddexp(0.0, _σ(z)) - t * _σ(z)),
        ("factor", "the logarithm has another base than e: 2", lambda z, t: (np.logaddexp(0.0, z) - t * z) / np.log(2.0)),
        ("factor", "the logarithm has another base than e: 10", lambda z, t: (np.logaddexp(0.0, z) - t * z) / np.log(10.0)),
        ("dropped term", "max(z, 0) is missing", lambda z, t: np.log1p(np.exp(-np.abs(z))) - t * z),
    )  # fmt: skip
    back = _slopes_of(
        ("slope missing", "the slope of σ is missing: this is dL/dp, not dL/dz", lambda z, t: (_σ(z) - t) / _slope(z)),
        ("factor", "the slope of σ is in it, but it has cancelled: this is the squared error's gradient", lambda z, t: (_σ(z) - t) * _slope(z)),
        ("slope missing", "σ is missing: the logits themselves are compared with the targets", lambda z, t: z - t),
        ("slope twice", "σ is applied twice", lambda z, t: _σ(_σ(z)) - t),
        ("dropped term", "t is missing", lambda z, t: _σ(z)),
        ("dropped term", "the term with 1 − t is missing", lambda z, t: -t * (1.0 - _σ(z))),
        ("dropped term", "the term with t is missing", lambda z, t: (1.0 - t) * _σ(z)),
        ("sign", "t is added, not subtracted", lambda z, t: _σ(z) + t),
        ("dtype", "the targets are rounded to 0 and 1; they may be any probability", lambda z, t: _σ(z) - np.round(t)),
        ("sign", "t and 1 − t are exchanged", lambda z, t: _σ(z) - (1.0 - t)),
        ("dropped term", "the difference is squared", lambda z, t: (_σ(z) - t) ** 2),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (_σ(z) - t) * z * (1 - z)),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (_σ(z) - t) / _slope(z) * z * (1 - z)),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (_σ(z) - t) / _slope(z) * _slope(_σ(z))),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (_σ(z) - t) * _slope(_σ(z))),
        ("slope twice", "the slope of σ is in it twice", lambda z, t: (_σ(z) - t) / _slope(z) * _slope(z) ** 2),
    ) + _mean_over_outputs(lambda z, t: _σ(z) - t)  # fmt: skip
    extreme = {
        "z": np.array([[1000.0], [-1000.0], [1000.0], [-1000.0], [40.0]]),
        "t": np.array([[0.0], [1.0], [1.0], [0.0], [0.0]]),
    }
    yield from _loss_trials(rng, "cross_entropy", "cross_entropy_gradient", (3, 1), wrongs, back, [extreme])


def _softmax(rng: np.random.Generator) -> Trials:
    def likeliest(t: np.ndarray) -> np.ndarray:
        return np.eye(t.shape[1])[np.argmax(t, axis=1)]

    def p(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
        e = np.exp(z - z.max())
        return e / e.sum(axis=axis, keepdims=True)

    def terms(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return -t * np.log(p(z))

    wrongs = _of_terms(terms) + _mean_of(
        ("wrong axis", "softmax is taken over the samples, not over the classes", lambda z, t: -t * np.log(p(z, 0))),
        ("wrong axis", "softmax is taken over samples and classes together", lambda z, t: -t * np.log(p(z, None))),
        ("dropped term", "the logarithm of the sum is missing", lambda z, t: -t * z),
        ("dropped term", "the largest logit is taken out, and not put back", lambda z, t: -t * (z - z.max(axis=1, keepdims=True) - np.log(np.exp(z).sum(axis=1, keepdims=True)))),
        ("dropped term", "only the likeliest class of each target counts; the others have a share too", lambda z, t: -likeliest(t) * np.log(p(z))),
        ("dropped term", "the targets are missing: every class counts", lambda z, t: -np.log(p(z))),
        ("dropped term", "the targets are missing in one of the two terms", lambda z, t: np.log(np.exp(z).sum(axis=1, keepdims=True)) - t * z),
        ("dropped term", "there is a term with 1 − t, as for independent yes and no", lambda z, t: -t * np.log(p(z)) - (1 - t) * np.log(1 - p(z))),
        ("dropped term", "the logarithm is missing", lambda z, t: -t * p(z)),
        ("slope missing", "this is a sigmoid for each class, not a softmax over them", lambda z, t: np.logaddexp(0.0, z) - t * z),
        ("slope missing", "this is a sigmoid for each class, not a softmax over them", lambda z, t: t * np.logaddexp(0.0, -z)),
        ("factor", "the logarithm has another base than e: 2", lambda z, t: -t * np.log2(p(z))),
    )  # fmt: skip
    back = _slopes_of(
        ("wrong axis", "softmax is taken over the samples, not over the classes", lambda z, t: p(z, 0) - t),
        ("wrong axis", "softmax is taken over samples and classes together", lambda z, t: p(z, None) - t),
        ("slope missing", "this is a sigmoid for each class, not a softmax over them", lambda z, t: _σ(z) - t),
        ("slope missing", "this is dL/dp, not dL/dz: how p depends on z is missing", lambda z, t: -t / p(z)),
        ("slope missing", "softmax is missing: the logits themselves are compared with the targets", lambda z, t: z - t),
        ("dropped term", "t is missing", lambda z, t: p(z)),
        ("dropped term", "a logit changes the other classes' probabilities too: those terms are missing", lambda z, t: -t * (1.0 - p(z))),
        ("dropped term", "a logit changes the other classes' probabilities too: those terms are missing", lambda z, t: (p(z) - t) * t),
        ("factor", "a slope p·(1 − p) is in it, but it has cancelled", lambda z, t: (p(z) - t) * p(z) * (1.0 - p(z))),
        ("sign", "t is added, not subtracted", lambda z, t: p(z) + t),
        ("dropped term", "only the likeliest class of each target counts; the others have a share too", lambda z, t: p(z) - likeliest(t)),
        ("slope twice", "softmax is applied twice", lambda z, t: p(p(z)) - t),
    ) + _mean_over_outputs(lambda z, t: p(z) - t)  # fmt: skip
    z = np.array(
        [
            [1000.0, -1000.0, 0.0],
            [-1000.0, 1000.0, 0.0],
            [500.0, 500.0, 500.0],
            [0.0, 1000.0, 999.0],
            [-1000.0, -1000.0, -999.0],
        ]
    )
    extreme = {"z": z, "t": np.eye(3)[[1, 1, 0, 2, 0]]}
    names = "softmax_cross_entropy", "softmax_cross_entropy_gradient"
    yield from _loss_trials(rng, *names, (3,), wrongs, back, [extreme])


def _two_layer_net(rng: np.random.Generator) -> Trials:
    def draw(n: int, d: int, h: int) -> Draw:
        scale = {"W1": (d, h), "b1": (1, h), "W2": (h, 1), "b2": (1, 1)}
        parameters = {name: rng.standard_normal(shape) for name, shape in scale.items()}
        return {"x": rng.standard_normal((n, d)), "t": rng.uniform(size=(n, 1)), **parameters}

    def loss_of(
        hidden: Callable[[np.ndarray], np.ndarray] = _σ, b1: float = 1.0, b2: float = 1.0, end: Answer | None = None
    ) -> Answer:
        def loss(x: Any, t: Any, W1: Any, b_1: Any, W2: Any, b_2: Any) -> Any:
            z = hidden(x @ W1 + b1 * b_1) @ W2 + b2 * b_2
            return np.mean(np.logaddexp(0.0, z) - t * z) if end is None else end(z, t)

        return lambda x, t, W1, b1, W2, b2: loss(x, t, W1, b1, W2, b2)

    wrongs: list[Wrong] = [
        ("slope missing", "σ is missing between the layers: the net is linear", loss_of(lambda z: z)),
        ("slope twice", "σ is applied twice between the layers", loss_of(lambda z: _σ(_σ(z)))),
        ("factor", "there is a tanh between the layers; σ is asked for", loss_of(np.tanh)),
        ("factor", "there is a ReLU between the layers; σ is asked for", loss_of(lambda z: np.maximum(z, 0.0))),
        ("dropped term", "b1 is missing", loss_of(b1=0.0)),
        ("dropped term", "b2 is missing", loss_of(b2=0.0)),
        ("dropped term", "both biases are missing", loss_of(b1=0.0, b2=0.0)),
        ("mean missing", "it is the sum over the samples: the mean is missing", loss_of(end=lambda z, t: np.sum(np.logaddexp(0.0, z) - t * z))),
        ("mean twice", "it is divided by n twice", loss_of(end=lambda z, t: np.mean(np.logaddexp(0.0, z) - t * z) / len(z))),
        ("dropped term", "the term with 1 − t is missing", loss_of(end=lambda z, t: np.mean(t * np.logaddexp(0.0, -z)))),
        ("dropped term", "the term with t is missing", loss_of(end=lambda z, t: np.mean((1.0 - t) * np.logaddexp(0.0, z)))),
        ("sign", "it has the wrong sign", loss_of(end=lambda z, t: -np.mean(np.logaddexp(0.0, z) - t * z))),
        ("slope twice", "the output goes through σ twice", loss_of(end=lambda z, t: np.mean(np.logaddexp(0.0, _σ(z)) - t * _σ(z)))),
        ("factor", "this is a squared error; the cross-entropy is asked for", loss_of(end=lambda z, t: np.mean(0.5 * (_σ(z) - t) ** 2))),
        ("factor", "this is a squared error; the cross-entropy is asked for", loss_of(end=lambda z, t: np.mean((_σ(z) - t) ** 2))),
    ]  # fmt: skip
    yield Trial("loss", [draw(N, 3, 4) for _ in range(6)], ("L",), samples=N, wrongs=wrongs)

    def wrong(
        dz: Answer = lambda z, t: (_σ(z) - t) / len(t),
        slope: Answer = lambda z1, a1: a1 * (1.0 - a1),
        da: Answer = lambda dz2, W2: dz2 @ W2.T,
        dW1: Answer = lambda x, a1, dz1, dz2: x.T @ dz1,
        dW2: Answer = lambda x, a1, z1, dz2: a1.T @ dz2,
        db1: Answer = lambda dz1, dz2: dz1.sum(axis=0, keepdims=True),
        db2: Answer = lambda dz1, dz2: dz2.sum(axis=0, keepdims=True),
        with_b1: float = 1.0,
        with_b2: float = 1.0,
        hidden: Answer = _σ,
    ) -> Answer:
        def backward(
            x: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any, *out: Any
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            z1 = x @ W1 + with_b1 * b1
            a1 = hidden(z1)
            dz2 = dz(a1 @ W2 + with_b2 * b2, t)
            dz1 = da(dz2, W2) * slope(z1, a1)
            return dW1(x, a1, dz1, dz2), db1(dz1, dz2), dW2(x, a1, z1, dz2), db2(dz1, dz2)

        return lambda x, t, W1, b1, W2, b2, dW1, db1, dW2, db2: backward(x, t, W1, b1, W2, b2)

    back: list[Wrong] = [
        ("mean missing", "the mean over the samples is missing at the output", wrong(dz=lambda z, t: _σ(z) - t)),
        ("mean twice", "the mean over the samples is taken twice", wrong(dz=lambda z, t: (_σ(z) - t) / len(t) ** 2)),
        ("slope missing", "the slope of the hidden σ is missing", wrong(slope=lambda z1, a1: 1.0)),
        ("slope at the input", "the slope of the hidden σ is written for its output, but is fed its input", wrong(slope=lambda z1, a1: z1 * (1.0 - z1))),
        ("slope at the output", "the slope of the hidden σ is taken at its output, not at its input", wrong(slope=lambda z1, a1: _slope(a1))),
        ("dropped term", "the factor 1 − a1 of the hidden slope is missing", wrong(slope=lambda z1, a1: a1)),
        ("dropped term", "the factor a1 of the hidden slope is missing", wrong(slope=lambda z1, a1: 1.0 - a1)),
        ("factor", "the hidden slope is that of tanh, 1 − a²", wrong(slope=lambda z1, a1: 1.0 - a1**2)),
        ("factor", "a slope of σ is in it at the output too, where it has cancelled against the loss", wrong(dz=lambda z, t: (_σ(z) - t) * _slope(z) / len(t))),
        ("slope missing", "σ is missing at the output: the logits themselves are compared with the targets", wrong(dz=lambda z, t: (z - t) / len(t))),
        ("sign", "t − p stands where p − t belongs: all gradients point up", wrong(dz=lambda z, t: (t - _σ(z)) / len(t))),
        ("dropped term", "t is missing at the output", wrong(dz=lambda z, t: _σ(z) / len(t))),
        ("wrong layer", "dL/dW2 is made of z1, what went into σ, not of what came out", wrong(dW2=lambda x, a1, z1, dz2: z1.T @ dz2)),
        ("wrong layer", "dL/dW1 is made of a1, where its own input x belongs", wrong(dW1=lambda x, a1, dz1, dz2: a1.T @ dz1)),
        ("wrong layer", "dL/dW2 is made of x, where its own input a1 belongs", wrong(dW2=lambda x, a1, z1, dz2: x.T @ dz2)),
        ("wrong layer", "dL/dW1 is made of the output's delta, where the hidden layer's belongs", wrong(dW1=lambda x, a1, dz1, dz2: x.T @ dz2 * np.ones(dz1.shape[1]))),
        ("wrong layer", "dL/db1 is made of the output's delta, where the hidden layer's belongs", wrong(db1=lambda dz1, dz2: dz2.sum() * np.ones((1, dz1.shape[1])))),
        ("wrong layer", "dL/db2 is made of the hidden layer's delta, where the output's belongs", wrong(db2=lambda dz1, dz2: np.full((1, 1), dz1.sum()))),
        ("dropped term", "W2 is missing on the way back to the hidden layer", wrong(da=lambda dz2, W2: dz2 * np.ones(len(W2)))),
        ("transposed", "W2 meets the wrong units: it is not transposed as it should be", wrong(da=lambda dz2, W2: dz2 @ W2)),
        ("dropped term", "b1 is missing on the way forward", wrong(with_b1=0.0)),
        ("dropped term", "b2 is missing on the way forward", wrong(with_b2=0.0)),
        ("dropped term", "only the first sample is in dL/db1", wrong(db1=lambda dz1, dz2: dz1[:1])),
        ("dropped term", "only the last sample is in dL/db1", wrong(db1=lambda dz1, dz2: dz1[-1:])),
        ("dropped term", "only the first sample is in dL/db2", wrong(db2=lambda dz1, dz2: dz2[:1])),
        ("dropped term", "only the last sample is in dL/db2", wrong(db2=lambda dz1, dz2: dz2[-1:])),
        ("dropped term", "both biases are missing on the way forward", wrong(with_b1=0.0, with_b2=0.0)),
        ("slope missing", "σ is missing on the way forward", wrong(hidden=lambda z: z)),
        ("transposed", "dL/dW1 is right once transposed", wrong(dW1=lambda x, a1, dz1, dz2: dz1.T @ x)),
        ("transposed", "dL/dW2 is right once transposed", wrong(dW2=lambda x, a1, z1, dz2: dz2.T @ a1)),
        ("wrong axis", "dL/db1 is summed over the hidden units, not over the samples", wrong(db1=lambda dz1, dz2: dz1.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/db1 is summed over samples and units", wrong(db1=lambda dz1, dz2: np.full((1, dz1.shape[1]), dz1.sum()))),
        ("mean twice", "the mean over the samples is taken once more in dL/db1", wrong(db1=lambda dz1, dz2: dz1.mean(axis=0, keepdims=True))),
        ("mean twice", "the mean over the samples is taken once more in dL/db2", wrong(db2=lambda dz1, dz2: dz2.mean(axis=0, keepdims=True))),
        ("mean twice", "the mean over the samples is taken once more in dL/dW1", wrong(dW1=lambda x, a1, dz1, dz2: x.T @ dz1 / len(x))),
        ("mean twice", "the mean over the samples is taken once more in dL/dW2", wrong(dW2=lambda x, a1, z1, dz2: a1.T @ dz2 / len(x))),
    ]  # fmt: skip
    for n, d, h in ((N, 3, 4), (4, 4, 4)):
        arguments = draw(n, d, h)
        held = {f"d{name}": rng.standard_normal(arguments[name].shape) for name in ("W1", "b1", "W2", "b2")}
        yield Trial("backward", [arguments | held], tuple(held), True, n, back)


def _step_trials(function: str, family: str, arguments: Draw, kept: dict[str, str], settings: Draw) -> Trial:
    """Try one function that takes a step: on arrays of a few steps' standing, against an optimizer's rules."""
    names = ("params", *kept)

    def wrong(rule: Any) -> Answer:
        def step(*values: Any) -> tuple[np.ndarray, ...]:
            given = dict(zip(arguments | settings, values, strict=True))
            state = {kept[name]: given[name].copy() for name in kept}
            p = rule(given["params"], given["grads"], state, given.get("t", 1), settings)
            return p, *(state[kept[name]] for name in kept)

        return step

    wrongs = [(r.mistake, r.sentence, wrong(r.rule)) for r in recipes(family) if r.mistake]
    return Trial(function, [arguments | settings], names, True, 1, wrongs)


def _momentum(rng: np.random.Generator) -> Trials:
    settings = {"learning_rate": 0.1, "momentum": 0.7}
    arguments = {"params": START.copy(), "grads": gradient(START), "velocity": rng.standard_normal(len(START))}
    yield _step_trials("momentum_step", "momentum", arguments, {"velocity": "v"}, settings)


def _adam(rng: np.random.Generator) -> Trials:
    settings = {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6}
    kept = {"m": "m", "v": "v"}
    for t in (1, 3):
        grads = gradient(START)
        m = 0.5 * grads * rng.uniform(0.5, 1.5, len(START)) * (t > 1)
        v = 0.1 * grads**2 * rng.uniform(0.5, 1.5, len(START)) * (t > 1)
        arguments = {"params": START.copy(), "grads": grads, "m": m, "v": v, "t": t}
        yield _step_trials("adam_step", "adam", arguments, kept, settings)


def _batch_norm(rng: np.random.Generator) -> Trials:
    def parts(x: np.ndarray, epsilon: float, axis: int = 0, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + epsilon)
        return (x - x.mean(axis=axis, keepdims=True)) / scale, scale

    def normed(**options: Any) -> Answer:
        return lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon, **options)[0] + beta

    wrongs: list[Wrong] = [
        ("wrong axis", "mean and variance are taken over the features, not over the samples", normed(axis=1)),
        ("factor", "the variance is divided by n − 1; here it is n", normed(ddof=1)),
        ("dropped term", "beta is missing", lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon)[0]),
        ("dropped term", "gamma is missing", lambda x, gamma, beta, epsilon: parts(x, epsilon)[0] + beta),
        ("dropped term", "gamma and beta are missing", lambda x, gamma, beta, epsilon: parts(x, epsilon)[0]),
        ("dropped term", "the mean is not subtracted", lambda x, gamma, beta, epsilon: gamma * x / parts(x, epsilon)[1] + beta),
        ("dropped term", "it is not divided by the standard deviation", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) + beta),
        ("dropped term", "epsilon is missing", lambda x, gamma, beta, epsilon: gamma * parts(x, 0.0)[0] + beta),
        ("dropped term", "the root is missing: it is divided by the variance", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) / (x.var(axis=0) + epsilon) + beta),
        ("epsilon inside the root", "epsilon is added to the root, not to the variance below it", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) / (x.std(axis=0) + epsilon) + beta),
        ("sign", "beta is subtracted", lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon)[0] - beta),
        ("wrong layer", "gamma and beta are exchanged", lambda x, gamma, beta, epsilon: beta * parts(x, epsilon)[0] + gamma),
        ("wrong axis", "one mean and one variance are taken of all numbers", lambda x, gamma, beta, epsilon: gamma * (x - x.mean()) / np.sqrt(x.var() + epsilon) + beta),
    ]  # fmt: skip

    def wrong(dx: Answer | None = None, dgamma: Answer | None = None, dbeta: Answer | None = None) -> Answer:
        def backward(dy: Any, x: Any, gamma: Any, epsilon: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            x_hat, s = parts(x, epsilon)
            g = gamma * dy
            right = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / s
            return (
                right if dx is None else dx(g, x_hat, s, dy),
                (dy * x_hat).sum(axis=0, keepdims=True) if dgamma is None else dgamma(dy, x_hat, x, s),
                dy.sum(axis=0, keepdims=True) if dbeta is None else dbeta(dy),
            )

        return backward

    def through(x_hat: np.ndarray, g: np.ndarray) -> Any:
        return x_hat * (g * x_hat).mean(axis=0)

    def wrong_with_gamma(dy: Any, x: Any, gamma: Any, epsilon: Any) -> tuple[np.ndarray, ...]:
        dx, dgamma, dbeta = wrong()(dy, x, gamma, epsilon)
        return dx, dgamma, gamma * dbeta

    back: list[Wrong] = [
        ("dropped term", "mean and variance are taken as constants; both depend on every sample", wrong(lambda g, x, s, dy: g / s)),
        ("dropped term", "the way through the variance is missing", wrong(lambda g, x, s, dy: (g - g.mean(axis=0)) / s)),
        ("dropped term", "the way through the mean is missing", wrong(lambda g, x, s, dy: (g - through(x, g)) / s)),
        ("dropped term", "gamma is missing", wrong(lambda g, x, s, dy: (dy - dy.mean(axis=0) - through(x, dy)) / s)),
        ("dropped term", "it is not divided by the standard deviation", wrong(lambda g, x, s, dy: g - g.mean(axis=0) - through(x, g))),
        ("dropped term", "it is divided by the variance: a root is missing", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - through(x, g)) / s**2)),
        ("dropped term", "a standard deviation is missing where the variance is differentiated", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - s * through(x, g)) / s)),
        ("dropped term", "there is a standard deviation too many where the variance is differentiated", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - through(x, g) / s) / s)),
        ("sign", "the way through the variance has the wrong sign", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) + through(x, g)) / s)),
        ("sign", "the way through the mean has the wrong sign", wrong(lambda g, x, s, dy: (g + g.mean(axis=0) - through(x, g)) / s)),
        ("sign", "the ways through mean and variance have the wrong sign", wrong(lambda g, x, s, dy: (g + g.mean(axis=0) + through(x, g)) / s)),
        ("mean missing", "the ways through mean and variance are summed over the samples; both statistics are means", wrong(lambda g, x, s, dy: (g - g.sum(axis=0) - x * (g * x).sum(axis=0)) / s)),
        ("mean missing", "the way through the mean is summed over the samples; it is a mean", wrong(lambda g, x, s, dy: (g - g.sum(axis=0) - through(x, g)) / s)),
        ("mean missing", "the way through the variance is summed over the samples; it is a mean", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - x * (g * x).sum(axis=0)) / s)),
        ("factor", "the way through the variance counts twice", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - 2.0 * through(x, g)) / s)),
        ("factor", "the way through the variance counts by half", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - 0.5 * through(x, g)) / s)),
        ("wrong axis", "means are taken over the features, not over the samples", wrong(lambda g, x, s, dy: (g - g.mean(axis=1, keepdims=True) - x * (g * x).mean(axis=1, keepdims=True)) / s)),
        ("dropped term", "x̂ is missing behind its mean", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - (g * x).mean(axis=0)) / s)),
        ("slope missing", "it is dy itself", wrong(lambda g, x, s, dy: dy)),
        ("wrong layer", "gamma is in dL/dbeta, where it has no place: beta is added after it", wrong_with_gamma),
        ("dropped term", "epsilon is missing", lambda dy, x, gamma, epsilon: wrong()(dy, x, gamma, 0.0)),
        ("dropped term", "it is gamma·dy: how x̂ depends on x is missing", wrong(lambda g, x, s, dy: g)),
        ("wrong layer", "dL/dgamma is made of x, where the normalised x̂ belongs", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x).sum(axis=0, keepdims=True))),
        ("dropped term", "dL/dgamma is made of x − mean: it is not divided by the standard deviation", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x_hat * s).sum(axis=0, keepdims=True))),
        ("dropped term", "x̂ is missing in dL/dgamma", wrong(dgamma=lambda dy, x_hat, x, s: dy.sum(axis=0, keepdims=True))),
        ("wrong axis", "dL/dgamma is summed over the features, not over the samples", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x_hat).sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/dbeta is summed over the features, not over the samples", wrong(dbeta=lambda dy: dy.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/dgamma is summed over samples and features", wrong(dgamma=lambda dy, x_hat, x, s: np.full((1, dy.shape[1]), (dy * x_hat).sum()))),
        ("wrong axis", "dL/dbeta is summed over samples and features", wrong(dbeta=lambda dy: np.full((1, dy.shape[1]), dy.sum()))),
    ]  # fmt: skip
    for n, d in ((N, 4), (4, 4)):
        x, dy = 1.5 * rng.standard_normal((n, d)) + 1.0, rng.standard_normal((n, d))
        gamma, beta, epsilon = rng.uniform(0.5, 2.0, (1, d)), rng.standard_normal((1, d)), 0.05
        forward = {"x": x, "gamma": gamma, "beta": beta, "epsilon": epsilon}
        yield Trial("batch_norm", [forward], ("y",), samples=n, wrongs=wrongs)
        backward = {"dy": dy, "x": x, "gamma": gamma, "epsilon": epsilon}
        yield Trial("batch_norm_backward", [backward], ("dx", "dgamma", "dbeta"), samples=n, wrongs=back)


def _through_time(rng: np.random.Generator) -> Trials:
    def states(
        phi: Callable[[np.ndarray], np.ndarray] = np.tanh,
        recur: Answer = lambda h, U: h @ U,
        bias: float = 1.0,
        first: int = 0,
    ) -> Answer:
        def recurrent(x: Any, W: Any, U: Any, b: Any) -> np.ndarray:
            h, every = np.zeros((x.shape[1], W.shape[1])), []
            for t in range(len(x)):
                h = phi(x[t] @ W + (recur(h, U) if t >= first else 0.0) + bias * b)
                every.append(h)
            return np.array(every)

        return recurrent

    def from_first(x: Any, W: Any, U: Any, b: Any) -> np.ndarray:
        first = np.tanh(x[0] @ W + b)
        return np.array([first, *(np.tanh(step @ W + first @ U + b) for step in x[1:])])

    wrongs: list[Wrong] = [
        ("dropped term", "the state before is forgotten: U has no effect", states(recur=lambda h, U: 0.0 * h)),
        ("dropped term", "the bias is missing", states(bias=0.0)),
        ("slope missing", "tanh is missing", states(lambda a: a)),
        ("factor", "there is a σ; tanh is asked for", states(_σ)),
        ("transposed", "U is transposed", states(recur=lambda h, U: h @ U.T)),
        ("dropped term", "the state before is added without U", states(recur=lambda h, U: h)),
        ("sign", "the state before enters with the wrong sign", states(recur=lambda h, U: -h @ U)),
        (
            "wrong layer",
            "the steps are taken from the last to the first",
            lambda x, W, U, b: states()(x[::-1], W, U, b)[::-1],
        ),
        ("dropped term", "the second step forgets the first", states(first=2)),
        ("wrong layer", "every step starts from the first state, not from the one before", from_first),
    ]

    def wrong(
        slope: Answer = lambda a, h: 1.0 - h * h,
        recur: Answer = lambda delta, U: delta @ U.T,
        dx: Answer = lambda delta, W: delta @ W.T,
        past: Answer = lambda h, t: h[t - 1] if t else 0.0 * h[0],
        last: int = 0,
        dW: Answer | None = None,
        db: Answer = lambda deltas: deltas.sum(axis=(0, 1))[np.newaxis],
        seen: Answer = lambda x, t: x[t],
        every: bool = False,
        scale: float = 1.0,
    ) -> Answer:
        def backward(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
            last_step, deltas = len(x) - 1, np.zeros_like(h)
            b = np.arctanh(np.clip(h[0], -1 + 1e-15, 1 - 1e-15)) - x[0] @ W
            for t in range(last_step, last - 1, -1):
                a = x[t] @ W + (h[t - 1] @ U if t else 0.0) + b
                dh = dy if t == last_step else recur(deltas[t + 1], U) + (dy if every else 0.0)
                deltas[t] = dh * slope(a, h[t])
            dU = sum(past(h, t).T @ deltas[t] for t in range(len(x)))
            dw = sum(seen(x, t).T @ deltas[t] for t in range(len(x))) if dW is None else dW(x, deltas)
            return dx(deltas, W) * scale, dw * scale, dU * scale, db(deltas) * scale

        return backward

    def sums(deltas: Any, x: Any, h: Any, W: Any) -> tuple[np.ndarray, ...]:
        before = np.concatenate([0.0 * h[:1], h[:-1]])
        dW, dU = (sum(a[t].T @ deltas[t] for t in range(len(x))) for a in (x, before))
        return deltas @ W.T, dW, dU, deltas.sum(axis=(0, 1))[np.newaxis]

    def back_without_slope(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
        dh, deltas = dy, np.zeros_like(h)
        for t in reversed(range(len(x))):
            deltas[t] = dh * (1.0 - h[t] ** 2)
            dh = dh @ U.T
        return sums(deltas, x, h, W)

    def dx_without_slope(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
        right = wrong()(dy, x, h, W, U)
        dh, dx = dy, np.zeros_like(x)
        for t in reversed(range(len(x))):
            dx[t] = dh @ W.T
            dh = dh * (1.0 - h[t] ** 2) @ U.T
        return dx, *right[1:]

    def from_the_first(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
        dh, deltas = dy, np.zeros_like(h)
        for t in range(len(x)):
            deltas[t] = dh * (1.0 - h[t] ** 2)
            dh = deltas[t] @ U.T
        return sums(deltas, x, h, W)

    def only(which: slice) -> Answer:
        return lambda dy, x, h, W, U: _only(wrong()(dy, x, h, W, U), dy, x, h, W, U, which)

    def _only(right: Any, dy: Any, x: Any, h: Any, W: Any, U: Any, which: slice) -> tuple[np.ndarray, ...]:
        deltas = right[0] @ np.linalg.pinv(W.T)
        kept = np.zeros_like(deltas)
        kept[which] = deltas[which]
        return right[0], *sums(kept, x, h, W)[1:]

    back: list[Wrong] = [
        ("slope missing", "the slope of tanh is missing", wrong(slope=lambda a, h: 1.0)),
        ("sign", "the slope of tanh has the wrong sign", wrong(slope=lambda a, h: h * h - 1.0)),
        ("factor", "the slope of tanh counts twice at every step", wrong(slope=lambda a, h: 2.0 * (1.0 - h * h))),
        ("factor", "the slope of tanh counts by half at every step", wrong(slope=lambda a, h: 0.5 * (1.0 - h * h))),
        ("slope twice", "the slope of tanh is in it twice at every step", wrong(slope=lambda a, h: (1.0 - h * h) ** 2)),
        ("slope at the input", "1 − h² is right for the output h, but is fed the input of tanh", wrong(slope=lambda a, h: 1.0 - a * a)),
        ("slope at the output", "the slope of tanh is taken at its output: tanh is applied to h once more", wrong(slope=lambda a, h: 1.0 - np.tanh(h) ** 2)),
        ("factor", "the slope is that of σ, h·(1 − h); here is a tanh", wrong(slope=lambda a, h: h * (1.0 - h))),
        ("dropped term", "the slope 1 − h² lacks its square: it is 1 − h", wrong(slope=lambda a, h: 1.0 - h)),
        ("sign", "the slope is 1 + h² where 1 − h² belongs", wrong(slope=lambda a, h: 1.0 + h * h)),
        ("dropped term", "nothing goes back in time: only the last step has a delta", wrong(recur=lambda delta, U: 0.0 * delta)),
        ("transposed", "U is not transposed on the way back in time", wrong(recur=lambda delta, U: delta @ U)),
        ("dropped term", "U is missing on the way back in time", wrong(recur=lambda delta, U: delta)),
        ("sign", "what goes back in time has the wrong sign", wrong(recur=lambda delta, U: -delta @ U.T)),
        ("slope missing", "the slope of tanh is missing on the way back in time: dL/dh is passed on", back_without_slope),
        ("slope missing", "the slope of tanh is missing on the way to dx", dx_without_slope),
        ("wrong layer", "it goes through the steps from the first to the last", from_the_first),
        ("wrong layer", "W stands where U belongs on the way back in time", lambda dy, x, h, W, U: wrong(recur=lambda delta, _: delta @ W.T)(dy, x, h, W, U)),
        ("added", "dy is added at every step; it belongs to the last state alone", wrong(every=True)),
        ("transposed", "W is not transposed on the way to dx", wrong(dx=lambda delta, W: delta @ W)),
        ("wrong layer", "dx goes through U where W belongs", lambda dy, x, h, W, U: wrong(dx=lambda delta, _: delta @ U.T)(dy, x, h, W, U)),
        ("wrong layer", "dL/dU is made of the state after the step, where the one before belongs", wrong(past=lambda h, t: h[t])),
        ("wrong layer", "before the first step the state is 0; h[t − 1] with t = 0 is the last one", wrong(past=lambda h, t: h[t - 1])),
        ("wrong layer", "dL/dU is made of x, where the state before belongs", lambda dy, x, h, W, U: wrong(past=lambda _, t: x[t])(dy, x, h, W, U)),
        ("wrong layer", "dL/dW is made of the state, where x belongs", lambda dy, x, h, W, U: wrong(seen=lambda _, t: h[t])(dy, x, h, W, U)),
        ("dropped term", "the first step is left out", wrong(last=1)),
        ("dropped term", "the last step is left out of the sums", only(slice(0, -1))),
        ("dropped term", "the first step is left out of the sums", only(slice(1, None))),
        ("dropped term", "only the last step is in the sums", only(slice(-1, None))),
        ("dropped term", "only the second step is in the sums", only(slice(1, 2))),
        ("dropped term", "only the first step is in the sums, the last to be reached: each writes over the one before", only(slice(0, 1))),
        ("mean twice", "the sums over the steps are divided by their number", lambda dy, x, h, W, U: tuple(g / (len(x) if i else 1) for i, g in enumerate(wrong()(dy, x, h, W, U)))),
        ("mean twice", "everything is divided by the number of samples; dy holds their mean already", lambda dy, x, h, W, U: tuple(g / (x.shape[1] if i else 1) for i, g in enumerate(wrong()(dy, x, h, W, U)))),
        ("wrong axis", "dL/db is summed over the units, not over the samples", wrong(db=lambda deltas: deltas.sum(axis=(0, 2))[np.newaxis])),
        ("wrong axis", "dL/db is summed over steps, samples and units", wrong(db=lambda deltas: np.full((1, deltas.shape[2]), deltas.sum()))),
        ("mean twice", "dL/db is averaged over the samples; dy holds their mean already", wrong(db=lambda deltas: deltas.sum(axis=0).mean(axis=0)[np.newaxis])),
    ]  # fmt: skip
    for steps, n, d, m in ((4, N, 2, 3), (4, 3, 3, 3)):
        shapes = {"x": (steps, n, d), "W": (d, m), "U": (m, m), "b": (1, m)}
        arguments = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
        yield Trial("recurrent", [arguments], ("h",), samples=n, wrongs=wrongs)
        h = states()(**arguments)
        given = {
            "dy": rng.standard_normal((n, m)),
            "x": arguments["x"],
            "h": h,
            "W": arguments["W"],
            "U": arguments["U"],
        }
        yield Trial("recurrent_backward", [given], ("dx", "dW", "dU", "db"), samples=n, wrongs=back)


TRIALS: dict[str, Callable[[np.random.Generator], Trials]] = {
    "sigmoid": _sigmoid,
    "relu": _relu,
    "dense_forward": _dense_forward,
    "dense_backward": _dense_backward,
    "squared_error": _squared_error,
    "cross_entropy": _cross_entropy,
    "softmax": _softmax,
    "two_layer_net": _two_layer_net,
    "momentum": _momentum,
    "adam": _adam,
    "batch_norm": _batch_norm,
    "through_time": _through_time,
}
