"""The drawing is read back: its numbers are the step's, its marks are in proportion, and nothing stands on another."""

import copy
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from gradlab.learn import diagram, explain
from gradlab.nn import (
    BinaryCrossEntropy,
    Dense,
    Identity,
    Layer,
    Network,
    Recurrent,
    Residual,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    mlp,
)

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"−?\d+(?:\.\d+)?(?:e[+−]\d+)?")


class Reversed(Layer):
    """Somebody's own layer."""

    def forward(self, x):
        return 1.0 * x[..., ::-1]

    def backward(self, dy, x, y):
        return 1.0 * dy[..., ::-1]


def data(n, d, k, seed=0):
    rng = np.random.default_rng(seed)
    y = np.eye(k)[rng.integers(0, k, n)] if k > 1 else rng.integers(0, 2, (n, 1)).astype(float)
    return rng.normal(size=(n, d)), y


CASES = {
    "1-1": (mlp([1, 1]), BinaryCrossEntropy(), data(1, 1, 1)),
    "2-2-1": (mlp([2, 2, 1]), BinaryCrossEntropy(), data(4, 2, 1)),
    "3-3-3-2": (mlp([3, 3, 3, 2], "tanh", bias_init="normal"), SoftmaxCrossEntropy(), data(5, 3, 2)),
    "30-64-64-3": (mlp([30, 64, 64, 3], "relu"), SoftmaxCrossEntropy(), data(20, 30, 3)),
    "30 deep": (mlp([2, *[32] * 30, 1]), BinaryCrossEntropy(), data(20, 2, 1)),
    "10 deep": (mlp([1, *[2] * 8, 1], "tanh"), SquaredError(), data(3, 1, 1)),
    "remedies": (
        mlp([4, 9, 9, 1], "tanh", dropout=0.3, batch_norm=True, residual=True),
        BinaryCrossEntropy(),
        data(12, 4, 1),
    ),
    "no Dense at all": ([Recurrent(2, 3), Reversed(), Residual([Tanh()])], SquaredError(), data(4, 6, 3)),
    "nothing comes back": ([Dense(2, 2), Identity()], SquaredError(), (np.zeros((1, 2)), np.zeros((1, 2)))),
    "all sizes": ([Dense(3, 2)], SquaredError(), (np.array([[-1e-9, 1e9, -123456.0]]), np.array([[-1e-12, 1e12]]))),
}


@pytest.fixture(params=CASES)
def case(request):
    layers, loss, (x, y) = CASES[request.param]
    return Network(copy.deepcopy(layers), seed=1), loss, x, y


def shown(text):
    return f"{text:.3g}".replace("-", "−")


def number(text):
    return float(text.replace("−", "-"))


def titles(root, kind):
    """Yield what each unit or weight says when pointed at: names and numbers; and its element."""
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == kind:
            text = group.find(f"{SVG}title").text
            yield {name: number(value) for name, value in (line.split(" = ") for line in text.splitlines())}, group


def test_every_number_is_one_of_the_step_s(case):
    network, loss, x, y = case
    sample = len(x) - 1
    root = ElementTree.fromstring(str(diagram(network, loss, x, y, sample=sample)))
    taken = copy.deepcopy(network)
    tape = taken.forward(x, training=True)
    deltas = taken.backward(loss.gradient(tape[-1], y), tape)
    step = {number for array in (*tape, *deltas) for number in array[sample].tolist()}
    step |= set(network.params.tolist()) | set(taken.grads.tolist())
    for kind in ("unit", "weight"):
        for values, _ in titles(root, kind):
            assert set(values.values()) <= step
    own = float(loss.value(tape[-1][sample:], y[sample:]))
    losses = {own, float(loss.value(tape[-1], y))}
    texts = {shown(value) for value in (*step, *losses, *map(abs, step), *y[sample])}
    written = [text.text for text in root.iter(f"{SVG}text")]
    assert f"Its loss is {shown(own)}" in written[1]
    numbers = [text for text in written if NUMBER.fullmatch(text)] + re.findall(r"widest is (\S+)", " ".join(written))
    numbers += [text.rpartition(" b ")[2] for text in written if re.match(r"[az]\d", text)]
    assert set(numbers) <= texts
    assert len(numbers) > 4


def test_widths_go_by_size_and_colours_by_sign(case):
    network, loss, x, y = case
    root = ElementTree.fromstring(str(diagram(network, loss, x, y)))
    widths, colours = [], {}
    for values, group in titles(root, "weight"):
        line, weight = group.find(f"{SVG}line"), next(iter(values.values()))
        widths.append((abs(weight), float(line.get("stroke-width"))))
        colours.setdefault(weight < 0, set()).add(line.get("stroke"))
    by_weight = [width for _, width in sorted(widths)]
    assert by_weight == sorted(by_weight)
    rings = []
    for values, group in titles(root, "unit"):
        delta = next(value for name, value in values.items() if name.startswith("dL/d"))
        ring = [c for c in group.iter(f"{SVG}circle") if c.get("class") == "ring"]
        rings.append((abs(delta), float(ring[0].get("stroke-width")) if ring else 0.0))
        if ring:
            colours.setdefault(delta < 0, set()).add(ring[0].get("stroke"))
    by_delta = [width for _, width in sorted(rings)]
    assert by_delta == sorted(by_delta)
    assert all(len(found) == 1 for found in colours.values())
    assert len(set.union(set(), *colours.values())) == len(colours)


def box(text):
    """Return where a text stands, a letter taken as 0.6 of the font's size: left, right, top, bottom."""
    size, x, y = (float(text.get(name)) for name in ("font-size", "x", "y"))
    width = 0.6 * size * len(text.text)
    left = x - width * {"start": 0.0, "middle": 0.5}[text.get("text-anchor")]
    return left, left + width, y - 0.75 * size, y + 0.2 * size


def overlap(a, b):
    return min(a[1], b[1]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[2], b[2])


def test_nothing_is_cut_and_nothing_stands_on_another(case):
    network, loss, x, y = case
    root = ElementTree.fromstring(str(diagram(network, loss, x, y)))
    _, _, width, height = map(float, root.get("viewBox").split())
    background = root.find(f"{SVG}rect")
    assert (background.get("width"), background.get("height")) == (f"{width:g}", f"{height:g}")
    texts = [(text.text, box(text)) for text in root.iter(f"{SVG}text")]
    discs = []
    for _, group in titles(root, "unit"):
        circles = list(group.iter(f"{SVG}circle"))
        cx, cy = (float(circles[0].get(name)) for name in ("cx", "cy"))
        r = max(float(c.get("r")) + float(c.get("stroke-width", 0.0)) / 2.0 for c in circles)
        discs.append((cx, (cx - r, cx + r, cy - r, cy + r)))
    for _, place in (*texts, *discs):
        assert place[0] >= 0.0
        assert place[1] <= width
        assert place[2] >= 0.0
        assert place[3] <= height
    for (a, first), (b, second) in combinations(texts, 2):
        assert not overlap(first, second), (a, b)
    for (_, first), (_, second) in combinations(discs, 2):
        assert not overlap(first, second)
    for cx, disc in discs:
        inside = [text for text, place in texts if overlap(disc, place)]
        assert len(inside) == 1, inside
        [place] = [place for text, place in texts if text == inside[0] and overlap(disc, place)]
        assert place[1] - place[0] <= 52.0
        assert (place[0] + place[1]) / 2.0 == pytest.approx(cx)
    for name in ("line", "polygon"):
        for element in root.iter(f"{SVG}{name}"):
            xs = [float(element.get(key)) for key in ("x1", "x2") if name == "line"]
            xs += [float(point.split(",")[0]) for point in element.get("points", "").split()]
            assert all(0.0 <= at <= width for at in xs)


def test_a_wide_layer_shows_the_units_with_the_largest_deltas_and_counts_the_others():
    layers, loss, (x, y) = CASES["30-64-64-3"]
    network = Network(copy.deepcopy(layers), seed=1)
    root = ElementTree.fromstring(str(diagram(network, loss, x, y, sample=3)))
    tape = network.forward(x, training=True)
    deltas = network.backward(loss.gradient(tape[-1], y), tape)
    names = [next(iter(values)) for values, _ in titles(root, "unit")]
    for letter, array in (("x", deltas[0]), ("a1", deltas[1]), ("a2", deltas[3]), ("z3", deltas[5])):
        found = [int(name.split(",")[1][:-1]) for name in names if name.startswith(f"{letter}[3,")]
        assert found == sorted(np.argsort(-np.abs(array[3]))[:6].tolist())
    more = [text.text for text in root.iter(f"{SVG}text") if "more" in text.text]
    assert more == ["… 24 more", "… 58 more", "… 58 more"]
    assert len(list(titles(root, "weight"))) == 6 * 6 + 6 * 6 + 6 * 3


def test_a_deep_network_says_which_layers_are_left_out():
    layers, loss, (x, y) = CASES["30 deep"]
    root = ElementTree.fromstring(str(diagram(Network(layers, seed=1), loss, x, y)))
    written = [text.text for text in root.iter(f"{SVG}text")]
    heads = [int(found[1]) for text in written if (found := re.fullmatch(r"ring dL/dz(\d+)", text))]
    assert heads == [1, 2, 3, 28, 29, 30, 31]
    assert "layers 6 to 53" in written  # what is behind z3 and a3, and before z28
    assert isinstance(layers[6], Dense)
    assert isinstance(layers[54], Dense)


def test_what_has_no_weights_is_a_line_or_a_band():
    layers, loss, (x, y) = CASES["no Dense at all"]
    root = ElementTree.fromstring(str(diagram(Network(layers, seed=1), loss, x, y)))
    assert len(list(root.iter(f"{SVG}polygon"))) == 3  # Recurrent, Reversed, Residual
    assert list(titles(root, "weight")) == []
    written = [text.text for text in root.iter(f"{SVG}text")]
    assert "Residual([Tanh()])" in written
    assert any(text.startswith("grey band") for text in written)
    assert any(text.startswith("grey line") for text in written)
    assert not any(text.startswith("line: a weight") for text in written)


def test_it_is_drawn_for_the_sample_that_is_named_or_that_the_explanation_follows():
    network, (x, y) = Network(mlp([2, 2, 1]), seed=0), data(5, 2, 1)
    drawn = str(diagram(network, BinaryCrossEntropy(), x, y, sample=4))
    assert "sample 4 of a batch of 5" in drawn
    assert "x[4,0] = " in drawn
    some = str(diagram(network, BinaryCrossEntropy(), x, y, samples=[3, 1], sample=1))
    assert "sample 1, row 1 of a batch of 2" not in some
    assert "sample 1 of a batch of 2" in some
    other = str(diagram(network, BinaryCrossEntropy(), x, y, samples=[3, 1], sample=3))
    assert "sample 3, row 0 of a batch of 2" in other
    wide = Network(mlp([2, 50, 1]), seed=0)
    explanation = explain(wide, BinaryCrossEntropy(), x, y)
    assert str(diagram(wide, BinaryCrossEntropy(), x, y)) == explanation.diagram
    [row] = re.findall(r"deltas of row (\d)", explanation.sections[0].rule)
    assert f"sample {row} of a batch of 5" in explanation.diagram
    assert explanation.diagram.split("viewBox")[1] in explanation.html()
    assert "<svg" not in explanation.markdown()


def test_nothing_that_is_given_changes_and_a_notebook_shows_it():
    network, (x, y) = Network(mlp([2, 3, 1], batch_norm=True, dropout=0.2), seed=0), data(5, 2, 1)
    before = network.params.copy(), network.grads.copy(), network.state.copy()
    drawing = diagram(network, BinaryCrossEntropy(), x, y)
    assert drawing._repr_svg_() == str(diagram(network, BinaryCrossEntropy(), x, y))
    assert all(map(np.array_equal, before, (network.params, network.grads, network.state)))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sample": 5}, "sample: 5 is not in the batch, which has 5 rows of x"),
        ({"sample": 0, "samples": [1, 2]}, "sample: 0 is not in the batch, which has 2 rows of x"),
        ({"sample": -1}, "sample: -1 is not a whole number of at least 0"),
        ({"samples": [7]}, r"samples\[0\]: 7 is not one of the 5 samples"),
        ({"network": Network(mlp([2, 2, 1]), seed=[0, 1])}, "network: it has replicas"),
        ({"loss": None}, "loss: None is not a Loss"),
    ],
)
def test_a_mistake_is_named(changes, message):
    x, y = data(5, 2, 1)
    arguments = {"network": Network(mlp([2, 2, 1])), "loss": BinaryCrossEntropy(), "x": x, "y": y} | changes
    with pytest.raises(ValueError, match=message):
        diagram(**arguments)
