import numpy as np
import pytest

from gradlab.flow import FlowRecorder
from gradlab.flow.probes import Weights
from gradlab.nn import SGD, BinaryCrossEntropy, Dense, Network, ReLU, Sigmoid, mlp, train

X = np.random.default_rng(0).standard_normal((20, 3))
Y = (X[:, 0] > 0.0).astype(float)


def steps(network, epochs=3, batch_size=8):
    return train(network, BinaryCrossEntropy(), SGD(0.1), X, Y, epochs=epochs, batch_size=batch_size)


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
    together = FlowRecorder(what=("weight_gradient_norm", "weight_norm", "zero_share", "subnormal_share"))
    for step in steps(Network(mlp([3, 5, 1], "relu"), seed=[4, 9])):
        together(step)
    for r, seed in enumerate((4, 9)):
        alone = FlowRecorder(what=tuple(together.table())[2:])
        for step in steps(Network(mlp([3, 5, 1], "relu"), seed=seed)):
            alone(step)
        for name, values in alone.table().items():
            np.testing.assert_array_equal(
                together.table()[name][..., r : r + 1] if values.ndim == 3 else values, values
            )


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
    with pytest.raises(ValueError, match="has no weights"):
        Weights(Network([Sigmoid(), ReLU()]))
