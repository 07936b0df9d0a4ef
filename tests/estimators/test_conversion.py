"""A fitted classifier, elsewhere: scikit-learn, PyTorch, ONNX, a page, a figure."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.neural_network import MLPClassifier as ScikitMLPClassifier
from sklearn.preprocessing import StandardScaler

from gradlab import ACTIVATIONS, Activation, MLPClassifier

IRIS = load_iris()
TASKS = {
    "binary": load_breast_cancer(return_X_y=True),
    "multiclass": (IRIS.data, IRIS.target_names[IRIS.target]),
    "multilabel": make_multilabel_classification(150, random_state=0),
}
TASKS = {name: (StandardScaler().fit_transform(X), y) for name, (X, y) in TASKS.items()}
each_task = pytest.mark.parametrize("task", TASKS)
each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def fitted(classifier, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(X, y)


def small(task, activation="relu", dtype=np.float64, cls=MLPClassifier, **params):
    X, y = TASKS[task]
    return fitted(cls((8, 6), activation, max_iter=20, random_state=0, **params), X.astype(dtype), y)


# scikit-learn


@each_task
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
def test_to_scikit_learn_and_back(task, activation):
    X = TASKS[task][0]
    ours = small(task, activation)
    theirs = ours.to_sklearn()
    again = MLPClassifier.from_sklearn(theirs)
    for other in (theirs, again):
        np.testing.assert_allclose(other.predict_proba(X), ours.predict_proba(X), rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(other.predict(X), ours.predict(X))
    assert theirs.get_params() == {name: ours.get_params()[name] for name in theirs.get_params()}
    assert (theirs.n_iter_, theirs.t_, theirs.loss_, theirs.loss_curve_) == (
        ours.n_iter_, ours.t_, ours.loss_, ours.loss_curve_,
    )  # fmt: skip
    theirs.coefs_[0][...] = 0.0
    assert abs(ours.coefs_[0]).max() > 0.0  # a copy


@each_task
def test_from_scikit_learn_and_back(task):
    X = TASKS[task][0]
    has_texts = task == "multiclass"  # for labels, with which early stopping fails in scikit-learn 1.6 and 1.7
    theirs = small(task, "tanh", cls=ScikitMLPClassifier, early_stopping=not has_texts)
    ours = MLPClassifier.from_sklearn(theirs)
    for other in (ours, ours.to_sklearn()):
        np.testing.assert_allclose(other.predict_proba(X), theirs.predict_proba(X), rtol=1e-12, atol=1e-12)
        assert other.validation_scores_ == theirs.validation_scores_
        assert other.n_features_in_ == X.shape[1]


@each_task
def test_what_was_brought_over_goes_on_learning(task):
    X, y = TASKS[task]
    ours = MLPClassifier.from_sklearn(small(task, cls=ScikitMLPClassifier, warm_start=True))
    theirs = small(task).to_sklearn()
    for classifier in (ours, theirs):
        before = classifier.loss_
        fitted(classifier.set_params(warm_start=True, max_iter=5), X, y)
        classifier.partial_fit(X, y)
        assert classifier.loss_ < before
        assert len(classifier.loss_curve_) == 26


@pytest.mark.parametrize(
    "params, message",
    [
        ({"activation": "gelu"}, "one activation for all layers, of logistic, tanh, relu, identity; .* has GELU"),
        ({"activation": ["tanh", "relu"]}, r"this network has ReLU\(\), Tanh\(\)"),
        ({"activation": "centred_sigmoid"}, r"this network has CentredSigmoid\(\)"),
        ({"batch_norm": True}, "scikit-learn has no batch normalisation"),
    ],
)
def test_what_scikit_learn_does_not_have_is_named(params, message):
    with pytest.raises(ValueError, match=message):
        small("binary", **params).to_sklearn()


def test_an_activation_that_only_bears_the_name_is_not_taken_for_it():
    class Tanh(Own):
        pass

    with pytest.raises(ValueError, match="one activation for all layers"):
        small("binary", Tanh()).to_sklearn()


def test_only_fitted_classifiers_of_scikit_learn_are_taken():
    with pytest.raises(NotFittedError):
        MLPClassifier.from_sklearn(ScikitMLPClassifier())
    with pytest.raises(TypeError, match="is not scikit-learn's MLPClassifier"):
        MLPClassifier.from_sklearn(StandardScaler())


# PyTorch


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "centred_sigmoid"])
@each_task
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_to_torch(task, activation, dtype):
    torch = pytest.importorskip("torch")
    ours = small(task, activation, dtype, batch_norm=True, dropout=0.1)
    X = TASKS[task][0].astype(dtype)
    with torch.no_grad():
        p = ours.to_torch()(torch.from_numpy(X)).numpy()
        logits = ours.to_torch(logits=True)(torch.from_numpy(X)).numpy()
    assert p.dtype == dtype
    expected = ours.predict_proba(X)[:, 1:] if task == "binary" else ours.predict_proba(X)
    np.testing.assert_allclose(p, expected, rtol=1e-10 if dtype is np.float64 else 2e-4, atol=1e-6)
    np.testing.assert_allclose(logits, ours.network_.decision_function(X), rtol=1e-4, atol=1e-5)


def test_what_torch_does_not_have_is_named():
    pytest.importorskip("torch")
    for activation, name in (("centred_sigmoid", r"CentredSigmoid\(\)"), (Own(), r"Own\(\)")):
        with pytest.raises(ValueError, match=f"to_torch: {name} has no counterpart in PyTorch"):
            small("binary", activation).to_torch()


def test_torch_goes_on_learning_on_its_own():
    torch = pytest.importorskip("torch")
    ours = small("binary")
    before = ours.network_.params.copy()
    model = ours.to_torch(logits=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        model(torch.from_numpy(TASKS["binary"][0]))[:, 0], torch.from_numpy(TASKS["binary"][1].astype(float))
    )
    loss.backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    np.testing.assert_array_equal(ours.network_.params, before)


# ONNX


class Own(Activation):
    def forward(self, x):
        return x * x

    def derivative(self, x, y):
        return x * 2.0


@each_activation
@each_task
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_to_onnx(task, activation, dtype, tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    ours = small(task, activation, dtype, batch_norm=activation in ("relu", "tanh"), dropout=0.1)
    ours.to_onnx(tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    X = TASKS[task][0].astype(dtype)
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"X": X}), strict=True))
    np.testing.assert_allclose(found["probabilities"], ours.predict_proba(X), atol=1e-6)
    assert found["probabilities"].dtype == dtype
    if task == "multilabel":
        assert "label" not in found
    else:
        np.testing.assert_array_equal(found["label"], ours.predict(X))
    np.testing.assert_allclose(session.run(["probabilities"], {"X": X[:1]})[0], ours.predict_proba(X[:1]), atol=1e-6)


def test_onnx_files_keep_links_permissions_and_classes(tmp_path):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = TASKS["binary"]
    (tmp_path / "model.onnx").write_bytes(b"old")
    (tmp_path / "model.onnx").chmod(0o640)
    (tmp_path / "link.onnx").symlink_to("model.onnx")
    ours = fitted(MLPClassifier(3, max_iter=2), X, y + 0.0)
    ours.to_onnx(tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "model.onnx").stat().st_mode & 0o777 == 0o640
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(["label"], {"X": X})[0], ours.predict(X))


def test_torch_holds_large_inputs():
    torch = pytest.importorskip("torch")
    X = TASKS["binary"][0]
    for dtype, scale in ((np.float32, 50.0), (np.float64, 300.0)):
        ours = small("binary", "softplus", dtype)
        large = (X * scale).astype(dtype)
        with torch.no_grad():
            p = ours.to_torch()(torch.from_numpy(large)).numpy()
        np.testing.assert_allclose(p[:, 0], ours.predict_proba(large)[:, 1], rtol=1e-3, atol=1e-6)


def test_what_onnx_cannot_hold_is_named_and_nothing_written(tmp_path):
    pytest.importorskip("onnx")
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(ValueError, match=r"to_onnx: Own\(\) is an activation of somebody's own"):
        small("binary", Own()).to_onnx(tmp_path / "model.onnx")
    with pytest.raises(FileNotFoundError):
        small("binary").to_onnx(tmp_path / "no" / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("package, method", [("torch", "to_torch"), ("onnx", "to_onnx")])
def test_a_package_that_is_missing_is_named(package, method, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=f"{method} needs .*pip install"):
        getattr(small("binary"), method)(*([tmp_path / "m.onnx"] if package == "onnx" else []))


# To look at


def test_the_page_shows_the_network():
    ours = small("binary", ["tanh", "leaky_relu"], batch_norm=True)
    for page in (ours._repr_html_(), ours._repr_mimebundle_()["text/html"]):
        for text in ("Dense(30, 8)", "BatchNorm(8)", "Tanh()", "LeakyReLU(slope=0.01)", "W 30 × 8, b 1 × 8", "8 → 6",
                     "logistic of the logits", "337 parameters, float64"):  # fmt: skip
            assert text in page
        assert "MLPClassifier" in page
    assert "parameters, float64" not in MLPClassifier()._repr_html_()


def test_markup_in_a_layers_name_is_shown_as_it_is():
    class Odd(Own):
        def __repr__(self):
            return "<b>Odd</b>"

    assert "&lt;b&gt;Odd&lt;/b&gt;" in small("binary", Odd())._repr_html_()


def test_the_flow_is_drawn_layer_by_layer():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    ours = small("binary", record_flow=True)
    ax = ours.plot_flow()
    assert [line.get_label() for line in ax.get_lines()] == ["layer 1", "layer 2", "layer 3 (logits)"]
    for i, line in enumerate(ax.get_lines()):
        np.testing.assert_array_equal(line.get_xdata(), range(21))
        np.testing.assert_array_equal(line.get_ydata(), ours.flow_["weight_gradient_norm"][:, i])
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_yscale()) == ("epoch", "norm of dL/dW", "log")
    assert ours.plot_flow(ax) is ax
    matplotlib.pyplot.close("all")
