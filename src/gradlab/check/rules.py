"""Whose steps are these? Optimizers in plain formulas, the right ones and the well-known wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.check.judge import Answer, Draw, Trial

Numbers = Mapping[str, float]
State = dict[str, np.ndarray]
Rule = Callable[
    [np.ndarray, np.ndarray, State, int, Numbers], np.ndarray
]  # from p, g, what is kept, t and settings to p

CURVATURES = np.array([1.0, -0.5, 3.0, 1e-3, -2e-4, 4e-5, 2.0, 0.3])  # of the quadratic: gradients of many sizes
START = np.array([1.0, -2.0, 0.5, 1.5, -1.0, 2.0, -0.7, 0.1])
STEPS = 8
SAME = 1e-9  # relative difference up to which two trajectories count as one


@dataclass(frozen=True)
class Recipe:
    """A rule for one step.

    Attributes
    ----------
    family : str
        Whose rule it is, or is meant to be: a name of `FAMILIES`.
    mistake : str
        What is wrong with it, in a word; empty for the right one.
    sentence : str
        The same in a sentence.
    rule : callable
    """

    family: str
    mistake: str
    sentence: str
    rule: Rule


def gradient(p: np.ndarray) -> np.ndarray:
    """Return the gradient of the quadratic ½·Σ c·p², which some directions go up and some go down."""
    return CURVATURES * p


def trajectory(recipe: Recipe, numbers: Numbers, steps: int = STEPS) -> np.ndarray:
    """Return where a rule goes on the quadratic: (steps, P)."""
    p, state, passed = START.copy(), State(), []
    with np.errstate(all="ignore"):  # a wrong rule may divide by 0, or leave the finite numbers
        for t in range(1, steps + 1):
            p = recipe.rule(p, gradient(p), state, t, numbers)
            passed.append(p)
    return np.array(passed)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two trajectories are one, number by number."""
    if a.shape != b.shape or not np.isfinite(b).all():
        return False
    moved = np.abs(b - START)  # of numbers that hardly move, the way that they move is compared
    return bool(np.all(np.abs(a - b) <= SAME * moved + 16.0 * np.finfo(float).eps * np.abs(START)))


def recipes(family: str) -> Iterator[Recipe]:
    """Yield a family's right rule, then its wrong ones, the likeliest first."""
    for mistake, sentence, rule in FAMILIES[family]():
        yield Recipe(family, mistake, sentence, rule)


def matching(passed: np.ndarray, families: Sequence[str], numbers: Numbers) -> Recipe | None:
    """Return the rule that goes where these steps went, the right ones tried before the wrong ones."""
    every = [recipe for family in families for recipe in recipes(family)]
    for recipe in sorted(every, key=lambda recipe: bool(recipe.mistake)):
        if same(passed, trajectory(recipe, numbers)):
            return recipe
    return None


# --- the rules -----------------------------------------------------------------------------------------------------

_Rules = Iterator[tuple[str, str, Rule]]


def _kept(state: State, name: str, like: np.ndarray) -> np.ndarray:
    return state.setdefault(name, np.zeros_like(like))


def _sgd() -> _Rules:
    """Write p −= η·g, and what else students write."""
    yield "", "", lambda p, g, s, t, h: p - h["learning_rate"] * g
    yield "sign", "it goes up the gradient instead of down", lambda p, g, s, t, h: p + h["learning_rate"] * g
    yield "factor", "it steps along the gradient, without the learning rate", lambda p, g, s, t, h: p - g
    for factor, words in ((2.0, "twice"), (0.5, "half")):
        yield (
            "factor",
            f"its steps are {words} as long as learning rate times gradient",
            lambda p, g, s, t, h, factor=factor: p - factor * h["learning_rate"] * g,  # type: ignore[misc]
        )


def _velocity(
    keep: str = "momentum",
    new: float = 1.0,
    damped: bool = False,
    stale: bool = False,
    sign: float = -1.0,
    once: bool = False,
) -> Rule:
    def rule(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        m = {
            "momentum": h["momentum"],
            "nothing": 0.0,
            "all": 1.0,
            "rest": 1.0 - h["momentum"],
            "minus": -h["momentum"],
        }[keep]
        before = _kept(s, "v", p)
        s["v"] = m * before + (1.0 - h["momentum"] if damped else new) * g
        step = before if stale else s["v"]
        return p + sign * (1.0 if once else h["learning_rate"]) * step

    return rule


def _momentum() -> _Rules:
    """Write v = momentum·v + g, p −= η·v, and what else students write."""
    yield "", "", _velocity()
    yield "dropped term", "the old velocity is forgotten: it steps as if momentum were 0", _velocity("nothing")
    yield "factor", "the gradient enters the velocity times 1 − momentum", _velocity(damped=True)
    yield (
        "not updated",
        "it steps along the velocity of the step before; the new one is found too late",
        _velocity(stale=True),
    )
    yield "sign", "it goes up the gradient instead of down", _velocity(sign=1.0)
    yield "sign", "the gradient enters the velocity with the wrong sign", _velocity(new=-1.0)
    yield "sign", "the old velocity enters with the wrong sign", _velocity("minus")
    yield "factor", "the old velocity is kept by 1 − momentum instead of momentum", _velocity("rest")
    yield "factor", "the old velocity is kept whole: it is not multiplied by momentum", _velocity("all")
    yield "dropped term", "the gradient never enters the velocity", _velocity(new=0.0)
    yield "factor", "it steps along the velocity, without the learning rate", _velocity(once=True)
    yield "factor", "its steps are twice as long", _velocity(new=2.0)

    def on_both(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) + h["learning_rate"] * g
        return p - h["learning_rate"] * s["v"]

    yield "factor", "the learning rate is in it twice: once in the velocity, once in the step", on_both

    def in_velocity(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) + h["learning_rate"] * g
        return p - s["v"]

    yield (
        "factor",
        "the learning rate is in the velocity, not in the step: another velocity than is asked for",
        in_velocity,
    )

    def minus(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) - h["learning_rate"] * g
        return p + s["v"]

    yield "sign", "the velocity points down, and holds the learning rate: another one than is asked for", minus

    def exchanged(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["learning_rate"] * _kept(s, "v", p) + g
        return p - h["momentum"] * s["v"]

    yield "factor", "learning rate and momentum are exchanged", exchanged

    def inside(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * (_kept(s, "v", p) + g)
        return p - h["learning_rate"] * s["v"]

    yield "factor", "momentum multiplies the gradient too", inside

    def twice(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) + g
        return p - h["learning_rate"] * (s["v"] + g)

    yield "dropped term", "the gradient is in the step twice: in the velocity, and once more", twice

    def beside(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) + g
        return p - h["learning_rate"] * g

    yield "dropped term", "the velocity is kept, but the step goes along the gradient", beside

    def ahead(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        s["v"] = h["momentum"] * _kept(s, "v", p) + g
        return p - h["learning_rate"] * (g + h["momentum"] * s["v"])

    yield "added", "it looks ahead along the velocity: these are Nesterov's steps", ahead


def _nesterov() -> _Rules:
    """Write v = momentum·v + g, p −= η·(g + momentum·v), and what else students write."""

    def ahead(new: float = 1.0, stale: bool = False, sign: float = -1.0) -> Rule:
        def rule(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
            before = _kept(s, "v", p)
            s["v"] = h["momentum"] * before + g
            return p + sign * h["learning_rate"] * (new * g + h["momentum"] * (before if stale else s["v"]))

        return rule

    yield "", "", ahead()
    yield "dropped term", "it does not look ahead: these are the steps of plain momentum", _velocity()
    yield (
        "dropped term",
        "it looks ahead along the velocity of the step before: plain momentum again",
        ahead(stale=True),
    )
    yield "dropped term", "the gradient is missing beside momentum times velocity", ahead(new=0.0)
    yield "dropped term", "the old velocity is forgotten: it steps as if momentum were 0", _velocity("nothing")
    yield "sign", "it goes up the gradient instead of down", ahead(sign=1.0)


def _mean_square(
    keep: float | None = None,
    new: str = "rest",
    inside: bool = False,
    root: bool = True,
    stale: bool = False,
    power: int = 2,
    sign: float = -1.0,
    epsilon: bool = True,
) -> Rule:
    def rule(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        decay = h["decay"] if keep is None else keep
        share = {"rest": 1.0 - h["decay"], "one": 1.0, "decay": h["decay"]}[new]
        decay = 1.0 - h["decay"] if new == "decay" else decay
        before = _kept(s, "v", p)
        s["v"] = decay * before + share * np.abs(g) ** power
        v, e = (before if stale else s["v"]), h["epsilon"] if epsilon else 0.0
        below = np.sqrt(v + e) if inside else np.sqrt(v) + e if root else v + e
        return p + sign * h["learning_rate"] * g / below

    return rule


def _rmsprop() -> _Rules:
    """Write v = decay·v + (1 − decay)·g², p −= η·g/(√v + ε), and what else students write."""
    yield "", "", _mean_square()
    yield "epsilon inside the root", "ε stands inside the root: √(v + ε) instead of √v + ε", _mean_square(inside=True)
    yield "dropped term", "ε is missing beside the root", _mean_square(epsilon=False)
    yield "dropped term", "the root is missing: it divides by v", _mean_square(root=False)
    yield (
        "dropped term",
        "the old mean square is forgotten: it divides by the size of this gradient alone",
        _mean_square(0.0),
    )
    yield "factor", "g² enters without 1 − decay", _mean_square(new="one")
    yield "factor", "nothing is forgotten: the squares are added up, as in AdaGrad", _mean_square(1.0, "one")
    yield "factor", "decay and 1 − decay are exchanged", _mean_square(new="decay")
    yield "not updated", "it divides by the mean square of the step before", _mean_square(stale=True)
    yield "dropped term", "g is not squared", _mean_square(power=1)
    yield "sign", "it goes up the gradient instead of down", _mean_square(sign=1.0)


def _moments(
    correct_m: str = "power",
    correct_v: str = "power",
    late: int = 0,
    epsilon: str = "outside",
    share_m: str = "rest",
    share_v: str = "rest",
    root: bool = True,
    direction: str = "m",
    exchanged: bool = False,
    sign: float = -1.0,
    keep_m: bool = True,
    keep_v: bool = True,
    power: int = 2,
    keep_corrected: bool = False,
    decay_in_m: bool = False,
    of: str = "g",
) -> Rule:
    """Make a rule of Adam's kind; every argument away from its default is a mistake."""

    def rule(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        beta1, beta2 = (h["beta2"], h["beta1"]) if exchanged else (h["beta1"], h["beta2"])
        e = h["epsilon"]

        def lacks(how: str, beta: float) -> float:
            return {"power": 1.0 - beta ** (t + late), "once": 1.0 - beta, "none": 1.0}[how]

        share = {"rest": 1.0, "one": 0.0}
        s["m"] = beta1 * _kept(s, "m", p) * keep_m + (1.0 - beta1 * share[share_m]) * g
        s["v"] = (
            beta2 * _kept(s, "v", p) * keep_v
            + (1.0 - beta2 * share[share_v]) * np.abs(g if of == "g" else s["m"]) ** power
        )
        m, v = s["m"] / lacks(correct_m, beta1), s["v"] / lacks(correct_v, beta2)
        if decay_in_m:
            m = m + h["weight_decay"] * p
        if keep_corrected:
            s["m"], s["v"] = m, v
        if epsilon == "hat":
            below = (np.sqrt(s["v"]) + e) / math.sqrt(lacks(correct_v, beta2))
        else:
            below = {
                "outside": np.sqrt(v) + e if root else v + e,
                "inside": np.sqrt(v + e),
                "late": np.sqrt(s["v"]) / lacks(correct_v, beta2) + e,
                "none": np.sqrt(v),
            }[epsilon]
        return p + sign * h["learning_rate"] * (m if direction == "m" else g) / below

    return rule


BIAS = "both averages start from 0, and are too small at first"


def _adam_mistakes() -> _Rules:
    none, once = {"correct_m": "none", "correct_v": "none"}, {"correct_m": "once", "correct_v": "once"}
    yield "bias correction", f"the bias correction is missing: {BIAS}", _moments(**none)  # type: ignore[arg-type]
    yield "bias correction", "it divides by 1 − β where it should be 1 − βᵗ", _moments(**once)  # type: ignore[arg-type]
    for how, words in (("none", "missing"), ("once", "1 − β instead of 1 − βᵗ")):
        yield "bias correction", f"the bias correction of m is {words}", _moments(correct_m=how)
        yield "bias correction", f"the bias correction of v is {words}", _moments(correct_v=how)
    yield (
        "bias correction",
        "it counts the steps from 2: the first correction is that of the second step",
        _moments(late=1),
    )
    yield "bias correction", "it counts the steps from 0: the first correction divides by 0", _moments(late=-1)
    says = "the corrected averages are kept for the next step; the correction is for this step alone"
    yield "bias correction", says, _moments(keep_corrected=True)
    yield "epsilon inside the root", "ε stands inside the root: √(v + ε) instead of √v + ε", _moments(epsilon="inside")
    yield "dropped term", "ε is missing beside the root", _moments(epsilon="none")
    yield (
        "bias correction",
        "v is corrected outside of the root; its correction belongs inside",
        _moments(epsilon="late"),
    )
    yield "wrong layer", "v averages m², where g² belongs", _moments(of="m")
    yield "dropped term", "the root is missing: it divides by v", _moments(root=False)
    yield "dropped term", "the step goes along the gradient, not along its average m", _moments(direction="g")
    yield "dropped term", "the old m is forgotten", _moments(keep_m=False)
    yield "dropped term", "the old v is forgotten", _moments(keep_v=False)
    yield "dropped term", "the old m and v are forgotten", _moments(keep_m=False, keep_v=False)
    yield "dropped term", "g is not squared in v", _moments(power=1)
    yield "factor", "g enters m without 1 − beta1", _moments(share_m="one")
    yield "factor", "g² enters v without 1 − beta2", _moments(share_v="one")
    yield "factor", "g and g² enter without 1 − beta1 and 1 − beta2", _moments(share_m="one", share_v="one")
    yield "factor", "beta1 and beta2 are exchanged", _moments(exchanged=True)
    yield "sign", "it goes up the gradient instead of down", _moments(sign=1.0)


def _adam() -> _Rules:
    """Write Kingma & Ba 2015, algorithm 1; ε may also come before v is corrected, the ε-hat of its section 2."""
    yield "", "", _moments()
    yield "", "", _moments(epsilon="hat")
    yield from _adam_mistakes()


def _decayed(rule: Rule, how: str = "before") -> Rule:
    def decayed(p: np.ndarray, g: np.ndarray, s: State, t: int, h: Numbers) -> np.ndarray:
        decay, rate = h["weight_decay"], h["learning_rate"]
        if how == "coupled":
            return rule(p, g + decay * p, s, t, h)
        moved = rule(p, g, s, t, h)
        if how == "after":
            return moved * (1.0 - rate * decay)
        return moved + {"before": -rate * decay, "bare": -decay, "grows": rate * decay, "none": 0.0}[how] * p

    return decayed


def _adamw() -> _Rules:
    """Write Loshchilov & Hutter 2019: p −= η·decay·p beside Adam's step."""
    yield "", "", _decayed(_moments())
    yield "", "", _decayed(_moments(epsilon="hat"))
    coupled = "the decay is coupled: it goes through the gradient, and is divided by √v like it"
    yield "decay coupled", coupled, _decayed(_moments(), "coupled")
    coupled = "the decay is coupled: it is added to m, and divided by √v like it"
    yield "decay coupled", coupled, _moments(decay_in_m=True)
    yield "dropped term", "the decay is missing", _decayed(_moments(), "none")
    yield "factor", "the decay is not multiplied by the learning rate", _decayed(_moments(), "bare")
    yield "sign", "the decay has the wrong sign: the weights grow", _decayed(_moments(), "grows")
    yield "order", "the decay comes after Adam's step, and shrinks that too", _decayed(_moments(), "after")
    for mistake, sentence, rule in _adam_mistakes():
        yield mistake, sentence, _decayed(rule)


FAMILIES: dict[str, Callable[[], _Rules]] = {
    "sgd": _sgd,
    "momentum": _momentum,
    "nesterov": _nesterov,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
}


def step_trial(function: str, family: str, arguments: Draw, kept: dict[str, str], settings: Draw) -> Trial:
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
