"""Answers to the exercise cross_entropy."""

import math

import numpy as np

from answer_bank import right, wrong


def sigma(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@right("cross_entropy", "cross_entropy", style="log1p")
def by_log1p(z, t):
    return np.mean(np.sum(np.maximum(z, 0) - z * t + np.log1p(np.exp(-np.abs(z))), axis=1))


@right("cross_entropy", "cross_entropy", style="two logarithms")
def by_two_logarithms(z, t):
    log_p, log_q = -np.logaddexp(0, -z), -np.logaddexp(0, z)
    return -np.sum(t * log_p + (1 - t) * log_q) / z.shape[0]


@right("cross_entropy", "cross_entropy", style="loops over entries")
def by_loops(z, t):
    total = 0
    for i in range(z.shape[0]):
        for k in range(z.shape[1]):
            v = z[i, k]
            softplus = v + math.log(1 + math.exp(-v)) if v > 0 else math.log(1 + math.exp(v))
            total += softplus - t[i, k] * v
    return total / z.shape[0]


@right("cross_entropy", "cross_entropy", style="logaddexp.reduce, 0-d array")
def by_reduce(z, t):
    pairs = np.stack([np.zeros_like(z), z])
    return np.asarray((np.logaddexp.reduce(pairs, axis=0) - t * z).sum(axis=1).mean())


@right("cross_entropy", "cross_entropy", style="einsum")
def by_einsum(z, t):
    return (np.logaddexp(z, 0).sum() - np.einsum("ik,ik", z, t)) / len(z)


@right("cross_entropy", "cross_entropy_gradient", style="two branches")
def gradient_by_where(z, t):
    return (sigma(z) - t) / len(z)


@right("cross_entropy", "cross_entropy_gradient", style="tanh")
def gradient_by_tanh(z, t):
    return (0.5 * np.tanh(0.5 * z) + 0.5 - t) / z.shape[0]


@right("cross_entropy", "cross_entropy_gradient", style="loops over entries")
def gradient_by_loops(z, t):
    dz = np.zeros(z.shape)
    for entry in np.ndindex(z.shape):
        v = z[entry]
        p = 1 / (1 + math.exp(-v)) if v > 0 else math.exp(v) / (1 + math.exp(v))
        dz[entry] = (p - t[entry]) / len(z)
    return dz


@right("cross_entropy", "cross_entropy_gradient", style="yes and no apart")
def gradient_by_two_parts(z, t):
    p, q = sigma(z), sigma(-z)
    return ((1 - t) * p - t * q) / len(z)


@right("cross_entropy", "cross_entropy_gradient", style="indexed")
def gradient_by_index(z, t):
    p = np.empty_like(z)
    positive = z >= 0
    p[positive] = 1 / (1 + np.exp(-z[positive]))
    p[~positive] = np.exp(z[~positive]) / (1 + np.exp(z[~positive]))
    p -= t
    p /= len(z)
    return p


@right("cross_entropy", "cross_entropy_gradient", style="clipped exponent, which never matters")
def gradient_by_clipped_exponent(z, t):
    return (1 / (1 + np.exp(-np.clip(z, -700, 700))) - t) * (1 / len(z))


@wrong("cross_entropy", "cross_entropy", mistake="stability")
def by_the_book(z, t):
    p = 1 / (1 + np.exp(-z))
    return -np.sum(t * np.log(p) + (1 - t) * np.log(1 - p)) / len(z)


@wrong("cross_entropy", "cross_entropy", mistake="stability")
def probabilities_clipped(z, t):
    p = np.clip(sigma(z), 1e-15, 1 - 1e-15)
    return -np.sum(t * np.log(p) + (1 - t) * np.log(1 - p)) / len(z)


@wrong("cross_entropy", "cross_entropy", mistake="stability")
def naive_softplus(z, t):
    return np.sum(np.log(1 + np.exp(z)) - t * z) / len(z)


@wrong("cross_entropy", "cross_entropy", mistake="mean missing")
def summed(z, t):
    return np.sum(np.logaddexp(0, z) - t * z)


@wrong("cross_entropy", "cross_entropy", mistake="wrong axis")
def mean_of_everything(z, t):
    return np.mean(np.logaddexp(0, z) - t * z)


@wrong("cross_entropy", "cross_entropy", mistake="sign")
def minus_forgotten(z, t):
    return -np.sum(t * np.logaddexp(0, -z) + (1 - t) * np.logaddexp(0, z)) / len(z)


@wrong("cross_entropy", "cross_entropy", mistake="dropped term")
def only_yes(z, t):
    return np.sum(t * np.logaddexp(0, -z)) / len(z)


@wrong("cross_entropy", "cross_entropy", mistake="factor")
def in_bits(z, t):
    return np.sum(np.logaddexp(0, z) - t * z) / len(z) / np.log(2)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="stability")
def gradient_by_the_book(z, t):
    p = np.exp(z) / (1 + np.exp(z))
    return (p - t) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="stability")
def gradient_not_cancelled(z, t):
    p = sigma(z)
    return ((1 - t) / (1 - p) - t / p) * p * (1 - p) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="mean missing")
def gradient_summed(z, t):
    return sigma(z) - t


@wrong("cross_entropy", "cross_entropy_gradient", mistake="mean twice")
def gradient_divided_twice(z, t):
    dz = (sigma(z) - t) / len(z)
    return dz / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="slope missing")
def gradient_of_the_output(z, t):
    p = sigma(z)
    return (p - t) / (p * (1 - p)) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="slope at the output")
def slope_of_sigma_of_sigma(z, t):
    p = sigma(z)
    s = sigma(p)
    return (p - t) / (p * (1 - p)) * s * (1 - s) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="slope at the input")
def slope_with_logits(z, t):
    p = sigma(z)
    return (p - t) / (p * (1 - p)) * z * (1 - z) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="sign")
def target_minus_output(z, t):
    return (t - sigma(z)) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="dropped term")
def gradient_of_yes_only(z, t):
    return -t * sigma(-z) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="factor")
def halved(z, t):
    return 0.5 * (sigma(z) - t) / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="wrong axis")
def divided_by_outputs(z, t):
    return (sigma(z) - t) / z.shape[1]


@wrong("cross_entropy", "cross_entropy_gradient", mistake="changes input")
def targets_overwritten(z, t):
    np.subtract(sigma(z), t, out=t)
    return t / len(z)


@wrong("cross_entropy", "cross_entropy_gradient", mistake="dtype")
def gradient_in_single_precision(z, t):
    return ((sigma(z) - t) / len(z)).astype("f4")
