"""Answers to the exercise batch_norm."""

import numpy as np

from answer_bank import right, wrong

FORWARD, BACKWARD = "batch_norm", "batch_norm_backward"


def normalise(x, epsilon):
    s = np.sqrt(x.var(axis=0, keepdims=True) + epsilon)
    return (x - x.mean(axis=0, keepdims=True)) / s, s


@right("batch_norm", FORWARD, style="helper")
def by_helper(x, gamma, beta, epsilon):
    return gamma * normalise(x, epsilon)[0] + beta


@right("batch_norm", FORWARD, style="loops over features and samples")
def by_loops(x, gamma, beta, epsilon):
    n, d = x.shape
    y = np.zeros((n, d))
    for j in range(d):
        mean = sum(x[i, j] for i in range(n)) / n
        variance = sum((x[i, j] - mean) ** 2 for i in range(n)) / n
        for i in range(n):
            y[i, j] = gamma[0, j] * (x[i, j] - mean) / (variance + epsilon) ** 0.5 + beta[0, j]
    return y


@right("batch_norm", FORWARD, style="one scale, one shift")
def by_scale_and_shift(x, gamma, beta, epsilon):
    scale = gamma / np.sqrt(np.var(x, axis=0) + epsilon)
    return x * scale + (beta - x.mean(axis=0) * scale)


@right("batch_norm", FORWARD, style="mean of squares")
def by_mean_of_squares(x, gamma, beta, epsilon):
    mean = x.mean(axis=0)
    variance = (x**2).mean(axis=0) - mean**2
    return gamma * (x - mean) * (variance + epsilon) ** -0.5 + beta


@right("batch_norm", FORWARD, style="out=")
def by_out(x, gamma, beta, epsilon):
    y = x - x.mean(axis=0)
    y /= np.sqrt((y * y).mean(axis=0) + epsilon)
    y *= gamma
    y += beta
    return y


@right("batch_norm", BACKWARD, style="compact formula")
def backward_compact(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    dgamma, dbeta = (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)
    n = len(x)
    return gamma / s / n * (n * dy - dbeta - normed * dgamma), dgamma, dbeta


@right("batch_norm", BACKWARD, style="means")
def backward_by_means(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = (d - d.mean(axis=0) - normed * (d * normed).mean(axis=0)) / s
    return dx, np.sum(dy * normed, 0, keepdims=True), np.sum(dy, 0, keepdims=True)


@right("batch_norm", BACKWARD, style="Jacobian by einsum")
def backward_by_jacobian(dy, x, gamma, epsilon):
    n = len(x)
    normed, s = normalise(x, epsilon)
    jacobian = np.eye(n)[:, :, None] - 1 / n - np.einsum("aj,ij->aij", normed, normed) / n  # of x̂_a by x_i, times s
    dx = np.einsum("aj,aij->ij", dy * gamma, jacobian) / s
    return dx, np.einsum("ij,ij->j", dy, normed)[None], np.einsum("ij->j", dy)[None]


@right("batch_norm", BACKWARD, style="loops over features")
def backward_by_loops(dy, x, gamma, epsilon):
    n, d = x.shape
    dx, dgamma, dbeta = np.zeros((n, d)), np.zeros((1, d)), np.zeros((1, d))
    for j in range(d):
        mean, variance = x[:, j].mean(), x[:, j].var()
        s = np.sqrt(variance + epsilon)
        for i in range(n):
            dgamma[0, j] += dy[i, j] * (x[i, j] - mean) / s
            dbeta[0, j] += dy[i, j]
        for i in range(n):
            normed = (x[i, j] - mean) / s
            dx[i, j] = gamma[0, j] / s * (dy[i, j] - dbeta[0, j] / n - normed * dgamma[0, j] / n)
    return dx, dgamma, dbeta


@right("batch_norm", BACKWARD, style="every operation by itself")
def backward_by_steps(dy, x, gamma, epsilon):
    n = x.shape[0]
    centred = x - x.mean(axis=0)
    root = np.sqrt((centred**2).mean(axis=0) + epsilon)
    inverse = 1 / root
    dnormed = dy * gamma
    dinverse = (dnormed * centred).sum(axis=0)
    dcentred = dnormed * inverse
    dvariance = 0.5 / root * (-dinverse / root**2)
    dcentred = dcentred + 2 * centred * np.ones_like(x) / n * dvariance
    dmean = -dcentred.sum(axis=0)
    dx = dcentred + dmean / n
    return dx, (dy * centred * inverse).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)


@wrong("batch_norm", FORWARD, mistake="wrong axis")
def over_the_features(x, gamma, beta, epsilon):
    mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


@wrong("batch_norm", FORWARD, mistake="wrong axis")
def over_everything(x, gamma, beta, epsilon):
    return gamma * (x - np.mean(x)) / np.sqrt(np.var(x) + epsilon) + beta


@wrong("batch_norm", FORWARD, mistake="factor")
def unbiased_variance(x, gamma, beta, epsilon):
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0, ddof=1) + epsilon) + beta


@wrong("batch_norm", FORWARD, mistake="changes input")
def centred_in_place(x, gamma, beta, epsilon):
    x -= x.mean(axis=0)
    return gamma * x / np.sqrt((x**2).mean(axis=0) + epsilon) + beta


@wrong("batch_norm", BACKWARD, mistake="dropped term")
def statistics_as_constants(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    return dy * gamma / s, (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)


@wrong("batch_norm", BACKWARD, mistake="mean missing")
def sums_for_means(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = (d - d.sum(axis=0) - normed * (d * normed).sum(axis=0)) / s
    return dx, (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)


@wrong("batch_norm", BACKWARD, mistake="mean twice")
def means_for_gamma_and_beta(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = (d - d.mean(axis=0) - normed * (d * normed).mean(axis=0)) / s
    return dx, (dy * normed).mean(axis=0, keepdims=True), dy.mean(axis=0, keepdims=True)


@wrong("batch_norm", BACKWARD, mistake="wrong axis")
def gamma_and_beta_summed_over_features(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = (d - d.mean(axis=0) - normed * (d * normed).mean(axis=0)) / s
    return dx, (dy * normed).sum(axis=1, keepdims=True), dy.sum(axis=1, keepdims=True)


@wrong("batch_norm", BACKWARD, mistake="wrong axis")
def means_over_features(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = (d - d.mean(axis=1, keepdims=True) - normed * (d * normed).mean(axis=1, keepdims=True)) / s
    return dx, (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)


@wrong("batch_norm", BACKWARD, mistake="changes input")
def gamma_into_dy(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    dgamma, dbeta = (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)
    dy *= gamma
    return (dy - dy.mean(axis=0) - normed * (dy * normed).mean(axis=0)) / s, dgamma, dbeta


@wrong("batch_norm", BACKWARD, mistake="dtype")
def input_gradient_in_single_precision(dy, x, gamma, epsilon):
    normed, s = normalise(x, epsilon)
    d = dy * gamma
    dx = ((d - d.mean(axis=0) - normed * (d * normed).mean(axis=0)) / s).astype(np.float32)
    return dx, (dy * normed).sum(axis=0, keepdims=True), dy.sum(axis=0, keepdims=True)
