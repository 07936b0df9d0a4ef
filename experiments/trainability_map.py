"""Where in the plane of weight scale and depth does a network train?

Claim: a network can be trained up to a depth of about six ξ_c, the number of layers over which the correlation of two
samples comes e-fold nearer to its end: very deep near the critical weight scale, and not deep on either side of it.
Reference: Schoenholz et al. 2017 (arXiv 1611.01232), figure 5: tanh networks of width 300 with biases of variance .05
on MNIST, accuracy as a map over σ_w² and depth, with the line 6·ξ_c; the critical σ_w² is 1.76.
Set-up: tanh networks of width 48 on the digits 0 to 4 against 5 to 9, standardised, three quarters to train on; weights
N(0, σ_w²/n_in), biases N(0, .05), one logit, binary cross-entropy, SGD at .01 with momentum .9, batches of 32, 10
epochs, which is 430 steps; 32 weight scales × 16 depths × 4 seeds, 2048 networks (quick: 4 × 3 × 2). The border is the
depth at which the mean accuracy on the points trained on crosses .75, on straight lines between the depths tried.
"""

import math
import sys
import time

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm
from trained import share_right

from gradlab.datasets import load
from gradlab.flow import correlation_fixed_point, critical_gain
from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
from gradlab.training import DivergenceError, train

WIDTH, BATCH, EPOCHS, BIAS_STD, LEVEL = 48, 32, 10, math.sqrt(0.05), 0.75
SIXFOLD = 6.0


def biases(rng: np.random.Generator, shape: tuple[int, int], gain: float) -> np.ndarray:
    """Draw biases of variance .05."""
    return BIAS_STD * rng.standard_normal(shape)


def widths(features: int, depth: int) -> list[int]:
    return [features, *[WIDTH] * depth, 1]


def trained_accuracy(data, square: float, depth: int, epochs: int, seeds: int) -> np.ndarray:
    """Train networks; return the share (seeds,) of the points trained on that are right, ½ if they diverge."""
    layers = mlp(widths(data.x_train.shape[1], depth), "tanh", "lecun_normal", gain=math.sqrt(square), bias_init=biases)
    network = Network(layers, seed=range(seeds))
    try:
        for _ in train(network, BinaryCrossEntropy(), SGD(0.01, momentum=0.9), data.x_train, data.y_train,
                       epochs=epochs, batch_size=BATCH, each="epoch"):  # fmt: skip
            pass
    except DivergenceError:
        return np.full(seeds, 0.5)
    return share_right(network, data)


def crossing(depths: np.ndarray, accuracy: np.ndarray) -> float:
    """Return the depth at which accuracy (depths,) last falls below the level; inf if it ends above it."""
    above = np.flatnonzero(accuracy >= LEVEL)
    if not above.size:
        return float(depths[0])
    i = above[-1]
    if i == len(depths) - 1:
        return math.inf
    return float(depths[i] + (depths[i + 1] - depths[i]) * (accuracy[i] - LEVEL) / (accuracy[i] - accuracy[i + 1]))


def products_seconds(features: int, depths: np.ndarray, batches: int) -> float:
    """Measure the CPU time of the products of one network of each depth for so many batches."""
    from speed import products_of

    seconds = 0.0
    for depth in depths:
        multiply = products_of(widths(features, depth), BATCH, np.float64, batches)
        multiply()
        started = time.process_time()
        multiply()
        seconds += time.process_time() - started
    return seconds


def experiment(report: Report, quick: bool) -> None:
    digits = load("digits")
    squares = np.array([0.5, 1.75, 3.0, 4.0]) if quick else np.linspace(0.25, 4.0, 32)
    depths = np.array([4, 16, 40]) if quick else np.arange(3, 49, 3)
    seeds, epochs = (2, 3) if quick else (4, EPOCHS)
    features, batches = digits.x_train.shape[1], math.ceil(len(digits.x_train) / BATCH)
    accuracy = np.empty((len(squares), len(depths), seeds))
    started = time.process_time()
    with tqdm(total=accuracy.size, disable=None, unit="network") as progress:
        for i, square in enumerate(squares):
            for k, depth in enumerate(depths):
                accuracy[i, k] = trained_accuracy(digits, square, int(depth), epochs, seeds)
                progress.update(seeds)
    ours = time.process_time() - started
    cost = ours / (products_seconds(features, depths, batches) * epochs * seeds * len(squares))
    scales = np.array([correlation_fixed_point("tanh", math.sqrt(s), BIAS_STD).depth_scale for s in squares])
    border = np.array([crossing(depths, accuracy[i].mean(axis=1)) for i in range(len(squares))])
    critical = critical_gain("tanh", BIAS_STD) ** 2
    report.numbers |= {
        "squares": squares, "depths": depths, "accuracy": accuracy.mean(axis=2), "border": border, "scales": scales,
        "critical": critical, "networks": accuracy.size, "cost": cost,
    }  # fmt: skip
    report.within("the critical σ_w² of tanh with a bias variance of .05", critical, 1.76, 0.005)
    best = float(squares[np.argmax(accuracy.mean(axis=(1, 2)))])
    report.between("σ_w² at which most is learned, over all depths", best, 1.2, 2.4)
    ratio = border / scales
    short = np.isfinite(border) & (border > depths[0]) & (SIXFOLD * scales < 0.5 * depths[-1])  # the map has room
    typical = float(np.median(ratio[short])) if short.any() else math.nan
    report.between(
        f"where 6 ξ_c is below {depths[-1] // 2} layers: the border in ξ_c, their median", typical, 3.0, 12.0
    )
    beyond = depths > 2.0 * SIXFOLD * scales[:, np.newaxis]
    learned = float(np.mean(accuracy[beyond] > LEVEL)) if beyond.any() else math.nan
    report.between("share of the networks deeper than 12 ξ_c that have learned", learned, high=0.05)
    tops = np.where(np.isfinite(border), border, depths[-1])
    near = float(tops[abs(squares - critical) < 0.3].max())
    report.conclusion = (
        f"The deepest that learn have a σ_w² near {best:.2f}; theory's critical one is {critical:.2f}. Where ξ_c is "
        f"short, the border follows it, at {typical:.1f} ξ_c in the median (the paper draws 6, for other images, "
        f"widths and budgets), and of the networks deeper than 12 ξ_c {learned:.1%} have learned. Near the critical "
        f"scale theory sets no limit; there it is the budget of {epochs * batches} steps and the width of {WIDTH}, "
        f"beside which such depths are not small, that end it at {near:.0f} layers. The {accuracy.size} trainings took "
        f"{cost:.2f} times the CPU time of their matrix products alone."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5.4))
    ax = figure.subplots()
    squares, depths = array(numbers["squares"]), array(numbers["depths"])
    mesh = ax.pcolormesh(squares, depths, array(numbers["accuracy"]).T, cmap="cividis", vmin=0.5, vmax=1.0,
                         shading="nearest")  # fmt: skip
    figure.colorbar(mesh, label="mean accuracy on the points trained on")
    scales, border = array(numbers["scales"]), array(numbers["border"])
    fine = np.linspace(squares[0], squares[-1], 400)
    ax.plot(fine, SIXFOLD * np.interp(fine, squares, scales), color="white", linewidth=2.0, linestyle="--",
            label="6 ξ_c, theory")  # fmt: skip
    ax.plot(squares, border, color="#D55E00", linewidth=2.0, marker="o", markersize=4,
            label=f"measured border: accuracy {LEVEL}")  # fmt: skip
    ax.axvline(numbers["critical"], color="white", linestyle=":", linewidth=1.2)
    ax.annotate(f"critical: {numbers['critical']:.2f}", (numbers["critical"], depths[-1]), xytext=(5, -12),
                textcoords="offset points", color="white")  # fmt: skip
    half = (depths[1] - depths[0]) / 2.0
    ax.set_ylim(depths[0] - half, depths[-1] + half)
    ax.set_xlabel("σ_w², the variance of the weights times n_in")
    ax.set_ylabel("hidden layers")
    ax.grid(False)
    ax.legend(loc="upper right", labelcolor="white", facecolor="#222222", framealpha=0.7, edgecolor="none")
    ax.set_title(f"{numbers['networks']} tanh networks of width {WIDTH}, digits, {EPOCHS} epochs", loc="left")
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
