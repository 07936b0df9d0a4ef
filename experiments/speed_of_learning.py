"""Do the first layers of a sigmoid network learn slowest, as fast as Nielsen measured?

Claim: in a deep network of sigmoids the early layers learn much more slowly than the late ones.
Reference: Nielsen, Neural Networks and Deep Learning, chapter 5: the speed of learning of layer l is ‖∂C/∂b_l‖, the
norm of its biases' gradient, averaged over 1000 images before the norm is taken. At one initialisation each he found
.0657, .309 in [784, 30, 30, 10], .0118, .0600, .283 with a third hidden layer and .0030, .0171, .0695, .285 with a
fourth. Theory: Schoenholz et al. 2017 (arXiv 1611.01232), eq. 5: a factor √χ a layer, at the fixed point of his first
weights.
Set-up: his first weights, W from N(0, 1/n_in) and b from N(0, 1), and the cross-entropy of ten output sigmoids, which
his program takes; the quadratic cost for comparison. Not his data: the first 1000 of scikit-learn's 8×8 digits, scaled
to 0–1, so 64 inputs where MNIST has 784. 200 initialisations of each network (40 in the small version) take the place
of his one; full-batch gradients, before any step. Whether his values could be among ours is read off the central 95 %
of them. The theory speaks of the mean squared norm, so the ratio of a layer to the next is the root of the mean, over
the initialisations, of the squared ratio, with Student's 95 % interval.
"""

import sys

import numpy as np
from frame import Numbers, Report, array, main

from gradlab.flow import Interval, mean_field, mean_interval
from gradlab.nn import SGD, BinaryCrossEntropy, Dense, Loss, Network, SquaredError, mlp
from gradlab.training import train

NIELSEN = ((0.0657, 0.309), (0.0118, 0.0600, 0.283), (0.0030, 0.0171, 0.0695, 0.285))  # from the input to the output
WIDTH, CLASSES, ROWS = 30, 10, 1000
COSTS: dict[str, Loss] = {"cross-entropy": BinaryCrossEntropy(), "quadratic": SquaredError(on="sigmoid")}
AT_ONCE = 20  # replicas in a pass; all of them would take a gigabyte


def speeds(x: np.ndarray, y: np.ndarray, hidden: int, loss: Loss, seeds: int) -> np.ndarray:
    """Compute ‖∂C/∂b‖ of all layers but the last (seeds, hidden), at initialisation."""

    def some(start: int) -> np.ndarray:
        widths = [x.shape[1], *[WIDTH] * hidden, CLASSES]
        layers = mlp(widths, "sigmoid", "lecun_normal", bias_init="normal")
        network = Network(layers, seed=range(start, min(start + AT_ONCE, seeds)))
        next(train(network, loss, SGD(), x, y, epochs=1, batch_size=len(x), shuffle=False))
        biases = [layer.db for layer in network.layers if isinstance(layer, Dense)]
        return np.concatenate([np.linalg.norm(db, axis=-1) for db in biases[:-1]], axis=-1)

    return np.concatenate([some(start) for start in range(0, seeds, AT_ONCE)])


def root(square: Interval) -> Interval:
    """Return the interval of a root mean square from that of the mean square."""
    return Interval(*np.sqrt([square.mean, square.low, square.high]).tolist())


def experiment(report: Report, quick: bool) -> None:
    from sklearn.datasets import load_digits

    digits, classes = load_digits(return_X_y=True)
    x, y = digits[:ROWS] / 16.0, np.eye(CLASSES)[classes[:ROWS]]
    seeds, share = (40, 0.1) if quick else (200, 0.05)
    theory = mean_field("sigmoid", 1.0, 1.0).chi ** 0.5

    found = {cost: [speeds(x, y, len(his), loss, seeds) for his in NIELSEN] for cost, loss in COSTS.items()}
    inside: dict[str, int] = dict.fromkeys(COSTS, 0)
    for cost, networks in found.items():
        for his, ours in zip(NIELSEN, networks, strict=True):
            low, high = np.quantile(ours, [0.025, 0.975], axis=0)
            are_inside = (low <= his) & (his <= high)
            inside[cost] += int(are_inside.sum())
            if cost == "cross-entropy":
                report.claim(
                    f"{len(his)} hidden layers: Nielsen's speeds lie in the central 95 % of {seeds} initialisations",
                    ", ".join(f"{v:.4f}" for v in his),
                    ", ".join(f"{v:.4f} to {w:.4f}" for v, w in zip(low, high, strict=True)), are_inside.all(),
                )  # fmt: skip
    report.claim("the same with the quadratic cost, which is not his: of the nine, so many lie inside", "0",
                 str(inside["quadratic"]), inside["quadratic"] == 0)  # fmt: skip
    ratios = []
    for ours in found["cross-entropy"]:
        squares = (ours[:, :-1] / ours[:, 1:]) ** 2
        each = [root(mean_interval(layer)) for layer in squares.T]
        ratios += [ratio.mean for ratio in each]
        report.claim(
            f"{ours.shape[1]} hidden layers: ratio of each layer's speed to the next's",
            f"{theory:.4f} ± {100 * share:g} %",
            "; ".join(f"{ratio.mean:.4f} (95 % interval {ratio.low:.4f} to {ratio.high:.4f})" for ratio in each),
            all(abs(ratio.mean - theory) <= share * theory for ratio in each),
        )
    deepest = found["cross-entropy"][-1]
    report.count("four hidden layers: every layer is slower than the next", (np.diff(deepest) > 0.0).all(axis=1),
                 at_least=int(0.95 * seeds))  # fmt: skip
    report.numbers |= {"speeds": found, "nielsen": NIELSEN, "factor": theory}
    slower = np.median(deepest[:, -1] / deepest[:, 0])
    report.conclusion = (
        f"Of Nielsen's nine values, from one initialisation each and from other images, {inside['cross-entropy']} lie "
        f"among the central 95 % of ours. A layer learns {np.mean(ratios):.3f} times as fast as the next, in theory "
        f"√χ = {theory:.3f}; the first of four hidden layers {slower:.0f} times (median) more slowly than the last. "
        f"That the images hardly matter is no accident: they move the first pre-activations with a variance of "
        f"{np.mean(x**2):.2f}, the biases with one of 1. The cost does matter: with the quadratic one, whose slope at "
        f"the output has a factor σ′ more, all layers are slower alike, and {inside['quadratic']} of the nine lie "
        f"inside. All this is said of the first step, and of these first weights."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, label_lines

    figure = Figure(figsize=(11.0, 4.4))
    panels = figure.subplots(1, 3, sharey=True)
    colours = {"cross-entropy": COLOURS["sigmoid"], "quadratic": COLOURS["softplus"]}
    for n, (ax, his) in enumerate(zip(panels, numbers["nielsen"], strict=True)):
        layers = np.arange(1, len(his) + 1)
        ends = []
        for cost, networks in numbers["speeds"].items():
            low, middle, high = np.quantile(array(networks[n]), [0.025, 0.5, 0.975], axis=0)
            ax.fill_between(layers, low, high, color=colours[cost], alpha=0.2, linewidth=0)
            ax.plot(layers, middle, color=colours[cost], linewidth=1.8)
            ends.append((f"{cost} cost", layers[-1], middle[-1], colours[cost]))
            if cost == "cross-entropy":
                theory = middle[-1] * numbers["factor"] ** (layers[-1] - layers)
                ax.plot(layers, theory, "--", color="black", linewidth=1.5)
                ax.annotate("theory", (1.5, np.sqrt(theory[0] * theory[1])), xytext=(8, -12),
                            textcoords="offset points")  # fmt: skip
        ax.plot(layers, his, "ko", markersize=6)
        ax.set(yscale="log", xticks=layers, xlim=(0.8, len(his) + 0.2), title=f"{len(his)} hidden layers")
    panels[0].set_ylabel("speed of learning ‖∂C/∂b‖\nat initialisation (cost per unit of bias)")
    panels[1].set_xlabel(
        "hidden layer, from the input\n"
        "line: median; band: the central 95 % of initialisations; black dots: what Nielsen measured once, on MNIST\n"
        f"theory: a factor √χ = {numbers['factor']:.3f} a layer, from the last one backwards"
    )
    label_lines(panels[-1], ends)
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
