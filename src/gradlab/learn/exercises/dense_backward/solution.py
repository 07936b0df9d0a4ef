"""A dense layer, backward.

A dense layer computes, for sample i and output m,

    y_im = Σ_j x_ij·W_jm + b_m

Further on, a loss L is computed from y. You are given dL/dy, and want to know how L changes with the weights and the
bias, which are to learn, and with x, which the layer below will need. Write one function, dense_backward, which returns
all three.

To derive, by the chain rule: add up the effects on all y that the number in question changes.

    dL/dW_jm = Σ_i dL/dy_im · …       W_jm changes y_im of every sample i; with which slope?
    dL/db_m  = Σ_i …                  which y does b_m change?
    dL/dx_ij = Σ_? dL/dy_… · …        which y does x_ij change? not only one of them

Shapes:

    x, dL/dx   (n, d)
    W, dL/dW   (d, k)
    b, dL/db   (1, k)
    dL/dy      (n, k)

The loss is a mean over the samples, but dL/dy already holds that 1/n. So here are sums, and no division by n.

How to start: find the three sums on paper. Then write each as a product of two matrices, one of them perhaps
transposed. A gradient has the shape of what it belongs to: that decides the order.

An example with one sample, so that there is nothing to add up over i:

>>> dx, dW, db = dense_backward(np.array([[1.0, 10.0]]), np.array([[2.0, 3.0]]), np.array([[1.0, 0.0], [5.0, 1.0]]))
>>> print(dx, db)
[[ 1. 15.]] [[ 1. 10.]]
"""

import numpy as np

EXERCISE = "dense_backward"


def dense_backward(dy: np.ndarray, x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the three gradients of a dense layer.

    Parameters
    ----------
    dy : ndarray (n, k)
        dL/dy, with the mean over the samples already in it. No argument is changed.
    x : ndarray (n, d)
        What went into the layer.
    W : ndarray (d, k)

    Returns
    -------
    dx : ndarray (n, d)
        dL/dx.
    dW : ndarray (d, k)
        dL/dW, summed over the samples.
    db : ndarray (1, k)
        dL/db, summed over the samples.
    """
    # x_ij changes all k outputs of its own sample, y_im with slope W_jm: dL/dx_ij = Σ_m dL/dy_im·W_jm.
    # The sum runs over the columns of both, so W is transposed for the product: (n, k) times (k, d).
    dx = dy @ W.T
    # W_jm changes the output m of every sample, y_im with slope x_ij: dL/dW_jm = Σ_i x_ij·dL/dy_im.
    # The sum runs over the rows of both, so x is transposed: (d, n) times (n, k).
    dW = x.T @ dy
    # b_m changes the same y_im, with slope 1: dL/db_m = Σ_i dL/dy_im. keepdims leaves it a row, shaped like b.
    db = np.sum(dy, axis=0, keepdims=True)
    return dx, dW, db
