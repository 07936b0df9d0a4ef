"""The solvers sgd and adam: mini-batches, epoch after epoch, until the loss no longer improves."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from gradlab.estimators.curves import add_flow, add_losses, say
from gradlab.estimators.samples import Samples
from gradlab.flow import FlowRecorder
from gradlab.nn import SGD, Adam, Loss, Network, Optimizer
from gradlab.training import DivergenceError, Step, train
from gradlab.training.stopping import Best

if TYPE_CHECKING:
    from gradlab.estimators.classifier import MLPClassifier

FLOW = ("weight_gradient_norm", "weight_norm")  # what record_flow keeps of each layer
LOWEST_RATE = 1e-6  # at which learning_rate="adaptive" gives up
USERS_CALL = 5  # how far up the stack a warning points: past here, _fit, fit and scikit-learn's context


def descend(
    classifier: MLPClassifier,
    loss: Loss,
    training: Samples,
    validation: Samples | None,
    generator: np.random.RandomState,
    incremental: bool,
) -> None:
    """Train `network_`, and keep the curves; with early stopping, put the best weights back.

    Parameters
    ----------
    classifier : MLPClassifier
        Its parameters say how; its curves and counts are written.
    loss : Loss
    training, validation : Samples
    generator : RandomState
        Of the batches.
    incremental : bool
        One epoch, with the optimizer of the call before.

    Raises
    ------
    DivergenceError
        When a number of a step is no longer finite.
    """
    network, n = classifier.network_, training.X.shape[0]
    batch_size = min(200, n) if classifier.batch_size == "auto" else int(classifier.batch_size)
    if batch_size > n:
        warnings.warn("Got `batch_size` larger than sample size. It is going to be clipped", stacklevel=USERS_CALL)
    optimizer, best = classifier._optimizer, classifier._best = _begin(classifier, network, incremental)
    recorder = FlowRecorder(every="epoch", what=FLOW)
    classifier.n_iter_, best_loss, rate = 0, math.nan, optimizer.learning_rate
    steps = train(
        network,
        loss,
        optimizer,
        training.X,
        training.targets,
        epochs=1 if incremental else classifier.max_iter,
        batch_size=batch_size,
        weights=training.weights,
        shuffle=(lambda order: order[generator.permutation(n)]) if classifier.shuffle else False,
        alpha=classifier.alpha,
        clip_norm=classifier.clip_norm,
        engine=classifier.engine_ if classifier.engine == "auto" else classifier.engine,
        each="epoch",
        record=FLOW if classifier.record_flow else (),
        record_every="epoch",
    )
    try:
        for step in steps:
            if classifier.record_flow:
                recorder(step)
            lowest = best.score
            best.take(_end_epoch(classifier, step, loss, training, validation))
            if best.score < lowest:
                best_loss, classifier._has_best = classifier.loss_, classifier.early_stopping
            rate = _scheduled_rate(classifier, optimizer, rate)
            if _ended_by_callbacks(classifier, step):
                break
            if best.waited >= _patience(classifier):
                slower = _rate_after_waiting(classifier, rate)
                if slower is None:
                    break
                rate = _change_rate(optimizer, slower)
                best.waited = np.zeros_like(best.waited)
            if classifier.n_iter_ == classifier.max_iter and not incremental:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({classifier.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=USERS_CALL,
                )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=USERS_CALL)
    finally:
        steps.close()  # type: ignore[attr-defined]  # it puts the rate back with which it began
        optimizer.learning_rate = rate
        if classifier._has_best:
            best.roll_back()
            classifier.loss_ = best_loss
    if classifier.record_flow and classifier.n_iter_:
        add_flow(classifier, recorder.table())


def _begin(classifier: MLPClassifier, network: Network, incremental: bool) -> tuple[Optimizer, Best]:
    """Return the optimizer and the best score: new ones, or those of the call before."""
    optimizer, best = getattr(classifier, "_optimizer", None) if incremental else None, Best(network, classifier.tol)
    if isinstance(optimizer, {"adam": Adam, "sgd": SGD}[classifier.solver]):
        best.restore(classifier._best.state())
        return optimizer, best
    if classifier.solver == "adam":
        betas = classifier.beta_1, classifier.beta_2
        return Adam(classifier.learning_rate_init, *betas, classifier.epsilon, epsilon_hat=True), best
    nesterov = classifier.nesterovs_momentum and classifier.momentum > 0.0
    return SGD(classifier.learning_rate_init, classifier.momentum, nesterov), best


def _end_epoch(
    classifier: MLPClassifier, step: Step, loss: Loss, training: Samples, validation: Samples | None
) -> float:
    """Count an epoch, and add to the curves; return the score that stopping depends on."""
    classifier.engine_ = step.engine
    classifier.n_iter_ += 1
    classifier.t_ += training.X.shape[0]
    classifier.running_loss_curve_.append(float(step.running_loss))
    score = add_losses(classifier, loss, training, validation)
    if not math.isfinite(classifier.loss_):
        layers, curve = classifier.network_.layers, classifier.loss_curve_
        known, last = curve[-2] if len(curve) > 1 else math.nan, len(layers) - 1
        raise DivergenceError(step.epoch, step.index, last, "output", 0, known, repr(layers[last]))
    return score


def _scheduled_rate(classifier: MLPClassifier, optimizer: Optimizer, rate: float) -> float:
    if classifier.solver == "sgd" and classifier.learning_rate == "invscaling":
        return _change_rate(optimizer, classifier.learning_rate_init / (classifier.t_ + 1) ** classifier.power_t)
    return rate


def _ended_by_callbacks(classifier: MLPClassifier, step: Step) -> bool:
    answers: list[Any] = [callback(step) for callback in classifier.callbacks or ()]
    return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)


def _patience(classifier: MLPClassifier) -> float:
    return classifier.n_iter_no_change if classifier.patience is None else classifier.patience


def _rate_after_waiting(classifier: MLPClassifier, rate: float) -> float | None:
    """Return the next, lower rate of learning_rate="adaptive"; None if training is to stop. Say which."""
    what = f"Validation {classifier.monitor}" if classifier.early_stopping else "Training loss"
    epochs = f"{_patience(classifier)} consecutive epochs"
    reason = f"{what} did not improve by {classifier.tol:f} for {epochs}."
    if classifier.solver != "sgd" or classifier.learning_rate != "adaptive" or rate <= LOWEST_RATE:
        say(classifier, f"{reason} Stopping.")
        return None
    say(classifier, f"{reason} Setting learning rate to {rate / 5.0:f}")
    return rate / 5.0


def _change_rate(optimizer: Optimizer, rate: float) -> float:
    """Set SGD's learning rate, and return it.

    In scikit-learn the velocity contains the rates of the steps that it came from. Ours does not, so it is stretched
    by old/new: its product with the new rate then is what it was with the old.
    """
    optimizer.velocity *= optimizer.learning_rate / rate  # type: ignore[attr-defined]
    optimizer.learning_rate = rate
    return rate
