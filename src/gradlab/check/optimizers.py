"""Is an optimizer right? Its steps on a quadratic are held against those of the formulas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradlab.check.rules import START, STEPS, Recipe, gradient, matching, recipes, same, trajectory
from gradlab.check.verdict import Verdict

ALIASES = {  # what a setting may be called
    "learning_rate": ("learning_rate", "lr", "eta", "rate", "step_size"),
    "momentum": ("momentum", "mu"),
    "decay": ("decay", "rho", "alpha"),
    "beta1": ("beta1", "beta_1", "b1"),
    "beta2": ("beta2", "beta_2", "b2"),
    "epsilon": ("epsilon", "eps"),
    "weight_decay": ("weight_decay", "wd"),
}
DEFAULTS = {"epsilon": 1e-8}
CLOSE = 1e-6  # relative difference up to which the entries of a step are one number of times too long
SINGLE = 1e-6  # relative difference up to which params may come from arithmetic in float32


class MissingSettingError(ValueError):
    """An optimizer whose settings are not told by its attributes cannot be compared with anything."""


def check_optimizer(optimizer: Any, like: str = "", *, name: str = "") -> Verdict:
    """Compare an optimizer's steps on a quadratic with those of the formulas, the right and the well-known wrong ones.

    Parameters
    ----------
    optimizer : object
        With ``step(params, grads)``, which changes params in place, and its settings as attributes: ``learning_rate``,
        and what else its kind has of ``momentum``, ``nesterov``, ``decay``, ``beta1``, ``beta2``, ``epsilon``,
        ``weight_decay``. It has taken no step yet, and takes `STEPS` here.
    like : str
        Whose steps it should take, a name of `FAMILIES`; told from its settings unless given.
    name : str
        What to call it; its class unless given.

    Returns
    -------
    Verdict

    Raises
    ------
    MissingSettingError
        If the learning rate, or a setting of its kind, is no attribute of it.
    """
    name = name or type(optimizer).__name__
    numbers = _settings(optimizer, name)
    families = (like,) if like else _families(optimizer, numbers)
    needed = {"momentum": ["momentum"], "nesterov": ["momentum"], "rmsprop": ["decay"], "adam": ["beta1", "beta2"]}
    for family in families:
        for setting in needed.get(family.removesuffix("w"), []) + ["weight_decay"] * (family == "adamw"):
            if setting not in numbers:
                raise MissingSettingError(f"{name} has no attribute {setting}, which {family} needs")
    passed, wrong = _steps_of(optimizer, name)
    if wrong is not None:
        return wrong
    recipe = matching(passed, families, numbers)
    kinds = " or ".join(families)
    settings = ", ".join(f"{key} {value:g}" for key, value in numbers.items())
    if recipe is not None and not recipe.mistake:
        return Verdict(True, name, f"{STEPS} steps on a quadratic are those of {recipe.family} ({settings})")
    reference = next(recipes(recipe.family if recipe else families[0]))
    says = _first_difference(passed, trajectory(reference, numbers), reference, settings)
    if recipe is None:
        for mistake, sentence in _in_general(passed, trajectory(reference, numbers)):
            return Verdict(False, name, f"{says}\n  most likely: {sentence}", mistake)
        return Verdict(False, name, f"{says}\n  no known mistake of {kinds} explains the steps")
    return Verdict(False, name, f"{says}\n  most likely: {recipe.sentence}", recipe.mistake)


def _in_general(passed: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, str]]:
    """Yield what may be wrong with the steps of any optimizer."""
    if np.max(np.abs(passed - right) / np.abs(START)) < SINGLE:
        yield "dtype", "params are right to seven digits only: something is computed in float32"
    ratio = (passed[0] - START) / (right[0] - START)
    if np.ptp(ratio) <= CLOSE * abs(ratio[0]):
        if np.isclose(ratio[0], 1.0 / len(START)):
            yield "mean twice", f"it divides by the number of params, {len(START)}; gradients are means already"
        yield "factor", f"its first step is {ratio[0]:.6g} times as long as it should be"


def _settings(optimizer: Any, name: str) -> dict[str, float]:
    """Read an optimizer's settings, whatever they are called."""
    numbers = dict(DEFAULTS)
    for setting, aliases in ALIASES.items():
        for alias in aliases:
            value = getattr(optimizer, alias, None)
            if isinstance(value, int | float | np.number) and not isinstance(value, bool):
                numbers[setting] = float(value)
                break
    betas = getattr(optimizer, "betas", None)
    if isinstance(betas, Sequence) and len(betas) == 2:
        numbers["beta1"], numbers["beta2"] = map(float, betas)
    if "learning_rate" not in numbers:
        raise MissingSettingError(f"{name} has no attribute learning_rate, a number, to compare with")
    return numbers


def _families(optimizer: Any, numbers: dict[str, float]) -> tuple[str, ...]:
    """Tell an optimizer's kind from its settings."""
    if "beta2" in numbers:
        return ("adamw",) if "weight_decay" in numbers else ("adam",)
    if "momentum" in numbers and "decay" not in numbers:
        if numbers["momentum"] == 0.0:
            return ("sgd",)
        nesterov = getattr(optimizer, "nesterov", None)
        told = "nesterov" if nesterov or "nesterov" in type(optimizer).__name__.lower() else "momentum"
        return (told,) if nesterov is not None or told == "nesterov" else ("momentum", "nesterov")
    return ("rmsprop",) if "decay" in numbers else ("sgd",)


def _steps_of(optimizer: Any, name: str) -> tuple[np.ndarray, Verdict | None]:
    """Let it take its steps on the quadratic; return where it went, and what is wrong if it does not move params."""
    params, passed = START.copy(), []
    for t in range(1, STEPS + 1):
        grads = gradient(params)
        before, given = params.copy(), grads.copy()
        returned = optimizer.step(params, grads)
        if not np.array_equal(grads, given):
            says = f"step {t} changes the gradients that it is given; they are not its own"
            return params, Verdict(False, name, says, "changes input")
        if not np.isfinite(params).all():
            at = int(np.argmax(~np.isfinite(params)))
            says = f"step {t} makes {params[at]} of params[{at}] = {before[at]:.6g}, gradient {given[at]:.6g}"
            if t > 1:
                return params, Verdict(False, name, says)
            return np.full((STEPS, len(params)), np.nan), _division_by_zero(name, says)
        if np.array_equal(params, before) and (t > 1 or isinstance(returned, np.ndarray)):
            says = f"step {t} leaves params as they are: change them in place, as in params -= …, or params[...] = …"
            if isinstance(returned, np.ndarray):
                says += "; new params are returned, which nobody takes"
            return params, Verdict(False, name, says, "not in place")
        passed.append(params.copy())
    return np.array(passed), None


def _division_by_zero(name: str, says: str) -> Verdict:
    likely = "something divides by 0 in the first step: a correction 1 − βᵗ with t = 0, or a root without ε"
    return Verdict(False, name, f"{says}\n  most likely: {likely}", "bias correction")


def _first_difference(passed: np.ndarray, right: np.ndarray, reference: Recipe, settings: str) -> str:
    """Say at which step and entry the steps part, and by how much."""
    step = next((t for t in range(len(right)) if not same(passed[t : t + 1], right[t : t + 1])), 0)
    before = START if step == 0 else right[step - 1]
    wrong, moved = passed[step] - before, right[step] - before
    at = int(np.argmax(np.abs(wrong - moved) / np.maximum(np.abs(moved), 1e-300)))
    return (
        f"step {step + 1} moves params[{at}] = {before[at]:.6g} by {wrong[at]:.10g}, but {reference.family} by "
        f"{moved[at]:.10g}, on a quadratic, where its gradient is {gradient(before)[at]:.6g} ({settings})"
    )
