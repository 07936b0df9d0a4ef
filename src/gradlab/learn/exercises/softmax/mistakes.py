"""Softmax and cross-entropy: the known mistakes are those of the loss, in `gradlab.check.losses`."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import Trial
from gradlab.check.losses import SOFTMAX_CROSS_ENTROPY


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    return SOFTMAX_CROSS_ENTROPY.trials(rng, "softmax_cross_entropy", "softmax_cross_entropy_gradient")
