"""What repairs a deep sigmoid network that does not learn?

Claim: the sigmoid's gradient vanishes, and its output is not zero-centred; so another loss, momentum, Adam, shortcuts,
normalisation or centring are prescribed. If vanishing is a matter of the first weights' scale, a larger gain alone
must do.
Reference: Schoenholz et al. 2017 (arXiv 1611.01232) for the critical gain, at which χ = 1; LeCun et al. 1998 for
centring; Ioffe & Szegedy 2015 (arXiv 1502.03167) for BatchNorm, algorithm 2 for the statistics that it predicts with;
He et al. 2016 (arXiv 1512.03385) for shortcuts; Kingma & Ba 2015 (arXiv 1412.6980) for Adam.
Set-up: data, width, batches and budget of depth_and_trainability: circles, 750 points, 32 units, batches of 32, 60
epochs, 10 seeds; 6 hidden layers. One thing is changed at a time: the gain of all first weights (Glorot's uniform ones
times 4, or times the critical gain), the activation (σ − ½, with gain 1, and with 4, which is its critical gain),
BatchNorm before each σ, the loss (squared error of σ(logit)), momentum 0.9, a shortcut around each layer (h + σ(z),
and h + σ(z) − ½), Adam. Otherwise σ, Glorot, cross-entropy, SGD. Each is tried at the same learning rates, from 0.001
to 10 in half decades, and shown at the one with the best mean accuracy after 60 epochs. Accuracy is that on the points
trained on. To repair is to be above .95 in 9 of 10 seeds; not to, a mean of at most .55; who guesses has .50.
"""

import sys

import numpy as np
from frame import Numbers, Report, array, main
from trained import BATCH, accuracies, best, over_rates, widths

from gradlab.datasets import Dataset, load
from gradlab.flow import critical_gain, mean_field, mean_interval
from gradlab.nn import SGD, Adam, CentredSigmoid, Layer, Network, Sigmoid, SquaredError, mlp

DEPTH, EPOCHS = 6, 60
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GOOD, GUESSING = 0.95, 0.55


def layers(activation: Sigmoid | None = None, **changes) -> list[Layer]:
    return mlp(widths(DEPTH), activation or Sigmoid(), **changes)


def with_momentum(rate: float) -> SGD:
    return SGD(rate, momentum=0.9)


def share_right_by_whole(network: Network, data: Dataset) -> np.ndarray:
    """Return the accuracy (seeds,) when BatchNorm takes mean and variance of all points that were trained on."""
    logits = network.forward(data.x_train, training=True)[-1][..., 0]
    return np.mean((logits > 0.0) == (data.y_train == 1.0), axis=-1)


def experiment(report: Report, quick: bool) -> None:
    circles = load("circles")
    seeds, rates = (4, (0.1, 1.0)) if quick else (10, RATES)
    whole = "BatchNorm with all points' statistics"
    critical, centred = critical_gain("sigmoid"), CentredSigmoid()
    remedies = {
        "nothing": {"layers": layers()},
        "gain 4": {"layers": layers(gain=4.0)},
        "critical gain": {"layers": layers(gain=critical)},
        "centring": {"layers": layers(centred)},
        "centring and gain 4": {"layers": layers(centred, gain=4.0)},
        "BatchNorm": {"layers": layers(batch_norm=True)},
        "squared error": {"layers": layers(), "loss": SquaredError(on="sigmoid")},
        "momentum": {"layers": layers(), "optimizer": with_momentum},
        "shortcut": {"layers": layers(residual=True)},
        "centred shortcut": {"layers": layers(centred, residual=True)},
        "Adam": {"layers": layers(), "optimizer": Adam},
    }
    if quick:
        remedies = {name: remedies[name] for name in ("nothing", "critical gain", "centring and gain 4", "momentum")}
    how = {"data": circles, "epochs": EPOCHS, "every": EPOCHS, "seeds": seeds}
    mean: dict[str, list[float]] = {}
    chosen: dict[str, float] = {}
    final: dict[str, np.ndarray] = {}
    for name, changed in remedies.items():
        curves = over_rates(rates=rates, **changed, **how)
        mean[name] = [curves[rate][-1].mean() for rate in rates]
        chosen[name] = best(curves)
        final[name] = curves[chosen[name]][-1]
        if name == "BatchNorm":
            again = SGD(chosen[name])
            final[whole] = accuracies(optimizer=again, right=share_right_by_whole, **changed, **how)[-1]
    report.numbers |= {"rates": rates, "mean": mean, "chosen": chosen, "final": final, "critical_gain": critical}
    kept = {
        "nothing": mean_field("sigmoid", 1.0).chi ** 0.5,
        "gain 4": mean_field("sigmoid", 4.0).chi ** 0.5,
        "critical gain": mean_field("sigmoid", critical).chi ** 0.5,
        "centring": mean_field(centred, 1.0).chi ** 0.5,
        "centring and gain 4": mean_field(centred, 4.0).chi ** 0.5,
    }
    report.numbers["kept_by_a_layer"] = kept

    good = {name: int(np.sum(accuracy > GOOD)) for name, accuracy in final.items()}
    nearly_all = -(-9 * seeds // 10)
    for name in ("gain 4", "critical gain", "centring", "centring and gain 4", "BatchNorm"):
        if name in final:
            report.count(f"{name}: accuracy above {GOOD:g}", final[name] > GOOD, nearly_all)
    if not quick:
        report.count(f"BatchNorm, with the statistics of all points: accuracy above {GOOD:g}", final[whole] > GOOD, 9)
    for name in ("nothing", "squared error", "momentum", "shortcut"):
        if name in final:
            report.between(f"{name}: mean accuracy", mean_interval(final[name]), high=GUESSING)
    if "Adam" in final:
        report.claim("Adam repairs some networks and not all", f"in 1 to 8 of {seeds} seeds above {GOOD:g}",
                     f"in {good['Adam']}", 1 <= good["Adam"] < nearly_all)  # fmt: skip

    repairs = [name for name in final if good[name] >= nearly_all]
    useless = [name for name in final if final[name].mean() <= GUESSING and name != "nothing"]
    report.conclusion = (
        f"The scale of the first weights alone is enough: with the critical gain, {critical:.2f}, "
        f"{good['critical gain']} of {seeds} sigmoid networks with six layers learn the circles, and {good['nothing']} "
        f"with gain 1; the rest is the same. What repairs: {', '.join(repairs)}. "
        f"What leaves it guessing: {', '.join(useless)}."
    )
    if quick:
        return
    first = {
        name: min(rate for rate, accuracy in zip(rates, mean[name], strict=True) if accuracy > GOOD)
        for name in ("shortcut", "centred shortcut")
    }
    report.conclusion += (
        f" Adam comes in between, with {good['Adam']} of {seeds} above {GOOD:g}. Centring mends a fault that is not "
        f"the one here: a layer keeps {kept['centring']:.3f} of the gradient's norm with it, {kept['nothing']:.3f} "
        f"without, and {kept['centring and gain 4']:.3g} only with a gain of 4 as well. A plain shortcut gets "
        f"{good['shortcut']} of {seeds} above {GOOD:g}, if it is given a learning rate of {first['shortcut']:g} or "
        f"more; whoever stops below finds that it does not work. The ½ that it adds in each layer is not what it "
        f"fails by: with σ − ½ it learns from {first['centred shortcut']:g} on. With BatchNorm, {good['BatchNorm']} of "
        f"{seeds} are above {GOOD:g} if one predicts with its running averages over batches of {BATCH}, and "
        f"{good[whole]} with the statistics of all points: the others have learned as well."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, short

    figure = Figure(figsize=(10.5, 5.0))
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.1), sharey=True)
    final = {name: array(accuracy) for name, accuracy in numbers["final"].items()}
    for row, accuracy in enumerate(final.values()):
        learned = np.sum(accuracy > GOOD) >= 0.9 * len(accuracy)
        colour = COLOURS["tanh"] if learned else COLOURS["sigmoid"] if accuracy.mean() > GUESSING else COLOURS["relu"]
        spread = row + np.linspace(-0.25, 0.25, len(accuracy))
        left.plot(accuracy, spread, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0)
    left.axvline(GOOD, color="#777777", linestyle=":")
    left.set(xlim=(0.38, 1.02), xlabel="accuracy on the points trained on (a dot is a seed)")
    left.set_yticks(range(len(final)), [short(name, 22) for name in final])
    left.set_title("each at its best learning rate", loc="left")

    table = np.full((len(final), len(numbers["rates"])), np.nan)
    rows = {name: row for row, name in enumerate(final)}
    for name, mean in numbers["mean"].items():
        table[rows[name]] = array(mean)
    right.imshow(table, cmap="viridis", vmin=0.5, vmax=1.0, aspect="auto")
    for name, row in rows.items():
        if name not in numbers["mean"]:
            middle = (len(numbers["rates"]) - 1) / 2.0
            right.text(middle, row, "the row above, scored otherwise", ha="center", va="center", color="#555555")
            continue
        values = table[row]
        for column, value in enumerate(values):
            text = "–" if np.isnan(value) else f"{value:.2f}".lstrip("0")
            right.text(column, row, text, ha="center", va="center", fontsize=8.5,
                       color="black" if value > 0.8 or np.isnan(value) else "white")  # fmt: skip
    right.set_xticks(range(len(numbers["rates"])), [f"{rate:g}".removeprefix("0") for rate in numbers["rates"]])
    right.tick_params(left=False, labelleft=False)
    right.grid(visible=False)
    diverged = np.isnan(array(list(numbers["mean"].values()))).any()
    right.set_xlabel("learning rate" + (" (–: a seed diverged)" if diverged else ""))
    right.set_title("mean accuracy at every learning rate", loc="left")
    figure.suptitle(
        "What lets sigmoid networks with six layers learn the circles in 60 epochs "
        "(green: it does; orange: it does not; blue: in part)",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
