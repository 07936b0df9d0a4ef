"""Arguments are checked where they enter, so that a mistake is named before anything is computed."""

import math
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def check_int(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int of at least `least`; raise ValueError naming `name` otherwise."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: {value!r} is not a whole number of at least {least}")
    return int(value)


def check_float(
    name: str, value: Any, least: float = -math.inf, most: float = math.inf, *, above: bool = False
) -> float:
    """Return `value` as a finite float in [least, most] (``above``: without `least` itself); ValueError otherwise."""
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    if not is_number or not abs(value) < math.inf or not least <= value <= most or (above and value == least):
        bounds = [f"{'above' if above else 'of at least'} {least:g}"] if least > -math.inf else []
        bounds += [f"at most {most:g}"] if most < math.inf else []
        raise ValueError(f"{name}: {value!r} is not a finite number{' ' if bounds else ''}{' and '.join(bounds)}")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """Return `value` as a bool; raise ValueError naming `name` if it is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: {value!r} is neither True nor False")
    return bool(value)


def not_one_of(value: object, choices: Iterable[str]) -> str:
    """Say that `value` is none of `choices`, and which of them it resembles."""
    import difflib

    choices = list(choices)
    near = difflib.get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{value!r} is not one of {', '.join(choices)}{hint}"


def lookup(what: str, name: Any, table: Mapping[str, T]) -> T:
    """Return ``table[name]``; raise ValueError listing what there is otherwise."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{what}: {not_one_of(name, table)}")
    return table[name]


def check_targets(logits: np.ndarray, targets: np.ndarray) -> None:
    """Raise ValueError unless the targets are shaped like the logits, replicas' axis aside."""
    if logits.ndim < 2 or targets.shape not in (logits.shape, logits.shape[-2:]):
        raise ValueError(
            f"targets of shape {targets.shape} do not fit logits of shape {logits.shape}: "
            "both are (samples, outputs), with the replicas in front"
        )
