"""What does not fit is named before anything is computed, and every sample counts as much as its weight says."""

import numpy as np
import pytest
from scipy import sparse
from trainings import BCE, SEEDS, X, Y, fitted, make

from gradlab.nn import SGD, Dense, Network, SoftmaxCrossEntropy, SquaredError, mlp
from gradlab.training import train


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "softplus", "identity"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 7])
def test_x_that_is_not_finite_is_refused_with_its_place(row, value, activation, seed):
    x = X.copy()
    x[row, 1] = value
    with pytest.raises(ValueError, match=rf"x: {value} at \[{row}, 1\] is not a finite number"):
        train(Network(mlp([2, 4, 1], activation), seed=seed), BCE, SGD(), x, Y, epochs=1, batch_size=4)


def test_y_that_is_not_finite_is_refused_with_its_place():
    y = Y.copy()
    y[3] = np.nan
    with pytest.raises(ValueError, match=r"y: nan at \[3, 0\] is not a finite number"):
        train(make(), BCE, SGD(), X, y, epochs=1, batch_size=4)


def test_targets_of_squared_error_may_be_anything_finite():
    fitted(y=Y * 10 - 5, loss=SquaredError(), optimizer=SGD(1e-3))


def test_flat_targets_are_taken_for_one_output():
    np.testing.assert_array_equal(fitted(y=Y[:, 0]).params, fitted(y=Y).params)


def test_flat_targets_are_refused_for_several_outputs():
    with pytest.raises(ValueError, match=r"y: an array of shape \(10,\).* 2 output"):
        train(Network([Dense(2, 2)]), SoftmaxCrossEntropy(), SGD(), X, Y[:, 0], epochs=1, batch_size=4)


def test_integers_and_lists_are_taken():
    expected = fitted(x=np.rint(X), y=Y).params
    np.testing.assert_array_equal(fitted(x=np.rint(X).astype(int), y=Y.astype(int)).params, expected)
    np.testing.assert_array_equal(fitted(x=np.rint(X).tolist(), y=Y.tolist()).params, expected)


def test_users_data_stay_as_they_are():
    x, y, weights = X.copy(), Y.copy(), np.arange(1.0, 11.0)
    fitted(x=x, y=y, weights=weights)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weights, np.arange(1.0, 11.0))


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_whole_weights_equal_repeated_rows(seed):
    counts = np.array([1, 2, 0, 3, 1, 1, 4, 0, 1, 2])
    weighted = fitted(make(seed), weights=counts, batch_size=100, epochs=20)
    repeated = fitted(
        make(seed), x=np.repeat(X, counts, axis=0), y=np.repeat(Y, counts, axis=0), batch_size=100, epochs=20
    )
    np.testing.assert_allclose(weighted.params, repeated.params, rtol=0, atol=1e-12)


def test_rows_of_weight_zero_might_as_well_be_absent():
    counts = np.array([1.0, 1, 0, 1, 1, 0, 1, 1, 0, 0])
    weighted = fitted(weights=counts, batch_size=10, epochs=20)
    absent = fitted(x=X[counts > 0], y=Y[counts > 0], batch_size=10, epochs=20)
    np.testing.assert_allclose(weighted.params, absent.params, rtol=0, atol=1e-12)


def test_batch_of_weight_zero_moves_nothing():
    network = make()
    weights = np.repeat([1.0, 0.0], 5)
    steps = train(network, BCE, SGD(0.5), X, Y, epochs=1, batch_size=5, weights=weights, shuffle=False)
    next(steps)
    after_first = network.params.copy()
    next(steps)
    np.testing.assert_array_equal(network.params, after_first)


def test_scale_of_the_weights_does_not_matter():
    np.testing.assert_allclose(fitted(weights=np.full(10, 7.0)).params, fitted().params, rtol=0, atol=1e-13)


def test_weights_of_replicas_may_differ():
    counts = np.stack([np.arange(1.0, 11.0), np.ones(10), np.arange(10.0, 0.0, -1.0)])
    x = np.broadcast_to(X, (3, 10, 2))
    together = fitted(make(SEEDS), x=x, weights=counts)
    for r, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(together.params[r], fitted(make(seed), weights=counts[r]).params)


def test_sparse_data_that_do_not_fit_are_refused():
    bad = sparse.csr_array(X)
    bad.data[3] = np.nan
    with pytest.raises(ValueError, match=r"x: nan at \[1, 1\] is not a finite number"):
        fitted(x=bad)
    with pytest.raises(ValueError, match="a sparse array is for one network"):
        fitted(make(SEEDS), x=sparse.csr_array(X))
