"""Momentum: the rules that it is mistaken for are those of `gradlab.check.rules`."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import Trial
from gradlab.check.rules import START, gradient, step_trial


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    settings = {"learning_rate": 0.1, "momentum": 0.7}
    arguments = {"params": START.copy(), "grads": gradient(START), "velocity": rng.standard_normal(len(START))}
    yield step_trial("momentum_step", "momentum", arguments, {"velocity": "v"}, settings)
