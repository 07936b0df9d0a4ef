"""The doctor: every kind is named on a case made by hand, and nothing is said of what is healthy.

The bank of planted faults, with what the prescriptions cure, is experiments/doctor.py.
"""

import copy
import functools

import numpy as np
import pytest
from sklearn.datasets import make_circles, make_classification, make_moons

from gradlab.flow import diagnose
from gradlab.flow.doctor import KINDS
from gradlab.flow.doctor.patient import Patient
from gradlab.lab.config import load_config
from gradlab.nn import (
    SGD,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Layer,
    Network,
    Recurrent,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    mlp,
)
from gradlab.training import train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((200, 2))
Y = (X[:, 0] * X[:, 1] > 0.0).astype(float)
WIDE = RNG.standard_normal((600, 150))
MOONS = make_moons(750, noise=0.2, random_state=0)
CIRCLES = make_circles(400, noise=0.1, factor=0.5, random_state=0)
RARE = make_classification(3000, 10, weights=[0.97], class_sep=0.8, random_state=0)
TWO = np.r_[RNG.standard_normal((198, 2)), np.full((2, 2), 8.0)], np.r_[np.zeros(198), np.ones(2)]
ABC = np.array(list("abc"))
BITS = RNG.choice([-1.0, 1.0], (400, 20))


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
    "exploding, at once": (lambda: net("identity", 16, gain=1e40), X, Y, {}),
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
    "narrow, no hidden layer": (lambda: net(depth=0), X, Y, {}),  # no line divides the samples
    "narrow": (lambda: Network(mlp([2, 1, 1], "relu")), *CIRCLES, {"optimizer": Adam(0.01)}),
    "unexplained": (lambda: net("sigmoid", 3), *CIRCLES, {}),  # a plateau that SGD does not leave in a moment
    "dropout": (lambda: net(dropout=0.9), *CIRCLES, {}),
    "residual": (lambda: Network(mlp([2, *[32] * 11, 1], "relu", residual=True)), *CIRCLES, {}),
    "rate_too_high, by far": (lambda: net("sigmoid"), *MOONS, {"optimizer": Adam(1000.0)}),
    "rate_too_low, by far": (lambda: net(), *MOONS, {"optimizer": SGD(1e-7)}),
    "imbalanced": (lambda: net(inputs=10), *RARE, {}),
    "imbalanced, two samples": (lambda: net(), *TWO, {}),
    "healthy, slow": (lambda: Network(mlp([2, 512, 1], "relu")), *MOONS, {}),
    "healthy, float32": (lambda: Network(mlp([2, 16, 16, 1], "relu"), dtype=np.float32), *MOONS, {}),
    "healthy, normalised and dropped": (lambda: net(batch_norm=True, dropout=0.2), *CIRCLES, {}),
    "healthy, momentum": (lambda: net(), *MOONS, {"optimizer": SGD(0.05, momentum=0.9)}),
    "healthy, few samples": (lambda: net("tanh"), CIRCLES[0][:40], CIRCLES[1][:40], {"optimizer": Adam(0.02)}),
    "healthy, names of classes": (lambda: net(), CIRCLES[0], np.where(CIRCLES[1] > 0, "in", "out"), {}),
    "healthy, names of three": (lambda: net(outputs=3), X, ABC[np.digitize(X[:, 0], [-0.5, 0.5])], {}),
    "healthy, a line": (lambda: net(depth=0), X, (X[:, 0] + X[:, 1] > 0.3).astype(float), {"optimizer": Adam(0.03)}),
    "vanishing, through time": (
        lambda: Network([Recurrent(1, 16, "sigmoid"), Dense(16, 1)]), BITS, BITS[:, 0] > 0.0, {"optimizer": Adam(0.01)},
    ),
    "healthy, through time": (
        lambda: Network([Recurrent(1, 16), Dense(16, 1)]), BITS[:, :8], BITS[:, 0] > 0.0, {"optimizer": Adam(0.01)},
    ),
    "wrong_loss, targets": (lambda: net(), X, 2.0 * Y - 1.0, {}),
}  # fmt: skip


@functools.cache
def diagnosis_of(name):
    make, x, y, options = CASES[name]
    return diagnose(make(), x, y, **options)


@pytest.mark.parametrize("name", CASES)
def test_each_kind_is_named(name):
    diagnosis = diagnosis_of(name)
    assert diagnosis.kind == name.split(",")[0], str(diagnosis)
    assert (str(diagnosis).startswith("nothing wrong")) == (diagnosis.kind == "healthy")
    for finding in diagnosis.findings:
        assert str(finding).startswith(f"{KINDS[finding.kind]}: ")
        assert finding.advice.endswith((".", "?"))


class Cube(Layer):
    def forward(self, x):
        return x**3

    def backward(self, dy, x, y):
        return dy * 3.0 * x**2


def test_a_prescription_is_never_what_is_so_already_and_was_tried():
    for name, (make, x, y, options) in CASES.items():
        for finding in diagnosis_of(name).findings:
            if finding.override or finding.python:
                assert finding.tried.startswith("tried here: "), name
            patient = Patient.admit(make(), x, y, options.get("loss"), options.get("optimizer"), None, None, 400, 0)
            if finding.override == "network.gain=1":
                assert any(layer.gain != 1.0 for layer in patient.hidden), name


def test_a_finding_does_not_contradict_the_one_before_it():
    findings = diagnose(net(), 1e4 * X, Y).findings
    assert [finding.kind for finding in findings] == ["unscaled"]


def test_two_faults_are_found_one_after_the_other():
    findings = diagnose(net("sigmoid", 8), 1e3 * X, Y, optimizer=SGD(1e-5)).findings
    assert [finding.kind for finding in findings][:2] == ["unscaled", "vanishing"]
    assert "rate_too_low" in [finding.kind for finding in findings]


def test_what_is_small_does_not_hide_behind_what_is_large():
    finding = diagnose(net(inputs=10), *RARE).findings[0]
    assert "97% are class 0" in finding.text
    assert finding.override == "training.class_weight=balanced"
    assert "class_weight='balanced'" in finding.python
    two = diagnose(net(), *TWO).findings
    assert [f.kind for f in two] == ["imbalanced"]
    assert "class 1 has 2 samples, too few to judge" in two[0].text


def test_units_that_died_in_training_are_named():
    network = net(depth=3)
    layer = network.layers[2]
    *_, step = train(network, BinaryCrossEntropy(), SGD(0.1), *MOONS, epochs=2, batch_size=32)
    layer.b[:, :12] = -50.0
    finding = diagnose(network, *MOONS).findings[0]
    assert finding.kind == "dead"
    assert "hidden layer 2" in finding.text
    assert "they died in training, units 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …" in finding.text
    assert diagnose(step).findings[0].text == finding.text  # a step knows what it was trained on


def test_a_prescription_is_written_for_the_shell_for_one_variant_and_for_python():
    finding = diagnose(net(), *MOONS, optimizer=SGD(1e-7)).findings[0]
    rate = finding.override.removeprefix("training.learning_rate=")
    assert finding.flags() == f"--set training.learning_rate={rate}"
    assert finding.flags("it's lr=0.1") == f"""--set 'it'"'"'s lr=0.1:training.learning_rate={rate}'"""
    assert finding.python == f"optimizer=SGD({rate})\nMLPClassifier(learning_rate_init={float(rate)})"
    deep = diagnose(net("sigmoid", 8), X, Y).findings[0].python
    assert deep.startswith('network=Network(mlp([2, 16, 16, 16, 16, 16, 16, 16, 16, 1], "relu"), seed=0)')


def test_every_kind_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(KINDS)


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
    overrides = {finding.override for name in CASES for finding in diagnosis_of(name).findings}
    assert len(overrides - {""}) >= 7
    for override in overrides:
        load_config(config, override.split())


def test_several_keys_are_printed_one_by_one():
    text = diagnose(net("sigmoid", 8), X, Y).as_text("")
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
        ((Network([Cube(), Dense(2, 1)]), X, Y), {}, r"Cube.* is not among the layers"),
        ((net(), None, Y), {}, "x, y: the data are needed; only a Step brings its own"),
        ((net(batch_norm=True), X, Y), {"batch_size": 1}, "batch_size: BatchNorm needs at least 2 samples"),
        ((net(), X, ABC[RNG.integers(0, 3, 200)]), {}, r"y: 3 classes .* 1 output\(s\) takes 2"),
        ((Network([Sigmoid()]), X, X > 0), {}, "has no weights"),
        (("network", X, Y), {}, "network: 'network' is not a Network"),
        ((net(), X[:, 0], Y), {}, r"x: an array of shape \(200,\) is not \(samples, features\)"),
        ((net(), X * np.nan, Y), {}, "of finite numbers"),
        ((net(), X, Y[:5]), {}, r"y: an array of shape \(5,\) does not hold a finite target for each of 200"),
        ((net(outputs=3), X, Y), {}, r"y: 2 classes in shape \(200,\); a network with 3 output"),
        ((net(outputs=3), X, Y[:, np.newaxis]), {}, r"y: 1 targets a sample for a network with 3 output"),
        ((net(), X, Y), {"loss": BinaryCrossEntropy}, "loss: .* is not a Loss"),
        ((net(), X, Y), {"moment": 0}, "moment: 0 is not a whole number"),
        ((net(), X, Y), {"batch_size": 0}, "batch_size: 0 is not a whole number"),
    ],
)
def test_what_cannot_be_diagnosed_is_named(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        diagnose(*arguments, **options)
