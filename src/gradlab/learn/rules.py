"""The rules of layers and losses, as formulas of a step's own numbers: what each output and derivative comes to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from gradlab.learn.explanation import Line
from gradlab.learn.formulas import Formula, Symbol, added, applied, constant, named
from gradlab.learn.step import WorkedStep
from gradlab.nn.activations import Activation, Sigmoid, Tanh, sigmoid
from gradlab.nn.layers import Dense
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError
from gradlab.nn.recurrent import Recurrent
from gradlab.nn.remedies import BatchNorm, Dropout, Residual

Entry = tuple[int, ...]

# --- forward -------------------------------------------------------------------------------------------------------


def forward_rule(step: WorkedStep, i: int) -> str:
    """Say what layer i makes of its input."""
    layer, number = step.layers[i], step.number(i)
    given, name = (step.symbol(j, ()).show("text") for j in (i, i + 1))
    if type(layer) is Dense:
        return f"{name} = {given}·W{number} + b{number}"
    if isinstance(layer, Activation):
        return f"{name} = {function_of(layer)[0]}({given}), number by number"
    if type(layer) is BatchNorm:
        return (
            f"{name} = gamma{number}·xhat{number} + beta{number}, with xhat{number} = ({given} − mean{number})/"
            f"√(variance{number} + epsilon), unit by unit: the mean and the variance are those of the batch"
        )
    if type(layer) is Residual:
        return f"{name} = {given} + f{number}, which is what the layers inside make of {given}"
    if type(layer) is Recurrent:
        return (
            f"state{number}[t] = {function_of(layer.activation)[0]}(the inputs of time t·W + state{number}[t−1]·"
            f"W_recurrent + b), from no state at all; {name} is {'all states' if layer.sequence else 'the last state'}"
        )
    return f"{name} = what {layer!r} makes of {given}"


def asides(step: WorkedStep, i: int) -> Iterator[Line]:
    """Yield the numbers on the way from the input of layer i to its output."""
    layer, number, x = step.layers[i], step.number(i), step.tape[i]
    if type(layer) is BatchNorm:
        n = constant(len(x))
        for j in sorted({entry[1] for entry in step.entries[i + 1]}):
            mean, variance = Symbol("mean", number, (j,)), Symbol("variance", number, (j,))
            given = [step.out(i, (s, j)) for s in range(len(x))]
            yield Line(mean, added(given, step.most) / n, float(np.mean(x[:, j])))
            squares = [(one - named(mean, np.mean(x[:, j]))).squared() for one in given]
            yield Line(variance, added(squares, step.most) / n, float(np.var(x[:, j])))
        for entry in step.entries[i + 1]:
            centred = step.out(i, entry) - named(Symbol("mean", number, entry[1:]), np.mean(x[:, entry[1]]))
            scaled = centred / _spread(step, i, layer, entry)
            yield Line(Symbol("xhat", number, entry), scaled, _xhat(step, i, layer, entry).value)
    elif type(layer) is Residual:
        for entry in step.entries[i + 1]:
            words = f"by the layers inside, {', '.join(map(repr, layer.layers))}"
            yield Line(Symbol("f", number, entry), None, float(step.through[i][0][entry]), words)
    elif type(layer) is Recurrent:
        yield from _states(step, i, layer)


def _states(step: WorkedStep, i: int, layer: Recurrent) -> Iterator[Line]:
    """Yield the states of a Recurrent; none of a network that is not shown whole."""
    if not step.whole:
        return
    states = _all_states(step, i, layer)
    for t in range(len(states)):
        for sample, k in np.ndindex(states[t].shape):
            symbol = Symbol("state", step.number(i), (t, sample, k))
            yield Line(symbol, _state(step, i, layer, states, (t, sample, k)), float(states[t][sample, k]))


def _all_states(step: WorkedStep, i: int, layer: Recurrent) -> list[np.ndarray]:
    """Return the states after each time, which are the outputs for the beginnings of the sequence."""
    x, d = step.tape[i], layer.features
    return [layer.forward(x[:, : end * d])[:, -layer.n_out :] for end in range(1, x.shape[1] // d + 1)]


def _state(step: WorkedStep, i: int, layer: Recurrent, states: list[np.ndarray], entry: Entry) -> Formula:
    t, sample, k = entry
    d = layer.features
    terms = [step.out(i, (sample, t * d + j)) * _parameter(step, i, "W", layer.W, (j, k)) for j in range(d)]
    for j in range(layer.n_out) if t else ():
        before = named(Symbol("state", step.number(i), (t - 1, sample, j)), states[t - 1][sample, j])
        terms.append(before * _parameter(step, i, "W_recurrent", layer.W_recurrent, (j, k)))
    name, function = function_of(layer.activation)
    return applied(name, function, added(terms, step.most) + _parameter(step, i, "b", layer.b, (0, k)))


def output(step: WorkedStep, i: int, entry: Entry) -> Formula | None:
    """Return the formula of an output of layer i; None where only the layer knows."""
    layer, number, (sample, k) = step.layers[i], step.number(i), entry
    if type(layer) is Dense:
        terms = [step.out(i, (sample, j)) * _parameter(step, i, "W", layer.W, (j, k)) for j in range(layer.n_in)]
        return added(terms, step.most) + _parameter(step, i, "b", layer.b, (0, k))
    if isinstance(layer, Activation):
        name, function = function_of(layer)
        return applied(name, function, step.out(i, entry))
    if isinstance(layer, Dropout):
        return step.out(i, entry) * _mask(layer, entry)
    if type(layer) is BatchNorm:
        scaled = _parameter(step, i, "gamma", layer.gamma, (0, k)) * _xhat(step, i, layer, entry)
        return scaled + _parameter(step, i, "beta", layer.beta, (0, k))
    if type(layer) is Residual:
        return step.out(i, entry) + named(Symbol("f", number, entry), step.through[i][0][entry])
    if type(layer) is Recurrent and step.whole:
        states = _all_states(step, i, layer)
        t, unit = divmod(k, layer.n_out) if layer.sequence else (len(states) - 1, k)
        return named(Symbol("state", number, (t, sample, unit)), states[t][sample, unit])
    return None


# --- backward ------------------------------------------------------------------------------------------------------


def backward_rule(step: WorkedStep, i: int) -> str:
    """Say how the deltas go back through layer i, and what its gradients are."""
    layer, number, n = step.layers[i], step.number(i), len(step.y)
    given, name = (step.symbol(j, (), True).show("text") for j in (i, i + 1))
    if type(layer) is Dense:
        rule = f"dL/dW{number} = {step.symbol(i, ()).show('text')}ᵀ·{name},  "
        rule += f"dL/db{number} = sum of {name} over the samples"
        return rule + (f",  {given} = {name}·W{number}ᵀ" if i else "")
    if isinstance(layer, Activation | Dropout):
        return f"{given} = {name}·slope of {layer!r}, number by number"
    if type(layer) is BatchNorm:
        return (
            f"dL/dgamma{number} = sum of {name}·xhat{number} over the samples,  "
            f"dL/dbeta{number} = sum of {name},  {given} = gamma{number}/√(variance{number} + epsilon)·"
            f"({name} − dL/dbeta{number}/{n} − xhat{number}·dL/dgamma{number}/{n}), "
            "as the mean and the variance move with every sample"
        )
    if type(layer) is Residual:
        return f"{given} = {name}, which came around, + back{number}, which came through the layers inside"
    return f"{given} by the layer's own backward pass"


def gradient(step: WorkedStep, i: int, name: str, at: Entry) -> Formula | None:
    """Return the formula of dL by an entry of a parameter of layer i; None where only the layer knows."""
    layer, n, (j, k) = step.layers[i], len(step.y), at if len(at) == 2 else (0, 0)
    if type(layer) not in (Dense, BatchNorm):
        return None
    deltas = [step.delta(i + 1, (s, k)) for s in range(n)]
    if isinstance(layer, Dense) and name.endswith(".W"):
        return added([step.out(i, (s, j)) * d for s, d in enumerate(deltas)], step.most)
    if isinstance(layer, BatchNorm) and name.endswith(".gamma"):
        return added([d * _xhat(step, i, layer, (s, k)) for s, d in enumerate(deltas)], step.most)
    return added(deltas, step.most)


def pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula | None:
    """Return the formula of dL by an input of layer i; None where only the layer knows."""
    layer, (sample, j), delta = step.layers[i], entry, step.delta
    if type(layer) is Dense:
        weights = [_parameter(step, i, "W", layer.W, (j, k)) for k in range(layer.n_out)]
        return added([delta(i + 1, (sample, k)) * weight for k, weight in enumerate(weights)], step.most)
    if isinstance(layer, Dropout):
        return delta(i + 1, entry) * _mask(layer, entry)
    if type(layer) is BatchNorm:
        n, names = constant(len(step.y)), (f"{i}.gamma", f"{i}.beta")
        dgamma, dbeta = (named(step.parameter(p, (0, j), True), step.grads[p][0, j]) for p in names)
        scale = _parameter(step, i, "gamma", layer.gamma, (0, j)) / _spread(step, i, layer, entry)
        return scale * (delta(i + 1, entry) - dbeta / n - _xhat(step, i, layer, entry) * dgamma / n)
    if type(layer) is Residual:
        return delta(i + 1, entry) + named(Symbol("back", step.number(i), entry), step.through[i][1][entry])
    if not isinstance(layer, Activation):
        return None
    a = step.out(i + 1, entry)
    if type(layer) is Sigmoid:
        return delta(i + 1, entry) * a * (constant(1) - a)
    if type(layer) is Tanh:
        return delta(i + 1, entry) * (constant(1) - a.squared())
    x, y = (step.tape[at][sample : sample + 1] for at in (i, i + 1))
    slope = float(layer.derivative(x, y)[0, j])
    return delta(i + 1, entry) * named(Symbol("slope", None, entry), slope)


# --- numbers of layers ---------------------------------------------------------------------------------------------


def _parameter(step: WorkedStep, i: int, attribute: str, values: np.ndarray, at: Entry) -> Formula:
    return named(step.parameter(f"{i}.{attribute}", at), values[at])


def _mask(layer: Dropout, entry: Entry) -> Formula:
    return named(Symbol("mask", None, entry), layer.mask[entry])


def _spread(step: WorkedStep, i: int, layer: BatchNorm, entry: Entry) -> Formula:
    """Return √(variance + epsilon) of a unit."""
    variance = named(Symbol("variance", step.number(i), entry[1:]), np.var(step.tape[i][:, entry[1]]))
    return (variance + step.setting("epsilon", layer.epsilon)).root()


def _xhat(step: WorkedStep, i: int, layer: BatchNorm, entry: Entry) -> Formula:
    """Return what is left of an input without the batch's mean and variance."""
    x = step.tape[i][:, entry[1]]
    spread = math.sqrt(np.var(x) + layer.epsilon)
    xhat = named(Symbol("xhat", step.number(i), entry), (x[entry[0]] - np.mean(x)) / spread)
    xhat.size = (abs(x[entry[0]]) + np.mean(np.abs(x))) / spread  # as that of the difference it comes from
    return xhat


def _sigma(z: float) -> float:
    return float(sigmoid(np.array([z]))[0])


def function_of(layer: Activation) -> tuple[str, Callable[[float], float]]:
    """Return an activation's name and what it makes of one number."""
    if type(layer) is Sigmoid:
        return "σ", _sigma
    name = "tanh" if type(layer) is Tanh else type(layer).__name__
    return name, lambda z: float(layer.forward(np.array([[z]]))[0, 0])


# --- losses -------------------------------------------------------------------------------------------------------

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
        a = [applied("σ", _sigma, v) for v in z] if loss.on == "sigmoid" else z
        squares = [(v - b).squared() for v, b in zip(a, t, strict=True)]
        return constant(0.5) * added(squares, len(squares))
    return None


def slope_of_loss(loss: Loss, z: list[Formula], t: list[Formula], k: int) -> Formula | None:
    """Return the slope of one sample's loss by its logit k; None for a loss of somebody's own."""
    if type(loss) is BinaryCrossEntropy:
        return applied("σ", _sigma, z[k]) - t[k]
    if type(loss) is SoftmaxCrossEntropy:
        m = _largest(z)
        return applied("exp", math.exp, z[k] - m) / _exponentials(z, m) * added(t, len(t)) - t[k]
    if type(loss) is SquaredError:
        if loss.on == "identity":
            return z[k] - t[k]
        a = applied("σ", _sigma, z[k])
        return (a - t[k]) * a * (constant(1) - a)
    return None


def _largest(z: list[Formula]) -> Formula:
    return named(Symbol("m"), max(v.value for v in z))


def _exponentials(z: list[Formula], m: Formula) -> Formula:
    return added([applied("exp", math.exp, v - m) for v in z], len(z))
