import numpy as np
import pytest
from scipy import stats

from gradlab.flow import mean_interval


def test_the_interval_is_students():
    values = np.array([0.91, 0.95, 0.97, 0.88, 0.93])
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose([interval.mean, interval.low, interval.high], [values.mean(), low, high], rtol=1e-9)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        interval = mean_interval(rng.normal(3.0, 2.0, 8))
        covered += interval.low < 3.0 < interval.high
    assert 0.935 < covered / 2000 < 0.965  # three standard errors of a share of .95 in 2000


def test_one_seed_has_no_interval():
    interval = mean_interval(np.array([0.5]))
    assert interval.mean == 0.5
    assert np.isnan([interval.low, interval.high]).all()


def test_what_is_not_finite_is_not_averaged_away():
    assert np.isnan(mean_interval(np.array([0.5, np.nan])).mean)
    assert mean_interval(np.array([0.5, np.inf])).mean == np.inf


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no seeds"):
        mean_interval(np.array([]))
