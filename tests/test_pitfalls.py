"""The mistakes that from-scratch trainers are known to make, one test each; the number is the row in their list."""

import math
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from gradlab import MLPClassifier
from gradlab.check import check_gradients
from gradlab.flow import FlowRecorder, chi, critical_gain, mean_field
from gradlab.nn import (
    ACTIVATIONS,
    SGD,
    Activation,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    Network,
    ReLU,
    Residual,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    initializers,
    mlp,
)
from gradlab.training import DivergenceError, best_weights, early_stopping, train

BCE = BinaryCrossEntropy()
X = np.random.default_rng(0).standard_normal((10, 2))
Y = (X[:, :1] > 0).astype(float)


def make(**options):
    return Network(mlp([2, 4, 1], "tanh", **options))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_01_activations_overflow_nowhere(name, dtype):
    """exp overflows, also on the branch that is then not taken."""
    x = np.array([[-1e4, -745.0, -104.0, -37.0, 0.0, 37.0, 89.0, 745.0, 1e4]], dtype)
    activation = ACTIVATIONS[name]()
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        y = activation.forward(x)
        dx = activation.backward(np.ones_like(x), x, y)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_02_sigmoid_is_not_clipped():
    """A clipped sigmoid floors its slope, and the gradient seems not to vanish."""
    x = np.array([[-700.0, -30.0]])
    y = Sigmoid().forward(x)
    assert y == pytest.approx(np.exp(x), rel=1e-12)
    assert Sigmoid().backward(np.ones_like(x), x, y) == pytest.approx(np.exp(x), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_03_loss_of_a_sure_right_answer_is_not_nan(dtype):
    """An epsilon inside the logarithm vanishes in float32, and 0·log 0 is nan."""
    logits = np.array([[200.0], [-200.0]], dtype)
    assert BCE.value(logits, np.array([[1.0], [0.0]], dtype)) == np.exp(dtype(-200.0))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_04_loss_of_a_sure_wrong_answer_is_not_clipped(dtype):
    """A clipped logarithm says 36 where the loss is 50."""
    assert BCE.value(np.array([[50.0]], dtype), np.zeros((1, 1), dtype)) == 50.0


def test_05_gradient_of_a_sure_wrong_answer_does_not_vanish():
    """The loss's slope times σ', computed apart, is 0 where the truth is 1."""
    assert BCE.gradient(np.array([[40.0]]), np.zeros((1, 1))) == 1.0


@pytest.mark.parametrize("loss", [BCE, SquaredError(), SoftmaxCrossEntropy()], ids=repr)
def test_06_gradient_is_a_mean_over_the_batch(loss):
    """A summed gradient makes the learning rate scale with the batch."""
    network = make()
    grads = []
    for x, y in ((X, Y), (np.tile(X, (7, 1)), np.tile(Y, (7, 1)))):
        tape = network.forward(x)
        network.backward(loss.gradient(tape[-1], y), tape)
        grads.append(network.grads.copy())
    np.testing.assert_allclose(grads[1], grads[0], rtol=0, atol=1e-15)


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 11.0)], ids=["plain", "weighted"])
def test_07_epoch_loss_weighs_the_short_batch(weights):
    """The mean of the batches' losses counts a short last batch too much."""
    network = make()
    expected = BCE.value(network.decision_function(X), Y, weights)
    steps = train(network, BCE, SGD(1e-300), X, Y, epochs=1, batch_size=4, weights=weights)  # as good as standing still
    losses = [(step.loss, step.running_loss) for step in steps]
    assert losses[-1][1] == pytest.approx(expected, rel=1e-14)
    assert np.mean([loss for loss, _ in losses]) != pytest.approx(expected, rel=1e-6)


def test_08_running_loss_is_not_the_loss_at_the_epochs_end():
    """The loss while the parameters move is shown as that of the epoch."""
    network = make()
    *_, last = train(network, BCE, SGD(1.0), X, Y, epochs=1, batch_size=2)
    assert last.running_loss > 1.05 * BCE.value(network.decision_function(X), Y)


def test_09_last_short_batch_is_used_in_its_own_epoch():
    """The last batch is dropped, or filled up from the next epoch."""
    sizes = [(s.epoch, len(s.tape[0])) for s in train(make(), BCE, SGD(), X, Y, epochs=2, batch_size=4)]
    assert sizes == [(0, 4), (0, 4), (0, 2), (1, 4), (1, 4), (1, 2)]


def test_10_every_epoch_permutes_the_rows():
    """Only the order of fixed batches is shuffled, or nothing is."""
    ids = np.arange(10.0)[:, np.newaxis]
    epochs = [[] for _ in range(8)]
    for step in train(Network([Dense(1, 1)]), BCE, SGD(), ids, np.zeros(10), epochs=8, batch_size=5):
        epochs[step.epoch].append(tuple(step.tape[0][:, 0]))
    assert all(sorted(sum(batches, ())) == list(range(10)) for batches in epochs)
    assert len({frozenset(batches[0]) for batches in epochs}) > 2


def test_11_seed_zero_is_a_seed():
    """`if seed:` takes 0 for none."""

    def trained(seed):
        network = Network(mlp([2, 4, 1], dropout=0.5), seed=seed)
        for _ in train(network, BCE, SGD(0.1), X, Y, epochs=2, batch_size=4, seed=seed):
            pass
        return network.params

    np.testing.assert_array_equal(trained(0), trained(0))
    assert not np.array_equal(trained(0), trained(1))


@pytest.mark.parametrize("batch_size", [1, 10])
def test_12_l2_spares_biases_and_ignores_the_batch_size(batch_size):
    """The penalty is divided by the batch size, and biases decay."""
    network = make(bias_init="normal")
    start = network.params.copy()
    next(train(network, BCE, SGD(1.0), X, Y, epochs=1, batch_size=batch_size, l2=0.5))
    pulled = start - network.params - network.grads
    is_weight = np.repeat([1.0, 0.0, 1.0, 0.0], [2 * 4, 4, 4 * 1, 1])
    np.testing.assert_allclose(pulled, 0.5 * start * is_weight, rtol=0, atol=1e-15)


def test_13_adam_corrects_its_bias_by_the_step():
    """Dividing by 1 − β at every step, not by 1 − βᵗ, makes later steps too long."""
    optimizer, p = Adam(0.01), np.zeros(1)
    for t in range(1, 1000):
        optimizer.step(p, np.full(1, 0.5))  # a constant gradient: each step is the learning rate
        assert p[0] == pytest.approx(-0.01 * t, rel=1e-6)


@pytest.mark.parametrize("stop", [None, 4], ids=["to the end", "break"])
def test_14_best_weights_are_restored_whatever_ends_training(stop):
    """They are kept by reference, nan counts as better, or only exhausted patience restores them."""
    network = make()
    scores = iter([3.0, 1.0, np.nan, 2.0, 2.0])
    steps = train(network, BCE, SGD(0.5), X, Y, epochs=5, batch_size=10)
    after = []
    for step in best_weights(steps, lambda _: next(scores)):
        after.append(network.params.copy())
        if step.epoch == stop:
            break
    np.testing.assert_array_equal(network.params, after[1])


def test_15_divergence_is_named():
    """The loss is nan for hours, and nothing says so."""
    network = Network(mlp([2, 8, 8, 1], "relu"), seed=7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DivergenceError, match=r"step 1: .* of layer \d \(.*\), seed 7, .* last finite loss was \d"):
            list(train(network, BCE, SGD(1e200), X, Y, epochs=9, batch_size=4))


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_16_patience_is_exact(patience):
    """`>` for `>=` waits one epoch more."""
    network = make()
    scores = iter([2.0, 1.0] + [1.0] * 20)
    steps = train(network, BCE, SGD(), X, Y, epochs=20, batch_size=10)
    assert len(list(early_stopping(steps, lambda _: next(scores), patience))) == 2 + patience


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu", "softplus"])
def test_18_first_weights_suit_the_relu_family(activation):
    """One initializer for all activations, and random biases: many ReLUs are dead at the start."""
    first = mlp([2, 4, 1], activation)[0]
    assert first.weight_init is initializers.he_normal
    assert not first.b.any()


def test_18_first_weights_suit_the_others():
    for name, initializer in {
        "sigmoid": initializers.glorot_uniform,
        "tanh": initializers.glorot_uniform,
        "selu": initializers.lecun_normal,
    }.items():
        assert mlp([2, 4, 1], name)[0].weight_init is initializer


def test_18_no_relu_of_the_first_layer_is_dead_at_the_start():
    """Without a bias, some of the samples all around the origin lie on the side where it is above zero."""
    network = Network(mlp([2, 100, 1], "relu"), seed=range(20))
    angles = np.linspace(0.0, 2.0 * np.pi, 100)
    hidden = network.forward(np.stack([np.cos(angles), np.sin(angles)], axis=1))[2]
    assert (hidden > 0.0).any(axis=-2).all()


def test_19_gradient_check_skips_kinks_and_uses_float64():
    """In float32, or across a kink, a right gradient looks wrong."""
    x = np.array([[-1.0, 0.0, 2.0]])
    assert ReLU().backward(np.ones_like(x), x, ReLU().forward(x)).tolist() == [[0.0, 0.0, 1.0]]
    check = check_gradients(ReLU(), x)
    assert check.ok
    assert (check.checked, check.kinks) == (2, 1)
    assert check_gradients(make().astype(np.float32), X, loss=BCE, targets=Y).error < 1e-6


def test_20_integer_input_gives_float_gradients():
    """Integers in, integers out: gradients are truncated."""
    network = make()
    tape = network.forward(np.array([[1, 2], [3, -1]]))
    deltas = network.backward(np.full((2, 1), 0.5), tape)
    assert {array.dtype for array in [*tape, *deltas]} == {np.dtype(np.float64)}
    assert (deltas[0] != np.rint(deltas[0])).all()


@pytest.mark.parametrize(
    "layer", [Dense(3, 3), BatchNorm(3), Residual([Dense(3, 3), Tanh()])], ids=["dense", "batch_norm", "residual"]
)
def test_21_backward_twice_gives_the_same_gradient(layer):
    """Gradients are added to what was there."""
    network = Network([layer])
    tape = network.forward(np.eye(3), training=True)
    network.backward(np.eye(3), tape)
    once = network.grads.copy()
    network.backward(np.eye(3), tape)
    np.testing.assert_array_equal(network.grads, once)
    assert once.any()


def test_22_dropout_is_scaled_once_and_only_in_training():
    """Outputs are scaled at test time, or twice."""
    network = Network([Dropout(0.75)])
    x = np.ones((1000, 40))
    predicted, trained = network.forward(x)[-1], network.forward(x, training=True)[-1]
    assert (predicted == 1.0).all()
    assert set(np.unique(trained)) == {0.0, 4.0}
    assert trained.mean() == pytest.approx(1.0, abs=5 * np.sqrt(3.0 / x.size))  # variance (1 − 0.25)·0.25·4² = 3


@pytest.mark.parametrize("loss", [BCE, SquaredError(), SoftmaxCrossEntropy()], ids=repr)
def test_23_shapes_are_checked_not_broadcast(loss):
    """Targets (n,) against outputs (n, 1) make an n×n loss."""
    logits, targets = np.zeros((5, 1)), np.zeros(5)
    for call in (loss.value, loss.gradient):
        with pytest.raises(ValueError, match=r"targets of shape \(5,\) do not fit logits of shape \(5, 1\)"):
            call(logits, targets)


def test_24_every_activation_is_branch_free():
    """An element's result does not depend on its neighbours, nor on which of the branches they need."""
    x = np.linspace(-50.0, 50.0, 101).reshape(1, -1)
    for make_activation in ACTIVATIONS.values():
        activation: Activation = make_activation()
        alone = [activation.forward(x[:, i : i + 1])[0, 0] for i in range(x.size)]
        np.testing.assert_allclose(activation.forward(x)[0], alone, rtol=1e-14, atol=0)


X2 = np.random.default_rng(0).standard_normal((20, 2))
Y2 = (X2[:, 0] > 0.0).astype(float)


def test_25_underflow_is_told_apart_from_vanishing():
    """In float32 the first layers' gradients are zeros and subnormal numbers, in float64 small and whole."""
    shares = {}
    for dtype in (np.float32, np.float64):
        network = Network(mlp([2, *[16] * 80, 1], "sigmoid"), dtype=dtype)
        recorder = FlowRecorder(what=["zero_share", "subnormal_share", "weight_gradient_norm"])
        for step in train(network, BinaryCrossEntropy(), SGD(), X2, Y2, epochs=1, batch_size=len(X2)):
            recorder(step)
        shares[dtype] = recorder.table()
    assert shares[np.float32]["zero_share"][0, 0, 0] == 1.0
    assert shares[np.float32]["subnormal_share"].max() > 0.1
    assert shares[np.float64]["zero_share"].max() == shares[np.float64]["subnormal_share"].max() == 0.0
    assert 0.0 < shares[np.float64]["weight_gradient_norm"][0, 0, 0] < 1e-30


def test_26_an_estimator_that_is_not_fitted_says_so():
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(MLPClassifier(), method)(X2)


def test_27_wide_pre_activations_need_more_than_gauss_hermite():
    """At the critical gain of σ, pre-activations spread over ±7 and σ' is narrow: 100 nodes fall too far apart."""
    gain = critical_gain("sigmoid")
    theory = mean_field("sigmoid", gain)
    z, weights = np.polynomial.hermite_e.hermegauss(100)
    y = Sigmoid().forward(math.sqrt(theory.q) * z)
    crude = gain**2 * np.sum(weights * (y * (1.0 - y)) ** 2) / math.sqrt(2.0 * math.pi)
    assert crude == pytest.approx(0.9653, abs=1e-4)
    x = math.sqrt(theory.q) * np.linspace(-12.0, 12.0, 100_001)  # the trapezoidal rule, which is exact here
    y = Sigmoid().forward(x)
    density = np.exp(-(x**2) / (2.0 * theory.q)) / math.sqrt(2.0 * math.pi * theory.q)
    exact = gain**2 * np.sum((y * (1.0 - y)) ** 2 * density) * 24.0 * math.sqrt(theory.q) / 100_000
    assert chi("sigmoid", theory.q, gain) == pytest.approx(exact, rel=1e-12)
    assert exact == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("engine", ["plain", "auto"])
def test_28_a_batch_of_one_is_not_normalised(engine):
    x, y = np.random.default_rng(0).standard_normal((33, 2)), np.arange(33) % 2.0
    network = Network(mlp([2, 3, 1], batch_norm=True), seed=0)
    with pytest.raises(ValueError, match="batch_size: BatchNorm needs batches of at least 2 samples"):
        train(network, BinaryCrossEntropy(), SGD(0.1), x, y, epochs=1, batch_size=1, engine=engine)
    steps = list(train(network, BinaryCrossEntropy(), SGD(0.1), x, y, epochs=2, batch_size=8, engine=engine))
    assert [len(step.tape[0]) for step in steps] == [8, 8, 8, 9] * 2
    plain = Network(mlp([2, 3, 1]), seed=0)
    steps = list(train(plain, BinaryCrossEntropy(), SGD(0.1), x, y, epochs=1, batch_size=8, engine=engine))
    assert [len(step.tape[0]) for step in steps] == [8, 8, 8, 8, 1]


def test_28_a_longer_last_batch_is_the_same_in_both_engines():
    pytest.importorskip("numba")
    x, y = np.random.default_rng(0).standard_normal((65, 2)), np.arange(65) % 2.0
    ends = []
    for engine in ("plain", "compiled"):
        network = Network(mlp([2, 3, 1], batch_norm=True), seed=[0, 1])
        for step in train(
            network, BinaryCrossEntropy(), SGD(0.1), x, y, epochs=3, batch_size=16, engine=engine, each="epoch"
        ):
            assert step.tape[0].shape == (2, 17, 2)
        ends.append(network.params.copy())
    np.testing.assert_allclose(*ends, rtol=1e-12, atol=1e-12)


def test_42_a_run_shows_the_least_layers_norm_and_its_decay_beside_the_ratio():
    from gradlab.cli.report import rows_of

    measure = {"mean": 1.0, "low": None, "high": None, "median": 2.5e-5}
    names = (
        "test_accuracy",
        "train_loss",
        "gradient_ratio",
        "gradient_decay",
        "least_gradient",
        "final_gradient_ratio",
    )
    header, row = rows_of({"xavier": dict.fromkeys(names, measure) | {"seconds": 1.0}})
    shown = dict(zip(header, row, strict=True))
    assert shown["a layer"] == shown["least layer's"] == "2.5e-05 (median)"
