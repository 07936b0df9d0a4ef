"""A step of Adam.

Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1) gives each parameter a step of its own size. It keeps two running
averages from step to step, m of the gradients g and v of their squares, both 0 at first. In step t, with t counted
from 1:

    m  becomes  beta1·m + (1 − beta1)·g
    v  becomes  beta2·v + (1 − beta2)·g²

Since they begin with 0, both are too small at first. How much? Let every g be the same number:

    after step 1   m = (1 − beta1)·g
    after step 2   m = …
    after step t   m = (1 − …)·g

Both averages are divided by what they lack, v in the same way as m, which gives m̂ and v̂. Then, entry by entry,

    p  becomes  p − learning_rate · m̂/(√v̂ + epsilon)

Write one function, adam_step, which does this once. It returns nothing: params, m and v are changed where they stand. m
and v are kept *without* the correction, m̂ and v̂ serve this one step only.

Shapes: params, grads, m and v all have the same one, whatever it is. t is a whole number, learning_rate, beta1, beta2
and epsilon are floats.

How to start: find the factor for t = 2 and t = 3 by hand, then for any t. To write in place, use *=, += and -=, or
[...].

An example: the first step has the length of the learning rate, whatever the gradient is.

>>> params, m, v = np.array([1.0, 1.0]), np.zeros(2), np.zeros(2)
>>> adam_step(params, np.array([5.0, -0.01]), m, v, 1, learning_rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-8)
>>> print(params.round(4))
[0.9 1.1]
"""

import numpy as np

EXERCISE = "adam"


def adam_step(
    params: np.ndarray,
    grads: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
) -> None:
    """Take one step of Adam, in place.

    Parameters
    ----------
    params : ndarray
        Moved, in place.
    grads : ndarray
        dL/dparams; left as it is.
    m, v : ndarray
        The running averages of the gradients and of their squares, not corrected; brought up to date in place.
    t : int
        The number of this step; 1 for the first.
    learning_rate, beta1, beta2, epsilon : float
    """
    # The running averages: the old one fades, a small share of the new joins it.
    m *= beta1
    m += (1.0 - beta1) * grads
    v *= beta2
    v += (1.0 - beta2) * grads**2
    # If every g is the same, then after t steps m = (1 − beta1)·(1 + beta1 + … + beta1^(t − 1))·g = (1 − beta1^t)·g:
    # what is lacking is the factor 1 − beta1^t. Likewise v lacks 1 − beta2^t.
    corrected_m = m / (1.0 - beta1**t)
    corrected_v = v / (1.0 - beta2**t)
    # epsilon stands outside of the root, and keeps from dividing by 0.
    params -= learning_rate * corrected_m / (np.sqrt(corrected_v) + epsilon)
