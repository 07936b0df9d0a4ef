"""What is kept of each epoch: losses and scores of the network as it is then, and the gradient flow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import accuracy_score

from gradlab.estimators.samples import Samples
from gradlab.nn import Loss, Network
from gradlab.training import EngineError, predict

if TYPE_CHECKING:
    from gradlab.estimators.classifier import MLPClassifier


def add_losses(
    classifier: MLPClassifier,
    loss: Loss,
    training: Samples,
    validation: Samples | None,
    value: float | None = None,
) -> float:
    """Add the losses of the network as it is now to the curves; return the one that stopping depends on.

    Parameters
    ----------
    classifier : MLPClassifier
    loss : Loss
    training, validation : Samples
    value : float, optional
        The training loss, penalty included, if it is known already.
    """
    network = classifier.network_
    if value is None:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is an error, not a warning
            logits = logits_of(network, training.X, classifier.engine_)
            value = float(loss.value(logits, training.targets, training.weights))
            value += penalty(network, classifier.alpha, training.total)
    classifier.loss_ = value
    classifier.loss_curve_.append(value)
    say(classifier, f"Iteration {classifier.n_iter_}, loss = {value:.8f}")
    validates = classifier.early_stopping and classifier.solver != "lbfgs"  # it is that part that ends the training
    if not validates:
        classifier.best_loss_ = value if classifier.best_loss_ is None else min(classifier.best_loss_, value)
    if validation is None:
        return value
    validation_loss, score = _validate(classifier, loss, validation)
    if not validates:
        return value
    return validation_loss if classifier.monitor == "loss" else -score


def _validate(classifier: MLPClassifier, loss: Loss, validation: Samples) -> tuple[float, float]:
    """Add loss and accuracy on the validation part to their curves, and return them."""
    logits = logits_of(classifier.network_, validation.X, classifier.engine_)
    value = float(loss.value(logits, validation.targets, validation.weights))
    predicted = classifier._label_binarizer.inverse_transform(classifier._probabilities(logits))
    score = float(accuracy_score(validation.y, predicted, sample_weight=validation.weights))
    if classifier.validation_scores_ is None or classifier.validation_loss_curve_ is None:
        classifier.validation_scores_, classifier.validation_loss_curve_ = [], []
    classifier.validation_scores_.append(score)
    classifier.validation_loss_curve_.append(value)
    classifier.best_validation_score_ = max(classifier.best_validation_score_ or 0.0, score)
    say(classifier, f"Validation score: {score:f}, loss = {value:.8f}")
    return value, score


def add_flow(classifier: MLPClassifier, table: dict[str, np.ndarray]) -> None:
    """Append what was recorded to `flow_`, without the axis of replicas."""
    flow = {name: values[..., 0] if values.ndim == 3 else values for name, values in table.items()}
    if known := getattr(classifier, "flow_", None):
        if len(flow["epoch"]) > 1 and flow["epoch"][0] == flow["epoch"][1]:  # the first step, which continues
            flow = {name: values[1:] for name, values in flow.items()}
        flow["step"], flow["epoch"] = flow["step"] + known["step"][-1] + 1, flow["epoch"] + known["epoch"][-1] + 1
        flow = {name: np.concatenate([known[name], values]) for name, values in flow.items()}
    classifier.flow_ = flow


def say(classifier: MLPClassifier, text: str) -> None:
    """Print a line, if the classifier is verbose."""
    if classifier.verbose:
        print(text)


def penalty(network: Network, alpha: float, total: float) -> float:
    """Compute ½·alpha·Σ W², divided by the sum of the samples' weights."""
    return float(0.5 * alpha / total * np.sum(network.weight_mask * network.params**2))


def logits_of(network: Network, X: Any, engine: str) -> np.ndarray:
    """Compute the logits of all rows; by the layers where the compiled engine cannot run."""
    if isinstance(X, np.ndarray):
        with suppress(EngineError):
            return predict(network, X, engine=engine)
    return predict(network, X, engine="plain")
