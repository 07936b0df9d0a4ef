"""Is an answer to an exercise right? It is called on numbers; where they are wrong, the known mistakes are tried."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from gradlab.check.apart import SECONDS, FailedCodeError, UnusableFileError, load_file, run_apart
from gradlab.check.judge import Judge
from gradlab.check.verdict import Verdict
from gradlab.learn.exercises import solution, trials

Functions = Mapping[str, Callable[..., Any]]


def grade_file(path: str, exercise: str, seconds: float = SECONDS) -> Verdict:
    """Check a file that answers an exercise, in a process of its own.

    Parameters
    ----------
    path, exercise : str
    seconds : float
        After so long, it counts as an endless loop.

    Returns
    -------
    Verdict

    Raises
    ------
    UnusableFileError
        If there is nothing to check: no such file, an error when it is imported, a function that is missing, results of
        the wrong shape or type, or nan.
    """
    try:
        return Verdict(**run_apart(_grade, path, exercise, seconds=seconds))
    except FailedCodeError as error:
        return Verdict(False, exercise, str(error))


def _grade(path: str, exercise: str) -> dict[str, Any]:
    """Load a file and grade it; return a Verdict's fields."""
    module = load_file(path)
    functions = {trial.function: getattr(module, trial.function, None) for trial in trials(exercise)}
    own = [name for name, value in vars(module).items() if inspect.isfunction(value)]
    for name, function in functions.items():
        if function is None:
            raise UnusableFileError(f"{path}: there is no function {name}, only {', '.join(own) or 'none at all'}")
        if not callable(function):
            raise UnusableFileError(f"{path}: {name} is of type {type(function).__name__}, and no function")
    return asdict(grade(functions, exercise, path))  # type: ignore[arg-type]


def grade(functions: Functions, exercise: str, path: str = "") -> Verdict:
    """Grade functions that answer an exercise.

    Parameters
    ----------
    functions : mapping of callable
        By name.
    exercise : str
    path : str
        The file that they come from.

    Returns
    -------
    Verdict
        About the first function that is wrong.

    Raises
    ------
    UnusableFileError
        If a result has the wrong shape or type, or is nan.
    FailedCodeError
        If a function raises an error.
    """
    every, solved = trials(exercise), solution(exercise)
    done: list[str] = []
    for trial in every:
        judged = Judge(functions[trial.function], getattr(solved, trial.function), trial, path)
        others = [other for other in every if other.function == trial.function and other is not trial]
        verdict = judged.verdict(others)
        if verdict is not None:
            mistake, says = verdict
            before = [name for name in dict.fromkeys(done) if name != trial.function]
            praise = f"\n  right so far: {', '.join(before)}" if before else ""
            return Verdict(False, exercise, f"{says}{praise}", mistake)
        done.append(trial.function)
    names = ", ".join(dict.fromkeys(done))
    return Verdict(True, exercise, f"{names}: all numbers are right")
