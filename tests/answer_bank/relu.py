"""Answers to the exercise relu."""

import numpy as np

from answer_bank import right, wrong


@right("relu", "relu", style="mask as a factor")
def by_mask(x):
    return x * (x > 0)


@right("relu", "relu", style="where")
def by_where(x):
    return np.where(x > 0, x, 0)


@right("relu", "relu", style="absolute value")
def by_abs(x):
    return (x + np.abs(x)) / 2


@right("relu", "relu", style="clip")
def by_clip(x):
    return np.clip(x, 0, None)


@right("relu", "relu", style="a copy, indexed")
def by_index(x):
    y = x.copy()
    y[y < 0] = 0
    return y


@right("relu", "relu", style="list comprehension")
def by_list(x):
    return np.array([[max(v, 0.0) for v in row] for row in x])


@right("relu", "relu_backward", style="where")
def backward_by_where(dy, x, y):
    return np.where(x > 0, dy, 0)


@right("relu", "relu_backward", style="mask from y")
def backward_from_y(dy, x, y):
    return dy * (y > 0).astype(float)


@right("relu", "relu_backward", style="sign of y")
def backward_by_sign(dy, x, y):
    return np.sign(y) * dy


@right("relu", "relu_backward", style="heaviside")
def backward_by_heaviside(dy, x, y):
    return dy * np.heaviside(x, 0.0)


@right("relu", "relu_backward", style="a copy, indexed")
def backward_by_index(dy, x, y):
    dx = dy.copy()
    dx[x <= 0] = 0
    return dx


@right("relu", "relu_backward", style="loops over entries")
def backward_by_loops(dy, x, y):
    dx = np.zeros(x.shape)
    for i, row in enumerate(x):
        for j, value in enumerate(row):
            if value > 0:
                dx[i, j] = dy[i, j]
    return dx


@right("relu", "relu_backward", style="einsum")
def backward_by_einsum(dy, x, y):
    return np.einsum("...,...->...", dy, (x > 0) * 1.0)


@wrong("relu", "relu", mistake="sign")
def smaller_of_both(x):
    return np.minimum(x, 0)


@wrong("relu", "relu", mistake="sign")
def where_less(x):
    return np.where(x < 0, x, 0)


@wrong("relu", "relu", mistake="changes input")
def zeros_into_x(x):
    x[x < 0] = 0
    return x


@wrong("relu", "relu", mistake="changes input")
def maximum_into_x(x):
    return np.maximum(x, 0, out=x)


@wrong("relu", "relu", mistake="factor")
def not_halved(x):
    return x + np.abs(x)


@wrong("relu", "relu", mistake="dtype")
def into_integers(x):
    y = np.zeros(x.shape, dtype=int)
    y[x > 0] = x[x > 0]
    return y


@wrong("relu", "relu_backward", mistake="sign")
def mask_the_wrong_way(dy, x, y):
    return dy * (x < 0)


@wrong("relu", "relu_backward", mistake="sign")
def negated(dy, x, y):
    return -dy * (y > 0)


@wrong("relu", "relu_backward", mistake="changes input")
def zeros_into_dy(dy, x, y):
    dy[x <= 0] = 0
    return dy


@wrong("relu", "relu_backward", mistake="changes input")
def slopes_into_x(dy, x, y):
    x[x <= 0] = 0
    x[x > 0] = 1
    return dy * x


@wrong("relu", "relu_backward", mistake="factor")
def halved(dy, x, y):
    return 0.5 * dy * (x > 0)


@wrong("relu", "relu_backward", mistake="mean twice")
def divided_by_n(dy, x, y):
    return dy * (x > 0) / x.shape[0]


@wrong("relu", "relu_backward", mistake="dtype")
def single_precision(dy, x, y):
    return dy.astype(np.float32) * (x > 0)


@wrong("relu", "relu_backward", mistake="dtype")
def backward_into_integers(dy, x, y):
    dx = np.zeros(x.shape, dtype=np.int64)
    dx[x > 0] = dy[x > 0]
    return dx
