"""The doctor: every kind is named on a case made by hand, and nothing is said of what is healthy.

The bank of planted faults, with what the prescriptions cure, is experiments/doctor.py.
"""

import copy

import numpy as np
import pytest

from gradlab.flow import diagnose
from gradlab.flow.diagnose import WORDS
from gradlab.lab.config import load_config
from gradlab.nn import (
    SGD,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Network,
    Recurrent,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    mlp,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 2))
Y = (X[:, 0] * X[:, 1] > 0.0).astype(float)
WIDE = RNG.standard_normal((600, 150))


def net(activation="relu", depth=2, seed=0, inputs=2, outputs=1, **options):
    return Network(mlp([inputs, *[16] * depth, outputs], activation, **options), seed=seed)


def with_biases(network, value):
    for layer in network.layers[:-1]:
        if isinstance(layer, Dense):
            layer.b = value
    return network


CASES = {
    "healthy": (lambda: net(), X, Y, {}),
    "healthy, Adam": (lambda: net("tanh"), X, Y, {"optimizer": Adam(0.01)}),
    "healthy, one of three": (
        lambda: net(outputs=3), X, np.eye(3)[np.digitize(X[:, 0], [-0.5, 0.5])], {"loss": SoftmaxCrossEntropy()},
    ),
    "vanishing": (lambda: net("sigmoid", 8), X, Y, {}),
    "vanishing, small weights": (lambda: net("relu", 6, gain=0.1), X, Y, {}),
    "exploding": (lambda: net("relu", 8, gain=10.0), X, Y, {}),
    "exploding, at once": (lambda: net("identity", 30, gain=1e20), X, Y, {}),
    "saturated": (lambda: net("tanh", gain=30.0), X, Y, {}),
    "dead": (lambda: with_biases(net(), -20.0), X, Y, {}),
    "symmetric": (lambda: net("tanh", weight_init="constant"), X, Y, {}),
    "symmetric, zeros": (lambda: net(weight_init="zeros"), X, Y, {}),
    "rate_too_high": (lambda: net(), X, Y, {"optimizer": SGD(300.0)}),
    "rate_too_low": (lambda: net(), X, Y, {"optimizer": SGD(1e-5)}),
    "unscaled": (lambda: net(), 1000.0 * X, Y, {}),
    "unscaled, small": (lambda: net(), 1e-3 * X, Y, {}),
    "unscaled, one column": (lambda: net(), X * [1.0, 50.0], Y, {}),
    "no_signal": (lambda: net(), X, RNG.permutation(Y), {}),
    "wrong_loss": (lambda: net(), X, Y, {"loss": SquaredError(on="sigmoid")}),
    "wrong_loss, bent": (lambda: Network([*mlp([2, 8, 1], "relu"), Sigmoid()]), X, Y, {}),
    "wrong_loss, one output": (lambda: net(), X, Y, {"loss": SoftmaxCrossEntropy()}),
    "dead, nearly": (lambda: with_biases(net("leaky_relu"), -40.0), X, Y, {}),
    "dead, gelu": (lambda: with_biases(net("gelu"), -20.0), X, Y, {}),
    "saturated, biases": (lambda: with_biases(net("tanh"), 20.0), X, Y, {}),
    "unscaled, offset": (lambda: net("tanh"), 4.0 + 0.1 * X, Y, {}),
    "unscaled, one constant": (lambda: net("tanh", inputs=3), np.c_[1e-3 * X, np.ones(200)], Y, {}),
    "healthy, normalised": (lambda: Network([BatchNorm(2), *mlp([2, 16, 16, 1], "relu")]), 1000.0 * X, Y, {}),
    "healthy, many features": (
        lambda: net(inputs=150), WIDE, (WIDE @ np.linspace(-1.0, 1.0, 150) > 0.0).astype(float), {},
    ),
    "no_signal, one label": (lambda: net(), X, np.ones(200), {}),
    "unexplained": (lambda: net(depth=0), X, Y, {}),  # no line divides the samples
    "wrong_loss, targets": (lambda: net(), X, 2.0 * Y - 1.0, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_kind_is_named(name):
    make, x, y, options = CASES[name]
    diagnosis = diagnose(make(), x, y, **options)
    assert diagnosis.kind == name.split(",")[0], str(diagnosis)
    assert (str(diagnosis).startswith("nothing wrong")) == (diagnosis.kind == "healthy")
    for finding in diagnosis.findings:
        assert str(finding).startswith(f"{WORDS[finding.kind]}: ")
        assert finding.advice.endswith((".", "?"))


def test_every_kind_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(WORDS)


def test_the_numbers_are_those_that_can_be_measured():
    finding = diagnose(net("sigmoid", 8), X, Y).findings[0]
    network = net("sigmoid", 8)
    tape = network.forward(X)
    deltas = network.backward(BinaryCrossEntropy().gradient(tape[-1], Y[:, np.newaxis]), tape)
    first, last = (np.sqrt(np.mean(deltas[i] ** 2)) for i in (1, 15))
    assert finding.evidence["ratio"] == pytest.approx(first / last, rel=1e-10)
    assert f"{first / last:.2g}" in finding.text
    dead = diagnose(with_biases(net(), -20.0), X, Y).findings[0]
    assert dead.evidence == {"layer": 1.0, "share": 1.0}


def test_what_it_prescribes_can_be_pasted(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('data.name = "moons"\n')
    overrides = {
        finding.override for make, x, y, o in CASES.values() for finding in diagnose(make(), x, y, **o).findings
    }
    assert len(overrides - {""}) >= 7
    for override in overrides:
        load_config(config, override.split())


def test_several_keys_are_printed_one_by_one():
    text = str(diagnose(net("sigmoid", 8), X, Y))
    assert "--set network.activation=relu --set network.weight_init=he_normal --set network.gain=1" in text


def test_the_rate_that_it_prescribes_is_one_that_it_tried():
    finding = diagnose(net(), X, Y, optimizer=SGD(300.0)).findings[0]
    better = finding.evidence["better"]
    assert finding.override == f"training.learning_rate={better:.3g}"
    assert finding.evidence["left_at_better"] < finding.evidence["left"]
    cured = diagnose(net(), X, Y, optimizer=SGD(better))
    assert cured.kind == "healthy"


def test_nothing_given_is_changed():
    network, optimizer, x, y = net(batch_norm=True, dropout=0.2), Adam(0.01), X.copy(), Y.copy()
    before = copy.deepcopy(network)
    first = diagnose(network, x, y, optimizer=optimizer)
    np.testing.assert_array_equal(network.params, before.params)
    np.testing.assert_array_equal(network.state, before.state)
    assert (optimizer.t, optimizer.learning_rate) == (0, 0.01)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    assert diagnose(network, x, y, optimizer=optimizer) == first


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((Network(mlp([2, 3, 1]), seed=[0, 1]), X, Y), {}, "is of replicas; diagnose network.replica"),
        ((Network([Recurrent(1, 3), Dense(3, 1)]), X, Y), {}, r"Recurrent.* is not among the layers"),
        ((Network([Sigmoid()]), X, X > 0), {}, "has no weights"),
        (("network", X, Y), {}, "network: 'network' is not a Network"),
        ((net(), X[:, 0], Y), {}, r"x: an array of shape \(200,\) is not \(samples, features\)"),
        ((net(), X * np.nan, Y), {}, "of finite numbers"),
        ((net(), X, Y[:5]), {}, r"y: an array of shape \(5,\) does not hold a finite target for each of 200"),
        ((net(outputs=3), X, Y), {}, r"y: 1 targets a sample for a network with 3 output"),
        ((net(), X, Y), {"loss": BinaryCrossEntropy}, "loss: .* is not a Loss"),
        ((net(), X, Y), {"moment": 0}, "moment: 0 is not a whole number"),
        ((net(), X, Y), {"batch_size": 0}, "batch_size: 0 is not a whole number"),
    ],
)
def test_what_cannot_be_diagnosed_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        diagnose(*arguments, **options)
