"""The classifier: its parameters, what it checks of them, and the network inside, to look at."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.neural_network import MLPClassifier as ScikitMLPClassifier
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
    type_of_target,
    unique_labels,
)
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from gradlab.estimators.conversion import from_sklearn, to_sklearn, to_torch
from gradlab.estimators.curves import logits_of
from gradlab.estimators.descent import descend
from gradlab.estimators.display import draw_flow, network_html
from gradlab.estimators.lbfgs import minimize_loss
from gradlab.estimators.onnx import to_onnx
from gradlab.estimators.samples import (
    Samples,
    check_classes_known,
    check_classes_present,
    set_aside,
    weighted_samples,
)
from gradlab.nn import (
    ACTIVATIONS,
    LOSSES,
    Activation,
    BinaryCrossEntropy,
    Dense,
    Layer,
    Loss,
    Network,
    Optimizer,
    Sigmoid,
    SoftmaxCrossEntropy,
    SquaredError,
    mlp,
)
from gradlab.nn.activations import sigmoid
from gradlab.nn.checks import lookup
from gradlab.nn.losses import softmax
from gradlab.training import DivergenceError, EngineError, Step
from gradlab.training.stopping import Best

ALIASES = {"logistic": "sigmoid"}  # scikit-learn's names, and ours

Callback = Callable[[Step], object]


def _is_stochastic(classifier: MLPClassifier) -> bool:
    if classifier.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for solver='sgd' and 'adam', not for 'lbfgs'")
    return True


class MLPClassifier(ClassifierMixin, BaseEstimator):
    """A multilayer perceptron that takes the place of scikit-learn's `MLPClassifier`, and can be looked into.

    The first 23 parameters are scikit-learn's, with its meaning and defaults; with the same ``random_state`` the first
    weights, the batches and so the trajectory are its own. The rest is what it does not have.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer.
    activation : str or Activation, or a sequence with one a hidden layer
        A name from `gradlab.nn.ACTIVATIONS`, "logistic" for "sigmoid", or an object, also of a class of your own.
    solver : {"adam", "sgd", "lbfgs"}
        lbfgs is SciPy's L-BFGS-B on the vector of all parameters; what is said of batches and epochs does not apply.
    alpha : float
        Penalty ½·alpha·Σ W² on the weights, divided by the batch's number of samples (or sum of their weights).
    batch_size : int or "auto"
        "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"}
        With sgd: constant; learning_rate_init / (t_ + 1)^power_t after each epoch; or divided by 5 whenever training
        would stop for want of improvement, down to 1e-6.
    learning_rate_init : float
    power_t : float
    max_iter : int
        Most epochs, or iterations of lbfgs.
    shuffle : bool
        Whether every epoch has an order of its own.
    random_state : int, RandomState or None
        Of the first weights, the validation part, the batches and dropout.
    tol : float
        By how much a loss (or accuracy) must be better than the best to count as improved; lbfgs's ``gtol``.
    verbose : bool or int
        Print each epoch's loss.
    warm_start : bool
        Whether `fit` goes on from the weights that there are, with activations and dropout as they are set now. The
        optimizer and the patience begin anew.
    momentum, nesterovs_momentum : float, bool
        Of sgd.
    early_stopping : bool
        Set `validation_fraction` of the samples aside, two classes in proportion, and stop when `monitor` on them no
        longer improves; then the best weights are put back.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of adam. epsilon is added to √v before v's bias correction, as in scikit-learn.
    n_iter_no_change : int or inf
        Stop after this many epochs in a row without improvement; `patience` is the same.
    max_fun : int
        Most evaluations of lbfgs.
    loss : Loss or str, optional
        A loss of `gradlab.nn` or of your own, on logits. Without it, cross-entropy: of sigmoids for two classes and for
        multilabel targets, of softmax for more classes.
    weight_init : str or callable, optional
        A name from `gradlab.nn.INITIALIZERS`, such as "he_normal", with biases of zero; "auto" for what suits each
        activation. Without it, scikit-learn's: Glorot's uniform bounds, for biases too.
    dropout : float
        Share of each hidden layer's outputs that is dropped while training.
    batch_norm : bool
        Whether each hidden layer's pre-activations are normalised.
    class_weight : dict, list of dict, "balanced" or None
        Factors on the samples' weights, by class.
    patience : int, optional
        Takes the place of `n_iter_no_change`, if given.
    monitor : {"loss", "accuracy"}
        What early stopping watches on the validation part.
    clip_norm : float
        Longest gradient; 0 for no limit.
    callbacks : sequence of callable, optional
        Called with the last `gradlab.nn.Step` of each epoch. One that returns true (of Python or NumPy) ends the
        training.
    record_flow : bool
        Whether to keep the gradient flow, in `flow_`.
    engine : {"auto", "plain", "compiled"}
        What takes the steps of sgd and adam, and predicts: the layers themselves, or kernels that Numba compiles.
        "auto" is compiled for large work (parameters × samples × `max_iter` of at least 10⁹) if Numba is installed.

    Attributes
    ----------
    classes_ : ndarray (n_classes,)
    loss_, best_loss_ : float, float or None
        Loss on the training samples of the network as it is, and the least of all epochs; ``best_loss_`` is None with
        early stopping.
    loss_curve_ : list of float
        The loss, penalty included, of the network as it was at the end of each epoch (iteration of lbfgs).
    running_loss_curve_ : list of float
        The mean of each epoch's batch losses, without the penalty: the parameters moved meanwhile.
    validation_scores_, validation_loss_curve_ : list of float or None
        Accuracy and loss (without penalty) on the validation part.
    best_validation_score_ : float or None
    t_ : int
        Samples seen.
    coefs_, intercepts_ : list of ndarray (n_in, n_out), (n_out,)
        Views of the network's weights and biases; writing to them, or assigning a list, changes the network.
    n_features_in_, feature_names_in_, n_iter_, n_layers_, n_outputs_, out_activation_
        As in scikit-learn.
    network_ : Network
        Every number of a step: ``network_.forward(X)`` gives each layer's output.
    engine_ : str
        "plain" or "compiled": what took the steps, or "auto" if none was taken. `partial_fit` and ``warm_start`` go on
        with it, unless `engine` names another. It predicts too; where Numba is not installed, the layers do.
    flow_ : dict of ndarray
        With ``record_flow=True``: "step", "epoch", and the gradient and weight norm of each layer in them.

    Notes
    -----
    What differs from scikit-learn 1.9, on purpose:

    - the loss is computed from logits, so that a wrong prediction costs what it costs: 50 at a logit of −50, not 36;
    - ``loss_`` is that of the network as it is, not a mean over batches of networks that are gone;
    - training stops after exactly `n_iter_no_change` epochs without improvement, not one later; and early stopping
      watches the validation loss, unless ``monitor="accuracy"``. So ``n_iter_`` differs;
    - a training that leaves the finite numbers raises `DivergenceError` at the step where it does, naming epoch and
      layer. The classifier is then what it was before `fit`, as after any other error; but if early stopping has best
      weights to put back, those;
    - `predict_log_proba` is finite where the probability rounds to 0 or 1.

    Examples
    --------
    >>> from gradlab import MLPClassifier
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.1, random_state=0)
    >>> classifier = MLPClassifier([16, 16], "tanh", solver="lbfgs", random_state=0).fit(X, y)
    >>> classifier.score(X, y)
    1.0
    >>> [x.shape for x in classifier.network_.forward(X[:5])]
    [(5, 2), (5, 16), (5, 16), (5, 16), (5, 16), (5, 1)]
    """

    classes_: np.ndarray
    loss_: float
    _optimizer: Optimizer
    _best: Best
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScikitMLPClassifier._parameter_constraints,
        "activation": [StrOptions({*ACTIVATIONS, *ALIASES}), Activation, "array-like"],
        "loss": [StrOptions(set(LOSSES)), Loss, None],
        "weight_init": [str, callable, None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
        "patience": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf}), None],
        "monitor": [StrOptions({"loss", "accuracy"})],
        "clip_norm": [Interval(Real, 0, None, closed="left")],
        "callbacks": ["array-like", tuple, None],
        "record_flow": ["boolean"],
        "engine": [StrOptions({"auto", "plain", "compiled"})],
    }

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Activation | Sequence[str | Activation] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Loss | str | None = None,
        weight_init: Any = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
        class_weight: Any = None,
        patience: float | None = None,
        monitor: str = "loss",
        clip_norm: float = 0.0,
        callbacks: Sequence[Callback] | None = None,
        record_flow: bool = False,
        engine: str = "auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.weight_init = weight_init
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.class_weight = class_weight
        self.patience = patience
        self.monitor = monitor
        self.clip_norm = clip_norm
        self.callbacks = callbacks
        self.record_flow = record_flow
        self.engine = engine

    # Fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> MLPClassifier:
        """Train on the samples.

        Parameters
        ----------
        X : array-like or sparse array (n_samples, n_features)
            float32 gives a network of float32, everything else one of float64.
        y : array-like (n_samples,) or (n_samples, n_labels)
            Classes, or 0 and 1 for each label.
        sample_weight : array-like (n_samples,), optional
            How much each sample counts.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Samples that are not learned from, for the validation curves; with `early_stopping`, they take the place of
            the part that would be set aside. No step of a pipeline transforms them.

        Returns
        -------
        MLPClassifier
            itself

        Raises
        ------
        ValueError
            For a parameter or data that do not fit, named.
        EngineError
            If the compiled engine is asked for and cannot run.
        DivergenceError
            When a number of a step is no longer finite.
        """
        with self._unchanged_by_errors():
            return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(_is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Train for one epoch on these samples, and keep the optimizer for the next.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        classes : array-like (n_classes,)
            All classes that will ever come; wanted by the first call.

        Returns
        -------
        MLPClassifier
            itself
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.class_weight == "balanced":
            raise ValueError("class_weight='balanced' needs all samples at once; partial_fit takes a dict")
        with self._unchanged_by_errors():
            if _check_partial_fit_first_call(self, classes):
                multilabel = type_of_target(y).startswith("multilabel")
                self._label_binarizer = LabelBinarizer().fit(y if multilabel else classes)
            return self._fit(X, y, sample_weight, None, incremental=True)

    @contextmanager
    def _unchanged_by_errors(self) -> Iterator[None]:
        """Be what it was before if fitting fails, unless it diverged and there are best weights to go back to."""
        before = self._remember()
        self._has_best = False
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, DivergenceError) and self._has_best):
                self._put_back(before)
            raise

    def _remember(self) -> tuple[dict[str, Any], Any]:
        """Return all attributes, and copies of what fitting changes in place."""
        network = getattr(self, "network_", None)
        arrays = None if network is None else (network.params.copy(), network.state.copy())
        return {name: copy.copy(v) if isinstance(v, list) else v for name, v in vars(self).items()}, arrays

    def _put_back(self, before: tuple[dict[str, Any], Any]) -> None:
        """Be what it was: what could not be fitted leaves nothing half-done. Only the optimizer begins anew."""
        attributes, arrays = before
        self.__dict__.clear()
        self.__dict__.update(attributes)
        self.__dict__.pop("_optimizer", None)
        if arrays is not None:
            self.network_.params[...], self.network_.state[...] = arrays

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: Any,
        incremental: bool,
    ) -> MLPClassifier:
        """Fit, and leave it to the caller to clear up if that fails."""
        self._check_together(validation_data)
        goes_on = hasattr(self, "network_") and (self.warm_start or incremental)
        X, y = validate_data(
            self, X, y, accept_sparse="csr", multi_output=True, dtype=(np.float64, np.float32), reset=not goes_on
        )
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        check_classification_targets(y)
        self._learn_classes(y, goes_on, incremental)
        samples = weighted_samples(X, y, self._label_binarizer, sample_weight, self.class_weight)
        if not incremental and not self._is_multilabel():
            check_classes_present(samples)
        generator = check_random_state(self.random_state)
        loss = self._choose_loss()
        widths = [X.shape[1], *self._hidden_widths(), samples.targets.shape[1]]
        if goes_on:
            self._keep_network(widths, X.dtype)
        else:
            self._new_network(widths, X.dtype, generator)
        training, validation = self._split(samples, validation_data, generator)
        if self.solver == "lbfgs":
            minimize_loss(self, loss, training, validation)
        else:
            descend(self, loss, training, validation, generator, incremental)
        return self

    def _check_together(self, validation_data: Any) -> None:
        """Raise ValueError for parameters that do not fit one another."""
        for i, callback in enumerate(self.callbacks or ()):
            if not callable(callback):
                raise ValueError(f"callbacks[{i}]: {callback!r} cannot be called with a step")
        if validation_data is not None and (not isinstance(validation_data, tuple | list) or
                                            len(validation_data) not in (2, 3)):  # fmt: skip
            raise ValueError("validation_data: give (X, y) or (X, y, sample_weight)")
        if self.solver != "lbfgs":
            return
        if self.dropout or self.batch_norm:
            raise ValueError("solver='lbfgs' needs a loss that stays the same; dropout and batch_norm change it")
        if self.callbacks or self.record_flow:
            raise ValueError("solver='lbfgs' takes no steps for callbacks or record_flow to look at; use adam or sgd")
        if self.engine == "compiled":
            raise EngineError("engine: 'compiled' cannot be used: solver='lbfgs' calls the layers; use adam or sgd")

    def _learn_classes(self, y: np.ndarray, goes_on: bool, incremental: bool) -> None:
        """Set `classes_`, or check that y has those that are known."""
        if goes_on or incremental:
            check_classes_known(y, self.classes_, all_of_them=self.warm_start and not incremental)
        else:
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_

    def _is_multilabel(self) -> bool:
        return self._label_binarizer.y_type_.startswith("multilabel")

    def _hidden_widths(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        widths = list(sizes) if isinstance(sizes, Iterable) else [sizes]
        for width in widths:
            if isinstance(width, bool) or not isinstance(width, Integral) or width < 1:
                raise ValueError(f"hidden_layer_sizes must be > 0 and whole numbers, got {widths}.")
        return [int(width) for width in widths]

    def _choose_loss(self) -> Loss:
        """Return the loss; raise ValueError if it does not belong to the kind of target."""
        self.out_activation_ = "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"
        if self.loss is None:
            return SoftmaxCrossEntropy() if self.out_activation_ == "softmax" else BinaryCrossEntropy()
        loss = self.loss if isinstance(self.loss, Loss) else lookup("loss", self.loss, LOSSES)()
        if type(loss) is SquaredError and loss.on == "identity" and self.out_activation_ == "logistic":
            loss = loss if isinstance(self.loss, Loss) else SquaredError(on="sigmoid")
        of_softmax, of_sigmoid = type(loss) is SoftmaxCrossEntropy, type(loss) in (BinaryCrossEntropy, SquaredError)
        if type(loss) is SquaredError and loss.on == "identity":
            raise ValueError("loss: SquaredError on the logits themselves gives no probabilities; on='sigmoid' does")
        if of_softmax and self.out_activation_ != "softmax":
            raise ValueError(f"loss: {loss!r} is for more than two classes, not for {self._label_binarizer.y_type_}")
        if of_sigmoid and self.out_activation_ == "softmax":
            raise ValueError(
                f"loss: {loss!r} is for two classes or several labels, not for {len(self.classes_)} classes"
            )
        return loss

    def _activations(self, depth: int) -> list[Activation]:
        """Return an activation for each hidden layer, none of them the caller's own object."""
        given = self.activation
        each = [given] * depth if isinstance(given, str | Activation) else list(given)
        if len(each) != depth:
            raise ValueError(f"activation: {len(each)} of them for {depth} hidden layers; give one, or one a layer")
        return [_activation(act) for act in each]

    def _layers(self, widths: list[int]) -> list[Layer]:
        weight_init = None if self.weight_init == "auto" else self.weight_init
        activations = self._activations(len(widths) - 2)
        return mlp(widths, activations, weight_init, dropout=self.dropout, batch_norm=self.batch_norm)

    def _new_network(self, widths: list[int], dtype: Any, generator: np.random.RandomState) -> None:
        """Make a network, and set what counts from the first fit on."""
        layers = self._layers(widths)
        activations = [layer for layer in layers if isinstance(layer, Activation)]
        drawn = self.weight_init is not None or self.dropout
        network = Network(layers, seed=int(generator.randint(2**31)) if drawn else 0, dtype=dtype)
        if self.weight_init is None:
            named = isinstance(self.activation, str | Activation)
            last = activations[-1] if activations else _activation(self.activation) if named else None
            for dense, act in zip(_dense(network), [*activations, last], strict=True):
                bound = math.sqrt((2.0 if isinstance(act, Sigmoid) else 6.0) / (dense.n_in + dense.n_out))
                dense.W[...] = generator.uniform(-bound, bound, (dense.n_in, dense.n_out))
                dense.b[...] = generator.uniform(-bound, bound, dense.n_out)
        for name in ("_optimizer", "flow_"):
            self.__dict__.pop(name, None)
        self.engine_ = self.engine  # until a step is taken
        self.network_, self.n_layers_, self.n_outputs_ = network, len(widths), widths[-1]
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []
        self.running_loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = None
        self.validation_loss_curve_: list[float] | None = None
        self.best_loss_: float | None = None
        self.best_validation_score_: float | None = None

    def _keep_network(self, widths: list[int], dtype: Any) -> None:
        """Go on with the network that there is, in the data's float type."""
        known = [dense.n_in for dense in _dense(self.network_)] + [self.n_outputs_]
        if known != widths:
            raise ValueError(
                f"warm_start: the network has layers of {known} units, hidden_layer_sizes asks for {widths}"
            )
        layers, there = self._layers(widths), self.network_
        if list(map(repr, layers)) != list(map(repr, there.layers)):  # other activations, or another dropout
            network = Network(layers, seed=there.seeds[0], dtype=there.dtype)
            if network.params.shape != there.params.shape:
                raise ValueError(f"warm_start: the network was fitted with batch_norm={not self.batch_norm}")
            network.params[...], network.state[...] = there.params, there.state
            self.network_ = network
        if self.network_.dtype != dtype:
            self.network_ = self.network_.astype(dtype)
            self.__dict__.pop("_optimizer", None)

    def _split(
        self, samples: Samples, validation_data: Any, generator: np.random.RandomState
    ) -> tuple[Samples, Samples | None]:
        """Return the samples to learn from, and those to validate with."""
        if validation_data is not None:
            return samples, self._given_validation(validation_data)
        if not self.early_stopping or self.solver == "lbfgs":
            return samples, None
        return set_aside(samples, self.validation_fraction, generator)

    def _given_validation(self, validation_data: Any) -> Samples:
        X, y, *sample_weight = validation_data
        X, y = validate_data(self, X, y, accept_sparse="csr", multi_output=True, dtype=self.network_.dtype, reset=False)
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        if (unknown := np.setdiff1d(unique_labels(y), self.classes_)).size:
            raise ValueError(f"validation_data: y has classes {unknown} that the training samples have not")
        return weighted_samples(X, y, self._label_binarizer, sample_weight[0] if sample_weight else None)

    # Predicting

    def predict(self, X: Any) -> np.ndarray:
        """Return the class of each sample (n_samples,), or 0 and 1 for each label (n_samples, n_labels)."""
        probabilities = self._probabilities(self._checked_logits(X))
        return self._label_binarizer.inverse_transform(probabilities)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, in the order of `classes_`, (n_samples, n_classes).

        With multilabel targets, that of each label, (n_samples, n_labels).
        """
        logits = self._checked_logits(X)
        if self.n_outputs_ > 1:
            return self._probabilities(logits)
        return np.hstack([sigmoid(-logits), sigmoid(logits)])

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`, from the logits: finite also where a probability rounds to 0."""
        logits = self._checked_logits(X)
        if self.out_activation_ == "softmax":
            logits -= logits.max(axis=1, keepdims=True)
            return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        z = logits if self.n_outputs_ > 1 else np.hstack([-logits, logits])
        return -np.logaddexp(0.0, -z)

    def _checked_logits(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=self.network_.dtype, reset=False)
        return logits_of(self.network_, X, self.engine_)

    def _probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return what the output activation makes of the logits."""
        return softmax(logits) if self.out_activation_ == "softmax" else sigmoid(logits)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        return tags

    # The network inside

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weights of each layer, (n_in, n_out)."""
        return _Views(dense.W for dense in _dense(self.network_))

    @coefs_.setter
    def coefs_(self, values: Sequence[np.ndarray]) -> None:
        self.coefs_[:] = values

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Biases of each layer, (n_out,)."""
        return _Views(dense.b[0] for dense in _dense(self.network_))

    @intercepts_.setter
    def intercepts_(self, values: Sequence[np.ndarray]) -> None:
        self.intercepts_[:] = values

    def plot_flow(self, ax: Any = None) -> Any:
        """Draw the norm of each layer's weight gradient over the epochs.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; without it, a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        check_is_fitted(self)
        if not hasattr(self, "flow_"):
            raise ValueError("plot_flow: nothing was recorded; fit with record_flow=True")
        return draw_flow(self.flow_, ax)

    def _repr_html_inner(self) -> str:
        """Show the parameters as scikit-learn does, and the network below."""
        return estimator_html_repr(self) + self._network_html()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._network_html()
        return bundle

    def _network_html(self) -> str:
        return network_html(self.network_, self.out_activation_) if hasattr(self, "network_") else ""

    # To others and back

    @classmethod
    def from_sklearn(cls, classifier: ScikitMLPClassifier) -> MLPClassifier:
        """Return a gradlab classifier with the parameters, weights and curves of a fitted one of scikit-learn.

        Parameters
        ----------
        classifier : sklearn.neural_network.MLPClassifier
            A fitted one.

        Returns
        -------
        MLPClassifier
            Its `fit` with ``warm_start`` and its `partial_fit` go on from there, the optimizer anew. Losses noted by
            scikit-learn are means over each epoch's batches, so they come as ``running_loss_curve_``, too.

        Raises
        ------
        TypeError
            If it is not a `MLPClassifier`.
        NotFittedError
            If it is not fitted.
        """
        return from_sklearn(cls, classifier)

    def to_sklearn(self) -> ScikitMLPClassifier:
        """Return scikit-learn's classifier with the same parameters, weights and curves.

        Returns
        -------
        sklearn.neural_network.MLPClassifier
            It predicts what this one does. Parameters that it does not know are left out.

        Raises
        ------
        ValueError
            If it could not predict the same: for another activation than its four, one a layer, or batch normalisation.
        """
        check_is_fitted(self)
        return to_sklearn(self)

    def to_torch(self, logits: bool = False) -> Any:
        """Return the network as a `torch.nn.Sequential` that predicts (dropout and batch normalisation included).

        Parameters
        ----------
        logits : bool
            Whether it ends with the logits, as PyTorch's losses want them, rather than with probabilities: of class 1
            (n, 1), or of each class or label.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            For a layer that PyTorch does not have.
        """
        check_is_fitted(self)
        return to_torch(self.network_, None if logits else self.out_activation_)

    def to_onnx(self, path: Any) -> None:
        """Write the classifier as an ONNX model: from "X" to "probabilities" and, but for multilabel, "label".

        Parameters
        ----------
        path : str or path-like
            It is replaced at once, or left as it was.

        Raises
        ------
        ModuleNotFoundError
            If the package onnx is not installed (the extra ``onnx``).
        ValueError
            For a layer of somebody's own.
        """
        check_is_fitted(self)
        classes = None if self._is_multilabel() else self.classes_
        to_onnx(self.network_, self.out_activation_, classes, path)


class _Views(list[np.ndarray]):
    """Views of a network's arrays: what is put in one's place is written where it stands."""

    def __setitem__(self, place: Any, value: Any) -> None:
        wanted = self[place] if isinstance(place, slice) else [self[place]]
        given = [np.asarray(v) for v in (value if isinstance(place, slice) else [value])]
        shapes = [v.shape for v in wanted], [v.shape for v in given]
        if shapes[0] != shapes[1]:
            raise ValueError(f"arrays of shapes {shapes[1]} do not fit the network's, {shapes[0]}")
        for view, array in zip(wanted, given, strict=True):
            view[...] = array


def _activation(given: Any) -> Activation:
    """Return an activation of this name, or a copy of the object."""
    if isinstance(given, Activation):
        return copy.deepcopy(given)
    name = ALIASES.get(given, given) if isinstance(given, str) else given
    return lookup("activation", name, ACTIVATIONS)()


def _dense(network: Network) -> list[Dense]:
    return [layer for layer in network.layers if isinstance(layer, Dense)]
