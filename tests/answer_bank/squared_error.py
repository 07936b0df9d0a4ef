"""Answers to the exercise squared_error."""

import math

import numpy as np

from answer_bank import right, wrong


def sigma(x):
    return 1 / (1 + np.exp(-x))


@right("squared_error", "squared_error", style="mean of sums")
def by_mean(z, t):
    return 0.5 * np.mean(np.sum((sigma(z) - t) ** 2, axis=1))


@right("squared_error", "squared_error", style="loops over entries")
def by_loops(z, t):
    total = 0.0
    for i in range(z.shape[0]):
        for k in range(z.shape[1]):
            total += (1 / (1 + math.exp(-z[i, k])) - t[i, k]) ** 2
    return total / (2 * z.shape[0])


@right("squared_error", "squared_error", style="norm")
def by_norm(z, t):
    return np.linalg.norm(sigma(z) - t) ** 2 / 2 / len(z)


@right("squared_error", "squared_error", style="einsum, 0-d array")
def by_einsum(z, t):
    e = sigma(z) - t
    return np.asarray(np.einsum("ik,ik->", e, e) / (2.0 * len(e)))


@right("squared_error", "squared_error", style="squares multiplied out")
def by_expansion(z, t):
    a = 0.5 + 0.5 * np.tanh(z / 2)
    return ((a * a).sum() - 2 * (a * t).sum() + (t * t).sum()) / (2 * len(z))


@right("squared_error", "squared_error_gradient", style="y minus y squared")
def gradient_by_square(z, t):
    a = sigma(z)
    return (a - t) * (a - a**2) / z.shape[0]


@right("squared_error", "squared_error_gradient", style="loops over entries")
def gradient_by_loops(z, t):
    n, k = z.shape
    dz = np.empty((n, k))
    for i in range(n):
        for j in range(k):
            a = 1 / (1 + math.exp(-z[i, j]))
            dz[i, j] = (a - t[i, j]) * a * (1 - a) / n
    return dz


@right("squared_error", "squared_error_gradient", style="einsum")
def gradient_by_einsum(z, t):
    a = sigma(z)
    return np.einsum("ij,ij,ij->ij", a - t, a, 1 - a) / len(a)


@right("squared_error", "squared_error_gradient", style="cosh")
def gradient_by_cosh(z, t):
    return (sigma(z) - t) / (4 * len(z) * np.cosh(z / 2) ** 2)


@right("squared_error", "squared_error_gradient", style="out=")
def gradient_by_out(z, t):
    a = sigma(z)
    dz = np.subtract(a, t)
    dz *= a
    np.subtract(1, a, out=a)
    dz *= a
    dz /= len(z)
    return dz


@right("squared_error", "squared_error_gradient", style="list comprehension")
def gradient_by_samples(z, t):
    return np.array([(sigma(row) - target) * sigma(row) * sigma(-row) / len(z) for row, target in zip(z, t)])


@wrong("squared_error", "squared_error", mistake="mean missing")
def summed(z, t):
    return 0.5 * np.sum((sigma(z) - t) ** 2)


@wrong("squared_error", "squared_error", mistake="wrong axis")
def mean_of_everything(z, t):
    return 0.5 * np.mean((sigma(z) - t) ** 2)


@wrong("squared_error", "squared_error", mistake="factor")
def half_forgotten(z, t):
    return np.sum((sigma(z) - t) ** 2) / len(z)


@wrong("squared_error", "squared_error", mistake="sign")
def negative_loss(z, t):
    return -0.5 * np.sum((sigma(z) - t) ** 2) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="mean missing")
def gradient_summed(z, t):
    a = sigma(z)
    return (a - t) * a * (1 - a)


@wrong("squared_error", "squared_error_gradient", mistake="mean twice")
def gradient_divided_twice(z, t):
    n = len(z)
    a = sigma(z)
    da = (a - t) / n
    return da * a * (1 - a) / n


@wrong("squared_error", "squared_error_gradient", mistake="slope missing")
def gradient_of_the_output(z, t):
    return (sigma(z) - t) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="slope missing")
def gradient_of_the_output_in_a_loop(z, t):
    dz = np.zeros_like(z)
    for i in range(len(z)):
        dz[i] = (sigma(z[i]) - t[i]) / len(z)
    return dz


@wrong("squared_error", "squared_error_gradient", mistake="slope at the output")
def slope_of_sigma_of_sigma(z, t):
    a = sigma(z)
    s = sigma(a)
    return (a - t) * s * (1 - s) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="slope at the input")
def slope_with_logits(z, t):
    return (sigma(z) - t) * z * (1 - z) / z.shape[0]


@wrong("squared_error", "squared_error_gradient", mistake="sign")
def target_minus_output(z, t):
    a = sigma(z)
    return (t - a) * a * (1 - a) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="factor")
def two_not_cancelled(z, t):
    a = sigma(z)
    return 2 * (a - t) * a * (1 - a) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="factor")
def half_kept(z, t):
    a = sigma(z)
    return (a - t) * a * (1 - a) / (2 * len(z))


@wrong("squared_error", "squared_error_gradient", mistake="delta missing")
def only_slope(z, t):
    a = sigma(z)
    return a * (1 - a) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="wrong axis")
def divided_by_outputs(z, t):
    a = sigma(z)
    return (a - t) * a * (1 - a) / z.shape[1]


@wrong("squared_error", "squared_error_gradient", mistake="changes input")
def targets_overwritten(z, t):
    a = sigma(z)
    t -= a
    return -t * a * (1 - a) / len(z)


@wrong("squared_error", "squared_error_gradient", mistake="dtype")
def gradient_in_single_precision(z, t):
    a = sigma(np.float32(z))
    return (a - np.float32(t)) * a * (1 - a) / len(z)
