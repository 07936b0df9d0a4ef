"""The sigmoid and its slope.

The sigmoid σ(x) = 1/(1 + e^(−x)) turns any number into one between 0 and 1, each number on its own: y_ij = σ(x_ij).
Further on, a loss L is computed from y. Going backward you are given dL/dy, and hand on dL/dx.

Write two functions:

- sigmoid: y from x;
- sigmoid_backward: dL/dx from dL/dy, and from the x and y of the way forward.

To derive:

    dL/dx_ij = dL/dy_ij · …        since x_ij changes no other number than y_ij
    dy/dx    = …                   differentiate σ, then write the result with y alone

Shapes: x, y, dL/dy and dL/dx all have the same one, whatever it is.

How to start: write σ as (1 + e^(−x)) to the power −1 and use the chain rule; e^(−x) is then 1/y − 1. To see whether
your slope can be right, compare with the curve: it is steepest at x = 0, with a slope of ¼, and flat far out on both
sides.

An example:

>>> y = sigmoid(np.array([[0.0, 2.0]]))
>>> print(y.round(4))
[[0.5    0.8808]]
>>> print(sigmoid_backward(np.array([[1.0, 10.0]]), np.array([[0.0, 2.0]]), y).round(4))
[[0.25   1.0499]]
"""

import numpy as np

EXERCISE = "sigmoid"


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Compute σ of each number.

    Parameters
    ----------
    x : ndarray (n, d)
        Left as it is.

    Returns
    -------
    y : ndarray (n, d)
        A new array.
    """
    # The formula, entry by entry: NumPy's exp and arithmetic act on every number of an array.
    return 1.0 / (1.0 + np.exp(-x))


def sigmoid_backward(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute dL/dx of the sigmoid.

    Parameters
    ----------
    dy : ndarray (n, d)
        dL/dy. No argument is changed.
    x, y : ndarray (n, d)
        What went into the sigmoid, and what came out.

    Returns
    -------
    dx : ndarray (n, d)
        dL/dx, a new array.
    """
    # Let u = 1 + e^(−x), so y = 1/u.
    #   dy/du = −1/u² = −y²      and      du/dx = −e^(−x) = −(u − 1) = −(1/y − 1)
    # Their product is the slope: y²·(1/y − 1) = y − y² = y·(1 − y). It needs y only; x is not used.
    # Each x_ij acts on its own y_ij alone, so the chain rule is one product, entry by entry.
    return dy * y * (1.0 - y)
