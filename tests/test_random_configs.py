"""Configurations that nobody thought of: each runs, or is refused by a sentence that names a key."""

import datetime
import os
import re
import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gradlab.cli import app, running
from gradlab.datasets import DATASETS
from gradlab.lab.names import MEASURES, OPTIMIZER_OPTIONS, SCHEDULE_OPTIONS, STATISTICS
from gradlab.lab.schema import File
from gradlab.nn.activations import ACTIVATIONS
from gradlab.nn.initializers import INITIALIZERS

THOROUGH = "GRADLAB_THOROUGH" in os.environ  # a thousand, and their figures drawn: see CONTRIBUTING.md

small, share = st.integers(1, 3), st.floats(0.05, 0.95)
size = st.one_of(st.sampled_from([1e-300, 1e-8, 0.1, 1.0, 1e6]), st.floats(0.0, 1e6))
flag = st.booleans()
FITTING = {  # values that fit, most of them; what takes long is left out
    "data": {
        "name": st.sampled_from([name for name in DATASETS if name != "csv"]),
        "test_fraction": share,
        "validation_fraction": share,
        "seed": st.integers(0, 2**32 - 1),
        "standardize": flag,
        "n_samples": st.integers(4, 60),
        "n_features": st.integers(1, 4),
        "noise": size,
        "factor": share,
        "cluster_std": size,
        "class_sep": size,
        "positive": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
        "classes": st.lists(st.integers(0, 2), min_size=2, max_size=2, unique=True),
    },
    "network": {
        "depth": small,
        "width": st.one_of(small, st.lists(small, min_size=1, max_size=3)),
        "activation": st.one_of(
            st.sampled_from(list(ACTIVATIONS)), st.lists(st.sampled_from(list(ACTIVATIONS)), min_size=1, max_size=3)
        ),
        "weight_init": st.sampled_from(list(INITIALIZERS)),
        "bias_init": st.sampled_from(list(INITIALIZERS)),
        "bias_std": size,
        "gain": size,
        "dropout": share,
        "batch_norm": flag,
        "residual": flag,
        "dtype": st.sampled_from(["float64", "float32"]),
    },
    "training": {
        "loss": st.sampled_from(["binary_cross_entropy", "squared_error"]),
        "optimizer": st.sampled_from(list(OPTIMIZER_OPTIONS)),
        "learning_rate": size,
        "momentum": share,
        "nesterov": flag,
        "decay": share,
        "beta1": share,
        "beta2": share,
        "epsilon": size,
        "weight_decay": size,
        "schedule": st.sampled_from(list(SCHEDULE_OPTIONS)),
        "schedule_every": size,
        "schedule_factor": size,
        "schedule_floor": share,
        "warm_up": size,
        "batch_size": st.integers(1, 100),
        "epochs": small,
        "patience": st.integers(0, 2),
        "l1": size,
        "l2": size,
        "clip_norm": size,
    },
    "probe": {
        "what": st.lists(st.sampled_from(["update_ratio", "dead_share", "activation_q50", "delta_rms@1"]), unique=True),
        "every": st.sampled_from(["step", "epoch", 1, 2, 7]),
        "limit": st.integers(2, 9),
    },
}
ALWAYS = {"training": {"epochs": small}}  # or the default would take long
UNFIT = st.one_of(
    st.sampled_from(
        [0, -1, 10**9, 2**63, 10**400, 0.5, -0.0, 1e300, float("nan"), float("inf"), True, False, "", "1", "x" * 999,
         "\0", "a/b", "é", [], {}, [[]], [[[1]]], {"a": {"b": 1}}, [1, "a"], [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3],
         datetime.date(2000, 1, 1), datetime.datetime(2000, 1, 1), datetime.time(1)]  # noqa: DTZ001
    ),
    st.text(max_size=5),
    st.lists(st.integers() | st.text(max_size=3) | st.floats(), max_size=3),
)  # fmt: skip
LABEL = st.sampled_from(["a", "b", "c, depth=2", "a ", "", "a/b", "x" * 61])
KEYS = [f"{table}.{key}" for table, keys in FITTING.items() for key in keys]
BOUNDS = st.one_of(st.floats(-2.0, 2.0), UNFIT)


@st.composite
def tables(draw, odds):
    """Draw some tables; of their keys one in `odds` has a value that does not fit, or a name that is not known."""
    drawn = {}
    for table, keys in FITTING.items():
        chosen = {key: keys[key] for key in draw(st.lists(st.sampled_from(list(keys)), max_size=4, unique=True))}
        drawn[table] = {
            key: draw(UNFIT if draw(st.integers(1, odds)) == odds else values) for key, values in chosen.items()
        }
    if draw(st.integers(1, odds)) == odds:
        drawn[draw(st.sampled_from([*FITTING, "netwrok", "seed"]))] = draw(UNFIT)
    if draw(st.integers(1, odds)) == odds:
        drawn["network"] = {draw(st.text(max_size=5)): draw(UNFIT)}
    return drawn


@st.composite
def configurations(draw):
    """Draw a whole file."""
    odds = draw(st.sampled_from([5, 40, 1000]))
    drawn = draw(tables(odds))
    for table, keys in ALWAYS.items():
        if isinstance(drawn.setdefault(table, {}), dict):
            for key, values in keys.items():
                drawn[table].setdefault(key, draw(values))
    if isinstance(drawn.get("data"), dict) and drawn["data"].get("name", "moons") not in ("iris", "wine"):
        drawn["data"].setdefault("name", "moons")  # small, where that can be chosen
        if drawn["data"]["name"] == "moons":
            drawn["data"].setdefault("n_samples", 40)
    drawn["seeds"] = draw(st.one_of(small, st.just([3, 0]), UNFIT) if odds == 5 else small)
    if draw(st.integers(0, 3)) == 0:
        own = tables(odds).map(lambda t: {k: v for k, v in t.items() if k in FITTING})
        names = draw(st.lists(LABEL if odds < 1000 else st.sampled_from("abc"), max_size=2, unique=odds > 5))
        drawn["variants"] = [draw(own) | {"name": name} for name in names]
    if draw(st.integers(0, 3)) == 0:
        drawn["sweep"] = {}
        for key in draw(st.lists(st.sampled_from(KEYS), max_size=2, unique=True)):
            table, name = key.split(".")
            drawn["sweep"][key] = draw(st.lists(FITTING[table][name], min_size=1, max_size=2))
        if odds == 5:
            drawn["sweep"][draw(st.sampled_from([*KEYS, "seeds", "depth", ""]))] = draw(UNFIT)
    if draw(st.integers(0, 3)) == 0:
        claim = {"measure": draw(st.sampled_from(list(MEASURES))), "above": draw(BOUNDS)}
        if draw(st.booleans()):
            claim |= {"statistic": draw(st.sampled_from(STATISTICS)), "below": draw(BOUNDS)}
        drawn["expect"] = [claim]
    if odds == 5 and draw(st.integers(0, 3)) == 0:
        drawn[draw(st.sampled_from([*File.model_fields, "sweeps"]))] = draw(UNFIT)
    return drawn


@pytest.fixture
def undrawn(monkeypatch):
    if not THOROUGH:
        monkeypatch.setattr(running, "_draw", lambda folder: None)


@settings(
    max_examples=1000 if THOROUGH else 150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(configurations())
def test_a_configuration_runs_or_is_refused_by_a_sentence_that_names_a_key(undrawn, configuration):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.toml"
        path.write_text(tomli_w.dumps(configuration), encoding="utf-8")
        done = CliRunner().invoke(app, ["run", str(path), "--out", f"{folder}/out"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code in (0, 1, 2, 3)
        assert "Traceback" not in done.output
        assert (Path(folder) / "out").exists() == (done.exit_code != 2)
        if done.exit_code == 2:
            for line in done.stderr.splitlines():
                named = re.match(rf"gradlab: {re.escape(str(path))}: (.*)", line)
                assert named, line
                assert "lower seeds, network.width" in line or re.match(r".+?: .+", named[1]), line
        if done.exit_code == 1:
            assert "diverged" in done.stderr
