"""Every code block of the README is executed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import gradlab

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository, what was compiled included, with this environment in place of one that make builds."""
    clone = tmp_path_factory.mktemp("clone") / "gradlab"
    clone.mkdir()
    for name in ("configs", "experiments", "src", "tests"):
        shutil.copytree(ROOT / name, clone / name)
    for name in ("pyproject.toml", "Makefile", "README.md"):
        shutil.copy(ROOT / name, clone)
    environment = clone / ".venv"
    environment.mkdir()
    (environment / "bin").symlink_to(Path(sys.executable).parent)
    for stamp in ("run.stamp", "test.stamp"):
        (environment / stamp).touch()
    return clone


def test_there_is_no_block_of_another_kind():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "toml"}
    assert all(command.startswith(("make ", "gradlab ")) for command in COMMANDS)


@pytest.mark.skipif(os.name == "nt", reason="make and its paths are not Windows'")
def test_the_commands_of_the_readme_work_one_after_another(clone):
    for command in COMMANDS:
        run_as_in_the_readme(command, clone)


def run_as_in_the_readme(command, clone):
    path = f"{clone}/.venv/bin{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": f"{clone}/src"}  # its own code, not what is installed
    if command == "make test":  # which runs this test, so only say what it would do
        command += " --dry-run"
    done = subprocess.run(
        command, shell=True, cwd=clone, env=env, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if command == "make demo":
        assert done.stdout.count("HOLDS") == 6
        folder = clone / "runs" / "sigmoid_vs_relu"
        figures = {path.stem for path in (folder / "figures").iterdir()}
        assert figures == {"gradient_by_layer", "gradient_over_time", "learning_curves", "decision_boundary", "sigmoid"}
        found = json.loads((folder / "summary.json").read_text("utf-8"))
        assert list(found["variants"]) == ["sigmoid", "tanh", "relu"]
        for variant in found["variants"].values():
            assert all(len(variant[m]["values"]) == 30 for m in ("test_accuracy", "train_loss", "gradient_ratio"))


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "python"])
def test_an_example_of_the_readme_runs(text, capsys):
    exec(compile(text, "README.md", "exec"), {})
    assert re.search(r"9\d\.\d% right|gradients right", capsys.readouterr().out)


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "toml"])
def test_the_claims_of_a_configuration_in_the_readme_hold(text, tmp_path):
    (tmp_path / "readme.toml").write_text(text, encoding="utf-8")
    done = gradlab("run", "readme.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HOLDS" in done.stdout


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_every_file_that_the_readme_names_exists():
    for name in re.findall(r"`([\w/]+\.py)`", README):
        assert (ROOT / name).exists() or list((ROOT / "src/gradlab").rglob(name)), name
