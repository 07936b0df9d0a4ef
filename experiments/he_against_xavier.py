"""Does Xavier's initialisation stall deep ReLU networks?

Claim: with Xavier's (Glorot's) weights each ReLU layer halves the signal's mean square; a network of 22 layers still
learns, later than with He's weights, and one of 30 stalls.
Reference: He et al. 2015 (arXiv 1502.01852), figures 2 and 3: convolutional networks on ImageNet, 22 layers (both
converge, He's sooner) and 30 layers (Xavier's does not).
Set-up: fully connected, 22 and 30 weight layers, so 21 and 29 hidden layers of 64 ReLUs; the digits 0 to 4 against 5 to
9, standardised, three quarters to train on; biases 0, normal weights of variance 2/n_in (He) or 1/n_in (Xavier's for
layers as wide as their input, as in that paper); the loss is binary cross-entropy, SGD with momentum .9 as theirs,
batches of 32; 60 epochs, 10 seeds (quick: 15 epochs, 3 seeds). For each the learning rate is the one of .001, .003,
.01, .03 and .1 with the best mean accuracy at the end on the points trained on.
"""

import sys

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main
from tqdm import tqdm
from trained import best, over_rates

from gradlab.datasets import load
from gradlab.nn import SGD, mlp

WIDTH, LEARNED = 64, 0.95
LAYERS = (22, 30)
CHOICES = {"He": "he_normal", "Xavier": "lecun_normal"}  # variance 2/n_in and 1/n_in
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)


def experiment(report: Report, quick: bool) -> None:
    digits = load("digits")
    rates, epochs, seeds = ((0.01, 0.03), 15, 3) if quick else (RATES, 60, 10)
    report.numbers |= {"epochs": epochs, "seeds": seeds, "curves": {}, "rates": {}, "ends": {}}
    found: dict[tuple[int, str], np.ndarray] = {}
    for layers in tqdm(LAYERS, disable=None, unit="depth"):
        for name, weight_init in CHOICES.items():
            curves = over_rates(
                mlp([digits.x_train.shape[1], *[WIDTH] * (layers - 1), 1], "relu", weight_init),
                digits,
                rates,
                lambda rate: SGD(rate, momentum=0.9),
                epochs=epochs,
                every=1,
                seeds=seeds,
            )
            rate = best(curves)
            found[layers, name] = curves[rate]
            report.numbers["curves"][f"{layers} {name}"] = curves[rate]
            report.numbers["rates"][f"{layers} {name}"] = rate
            report.numbers["ends"][f"{layers} {name}"] = {f"{r:g}": curve[-1] for r, curve in curves.items()}

    def arrives(layers: int, name: str) -> np.ndarray:
        """Return the epoch (seeds,) from which on more than `LEARNED` are right; inf if none."""
        reached = found[layers, name] > LEARNED
        return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1.0, np.inf)

    most = seeds - seeds // 5
    for layers in LAYERS:
        report.count(f"{layers} layers, He: more than {LEARNED:.0%} right", np.isfinite(arrives(layers, "He")), most)
    report.count(f"22 layers, Xavier: more than {LEARNED:.0%} right", np.isfinite(arrives(22, "Xavier")), most)
    report.count("22 layers: He is there in fewer epochs", arrives(22, "He") < arrives(22, "Xavier"), most)
    report.count("30 layers, Xavier: it stalls, at most 60 % right", found[30, "Xavier"][-1] <= 0.6, most)
    epochs_of = {key: np.median(arrives(*key)) for key in found}
    shown = {key: f"{number:.0f} epochs" if np.isfinite(number) else "never" for key, number in epochs_of.items()}
    stalled = [int(np.sum(found[layers, "Xavier"][-1] <= 0.6)) for layers in LAYERS]
    report.conclusion = (
        f"Each at its best learning rate, the median network has {LEARNED:.0%} of the digits right after "
        f"{shown[22, 'He']} with He's weights and {shown[22, 'Xavier']} with Xavier's in 22 layers, and after "
        f"{shown[30, 'He']} and {shown[30, 'Xavier']} in 30 layers. With Xavier's weights {stalled[0]} of {seeds} "
        f"networks of 22 layers stall, and {stalled[1]} of {seeds} of 30. "
    )
    report.conclusion += (
        "That is what the paper reports."
        if all(claim.holds for claim in report.claims)
        else "Where a claim fails, ours departs from the paper's: its networks are convolutional and its images of a "
        "thousand classes. The halving is the same in both: after 21 layers Xavier's signal is 2^−10.5 of its size, "
        "after 29 2^−14.5; what a learning rate can make of that depends on the task and on the budget."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import label_lines, line_and_band

    figure = Figure(figsize=(10.5, 4.2))
    colours = {"He": "#D55E00", "Xavier": "#307EC7"}
    epoch = np.arange(1, numbers["epochs"] + 1)
    for ax, layers in zip(figure.subplots(1, 2, sharey=True), LAYERS, strict=True):
        ends = []
        for name, colour in colours.items():
            curves = array(numbers["curves"][f"{layers} {name}"])
            line_and_band(ax, epoch, curves.T, colour)
            rate = numbers["rates"][f"{layers} {name}"]
            ends.append((f"{name}, rate {rate:g}", epoch[-1], float(np.median(curves[-1])), colour))
        ax.axhline(LEARNED, color="#777777", linestyle=":")
        ax.set(xlabel="epoch", ylim=(0.45, 1.02))
        ax.set_title(f"{layers} layers", loc="left")
        label_lines(ax, ends)
    figure.axes[0].set_ylabel("accuracy on the points trained on")
    figure.suptitle(
        f"ReLU networks on the digits, each at its best learning rate, {numbers['seeds']} seeds\n{LEGEND_OF_BANDS}",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
