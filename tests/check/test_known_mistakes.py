"""A wrong gradient is told apart by the mistake that makes its numbers."""

import re

import numpy as np
import pytest

from gradlab.check import check_gradients
from gradlab.check.mistakes import Suspect, find, of_a_factor, of_any_array, rounded
from gradlab.check.tracer import Graph
from gradlab.nn import Layer, Loss, Network
from gradlab.nn.part import stand_alone


def σ(x):
    return 1.0 / (1.0 + np.exp(-x))


class Affine(Layer):
    """A dense layer with one part of its backward pass after another to be replaced."""

    def __init__(self, n_in=4, n_out=3, **parts):
        self.n_in, self.n_out, self.parts = n_in, n_out, parts
        stand_alone(self)

    def parameter_shapes(self):
        return {"W": (self.n_in, self.n_out), "b": (1, self.n_out)}

    def initialize(self, rng):
        self.W[...], self.b[...] = rng.standard_normal(self.W.shape), rng.standard_normal(self.b.shape)

    def forward(self, x):
        return x @ self.W + self.b

    def backward(self, dy, x, y):
        part = {
            "dx": lambda: dy @ self.W.T,
            "dW": lambda: x.T @ dy,
            "db": lambda: dy.sum(axis=0),
        }
        result = {
            name: self.parts[name](self, dy, x, y) if name in self.parts else right() for name, right in part.items()
        }
        self.dW[...], self.db[...] = result["dW"], result["db"]
        return result["dx"]


OF_A_LAYER = {
    "sign": {"dW": lambda s, dy, x, y: -x.T @ dy},
    "mean twice": {"db": lambda s, dy, x, y: dy.mean(axis=0)},
    "mean missing": {"dW": lambda s, dy, x, y: len(x) * x.T @ dy},
    "wrong axis": {"db": lambda s, dy, x, y: dy.sum(axis=1)},
    "transposed": {"dx": lambda s, dy, x, y: dy @ s.W},
    "wrong layer": {"dW": lambda s, dy, x, y: y.T @ dy},
    "factor": {"dx": lambda s, dy, x, y: 0.5 * dy @ s.W.T},
    "dropped term": {"dW": lambda s, dy, x, y: x[1:].T @ dy[1:]},
    "zero": {"dx": lambda s, dy, x, y: np.zeros(x.shape)},
    "dtype": {"dW": lambda s, dy, x, y: (x.T @ dy).astype(np.float32)},
}


@pytest.mark.parametrize("mistake", OF_A_LAYER)
@pytest.mark.parametrize("n_out", [3, 4])  # where not all sizes are equal, some of these raise an error
def test_a_layer_s_mistake_is_named(mistake, n_out):
    result = check_gradients(Affine(4, n_out, **OF_A_LAYER[mistake]))
    assert not result
    assert result.mistake == mistake
    assert "Most likely: " in str(result)


def test_a_gradient_that_is_transposed_on_its_way_is_named():
    assert check_gradients(Affine(dW=lambda s, dy, x, y: dy.T @ x)).mistake == "transposed"


def test_an_error_that_no_mistake_explains_is_passed_on():
    with pytest.raises(ZeroDivisionError):
        check_gradients(Affine(dx=lambda s, dy, x, y: dy * (1 / 0)))


def test_a_right_layer_has_no_mistake():
    result = check_gradients(Affine())
    assert result
    assert (result.mistake, result.explanation) == ("", "")


def bend(function, backward):
    class Bend(Layer):
        def forward(self, x):
            return function(x)

        def backward(self, dy, x, y):
            return backward(dy, x, y)

    return Bend()


@pytest.mark.parametrize(
    "function, backward, mistake",
    [
        (np.sin, lambda dy, x, y: dy * np.cos(y), "slope at the output"),
        (σ, lambda dy, x, y: dy * x * (1 - x), "slope at the input"),
        (σ, lambda dy, x, y: dy, "slope missing"),
        (σ, lambda dy, x, y: y * (1 - y), "delta missing"),
        (σ, lambda dy, x, y: dy * (y * (1 - y)) ** 2, "slope twice"),
        (lambda x: x * σ(x), lambda dy, x, y: dy * σ(x), "dropped term"),
        (lambda x: x * σ(x), lambda dy, x, y: dy * (σ(x) - x * σ(x) * (1 - σ(x))), "sign"),
        (lambda x: x * σ(x), lambda dy, x, y: dy * (σ(x) + x), "slope missing"),
        (lambda x: x * σ(x), lambda dy, x, y: dy * (σ(x) + x * x * (1 - x)), "slope at the input"),
        (lambda x: x * np.sin(x), lambda dy, x, y: dy * (np.sin(x) + x * np.cos(np.sin(x))), "slope at the output"),
        (lambda x: x + np.sin(x), lambda dy, x, y: dy * np.cos(x), "dropped term"),
    ],
)
def test_an_activation_s_mistake_is_named(function, backward, mistake):
    assert check_gradients(bend(function, backward)).mistake == mistake


def normalise(x):
    mean = x.mean(axis=-1, keepdims=True)
    centred = x - mean
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 0.1)


def back(*ways):
    def backward(dy, x, y):
        s = np.sqrt(x.var(axis=-1, keepdims=True) + 0.1)
        through = {"mean": dy.mean(axis=-1, keepdims=True), "variance": y * (dy * y).mean(axis=-1, keepdims=True)}
        return (dy - sum(through[way] for way in ways)) / s

    return backward


@pytest.mark.parametrize(
    "ways, lines",
    [
        (["mean"], ["variance = (centred**2)"]),
        (["variance"], ["mean = x.mean("]),
        ([], ["mean = x.mean(", "variance = (centred**2)"]),
    ],
)
def test_a_path_that_is_forgotten_is_named_with_its_line(ways, lines):
    x = np.random.default_rng(0).standard_normal((5, 4))
    assert check_gradients(bend(normalise, back("mean", "variance")), x)
    result = check_gradients(bend(normalise, back(*ways)), x)
    assert result.mistake == "dropped term"
    shown = re.findall(r"line \d+, `([^`]*)`", result.explanation)
    assert [any(line in text for text in shown) for line in lines] == [True] * len(lines)


class Squared(Loss):
    def __init__(self, slope):
        self.slope = slope

    def value(self, logits, targets, weights=None):
        return 0.5 * np.mean(np.sum((σ(logits) - targets) ** 2, axis=-1))

    def gradient(self, logits, targets, weights=None):
        return self.slope(logits, targets)


@pytest.mark.parametrize(
    "slope, mistake",
    [
        (lambda z, t: (σ(z) - t) * σ(z) * (1 - σ(z)) / len(z), ""),
        (lambda z, t: (σ(z) - t) * σ(z) * (1 - σ(z)), "mean missing"),
        (lambda z, t: (σ(z) - t) / len(z), "slope missing"),
        (lambda z, t: (σ(z) - t) * z * (1 - z) / len(z), "slope at the input"),
        (lambda z, t: (σ(z) - t) * σ(z) * (1 - σ(z)) / z.size, "wrong axis"),
        (lambda z, t: 2 * (σ(z) - t) * σ(z) * (1 - σ(z)) / len(z), "factor"),
    ],
)
def test_a_loss_s_mistake_is_named(slope, mistake):
    result = check_gradients(Squared(slope))
    assert result.mistake == mistake
    assert bool(result) is not bool(mistake)


def test_a_loss_that_is_a_sum_is_no_mean():
    class Summed(Squared):
        def value(self, logits, targets, weights=None):
            return len(logits) * super().value(logits, targets)

    result = check_gradients(Summed(lambda z, t: (σ(z) - t) * σ(z) * (1 - σ(z))))
    assert result.mistake == "mean missing"
    assert "twice" in result.reason


def test_a_loss_that_changes_its_logits_is_found():
    class Careless(Squared):
        def value(self, logits, targets, weights=None):
            logits -= 1e-3
            return super().value(logits, targets)

    assert check_gradients(Careless(lambda z, t: z)).mistake == "changes input"


def test_what_would_make_the_right_numbers_explains_nothing():
    right = np.array([[1.0, 2.0], [2.0, 3.0]])
    assert find(right * 3.0, right, [Suspect("transposed", "", right.T)]) is None
    assert find(right.T * 3.0, right, of_a_factor(right * 3.0, right)).mistake == "factor"
    assert find(right + 1.0, right, of_any_array(right, 2, held=np.ones((2, 2)))).mistake == "added"


@pytest.mark.parametrize(
    "found, words", [([0.0, 1.0], "whole number"), (np.float32([0.1, 1.7]), "float32"), ([0.1, 1.7], "")]
)
def test_rounded_numbers_are_told(found, words):
    right = np.array([0.1, 1.7])
    assert words in rounded(np.array(found, dtype=float), right)
    assert bool(words) == bool(rounded(np.array(found, dtype=float), right))


def test_a_graph_follows_what_numpy_can_do():
    x = np.random.default_rng(0).standard_normal((3, 2))

    def function(x):
        y = np.concatenate([x, x[:, :1]], axis=1)
        y *= 2.0
        z = np.where(y.mean(axis=0) > 0.0, y, np.exp(y).T.reshape(3, 3))
        return np.tanh(np.maximum(z, -1.0)) + x.sum(axis=1, keepdims=True)

    graph, dy, h = Graph(function, {"x": x}), np.ones((3, 3)), 1e-6
    for entry, slope in np.ndenumerate(graph.gradient("x", dy)):
        step = np.zeros_like(x)
        step[entry] = h
        assert slope == pytest.approx(
            (function(x + step).sum() - function(x - step).sum()) / (2 * h), rel=1e-6, abs=1e-8
        )
    for use in graph.uses:
        assert graph.gradient("x", dy, weights={use: 1.0}) == pytest.approx(graph.gradient("x", dy))


@pytest.mark.parametrize("function", [lambda x: np.zeros(3), lambda x: np.array(x) * 2.0])
def test_what_cannot_be_followed_is_said(function):
    with pytest.raises(ValueError, match="followed"):
        Graph(function, {"x": np.ones(3)})


def test_a_network_s_own_layers_are_left_as_they_were():
    layer = Affine(dx=lambda s, dy, x, y: dy @ s.W.T * 2.0)
    network = Network([layer])
    params = network.params.copy()
    assert check_gradients(network).mistake == "factor"
    assert np.array_equal(network.params, params)
    assert np.shares_memory(layer.W, network.params)
