"""Answers to the exercise dense_backward."""

import numpy as np

from answer_bank import right, wrong


@right("dense_backward", "dense_backward", style="einsum")
def by_einsum(dy, x, W):
    return np.einsum("im,jm->ij", dy, W), np.einsum("ij,im->jm", x, dy), np.einsum("im->m", dy)[None, :]


@right("dense_backward", "dense_backward", style="loops over entries")
def by_loops(dy, x, W):
    n, d = x.shape
    k = W.shape[1]
    dx, dW, db = np.zeros((n, d)), np.zeros((d, k)), np.zeros((1, k))
    for i in range(n):
        for m in range(k):
            db[0, m] += dy[i, m]
            for j in range(d):
                dx[i, j] += dy[i, m] * W[j, m]
                dW[j, m] += dy[i, m] * x[i, j]
    return dx, dW, db


@right("dense_backward", "dense_backward", style="transposed and back")
def by_transposes(dy, x, W):
    delta, activations, weights = dy.T, x.T, W.T
    return (weights.T @ delta).T, (delta @ activations.T).T, delta.sum(axis=1).reshape(1, -1)


@right("dense_backward", "dense_backward", style="sum of outer products")
def by_outer(dy, x, W):
    dW = sum(np.outer(a, d) for a, d in zip(x, dy))
    return np.dot(dy, W.T), dW, sum(dy).reshape(1, -1)


@right("dense_backward", "dense_backward", style="list comprehension")
def by_lists(dy, x, W):
    dx = np.array([[row @ weights for weights in W] for row in dy])
    dW = np.array([[x[:, j] @ dy[:, m] for m in range(dy.shape[1])] for j in range(x.shape[1])])
    db = np.array([[column.sum() for column in dy.T]])
    return dx, dW, db


@right("dense_backward", "dense_backward", style="row of ones")
def by_ones(dy, x, W):
    ones = np.ones((1, len(dy)))
    return dy @ W.T, x.T @ dy, ones @ dy


@right("dense_backward", "dense_backward", style="out=")
def by_out(dy, x, W):
    dx, dW, db = np.empty_like(x), np.empty_like(W), np.empty((1, W.shape[1]))
    np.matmul(dy, W.transpose(), out=dx)
    np.matmul(x.transpose(), dy, out=dW)
    dy.sum(axis=0, out=db[0])
    return dx, dW, db


def _inputs(dy, W):
    return np.tensordot(dy, W, axes=(1, 1))


def _weights(dy, x):
    return np.tensordot(x, dy, axes=(0, 0))


@right("dense_backward", "dense_backward", style="helpers")
def by_helpers(dy, x, W):
    return _inputs(dy, W), _weights(dy, x), dy.mean(axis=0, keepdims=True) * len(dy)


@right("dense_backward", "dense_backward", style="bias as a weight")
def by_column_of_ones(dy, x, W):
    joint = np.column_stack([x, np.ones(len(x))]).T @ dy
    return dy @ W.T, joint[:-1], joint[-1:]


@wrong("dense_backward", "dense_backward", mistake="mean twice")
def weights_divided_by_n(dy, x, W):
    n = x.shape[0]
    return dy @ W.T, x.T @ dy / n, dy.sum(axis=0, keepdims=True) / n


@wrong("dense_backward", "dense_backward", mistake="mean twice")
def everything_divided_by_n(dy, x, W):
    d = dy / len(dy)
    return d @ W.T, x.T @ d, d.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="transposed")
def weight_gradient_transposed(dy, x, W):
    return dy @ W.T, dy.T @ x, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="transposed")
def weight_gradient_forced_into_shape(dy, x, W):
    return dy @ W.T, (dy.T @ x).reshape(W.shape), dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="transposed")
def input_gradient_transposed(dy, x, W):
    return W @ dy.T, x.T @ dy, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="sign")
def all_negated(dy, x, W):
    return -dy @ W.T, -x.T @ dy, -dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="sign")
def bias_negated(dy, x, W):
    return dy @ W.T, x.T @ dy, -dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="wrong axis")
def bias_summed_over_everything(dy, x, W):
    return dy @ W.T, x.T @ dy, np.full((1, W.shape[1]), dy.sum())


@wrong("dense_backward", "dense_backward", mistake="wrong layer")
def weight_gradient_from_dx(dy, x, W):
    dx = dy @ W.T
    return dx, dx.T @ dy, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="wrong layer")
def input_gradient_from_y(dy, x, W):
    y = x @ W
    return y @ W.T, x.T @ dy, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="dropped term")
def weight_gradient_of_last_sample(dy, x, W):
    for sample, delta in zip(x, dy):
        dW = np.outer(sample, delta)
    return dy @ W.T, dW, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="dropped term")
def bias_of_first_sample(dy, x, W):
    return dy @ W.T, x.T @ dy, dy[:1].copy()


@wrong("dense_backward", "dense_backward", mistake="factor")
def weight_gradient_doubled(dy, x, W):
    return dy @ W.T, 2 * x.T @ dy, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="changes input")
def bias_summed_into_dy(dy, x, W):
    dx, dW = dy @ W.T, x.T @ dy
    db = dy[:1]
    for row in dy[1:]:
        db += row
    return dx, dW, db


@wrong("dense_backward", "dense_backward", mistake="changes input")
def input_gradient_into_x(dy, x, W):
    dW = x.T @ dy
    dx = x
    dx[:] = dy @ W.T
    return dx, dW, dy.sum(axis=0, keepdims=True)


@wrong("dense_backward", "dense_backward", mistake="dtype")
def weight_gradient_in_single_precision(dy, x, W):
    dW = np.zeros(W.shape, dtype=np.float32)
    for sample, delta in zip(x, dy):
        dW += np.outer(sample, delta).astype(np.float32)
    return dy @ W.T, dW, dy.sum(axis=0, keepdims=True)
