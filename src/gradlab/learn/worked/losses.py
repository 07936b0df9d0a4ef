"""The rules of the losses: one sample's loss and its slope by a logit, as formulas of its logits and targets."""

from __future__ import annotations

import math

from gradlab.learn.worked.formulas import Formula, Symbol, added, applied, constant, named
from gradlab.learn.worked.layers import sigma
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError

LOSS_WORDS: dict[type[Loss], str] = {
    BinaryCrossEntropy: "−t·log σ(z) − (1 − t)·log(1 − σ(z)), written so that nothing overflows, "
    "with relu(z) = max(z, 0); its slope by z is σ(z) − t. L is the mean over the samples",
    SoftmaxCrossEntropy: "−Σ t·log softmax(z), with the largest logit m taken out of the exponentials; "
    "its slope by z is softmax(z) − t. L is the mean over the samples",
    SquaredError: "½·Σ (output − t)². L is the mean over the samples",
}


def sample_loss(loss: Loss, z: list[Formula], t: list[Formula]) -> Formula | None:
    """Return one sample's loss from its logits and targets; None for a loss of somebody's own."""
    if type(loss) is BinaryCrossEntropy:
        each = [
            applied("relu", lambda v: max(v, 0.0), a)
            - b * a
            + applied("log", math.log, constant(1) + applied("exp", math.exp, -applied("abs", abs, a)))
            for a, b in zip(z, t, strict=True)
        ]
        return added(each, len(each))
    if type(loss) is SoftmaxCrossEntropy:
        m = _largest(z)
        log_sum = m + applied("log", math.log, _exponentials(z, m))
        return log_sum * added(t, len(t)) - added([b * a for a, b in zip(z, t, strict=True)], len(t))
    if type(loss) is SquaredError:
        a = [applied("σ", sigma, v) for v in z] if loss.on == "sigmoid" else z
        squares = [(v - b).squared() for v, b in zip(a, t, strict=True)]
        return constant(0.5) * added(squares, len(squares))
    return None


def slope_of_loss(loss: Loss, z: list[Formula], t: list[Formula], k: int) -> Formula | None:
    """Return the slope of one sample's loss by its logit k; None for a loss of somebody's own."""
    if type(loss) is BinaryCrossEntropy:
        return applied("σ", sigma, z[k]) - t[k]
    if type(loss) is SoftmaxCrossEntropy:
        m = _largest(z)
        return applied("exp", math.exp, z[k] - m) / _exponentials(z, m) * added(t, len(t)) - t[k]
    if type(loss) is SquaredError:
        if loss.on == "identity":
            return z[k] - t[k]
        a = applied("σ", sigma, z[k])
        return (a - t[k]) * a * (constant(1) - a)
    return None


def _largest(z: list[Formula]) -> Formula:
    return named(Symbol("m"), max(v.value for v in z))


def _exponentials(z: list[Formula], m: Formula) -> Formula:
    return added([applied("exp", math.exp, v - m) for v in z], len(z))
