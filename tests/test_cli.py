import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import COMMAND, gradlab, gradlab_alone

from gradlab.lab.run_folder import read_arrays
from gradlab.training.engines import compiled

HAS_NUMBA = compiled.is_installed()
ENGINES = ["plain", pytest.param("compiled", marks=pytest.mark.skipif(not HAS_NUMBA, reason="no Numba"))]
CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = """
title = "Small"
seeds = 3
data.n_samples = 60
training.epochs = 3
network.width = 4
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


# sigmoid_vs_relu is the README's demo, and run where the README is
@pytest.mark.parametrize(
    "name",
    [
        path.stem if path.stem == "moons" else pytest.param(path.stem, marks=pytest.mark.slow)
        for path in sorted(CONFIGS.glob("*.toml"))
        if path.stem != "sigmoid_vs_relu"
    ],
)
def test_the_claims_of_every_configuration_hold(name, tmp_path):
    done = gradlab("run", CONFIGS / f"{name}.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["expectations"]


def test_the_table_goes_to_standard_output_and_nothing_else(small, tmp_path):
    done = gradlab("run", small, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""  # no bar where there is no terminal
    lines = done.stdout.splitlines()
    assert lines[0] == "Small (3 seeds; means with 95 % intervals)"
    assert lines[2].split("  ")[0] == "variant"
    assert lines[-1] == "results and figures: runs/small"
    assert gradlab("run", small, cwd=tmp_path).stdout.splitlines()[-1].endswith("runs/small-2")


def test_one_seed_has_no_interval(small, tmp_path):
    done = gradlab("run", small, "--seeds", 1, "--json", cwd=tmp_path)
    accuracy = json.loads(done.stdout)["variants"]["small"]["test_accuracy"]
    assert accuracy["low"] is accuracy["high"] is None
    assert len(accuracy["values"]) == 1
    assert "no intervals" in gradlab("run", small, "--seeds", 1, cwd=tmp_path).stdout


def test_the_same_configuration_gives_the_same_numbers(small, tmp_path):
    first, second = (gradlab("run", small, "--json", "--out", out, cwd=tmp_path) for out in "ab")
    one, two = json.loads(first.stdout)["variants"]["small"], json.loads(second.stdout)["variants"]["small"]
    assert one["train_loss"] == two["train_loss"]
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()


def test_a_resolved_configuration_runs_again(small, tmp_path):
    gradlab("run", small, "--set", "network.activation=relu", "--out", "a", cwd=tmp_path)
    assert gradlab("run", "a/config.toml", "--out", "b", cwd=tmp_path).returncode == 0
    for name in ("metrics.jsonl", "config.toml", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_dry_run_writes_nothing(small, tmp_path):
    done = gradlab("run", small, "--set", "network.depth=3", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "depth = 3" in done.stdout
    assert "# in all: 3 networks, at most 0." in done.stdout
    assert "3 networks of 57 parameters" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        (["run"], "CONFIG: missing"),
        (["run", "nothing.toml"], "nothing.toml: No such file"),
        (["run", "small.toml", "--set", "network.activation=sigmod"], "did you mean 'sigmoid'?"),
        (["run", "small.toml", "--set", "network.depth=1000000000"], "1000000000 is not a whole number from 1 to 1000"),
        (["run", "small.toml", "--set", "data.name=mnist"], "'mnist' is not one of moons"),
        (["run", "small.toml", "--seeds", "0"], "seeds: 0 is not a whole number"),
        (["run", "small.toml", "--seeds", "x"], "--seeds"),
        (["run", "small.toml", "--out", "full"], "--out full: it exists"),
        (["run", "small.toml", "--out", "small.toml"], "--out small.toml: it exists"),
        (["run", "small.toml", "--bogus"], "No such option"),
        (["run", "small.toml", "--checkpoint-every", "0"], "--checkpoint-every: 0 is not a whole number of at least 1"),
        (["run", "small.toml", "--threads", "0"], "--threads: 0 is not a whole number of at least 1"),
        (["run", "small.toml", "--threads", "0", "--dry-run"], "--threads: 0 is not a whole number of at least 1"),
        (["run", "small.toml", "--threads", "x"], "--threads"),
        (
            ["run", "small.toml", "--set", "training.engine=compild"],
            "--set: training.engine: 'compild' is not one of auto, plain, compiled; did you mean 'compiled'?",
        ),
        (["run", "small.toml", "--set", "training.threads=2"], "training.threads: unknown key"),
        (["run", "--resume", "nowhere"], "--resume nowhere: there is no config.toml in it"),
        (["run", "small.toml", "--resume", "full"], "CONFIG: not together with --resume"),
        (["run", "--resume", "full", "--set", "network.depth=2"], "--set: not together with --resume"),
        (["run", "--resume", "full", "--seeds", "2"], "--seeds: not together with --resume"),
        (["run", "csv.toml"], "one_class.csv"),
        (["run", "csv.toml", "--set", "data.path=missing_value.csv"], "missing_value.csv, line 3, column 'a'"),
        (["run", "csv.toml", "--set", "data.path=one_class.csv", "--set", "data.target=z"], "target: "),
        (["run", "csv.toml", "--set", "data.path=infinite.csv"], "infinite.csv, line 2, column 'a'"),
        (["run", "csv.toml", "--set", "data.path=nothing.csv"], "nothing.csv"),
        (["run", "large.toml"], "more than the 8.0 GiB allowed"),
        (["list", "layers"], "layers"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_mistake_is_one_plain_message_and_writes_nothing(arguments, wanted, small, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "csv.toml").write_text('data.name = "csv"\ndata.path = "one_class.csv"\ndata.target = "y"\n')
    (tmp_path / "large.toml").write_text("seeds = 1000\nnetwork.width = 10000\nnetwork.depth = 100\n")
    (tmp_path / "one_class.csv").write_text("a,y\n" + "1,0\n" * 20)
    (tmp_path / "missing_value.csv").write_text("a,y\n1,0\n,1\n" + "1,0\n2,1\n" * 20)
    (tmp_path / "infinite.csv").write_text("a,y\ninf,0\n1,1\n" + "1,0\n2,1\n" * 20)
    before = sorted(tmp_path.rglob("*"))
    done = gradlab(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_claim_that_does_not_hold_exits_with_3(small, tmp_path):
    small.write_text(SMALL + '[[expect]]\nmeasure = "test_accuracy"\nabove = 1.5\n')
    done = gradlab("run", small, cwd=tmp_path)
    assert done.returncode == 3
    assert "FAILS  small: expected 1.5 < mean test_accuracy, measured 0." in done.stdout


def test_divergence_exits_with_1_and_keeps_what_was_recorded(small, tmp_path):
    small.write_text(SMALL + 'network.activation = "relu"\nnetwork.depth = 4\ntraining.l2 = 100.0\n')
    done = gradlab(
        "run", small, "--set", "training.learning_rate=1e6", "--json", "--set", "training.epochs=50", cwd=tmp_path
    )
    assert done.returncode == 1
    assert "training diverged in epoch" in done.stderr
    assert "layer" in done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)["variants"]["small"]  # no NaN in JSON
    assert found["diverged"]
    for measure in ("test_accuracy", "train_loss", "final_gradient_ratio"):
        assert found[measure] == {"mean": None, "low": None, "high": None, "median": None, "values": [None] * 3}
    assert all(value > 0.0 for value in found["gradient_ratio"]["values"])  # the first step was taken
    assert (tmp_path / "runs/small/metrics.jsonl").read_text().count("\n") >= 1


@pytest.fixture
def started(begin):
    """Start a run, or go on with one, and wait until it has trained epochs of its own."""
    return partial(_started, begin)


def _started(begin, cwd, *arguments):
    log, writer = cwd / "runs/small/metrics.jsonl", cwd / "runs/small/.writer"
    trained = log.read_bytes().count(b"\n") if log.exists() else 2
    process = begin(*COMMAND, "run", *arguments, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 600.0
    while time.monotonic() < deadline and process.poll() is None:
        ours = writer.exists() and writer.read_text() == str(process.pid)
        if ours and log.exists() and log.read_bytes().count(b"\n") > trained:
            break
        time.sleep(0.02)
    return process


def long_on(engine):
    """What lets a run take some seconds, so that it can be ended before."""
    settings = ["data.n_samples=2000", f"training.epochs={100 if engine == 'plain' else 1000}"]
    return [part for setting in (*settings, f"training.engine={engine}") for part in ("--set", setting)]


@pytest.mark.skipif(os.name == "nt", reason="a console's interrupt cannot be sent to one process there")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupt_exits_with_130_and_keeps_what_was_recorded(started, small, tmp_path, engine):
    process = started(tmp_path, small, *long_on(engine))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert errors == (
        "gradlab: interrupted; what was recorded is in runs/small; go on with: gradlab run --resume runs/small\n"
    )
    assert (tmp_path / "runs/small/summary.json").exists()
    assert not (tmp_path / "runs/small/DONE").exists()
    flow = read_arrays(tmp_path / "runs/small", "flow.npz")["small"]["weight_gradient_norm"]
    assert flow.shape[2] == 3
    assert (flow[0] > 0.0).all()
    done = gradlab("predict", "runs/small", "x.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "gradlab: runs/small: this run is not done; go on with: gradlab run --resume runs/small\n"
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_is_gone_on_with_when_started_again_and_when_resumed(started, small, tmp_path, engine):
    long = long_on(engine)
    for said in ("", "gradlab: going on with the unfinished run in runs/small\n"):
        process = started(tmp_path, small, *long, "--checkpoint-every", 1)
        process.kill()
        assert process.communicate()[1] == said
    done = gradlab("run", "--resume", "runs/small", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "gradlab: going on with the unfinished run in runs/small\n"
    gradlab("run", small, *long, "--out", "whole", cwd=tmp_path)
    folders = [tmp_path / "runs/small", tmp_path / "whole"]
    for name in ("metrics.jsonl", "model.safetensors", "flow.npz", "boundary.npz", "figures/learning_curves.png"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1, name


def test_a_run_that_is_done_is_shown_again_with_its_exit_code(small, tmp_path):
    small.write_text(SMALL + '[[expect]]\nmeasure = "test_accuracy"\nabove = 1.5\n')
    first = gradlab("run", small, cwd=tmp_path)
    again = gradlab("run", "--resume", "runs/small", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (3, first.stdout)
    assert again.stderr == "gradlab: runs/small: this run is done; nothing was trained\n"
    (tmp_path / "runs/small/summary.json").write_text("{}")
    damaged = gradlab("run", "--resume", "runs/small", cwd=tmp_path)
    assert damaged.returncode == 1
    assert damaged.stderr.endswith("gradlab: runs/small/summary.json: it is not a summary that gradlab wrote\n")


def test_everything_that_can_be_named_is_listed(tmp_path):
    done = gradlab("list", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("moons", "sigmoid", "he_normal", "adamw", "binary_cross_entropy", "cosine", "gradient_ratio"):
        assert f"  {name} " in done.stdout
    assert "he_normal" not in gradlab("list", "activations", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["list"], ["explain"], ["run", "bad.toml"], ["run", "nothing.toml"]]
)
def test_what_needs_no_training_imports_neither_scikit_learn_nor_matplotlib_nor_numba(arguments, tmp_path):
    (tmp_path / "bad.toml").write_text("network.depth = 0")
    code = (
        "import sys, atexit\n"
        "from gradlab.__main__ import main\n"
        "loaded = lambda: {'sklearn', 'matplotlib', 'scipy', 'numba'} & set(sys.modules)\n"
        "atexit.register(lambda: print('loaded:', loaded(), file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert "loaded: set()" in done.stderr


def test_a_closed_pipe_is_no_traceback(small, tmp_path):
    command = f"{sys.executable} -c 'from gradlab.__main__ import main; main()' list | head -1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.stderr == ""


def test_a_narrow_terminal_gets_one_number_a_line():
    from gradlab.cli.report import in_columns

    rows = [["variant", "test accuracy"], ["sigmoid", "0.5 [0.4, 0.6]"]]
    assert list(in_columns(rows, 80)) == ["variant  test accuracy", "sigmoid  0.5 [0.4, 0.6]"]
    assert list(in_columns(rows, 20)) == ["sigmoid", "  test accuracy  0.5 [0.4, 0.6]"]


def test_the_module_runs_and_tells_its_version(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "gradlab", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("gradlab 0.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_no_traceback(tmp_path):
    command = f"{sys.executable} -m gradlab list > /dev/full"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("gradlab: No space left on device")
    assert "Traceback" not in done.stderr


def test_underflow_is_noted(small, tmp_path):
    deep = ["--set", "network.depth=60", "--set", "network.dtype=float32", "--set", "training.epochs=1"]
    assert "note: small: gradients underflow" in gradlab("run", small, *deep, cwd=tmp_path).stdout
    assert "underflow" not in gradlab("run", small, cwd=tmp_path).stdout


# diagnose


def test_diagnose_names_what_is_wrong_and_what_to_change(tmp_path):
    done = gradlab("diagnose", CONFIGS / "sigmoid_vs_relu.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "sigmoid"
    assert lines[1].startswith("  vanishing gradient: of the delta at the last of 8 hidden layers")
    flags = "--set sigmoid:network.activation=relu --set sigmoid:network.weight_init=he_normal"
    (pasted,) = [line.strip() for line in lines if flags in line]
    assert lines[-2:] == ["relu", "  nothing wrong: the gradient arrives, and a moment's training helps"]
    assert not list(tmp_path.iterdir())
    again = gradlab("diagnose", CONFIGS / "sigmoid_vs_relu.toml", *shlex.split(pasted), cwd=tmp_path)
    assert again.stdout.count("nothing wrong") == 3


def test_diagnose_sees_what_is_far_off(tmp_path):
    done = gradlab("diagnose", CONFIGS / "moons.toml", "--set", "training.learning_rate=1000.0", cwd=tmp_path)
    assert "learning rate too high" in done.stdout
    assert "--set training.learning_rate=" in done.stdout


def test_diagnose_sees_the_data_and_the_biases_as_configured(small, tmp_path):
    unscaled = ["--set", "data.standardize=false", "--json"]
    done = gradlab("diagnose", CONFIGS / "breast_cancer.toml", *unscaled, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert {findings[0]["kind"] for findings in found.values()} == {"unscaled"}
    assert {findings[0]["override"] for findings in found.values()} == {"data.standardize=true"}
    done = gradlab("diagnose", small, "--set", "network.weight_init=zeros", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["small"][0]["kind"] == "symmetric"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere.toml"], "nowhere.toml"),
        (["small.toml", "--set", "network.dept=3"], "network.dept"),
        (["small.toml", "--set", "network.bias_init=zeroes"], "network.bias_init: 'zeroes' is not one of"),
        (["small.toml", "--set", "data.standardize=3"], "data.standardize"),
    ],
)
def test_diagnose_refuses_what_run_refuses(small, arguments, message, tmp_path):
    done = gradlab("diagnose", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


# explain


def test_explain_works_a_step_on_xor(tmp_path):
    done = gradlab("explain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "dL/dW1[0,1] = x[0,0]·dL/dz1[0,1] + x[1,0]·dL/dz1[1,1]" in done.stdout
    assert done.stdout.endswith("\n29 derivatives compared with central differences, 0 left out at kinks: "
                                "no lines with a mismatch\n")  # fmt: skip
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_explain_writes_utf_8_wherever_it_runs(tmp_path):
    done = gradlab_alone("explain", "--format", "html", cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert "σ(" in done.stdout


def test_explain_writes_every_format(small, tmp_path):
    few = ["--set", "network.width=2", "--sample", 3, "--sample", 0, "--precision", 8]
    text, markdown, page, found = (
        gradlab("explain", small, *few, "--format", kind, cwd=tmp_path).stdout
        for kind in ("text", "markdown", "html", "json")
    )
    assert "a batch of 2 samples" in text
    assert r"\frac{\partial L}{\partial W^{(2)}_{1,0}}" in markdown
    assert page.startswith("<!DOCTYPE html>")
    lines = {line["quantity"]: line for line in json.loads(found)["lines"]}
    line = lines["dL/dW2[1,0]"]
    assert set(line) >= {"quantity", "symbolic", "numeric", "value", "finite_difference"}
    assert line["value"] == pytest.approx(line["finite_difference"], rel=1e-6)
    assert f"{line['value']:.8g}".replace("-", "−") in text


@pytest.mark.parametrize("step", [1, 4])  # the second, shorter batch of an epoch, and the first of one
def test_explain_takes_the_step_that_run_would_take(step, small, tmp_path):
    from gradlab.lab.build import build_loss, build_network, build_optimizer, build_schedule, load_data
    from gradlab.lab.config import load_config
    from gradlab.training import train

    settings = ["training.schedule=exponential", "training.optimizer=adam", "training.l2=0.1", "network.dropout=0.1"]
    [experiment] = load_config(small, settings).experiments
    dataset, training = load_data(experiment), experiment.training
    network = build_network(experiment.network, dataset, 0)
    steps = train(
        network,
        build_loss(training),
        build_optimizer(training, network),
        dataset.x_train,
        dataset.y_train,
        epochs=training.epochs,
        batch_size=training.batch_size,
        schedule=build_schedule(training),
        l2=training.l2,
    )
    for _ in range(step + 1):
        taken = next(steps)
    overrides = [word for setting in settings for word in ("--set", setting)]
    done = gradlab("explain", small, *overrides, "--step", step, "--format", "json", cwd=tmp_path)
    found = {line["quantity"]: line for line in json.loads(done.stdout)["lines"]}
    assert not any(line["mismatch"] for line in found.values())
    assert found["L"]["value"] == pytest.approx(float(taken.loss), rel=1e-12)
    [after] = [name for name in found if name.startswith("W2'")]
    at = tuple(map(int, after[4:-1].split(",")))
    assert found[after]["value"] == pytest.approx(network.layers[-1].W[at], rel=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--format", "xml"], "--format: 'xml' is not one of text, markdown, html, json"),
        (["--precision", "0"], "precision: 0 is not a whole number of at least 1"),
        (["--precision", "40"], "precision: 40 is more than the 17 digits"),
        (["--step", "-1"], "--step: -1 is not a whole number of at least 0"),
        (["--sample", "4"], "samples[0]: 4 is not one of the 4 samples"),
        (["--set", "data.name=moons"], "--set data.name=moons: without a CONFIG the data are XOR"),
        (["--set", "network.dept=2"], "network.dept: unknown key"),
        (["nowhere.toml"], "nowhere.toml: No such file"),
        (["small.toml", "--set", "network.dept=3"], "network.dept"),
        (["small.toml", "--sample", "2", "--sample", "2"], "samples[1]: 2 is named twice"),
    ],
)
def test_explain_refuses_in_one_sentence(small, arguments, message, tmp_path):
    done = gradlab("explain", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_explain_says_where_training_diverged_before_the_step(small, tmp_path):
    wild = ["--set", "network.activation=relu", "--set", "training.l2=100", "--set", "training.learning_rate=1e6"]
    done = gradlab("explain", small, *wild, "--step", 500, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gradlab: training diverged in epoch")


# diagram


def test_diagram_draws_the_step_to_the_output_or_to_a_file(small, tmp_path):
    options = [small, "--set", "network.width=3", "--sample", 2, "--sample", 0, "--step", 3]
    piped = gradlab_alone("diagram", *options, cwd=tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert piped.returncode == 0, piped.stderr
    assert piped.stderr == ""
    assert ElementTree.fromstring(piped.stdout).tag.endswith("svg")
    before = set(tmp_path.iterdir())
    done = gradlab("diagram", *options, "-o", "net.svg", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "net.svg").read_text("utf-8") == piped.stdout
    assert set(tmp_path.iterdir()) - before == {tmp_path / "net.svg"}
    page = gradlab("explain", *options, "--format", "html", cwd=tmp_path).stdout
    assert piped.stdout.split("viewBox")[1] in page


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-o", "nowhere/net.svg"], "--out nowhere/net.svg: it is a folder, or in a folder that does not exist"),
        (["-o", "."], "--out .: it is a folder"),
        (["--sample", "4"], "samples[0]: 4 is not one of the 4 samples"),
    ],
)
def test_diagram_refuses_in_one_sentence(small, arguments, message, tmp_path):
    before = set(tmp_path.iterdir())
    done = gradlab("diagram", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


# engines

# What the command is where Numba is not installed, or where no cache can be written.
WITHOUT = "from gradlab.training.engines import compiled; compiled.is_installed = lambda: False; "
NOWHERE = (
    "import gradlab.training.engines.cache as cache; "
    "cache._is_writable = lambda path: False; import os; os.environ['XDG_CACHE_HOME'] = '/dev/null/x'; "
    "os.environ['MPLCONFIGDIR'] = '.'; "
    "os.environ.pop('NUMBA_CACHE_DIR', None); "
)


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
def test_a_dry_run_says_the_engine_of_each_experiment(small, tmp_path):
    small.write_text(SMALL + "[[variants]]\nname = 'a'\n[[variants]]\nname = 'b'\ntraining.engine = 'plain'\n")
    lines = gradlab("run", small, "--dry-run", cwd=tmp_path).stdout.splitlines()
    assert [line.split(", ")[1] for line in lines if line.startswith(("# a:", "# b:"))] == [
        "compiled engine",
        "plain engine",
    ]
    found = json.loads(gradlab("run", small, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert [(e["name"], e["engine"], e["networks"]) for e in found["experiments"]] == [
        ("a", "compiled", 3),
        ("b", "plain", 3),
    ]
    assert found["networks"] == 6
    assert found["config"]["training"]["engine"] == "auto"
    plain = gradlab_alone("run", small, "--dry-run", "--json", cwd=tmp_path, before=WITHOUT)
    assert plain.stderr == ""
    assert {e["engine"] for e in json.loads(plain.stdout)["experiments"]} == {"plain"}
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--workers", "2"]])
def test_the_compiled_engine_without_its_extra_is_one_line_and_nothing_is_written(small, tmp_path, more):
    done = gradlab_alone("run", small, "--set", "training.engine=compiled", *more, cwd=tmp_path, before=WITHOUT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.endswith("""needs Numba: pip install "gradlab[fast]"\n""")
    assert done.stderr.count("\n") == 1
    assert "small.toml: training.engine: 'compiled' cannot be used" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
def test_without_a_place_for_the_cache_a_run_is_plain_and_says_so_once(small, tmp_path):
    variants = "[[variants]]\nname = 'a'\n[[variants]]\nname = 'b'\nnetwork.activation = 'relu'\n"
    small.write_text(SMALL + variants)
    done = gradlab_alone("run", small, "--json", cwd=tmp_path, before=NOWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("gradlab: the plain engine is used: ")
    assert "__pycache__ cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [v["engine"] for v in json.loads(done.stdout)["variants"].values()] == ["plain", "plain"]
    done = gradlab_alone("compile", cwd=tmp_path, before=NOWHERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "__pycache__ cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not HAS_NUMBA or os.name == "nt", reason="no Numba, or no such signal")
def test_a_killed_run_keeps_its_engine_wherever_it_is_gone_on_with(started, small, tmp_path):
    process = started(tmp_path, small, *long_on("auto"), "--checkpoint-every", 1)
    process.kill()
    process.communicate()
    before = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    assert json.loads((tmp_path / "runs/small/environment.json").read_text())["engine"] == {"small": "compiled"}
    for how in (["--resume", "runs/small"], [small, *long_on("auto")], ["--resume", "runs/small", "--dry-run"]):
        done = gradlab_alone("run", *how, cwd=tmp_path, before=WITHOUT)
        assert (done.returncode, done.stdout) == (2, "")
        assert "training.engine: the run was begun with 'compiled', which cannot be used: " in done.stderr
        assert done.stderr.endswith("""pip install "gradlab[fast]"\n""")
        assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file()} == before
    done = gradlab("run", "--resume", "runs/small", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["variants"]["small"]["engine"] == "compiled"


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
def test_a_run_begun_plain_goes_on_plain_where_auto_is_compiled_now(small, tmp_path):
    begin = "from gradlab.lab import sweep; sweep.run_all = lambda *_: 1 / 0; "
    assert gradlab_alone("run", small, cwd=tmp_path, before=WITHOUT + begin).returncode != 0
    found = json.loads(gradlab("run", small, "--dry-run", "--json", cwd=tmp_path).stdout)
    assert [e["engine"] for e in found["experiments"]] == ["plain"]
    done = gradlab("run", small, "--json", cwd=tmp_path)
    assert done.stderr == "gradlab: going on with the unfinished run in runs/small\n"
    assert json.loads(done.stdout)["variants"]["small"]["engine"] == "plain"


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
def test_the_number_of_threads_is_noted_and_changes_no_file(small, tmp_path):
    for threads in (1, 2):
        done = gradlab("run", small, "--threads", threads, "--out", str(threads), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / str(threads) / "environment.json").read_text())["threads"] == threads
    for path in (tmp_path / "1").rglob("*"):
        if path.is_file() and path.name not in ("environment.json", "summary.json") and path.parent.name != "results":
            assert path.read_bytes() == (tmp_path / "2" / path.relative_to(tmp_path / "1")).read_bytes(), path


def test_compile_without_its_extra_is_one_line(tmp_path):
    done = gradlab_alone("compile", cwd=tmp_path, before=WITHOUT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'gradlab: the compiled engine needs Numba: pip install "gradlab[fast]"\n'


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
def test_compile_says_where_it_is_kept_and_how_long_it_took(tmp_path):
    from gradlab.training.engines.cache import folder

    done = gradlab("compile", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["folder"] == str(folder())
    assert found["seconds"].keys() == {"float64", "float32"}
    done = gradlab("compile", cwd=tmp_path)
    assert done.stdout.startswith("the compiled engine is ready, float64 in ")
    assert done.stdout.endswith(f" s; it is kept in {folder()}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not HAS_NUMBA, reason="no Numba")
@pytest.mark.slow
def test_what_is_compiled_is_announced_before_the_bar_and_kept_where_it_is_told_to(small, tmp_path):
    cache = tmp_path / "cache"
    done = gradlab_alone("run", small, cwd=tmp_path, env={"NUMBA_CACHE_DIR": str(cache)})
    assert done.returncode == 0
    assert done.stderr == "gradlab: compiling the engine for float64, once: about 20 seconds\n"
    assert any(path.is_file() for path in cache.rglob("*"))
    assert gradlab_alone("run", small, cwd=tmp_path, env={"NUMBA_CACHE_DIR": str(cache)}).stderr == ""
