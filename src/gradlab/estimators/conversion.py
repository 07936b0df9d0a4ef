"""A classifier as scikit-learn's or PyTorch's, and scikit-learn's as ours."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.neural_network import MLPClassifier as ScikitMLPClassifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from gradlab.nn import (
    ELU,
    GELU,
    SELU,
    Activation,
    BatchNorm,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    Network,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)

if TYPE_CHECKING:
    from gradlab.estimators.classifier import MLPClassifier

SHARED = (
    "n_layers_",
    "n_outputs_",
    "out_activation_",
    "loss_",
    "best_loss_",
    "loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "t_",
    "n_iter_",
    "n_features_in_",
    "feature_names_in_",
)


def from_sklearn(cls: type[MLPClassifier], classifier: ScikitMLPClassifier) -> MLPClassifier:
    """Make a classifier of class `cls` of a fitted one of scikit-learn, see `MLPClassifier.from_sklearn`."""
    if not isinstance(classifier, ScikitMLPClassifier):
        raise TypeError(f"from_sklearn: {classifier!r} is not scikit-learn's MLPClassifier")
    check_is_fitted(classifier)
    own = cls(**{name: v for name, v in classifier.get_params().items() if name in cls().get_params()})
    own._label_binarizer, own.classes_ = copy.deepcopy(classifier._label_binarizer), classifier.classes_.copy()
    widths = [len(classifier.coefs_[0]), *(len(b) for b in classifier.intercepts_)]
    own._new_network(widths, classifier.coefs_[0].dtype, np.random.RandomState(0))
    own.coefs_, own.intercepts_ = classifier.coefs_, classifier.intercepts_
    for name in SHARED:
        if hasattr(classifier, name):
            setattr(own, name, copy.deepcopy(getattr(classifier, name)))
    own.running_loss_curve_ = list(own.loss_curve_)
    return own


def to_sklearn(classifier: MLPClassifier) -> ScikitMLPClassifier:
    """Make scikit-learn's classifier of a fitted one, see `MLPClassifier.to_sklearn`."""
    theirs = {Sigmoid: "logistic", Tanh: "tanh", ReLU: "relu", Identity: "identity"}
    used = {repr(act): act for act in classifier.network_.layers if isinstance(act, Activation)}
    kinds = {type(act) for act in used.values()}
    if len(used) > 1 or not kinds <= theirs.keys():
        raise ValueError(
            f"to_sklearn: scikit-learn has one activation for all layers, of {', '.join(theirs.values())}; "
            f"this network has {', '.join(sorted(used))}"
        )
    if any(isinstance(layer, BatchNorm) for layer in classifier.network_.layers):
        raise ValueError("to_sklearn: scikit-learn has no batch normalisation")
    params = classifier.get_params(deep=False)
    given = classifier.activation if isinstance(classifier.activation, str) else None
    params["activation"] = theirs[kinds.pop()] if kinds else given if given in theirs.values() else "relu"
    known = ScikitMLPClassifier().get_params()
    other = ScikitMLPClassifier(**{name: value for name, value in params.items() if name in known})
    other._label_binarizer, other.classes_ = copy.deepcopy(classifier._label_binarizer), classifier.classes_.copy()
    other.coefs_, other.intercepts_ = [w.copy() for w in classifier.coefs_], [b.copy() for b in classifier.intercepts_]
    other.n_layers_, other.n_outputs_, other.out_activation_ = (
        classifier.n_layers_,
        classifier.n_outputs_,
        classifier.out_activation_,
    )
    for name in SHARED:
        if hasattr(classifier, name):
            setattr(other, name, copy.deepcopy(getattr(classifier, name)))
    other._random_state = check_random_state(classifier.random_state)
    other._no_improvement_count = 0
    other._best_coefs, other._best_intercepts = copy.deepcopy((other.coefs_, other.intercepts_))
    return other


def to_torch(network: Network, out_activation: str | None) -> Any:
    """Return a network as a `torch.nn.Sequential` in evaluation mode, of the same float type.

    Parameters
    ----------
    network : Network
        Not of replicas, without Residual.
    out_activation : "logistic", "softmax" or None
        What comes after the logits.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        For a layer that has no counterpart.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch needs PyTorch, which is not installed: pip install torch") from error
    from torch import nn

    plain: dict[type[Layer], Any] = {
        Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, ReLU: nn.ReLU, SELU: nn.SELU, GELU: nn.GELU, SiLU: nn.SiLU,
        Softplus: lambda: nn.Softplus(threshold=40.0), Softsign: nn.Softsign, Identity: nn.Identity,
    }  # fmt: skip

    def converted(layer: Layer) -> Any:
        if type(layer) in plain:
            return plain[type(layer)]()
        if type(layer) is LeakyReLU:
            return nn.LeakyReLU(layer.slope)
        if type(layer) is ELU:
            return nn.ELU(layer.alpha)
        if type(layer) is Dropout:
            return nn.Dropout(layer.rate)
        if type(layer) is Dense:
            linear = nn.Linear(layer.n_in, layer.n_out)
            linear.weight.data, linear.bias.data = _tensor(layer.W.T), _tensor(layer.b[0])
            return linear
        if type(layer) is BatchNorm:
            norm = nn.BatchNorm1d(layer.n_in, eps=layer.epsilon, momentum=layer.momentum)
            norm.weight.data, norm.bias.data = _tensor(layer.gamma[0]), _tensor(layer.beta[0])
            norm.running_mean, norm.running_var = _tensor(layer.running_mean[0]), _tensor(layer.running_variance[0])
            return norm
        raise ValueError(f"to_torch: {layer!r} has no counterpart in PyTorch")

    def _tensor(array: np.ndarray) -> Any:
        return torch.from_numpy(np.array(array, order="C"))

    modules = [converted(layer) for layer in network.layers]
    if out_activation is not None:
        modules.append(nn.Softmax(dim=-1) if out_activation == "softmax" else nn.Sigmoid())
    return nn.Sequential(*modules).to(torch.float64 if network.dtype == np.float64 else torch.float32).eval()
