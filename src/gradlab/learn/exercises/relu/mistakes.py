"""ReLU and its slope: which sign is kept, whose sign decides, and what happens at 0."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import SAMPLES, Trial, Wrong
from gradlab.check.mistakes import NO_DELTA, NO_SLOPE


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    x, dy = rng.standard_normal((2, SAMPLES, 3))
    wrongs: list[Wrong] = [
        ("sign", "it keeps the negative numbers, and zeroes the positive ones", lambda x: np.minimum(x, 0.0)),
        ("sign", "this is max(−x, 0)", lambda x: np.maximum(-x, 0.0)),
        ("factor", "this is the absolute value", np.abs),
        (
            "factor",
            "a small part of the negative numbers is kept, as in a leaky ReLU",
            lambda x: np.where(x > 0.0, x, 0.01 * x),
        ),
        (
            "wrong axis",
            "one maximum is taken of all numbers, where each has its own",
            lambda x: np.full(x.shape, max(x.max(), 0.0)),
        ),
        ("slope missing", "nothing is zeroed: it is x itself", lambda x: x),
        ("factor", "this is the slope, 1 or 0, not the number itself", lambda x: (x > 0.0) * 1.0),
    ]
    yield Trial("relu", [{"x": x}], ("y",), samples=SAMPLES, wrongs=wrongs)
    back: list[Wrong] = [
        ("slope missing", NO_SLOPE, lambda dy, x, y: dy),
        ("delta missing", NO_DELTA, lambda dy, x, y: (x > 0.0) * 1.0),
        ("sign", "it lets through where x is negative, and stops where x is positive", lambda dy, x, y: dy * (x < 0.0)),
        ("sign", "where x is negative, dy goes through with the other sign", lambda dy, x, y: dy * np.sign(x)),
        ("slope at the input", "it multiplies by x where x > 0; the slope there is 1", lambda dy, x, y: dy * y),
        ("slope at the input", "it multiplies by x; the slope is 1 or 0", lambda dy, x, y: dy * x),
        (
            "wrong layer",
            "it is ReLU of dy: the sign of dy decides, not that of x",
            lambda dy, x, y: np.maximum(dy, 0.0),
        ),
        ("wrong layer", "the sign of dy decides, not that of x", lambda dy, x, y: (dy > 0.0) * 1.0),
        ("wrong layer", "it gives x where dy > 0: dy and x are exchanged", lambda dy, x, y: x * (dy > 0.0)),
        ("wrong layer", "it gives y: forward once more", lambda dy, x, y: y),
    ]
    arguments = {"dy": dy, "x": x, "y": np.maximum(x, 0.0)}
    yield Trial("relu_backward", [arguments], ("dx",), samples=SAMPLES, wrongs=back)
    x = np.array([[0.0, -1.0, 0.0, 2.0]])
    kink: list[Wrong] = [
        ("kink", "at x = 0 the slope is to be 0", lambda dy, x, y: dy * (x >= 0.0)),
        ("kink", "at x = 0 the slope is to be 0, and not ½", lambda dy, x, y: dy * np.heaviside(x, 0.5)),
    ]
    arguments = {"dy": np.array([[1.0, 2.0, -3.0, 4.0]]), "x": x, "y": np.maximum(x, 0.0)}
    yield Trial("relu_backward", [arguments], ("dx",), wrongs=kink)
