"""The squared error behind a σ: the known mistakes are those of the loss, in `gradlab.check.losses`."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import Trial
from gradlab.check.losses import SQUARED_ERROR


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    return SQUARED_ERROR.trials(rng, "squared_error", "squared_error_gradient")
