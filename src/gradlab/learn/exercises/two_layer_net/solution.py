"""A network of two layers, from the data to every gradient.

The network has d inputs, m hidden sigmoids and one output. For all samples at once:

    z = x·W1 + b1          (n, m)
    a = σ(z)               (n, m)     σ(z) = 1/(1 + e^(−z))
    y = a·W2 + b2          (n, 1)     the logits

and the loss is the binary cross-entropy of p = σ(y), averaged over the n samples:

    L = −1/n · Σ_i ( t_i·log p_i + (1 − t_i)·log(1 − p_i) )

Write two functions:

- loss: L;
- backward: the four gradients, written into four arrays that are given. What stood in them before is of no account.

To derive, from the loss back to the first layer; each line needs the one before it:

    dL/dy  = …             as in the exercise cross_entropy
    dL/dW2 = …,  dL/db2 = …            y is a dense layer of a
    dL/da  = …
    dL/dz  = …             a is a sigmoid of z
    dL/dW1 = …,  dL/db1 = …            z is a dense layer of x

Shapes: x (n, d), t (n, 1), W1 (d, m), b1 (1, m), W2 (m, 1), b2 (1, 1), and each gradient as what it belongs to.

How to start: go forward and keep a and p. Then write down the shape of each array on the way back, before its formula.
To write into an array that is given, assign to all its entries, array[...] = value; array = value would only give the
name to another array.

An example: with all weights 0 every p is ½, so the loss is log 2, whatever the data are.

>>> zeros = np.zeros((2, 3)), np.zeros((1, 3)), np.zeros((3, 1)), np.zeros((1, 1))
>>> loss(np.array([[1.0, 2.0]]), np.array([[1.0]]), *zeros)
0.6931471805599453
"""

import numpy as np

EXERCISE = "two_layer_net"


def loss(x: np.ndarray, t: np.ndarray, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> float:
    """Compute the binary cross-entropy of the network, mean over the samples.

    Parameters
    ----------
    x : ndarray (n, d)
        The samples. No argument is changed.
    t : ndarray (n, 1)
        Targets, from 0 to 1.
    W1, b1 : ndarray (d, m), (1, m)
        Of the hidden layer.
    W2, b2 : ndarray (m, 1), (1, 1)
        Of the output.

    Returns
    -------
    float
    """
    a = 1.0 / (1.0 + np.exp(-(x @ W1 + b1)))
    y = a @ W2 + b2
    # The cross-entropy written with the logit: −t·log p − (1 − t)·log(1 − p) = log(1 + e^y) − t·y.
    return float(np.sum(np.logaddexp(0.0, y) - t * y) / len(x))


def backward(
    x: np.ndarray,
    t: np.ndarray,
    W1: np.ndarray,
    b1: np.ndarray,
    W2: np.ndarray,
    b2: np.ndarray,
    dW1: np.ndarray,
    db1: np.ndarray,
    dW2: np.ndarray,
    db2: np.ndarray,
) -> None:
    """Write the gradients of the loss into dW1, db1, dW2 and db2.

    Parameters
    ----------
    x : ndarray (n, d)
        The samples. This and the next five are not changed.
    t : ndarray (n, 1)
        Targets, from 0 to 1.
    W1, b1 : ndarray (d, m), (1, m)
        Of the hidden layer.
    W2, b2 : ndarray (m, 1), (1, 1)
        Of the output.
    dW1, db1, dW2, db2 : ndarray (d, m), (1, m), (m, 1), (1, 1)
        Where the gradients of the mean over the samples go; what they hold before is not used.
    """
    # Forward, keeping what the way back needs.
    a = 1.0 / (1.0 + np.exp(-(x @ W1 + b1)))
    p = np.exp(-np.logaddexp(0.0, -(a @ W2 + b2)))
    # The slopes of cross-entropy and sigmoid cancel to p − t; the mean over the samples brings 1/n, here and once only.
    dy = (p - t) / len(x)
    # The output is a dense layer that is given a: its weights' slopes are a, its bias' slopes are 1.
    dW2[...] = a.T @ dy
    db2[...] = np.sum(dy, axis=0, keepdims=True)
    # a reaches the loss through W2 only, and z through the sigmoid, with slope a·(1 − a).
    da = dy @ W2.T
    dz = da * a * (1.0 - a)
    # The hidden layer is a dense layer that is given x.
    dW1[...] = x.T @ dz
    db1[...] = np.sum(dz, axis=0, keepdims=True)
