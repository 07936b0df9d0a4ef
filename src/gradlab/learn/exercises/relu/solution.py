"""The rectifier and its slope.

ReLU(x) = max(x, 0) lets positive numbers pass and makes 0 of the others, each number on its own: y_ij = ReLU(x_ij).
Going backward you are given dL/dy, and hand on dL/dx.

Write two functions:

- relu: y from x;
- relu_backward: dL/dx from dL/dy, and from the x and y of the way forward.

To derive:

    dL/dx_ij = dL/dy_ij · …        since x_ij changes no other number than y_ij
    dy/dx    = …  if x > 0,    …  if x < 0

At x = 0 the curve has a corner and no slope. A choice has to be made; here it is ReLU'(0) = 0.

Shapes: x, y, dL/dy and dL/dx all have the same one, whatever it is.

How to start: draw the curve, and read the slope of each of its two straight parts. Then think of an array that holds
that slope for every entry of x.

An example:

>>> x = np.array([[-3.0, 0.0, 2.0]])
>>> print(relu(x))
[[0. 0. 2.]]
>>> print(relu_backward(np.array([[5.0, 6.0, 7.0]]), x, relu(x)))
[[0. 0. 7.]]
"""

import numpy as np

EXERCISE = "relu"


def relu(x: np.ndarray) -> np.ndarray:
    """Compute max(x, 0) of each number.

    Parameters
    ----------
    x : ndarray (n, d)
        Left as it is.

    Returns
    -------
    y : ndarray (n, d)
        A new array.
    """
    # np.maximum compares number by number; np.max would give the one largest number of the array.
    return np.maximum(x, 0.0)


def relu_backward(dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Compute dL/dx of the rectifier, with ReLU'(0) = 0.

    Parameters
    ----------
    dy : ndarray (n, d)
        dL/dy. No argument is changed.
    x, y : ndarray (n, d)
        What went into the rectifier, and what came out.

    Returns
    -------
    dx : ndarray (n, d)
        dL/dx, a new array.
    """
    # To the right of 0 the curve is y = x, with slope 1; to the left it is y = 0, with slope 0. The corner counts as
    # left. The comparison x > 0 gives True or False for each number, and these count as 1 and 0 in a product.
    return dy * (x > 0.0)
