"""Adam: the rules that it is mistaken for are those of `gradlab.check.rules`."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import Trial
from gradlab.check.rules import START, gradient, step_trial


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    settings = {"learning_rate": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6}
    kept = {"m": "m", "v": "v"}
    for t in (1, 3):
        grads = gradient(START)
        m = 0.5 * grads * rng.uniform(0.5, 1.5, len(START)) * (t > 1)
        v = 0.1 * grads**2 * rng.uniform(0.5, 1.5, len(START)) * (t > 1)
        arguments = {"params": START.copy(), "grads": grads, "m": m, "v": v, "t": t}
        yield step_trial("adam_step", "adam", arguments, kept, settings)
