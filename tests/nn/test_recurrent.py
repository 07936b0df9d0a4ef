import copy

import numpy as np
import pytest

from gradlab.check import check_gradients
from gradlab.nn import (
    Activation,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    LeakyReLU,
    Network,
    Recurrent,
    Residual,
    Tanh,
    mlp,
)
from gradlab.training import train

RNG = np.random.default_rng(0)
STEPS, FEATURES, STATE = 5, 3, 4
X = RNG.standard_normal((7, STEPS * FEATURES))
each_output = pytest.mark.parametrize("sequence", [False, True], ids=["last state", "all states"])


def test_two_steps_worked_by_hand():
    layer = Recurrent(1, 1, "identity")
    layer.W[...], layer.W_recurrent[...], layer.b[...] = 2.0, 3.0, 1.0
    x = np.array([[5.0, 7.0]])
    # h₁ = 5·2 + 1 = 11; h₂ = 7·2 + 11·3 + 1 = 48
    y = layer.forward(x)
    assert y == 48.0
    # δ₂ = 1, δ₁ = δ₂·3 = 3
    np.testing.assert_array_equal(layer.deltas(np.ones((1, 1)), x), [[[3.0]], [[1.0]]])
    dx = layer.backward(np.ones((1, 1)), x, y)
    assert layer.dW == 5.0 * 3.0 + 7.0 * 1.0
    assert layer.dW_recurrent == 11.0 * 1.0  # h₀ = 0 has no share
    assert layer.db == 3.0 + 1.0
    np.testing.assert_array_equal(dx, [[6.0, 2.0]])

    both = Recurrent(1, 1, "identity", sequence=True)
    both.W[...], both.W_recurrent[...], both.b[...] = 2.0, 3.0, 1.0
    np.testing.assert_array_equal(both.forward(x), [[11.0, 48.0]])
    # dL/dh = (10, 1): δ₂ = 1, δ₁ = 10 + 3
    np.testing.assert_array_equal(both.deltas(np.array([[10.0, 1.0]]), x).ravel(), [13.0, 1.0])


@each_output
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("steps", [1, 5, 50])
def test_it_is_pytorchs(activation, steps, sequence):
    torch = pytest.importorskip("torch")
    ours = Recurrent(FEATURES, STATE, activation, bias_init="normal", sequence=sequence)
    theirs = torch.nn.RNN(FEATURES, STATE, nonlinearity=activation, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih_l0[:], theirs.weight_hh_l0[:] = torch.tensor(ours.W.T), torch.tensor(ours.W_recurrent.T)
        theirs.bias_ih_l0[:], theirs.bias_hh_l0[:] = torch.tensor(ours.b[0]), 0.0
    x = np.random.default_rng(1).standard_normal((7, steps * FEATURES))
    z = torch.tensor(x.reshape(7, steps, FEATURES), requires_grad=True)
    states, _ = theirs(z)
    expected = states.reshape(7, steps * STATE) if sequence else states[:, -1]
    y = ours.forward(x)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-12, atol=1e-13)

    dy = np.random.default_rng(2).standard_normal(y.shape)
    expected.backward(torch.tensor(dy))
    dx = ours.backward(dy, x, y)
    for mine, other in (
        (dx, z.grad.reshape(x.shape)),
        (ours.dW, theirs.weight_ih_l0.grad.T),
        (ours.dW_recurrent, theirs.weight_hh_l0.grad.T),
        (ours.db[0], theirs.bias_ih_l0.grad),
    ):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "centred_sigmoid", "gelu"])
def test_one_step_is_a_dense_and_its_activation(activation):
    recurrent = Network([Recurrent(3, 4, activation, bias_init="normal", gain=1.7)])
    dense = Network(mlp([3, 4, 1], activation, "glorot_uniform")[:2])
    layer, twin = recurrent.layers[0], dense.layers[0]
    twin.W, twin.b = layer.W, layer.b
    x, dy = X[:, :3], RNG.standard_normal((7, 4))
    tape, expected = recurrent.forward(x), dense.forward(x)
    np.testing.assert_allclose(tape[-1], expected[-1], rtol=1e-14, atol=1e-15)
    deltas, others = recurrent.backward(dy, tape), dense.backward(dy, expected)
    np.testing.assert_allclose(deltas[0], others[0], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(layer.deltas(dy, x)[0], others[1], rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(layer.dW, twin.dW, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(layer.db, twin.db, rtol=1e-13, atol=1e-14)
    assert not layer.dW_recurrent.any()


@each_output
@pytest.mark.parametrize("activation", ["tanh", "centred_sigmoid", "silu"])
def test_gradients_are_right_over_fifty_steps(activation, sequence):
    layer = Recurrent(1, 2, activation, recurrent_init="identity", sequence=sequence)
    result = check_gradients(layer, 0.3 * np.random.default_rng(3).standard_normal((1, 50)))
    assert result, str(result)
    assert check_gradients(Network([Recurrent(2, 3, activation), Dense(3, 1)]))  # it finds an x that fits


def test_a_fault_of_one_step_is_found():
    class Forgets(Recurrent):
        def backward(self, dy, x, y):
            dx = super().backward(dy, x, y)
            self.dW_recurrent[...] -= 1e-4 * self.dW_recurrent
            return dx

    assert not check_gradients(Forgets(2, 3))


@each_output
@pytest.mark.parametrize("n, state, features", [(7, 4, 3), (1, 4, 3), (7, 1, 1), (33, 16, 2)])
def test_replicas_equal_the_networks_alone_to_the_last_bit(n, state, features, sequence):
    def layers():
        middle = Recurrent(features, state, "sigmoid", gain=2.0, sequence=sequence)
        return [Dense(2, 6 * features), middle, Dense(state * (6 if sequence else 1), 2)]

    seeds = [4, 0, 9]
    together, alone = Network(layers(), seed=seeds), [Network(layers(), seed=seed) for seed in seeds]
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((n, 2)), rng.standard_normal((3, n, 2))
    for _ in range(2):
        tape = together.forward(x)
        deltas = together.backward(dy, tape)
        for r, network in enumerate(alone):
            own = network.forward(x)
            for one, other in zip(deltas, network.backward(dy[r], own), strict=True):
                np.testing.assert_array_equal(one[r], other)
            for one, other in zip(tape, own, strict=True):
                np.testing.assert_array_equal(one[r], other)
            np.testing.assert_array_equal(together.grads[r], network.grads)


def test_deltas_of_replicas_are_those_of_each():
    layers = [Recurrent(FEATURES, STATE)]
    together = Network(layers, seed=[0, 1]).layers[0]
    x = np.stack([X, X])
    found = together.deltas(np.ones((2, 7, STATE)), x)
    assert found.shape == (2, STEPS, 7, STATE)
    for r in (0, 1):
        alone = Network(layers, seed=r).layers[0]
        np.testing.assert_array_equal(found[r], alone.deltas(np.ones((7, STATE)), X))


def test_the_gradient_of_the_weights_is_made_of_the_deltas():
    layer = Recurrent(FEATURES, STATE, "silu")
    dy, y = RNG.standard_normal((7, STATE)), layer.forward(X)
    deltas = layer.deltas(dy, X)
    dx = layer.backward(dy, X, y)
    x = X.reshape(7, STEPS, FEATURES)
    np.testing.assert_allclose(layer.dW, np.einsum("ntf,tns->fs", x, deltas), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dx.reshape(x.shape), np.einsum("tns,fs->ntf", deltas, layer.W), rtol=1e-12, atol=1e-13)


def test_the_error_of_an_orthogonal_linear_recurrence_keeps_its_length():
    layer = Recurrent(1, 16, "identity")
    norms = np.linalg.norm(layer.deltas(RNG.standard_normal((3, 16)), RNG.standard_normal((3, 50))), axis=(-2, -1))
    np.testing.assert_allclose(norms[:-1] / norms[1:], 1.0, rtol=1e-12)


@pytest.mark.parametrize("activation, slope", [("sigmoid", 0.25), ("tanh", 1.0)])
def test_the_error_shrinks_at_least_by_the_steepest_slope(activation, slope):
    layer = Recurrent(1, 32, activation)
    norms = np.linalg.norm(layer.deltas(RNG.standard_normal((3, 32)), RNG.standard_normal((3, 50))), axis=(-2, -1))
    assert (norms[:-1] / norms[1:] <= slope).all()  # for an orthogonal W_recurrent (Bengio et al. 1994)


def test_the_sigmoids_error_shrinks_as_mean_field_theory_says():
    # Each neuron's slope at the fixed point q = E[σ(√q·z)²] is averaged over z ~ N(0, 1): χ = E[σ'(√q·z)²].
    z = np.linspace(-8.0, 8.0, 4001)
    density = np.exp(-0.5 * z**2)
    density /= density.sum()
    q = 0.3
    for _ in range(200):
        q = density @ (1.0 / (1.0 + np.exp(-np.sqrt(q) * z))) ** 2
    y = 1.0 / (1.0 + np.exp(-np.sqrt(q) * z))
    factor = np.sqrt(density @ (y * (1.0 - y)) ** 2)
    assert factor == pytest.approx(0.23605, abs=1e-5)
    network = Network([Recurrent(1, 200, "sigmoid", recurrent_init="lecun_normal")], seed=range(10))
    dy = np.random.default_rng(0).standard_normal((10, 1, 200))
    norms = np.linalg.norm(network.layers[0].deltas(dy, np.zeros((10, 1, 20))), axis=(-2, -1))
    mean = np.exp(np.mean(np.log(norms[:, :10] / norms[:, 1:11])))
    assert mean == pytest.approx(factor, rel=0.03)


def test_nothing_is_kept_that_could_go_stale():
    layer = Recurrent(FEATURES, STATE)
    y = layer.forward(X)
    layer.W_recurrent *= 0.5
    y, dy = layer.forward(X), np.ones((7, STATE))
    expected = layer.backward(dy, X, y)
    layer.forward(-X)
    np.testing.assert_array_equal(layer.backward(dy, X, y), expected)


def test_sequences_of_other_lengths_go_through_one_network():
    network = Network([Recurrent(1, 4), Dense(4, 1)])
    for steps in (3, 8, 1, 3):
        x = np.random.default_rng(steps).standard_normal((5, steps))
        tape = network.forward(x)
        assert [a.shape for a in tape] == [(5, steps), (5, 4), (5, 1)]
        assert network.backward(np.ones((5, 1)), tape)[0].shape == (5, steps)


def test_states_in_front_are_those_of_the_sequence_cut_short():
    all_states, last = Recurrent(FEATURES, STATE, sequence=True), Recurrent(FEATURES, STATE)
    y = all_states.forward(X)
    for t in range(STEPS):
        expected = last.forward(X[:, : (t + 1) * FEATURES])
        np.testing.assert_allclose(y[:, t * STATE : (t + 1) * STATE], expected, rtol=1e-13, atol=1e-15)


def test_it_stands_between_layers_of_other_widths():
    layers = [Dense(2, 6), Tanh(), Recurrent(2, 3, sequence=True), Recurrent(3, 4), BatchNorm(4), Dense(4, 1)]
    assert [x.shape[-1] for x in Network(layers).forward(np.ones((5, 2)))] == [2, 6, 6, 9, 4, 4, 1]


@pytest.mark.parametrize(
    "layers, message",
    [
        ([Dense(3, 7), Recurrent(2, 3)],
         r"layers\[1\]: Recurrent\(2, 3, Tanh\(\)\) takes a multiple of 2 features, not 7, as "
         r"layers\[0\], Dense\(3, 7\), gives"),
        ([Recurrent(2, 3), Dense(2, 1)], r"layers\[1\]: Dense\(2, 1\) takes 2 .* layers\[0\], Recurrent.* gives 3"),
        ([Dense(2, 6), Recurrent(2, 3, sequence=True), Dense(3, 1)], r"takes 3 features, .* sequence=True\), gives 9"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        Network(layers)


def test_features_that_are_no_whole_steps_are_refused():
    message = r"Recurrent\(3, 4, Tanh\(\)\) takes a multiple of 3 features, not {}"
    for n in (2, 7, 0):
        for forward in (Recurrent(3, 4).forward, Network([Recurrent(3, 4)]).forward):
            with pytest.raises(ValueError, match=message.format(n)):
                forward(np.ones((5, n)))


def test_a_residual_knows_whether_it_can_tell_its_width():
    assert not hasattr(Residual([Recurrent(4, 8), Dense(8, 4)]), "n_in")
    assert Residual([Dense(4, 6), Recurrent(2, 4)]).n_in == 4
    with pytest.raises(ValueError, match="x has 4 features but f"):
        Residual([Dense(4, 6), Recurrent(2, 3)])


class Learns(Activation):
    def parameter_shapes(self):
        return {"a": (1, 1)}

    def forward(self, x):
        return 1.0 * x

    def derivative(self, x, y):
        return np.ones_like(x)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n_in": 0}, "Recurrent: n_in: 0 is not a whole number"),
        ({"n_out": 2.5}, "Recurrent: n_out: 2.5 is not a whole number"),
        ({"activation": "tan"}, "activation: 'tan' is not one of .*; did you mean 'tanh'"),
        ({"activation": Learns()}, r"activation: Learns\(\) learns"),
        ({"weight_init": "x"}, "weight_init: 'x' is not one of"),
        ({"recurrent_init": "identit"}, "recurrent_init: 'identit' is not one of .*; did you mean 'identity'"),
        ({"bias_init": "x"}, "bias_init: 'x' is not one of"),
        ({"gain": 0.0}, "Recurrent: gain: 0.0 is not a finite number above 0"),
        ({"recurrent_gain": -1.0}, "Recurrent: recurrent_gain: -1.0 is not a finite number above 0"),
        ({"sequence": 1}, "Recurrent: sequence: 1 is neither True nor False"),
    ],
)
def test_what_cannot_be_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(**{"n_in": 2, "n_out": 3, **arguments})


def test_the_first_weights_are_as_told():
    layer = Recurrent(2, 3, "relu", "constant", "identity", gain=0.5)
    np.testing.assert_array_equal(layer.W, np.full((2, 3), 0.5))
    np.testing.assert_array_equal(layer.W_recurrent, 0.5 * np.eye(3))
    np.testing.assert_array_equal(layer.b, 0.0)
    kept = Recurrent(2, 3, "relu", "constant", "identity", gain=0.5, recurrent_gain=1.0)
    np.testing.assert_array_equal(kept.W_recurrent, np.eye(3))
    mask = Network([layer]).weight_mask
    np.testing.assert_array_equal(mask, [1.0] * 6 + [1.0] * 9 + [0.0] * 3)


def test_an_activation_that_is_changed_holds_from_the_next_pass_on():
    network = Network([Recurrent(FEATURES, STATE, LeakyReLU(0.1))])
    before = network.forward(X)[-1].copy()
    network.layers[0].activation.slope = 0.9
    assert abs(network.forward(X)[-1] - before).max() > 0.1
    twin = copy.deepcopy(network)
    np.testing.assert_array_equal(twin.forward(X)[-1], network.forward(X)[-1])


def test_the_first_of_five_bits_is_learned():
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (256, 5))
    y = (x[:, :1] > 0).astype(float)
    network = Network([Recurrent(1, 8), Dense(8, 1)])
    for step in train(network, BinaryCrossEntropy(), Adam(0.01), x, y, epochs=30, batch_size=32):
        assert np.isfinite(step.loss)
    assert ((network.predict_proba(x) > 0.5) == (y > 0.5)).all()
