import numpy as np
import pytest

from gradlab.flow import attribution
from gradlab.nn import (
    SGD,
    Activation,
    Adam,
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
    Softsign,
    SquaredError,
    Tanh,
    mlp,
)
from gradlab.training import train

X = np.random.default_rng(0).standard_normal((20, 3))
Y = (X[:, 0] > 0.0).astype(float)


def passed_back(layers, dlogits, x=None, **options):
    network = Network(layers, **options)
    tape = network.forward(np.ones((dlogits.shape[-2], layers[0].n_in)) if x is None else x, training=True)
    return network, network.backward(np.broadcast_to(dlogits, tape[-1].shape).copy(), tape)


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_orthogonal_weights_keep_the_norm_and_a_gain_multiplies_it(gain):
    layers = mlp([6, 6, 6, 6, 6], "identity", "orthogonal", gain=gain)
    found = attribution(*passed_back(layers, np.random.default_rng(1).standard_normal((4, 6))))
    assert found.layers == ("0.W", "2.W", "4.W")
    for factor, value in ((found.gain, gain), (found.weight, gain), (found.slope, 1.0), (found.rest, 1.0)):
        np.testing.assert_allclose(factor, np.full((3, 1), value), rtol=1e-13)


def test_diagonal_weights_and_a_slope_by_hand():
    """z₁ = (1, −1); LeakyReLU(½) has the slopes 1 and ½; W₂ = diag(3, 4) and δ₂ = (1, 1) give δ₂W₂ᵀ = (3, 4), of norm
    5 = √2·(5/√2), and δ₁ = (3, 2), of norm √13."""
    layers = [Dense(2, 2), LeakyReLU(0.5), Dense(2, 2)]
    network = Network(layers)
    layers[0].W, layers[2].W = np.diag([1.0, -1.0]), np.diag([3.0, 4.0])
    tape = network.forward(np.ones((1, 2)), training=True)
    found = attribution(network, network.backward(np.ones((1, 2)), tape))
    assert found.weight.item() == pytest.approx(5.0 / 2**0.5, rel=1e-15)
    assert found.slope.item() == pytest.approx(13**0.5 / 5.0, rel=1e-15)
    assert found.gain.item() == pytest.approx(6.5**0.5, rel=1e-15)


@pytest.mark.parametrize("seed", [0, [0, 7]])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "gelu"])
def test_a_step_is_attributed_with_the_weights_and_slopes_that_it_had(activation, seed):
    network = Network(mlp([3, 8, 7, 6, 1], activation), seed=seed)
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    before = [layer.W.copy() for layer in dense]
    for step in train(network, BinaryCrossEntropy(), Adam(0.1), X, Y, epochs=2, batch_size=8):
        found = attribution(step)
        np.testing.assert_allclose(found.weight * found.slope * found.rest, found.gain, rtol=1e-10)
        for i in range(3):
            place = 2 * i + 1  # of the activation
            carried = step.deltas[place + 2] @ before[i + 1].mT
            sloped = carried * network.layers[place].derivative(step.tape[place], step.tape[place + 1])
            lengths = [np.linalg.norm(d, axis=(-2, -1)) for d in (step.deltas[place + 2], carried, sloped)]
            np.testing.assert_allclose(found.weight[i], np.atleast_1d(lengths[1] / lengths[0]), rtol=1e-12)
            np.testing.assert_allclose(found.slope[i], np.atleast_1d(lengths[2] / lengths[1]), rtol=1e-12)
            np.testing.assert_allclose(found.gain[i], np.atleast_1d(lengths[2] / lengths[0]), rtol=1e-12)
        before = [layer.W.copy() for layer in dense]


def test_each_replica_is_attributed_as_if_it_were_alone():
    def run(seed):
        layers = mlp([3, 5, 5, 1], "tanh", batch_norm=True, dropout=0.3)
        return attribution(
            next(train(Network(layers, seed=seed), BinaryCrossEntropy(), SGD(), X, Y, epochs=1, batch_size=9))
        )

    together = run([4, 9])
    for r, seed in enumerate((4, 9)):
        alone = run(seed)
        for name in ("gain", "weight", "slope", "rest"):
            np.testing.assert_array_equal(getattr(together, name)[:, r : r + 1], getattr(alone, name), name)


def test_batch_norm_and_dropout_have_a_factor_of_their_own():
    """In front of the activation is BatchNorm, behind it is Dropout; a product of two activations is one slope."""
    layers = [Dense(3, 5), BatchNorm(5), Sigmoid(), Dropout(0.4), Tanh(), Dense(5, 1), Softsign()]
    step = next(train(Network(layers), SquaredError(), SGD(0.1), X, Y, epochs=1, batch_size=20))
    found = attribution(step)
    n = [np.linalg.norm(delta) for delta in step.deltas]
    assert found.layers == ("0.W",)
    assert found.weight.item() == pytest.approx(n[5] / n[6], rel=1e-13)
    assert found.slope.item() == pytest.approx(n[4] / n[5] * n[2] / n[3], rel=1e-13)
    assert found.rest.item() == pytest.approx(n[3] / n[4] * n[1] / n[2], rel=1e-13)
    assert (found.weight * found.slope * found.rest).item() == pytest.approx(found.gain.item(), rel=1e-10)


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_a_residual_is_split_into_its_branch_and_the_way_around(engine):
    """Stations are Dense 0, Residual 2, Residual 3 and Dense 5; the second branch holds another Residual."""
    if engine == "compiled":
        pytest.importorskip("numba")
    inner = Residual([Dense(4, 4), BatchNorm(4)])
    layers = [Dense(3, 4), Sigmoid(), Residual([Dense(4, 4), Tanh(), Dense(4, 4)]), Residual([Tanh(), inner]), ReLU(),
              Dense(4, 1)]  # fmt: skip
    network = Network(layers, seed=[3, 4])
    step = next(train(network, SquaredError(), SGD(1e-9), X, Y, epochs=1, batch_size=20, engine=engine))
    found = attribution(step)
    assert found.layers == ("0.W", "2", "3")
    np.testing.assert_allclose(found.weight * found.slope * found.rest * found.around, found.gain, rtol=1e-12)
    n = [np.linalg.norm(delta, axis=(-2, -1)) for delta in step.deltas]
    np.testing.assert_allclose(found.gain, [n[1] / n[3], n[3] / n[4], n[4] / n[6]], rtol=1e-12)
    through = np.linalg.norm(step.deltas[2] - step.deltas[3], axis=(-2, -1))  # what came back through the branch
    np.testing.assert_allclose(found.around[0], n[2] / through, rtol=1e-9)
    np.testing.assert_allclose(found.weight[2], n[5] / n[6], rtol=1e-12)
    np.testing.assert_array_equal(found.around[2], 1.0)
    assert (found.rest[1] != 1.0).all()


def test_a_residual_that_has_gone_through_another_pass_is_named():
    network = Network([Dense(3, 4), Residual([Dense(4, 4), Tanh()]), Dense(4, 1)])
    first = network.forward(X, training=True)
    deltas = network.backward(np.ones((20, 1)), first)
    network.backward(2.0 * np.ones((20, 1)), network.forward(X, training=True))
    with pytest.raises(ValueError, match=r"layer 1 \(Residual.* another pass"):
        attribution(network, deltas)


@pytest.mark.parametrize("dtype, depth", [(np.float64, 300), (np.float32, 45)])
def test_deltas_whose_squares_underflow(dtype, depth):
    network = Network(mlp([3] + [8] * depth + [1], "sigmoid"), dtype=dtype)
    tape = network.forward(X, training=True)
    dlogits = BinaryCrossEntropy().gradient(tape[-1], Y[:, np.newaxis])
    found = attribution(network, network.backward(dlogits, tape))
    first = np.abs(network.backward(dlogits, tape)[1]).max()
    assert first > 0.0
    assert first * first == 0.0
    assert found.gain.dtype == np.float64
    np.testing.assert_allclose(found.weight * found.slope, found.gain, rtol=1e-10)
    larger = attribution(network, network.backward(dlogits * 2.0 ** (400 if depth == 300 else 60), tape))
    np.testing.assert_allclose(found.gain, larger.gain, rtol=1e-10)  # a power of two changes no digit


def test_where_nothing_comes_back_there_is_no_factor():
    layers = [Dense(2, 2), Identity(), Dense(2, 2), Identity(), Dense(2, 1)]
    network = Network(layers)
    layers[4].W = np.zeros((2, 1))
    found = attribution(network, network.backward(np.ones((3, 1)), network.forward(np.ones((3, 2)), training=True)))
    assert found.gain[1].item() == found.weight[1].item() == 0.0
    assert np.isnan([found.slope[1], found.gain[0], found.weight[0], found.slope[0]]).all()


def test_an_activation_of_ones_own_is_a_slope():
    class Cube(Activation):
        def forward(self, x):
            return x**3

        def derivative(self, x, y):
            return x * x * 3.0

    layers = [Dense(1, 1, bias_init="zeros"), Cube(), Dense(1, 1)]
    network = Network(layers)
    layers[0].W, layers[2].W = np.array([[2.0]]), np.array([[5.0]])
    found = attribution(network, network.backward(np.ones((1, 1)), network.forward(np.ones((1, 1)), training=True)))
    assert (found.weight.item(), found.slope.item(), found.gain.item()) == (5.0, 12.0, 60.0)


class Half(Layer):
    def forward(self, x):
        return x * 0.5

    def backward(self, dy, x, y):
        return dy * 0.5


@pytest.mark.parametrize("layer", [Half(), Residual([Dense(4, 4), Half()])])
def test_layers_without_factors_are_named(layer):
    step = next(
        train(Network([Dense(3, 4), layer, Dense(4, 1)]), BinaryCrossEntropy(), SGD(), X, Y, epochs=1, batch_size=9)
    )
    with pytest.raises(ValueError, match=r"layer 1(.1)? \(Half\(\)\): the gain cannot be split"):
        attribution(step)


def test_mistakes_are_named():
    network = Network(mlp([3, 4, 1]))
    with pytest.raises(ValueError, match=r"deltas: Network.* has gone through no pass yet"):
        attribution(network)
    with pytest.raises(ValueError, match="deltas: 1 arrays do not fit 3 layers"):
        attribution(network, [np.ones((2, 3))])
    with pytest.raises(ValueError, match="neither a Step of train nor a Network"):
        attribution("network")
    with pytest.raises(ValueError, match="a gain needs two Dense layers or Residuals"):
        attribution(*passed_back([Dense(2, 3), Sigmoid()], np.ones((1, 3))))
