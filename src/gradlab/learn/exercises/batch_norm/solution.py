"""Batch normalisation, forward and backward.

Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167) gives each feature mean 0 and variance 1 over the batch,
then scales and shifts it by what is learnt. For feature j, over the n samples i:

    mean_j = 1/n · Σ_i x_ij
    variance_j = 1/n · Σ_i (x_ij − mean_j)²
    s_j = √(variance_j + epsilon)
    x̂_ij = (x_ij − mean_j)/s_j
    y_ij = gamma_j·x̂_ij + beta_j

Write two functions:

- batch_norm: y;
- batch_norm_backward: dL/dx, dL/dgamma and dL/dbeta, from dL/dy.

To derive:

    dL/dgamma_j = …,   dL/dbeta_j = …        as in a dense layer: which y do they change?
    dL/dx̂_ij = …
    dL/dvariance_j = Σ_i dL/dx̂_ij · …        every x̂ of the feature depends on its variance
    dL/dmean_j = Σ_i dL/dx̂_ij · …            and on its mean
    dL/dx_ij = dL/dx̂_ij · … + dL/dvariance_j · … + dL/dmean_j · …

The last line is the point of the exercise: x_ij acts in three ways, on its own x̂ and, through mean and variance, on
those of all other samples.

Shapes: x, y, dL/dy and dL/dx are (n, d); gamma, beta, their gradients, mean and variance are (1, d).

How to start: on paper, with one feature. To see whether dL/dx can be right: moving all x of a feature by the same
number does not change y, so each column of dL/dx must sum to 0.

An example:

>>> x = np.array([[1.0], [3.0]])
>>> print(batch_norm(x, np.array([[10.0]]), np.array([[5.0]]), epsilon=0.0))
[[-5.]
 [15.]]
"""

import numpy as np

EXERCISE = "batch_norm"


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> np.ndarray:
    """Normalise each feature over the batch, then scale by gamma and shift by beta.

    Parameters
    ----------
    x : ndarray (n, d)
        The samples. No argument is changed.
    gamma, beta : ndarray (1, d)
    epsilon : float
        Added to the variance, which is the biased one: divided by n.

    Returns
    -------
    y : ndarray (n, d)
        A new array.
    """
    centred = x - np.mean(x, axis=0, keepdims=True)
    variance = np.mean(centred**2, axis=0, keepdims=True)
    return gamma * centred / np.sqrt(variance + epsilon) + beta


def batch_norm_backward(
    dy: np.ndarray, x: np.ndarray, gamma: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the three gradients of batch normalisation.

    Parameters
    ----------
    dy : ndarray (n, d)
        dL/dy, with the mean over the samples already in it. No argument is changed.
    x : ndarray (n, d)
        What went in.
    gamma : ndarray (1, d)
    epsilon : float
        Added to the variance.

    Returns
    -------
    dx : ndarray (n, d)
        dL/dx.
    dgamma, dbeta : ndarray (1, d)
        dL/dgamma and dL/dbeta, summed over the samples.
    """
    n = len(x)
    centred = x - np.mean(x, axis=0, keepdims=True)
    s = np.sqrt(np.mean(centred**2, axis=0, keepdims=True) + epsilon)
    normalised = centred / s
    # gamma_j changes y_ij of every sample, with slope x̂_ij, and beta_j with slope 1; x̂_ij changes y_ij with slope
    # gamma_j.
    dgamma = np.sum(dy * normalised, axis=0, keepdims=True)
    dbeta = np.sum(dy, axis=0, keepdims=True)
    dnormalised = dy * gamma
    # x̂ = (x − mean)·(variance + epsilon)^(−½), so by the variance its slope is −½·(x − mean)/s³.
    dvariance = np.sum(dnormalised * centred, axis=0, keepdims=True) * -0.5 / s**3
    # By the mean its slope is −1/s. The variance depends on the mean too, but with slope −2/n·Σ_i (x_i − mean) = 0.
    dmean = -np.sum(dnormalised, axis=0, keepdims=True) / s
    # x_ij acts in three ways: on its own x̂, with slope 1/s; on the variance, with slope 2/n·(x_ij − mean); on the
    # mean, with slope 1/n.
    dx = dnormalised / s + dvariance * 2.0 * centred / n + dmean / n
    return dx, dgamma, dbeta
