"""Is the sigmoid what is said of it?

Claim: σ(x) = 1/(1 + e^(−x)) is S-shaped, from 0 to 1, with σ(0) = ½; its slope is σ·(1 − σ), at most ¼; tanh is a
rescaled sigmoid; its range (0, 1) is open.
Reference: popular accounts of the sigmoid; one prints its formula as 1 + e^(−z)/1, which is not it.
Set-up: gradlab's `Sigmoid` on a dense grid, in float64 and float32, and between two neighbouring floating-point numbers
where it first rounds to 1.
"""

import sys

import numpy as np
from frame import Numbers, Report, array, main

from gradlab.nn import Sigmoid, Tanh

SIGMOID = Sigmoid()


def first_one(dtype: type, points: int) -> float:
    """Find the least number whose sigmoid is exactly 1: on a grid, then by halving down to two neighbouring floats."""
    grid = np.linspace(15.0, 40.0, points, dtype=dtype)
    i = int(np.argmax(SIGMOID.forward(grid) == 1.0))
    below, above = grid[i - 1], grid[i]
    while (middle := dtype((below + above) / 2)) not in (below, above):
        below, above = (below, middle) if SIGMOID.forward(np.full(1, middle))[0] == 1.0 else (middle, above)
    return float(above)


def experiment(report: Report, quick: bool) -> None:
    x = np.arange(-6.0, 6.0, 0.01)
    y = SIGMOID.forward(x)
    slope = SIGMOID.derivative(x, y)
    report.numbers |= {"x": x, "y": y, "slope": slope}

    wide = np.linspace(-40.0, 40.0, 20_001 if quick else 2_000_001)
    values = SIGMOID.forward(wide)
    falls = np.diff(values) < 0.0
    ulps = np.max(-np.diff(values)[falls] / np.spacing(values[1:][falls]), initial=0.0)
    report.between(
        "where σ falls from one point to the next, it falls by so many units in the last place", ulps, high=4
    )
    report.between("σ(0) differs from ½ by", abs(SIGMOID.forward(np.zeros(1))[0] - 0.5), high=0.0)
    slopes = SIGMOID.derivative(wide, values)
    at = wide[np.argmax(slopes)]
    report.claim("the slope is greatest at 0", "0.25 at 0", f"{slopes.max():g} at {at:g}", bool(
        slopes.max() == 0.25 and abs(at) < 1e-12))  # fmt: skip
    step = 1e-5
    central = (SIGMOID.forward(x + step) - SIGMOID.forward(x - step)) / (2.0 * step)
    report.between("σ·(1 − σ) and the central difference differ", abs(central - slope).max(), high=1e-10)
    by_sigmoid = 2.0 * SIGMOID.forward(2.0 * x) - 1.0
    report.between("tanh(x) and 2σ(2x) − 1 differ", abs(Tanh().forward(x) - by_sigmoid).max(), high=1e-15)
    garbled = 1.0 + np.exp(-x) / 1.0
    report.between("1 + e^(−x)/1, as it was printed, and σ differ", abs(garbled - y).max(), low=1.0)

    ones = {dtype.__name__: first_one(dtype, 10_001 if quick else 10_000_001) for dtype in (np.float64, np.float32)}
    report.numbers["first_one"] = ones
    for name, z in ones.items():
        tight = SIGMOID.forward(np.nextafter(np.full(1, z, dtype=name), np.array(0.0, name)))[0]
        report.claim(f"in {name} the range is not open: some finite z has σ(z) = 1", "a finite z",
                     f"z = {z:.6g}, and {float(1.0 - tight):.2g} below 1 just before", np.isfinite(z))  # fmt: skip
    report.conclusion = (
        f"What is said of its shape holds: S-shaped, ½ at 0, slope at most ¼, and tanh is the same curve stretched. "
        f"Only on paper is it open at the top, and rising everywhere: in floating point σ(z) is exactly 1 from "
        f"z = {ones['float64']:.4g} on ({ones['float32']:.4g} in float32), with a slope of exactly 0, and of "
        f"{len(falls):,} steps to the right {falls.sum():,} go down, by {ulps:g} units in the last place at most."
    )


def draw(numbers: Numbers):
    from gradlab.lab.figures import sigmoid_and_slope

    return sigmoid_and_slope(*(array(numbers[name]) for name in ("x", "y", "slope")))


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
