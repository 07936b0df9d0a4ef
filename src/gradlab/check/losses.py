"""The losses whose mistakes are known: what is often written in their place, and what in place of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.check.judge import SAMPLES, Draw, Trial, Wrong
from gradlab.nn.activations import sigmoid
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError


def slope_of_sigmoid(z: np.ndarray) -> np.ndarray:
    """Compute σ'(z)."""
    return sigmoid(z) * (1.0 - sigmoid(z))


@dataclass(frozen=True)
class KnownLoss:
    """A loss, and what it is mistaken for.

    Attributes
    ----------
    right : Loss
    widths : tuple of int
        Numbers of outputs that it is tried with.
    values, gradients : sequence of Wrong
        Of logits z and targets t, the likeliest first.
    extremes : sequence of dict
        Logits so large that a careless formula overflows, and targets.
    """

    right: Loss
    widths: tuple[int, ...]
    values: Sequence[Wrong]
    gradients: Sequence[Wrong]
    extremes: Sequence[Draw] = ()

    def trials(self, rng: np.random.Generator, value: str, gradient: str) -> Iterator[Trial]:
        """Yield the trials of the functions that compute value and gradient; those of large numbers behind each."""
        yield Trial(value, self.draws(rng), ("L",), samples=SAMPLES, wrongs=self.values)
        for draw in self.extremes:
            yield Trial(value, [draw], ("L",), samples=SAMPLES, extreme=True)
        for k in self.widths:
            yield Trial(gradient, [_logits(rng, k)], ("dz",), samples=SAMPLES, wrongs=self.gradients)
        for draw in self.extremes:
            yield Trial(gradient, [draw], ("dz",), samples=SAMPLES, extreme=True)

    def draws(self, rng: np.random.Generator) -> list[Draw]:
        """Draw logits and targets, some of each width."""
        return [_logits(rng, k) for k in self.widths for _ in range(6)]

    def is_like(self, loss: Any) -> bool:
        """Whether a loss has the same values."""
        draws = self.draws(np.random.default_rng(0))
        found, right = ([each.value(*draw.values()) for draw in draws] for each in (loss, self.right))
        return bool(np.allclose(found, right))


def _logits(rng: np.random.Generator, k: int, scale: float = 2.0) -> Draw:
    """Draw logits, and targets that are probabilities: one number each, or several that sum to 1."""
    t = rng.dirichlet(np.ones(k), SAMPLES) if k > 1 else rng.uniform(size=(SAMPLES, 1))
    sure = t[: SAMPLES // 2]
    sure[...] = np.eye(k)[np.argmax(sure, axis=1)] if k > 1 else np.round(sure)
    return {"z": scale * rng.standard_normal((SAMPLES, k)), "t": t}


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


def _squared_error() -> KnownLoss:
    def terms(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return 0.5 * (sigmoid(z) - t) ** 2

    def slopes(z: np.ndarray, t: np.ndarray) -> np.ndarray:
        return (sigmoid(z) - t) * slope_of_sigmoid(z)

    wrongs = _of_terms(terms) + _mean_of(
        ("slope missing", "σ is missing: the logits themselves are compared with the targets", lambda z, t: 0.5 * (z - t) ** 2),
        ("dropped term", "the square is missing", lambda z, t: 0.5 * (sigmoid(z) - t)),
        ("dropped term", "the square is missing: it is the distance", lambda z, t: 0.5 * np.abs(sigmoid(z) - t)),
        ("slope twice", "σ is applied twice", lambda z, t: 0.5 * (sigmoid(sigmoid(z)) - t) ** 2),
        ("sign", "a + t stands where a − t belongs", lambda z, t: 0.5 * (sigmoid(z) + t) ** 2),
    )  # fmt: skip
    back = _slopes_of(
        ("slope missing", "the slope of σ is missing: z goes into the loss through σ", lambda z, t: sigmoid(z) - t),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (sigmoid(z) - t) * z * (1 - z)),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (sigmoid(z) - t) * slope_of_sigmoid(sigmoid(z))),
        ("slope missing", "σ is missing in the difference: the logits themselves are compared", lambda z, t: (z - t) * slope_of_sigmoid(z)),
        ("slope missing", "σ and its slope are missing", lambda z, t: z - t),
        ("dropped term", "the factor 1 − a of the slope of σ is missing", lambda z, t: (sigmoid(z) - t) * sigmoid(z)),
        ("dropped term", "the factor a of the slope of σ is missing", lambda z, t: (sigmoid(z) - t) * (1.0 - sigmoid(z))),
        ("delta missing", "the difference a − t is missing: this is the slope of σ alone", lambda z, t: slope_of_sigmoid(z)),
        ("dropped term", "the difference is still squared", lambda z, t: 0.5 * (sigmoid(z) - t) ** 2 * slope_of_sigmoid(z)),
        ("dropped term", "the difference is still squared", lambda z, t: (sigmoid(z) - t) ** 2 * slope_of_sigmoid(z)),
        ("slope twice", "the slope of σ is in it twice", lambda z, t: (sigmoid(z) - t) * slope_of_sigmoid(z) ** 2),
        ("dropped term", "t is missing", lambda z, t: sigmoid(z) * slope_of_sigmoid(z)),
    ) + _mean_over_outputs(slopes)  # fmt: skip
    return KnownLoss(SquaredError(on="sigmoid"), (3,), wrongs, back)


def _cross_entropy() -> KnownLoss:
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
        ("slope twice", "σ is applied twice", lambda z, t: np.logaddexp(0.0, sigmoid(z)) - t * sigmoid(z)),
        ("factor", "the logarithm has another base than e: 2", lambda z, t: (np.logaddexp(0.0, z) - t * z) / np.log(2.0)),
        ("factor", "the logarithm has another base than e: 10", lambda z, t: (np.logaddexp(0.0, z) - t * z) / np.log(10.0)),
        ("dropped term", "max(z, 0) is missing", lambda z, t: np.log1p(np.exp(-np.abs(z))) - t * z),
    )  # fmt: skip
    back = _slopes_of(
        ("slope missing", "the slope of σ is missing: this is dL/dp, not dL/dz", lambda z, t: (sigmoid(z) - t) / slope_of_sigmoid(z)),
        ("factor", "the slope of σ is in it, but it has cancelled: this is the squared error's gradient", lambda z, t: (sigmoid(z) - t) * slope_of_sigmoid(z)),
        ("slope missing", "σ is missing: the logits themselves are compared with the targets", lambda z, t: z - t),
        ("slope twice", "σ is applied twice", lambda z, t: sigmoid(sigmoid(z)) - t),
        ("dropped term", "t is missing", lambda z, t: sigmoid(z)),
        ("dropped term", "the term with 1 − t is missing", lambda z, t: -t * (1.0 - sigmoid(z))),
        ("dropped term", "the term with t is missing", lambda z, t: (1.0 - t) * sigmoid(z)),
        ("sign", "t is added, not subtracted", lambda z, t: sigmoid(z) + t),
        ("dtype", "the targets are rounded to 0 and 1; they may be any probability", lambda z, t: sigmoid(z) - np.round(t)),
        ("sign", "t and 1 − t are exchanged", lambda z, t: sigmoid(z) - (1.0 - t)),
        ("dropped term", "the difference is squared", lambda z, t: (sigmoid(z) - t) ** 2),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (sigmoid(z) - t) * z * (1 - z)),
        ("slope at the input", "the slope of σ is written for its output, but is fed the logits", lambda z, t: (sigmoid(z) - t) / slope_of_sigmoid(z) * z * (1 - z)),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (sigmoid(z) - t) / slope_of_sigmoid(z) * slope_of_sigmoid(sigmoid(z))),
        ("slope at the output", "the slope of σ is taken at its output, not at the logits", lambda z, t: (sigmoid(z) - t) * slope_of_sigmoid(sigmoid(z))),
        ("slope twice", "the slope of σ is in it twice", lambda z, t: (sigmoid(z) - t) / slope_of_sigmoid(z) * slope_of_sigmoid(z) ** 2),
    ) + _mean_over_outputs(lambda z, t: sigmoid(z) - t)  # fmt: skip
    extreme = {
        "z": np.array([[1000.0], [-1000.0], [1000.0], [-1000.0], [40.0]]),
        "t": np.array([[0.0], [1.0], [1.0], [0.0], [0.0]]),
    }
    return KnownLoss(BinaryCrossEntropy(), (3, 1), wrongs, back, [extreme])


def _softmax() -> KnownLoss:
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
        ("slope missing", "this is a sigmoid for each class, not a softmax over them", lambda z, t: sigmoid(z) - t),
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
    return KnownLoss(SoftmaxCrossEntropy(), (3,), wrongs, back, [extreme])


SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY = _squared_error(), _cross_entropy(), _softmax()
KNOWN = (SQUARED_ERROR, CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY)
