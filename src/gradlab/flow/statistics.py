"""From the numbers of many seeds to a mean and how sure it is."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % confidence interval; the bounds are nan for one seed, which has none."""

    mean: float
    low: float
    high: float


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Estimate the mean over seeds, with Student's t interval: mean ± t·s/√n.

    Parameters
    ----------
    values : ndarray (n,)
        One number a seed. If one is not finite, neither is the mean.
    confidence : float
        In (0, 1).

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.size
    if n == 0:
        raise ValueError("values: no seeds, no mean")
    mean = float(np.mean(values))
    if n == 1 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan)
    from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes a second to import

    half = float(stdtrit(n - 1, 0.5 + confidence / 2.0)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)
