"""From the numbers of many seeds to a mean, a median, a share or a slope, and how sure it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from gradlab.nn.checks import check_float, check_int


@dataclass(frozen=True)
class Interval:
    """An estimate from many seeds with its confidence interval.

    The bounds are nan where there is none: for one seed, for an estimate that is not finite, and for the median of
    fewer seeds than `median_interval` needs.

    Attributes
    ----------
    estimate : float
        The mean, or whatever else was estimated.
    low, high : float
    n : int
        Number of seeds; 0 if not said.
    confidence : float
        In how many samples of a hundred such an interval holds the truth, as a share.

    Examples
    --------
    >>> print(mean_interval([0.91, 0.95, 0.97]))
    0.9433 [0.8674, 1.019] (95 %, 3 seeds)
    >>> print(mean_interval([0.91]))
    0.91 (1 seed, no interval)
    """

    estimate: float
    low: float
    high: float
    n: int = 0
    confidence: float = 0.95

    @property
    def mean(self) -> float:
        """The estimate, where it is a mean."""
        return self.estimate

    def __str__(self) -> str:
        seeds = [f"{self.n} seed{'' if self.n == 1 else 's'}"] if self.n else []
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{self.estimate:.4g} ({', '.join([*seeds, 'no interval'])})"
        level = ", ".join([f"{100.0 * self.confidence:.4g} %", *seeds])
        return f"{self.estimate:.4g} [{self.low:.4g}, {self.high:.4g}] ({level})"


# --- one number a seed ---------------------------------------------------------------------------------------------


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Estimate the mean over seeds, with Student's t interval: mean ± t·s/√n (Student 1908, Biometrika 6).

    It is exact for normal numbers, and good for others once n is large; with few and skewed ones it holds the truth
    less often than it says.

    Parameters
    ----------
    values : array_like (n,)
        One number a seed. If one is not finite, neither is the mean.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        If there are no values, if they are not (n,), or for a confidence out of range.
    """
    values, confidence = _one_a_seed("values", values), _between_0_and_1(confidence)
    n = values.size
    with np.errstate(invalid="ignore"):  # inf − inf
        mean = float(np.mean(values))
    if n == 1 or not math.isfinite(mean):
        return Interval(mean, math.nan, math.nan, n, confidence)
    from scipy.special import stdtrit  # the quantile of Student's t; scipy.stats takes seconds to import

    half = float(stdtrit(n - 1, 0.5 + confidence / 2.0)) * _standard_error(values)
    return Interval(mean, mean - half, mean + half, n, confidence)


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Estimate the median over seeds, with the interval between two of the sorted values, whatever they follow.

    The median lies below the k-th smallest value only if fewer than k of n fair coins show heads, and above the k-th
    largest just as rarely. So [x_(k), x_(n+1−k)] misses it with probability 2·P(B(n, ½) < k), or less if values are
    equal; k is the largest for which that is at most 1 − confidence (Thompson 1936, Ann. Math. Statist. 7;
    David & Nagaraja 2003, Order Statistics, §7.1).

    As k is a whole number, the interval holds the median more often than asked: of 95 %, 6 seeds make 96.9 (the
    smallest to the largest value), 10 seeds 97.9, 30 seeds 95.7. Up to 5 seeds no two values are enough, since even
    the smallest and the largest of 5 make only 93.75 %: then the bounds are nan. For 1 − confidence = α, that is up
    to the last n with 2^(1−n) > α.

    Parameters
    ----------
    values, confidence
        As in `mean_interval`. An infinite value is a large one; nan makes the median nan.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        As in `mean_interval`.
    """
    values, confidence = np.sort(_one_a_seed("values", values)), _between_0_and_1(confidence)
    n = values.size
    with np.errstate(invalid="ignore"):
        median = float(np.median(values))
    from scipy.special import bdtr  # P(B(n, p) ≤ k)

    k = np.count_nonzero(bdtr(np.arange(n), n, 0.5) <= (1.0 - confidence) / 2.0)
    if k == 0 or math.isnan(median):
        return Interval(median, math.nan, math.nan, n, confidence)
    return Interval(median, float(values[k - 1]), float(values[n - k]), n, confidence)


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., np.ndarray] = np.mean,
    confidence: float = 0.95,
    resamples: int = 10_000,
    *,
    seed: int = 0,
) -> Interval:
    """Estimate any statistic over seeds, with the BCa bootstrap interval (Efron 1987, J. Am. Stat. Assoc. 82).

    The statistic θ̂ is computed again for samples of n drawn with replacement from the n values. Instead of the
    quantiles α/2 and 1 − α/2 of what comes out, the interval takes those of order
    Φ(z₀ + (z₀ + z) / (1 − a·(z₀ + z))) with z = Φ⁻¹(α/2) and Φ⁻¹(1 − α/2), where

    - the bias z₀ = Φ⁻¹(share of resamples below θ̂, with half of those equal to it),
    - the acceleration a = Σd³ / (6·(Σd²)^1.5), with d = (mean of the θ̂ without one value) − (each of them)

    (Efron & Tibshirani 1993, An Introduction to the Bootstrap, eqs. 14.9–14.15). The level is reached as n grows: with
    ten seeds a 95 % interval of the mean of normal numbers holds the truth in about 90 cases of 100, so prefer
    `mean_interval` or `median_interval` where they apply.

    Parameters
    ----------
    values, confidence
        As in `mean_interval`. If one value is not finite the bounds are nan.
    statistic : callable
        Called with ``axis=-1``, like `numpy.mean`, `numpy.median`, `numpy.std`; the order of the values along that
        axis does not matter to it.
    resamples : int
        How many; all are drawn at once, resamples × n numbers.
    seed : int
        Of the resampling.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        As in `mean_interval`; for fewer resamples than 2 / (1 − confidence), which have no such quantiles; or if the
        statistic does not give one number a sample.
    """
    values, confidence = np.sort(_one_a_seed("values", values)), _between_0_and_1(confidence)
    alpha, n = 1.0 - confidence, values.size
    resamples = check_int("resamples", resamples, math.ceil(2.0 / alpha - 1e-9))
    rng = np.random.default_rng(check_int("seed", seed, 0))
    with np.errstate(invalid="ignore"):
        estimate = statistic(values[np.newaxis], axis=-1)
    if np.shape(estimate) != (1,):
        raise ValueError(f"statistic: of an array (1, {n}), axis=-1, it made {np.shape(estimate)} in place of (1,)")
    if n == 1 or not np.isfinite(values).all():
        return Interval(float(estimate[0]), math.nan, math.nan, n, confidence)
    from scipy.special import ndtr, ndtri

    again = statistic(values[rng.integers(n, size=(resamples, n))], axis=-1)
    share = (np.mean(again < estimate) + np.mean(again <= estimate)) / 2.0
    bias = ndtri(np.clip(share, 0.5 / resamples, 1.0 - 0.5 / resamples))
    without_one = statistic(np.broadcast_to(values, (n, n))[~np.eye(n, dtype=bool)].reshape(n, n - 1), axis=-1)
    d = np.mean(without_one) - without_one
    largest = np.max(np.abs(d))
    d = d / largest if largest > 0.0 else d  # a does not depend on the scale; squares and cubes may underflow
    acceleration = np.sum(d**3) / (6.0 * np.sum(d**2) ** 1.5) if largest > 0.0 else 0.0
    z = bias + ndtri([alpha / 2.0, 1.0 - alpha / 2.0])
    low, high = np.quantile(again, ndtr(bias + z / (1.0 - acceleration * z)))
    return Interval(float(estimate[0]), float(low), float(high), n, confidence)


def share_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Estimate the share of seeds that succeed, with Clopper and Pearson's interval (1934, Biometrika 26).

    The bounds are the shares p under which so many successes or more, and so many or fewer, have probability α/2: with
    the beta distribution's quantiles B, low = B(α/2; k, n − k + 1) and high = B(1 − α/2; k + 1, n − k). It holds the
    truth with at least the confidence for every n and p (Brown, Cai & DasGupta 2001, Statist. Sci. 16, §4.2.1), also
    for one seed, about which it says little: 1 of 1 gives [.025, 1].

    Parameters
    ----------
    successes, n : int
        How many seeds of how many.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Interval

    Raises
    ------
    ValueError
        Unless 0 ≤ successes ≤ n and n ≥ 1, or for a confidence out of range.

    Examples
    --------
    >>> print(share_interval(8, 10))
    0.8 [0.4439, 0.9748] (95 %, 10 seeds)
    """
    n, k, confidence = check_int("n", n), check_int("successes", successes, 0), _between_0_and_1(confidence)
    if k > n:
        raise ValueError(f"successes: {k} are more than the n = {n} seeds")
    from scipy.special import betaincinv

    tail = (1.0 - confidence) / 2.0
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1.0 - tail)) if k < n else 1.0
    return Interval(k / n, low, high, n, confidence)


# --- one number a layer and seed -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DecaySlope:
    """How fast gradients change from layer to layer.

    Attributes
    ----------
    slopes : ndarray (seeds,)
        Of log‖δ‖ against depth, seed by seed.
    slope : Interval
        Their mean.
    """

    slopes: np.ndarray
    slope: Interval

    @property
    def factor(self) -> Interval:
        """What one layer multiplies the norm by, e^slope: the geometric mean over seeds, with its interval."""
        with np.errstate(over="ignore"):
            estimate, low, high = (float(np.exp(x)) for x in (self.slope.estimate, self.slope.low, self.slope.high))
        return Interval(estimate, low, high, self.slope.n, self.slope.confidence)


def decay_slope(norms: ArrayLike, depths: ArrayLike | None = None, confidence: float = 0.95) -> DecaySlope:
    """Fit log‖δ‖ = intercept + slope·depth by least squares for each seed, and average the slopes over seeds.

    slope = Σ(d − d̄)·log‖δ_d‖ / Σ(d − d̄)². The layers of one network are not independent, but the seeds are: so the
    interval is Student's over the seeds' slopes, and the scatter around a line does not enter it.

    Parameters
    ----------
    norms : array_like (layers, seeds)
        Norms of the deltas, or of the weight gradients.
    depths : array_like (layers,), optional
        Where each layer stands; without it, 0, 1, 2, … in the order of `norms`. From the input to the logits, a
        gradient that vanishes on its way back has a slope above 0. In the order of its way, ``norms[::-1]``, the slope
        is below 0, and the factor is what mean-field theory calls √χ (Schoenholz et al. 2017, arXiv 1611.01232).
    confidence : float
        Between 0 and 1.

    Returns
    -------
    DecaySlope

    Raises
    ------
    ValueError
        For a norm that is not above 0 and finite, which has no logarithm: it names layer and seed, counted from 0.
        For fewer than 2 layers or no seeds; for depths that are not one finite number a layer, or all the same.

    Examples
    --------
    >>> print(decay_slope([[4.0, 9.0], [2.0, 3.0], [1.0, 1.0]]).factor)  # three layers, two seeds
    0.4082 [0.03106, 5.366] (95 %, 2 seeds)
    """
    norms = np.asarray(norms, dtype=np.float64)
    if norms.ndim != 2 or norms.shape[0] < 2 or norms.shape[1] < 1:
        raise ValueError(f"norms: {norms.shape} is not (layers, seeds) with at least 2 layers and 1 seed")
    bad = np.argwhere(~((norms > 0.0) & (norms < np.inf)))
    if bad.size:
        layer, seed = bad[0]
        why = "it underflowed and" if norms[layer, seed] == 0.0 else "it"
        more = f" ({len(bad)} such norms in all)" if len(bad) > 1 else ""
        raise ValueError(f"norms: layer {layer}, seed {seed}: {norms[layer, seed]}: {why} has no logarithm{more}")
    d = np.arange(len(norms), dtype=np.float64) if depths is None else np.asarray(depths, dtype=np.float64)
    if d.shape != (len(norms),) or not np.isfinite(d).all() or np.ptp(d) == 0.0:
        raise ValueError(f"depths: {depths!r} are not {len(norms)} finite numbers, one a layer, that differ")
    d = d - np.mean(d)
    logs = np.log(norms)
    slopes = d @ (logs - np.mean(logs, axis=0)) / (d @ d)
    return DecaySlope(slopes, mean_interval(slopes, confidence))


# --- two variants on the same seeds --------------------------------------------------------------------------------


@dataclass(frozen=True)
class PairedTest:
    """Whether two variants differ, seed by seed.

    Attributes
    ----------
    difference : Interval
        Mean of a − b.
    p_t, p_sign, p_wilcoxon : float
        Two-sided p-values of Student's t test, of the sign test and of Wilcoxon's signed-rank test; p_t is nan for one
        seed.
    n : int
        Number of seeds.
    """

    difference: Interval
    p_t: float
    p_sign: float
    p_wilcoxon: float
    n: int

    def __str__(self) -> str:
        return f"{self.difference}; p = {self.p_t:.2g} (t), {self.p_sign:.2g} (sign), {self.p_wilcoxon:.2g} (Wilcoxon)"


def paired_test(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Compare two variants that share their seeds: what is due to a seed falls out of the differences.

    - Student's t: P(|T_(n−1)| ≥ |mean|·√n/s). The differences should be normal, or many. If they are all the same,
      p is 0, or 1 if they are 0.
    - Sign test: how many differences are positive, against fair coins. It asks nothing of the differences.
    - Wilcoxon's signed-rank test (1945, Biometrics Bulletin 1): the sum of the ranks of |a − b| where a is larger,
      against ranks with the signs of fair coins. The differences should be symmetric around their centre.

    The last two are exact for any n, also with ties, which share the mean of their ranks; differences of 0 are left
    out (Conover 1999, Practical Nonparametric Statistics, §3.4 and §5.7). Numbers that only rounding keeps apart, by
    at most ε·(|a| + |b|), count as equal: .95 − .9 and .9 − .85 are a tie. With 5 seeds neither gets below
    p = .0625, with 6 neither below .031.

    Parameters
    ----------
    a, b : array_like (n,)
        One number a seed, the same seeds in the same order.
    confidence : float
        Of the interval around the mean difference, which is Student's.

    Returns
    -------
    PairedTest

    Raises
    ------
    ValueError
        If a and b are not of the same length, are empty, or hold a number that is not finite.
    """
    a, b = _one_a_seed("a", a), _one_a_seed("b", b)
    if a.size != b.size:
        raise ValueError(f"a, b: {a.size} and {b.size} seeds are not pairs")
    for name, values in (("a", a), ("b", b)):
        if not np.isfinite(values).all():
            seed = np.flatnonzero(~np.isfinite(values))[0]
            raise ValueError(f"{name}: seed {seed}: {values[seed]} is not finite; leave the seed out of both")
    d, rounding = a - b, np.finfo(np.float64).eps * (np.abs(a) + np.abs(b))
    d[np.abs(d) <= rounding] = 0.0
    differs = d != 0.0
    ranks = _twice_the_ranks(np.abs(d[differs]), rounding[differs])
    positive = d[differs] > 0.0
    return PairedTest(
        mean_interval(d, confidence),
        _student(d),
        _fair_coins(np.ones_like(ranks), positive),
        _fair_coins(ranks, positive),
        d.size,
    )


def _student(d: np.ndarray) -> float:
    """Compute the two-sided p-value of mean(d) = 0."""
    if d.size == 1:
        return math.nan
    mean, error = abs(float(np.mean(d))), _standard_error(d)
    if error == 0.0:
        return float(mean == 0.0)
    from scipy.special import stdtr  # P(T ≤ t)

    return 2.0 * float(stdtr(d.size - 1, -mean / error))


def _twice_the_ranks(sizes: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return 2·rank of each size; those no further apart than rounding share their mean rank, at times a half one."""
    order = np.argsort(sizes)
    apart = np.diff(sizes[order]) > rounding[order][1:] + rounding[order][:-1]
    group = np.cumsum(np.concatenate([[0], apart]))[: sizes.size]
    counts = np.bincount(group)
    ranks = np.empty(sizes.size, dtype=np.int64)
    ranks[order] = (2 * np.cumsum(counts) - counts + 1)[group]  # first rank + last rank
    return ranks


def _fair_coins(weights: np.ndarray, heads: np.ndarray) -> float:
    """Compute the two-sided p-value of the weight of the heads, if each of the coins is fair.

    ``chance[w]`` is the probability that the coins so far weigh w: half of what it was, and half of what it was
    without the next coin's weight.
    """
    total, weight = int(np.sum(weights)), int(np.sum(weights[heads]))
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for w in weights:
        chance[w:] += chance[:-w]
        chance *= 0.5
    return min(1.0, 2.0 * float(np.sum(chance[: min(weight, total - weight) + 1])))


# --- arguments -----------------------------------------------------------------------------------------------------


def _one_a_seed(name: str, values: ArrayLike) -> np.ndarray:
    """Return values (n,) as float64; raise ValueError if they are not, or none."""
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError(f"{name}: no seeds, no estimate")
    if values.ndim != 1:
        raise ValueError(f"{name}: {values.shape} is not (n,), one number a seed")
    return values


def _between_0_and_1(confidence: float) -> float:
    if not 0.0 < check_float("confidence", confidence) < 1.0:
        raise ValueError(f"confidence: {confidence!r} is not between 0 and 1")
    return float(confidence)


def _standard_error(values: np.ndarray) -> float:
    """Compute s/√n."""
    return float(np.std(values, ddof=1)) / math.sqrt(values.size)
