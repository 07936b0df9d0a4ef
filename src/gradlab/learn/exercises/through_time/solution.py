"""Backpropagation through time.

A recurrent layer reads a sequence of T steps, and carries a state h from step to step, with the same weights each time:

    h_t = tanh(x_t·W + h_(t−1)·U + b)      for t = 0 … T − 1, with a state of zeros before the first step

The loss L is computed from the last state alone. You are given dL/dh of that last step, and want the gradients of
everything that went in. Unrolled, this is a network as deep as the sequence is long, whose layers share their weights.

Write two functions:

- recurrent: all states;
- recurrent_backward: dL/dx, dL/dW, dL/dU and dL/db.

To derive, with a_t = x_t·W + h_(t−1)·U + b, from the last step to the first:

    dL/da_t = dL/dh_t · …                  the slope of tanh, written with h_t = tanh(a_t)
    dL/dh_(t−1) = …                        how does h_(t−1) reach L? only through a_t, unless it is the last
    dL/dx_t = …
    dL/dW = Σ_t …,  dL/dU = Σ_t …,  dL/db = Σ_t …       all steps use the same weights, so all add to their gradients

Shapes: x and dL/dx (T, n, d), h (T, n, m), dL/dh (n, m), W (d, m), U (m, m), b (1, m); x[t] is step t of all n samples.

How to start: for T = 1 this is a dense layer and a tanh. Solve T = 2 on paper, then write the loop that runs backward.
Which state stands before step 0, and what does that mean for dL/dU?

An example, one number that is halved and squashed twice:

>>> x, W, U, b = np.array([[[1.0]], [[0.0]]]), np.array([[0.5]]), np.array([[0.5]]), np.zeros((1, 1))
>>> print(recurrent(x, W, U, b).round(4).ravel())  # tanh(0.5·1), then tanh(0.5·0.4621)
[0.4621 0.227 ]
"""

import numpy as np

EXERCISE = "through_time"


def recurrent(x: np.ndarray, W: np.ndarray, U: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute the states of a recurrent layer at every step.

    Parameters
    ----------
    x : ndarray (T, n, d)
        The sequences, step after step. No argument is changed.
    W : ndarray (d, m)
    U : ndarray (m, m)
    b : ndarray (1, m)

    Returns
    -------
    h : ndarray (T, n, m)
        A new array: h[t] is the state after step t.
    """
    state = np.zeros((x.shape[1], W.shape[1]))
    states = []
    for x_t in x:
        state = np.tanh(x_t @ W + state @ U + b)
        states.append(state)
    return np.array(states)


def recurrent_backward(
    dy: np.ndarray, x: np.ndarray, h: np.ndarray, W: np.ndarray, U: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute the four gradients of a recurrent layer, if the loss depends on its last state.

    Parameters
    ----------
    dy : ndarray (n, m)
        dL/dh of the last step, with the mean over the samples already in it. No argument is changed.
    x, h : ndarray (T, n, d), (T, n, m)
        The sequences, and the states that came out.
    W, U : ndarray (d, m), (m, m)

    Returns
    -------
    dx : ndarray (T, n, d)
        dL/dx.
    dW, dU, db : ndarray (d, m), (m, m), (1, m)
        dL/dW, dL/dU and dL/db, summed over the steps and the samples.
    """
    dx = np.zeros(x.shape)
    dW = np.zeros(W.shape)
    dU = np.zeros(U.shape)
    db = np.zeros((1, W.shape[1]))
    dh = dy
    for t in reversed(range(len(x))):
        # tanh' = 1 − tanh², and tanh(a_t) is h_t.
        da = dh * (1.0 - h[t] ** 2)
        # a_t is a dense layer of x_t; the weights are those of every other step, so its part is added to theirs.
        dW += x[t].T @ da
        db += np.sum(da, axis=0, keepdims=True)
        dx[t] = da @ W.T
        # a_t is a dense layer of h_(t−1) too. Before step 0 the state is zero, and so is its part in dL/dU.
        if t > 0:
            dU += h[t - 1].T @ da
        # h_(t−1) has no other way to the loss than through a_t.
        dh = da @ U.T
    return dx, dW, dU, db
