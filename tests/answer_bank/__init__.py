"""A bank of answers as learners write them, right and wrong, each wrong one with its mistake: what scores a grader.

Each module holds the answers to one exercise of `gradlab.learn.exercises`, and `check` holds classes of a user's own.
An answer is the code of one function (or class); the exercise's other functions are the solution's. Importing a module
enters its answers in `ANSWERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

MISTAKES = (
    "mean missing",  # no division by the number of samples
    "mean twice",  # divided once more than it should be
    "slope missing",  # φ' is left out
    "slope at the output",  # φ' taken at y instead of x
    "slope at the input",  # the formula for y, used with x
    "delta missing",  # dL/dy is left out
    "transposed",
    "sign",
    "wrong axis",
    "added",  # to what the array held, instead of written
    "wrong layer",  # another layer's array, or another step's
    "dropped term",  # of a sum, a product rule, or a path
    "factor",
    "changes input",
    "dtype",
    "bias correction",
    "epsilon inside the root",
    "decay coupled",
    "not in place",
    "stability",
)


@dataclass(frozen=True)
class Answer:
    """One learner's code.

    Attributes
    ----------
    exercise, function : str
        What it answers; for classes the exercise is ``"check"``, and the function one of layer, activation, loss and
        optimizer.
    is_right : bool
    label : str
        The style of a right answer, the mistake of a wrong one.
    code : callable
        The function or class itself.
    """

    exercise: str
    function: str
    is_right: bool
    label: str
    code: Callable


ANSWERS: list[Answer] = []


def right(exercise: str, function: str, style: str) -> Callable:
    """Enter the decorated code as a right answer."""
    return _entry(exercise, function, True, style)


def wrong(exercise: str, function: str, mistake: str) -> Callable:
    """Enter the decorated code as a wrong answer; ValueError if the mistake is not one of `MISTAKES`."""
    if mistake not in MISTAKES:
        raise ValueError(f"mistake {mistake!r} is not one of {', '.join(MISTAKES)}")
    return _entry(exercise, function, False, mistake)


def right_class(kind: str) -> Callable:
    """Enter the decorated class as right; kind is layer, activation, loss or optimizer."""
    return lambda code: _entry("check", kind, True, code.__name__)(code)


def wrong_class(kind: str, mistake: str) -> Callable:
    """Enter the decorated class with its mistake; kind is layer, activation, loss or optimizer."""
    return wrong("check", kind, mistake)


def _entry(exercise: str, function: str, is_right: bool, label: str) -> Callable:
    def enter(code: Callable) -> Callable:
        ANSWERS.append(Answer(exercise, function, is_right, label, code))
        return code

    return enter
