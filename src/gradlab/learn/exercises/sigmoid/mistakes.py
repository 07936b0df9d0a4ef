"""σ and its slope: the sign and the 1 of the formula, and what the slope is made of."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import SAMPLES, Trial, Wrong
from gradlab.check.losses import slope_of_sigmoid
from gradlab.check.mistakes import NO_DELTA, NO_SLOPE
from gradlab.nn.activations import sigmoid


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    x, dy = 2.0 * rng.standard_normal((2, SAMPLES, 3))
    wrongs: list[Wrong] = [
        ("sign", "the exponent has the wrong sign: this is 1 − σ(x)", lambda x: sigmoid(-x)),
        ("dropped term", "the 1 in the denominator is missing", lambda x: np.exp(x)),
        ("dropped term", "1 is added outside of the fraction, not below its line", lambda x: 1.0 + np.exp(-x)),
        ("dropped term", "it is e^x over 1 + e^(−x)", lambda x: np.exp(x) / (1.0 + np.exp(-x))),
        ("factor", "this is tanh(x), which runs from −1 to 1", np.tanh),
        ("factor", "x counts twice in the exponent", lambda x: sigmoid(2.0 * x)),
    ]
    yield Trial("sigmoid", [{"x": x}], ("y",), samples=SAMPLES, wrongs=wrongs)
    yield Trial("sigmoid", [{"x": np.array([[-30.0, -1e-3, 0.0, 1e-3, 30.0]])}], ("y",), wrongs=wrongs)
    y = sigmoid(x)
    back: list[Wrong] = [
        ("slope missing", NO_SLOPE, lambda dy, x, y: dy),
        ("delta missing", NO_DELTA, lambda dy, x, y: y * (1.0 - y)),
        (
            "slope at the input",
            "the formula is right for the output y, but is fed the input x",
            lambda dy, x, y: dy * x * (1.0 - x),
        ),
        (
            "slope at the output",
            "the slope is taken at the output y, where it belongs to the input x",
            lambda dy, x, y: dy * slope_of_sigmoid(y),
        ),
        ("dropped term", "the factor 1 − y is missing", lambda dy, x, y: dy * y),
        ("dropped term", "the factor y is missing", lambda dy, x, y: dy * (1.0 - y)),
        ("dropped term", "y² is not subtracted from y: it stands alone", lambda dy, x, y: dy * y * y),
        ("factor", "this is the slope of tanh, 1 − y²", lambda dy, x, y: dy * (1.0 - y * y)),
        ("sign", "1 + y stands where 1 − y belongs", lambda dy, x, y: dy * y * (1.0 + y)),
        ("slope twice", "the slope is in it twice", lambda dy, x, y: dy * (y * (1.0 - y)) ** 2),
        ("dropped term", "dy is added to the slope, not multiplied by it", lambda dy, x, y: dy + y * (1.0 - y)),
    ]
    yield Trial("sigmoid_backward", [{"dy": dy, "x": x, "y": y}], ("dx",), samples=SAMPLES, wrongs=back)
