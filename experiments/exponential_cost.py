"""Does the exponential cost more?

Claim: the sigmoid's exponential is expensive to compute, and so networks of sigmoids are slower than those of ReLUs.
Reference: popular accounts of the sigmoid; of the ReLU's cheapness also Glorot, Bordes & Bengio 2011, section 3.1.
Set-up: CPU time of this process, in float64 on one thread, σ and ReLU in turn, so that both meet the same machine; the
ratio in each of 101 turns (15 in the small version), its median and its range. An element: forward and backward of the
layer alone on arrays of pre-activations from N(0, 1), results written to arrays that are there already. A step:
gradlab's `train` with SGD and binary cross-entropy, everything but the activation equal, first weights too (Glorot's);
a small network, 2-32-32-1 on 1024 moons with batches of 32, and a wide one, 64-512-512-1 on 768 digits with batches of
256. NumPy computes e^x with vector instructions; a machine or a library without them is another experiment.
"""

import math
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from frame import Numbers, Report, array, main
from speed import exhaust, interleave

from gradlab.nn import SGD, Activation, BinaryCrossEntropy, Network, ReLU, Sigmoid, mlp
from gradlab.training import train

ACTIVATIONS: dict[str, Callable[[], Activation]] = {"sigmoid": Sigmoid, "relu": ReLU}
SHAPES = ((32, 32), (128, 128), (256, 512), (1024, 1024))  # the first and the third are those of the two networks
Work = tuple[list[Callable[[], object]], int]  # the same thing with σ and with ReLU, and how often a call does it


def elements(shape: tuple[int, int], at_least: int) -> Work:
    """Pass forward and backward through an activation alone, so often that at least so many elements are passed."""
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *shape))
    y, dx = np.empty(shape), np.empty(shape)
    calls = max(1, at_least // x.size)

    def run(activation: Activation) -> None:
        for _ in range(calls):
            activation.forward(x, y)
            activation.backward(dy, x, y, dx)

    return [partial(run, make()) for make in ACTIVATIONS.values()], calls * x.size


def steps(x: np.ndarray, y: np.ndarray, width: int, batch_size: int, epochs: int) -> Work:
    """Train a network of two hidden layers, from the same first weights each time."""
    widths = [x.shape[1], width, width, 1]
    first = Network(mlp(widths, "sigmoid")).params

    def run(network: Network) -> None:
        network.params[...] = first
        exhaust(train(network, BinaryCrossEntropy(), SGD(0.1), x, y, epochs=epochs, batch_size=batch_size))

    networks = [Network(mlp(widths, name, "glorot_uniform")) for name in ACTIVATIONS]
    return [partial(run, network) for network in networks], epochs * len(x) // batch_size


def measure(turns: int, *works: Work) -> list[np.ndarray]:
    """Do all works in turn; return the nanoseconds of each, (2, turns): of σ, of ReLU."""
    runs = {
        f"{i} {name}": run for i, (both, _) in enumerate(works) for name, run in zip(ACTIVATIONS, both, strict=True)
    }
    interleave(runs, 1)
    seconds = np.array(list(interleave(runs, turns).values())).reshape(len(works), 2, turns)
    return [1e9 * times / count for times, (_, count) in zip(seconds, works, strict=True)]


def experiment(report: Report, quick: bool) -> None:
    from sklearn.datasets import load_digits, make_moons

    size, epochs, rows, turns = (1 << 19, 3, 256, 15) if quick else (1 << 21, 10, 768, 101)
    digits, classes = load_digits(return_X_y=True)
    small = steps(*make_moons(1024, noise=0.2, random_state=0), 32, 32, epochs)
    wide = steps(digits[:rows] / 16.0, classes[:rows] >= 5, 512, 256, 1)
    *of_layers, of_small = measure(turns, *(elements(shape, size) for shape in SHAPES), small)
    (of_wide,) = measure(turns, wide)  # apart: it would drive all else from the processor's caches
    of_elements = dict(zip(SHAPES, of_layers, strict=True))
    training = {"2-32-32-1, batch 32": ((32, 32), of_small), "64-512-512-1, batch 256": ((256, 512), of_wide)}

    for n, d in SHAPES:
        times = of_elements[n, d]
        says = f"an element of an array of {n} × {d}: time of σ / time of ReLU"
        report.claim(says, "median above 1.5", summary(times, "ns"), median_ratio(times) > 1.5)
    ratios, predicted = {}, {}
    for name, (shape, times) in training.items():
        of_layer = of_elements[shape]
        ratios[name] = median_ratio(times)
        share = (ratios[name] - 1.0) / (median_ratio(of_layer) - 1.0)
        predicted[name] = 1.0 + 2 * float(np.prod(shape) * np.median(of_layer[0] - of_layer[1]) / np.median(times[1]))
        report.claim(
            f"a training step of {name}: what is left in it of an element's extra cost, ratio less 1", "at most 25 %",
            f"{round(100.0 * share)} %; time of σ / time of ReLU: {summary(times, 'ns')}", share <= 0.25,
        )  # fmt: skip
    report.numbers |= {
        "elements": {f"an element, {n} × {d}": of_elements[n, d] for n, d in SHAPES},
        "steps": {f"a step, {name}": times for name, (_, times) in training.items()},
        "predicted": list(predicted.values()),
    }
    least, most = (f(median_ratio(times) for times in of_elements.values()) for f in (min, max))
    (a, b), (c, d) = ratios.items()
    report.conclusion = (
        f"“The exponential is expensive” holds for an element: forward and backward take {least:.1f} to {most:.1f} "
        f"times as long for σ as for ReLU. Of “so the network is slower” a part is left in a small network, next to "
        f"nothing in a wide one, since most of a step is matrix products and calls from Python: a step of {a}, takes "
        f"{b:.2f} times as long, one of {c}, {d:.2f} times. From the elements alone one expects {predicted[a]:.2f} and "
        f"{predicted[c]:.2f}. The wider the network, the less the exponential matters: its cost grows with the width, "
        f"that of the products with the width's square. How many steps either needs is another question."
    )


def median_ratio(times: np.ndarray) -> float:
    """Return the median over turns of σ's time / ReLU's."""
    return float(np.median(times[0] / times[1]))


def interval_of_median(ratios: np.ndarray) -> np.ndarray:
    """Return the two turns between which the median lies with 95 % confidence: the sign test's, whatever the noise."""
    n = len(ratios)
    k = max(0, int((n - 1.96 * math.sqrt(n)) / 2.0))
    return np.sort(ratios)[[k, n - 1 - k]]


def summary(times: np.ndarray, unit: str) -> str:
    """Write the median over turns of σ's time / ReLU's, its interval and range, and both times."""
    ratios = times[0] / times[1]
    low, high = interval_of_median(ratios)
    sigmoid, relu = np.median(times, axis=1)
    if sigmoid > 1e3:
        sigmoid, relu, unit = sigmoid / 1e3, relu / 1e3, "µs"
    return (
        f"{median_ratio(times):.2f} (95 % interval {low:.2f} to {high:.2f}; {len(ratios)} turns: {ratios.min():.2f} to "
        f"{ratios.max():.2f}), medians {sigmoid:,.3g} and {relu:,.3g} {unit}"
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, DERIVATIVE

    rows = [(name, array(times), COLOURS["sigmoid"]) for name, times in numbers["elements"].items()]
    rows += [(name, array(times), DERIVATIVE) for name, times in numbers["steps"].items()]
    figure = Figure(figsize=(8.0, 4.0))
    ax = figure.subplots()
    ax.axvline(1.0, color="black", linewidth=1.2)
    for y, (_, times, colour) in enumerate(rows):
        ratios = times[0] / times[1]
        low, high = interval_of_median(ratios)
        middle = np.median(ratios)
        ax.plot([ratios.min(), ratios.max()], [y, y], color=colour, linewidth=1.0)
        ax.plot([low, high], [y, y], color=colour, linewidth=9.0, alpha=0.5, solid_capstyle="butt")
        ax.plot(middle, y, "|", color="black", markersize=13, markeredgewidth=1.5)
        ax.annotate(f"{middle:.2f}", (middle, y), xytext=(0, 9), textcoords="offset points", ha="center", color=colour,
                    fontweight="bold", bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    for y, expected in enumerate(numbers["predicted"], len(numbers["elements"])):
        ax.plot([expected, expected], [y + 0.1, y + 0.42], linestyle="--", color="black", linewidth=1.5)
        ax.annotate("theory", (expected, y + 0.42), xytext=(4, -1), textcoords="offset points", fontsize=9)
    ax.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    ax.set_ylim(len(rows) - 0.45, -0.7)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel(
        "time of σ / time of ReLU (at 1 they are equal)\n"
        "black tick: median over turns; thick: 95 % interval of the median; thin: all turns\n"
        "theory: what a step must take if its elements are all that differs"
    )
    ax.set_title("An element of σ costs more; a wide network's step hardly shows it")
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
