"""Twelve exercises in backpropagation, from one sigmoid to a network in time.

Each is a folder: `solution` is a module that states the task in its docstrings and solves it (the task that a learner
is given is made of it); `mistakes` says on which numbers an answer is tried, and which mistakes are known.
"""

import importlib
from types import ModuleType

import numpy as np

from gradlab.check.judge import Trial

EXERCISES: tuple[str, ...] = (
    "sigmoid",
    "relu",
    "dense_forward",
    "dense_backward",
    "squared_error",
    "cross_entropy",
    "softmax",
    "two_layer_net",
    "momentum",
    "adam",
    "batch_norm",
    "through_time",
)


def solution(exercise: str) -> ModuleType:
    """Return the module that solves an exercise."""
    return importlib.import_module(f"{__name__}.{exercise}.solution")


def trials(exercise: str) -> list[Trial]:
    """Return what an exercise's answer is tried on, function by function, the ordinary numbers first."""
    return list(importlib.import_module(f"{__name__}.{exercise}.mistakes").trials(np.random.default_rng(0)))
