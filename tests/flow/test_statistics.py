import inspect
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradlab.flow import (
    Interval,
    bootstrap_interval,
    decay_slope,
    mean_interval,
    median_interval,
    paired_test,
    share_interval,
)

# Whole numbers and shifts of them make sums and ties exact, so that equality can be asked for.
several = st.lists(st.integers(-1000, 1000), min_size=2, max_size=30).map(lambda values: np.array(values, float))
pairs = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=12).map(
    lambda rows: np.array(rows, float)
)
shifts, scales = st.integers(-1000, 1000).map(float), st.integers(-20, 20).map(lambda k: 2.0**k)
bootstrap_mean = lambda values: bootstrap_interval(values, resamples=200)  # noqa: E731
bootstrap_median = lambda values: bootstrap_interval(values, np.median, resamples=200)  # noqa: E731
ESTIMATORS = {
    "mean": mean_interval,
    "median": median_interval,
    "bootstrapped mean": bootstrap_mean,
    "bootstrapped median": bootstrap_median,
}
each_estimator = pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)


def numbers(interval):
    return np.array([interval.estimate, interval.low, interval.high])


def coverage(trials, interval_of, truth):
    """Share of the trials whose interval holds the truth."""
    rng = np.random.default_rng(0)
    intervals = [interval_of(rng) for _ in range(trials)]
    return np.mean([interval.low <= truth <= interval.high for interval in intervals])


def three_errors(share, trials):
    """Three standard errors of the share of so many trials: a right interval is outside once in 370 times."""
    return 3.0 * math.sqrt(share * (1.0 - share) / trials)


# --- one number a seed ---------------------------------------------------------------------------------------------


def test_the_interval_is_students():
    values = np.array([0.91, 0.95, 0.97, 0.88, 0.93])
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose([interval.mean, interval.low, interval.high], [values.mean(), low, high], rtol=1e-9)


def test_students_interval_by_hand():
    # mean 3, s² = (4 + 1 + 0 + 1 + 4)/4 = 2.5, s/√5 = √½; the table's t for 4 degrees of freedom is 2.776.
    interval = mean_interval([1, 2, 3, 4, 5])
    assert interval.mean == interval.estimate == 3.0
    assert interval.high - 3.0 == pytest.approx(2.776445 * math.sqrt(0.5), rel=1e-6)
    assert 3.0 - interval.low == pytest.approx(interval.high - 3.0, rel=1e-12)
    assert (interval.n, interval.confidence) == (5, 0.95)
    assert mean_interval([1, 2, 3, 4, 5], 0.99).high - 3.0 == pytest.approx(4.604095 * math.sqrt(0.5), rel=1e-6)


@pytest.mark.parametrize("n, confidence", [(2, 0.95), (8, 0.95), (8, 0.8)])
def test_the_interval_covers_the_truth_as_often_as_it_says(n, confidence):
    covered = coverage(2000, lambda rng: mean_interval(rng.normal(3.0, 2.0, n), confidence), 3.0)
    assert covered == pytest.approx(confidence, abs=three_errors(confidence, 2000))


@pytest.mark.parametrize("n, k", [(6, 1), (8, 1), (9, 2), (10, 2), (11, 2), (12, 3), (20, 6), (30, 10)])
def test_the_median_lies_between_the_order_statistics_of_the_table(n, k):
    # The tables of the sign test, two-sided at .05, reject up to k − 1.
    interval = median_interval(np.random.default_rng(0).permutation(n) + 1.0)
    assert (interval.estimate, interval.low, interval.high) == ((n + 1) / 2, k, n + 1 - k)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 15, 40])
def test_the_interval_of_the_median_is_the_shortest_that_is_sure_enough(n, confidence):
    interval = median_interval(np.arange(1.0, n + 1.0), confidence)
    k = int(interval.low)
    assert interval.high == n + 1 - k
    assert 1.0 - 2.0 * stats.binom.cdf(k - 1, n, 0.5) >= confidence
    assert 1.0 - 2.0 * stats.binom.cdf(k, n, 0.5) < confidence


@pytest.mark.parametrize("n, level", [(6, 1 - 2 / 2**6), (10, 1 - 22 / 2**10), (30, 0.9572261)])
def test_the_interval_of_the_median_covers_it_whatever_the_distribution(n, level):
    covered = coverage(2000, lambda rng: median_interval(rng.lognormal(0.0, 2.0, n)), 1.0)
    assert covered == pytest.approx(level, abs=three_errors(level, 2000))


def test_the_interval_of_the_median_covers_it_at_least_as_often_if_there_are_ties():
    covered = coverage(2000, lambda rng: median_interval(rng.binomial(4, 0.5, 10)), 2.0)
    assert covered >= 0.95


@pytest.mark.parametrize("n", range(1, 6))
def test_up_to_five_seeds_have_no_interval_of_the_median(n):
    interval = median_interval(np.arange(float(n)))
    assert interval.estimate == (n - 1) / 2
    assert np.isnan([interval.low, interval.high]).all()
    assert not np.isnan(median_interval(np.arange(6.0)).low)


def test_five_seeds_have_an_interval_of_the_median_of_their_own_level():
    assert median_interval(np.arange(5.0), 1.0 - 2.0**-4).low == 0.0  # 93.75 %, exactly what five make
    assert np.isnan(median_interval(np.arange(5.0), 0.94).low)


@pytest.mark.parametrize("statistic", [np.mean, np.median, np.std, np.max])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_bootstrap_is_scipys(statistic, confidence):
    values = np.sort(np.random.default_rng(1).exponential(size=17))
    interval = bootstrap_interval(values, statistic, confidence, 2000, seed=5)
    options = {"confidence_level": confidence, "n_resamples": 2000, "method": "BCa"}
    generator = "rng" if "rng" in inspect.signature(stats.bootstrap).parameters else "random_state"  # before SciPy 1.15
    theirs = stats.bootstrap((values,), statistic, **options, **{generator: np.random.default_rng(5)})
    assert interval.estimate == statistic(values)
    np.testing.assert_allclose([interval.low, interval.high], theirs.confidence_interval, rtol=1e-9)


def test_the_bootstrap_covers_as_often_as_normal_quantiles_with_the_small_variance_do():
    # Resampling has the variance Σ(x − x̄)²/n² of the mean, and no Student's t: mean ± 1.96·√((n − 1)/n)·s/√n, up to
    # terms of order 1/n. Each trial resamples with a seed of its own: with one for all, they would share its luck.
    def interval(rng):
        return bootstrap_interval(rng.normal(3.0, 2.0, 40), resamples=2000, seed=int(rng.integers(2**32)))

    level = 1.0 - 2.0 * stats.t.cdf(-1.959964 * math.sqrt(39 / 40), 39)
    assert level == pytest.approx(0.9398, abs=1e-4)
    assert coverage(1000, interval, 3.0) == pytest.approx(level, abs=three_errors(level, 1000))


def test_the_bootstrap_follows_its_seed():
    values = np.random.default_rng(0).normal(size=12)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_the_bootstrap_of_equal_values_is_a_point():
    assert (numbers(bootstrap_interval([0.5] * 10)) == 0.5).all()


def test_the_bootstrap_survives_numbers_whose_cubes_underflow():
    values = np.random.default_rng(0).exponential(size=10)
    tiny = numbers(bootstrap_interval(values * 2.0**-600))
    np.testing.assert_array_equal(tiny * 2.0**600, numbers(bootstrap_interval(values)))


def test_the_bootstrap_of_a_statistic_that_no_resample_reaches_has_bounds():
    def distinct(values, axis):  # of 30 values; a resample of 30 has about 19
        return 1 + np.sum(np.diff(np.sort(values, axis), axis=axis) > 0.0, axis)

    estimate, low, high = numbers(bootstrap_interval(np.arange(30.0), distinct, resamples=500))
    assert 19 < low <= high < estimate == 30


def test_a_statistic_that_mixes_the_samples_is_refused():
    with pytest.raises(ValueError, match=r"statistic: of an array \(1, 3\), axis=-1, it made \(\) in place of \(1,\)"):
        bootstrap_interval([1.0, 2.0, 3.0], lambda values, axis: np.mean(values))


def test_too_few_resamples_are_refused():
    bootstrap_interval([1.0, 2.0], resamples=40)
    with pytest.raises(ValueError, match="resamples: 39 is not a whole number of at least 40"):
        bootstrap_interval([1.0, 2.0], resamples=39)
    with pytest.raises(ValueError, match="seed: -1"):
        bootstrap_interval([1.0, 2.0], seed=-1)


@pytest.mark.parametrize("k, n", [(0, 1), (1, 1), (0, 10), (8, 10), (10, 10), (3, 30)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_the_interval_of_a_share_is_clopper_and_pearsons(k, n, confidence):
    interval = share_interval(k, n, confidence)
    theirs = stats.binomtest(k, n).proportion_ci(confidence, "exact")
    np.testing.assert_allclose(numbers(interval), [k / n, theirs.low, theirs.high], rtol=1e-9)


def test_the_bounds_of_a_share_by_hand():
    # All of 10: pⁿ = .025 has p = .025^(1/10) = .6915. Of 8 of 10: so many or more, and so many or fewer, are rare.
    assert share_interval(10, 10).low == pytest.approx(0.025**0.1, rel=1e-12)
    assert share_interval(0, 10).high == pytest.approx(1.0 - 0.025**0.1, rel=1e-12)
    low, high = share_interval(8, 10).low, share_interval(8, 10).high
    assert 45 * low**8 * (1 - low) ** 2 + 10 * low**9 * (1 - low) + low**10 == pytest.approx(0.025, rel=1e-9)
    assert 1 - 10 * high**9 * (1 - high) - high**10 == pytest.approx(0.025, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 10, 30])
def test_a_share_is_covered_at_least_as_often_as_asked_whatever_it_is(n):
    shares = np.linspace(0.0, 1.0, 1001)[:, np.newaxis]
    intervals = [share_interval(k, n) for k in range(n + 1)]
    covers = np.array([[interval.low <= p <= interval.high for interval in intervals] for p in shares[:, 0]])
    exact = np.sum(stats.binom.pmf(np.arange(n + 1), n, shares) * covers, axis=1)
    assert exact.min() >= 0.95
    simulated = coverage(2000, lambda rng: share_interval(rng.binomial(n, 0.8), n), 0.8)
    assert simulated == pytest.approx(exact[800], abs=three_errors(exact[800], 2000) + 1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((11, 10), "successes: 11 are more than the n = 10 seeds"),
        ((-1, 10), "successes: -1"),
        ((0.5, 10), "successes: 0.5"),
        ((0, 0), "n: 0"),
        ((1, 2, 95), "confidence: 95 is not between 0 and 1"),
    ],
)
def test_an_impossible_share_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        share_interval(*arguments)


@each_estimator
@given(values=several, shift=shifts, scale=scales, order=st.randoms())
def test_intervals_shift_and_scale_with_the_values_and_know_no_order(estimator, values, shift, scale, order):
    before = numbers(estimator(values))
    shuffled = values.tolist()
    order.shuffle(shuffled)
    np.testing.assert_allclose(numbers(estimator(shuffled)), before, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(numbers(estimator(values + shift)), before + shift, rtol=1e-9, atol=1e-8)
    np.testing.assert_array_equal(numbers(estimator(scale * values)), scale * before)


@pytest.mark.parametrize("estimator", [mean_interval, median_interval])
@given(values=several)
def test_intervals_mirror_with_the_values(estimator, values):
    estimate, low, high = numbers(estimator(values))
    np.testing.assert_allclose(numbers(estimator(-values)), [-estimate, -high, -low], rtol=1e-12)


@each_estimator
def test_one_seed_has_no_interval(estimator):
    interval = estimator(np.array([0.5]))
    assert interval.estimate == 0.5
    assert np.isnan([interval.low, interval.high]).all()
    assert str(interval) == "0.5 (1 seed, no interval)"


def test_intervals_are_printed_with_their_level_and_seeds():
    assert str(median_interval([1.0, 2.0])) == "1.5 (2 seeds, no interval)"
    assert str(Interval(0.5, 0.25, 0.75, 10, 0.999)) == "0.5 [0.25, 0.75] (99.9 %, 10 seeds)"
    assert str(Interval(0.5, 0.25, 0.75)) == "0.5 [0.25, 0.75] (95 %)"
    assert str(Interval(0.5, math.nan, math.nan)) == "0.5 (no interval)"


@each_estimator
def test_nan_is_not_averaged_away(estimator):
    assert np.isnan(numbers(estimator(np.array([0.5] * 9 + [np.nan])))).all()


def test_what_is_infinite_is_in_the_mean_but_only_large_for_the_median():
    assert mean_interval(np.array([0.5, np.inf])).mean == np.inf
    assert np.isnan(mean_interval(np.array([-np.inf, np.inf])).mean)
    np.testing.assert_array_equal(numbers(median_interval([1, 2, 3, 4, 5, np.inf, 7])), [4, 1, np.inf])
    np.testing.assert_array_equal(numbers(bootstrap_interval([1, 2, np.inf], np.median)), [2, np.nan, np.nan])


@each_estimator
def test_no_values_and_tables_of_values_are_refused(estimator):
    with pytest.raises(ValueError, match="values: no seeds"):
        estimator(np.array([]))
    with pytest.raises(ValueError, match=r"values: \(2, 3\) is not \(n,\)"):
        estimator(np.ones((2, 3)))


@pytest.mark.parametrize("estimator", [mean_interval, median_interval, lambda v, c: bootstrap_interval(v, np.mean, c)])
@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, -0.5])
def test_an_impossible_confidence_is_refused(estimator, confidence):
    with pytest.raises(ValueError, match=f"confidence: {confidence} is not between 0 and 1"):
        estimator(np.arange(3.0), confidence)


@each_estimator
def test_the_values_are_left_alone(estimator):
    values = np.array([3.0, 1.0, 2.0])
    estimator(values)
    assert values.tolist() == [3.0, 1.0, 2.0]


# --- one number a layer and seed -----------------------------------------------------------------------------------


def test_a_pure_decay_has_its_factor():
    decay = decay_slope(0.25 ** np.arange(20.0)[:, np.newaxis] * [1.0, 3.0, 0.1])
    np.testing.assert_allclose(decay.slopes, math.log(0.25), rtol=1e-12)
    np.testing.assert_allclose(numbers(decay.factor), 0.25, rtol=1e-12)
    assert decay.factor.n == 3


def test_the_slopes_are_those_of_a_fit_seed_by_seed():
    rng = np.random.default_rng(0)
    norms, depths = rng.lognormal(size=(7, 5)), np.array([0.0, 1.0, 3.0, 4.0, 8.0, 9.0, 20.0])
    decay = decay_slope(norms, depths)
    np.testing.assert_allclose(decay.slopes, np.polyfit(depths, np.log(norms), 1)[0], rtol=1e-9)
    assert decay.slope == mean_interval(decay.slopes)
    np.testing.assert_allclose(numbers(decay.factor), np.exp(numbers(decay.slope)), rtol=1e-14)
    assert decay_slope(norms, depths, 0.5).slope == mean_interval(decay.slopes, 0.5)


def test_a_slope_by_hand():
    # log₂ of one seed: 0, 1, 5 at 0, 1, 2: (−1·0 + 0·1 + 1·5)/2 = 2.5; of the other 0, 0, 1: ½; mean 1.5.
    decay = decay_slope([[1.0, 1.0], [2.0, 1.0], [32.0, 2.0]])
    np.testing.assert_allclose(decay.slopes, np.log(2.0) * np.array([2.5, 0.5]), rtol=1e-14)
    assert decay.factor.estimate == pytest.approx(2.0**1.5, rel=1e-14)


def test_the_slope_is_covered_though_layers_depend_on_one_another():
    def walk(rng):  # each layer multiplies the norm by a random factor: a random walk of the logarithm
        return decay_slope(np.exp(np.cumsum(rng.normal(-0.5, 0.3, (12, 10)), axis=0))).slope

    assert coverage(2000, walk, -0.5) == pytest.approx(0.95, abs=three_errors(0.95, 2000))


@given(seed=st.integers(0, 2**32 - 1), shift=shifts, scale=scales, layers=st.integers(2, 8), n=st.integers(1, 6))
def test_the_slope_knows_neither_the_size_of_the_norms_nor_where_depth_begins(seed, shift, scale, layers, n):
    rng = np.random.default_rng(seed)
    norms, depths = rng.lognormal(size=(layers, n)), np.arange(float(layers))
    slopes = decay_slope(norms).slopes
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(decay_slope(scale * norms, depths + shift).slopes, slopes, **close)
    np.testing.assert_allclose(decay_slope(norms, scale * depths).slopes, slopes / scale, rtol=1e-9)
    np.testing.assert_allclose(decay_slope(norms[::-1]).slopes, -slopes, **close)
    order = rng.permutation(n)
    np.testing.assert_allclose(numbers(decay_slope(norms[:, order]).slope), numbers(decay_slope(norms).slope), **close)


def test_the_smallest_norms_have_a_slope():
    norms = 5e-324 * 2.0 ** np.arange(4.0)[:, np.newaxis]
    assert decay_slope(norms).factor.estimate == pytest.approx(2.0, rel=1e-12)
    assert decay_slope(norms).factor.n == 1
    assert str(decay_slope(norms).slope) == "0.6931 (1 seed, no interval)"


def test_a_factor_beyond_all_numbers_is_infinite():
    assert decay_slope([[1e-300, 1.0], [1e300, 1.0]]).factor.high == np.inf


@pytest.mark.parametrize(
    "bad, why", [(0.0, "it underflowed and has"), (-1.0, "it has"), (np.nan, "it"), (np.inf, "it")]
)
def test_a_norm_without_logarithm_is_named(bad, why):
    norms = np.ones((4, 3))
    norms[2, 1] = bad
    with pytest.raises(ValueError, match=rf"norms: layer 2, seed 1: {bad}: {why} .*no logarithm$"):
        decay_slope(norms)
    norms[3] = bad
    with pytest.raises(ValueError, match=r"layer 2, seed 1: .* \(4 such norms in all\)$"):
        decay_slope(norms)


@pytest.mark.parametrize("shape", [(1, 5), (0, 5), (5,), (5, 0), (2, 3, 4)])
def test_what_is_not_layers_by_seeds_is_refused(shape):
    with pytest.raises(ValueError, match=r"norms: .* is not \(layers, seeds\) with at least 2 layers and 1 seed"):
        decay_slope(np.ones(shape))


@pytest.mark.parametrize("depths", [[0, 1], [1, 1, 1], [0, 1, np.nan], [[0], [1], [2]]])
def test_depths_that_do_not_fit_are_refused(depths):
    with pytest.raises(ValueError, match=r"depths: .* are not 3 finite numbers, one a layer, that differ"):
        decay_slope(np.ones((3, 2)), depths)


# --- two variants on the same seeds --------------------------------------------------------------------------------


def all_signs(differences, weights):
    """The share of all sign patterns whose positive weights' sum is as far from the middle as the one seen."""
    differences, weights = np.asarray(differences), np.asarray(weights)
    signs = np.array(list(itertools.product([0, 1], repeat=len(weights))))
    middle = weights.sum() / 2
    return np.mean(np.abs(signs @ weights - middle) >= np.abs(weights[differences > 0].sum() - middle) - 1e-9)


@pytest.mark.parametrize("n", [2, 5, 10, 30, 50])
def test_the_tests_are_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.3, 1.0, n), rng.normal(size=n)
    test = paired_test(a, b)
    assert test.n == n
    assert test.difference == mean_interval(a - b)
    theirs = stats.ttest_rel(a, b)
    assert test.p_t == pytest.approx(theirs.pvalue, rel=1e-9)
    np.testing.assert_allclose(numbers(test.difference)[1:], theirs.confidence_interval(), rtol=1e-9)
    assert test.p_sign == pytest.approx(stats.binomtest(int((a > b).sum()), n).pvalue, rel=1e-9)
    assert test.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-9)


def test_the_tests_by_hand():
    # 1, 2, 3, 4, −5, 6: one of six is negative, 2·(1 + 6)/64; ranks below the middle sum to 5, which the subsets
    # {}, 1, 2, 3, 4, 5, 12, 13, 14, 23 do not exceed: 2·10/64. Mean 11/6, s² = Σd²/5 − 6/5·(11/6)² = 14.17.
    d = np.array([1.0, 2.0, 3.0, 4.0, -5.0, 6.0])
    test = paired_test(d, np.zeros(6))
    assert test.p_sign == pytest.approx(14 / 64, rel=1e-12)
    assert test.p_wilcoxon == pytest.approx(20 / 64, rel=1e-12)
    assert test.p_t == pytest.approx(2.0 * stats.t.sf(11 / 6 / math.sqrt((91 - 121 / 6) / 30), 5), rel=1e-9)


@given(rows=pairs)
def test_the_sign_tests_count_all_sign_patterns_also_with_ties(rows):
    test = paired_test(*rows.T)
    d = rows[:, 0] - rows[:, 1]
    d = d[d != 0.0]
    assert test.p_sign == pytest.approx(all_signs(d, np.ones(d.size)), rel=1e-9)
    assert test.p_wilcoxon == pytest.approx(all_signs(d, stats.rankdata(np.abs(d))), rel=1e-9)


@given(rows=pairs, shift=shifts, scale=scales, order=st.randoms())
def test_p_values_know_no_order_no_unit_and_no_side(rows, shift, scale, order):
    def p_values(a, b):
        test = paired_test(a, b)
        return [test.p_t, test.p_sign, test.p_wilcoxon]

    before = p_values(*rows.T)
    shuffled = rows.tolist()
    order.shuffle(shuffled)
    for now in (np.array(shuffled), rows[:, ::-1], scale * rows, rows + shift):
        np.testing.assert_allclose(p_values(*now.T), before, rtol=1e-9)
    np.testing.assert_allclose(paired_test(*rows.T[::-1]).difference.mean, -paired_test(*rows.T).difference.mean)


def test_differences_that_only_rounding_keeps_apart_are_ties():
    a, b = np.array([0.95, 0.9, 0.3, 0.7]), np.array([0.9, 0.85, 0.35, 0.1 * 7])
    assert len({*np.abs(a - b)}) == 4  # .05, .05, −.05 and 0, up to rounding
    # Three equal ranks of 2: the positive sum, 4, is one off the middle, as all but two of the eight patterns are.
    assert paired_test(a, b).p_wilcoxon == paired_test(a, b).p_sign == 1.0


def test_one_huge_pair_does_not_make_the_small_ones_equal():
    a, b = np.array([1e20, 1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.0, 0.9, 1.8, 2.7, 3.6, 4.5])
    assert paired_test(a, b).p_wilcoxon == pytest.approx(2 / 64, rel=1e-12)


def test_equal_variants_do_not_differ():
    test = paired_test([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (test.p_t, test.p_sign, test.p_wilcoxon) == (1.0, 1.0, 1.0)
    assert (numbers(test.difference) == 0.0).all()


def test_variants_that_only_rounding_keeps_apart_do_not_differ():
    assert 0.1 * 3 != 0.3
    test = paired_test([0.1 * 3] * 6, [0.3] * 6)
    assert (test.p_t, test.p_sign, test.p_wilcoxon) == (1.0, 1.0, 1.0)


def test_a_difference_without_spread_is_sure_for_the_t_test_only():
    test = paired_test([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    assert (test.p_t, test.p_sign, test.p_wilcoxon) == (0.0, 0.25, 0.25)


def test_one_pair_says_nothing():
    test = paired_test([2.0], [1.0])
    assert np.isnan(test.p_t)
    assert (test.p_sign, test.p_wilcoxon) == (1.0, 1.0)
    assert str(test) == "1 (1 seed, no interval); p = nan (t), 1 (sign), 1 (Wilcoxon)"


def test_the_tests_reject_what_is_true_no_more_often_than_they_say():
    rng, trials = np.random.default_rng(0), 2000
    tests = [paired_test(rng.normal(size=10), rng.normal(size=10)) for _ in range(trials)]
    rejected = np.mean([[t.p_t <= 0.05, t.p_sign <= 0.05, t.p_wilcoxon <= 0.05] for t in tests], axis=0)
    levels = [0.05, 22 / 1024, 50 / 1024]  # 1 + 10 of 2¹⁰ patterns on either side; 25 subsets of 1…10 sum to 8 or less
    for share, level in zip(rejected, levels, strict=True):
        assert share == pytest.approx(level, abs=three_errors(level, trials))


@pytest.mark.parametrize(
    "a, b, message",
    [
        ([1.0, 2.0], [1.0], "a, b: 2 and 1 seeds are not pairs"),
        ([], [], "a: no seeds"),
        ([1.0], [], "b: no seeds"),
        ([1.0, 2.0], [1.0, np.nan], "b: seed 1: nan is not finite"),
        ([np.inf, 2.0], [np.inf, 1.0], "a: seed 0: inf is not finite"),
        ([[1.0, 2.0]], [[1.0, 2.0]], r"a: \(1, 2\) is not \(n,\)"),
    ],
)
def test_what_is_not_pairs_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_test(a, b)


def test_scipys_statistics_are_not_imported():
    code = """import sys
from gradlab.flow import *
assert "scipy" not in sys.modules
values = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
mean_interval(values), median_interval(values), bootstrap_interval(values), share_interval(8, 10)
paired_test(values, values[::-1]), decay_slope([values, values])
assert "scipy.stats" not in sys.modules"""
    subprocess.run([sys.executable, "-c", code], check=True)
