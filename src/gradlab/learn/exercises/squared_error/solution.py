"""The squared error of a sigmoid, and its gradient.

The last layer of a network gives logits z. Its outputs are a = σ(z) with σ(z) = 1/(1 + e^(−z)), and they are to be near
the targets t. How far they are is told by one number, the loss: half the squared error, summed over the k outputs and
averaged over the n samples:

    L = 1/(2n) · Σ_i Σ_k (σ(z_ik) − t_ik)²

Write two functions:

- squared_error: L;
- squared_error_gradient: dL/dz. This is what backpropagation begins with.

To derive, with a_ik = σ(z_ik):

    dL/da_ik = …               one term of the sum holds a_ik; mind the ½, and the mean
    da/dz    = …               the slope of σ, written with a
    dL/dz_ik = dL/da_ik · …

Shapes: z, t and dL/dz are (n, k); L is one number.

How to start: take n = k = 1 and write L as a function of one z. It has two functions inside one another, so the chain
rule gives you two factors. Then ask what n > 1 changes.

An example:

>>> z, t = np.array([[0.0], [0.0]]), np.array([[1.0], [0.0]])
>>> squared_error(z, t)  # ½·(0.5² + 0.5²)/2
0.125
>>> print(squared_error_gradient(z, t))
[[-0.0625]
 [ 0.0625]]
"""

import numpy as np

EXERCISE = "squared_error"


def squared_error(z: np.ndarray, t: np.ndarray) -> float:
    """Compute half the squared error of σ(z), summed over the outputs, mean over the samples.

    Parameters
    ----------
    z : ndarray (n, k)
        Logits. No argument is changed.
    t : ndarray (n, k)
        Targets.

    Returns
    -------
    float
    """
    a = 1.0 / (1.0 + np.exp(-z))
    # np.sum adds over samples and outputs; only the number of samples, n, divides it.
    return float(np.sum((a - t) ** 2) / (2 * len(z)))


def squared_error_gradient(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Compute dL/dz of the squared error.

    Parameters
    ----------
    z : ndarray (n, k)
        Logits. No argument is changed.
    t : ndarray (n, k)
        Targets.

    Returns
    -------
    dz : ndarray (n, k)
        The gradient of the mean over the samples; a new array.
    """
    a = 1.0 / (1.0 + np.exp(-z))
    # Of all terms of L only 1/(2n)·(a_ik − t_ik)² holds a_ik. The exponent 2 cancels the ½: dL/da_ik = (a_ik − t_ik)/n.
    da = (a - t) / len(z)
    # a_ik depends on z_ik with the slope of the sigmoid, a·(1 − a); the chain rule multiplies by it.
    return da * a * (1.0 - a)
