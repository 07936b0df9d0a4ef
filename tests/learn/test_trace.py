"""The explanation is read back: every line is computed again from its own text."""

import ast
import copy
import json
import math
import operator
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from gradlab.learn import explain
from gradlab.nn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Layer,
    Loss,
    Network,
    Recurrent,
    ReLU,
    Residual,
    RMSProp,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    mlp,
)
from gradlab.training import train

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Y = np.array([0.0, 1.0, 1.0, 0.0])
FUNCTIONS = {
    "σ": lambda z: 1.0 / (1.0 + math.exp(-z)),
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
    "sqrt": math.sqrt,
    "sign": lambda z: (z > 0.0) - (z < 0.0),
    "relu": lambda z: max(z, 0.0),
    "ReLU": lambda z: max(z, 0.0),
}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def worked(text):
    """Work out what a line says, and how large its terms are: rounding is relative to them."""

    def work(node):
        if isinstance(node, ast.Constant):
            return node.value, abs(node.value)
        if isinstance(node, ast.UnaryOp):
            value, size = work(node.operand)
            return -value, size
        if isinstance(node, ast.Call):
            value, size = work(node.args[0])
            result = FUNCTIONS[node.func.id](value)
            return result, max(1.0, abs(result), size)
        (a, size_a), (b, size_b) = work(node.left), work(node.right)
        value = OPERATORS[type(node.op)](a, b)
        if isinstance(node.op, ast.Add | ast.Sub):
            return value, size_a + size_b
        return value, size_a / abs(b) if isinstance(node.op, ast.Div) else OPERATORS[type(node.op)](size_a, size_b)

    plain = text.replace("·", "*").replace("−", "-").replace("²", "**2").replace("^", "**").replace("√", "sqrt")
    return work(ast.parse(plain.strip(), mode="eval").body)


def data(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    y = np.eye(k)[rng.integers(0, k, n)] if k > 1 else rng.integers(0, 2, (n, 1)).astype(float)
    return rng.normal(size=(n, d)), y


def recurrent(**options):
    return [Recurrent(1, 2, **options), Dense(6 if options else 2, 1)]


CASES = {
    "xor": (mlp([2, 2, 1]), BinaryCrossEntropy(), (X, Y), {"optimizer": SGD(0.5)}),
    "tanh, two outputs": (mlp([2, 3, 2], "tanh"), SoftmaxCrossEntropy(), data(3, 2, 2), {"l1": 0.01}),
    "relu": (mlp([3, 2, 2, 1], "relu"), SquaredError("sigmoid"), data(2, 3, 1), {"optimizer": Adam(0.1)}),
    "no hidden layer": (mlp([3, 2]), SquaredError(), data(4, 3, 2), {"optimizer": SGD(0.1, momentum=0.9), "l2": 0.1}),
    "many samples": (mlp([1, 1, 1]), BinaryCrossEntropy(), data(12, 1, 1), {"clip_norm": 0.01}),
    "large": (mlp([4, 30, 30, 3], ["sigmoid", "relu"]), SoftmaxCrossEntropy(), data(40, 4, 3), {"clip_norm": 0.01}),
    "remedies": (
        mlp([4, 16, 16, 1], "tanh", dropout=0.3, batch_norm=True, residual=True),
        BinaryCrossEntropy(),
        data(20, 4, 1),
        {"optimizer": AdamW(0.1)},
    ),
    "batch norm": (
        [Dense(2, 2), BatchNorm(2), Tanh(), Residual([Dense(2, 2)]), Dense(2, 1)],
        BinaryCrossEntropy(),
        data(3, 2, 1),
        {"optimizer": Adam(0.1, epsilon_hat=True), "l1": 0.01, "l2": 0.1, "clip_norm": 0.1},
    ),
    "last state": (recurrent(), SquaredError(), data(2, 3, 1), {"optimizer": RMSProp(0.1)}),
    "all states": (recurrent(sequence=True), SquaredError(), data(2, 3, 1), {"optimizer": SGD(0.1, 0.9, True)}),
}


@pytest.fixture(params=CASES)
def case(request):
    layers, loss, (x, y), options = CASES[request.param]
    return Network(layers, seed=1), loss, x, y, options


def test_every_line_comes_to_its_value_and_every_derivative_to_its_difference(case):
    network, loss, x, y, options = case
    explanation = explain(network, loss, x, y, **options)
    lines = json.loads(explanation.json())["lines"]
    assert len({line["quantity"] for line in lines}) == len(lines)
    for line in lines:
        if line["numeric"] is not None:
            value, size = worked(line["numeric"])
            assert line["value"] == pytest.approx(value, rel=1e-9, abs=1e-12 * size), line
        if line["quantity"].startswith("dL/d") and not line["kink"]:
            assert line["value"] == pytest.approx(line["finite_difference"], rel=1e-6, abs=1e-10), line
        assert line["mismatch"] is None
    assert explanation.mismatches == []


def test_the_terminal_s_text_comes_to_its_values_too(case):
    network, loss, x, y, options = case
    text = str(explain(network, loss, x, y, **options, precision=6))
    rows = [line.split("    central")[0] for line in text.splitlines() if re.match(r"    +=", line)]
    checked = 0
    for row in rows:
        *numbers, value = row.split(" = ")
        assert len(numbers) <= 2
        if len(numbers) == 2:
            found, size = worked(numbers[1])
            assert found == pytest.approx(float(value.replace("−", "-")), abs=4e-5 * size), row
            checked += 1
    assert checked >= len(rows) // 2


def test_the_numbers_are_those_of_the_step_that_training_takes():
    network = Network(mlp([2, 2, 1]), seed=3)
    found = {
        line["quantity"]: line["value"]
        for line in json.loads(explain(network, BinaryCrossEntropy(), X, Y, optimizer=SGD(0.5)).json())["lines"]
    }
    before = network.params.copy()
    step = next(train(network, BinaryCrossEntropy(), SGD(0.5), X, Y, epochs=1, batch_size=4, shuffle=False))
    hidden, _, output = network.layers
    for name, array in {"z1": step.tape[1], "a1": step.tape[2], "dL/dz1": step.deltas[1], "dL/dW1": hidden.dW}.items():
        for (i, j), value in np.ndenumerate(array):
            assert found[f"{name}[{i},{j}]"] == pytest.approx(value, rel=1e-12, abs=1e-15)
    assert found["L"] == pytest.approx(float(step.loss), rel=1e-12)
    assert found["W2'[1,0]"] == pytest.approx(output.W[1, 0], rel=1e-12)
    assert found["b1'[1]"] == pytest.approx(hidden.b[0, 1], rel=1e-12)
    assert found["L'"] == pytest.approx(float(BinaryCrossEntropy().value(network.forward(X)[-1], Y[:, None])))
    assert not np.array_equal(before, network.params)


def test_the_derivatives_are_those_of_backpropagation_written_out():
    network = Network(mlp([2, 3, 2], "tanh"), seed=2)
    x, t = data(3, 2, 2)
    lines = json.loads(explain(network, SoftmaxCrossEntropy(), x, t).json())["lines"]
    w1, w2 = network.layers[0].W, network.layers[2].W
    a = np.tanh(x @ w1 + network.layers[0].b)
    z = a @ w2 + network.layers[2].b
    dz2 = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) - t) / 3
    da = dz2 @ w2.T
    dz1 = da * (1 - a**2)
    reference = {"z2": dz2, "a1": da, "z1": dz1, "W2": a.T @ dz2, "W1": x.T @ dz1, "b2": dz2.sum(0), "b1": dz1.sum(0)}
    wanted = {
        f"dL/d{name}[{','.join(map(str, at))}]": value
        for name, array in reference.items()
        for at, value in np.ndenumerate(array)
    }
    found = {line["quantity"]: line["value"] for line in lines if line["quantity"].startswith("dL/d")}
    assert found == pytest.approx(wanted, rel=1e-10, abs=1e-14)


def test_the_derivatives_are_pytorch_s():
    torch = pytest.importorskip("torch")
    network = Network(mlp([3, 2, 2, 1], "relu"), seed=5)
    x, t = data(2, 3, 1, seed=3)
    parameters = {p.name: torch.tensor(getattr(p.layer, p.attribute), requires_grad=True) for p in network.parameters}
    h = torch.tensor(x)
    for i in (0, 2, 4):
        h = h @ parameters[f"{i}.W"] + parameters[f"{i}.b"]
        h = torch.relu(h) if i < 4 else h
    torch.nn.functional.binary_cross_entropy_with_logits(h, torch.tensor(t)).backward()
    found = {
        line["quantity"]: line["value"]
        for line in json.loads(explain(network, BinaryCrossEntropy(), x, t).json())["lines"]
    }
    for number, i in ((1, 0), (2, 2), (3, 4)):
        for at, value in np.ndenumerate(parameters[f"{i}.W"].grad.numpy()):
            assert found[f"dL/dW{number}[{at[0]},{at[1]}]"] == pytest.approx(float(value), rel=1e-10, abs=1e-14)


def test_batch_norm_and_what_goes_around_it_are_written_out():
    network = Network([Dense(2, 2), BatchNorm(2), Residual([Dense(2, 2), Tanh()]), Dense(2, 1)], seed=4)
    x, t = data(4, 2, 1)
    explanation = explain(network, BinaryCrossEntropy(), x, t)
    found = {line.symbol.show("text"): line.value for line in explanation.lines}
    first, norm, around, last = network.layers
    z = x @ first.W + first.b
    mean, variance = z.mean(axis=0), ((z - z.mean(axis=0)) ** 2).mean(axis=0)
    xhat = (z - mean) / np.sqrt(variance + norm.epsilon)
    f = np.tanh(xhat @ around.layers[0].W + around.layers[0].b)
    dz2 = (1 / (1 + np.exp(-((xhat + f) @ last.W + last.b))) - t) / 4
    dh3 = dz2 @ last.W.T
    back = (dh3 * (1 - f**2)) @ around.layers[0].W.T
    dh2 = dh3 + back
    dz1 = (dh2 - dh2.mean(axis=0) - xhat * (dh2 * xhat).mean(axis=0)) / np.sqrt(variance + norm.epsilon)
    wanted = {"mean2": mean, "variance2": variance, "xhat2": xhat, "f3": f, "back3": back, "dL/dh2": dh2, "dL/dz1": dz1}
    wanted |= {"dL/dgamma2": (dh2 * xhat).sum(axis=0), "dL/dbeta2": dh2.sum(axis=0)}
    for name, array in wanted.items():
        for at, value in np.ndenumerate(array):
            assert found[f"{name}[{','.join(map(str, at))}]"] == pytest.approx(value, rel=1e-10, abs=1e-14), name
    assert {line.words for line in explanation.lines if "BatchNorm" in line.words and not line.formula} == set()


OPTIMIZERS = {
    "momentum": SGD(0.2, momentum=0.8),
    "nesterov": SGD(0.2, momentum=0.8, nesterov=True),
    "rmsprop": RMSProp(0.05, decay=0.8, epsilon=1e-4),
    "adam": Adam(0.05, 0.7, 0.9, 1e-3),
    "epsilon hat": Adam(0.05, 0.7, 0.9, 1e-3, epsilon_hat=True),
    "adamw": AdamW(0.05, 0.7, 0.9, 1e-3, weight_decay=0.3),
    "adamw, masked": AdamW(0.05, 0.7, 0.9, 1e-3, weight_decay=0.3, mask=np.array([1, 1, 1, 1, 0, 0, 0.5, 1, 0])),
}


def textbook(name, o, p, g, m, v, t):
    """Return parameters and averages after step t, as the papers have it."""
    if name in ("momentum", "nesterov"):
        v = 0.8 * v + g
        return p - 0.2 * (g + 0.8 * v if name == "nesterov" else v), m, v
    if name == "rmsprop":
        v = 0.8 * v + 0.2 * g * g
        return p - 0.05 * g / (np.sqrt(v) + 1e-4), m, v
    m, v = 0.7 * m + 0.3 * g, 0.9 * v + 0.1 * g * g
    if name == "epsilon hat":
        return p - 0.05 * math.sqrt(1 - 0.9**t) / (1 - 0.7**t) * m / (np.sqrt(v) + 1e-3), m, v
    mask = np.ones_like(p) if getattr(o, "mask", None) is None else o.mask
    decayed = p - 0.05 * 0.3 * mask * p if name.startswith("adamw") else p
    return decayed - 0.05 * (m / (1 - 0.7**t)) / (np.sqrt(v / (1 - 0.9**t)) + 1e-3), m, v


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("penalties", [{}, {"l1": 0.01, "l2": 0.2, "clip_norm": 0.1}, {"clip_norm": 50.0}])
def test_the_update_is_the_textbook_s_from_whatever_the_optimizer_holds(name, penalties):
    network, optimizer, loss = Network(mlp([2, 2, 1]), seed=3), copy.deepcopy(OPTIMIZERS[name]), BinaryCrossEntropy()
    twin = Network(mlp([2, 2, 1]), seed=3)
    steps = train(network, loss, optimizer, X, Y, epochs=2, batch_size=4, shuffle=False, **penalties)
    assert len(list(steps)) == 2
    m = v = np.zeros(9)
    for t in (1, 2, 3):
        tape = twin.forward(X)
        twin.backward(loss.gradient(tape[-1], Y[:, None]), tape)
        g, weights = twin.grads.copy(), twin.weight_mask * twin.params
        g += penalties.get("l2", 0.0) * weights + penalties.get("l1", 0.0) * np.sign(weights)
        g *= min(1.0, penalties.get("clip_norm", np.inf) / np.linalg.norm(g))
        twin.params[...], m, v = textbook(name, optimizer, twin.params, g, m, v, t)
    explanation = explain(network, loss, X, Y, optimizer=optimizer, **penalties)
    assert explanation.mismatches == []
    found = {line.symbol.show("text"): line.value for line in explanation.lines}
    symbols = [*(f"W1[{j},{k}]" for j in (0, 1) for k in (0, 1)), "b1[0]", "b1[1]", "W2[0,0]", "W2[1,0]", "b2[0]"]
    for i, symbol in enumerate(symbols):
        letter, place = symbol.split("[")
        assert found[f"{letter}'[{place}"] == pytest.approx(twin.params[i], rel=1e-10)
        assert found[f"v'({symbol})"] == pytest.approx(v[i], rel=1e-9, abs=1e-18)
        assert found.get(f"m'({symbol})", m[i]) == pytest.approx(m[i], rel=1e-9, abs=1e-18)
    assert any(line.symbol.letter == "m" for line in explanation.lines) == ("adam" in name or name == "epsilon hat")


def test_what_is_squared_stands_in_brackets():
    explanation = explain(Network(mlp([2, 2, 1]), seed=0), BinaryCrossEntropy(), X, Y, optimizer=RMSProp())
    [line] = [line for line in explanation.lines if line.symbol.show("text") == "v'(b2[0])"]
    assert line.formula.symbols("text") == "decay·v(b2[0]) + (1 − decay)·(dL/db2[0])²"
    assert r"(\frac{\partial L}{\partial b^{(2)}_{0}})^2" in line.formula.symbols("latex")
    [line] = [line for line in explanation.lines if line.symbol.show("text") == "v'(W1[1,0])"]
    assert line.value > 0.0
    assert re.fullmatch(r"0\.9·0 \+ \(1 − 0\.9\)·(\(−[\d.]+\)|[\d.]+)²", line.formula.numbers("text", 4))


def test_nothing_that_is_given_changes():
    network, optimizer = Network(mlp([2, 3, 1], dropout=0.2, batch_norm=True), seed=0), Adam()
    params, grads, state = network.params.copy(), network.grads.copy(), network.state.copy()
    x, y = X.copy(), Y.copy()
    first = explain(network, BinaryCrossEntropy(), x, y, optimizer=optimizer).json()
    assert first == explain(network, BinaryCrossEntropy(), x, y, optimizer=optimizer).json()
    assert np.array_equal(network.params, params)
    assert np.array_equal(network.grads, grads)
    assert np.array_equal(network.state, state)
    assert np.array_equal(x, X)
    assert optimizer.t == 0


# what is wrong


class SlopeMissing(Sigmoid):
    def backward(self, dy, x, y):
        return 1.0 * dy


class Transposed(Dense):
    def backward(self, dy, x, y):
        super().backward(dy, x, y)
        return dy @ self.W


class SumNotMean(BinaryCrossEntropy):
    def gradient(self, logits, targets, weights=None):
        return super().gradient(logits, targets, weights) * len(logits)


@pytest.mark.parametrize(
    "layers, loss, first, right",
    [
        ([Dense(2, 2), SlopeMissing(), Dense(2, 1)], BinaryCrossEntropy(), "dL/dz1[0,0]", "dL/da1[0,0]"),
        ([Dense(2, 2), Sigmoid(), Transposed(2, 2), Tanh(), Dense(2, 1)], BinaryCrossEntropy(), "dL/da1", "dL/dh3"),
        (mlp([2, 2, 1]), SumNotMean(), "dL/dz2[0,0]", "L"),
    ],
)
def test_a_wrong_backward_pass_is_shown_where_it_is(layers, loss, first, right):
    explanation = explain(Network(layers, seed=1), loss, X, Y)
    wrong = [line.symbol.show("text") for line in explanation.mismatches]
    assert wrong[0].startswith(first)
    assert not any(name.startswith(right + "[") or name == right for name in wrong)
    text = str(explanation)
    assert f"the first is {first}" in text
    assert text.count("MISMATCH: ") == explanation.markdown().count("MISMATCH: ") == len(wrong)
    assert explanation.html().count("MISMATCH: ") == explanation.html().count('class="wrong"') == len(wrong)
    assert sum(line["mismatch"] is not None for line in json.loads(explanation.json())["lines"]) == len(wrong)
    assert "\x1b[31mMISMATCH" in explanation.text(colour=True)


def test_a_rule_that_the_network_does_not_follow_is_shown_even_without_a_difference():
    class Doubled(Sigmoid):
        def forward(self, x):
            return 2.0 * super().forward(x)

    explanation = explain(Network([Dense(2, 2), Doubled(), Dense(2, 1)]), BinaryCrossEntropy(), X, Y)
    assert explanation.mismatches[0].symbol.show("text") == "dL/dz1[0,0]"


def test_a_step_that_an_optimizer_does_not_take_by_its_rule_is_shown(monkeypatch):
    def uncorrected(self, params, grads):
        self.begin(params, grads)
        self.m += (1 - self.beta1) * (grads - self.m)
        self.v += (1 - self.beta2) * (grads**2 - self.v)
        params -= self.learning_rate * self.m / (np.sqrt(self.v) + self.epsilon)

    monkeypatch.setattr(Adam, "step", uncorrected)
    explanation = explain(Network(mlp([2, 2, 1])), BinaryCrossEntropy(), X, Y, optimizer=Adam())
    wrong = {line.symbol.show("text") for line in explanation.mismatches}
    assert {"W1'[0,0]", "b2'[0]"} <= wrong
    assert not any(name.startswith(("dL", "m", "v")) for name in wrong)


def test_a_batch_norm_that_takes_its_mean_for_a_constant_is_shown(monkeypatch):
    right = BatchNorm.backward

    def detached(self, dy, x, y):
        right(self, dy, x, y)
        return dy * self.gamma / np.sqrt(x.var(axis=-2, keepdims=True) + self.epsilon)

    monkeypatch.setattr(BatchNorm, "backward", detached)
    explanation = explain(Network([Dense(2, 2), BatchNorm(2), Dense(2, 1)], seed=1), BinaryCrossEntropy(), X, Y)
    assert explanation.mismatches[0].symbol.show("text") == "dL/dz1[0,0]"
    assert "the rule gives" in explanation.mismatches[0].problem
    assert "the central difference is" in explanation.mismatches[0].problem


def test_an_optimizer_of_one_s_own_is_shown_by_what_it_adds():
    class Signs(SGD):
        def step(self, params, grads):
            params -= self.learning_rate * np.sign(grads)

    explanation = explain(Network(mlp([2, 2, 1])), BinaryCrossEntropy(), X, Y, optimizer=Signs(0.25))
    [line] = [line for line in explanation.lines if line.symbol.show("text") == "b2'[0]"]
    assert line.formula.symbols("text") == "b2[0] + Δ(b2[0])"
    assert line.formula.numbers("text", 3) == "0 + (−0.25)"


def test_a_kink_is_noted_and_not_compared():
    network = Network([Dense(1, 1), ReLU(), Dense(1, 1)], seed=0)
    explanation = explain(network, SquaredError(), np.zeros((1, 1)), np.ones((1, 1)))
    [line] = [line for line in explanation.lines if line.symbol.show("text") == "dL/dz1[0,0]"]
    assert line.kink
    assert line.finite_difference is None
    assert "kink: no difference to compare" in str(explanation)
    assert "2 left out at kinks: no lines with a mismatch" in explanation.verdict  # z1 and b1


def test_a_layer_and_a_loss_of_one_s_own_are_shown_without_a_formula():
    class Cube(Layer):
        def forward(self, x):
            return x**3

        def backward(self, dy, x, y):
            return dy * 3 * x**2

    class Quartic(Loss):
        def sample_losses(self, logits, targets):
            return np.sum((logits - targets) ** 4, axis=-1)

        def sample_gradients(self, logits, targets):
            return 4 * (logits - targets) ** 3

    explanation = explain(Network([Dense(2, 2), Cube(), Dense(2, 1)], seed=0), Quartic(), X, Y)
    assert explanation.mismatches == []
    assert "dL/dz1[3,1] = by Cube()" in str(explanation)


# how it is written


def test_a_large_network_is_no_wall_of_numbers():
    x, y = data(100, 20, 1)
    narrow, wide = (
        explain(Network(mlp([20, *[width] * 4, 1], "relu"), seed=0), BinaryCrossEntropy(), x, y) for width in (10, 50)
    )
    text = str(wide)
    assert len(wide.lines) == len(narrow.lines) < 60
    assert max(map(len, text.splitlines())) < 300
    assert wide.mismatches == []
    assert "3: ReLU()" in text
    assert "100 × 50" in text
    assert "gradients right" in text


def test_a_deep_network_is_worked_at_both_ends_and_what_vanished_is_not_called_wrong():
    x, y = data(100, 2, 1)
    explanation = explain(Network(mlp([2, *[32] * 30, 1]), seed=0), BinaryCrossEntropy(), x, y)
    assert explanation.mismatches == []
    assert "Layers 6 to 54 go the same way, and are left out." in explanation.notes
    [line] = [line for line in explanation.lines if line.symbol.show("text").startswith("dL/dW1[")]
    assert 0.0 < abs(line.value) < 1e-20
    assert line.too_small
    assert "of them smaller than their rounding" in explanation.verdict
    assert re.search(r"central difference \S+ \(rounding up to \de-\d+\)", str(explanation))
    assert len(explanation.lines) < 60


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.opened, self.seen = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        if tag != "meta":
            self.opened.append(tag)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag


def test_html_is_one_sound_page_without_scripts_or_links(case):
    network, loss, x, y, options = case
    explanation = explain(network, loss, x, y, **options)
    page = explanation.html()
    tags = Tags(page)
    assert tags.opened == []
    assert tags.seen <= {
        *("html", "head", "meta", "title", "body", "style", "div", "h1", "h2"),
        *("p", "table", "tr", "th", "td", "i", "sub", "sup", "br"),
        *("svg", "g", "rect", "circle", "line", "polygon", "text"),
    }
    assert "http" not in page
    assert explanation._repr_html_() in page
    assert "∂<i>L</i>/\N{WORD JOINER}∂<i>W</i><sup>(1)</sup><sub>" in page


def test_markdown_is_latex_in_tables(case):
    network, loss, x, y, options = case
    explanation = explain(network, loss, x, y, **options)
    text = explanation.markdown()
    assert text == explanation._repr_markdown_()
    assert r"\frac{\partial L}{\partial W^{(1)}_{" in text
    for row in (row for row in text.splitlines() if row.startswith("| $")):
        assert row.count("|") == 5
        for formula in re.findall(r"\$([^$]*)\$", row):
            assert formula.count("{") == formula.count("}")
            assert not set(formula) & set("−·²σ…×√Δ")
            assert not re.search(r"\^\{[^{}]*\}(_\{[^{}]*\})?\^", formula)  # which TeX refuses


def test_samples_make_the_batch_and_precision_the_digits():
    network = Network(mlp([2, 2, 1]), seed=0)
    one = explain(network, BinaryCrossEntropy(), X, Y, samples=[2], precision=9)
    same = explain(network, BinaryCrossEntropy(), X[2:3], Y[2:3])
    assert [line.value for line in one.lines] == [line.value for line in same.lines]
    assert "sample 2" in one.title
    z = network.layers[0].W[1, 0] * X[2, 1] + network.layers[0].W[0, 0] * X[2, 0]
    assert f"= σ({z:.9g}) = {1 / (1 + math.exp(-z)):.9g}\n" in str(one)


def test_float32_is_worked_in_float64_and_says_so():
    explanation = explain(Network(mlp([2, 2, 1]), dtype=np.float32), BinaryCrossEntropy(), X, Y)
    assert explanation.mismatches == []
    assert "The network is in float32" in str(explanation)


@pytest.mark.parametrize("kind", [SGD, RMSProp, AdamW])
def test_what_an_optimizer_holds_in_float32_is_no_mismatch(kind):
    network = Network(mlp([2, 2, 1]), dtype=np.float32)
    optimizer = kind(0.1, 0.9)
    list(train(network, BinaryCrossEntropy(), optimizer, X, Y, epochs=3, batch_size=4))
    assert explain(network, BinaryCrossEntropy(), X, Y, optimizer=optimizer).mismatches == []
    assert all(a.dtype == np.float32 for a in vars(optimizer).values() if isinstance(a, np.ndarray))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"samples": [4]}, r"samples\[0\]: 4 is not one of the 4 samples"),
        ({"samples": [0, 0]}, r"samples\[1\]: 0 is named twice"),
        ({"samples": [-1]}, r"samples\[0\]: -1 is not a whole number"),
        ({"samples": []}, "samples: name at least one"),
        ({"precision": 0}, "precision: 0 is not a whole number of at least 1"),
        ({"precision": 18}, "precision: 18 is more than the 17 digits"),
        ({"x": X[:, :1]}, "features"),
        ({"y": Y[:3]}, "y: an array of shape"),
        ({"y": Y + 1}, "takes targets from 0 to 1"),
        ({"x": np.full((4, 2), np.nan)}, "x: nan at"),
        ({"network": Network(mlp([2, 2, 1]), seed=[0, 1])}, "network: it has replicas"),
        ({"network": None}, "network: None is not a Network"),
        ({"loss": "squared_error"}, "loss: 'squared_error' is not a Loss"),
        ({"optimizer": "sgd"}, "optimizer: 'sgd' is not an Optimizer"),
        ({"l2": -1.0}, "l2: "),
    ],
)
def test_a_mistake_is_named(changes, message):
    arguments = {"network": Network(mlp([2, 2, 1])), "loss": BinaryCrossEntropy(), "x": X, "y": Y} | changes
    with pytest.raises(ValueError, match=message):
        explain(**arguments)
