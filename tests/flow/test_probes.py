import itertools

import numpy as np
import pytest
from mpmath import mp

from gradlab.flow import PROBES, FlowRecorder
from gradlab.flow.quantities import largest_slope
from gradlab.nn import (
    ELU,
    GELU,
    SELU,
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
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    SquaredError,
    Tanh,
    mlp,
)
from gradlab.training import early_stopping, train
from gradlab.training.recording import Weights

X = np.random.default_rng(0).standard_normal((20, 3))
Y = (X[:, 0] > 0.0).astype(float)


def steps(network, epochs=3, batch_size=8, optimizer=None, **options):
    optimizer = optimizer or SGD(0.1)
    return train(network, BinaryCrossEntropy(), optimizer, X, Y, epochs=epochs, batch_size=batch_size, **options)


def record(iterator, *what, every=1, x=None):
    recorder = FlowRecorder(every, what, x=x)
    for step in iterator:
        recorder(step)
    return recorder


def remedied():
    """Every kind of layer, and one Residual in another."""
    inner = Residual([Dense(5, 5), Tanh()])
    block = Residual([Dense(5, 5), BatchNorm(5), ReLU(), Dropout(0.4), inner])
    return [Dense(3, 5), BatchNorm(5), Sigmoid(), Dropout(0.2), block, Dense(5, 1)]


def test_gradient_norms_are_those_of_each_weight_matrix():
    network = Network(mlp([3, 5, 4, 1], "tanh"))
    recorder = FlowRecorder()
    expected = []
    for step in steps(network):
        recorder(step)
        expected.append([np.linalg.norm(layer.dW) for layer in network.layers if isinstance(layer, Dense)])
    norms = recorder.table()["weight_gradient_norm"]
    assert recorder.layers == ("0.W", "2.W", "4.W")
    assert norms.shape == (9, 3, 1)
    np.testing.assert_allclose(norms[..., 0], expected, rtol=1e-14)


def test_each_replica_is_recorded_as_if_it_were_alone():
    together = record(steps(Network(remedied(), seed=[4, 9])), *PROBES, x=X).table()
    assert together["step"].tolist() == list(range(9))
    for r, seed in enumerate((4, 9)):
        alone = record(steps(Network(remedied(), seed=seed)), *PROBES, x=X).table()
        assert alone.keys() == together.keys() == PROBES.keys() | {"step", "epoch"}
        for name in PROBES:
            np.testing.assert_array_equal(together[name][..., r : r + 1], alone[name], name)


@pytest.mark.parametrize(
    "every, wanted",
    [
        ("step", [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (4, [0, 4, 8]),
        ("epoch", [0, 2, 5, 8]),
    ],
)
def test_the_wanted_steps_are_recorded(every, wanted):
    recorder = FlowRecorder(every)
    for step in steps(Network(mlp([3, 2, 1]))):
        recorder(step)
    assert recorder.table()["step"].tolist() == wanted
    assert recorder.table()["epoch"].tolist() == [i // 3 for i in wanted]


def test_norms_survive_where_their_squares_underflow_or_overflow():
    network = Network(mlp([3, 4, 4, 1]))
    weights = Weights(network)
    vector = np.ones_like(network.params)
    for i, size in enumerate([1e-200, 1.0, 1e200]):
        vector[[p.where for p in network.parameters if p.attribute == "W"][i]] = size
    np.testing.assert_allclose(weights.norms(vector), [1e-200 * 12**0.5, 4.0, 2e200], rtol=1e-14)


def exact_gradient_norms(network, x, y):
    """Norms of dL/dW of sigmoid layers for one sample, in 50 digits."""
    mp.dps = 50
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    weights = [mp.matrix(layer.W.tolist()) for layer in dense]
    tape = [mp.matrix([x.tolist()])]
    for i, (W, layer) in enumerate(zip(weights, dense, strict=True)):
        z = tape[-1] * W + mp.matrix(layer.b.tolist())
        tape.append(z if i == len(dense) - 1 else z.apply(lambda v: 1 / (1 + mp.exp(-v))))
    delta = tape[-1].apply(lambda v: 1 / (1 + mp.exp(-v))) - mp.matrix([[y]])
    norms = []
    for W, h in zip(reversed(weights), reversed(tape[:-1]), strict=True):
        norms.append(float(mp.norm(h) * mp.norm(delta)))  # dW = hᵀ·δ, and the norm of an outer product is the norms'
        delta = delta * W.T
        for k in range(len(h)):
            delta[k] *= h[k] * (1 - h[k])
    return norms[::-1]


@pytest.mark.parametrize("depth, size", [(150, 1e-80), (450, 1e-250)])
def test_the_gradient_norm_of_a_deep_sigmoid_network_is_right(depth, size):
    network = Network(mlp([3] + [4] * depth + [1], "sigmoid"))
    expected = exact_gradient_norms(network, X[0], 1.0)
    step = next(train(network, BinaryCrossEntropy(), SGD(0.1), X[:1], np.ones(1), epochs=1, batch_size=1))
    norms = record([step], "weight_gradient_norm").table()["weight_gradient_norm"][0, :, 0]
    assert 0.0 < norms[0] < size
    np.testing.assert_allclose(norms, expected, rtol=1e-11)


def test_300_sigmoid_layers_have_a_gradient_as_small_as_it_is():
    network = Network(mlp([3] + [8] * 300 + [1], "sigmoid"))
    recorder = FlowRecorder(what=("weight_gradient_norm", "zero_share"))
    for step in steps(network, epochs=1, batch_size=20):
        recorder(step)
        first = network.layers[0].dW
    norms = recorder.table()["weight_gradient_norm"][0, :, 0]
    largest = np.abs(first).max()
    assert largest**2 == 0.0
    np.testing.assert_allclose(norms[0], largest * np.linalg.norm(first / largest), rtol=1e-12)
    assert (norms > 0.0).all()
    assert recorder.table()["zero_share"].max() == 0.0


def test_underflow_is_told_apart_from_vanishing():
    network = Network(mlp([3] + [8] * 60 + [1], "sigmoid"), dtype=np.float32)
    recorder = FlowRecorder(what=("zero_share", "subnormal_share"))
    for step in steps(network, epochs=1, batch_size=20):
        recorder(step)
    table = recorder.table()
    assert table["zero_share"][0, 0, 0] + table["subnormal_share"][0, 0, 0] > 0.0
    assert table["zero_share"][0, -1, 0] == table["subnormal_share"][0, -1, 0] == 0.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_zeros_and_subnormals_are_counted(dtype):
    network = Network([Dense(4, 1), Dense(1, 2)], dtype=dtype)
    tiny, least = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal
    step = next(train(network, SquaredError(), SGD(), np.ones((1, 4)), np.ones((1, 2)), epochs=1, batch_size=1))
    network.layers[0].dW[:, 0] = [0.0, -least, tiny / 2, 1.0]
    network.layers[1].dW[0] = [tiny, -0.0]
    table = record([step], "zero_share", "subnormal_share").table()
    assert table["zero_share"][0, :, 0].tolist() == [0.25, 0.5]
    assert table["subnormal_share"][0, :, 0].tolist() == [0.5, 0.0]


def test_delta_rms_is_of_what_each_weight_layer_receives():
    """Of one sample, dL/db = Σ_i δ_i is δ itself."""
    layers = [
        Dense(3, 5),
        Sigmoid(),
        Residual([Dense(5, 5), Dropout(0.3), Residual([Dense(5, 5), Tanh()])]),
        Dense(5, 1),
    ]
    network = Network(layers)
    recorder = FlowRecorder(what="delta_rms")
    expected = []
    for step in steps(network, batch_size=1):
        recorder(step)
        biases = [p for p in network.parameters if p.attribute == "b"]
        expected.append([np.linalg.norm(network.grads[p.where]) / p.shape[-1] ** 0.5 for p in biases])
    assert recorder.layers_of("delta_rms") == ("0.W", "2.0.W", "2.2.0.W", "3.W")
    np.testing.assert_allclose(recorder.table()["delta_rms"][..., 0], expected, rtol=1e-13)


def test_delta_rms_is_over_samples_and_units_and_survives_underflow():
    network = Network(mlp([3] + [6] * 300 + [1], "sigmoid"))
    step = next(steps(network, batch_size=20))
    rms = record([step], "delta_rms").table()["delta_rms"][0, :, 0]
    assert rms[0] < 1e-170
    for got, delta in zip(rms, step.deltas[1::2], strict=True):
        largest = np.abs(delta).max()
        np.testing.assert_allclose(got, largest * np.sqrt(np.mean((delta / largest) ** 2)), rtol=1e-13)


WAYS = {
    "sgd": {},
    "momentum": {"optimizer": lambda: SGD(0.1, momentum=0.9)},
    "nesterov": {"optimizer": lambda: SGD(0.1, momentum=0.9, nesterov=True)},
    "adam": {"optimizer": lambda: Adam(0.01)},
    "adamw": {"optimizer": lambda: AdamW(0.01, weight_decay=0.1)},
    "l2": {"l2": 0.1},
    "clip_norm": {"clip_norm": 1e-3},
    "schedule": {"schedule": lambda epochs: 1.0 / (1.0 + epochs)},
}


@pytest.mark.parametrize("every", [1, 3, 4, "epoch"])
@pytest.mark.parametrize("way", WAYS)
def test_update_ratio_is_that_of_snapshots(way, every):
    options = dict(WAYS[way])
    if "optimizer" in options:
        options["optimizer"] = options["optimizer"]()
    network = Network(mlp([3, 5, 4, 1], "tanh"), seed=[1, 2])
    weights = [layer for layer in network.layers if isinstance(layer, Dense)]
    recorder = FlowRecorder(every, ["update_ratio"])
    iterator = steps(network, **options)
    network.params *= 1.5  # the training begins with its first step
    snapshots = [[layer.W.copy() for layer in weights]]
    for step in iterator:
        recorder(step)
        snapshots.append([layer.W.copy() for layer in weights])
    table = recorder.table()
    expected = [
        [np.linalg.norm(b - a, axis=(-2, -1)) / np.linalg.norm(a, axis=(-2, -1)) for a, b in zip(*pair, strict=True)]
        for pair in itertools.pairwise(snapshots)
    ]
    assert len(table["step"]) == {1: 9, 3: 3, 4: 3, "epoch": 4}[every]
    np.testing.assert_allclose(table["update_ratio"], np.array(expected)[table["step"]], rtol=1e-13)


def test_update_ratio_is_nan_where_the_step_before_was_not_seen():
    network = Network(mlp([3, 4, 1]))
    recorder = FlowRecorder(what=["update_ratio", "weight_norm"])
    for step in itertools.islice(steps(network), 3, 6):
        recorder(step)
    for step in steps(network, epochs=1):  # another training of the same network
        recorder(step)
    for step in itertools.islice(steps(network), 3, 4):  # its step 2 was not seen: that of the training before was
        recorder(step)
    known = np.isfinite(recorder.table()["update_ratio"]).all(axis=(1, 2))
    assert recorder.table()["step"].tolist() == [3, 4, 5, 0, 1, 2, 3]
    assert known.tolist() == [False, True, True, True, True, True, False]


def test_update_ratio_of_weights_that_were_zero():
    network = Network([Dense(3, 2, weight_init="zeros"), Dense(2, 1)])
    network.layers[1].W = np.zeros((2, 1))
    ratios = record(itertools.islice(steps(network), 1), "update_ratio").table()["update_ratio"]
    assert np.isnan(ratios).all()  # neither layer moves: dL/dW is a product with the other's zeros
    network = Network([Dense(3, 1, weight_init="zeros")])
    assert record(itertools.islice(steps(network), 1), "update_ratio").table()["update_ratio"].item() == np.inf


def test_the_first_parameters_are_copied_once():
    network = Network(mlp([3, 4, 1]))
    iterator = steps(network)
    network.params += 1.0
    before = network.params.copy()
    first, second = itertools.islice(iterator, 2)
    np.testing.assert_array_equal(first.initial_params, before)
    assert first.initial_params is second.initial_params
    with pytest.raises(ValueError, match="read-only"):
        first.initial_params[...] = 0.0


def test_preactivations_and_activations_are_described():
    network = Network(mlp([3, 5, 4, 1], "sigmoid", batch_norm=True, dropout=0.5))
    names = [f"{of}_{n}" for of in ("preactivation", "activation") for n in ("mean", "std", *QS)]
    recorder = FlowRecorder(what=names)
    tapes = []
    for step in steps(network):
        recorder(step)
        tapes.append([x.copy() for x in step.tape])
    assert recorder.layers == ("0.W", "4.W", "8.W")
    assert recorder.layers_of("activation_q05") == ("2", "6")
    table = recorder.table()
    for of, places in (("preactivation", (2, 6)), ("activation", (3, 7))):
        for name, function in {"mean": np.mean, "std": np.std, **QS}.items():
            expected = [[function(tape[i]) for i in places] for tape in tapes]
            np.testing.assert_allclose(table[f"{of}_{name}"][..., 0], expected, rtol=1e-12, atol=1e-15)


QS = {f"q{q:02}": lambda values, q=q: np.percentile(values, q) for q in (5, 25, 50, 75, 95)}


def test_standard_deviations_survive_where_squares_underflow():
    network = Network([Dense(3, 3), Identity(), Dense(3, 1)])
    network.layers[0].W = 1e-200 * np.eye(3)
    table = record(itertools.islice(steps(network, batch_size=20), 1), "activation_std").table()
    np.testing.assert_allclose(table["activation_std"].item(), 1e-200 * X.std(), rtol=1e-13)


def through(activation, z):
    """Train one step on a row of pre-activations z, one a unit."""
    network = Network([Dense(len(z), len(z)), activation, Dense(len(z), 1)])
    network.layers[0].W = np.eye(len(z))
    return train(network, SquaredError(), SGD(1e-30), np.array([z]), np.zeros(1), epochs=1, batch_size=1)


@pytest.mark.parametrize(
    "activation, z, share",
    [
        (Sigmoid(), [0.0, 4.3, -4.3, 4.4, -4.4], 0.4),  # σ(z)(1 − σ(z)) = 1/80 at z = ±4.3567
        (Tanh(), [0.0, 2.17, -2.17, 2.19, -2.19], 0.4),  # 1 − tanh(z)² = 1/20 at z = ±2.1783
        (ReLU(), [0.0, -1.0, 1.0, 2.0, 3.0], 0.4),
        (LeakyReLU(0.01), [-1.0, -2.0, 1.0, 2.0, 3.0], 0.4),
        (LeakyReLU(0.1), [-1.0, -2.0, 1.0, 2.0, 3.0], 0.0),
        (ELU(3.0), [-2.9, -3.1, 1.0, 2.0, -4.0], 0.4),  # 3·e^z = 3/20 at z = −2.9957
        (Softsign(), [3.4, -3.4, 3.5, -3.5, 0.0], 0.4),  # 1/(1 + abs(z))² = 1/20 at z = ±3.4721
        (Identity(), [0.0, 1e9, -1e9, 3.0, -3.0], 0.0),
    ],
)
def test_saturated_share(activation, z, share):
    recorder = record(through(activation, z), "saturated_share")
    assert recorder.table()["saturated_share"].item() == pytest.approx(share, abs=1e-15)


@pytest.mark.parametrize(
    "activation, slope",
    [
        (Sigmoid(), 0.25),
        (Tanh(), 1.0),
        (ReLU(), 1.0),
        (SELU(), 1.0507009873554805 * 1.6732632423543772),
        (GELU(), 1.1289041),  # at z = √2
        (SiLU(), 1.0998394),  # at z = 2.39936
        (Softplus(), 1.0),
        (Identity(), 1.0),
        (ELU(3.0), 3.0),
    ],
)
def test_largest_slope(activation, slope):
    assert largest_slope(activation) == pytest.approx(slope, rel=1e-6)


def test_a_constant_slope_never_saturates_and_a_changed_one_is_looked_up_again():
    class Scale(Activation):
        def __init__(self, factor):
            self.factor = factor

        def forward(self, x):
            return x * self.factor

        def backward(self, dy, x, y):
            return dy * self.factor

    for factor in (1e-3, 0.0):
        assert record(through(Scale(factor), [1.0, 2.0]), "saturated_share").table()["saturated_share"].item() == 0.0
    recorder = FlowRecorder(what="saturated_share")
    network = Network([Dense(3, 4), Scale(1.0), Dense(4, 1)])
    for step in steps(network):
        recorder(step)
        network.layers[1].factor = 0.01
    assert (recorder.table()["saturated_share"] == 0.0).all()


@pytest.mark.parametrize("lead", [(), (2,)])
def test_dead_share_is_of_all_the_data(lead):
    """Four ReLUs on one feature: two are positive nowhere, one at a single sample of 600, one everywhere."""
    network = Network([Dense(1, 4), ReLU(), Dense(4, 1)], seed=[0, 1] if lead else 0)
    network.layers[0].W = np.array([[-1.0, 0.0, 1.0, 1.0]])
    network.layers[0].b = np.array([[-1.0, -1.0, -599.5, 1.0]])
    x = np.arange(1.0, 601.0)[:, np.newaxis]
    recorder = FlowRecorder(what=["dead_share", "saturated_share"], x=x)
    recorder(next(train(network, BinaryCrossEntropy(), SGD(1e-30), x[:3], np.ones(3), epochs=1, batch_size=3)))
    assert recorder.table()["dead_share"].tolist() == [[[0.5] * (lead or (1,))[0]]]
    assert recorder.table()["saturated_share"].tolist() == [[[0.75] * (lead or (1,))[0]]]
    recorder = FlowRecorder(what="dead_share", x=x[:-1])
    recorder(next(train(network, BinaryCrossEntropy(), SGD(1e-30), x[:3], np.ones(3), epochs=1, batch_size=3)))
    assert recorder.table()["dead_share"].tolist() == [[[0.75] * (lead or (1,))[0]]]


def test_dead_share_of_sparse_data():
    from scipy.sparse import csr_array

    dense, sparse = (
        record(steps(Network(mlp([3, 9, 9, 1], "relu"))), "dead_share", x=x).table() for x in (X, csr_array(X))
    )
    np.testing.assert_array_equal(dense["dead_share"], sparse["dead_share"])


@pytest.mark.parametrize("seed", [3, [3, 5]])
@pytest.mark.parametrize("batch_size", [8, 20])  # 20: the data to predict are of a batch's shape
def test_training_is_the_same_to_the_last_bit_when_it_is_recorded(seed, batch_size):
    def ends(recorder):
        network = Network(remedied(), seed=seed)
        for step in early_stopping(steps(network, batch_size=batch_size, optimizer=Adam()), lambda _: 0.0, 9):
            if recorder is not None:
                tape, deltas, grads = (
                    [a.copy() for a in step.tape],
                    [a.copy() for a in step.deltas],
                    network.grads.copy(),
                )
                recorder(step)
                for before, after in zip(
                    [*tape, *deltas, grads], [*step.tape, *step.deltas, network.grads], strict=True
                ):
                    np.testing.assert_array_equal(before, after)
        draws = [generator.random() for generator in network.streams.generators]
        return network.params, network.state, network.predict_proba(X), draws

    for alone, recorded in zip(ends(None), ends(FlowRecorder(what=tuple(PROBES), x=X)), strict=True):
        np.testing.assert_array_equal(alone, recorded)


def test_numbers_alone_are_kept():
    network = Network(remedied(), seed=[1, 2])
    recorder = FlowRecorder(what=tuple(PROBES), x=X)
    iterator = steps(network)
    recorder(next(iterator))
    before = {name: values.copy() for name, values in recorder.table().items()}
    for name, (numbers,) in recorder._records.items():
        assert numbers.base is None
        assert numbers.shape == (len(recorder.layers_of(name)), 2)
    next(iterator)
    for name, values in recorder.table().items():
        np.testing.assert_array_equal(values, before[name])


def test_records_do_not_change_when_training_goes_on():
    network = Network(mlp([3, 4, 1]))
    recorder = FlowRecorder()
    iterator = steps(network)
    recorder(next(iterator))
    before = recorder.table()["weight_gradient_norm"].copy()
    next(iterator)
    np.testing.assert_array_equal(recorder.table()["weight_gradient_norm"], before)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="every: 0"):
        FlowRecorder(0)
    with pytest.raises(ValueError, match="every: 'never' is not"):
        FlowRecorder("never")
    with pytest.raises(ValueError, match="what: 'norm' is not one of weight_gradient_norm"):
        FlowRecorder(what=["norm"])
    with pytest.raises(ValueError, match="no step was recorded"):
        FlowRecorder().table()
    with pytest.raises(ValueError, match=r"'weight_nrom' is not one of .*; did you mean 'weight_norm'"):
        FlowRecorder(what="weight_nrom")
    with pytest.raises(ValueError, match="has no weights"):
        Weights(Network([Sigmoid(), ReLU()]))
    with pytest.raises(ValueError, match="name: 'weight_norm' is not one of weight_gradient_norm"):
        FlowRecorder().layers_of("weight_norm")
    with pytest.raises(ValueError, match="x: dead_share is of the whole data"):
        FlowRecorder(what=["dead_share"])
    with pytest.raises(ValueError, match=r"x: an array of shape \(3,\) is not"):
        FlowRecorder(what=["dead_share"], x=[1.0, 2.0, 3.0])
    network = Network([Dense(3, 1)])
    with pytest.raises(ValueError, match="is not a Step of train"):
        FlowRecorder()(network)
    step = next(steps(network))
    with pytest.raises(ValueError, match=r"Network\(\[Dense\(3, 1\)\]\).* has no activations"):
        FlowRecorder(what=["activation_mean"])(step)
    with pytest.raises(ValueError, match=r"x: an array of shape \(5, 2\) does not fit"):
        FlowRecorder(what=["dead_share"], x=np.ones((5, 2)))(step)
    recorder = FlowRecorder()
    recorder(step)
    with pytest.raises(ValueError, match="another network"):
        recorder(next(steps(Network([Dense(3, 1)]))))
    assert len(recorder.table()["step"]) == 1


class Twice(Layer):
    """Two times what the layers inside it give; only they know what they saw."""

    def __init__(self, layers):
        self.layers = tuple(layers)

    def forward(self, x):
        self.inner = [np.array(x)]
        for layer in self.layers:
            self.inner.append(layer.forward(self.inner[-1]))
        return 2.0 * self.inner[-1]

    def backward(self, dy, x, y):
        dy = 2.0 * dy
        for layer, a, b in zip(self.layers[::-1], self.inner[-2::-1], self.inner[:0:-1], strict=True):
            dy = layer.backward(dy, a, b)
        return dy


def test_what_stands_in_somebodys_container_is_named():
    step = next(steps(Network([Dense(3, 2), Twice([Dense(2, 2), Tanh()]), Dense(2, 1)])))
    recorder = FlowRecorder(what=["weight_gradient_norm", "update_ratio"])
    recorder(step)
    assert recorder.layers == ("0.W", "1.0.W", "2.W")
    for what in ("delta_rms", "activation_mean", "dead_share"):
        with pytest.raises(ValueError, match=r"layer 1 \(Twice\(\)\) does not show"):
            FlowRecorder(what=[what], x=X)(step)


def test_a_residual_that_has_moved_on_is_named():
    network = Network([Dense(3, 2), Residual([Dense(2, 2), Tanh()]), Dense(2, 1)])
    step = next(steps(network))
    network.forward(X, training=True)
    with pytest.raises(ValueError, match=r"layer 1 \(Residual.* another pass since"):
        FlowRecorder(what=["delta_rms"])(step)


def test_gradients_are_described_by_their_entries_biases_and_total():
    recorder = FlowRecorder(
        what=["gradient_min", "gradient_max", "gradient_q25", "bias_norm", "bias_gradient_norm", "total_gradient_norm"]
    )
    network, last = Network(mlp([3, 5, 4, 1], "tanh"), seed=[1, 2]), {}
    for step in steps(network):
        recorder(step)
        dense = [layer for layer in network.layers if isinstance(layer, Dense)]
        last = {
            "gradient_min": [layer.dW.min(axis=(-2, -1)) for layer in dense],
            "gradient_max": [layer.dW.max(axis=(-2, -1)) for layer in dense],
            "gradient_q25": [np.quantile(layer.dW, 0.25, axis=(-2, -1)) for layer in dense],
            "bias_norm": [np.linalg.norm(layer.b, axis=(-2, -1)) for layer in dense],
            "bias_gradient_norm": [np.linalg.norm(layer.db, axis=(-2, -1)) for layer in dense],
            "total_gradient_norm": [np.linalg.norm(network.grads, axis=-1)],
        }
    for name, expected in last.items():
        np.testing.assert_allclose(recorder.table()[name][-1], expected, rtol=1e-13, err_msg=name)
    assert recorder.layers_of("gradient_min") == ("0.W", "2.W", "4.W")
    assert recorder.layers_of("bias_norm") == ("0.b", "2.b", "4.b")
    assert recorder.layers_of("total_gradient_norm") == ("all",)


def test_the_units_of_a_layer_are_recorded_on_request():
    names = ["activation_mean@1", "activation_std@1", "delta_rms@0", "saturated_share@1"]
    recorder, network = FlowRecorder(what=names), Network(mlp([3, 5, 1], "sigmoid", gain=6.0))
    for step in steps(network):
        recorder(step)
    y, dz = step.tape[2], step.deltas[1]
    table = recorder.table()
    np.testing.assert_allclose(table["activation_mean@1"][-1, :, 0], y.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(table["activation_std@1"][-1, :, 0], y.std(axis=0), rtol=1e-13)
    np.testing.assert_allclose(table["delta_rms@0"][-1, :, 0], np.sqrt((dz**2).mean(axis=0)), rtol=1e-13)
    np.testing.assert_allclose(table["saturated_share@1"][-1, :, 0], (y * (1 - y) < 0.0125).mean(axis=0))
    assert recorder.layers_of("delta_rms@0") == ("0", "1", "2", "3", "4")


def test_units_inside_a_residual():
    recorder = record(steps(Network(remedied(), seed=[1, 2])), "activation_mean@4.2", "activation_mean@4.4.1")
    assert recorder.table()["activation_mean@4.2"].shape == (9, 5, 2)
    assert (recorder.table()["activation_mean@4.2"] >= 0.0).all()  # of a ReLU


def test_a_probe_of_ones_own_is_recorded_under_its_name():
    def largest_bias(sight):
        return np.stack([np.abs(layer.b).max(axis=(-2, -1)) for layer in sight.network.layers if hasattr(layer, "b")])

    recorder = FlowRecorder(what=[largest_bias, "weight_norm"])
    for step in steps(Network(mlp([3, 5, 1]), seed=[1, 2])):
        recorder(step)
    expected = [np.abs(layer.b).max(axis=(-2, -1)) for layer in step.network.layers if hasattr(layer, "b")]
    np.testing.assert_array_equal(recorder.table()["largest_bias"][-1], expected)
    assert recorder.table().keys() == {"step", "epoch", "largest_bias", "weight_norm"}
    assert recorder.layers_of("largest_bias") == ("0", "1")


class NoBias(Layer):
    """A layer with a weight and no bias."""

    n_in, n_out = 3, 1

    def parameter_shapes(self):
        return {"W": (3, 1)}

    def forward(self, x):
        return x @ self.W

    def backward(self, dy, x, y):
        self.dW[...] = x.mT @ dy
        return dy @ self.W.mT


@pytest.mark.parametrize(
    "what, said",
    [
        ("activation_mean@7", r"what: 'activation_mean@7': Network.* has no layer 7"),
        ("saturated_share@0", r"layer 0 \(Dense\(3, 2\)\) is no activation"),
        ("activation_mean@", "'' is not the place of a layer"),
        ("activation_mean@a.1", "'a.1' is not the place of a layer"),
        ("weight_norm@1", "did you mean|is not one of activation_mean"),
        ("activation_men", "did you mean 'activation_mean'"),
        (lambda sight: sight, "neither a name nor a function with a name of its own"),
        (3, "what: 3 is not one of|'int' object is not iterable"),
    ],
)
def test_what_cannot_be_recorded_is_named(what, said):
    with pytest.raises((ValueError, TypeError), match=said):
        FlowRecorder(what=[what])(next(steps(Network(mlp([3, 2, 1])))))


def test_a_network_without_biases_has_none_to_record():
    with pytest.raises(ValueError, match="has no biases"):
        FlowRecorder(what="bias_norm")(next(steps(Network([NoBias()]))))
