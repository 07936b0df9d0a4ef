"""The cross-entropy: the known mistakes are those of the loss, in `gradlab.check.losses`."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import Trial
from gradlab.check.losses import CROSS_ENTROPY


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    return CROSS_ENTROPY.trials(rng, "cross_entropy", "cross_entropy_gradient")
