import copy
import gc
import itertools
import pickle
import weakref

import numpy as np
import pytest

from gradlab.nn import (
    ACTIVATIONS,
    SGD,
    Activation,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    Network,
    Recurrent,
    ReLU,
    Residual,
    RMSProp,
    SoftmaxCrossEntropy,
    Softsign,
    SquaredError,
    Tanh,
    initializers,
    mlp,
)
from gradlab.nn.backpropagation import backward, forward
from gradlab.training import train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((13, 3))
Y = (X[:, :1] * X[:, 1:2] > 0).astype(float)
SEEDS = (0, 3, 12345)
REMEDIES = {
    "plain": {},
    "batch_norm": {"batch_norm": True},
    "dropout": {"dropout": 0.3},
    "residual": {"residual": True},
    "all": {"batch_norm": True, "dropout": 0.3, "residual": True},
}


def make(seed=0, widths=(3, 5, 5, 1), activation="tanh", dtype=np.float64, **options):
    return Network(mlp(widths, activation, **options), seed=seed, dtype=dtype)


def fitted(network, optimizer, epochs=3, batch_size=4):
    for _ in train(network, BinaryCrossEntropy(), optimizer, X, Y, epochs=epochs, batch_size=batch_size):
        pass
    return network


# The flat vector


def test_writing_to_params_changes_the_layers_and_back():
    network = make()
    network.params[:] = np.arange(network.params.size)
    first = network.layers[0]
    assert first.W.tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12, 13, 14]]
    assert first.b.tolist() == [[15, 16, 17, 18, 19]]
    first.W[0, 1] = -1.0
    assert network.params[1] == -1.0


def test_writing_to_grads_changes_the_layers_and_back():
    network = make(seed=SEEDS)
    network.grads[1] = np.arange(network.grads.shape[-1])
    assert network.layers[0].dW[1, 2].tolist() == [10, 11, 12, 13, 14]
    network.layers[0].db[2, 0, 0] = -1.0
    assert network.grads[2, 15] == -1.0


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_parameters_tell_where_everything_stands(seed):
    network = Network([Dense(3, 4), Residual([BatchNorm(4), Tanh(), Dense(4, 4)]), Dense(4, 1)], seed=seed)
    assert [(p.name, p.shape) for p in network.parameters] == [
        ("0.W", (3, 4)),
        ("0.b", (1, 4)),
        ("1.0.gamma", (1, 4)),
        ("1.0.beta", (1, 4)),
        ("1.2.W", (4, 4)),
        ("1.2.b", (1, 4)),
        ("2.W", (4, 1)),
        ("2.b", (1, 1)),
    ]
    assert network.parameters[0].where.start == 0
    assert network.parameters[-1].where.stop == network.params.shape[-1]
    assert all(a.where.stop == b.where.start for a, b in itertools.pairwise(network.parameters))
    for p in network.parameters:
        own = getattr(p.layer, p.attribute)
        assert own.shape == network.replicas + p.shape
        assert np.shares_memory(own, network.params)
        np.testing.assert_array_equal(own.reshape(*network.replicas, -1), network.params[..., p.where])


def test_weight_mask_is_one_at_weights_only():
    network = make(batch_norm=True)
    names = {p.name.split(".")[-1]: network.weight_mask[p.where] for p in network.parameters}
    assert {name: set(mask.tolist()) for name, mask in names.items()} == {
        "W": {1.0},
        "b": {0.0},
        "gamma": {0.0},
        "beta": {0.0},
    }
    assert network.weight_mask.shape == (network.params.size,)


def test_state_holds_the_running_statistics():
    network = make(batch_norm=True)
    network.forward(X, training=True)
    norm = network.layers[1]
    assert np.shares_memory(norm.running_mean, network.state)
    np.testing.assert_array_equal(network.state[:5], norm.running_mean[0])
    assert np.any(network.state[:5])


# Seeds and replicas


def test_seed_zero_is_a_seed():
    np.testing.assert_array_equal(make(seed=0).params, make(seed=0).params)
    assert not np.array_equal(make(seed=0).params, make(seed=1).params)


@pytest.mark.parametrize("seed", [-1, 1.5, True, None, "0", [0, -1]])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="seed: "):
        make(seed=seed)


def test_no_seeds_are_refused():
    with pytest.raises(ValueError, match="seed: an empty sequence"):
        make(seed=[])


@pytest.mark.parametrize("options", REMEDIES.values(), ids=REMEDIES)
@pytest.mark.parametrize("widths", [(3, 5, 5, 1), (3, 1, 1, 1), (3, 32, 32, 4)], ids=str)
def test_replica_passes_are_bit_identical_to_the_network_alone(widths, options):
    together = make(SEEDS, widths, **options)
    tape = [x.copy() for x in together.forward(X, training=True)]
    dlogits = np.random.default_rng(1).standard_normal(tape[-1].shape)
    deltas = together.backward(dlogits, together.forward(X, training=True))
    for r, seed in enumerate(SEEDS):
        alone = make(seed, widths, **options)
        np.testing.assert_array_equal(together.params[r], alone.params)
        for ours, theirs in zip(tape, alone.forward(X, training=True), strict=True):
            np.testing.assert_array_equal(ours[r], theirs)
        own_deltas = alone.backward(dlogits[r], alone.forward(X, training=True))
        for ours, theirs in zip(deltas, own_deltas, strict=True):
            np.testing.assert_array_equal(ours[r], theirs)
        np.testing.assert_array_equal(together.grads[r], alone.grads)
        np.testing.assert_array_equal(together.state[r], alone.state)
        np.testing.assert_array_equal(together.predict_proba(X)[r], alone.predict_proba(X))


@pytest.mark.parametrize("options", REMEDIES.values(), ids=REMEDIES)
@pytest.mark.parametrize(
    "optimizer",
    [SGD, lambda: SGD(0.1, 0.9), lambda: SGD(0.1, 0.9, nesterov=True), RMSProp, Adam, AdamW],
    ids=["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"],
)
def test_replica_trains_bit_identically_to_the_network_alone(optimizer, options):
    together = fitted(make(SEEDS, **options), optimizer())  # 13 rows in batches of 4: the last has one row
    for r, seed in enumerate(SEEDS):
        alone = fitted(make(seed, **options), optimizer())
        np.testing.assert_array_equal(together.params[r], alone.params)
        np.testing.assert_array_equal(together.state[r], alone.state)


def test_replica_does_not_depend_on_its_neighbours():
    options = REMEDIES["all"]
    few, many = fitted(make([7, 8], **options), Adam()), fitted(make([5, 6, 7, 8, 9], **options), Adam())
    np.testing.assert_array_equal(few.params, many.params[2:4])


# One pass


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_tape_and_deltas_hold_one_array_a_layer(seed):
    network = make(seed)
    tape = network.forward(X)
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    assert [x.shape for x in tape] == [(*network.replicas, 13, d) for d in (3, 5, 5, 5, 5, 1)]
    assert [d.shape for d in deltas] == [x.shape for x in tape]
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations([*tape, *deltas], 2))


@pytest.mark.parametrize("options", REMEDIES.values(), ids=REMEDIES)
@pytest.mark.parametrize("training", [False, True])
def test_every_pass_has_arrays_of_its_own(training, options):
    network = make(**options)
    tape = network.forward(X, training)
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    kept = [a.copy() for a in [*tape, *deltas]]
    other = network.forward(X + 1.0, training)
    other_deltas = network.backward(np.full_like(tape[-1], 2.0), other)
    network.forward(X + 2.0, not training)
    assert not any(
        np.shares_memory(a, b) for a, b in itertools.product([*tape[1:], *deltas], [*other[1:], *other_deltas])
    )
    for before, now in zip(kept, [*tape, *deltas], strict=True):
        np.testing.assert_array_equal(before, now)


def test_a_pass_that_an_error_ended_leaves_nothing_behind(monkeypatch):
    network = Network(mlp([3, 4, 4, 1], "tanh"))
    tape = network.forward(X)
    with monkeypatch.context() as patch:
        patch.setattr(Tanh, "derivative", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            network.backward(np.ones((13, 1)), tape)
    network.backward(np.ones((13, 1)), tape)
    plain = copy.deepcopy(network)
    backward(plain.layers, np.ones((13, 1)), forward(plain.layers, X))
    np.testing.assert_array_equal(network.grads, plain.grads)


@pytest.mark.parametrize("first", [Identity(), ReLU(), Dropout(0.5), Residual([Identity()])], ids=repr)
@pytest.mark.parametrize("training", [False, True])
def test_first_layer_never_aliases_the_users_x(first, training):
    network = Network([first, Dense(3, 1)])
    x = np.abs(X)
    kept = x.copy()
    for _ in range(2):
        tape = network.forward(x, training)
        network.backward(np.ones_like(tape[-1]), tape)
        assert not any(np.shares_memory(x, y) for y in tape[1:])
    np.testing.assert_array_equal(x, kept)


def test_backward_writes_gradients_and_does_not_add():
    network = make()
    tape = network.forward(X)
    network.backward(np.ones_like(tape[-1]), tape)
    once = network.grads.copy()
    network.backward(np.ones_like(tape[-1]), tape)
    np.testing.assert_array_equal(network.grads, once)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("x", [[[1, 2, 3]], np.array([[1, 2, 3]]), np.array([[True, False, True]])], ids=repr)
def test_input_becomes_the_networks_float_type(x, dtype):
    network = make(dtype=dtype, batch_norm=True, residual=True, dropout=0.1)
    tape = network.forward(x, training=True)
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    assert {a.dtype for a in [*tape, *deltas, network.params, network.grads]} == {np.dtype(dtype)}
    assert network.predict_proba(x).dtype == dtype


def test_no_other_float_type_is_taken():
    with pytest.raises(ValueError, match="dtype: float16 is not one of float64, float32"):
        make(dtype=np.float16)


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("x", [np.zeros(3), 1.0, np.zeros((2, 5, 3)), np.zeros((3, 3, 5, 3))], ids=np.shape)
def test_x_with_wrong_axes_is_refused(seed, x):
    network = make(seed)
    for call in (network.forward, network.decision_function, network.predict_proba):
        with pytest.raises(ValueError, match=r"x: an array of shape \(.*\) is not \(samples, features\)"):
            call(x)


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_x_with_wrong_features_is_refused(seed):
    with pytest.raises(ValueError, match=r"layers\[0\]: Dense\(3, 5\) takes 3 features, but x, of shape .*, gives 2"):
        make(seed).forward(X[:, :2])


def test_replicas_may_have_samples_of_their_own():
    x = np.random.default_rng(2).standard_normal((3, 13, 3))
    logits = make(SEEDS).forward(x)[-1]
    for r, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(logits[r], make(seed).forward(x[r])[-1])


def test_dlogits_that_do_not_fit_are_refused():
    network = make()
    tape = network.forward(X)
    with pytest.raises(ValueError, match=r"dlogits of shape \(13,\) do not fit logits of shape \(13, 1\)"):
        network.backward(np.ones(13), tape)


# Layers


@pytest.mark.parametrize(
    "layers, message",
    [
        (
            [Dense(2, 3), Tanh(), Dense(4, 1)],
            r"layers\[2\]: Dense\(4, 1\) takes 4 features, but layers\[0\], Dense\(2, 3\), gives 3",
        ),
        (
            [Dense(2, 3), BatchNorm(2)],
            r"layers\[1\]: BatchNorm\(2\) takes 2 .* layers\[0\], Dense\(2, 3\), gives 3",
        ),
        (
            [BatchNorm(2), Residual([Dense(3, 3)])],
            r"Residual\(\[Dense\(3, 3\)\]\) takes 3 .* BatchNorm\(2\), gives 2",
        ),
        ([], "layers: a network needs at least one"),
        ([Dense(2, 3), "relu"], r"layers\[1\]: 'relu' is not a Layer"),
        ([Tanh], r"layers\[0\]: .*Tanh.* is not a Layer"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        Network(layers)


@pytest.mark.parametrize("layer", [Dense(3, 3), BatchNorm(3), Dropout(0.5), Residual([Dense(3, 3)])], ids=repr)
@pytest.mark.parametrize(
    "arrange",
    [
        lambda a: [a, Tanh(), a],
        lambda a: [Residual([a, Tanh(), a])],
        lambda a: [a, Residual([a])],
        lambda a: [Residual([a]), Residual([a])],
    ],
    ids=["in a row", "in one residual", "outside and inside", "in two residuals"],
)
def test_layer_in_two_places_is_refused(arrange, layer):
    with pytest.raises(ValueError, match="stands in two places; each needs a layer of its own"):
        Network(arrange(layer))


def test_activation_may_stand_in_two_places():
    tanh = Tanh()
    network = Network([Dense(3, 3), tanh, Residual([Dense(3, 3), tanh])])
    tape = network.forward(X)
    np.testing.assert_array_equal(tape[2], np.tanh(tape[1]))


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: Residual([layer])], ids=["bare", "residual"])
def test_layer_of_another_network_is_copied(wrap):
    dense = Dense(3, 3)
    first = Network([dense], seed=1)
    kept = first.params.copy()
    second = Network([wrap(dense)], seed=2)
    second.params[:] = 0.0
    assert first.layers[0] is dense
    assert np.shares_memory(dense.W, first.params)
    np.testing.assert_array_equal(first.params, kept)


# Predictions


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("n", [255, 256, 257, 1000])
def test_many_rows_are_predicted_as_few_are(n, outputs, seed):
    network = make(seed, (3, 8, outputs), batch_norm=True, dropout=0.5)
    x = np.random.default_rng(3).standard_normal((n, 3))
    for method in (network.decision_function, network.predict_proba):
        parts = np.concatenate([method(x[i : i + 100]) for i in range(0, n, 100)], axis=-2)
        np.testing.assert_allclose(method(x), parts, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("n", [5, 500])
def test_predictions_are_new_arrays(n):
    network = make()
    x = np.zeros((n, 3))
    for method in (network.decision_function, network.predict_proba):
        first = method(x)
        kept = first.copy()
        method(x + 1.0)
        np.testing.assert_array_equal(first, kept)


def test_probabilities_are_sigmoid_or_softmax():
    one, three = make(), make(widths=(3, 4, 3))
    np.testing.assert_allclose(one.predict_proba(X), 1.0 / (1.0 + np.exp(-one.decision_function(X))), rtol=1e-14)
    e = np.exp(three.decision_function(X))
    np.testing.assert_allclose(three.predict_proba(X), e / e.sum(axis=-1, keepdims=True), rtol=1e-14)


def test_predicting_between_steps_changes_no_training():
    quiet, watched = make(**REMEDIES["all"]), make(**REMEDIES["all"])
    fitted(quiet, Adam())
    for step in train(watched, BinaryCrossEntropy(), Adam(), X, Y, epochs=3, batch_size=4):
        step.network.predict_proba(X)
    np.testing.assert_array_equal(quiet.params, watched.params)
    np.testing.assert_array_equal(quiet.state, watched.state)


# Copies


COPIES = {"pickle": lambda network: pickle.loads(pickle.dumps(network)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_copy_trains_on_as_the_original_does(duplicate, seed):
    network = fitted(make(seed, **REMEDIES["all"]), SGD(0.1))
    twin = duplicate(network)
    assert not np.shares_memory(twin.params, network.params)
    assert all(np.shares_memory(getattr(p.layer, p.attribute), twin.params) for p in twin.parameters)
    assert all(np.shares_memory(getattr(p.layer, f"d{p.attribute}"), twin.grads) for p in twin.parameters)
    np.testing.assert_array_equal(twin.predict_proba(X), network.predict_proba(X))
    fitted(network, SGD(0.1))
    fitted(twin, SGD(0.1))
    np.testing.assert_array_equal(twin.params, network.params)
    np.testing.assert_array_equal(twin.state, network.state)


def test_replica_is_taken_out_as_a_network():
    network = fitted(make(SEEDS, batch_norm=True), SGD(0.1))
    kept = network.params.copy()
    one = network.replica(1)
    assert (one.seeds, one.replicas) == ((3,), ())
    np.testing.assert_array_equal(one.params, network.params[1])
    np.testing.assert_array_equal(one.state, network.state[1])
    np.testing.assert_array_equal(one.predict_proba(X), network.predict_proba(X)[1])
    one.params[:] = 0.0
    np.testing.assert_array_equal(network.params, kept)


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_astype_copies_in_the_other_width(seed):
    network = fitted(make(seed, batch_norm=True), SGD(0.1))
    single = network.astype(np.float32)
    assert single.seeds == network.seeds
    assert single.predict_proba(X).dtype == np.float32
    np.testing.assert_array_equal(single.params, network.params.astype(np.float32))
    np.testing.assert_allclose(single.predict_proba(X), network.predict_proba(X), rtol=1e-4)
    assert not np.shares_memory(network.astype(np.float64).params, network.params)


def test_repr_tells_layers_size_and_replicas():
    assert repr(Network(mlp([2, 3, 1]))) == "Network([Dense(2, 3), Sigmoid(), Dense(3, 1)]): 13 parameters"
    assert repr(Network([Dense(2, 1)], seed=[0, 1])) == "Network([Dense(2, 1)]): 3 parameters × 2 replicas"


# The multilayer perceptron


def test_mlp_without_hidden_layers_is_one_dense():
    assert repr(mlp([2, 1])) == "[Dense(2, 1)]"


def test_mlp_takes_one_activation_a_layer_by_name_or_as_an_object():
    assert repr(mlp([2, 3, 4, 1], ["relu", Tanh()])) == ("[Dense(2, 3), ReLU(), Dense(3, 4), Tanh(), Dense(4, 1)]")


def test_mlp_puts_the_remedies_in_order():
    layers = mlp([2, 4, 4, 1], "relu", batch_norm=True, dropout=0.5, residual=True)
    assert repr(layers) == (
        "[Dense(2, 4), BatchNorm(4), ReLU(), Dropout(0.5), "
        "Residual([Dense(4, 4), BatchNorm(4), ReLU(), Dropout(0.5)]), Dense(4, 1)]"
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_suits_the_first_weights_to_the_activation(activation):
    he, lecun = initializers.he_normal, initializers.lecun_normal
    expected = dict.fromkeys(("relu", "leaky_relu", "elu", "gelu", "silu", "softplus"), he) | {"selu": lecun}
    hidden, _, output = mlp([2, 3, 1], activation)
    assert hidden.weight_init is expected.get(activation, initializers.glorot_uniform)
    assert output.weight_init is initializers.glorot_uniform


def test_mlp_passes_initializers_and_gain_on():
    hidden, _, output = mlp([2, 3, 1], "relu", "orthogonal", gain=1.5, bias_init="normal")
    for layer in (hidden, output):
        assert layer.weight_init is initializers.orthogonal
        assert layer.bias_init is initializers.normal
        assert layer.gain == 1.5


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (([2],), {}, r"widths: \[2\] needs at least two entries"),
        (([2, 0, 1],), {}, r"widths\[1\]: 0 is not a whole number of at least 1"),
        (([2, 3.0, 1],), {}, r"widths\[1\]: 3.0 is not a whole number"),
        (([2, 3, 1], "sigmod"), {}, "activation: 'sigmod' is not one of .*; did you mean 'sigmoid'"),
        (([2, 3, 1], ["relu", "relu"]), {}, "activation: 2 of them for 1 hidden layers"),
        (([2, 3, 1], "relu", "hee"), {}, "weight_init: 'hee' is not one of"),
        (([2, 3, 1],), {"bias_init": "zero"}, "bias_init: 'zero' is not one of .*; did you mean 'zeros'"),
        (([2, 3, 1],), {"gain": 0.0}, "gain: 0.0 is not a finite number above 0"),
        (([2, 3, 1],), {"dropout": -0.1}, "dropout: -0.1"),
        (([2, 3, 1],), {"dropout": 1.0}, "rate: 1 would zero everything"),
    ],
)
def test_mlp_refuses_and_names_what_does_not_fit(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mlp(*arguments, **options)


# All together


@pytest.mark.parametrize(
    "loss, outputs",
    [
        (BinaryCrossEntropy(), 1),
        (SoftmaxCrossEntropy(), 3),
        (SquaredError(), 2),
        (SquaredError(on="sigmoid"), 2),
    ],
    ids=repr,
)
@pytest.mark.parametrize("options", [{}, {"batch_norm": True}, {"residual": True}], ids=str)
def test_gradient_of_the_loss_by_central_differences(loss, outputs, options):
    network = make(widths=(3, 4, 4, outputs), **options)
    targets = np.eye(outputs)[np.arange(13) % outputs] if outputs > 1 else Y
    weights = np.linspace(0.5, 2.0, 13)

    def value():
        return loss.value(network.forward(X, training=True)[-1], targets, weights)

    tape = network.forward(X, training=True)
    network.backward(loss.gradient(tape[-1], targets, weights), tape)
    numeric = np.empty_like(network.params)
    h = 1e-5
    for i, p in enumerate(network.params.copy()):
        network.params[i] = p + h
        above = value()
        network.params[i] = p - h
        numeric[i] = (above - value()) / (2.0 * h)
        network.params[i] = p
    # truncation h²·L'''/6 ≈ 1e-10, rounding eps/h ≈ 2e-11
    np.testing.assert_allclose(network.grads, numeric, rtol=1e-7, atol=1e-9)


def test_a_prediction_in_between_does_not_change_the_gradients():
    network = Network(mlp([3, 4, 1], "tanh", batch_norm=True, dropout=0.5))
    x, dlogits = np.random.default_rng(0).standard_normal((6, 3)), np.ones((6, 1))
    tape = network.forward(x, training=True)
    network.backward(dlogits, tape)
    expected = network.grads.copy()
    network.predict_proba(x)
    network.backward(dlogits, tape)
    np.testing.assert_array_equal(network.grads, expected)


def test_a_network_that_is_given_up_is_given_back_at_once():
    network = Network(mlp([3, 4, 1]))
    tape = network.forward(np.ones((2, 3)), training=True)
    network.backward(np.ones((2, 1)), tape)
    kept = weakref.ref(tape[1])
    gc.disable()
    try:
        del network, tape
        assert kept() is None  # no circle of references waits for the garbage collector
    finally:
        gc.enable()


def in_rows(*activations):
    """Layers in which each sequence of activations follows a Dense of another width."""
    widths = [3, 5, 4, 6, 2]
    hidden = zip(itertools.pairwise(widths), activations, strict=False)
    return [layer for (n_in, n_out), row in hidden for layer in (Dense(n_in, n_out), *row)] + [
        Dense(widths[len(activations)], 2)
    ]


MIXED = {
    "equal": lambda: in_rows([Tanh()], [Tanh()], [Tanh()]),
    "two kinds": lambda: in_rows([Tanh()], [ReLU()], [Tanh()]),
    "two settings": lambda: in_rows([LeakyReLU(0.1)], [LeakyReLU(0.2)], [LeakyReLU(0.1)]),
    "two in a row": lambda: in_rows([Softsign(), Softsign()], [Softsign()], [ReLU(), Softsign()]),
    "one object": lambda: in_rows([shared := Tanh()], [shared], [shared]),
    "first": lambda: [Tanh(), *in_rows([Tanh()])],
}


@pytest.mark.parametrize("layers", MIXED.values(), ids=MIXED)
def test_replicas_of_mixed_activations_equal_the_networks_alone(layers):
    together, alone = Network(layers(), seed=SEEDS), [Network(layers(), seed=seed) for seed in SEEDS]
    dlogits = np.ones((13, 2))
    for _ in range(2):
        deltas = together.backward(np.broadcast_to(dlogits, (3, 13, 2)), together.forward(X))
        for r, network in enumerate(alone):
            for one, other in zip(deltas, network.backward(dlogits, network.forward(X)), strict=True):
                np.testing.assert_array_equal(one[r], other)
            np.testing.assert_array_equal(together.grads[r], network.grads)


# What is changed holds from the next pass on


@pytest.mark.parametrize("shared", [False, True], ids=["one", "two equal"])
def test_a_changed_setting_holds_from_the_next_pass_on(shared):
    layers = [Dense(3, 4), LeakyReLU(0.1), Dense(4, 4), LeakyReLU(0.1 if shared else 0.3), Dense(4, 1)]
    network = Network(layers)
    for slope in (0.1, 0.5, 0, 1):
        layers[1].slope = slope
        tape = network.forward(X)
        np.testing.assert_allclose(tape[2], np.where(tape[1] > 0, tape[1], slope * tape[1]), atol=1e-15)
        deltas = network.backward(np.ones((13, 1)), tape)
        np.testing.assert_allclose(deltas[1], deltas[2] * np.where(tape[1] > 0, 1.0, slope), atol=1e-15)


def test_two_activations_set_to_whole_numbers_are_not_taken_for_one():
    layers = [Dense(3, 4), LeakyReLU(0.1), Dense(4, 4), LeakyReLU(0.1), Dense(4, 1)]
    layers[1].slope, layers[3].slope = 0, 1
    network = Network(layers)
    tape = network.forward(X)
    deltas = network.backward(np.ones((13, 1)), tape)
    np.testing.assert_array_equal(deltas[1], deltas[2] * (tape[1] > 0))
    np.testing.assert_array_equal(deltas[3], deltas[4])


def on_the_class(monkeypatch, layer, name, method):
    monkeypatch.setattr(type(layer), name, method)


def on_the_instance(monkeypatch, layer, name, method):
    monkeypatch.setattr(layer, name, method.__get__(layer))


def in_a_subclass(monkeypatch, layer, name, method):
    monkeypatch.setattr(layer, "__class__", type("Own", (type(layer),), {name: method}))


@pytest.mark.parametrize("place", [on_the_class, on_the_instance, in_a_subclass])
@pytest.mark.parametrize("inside", [False, True], ids=["bare", "in a residual"])
def test_a_replaced_method_is_called_from_the_next_step_on(place, inside, monkeypatch):
    """What is read is what runs: none of the methods is stood for by anything else."""
    dense, bent = Dense(3, 3), Tanh()
    network = Network([Residual([dense, bent]) if inside else dense, *([] if inside else [bent]), Dense(3, 1)])
    steps = train(network, BinaryCrossEntropy(), SGD(0.1), X, Y, epochs=9, batch_size=13)
    next(steps)

    def no_forward(self, x):
        return np.zeros_like(x)

    def no_gradient(self, dy, x, y):
        self.dW[...] = self.db[...] = 7.0
        return np.zeros_like(x)

    place(monkeypatch, dense, "backward", no_gradient)
    step = next(steps)
    assert (dense.dW == 7.0).all()
    assert (dense.db == 7.0).all()
    if not inside:
        assert not step.deltas[0].any()
    place(monkeypatch, bent, "derivative", lambda self, x, y: np.zeros_like(x))
    step = next(steps)
    np.testing.assert_array_equal(step.deltas[0 if inside else 1], step.deltas[1] if inside else 0.0)
    place(monkeypatch, bent, "forward", no_forward)
    step = next(steps)
    np.testing.assert_array_equal(step.tape[1 if inside else 2], step.tape[0] if inside else 0.0)


class Scaled(Layer):
    """y = s·x: the smallest layer of one's own that learns."""

    def parameter_shapes(self):
        return {"s": (1, 1)}

    def forward(self, x):
        return self.s * x

    def backward(self, dy, x, y):
        self.ds[...] = np.sum(dy * x, axis=(-2, -1), keepdims=True)
        return self.s * dy


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: Residual([Residual([layer])])], ids=["bare", "in"])
@pytest.mark.parametrize(
    "make_layer",
    [lambda: Dense(3, 3), lambda: BatchNorm(3), lambda: Recurrent(1, 1, sequence=True), Scaled],
    ids=["dense", "batch_norm", "recurrent", "own"],
)
def test_what_is_assigned_to_a_parameter_is_written_into_the_networks_vector(make_layer, wrap, seed):
    layer = make_layer()
    network = Network([Dense(3, 3), wrap(layer), Dense(3, 1)], seed=seed)
    network.forward(X)
    learned = [p for p in network.parameters if p.layer is layer]
    kept = [p for p in network.states if p.layer is layer]
    assert learned
    for i, p in enumerate([*learned, *kept]):
        vector = network.params if p in learned else network.state
        setattr(layer, p.attribute, np.full(p.shape, 2.0 + i))  # replicas share it
        np.testing.assert_array_equal(vector[..., p.where], 2.0 + i)
        assert np.shares_memory(getattr(layer, p.attribute), vector)
        setattr(layer, p.attribute, 0.5)
        np.testing.assert_array_equal(vector[..., p.where], 0.5)
        with pytest.raises(ValueError, match="broadcast"):
            setattr(layer, p.attribute, np.ones((7, 7)))
    for _ in train(network, BinaryCrossEntropy(), SGD(0.1), X, Y, epochs=1, batch_size=13):
        for p in learned:  # the step took place there
            stepped = 0.5 - 0.1 * network.grads[..., p.where]
            np.testing.assert_allclose(getattr(layer, p.attribute).reshape(stepped.shape), stepped)


def test_an_activation_that_is_registered_is_called_at_every_pass(monkeypatch):
    class Bent(Activation):
        def forward(self, x):
            return np.where(x > 0, x, 0.1 * x)

        def derivative(self, x, y):
            return np.where(x > 0, 1.0, 0.1)

    monkeypatch.setitem(ACTIVATIONS, "bent", Bent)
    network = Network(mlp([3, 4, 4, 1], "bent"))
    for x in (X, -X):
        tape = network.forward(x)
        np.testing.assert_array_equal(tape[2], np.where(tape[1] > 0, tape[1], 0.1 * tape[1]))


def test_a_dense_with_more_parameters_than_two():
    class Gained(Dense):
        def parameter_shapes(self):
            return {**super().parameter_shapes(), "g": (1, self.n_out)}

        def initialize(self, rng):
            super().initialize(rng)
            self.g[...] = 1.0

        def forward(self, x):
            return super().forward(x) * self.g

        def backward(self, dy, x, y):
            self.dg[...] = (dy * super().forward(x)).sum(axis=-2, keepdims=True)
            return super().backward(dy * self.g, x, y)

    network = Network([Gained(3, 4), Tanh(), Gained(4, 1)])
    for x in (X, -X):
        tape = network.forward(x)
        network.backward(np.ones((13, 1)), tape)
        np.testing.assert_allclose(network.layers[2].dg, (tape[2] @ network.layers[2].W).sum(axis=0, keepdims=True))


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_layer_copied_out_of_a_network_is_on_its_own(duplicate):
    network = Network([Dense(3, 3), Residual([Dense(3, 3)])])
    network.forward(X)
    copied = duplicate(network.layers[1])
    copied.layers[0].W[...] = 0.0
    copied.layers[0].b[...] = 0.0
    np.testing.assert_array_equal(copied.forward(X), X)
    copied.backward(np.ones_like(X), X, X)
    np.testing.assert_allclose(copied.layers[0].db, [[13.0] * 3])
    assert abs(network.layers[1].layers[0].W).max() > 0.0


def test_predicting_between_a_residuals_passes_changes_nothing():
    def make_one():
        return Network([Dense(3, 4), Residual([BatchNorm(4), Dropout(0.5), Dense(4, 4)]), Dense(4, 1)])

    ours, alone = make_one(), make_one()
    for _ in range(3):
        tapes = [network.forward(X, training=True) for network in (ours, alone)]
        ours.predict_proba(X)
        ours.predict_proba(-X)
        for network, tape in zip((ours, alone), tapes, strict=True):
            network.backward(np.ones((13, 1)), tape)
            network.params -= 0.1 * network.grads
    np.testing.assert_array_equal(ours.params, alone.params)
    np.testing.assert_array_equal(ours.state, alone.state)
