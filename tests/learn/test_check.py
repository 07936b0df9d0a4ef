"""Somebody's own layer, loss or optimizer is judged, whatever the file does."""

import json
import textwrap

import numpy as np
import pytest
from commands import gradlab

from gradlab.check.apart import FailedCodeError, UnusableFileError, run_apart
from gradlab.check.objects import _check
from gradlab.check.optimizers import MissingSettingError
from gradlab.check.rules import FAMILIES, matching, recipes, trajectory
from gradlab.learn import check_file, check_object, check_optimizer
from gradlab.nn import SGD, Adam, AdamW, Dense, RMSProp, Sigmoid, SquaredError

HEAD = """
import numpy as np
import gradlab

class Cube(gradlab.Layer):
    def forward(self, x):
        return x**3

    def backward(self, dy, x, y):
        return dy * 3 * x**2
"""


@pytest.fixture
def written(tmp_path):
    def write(body, head=HEAD):
        path = tmp_path / "mine.py"
        path.write_text(head + textwrap.dedent(body), encoding="utf-8")
        return f"{path}:Mine"

    return write


def test_a_right_layer_is_right(written):
    verdict = check_file(written("class Mine(Cube): pass"))
    assert verdict
    assert str(verdict).startswith("right: Mine: 60 entries compared, 0 left out at kinks")


def test_a_layer_may_take_arguments_of_its_own(written):
    assert check_file(
        written("""
        class Mine(Cube):
            def forward(self, x, out=None):
                return np.power(x, 3, out=out)

            def backward(self, dy, x, y, out=None):
                return np.multiply(dy, 3 * x**2, out=out)
    """)
    )


def test_a_wrong_layer_is_told_with_entry_size_and_mistake(written):
    verdict = check_file(
        written("""
        class Mine(Cube):
            def backward(self, dy, x, y):
                return dy * -3 * x**2
    """)
    )
    assert not verdict
    assert verdict.mistake == "sign"
    for words in (
        "the gradient of x at [",
        "the central difference is",
        "relative error 2.0e+00",
        "the wrong sign",
        "5 samples of 3 features",
    ):
        assert words in verdict.says


def test_weights_that_a_layer_leaves_at_0_do_not_hide_its_mistake(written):
    verdict = check_file(
        written("""
        class Mine(gradlab.Layer):
            def __init__(self, n_in, n_out):
                self.n_in, self.n_out = n_in, n_out

            def parameter_shapes(self):
                return {"W": (self.n_in, self.n_out)}

            def forward(self, x):
                return x @ self.W

            def backward(self, dy, x, y):
                self.dW[...] = x.T @ dy
                return dy @ -self.W.T
    """)
    )
    assert verdict.mistake == "sign"


@pytest.mark.parametrize(
    "body, words",
    [
        ("def Mine(:", "mine.py, line 11: invalid syntax, in `def Mine(:`"),
        ("import nothing_of_the_kind", "line 11: ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("raise SystemExit", "line 11: SystemExit"),
        ("class Nine(Cube): pass", "'Mine' is not one of Cube, Nine; did you mean 'Nine'?"),
        ("class Mine: pass", "line 11: Mine has none of the methods: a layer has forward and backward"),
        ("class Mine:\n  def forward(self, x): return x", "Mine has no backward"),
        ("class Mine(gradlab.Layer):\n  def forward(self, x): return x", "line 11: Mine has no backward, which a layer needs"),
        ("class Mine:\n  def forward(self, x): return x\n  def backward(self, dy, x, y): return dy", "write class Mine(gradlab.Layer)"),
        ("class Mine(gradlab.Loss):\n  def value(self, z, t, weights=None): return 0.0", "Mine has no gradient, which a loss needs"),
        ("class Mine(Cube):\n  def forward(self, x): return x.sum(axis=0)", "line 12: Mine.forward gives an array of shape (3,)"),
        ("class Mine(Cube):\n  def forward(self, x): return [1.0]", "line 12: Mine.forward gives a list, not an array"),
        ("class Mine(Cube):\n  def backward(self, dy, x, y): pass", "line 12: Mine.backward gives None, not an array"),
        ("class Mine(Cube):\n  def backward(self, dy, x, y): return dy[0]", "line 12: Mine.backward gives an array of shape (3,)"),
        ("class Mine(Cube):\n  def forward(self, x): return np.log(x)", "line 12: Mine.forward gives nan at [0, 1]"),
        ("class Mine(Cube):\n  def backward(self, dy, x, y): return dy / 0.0", "line 12: Mine.backward gives inf at [0, 0]"),
        ("class Mine(Cube):\n  def __init__(self, scale): pass", "line 11: Mine needs scale: give it, as in Mine(scale=3)"),
        ("class Mine(Cube):\n  def __init__(self): 1 / 0", "line 12: Mine cannot be made: ZeroDivisionError"),
        ("class Mine:\n  def step(self, params, grads): params -= grads", "line 11: Mine has no attribute learning_rate"),
        ("Mine = 3", "Mine is of type int: no layer, activation, loss or optimizer"),
        ("def Mine(x): return x", "line 11: Mine is a function of arguments: no layer"),
        ("class Mine(Cube):\n  def backward(self, dy, y): return dy", "line 12: Mine.backward takes other arguments than it is given"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_said_in_a_sentence(written, body, words):
    path, _, name = written(body).partition(":")
    with pytest.raises(UnusableFileError) as error:
        _check(path, name, "", "")  # as in a process apart
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "target, words",
    [
        ("nowhere.py:Mine", "nowhere.py: there is no such file"),
        ("Mine", "not of the form FILE.py:NAME"),
        ("mine.py:", "not of the form FILE.py:NAME"),
        ("gradlab.nowhere:Mine", "there is no such file or module"),
    ],
)
def test_a_target_that_is_none_is_said(target, words):
    with pytest.raises(UnusableFileError, match=words):
        check_file(target)


def test_arguments_are_literals(written):
    target = written("class Mine(Cube):\n  def __init__(self, a, b=0): assert (a, b) == (3, [1.5])")
    assert check_file(f"{target}(3, b=[1.5])")
    with pytest.raises(UnusableFileError, match="are not arguments"):
        check_file(f"{target}(__import__('os'))")


def test_a_module_of_python_s_own_path_may_stand_in_place_of_the_file():
    for name in ("relatives:Softplus", "layers:Dense(3, 2)", "losses:SoftmaxCrossEntropy", "optimizers:Adam"):
        assert check_file(f"gradlab.nn.{name}")


def test_a_slope_that_is_no_float_is_told(written):
    verdict = check_file(
        written("""
        class Mine(gradlab.Activation):
            def forward(self, x):
                return np.maximum(x, 0)

            def derivative(self, x, y):
                return x > 0
    """)
    )
    assert "line 16: Mine.derivative gives an array of bool; give floats" in verdict.says


@pytest.mark.parametrize(
    "body, words",
    [
        ("while True: pass", "line 13, in `while True: pass`: still running after 1 seconds: an endless loop?"),
        ("return undefined", "line 13: NameError: name 'undefined' is not defined, in `return undefined`"),
        ("import os; os._exit(7)", "it ended Python itself, with exit code 7"),
        ("return self.forward(x)", "RecursionError"),
        ("raise KeyboardInterrupt", "line 13: KeyboardInterrupt"),
        ("class Odd(Exception):\n      __str__ = None\n    raise Odd", "line 15: Odd, in `raise Odd`"),
    ],
)
def test_what_the_code_does_is_said_as_its_own(written, body, words):
    verdict = check_file(written(f"class Mine(Cube):\n  def forward(self, x):\n    {body}"), seconds=1.0)
    assert not verdict
    assert words in verdict.says


def test_what_the_file_prints_goes_where_messages_go(written, capfd):
    assert check_file(written("print('a word')\nMine = Cube()"))
    out, err = capfd.readouterr()
    assert (out, err.strip()) == ("", "a word")


def test_a_time_limit_also_ends_what_holds_the_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr("gradlab.check.apart.GRACE", 1.0)
    path = tmp_path / "mine.py"
    path.write_text("import signal, ctypes\nctypes.PyDLL(None).sleep(60)\n", encoding="utf-8")
    with pytest.raises(FailedCodeError, match=r"came to no end within 0\.5 seconds"):
        run_apart(load_and_say, str(path), seconds=0.5)


def load_and_say(path):
    from gradlab.check.apart import load_file

    load_file(path)
    return {}


class PlainLoss:
    def value(self, logits, targets):
        return np.mean((logits - targets) ** 2)

    def gradient(self, logits, targets):
        return 2 * (logits - targets) / logits.size


@pytest.mark.parametrize("subject", [Dense(3, 2), Sigmoid(), SquaredError("sigmoid"), PlainLoss()])
def test_our_own_are_right(subject):
    assert check_object(subject)


# optimizers


@pytest.mark.parametrize(
    "optimizer, family",
    [
        (SGD(0.1), "sgd"),
        (SGD(0.1, momentum=0.8), "momentum"),
        (SGD(0.1, momentum=0.8, nesterov=True), "nesterov"),
        (RMSProp(0.01), "rmsprop"),
        (Adam(0.01), "adam"),
        (Adam(0.01, epsilon_hat=True), "adam"),
        (AdamW(0.01, weight_decay=0.1), "adamw"),
    ],
)
def test_our_own_optimizers_take_the_formulas_steps(optimizer, family):
    verdict = check_optimizer(optimizer)
    assert verdict
    assert f"those of {family} (" in verdict.says


NUMBERS = {
    "learning_rate": 0.05, "momentum": 0.7, "decay": 0.8, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-8, "weight_decay": 0.3,
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_no_two_rules_take_the_same_steps_under_different_names(family):
    for recipe in recipes(family):
        with np.errstate(all="ignore"):
            passed = trajectory(recipe, NUMBERS)
        of_the_velocity = recipe.sentence.endswith("than is asked for")  # the steps are those of the right rule
        if np.isfinite(passed).all() and not of_the_velocity:
            assert matching(passed, [family], NUMBERS).mistake == recipe.mistake, recipe.sentence


class Plain:
    def __init__(self, rule):
        self.learning_rate, self.rule = 0.1, rule

    def step(self, params, grads):
        self.rule(self, params, grads)


@pytest.mark.parametrize(
    "rule, mistake, words",
    [
        (lambda s, p, g: np.subtract(p, 0.1 * g, p), "", "those of sgd"),
        (lambda s, p, g: np.add(p, 0.1 * g, p), "sign", "up the gradient"),
        (lambda s, p, g: p - 0.1 * g, "not in place", "leaves params as they are"),
        (lambda s, p, g: np.multiply(g, 0.1, g), "changes input", "changes the gradients"),
        (lambda s, p, g: np.subtract(p, 0.03 * g, p), "factor", "0.3 times as long"),
        (lambda s, p, g: np.copyto(p, np.float32(p - 0.1 * g)), "dtype", "seven digits"),
        (lambda s, p, g: np.subtract(p, 0.1 * np.sign(g), p), "", "no known mistake of sgd explains"),
    ],
)
def test_an_optimizer_s_mistake_is_named(rule, mistake, words):
    verdict = check_optimizer(Plain(rule))
    assert verdict.mistake == mistake
    assert words in verdict.says
    assert bool(verdict) == ("those of" in words)


def test_a_velocity_that_comes_too_late_is_no_step_that_is_missing():
    class Late(Plain):
        momentum, v = 0.9, 0.0

        def step(self, params, grads):
            params -= 0.1 * self.v
            self.v = 0.9 * self.v + grads

    assert check_optimizer(Late(None)).mistake == "not updated"


def test_an_optimizer_may_be_held_against_another_family():
    verdict = check_optimizer(SGD(0.1, momentum=0.8), like="nesterov")
    assert verdict.mistake == "dropped term"
    with pytest.raises(MissingSettingError, match="no attribute beta1, which adam needs"):
        check_optimizer(SGD(0.1), like="adam")


# the command


def test_the_command_says_it_by_its_exit_code(written):
    target = written("class Mine(Cube): pass\nclass Wrong(Cube):\n  def backward(self, dy, x, y): return dy")
    done = gradlab("check", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("right: Mine")
    done = gradlab("check", target.replace("Mine", "Wrong"), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["mistake"] == "slope missing"
    for arguments, words in (
        ([target.replace("Mine", "None_")], "'None_' is not one of Cube, Mine, Wrong"),
        ([target, "--like", "adan"], "--like: 'adan' is not one of sgd, momentum, nesterov, rmsprop, adam, adamw; did you mean 'adam'"),
        ([target, "--seconds", "0"], "--seconds: 0.0 is not a finite number above 0"),
    ):  # fmt: skip
        done = gradlab("check", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
