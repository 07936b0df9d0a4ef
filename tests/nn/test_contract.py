"""Every layer goes through the same contract; a new layer joins by one line in the table."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.check import check_gradients
from gradlab.nn import (
    ACTIVATIONS,
    ELU,
    BatchNorm,
    Dense,
    Dropout,
    LeakyReLU,
    Network,
    Recurrent,
    ReLU,
    Residual,
    Sigmoid,
    Softplus,
    Tanh,
)
from gradlab.nn.wiring import walk

# name: (layer factory, n_in)
TABLE = {name: (make, 3) for name, make in ACTIVATIONS.items()} | {
    "leaky_relu(0)": (lambda: LeakyReLU(0.0), 3),
    "leaky_relu(0.3)": (lambda: LeakyReLU(0.3), 3),
    "leaky_relu(1)": (lambda: LeakyReLU(1.0), 3),
    "elu(0)": (lambda: ELU(0.0), 3),
    "elu(1.7)": (lambda: ELU(1.7), 3),
    "dense": (lambda: Dense(3, 5), 3),
    "dense to one": (lambda: Dense(4, 1, "orthogonal", "normal", gain=2.0), 4),
    "batch_norm": (lambda: BatchNorm(3), 3),
    "batch_norm of one": (lambda: BatchNorm(1, momentum=1.0, epsilon=0.1), 1),
    "recurrent": (lambda: Recurrent(2, 4), 6),
    "recurrent of one step": (lambda: Recurrent(3, 2, "centred_sigmoid", bias_init="normal"), 3),
    "recurrent, all states": (lambda: Recurrent(1, 2, "silu", "normal", "identity", gain=0.7, sequence=True), 4),
    "recurrent inside a residual": (lambda: Residual([Recurrent(1, 1, Softplus(), sequence=True), BatchNorm(3)]), 3),
    "dropout": (lambda: Dropout(0.4), 3),
    "dropout(0)": (lambda: Dropout(0.0), 3),
    "residual": (lambda: Residual([Dense(3, 3), Tanh()]), 3),
    "residual of activations": (lambda: Residual([Softplus(), ReLU()]), 3),
    "residual, wider inside": (lambda: Residual([Dense(2, 6), Sigmoid(), Dense(6, 2)]), 2),
    "residual, nested": (
        lambda: Residual(
            [Dense(3, 3), BatchNorm(3), Residual([BatchNorm(3), Tanh(), Dense(3, 3)]), Dropout(0.3), ReLU()]
        ),
        3,
    ),
}
each_layer = pytest.mark.parametrize("make, n_in", TABLE.values(), ids=TABLE.keys())
predicting_and_training = pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])


def samples(n, n_in, seed=0):
    return np.random.default_rng(seed).normal(0.0, 2.0, (n, n_in))


def new(make, training):
    """Make a layer in a mode. Layers of their own all draw with seed 0, so two of them are twins."""
    layer = make()
    for inner in walk([layer]):
        inner.training = training
    return layer


def gradients(layer):
    return [getattr(inner, f"d{name}") for inner in walk([layer]) for name in inner.parameter_shapes()]


def between(make, n_in, **settings):
    """Put the layer between two that learn, so that what it does to its neighbours shows."""
    n_out = make().output_features(n_in)
    network = Network([Dense(2, n_in), make(), Dense(n_out, 2)], **settings)
    state = np.random.default_rng(1).uniform(0.5, 2.0, network.state.shape[-1:])
    network.state[...] = state  # not the statistics that every BatchNorm starts with
    return network


def step(network, x, dy, training):
    """Copy everything that one pass forward and back computes."""
    tape = network.forward(x, training)
    deltas = network.backward(dy, tape)
    return [array.copy() for array in (*tape, *deltas, network.grads, network.state)]


@each_layer
@predicting_and_training
def test_shapes_follow_the_features(make, n_in, training):
    layer = new(make, training)
    x = samples(6, n_in)
    y = layer.forward(x)
    assert y.shape == (6, layer.output_features(n_in))
    assert layer.backward(np.ones_like(y), x, y).shape == x.shape
    for inner in walk([layer]):
        for name, shape in inner.parameter_shapes().items():
            assert getattr(inner, name).shape == getattr(inner, f"d{name}").shape == shape
        for name, shape in inner.state_shapes().items():
            assert getattr(inner, name).shape == shape


@each_layer
@predicting_and_training
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_float_type_is_kept_all_through(make, n_in, training, dtype):
    network = Network([make()], dtype=dtype)
    layer = network.layers[0]
    tape = network.forward(samples(6, n_in), training)
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    kept = [*tape, *deltas, network.params, network.grads, network.state, *gradients(layer)]
    # The network's own arrays could hide a wider result that was cast into them.
    y = layer.forward(tape[0])
    kept += [y, layer.backward(np.ones_like(y), tape[0], y)]
    assert {array.dtype for array in kept} == {np.dtype(dtype)}


@each_layer
@predicting_and_training
def test_every_result_is_a_new_array(make, n_in, training):
    layer = new(make, training)
    x = samples(6, n_in)
    y = layer.forward(x)
    dy = np.ones_like(y)
    dx = layer.backward(dy, x, y)
    assert not any(np.may_share_memory(result, given) for result in (y, dx) for given in (x, dy))
    assert not np.may_share_memory(y, dx)
    before = y.copy(), dx.copy()
    layer.backward(dy, x + 1.0, layer.forward(x + 1.0))
    assert np.array_equal(y, before[0])
    assert np.array_equal(dx, before[1])


@each_layer
@predicting_and_training
def test_integers_have_the_gradients_of_the_floats_they_equal(make, n_in, training):
    a, b = new(make, training), new(make, training)
    x = np.round(samples(6, n_in)).astype(np.int64)
    y = a.forward(x)
    dy = np.round(samples(*y.shape, seed=1)).astype(np.int64)
    dx = a.backward(dy, x, y)
    assert y.dtype == dx.dtype == np.float64

    float_x = x.astype(float)
    float_y = b.forward(float_x)
    assert np.array_equal(y, float_y)
    assert np.array_equal(dx, b.backward(dy.astype(float), float_x, float_y))
    for left, right in zip(gradients(a), gradients(b), strict=True):
        assert np.array_equal(left, right)


@each_layer
@predicting_and_training
def test_backward_writes_its_gradients_and_adds_to_nothing(make, n_in, training):
    network = between(make, n_in)
    tape = network.forward(samples(6, 2), training)
    dy = samples(6, 2, seed=1)
    network.grads[...] = np.nan
    deltas = [delta.copy() for delta in network.backward(dy, tape)]
    once = network.grads.copy()
    assert np.isfinite(once).all()
    again = network.backward(dy, tape)
    assert np.array_equal(network.grads, once)
    assert all(np.array_equal(first, second) for first, second in zip(deltas, again, strict=True))


@each_layer
@predicting_and_training
def test_what_a_layer_is_given_stays_as_it_was(make, n_in, training):
    layer = new(make, training)
    x = samples(6, n_in)
    given_x = x.copy()
    y = layer.forward(x)
    assert np.array_equal(x, given_x)
    dy = samples(*y.shape, seed=1)
    given_y, given_dy = y.copy(), dy.copy()
    layer.backward(dy, x, y)
    assert np.array_equal(x, given_x)
    assert np.array_equal(y, given_y)
    assert np.array_equal(dy, given_dy)


@each_layer
@predicting_and_training
def test_gradients_are_right(make, n_in, training):
    network = between(make, n_in, seed=3)
    network.params += np.random.default_rng(2).normal(0.0, 0.3, network.params.shape)
    result = check_gradients(network, samples(7, 2), training=training)
    assert result, str(result)


@each_layer
@predicting_and_training
def test_a_replica_equals_the_network_alone_to_the_last_bit(make, n_in, training):
    seeds = [5, 0, 7]
    together = between(make, n_in, seed=seeds)
    alone = [between(make, n_in, seed=seed) for seed in seeds]
    x, dy = samples(33, 2), np.random.default_rng(1).standard_normal((3, 33, 2))
    for _ in range(2):  # the second pass draws other masks
        stacked = step(together, x, dy, training)
        for r, network in enumerate(alone):
            single = step(network, x, dy[r], training)
            assert all(np.array_equal(a[r], b) for a, b in zip(stacked, single, strict=True))


@each_layer
@given(n=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_predicting_treats_each_sample_alone(make, n_in, n, seed):
    layer = make()
    x = samples(n, n_in, seed)
    y = layer.forward(x)
    dy = samples(*y.shape, seed=1)
    dx = layer.backward(dy, x, y)
    i = seed % n
    row = slice(i, i + 1)
    # BLAS may order the sums of a product differently for one row.
    np.testing.assert_allclose(layer.forward(x[row]), y[row], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward(dy[row], x[row], y[row]), dx[row], rtol=1e-12, atol=1e-12)


@each_layer
@predicting_and_training
@given(n=st.integers(1, 12), replicas=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_any_number_of_samples_and_replicas_fits(make, n_in, training, n, replicas, seed):
    network = between(make, n_in, seed=range(replicas))
    tape = network.forward(samples(n, 2, seed), training)
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    assert [x.shape for x in tape] == [delta.shape for delta in deltas]
    assert {x.shape[:-1] for x in tape} == {(replicas, n)}
    assert all(np.isfinite(array).all() for array in (*tape, *deltas, network.grads))


@each_layer
@predicting_and_training
@pytest.mark.parametrize("seed", [0, [0, 4]], ids=["alone", "replicas"])
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))], ids=["deepcopy", "pickle"]
)
def test_a_copy_goes_on_as_the_original_would(make, n_in, training, seed, copied):
    network = between(make, n_in, seed=seed)
    x, dy = samples(6, 2), np.ones((*network.replicas, 6, 2))
    step(network, x, dy, training)
    twin = copied(network)
    for ours, theirs in zip(step(network, x, dy, training), step(twin, x, dy, training), strict=True):
        assert np.array_equal(ours, theirs)

    for flat, prefix in ((twin.params, ""), (twin.grads, "d")):
        flat[...] = np.arange(flat.size).reshape(flat.shape)
        for p in twin.parameters:
            view = getattr(p.layer, prefix + p.attribute)
            assert np.shares_memory(view, flat)
            assert np.array_equal(view.ravel(), flat[..., p.where].ravel())
    assert not np.shares_memory(twin.params, network.params)
