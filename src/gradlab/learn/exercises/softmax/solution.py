"""The cross-entropy of a softmax, for any logits, and its gradient.

For one answer out of k the last layer gives k logits a sample, and softmax makes probabilities of them:

    p_ik = e^(z_ik) / Σ_j e^(z_ij)

The targets t_ik are probabilities too: not negative, and Σ_k t_ik = 1 for each sample; mostly one of them is 1. The
loss is the cross-entropy, averaged over the n samples:

    L = −1/n · Σ_i Σ_k t_ik·log p_ik

Write two functions:

- softmax_cross_entropy: L;
- softmax_cross_entropy_gradient: dL/dz.

To derive, for one sample:

    log p_k = z_k − log Σ_j …
    d(log p_k)/dz_m = … − …         two cases: m = k, and m ≠ k
    dL/dz_m = −Σ_k t_k·(…)          use that the t_k sum to 1; very little is left

Both must be right for logits of ±1000 too. e^1000 overflows; but p does not change when the same number is subtracted
from all logits of one sample. Which number makes every exponent safe?

Shapes: z, t and dL/dz are (n, k); L is one number. The sums over j and k run within a row.

An example:

>>> z = np.array([[0.0, 0.0], [1000.0, 0.0]])
>>> t = np.array([[1.0, 0.0], [0.0, 1.0]])
>>> softmax_cross_entropy(z[:1], t[:1]), softmax_cross_entropy(z[1:], t[1:])  # log 2, and 1000
(0.6931471805599453, 1000.0)
"""

import numpy as np

EXERCISE = "softmax"


def softmax_cross_entropy(z: np.ndarray, t: np.ndarray) -> float:
    """Compute the cross-entropy of softmax(z), mean over the samples.

    Parameters
    ----------
    z : ndarray (n, k)
        Logits of any size. No argument is changed.
    t : ndarray (n, k)
        Targets: each row sums to 1.

    Returns
    -------
    float
    """
    # With the largest logit of each sample subtracted, the largest exponent is 0, and no exponential overflows.
    z = z - np.max(z, axis=1, keepdims=True)
    # log p_k = z_k − log Σ_j e^(z_j). The sum holds e^0 = 1, so its logarithm is harmless.
    log_p = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return float(-np.sum(t * log_p) / len(z))


def softmax_cross_entropy_gradient(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute dL/dz of the cross-entropy of softmax(z).

    Parameters
    ----------
    z : ndarray (n, k)
        Logits of any size. No argument is changed.
    t : ndarray (n, k)
        Targets: each row sums to 1.

    Returns
    -------
    dz : ndarray (n, k)
        The gradient of the mean over the samples; a new array.
    """
    # z_m is in log p_k = z_k − log Σ_j e^(z_j) twice: as z_k if m = k, with slope 1, and in the sum, whose logarithm
    # has the slope e^(z_m)/Σ_j e^(z_j) = p_m. So for one sample
    #   dL/dz_m = −Σ_k t_k·([m = k] − p_m) = −t_m + p_m·Σ_k t_k = p_m − t_m
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    p = e / np.sum(e, axis=1, keepdims=True)
    return (p - t) / len(z)
