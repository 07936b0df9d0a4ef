"""When do two inputs become one?

Claim: a deep tanh network of small weights maps all inputs to one point, one of large weights tears alike inputs apart,
and either takes a number of layers ξ_c that theory knows before a network is made.
Reference: Poole et al. 2016 (arXiv 1606.05340, eq. 5, fig. 2) and Schoenholz et al. 2017 (arXiv 1611.01232, eq. 9).
Set-up: 30 hidden layers of 1000 tanh units (quick: 500), weights N(0, gain²/n_in), biases N(0, .05); three samples
whose first pre-activations have variance q* and pairwise correlation 0, .5 and .9 on average; 80 seeds (quick: 8). In
each layer the correlation c of two samples' pre-activations is measured. Theory iterates its map from the mean measured
in the first layer; nothing is fitted. The gains: 1 (ordered: χ < 1, c* = 1), √1.76 (critical to three digits), 2
(chaotic: χ > 1, c* < 1). How fast c comes nearer to c* is −1/slope of log abs(c − c*), c the mean over seeds of the
pair that begins farthest from c*, over the layers in which that distance is between a half and a tenth of its first
(quick: a fifth); nearer to c* it is chance that is left, and farther off it is not yet ξ_c: so it is held against the
same of theory's line.
"""

import math
import sys

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm

from gradlab.flow import correlation_fixed_point, correlation_map
from gradlab.nn import Dense, Network, Tanh

DEPTH, BIAS_STD = 30, math.sqrt(0.05)
GAINS = {"ordered": 1.0, "critical": math.sqrt(1.76), "chaotic": 2.0}
PAIRS = {"0": (0, 1), "0.5": (0, 2), "0.9": (0, 3)}  # of samples, by the correlation that they start with


def samples(width: int, q: float, gain: float) -> np.ndarray:
    """Make inputs (4, width), the first layer's pre-activations of which have variance q and the wanted correlations.

    The biases are common to all samples and count as correlated: what is left to the inputs is q − bias_std².
    """
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((width, 4)))[0].T
    square = (q - BIAS_STD**2) / gain**2  # mean square of a feature
    rows = [directions[0]]
    for i, c in enumerate((0.0, 0.5, 0.9), 1):
        own = min(max((c * q - BIAS_STD**2) / (gain**2 * square), -1.0), 1.0)
        rows.append(own * directions[0] + math.sqrt(1.0 - own**2) * directions[i])
    return math.sqrt(square * width) * np.array(rows)


def correlations(width: int, gain: float, seeds: int) -> np.ndarray:
    """Measure the correlation (seeds, pairs, layers) of two samples' pre-activations."""
    x = samples(width, correlation_fixed_point("tanh", gain, BIAS_STD).q, gain)

    def biases(rng, shape, _):
        return BIAS_STD * rng.standard_normal(shape)

    found = np.empty((seeds, len(PAIRS), DEPTH))
    for seed in range(seeds):
        layers = [part for _ in range(DEPTH) for part in (Dense(width, width, "lecun_normal", biases, gain), Tanh())]
        for layer, z in enumerate(Network(layers, seed=seed).forward(x)[1::2]):
            for k, (i, j) in enumerate(PAIRS.values()):
                found[seed, k, layer] = z[i] @ z[j] / math.sqrt((z[i] @ z[i]) * (z[j] @ z[j]))
    return found


def depth_scale(c: np.ndarray, limit: float, nearest: float) -> float:
    """Return −1/slope of log abs(c − limit) over the layers in which it is half of its first or less."""
    distance = abs(c - limit) / abs(c[0] - limit)
    used = np.flatnonzero((distance <= 0.5) & (distance >= nearest))
    used = used[: np.argmax(np.diff(np.r_[used, np.inf]) > 1) + 1]  # one after another
    return -1.0 / np.polyfit(used, np.log(distance[used]), 1)[0] if len(used) > 1 else np.nan


def experiment(report: Report, quick: bool) -> None:
    width, seeds, nearest = (500, 8, 0.2) if quick else (1000, 80, 0.1)
    report.numbers |= {"width": width, "seeds": seeds, "phases": {}}
    scales, expected = {}, {}
    for phase, gain in tqdm(GAINS.items(), disable=None, unit="gain"):
        theory = correlation_fixed_point("tanh", gain, BIAS_STD)
        measured = correlations(width, gain, seeds)
        lines = np.empty((len(PAIRS), DEPTH))
        for k in range(len(PAIRS)):
            lines[k, 0] = measured[:, k, 0].mean()
            for layer in range(1, DEPTH):
                lines[k, layer] = correlation_map("tanh", lines[k, layer - 1], gain, BIAS_STD)
        off = abs(measured.mean(axis=0) - lines).max()
        report.between(f"{phase}, gain {gain:.3f}: theory misses the mean c of no layer by more", off,
                       high=0.06 if quick else 0.03)  # fmt: skip
        farthest = int(np.argmax(abs(measured.mean(axis=0)[:, 0] - theory.c)))  # the pair that has most to go
        scales[phase], expected[phase] = (
            depth_scale(line, theory.c, nearest) for line in (measured.mean(axis=0)[farthest], lines[farthest])
        )
        report.numbers["phases"][phase] = {
            "gain": gain,
            "c": theory.c,
            "depth_scale": theory.depth_scale,
            "measured": measured,
            "theory": lines,
            "scale_measured": scales[phase],
        }
    for phase in ("ordered", "chaotic"):
        says = f"{phase}: the layers over which c comes e-fold nearer to c* are those of theory's own line"
        report.within(says, scales[phase], expected[phase], 0.2 if quick else 0.1)
    phases = report.numbers["phases"]
    at_end = {phase: phases[phase]["measured"][:, :, -1].mean(axis=0) for phase in phases}
    distance = 1.0 - at_end["critical"]
    report.claim(
        f"critical: after {DEPTH} layers neither: pairs that began unalike are still on their way",
        "1 − c above .01 and below half of what it was, for the pair that began at 0",
        f"1 − c = {distance[0]:.3f}, from {1.0 - phases['critical']['measured'][:, 0, 0].mean():.3f}",
        0.01 < distance[0] < 0.5 * (1.0 - phases["critical"]["measured"][:, 0, 0].mean()),
    )
    ordered, chaotic = phases["ordered"], phases["chaotic"]
    report.conclusion = (
        f"With gain 1 two samples that have nothing in common are one after {DEPTH} layers, to "
        f"{1.0 - at_end['ordered'][0]:.1g}: the distance shrinks e-fold in {scales['ordered']:.2f} layers (theory: "
        f"{expected['ordered']:.2f} over the same, and ξ_c = {ordered['depth_scale']:.2f} in the end). With gain 2 it "
        "makes no difference whether they began alike or not: all pairs end at a correlation of "
        f"{at_end['chaotic'].min():.3f} to {at_end['chaotic'].max():.3f} (theory: {chaotic['c']:.3f}), e-fold nearer "
        f"in {scales['chaotic']:.2f} layers ({expected['chaotic']:.2f}; ξ_c = {chaotic['depth_scale']:.2f}). Whatever "
        "a deep network is to learn it has to tell from what the last layer still shows of its input; near the "
        "critical gain that is most. Trainability_map shows what this is worth."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import line_and_band

    figure = Figure(figsize=(10.0, 4.2))
    layer = np.arange(1, DEPTH + 1)
    shades = ("#143F68", "#307EC7", "#7FB7E8")
    for ax, (phase, found) in zip(figure.subplots(1, 3, sharey=True), numbers["phases"].items(), strict=True):
        for k, (start, colour) in enumerate(zip(PAIRS, shades, strict=True)):
            line_and_band(ax, layer, array(found["measured"])[:, k], colour)
            ax.plot([], [], color=colour, linewidth=1.8, label=f"began at {start}")
            ax.plot(layer, array(found["theory"])[k], color="black", linestyle="--", linewidth=1.0)
        if phase != "critical":
            ax.axhline(found["c"], color="#777777", linestyle=":", linewidth=1.2)
        limits = "" if phase == "critical" else f"c* = {found['c']:.2f} (dotted), ξ_c = {found['depth_scale']:.1f}"
        ax.set_title(f"{phase}: gain {found['gain']:.2f}\n{limits}")
        ax.set_xlabel("hidden layer (1 = next to the input)")
        ax.set_xticks([1, 10, 20, 30])
    first = figure.axes[0]
    first.set_ylabel("correlation c of two samples")
    first.plot([], [], color="black", linestyle="--", linewidth=1.0, label="theory, nothing fitted")
    first.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 0.1))
    figure.suptitle(
        f"What becomes of two samples in a tanh network of width {numbers['width']}\n"
        f"line: median; band: the middle 80 % of {numbers['seeds']} seeds",
        fontsize=11,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
