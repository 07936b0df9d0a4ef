"""Is the depth that can be trained the depth that a gradient survives?

Claim: what theory says of the first step decides what can be learned at all: networks train up to a depth L that is
a constant number of ξ = −1/ln χ, the depth over which the squared norm of a gradient falls to 1/e.
Reference: Schoenholz et al. 2017 (arXiv 1611.01232), who see ξ mark the border for tanh networks on MNIST and CIFAR-10.
Set-up: `gradlab.datasets.load("moons")`: 1000 points of scikit-learn's make_moons with noise 0.2, seed 0, of which 750
are trained on, standardised. Hidden layers of 32 units with σ, Glorot's uniform weights times a gain of 1, 2, 3 or 4,
that of the logits included, biases 0; binary cross-entropy; SGD with batches of 32; a budget of 60 epochs, which is
1440 steps; 10 seeds. For each gain and depth the learning rate is the one of 0.1, 0.3, 1 and 3 with the best mean
accuracy at the end. L is where the mean accuracy on the points trained on crosses .75, half-way between guessing and
all right, on straight lines between the depths tried; its interval comes from drawing the seeds anew 2000 times (the
rates stay as chosen). ξ is that of infinitely wide layers.
"""

import sys

import numpy as np
from frame import Numbers, Report, array, main
from trained import best, over_rates, widths

from gradlab.datasets import load
from gradlab.flow import Interval, mean_field
from gradlab.nn import mlp

LEVEL, EPOCHS = 0.75, 60
RATES = (0.1, 0.3, 1.0, 3.0)
DEPTHS = {
    1.0: (2, 3, 4, 5, 6, 7),
    2.0: (4, 5, 6, 7, 8, 9, 10),
    3.0: (6, 8, 10, 12, 14, 16),
    4.0: (8, 10, 12, 14, 16, 18, 20),
}


def crossing(depths: np.ndarray, accuracy: np.ndarray) -> float:
    """Return the depth at which accuracy (depths,) first falls below the level; nan if it does not, or always is."""
    below = np.flatnonzero(accuracy < LEVEL)
    if not below.size or below[0] == 0:
        return np.nan
    i = below[0] - 1
    return depths[i] + (depths[i + 1] - depths[i]) * (accuracy[i] - LEVEL) / (accuracy[i] - accuracy[i + 1])


def with_interval(depths: np.ndarray, accuracies: np.ndarray, draws: int = 2000) -> Interval:
    """Return the depth at which the mean of accuracies (depths, seeds) crosses the level, with a bootstrap interval."""
    seeds = accuracies.shape[1]
    picks = np.random.default_rng(0).integers(seeds, size=(draws, seeds))
    found = [crossing(depths, accuracies[:, pick].mean(axis=1)) for pick in picks]
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(crossing(depths, accuracies.mean(axis=1)), low, high)


def experiment(report: Report, quick: bool) -> None:
    moons = load("moons")
    tried = {1.0: (4, 5, 6), 2.0: (6, 8, 10)} if quick else DEPTHS
    rates, seeds = ((0.3, 3.0), 4) if quick else (RATES, 10)
    crossed: dict[float, Interval] = {}
    for gain, depths in tried.items():
        found = {}
        for depth in depths:
            curves = over_rates(mlp(widths(depth), gain=gain), moons, rates, epochs=EPOCHS, every=EPOCHS, seeds=seeds)
            found[depth] = best(curves), curves[best(curves)][-1]
        accuracy = np.array([accuracy for _, accuracy in found.values()])
        crossed[gain] = with_interval(np.array(depths, dtype=float), accuracy)
        report.numbers[f"{gain:g}"] = {
            "depths": depths,
            "rates": [rate for rate, _ in found.values()],
            "accuracy": accuracy,
            "crossing": (crossed[gain].mean, crossed[gain].low, crossed[gain].high),
            "depth_scale": mean_field("sigmoid", gain).depth_scale,
        }

    scale = {gain: mean_field("sigmoid", gain).depth_scale for gain in tried}
    ratio = {gain: Interval(*(end / scale[gain] for end in (at.mean, at.low, at.high))) for gain, at in crossed.items()}
    mean = float(np.mean([at.mean for at in ratio.values()]))
    for gain, at in ratio.items():
        report.within(f"gain {gain:g}: L/ξ, against the mean of all gains", at, mean, 0.2)
    holds = all(abs(at.mean - mean) <= 0.2 * mean for at in ratio.values())
    listed = [f"{at.mean:.1f} with gain {gain:g}, where ξ is {scale[gain]:.2f}" for gain, at in crossed.items()]
    report.conclusion = (
        f"Sigmoid networks train up to a depth of {'; '.join(listed)}. In units of ξ these are "
        f"{', '.join(f'{at.mean:.1f}' for at in ratio.values())}, {'within' if holds else 'not within'} a fifth of "
        f"their mean, {mean:.1f}. Since the norm falls by √e over each ξ, what reaches the first layer is then about "
        f"{np.exp(-mean / 2.0):.1g} of what left the last. "
    )
    report.conclusion += (
        "So the sigmoid's limit is the limit of its usual first weights: it moves with the gain, and theory says where "
        "to, before anything is trained. The number of ξ belongs to this task and this budget."
        if holds
        else "So ξ alone does not say where the border is."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 4.3))
    panels = figure.subplots(1, 2, sharey=True)
    shades = ("#9CCBF2", "#5BA3DF", "#307EC7", "#143F68")
    for ax, in_scales in zip(panels, (False, True), strict=True):
        for (gain, found), colour in zip(numbers.items(), shades, strict=False):
            unit = found["depth_scale"] if in_scales else 1.0
            x, mean = array(found["depths"]) / unit, array(found["accuracy"]).mean(axis=1)
            at, low, high = array(found["crossing"]) / unit
            ax.plot(x, mean, color=colour, marker="o", markersize=4, linewidth=1.8)
            ax.errorbar(at, LEVEL, xerr=[[at - low], [high - at]], color=colour, capsize=4, linewidth=2.5)
            if not in_scales:
                ax.annotate(f"gain {gain}", (x[-1], mean[-1]), xytext=(3, -14), textcoords="offset points",
                            ha="right", color=colour, fontweight="bold")  # fmt: skip
        ax.axhline(LEVEL, color="#777777", linestyle=":")
        ax.set(ylim=(0.45, 1.0))
        if not in_scales:
            continue
        scaled = [found["crossing"][0] / found["depth_scale"] for found in numbers.values()]
        middle = sum(scaled) / len(scaled)
        ax.axvspan(0.8 * middle, 1.2 * middle, color="#999999", alpha=0.15, linewidth=0)
        ax.annotate(f"{middle:.1f} ± 20 %", (middle, 0.98), ha="center", color="#555555")
    panels[0].xaxis.get_major_locator().set_params(integer=True)
    panels[0].set(xlabel="hidden layers L", ylabel="mean accuracy on the points trained on")
    panels[0].set_title("depth that can be trained, by the gain of the first weights", loc="left")
    panels[1].set_xlabel("L / ξ")
    panels[1].set_title("the same, the depth in units of theory's ξ", loc="left")
    figure.suptitle(
        "Two moons, mean of 10 seeds after 60 epochs (bar: 95 % interval of where the mean is .75)", fontsize=11
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
