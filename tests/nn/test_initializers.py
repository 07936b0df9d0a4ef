import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlab.nn import ACTIVATIONS, INITIALIZERS, Dense, Network, mlp
from gradlab.nn.initializers import get_initializer, orthogonal

VARIANCES = {
    "normal": lambda n_in, n_out: 1.0,
    "uniform": lambda n_in, n_out: 1.0 / 3.0,  # U(−1, 1)
    "lecun_normal": lambda n_in, n_out: 1.0 / n_in,
    "lecun_uniform": lambda n_in, n_out: 1.0 / n_in,
    "glorot_normal": lambda n_in, n_out: 2.0 / (n_in + n_out),
    "glorot_uniform": lambda n_in, n_out: 2.0 / (n_in + n_out),
    "he_normal": lambda n_in, n_out: 2.0 / n_in,
    "he_uniform": lambda n_in, n_out: 2.0 / n_in,
}
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def draw(name, shape, gain=1.0, seed=0):
    return INITIALIZERS[name](np.random.default_rng(seed), shape, gain)


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("shape", [(400, 100), (100, 400)])
@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_variance_is_what_the_paper_says(name, shape, gain):
    weights = draw(name, shape, gain)
    std = gain * math.sqrt(VARIANCES[name](*shape))
    # Of 40 000 numbers: the mean's standard error is std/200, and a normal's variance has one of √2/200.
    assert abs(weights.mean()) < 4.0 * std / 200.0
    assert weights.var() == pytest.approx(std**2, rel=4.0 * math.sqrt(2.0) / 200.0)


@pytest.mark.parametrize("name", [name for name in VARIANCES if "uniform" in name])
def test_uniform_weights_fill_their_bounds_and_stay_inside(name):
    weights = draw(name, (100, 100), gain=2.0)
    limit = 2.0 * math.sqrt(3.0 * VARIANCES[name](100, 100))
    assert np.abs(weights).max() <= limit
    assert np.abs(weights).max() > 0.99 * limit


@pytest.mark.parametrize("name", [name for name in VARIANCES if "normal" in name])
def test_normal_weights_are_not_truncated(name):
    weights = draw(name, (100, 400))
    std = math.sqrt(VARIANCES[name](100, 400))
    assert np.abs(weights).max() > 3.5 * std
    assert np.mean(np.abs(weights) < std) == pytest.approx(0.6827, abs=0.01)


@pytest.mark.parametrize("name", INITIALIZERS)
@given(shape=shapes, seed=st.integers(0, 2**32 - 1))
def test_the_seed_decides_and_the_gain_scales(name, shape, seed):
    weights = draw(name, shape, seed=seed)
    assert weights.shape == shape
    assert weights.dtype == np.float64
    assert np.array_equal(weights, draw(name, shape, seed=seed))
    np.testing.assert_allclose(draw(name, shape, gain=3.0, seed=seed), 3.0 * weights, rtol=1e-12, atol=1e-14)


@given(shape=shapes, seed=st.integers(0, 2**32 - 1), gain=st.floats(0.1, 10.0))
def test_orthogonal_weights_keep_lengths(shape, seed, gain):
    weights = orthogonal(np.random.default_rng(seed), shape, gain)
    gram = weights.T @ weights if shape[0] >= shape[1] else weights @ weights.T
    np.testing.assert_allclose(gram, gain**2 * np.eye(min(shape)), rtol=0.0, atol=1e-13 * gain**2)


def test_orthogonal_weights_have_no_preferred_sign():
    # QR alone gives R a diagonal of one sign, and the first entry of a 1×1 or 2×2 Q with it.
    rng = np.random.default_rng(0)
    assert {orthogonal(rng, (1, 1)).item() for _ in range(20)} == {-1.0, 1.0}
    firsts = np.array([orthogonal(rng, (2, 2))[0, 0] for _ in range(2000)])
    assert abs(firsts.mean()) < 4.0 * math.sqrt(0.5 / 2000)  # cos of a uniform angle has variance ½


@given(shape=shapes, gain=st.floats(0.1, 10.0))
def test_the_identity_keeps_what_there_is_room_for(shape, gain):
    state = np.random.default_rng(0).standard_normal((1, shape[0]))
    kept = min(shape)
    after = state @ draw("identity", shape, gain)
    np.testing.assert_array_equal(after[:, :kept], gain * state[:, :kept])
    assert not after[:, kept:].any()


def test_zeros_and_constants():
    assert not draw("zeros", (3, 2), gain=5.0).any()
    assert (draw("constant", (3, 2), gain=0.5) == 0.5).all()


def test_a_dense_layer_starts_with_its_initializers_and_biases_have_no_gain():
    layer = Dense(30, 20, "constant", "constant", gain=0.5)
    assert (layer.W == 0.5).all()
    assert (layer.b == 1.0).all()
    assert not Dense(30, 20).b.any()
    assert np.abs(Dense(30, 20).W).max() <= math.sqrt(6.0 / 50.0)  # Glorot's bound


def test_an_initializer_may_be_a_function():
    def identity(rng, shape, gain):
        return gain * np.eye(*shape)

    assert get_initializer(identity) is identity
    network = Network([Dense(3, 4, weight_init=identity, gain=2.0)], seed=[0, 1])
    assert np.array_equal(network.layers[0].W, [2.0 * np.eye(3, 4)] * 2)


@pytest.mark.parametrize("what", ["weight_init", "bias_init"])
def test_an_unknown_name_lists_the_names_and_the_nearest(what):
    with pytest.raises(ValueError, match=rf"{what}: 'he_norml' is not one of zeros, .*; did you mean 'he_normal'\?"):
        Dense(2, 3, **{what: "he_norml"})


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ValueError, match=r"weight_init: 'qqq' is not one of .*orthogonal$"):
        Dense(2, 3, "qqq")


@pytest.mark.parametrize("gain", [0.0, -1.0, math.nan, math.inf, "1"])
def test_an_impossible_gain_is_refused(gain):
    with pytest.raises(ValueError, match=r"Dense: gain: .* is not a finite number above 0"):
        Dense(2, 3, gain=gain)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_mlp_starts_with_what_suits_its_activation(name):
    if name in ("sigmoid", "centred_sigmoid", "tanh", "softsign", "identity"):
        suits = "glorot_uniform"
    else:
        suits = "lecun_normal" if name == "selu" else "he_normal"
    hidden, _, logits = mlp([4, 5, 1], name)
    assert hidden.weight_init is INITIALIZERS[suits]
    assert logits.weight_init is INITIALIZERS["glorot_uniform"]
    assert not hidden.b.any()


def test_an_mlp_starts_with_what_it_is_told():
    layers = [layer for layer in mlp([4, 5, 6, 1], "relu", "orthogonal", gain=3.0) if isinstance(layer, Dense)]
    assert [layer.weight_init for layer in layers] == [orthogonal] * 3
    assert [layer.gain for layer in layers] == [3.0] * 3
