"""Does batch normalisation tame gradients at the start?

Claim: batch normalisation keeps gradients of a size, so that any depth can be trained.
Reference: Yang et al. 2019 (arXiv 1902.08129): at initialisation it does the contrary; in a wide network of linear
layers, batch normalisation and ReLUs, with large batches, the gradient's norm grows by √(π/(π − 1)) = 1.2112 a layer.
Set-up: 30 hidden layers of 256 units (quick: 15 of 128), Dense, then batch normalisation, then the activation, one
logit; He's weights for ReLU, LeCun's for tanh and for no activation at all; standard normal inputs, one batch of 128,
targets 0 and 1, binary cross-entropy; 10 seeds (quick: 3). The root mean square of dL/dz, z before the normalisation,
is recorded in the first step, before it changes a weight. The factor a layer is e^slope of its logarithm over all but
the five layers at either end, fitted for each seed. The same for other batches, from 8 to 512.
"""

import math
import sys

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main
from tqdm import tqdm

from gradlab.flow import FlowRecorder, Interval, decay_slope
from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
from gradlab.training import train

BATCH, ENDS = 128, 5  # rows of a batch, and layers at either end that are left out of the fit
THEORY = math.sqrt(math.pi / (math.pi - 1.0))
CASES = {  # the weights' distribution, and whether there is batch normalisation
    "ReLU with batch norm": ("relu", "he_normal", True),
    "tanh with batch norm": ("tanh", "lecun_normal", True),
    "linear with batch norm": ("identity", "lecun_normal", True),
    "ReLU without": ("relu", "he_normal", False),
}


def deltas(case: tuple[str, str, bool], depth: int, width: int, batch: int, seeds: int) -> np.ndarray:
    """Measure the root mean square (hidden layers, seeds) of dL/dz."""
    activation, weight_init, batch_norm = case
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((batch, width)), np.arange(batch) % 2.0
    found = []
    for seed in range(seeds):
        layers = mlp([width, *[width] * depth, 1], activation, weight_init, batch_norm=batch_norm)
        recorder = FlowRecorder(what="delta_rms")
        for step in train(Network(layers, seed=seed), BinaryCrossEntropy(), SGD(), x, y, epochs=1, batch_size=batch):
            recorder(step)
        found.append(recorder.table()["delta_rms"][0, :depth, 0])
    return np.array(found).T


def factor(measured: np.ndarray) -> Interval:
    """Estimate what one layer multiplies the norm by, on the gradient's way from the last layer to the first."""
    return decay_slope(measured[-1 - ENDS : ENDS - 1 : -1]).factor


def experiment(report: Report, quick: bool) -> None:
    depth, width, seeds = (15, 128, 3) if quick else (30, 256, 10)
    batches = (16, 64) if quick else (8, 16, 32, 64, 128, 256, 512)
    report.numbers |= {"width": width, "depth": depth, "seeds": seeds, "measured": {}, "factor": {}, "batches": {}}
    found: dict[str, Interval] = {}
    for name, case in tqdm(CASES.items(), disable=None, unit="network"):
        measured = deltas(case, depth, width, BATCH, seeds)
        report.numbers["measured"][name] = measured / measured[-1]
        found[name] = factor(measured)
        report.numbers["factor"][name] = found[name].estimate
    of_batch = {}
    for batch in tqdm(batches, disable=None, unit="batch"):
        of_batch[batch] = factor(deltas(CASES["ReLU with batch norm"], depth, width, batch, seeds))
        at = of_batch[batch]
        report.numbers["batches"][str(batch)] = (at.estimate, at.low, at.high)
    relu = found["ReLU with batch norm"]
    report.within("with batch norm, ReLU layers multiply the gradient by √(π/(π−1)) each", relu, THEORY,
                  0.03 if quick else 0.01)  # fmt: skip
    report.within("without it, He's weights keep it as it is", found["ReLU without"], 1.0, 0.04 if quick else 0.02)
    report.between("tanh and batch norm: it grows too, more slowly", found["tanh with batch norm"], 1.02, THEORY)
    report.within("batch norm alone, without an activation, keeps it too", found["linear with batch norm"], 1.0,
                  0.04 if quick else 0.02)  # fmt: skip
    growth = report.numbers["measured"]["ReLU with batch norm"][0]
    hundredfold = math.log(100.0) / math.log(relu.estimate)
    listed = ", ".join(f"{at.estimate:.3f} ({batch})" for batch, at in of_batch.items())
    report.conclusion = (
        f"At the start it does not tame them: with ReLUs each layer multiplies the gradient by {relu.estimate:.4f} "
        f"(theory, for infinite width and batch: {THEORY:.4f}), so that the first of {depth} layers is given "
        f"{np.median(growth):.3g} times as much as the last, and {hundredfold:.0f} layers make it a hundredfold. The "
        f"same network without batch normalisation has {found['ReLU without'].estimate:.3f}. With tanh it is "
        f"{found['tanh with batch norm'].estimate:.3f}, and {found['linear with batch norm'].estimate:.3f} with no "
        f"activation: normalising and cutting off are what does it, together. By the size of the batch: {listed}. It "
        "is no paradox that such networks train: a layer's normalisation makes its weights' length immaterial, so "
        "that one large step makes the later ones small; but a very deep one needs more than it, such as residual "
        "connections."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, label_lines, line_and_band

    figure = Figure(figsize=(11.0, 4.6))
    ax, beside = figure.subplots(1, 2, width_ratios=(2.0, 1.0))
    layer = np.arange(1, numbers["depth"] + 1)
    ends = []
    for name, (activation, _, batch_norm) in CASES.items():
        colour = COLOURS[activation] if batch_norm else "#555555"
        measured = array(numbers["measured"][name])
        line_and_band(ax, layer, measured.T, colour)
        ends.append((f"{name}: ×{numbers['factor'][name]:.3f}", 1.0, np.median(measured[0]), colour))
    ax.plot(layer, THEORY ** (numbers["depth"] - layer), color="black", linestyle="--", linewidth=1.0,
            label=f"theory for ReLU: ×{THEORY:.4f}")  # fmt: skip
    ax.legend(loc="upper right", frameon=False)
    ax.set_yscale("log")
    ax.set_xlabel("hidden layer (1 = next to the input)")
    ax.set_ylabel("norm of the gradient dL/dz (last layer: 1)")
    label_lines(ax, ends, left=True)
    ax.set_xticks([1, *range(10, numbers["depth"] + 1, 10)])
    ax.set_title(f"batches of {BATCH}; ×: factor a layer", loc="left")
    batches = [int(batch) for batch in numbers["batches"]]
    mean, low, high = array(list(numbers["batches"].values())).T
    beside.errorbar(batches, mean, [mean - low, high - mean], color=COLOURS["relu"], marker="o", capsize=3)
    beside.axhline(THEORY, color="black", linestyle="--", linewidth=1.0)
    beside.set_xscale("log", base=2)
    beside.set_xticks(batches, [str(batch) for batch in batches])
    beside.set_xlabel("samples in a batch")
    beside.set_ylabel("factor a layer")
    beside.set_title("ReLU with batch norm, by the batch", loc="left")
    figure.suptitle(
        f"The gradient on its way back, from right to left, before any training\n"
        f"{numbers['seeds']} networks of width {numbers['width']}; {LEGEND_OF_BANDS}",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
