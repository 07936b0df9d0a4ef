"""Without its extra a command or a call says, in one line, what to install; what needs none works."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from commands import gradlab_alone

from gradlab.extras import BROUGHT_BY

ROOT = Path(__file__).parents[1]
WORKS_FROM_PYTHON = """
from importlib.util import find_spec

from gradlab import SGD, BinaryCrossEntropy, MLPClassifier, Network, check_gradients, mlp, train
from gradlab.flow import FlowRecorder, diagnose, mean_field
from gradlab.learn import check_object, diagram, explain
from gradlab.nn import Softplus
from sklearn.datasets import make_moons

x, y = make_moons(200, noise=0.1, random_state=0)
network, recorder = Network(mlp([2, 8, 1], "tanh"), seed=range(2)), FlowRecorder()
for step in train(network, BinaryCrossEntropy(), SGD(1.0, momentum=0.9), x, y, epochs=30, batch_size=20):
    recorder(step)
assert step.running_loss.max() < 0.3, step.running_loss
assert recorder.table()
network = Network(mlp([2, 2, 1], "sigmoid"), seed=0)
assert "central difference" in explain(network, BinaryCrossEntropy(), x[:4], y[:4]).text()
assert diagram(network, BinaryCrossEntropy(), x[:4], y[:4]).svg.startswith("<svg")
assert check_gradients(network) and check_object(Softplus())
assert diagnose(network, x, y).findings is not None and mean_field("tanh", gain=1.0).chi > 0
classifier = MLPClassifier((8,), tol=0.1, record_flow=True, random_state=0).fit(x, y)
assert classifier.predict(x).shape == (200,)
"""
LACKING = 'needs {}, which the extra "{}" brings: pip install "gradlab[{}]"\n'


def test_every_extra_brings_what_it_is_said_to_bring():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    brought = {
        (re.split(r"[\[<>=; ]", requirement)[0].replace("-", "_"), extra)
        for extra, requirements in project["optional-dependencies"].items()
        for requirement in requirements
    }
    assert set(BROUGHT_BY.items()) - {("annotated_types", "lab")} <= brought  # which pydantic brings


def python(interpreter, code, *arguments, cwd):
    """Run code as a program with some arguments; warnings are errors."""
    command = [interpreter, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def gradlab_without(packages, *arguments, cwd):
    """Run the command where some packages cannot be imported."""
    hidden = f"import sys; sys.modules.update(dict.fromkeys({sorted(packages)}))\n"
    return gradlab_alone(*arguments, cwd=cwd, before=hidden)


BROUGHT_BY_TYPER_TOO = {"annotated_types", "pydantic"}  # from some version on
OF_LAB = {package for package, extra in BROUGHT_BY.items() if extra == "lab"} - BROUGHT_BY_TYPER_TOO
COMMANDS = [["run", "x.toml"], ["diagnose", "x.toml"], ["predict", "run", "x.csv"], ["collect", "runs"]]
LESSONS = [["explain"], ["diagram"], ["check", "gradlab.nn:Softplus"], ["exercise", "list"], ["list"]]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_command_of_the_laboratory_names_its_extra(arguments, tmp_path):
    for lacking in (BROUGHT_BY, {"pydantic"}):
        done = gradlab_without(lacking, *arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        names = {LACKING.format(name, "lab", "lab") for name in ("typer", "pydantic")}
        assert done.stderr.removeprefix(f"gradlab {arguments[0]} ") in names


@pytest.mark.parametrize("arguments", [*LESSONS, ["--help"]], ids=lambda arguments: arguments[0])
def test_a_command_of_lessons_needs_the_extra_cli_alone(arguments, tmp_path):
    done = gradlab_without({*OF_LAB, "gradlab.lab.schema"}, *arguments, cwd=tmp_path)  # which needs pydantic
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    done = gradlab_without(BROUGHT_BY, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    command = "gradlab" if arguments == ["--help"] else f"gradlab {arguments[0]}"
    assert done.stderr == f"{command} {LACKING.format('typer', 'cli', 'cli')}"


def test_the_step_that_needs_no_configuration_is_the_one_that_its_text_describes(tmp_path):
    by_hand, by_text = (
        gradlab_alone("explain", *more, "--step", 3, cwd=tmp_path) for more in ([], ["--set", "network.width=2"])
    )
    assert by_hand.stdout == by_text.stdout != ""


def test_what_is_missing_but_brought_by_no_extra_is_not_hidden(tmp_path):
    done = gradlab_without({"threadpoolctl"}, "explain", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    "package, extra, call",
    [
        ("matplotlib", "lab", "from gradlab.estimators.display import draw_flow as plot_flow; plot_flow({})"),
        ("onnx", "onnx", "from gradlab.estimators.onnx import to_onnx; to_onnx(None, '', None, '')"),
        ("pydantic", "lab", "import gradlab.lab.config"),
    ],
)
def test_a_call_names_its_extra(package, extra, call, tmp_path):
    done = python(sys.executable, f"import sys; sys.modules['{package}'] = None\n{call}", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(LACKING.format(package, extra, extra))


# Installed afresh


@pytest.fixture(scope="module")
def core_alone(tmp_path_factory):
    """A virtual environment in which gradlab is installed from these sources, without an extra."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder / "venv", with_pip=True)
    interpreter = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    reach = pip(interpreter, "download", "--no-deps", "--dest", folder, "--retries", "0", "--timeout", "10", "tqdm")
    if reach.returncode:
        pytest.skip(f"no index of packages can be reached: {reach.stderr.strip().splitlines()[-1]}")
    sources = folder / "sources"  # a copy: a build may leave files
    sources.mkdir()
    shutil.copytree(ROOT / "src", sources / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    install(interpreter, sources)
    return interpreter, sources


def pip(interpreter, *arguments):
    command = [interpreter, "-m", "pip", "--disable-pip-version-check", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)


def install(interpreter, what):
    done = pip(interpreter, "install", "--quiet", what)
    assert done.returncode == 0, done.stdout + done.stderr


def command_of(interpreter, *arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [interpreter.with_name("gradlab"), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.installs
def test_the_core_alone_trains_explains_and_checks(core_alone, tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    interpreter, sources = core_alone
    absent = f"from importlib.util import find_spec\nassert not [*filter(find_spec, {sorted(BROUGHT_BY)})]\n"
    done = python(interpreter, absent + WORKS_FROM_PYTHON, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for arguments, extra in ([["run", "x.toml"], "lab"], [["explain"], "cli"]):
        done = command_of(interpreter, *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr == f"gradlab {arguments[0]} {LACKING.format('typer', extra, extra)}"
    install(interpreter, f"{sources}[cli]")
    for arguments in LESSONS:
        done = command_of(interpreter, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    (tmp_path / "x.toml").touch()
    done = command_of(interpreter, "run", "x.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(' brings: pip install "gradlab[lab]"\n'), done.stderr
