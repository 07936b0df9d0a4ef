"""An answer to an exercise is right, or the sentence says what is wrong and does not give the solution away."""

import importlib
import json
from pathlib import Path

import answer_bank
import numpy as np
import pytest
from answer_bank.mutants import mutants
from commands import gradlab

from gradlab.check.apart import FailedCodeError, UnusableFileError
from gradlab.learn import workbook
from gradlab.learn.exercises import EXERCISES, solution, trials
from gradlab.learn.grading import grade, grade_file


def solved(exercise, **changed):
    module = solution(exercise)
    return {trial.function: getattr(module, trial.function) for trial in trials(exercise)} | changed


@pytest.mark.parametrize("exercise", EXERCISES)
def test_no_mutant_of_a_solution_passes(exercise):
    for mutant in mutants(exercise):
        try:
            verdict = grade(solved(exercise, **{mutant.function: mutant.code}), exercise)
        except (UnusableFileError, FailedCodeError):
            continue
        assert not verdict, mutant.line


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_bank_s_answers_are_judged_rightly(exercise):
    importlib.import_module(f"answer_bank.{exercise}")
    others = []
    for answer in (answer for answer in answer_bank.ANSWERS if answer.exercise == exercise):
        try:
            verdict = grade(solved(exercise, **{answer.function: answer.code}), exercise)
            right, mistake = verdict.right, verdict.mistake
        except (UnusableFileError, FailedCodeError):
            right, mistake = False, ""
        assert right == answer.is_right, answer
        if not answer.is_right and mistake != answer.label:
            others.append(answer)
    assert len(others) <= 1, others


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_known_mistake_is_one_and_is_named(exercise):
    for trial in trials(exercise):
        for _, says, wrong in trial.wrongs:
            if trial.written or trial.samples == 1:  # compared by the bank
                continue

            def answer(*arguments, wrong=wrong):
                return wrong(*arguments)

            try:
                verdict = grade(solved(exercise, **{trial.function: answer}), exercise)
            except (UnusableFileError, FailedCodeError):
                continue  # shapes that do not fit, which the learner is told
            assert not verdict, says
            assert verdict.mistake, says


def dense_backward(dy, x, W):
    return dy @ W.T, x.T @ dy / len(x), dy.sum(axis=0, keepdims=True)


def test_the_sentence_has_the_numbers_and_not_the_solution(tmp_path):
    verdict = grade({"dense_backward": dense_backward}, "dense_backward", __file__)
    assert verdict.mistake == "mean twice"
    draw = trials("dense_backward")[0].draws[0]
    right = (draw["x"].T @ draw["dy"]).flat
    assert any(f"but {number:.6g} is right" in verdict.says for number in right)
    assert f"line {dense_backward.__code__.co_firstlineno}: dense_backward: dW[" in verdict.says
    assert (
        "every entry is 5 times too small, and there are 5 samples: it is divided by them once too often"
        in verdict.says
    )
    assert "x.T" not in verdict.says


@pytest.mark.parametrize(
    "answer, mistake, words",
    [
        (lambda dy, x, W: (dy @ W.T, x.T @ dy, dy.sum(axis=0)), None, "db is of shape (3,); it is to be of shape (1, 3)"),
        (lambda dy, x, W: (dy @ W.T, (x.T @ dy).T, dy.sum(axis=0)), None, "rows and columns are exchanged"),
        (lambda dy, x, W: dy @ W.T, None, "returns a ndarray; it is to return dx, dW, db"),
        (lambda dy, x, W: None, None, "returns None: a return is missing"),
        (lambda dy, x, W: (dy @ W.T, x.T @ dy), None, "returns 2 results; it is to return dx, dW, db"),
        (lambda dy, x, W: ([[1.0]], x.T @ dy, dy), None, "dx is a list; it is to be an array of shape (5, 4)"),
        (lambda dy, x, W: (dy @ W.T * np.nan, x.T @ dy, dy), None, "dx is nan at [0, 0], for finite arguments"),
        (lambda dy, x: dy, None, "takes other arguments than (dy, x, W)"),
        (lambda dy, x, W: (dy @ W, x.T @ dy, dy.sum(axis=0, keepdims=True)), "transposed", "right with W transposed"),
        (lambda dy, x, W: (dy @ W.T, x.T @ dy, dy.sum(axis=1, keepdims=True)), "wrong axis", "over the outputs"),
        (lambda dy, x, W: (np.add(dy, 1, dy) @ W.T, x.T @ dy, dy[:1]), "changes input", "argument dy in place"),
        (lambda dy, x, W: (dy @ W.T * 0.37, x.T @ dy, dy.sum(axis=0, keepdims=True)), "factor", "0.37 times"),
        (lambda dy, x, W: (dy @ W.T + x**7, x.T @ dy, dy.sum(axis=0, keepdims=True)), "", "no number is right, and no known mistake"),
        (lambda dy, x, W: (dy @ W.T + (x > 0), x.T @ dy, dy.sum(axis=0, keepdims=True)), "", "of 20 numbers are right"),
        (lambda dy, x, W: (dy @ W.T, x.T @ dy, dy), None, "the sum over the samples is missing"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(answer, mistake, words):
    if mistake is None:
        with pytest.raises(UnusableFileError) as error:
            grade({"dense_backward": answer}, "dense_backward")
        assert words in str(error.value)
        return
    verdict = grade({"dense_backward": answer}, "dense_backward")
    assert verdict.mistake == mistake
    assert words in verdict.says


def test_the_results_in_another_order_are_told():
    def exchanged(dy, x, gamma, epsilon):
        dx, dgamma, dbeta = solution("batch_norm").batch_norm_backward(dy, x, gamma, epsilon)
        return dx, dbeta, dgamma

    with pytest.raises(FailedCodeError, match="right, but in another order than dx, dgamma, dbeta"):
        grade(solved("batch_norm", batch_norm_backward=exchanged), "batch_norm")


@pytest.mark.parametrize(
    "text, words, kind",
    [
        (
            "sigmoid = 3\ndef sigmoid_backward(dy, x, y): pass",
            "sigmoid is of type int, and no function",
            UnusableFileError,
        ),
        ("x = (", "line 1: '(' was never closed", UnusableFileError),
        (
            "def sigmoid(x): return x",
            "there is no function sigmoid_backward, only sigmoid",
            UnusableFileError,
        ),
        ("def sigmoid(x):\n  return y\ndef sigmoid_backward(dy, x, y): pass", "line 2: NameError", None),
        (
            "def sigmoid(x):\n  while 1: pass\ndef sigmoid_backward(dy, x, y): pass",
            "line 2, in `while 1: pass`: still running",
            None,
        ),
    ],
)
def test_a_file_is_graded_apart(tmp_path, text, words, kind):
    path = tmp_path / "answer.py"
    path.write_text(text, encoding="utf-8")
    if kind is None:
        assert words in grade_file(str(path), "sigmoid", seconds=1.0).says
    else:
        with pytest.raises(kind) as error:
            grade_file(str(path), "sigmoid")
        assert words in str(error.value)


# as a learner meets them


@pytest.fixture
def gradlab_exercise(tmp_path, monkeypatch):
    """What `gradlab exercise` does for a learner whose progress is kept in a folder of the test's own."""
    monkeypatch.setenv("GRADLAB_PROGRESS", str(tmp_path / "kept" / "progress.json"))

    def run(*arguments):
        done = gradlab("exercise", *arguments, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_task_is_the_solution_without_its_answer(exercise, tmp_path):
    task, answer = workbook.task_text(exercise), workbook.solution_text(exercise)
    names = next(e.functions for e in workbook.exercises() if e.name == exercise)
    assert task.count("raise NotImplementedError") == len(names)
    for name in names:
        assert f"def {name}(" in task
    derivation = [line for line in answer.splitlines() if line.lstrip().startswith("# ")]
    assert derivation
    assert not set(derivation) & set(task.splitlines())
    compile(task, exercise, "exec")


def test_from_start_to_solved(gradlab_exercise, tmp_path):
    done = gradlab_exercise("list")
    assert done.returncode == 0
    assert "0 of 12 solved; next: gradlab exercise start sigmoid" in done.stdout
    done = gradlab_exercise("start", "momentum")
    assert "gradlab exercise check momentum.py" in done.stdout
    done = gradlab_exercise("check", "momentum.py")
    assert (done.returncode, done.stderr) == (1, "")
    assert "momentum_step is still to be written" in done.stdout
    again = gradlab_exercise("start", "momentum")
    assert (again.returncode, again.stdout) == (2, "")
    assert "is not written over" in again.stderr
    (tmp_path / "mine.py").write_text(gradlab_exercise("solution", "momentum").stdout, encoding="utf-8")
    done = gradlab_exercise("check", "mine.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "right: momentum" in done.stdout
    assert "next: gradlab exercise start sigmoid" in done.stdout
    kept = tmp_path / "kept" / "progress.json"
    assert list(json.loads(kept.read_text())) == ["momentum"]
    assert "solved  momentum" in gradlab_exercise("list").stdout
    kept.write_text("[", encoding="utf-8")
    done = gradlab_exercise("check", "mine.py")
    assert done.returncode == 0
    assert "could not be kept" in done.stderr
    assert kept.read_text() == "["


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["start", "sigmod"], "'sigmod' is not one of sigmoid, relu"),
        (["solution", "x"], "'x' is not one of"),
        (["check", "nowhere.py"], "nowhere.py: No such file"),
        (["check", "empty.py"], "does not say which exercise it answers"),
        (["check", "other.py"], "other.py, line 1: EXERCISE: 'tanh' is not one of"),
        (["check", "broken.py"], "broken.py, line 1: not Python"),
        (["start", "relu", "--out", "nowhere/relu.py"], "nowhere/relu.py: there is no folder nowhere"),
    ],
)
def test_a_wrong_name_is_said(gradlab_exercise, tmp_path, arguments, words):
    (tmp_path / "empty.py").touch()
    (tmp_path / "other.py").write_text('EXERCISE = "tanh"', encoding="utf-8")
    (tmp_path / "broken.py").write_text("def", encoding="utf-8")
    done = gradlab_exercise(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "platform, settings",
    [
        ("linux", Path("home", ".config")),
        ("darwin", Path("home", "Library", "Application Support")),
        ("win32", Path("home", "Roaming")),
    ],
)
def test_what_is_solved_is_kept_in_the_users_own_folder(platform, settings, tmp_path, monkeypatch):
    for name in ("GRADLAB_PROGRESS", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("APPDATA", str(tmp_path / "home" / "Roaming"))
    assert workbook.progress_file() == tmp_path / settings / "gradlab" / "exercises.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    if platform == "linux":
        assert workbook.progress_file() == tmp_path / "elsewhere" / "gradlab" / "exercises.json"
