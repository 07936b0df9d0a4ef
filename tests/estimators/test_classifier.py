"""MLPClassifier in scikit-learn's place: the same where that is right, and what it does more."""

import copy
import io
import math
import multiprocessing
import os
import pickle
import re
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout

import numpy as np
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris, make_moons, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.inspection import DecisionBoundaryDisplay, permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier as ScikitMLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_info, threadpool_limits

import gradlab
from gradlab import ACTIVATIONS, BinaryCrossEntropy, DivergenceError, MLPClassifier, SquaredError
from gradlab.estimators import descent
from gradlab.nn import Activation, BatchNorm, Dropout, Sigmoid, Tanh
from gradlab.training import EngineError

unfinished = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Sine(Activation):
    """An activation that no kernel stands for."""

    def forward(self, x):
        return np.sin(x)

    def derivative(self, x, y):
        return np.cos(x)


def scaled(data):
    X, y = data
    return StandardScaler().fit_transform(X), y


BINARY = scaled(load_breast_cancer(return_X_y=True))
MULTICLASS = scaled(load_iris(return_X_y=True))
MULTILABEL = scaled(make_multilabel_classification(150, random_state=0))
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL}
each_engine = pytest.mark.parametrize("engine", ["plain", "compiled"])
each_task = pytest.mark.parametrize("task", TASKS)
has_sample_weight = pytest.mark.skipif(
    not has_fit_parameter(ScikitMLPClassifier, "sample_weight"), reason="scikit-learn 1.6 weighs no samples"
)
may_hang_at_a_fork = any(
    library["internal_api"] == "openblas" and [*map(int, re.findall(r"\d+", library["version"])[:3])] < [0, 3, 29]
    for library in threadpool_info()
)
ENDLESS = {"tol": 0.0, "n_iter_no_change": 10_000}  # as many epochs as max_iter says


def fitted(classifier, X, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(X, y, **options)


def both(X, y, *, fit=None, **params):
    return [fitted(cls(**params), X, y, **(fit or {})) for cls in (ScikitMLPClassifier, MLPClassifier)]


def distance(one, other):
    pairs = zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


# scikit-learn's own checks


NO_KERNEL = dict.fromkeys(
    ("check_estimator_sparse_tag", "check_sample_weight_equivalence_on_sparse_data"),
    "sparse samples have no compiled kernel",
)


UNCONCERNED = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::sklearn.exceptions.SkipTestWarning"
)


@UNCONCERNED
@parametrize_with_checks([MLPClassifier(), MLPClassifier((20, 10), ["tanh", "elu"], solver="sgd")])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@UNCONCERNED
@parametrize_with_checks([MLPClassifier(engine="compiled")], expected_failed_checks=lambda _: NO_KERNEL)
def test_scikit_learns_checks_on_the_compiled_engine(estimator, check):
    check(estimator)


def test_parameters_and_defaults_are_scikit_learns():
    ours, theirs = MLPClassifier().get_params(), ScikitMLPClassifier().get_params()
    assert list(MLPClassifier.__init__.__kwdefaults__ | {})[: len(theirs) - 2] == list(
        ScikitMLPClassifier.__init__.__kwdefaults__
    )
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize(
    "name, value",
    [
        ("activation", "sigmod"), ("solver", "newton"), ("alpha", -1.0), ("batch_size", 0), ("learning_rate", "fast"),
        ("learning_rate_init", 0.0), ("power_t", -1.0), ("max_iter", 0), ("shuffle", 2), ("tol", -1.0),
        ("momentum", 1.5), ("validation_fraction", 1.0), ("beta_1", 1.0), ("beta_2", 1.0), ("epsilon", 0.0),
        ("n_iter_no_change", 0), ("max_fun", 0), ("loss", "hinge"), ("dropout", 1.0), ("batch_norm", 3),
        ("class_weight", "even"), ("patience", 0), ("monitor", "f1"), ("clip_norm", -1.0), ("record_flow", "yes"),
        ("weight_init", 3), ("engine", "fast"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_refused_is_named(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of MLPClassifier"):
        MLPClassifier(**{name: value}).fit(*BINARY)


@pytest.mark.parametrize(
    "params, message",
    [
        ({"activation": ["tanh", "relu"]}, "activation: 2 of them for 1 hidden layers"),
        ({"activation": ["tan"]}, "activation: 'tan' is not one of .* did you mean 'tanh'"),
        ({"hidden_layer_sizes": (3, -1)}, r"hidden_layer_sizes must be > 0 and whole numbers, got \[3, -1\]"),
        ({"hidden_layer_sizes": (3, 2.5)}, "hidden_layer_sizes must be > 0 and whole"),
        ({"weight_init": "he_norma"}, "weight_init: 'he_norma' is not one of .* did you mean 'he_normal'"),
        ({"callbacks": [len, 3]}, r"callbacks\[1\]: 3 cannot be called"),
        ({"loss": "softmax_cross_entropy"}, "loss: SoftmaxCrossEntropy.* is for more than two classes, not for binary"),
        ({"loss": SquaredError()}, "SquaredError on the logits themselves gives no probabilities"),
        ({"solver": "lbfgs", "dropout": 0.5}, "solver='lbfgs' needs a loss that stays the same"),
        ({"solver": "lbfgs", "record_flow": True}, "solver='lbfgs' takes no steps"),
        ({"solver": "lbfgs", "engine": "compiled"}, "engine: 'compiled' cannot be used: solver='lbfgs' calls the lay"),
        ({"engine": "compiled", "activation": [Sine()]}, r"engine: 'compiled' cannot be used: layers\[1\]: .*Sine"),
        ({"class_weight": {7: 1.0}}, r"class_weight: \[7\] are not in classes_"),
    ],
)
def test_parameters_that_do_not_fit_are_named(params, message):
    classifier = MLPClassifier(**params)
    with pytest.raises(ValueError, match=message):
        classifier.fit(*BINARY)
    assert not hasattr(classifier, "network_")


# The same trajectory


SOLVERS = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.05},
    "momentum": {"solver": "sgd", "nesterovs_momentum": False, "learning_rate_init": 0.05},
    "nesterov": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
}


@each_task
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_trajectory_is_scikit_learns(task, activation, solver):
    """From one random_state: first weights, orders and steps; the last batch is shorter."""
    params = {"hidden_layer_sizes": (10, 7), "activation": activation, "max_iter": 15, "random_state": 3}
    theirs, ours = both(*TASKS[task], batch_size=32, alpha=0.01, **params, **SOLVERS[solver], **ENDLESS)
    assert distance(theirs, ours) < 1e-10
    np.testing.assert_allclose(ours.predict_proba(TASKS[task][0]), theirs.predict_proba(TASKS[task][0]), atol=1e-10)
    np.testing.assert_array_equal(ours.predict(TASKS[task][0]), theirs.predict(TASKS[task][0]))


@each_task
@pytest.mark.parametrize("weights", [pytest.param("given", marks=has_sample_weight), "absent"])
def test_the_optimum_of_lbfgs_is_scikit_learns(task, weights):
    X, y = TASKS[task]
    fit = {"sample_weight": np.random.default_rng(0).uniform(0.5, 2.0, len(X))} if weights == "given" else {}
    params = {"hidden_layer_sizes": (5,), "activation": "tanh", "alpha": 1.0, "max_iter": 2000, "tol": 1e-7}
    theirs, ours = both(X, y, solver="lbfgs", random_state=0, fit=fit, **params)
    assert abs(theirs.loss_ - ours.loss_) < 1e-6
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)  # it is flat around there


def test_lbfgs_adds_its_parts_up(monkeypatch):
    params = {"hidden_layer_sizes": 3, "activation": "tanh", "solver": "lbfgs", "max_iter": 20, "random_state": 0}
    fit = {"sample_weight": np.random.default_rng(0).integers(0, 3, 569).astype(float)}
    whole = fitted(MLPClassifier(**params), *BINARY, **fit)
    monkeypatch.setattr("gradlab.estimators.lbfgs.ROWS_OF_A_PASS", 100)
    parts = fitted(MLPClassifier(**params), *BINARY, **fit)
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-6)


@has_sample_weight
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_sample_weights_act_as_in_scikit_learn(solver):
    weights = np.random.default_rng(0).uniform(0.1, 3.0, len(BINARY[0]))
    params = {"hidden_layer_sizes": 8, "solver": solver, "max_iter": 10, "batch_size": 50, "random_state": 0}
    theirs, ours = both(*BINARY, fit={"sample_weight": weights}, **params, **ENDLESS)
    assert distance(theirs, ours) < 1e-10


def test_partial_fit_is_scikit_learns():
    theirs, ours = ScikitMLPClassifier(8, random_state=0), MLPClassifier(8, random_state=0)
    for start in range(0, 500, 100):
        rows = slice(start, start + 100)
        for classifier in (theirs, ours):
            classifier.partial_fit(BINARY[0][rows], BINARY[1][rows], classes=[0, 1])
    assert distance(theirs, ours) < 1e-10
    assert (ours.n_iter_, ours.t_, len(ours.loss_curve_)) == (theirs.n_iter_, theirs.t_, len(theirs.loss_curve_))


def test_partial_fit_keeps_a_rate_that_has_fallen():
    params = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "random_state": 0}
    theirs, ours = ScikitMLPClassifier(8, **params), MLPClassifier(8, **params)
    for classifier in (theirs, ours):
        for _ in range(5):
            classifier.partial_fit(*BINARY, classes=[0, 1])
    assert distance(theirs, ours) < 1e-10


@unfinished
def test_warm_start_is_scikit_learns():
    theirs, ours = (
        cls(8, random_state=0, warm_start=True, max_iter=4, **ENDLESS) for cls in (ScikitMLPClassifier, MLPClassifier)
    )
    for classifier in (theirs, ours):
        classifier.fit(*BINARY).fit(*BINARY)
    assert distance(theirs, ours) < 1e-10
    assert (ours.n_iter_, ours.t_, len(ours.loss_curve_)) == (theirs.n_iter_, theirs.t_, len(theirs.loss_curve_))


@pytest.mark.parametrize("policy", ["adaptive", "invscaling"])
def test_partial_fit_goes_on_with_the_rate_where_fit_left_it(policy):
    params = {"solver": "sgd", "learning_rate": policy, "learning_rate_init": 0.1, "random_state": 1}
    theirs = fitted(ScikitMLPClassifier(9, max_iter=30, tol=1e9, n_iter_no_change=1, **params), *MULTICLASS)
    ours = fitted(MLPClassifier(9, max_iter=30, tol=1e9, n_iter_no_change=2, **params), *MULTICLASS)
    for _ in range(4):
        theirs.partial_fit(*MULTICLASS)
        ours.partial_fit(*MULTICLASS)
    assert distance(theirs, ours) < 1e-10
    assert ours._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate, rel=1e-12)


def test_partial_fit_adapts_the_rate():
    params = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "random_state": 1, "tol": 1e9}
    theirs = ScikitMLPClassifier(9, n_iter_no_change=1, **params)
    ours = MLPClassifier(9, n_iter_no_change=2, **params)
    for _ in range(10):
        for classifier in (theirs, ours):
            classifier.partial_fit(*MULTICLASS, classes=[0, 1, 2])
    assert distance(theirs, ours) < 1e-10
    assert ours._optimizer.learning_rate < 0.01


def test_partial_fit_with_another_solver_begins_its_optimizer():
    ours = MLPClassifier(9, random_state=0).partial_fit(*BINARY, classes=[0, 1])
    ours.set_params(solver="sgd", learning_rate="invscaling").partial_fit(*BINARY)
    assert type(ours._optimizer).__name__ == "SGD"


def test_partial_fit_takes_weights_of_classes_that_a_part_lacks():
    X, y = BINARY
    ours = MLPClassifier(9, class_weight={1: 5.0}, random_state=0).partial_fit(X, y, classes=[0, 1])
    ours.partial_fit(X[y == 0], y[y == 0])
    with pytest.raises(ValueError, match="class_weight: weights must be at least 0"):
        ours.set_params(class_weight={1: -1.0}).partial_fit(X, y)


def test_adaptive_rate_is_scikit_learns_but_for_its_patience():
    """Both divide the rate by 5, scikit-learn an epoch later each time: theirs has one epoch of patience less."""
    params = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 1e9, "max_iter": 30}
    theirs = fitted(ScikitMLPClassifier(5, n_iter_no_change=1, random_state=0, **params), *BINARY)
    ours = fitted(MLPClassifier(5, n_iter_no_change=2, random_state=0, **params), *BINARY)
    assert ours.n_iter_ == theirs.n_iter_
    assert distance(theirs, ours) < 1e-10


@each_task
def test_fitted_attributes_are_scikit_learns(task):
    for early_stopping in (False, True):
        theirs, ours = both(*TASKS[task], max_iter=3, random_state=0, early_stopping=early_stopping)
        public = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
        for name in sorted(public):
            a, b = getattr(theirs, name), getattr(ours, name)
            assert isinstance(a, type(b)) or isinstance(b, type(a)), name  # a float may be NumPy's, a list be ours
            if isinstance(a, list):
                assert [np.shape(x) for x in a] == [np.shape(x) for x in b], name
        for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "n_iter_", "t_"):
            assert getattr(theirs, name) == getattr(ours, name)
        np.testing.assert_array_equal(theirs.classes_, ours.classes_)


def test_feature_names_are_kept_and_asked_for():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(MULTICLASS[0], columns=list("abcd"))
    classifier = fitted(MLPClassifier(3, max_iter=2), frame, MULTICLASS[1])
    assert classifier.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(frame[list("dcba")])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_are_taken(library):
    frames = pytest.importorskip(library)
    names = np.array(["setosa", "versicolor", "virginica"])[MULTICLASS[1]]
    frame = frames.DataFrame({f"x{i}": column for i, column in enumerate(MULTICLASS[0].T)})
    params = {"max_iter": 5, "random_state": 0}
    from_frame = fitted(MLPClassifier(3, **params), frame, frames.Series(names.tolist()))
    from_array = fitted(MLPClassifier(3, **params), MULTICLASS[0], names)
    np.testing.assert_array_equal(from_frame.predict_proba(frame), from_array.predict_proba(MULTICLASS[0]))
    assert from_frame.feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]
    assert set(from_frame.predict(frame)) <= set(names)


def test_float32_stays_float32():
    for solver in ("adam", "lbfgs"):
        classifier = fitted(MLPClassifier(5, solver=solver, max_iter=5), BINARY[0].astype(np.float32), BINARY[1])
        assert {array.dtype for array in classifier.coefs_ + classifier.intercepts_} == {np.dtype(np.float32)}
        assert classifier.predict_proba(BINARY[0].astype(np.float32)).dtype == np.float32


@each_task
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.coo_array])
def test_sparse_input_gives_what_dense_does(task, solver, make):
    X, y = TASKS[task]
    X = X * (X > 0)
    dense, thin = (fitted(MLPClassifier(5, solver=solver, max_iter=5, random_state=0), Z, y) for Z in (X, make(X)))
    np.testing.assert_allclose(thin.predict_proba(make(X)), dense.predict_proba(X), rtol=1e-12)


# Where scikit-learn is wrong


def test_a_loss_is_not_clipped():
    """A logit of −50 with target 1 costs 50; of clipped probabilities, 36."""
    X, y = np.array([[50.0], [-50.0]]), np.array([0, 1])
    ours = fitted(MLPClassifier((), solver="sgd", learning_rate_init=1e-9, max_iter=1, alpha=0.0), X, y)
    ours.coefs_, ours.intercepts_ = [np.array([[1.0]])], [np.array([0.0])]
    ours.set_params(warm_start=True)
    fitted(ours, X, y)
    assert ours.loss_ == pytest.approx(50.0, rel=1e-6)
    assert ours.predict_log_proba(X)[0, 0] == pytest.approx(-50.0, rel=1e-6)


def test_the_loss_is_that_of_the_network_as_it_is():
    ours = fitted(MLPClassifier(8, max_iter=4, alpha=0.5, random_state=0, batch_size=50), *BINARY)
    p = ours.predict_proba(BINARY[0])[np.arange(569), BINARY[1]]
    penalty = 0.5 * 0.5 * sum((w**2).sum() for w in ours.coefs_) / 569
    assert ours.loss_ == ours.loss_curve_[-1] == pytest.approx(-np.log(p).mean() + penalty, rel=1e-12)
    assert len(ours.running_loss_curve_) == 4
    assert ours.running_loss_curve_[-1] > ours.loss_curve_[-1]  # the parameters were worse when their batches came
    assert ours.best_loss_ == min(ours.loss_curve_)


@unfinished
def test_divergence_names_epoch_and_layer():
    ours = MLPClassifier(solver="sgd", learning_rate_init=1e6, random_state=0)
    with pytest.raises(DivergenceError, match=r"epoch \d+, step \d+: the .* of layer \d") as caught:
        ours.fit(*BINARY)
    assert caught.value.epoch < 200
    with pytest.raises(NotFittedError):
        ours.predict(BINARY[0])


def unchanged_by(classifier, fails, error):
    """Call what fails, and see that the classifier is what it was before."""
    state = {name: value for name, value in vars(classifier).items() if name != "_optimizer"}
    lists = {name: list(value) for name, value in state.items() if isinstance(value, list)}
    before = classifier.predict_proba(BINARY[0])
    with pytest.raises(error):
        fails()
    assert {name: list(getattr(classifier, name)) for name in lists} == lists
    for name in ("loss_", "t_", "n_iter_", "best_loss_", "network_"):
        assert getattr(classifier, name) is state[name]
    np.testing.assert_array_equal(classifier.predict_proba(BINARY[0]), before)
    np.testing.assert_array_equal(classifier.classes_, [0, 1])


@unfinished
@each_engine
@pytest.mark.parametrize("warm_start", [False, True])
def test_what_fails_leaves_a_fitted_classifier_as_it_was(warm_start, engine):
    X, y = BINARY
    known = MLPClassifier(max_iter=3, warm_start=warm_start, random_state=0, engine=engine).fit(X, y)
    bad = (X, np.full(569, 7))
    unchanged_by(known, lambda: known.fit(X, y, validation_data=bad), ValueError)
    unchanged_by(known, lambda: known.fit(X, np.zeros(569)), ValueError)
    unchanged_by(known, lambda: known.partial_fit(X, y + 5), ValueError)
    known.set_params(callbacks=[lambda step: 1 / 0])
    unchanged_by(known, lambda: known.fit(X, y), ZeroDivisionError)
    unchanged_by(known, lambda: known.partial_fit(X, y), ZeroDivisionError)
    known.set_params(callbacks=None, solver="sgd", learning_rate_init=1e8, max_iter=200)
    unchanged_by(known, lambda: known.fit(X, y), DivergenceError)
    known.set_params(learning_rate_init=0.01, max_iter=2).fit(X, y)
    assert known.score(X, y) > 0.8


@each_engine
def test_the_best_weights_survive_a_divergence(engine):
    def blow_up(step):
        if step.epoch == 5:
            step.network.params[...] = np.nan

    params = {"learning_rate_init": 0.01, "random_state": 0, "engine": engine}
    ours = MLPClassifier(8, early_stopping=True, callbacks=[blow_up], **params)
    with pytest.raises(DivergenceError):
        ours.fit(*BINARY)
    assert ours.score(*BINARY) > 0.9
    assert len(ours.loss_curve_) == 6


def test_lbfgs_that_cannot_begin_diverges_with_a_word():
    with pytest.raises(DivergenceError):
        MLPClassifier(5, solver="lbfgs", random_state=0).fit(BINARY[0] * 1e160, BINARY[1])


@pytest.mark.parametrize("patience", [{"n_iter_no_change": 3}, {"patience": 3}, {"patience": 3, "n_iter_no_change": 9}])
def test_training_stops_after_exactly_the_patience(patience):
    """With a tolerance that nothing meets, only the first epoch improves."""
    assert MLPClassifier(5, tol=1e9, max_iter=50, **patience).fit(*BINARY).n_iter_ == 1 + 3


def test_early_stopping_watches_the_loss_unless_told():
    params = {"early_stopping": True, "random_state": 0, "max_iter": 300, "learning_rate_init": 0.01, "tol": 1e-6}
    for monitor in ("loss", "accuracy"):
        ours = fitted(MLPClassifier(20, monitor=monitor, n_iter_no_change=5, **params), *BINARY)
        losses, scores = np.array(ours.validation_loss_curve_), np.array(ours.validation_scores_)
        watched = losses if monitor == "loss" else -scores
        waited, best = 0, math.inf
        for epoch, value in enumerate(watched):
            waited = 0 if value < best - 1e-6 else waited + 1
            best = min(best, value)
            assert waited < 5 or epoch == len(watched) - 1
        assert waited == 5
        assert ours.best_validation_score_ == scores.max()
        assert ours.best_loss_ is None


def test_the_best_weights_are_put_back():
    X, y = make_moons(300, noise=0.4, random_state=0)
    x_val, y_val = make_moons(200, noise=0.4, random_state=1)
    ours = fitted(
        MLPClassifier((50, 50), learning_rate_init=0.05, early_stopping=True, random_state=0, patience=20),
        X, y, validation_data=(x_val, y_val),
    )  # fmt: skip
    p = ours.predict_proba(x_val)[np.arange(200), y_val]
    assert -np.log(p).mean() == pytest.approx(min(ours.validation_loss_curve_), rel=1e-9)
    assert ours.validation_loss_curve_[-1] > min(ours.validation_loss_curve_)


def test_early_stopping_splits_as_scikit_learn_does_for_two_classes():
    theirs, ours = both(*BINARY, early_stopping=True, max_iter=5, random_state=0, hidden_layer_sizes=8)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-12)


@each_task
@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_early_stopping_takes_scikit_learns_split(task, monitor):
    params = {"early_stopping": True, "max_iter": 5, "random_state": 0, "hidden_layer_sizes": 8, "solver": "sgd"}
    theirs = fitted(ScikitMLPClassifier(**params), *TASKS[task])
    ours = fitted(MLPClassifier(monitor=monitor, **params), *TASKS[task])
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-12)
    if monitor == "accuracy":
        assert distance(theirs, ours) < 1e-10


@each_engine
def test_the_loss_is_that_of_the_best_weights_when_they_are_put_back(engine):
    params = {"early_stopping": True, "learning_rate_init": 0.05, "random_state": 0, "engine": engine}
    ours = fitted(MLPClassifier(20, **params), *BINARY)
    best = int(np.argmin(ours.validation_loss_curve_))
    assert best < len(ours.loss_curve_) - 1
    assert ours.loss_ == ours.loss_curve_[best]


def test_an_improvement_by_the_tolerance_itself_is_none(monkeypatch):
    """The epochs score 2, 1, 0, each lower by exactly tol: after the first none improves, and yet the last is best."""
    scores = iter([2.0, 1.0, 0.0])
    add = descent.add_losses
    monkeypatch.setattr(descent, "add_losses", lambda *args: add(*args) and next(scores))
    ours = MLPClassifier(3, early_stopping=True, tol=1.0, n_iter_no_change=2, random_state=0).fit(*BINARY)
    assert ours.n_iter_ == 3
    assert ours.loss_ == ours.loss_curve_[-1]


@unfinished
def test_the_patience_goes_on_over_parts_and_follows_the_tolerance():
    ours = MLPClassifier(9, solver="sgd", learning_rate="adaptive", n_iter_no_change=3, random_state=1, tol=1e9)
    for _ in range(3):
        ours.partial_fit(*MULTICLASS, classes=[0, 1, 2])
    assert ours._optimizer.learning_rate == 0.001
    ours.set_params(tol=0.0).partial_fit(*MULTICLASS)  # it improves
    ours.set_params(tol=1e9)
    for rate in (0.001, 0.001, 0.0002):
        ours.partial_fit(*MULTICLASS)
        assert ours._optimizer.learning_rate == pytest.approx(rate, rel=1e-12)


# The engines


@unfinished
@each_task
@pytest.mark.parametrize("dtype, close", [(np.float64, 1e-9), (np.float32, 1e-3)])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_the_engines_fit_and_predict_the_same(task, solver, dtype, close):
    X, y = TASKS[task][0].astype(dtype), TASKS[task][1]
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    params = {"hidden_layer_sizes": (10, 7), "solver": solver, "learning_rate": "invscaling", "clip_norm": 1.0}
    params |= {"max_iter": 8, "batch_size": 32, "alpha": 0.01, "random_state": 3, "record_flow": True}
    plain, compiled = (
        MLPClassifier(engine=engine, **params).fit(X, y, weights, validation_data=(X, y))
        for engine in ("plain", "compiled")
    )
    assert (plain.engine_, compiled.engine_) == ("plain", "compiled")
    assert distance(plain, compiled) < close
    for name in ("loss_curve_", "running_loss_curve_", "validation_loss_curve_"):
        np.testing.assert_allclose(getattr(compiled, name), getattr(plain, name), rtol=close)
    for name, values in plain.flow_.items():
        np.testing.assert_allclose(compiled.flow_[name], values, rtol=close, err_msg=name)
    np.testing.assert_allclose(compiled.predict_proba(X), plain.predict_proba(X), atol=close)
    assert compiled.predict_proba(X).dtype == dtype


def no_layer(*_):
    raise AssertionError("a layer was called")


def test_the_compiled_engine_predicts(monkeypatch):
    ours = fitted(MLPClassifier(5, max_iter=2, random_state=0, engine="compiled"), *BINARY)
    monkeypatch.setattr("gradlab.nn.Network.decision_function", no_layer)
    assert ours.predict(BINARY[0]).shape == (569,)


@unfinished
def test_auto_goes_by_the_work_of_all_epochs(monkeypatch):
    params = {"hidden_layer_sizes": 3, "random_state": 0, "batch_size": 100}
    epoch = 569 * MLPClassifier(max_iter=1, **params).fit(*BINARY).network_.params.size
    monkeypatch.setattr("gradlab.training.engines.LARGE", 3 * epoch)
    for epochs, engine in ((2, "plain"), (3, "compiled")):
        assert MLPClassifier(max_iter=epochs, **params).fit(*BINARY).engine_ == engine
    assert MLPClassifier(**params).partial_fit(*BINARY, classes=[0, 1]).engine_ == "plain"
    monkeypatch.setitem(sys.modules, "numba", None)
    assert MLPClassifier(max_iter=3, **params).fit(*BINARY).engine_ == "plain"


@unfinished
@each_engine
def test_a_training_goes_on_with_its_engine(engine, monkeypatch):
    ours = MLPClassifier(3, max_iter=2, random_state=0, warm_start=True, engine=engine).fit(*BINARY)
    ours.set_params(engine="auto")
    assert ours.partial_fit(*BINARY).engine_ == engine
    monkeypatch.setattr("gradlab.training.engines.LARGE", 0)
    assert ours.fit(*BINARY).engine_ == engine
    other = {"plain": "compiled", "compiled": "plain"}[engine]
    assert ours.set_params(engine=other).partial_fit(*BINARY).engine_ == other
    assert ours.set_params(engine="auto", warm_start=False).fit(*BINARY).engine_ == "compiled"


@unfinished
def test_lbfgs_is_plain_and_sparse_samples_are_too(monkeypatch, capsys):
    monkeypatch.setattr("gradlab.training.engines.LARGE", 0)
    assert MLPClassifier(3, solver="lbfgs", max_iter=2).fit(*BINARY).engine_ == "plain"
    ours = MLPClassifier(3, max_iter=2, random_state=0)
    assert ours.fit(sparse.csr_array(BINARY[0]), BINARY[1]).engine_ == "plain"
    assert capsys.readouterr().err == "gradlab: the plain engine is used: x: a sparse array has no compiled kernel\n"
    dense = ours.fit(*BINARY)
    assert dense.engine_ == "compiled"
    np.testing.assert_allclose(dense.predict_proba(sparse.csr_array(BINARY[0])), dense.predict_proba(BINARY[0]))
    assert capsys.readouterr().err == ""


@unfinished
def test_without_numba_a_compiled_classifier_predicts_and_says_why_it_cannot_go_on(monkeypatch, capsys):
    ours = MLPClassifier(3, max_iter=2, random_state=0, engine="compiled", warm_start=True).fit(*BINARY)
    expected, moved = ours.predict_proba(BINARY[0]), pickle.loads(pickle.dumps(ours))
    monkeypatch.setitem(sys.modules, "numba", None)
    np.testing.assert_allclose(moved.predict_proba(BINARY[0]), expected, rtol=1e-9)
    assert capsys.readouterr().err == ""
    for engine in ("compiled", "auto"):
        moved.set_params(engine=engine)
        for go_on in (moved.partial_fit, moved.fit):
            unchanged_by(moved, lambda go_on=go_on: go_on(*BINARY), EngineError)
    generator = np.random.RandomState(0)
    fresh = MLPClassifier(3, engine="compiled", random_state=generator)
    for fit in (fresh.fit, lambda X, y: fresh.partial_fit(X, y, classes=[0, 1])):
        with pytest.raises(EngineError, match=r'needs Numba: pip install "gradlab\[fast\]"'):
            fit(*BINARY)
        assert vars(fresh).keys() == fresh.get_params().keys()
    assert moved.set_params(engine="plain").partial_fit(*BINARY).engine_ == "plain"


# Data that cannot be learned from


@pytest.mark.parametrize(
    "X, y, fit, message",
    [
        (BINARY[0], np.zeros(569), {}, r"y: all samples are of one class, \[0.0\]"),
        (*BINARY, {"sample_weight": BINARY[1].astype(float)}, "all samples with a weight above 0 are of one class"),
        (*BINARY, {"sample_weight": np.zeros(569)}, "[Ss]ample.weight"),
        (*BINARY, {"sample_weight": -np.ones(569)}, "[Nn]egative"),
        (BINARY[0], BINARY[0][:, 0], {}, "Unknown label type: continuous"),
        (*BINARY, {"validation_data": BINARY[0]}, r"validation_data: give \(X, y\)"),
        (*BINARY, {"validation_data": (BINARY[0], BINARY[1] + 1)}, r"validation_data: y has classes \[2\]"),
        (*BINARY, {"validation_data": (BINARY[0][:, :3], BINARY[1])}, "3 features"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_data_that_cannot_be_learned_from_are_refused(X, y, fit, message):
    with pytest.raises(ValueError, match=message):
        MLPClassifier(3).fit(X, y, **fit)


@pytest.mark.parametrize("n, fraction", [(10, 0.1), (10, 0.9), (10, 0.0)])
def test_a_validation_part_that_cannot_hold_both_classes_is_refused(n, fraction):
    X, y = make_moons(n, random_state=0)
    with pytest.raises(ValueError, match=r"validation set is too small: .* at least 2"):
        MLPClassifier(early_stopping=True, validation_fraction=fraction).fit(X, y)


def test_a_validation_part_that_holds_one_class_only_is_refused():
    X, y = np.random.default_rng(0).standard_normal((100, 3)), np.r_[np.zeros(97), np.ones(3)]
    with pytest.raises(ValueError, match=r"validation set is too small: .* at least 2, one of each class"):
        MLPClassifier(early_stopping=True, random_state=0).fit(X, y)


@unfinished
def test_a_warm_start_takes_up_what_was_changed():
    ours = MLPClassifier(8, "tanh", dropout=0.5, max_iter=2, warm_start=True, random_state=0).fit(*BINARY)
    before = ours.network_.params.copy()
    ours.set_params(activation="relu", dropout=0.0, solver="lbfgs", max_iter=1).fit(*BINARY)
    assert [type(layer).__name__ for layer in ours.network_.layers] == ["Dense", "ReLU", "Dense"]
    assert abs(ours.network_.params - before).max() > 0.0
    with pytest.raises(ValueError, match="the network was fitted with batch_norm=False"):
        ours.set_params(batch_norm=True, solver="adam").fit(*BINARY)


@unfinished
@each_engine
def test_threads_may_predict_side_by_side(engine):
    ours = MLPClassifier((100, 100), max_iter=3, random_state=0, engine=engine).fit(*BINARY)
    expected = ours.predict_proba(BINARY[0])
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(ours.predict_proba, [BINARY[0]] * 60):
            np.testing.assert_array_equal(found, expected)


def put_prediction(queue, classifier, X):
    queue.put(classifier.predict_proba(X))


@unfinished
@each_engine
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # of Python 3.12 and later, where there are threads
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.skipif(may_hang_at_a_fork, reason="OpenBLAS before 0.3.29 may hang at a fork while others multiply")
def test_a_process_forked_while_others_predict_predicts_too(engine):
    ours = MLPClassifier((50, 50), max_iter=2, random_state=0, engine=engine).fit(*BINARY)
    expected, enough = ours.predict_proba(BINARY[0]), threading.Event()

    def predict_on():
        while not enough.is_set():
            ours.predict_proba(BINARY[0])

    fork = multiprocessing.get_context("fork")
    # OpenBLAS ends its own threads at a fork, and leaves who is waiting for one of them waiting: none is used here
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(predict_on) for _ in range(2)]
        try:
            for _ in range(5):
                queue = fork.SimpleQueue()
                child = fork.Process(target=put_prediction, args=(queue, ours, BINARY[0]), daemon=True)
                child.start()
                child.join(300)
                hung = child.is_alive()
                child.kill()
                assert not hung
                np.testing.assert_array_equal(queue.get(), expected)
        finally:
            enough.set()
        assert all(future.result() is None for future in busy)


def test_hidden_layers_may_be_absent():
    for activation in ("logistic", [], "relu"):
        theirs = ScikitMLPClassifier((), activation or "relu", max_iter=3, random_state=0)
        ours = fitted(MLPClassifier((), activation, max_iter=3, random_state=0), *BINARY)
        assert distance(fitted(theirs, *BINARY), ours) < 1e-10


@unfinished
def test_a_warm_start_that_does_not_fit_is_refused():
    ours = MLPClassifier(8, max_iter=2, warm_start=True).fit(*BINARY)
    with pytest.raises(ValueError, match=r"layers of \[30, 8, 1\] units, hidden_layer_sizes asks for \[30, 5, 1\]"):
        ours.set_params(hidden_layer_sizes=5).fit(*BINARY)
    ours.set_params(hidden_layer_sizes=8)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        ours.fit(BINARY[0], BINARY[1] + 1)
    with pytest.raises(ValueError, match="`y` has classes not in"):
        ours.partial_fit(BINARY[0], BINARY[1] + 1)


def test_what_partial_fit_cannot_do_is_said():
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(*BINARY, classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight='balanced' needs all samples"):
        MLPClassifier(class_weight="balanced").partial_fit(*BINARY, classes=[0, 1])
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(*BINARY)


def test_a_batch_larger_than_the_data_is_warned_of():
    with pytest.warns(UserWarning, match="larger than sample size"):
        MLPClassifier(3, batch_size=1000, tol=1e9).fit(*BINARY)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "plot_flow", "to_sklearn"])
def test_before_fit_there_is_nothing_to_ask_for(method):
    with pytest.raises(NotFittedError):
        getattr(MLPClassifier(), method)(*([BINARY[0]] if "predict" in method else []))


# Inside scikit-learn


@unfinished
def test_in_a_pipeline_with_pandas_output():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(load_iris().data, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(8, max_iter=50, learning_rate_init=0.05, random_state=0))
    pipeline.set_output(transform="pandas").fit(frame, MULTICLASS[1])
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")
    assert pipeline.score(frame, MULTICLASS[1]) > 0.9


@unfinished
def test_in_a_grid_search():
    search = GridSearchCV(MLPClassifier(max_iter=20, random_state=0), {"alpha": [1e-4, 10.0], "activation": ["tanh"]},
                          cv=2)  # fmt: skip
    assert search.fit(*BINARY).best_score_ > 0.9


@unfinished
def test_in_a_cross_validation_of_two_processes():
    serial, parallel = (
        cross_val_score(MLPClassifier(5, max_iter=5, random_state=0), *BINARY, cv=3, n_jobs=n) for n in (1, 2)
    )
    np.testing.assert_array_equal(serial, parallel)


@unfinished
def test_calibrated():
    calibrated = CalibratedClassifierCV(MLPClassifier(5, max_iter=50, random_state=0), cv=2).fit(*BINARY)
    assert calibrated.score(*BINARY) > 0.9


def test_permutation_importance():
    X = np.c_[BINARY[1] * 2.0 - 1.0, np.random.default_rng(0).standard_normal(569)]
    ours = MLPClassifier(5, solver="lbfgs", random_state=0).fit(X, BINARY[1])
    important = permutation_importance(ours, X, BINARY[1], n_repeats=3, random_state=0).importances_mean
    assert important[0] > 0.3
    assert important[1] < 0.05


def test_decision_boundary():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    X, y = make_moons(100, random_state=0)
    display = DecisionBoundaryDisplay.from_estimator(MLPClassifier(5, solver="lbfgs", max_iter=30000, random_state=0)
                                                     .fit(X, y), X, grid_resolution=5)  # fmt: skip
    assert display.response.shape == (5, 5)
    matplotlib.pyplot.close("all")


@unfinished
@each_engine
@each_task
def test_clone_and_pickle(task, engine):
    ours = MLPClassifier(5, [Tanh()], max_iter=3, random_state=0, loss=None, engine=engine).fit(*TASKS[task])
    again = clone(ours).fit(*TASKS[task])
    copies = [pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)]
    for other in (again, *copies):
        np.testing.assert_array_equal(other.predict_proba(TASKS[task][0]), ours.predict_proba(TASKS[task][0]))
    ours.partial_fit(*TASKS[task])
    for copied in copies:
        copied.partial_fit(*TASKS[task])
        assert copied.engine_ == engine
        np.testing.assert_array_equal(copied.network_.params, ours.network_.params)


@unfinished
def test_sample_weight_is_routed():
    weights = np.where(BINARY[1] == 1, 1.0, 0.001)
    with config_context(enable_metadata_routing=True):
        ours = MLPClassifier(5, max_iter=20, random_state=0).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), ours)
        weighted = pipeline.fit(*BINARY, sample_weight=weights).predict(BINARY[0]).mean()
        plain = clone(pipeline).fit(*BINARY).predict(BINARY[0]).mean()
    assert weighted > plain + 0.1


SCRIPT = """
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.inspection import permutation_importance
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, stratify=data.target, random_state=0)

# fit
model = make_pipeline(StandardScaler(), MLPClassifier(hidden_layer_sizes=(16,), max_iter=500, random_state=0))
model.fit(X_train, y_train)
accuracy = accuracy_score(y_test, model.predict(X_test))

# tune
grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__activation": ["logistic", "relu"],
        "mlpclassifier__solver": ["lbfgs", "adam"]}
search = GridSearchCV(model.set_params(mlpclassifier__max_iter=1000), grid, scoring="roc_auc", cv=3)
search.fit(X_train, y_train)
auc = roc_auc_score(y_test, search.predict_proba(X_test)[:, 1])

# calibrate
calibrated = CalibratedClassifierCV(search.best_estimator_, cv=3).fit(X_train, y_train)
brier = brier_score_loss(y_test, calibrated.predict_proba(X_test)[:, 1])

# explain
best = search.best_estimator_
importance = permutation_importance(best, X_test, y_test, scoring="roc_auc", n_repeats=3, random_state=0)
ranked = [str(data.feature_names[i]) for i in np.argsort(-importance.importances_mean)]
network = best[-1]
shapes = [w.shape for w in network.coefs_]
curve = getattr(network, "loss_curve_", None)
loss, n_iter = network.loss_, network.n_iter_
"""


@unfinished
def test_a_users_script_runs_unchanged():
    """It fits, tunes, calibrates and explains; only the import differs, and the results are as good."""
    ours, theirs = {}, {}
    import_line = "from sklearn.neural_network import MLPClassifier"
    assert import_line in SCRIPT
    exec(SCRIPT, theirs)
    exec(SCRIPT.replace(import_line, "from gradlab import MLPClassifier"), ours)
    assert ours["MLPClassifier"] is MLPClassifier
    assert ours["shapes"] == theirs["shapes"] == [(30, 16), (16, 1)]
    assert ours["accuracy"] > theirs["accuracy"] - 0.02
    assert ours["auc"] > theirs["auc"] - 0.01
    assert ours["brier"] < theirs["brier"] + 0.01
    assert ours["search"].best_params_["mlpclassifier__alpha"] == theirs["search"].best_params_["mlpclassifier__alpha"]


# More than it


class Squared(Activation):
    """An activation of somebody's own."""

    def forward(self, x):
        return x * x

    def derivative(self, x, y):
        return 2.0 * x


def test_each_layer_has_its_activation():
    given = ["tanh", Squared(), "gelu"]
    ours = fitted(MLPClassifier((4, 5, 6), given, max_iter=5, random_state=0), *BINARY)
    assert [type(layer).__name__ for layer in ours.network_.layers[1::2]] == ["Tanh", "Squared", "GELU"]
    assert ours.network_.layers[3] is not given[1]
    assert not given[1].adopted
    assert ours.loss_curve_[-1] < ours.loss_curve_[0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_learns(activation):
    ours = fitted(MLPClassifier(8, activation, max_iter=30, learning_rate_init=0.01, random_state=0), *BINARY)
    assert ours.score(*BINARY) > 0.93


def test_sigmoid_is_logistic():
    one, other = (fitted(MLPClassifier(5, a, max_iter=3, random_state=0), *BINARY) for a in ("sigmoid", "logistic"))
    np.testing.assert_array_equal(one.network_.params, other.network_.params)
    assert isinstance(one.network_.layers[1], Sigmoid)


@pytest.mark.parametrize("loss", ["squared_error", SquaredError(on="sigmoid"), BinaryCrossEntropy()])
def test_a_loss_can_be_chosen(loss):
    ours = fitted(MLPClassifier(8, loss=loss, max_iter=30, learning_rate_init=0.01, random_state=0), *BINARY)
    assert ours.score(*BINARY) > 0.93
    default = fitted(MLPClassifier(8, max_iter=30, learning_rate_init=0.01, random_state=0), *BINARY)
    assert (distance(ours, default) == 0.0) == isinstance(loss, BinaryCrossEntropy)


def test_first_weights_can_be_chosen():
    he, suits = (fitted(MLPClassifier(400, weight_init=w, max_iter=1, learning_rate_init=1e-9, random_state=0), *BINARY)
                 for w in ("he_normal", "auto"))  # fmt: skip
    assert he.coefs_[0].std() == pytest.approx(math.sqrt(2.0 / 30.0), rel=0.05)
    assert suits.coefs_[0].std() == pytest.approx(math.sqrt(2.0 / 30.0), rel=0.05)
    assert abs(he.intercepts_[0]).max() < 1e-6
    other = fitted(MLPClassifier(400, weight_init="he_normal", max_iter=1, random_state=1), *BINARY)
    assert not np.array_equal(he.coefs_[0], other.coefs_[0])


@each_engine
def test_dropout_and_batch_norm_are_inside(engine):
    params = {"dropout": 0.2, "batch_norm": True, "max_iter": 40, "random_state": 0, "engine": engine}
    ours = fitted(MLPClassifier((6, 6), **params), *BINARY)
    assert sum(isinstance(layer, BatchNorm) for layer in ours.network_.layers) == 2
    assert sum(isinstance(layer, Dropout) for layer in ours.network_.layers) == 2
    assert [w.shape for w in ours.coefs_] == [(30, 6), (6, 6), (6, 1)]
    np.testing.assert_array_equal(ours.predict_proba(BINARY[0]), ours.predict_proba(BINARY[0]))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_class_weights_are_sample_weights(task):
    X, y = TASKS[task]
    factors = {0: 3.0, 1: 1.0, 2: 0.5}
    params = {"hidden_layer_sizes": 4, "max_iter": 4, "random_state": 0}
    by_class = {c: factors[c] for c in np.unique(y)}
    one = fitted(MLPClassifier(class_weight=by_class, **params), X, y)
    other = fitted(MLPClassifier(**params), X, y, sample_weight=np.array([factors[c] for c in y]))
    np.testing.assert_array_equal(one.network_.params, other.network_.params)


def test_balanced_classes_find_the_rare_one():
    X, y = make_moons((450, 30), noise=0.35, random_state=0)
    plain, balanced = (
        fitted(MLPClassifier(10, "tanh", class_weight=w, max_iter=300, learning_rate_init=0.01, random_state=0), X, y)
        for w in (None, "balanced")
    )
    assert (balanced.predict(X)[y == 1]).mean() > (plain.predict(X)[y == 1]).mean() + 0.1


@each_engine
def test_callbacks_see_the_last_step_of_each_epoch_and_may_end_it(engine):
    seen = []

    def look(step):
        seen.append((step.epoch, step.index, len(step.tape[-1]), len(step.deltas[-1]), step.ends_epoch))

    callbacks = [look, lambda step: step.epoch == 3]
    ours = MLPClassifier(5, callbacks=callbacks, batch_size=100, engine=engine).fit(*BINARY)
    assert seen == [(epoch, 6 * epoch + 5, 69, 69, True) for epoch in range(4)]
    assert ours.n_iter_ == 4
    stopped = MLPClassifier(5, callbacks=[lambda step: step.running_loss < 10.0]).fit(*BINARY)  # NumPy's truth
    assert stopped.n_iter_ == 1


def test_gradients_are_clipped():
    lengths = []
    note = [lambda step: lengths.append(np.linalg.norm(step.network.params))]
    params = {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 1.0, "max_iter": 1, "alpha": 0.0}
    ours = fitted(MLPClassifier(5, clip_norm=1e-6, callbacks=note, batch_size=569, random_state=0, **params), *BINARY)
    theirs = ScikitMLPClassifier(5, random_state=0, learning_rate_init=1e-300, solver="sgd", max_iter=1)
    assert 1e-8 < distance(fitted(theirs, *BINARY), ours) < 1e-6


def test_validation_data_are_scored_and_not_learned_from():
    X, x_val, y, y_val = train_test_split(*BINARY, random_state=0)
    params = {"max_iter": 6, "random_state": 0}
    ours, alone = (
        fitted(MLPClassifier(5, **params), X, y, validation_data=(x_val, y_val)),
        fitted(MLPClassifier(5, **params), X, y),
    )
    np.testing.assert_array_equal(ours.network_.params, alone.network_.params)
    assert len(ours.validation_scores_) == len(ours.validation_loss_curve_) == 6
    assert ours.validation_scores_[-1] == ours.score(x_val, y_val)
    assert ours.best_loss_ is not None
    weighted = fitted(MLPClassifier(5, **params), X, y, validation_data=(x_val, y_val, y_val + 1.0))
    assert weighted.validation_loss_curve_ != ours.validation_loss_curve_
    newton = fitted(MLPClassifier(5, solver="lbfgs", **params), X, y, validation_data=(x_val, y_val))
    assert len(newton.validation_scores_) == newton.n_iter_ == len(newton.loss_curve_) == 6


@unfinished
@each_engine
def test_flow_is_recorded(engine):
    params = {"max_iter": 6, "random_state": 0, "batch_size": 100, "warm_start": True, "engine": engine}
    ours = MLPClassifier((4, 5), record_flow=True, **params)
    ours.fit(*BINARY)
    assert {name: values.shape for name, values in ours.flow_.items()} == {
        "step": (7,), "epoch": (7,), "weight_gradient_norm": (7, 3), "weight_norm": (7, 3),
    }  # fmt: skip
    np.testing.assert_allclose(ours.flow_["weight_norm"][-1], [np.linalg.norm(w) for w in ours.coefs_], rtol=1e-12)
    ours.fit(*BINARY)
    assert ours.flow_["epoch"].tolist() == [0, *range(12)]
    assert (np.diff(ours.flow_["step"]) > 0).all()
    with pytest.raises(ValueError, match="record_flow=True"):
        MLPClassifier(3, max_iter=1).fit(*BINARY).plot_flow()


@unfinished
def test_weights_can_be_written_to():
    ours = MLPClassifier(3, max_iter=1, random_state=0).fit(*BINARY)
    ours.coefs_[0][...] = 0.0
    np.testing.assert_array_equal(ours.network_.layers[0].W, np.zeros((30, 3)))
    ours.coefs_ = [np.ones((30, 3)), np.ones((3, 1))]
    ours.intercepts_ = [np.zeros(3), np.zeros(1)]
    z = np.maximum(BINARY[0].sum(axis=1, keepdims=True), 0.0) * 3.0
    np.testing.assert_allclose(ours.predict_proba(BINARY[0])[:, 1:], 1.0 / (1.0 + np.exp(-z)), rtol=1e-9)
    before = ours.network_.params.copy()
    for wrong in ([np.ones((30, 3))], [1.0, 2.0], [np.zeros((30, 3)), np.zeros((3, 2))]):
        with pytest.raises(ValueError, match="do not fit the network's"):
            ours.coefs_ = wrong
    np.testing.assert_array_equal(ours.network_.params, before)
    ours.coefs_[1] = np.zeros((3, 1))
    ours.intercepts_[-1] = np.zeros(1)
    np.testing.assert_array_equal(ours.predict_proba(BINARY[0]), np.full((569, 2), 0.5))


@unfinished
@each_engine
def test_every_number_of_a_step_can_be_looked_at(engine):
    ours = MLPClassifier((4, 3), max_iter=2, random_state=0, engine=engine).fit(*BINARY)
    tape = ours.network_.forward(BINARY[0])
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-tape[-1][:, 0])), ours.predict_proba(BINARY[0])[:, 1], rtol=1e-12)


def test_verbose_prints_each_epoch():
    text = io.StringIO()
    with redirect_stdout(text):
        fitted(MLPClassifier(3, max_iter=2, verbose=True, early_stopping=True, random_state=0), *BINARY)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("Iteration 1, loss = 0.")
    assert lines[1].startswith("Validation score: 0.")


def test_an_interrupt_keeps_what_was_learned():
    def interrupt(step):
        if step.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user"):
        ours = MLPClassifier(3, callbacks=[interrupt], random_state=0).fit(*BINARY)
    assert len(ours.loss_curve_) == ours.n_iter_ == 3
    assert ours.predict(BINARY[0]).shape == (569,)


def test_importing_gradlab_does_not_import_scikit_learn():
    assert "MLPClassifier" in dir(gradlab)
    with pytest.raises(AttributeError, match="no attribute 'MLPRegressor'"):
        _ = gradlab.MLPRegressor


def test_log_probabilities_are_the_logarithms():
    for X, y in TASKS.values():
        ours = fitted(MLPClassifier(4, max_iter=3, random_state=0), X, y)
        np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X), rtol=1e-12)


def test_a_centred_sigmoid_is_not_exported_as_a_plain_one():
    ours = fitted(MLPClassifier(4, "centred_sigmoid", max_iter=2, random_state=0), *BINARY)
    with pytest.raises(ValueError, match=r"this network has CentredSigmoid\(\)"):
        ours.to_sklearn()
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"CentredSigmoid\(\) has no counterpart"):
        ours.to_torch()


def test_a_centred_sigmoid_is_written_to_onnx(tmp_path):
    reference = pytest.importorskip("onnx.reference")
    ours = fitted(MLPClassifier((4, 3), "centred_sigmoid", max_iter=20, random_state=0), *BINARY)
    ours.to_onnx(tmp_path / "model.onnx")
    found = reference.ReferenceEvaluator(str(tmp_path / "model.onnx")).run(["probabilities"], {"X": BINARY[0]})[0]
    np.testing.assert_allclose(found, ours.predict_proba(BINARY[0]), atol=1e-6)
