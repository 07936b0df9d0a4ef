"""Does SELU keep mean 0 and variance 1, and what breaks it?

Claim: with SELU units and LeCun's normal weights a deep network normalises itself: whatever comes in, activations come
to mean 0 and variance 1 and stay there.
Reference: Klambauer et al. 2017 (arXiv 1706.02515): (0, 1) is an attracting fixed point for weights with mean 0 and
variance 1/n_in; it is not promised for other weights, nor with plain dropout, for which they made alpha dropout.
Set-up: 30 hidden layers of 512 units (quick: 15 of 256), biases 0, 1000 samples (quick: 300) of independent standard
normal features, 20 seeds (quick: 4); nothing is trained. Mean and variance of a layer's activations are over samples
and units. Beside it one thing is changed at a time: inputs of variance 4, or of mean 1; He's weights; biases of .5;
plain dropout of 10 % at training; and ReLU with its own, He's, weights.
"""

import sys

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm

from gradlab.flow import Interval, mean_interval
from gradlab.nn import Network, mlp

NORMAL, RELU = "SELU", "ReLU, He's weights"


CASES = {  # activation, weights, inputs as (factor, offset), bias, dropout
    NORMAL: ("selu", "lecun_normal", (1.0, 0.0), 0.0, 0.0),
    "inputs of variance 4": ("selu", "lecun_normal", (2.0, 0.0), 0.0, 0.0),
    "inputs of mean 1": ("selu", "lecun_normal", (1.0, 1.0), 0.0, 0.0),
    "He's weights": ("selu", "he_normal", (1.0, 0.0), 0.0, 0.0),
    "biases of .5": ("selu", "lecun_normal", (1.0, 0.0), 0.5, 0.0),
    "10 % dropout": ("selu", "lecun_normal", (1.0, 0.0), 0.0, 0.1),
    RELU: ("relu", "he_normal", (1.0, 0.0), 0.0, 0.0),
}


def moments(case: tuple, depth: int, width: int, rows: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Measure mean and variance (seeds, hidden layers) of each layer's activations."""
    activation, weight_init, (factor, offset), bias, dropout = case
    mean, variance = np.empty((seeds, depth)), np.empty((seeds, depth))
    for seed in range(seeds):
        x = factor * np.random.default_rng([0, seed]).standard_normal((rows, width)) + offset
        layers = mlp([width, *[width] * depth, 1], activation, weight_init, dropout=dropout)
        network = Network(layers, seed=seed)
        for dense in layers[: -1 : 3 if dropout else 2]:
            dense.b[...] = bias
        tape = network.forward(x, training=True)[1:-1]
        given = tape[2::3] if dropout else tape[1::2]  # what the next layer is given
        mean[seed] = [y.mean() for y in given]
        variance[seed] = [y.var() for y in given]
    return mean, variance


def experiment(report: Report, quick: bool) -> None:
    depth, width, rows, seeds = (15, 256, 300, 4) if quick else (30, 512, 1000, 20)
    report.numbers |= {"depth": depth, "width": width, "seeds": seeds, "mean": {}, "variance": {}}
    mean: dict[str, np.ndarray] = {}
    variance: dict[str, np.ndarray] = {}
    for name, case in tqdm(CASES.items(), disable=None, unit="case"):
        mean[name], variance[name] = moments(case, depth, width, rows, seeds)
        report.numbers["mean"][name], report.numbers["variance"][name] = mean[name], variance[name]

    def end(values: dict[str, np.ndarray], name: str) -> Interval:
        return mean_interval(values[name][:, -1])

    loose = 3.0 if quick else 1.0
    of_layers, spread = mean[NORMAL].mean(axis=0), variance[NORMAL].mean(axis=0)
    report.between("SELU: mean of the activations, farthest from 0 in any layer", abs(of_layers).max(),
                   high=0.02 * loose)  # fmt: skip
    report.between("SELU: their variance, least of all layers", spread.min(), 1.0 - 0.05 * loose)
    report.between("SELU: their variance, largest of all layers", spread.max(), high=1.0 + 0.05 * loose)
    for name in ("inputs of variance 4", "inputs of mean 1"):
        report.between(f"{name}: the variance comes back; in the last layer", end(variance, name),
                       1.0 - 0.1 * loose, 1.0 + 0.1 * loose)  # fmt: skip
    report.between("He's weights: the variance in the last layer is another", end(variance, "He's weights"), 1.5)
    moved = end(mean, "biases of .5")
    report.between("biases of .5: the mean in the last layer is another", abs(moved.mean), 0.1)
    report.between("10 % dropout: the variance in the last layer is another", end(variance, "10 % dropout"), 1.2)
    report.between("ReLU: the mean in the last layer is not 0", abs(end(mean, RELU).mean), 0.1)
    back = np.abs(variance["inputs of variance 4"].mean(axis=0) - 1.0)
    layers = int(np.argmax(back < 0.1)) + 1
    too_wide = end(variance, "He's weights").mean
    report.conclusion = (
        f"It does: over {depth} layers the mean stays within {abs(of_layers).max():.3f} of 0 and the variance between "
        f"{spread.min():.3f} and {spread.max():.3f}. Inputs of variance 4 are at 1 again, to a tenth, behind {layers} "
        "layers. What breaks it is what the theorem leaves out: He's weights, which suit a ReLU, end at a variance of "
        f"{too_wide:.2f}; biases of .5 move the activations' mean to {moved.mean:.2f}; plain dropout of 10 % ends at a "
        f"variance of {end(variance, '10 % dropout').mean:.2f} (hence their alpha dropout). ReLU with He's weights has "
        "no such point to come back to: its mean square is kept on average, but each network ends somewhere else, its "
        f"variance in the last layer between {variance[RELU][:, -1].min():.2f} and {variance[RELU][:, -1].max():.2f}."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, label_lines, line_and_band

    figure = Figure(figsize=(13.0, 4.8))
    layer = np.arange(1, numbers["depth"] + 1)
    colours = dict(
        zip(CASES, (COLOURS["sigmoid"], "#000078", "#009E73", "#E69F00", "#CC79A7", "#555555", COLOURS["relu"]),
            strict=True)
    )  # fmt: skip
    panels = figure.subplots(1, 2)
    for ax, what in zip(panels, ("mean", "variance"), strict=True):
        ends = []
        for name, colour in colours.items():
            values = array(numbers[what][name])
            line_and_band(ax, layer, values, colour)
            ends.append((name, layer[-1], float(np.median(values[:, -1])), colour))
        ax.axhline(0.0 if what == "mean" else 1.0, color="black", linestyle="--", linewidth=1.0)
        ax.set_xlabel("hidden layer (1 = next to the input)")
        if what == "variance":
            ax.set_yscale("log")
        ax.set_title(f"{what} of the activations", loc="left")
        label_lines(ax, ends)
    figure.suptitle(
        f"SELU and LeCun's weights (blue), and one thing changed at a time; width {numbers['width']}, nothing trained\n"
        f"line: median; band: the middle 80 % of {numbers['seeds']} seeds; dashed: what is promised",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
