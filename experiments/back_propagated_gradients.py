"""Are gradients equally large in all layers at the start?

Claim: weights drawn from U[−1/√n, 1/√n], once the usual choice, make gradients smaller from layer to layer on their way
back; normalised weights, U[−√6/√(n_in + n_out), √6/√(n_in + n_out)], keep activations and gradients of a size.
Reference: Glorot & Bengio 2010, figures 6 and 7 (histograms of activations and of back-propagated gradients), eq. 13
and 14: the standard deviation of dL/dz changes as that of the activations does, the other way round, so that dL/dW,
their product, is equally large in all layers with either choice.
Set-up: as theirs, 5 hidden layers of 1000 tanh units (quick: 256) and biases 0, before any training; the digits 0 to 4
against 5 to 9, all 1797, standardised, one logit and binary cross-entropy (they: images of shapes, ten classes,
softmax). 10 seeds (quick: 3). Theory is that of wide layers, for each sample from the mean square of its own first
pre-activations (images are not equally bright), and then the root mean square over the samples; nothing is fitted.
"""

import math
import sys

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm

from gradlab.datasets import load
from gradlab.flow import predicted_decay
from gradlab.nn import BinaryCrossEntropy, Network, mlp

DEPTH = 5
CHOICES = {"standard": math.sqrt(1.0 / 3.0), "normalised": 1.0}  # gain: U(−1/√n, 1/√n) has variance 1/(3n)
EDGES = {"activations": np.linspace(-1.0, 1.0, 81), "gradients": np.linspace(-4.0, 4.0, 81)}


def experiment(report: Report, quick: bool) -> None:
    width, seeds = (256, 3) if quick else (1000, 10)
    data = load("digits")
    x, y = data.x_train, data.y_train
    report.numbers |= {"width": width, "seeds": seeds}
    spreads: dict[str, dict[str, np.ndarray]] = {}
    for choice, gain in tqdm(CHOICES.items(), disable=None, unit="choice"):
        std = {name: np.empty((seeds, DEPTH)) for name in ("activations", "gradients", "weight gradients")}
        q = np.zeros(len(x))
        histograms = {name: np.zeros((DEPTH, len(edges) - 1)) for name, edges in EDGES.items()}
        for seed in range(seeds):
            network = Network(mlp([64, *[width] * DEPTH, 1], "tanh", "lecun_uniform", gain=gain), seed=seed)
            tape = network.forward(x, training=True)
            dz = network.backward(BinaryCrossEntropy().gradient(tape[-1], y[:, np.newaxis]), tape)[1::2][:DEPTH]
            for i in range(DEPTH):
                std["activations"][seed, i], std["gradients"][seed, i] = tape[2 * i + 2].std(), dz[i].std()
                std["weight gradients"][seed, i] = network.layers[2 * i].dW.std()
                histograms["activations"][i] += np.histogram(tape[2 * i + 2], EDGES["activations"])[0]
                histograms["gradients"][i] += np.histogram(dz[i] / dz[-1].std(), EDGES["gradients"])[0]
            q += np.mean(tape[1] ** 2, axis=1) / seeds
        spreads[choice] = std
        of_samples = [predicted_decay("tanh", gain, DEPTH, at) for at in np.quantile(q, np.linspace(0.005, 0.995, 100))]
        back = np.cumprod([np.r_[1.0, factors[-2::-1]] for factors in of_samples], axis=1)[:, ::-1]
        theory = np.sqrt(np.mean(back**2, axis=0))  # of dL/dz, the last hidden layer's being 1
        measured = std["gradients"].mean(axis=0) / std["gradients"].mean(axis=0)[-1]
        off = abs(measured / theory - 1.0).max()
        report.between(f"{choice}: dL/dz is as large as theory says in every layer; farthest off",
                       100.0 * off, high=10.0 if quick else 5.0, unit=" %")  # fmt: skip
        report.numbers[choice] = {
            "std": {name: values / values.mean(axis=0)[-1] if name != "activations" else values
                    for name, values in std.items()},
            "theory": theory,
            "histograms": {name: counts / counts.sum(axis=1, keepdims=True) for name, counts in histograms.items()},
        }  # fmt: skip

    def first_by_last(choice: str, of: str, first: int = 0) -> float:
        mean = spreads[choice][of].mean(axis=0)
        return float(mean[first] / mean[-1])

    gone, kept = (first_by_last(choice, "gradients") for choice in CHOICES)
    report.between("standard: dL/dz in the first layer, the last one's being 1", gone, high=0.2)
    report.between("normalised: the same, over that of the standard weights", kept / gone, 4.0)
    # the first layer has 64 inputs of another spread than activations have: eq. 14 is of the layers behind it
    even = first_by_last("standard", "weight gradients", 1)
    report.between("standard: dL/dW in the second layer, the last one's being 1", even, 0.8, 1.25)
    sinks = {choice: first_by_last(choice, "activations") ** -1.0 for choice in CHOICES}
    report.between("standard: the last layer's activations spread less than the first's, to", sinks["standard"],
                   high=0.25)  # fmt: skip
    report.between("normalised: the same, over that of the standard weights", sinks["normalised"] / sinks["standard"],
                   4.0)  # fmt: skip
    report.conclusion = (
        f"Not with the standard weights: on the way back through {DEPTH} layers the spread of dL/dz falls to "
        f"{gone:.2f} of the last layer's, with normalised ones to {kept:.2f}. On the way forward it is the activations "
        f"that shrink, to {sinks['standard']:.2f} and to {sinks['normalised']:.2f} of the first layer's. Both shrink "
        "by nearly the same factor a layer, so that their product, dL/dW, hardly changes from the second hidden layer "
        f"({even:.2f}) to the last: whoever looks at the weights' gradients alone sees nothing wrong. That is Glorot "
        "and Bengio's finding, figures 6 and 7. Theirs differ from ours in the data and the number of classes, and "
        "show no numbers to compare; theory's numbers are met in every layer."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 6.4))
    axes = figure.subplots(2, 3, width_ratios=(1.0, 1.0, 0.9))
    shades = ("#B5D5F0", "#84B9E6", "#4F97D6", "#2468AD", "#0F2F50")
    for row, choice in zip(axes, CHOICES, strict=True):
        found = numbers[choice]
        for ax, (what, edges) in zip(row, EDGES.items(), strict=False):
            for i, shade in enumerate(shades):
                height = array(found["histograms"][what])[i] / np.diff(edges)
                ax.plot((edges[1:] + edges[:-1]) / 2.0, height, color=shade, linewidth=1.8, label=f"layer {i + 1}")
            ax.set_yscale("log")
            ax.set_ylim(1e-3, 60.0)
        row[0].set_ylabel(f"{choice} weights\ndensity (log)")
        layer = np.arange(1, DEPTH + 1)
        for name, colour, mark in (("activations", "#009E73", "s"), ("gradients", "#307EC7", "o"),
                                   ("weight gradients", "#D55E00", "^")):  # fmt: skip
            mean = array(found["std"][name]).mean(axis=0)
            row[2].plot(layer, mean / mean[-1], color=colour, marker=mark, markersize=6,
                        label={"activations": "activations", "gradients": "dL/dz",
                               "weight gradients": "dL/dW"}[name])  # fmt: skip
        row[2].plot(
            layer, array(found["theory"]), color="black", linestyle="--", linewidth=1.0, label="theory for dL/dz"
        )
        row[2].set_yscale("log")
        row[2].set_ylim(0.03, 40.0)
        row[2].set_xticks(layer)
        row[2].set_ylabel("standard deviation (last layer: 1)")
    axes[0, 0].set_title("activations")
    axes[0, 1].set_title("gradients dL/dz, in units of the last layer's")
    axes[0, 2].set_title("their spread, and that of dL/dW")
    axes[1, 0].set_xlabel("activation")
    axes[1, 1].set_xlabel("dL/dz / standard deviation in layer 5")
    axes[1, 2].set_xlabel("hidden layer (1 = next to the input)")
    axes[0, 1].legend(loc="upper right", frameon=False, fontsize=8.5)
    axes[0, 2].legend(loc="upper right", frameon=False, fontsize=8.5)
    figure.suptitle(
        f"5 hidden layers of {numbers['width']} tanh units before any training, {numbers['seeds']} seeds together",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
