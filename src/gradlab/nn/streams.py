"""Random numbers for replicas come from one generator each, so that none depends on how many others there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


class Streams:
    """The generators of a network's replicas, from `numpy.random.default_rng`."""

    def __init__(self, generators: Iterable[np.random.Generator]):
        self.generators = list(generators)

    def uniform(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Draw numbers (..., n, d) from [0, 1), in C order."""
        numbers = np.empty(shape, dtype)
        for generator, part in zip(self.generators, numbers.reshape(len(self.generators), -1), strict=True):
            generator.random(dtype=numbers.dtype.type, out=part)
        return numbers
