"""Answers to the exercise adam."""

import math

import numpy as np

from answer_bank import right, wrong


@right("adam", "adam_step", style="[...]")
def by_ellipsis(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads * grads
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    params[...] = params - learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@right("adam", "adam_step", style="loop over entries")
def by_loop(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    for i in np.ndindex(params.shape):
        g = grads[i]
        m[i] += (1 - beta1) * (g - m[i])
        v[i] += (1 - beta2) * (g**2 - v[i])
        step = m[i] / (1 - beta1**t) / (math.sqrt(v[i] / (1 - beta2**t)) + epsilon)
        params[i] -= learning_rate * step


@right("adam", "adam_step", style="corrections in the rate")
def by_rate(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    root = math.sqrt(1 - math.pow(beta2, t))
    rate = learning_rate * root / (1 - math.pow(beta1, t))
    m *= beta1
    m += (1 - beta1) * grads
    v *= beta2
    v += (1 - beta2) * np.square(grads)
    params -= rate * m / (np.sqrt(v) + epsilon * root)


@right("adam", "adam_step", style="out=")
def by_out(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    np.multiply(m, beta1, out=m)
    np.add(m, grads * (1 - beta1), out=m)
    np.multiply(v, beta2, out=v)
    np.add(v, grads**2 * (1 - beta2), out=v)
    below = np.sqrt(v / (1 - beta2**t))
    np.add(below, epsilon, out=below)
    np.subtract(params, learning_rate / (1 - beta1**t) * m / below, out=params)


@right("adam", "adam_step", style="change of the averages")
def by_change(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m -= (1 - beta1) * (m - grads)
    v -= (1 - beta2) * (v - grads**2)
    params += -learning_rate * (m / (1 - beta1**t)) / ((v / (1 - beta2**t)) ** 0.5 + epsilon)


def _average(old, new, beta):
    np.copyto(old, beta * old + (1 - beta) * new)


def _without_bias(average, beta, t):
    return average / ((1 - beta) * sum(beta**s for s in range(t)))


@right("adam", "adam_step", style="helpers, geometric sum")
def by_helpers(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    _average(m, grads, beta1)
    _average(v, grads**2, beta2)
    step = _without_bias(m, beta1, t) / (np.sqrt(_without_bias(v, beta2, t)) + epsilon)
    np.copyto(params, params - learning_rate * step)


@wrong("adam", "adam_step", mistake="bias correction")
def not_corrected(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    params -= learning_rate * m / (np.sqrt(v) + epsilon)


@wrong("adam", "adam_step", mistake="bias correction")
def corrected_without_t(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    params -= learning_rate * (m / (1 - beta1)) / (np.sqrt(v / (1 - beta2)) + epsilon)


@wrong("adam", "adam_step", mistake="bias correction")
def t_counted_from_zero(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    mhat, vhat = m / (1 - beta1 ** (t + 1)), v / (1 - beta2 ** (t + 1))
    params -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@wrong("adam", "adam_step", mistake="bias correction")
def averages_kept_corrected(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    m /= 1 - beta1**t
    v /= 1 - beta2**t
    params -= learning_rate * m / (np.sqrt(v) + epsilon)


@wrong("adam", "adam_step", mistake="dropped term")
def past_forgotten(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = (1 - beta1) * grads
    v[...] = (1 - beta2) * grads**2
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    params -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@wrong("adam", "adam_step", mistake="not in place")
def averages_rebound(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m = beta1 * m + (1 - beta1) * grads
    v = beta2 * v + (1 - beta2) * grads**2
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    params -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@wrong("adam", "adam_step", mistake="not in place")
def params_rebound(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    params = params - learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@wrong("adam", "adam_step", mistake="changes input")
def gradients_squared_in_place(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m *= beta1
    m += (1 - beta1) * grads
    grads **= 2
    v *= beta2
    v += (1 - beta2) * grads
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    params -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


@wrong("adam", "adam_step", mistake="dtype")
def in_single_precision(params, grads, m, v, t, learning_rate, beta1, beta2, epsilon):
    m[...] = beta1 * m + (1 - beta1) * grads
    v[...] = beta2 * v + (1 - beta2) * grads**2
    step = (m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + epsilon)).astype(np.float32)
    params -= learning_rate * step
