"""Answers to the exercise dense_forward."""

import numpy as np

from answer_bank import right, wrong


@right("dense_forward", "dense", style="einsum")
def by_einsum(x, W, b):
    return np.einsum("ij,jm->im", x, W) + b


@right("dense_forward", "dense", style="loops over entries")
def by_loops(x, W, b):
    n, d = x.shape
    k = W.shape[1]
    y = np.zeros((n, k))
    for i in range(n):
        for m in range(k):
            total = b[0, m]
            for j in range(d):
                total += x[i, j] * W[j, m]
            y[i, m] = total
    return y


@right("dense_forward", "dense", style="transposed and back")
def by_transposes(x, W, b):
    return (W.T @ x.T + b.T).T


@right("dense_forward", "dense", style="sum of outer products")
def by_outer(x, W, b):
    return sum(np.outer(x[:, j], W[j]) for j in range(len(W))) + b


@right("dense_forward", "dense", style="list comprehension")
def by_samples(x, W, b):
    return np.array([sample.dot(W) + b[0] for sample in x])


@right("dense_forward", "dense", style="bias as a weight")
def by_column_of_ones(x, W, b):
    return np.hstack([x, np.ones((len(x), 1))]) @ np.vstack([W, b])


@right("dense_forward", "dense", style="out=")
def by_out(x, W, b):
    y = np.empty((x.shape[0], W.shape[1]))
    np.matmul(x, W, out=y)
    y += b
    return y


@right("dense_forward", "dense", style="broadcasting")
def by_broadcasting(x, W, b):
    return (x[:, :, None] * W[None]).sum(axis=1) + b.ravel()


@wrong("dense_forward", "dense", mistake="dropped term")
def last_feature_left_out(x, W, b):
    y = np.zeros((x.shape[0], W.shape[1])) + b
    for j in range(x.shape[1] - 1):
        y += np.outer(x[:, j], W[j])
    return y


@wrong("dense_forward", "dense", mistake="dropped term")
def product_written_over(x, W, b):
    y = np.zeros((x.shape[0], W.shape[1]))
    for j in range(x.shape[1]):
        y[:] = x[:, j : j + 1] * W[j] + b
    return y


@wrong("dense_forward", "dense", mistake="dropped term")
def bias_of_first_sample_only(x, W, b):
    y = np.dot(x, W)
    y[0] += b[0]
    return y


@wrong("dense_forward", "dense", mistake="transposed")
def result_transposed(x, W, b):
    return W.T @ x.T + b.T


@wrong("dense_forward", "dense", mistake="transposed")
def weights_read_in_the_other_order(x, W, b):
    d, k = W.shape
    return x @ W.reshape(k, d).T + b


@wrong("dense_forward", "dense", mistake="sign")
def product_negated(x, W, b):
    return -np.dot(x, W) + b


@wrong("dense_forward", "dense", mistake="factor")
def bias_in_every_product(x, W, b):
    y = np.zeros((x.shape[0], W.shape[1]))
    for j in range(x.shape[1]):
        y += np.outer(x[:, j], W[j]) + b
    return y


@wrong("dense_forward", "dense", mistake="wrong axis")
def bias_summed_over_outputs(x, W, b):
    return x @ W + b.sum(axis=1, keepdims=True)


@wrong("dense_forward", "dense", mistake="changes input")
def rows_are_views_of_the_bias(x, W, b):
    rows = []
    for sample in x:
        row = b[0]
        row += sample @ W
        rows.append(row.copy())
    return np.array(rows)


@wrong("dense_forward", "dense", mistake="changes input")
def weights_multiplied_in_place(x, W, b):
    y = np.zeros((x.shape[0], W.shape[1]))
    for i in range(x.shape[0]):
        products = W
        products *= x[i][:, None]
        y[i] = products.sum(axis=0) + b[0]
    return y


@wrong("dense_forward", "dense", mistake="dtype")
def into_integers(x, W, b):
    y = np.zeros((x.shape[0], W.shape[1]), dtype=int)
    y[:] = x @ W + b
    return y


@wrong("dense_forward", "dense", mistake="dtype")
def in_single_precision(x, W, b):
    return (x.astype("float32") @ W.astype("float32") + b).astype("float64")
