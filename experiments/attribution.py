"""Is it the weights or the slope that a gradient vanishes by?

Claim: the sigmoid's gradient vanishes because its slope σ' is small, at most ¼; ReLU's does not, because its slope
is 1.
Reference: Hochreiter 1991 and Bengio et al. 1994: the error flow through a logistic unit vanishes for weights below 4.
Set-up: from δ_{l+1} = dL/dz_{l+1} to δ_l the gradient passes the weights, then the slope: ‖δ_l‖/‖δ_{l+1}‖ =
‖δ_{l+1}Wᵀ‖/‖δ_{l+1}‖ × ‖d ⊙ φ'‖/‖d‖ with d = δ_{l+1}Wᵀ, norms over samples and units (`gradlab.flow.attribution`). The
factors are computed a second time from W and φ'(z) themselves, and their product is held against the gain. Digits,
0–4 against 5–9, standardised; 10 hidden layers as wide as the input, 64; weights N(0, gain²/n_in), biases 0; before and
after 20 epochs of SGD (rate 0.05, batches of 32, binary cross-entropy) on the whole training part; 10 seeds (quick:
2 seeds, 2 epochs). Numbers a layer are those of hidden layers 1 to 9, which have a square matrix behind them.
"""

import math
import sys
from dataclasses import dataclass

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main
from tqdm import tqdm

from gradlab.datasets import Dataset, load
from gradlab.flow import Attribution, Interval, attribution, mean_interval, predicted_decay
from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
from gradlab.training import train

DEPTH = 10
LOSS = BinaryCrossEntropy()


@dataclass(frozen=True)
class Case:
    """A kind of network."""

    activation: str
    gain: float


CASES = {
    "σ, gain 1": Case("sigmoid", 1.0),
    "σ, gain 4": Case("sigmoid", 4.0),
    "tanh, gain 1": Case("tanh", 1.0),
    "ReLU, gain 1": Case("relu", 1.0),
    "ReLU, gain √2": Case("relu", math.sqrt(2.0)),
}


def split(network: Network, data: Dataset) -> tuple[Attribution, float]:
    """Split each layer's gain, (layers, replicas); and find how far the factors, computed anew, are from it."""
    tape = network.forward(data.x_train, training=True)
    deltas = network.backward(LOSS.gradient(tape[-1], data.y_train[:, np.newaxis]), tape)
    parts, worst = attribution(network, deltas), 0.0
    for layer in range(DEPTH):
        dense, phi, behind = 2 * layer, 2 * layer + 1, 2 * layer + 2
        delta = deltas[behind + 1]
        passed = delta @ network.layers[behind].W.mT
        sloped = passed * network.layers[phi].derivative(tape[dense + 1], tape[phi + 1])
        weight, slope = norm(passed) / norm(delta), norm(sloped) / norm(passed)
        gain = norm(deltas[dense + 1]) / norm(delta)
        for ours, theirs in ((weight, parts.weight[layer]), (slope, parts.slope[layer]), (gain, parts.gain[layer]),
                             (weight * slope, gain)):  # fmt: skip
            worst = max(worst, float(np.max(np.abs(ours / theirs - 1.0))))
    return parts, worst


def norm(delta: np.ndarray) -> np.ndarray:
    """Compute the norm (replicas,) over samples and units."""
    return np.sqrt(np.sum(delta * delta, axis=(-2, -1)))


def of_a_layer(factors: np.ndarray) -> Interval:
    """Average factors (layers, replicas): geometrically over hidden layers 1 to 9, then over seeds."""
    return mean_interval(np.exp(np.mean(np.log(factors[: DEPTH - 1]), axis=0)))


def experiment(report: Report, quick: bool) -> None:
    seeds, epochs = (range(2), 2) if quick else (range(10), 20)
    tolerance = 0.1 if quick else 0.05
    data = load("digits")
    width = data.x_train.shape[1]
    before: dict[str, Attribution] = {}
    after: dict[str, Attribution] = {}
    theory: dict[str, np.ndarray] = {}
    accuracy: dict[str, np.ndarray] = {}
    errors = []
    for name, case in tqdm(CASES.items(), disable=None, unit="network"):
        layers = mlp([width, *[width] * DEPTH, 1], case.activation, "lecun_normal", gain=case.gain)
        network = Network(layers, seed=seeds)
        before[name], first = split(network, data)
        for _ in train(network, LOSS, SGD(0.05), data.x_train, data.y_train, epochs=epochs, batch_size=32):
            pass
        after[name], last = split(network, data)
        errors += [first, last]
        right = (network.decision_function(data.x_train)[..., 0] > 0.0) == data.y_train
        accuracy[name] = np.mean(right, axis=-1)
        q0 = case.gain**2 * float(np.mean(data.x_train**2))
        theory[name] = predicted_decay(case.activation, case.gain, DEPTH, q0) / case.gain
    report.numbers |= {
        time: {name: {"weight": a.weight, "slope": a.slope, "gain": a.gain} for name, a in parts.items()}
        for time, parts in (("before", before), ("after", after))
    } | {"theory": theory, "accuracy": accuracy, "epochs": epochs, "seeds": len(seeds)}

    weight = {name: of_a_layer(a.weight) for name, a in before.items()}
    slope = {name: of_a_layer(a.slope) for name, a in before.items()}
    gain = {name: of_a_layer(a.gain) for name, a in before.items()}
    later = {name: of_a_layer(a.gain) for name, a in after.items()}
    report.between(
        "weight factor × slope factor, computed from W and φ', and the measured gain differ at most, relatively, by",
        max(errors), high=1e-10,
    )  # fmt: skip
    steepest = max(float(parts[n].slope.max()) for parts in (before, after) for n in ("σ, gain 1", "σ, gain 4"))
    report.between("the largest slope factor of a sigmoid layer, before and after training", steepest, high=0.25)
    for name, case in CASES.items():
        report.within(f"{name}, before training: weight factor a layer", weight[name], case.gain, tolerance)
        wanted = float(np.exp(np.mean(np.log(theory[name][: DEPTH - 1]))))
        report.within(f"{name}, before training: slope factor a layer", slope[name], wanted, tolerance)
    logs = {part: np.log(getattr(before["σ, gain 1"], part)[: DEPTH - 1]).sum(axis=0) for part in ("slope", "gain")}
    share = mean_interval(logs["slope"] / logs["gain"])
    report.within("σ, gain 1: the slope's share of the decay, in logarithms", share, 1.0, tolerance)
    report.within(
        f"σ, gain 1: gain a layer after {epochs} epochs, as before", later["σ, gain 1"], gain["σ, gain 1"].mean, 0.1
    )
    report.conclusion = (
        f"Of the default sigmoid's decay, ×{gain['σ, gain 1'].mean:.3f} a layer, the slope makes {share.mean:.0%}: "
        f"×{slope['σ, gain 1'].mean:.3f}, near its bound of ¼, while the weights let the gradient pass "
        f"(×{weight['σ, gain 1'].mean:.2f}). Weights four times larger do not bring it back four times over: units "
        f"saturate, the slope's factor falls to {slope['σ, gain 4'].mean:.3f}, and ×{gain['σ, gain 4'].mean:.2f} "
        f"remains. That ReLU keeps the gradient since its slope is 1 is not so: half of the units are off, which makes "
        f"the slope's factor {slope['ReLU, gain √2'].mean:.3f}. With the weights that serve tanh, ReLU vanishes too "
        f"(×{gain['ReLU, gain 1'].mean:.2f}, tanh ×{gain['tanh, gain 1'].mean:.2f}); it is He's √2 in the weights that "
        f"makes up for it (×{gain['ReLU, gain √2'].mean:.2f}). So both take part, and the product decides. After "
        f"{epochs} epochs the gains are "
        + ", ".join(f"×{later[name].mean:.2f} ({name}; accuracy {np.median(accuracy[name]):.0%})" for name in CASES)
        + "."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, DERIVATIVE, label_lines, line_and_band

    figure = Figure(figsize=(12.0, 6.2))
    panels = figure.subplots(2, len(CASES), sharex=True, sharey=True)
    ticks = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0]
    panels[0, 0].set_yscale("log")
    panels[0, 0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panels[0, 0].minorticks_off()
    layer = np.arange(1, DEPTH + 1)
    for row, time in zip(panels, ("before", "after"), strict=True):
        for ax, (name, case) in zip(row, CASES.items(), strict=True):
            colours = {"weight": "#8C8C8C", "slope": DERIVATIVE, "gain": "black"}
            factors = {part: array(numbers[time][name][part]) for part in colours}
            for part, colour in colours.items():
                line_and_band(ax, layer, factors[part].T, colour)
                # where two coincide both are seen: the product is thin, and drawn over its factors
                ax.lines[-1].set_linewidth({"weight": 4.5, "slope": 4.5, "gain": 1.6}[part])
            ax.axhline(1.0, color="black", linewidth=0.6)
            if time == "before":
                for theory in (np.full(DEPTH - 1, case.gain), array(numbers["theory"][name])[:-1]):
                    ax.plot(layer[:-1], theory, color="white", linestyle=(0, (1.5, 2.5)), linewidth=1.8)
                ax.set_title(name, color=COLOURS[case.activation], fontweight="bold")
            else:
                ax.set_title(f"accuracy {np.median(array(numbers['accuracy'][name])):.0%}", fontsize=10)
            ends = [
                (label, float(DEPTH), float(np.median(factors[part][-1])), colours[part])
                for part, label in (("weight", "weights"), ("slope", "slope"), ("gain", "both"))
            ]
        row[0].set_ylabel(("before training" if time == "before" else f"after {numbers['epochs']} epochs")
                          + "\nfactor on ‖dL/dz‖")  # fmt: skip
        label_lines(row[-1], ends)
    panels[0, 0].set_xticks([1, 5, 10])
    for ax in panels[1]:
        ax.set_xlabel("hidden layer")
    figure.suptitle(
        f"What the weights and what the slope do to the gradient in passing a layer; both together are its gain\n"
        f"{numbers['seeds']} seeds; {LEGEND_OF_BANDS}; dotted white: theory",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
