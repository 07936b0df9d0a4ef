"""What an optimizer makes of a gradient, as formulas: penalties and clipping, its running averages, and the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.learn.worked.formulas import Formula, Symbol, added, applied, constant, named
from gradlab.learn.worked.lines import Line, Section
from gradlab.learn.worked.step import WorkedStep
from gradlab.nn.backpropagation import forward
from gradlab.nn.optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from gradlab.training.divergence import raise_if_diverged
from gradlab.training.penalties import Penalties


def update(step: WorkedStep, optimizer: Optimizer, l1: float, l2: float, clip_norm: float) -> Section:
    """Let the optimizer move the parameters of the step's network, and work how."""
    network, n = step.network, len(step.y)
    for p in network.parameters:  # the differences moved them to and fro
        network.grads[p.where] = step.grads[p.name].ravel()
    old, kept = network.params.copy(), _kept(optimizer)
    raw = Penalties(l1, l2).gradient(network, n).copy()
    optimizer.step(network.params, Penalties(l1, l2, clip_norm=clip_norm).gradient(network, n))
    rule = _rule_of(optimizer)
    words, work = (_OWN, None) if rule is None else (rule.words(optimizer), rule.work)
    gradients = _Gradients(step, raw, old, l1, l2, clip_norm)
    rate = f"{type(optimizer).__name__}, learning rate η = {optimizer.learning_rate:g}"
    section = Section("Update", f"{rate}. For every parameter p, with g = dL/dp{gradients.words}: {words}")
    section.lines += gradients.clipping()
    if rule is not None:
        section.lines += rule.once(optimizer)
    vectors = {"old": old, "new": network.params, **kept, **{f"{k}'": v for k, v in _kept(optimizer).items()}}
    for p in network.parameters:
        if int(p.name.split(".")[0]) in step.left_out:
            continue
        for at in step.chosen(p.name):
            where = p.where.start + int(np.ravel_multi_index(at, p.shape))
            values = {name: float(vector[where]) for name, vector in vectors.items()}
            symbol = step.parameter(p.name, at)
            was, after = named(symbol, values["old"]), _after(symbol)
            if work is None:
                moved = named(Symbol("Δ", of=symbol), values["new"] - values["old"])
                section.lines.append(Line(after, was + moved, values["new"]))
                continue
            lines, g = gradients.of(p.name, at, where)
            more, formula = work(optimizer, _Entry(symbol, was, g, values, where))
            section.lines += [*lines, *more, Line(after, formula, values["new"])]
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(step.loss.value(forward(step.layers, step.tape[0])[-1], step.y))
    if not math.isfinite(value):
        raise_if_diverged(network, network.forward(step.tape[0], True), step.deltas, 0, 0, None)
    section.lines.append(Line(Symbol("L", after=True), None, value, "the loss of the same samples after the step"))
    return section


class _Gradients:
    """The gradient that an optimizer is given: that of the loss, the penalties' added, and shortened."""

    def __init__(self, step: WorkedStep, raw: np.ndarray, old: np.ndarray, l1: float, l2: float, clip_norm: float):
        self._step, self._raw, self._old, self._l1, self._l2 = step, raw, old, l1, l2
        self._clip_norm, self._norm = clip_norm, float(np.linalg.norm(raw))
        penalties = [("l1·sign(p)", l1)] * bool(l1) + [("l2·p", l2)] * bool(l2)
        sizes = ", ".join(f"{term[:2]} = {size:g}" for term, size in penalties)
        self.words = f" (and for weights + {' + '.join(term for term, _ in penalties)}, {sizes})" if penalties else ""
        if clip_norm:
            self.words += f", times clip = clip_norm/norm if its norm is more than clip_norm = {clip_norm:g}"
            self.words += "" if self._shortened else ", which it is not"

    @property
    def _shortened(self) -> bool:
        return 0.0 < self._clip_norm < self._norm

    def _named(self, name: str, at: tuple[int, ...], where: int) -> Formula:
        """Return dL by a parameter, or what it is called with its penalties."""
        symbol = self._step.parameter(name, at, not self._penalised(where))
        return named(Symbol("g", of=symbol) if self._penalised(where) else symbol, self._raw[where])

    def _penalised(self, where: int) -> bool:
        return bool((self._l1 or self._l2) and self._step.network.weight_mask[where])

    def clipping(self) -> list[Line]:
        """Work the norm of the whole gradient, and the factor that shortens it."""
        if not self._clip_norm:
            return []
        formula = None
        if self._step.whole:
            entries = [
                self._named(p.name, at, p.where.start + j)
                for p in self._step.network.parameters
                for j, at in enumerate(np.ndindex(p.shape))
            ]
            formula = added([g.squared() for g in entries], self._step.most).root()
        lines = [Line(Symbol("norm"), formula, self._norm, "the norm of g over all parameters")]
        if self._shortened:
            clip = named(Symbol("clip_norm"), self._clip_norm) / named(Symbol("norm"), self._norm)
            lines.append(Line(Symbol("clip"), clip, self._clip_norm / self._norm))
        return lines

    def of(self, name: str, at: tuple[int, ...], where: int) -> tuple[list[Line], Formula]:
        """Work what the optimizer is given of one entry; return the lines and the formula to go on with."""
        lines, g = [], self._named(name, at, where)
        if self._penalised(where):
            p = named(self._step.parameter(name, at), self._old[where])
            total = named(self._step.parameter(name, at, True), self._step.grads[name][at])
            if self._l1:
                total = total + named(Symbol("l1"), self._l1) * applied("sign", lambda w: float(np.sign(w)), p)
            if self._l2:
                total = total + named(Symbol("l2"), self._l2) * p
            lines.append(Line(Symbol("g", of=self._step.parameter(name, at)), total, float(self._raw[where])))
        if self._shortened:
            g = named(Symbol("clip"), self._clip_norm / self._norm) * g
        return lines, g


# --- the rules of the optimizers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """One entry of a parameter: its name, its value, its gradient, and the numbers before and after the step."""

    symbol: Symbol
    was: Formula
    g: Formula
    values: dict[str, float]
    where: int

    def average(self, letter: str, formula: Callable[[Formula], Formula], name: str) -> Line:
        """Work a number that is kept between steps, in the optimizer's array `name`."""
        before = named(Symbol(letter, of=self.symbol), self.values.get(name, 0.0))
        after = Symbol(letter, of=self.symbol, after=True)
        return Line(after, formula(before), self.values[f"{name}'"])


@dataclass(frozen=True)
class _Rule:
    """How an optimizer steps: in words, the numbers that are the same for all, and the lines of one entry."""

    words: Callable[[Any], str]
    once: Callable[[Any], list[Line]]
    work: Callable[[Any, _Entry], tuple[list[Line], Formula]]
    kept: tuple[str, ...]


def _value(line: Line) -> Formula:
    return named(line.symbol, line.value)


def _after(symbol: Symbol) -> Symbol:
    return Symbol(symbol.letter, symbol.layer, symbol.entry, after=True)


def _rate(optimizer: Optimizer) -> Formula:
    return named(Symbol("η"), optimizer.learning_rate)


def _words_of_sgd(sgd: SGD) -> str:
    if not sgd.momentum:
        return "p' = p − η·g"
    direction = "(g + momentum·v')" if sgd.nesterov else "v'"
    return f"v' = momentum·v + g, then p' = p − η·{direction}"


def _sgd(sgd: SGD, entry: _Entry) -> tuple[list[Line], Formula]:
    if not sgd.momentum:
        return [], entry.was - _rate(sgd) * entry.g
    momentum = named(Symbol("momentum"), sgd.momentum)
    v = entry.average("v", lambda v: momentum * v + entry.g, "velocity")
    return [v], entry.was - _rate(sgd) * (entry.g + momentum * _value(v) if sgd.nesterov else _value(v))


def _words_of_rmsprop(_: RMSProp) -> str:
    return "v' = decay·v + (1 − decay)·g², then p' = p − η·g/(√v' + epsilon)"


def _rmsprop(rmsprop: RMSProp, entry: _Entry) -> tuple[list[Line], Formula]:
    decay, epsilon = named(Symbol("decay"), rmsprop.decay), named(Symbol("epsilon"), rmsprop.epsilon)
    v = entry.average("v", lambda v: decay * v + (constant(1) - decay) * entry.g.squared(), "mean_square")
    return [v], entry.was - _rate(rmsprop) * entry.g / (_value(v).root() + epsilon)


def _words_of_adam(adam: Adam) -> str:
    step = "√c2/c1·m'/(√v' + epsilon)" if adam.epsilon_hat else "m'/c1/(√(v'/c2) + epsilon)"
    decay = "η·weight_decay·p − " if isinstance(adam, AdamW) else ""
    spared = "; the mask spares some of them the decay" if isinstance(adam, AdamW) and adam.mask is not None else ""
    return (
        "m' = beta1·m + (1 − beta1)·g and v' = beta2·v + (1 − beta2)·g²; both began at zero, and c1 and c2 are what "
        f"they have of their full size after {adam.t} step{'s' * (adam.t != 1)}. Then p' = p − {decay}η·{step}{spared}"
    )


def _corrections(adam: Adam) -> list[Line]:
    return [
        Line(Symbol(f"c{i}"), constant(1) - named(Symbol(f"beta{i}"), beta).power(adam.t), 1.0 - beta**adam.t)
        for i, beta in ((1, adam.beta1), (2, adam.beta2))
    ]


def _adam(adam: Adam, entry: _Entry) -> tuple[list[Line], Formula]:
    beta1, beta2 = named(Symbol("beta1"), adam.beta1), named(Symbol("beta2"), adam.beta2)
    m = entry.average("m", lambda m: beta1 * m + (constant(1) - beta1) * entry.g, "m")
    v = entry.average("v", lambda v: beta2 * v + (constant(1) - beta2) * entry.g.squared(), "v")
    c1, c2 = map(_value, _corrections(adam))
    rate, epsilon = _rate(adam), named(Symbol("epsilon"), adam.epsilon)
    if adam.epsilon_hat:
        return [m, v], entry.was - rate * c2.root() / c1 * _value(m) / (_value(v).root() + epsilon)
    return [m, v], entry.was - rate * _value(m) / c1 / ((_value(v) / c2).root() + epsilon)


def _adamw(adamw: AdamW, entry: _Entry) -> tuple[list[Line], Formula]:
    share = 1.0 if adamw.mask is None else float(np.asarray(adamw.mask)[entry.where])
    decay = _rate(adamw) * named(Symbol("weight_decay"), adamw.weight_decay) * entry.was
    if share != 1.0:
        decay = named(Symbol("mask"), share) * decay
    kept = entry.was - decay if share else entry.was
    return _adam(adamw, _Entry(entry.symbol, kept, entry.g, entry.values, entry.where))


_OWN = "p' = p + Δ(p), where Δ is what the optimizer makes of g"
_RULES: dict[type[Optimizer], _Rule] = {
    SGD: _Rule(_words_of_sgd, lambda _: [], _sgd, ("velocity",)),
    RMSProp: _Rule(_words_of_rmsprop, lambda _: [], _rmsprop, ("mean_square",)),
    Adam: _Rule(_words_of_adam, _corrections, _adam, ("m", "v")),
    AdamW: _Rule(_words_of_adam, _corrections, _adamw, ("m", "v")),
}


def _rule_of(optimizer: Optimizer) -> _Rule | None:
    return _RULES.get(type(optimizer))


def _kept(optimizer: Optimizer) -> dict[str, np.ndarray]:
    """Copy what an optimizer of ours keeps between steps; nothing before the first."""
    rule = _rule_of(optimizer)
    return {name: np.array(getattr(optimizer, name)) for name in rule.kept if optimizer.t} if rule else {}
