"""The solver lbfgs: SciPy's L-BFGS-B on the vector of all parameters, with the loss of all samples."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from gradlab.estimators.curves import add_losses, penalty
from gradlab.estimators.descent import USERS_CALL
from gradlab.estimators.samples import Samples
from gradlab.nn import Loss, Network
from gradlab.training import DivergenceError

if TYPE_CHECKING:
    from gradlab.estimators.classifier import MLPClassifier

ROWS_OF_A_PASS = 1024  # all rows are taken in each evaluation, so many at a time


def minimize_loss(classifier: MLPClassifier, loss: Loss, training: Samples, validation: Samples | None) -> None:
    """Find the least loss of all samples, in float64 whatever the network's type, and keep the curves.

    Raises
    ------
    DivergenceError
        If the loss or a parameter is no longer finite.
    """
    network = classifier.network_
    wide = network if network.dtype == np.float64 else network.astype(np.float64)

    def objective(params: np.ndarray) -> tuple[float, np.ndarray]:
        wide.params[...] = params
        return loss_and_gradient(wide, loss, training, classifier.alpha)

    def end_iteration(intermediate_result: Any) -> None:
        network.params[...] = last[...] = intermediate_result.x
        classifier.n_iter_ += 1
        add_losses(classifier, loss, training, validation, float(intermediate_result.fun))

    classifier.n_iter_, classifier.engine_ = 0, "plain"
    last = wide.params.copy()
    options = {"maxfun": classifier.max_fun, "maxiter": classifier.max_iter, "gtol": classifier.tol}
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            found = minimize(
                objective, wide.params.copy(), method="L-BFGS-B", jac=True, callback=end_iteration, options=options
            )
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.", stacklevel=USERS_CALL)
        network.params[...] = last  # not what was being tried
        return
    if not (math.isfinite(found.fun) and np.isfinite(found.x).all()):
        output = len(network.layers) - 1
        name = repr(network.layers[output])
        raise DivergenceError(classifier.n_iter_, int(found.nfev), output, "output", 0, math.nan, name)
    network.params[...], classifier.loss_ = found.x, float(found.fun)
    if found.status:
        warnings.warn(
            f"lbfgs failed to converge after {found.nit} iteration(s) (status={found.status}): {found.message}. "
            "More iterations (max_iter), or scaled data, may help.",
            ConvergenceWarning,
            stacklevel=USERS_CALL,
        )


def loss_and_gradient(network: Network, loss: Loss, samples: Samples, alpha: float) -> tuple[float, np.ndarray]:
    """Compute the mean loss of all samples, penalty included, and its gradient (P,)."""
    value, gradient = 0.0, np.zeros_like(network.params)
    for rows in gen_batches(samples.X.shape[0], ROWS_OF_A_PASS):
        part = samples.part(rows)
        share = part.total / samples.total
        if share == 0.0:
            continue
        x = part.X if isinstance(part.X, np.ndarray) else part.X.toarray()
        tape = network.forward(x, training=True)
        value += share * float(loss.value(tape[-1], part.targets, part.weights))
        network.backward(loss.gradient(tape[-1], part.targets, part.weights), tape)
        gradient += share * network.grads
    gradient += alpha / samples.total * network.weight_mask * network.params
    return value + penalty(network, alpha, samples.total), gradient
