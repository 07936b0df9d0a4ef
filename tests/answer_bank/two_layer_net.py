"""Answers to the exercise two_layer_net."""

import numpy as np

from answer_bank import right, wrong

LOSS, BACKWARD = "loss", "backward"


def sigma(x):
    return 1 / (1 + np.exp(-x))


@right("two_layer_net", LOSS, style="by the book")
def loss_by_the_book(x, t, W1, b1, W2, b2):
    p = sigma(sigma(x @ W1 + b1) @ W2 + b2)
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


@right("two_layer_net", LOSS, style="sample by sample")
def loss_by_samples(x, t, W1, b1, W2, b2):
    total = 0
    for sample, target in zip(x, t[:, 0]):
        hidden = sigma(sample @ W1 + b1[0])
        logit = hidden @ W2[:, 0] + b2[0, 0]
        total += np.log1p(np.exp(-abs(logit))) + max(logit, 0) - target * logit
    return total / len(x)


@right("two_layer_net", LOSS, style="einsum")
def loss_by_einsum(x, t, W1, b1, W2, b2):
    a = sigma(np.einsum("ij,jm->im", x, W1) + b1)
    y = np.einsum("im,mk->ik", a, W2) + b2
    return (np.logaddexp(0, y) - t * y).sum() / len(x)


@right("two_layer_net", LOSS, style="the one probability that counts")
def loss_by_margin(x, t, W1, b1, W2, b2):
    y = (sigma(x @ W1 + b1) * W2.T).sum(axis=1) + b2[0, 0]
    return np.mean(np.log1p(np.exp(-y)) + (1 - t[:, 0]) * y)


@right("two_layer_net", LOSS, style="0-d array")
def loss_as_array(x, t, W1, b1, W2, b2):
    p = sigma(np.tanh((x.dot(W1) + b1) / 2).dot(W2) / 2 + W2.sum() / 2 + b2)
    return np.asarray(-(t * np.log(p) + (1 - t) * np.log1p(-p)).mean())


@right("two_layer_net", BACKWARD, style="sample by sample")
def by_samples(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    n = len(x)
    for gradient in (dW1, db1, dW2, db2):
        gradient.fill(0)
    for sample, target in zip(x, t):
        a = sigma(sample @ W1 + b1[0])
        dy = (sigma(a @ W2 + b2[0]) - target) / n
        dz = (W2 @ dy) * a * (1 - a)
        dW2 += np.outer(a, dy)
        db2 += dy
        dW1 += np.outer(sample, dz)
        db1 += dz


@right("two_layer_net", BACKWARD, style="einsum")
def by_einsum(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = np.einsum("ik,mk,im,im->im", dy, W2, a, 1 - a)
    np.einsum("im,ik->mk", a, dy, out=dW2)
    np.einsum("ij,im->jm", x, dz, out=dW1)
    np.einsum("ik->k", dy, out=db2[0])
    np.einsum("im->m", dz, out=db1[0])


@right("two_layer_net", BACKWARD, style="transposed and back")
def by_transposes(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    hidden = sigma(W1.T @ x.T + b1.T)
    delta2 = sigma(W2.T @ hidden + b2.T) - t.T
    delta1 = (W2 @ delta2) * hidden * (1 - hidden)
    n = x.shape[0]
    dW2[...] = (delta2 @ hidden.T).T / n
    db2[...] = delta2.mean(axis=1, keepdims=True).T
    dW1[...] = (delta1 @ x).T / n
    db1[...] = delta1.mean(axis=1, keepdims=True).T


@right("two_layer_net", BACKWARD, style="bias as a weight, copyto")
def by_column_of_ones(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    ones = np.ones((len(x), 1))
    a = sigma(np.hstack([x, ones]) @ np.vstack([W1, b1]))
    dy = (sigma(np.hstack([a, ones]) @ np.vstack([W2, b2])) - t) / len(x)
    joint2 = np.hstack([a, ones]).T @ dy
    joint1 = np.hstack([x, ones]).T @ (dy @ W2.T * (a - a * a))
    np.copyto(dW2, joint2[:-1])
    np.copyto(db2, joint2[-1:])
    np.copyto(dW1, joint1[:-1])
    np.copyto(db1, joint1[-1:])


@right("two_layer_net", BACKWARD, style="out=, mean at the end")
def by_out(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    delta = sigma(a @ W2 + b2)
    delta -= t
    np.matmul(a.T, delta, out=dW2)
    np.sum(delta, axis=0, keepdims=True, out=db2)
    delta = delta * W2[:, 0]
    delta *= a
    delta *= 1 - a
    np.matmul(x.T, delta, out=dW1)
    np.sum(delta, axis=0, keepdims=True, out=db1)
    for gradient in (dW1, db1, dW2, db2):
        gradient /= len(x)


def _dense(dy, x, dW, db):
    dW[:] = np.dot(x.T, dy)
    db[:] = dy.sum(axis=0)


@right("two_layer_net", BACKWARD, style="slope of the loss by p, then σ', with a helper")
def by_helper(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    p = sigma(a @ W2 + b2)
    dp = ((1 - t) / (1 - p) - t / p) / len(x)
    dy = dp * p * (1 - p)
    _dense(dy, a, dW2, db2)
    _dense(dy @ W2.T * a * (1 - a), x, dW1, db1)


@wrong("two_layer_net", LOSS, mistake="dropped term")
def loss_of_yes_only(x, t, W1, b1, W2, b2):
    p = sigma(sigma(x @ W1 + b1) @ W2 + b2)
    return -np.mean(t * np.log(p))


@wrong("two_layer_net", LOSS, mistake="sign")
def loss_negative(x, t, W1, b1, W2, b2):
    p = sigma(sigma(x @ W1 + b1) @ W2 + b2)
    return np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


@wrong("two_layer_net", BACKWARD, mistake="mean twice")
def first_layer_divided_twice(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    n = len(x)
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / n
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0)
    dW1[...] = x.T @ dz / n
    db1[...] = dz.sum(axis=0) / n


@wrong("two_layer_net", BACKWARD, mistake="mean twice")
def biases_by_mean(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.mean(axis=0)
    dW1[...] = x.T @ dz
    db1[...] = dz.mean(axis=0)


@wrong("two_layer_net", BACKWARD, mistake="slope missing")
def sigmoid_passed_over(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="slope at the output")
def slope_of_sigma_of_a(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * sigma(a) * (1 - sigma(a))
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="slope at the input")
def slope_with_z(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    z = x @ W1 + b1
    a = sigma(z)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * z * (1 - z)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="transposed")
def first_weights_transposed(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = (dz.T @ x).reshape(dW1.shape)
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="sign")
def target_minus_output(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (t - sigma(a @ W2 + b2)) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="wrong axis")
def bias_summed_over_everything(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = np.sum(dy)
    dW1[...] = x.T @ dz
    db1[...] = np.sum(dz)


@wrong("two_layer_net", BACKWARD, mistake="added")
def all_added(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2 += a.T @ dy
    db2 += dy.sum(axis=0, keepdims=True)
    dW1 += x.T @ dz
    db1 += dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="added")
def added_sample_by_sample(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    for i in range(len(x)):
        sample, target = x[i : i + 1], t[i : i + 1]
        a = sigma(sample @ W1 + b1)
        dy = (sigma(a @ W2 + b2) - target) / len(x)
        dz = dy @ W2.T * a * (1 - a)
        dW2 += a.T @ dy
        db2 += dy
        dW1 += sample.T @ dz
        db1 += dz


@wrong("two_layer_net", BACKWARD, mistake="wrong layer")
def second_weights_from_z(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    z = x @ W1 + b1
    a = sigma(z)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = z.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="changes input")
def step_taken_on_the_way(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)
    for value, gradient in ((W1, dW1), (b1, db1), (W2, dW2), (b2, db2)):
        value -= 0.1 * gradient


@wrong("two_layer_net", BACKWARD, mistake="factor")
def doubled(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = 2 * (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="changes input")
def errors_into_targets(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    t -= sigma(a @ W2 + b2)
    dy = -t / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="dtype")
def in_single_precision(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    x, W1, W2 = np.float32(x), np.float32(W1), np.float32(W2)
    a = sigma(x @ W1 + np.float32(b1))
    dy = (sigma(a @ W2 + np.float32(b2)) - np.float32(t)) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2[...] = a.T @ dy
    db2[...] = dy.sum(axis=0, keepdims=True)
    dW1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0, keepdims=True)


@wrong("two_layer_net", BACKWARD, mistake="not in place")
def names_given_anew(x, t, W1, b1, W2, b2, dW1, db1, dW2, db2):
    a = sigma(x @ W1 + b1)
    dy = (sigma(a @ W2 + b2) - t) / len(x)
    dz = dy @ W2.T * a * (1 - a)
    dW2 = a.T @ dy
    db2 = dy.sum(axis=0, keepdims=True)
    dW1 = x.T @ dz
    db1 = dz.sum(axis=0, keepdims=True)
    return dW1, db1, dW2, db2
