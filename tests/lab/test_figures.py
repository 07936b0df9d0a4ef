"""Figures of every kind of run: nothing cut off, nothing written over, every colour with one meaning."""

import json
import re
import warnings
from itertools import combinations
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.text import Text

from gradlab.lab import figures
from gradlab.lab.figures import Run, _colours, draw
from gradlab.lab.store import save_archive
from gradlab.lab.style import COLOURS

LONG = "a network with a name of no fewer than sixty letters or so, "


def write(folder, entries, depth=3, epochs=6, seeds=4, gradient=None, names=("x0", "x1"), ragged=False, classes=None):
    """Write a run's folder; an entry is (variant, point, activation)."""
    rng = np.random.default_rng(0)
    variants, flow, boundary, lines = {}, {}, {}, []
    for k, (variant, point, activation) in enumerate(entries):
        name = ", ".join([variant, *(f"{key.rpartition('.')[2]}={value}" for key, value in point.items())])
        layers = 1 + point.get("network.depth", depth)
        norms = 0.1 * (0.2 + k) ** np.arange(layers, 0, -1.0)[:, None] * rng.lognormal(size=(epochs + 1, layers, seeds))
        norms = norms if gradient is None else np.full_like(norms, gradient)
        accuracy = np.linspace(0.5, 0.97 - 0.001 * k, epochs + 1)[:, None] + 0.01 * rng.random((epochs + 1, seeds))
        for seed in range(seeds):
            last = epochs - (seed if ragged else 0)
            norms[last + 1 :, :, seed] = np.nan
            lines += [
                {"variant": name, "epoch": e, "seeds": [seed], "train_loss": [1.0 - accuracy[e, seed]],
                 "test_accuracy": [accuracy[e, seed]]}
                for e in range(last + 1)
            ]  # fmt: skip
        flow |= {f"{name}/weight_gradient_norm": norms}
        flow |= {f"{name}/step": np.arange(epochs + 1) * 8, f"{name}/epoch": np.r_[0, np.arange(epochs)]}
        x = np.linspace(-1.0, 1.0, 20)
        points = rng.uniform(-1.0, 1.0, (30, 2))
        own = {"x1": x, "x2": x, "names": np.array(names), "points": points, "labels": (points[:, 0] > 0).astype(int)}
        own["probability"] = np.tile(0.5 + 0.4 * x, (20, 1)) if k % 2 == 0 else np.full((20, 20), 0.6)
        own |= {} if classes is None else {"classes": np.array(classes)}
        boundary |= {f"{name}/{key}": array for key, array in own.items()}
        variants[name] = {
            "variant": variant, "point": point, "activation": activation, "seeds": list(range(seeds)),
            "median_seed": 0, "diverged": "", "test_accuracy": {"values": accuracy[-1].tolist()},
            "gradient_ratio": {"values": (norms[0, 0] / norms[0, -1]).tolist() if gradient is None else [None] * seeds},
        }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"variants": variants}), "utf-8")
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    save_archive(folder / "flow.npz", flow)
    save_archive(folder / "boundary.npz", boundary)
    return folder


def entries(*names):
    activations = list(COLOURS)
    return [(name, {}, name if name in COLOURS else activations[i]) for i, name in enumerate(names)]


def depths(*names):
    return [(name, {"network.depth": d}, activation) for name, _, activation in entries(*names) for d in (1, 2, 4, 8)]


def grid(*names):
    points = [(d, r) for d in (1, 2, 4, 8) for r in (0.001, 0.01, 0.1)]
    keys = "network.depth", "training.learning_rate"
    return [
        (name, dict(zip(keys, p, strict=True)), activation) for name, _, activation in entries(*names) for p in points
    ]


RUNS = {
    "one variant": {"entries": entries("moons")},
    "one seed": {"entries": entries("moons"), "seeds": 1},
    "two variants": {"entries": entries("sigmoid", "relu")},
    "three variants": {"entries": entries("sigmoid", "tanh", "relu"), "depth": 8, "epochs": 60},
    "five variants": {"entries": entries("sigmoid", "tanh", "relu", "gelu", "softplus"), "depth": 1},
    "many variants": {"entries": entries(*(f"variant {i}" for i in range(11)))},
    "sweep": {"entries": depths("sigmoid", "relu")},
    "two keys": {"entries": grid("sigmoid", "relu")},
    "two keys, long names": {"entries": grid(LONG + "1", LONG + "2", LONG + "3")},
    "long names": {"entries": entries(LONG + "1", LONG + "2")},
    "sweep, long names": {"entries": depths(LONG + "1", LONG + "2")},
    "early stopping": {"entries": entries("sigmoid", "relu"), "ragged": True},
    "odd names": {
        "entries": entries("sigmoid", "网络"),
        "names": ("price in $ or ^{_", "收入 $"),
        "classes": ("$a$", "不"),
    },
    "long column names": {"entries": entries("sigmoid"), "names": ("of a column " * 9, "of another " * 9)},
    "all gradients zero": {"entries": entries("sigmoid", "relu"), "gradient": 0.0},
}


QUICK = ("one seed", "three variants", "sweep", "two keys", "long names", "early stopping", "odd names")
KINDS = [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in RUNS]


@pytest.fixture
def drawn(monkeypatch):
    """Every figure that is saved, by name."""
    saved = {}
    save = figures.save_png

    def keep(figure, file):
        save(figure, file)
        saved[re.match(r"\.(.*)\.png", Path(file.name).name)[1]] = figure  # it has not got its name yet

    monkeypatch.setattr(figures, "save_png", keep)
    return saved


@pytest.fixture
def only(monkeypatch):
    """Leave out all figures but some."""

    def leave(*names):
        monkeypatch.setattr(figures, "DRAWINGS", {name: figures.DRAWINGS[name] for name in names})

    return leave


def texts(figure):
    """Every visible text but the numbers along the axes, and where it is."""
    ticks = {
        id(label)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for label in axis.get_ticklabels(which="both")
    }  # fmt: skip
    found = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible() and id(t) not in ticks]
    return [(t.get_text(), Text.get_window_extent(t)) for t in found]


@pytest.mark.parametrize("kind", KINDS)
def test_every_text_is_within_the_figure_and_none_is_on_another(tmp_path, drawn, kind, monkeypatch):
    monkeypatch.delitem(figures.DRAWINGS, "sigmoid")  # the same for all
    assert len(draw(write(tmp_path / "run", **RUNS[kind]))) == len(drawn) > 0
    for name, figure in drawn.items():
        for text, box in texts(figure):
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y1 <= figure.bbox.y1 + 1
            assert inside, f"{name}: {text!r} is cut off"
        for (one, a), (other, b) in combinations(texts(figure), 2):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert min(wide, high) <= 2, f"{name}: {one!r} is on {other!r}"
        for ax in figure.axes:
            assert min(ax.bbox.width, ax.bbox.height) > 10, f"{name}: a panel has no room"


def test_only_what_there_are_numbers_for_is_drawn(tmp_path):
    folder = write(tmp_path / "run", entries("sigmoid"))
    always = {"gradient_by_layer", "gradient_over_time", "learning_curves", "sigmoid"}
    assert {file.stem for file in draw(folder)} == always | {"decision_boundary"}
    (folder / "boundary.npz").unlink()
    assert {file.stem for file in draw(folder)} == always
    assert matplotlib.image.imread(folder / "figures" / "sigmoid.png").std() > 0
    write(folder, depths("sigmoid"))
    assert {file.stem for file in draw(folder)} == always | {"decision_boundary", "sweep"}


def test_an_activation_keeps_its_colour():
    colours = _colours({"s": "sigmoid", "s2": "sigmoid", "tanh": "tanh", "relu": "relu", "mixed": ["relu", "tanh"]})
    wanted = {"s": "sigmoid", "tanh": "tanh", "relu": "relu"}
    assert {v: colours[v] for v in wanted} == {v: COLOURS[a] for v, a in wanted.items()}
    assert colours["mixed"] == "#000000"
    assert len(set(colours.values())) == 5
    assert set(_colours({str(i): "relu" for i in range(20)}).values()) == {*COLOURS.values(), "#000000"}


def test_a_sweep_over_activations_shows_each_in_its_own_colour(tmp_path, drawn, only):
    only("gradient_by_layer", "learning_curves")
    points = [("net", {"network.activation": a}, a) for a in ("tanh", "relu")]
    draw(write(tmp_path / "run", points))
    for name in ("gradient_by_layer", "learning_curves"):
        assert [ax.lines[0].get_color() for ax in drawn[name].axes[:2]] == [COLOURS["tanh"], COLOURS["relu"]]
    others = [("wide", point, activation) for _, point, activation in points]
    draw(write(tmp_path / "run", points + others))
    assert drawn["gradient_by_layer"].axes[0].lines[0].get_color() == "#000000"


def test_a_seed_that_stopped_keeps_its_last_value(tmp_path, drawn, only):
    only("gradient_over_time", "learning_curves")
    folder = write(tmp_path / "run", entries("sigmoid"), epochs=5, seeds=3, ragged=True)
    whole = figures.read_history(folder)["sigmoid"]["test_accuracy"]
    draw(folder)
    line = drawn["learning_curves"].axes[1].lines[0].get_ydata()
    assert line[5] == np.median([whole[5, 0], whole[4, 1], whole[3, 2]])
    norms = figures.read_arrays(folder, "flow.npz")["sigmoid"]["weight_gradient_norm"]
    (mesh,) = drawn["gradient_over_time"].axes[0].findobj(QuadMesh)
    assert mesh.get_array()[0, 5] == np.median([norms[5, 0, 0], norms[4, 0, 1], norms[3, 0, 2]])
    for name in ("learning_curves", "gradient_over_time"):
        assert "a seed that stopped early keeps its last value" in drawn[name].get_suptitle()
    draw(write(folder, entries("sigmoid")))
    assert "stopped" not in drawn["learning_curves"].get_suptitle()


def test_labels_stand_within_the_panel_and_in_the_order_of_the_lines(tmp_path, drawn, only):
    only("learning_curves")
    draw(write(tmp_path / "run", **RUNS["five variants"]))
    ax = drawn["learning_curves"].axes[1]
    heights = {t.get_text(): t.get_window_extent().y0 for t in ax.texts}
    assert list(heights) == sorted(heights, key=heights.get)
    for text in ax.texts:
        box = Text.get_window_extent(text)
        assert ax.bbox.y0 <= (box.y0 + box.y1) / 2 <= ax.bbox.y1


def test_what_cannot_be_shown_is_said(tmp_path, drawn, only):
    only("gradient_by_layer", "gradient_over_time", "decision_boundary")
    draw(write(tmp_path / "run", **RUNS["all gradients zero"]))
    assert "gradient_over_time" not in drawn
    said = [text.get_text() for text in drawn["gradient_by_layer"].axes[0].texts]
    assert said == ["all gradients are exactly zero"]
    said = [[text.get_text() for text in ax.texts] for ax in drawn["decision_boundary"].axes[:2]]
    assert said == [[], ["no boundary: ½ is nowhere crossed"]]
    folder = write(tmp_path / "run", entries("sigmoid"), depth=60)
    draw(folder)
    assert drawn["gradient_over_time"].axes[-1]._colorbar.extend == "min"
    draw(write(folder, entries("sigmoid", "relu")))
    assert drawn["gradient_over_time"].axes[-1]._colorbar.extend == "neither"


def test_the_classes_have_their_names(tmp_path, drawn, only):
    only("decision_boundary")
    draw(write(tmp_path / "run", entries("sigmoid"), classes=("benign", "malignant")))
    figure = drawn["decision_boundary"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["benign", "malignant"]
    assert "probability of malignant" in [text for text, _ in texts(figure)]
    assert figure.axes[0].get_aspect() == 1.0


def test_a_run_that_diverged_is_drawn_as_far_as_it_went(tmp_path):
    folder = write(tmp_path / "run", entries("sigmoid", "relu"), ragged=True)
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    entry = summary["variants"]["relu"]
    entry["diverged"] = "in epoch 3"
    del entry["test_accuracy"], entry["gradient_ratio"]
    (folder / "summary.json").write_text(json.dumps(summary), "utf-8")
    boundary = dict(np.load(folder / "boundary.npz"))
    save_archive(folder / "boundary.npz", {key: a for key, a in boundary.items() if not key.startswith("relu")})
    run = Run(*(reader(folder, *name) for reader, *name in (
        (figures.read_summary,), (figures.read_history,),
        (figures.read_arrays, "flow.npz"), (figures.read_arrays, "boundary.npz"),
    )))  # fmt: skip
    assert np.isnan(run.history["relu"]["train_loss"][-1]).any()
    assert len(draw(folder)) == 5


def test_of_many_points_and_variants_some_are_shown_and_it_is_said(tmp_path, drawn, only):
    only("learning_curves")
    many = [("net", {"training.learning_rate": 10.0**-i}, "relu") for i in range(8)]
    draw(write(tmp_path / "run", many))
    assert "6 of the sweep's 8 points" in drawn["learning_curves"].get_suptitle()
    draw(write(tmp_path / "run", entries(*(f"v{i}" for i in range(3))) + [(f"w{i}", {}, "relu") for i in range(11)]))
    assert "the first 12 of 14 variants" in drawn["learning_curves"].get_suptitle()


def test_the_sigmoid_is_drawn_over_the_open_interval():
    figure = figures.sigmoid_shape()
    value, slope = figure.axes[0].lines
    assert (value.get_color(), slope.get_color()) == ("#307EC7", "#9621E2")
    np.testing.assert_allclose(value.get_xdata(), np.arange(-6.0, 6.0, 0.01))
    assert slope.get_ydata().max() == pytest.approx(0.25)
    figure.draw_without_rendering()
    boxes = [box for _, box in texts(figure)]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_other_warnings_are_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setitem(figures.DRAWINGS, "sigmoid", lambda run: warnings.warn("something else", stacklevel=1))
    with pytest.raises(UserWarning, match="something else"):
        draw(write(tmp_path / "run", entries("sigmoid")))
