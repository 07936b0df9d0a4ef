"""Whatever is changed in a layer, a loss or an optimizer takes effect in the next training, which then runs plain."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gradlab
from gradlab.learn import explain
from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Dense, Network, Optimizer, Residual, Sigmoid, Tanh
from gradlab.training import EngineError, train
from gradlab.training.engines import choose, kernels
from gradlab.training.penalties import Penalties

pytest.importorskip("numba")

X = np.random.default_rng(0).normal(size=(30, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(float)


def network(inner=False):
    middle = [Dense(4, 4), Sigmoid()]
    return Network([Dense(2, 4), Sigmoid(), *([Residual(middle)] if inner else middle), Dense(4, 1)])


def fitted(engine, loss=None, optimizer=None, net=None):
    net = net or network()
    loss, optimizer = loss or BinaryCrossEntropy(), optimizer or SGD(0.5)
    for _ in train(net, loss, optimizer, X, Y, epochs=3, batch_size=10, engine=engine, each="epoch"):
        pass
    return net.params


def is_followed_and_refused(capsys, name, loss=None, optimizer=None, net=None):
    """Auto takes the plain engine, and says why in one line; the compiled one, asked for, refuses by name."""
    net = net or network()
    loss, optimizer = loss or BinaryCrossEntropy(), optimizer or SGD(0.5)
    capsys.readouterr()
    assert choose("auto", net, loss, optimizer, Penalties()) == "plain"
    said = capsys.readouterr().err
    assert said.startswith("gradlab: the plain engine is used: ")
    assert said.count("\n") == 1
    assert name in said
    before = net.params.copy()
    with pytest.raises(EngineError, match=name):
        next(train(net, loss, optimizer, X, Y, epochs=1, batch_size=10, engine="compiled"))
    np.testing.assert_array_equal(net.params, before)


def test_digests_are_fresh():
    stale = {}
    for table in (kernels.LAYERS, kernels.LOSSES, kernels.OPTIMIZERS, kernels.AROUND):
        stale |= {kind.__name__: now for kind, k in table.items() if (now := kernels.digest(kind)) != k.digest}
    assert stale == {}, "look whether the kernels still compute the same, then write these digests to the table"


def test_all_is_known():
    for table in (kernels.LOSSES, kernels.OPTIMIZERS):
        assert all(kernels.digest(kind) for kind in table)
    assert choose("auto", network(True), BinaryCrossEntropy(), Adam(), Penalties()) == "compiled"


def halved_gradient(self, dy, x, y):
    dx = dense_backward(self, dy, x, y)
    self.dW *= 0.5
    return dx


def printing_backward(self, dy, x, y):
    print("in Dense.backward")
    return dense_backward(self, dy, x, y)


def halved_derivative(self, x, y):
    return 0.5 * y * (1.0 - y)


def clipped_later(self, x, y):
    """Right as long as no input is beyond 6, as none is in a first step."""
    return np.where(np.abs(x) > 6.0, 0.0, y * (1.0 - y))


def doubled_gradient(self, logits, targets, weights=None):
    return 2.0 * loss_gradient(self, logits, targets, weights)


def forgetful_step(self, params, grads):
    sgd_step(self, params, 0.5 * grads)


dense_backward, loss_gradient, sgd_step = Dense.backward, BinaryCrossEntropy.gradient, SGD.step
CHANGES = {
    "Dense.backward": (Dense, "backward", halved_gradient),
    "Dense.backward, a print": (Dense, "backward", printing_backward),
    "Sigmoid.derivative": (Sigmoid, "derivative", halved_derivative),
    "Sigmoid.derivative, a clip": (Sigmoid, "derivative", clipped_later),
    "the loss": (BinaryCrossEntropy, "gradient", doubled_gradient),
    "the optimizer": (SGD, "step", forgetful_step),
}


def doubled_samples(self, x):
    return 2.0 * network_samples(self, x)


def printing_prepare(self, params, grads):
    print("in prepare")
    sgd_prepare(self, params, grads)


network_samples, sgd_prepare = Network.samples, SGD.prepare


@pytest.mark.parametrize(
    "kind, name, method, said",
    [(Network, "samples", doubled_samples, "network"), (Optimizer, "prepare", printing_prepare, "SGD")],
)
def test_what_a_method_calls_counts_too(monkeypatch, capsys, kind, name, method, said):
    monkeypatch.setattr(kind, name, method)
    is_followed_and_refused(capsys, said)


def test_what_a_method_calls_may_not_be_replaced_on_an_object(capsys):
    optimizer = SGD(0.5)
    optimizer.prepare = printing_prepare.__get__(optimizer)
    is_followed_and_refused(capsys, "prepare of this SGD", optimizer=optimizer)


@pytest.mark.parametrize("inner", [False, True], ids=["in a row", "inside a Residual"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_class_that_is_changed_runs_plain(monkeypatch, capsys, change, inner):
    kind, name, method = CHANGES[change]
    monkeypatch.setattr(kind, name, method)
    is_followed_and_refused(capsys, kind.__name__, net=network(inner))


@pytest.mark.parametrize("place", [0, 2], ids=["in a row", "inside a Residual"])
def test_a_layer_that_is_changed_runs_plain(capsys, place):
    for name, method in (("backward", halved_gradient), ("backward", printing_backward)):
        net = network(inner=True)
        layer = net.layers[place].layers[0] if place else net.layers[place]
        setattr(layer, name, method.__get__(layer))
        is_followed_and_refused(capsys, "Dense", net=net)
        assert f"layers[{place}{'.0' if place else ''}]" in _refusal(net)


def test_an_activation_a_loss_and_an_optimizer_that_are_changed_run_plain(capsys):
    net, loss, optimizer = network(), BinaryCrossEntropy(), SGD(0.5)
    net.layers[1].derivative = halved_derivative.__get__(net.layers[1])
    is_followed_and_refused(capsys, "Sigmoid", net=net)
    loss.gradient = doubled_gradient.__get__(loss)
    is_followed_and_refused(capsys, "BinaryCrossEntropy", loss=loss)
    optimizer.step = forgetful_step.__get__(optimizer)
    is_followed_and_refused(capsys, "SGD", optimizer=optimizer)


def _refusal(net):
    with pytest.raises(EngineError) as caught:
        choose("compiled", net)
    return str(caught.value)


def test_a_subclass_runs_plain(capsys):
    class Scaled(Dense):
        pass

    class Mine(Adam):
        pass

    is_followed_and_refused(capsys, "Scaled", net=Network([Scaled(2, 4), Tanh(), Dense(4, 1)]))
    is_followed_and_refused(capsys, "Mine", optimizer=Mine())


def test_a_helper_that_is_changed_runs_plain(monkeypatch, capsys):
    from gradlab.nn import activations, losses

    monkeypatch.setattr(activations, "sigmoid", lambda x: np.clip(x, 0.0, 1.0))
    is_followed_and_refused(capsys, "Sigmoid")
    monkeypatch.undo()
    monkeypatch.setattr(losses, "sigmoid", lambda x: np.clip(x, 0.0, 1.0))
    is_followed_and_refused(capsys, "BinaryCrossEntropy")


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_changed_trains_as_changed(monkeypatch, change):
    kind, name, method = CHANGES[change]
    right = fitted("auto")
    monkeypatch.setattr(kind, name, method)
    found = fitted("auto")
    if "print" in change or "clip" in change:
        np.testing.assert_array_equal(found, right)
    else:
        assert np.max(np.abs(found - right)) > 1e-3


def test_a_print_in_backward_prints_in_the_next_training(monkeypatch, capsys):
    monkeypatch.setattr(Dense, "backward", printing_backward)
    fitted("auto")
    assert capsys.readouterr().out.count("in Dense.backward") == 3 * 3 * 3  # epochs, batches, layers


@pytest.mark.parametrize("change", ["Dense.backward", "Sigmoid.derivative", "the loss", "the optimizer"])
def test_explain_shows_the_mismatch(monkeypatch, change):
    kind, name, method = CHANGES[change]
    assert not explain(network(), BinaryCrossEntropy(), X[:4], Y[:4], optimizer=SGD(0.5)).mismatches
    monkeypatch.setattr(kind, name, method)
    assert explain(network(), BinaryCrossEntropy(), X[:4], Y[:4], optimizer=SGD(0.5)).mismatches


EDITS = {
    "layers": ("self.dW[...] = x.mT @ dy", "self.dW[...] = x.mT @ dy\n        self.dW *= 0", "Dense"),
    "layers, a print": ("self.dW[...] = x.mT @ dy", "self.dW[...] = x.mT @ dy\n        print('here')", "Dense"),
    "activations": ("return y * (1.0 - y)", "return y * (0.9 - y)", "Sigmoid"),
    "activations, a clip": ("e = np.exp(np.minimum(x, 40.0))", "e = np.exp(np.clip(x, -6.0, 6.0))", "Sigmoid"),
    "losses": ("return sigmoid(logits) - targets", "return 2 * sigmoid(logits) - targets", "BinaryCrossEntropy"),
    "optimizers": ("params -= self.learning_rate * direction", "params += self.learning_rate * direction", "SGD"),
    "backpropagation": ("    return deltas[::-1]\n", "    return [0.5 * d for d in deltas]\n", "network"),
    "a comment": ("self.dW[...] = x.mT @ dy", "self.dW[...] = x.mT @ dy  # a note", ""),
}
SCRIPT = """
import numpy as np
from gradlab import *
from gradlab.training.engines import choose
from gradlab.training.penalties import Penalties
net = Network([Dense(2, 4), Sigmoid(), Residual([Dense(4, 4), Sigmoid()]), Dense(4, 1)])
print(choose("auto", net, BinaryCrossEntropy(), SGD(0.5), Penalties()))
try:
    choose("compiled", net, BinaryCrossEntropy(), SGD(0.5), Penalties())
except EngineError as error:
    print(error)
"""


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_file_runs_plain(tmp_path, edit):
    old, new, name = EDITS[edit]
    shutil.copytree(Path(gradlab.__file__).parent, tmp_path / "gradlab", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "gradlab" / "nn" / f"{'layers' if edit == 'a comment' else edit.split(',')[0]}.py"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    if name:
        assert done.stdout.splitlines()[0] == "plain"
        assert name in done.stdout.splitlines()[1]
        assert done.stderr.count("the plain engine is used") == 1
    else:
        assert done.stdout.splitlines() == ["compiled"]
