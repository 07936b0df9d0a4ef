"""The experiments' frame: a claim that fails is seen, figures and gallery come from the saved numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
sys.path.insert(0, str(EXPERIMENTS))

import frame  # noqa: E402
import gallery  # noqa: E402

SCRIPT = '''
"""Is it so?

Claim: it is.
Reference: none.
Set-up: one number.
"""
import sys
from frame import main

def experiment(report, quick):
    report.numbers |= {"x": [1.0, float("nan")], "quick": quick}
    report.between("x", VALUE, 0.5, 1.5)
    report.within("x", VALUE, 1.0, 0.1)
    report.conclusion = f"It is {VALUE:g}."
    ERROR

def draw(numbers):
    from matplotlib.figure import Figure
    assert numbers["x"][1] is None
    figure = Figure()
    figure.subplots().plot([0.0, numbers["x"][0]])
    return figure

if __name__ == "__main__":
    sys.exit(main(experiment, draw))
'''


def run(folder, *arguments, value="1.0", error="pass"):
    script = folder / "is_it_so.py"
    script.write_text(SCRIPT.lstrip().replace("VALUE", value).replace("ERROR", error), encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(EXPERIMENTS), "PYTHONWARNINGS": "error"}
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env=env, check=False)


def test_a_right_number_holds_and_is_saved(tmp_path):
    done = run(tmp_path, "--out", str(tmp_path / "out"))
    assert done.returncode == frame.DONE, done.stderr
    assert done.stdout.count("HOLDS") == 2
    saved = json.loads((tmp_path / "out" / "results" / "is_it_so.json").read_text(encoding="utf-8"))
    assert saved["numbers"] == {"x": [1.0, None], "quick": False}
    assert saved["title"] == "Is it so?"
    assert [claim["holds"] for claim in saved["claims"]] == [True, True]
    assert (tmp_path / "out" / "figures" / "is_it_so.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_number_fails_and_the_script_says_so(tmp_path):
    done = run(tmp_path, "--quick", value="2.0")
    assert done.returncode == frame.CLAIM_FAILS == 3
    assert "FAILS  x: expected 0.5 to 1.5, measured 2" in done.stdout
    assert not list(tmp_path.glob("**/*.json"))


@pytest.mark.parametrize(
    "arguments, error, code, message",
    [
        (["--fast"], "pass", 2, "unrecognized"),
        (["--quick"], "raise KeyboardInterrupt", 130, "interrupted; nothing was saved"),
        (["--out", "/proc/nowhere"], "pass", 1, "/proc/nowhere"),
    ],
)
def test_what_went_wrong_is_said_in_one_line(tmp_path, arguments, error, code, message):
    done = run(tmp_path, *arguments, error=error)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_experiment_without_a_claim_has_shown_nothing(tmp_path):
    done = run(tmp_path, "--quick", error="report.claims.clear()")
    assert done.returncode == 1
    assert "states no claim" in done.stderr


def test_no_seeds_count_for_nothing():
    report = frame.Report("x", "x?", "", True)
    report.count("it happens", [], 0)
    assert not report.claims[0].holds


def test_the_gallery_is_what_was_saved():
    assert (EXPERIMENTS / "README.md").read_text(encoding="utf-8") == gallery.page()


def test_the_gallery_shows_what_fails(tmp_path, monkeypatch):
    run(tmp_path, "--out", str(tmp_path), value="2.0")
    monkeypatch.setattr(gallery, "SUITE", ("is_it_so", "not_made_yet"))
    page = gallery.page(tmp_path)
    assert "0 hold, **2 fail**" in page
    assert "| **fails** | x | 0.5 to 1.5 | 2 |" in page
    assert "**Is it so?** It is 2." in page
    assert "not_made_yet" not in page


SHORT = ("sigmoid_shape", "decay_and_mean_field", "saturated_output", "diagnosis")


@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.slow) for name in gallery.SUITE]
)
def test_an_experiment_runs_through_in_its_small_version(name, tmp_path):
    command = [sys.executable, str(EXPERIMENTS / f"{name}.py"), "--quick", "--out", str(tmp_path)]
    env = os.environ | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode in (frame.DONE, frame.CLAIM_FAILS), done.stderr
    saved = frame.load(name, tmp_path)
    assert saved["claims"]
    assert saved["conclusion"]
    assert {"Claim:", "Reference:", "Set-up:"} <= set(saved["text"].split())
