"""The cross-entropy of a sigmoid, for any logit, and its gradient.

The last layer of a network gives logits z, and p = σ(z) = 1/(1 + e^(−z)) is the probability that the answer is yes. The
targets t are 1 for yes and 0 for no, or anything between. The loss is the binary cross-entropy, summed over the k
outputs and averaged over the n samples:

    L = −1/n · Σ_i Σ_k ( t_ik·log p_ik + (1 − t_ik)·log(1 − p_ik) )

Write two functions:

- cross_entropy: L;
- cross_entropy_gradient: dL/dz.

To derive:

    dL/dp_ik = …
    dp/dz    = …               the slope of σ, written with p
    dL/dz_ik = …               multiply the two; much of it cancels

Both must be right for z = ±1000 too, where e^1000 is not a number that a computer holds, p rounds to 0 or 1, and log 0
is −∞. The loss itself is harmless there: for z = 1000 and t = 0 it is 1000. So write log p and log(1 − p) as functions
of z, and simplify, before you compute anything:

    log p = −log(1 + e^(…)),     log(1 − p) = …

np.logaddexp(u, v) computes log(e^u + e^v) without overflow, whatever u and v are; and 1 = e^0.

Shapes: z, t and dL/dz are (n, k); L is one number.

An example:

>>> z, t = np.array([[0.0], [1000.0]]), np.array([[1.0], [0.0]])
>>> cross_entropy(z[:1], t[:1]), cross_entropy(z[1:], t[1:])  # log 2, and 1000
(0.6931471805599453, 1000.0)
"""

import numpy as np

EXERCISE = "cross_entropy"


def cross_entropy(z: np.ndarray, t: np.ndarray) -> float:
    """Compute the binary cross-entropy of σ(z), summed over the outputs, mean over the samples.

    Parameters
    ----------
    z : ndarray (n, k)
        Logits of any size. No argument is changed.
    t : ndarray (n, k)
        Targets, from 0 to 1.

    Returns
    -------
    float
    """
    # log p = −log(1 + e^(−z)), and log(1 − p) = log(e^(−z)/(1 + e^(−z))) = −z − log(1 + e^(−z)) = −log(1 + e^z).
    # The first is also z − log(1 + e^z). Put both into the sum:
    #   −t·(z − log(1 + e^z)) + (1 − t)·log(1 + e^z) = log(1 + e^z) − t·z
    return float(np.sum(np.logaddexp(0.0, z) - t * z) / len(z))


def cross_entropy_gradient(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute dL/dz of the binary cross-entropy.

    Parameters
    ----------
    z : ndarray (n, k)
        Logits of any size. No argument is changed.
    t : ndarray (n, k)
        Targets, from 0 to 1.

    Returns
    -------
    dz : ndarray (n, k)
        The gradient of the mean over the samples; a new array.
    """
    # n·dL/dp = −t/p + (1 − t)/(1 − p) = (p − t)/(p·(1 − p)), and dp/dz = p·(1 − p): the product is p − t.
    # For p without overflow: log p = −log(1 + e^(−z)), as above, so p is the exponential of that.
    p = np.exp(-np.logaddexp(0.0, -z))
    return (p - t) / len(z)
