"""Answers to the exercise sigmoid."""

import math

import numpy as np

from answer_bank import right, wrong


@right("sigmoid", "sigmoid", style="e^x over 1 + e^x")
def by_exp_of_x(x):
    e = np.exp(x)
    return e / (1 + e)


@right("sigmoid", "sigmoid", style="tanh")
def by_tanh(x):
    return 0.5 * (1 + np.tanh(x / 2))


@right("sigmoid", "sigmoid", style="loops over entries")
def by_loops(x):
    y = np.zeros(x.shape)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = 1 / (1 + math.exp(-x[i, j]))
    return y


@right("sigmoid", "sigmoid", style="vectorize")
def by_vectorize(x):
    return np.vectorize(lambda v: 1 / (1 + math.exp(-v)))(x)


@right("sigmoid", "sigmoid", style="two branches")
def by_where(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


@right("sigmoid", "sigmoid", style="out=")
def by_out(x):
    y = np.negative(x)
    np.exp(y, out=y)
    y += 1
    return np.reciprocal(y, out=y)


@right("sigmoid", "sigmoid_backward", style="y minus y squared")
def by_square(dy, x, y):
    return dy * (y - y**2)


@right("sigmoid", "sigmoid_backward", style="from x")
def from_x(dy, x, y):
    e = np.exp(-x)
    return dy * e / (1 + e) ** 2


@right("sigmoid", "sigmoid_backward", style="cosh")
def by_cosh(dy, x, y):
    return dy / (4 * np.cosh(x / 2) ** 2)


@right("sigmoid", "sigmoid_backward", style="einsum")
def by_einsum(dy, x, y):
    return np.einsum("ij,ij,ij->ij", dy, y, 1 - y)


@right("sigmoid", "sigmoid_backward", style="list comprehension")
def by_rows(dy, x, y):
    return np.array([[d * a * (1 - a) for d, a in zip(drow, row)] for drow, row in zip(dy, y)])


@right("sigmoid", "sigmoid_backward", style="out=")
def backward_by_out(dy, x, y):
    dx = 1 - y
    dx *= y
    dx *= dy
    return dx


@right("sigmoid", "sigmoid_backward", style="the other side's sigmoid")
def by_symmetry(dy, x, y):
    return dy * (1 / (1 + np.exp(-x))) * (1 / (1 + np.exp(x)))


@wrong("sigmoid", "sigmoid", mistake="changes input")
def exp_over_x(x):
    x *= -1
    np.exp(x, out=x)
    return 1 / (1 + x)


@wrong("sigmoid", "sigmoid", mistake="dtype")
def in_single_precision(x):
    x = x.astype(np.float32)
    return 1 / (1 + np.exp(-x))


@wrong("sigmoid", "sigmoid_backward", mistake="slope missing")
def passes_on(dy, x, y):
    return dy


@wrong("sigmoid", "sigmoid_backward", mistake="slope missing")
def copies_on(dy, x, y):
    dx = np.empty_like(x)
    dx[:] = dy
    return dx


@wrong("sigmoid", "sigmoid_backward", mistake="slope at the output")
def sigmoid_once_more(dy, x, y):
    s = 1 / (1 + np.exp(-y))
    return dy * s * (1 - s)


@wrong("sigmoid", "sigmoid_backward", mistake="slope at the output")
def exp_of_y(dy, x, y):
    return dy * np.exp(-y) / (1 + np.exp(-y)) ** 2


@wrong("sigmoid", "sigmoid_backward", mistake="slope at the input")
def x_for_y(dy, x, y):
    return dy * x * (1 - x)


@wrong("sigmoid", "sigmoid_backward", mistake="slope at the input")
def x_for_y_in_loops(dy, x, y):
    dx = np.zeros_like(dy)
    for i in range(len(dy)):
        for j in range(dy.shape[1]):
            dx[i, j] = dy[i, j] * (x[i, j] - x[i, j] ** 2)
    return dx


@wrong("sigmoid", "sigmoid_backward", mistake="sign")
def y_minus_one(dy, x, y):
    return dy * y * (y - 1)


@wrong("sigmoid", "sigmoid_backward", mistake="factor")
def doubled(dy, x, y):
    return 2 * dy * y * (1 - y)


@wrong("sigmoid", "sigmoid_backward", mistake="mean twice")
def divided_by_n(dy, x, y):
    return dy * y * (1 - y) / len(dy)


@wrong("sigmoid", "sigmoid_backward", mistake="changes input")
def over_dy(dy, x, y):
    dy *= y * (1 - y)
    return dy


@wrong("sigmoid", "sigmoid_backward", mistake="dtype")
def into_integers(dy, x, y):
    dx = np.zeros(x.shape, dtype=int)
    dx[...] = dy * y * (1 - y)
    return dx
