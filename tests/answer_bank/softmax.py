"""Answers to the exercise softmax."""

import math

import numpy as np

from answer_bank import right, wrong

VALUE, GRADIENT = "softmax_cross_entropy", "softmax_cross_entropy_gradient"


def probabilities(z):
    e = np.exp(z - z.max(axis=1)[:, None])
    return e / e.sum(axis=1)[:, None]


def log_sum(z):
    top = z.max(axis=1)
    return top + np.log(np.sum(np.exp(z - top[:, None]), axis=1))


@right("softmax", VALUE, style="log of the sum, then targets")
def by_log_sum(z, t):
    return np.mean(log_sum(z) - np.sum(t * z, axis=1))


@right("softmax", VALUE, style="loops over entries")
def by_loops(z, t):
    total = 0.0
    for i in range(len(z)):
        top = max(z[i])
        log_total = top + math.log(sum(math.exp(v - top) for v in z[i]))
        for k in range(z.shape[1]):
            total -= t[i, k] * (z[i, k] - log_total)
    return total / len(z)


@right("softmax", VALUE, style="logaddexp.reduce")
def by_reduce(z, t):
    return -(t * (z - np.logaddexp.reduce(z, axis=1, keepdims=True))).sum() / z.shape[0]


@right("softmax", VALUE, style="einsum, 0-d array")
def by_einsum(z, t):
    return np.array(log_sum(z).mean() - np.einsum("ik,ik->", z, t) / len(z))


@right("softmax", VALUE, style="sample by sample")
def by_samples(z, t):
    losses = []
    for row, target in zip(z, t):
        shifted = row - np.max(row)
        losses.append(-target @ (shifted - np.log(np.exp(shifted).sum())))
    return np.mean(losses)


@right("softmax", GRADIENT, style="helper")
def gradient_by_helper(z, t):
    return (probabilities(z) - t) / z.shape[0]


@right("softmax", GRADIENT, style="loops over entries")
def gradient_by_loops(z, t):
    n, k = z.shape
    dz = np.zeros((n, k))
    for i in range(n):
        top = max(z[i])
        total = sum(math.exp(v - top) for v in z[i])
        for j in range(k):
            dz[i, j] = (math.exp(z[i, j] - top) / total - t[i, j]) / n
    return dz


@right("softmax", GRADIENT, style="exp of log p")
def gradient_by_log(z, t):
    return (np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True)) - t) / len(z)


@right("softmax", GRADIENT, style="Jacobian by einsum")
def gradient_by_jacobian(z, t):
    p = probabilities(z)
    slopes = np.eye(z.shape[1])[None, :, :] - p[:, None, :]  # of log p_k by z_m
    return -np.einsum("ik,ikm->im", t, slopes) / len(z)


@right("softmax", GRADIENT, style="transposed and back")
def gradient_by_transposes(z, t):
    e = np.exp(z.T - z.T.max(axis=0))
    return (e / e.sum(axis=0) - t.T).T / len(z)


@right("softmax", GRADIENT, style="out=")
def gradient_by_out(z, t):
    dz = z - z.max(axis=1, keepdims=True)
    np.exp(dz, out=dz)
    dz /= dz.sum(axis=1, keepdims=True)
    dz -= t
    dz /= len(z)
    return dz


@wrong("softmax", VALUE, mistake="stability")
def by_the_book(z, t):
    p = np.exp(z) / np.sum(np.exp(z), axis=1, keepdims=True)
    return -np.sum(t * np.log(p)) / len(z)


@wrong("softmax", VALUE, mistake="stability")
def log_of_a_rounded_probability(z, t):
    return -np.sum(t * np.log(probabilities(z) + 1e-15)) / len(z)


@wrong("softmax", VALUE, mistake="mean missing")
def summed(z, t):
    return np.sum(log_sum(z) - np.sum(t * z, axis=1))


@wrong("softmax", VALUE, mistake="wrong axis")
def mean_of_everything(z, t):
    return -np.mean(t * (z - log_sum(z)[:, None]))


@wrong("softmax", VALUE, mistake="wrong axis")
def normalised_over_the_samples(z, t):
    z = z - z.max(axis=0)
    return -np.sum(t * (z - np.log(np.exp(z).sum(axis=0)))) / len(z)


@wrong("softmax", VALUE, mistake="dropped term")
def without_the_log_sum(z, t):
    return -np.sum(t * z) / len(z)


@wrong("softmax", VALUE, mistake="changes input")
def largest_subtracted_in_place(z, t):
    z -= z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -(t * log_p).sum() / len(z)


@wrong("softmax", GRADIENT, mistake="stability")
def gradient_by_the_book(z, t):
    e = np.exp(z)
    return (e / e.sum(axis=1, keepdims=True) - t) / len(z)


@wrong("softmax", GRADIENT, mistake="mean missing")
def gradient_summed(z, t):
    return probabilities(z) - t


@wrong("softmax", GRADIENT, mistake="mean twice")
def gradient_divided_twice(z, t):
    return (probabilities(z) - t) / len(z) ** 2


@wrong("softmax", GRADIENT, mistake="wrong axis")
def gradient_normalised_over_the_samples(z, t):
    e = np.exp(z - z.max(axis=0))
    return (e / e.sum(axis=0) - t) / len(z)


@wrong("softmax", GRADIENT, mistake="wrong axis")
def gradient_normalised_over_everything(z, t):
    e = np.exp(z - z.max())
    return (e / e.sum() - t) / len(z)


@wrong("softmax", GRADIENT, mistake="wrong axis")
def gradient_divided_by_outputs(z, t):
    return (probabilities(z) - t) / z.shape[1]


@wrong("softmax", GRADIENT, mistake="sign")
def target_minus_output(z, t):
    return (t - probabilities(z)) / len(z)


@wrong("softmax", GRADIENT, mistake="dropped term")
def diagonal_only(z, t):
    p = probabilities(z)
    return -t * (1 - p) / len(z)


@wrong("softmax", GRADIENT, mistake="slope missing")
def gradient_of_the_output(z, t):
    return -t / probabilities(z) / len(z)


@wrong("softmax", GRADIENT, mistake="factor")
def doubled(z, t):
    return 2 * (probabilities(z) - t) / len(z)


@wrong("softmax", GRADIENT, mistake="changes input")
def exponentials_into_z(z, t):
    z -= np.max(z, axis=1, keepdims=True)
    np.exp(z, out=z)
    return (z / z.sum(axis=1, keepdims=True) - t) / len(z)


@wrong("softmax", GRADIENT, mistake="dtype")
def gradient_in_single_precision(z, t):
    return (probabilities(z).astype(np.float32) - t.astype(np.float32)) / len(z)
