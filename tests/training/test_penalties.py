"""Penalties pull at the weights alone, and clipping bounds the length of the whole gradient."""

import numpy as np
import pytest
from trainings import BCE, SEEDS, X, Y, fitted, make

from gradlab.nn import SGD, Dense, Network, SquaredError
from gradlab.training import train


def first_step(**options):
    """The change of the parameters by one step of length 1, and the data's gradient."""
    network = make(bias_init="normal")
    start = network.params.copy()
    data = {"shuffle": False, "epochs": 1, "batch_size": 10} | options
    next(train(network, BCE, SGD(1.0), X, Y, **data))
    return start, start - network.params, network.grads, network.weight_mask


@pytest.mark.parametrize("batch_size", [1, 5, 10])
def test_penalties_pull_at_weights_only_whatever_the_batch(batch_size):
    start, moved, grads, mask = first_step(l1=0.3, l2=0.7, batch_size=batch_size)
    expected = grads + mask * (0.3 * np.sign(start) + 0.7 * start)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-14)


def test_l2_alone_and_l1_alone():
    start, moved, grads, mask = first_step(l2=0.7)
    np.testing.assert_allclose(moved - grads, 0.7 * mask * start, rtol=0, atol=1e-14)
    start, moved, grads, mask = first_step(l1=0.7)
    np.testing.assert_allclose(moved - grads, 0.7 * mask * np.sign(start), rtol=0, atol=1e-14)


@pytest.mark.parametrize("options", [{"l1": 0.3}, {"l2": 0.3}, {"clip_norm": 1e-3}], ids=str)
def test_grads_and_loss_stay_those_of_the_data(options):
    np.testing.assert_array_equal(first_step(**options)[2], first_step()[2])
    penalised = next(train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4, **options))
    assert penalised.loss == next(train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4)).loss


def test_long_gradient_is_shortened_to_the_norm():
    _, moved, grads, _ = first_step(clip_norm=0.01)
    np.testing.assert_allclose(moved, grads * 0.01 / np.linalg.norm(grads), rtol=1e-11, atol=1e-15)


def test_short_gradient_is_left_alone():
    np.testing.assert_array_equal(first_step(clip_norm=100.0)[1], first_step()[1])


def test_penalties_are_clipped_too():
    start, moved, grads, mask = first_step(clip_norm=0.01, l1=0.3, l2=0.7)
    whole = grads + mask * (0.3 * np.sign(start) + 0.7 * start)
    np.testing.assert_allclose(moved, whole * 0.01 / np.linalg.norm(whole), rtol=1e-11, atol=1e-15)


def test_each_replica_is_clipped_on_its_own():
    together = fitted(make(SEEDS), clip_norm=0.05, l2=0.1)
    for r, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(together.params[r], fitted(make(seed), clip_norm=0.05, l2=0.1).params)


def test_clipping_survives_gradients_whose_square_overflows():
    network = Network([Dense(2, 1)])
    start = network.params.copy()
    next(train(network, SquaredError(), SGD(1.0), X * 1e100, Y, epochs=1, batch_size=10, clip_norm=0.5))
    assert np.abs(network.grads).max() > 1e160
    assert np.linalg.norm(network.params - start) == pytest.approx(0.5, rel=1e-12)


def test_clipping_survives_gradients_of_zero():
    network = Network([Dense(2, 1)])
    start = network.params.copy()
    y = network.decision_function(X)
    next(train(network, SquaredError(), SGD(1.0), X, y, epochs=1, batch_size=10, clip_norm=0.5, shuffle=False))
    np.testing.assert_array_equal(network.params, start)


def test_alpha_is_divided_by_the_batchs_weight():
    for weights, totals in ((None, [4.0, 4.0, 2.0]), (np.arange(1.0, 11.0), [10.0, 26.0, 19.0])):
        network = make()
        before = network.params.copy()
        options = {"weights": weights, "shuffle": False}
        steps = train(network, BCE, SGD(0.5), X, Y, epochs=1, batch_size=4, alpha=0.3, **options)
        for step, total in zip(steps, totals, strict=True):
            expected = before - 0.5 * (network.grads + 0.3 / total * network.weight_mask * before)
            np.testing.assert_allclose(network.params, expected, rtol=1e-14, err_msg=str(step.index))
            before = network.params.copy()


def test_alpha_and_a_batch_of_weight_zero():
    network = make()
    before = network.params.copy()
    for _ in train(network, BCE, SGD(0.5), X[:4], Y[:4], epochs=1, batch_size=2, alpha=0.3, shuffle=False,
                   weights=np.array([0.0, 0.0, 1.0, 1.0])):  # fmt: skip
        break
    np.testing.assert_array_equal(network.params, before)
