"""From which depth does a sigmoid network fail to learn?

Claim: in deep networks the sigmoid's gradient vanishes, so they do not learn; ReLU does not suffer from that.
Reference: popular accounts of the sigmoid; Glorot & Bengio 2010 for the sigmoid's first weights, He et al. 2015
(arXiv 1502.01852) for ReLU's.
Set-up: `gradlab.datasets.load("circles")`: 1000 points of scikit-learn's make_circles with noise 0.1, factor 0.5, seed
0, of which 750 are trained on, standardised. 1, 2, 3, 6 and 10 hidden layers of 32 units; σ with Glorot's uniform
weights, ReLU with He's normal ones, biases 0; binary cross-entropy; SGD with batches of 32; 10 seeds. The learning rate
is the one of 0.1, 0.3, 1, 3 and 10 with the best mean accuracy at the end, chosen for each depth and activation; one at
which a seed diverges is out. The budget is 60 epochs, which is 1440 steps. "Does not learn" means within it: σ with
2, 3 and 4 layers is then given 1200 epochs, at the better of the rates 1 and 3, and its accuracy is taken each 10.
Accuracy is that on the points trained on.
"""

import sys

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main
from trained import best, over_rates, widths

from gradlab.datasets import load
from gradlab.nn import mlp

RATES = (0.1, 0.3, 1.0, 3.0, 10.0)
LEARNED = 0.95


def experiment(report: Report, quick: bool) -> None:
    circles = load("circles")
    depths, epochs = ([1, 3], 60) if quick else ([1, 2, 3, 6, 10], 60)
    tried = RATES[1:4] if quick else RATES
    final: dict[str, dict[int, np.ndarray]] = {"sigmoid": {}, "relu": {}}
    rates: dict[str, dict[int, float]] = {"sigmoid": {}, "relu": {}}
    for name in final:
        for depth in depths:
            curves = over_rates(mlp(widths(depth), name), circles, tried, epochs=epochs, every=epochs)
            rates[name][depth] = best(curves)
            final[name][depth] = curves[best(curves)][-1]
    report.numbers |= {"epochs": epochs, "depths": depths, "tried": tried, "rates": rates}
    report.numbers["accuracy"] = {name: [final[name][depth] for depth in depths] for name in final}

    for name, shown in (("sigmoid", "σ"), ("relu", "ReLU")):
        report.count(f"1 hidden layer: {shown}'s accuracy is above .98", final[name][1] > 0.98, 10)
    report.count("3 hidden layers: σ's accuracy is below .6", final["sigmoid"][3] < 0.6, 8)
    for depth in depths[1:]:
        report.count(f"{depth} hidden layers: ReLU's accuracy is above .97", final["relu"][depth] > 0.97, 10)
    if 6 in depths:
        for depth in (6, 10):
            report.count(f"{depth} hidden layers: σ's accuracy is below .6", final["sigmoid"][depth] < 0.6, 10)

    long = {}
    for depth in () if quick else (2, 3, 4):
        curves = over_rates(mlp(widths(depth), "sigmoid"), circles, (1.0, 3.0), epochs=1200, every=10)
        long[depth] = best(curves), curves[best(curves)]
    report.numbers["long"] = {
        depth: {"rate": rate, "accuracy": curve, "learned_after": learned_after(curve)}
        for depth, (rate, curve) in long.items()
    }
    failing = final["sigmoid"][3]
    report.conclusion = (
        f"With three hidden layers, {np.sum(failing < 0.6)} of 10 sigmoid networks still guess after {epochs} epochs "
        f"(mean accuracy {failing.mean():.2f}), at the best of {len(tried)} learning rates; with one layer, the mean "
        f"is {final['sigmoid'][1].mean():.3f}. ReLU networks reach "
        f"{min(accuracy.mean() for accuracy in final['relu'].values()):.3f} or more at each depth. "
    )
    if quick:
        report.conclusion += "Within this budget, the popular sentence holds."
        return
    learned = {depth: learned_after(curve) for depth, (_, curve) in long.items()}
    in_words = ", ".join(
        f"with {depth} layers {np.isfinite(when).sum()} of 10 reach {LEARNED:g}"
        + (f" (the median after {np.median(when):.0f} epochs)" if np.isfinite(np.median(when)) else "")
        for depth, when in learned.items()
    )
    report.conclusion += (
        f"So the popular sentence holds, with one word to change: what looks like a failure is a delay. Given twenty "
        f"times as long, {in_words}. Each layer costs a factor in time, and a few layers use up any budget."
    )


def learned_after(curve: np.ndarray) -> np.ndarray:
    """Return the epoch (seeds,) at which the accuracy, taken each 10 epochs, is first 0.95; inf if never."""
    reached = curve >= LEARNED
    return np.where(reached.any(axis=0), 10.0 * (1 + np.argmax(reached, axis=0)), np.inf)


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, label_lines, line_and_band

    figure = Figure(figsize=(9.5, 4.2))
    left, right = figure.subplots(1, 2)
    depths = array(numbers["depths"])
    ends = []
    for name, shown in (("sigmoid", "sigmoid"), ("relu", "ReLU")):
        accuracy = array(numbers["accuracy"][name]).T
        line_and_band(left, depths, accuracy, COLOURS[name], marker="o")
        ends.append((shown, depths[-1], np.median(accuracy[:, -1]), COLOURS[name]))
    left.set(ylim=(0.4, 1.03), xlabel="hidden layers", ylabel="accuracy on the points trained on", xticks=depths)
    left.set_title(
        f"after {numbers['epochs']} epochs, at the best of {len(numbers['tried'])} learning rates", loc="left"
    )
    ends_right = []
    for (depth, run), colour in zip(numbers["long"].items(), ("#8FC1EE", "#307EC7", "#143F68"), strict=False):
        reached = np.sort(array(run["learned_after"]))
        reached = np.append(reached[np.isfinite(reached)], 1200.0)
        counts = np.append(np.arange(len(reached)), len(reached) - 1)
        right.step(np.append(10.0, reached), counts, where="post", color=colour, linewidth=2.2)
        ends_right.append((f"{depth} layers", 1200.0, counts[-1], colour))
    right.axvline(numbers["epochs"], color="#999999", linestyle=":")
    right.annotate(f"{numbers['epochs']} epochs", (numbers["epochs"], 3.9), xytext=(5, 0),
                   textcoords="offset points", color="#777777")  # fmt: skip
    right.set(ylim=(-0.3, 10.3), xlim=(10, 1200), xscale="log", xlabel="epochs")
    right.set_ylabel(f"networks of 10 that have reached {LEARNED:g}")
    right.set_xticks([10, 100, 1000], ["10", "100", "1000"])
    right.set_title("the sigmoid, given twenty times as long", loc="left")
    label_lines(left, ends)
    label_lines(right, ends_right)
    figure.suptitle(f"Two circles, 10 seeds (on the left, {LEGEND_OF_BANDS})", fontsize=11)
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
