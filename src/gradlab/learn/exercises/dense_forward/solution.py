"""A dense layer, forward.

A dense layer has d inputs and k outputs. Each output is a weighted sum of all inputs, and a bias of its own. For
sample i and output m,

    y_im = Σ_j x_ij·W_jm + b_m

so that W_jm is the weight from input j to output m. Write one function, dense: y from x, W and b, for all samples at
once.

Shapes:

    x   (n, d)    n samples of d features, a sample a row
    W   (d, k)
    b   (1, k)    a row; it belongs to the outputs, and every sample gets the same one
    y   (n, k)

How to start: write it with three loops first, over i, m and j, if you like: that is right, and slow. Then find what of
linear algebra the sum over j is. Check the shapes: only one order of the factors fits.

An example, one sample of two features and three outputs:

>>> x = np.array([[1.0, 2.0]])
>>> W = np.array([[1.0, 0.0, -1.0], [0.5, 3.0, 1.0]])
>>> b = np.array([[0.0, 0.0, 10.0]])
>>> print(dense(x, W, b))  # 1·1 + 2·0.5, 1·0 + 2·3, 1·(−1) + 2·1 + 10
[[ 2.  6. 11.]]
"""

import numpy as np

EXERCISE = "dense_forward"


def dense(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the output of a dense layer for every sample.

    Parameters
    ----------
    x : ndarray (n, d)
        The samples. No argument is changed.
    W : ndarray (d, k)
    b : ndarray (1, k)

    Returns
    -------
    y : ndarray (n, k)
        A new array.
    """
    # Σ_j x_ij·W_jm is row i of x times column m of W: entry (i, m) of the matrix product, for which Python has @.
    # b has one row, the product has n; NumPy adds that row to each of them.
    return x @ W + b
