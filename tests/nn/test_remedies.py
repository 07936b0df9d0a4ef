import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.nn import BatchNorm, Dense, Dropout, Identity, Layer, Network, ReLU, Residual, Sigmoid, Tanh


def samples(n=8, d=3, seed=0):
    return np.random.default_rng(seed).normal(5.0, 2.0, (n, d))


def trains(layer):
    layer.training = True
    return layer


def test_batch_norm_gives_mean_beta_and_deviation_gamma():
    norm = trains(BatchNorm(3, epsilon=1e-12))
    norm.gamma[...], norm.beta[...] = [[1.0, 2.0, 3.0]], [[-1.0, 0.0, 10.0]]
    y = norm.forward(samples(50))
    np.testing.assert_allclose(y.mean(axis=0), [-1.0, 0.0, 10.0], atol=1e-12)
    np.testing.assert_allclose(y.std(axis=0), [1.0, 2.0, 3.0], rtol=1e-10)


def test_batch_norm_worked_by_hand():
    norm = trains(BatchNorm(1, momentum=0.1, epsilon=3.0))
    x = np.array([[0.0], [2.0], [4.0], [6.0]])  # mean 3, variance (9 + 1 + 1 + 9)/4 = 5, deviation √(5 + 3)
    np.testing.assert_allclose(norm.forward(x), np.array([[-3.0], [-1.0], [1.0], [3.0]]) / math.sqrt(8.0))
    np.testing.assert_allclose(norm.running_mean, [[0.3]])  # 0.9·0 + 0.1·3
    np.testing.assert_allclose(norm.running_variance, [[0.9 + 0.1 * 20.0 / 3.0]])  # 20/3: unbiased, over n − 1


@pytest.mark.parametrize("n", [2, 8, 100])
@pytest.mark.parametrize("settings", [{}, {"momentum": 0.5, "epsilon": 0.1}, {"momentum": 1.0}])
def test_batch_norm_is_pytorchs(n, settings):
    torch = pytest.importorskip("torch")
    names = {"eps": settings.get("epsilon", 1e-5), "momentum": settings.get("momentum", 0.1)}
    theirs = torch.nn.BatchNorm1d(3, **names, dtype=torch.float64)
    ours = BatchNorm(3, **settings)
    rng = np.random.default_rng(1)
    ours.gamma[...], ours.beta[...] = rng.normal(size=(1, 3)), rng.normal(size=(1, 3))
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(ours.gamma[0]), torch.tensor(ours.beta[0])

    for training in (True, True, False):
        ours.training = training
        theirs.train(training)
        x, dy = samples(n, seed=2), rng.normal(size=(n, 3))
        z = torch.tensor(x, requires_grad=True)
        expected = theirs(z)
        theirs.zero_grad()
        expected.backward(torch.tensor(dy))
        y = ours.forward(x)
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
        # At n = 2, dx is a difference of two nearly equal numbers.
        np.testing.assert_allclose(ours.backward(dy, x, y), z.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.dgamma[0], theirs.weight.grad.numpy(), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(ours.dbeta[0], theirs.bias.grad.numpy(), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(ours.running_mean[0], theirs.running_mean.numpy(), rtol=1e-13)
        np.testing.assert_allclose(ours.running_variance[0], theirs.running_var.numpy(), rtol=1e-13)


def test_predicting_uses_running_statistics_and_leaves_them():
    norm = BatchNorm(2, epsilon=1e-5)
    norm.running_mean[...], norm.running_variance[...] = [[1.0, -1.0]], [[4.0, 0.25]]
    x = np.array([[3.0, 0.0]])
    np.testing.assert_allclose(norm.forward(x), [[2.0 / math.sqrt(4.00001), 1.0 / math.sqrt(0.25001)]])
    assert np.array_equal(norm.running_mean, [[1.0, -1.0]])
    assert np.array_equal(norm.running_variance, [[4.0, 0.25]])


def test_running_statistics_become_those_of_the_data():
    norm = trains(BatchNorm(3, momentum=0.05))
    x = samples(1000)
    for i in range(2000):
        norm.forward(x[(i % 20) * 50 : (i % 20 + 1) * 50])
    np.testing.assert_allclose(norm.running_mean[0], x.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(norm.running_variance[0], x.var(axis=0, ddof=1), rtol=0.1)


def test_backward_leaves_running_statistics_as_they_are():
    norm = trains(BatchNorm(3))
    x = samples()
    y = norm.forward(x)
    kept = norm.running_mean.copy(), norm.running_variance.copy()
    norm.backward(np.ones_like(y), x, y)
    assert np.array_equal(norm.running_mean, kept[0])
    assert np.array_equal(norm.running_variance, kept[1])


def test_a_batch_of_one_has_no_variance_to_learn_from():
    norm = trains(BatchNorm(3))
    norm.beta[...] = 0.7
    x = samples(1)
    y = norm.forward(x)
    assert (y == 0.7).all()  # x is its own mean
    assert np.array_equal(norm.running_mean, np.zeros((1, 3)))
    assert np.array_equal(norm.running_variance, np.ones((1, 3)))
    assert not norm.backward(np.ones_like(y), x, y).any()  # moving x moves the mean with it


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_constant_feature_is_no_division_by_zero(dtype):
    norm = Network([BatchNorm(2)], dtype=dtype)
    with np.errstate(all="raise"):
        tape = norm.forward(np.full((4, 2), 3.0), training=True)
        deltas = norm.backward(np.ones_like(tape[-1]), tape)
    assert not tape[-1].any()
    assert not deltas[0].any()


def test_the_batch_norm_of_large_numbers_keeps_its_digits():
    x = samples()
    norm = trains(BatchNorm(3))
    # 1e8 + x has lost 8 of its 16 digits; a variance from E[x²] − E[x]² would lose the other 8.
    np.testing.assert_allclose(norm.forward(x + 1e8), norm.forward(x), atol=1e-7)


@given(n=st.integers(2, 20), scale=st.floats(0.5, 100.0), shift=st.floats(-100.0, 100.0))
@settings(max_examples=40, deadline=None)
def test_batch_norm_undoes_scale_and_shift(n, scale, shift):
    norm, x = trains(BatchNorm(3, epsilon=1e-12)), samples(n)
    np.testing.assert_allclose(norm.forward(scale * x + shift), norm.forward(x), atol=1e-9)


@pytest.mark.parametrize(
    "settings, name",
    [
        ({"n": 0}, "n"),
        ({"n": 2.0}, "n"),
        ({"n": 2, "momentum": 0.0}, "momentum"),
        ({"n": 2, "momentum": 1.1}, "momentum"),
        ({"n": 2, "epsilon": 0.0}, "epsilon"),
    ],
)
def test_batch_norm_names_what_it_refuses(settings, name):
    with pytest.raises(ValueError, match=rf"BatchNorm: {name}: "):
        BatchNorm(**settings)


@pytest.mark.parametrize("before", [[], [Tanh()], [Dropout(0.5), Residual([Tanh()])]], ids=repr)
@pytest.mark.parametrize("features", [1, 2, 4])
def test_batch_norm_takes_no_other_number_of_features(before, features):
    network = Network([*before, BatchNorm(3)])  # one feature would be broadcast to three
    with pytest.raises(ValueError, match=rf"BatchNorm\(3\) takes 3 features, but x, of shape \(4, {features}\)"):
        network.forward(np.zeros((4, features)))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_expectation(rate):
    drop = trains(Dropout(rate))
    y = drop.forward(np.ones((1000, 200)))
    # y is 1/(1 − rate) with probability 1 − rate, so its variance is rate/(1 − rate).
    assert y.mean() == pytest.approx(1.0, abs=4.0 * math.sqrt(rate / (1.0 - rate) / y.size))
    assert np.mean(y == 0.0) == pytest.approx(rate, abs=4.0 * math.sqrt(rate * (1.0 - rate) / y.size))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_mask_is_0_or_the_inverse_of_what_stays(dtype):
    network = Network([Dropout(0.3)], dtype=dtype)
    x = samples(100).astype(dtype)
    tape = network.forward(x, training=True)
    mask = network.layers[0].mask
    assert mask.dtype == dtype
    assert set(np.unique(mask)) == {dtype(0.0), dtype(1.0) / dtype(0.7)}
    assert np.array_equal(tape[-1], x * mask)
    dy = samples(100, seed=1).astype(dtype)
    assert np.array_equal(network.backward(dy, tape)[0], dy * mask)  # scaled once each way


def test_dropout_predicts_with_everything():
    drop, x = Dropout(0.5), samples()
    y = drop.forward(x)
    assert np.array_equal(y, x)
    assert not np.may_share_memory(y, x)
    assert np.array_equal(drop.backward(x, x, y), x)


def test_dropout_of_nothing_drops_nothing():
    x = samples()
    assert np.array_equal(trains(Dropout(0.0)).forward(x), x)


def test_every_pass_draws_a_new_mask_from_the_seed():
    first, second = (Network([Dropout(0.5)], seed=3) for _ in range(2))
    x = np.ones((10, 10))
    masks = [first.forward(x, training=True)[-1].copy() for _ in range(3)]
    assert not np.array_equal(masks[0], masks[1])
    for mask in masks:
        second.forward(x)  # predicting draws nothing
        assert np.array_equal(second.forward(x, training=True)[-1], mask)
    assert not np.array_equal(Network([Dropout(0.5)], seed=4).forward(x, training=True)[-1], masks[0])


def test_two_dropouts_in_a_row_draw_masks_of_their_own():
    network = Network([Dropout(0.5), Identity(), Dropout(0.5)])
    network.forward(np.ones((20, 20)), training=True)
    assert not np.array_equal(network.layers[0].mask, network.layers[2].mask)


def test_a_replicas_mask_does_not_depend_on_the_other_replicas():
    x = np.ones((10, 10))
    wide = Network([Dropout(0.5), Dropout(0.5)], seed=[7, 8, 9, 0]).forward(x, training=True)[-1]
    narrow = Network([Dropout(0.5), Dropout(0.5)], seed=[8, 0]).forward(x, training=True)[-1]
    assert np.array_equal(wide[[1, 3]], narrow)
    assert not np.array_equal(wide[0], wide[1])


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, math.nan, "0.5"])
def test_dropout_names_the_rate_that_it_refuses(rate):
    with pytest.raises(ValueError, match="Dropout: rate: "):
        Dropout(rate)


def test_residual_adds_what_it_was_given():
    dense, x, dy = Dense(3, 3), samples(), samples(seed=1)
    block = Residual([dense, Tanh()])
    y = block.forward(x)
    np.testing.assert_array_equal(y, x + np.tanh(x @ dense.W + dense.b))
    dx = block.backward(dy, x, y)
    np.testing.assert_allclose(dx, dy + (dy * (1.0 - (y - x) ** 2)) @ dense.W.T, rtol=1e-12, atol=1e-12)


def test_a_residual_of_zero_weights_is_the_identity_both_ways():
    block, x = Residual([Dense(3, 3, "zeros"), Tanh()]), samples()
    y = block.forward(x)
    assert np.array_equal(y, x)
    assert np.array_equal(block.backward(x, x, y), x)


def test_residuals_keep_a_deep_gradient_alive():
    plain, repaired = [], []
    for _ in range(30):
        plain += [Dense(8, 8), Sigmoid()]
        repaired.append(Residual([Dense(8, 8), Sigmoid()]))
    share = []
    for layers in (plain, repaired):
        network = Network(layers)
        tape = network.forward(samples(5, 8))
        share.append(np.abs(network.backward(np.ones((5, 8)), tape)[0]).mean())
    assert share[0] < 1e-12
    assert share[1] > 1e-2


def test_residual_goes_back_through_the_pass_it_is_told_of():
    block = Residual([Dense(3, 3), Tanh()])
    x, other, dy = samples(), samples(seed=1), samples(seed=2)
    y = block.forward(x)
    expected = block.backward(dy, x, y)
    block.forward(other)
    assert np.array_equal(block.backward(dy, x, y), expected)


class CountsPasses(Layer):
    passes = 0

    def forward(self, x):
        self.passes += 1
        return 1.0 * x

    def backward(self, dy, x, y):
        return 1.0 * dy


@pytest.mark.parametrize("x", [samples(), np.arange(12).reshape(4, 3)], ids=["floats", "integers"])
def test_residual_does_not_run_its_layers_again_for_the_pass_just_before(x):
    inside = CountsPasses()
    block = Residual([inside])
    y = block.forward(x)
    block.backward(y, x, y)
    assert inside.passes == 1


def test_a_pickled_residual_holds_its_parameters_and_no_samples():
    block = Residual([Dense(3, 3), Tanh()])
    size = len(pickle.dumps(block))
    block.forward(samples(1000))
    assert len(pickle.dumps(block)) == size


def test_residual_trains_and_predicts_with_the_network():
    network = Network([Residual([Dropout(0.5)]), Residual([Residual([BatchNorm(3)])])])
    inner = network.layers[0].layers[0], network.layers[1].layers[0].layers[0]
    for training in (True, False, True):
        network.forward(samples(), training)
        assert [layer.training for layer in inner] == [training] * 2


@pytest.mark.parametrize(
    "layers, given, made",
    [
        ([Dense(3, 4)], 3, 4),
        ([Dense(3, 4), ReLU(), Dense(4, 2)], 3, 2),
        ([BatchNorm(3), Dense(3, 5)], 3, 5),
        ([Tanh(), Residual([Dense(3, 3)]), Dense(3, 2)], 3, 2),
    ],
)
def test_residual_names_the_two_sizes_it_cannot_add(layers, given, made):
    with pytest.raises(ValueError, match=rf"Residual: x has {given} features but f\(x\) has {made}"):
        Residual(layers)


@pytest.mark.parametrize("layers", [[], ["relu"], [Tanh], None])
def test_residual_takes_layers_and_nothing_else(layers):
    with pytest.raises(ValueError, match="is not a sequence of at least one layer"):
        Residual(layers)


def test_remedies_print_as_they_are_made():
    block = Residual([BatchNorm(3), Dropout(0.25)])
    assert repr(block) == "Residual([BatchNorm(3), Dropout(0.25)])"


def test_residual_notices_that_its_input_was_changed_in_place():
    layer = Residual([Dense(3, 3), Tanh()])
    x, dy = np.random.default_rng(0).standard_normal((4, 3)), np.ones((4, 3))
    y = layer.forward(x)
    expected = layer.backward(dy, x, y).copy()
    x += 1.0
    layer.forward(x)
    x -= 1.0
    np.testing.assert_allclose(layer.backward(dy, x, y), expected, rtol=1e-12)


@pytest.mark.parametrize("features", [1, 2, 4])
def test_batch_norm_alone_takes_no_other_number_of_features(features):
    with pytest.raises(ValueError, match=rf"BatchNorm\(3\) takes \(samples, 3 features\), .* \(4, {features}\)"):
        BatchNorm(3).forward(np.zeros((4, features)))
