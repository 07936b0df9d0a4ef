"""A step of gradient descent with momentum.

Plain gradient descent steps against the gradient g of the moment. With momentum, steps that agree add up and steps that
disagree cancel: a velocity v is kept from step to step, and the parameters p follow it.

    v  becomes  momentum·v + g
    p  becomes  p − learning_rate·v        with the new v

Write one function, momentum_step, which does this once. It returns nothing: params and velocity are changed where they
stand, so that whoever holds these arrays sees the new numbers.

Shapes: params, grads and velocity all have the same one, whatever it is; the velocity is 0 before the first step.

To think about: with the same g in every step and a momentum below 1, towards which number does v go?

    v = momentum·v + g    gives    v = …

How to start: in NumPy, "v = v * 2" makes a new array and calls it v, and the caller's array stays as it was. "v *= 2"
and "v[...] = v * 2" write into the array itself. Mind the order of the two lines.

An example, two steps along the same gradient:

>>> params, grads, velocity = np.array([10.0]), np.array([2.0]), np.array([0.0])
>>> momentum_step(params, grads, velocity, learning_rate=0.5, momentum=0.9)
>>> print(params, velocity)
[9.] [2.]
>>> momentum_step(params, grads, velocity, learning_rate=0.5, momentum=0.9)
>>> print(params, velocity)
[7.1] [3.8]
"""

import numpy as np

EXERCISE = "momentum"


def momentum_step(
    params: np.ndarray, grads: np.ndarray, velocity: np.ndarray, learning_rate: float, momentum: float
) -> None:
    """Take one step of gradient descent with momentum, in place.

    Parameters
    ----------
    params : ndarray
        Moved, in place.
    grads : ndarray
        dL/dparams; left as it is.
    velocity : ndarray
        What was kept from the steps before; brought up to date in place, before params are moved.
    learning_rate, momentum : float
    """
    # The old velocity fades by the factor momentum, then the new gradient joins it: both write into the caller's array.
    velocity *= momentum
    velocity += grads
    # The step is along the velocity as it is now, not along the gradient.
    params -= learning_rate * velocity
