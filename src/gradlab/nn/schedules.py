"""A schedule is a function from the time trained, in epochs, to a factor on the learning rate."""

import math
from collections.abc import Callable

from gradlab.nn.checks import check_float

Schedule = Callable[[float], float]


def constant() -> Schedule:
    """Keep the learning rate as it is."""
    return lambda time: 1.0


def step(every: float, factor: float = 0.1) -> Schedule:
    """Multiply it by `factor` after each `every` epochs."""
    every, factor = (
        check_float("step: every", every, 0.0, above=True),
        check_float("step: factor", factor, 0.0, above=True),
    )
    return lambda time: _power(factor, time // every)


def exponential(factor: float) -> Schedule:
    """Multiply it by `factor` in each epoch, smoothly."""
    factor = check_float("exponential: factor", factor, 0.0, above=True)
    return lambda time: _power(factor, time)


def cosine(epochs: float, floor: float = 0.0) -> Schedule:
    """Lower it along half a cosine, from 1 to `floor` after `epochs` (Loshchilov & Hutter 2017, eq. 5)."""
    epochs, floor = check_float("cosine: epochs", epochs, 0.0, above=True), check_float("cosine: floor", floor, 0.0)
    return lambda time: floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(time / epochs, 1.0)))


def warm_up(schedule: Schedule, epochs: float) -> Schedule:
    """Raise the factors of `schedule` in a straight line from 0 over the first `epochs`.

    The schedule's own time runs from the start: warming up does not delay it.
    """
    epochs = check_float("warm_up: epochs", epochs, 0.0)
    return lambda time: schedule(time) * (min(time / epochs, 1.0) if epochs else 1.0)


def _power(factor: float, exponent: float) -> float:
    """Compute the power, inf above the largest float: training with that is found to diverge, and named."""
    try:
        return factor**exponent
    except OverflowError:
        return math.inf
