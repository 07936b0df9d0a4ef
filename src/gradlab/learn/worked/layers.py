"""The rules of the layers, as formulas of a step's own numbers: what each output and each derivative comes to.

A kind of layer has one entry in `RULES`. What is not there goes "by the layer": its numbers are shown, and held against
central differences, without a formula.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.learn.worked.formulas import Formula, Symbol, added, applied, constant, named
from gradlab.learn.worked.lines import Line
from gradlab.learn.worked.step import WorkedStep
from gradlab.nn.activations import Activation, Sigmoid, Tanh, sigmoid
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.recurrent import Recurrent
from gradlab.nn.remedies import BatchNorm, Dropout, Residual

Entry = tuple[int, ...]


def _no_asides(step: WorkedStep, i: int) -> Iterator[Line]:
    return iter(())


@dataclass(frozen=True)
class Rules:
    """What is known of a kind of layer; every function is told the step and the layer's index.

    Attributes
    ----------
    forward, backward : callable
        What it makes of its input, and how the deltas go back and what its gradients are, in words.
    output, pulled_back : callable
        The formula of an entry of its output, and of dL by an entry of its input; None where only the layer knows.
    asides : callable
        Yields the numbers on the way from its input to its output.
    gradient : callable
        The formula of dL by an entry of a parameter of that name; None where only the layer knows.
    """

    forward: Callable[[WorkedStep, int], str]
    backward: Callable[[WorkedStep, int], str]
    output: Callable[[WorkedStep, int, Entry], Formula | None] = lambda step, i, entry: None
    pulled_back: Callable[[WorkedStep, int, Entry], Formula | None] = lambda step, i, entry: None
    asides: Callable[[WorkedStep, int], Iterator[Line]] = _no_asides
    gradient: Callable[[WorkedStep, int, str, Entry], Formula | None] = lambda step, i, name, at: None


def rules_of(layer: Layer) -> Rules:
    """Return the rules of a layer: those of its exact type, of any activation, or that it goes by the layer."""
    return RULES.get(type(layer), OF_ACTIVATIONS if isinstance(layer, Activation) else BY_ITSELF)


def _names(step: WorkedStep, i: int, derivative: bool = False) -> tuple[str, str]:
    """Name what layer i is given and what it gives, or dL by them."""
    given, name = (step.symbol(j, (), derivative).show("text") for j in (i, i + 1))
    return given, name


def _parameter(step: WorkedStep, i: int, attribute: str, at: Entry) -> Formula:
    return named(step.parameter(f"{i}.{attribute}", at), getattr(step.layers[i], attribute)[at])


# --- any layer -----------------------------------------------------------------------------------------------------


def _forward_by_itself(step: WorkedStep, i: int) -> str:
    given, name = _names(step, i)
    return f"{name} = what {step.layers[i]!r} makes of {given}"


def _backward_by_itself(step: WorkedStep, i: int) -> str:
    return f"{_names(step, i, True)[0]} by the layer's own backward pass"


# --- Dense ---------------------------------------------------------------------------------------------------------


def _dense_forward(step: WorkedStep, i: int) -> str:
    (given, name), number = _names(step, i), step.number(i)
    return f"{name} = {given}·W{number} + b{number}"


def _dense_output(step: WorkedStep, i: int, entry: Entry) -> Formula:
    layer: Any = step.layers[i]
    sample, k = entry
    terms = [step.out(i, (sample, j)) * _parameter(step, i, "W", (j, k)) for j in range(layer.n_in)]
    return added(terms, step.most) + _parameter(step, i, "b", (0, k))


def _dense_backward(step: WorkedStep, i: int) -> str:
    (given, name), number = _names(step, i, True), step.number(i)
    rule = f"dL/dW{number} = {_names(step, i)[0]}ᵀ·{name},  dL/db{number} = sum of {name} over the samples"
    return rule + (f",  {given} = {name}·W{number}ᵀ" if i else "")


def _dense_gradient(step: WorkedStep, i: int, name: str, at: Entry) -> Formula:
    j, k = at
    deltas = [step.delta(i + 1, (s, k)) for s in range(len(step.y))]
    if name.endswith(".W"):
        deltas = [step.out(i, (s, j)) * d for s, d in enumerate(deltas)]
    return added(deltas, step.most)


def _dense_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    layer: Any = step.layers[i]
    sample, j = entry
    weights = [_parameter(step, i, "W", (j, k)) for k in range(layer.n_out)]
    return added([step.delta(i + 1, (sample, k)) * weight for k, weight in enumerate(weights)], step.most)


# --- activations ---------------------------------------------------------------------------------------------------


def sigma(z: float) -> float:
    """Compute σ of one number."""
    return float(sigmoid(np.array([z]))[0])


def function_of(layer: Activation) -> tuple[str, Callable[[float], float]]:
    """Return an activation's name and what it makes of one number."""
    if type(layer) is Sigmoid:
        return "σ", sigma
    name = "tanh" if type(layer) is Tanh else type(layer).__name__
    return name, lambda z: float(layer.forward(np.array([[z]]))[0, 0])


def _function(step: WorkedStep, i: int) -> tuple[str, Callable[[float], float]]:
    layer: Any = step.layers[i]
    return function_of(layer)


def _activation_forward(step: WorkedStep, i: int) -> str:
    given, name = _names(step, i)
    return f"{name} = {_function(step, i)[0]}({given}), number by number"


def _activation_output(step: WorkedStep, i: int, entry: Entry) -> Formula:
    return applied(*_function(step, i), step.out(i, entry))


def _by_slope(step: WorkedStep, i: int) -> str:
    given, name = _names(step, i, True)
    return f"{given} = {name}·slope of {step.layers[i]!r}, number by number"


def _sigmoid_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    a = step.out(i + 1, entry)
    return step.delta(i + 1, entry) * a * (constant(1) - a)


def _tanh_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    return step.delta(i + 1, entry) * (constant(1) - step.out(i + 1, entry).squared())


def _activation_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    layer: Any = step.layers[i]
    x, y = (step.tape[at][entry[0] : entry[0] + 1] for at in (i, i + 1))
    slope = float(layer.derivative(x, y)[0, entry[1]])
    return step.delta(i + 1, entry) * named(Symbol("slope", None, entry), slope)


# --- Dropout -------------------------------------------------------------------------------------------------------


def _mask(step: WorkedStep, i: int, entry: Entry) -> Formula:
    layer: Any = step.layers[i]
    return named(Symbol("mask", None, entry), layer.mask[entry])


# --- BatchNorm -----------------------------------------------------------------------------------------------------


def _batch_norm_forward(step: WorkedStep, i: int) -> str:
    (given, name), number = _names(step, i), step.number(i)
    return (
        f"{name} = gamma{number}·xhat{number} + beta{number}, with xhat{number} = ({given} − mean{number})/"
        f"√(variance{number} + epsilon), unit by unit: the mean and the variance are those of the batch"
    )


def _batch_norm_asides(step: WorkedStep, i: int) -> Iterator[Line]:
    number, x = step.number(i), step.tape[i]
    n = constant(len(x))
    for j in sorted({entry[1] for entry in step.entries[i + 1]}):
        mean, variance = Symbol("mean", number, (j,)), Symbol("variance", number, (j,))
        given = [step.out(i, (s, j)) for s in range(len(x))]
        yield Line(mean, added(given, step.most) / n, float(np.mean(x[:, j])))
        squares = [(one - named(mean, np.mean(x[:, j]))).squared() for one in given]
        yield Line(variance, added(squares, step.most) / n, float(np.var(x[:, j])))
    for entry in step.entries[i + 1]:
        centred = step.out(i, entry) - named(Symbol("mean", number, entry[1:]), np.mean(x[:, entry[1]]))
        yield Line(Symbol("xhat", number, entry), centred / _spread(step, i, entry), _xhat(step, i, entry).value)


def _batch_norm_output(step: WorkedStep, i: int, entry: Entry) -> Formula:
    at = (0, entry[1])
    return _parameter(step, i, "gamma", at) * _xhat(step, i, entry) + _parameter(step, i, "beta", at)


def _batch_norm_backward(step: WorkedStep, i: int) -> str:
    (given, name), number, n = _names(step, i, True), step.number(i), len(step.y)
    return (
        f"dL/dgamma{number} = sum of {name}·xhat{number} over the samples,  "
        f"dL/dbeta{number} = sum of {name},  {given} = gamma{number}/√(variance{number} + epsilon)·"
        f"({name} − dL/dbeta{number}/{n} − xhat{number}·dL/dgamma{number}/{n}), "
        "as the mean and the variance move with every sample"
    )


def _batch_norm_gradient(step: WorkedStep, i: int, name: str, at: Entry) -> Formula:
    deltas = [step.delta(i + 1, (s, at[1])) for s in range(len(step.y))]
    if name.endswith(".gamma"):
        deltas = [d * _xhat(step, i, (s, at[1])) for s, d in enumerate(deltas)]
    return added(deltas, step.most)


def _batch_norm_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    at, n, names = (0, entry[1]), constant(len(step.y)), (f"{i}.gamma", f"{i}.beta")
    dgamma, dbeta = (named(step.parameter(p, at, True), step.grads[p][at]) for p in names)
    scale = _parameter(step, i, "gamma", at) / _spread(step, i, entry)
    return scale * (step.delta(i + 1, entry) - dbeta / n - _xhat(step, i, entry) * dgamma / n)


def _spread(step: WorkedStep, i: int, entry: Entry) -> Formula:
    """Return √(variance + epsilon) of a unit."""
    layer: Any = step.layers[i]
    variance = named(Symbol("variance", step.number(i), entry[1:]), np.var(step.tape[i][:, entry[1]]))
    return (variance + named(Symbol("epsilon"), layer.epsilon)).root()


def _xhat(step: WorkedStep, i: int, entry: Entry) -> Formula:
    """Return what is left of an input without the batch's mean and variance."""
    layer: Any = step.layers[i]
    x = step.tape[i][:, entry[1]]
    spread = math.sqrt(np.var(x) + layer.epsilon)
    xhat = named(Symbol("xhat", step.number(i), entry), (x[entry[0]] - np.mean(x)) / spread)
    xhat.size = (abs(x[entry[0]]) + np.mean(np.abs(x))) / spread  # as that of the difference it comes from
    return xhat


# --- Residual ------------------------------------------------------------------------------------------------------


def _residual_forward(step: WorkedStep, i: int) -> str:
    given, name = _names(step, i)
    return f"{name} = {given} + f{step.number(i)}, which is what the layers inside make of {given}"


def _residual_asides(step: WorkedStep, i: int) -> Iterator[Line]:
    words = f"by the layers inside, {', '.join(map(repr, step.layers[i].layers))}"
    for entry in step.entries[i + 1]:
        yield Line(Symbol("f", step.number(i), entry), None, float(step.through[i][0][entry]), words)


def _residual_output(step: WorkedStep, i: int, entry: Entry) -> Formula:
    return step.out(i, entry) + named(Symbol("f", step.number(i), entry), step.through[i][0][entry])


def _residual_backward(step: WorkedStep, i: int) -> str:
    given, name = _names(step, i, True)
    return f"{given} = {name}, which came around, + back{step.number(i)}, which came through the layers inside"


def _residual_pulled_back(step: WorkedStep, i: int, entry: Entry) -> Formula:
    return step.delta(i + 1, entry) + named(Symbol("back", step.number(i), entry), step.through[i][1][entry])


# --- Recurrent -----------------------------------------------------------------------------------------------------


def _recurrent_forward(step: WorkedStep, i: int) -> str:
    layer: Any = step.layers[i]
    number = step.number(i)
    return (
        f"state{number}[t] = {function_of(layer.activation)[0]}(the inputs of time t·W + state{number}[t−1]·"
        f"W_recurrent + b), from no state at all; {_names(step, i)[1]} is "
        f"{'all states' if layer.sequence else 'the last state'}"
    )


def _states(step: WorkedStep, i: int) -> list[np.ndarray]:
    """Return the states after each time, which are the outputs for the beginnings of the sequence."""
    layer: Any = step.layers[i]
    x, d = step.tape[i], layer.features
    return [layer.forward(x[:, : end * d])[:, -layer.n_out :] for end in range(1, x.shape[1] // d + 1)]


def _recurrent_asides(step: WorkedStep, i: int) -> Iterator[Line]:
    """Yield the states; none of a network that is not shown whole."""
    if not step.whole:
        return
    states = _states(step, i)
    for t in range(len(states)):
        for sample, k in np.ndindex(states[t].shape):
            symbol = Symbol("state", step.number(i), (t, sample, k))
            yield Line(symbol, _state(step, i, states, (t, sample, k)), float(states[t][sample, k]))


def _state(step: WorkedStep, i: int, states: list[np.ndarray], entry: Entry) -> Formula:
    layer: Any = step.layers[i]
    (t, sample, k), d = entry, layer.features
    terms = [step.out(i, (sample, t * d + j)) * _parameter(step, i, "W", (j, k)) for j in range(d)]
    for j in range(layer.n_out) if t else ():
        before = named(Symbol("state", step.number(i), (t - 1, sample, j)), states[t - 1][sample, j])
        terms.append(before * _parameter(step, i, "W_recurrent", (j, k)))
    return applied(*function_of(layer.activation), added(terms, step.most) + _parameter(step, i, "b", (0, k)))


def _recurrent_output(step: WorkedStep, i: int, entry: Entry) -> Formula | None:
    if not step.whole:
        return None
    layer: Any = step.layers[i]
    states, (sample, k) = _states(step, i), entry
    t, unit = divmod(k, layer.n_out) if layer.sequence else (len(states) - 1, k)
    return named(Symbol("state", step.number(i), (t, sample, unit)), states[t][sample, unit])


# --- the table -----------------------------------------------------------------------------------------------------

BY_ITSELF = Rules(_forward_by_itself, _backward_by_itself)
OF_ACTIVATIONS = Rules(_activation_forward, _by_slope, _activation_output, _activation_pulled_back)
RULES: dict[type, Rules] = {
    Dense: Rules(
        _dense_forward,
        _dense_backward,
        _dense_output,
        _dense_pulled_back,
        gradient=_dense_gradient,
    ),
    Sigmoid: Rules(_activation_forward, _by_slope, _activation_output, _sigmoid_pulled_back),
    Tanh: Rules(_activation_forward, _by_slope, _activation_output, _tanh_pulled_back),
    Dropout: Rules(
        _forward_by_itself,
        _by_slope,
        lambda step, i, entry: step.out(i, entry) * _mask(step, i, entry),
        lambda step, i, entry: step.delta(i + 1, entry) * _mask(step, i, entry),
    ),
    BatchNorm: Rules(
        _batch_norm_forward,
        _batch_norm_backward,
        _batch_norm_output,
        _batch_norm_pulled_back,
        _batch_norm_asides,
        _batch_norm_gradient,
    ),
    Residual: Rules(_residual_forward, _residual_backward, _residual_output, _residual_pulled_back, _residual_asides),
    Recurrent: Rules(_recurrent_forward, _backward_by_itself, _recurrent_output, asides=_recurrent_asides),
}
