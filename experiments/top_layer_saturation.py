"""Does the top layer of a deep sigmoid network saturate in the first epochs?

Claim: in a deep sigmoid network the top hidden layer's activations are soon driven towards 0, where σ′ vanishes and
nothing below learns; many epochs later they come back, and only then does the network learn.
Reference: Glorot & Bengio 2010, fig. 2, on Shapeset-3×2 with stochastic gradient descent in batches of 10. Section 3.1
explains it by the loss alone: as long as the top layer says nothing of the class, the softmax does better without it,
and pushes it to 0.
Set-up: scikit-learn's digits, divided by 16, 1497 to train on; four hidden layers of 100, weights U[±1/√n_in], biases
0, ten classes through a softmax, plain SGD at a rate of 0.3, float32. A layer's mean activation is that over its 100
units and 300 test digits, after some of the steps. Batches of 10: 450 epochs, 8 seeds. Full batches: 7000 steps, 3
seeds; what is said of "no saturation" is within these. The first 1500 of them are twice as many steps as five epochs in
batches of 10.
"""

import sys

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main

from gradlab.flow import mean_interval
from gradlab.nn import SGD, Network, SoftmaxCrossEntropy, mlp
from gradlab.training import train

HIDDEN = 4
BATCH = 10
EARLY = 5  # epochs


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels from 0 to 1 and digits, to train on and to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, digit = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16.0, digit, test_size=300, stratify=digit, random_state=0)
    return x_train, y_train, x_test, y_test


def follow(batch_size: int, epochs: int, seeds: int, also: int) -> dict[str, np.ndarray]:
    """Train, and return the hidden layers' mean activations (seeds, steps, layers) after some steps.

    The steps are spaced evenly on a log scale, and `also` is one of them. With it come test accuracy and the last
    epoch's running loss, (seeds,).
    """
    x_train, y_train, x_test, y_test = digits()
    widths = [x_train.shape[1], *[100] * HIDDEN, 10]
    layers = mlp(widths, "sigmoid", "lecun_uniform", gain=3**-0.5)  # of U[±√(3/n_in)] it makes U[±1/√n_in]
    network = Network(layers, seed=range(seeds), dtype=np.float32)
    last = epochs * -(-len(x_train) // batch_size)
    wanted = np.unique(np.r_[np.geomspace(1, last, 150).astype(int), also])
    means = []
    for step in train(
        network, SoftmaxCrossEntropy(), SGD(0.3), x_train, np.eye(10)[y_train],
        epochs=epochs, batch_size=batch_size,
    ):  # fmt: skip
        if step.index + 1 in wanted:
            tape = network.forward(x_test)
            means.append([y.mean(axis=(-2, -1), dtype=np.float64) for y in tape[2:-1:2]])
    accuracy = (network.decision_function(x_test).argmax(axis=-1) == y_test).mean(axis=-1)
    return {
        "step": wanted,
        "mean": np.moveaxis(np.array(means), -1, 0),
        "accuracy": accuracy,
        "loss": step.running_loss.astype(np.float64),
    }


def experiment(report: Report, quick: bool) -> None:
    steps_early = EARLY * -(-len(digits()[0]) // BATCH)
    still = 100 if quick else 2 * steps_early
    small = follow(BATCH, EARLY if quick else 450, seeds=2 if quick else 8, also=steps_early)
    full = follow(2000, still if quick else 7000, seeds=2 if quick else 3, also=still)
    report.numbers |= {"small": small, "full": full, "early": steps_early, "batch": BATCH}

    top = small["mean"][..., -1]
    early = top[:, small["step"] == steps_early][:, 0]
    n = len(top)
    report.count(f"the top layer's mean is below 0.25 after {EARLY} epochs of batches of {BATCH}", early < 0.25, n)
    steady = full["mean"][:, full["step"] <= still, -1]
    report.between(
        f"with full batches, the largest distance of the top layer's mean from 0.5 in {still} steps",
        abs(steady - 0.5).max(), high=0.02,
    )  # fmt: skip
    fallen = mean_interval(early)
    report.conclusion = (
        f"It appears: in batches of {BATCH}, the top layer's mean is {fallen.mean:.3f} after {EARLY} epochs, and with "
        f"full batches it stays within {abs(steady - 0.5).max():.3f} of ½ for {still} steps."
    )
    if quick:
        return
    lowest, end = top.min(axis=1), top[:, -1]
    report.count("later it comes back: its mean ends at ten times its lowest or more", end >= 10.0 * lowest, n)
    report.count("and only then the network learns: its test accuracy ends above 0.85", small["accuracy"] > 0.85, n)
    top_of_full = full["mean"][..., -1]
    report.between(
        f"with full batches it does not saturate while learning either: its lowest mean in {full['step'][-1]} steps",
        top_of_full.min(), low=0.4,
    )  # fmt: skip
    report.conclusion = (
        f"Yes, and the noise of small batches makes it. In batches of {BATCH}, the top layer's mean activation falls "
        f"from ½ to {fallen.mean:.3f} within {EARLY} epochs and to {lowest.mean():.4f} at its lowest, while the "
        f"network guesses; some hundred epochs later it comes back, not to ½ but to {end.mean():.2f}, and "
        f"{small['accuracy'].mean():.0%} of the test digits are right. The layer below it meanwhile goes up, to "
        f"{small['mean'][..., -2].max(axis=1).mean():.2f}. With full batches, all else equal, the top layer stays "
        f"within {abs(steady - 0.5).max():.3f} of ½ for {still} steps, twice as many as those {EARLY} epochs had, and "
        f"never falls below {top_of_full.min():.2f} in {full['step'][-1]} steps, in which the training loss falls from "
        f"2.30 to {full['loss'].mean():.2f}. So the figure of 2010 reproduces, but the explanation given with it is "
        f"not enough, as it would hold for full batches too."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import label_lines, line_and_band

    shades = ["#8FB8DF", "#5C98D2", "#2467A8", "#0B2340"]  # the sigmoid's blue, darker towards the top
    figure = Figure(figsize=(10.0, 4.4))
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, key, how in zip(axes, ("small", "full"), (f"batches of {numbers['batch']}", "full batches"), strict=True):
        steps, means = array(numbers[key]["step"]), array(numbers[key]["mean"])
        ax.set(xscale="log", ylim=(0.0, 1.0), xlabel="training step")
        for layer, colour in enumerate(shades):
            line_and_band(ax, steps, means[..., layer], colour)
        ax.axvline(numbers["early"], color="#999999", linestyle=":")
        ax.text(0.85 * numbers["early"], 0.97, "5 epochs of\nbatches of 10", ha="right", va="top", color="#666666")
        ax.set_title(f"{how} ({len(means)} seeds)")
    axes[0].set_ylabel("mean activation on the test digits")
    figure.suptitle("The top sigmoid layer saturates under the noise of small batches, and not without it")
    figure.supxlabel(LEGEND_OF_BANDS, fontsize=9, color="#666666")
    for ax, key in zip(axes, ("small", "full"), strict=True):
        steps, last = array(numbers[key]["step"]), np.median(array(numbers[key]["mean"])[:, -1], axis=0)
        names = [f"layer {i + 1}" + (" (top)" if i + 1 == HIDDEN else "") for i in range(HIDDEN)]
        label_lines(ax, [(name, steps[-1], y, c) for name, y, c in zip(names, last, shades, strict=True)])
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
