"""A gradient check that cannot fail proves nothing: right networks pass, and every planted fault is found."""

import numpy as np
import pytest

from gradlab.check import check_gradients
from gradlab.nn import (
    ACTIVATIONS,
    SGD,
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
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    mlp,
)
from gradlab.training import train

predicting_and_training = pytest.mark.parametrize("training", [False, True], ids=["predicting", "training"])


class Scale(Layer):
    """y = x·s + t, feature by feature: the smallest layer of one's own that learns."""

    def __init__(self, n):
        self.n_in = n

    def parameter_shapes(self):
        return {"s": (1, self.n_in), "t": (1, self.n_in)}

    def initialize(self, rng):
        self.s[...] = rng.uniform(0.5, 1.5, (1, self.n_in))

    def forward(self, x):
        return x * self.s + self.t

    def backward(self, dy, x, y):
        self.ds[...] = np.sum(dy * x, axis=-2, keepdims=True)
        self.dt[...] = np.sum(dy, axis=-2, keepdims=True)
        return dy * self.s


class SteepSigmoid(Sigmoid):
    def backward(self, dy, x, y):
        return dy * y * (1.0 - 0.999 * y)


class TransposedWeights(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.dW[...] = dy.mT @ x
        return dx


class BiasOverFeatures(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.db[...] = dy.sum(axis=-1)[:1]
        return dx


class AddedGradient(Dense):
    def backward(self, dy, x, y):
        before = self.dW.copy()
        dx = super().backward(dy, x, y)
        self.dW += before
        return dx


class MeanOverSamples(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.dW /= len(x)
        return dx


class FlippedBias(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.db *= -1.0
        return dx


class FlippedInput(Dense):
    def backward(self, dy, x, y):
        return -super().backward(dy, x, y)


class NoBias(Dense):
    def backward(self, dy, x, y):
        db = self.db.copy()
        dx = super().backward(dy, x, y)
        self.db[...] = db
        return dx


class NotANumber(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.dW[1, 2] = np.nan
        return dx


class OneEntrySlightlyOff(Dense):
    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.dW[2, 1] *= 1.0 + 1e-4
        return dx


class NothingReturned(Dense):
    def backward(self, dy, x, y):
        super().backward(dy, x, y)


class ShortInput(Dense):
    def backward(self, dy, x, y):
        return super().backward(dy, x, y)[:, :1]


class RightShapeByBroadcasting(Scale):
    """Its gradient is summed over everything, and NumPy spreads the number over all entries."""

    def backward(self, dy, x, y):
        dx = super().backward(dy, x, y)
        self.dt[...] = dy.sum()
        return dx


class ConstantMoments(BatchNorm):
    """The classical mistake: the batch's mean and variance depend on x too."""

    def backward(self, dy, x, y):
        super().backward(dy, x, y)
        return dy * self.gamma / np.sqrt(x.var(axis=-2, keepdims=True) + self.epsilon)


class ForgottenMask(Dropout):
    def backward(self, dy, x, y):
        return 1.0 * dy


class ForgottenWay(Residual):
    def backward(self, dy, x, y):
        return super().backward(dy, x, y) - dy


# faulty layer (4 features in, 4 out), parameter, entry if it is known, whether it shows only while training
FAULTS = {
    "slope": (SteepSigmoid, "x", None, False),
    "transposed": (lambda: TransposedWeights(4, 4), "W", None, False),
    "bias over features": (lambda: BiasOverFeatures(4, 4), "b", None, False),
    "added, not written": (lambda: AddedGradient(4, 4), "W", None, False),
    "divided by n": (lambda: MeanOverSamples(4, 4), "W", None, False),
    "sign of the bias": (lambda: FlippedBias(4, 4), "b", None, False),
    "sign of dx": (lambda: FlippedInput(4, 4), "x", None, False),
    "bias never written": (lambda: NoBias(4, 4), "b", None, False),
    "nan": (lambda: NotANumber(4, 4), "W", (1, 2), False),
    "one entry off by 1e-4": (lambda: OneEntrySlightlyOff(4, 4), "W", (2, 1), False),
    "dx missing": (lambda: NothingReturned(4, 4), "x", (), False),
    "shape of dx": (lambda: ShortInput(4, 4), "x", (), False),
    "summed too far": (lambda: RightShapeByBroadcasting(4), "t", None, False),
    "moments held constant": (lambda: ConstantMoments(4), "x", None, True),
    "mask forgotten": (lambda: ForgottenMask(0.5), "x", None, True),
    "way around forgotten": (lambda: ForgottenWay([Dense(4, 4), Tanh()]), "x", None, False),
    "inside a container": (lambda: Residual([Tanh(), MeanOverSamples(4, 4)]), "1.W", None, False),
}


@pytest.mark.parametrize("make, parameter, entry, training", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_planted_fault_is_found_where_it_stands(make, parameter, entry, training, place):
    layers = [Dense(4, 4), Tanh(), Dense(4, 4), Sigmoid()]
    layers.insert(place, make())
    network = Network(layers, seed=1)
    result = check_gradients(network, training=training)
    assert not result
    assert not result.ok
    assert (result.layer, result.parameter) == (place, parameter)
    assert result.name == repr(network.layers[place])
    assert result.error > result.tolerance
    if entry is not None:
        assert result.entry == entry
    sentence = str(result)
    assert sentence.startswith(f"gradients wrong: layer {place} ({result.name}): the gradient of {parameter} ")
    if result.entry:
        assert f"at {list(result.entry)} is {result.analytic:.10g}" in sentence
        assert f"the central difference is {result.numeric:.10g}" in sentence


@pytest.mark.parametrize("make, parameter, entry, training", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found_in_a_layer_alone(make, parameter, entry, training):
    result = check_gradients(make(), np.random.default_rng(1).standard_normal((5, 4)), training=training)
    assert not result
    assert (result.layer, result.parameter) == (0, parameter)


def test_a_wrong_shape_is_named():
    result = check_gradients(Network([ShortInput(4, 3)]))
    assert "has shape (5, 1), but x has (5, 4)" in str(result)
    assert np.isinf(result.error)


def test_the_size_of_a_small_fault_is_reported():
    result = check_gradients(Network([OneEntrySlightlyOff(4, 4)]))
    assert result.error == pytest.approx(1e-4, rel=1e-3)
    assert result.analytic == pytest.approx(result.numeric * (1.0 + 1e-4), rel=1e-8)


def test_a_fault_below_a_vanished_gradient_is_found():
    layers = [OneEntrySlightlyOff(4, 4), Sigmoid()]
    for _ in range(30):
        layers += [Dense(4, 4), Sigmoid()]
    result = check_gradients(Network(layers))
    assert not result
    assert (result.layer, result.parameter, result.entry) == (0, "W", (2, 1))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_passes(name):
    result = check_gradients(Network(mlp([3, 8, 8, 1], name)), loss=BinaryCrossEntropy())
    assert result, str(result)
    assert result.error < 1e-7


def test_thirty_sigmoid_layers_pass():
    network = Network(mlp([4, *[8] * 30, 1], "sigmoid"))
    tape = network.forward(np.random.default_rng(0).standard_normal((5, 4)))
    network.backward(np.ones_like(tape[-1]), tape)
    assert np.abs(network.layers[0].dW).max() < 1e-15 * np.abs(network.layers[-1].dW).max()  # it has vanished
    result = check_gradients(network, loss=BinaryCrossEntropy())
    assert result, str(result)
    assert result.checked > 30 * (8 * 8 + 8)


@predicting_and_training
def test_the_remedies_pass(training):
    layers = mlp([3, 6, 6, 6, 2], "tanh", batch_norm=True, dropout=0.3, residual=True)
    result = check_gradients(Network(layers), training=training, loss=SoftmaxCrossEntropy())
    assert result, str(result)


def test_a_float32_network_is_checked_in_float64():
    network = Network(mlp([3, 6, 6, 1], "tanh"), dtype=np.float32)
    result = check_gradients(network, loss=BinaryCrossEntropy())
    assert result, str(result)
    assert result.error < 1e-7  # float32 could not be told right to better than 1e-3


def test_of_replicas_the_first_is_checked():
    layers = mlp([3, 6, 1], "tanh", batch_norm=True)
    assert check_gradients(Network(layers, seed=[4, 5]), training=True) == check_gradients(
        Network(layers, seed=4), training=True
    )
    assert not check_gradients(Network([FlippedBias(4, 4), Tanh()], seed=[4, 5]))


def test_a_layer_is_checked_with_the_parameters_it_has():
    layer = Network([Dense(3, 2)], seed=5).layers[0]
    assert check_gradients(layer)
    layer.W[...] = np.nan
    assert not check_gradients(layer)


@predicting_and_training
def test_checking_leaves_the_network_and_its_data_as_they_were(training):
    network = Network(mlp([3, 4, 4, 1], "tanh", batch_norm=True, dropout=0.3, residual=True))
    network.grads[...] = 7.0
    x = np.random.default_rng(0).standard_normal((5, 3))
    x.flags.writeable = False
    kept = [array.copy() for array in (network.params, network.grads, network.state, x)]
    drawn = [str(generator.bit_generator.state) for generator in network.streams.generators]
    check_gradients(network, x, training=training, loss=BinaryCrossEntropy())
    for before, now in zip(kept, (network.params, network.grads, network.state, x), strict=True):
        assert np.array_equal(before, now)
    assert drawn == [str(generator.bit_generator.state) for generator in network.streams.generators]


class HalfGradient(BinaryCrossEntropy):
    def sample_gradients(self, logits, targets):
        return 0.5 * super().sample_gradients(logits, targets)


class SummedSquaredError(SquaredError):
    def gradient(self, logits, targets, weights=None):
        return super().gradient(logits, targets, weights) * len(logits)


@pytest.mark.parametrize("loss", [HalfGradient(), SummedSquaredError(), SummedSquaredError("sigmoid")])
def test_a_fault_in_the_loss_is_found(loss):
    result = check_gradients(Network(mlp([3, 4, 2], "tanh")), loss=loss)
    assert not result
    assert (result.layer, result.name, result.parameter) == (3, repr(loss), "x")
    assert str(result).startswith(f"gradients wrong: layer 3 ({loss!r})")


def test_targets_may_be_given():
    network = Network(mlp([3, 4, 2], "tanh"))
    assert check_gradients(network, loss=BinaryCrossEntropy(), targets=np.full((5, 2), 0.3))
    with pytest.raises(ValueError, match="targets of shape"):
        check_gradients(network, loss=BinaryCrossEntropy(), targets=np.ones(5))


@pytest.mark.parametrize("make", [ReLU, lambda: LeakyReLU(0.1), ACTIVATIONS["selu"]])
@pytest.mark.parametrize("near", [0.0, 1e-12, 1e-4 / 3.0, -8e-5])  # a third of a step: only the slope shows it
def test_a_kink_within_the_step_is_left_out_and_counted(make, near):
    result = check_gradients(make(), np.array([[near, 1.0, -1.0], [0.5, -0.5, near]]))
    assert result, str(result)
    assert (result.checked, result.kinks) == (4, 2)
    assert "4 entries compared, 2 left out at kinks" in str(result)


@pytest.mark.parametrize("away", [2e-4, -2e-4])
def test_a_kink_beyond_the_step_is_no_excuse(away):
    result = check_gradients(ReLU(), np.array([[away, 1.0]]))
    assert result
    assert (result.checked, result.kinks) == (2, 0)


def test_a_smooth_layer_has_no_kinks():
    for name in ("sigmoid", "tanh", "gelu", "silu", "softplus", "identity"):
        x = np.concatenate([np.linspace(-30.0, 30.0, 601), [0.0, 1e-9]])[:, np.newaxis]
        result = check_gradients(ACTIVATIONS[name](), x)
        assert result, str(result)
        assert (result.checked, result.kinks) == (603, 0)


def test_nothing_but_kinks_is_no_answer():
    with pytest.raises(ValueError, match="all 6 entries stand at kinks"):
        check_gradients(ReLU(), np.zeros((2, 3)))


def test_the_number_of_entries_compared_is_bounded():
    network = Network([Dense(20, 30)])
    assert check_gradients(network).checked == 5 * 20 + 20 * 30 + 30
    assert check_gradients(network, max_entries=50).checked == 50 + 50 + 30


def test_a_right_network_is_truthy_and_says_so():
    result = check_gradients(Network([Dense(3, 2)]))
    assert result
    assert result.ok
    assert result.reason == ""
    assert str(result).startswith("gradients right: worst relative error ")
    assert str(result).endswith(f"({result.checked} entries compared, 0 left out at kinks)")


def test_the_tolerance_decides():
    assert not check_gradients(OneEntrySlightlyOff(4, 4), tolerance=1e-6)
    assert check_gradients(OneEntrySlightlyOff(4, 4), tolerance=1e-3)


@pytest.mark.parametrize("arguments", [{"tolerance": 0.0}, {"max_entries": 0}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        check_gradients(Identity(), **arguments)


class ReplacedGradient(Scale):
    def backward(self, dy, x, y):
        self.ds = np.sum(dy * x, axis=-2, keepdims=True)
        self.dt[...] = np.sum(dy, axis=-2, keepdims=True)
        return dy * self.s


class ChangedParameter(Scale):
    def forward(self, x):
        self.s = 2.0 * self.s  # it is written where the parameter stands
        return super().forward(x)


class ReplacedParameter(Scale):
    def forward(self, x):
        vars(self)["s"] = 1.0 * self.s
        return super().forward(x)


class ForwardIntoInput(Tanh):
    def forward(self, x):
        return np.tanh(x, x)


class BackwardIntoDelta(Tanh):
    def backward(self, dy, x, y):
        dy *= 1.0 - y**2
        return dy


class BackwardIntoOutput(Tanh):
    def backward(self, dy, x, y):
        y *= y
        return dy * (1.0 - y)


class BackwardIntoInput(Identity):
    def backward(self, dy, x, y):
        x[...] = dy
        return x


class Noise(Identity):
    """Its random numbers are its own."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return x + self.rng.standard_normal(x.shape)


class Countdown(Identity):
    """Its slope is another at every call."""

    def __init__(self):
        self.calls = 0

    def backward(self, dy, x, y):
        self.calls += 1
        return dy / self.calls


IN_PLACE = "in place; use a new array"
AGAIN = "gives another result the second time; use nothing but its arguments and the parameters"

# faulty layer (4 features in, 4 out), the array concerned, what is said of it
BROKEN = {
    "gradient replaced": (lambda: ReplacedGradient(4), "s", "ds was replaced; write into it: self.ds[...] = …"),
    "parameter replaced": (lambda: ReplacedParameter(4), "s", "s was replaced; write into it: self.s[...] = …"),
    "parameter changed": (lambda: ChangedParameter(4), "y", f"forward {AGAIN}"),
    "replaced inside": (
        lambda: Residual([Tanh(), ReplacedGradient(4)]),
        "1.s",
        "1.ds was replaced; write into it: self.ds[...] = …",
    ),
    "x changed forward": (ForwardIntoInput, "x", f"forward changes x {IN_PLACE}"),
    "x changed backward": (BackwardIntoInput, "x", f"backward changes x {IN_PLACE}"),
    "y changed": (BackwardIntoOutput, "y", f"backward changes y {IN_PLACE}"),
    "dy changed": (BackwardIntoDelta, "dy", f"backward changes dy {IN_PLACE}"),
    "not a function": (Noise, "y", f"forward {AGAIN}"),
    "another slope every time": (Countdown, "x", f"backward {AGAIN}"),
}


@pytest.mark.parametrize("make, parameter, what", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_layer_that_breaks_its_contract_is_named(make, parameter, what, place):
    layers = [Dense(4, 4), Tanh(), Dense(4, 4), Sigmoid()]
    layers.insert(place, make())
    network = Network(layers, seed=1)
    for training in (False, True):
        result = check_gradients(network, training=training)
        assert not result
        assert (result.layer, result.name, result.parameter) == (place, repr(network.layers[place]), parameter)
        assert result.reason == f"layer {place} ({network.layers[place]!r}): {what}"
        assert (result.error, result.entry) == (np.inf, ())


@pytest.mark.parametrize("make, parameter, what", BROKEN.values(), ids=BROKEN.keys())
def test_a_layer_alone_that_breaks_its_contract_is_named(make, parameter, what):
    layer = make()
    assert check_gradients(layer).reason == f"layer 0 ({layer!r}): {what}"


class SameArrays(Identity):
    """It gives back what it is given, which is allowed."""

    def forward(self, x):
        return x

    def backward(self, dy, x, y):
        return dy


def test_a_layer_may_give_back_what_it_is_given():
    assert check_gradients(SameArrays())
    assert check_gradients(Network([Dense(3, 4), SameArrays(), Residual([SameArrays()]), Dense(4, 1)]))


class Wave(Layer):
    """sin(1000 x), which bends within the usual step."""

    slope = staticmethod(lambda x: 1000.0 * np.cos(1000.0 * x))

    def forward(self, x):
        return np.sin(1000.0 * x)

    def backward(self, dy, x, y):
        return dy * self.slope(x)


class WrongWave(Wave):
    slope = staticmethod(lambda x: np.full_like(x, 7.0))


class HalfWave(Wave):
    """A wave above zero only: below, its entries can be compared with the usual step."""

    slope = staticmethod(lambda x: np.where(x > 0.0, 7.0, 1.0))

    def forward(self, x):
        return np.where(x > 0.0, np.sin(1000.0 * x), x)


class Static(Wave):
    """Smooth nowhere: no step is small enough."""

    def forward(self, x):
        return np.sin(1e12 * x)


class DoubledReLU(ReLU):
    def backward(self, dy, x, y):
        return 2.0 * dy * (y > 0.0)


def test_what_bends_within_the_step_is_compared_over_a_smaller_one():
    result = check_gradients(Network([Dense(2, 4), Wave(), Dense(4, 1)]))
    assert result, str(result)
    assert result.kinks == 0


@pytest.mark.parametrize("make", [WrongWave, HalfWave])
def test_a_fault_where_it_bends_within_the_step_is_found(make):
    for result in (check_gradients(Network([Dense(2, 4), make(), Dense(4, 1)])), check_gradients(make())):
        assert not result
        assert (result.name, result.parameter) == (f"{make.__name__}()", "x")
        assert "the gradient of x at" in result.reason


def test_an_array_of_which_nothing_can_be_compared_is_named():
    result = check_gradients(Network([Dense(2, 4), Static(), Dense(4, 1)]))
    assert not result
    assert (result.layer, result.parameter) == (1, "x")
    assert result.reason.startswith("layer 1 (Static()): nothing to compare for x: ")


def test_next_to_kinks_only_a_fault_is_found():
    x = 1e-5 * np.random.default_rng(0).standard_normal((5, 4))  # every entry closer to 0 than the step
    network = Network([Identity(), DoubledReLU(), Dense(4, 1)])
    result = check_gradients(network, x)
    assert not result
    assert (result.layer, result.parameter) == (1, "x")
    assert check_gradients(Network([Identity(), ReLU(), Dense(4, 1)]), x)


def test_a_layer_all_at_kinks_is_left_out():
    result = check_gradients(Network([Dense(3, 400), ReLU(), Dense(400, 2)]), np.zeros((5, 3)))
    assert result, str(result)
    assert result.kinks == 1000


class Fixed(Layer):
    """Takes 4 features, and does not say so."""

    def forward(self, x):
        return x * np.arange(4.0)

    def backward(self, dy, x, y):
        return dy * np.arange(4.0)


def test_a_layer_that_does_not_tell_its_width_needs_an_x():
    with pytest.raises(ValueError, match=r"layer 1 \(Fixed\(\)\): .* 3 features.*: give x, or set n_in on the layer"):
        check_gradients(Network([Tanh(), Fixed()]))
    with pytest.raises(ValueError, match="broadcast") as told:
        check_gradients(Fixed(), np.ones((5, 3)))
    assert "n_in" not in str(told.value)
    assert check_gradients(Fixed(), np.ones((5, 4)))


class NothingGiven(Tanh):
    def forward(self, x):
        super().forward(x)


def test_a_forgotten_return_is_named():
    with pytest.raises(ValueError, match=r"layer 0 \(NothingGiven\(\)\): forward must return an array \(n, d\)"):
        check_gradients(NothingGiven())


@pytest.mark.parametrize("shape", [(3,), (2, 5, 3)])
def test_x_has_samples_and_features(shape):
    with pytest.raises(ValueError, match=r"is not \(samples, features\)"):
        check_gradients(Network([Dense(3, 2)]), np.ones(shape))


def test_something_else_is_refused():
    with pytest.raises(ValueError, match="'sigmoid' is neither a Network nor a Layer"):
        check_gradients("sigmoid")


@predicting_and_training
def test_a_layer_of_ones_own_is_checked_alone_and_in_a_network(training):
    network = Network([Dense(2, 3), Scale(3), Tanh(), Residual([Scale(3), Tanh()]), Dense(3, 1)], seed=3)
    assert [p.name for p in network.parameters] == ["0.W", "0.b", "1.s", "1.t", "3.0.s", "3.0.t", "4.W", "4.b"]
    assert check_gradients(network, training=training, loss=BinaryCrossEntropy())
    assert check_gradients(Scale(4), training=training)
    assert check_gradients(network.layers[1], training=training)


def test_a_layer_of_ones_own_trains():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 3))
    s, t = np.array([[2.0, -1.0, 0.5]]), np.array([[0.1, 0.2, -0.3]])
    network = Network([Scale(3)], seed=[0, 1])
    for _ in train(network, SquaredError(), SGD(0.1), x, x * s + t, epochs=100, batch_size=10):
        pass
    np.testing.assert_allclose(network.layers[0].s, [s, s], atol=1e-6)
    np.testing.assert_allclose(network.layers[0].t, [t, t], atol=1e-6)
