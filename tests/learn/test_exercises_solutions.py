"""The solutions of the exercises are right, by central differences and by gradlab's own layers; the tasks give no
answer."""

import ast
import importlib
import inspect

import numpy as np
import pytest

from gradlab.learn.exercises import EXERCISES
from gradlab.learn.exercises.adam.solution import adam_step
from gradlab.learn.exercises.batch_norm.solution import batch_norm, batch_norm_backward
from gradlab.learn.exercises.cross_entropy.solution import cross_entropy, cross_entropy_gradient
from gradlab.learn.exercises.dense_backward.solution import dense_backward
from gradlab.learn.exercises.dense_forward.solution import dense
from gradlab.learn.exercises.momentum.solution import momentum_step
from gradlab.learn.exercises.relu.solution import relu, relu_backward
from gradlab.learn.exercises.sigmoid.solution import sigmoid, sigmoid_backward
from gradlab.learn.exercises.softmax.solution import softmax_cross_entropy, softmax_cross_entropy_gradient
from gradlab.learn.exercises.squared_error.solution import squared_error, squared_error_gradient
from gradlab.learn.exercises.through_time.solution import recurrent, recurrent_backward
from gradlab.learn.exercises.two_layer_net.solution import backward, loss
from gradlab.nn import (
    SGD,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Network,
    ReLU,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
)
from gradlab.nn.recurrent import Recurrent

N, D, K = 5, 3, 4


def close(value, expected):
    return np.shape(value) == np.shape(expected) and value == pytest.approx(expected, rel=1e-10, abs=1e-12)


def slope(function, array, h=1e-6):
    """Return the gradient of a number by central differences, with the array moved in place, entry by entry."""
    gradient = np.empty_like(array)
    for entry in np.ndindex(array.shape):
        value = array[entry]
        array[entry] = value + h
        above = function()
        array[entry] = value - h
        gradient[entry] = (above - function()) / (2 * h)
        array[entry] = value
    return pytest.approx(gradient, rel=1e-6, abs=1e-8)


@pytest.fixture
def draw():
    return np.random.default_rng(0).standard_normal


@pytest.mark.parametrize(
    "forward, backward, layer", [(sigmoid, sigmoid_backward, Sigmoid()), (relu, relu_backward, ReLU())]
)
def test_activation(forward, backward, layer, draw):
    x, dy = draw((N, D)), draw((N, D))
    y = forward(x)
    dx = backward(dy, x, y)
    assert close(y, layer.forward(x))
    assert close(dx, layer.backward(dy, x, y))
    assert dx == slope(lambda: np.sum(dy * forward(x)), x)


def test_relu_at_zero():
    zero = np.zeros((1, 1))
    assert relu_backward(np.ones((1, 1)), zero, relu(zero)) == 0.0


def test_dense(draw):
    x, dy = draw((N, D)), draw((N, K))
    layer = Dense(D, K, bias_init="normal")
    W, b = layer.W, layer.b
    dx, dW, db = dense_backward(dy, x, W)
    assert close(dense(x, W, b), layer.forward(x))
    assert close(dx, layer.backward(dy, x, layer.forward(x)))
    assert close(dW, layer.dW)
    assert close(db, layer.db)
    for gradient, array in [(dx, x), (dW, W), (db, b)]:
        assert gradient == slope(lambda: np.sum(dy * dense(x, W, b)), array)


@pytest.mark.parametrize(
    "value, gradient, peer",
    [
        (squared_error, squared_error_gradient, SquaredError(on="sigmoid")),
        (cross_entropy, cross_entropy_gradient, BinaryCrossEntropy()),
        (softmax_cross_entropy, softmax_cross_entropy_gradient, SoftmaxCrossEntropy()),
    ],
)
def test_loss(value, gradient, peer, draw):
    z, t = draw((N, K)), np.exp(draw((N, K)))
    t /= np.sum(t, axis=1, keepdims=True)
    assert isinstance(value(z, t), float)
    assert close(value(z, t), peer.value(z, t))
    assert close(gradient(z, t), peer.gradient(z, t))
    assert gradient(z, t) == slope(lambda: value(z, t), z)


@pytest.mark.parametrize(
    "value, gradient, peer",
    [
        (cross_entropy, cross_entropy_gradient, BinaryCrossEntropy()),
        (softmax_cross_entropy, softmax_cross_entropy_gradient, SoftmaxCrossEntropy()),
    ],
)
def test_loss_of_huge_logits(value, gradient, peer):
    z = np.array([[1000.0, -1000.0], [-1000.0, 1000.0], [1000.0, 1000.0]])
    t = np.array([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    assert np.isfinite(value(z, t))
    assert close(value(z, t), peer.value(z, t))
    assert close(gradient(z, t), peer.gradient(z, t))


def test_two_layer_net(draw):
    x, t = draw((N, D)), np.array([[0.0], [1.0], [1.0], [0.3], [0.0]])
    network = Network([Dense(D, K, bias_init="normal"), Sigmoid(), Dense(K, 1, bias_init="normal")])
    hidden, _, output = network.layers
    params = hidden.W, hidden.b, output.W, output.b
    grads = [np.full(p.shape, 7.0) for p in params]  # what was there before is overwritten
    assert backward(x, t, *params, *grads) is None
    tape = network.forward(x)
    network.backward(BinaryCrossEntropy().gradient(tape[-1], t), tape)
    assert close(loss(x, t, *params), BinaryCrossEntropy().value(tape[-1], t))
    for gradient, peer, array in zip(grads, (hidden.dW, hidden.db, output.dW, output.db), params, strict=True):
        assert close(gradient, peer)
        assert gradient == slope(lambda: loss(x, t, *params), array)


def test_momentum(draw):
    params, velocity = draw(D), np.zeros(D)
    copy, optimizer = params.copy(), SGD(0.1, momentum=0.9)
    for _ in range(5):
        grads = draw(D)
        optimizer.step(copy, grads)
        assert momentum_step(params, grads, velocity, 0.1, 0.9) is None
        assert close(params, copy)
    assert close(velocity, optimizer.velocity)


def test_adam(draw):
    params, m, v = draw(D), np.zeros(D), np.zeros(D)
    copy, optimizer = params.copy(), Adam(0.1, 0.8, 0.95, 1e-3)
    for t in range(1, 6):
        grads = draw(D)
        optimizer.step(copy, grads)
        assert adam_step(params, grads, m, v, t, 0.1, 0.8, 0.95, 1e-3) is None
        assert close(params, copy)
    assert close(m, optimizer.m)
    assert close(v, optimizer.v)


def test_batch_norm(draw):
    x, dy = 3.0 * draw((N, D)) + 1.0, draw((N, D))
    layer = BatchNorm(D, epsilon=0.1)
    layer.training = True
    layer.gamma[...], layer.beta[...] = draw((1, D)), draw((1, D))
    gamma, beta = layer.gamma, layer.beta
    y = batch_norm(x, gamma, beta, 0.1)
    dx, dgamma, dbeta = batch_norm_backward(dy, x, gamma, 0.1)
    assert close(y, layer.forward(x))
    assert close(dx, layer.backward(dy, x, y))
    assert close(dgamma, layer.dgamma)
    assert close(dbeta, layer.dbeta)
    for gradient, array in [(dx, x), (dgamma, gamma), (dbeta, beta)]:
        assert gradient == slope(lambda: np.sum(dy * batch_norm(x, gamma, beta, 0.1)), array)


def test_through_time(draw):
    steps = 4
    x, dy = draw((steps, N, D)), draw((N, K))
    layer = Recurrent(D, K, activation="tanh", bias_init="normal")
    W, U, b = layer.W, layer.W_recurrent, layer.b
    h = recurrent(x, W, U, b)
    dx, dW, dU, db = recurrent_backward(dy, x, h, W, U)
    rows = x.transpose(1, 0, 2).reshape(N, -1)  # the layer takes a sequence a row
    assert close(h[-1], layer.forward(rows))
    assert close(dx.transpose(1, 0, 2).reshape(N, -1), layer.backward(dy, rows, h[-1]))
    assert close(dW, layer.dW)
    assert close(dU, layer.dW_recurrent)
    assert close(db, layer.db)
    for gradient, array in [(dx, x), (dW, W), (dU, U), (db, b)]:
        assert gradient == slope(lambda: np.sum(dy * recurrent(x, W, U, b)[-1]), array)


def parts(name):
    """Return the module of an exercise, its tree, and its functions."""
    module = importlib.import_module(f"gradlab.learn.exercises.{name}.solution")
    tree = ast.parse(inspect.getsource(module))
    return module, tree, [node for node in tree.body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", EXERCISES)
def test_module_is_a_task_and_a_solution(name):
    module, tree, functions = parts(name)
    title, gap, *task = module.__doc__.splitlines()
    assert title.endswith(".")
    assert not gap
    assert 10 <= len(task) <= 45
    assert name == module.EXERCISE
    assert len(tree.body) == 3 + len(functions)  # besides, the docstring, the import of NumPy, and EXERCISE
    for function in functions:
        doc = ast.get_docstring(function)
        assert "Parameters\n---" in doc
        assert ("Returns\n---" in doc) == (ast.unparse(function.returns) != "None")
        assert len(function.body) > 1


def squeezed(text):
    """Return text without what is written now one way, now another."""
    for old, new in {"·": "*", "@": "*", "−": "-", "ᵀ": ".T", "^": "**", "²": "**2", ".0": ""}.items():
        text = text.replace(old, new)
    return "".join(c for c in text if c not in " ()[]\n").lower()


def products(function):
    """Return what a function multiplies, adds and subtracts, indices aside, squeezed."""
    nodes = [node for part in function.body[1:] for node in ast.walk(part)]
    indices = {id(node) for index in nodes if isinstance(index, ast.Subscript) for node in ast.walk(index.slice)}
    return {squeezed(ast.unparse(n)) for n in nodes if isinstance(n, ast.BinOp) and id(n) not in indices}


@pytest.mark.parametrize("name", EXERCISES)
def test_task_does_not_give_the_answer(name):
    module, _, functions = parts(name)
    wanted = [function for function in functions if "backward" in function.name or "gradient" in function.name]
    for function in wanted:  # the way forward, and a step, are told in the task
        told = squeezed(module.__doc__ + ast.get_docstring(function))
        forward = set().union(*(products(other) for other in functions if other not in wanted))
        assert [answer for answer in products(function) - forward if answer in told] == []
