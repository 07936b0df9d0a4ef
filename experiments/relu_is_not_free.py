"""Do ReLU networks start well, whatever their width and depth?

Claim: ReLU mitigates vanishing gradients. It does, in wide networks; in narrow and deep ones it brings two troubles of
its own. (a) They are born dead. (b) He's weights keep the *mean* of the squared gradient at 1, while its fluctuation
grows exponentially with depth/width.
Reference: (a) Lu et al. 2019 (arXiv 1903.06733, §3): 1 − (1 − 2⁻ⁿ)^L; (b) Hanin 2018 (arXiv 1801.03744, theorem 1):
E‖Jv‖⁴/E[‖Jv‖²]² grows like exp(Σ 1/width); for equal widths and normal weights it is (1 + 5/n)^L.
Set-up: L hidden layers of n ReLUs, weights N(0, 2/n_in), biases 0. (a) "Dead at x": in some layer no unit is above 0
at the sample x ≠ 0, so that there the logit is 0 whatever the weights, and no weight has a gradient. As each unit is
above 0 with probability ½, independently of the others in its layer and of the layers before, the formula is exact for
this event, for any one x. To be dead at all samples is rarer, and stops all training: 100 samples of moons,
standardised; widths 2 to 6, up to 40 layers, 4000 seeds (quick: 200). (b) J is the Jacobian of the last hidden layer's
outputs by the input, n × n, at one normal sample, and v a unit vector (the slope along v of a logit with weights
N(0, 1) is then N(0, ‖Jv‖²)). Moments of ‖Jv‖² are averaged over the n vectors of the basis, which share them. From
layer to layer u becomes D·Wᵀu: given what came before, each new entry's square is (2/n)‖u‖²·g², g ~ N(0, 1), times 0
or 1 with probability ½ each, independent of g². So E‖u‖² stays 1, and E‖u‖⁴, the ratio asked for, grows by
n·½·3·(2/n)² + n(n − 1)/n² = 1 + 5/n, exactly. Width 10, 20 and 50, as deep as the formula stays below 4, since the
error of a fourth moment grows like its square; 40,000, 20,000 and 8000 seeds (quick: a twentieth). Bootstrap intervals
over a hundred groups of seeds. Where many intervals are asked to hold, they are wide enough to hold together with 95 %
(Bonferroni).
"""

import sys
from collections.abc import Iterator

import numpy as np
from frame import Numbers, Report, array, main
from tqdm import tqdm

from gradlab.datasets import load
from gradlab.flow import Interval, bootstrap_interval, mean_interval, median_interval, share_interval
from gradlab.nn import Network, mlp

NARROW = (2, 3, 4, 5, 6)
DEEPEST = 40
CHECKED = (5, 10, 20, 40)  # depths at which the share of dead networks is held against the formula
SAMPLES = 100
SPREAD = {10: (3, 40_000), 20: (6, 20_000), 50: (14, 8_000)}  # width: layers, seeds
AT_ONCE = 200  # replicas
GROUPS = 100  # of seeds, whose means are resampled


def networks(widths: list[int], seeds: int) -> Iterator[Network]:
    """Make ReLU networks, some seeds at a time."""
    for start in range(0, seeds, AT_ONCE):
        yield Network(mlp(widths, "relu", "he_normal"), seed=range(start, min(start + AT_ONCE, seeds)))


def born_dead(width: int, x: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Find which networks are dead up to each layer at the first sample, and at all: (seeds, layers) each.

    Then, of how many dead at all samples no weight has a gradient, and how many those are.
    """
    at_one, at_all, still, dead = [], [], 0, 0
    for network in networks([x.shape[1], *[width] * DEEPEST, 1], seeds):
        tape = network.forward(x, training=True)
        alive = np.stack([np.any(y > 0.0, axis=-1) for y in tape[2:-1:2]], axis=1)  # (seeds, layers, samples)
        at_one.append(~alive[..., 0])
        at_all.append(~alive.any(axis=-1))
        network.backward(np.ones_like(tape[-1]), tape)
        of_dead = network.grads[at_all[-1][:, -1]] * network.weight_mask
        still, dead = still + int(np.sum(~of_dead.any(axis=-1))), dead + len(of_dead)
    return np.concatenate(at_one), np.concatenate(at_all), still, dead


def stretches(width: int, depth: int, seeds: int) -> tuple[np.ndarray, float]:
    """Measure ‖Jv‖² (layers, seeds, directions v) by each layer; and how far J is from what `backward` makes of it."""
    x = np.repeat(np.random.default_rng(0).standard_normal((1, width)), width, axis=0)
    squares, worst = [], 0.0
    for network in networks([width] * (depth + 1) + [1], seeds):
        tape = network.forward(x, training=True)
        u, up_to = np.eye(width), []
        for layer in range(depth):
            u = u @ network.layers[2 * layer].W * (tape[2 * layer + 2] > 0.0)
            up_to.append(np.sum(u * u, axis=-1))
        squares.append(np.stack(up_to))
        if len(squares) == 1:  # one sample a logit of its own: the rows of its deltas are those of J, transposed
            logits = Network(network.layers[:-1], seed=network.seeds)
            tape = logits.forward(x, training=True)
            rows = logits.backward(np.broadcast_to(np.eye(width), tape[-1].shape).copy(), tape)[0]
            worst = float(np.max(np.abs(rows.mT - u)))
    return np.concatenate(squares, axis=1), worst


def experiment(report: Report, quick: bool) -> None:
    x = load("moons").x_train[:SAMPLES]
    seeds = 200 if quick else 4000
    depths = np.arange(1, DEEPEST + 1)
    dead: dict[str, dict] = {}
    still = of = inside = 0
    certain = 1.0 - 0.05 / (len(NARROW) * len(CHECKED))
    furthest, rarer = 0.0, True
    for width in tqdm(NARROW, disable=None, unit="width"):
        at_one, at_all, idle, count = born_dead(width, x, seeds)
        still, of = still + idle, of + count
        formula = 1.0 - (1.0 - 0.5**width) ** depths
        shares = [share_interval(int(k), seeds) for k in at_one.sum(axis=0)]
        dead[str(width)] = {
            "share": [i.estimate for i in shares], "low": [i.low for i in shares], "high": [i.high for i in shares],
            "all": at_all.mean(axis=0), "formula": formula,
        }  # fmt: skip
        for depth in CHECKED:
            interval = share_interval(int(at_one[:, depth - 1].sum()), seeds, certain)
            inside += interval.low <= formula[depth - 1] <= interval.high
            furthest = max(furthest, abs(interval.estimate - formula[depth - 1]))
        rarer = rarer and bool(np.all(at_all.mean(axis=0) <= at_one.mean(axis=0)))
    pairs = len(NARROW) * len(CHECKED)
    report.claim(
        f"dead at one sample: the formula lies in the interval of the share of {seeds} seeds, width 2 to 6, "
        f"{', '.join(map(str, CHECKED))} layers",
        f"at all {pairs}", f"at {inside}; the share is at most {furthest:.3f} away", inside == pairs,
    )  # fmt: skip
    for width, depth in ((2, 5), (4, 20), (6, 40)):
        one = dead[str(width)]
        k = depth - 1
        interval = Interval(one["share"][k], one["low"][k], one["high"][k], seeds)
        report.within(
            f"width {width}, {depth} layers: share that is dead at one sample",
            interval,
            one["formula"][k],
            0.25 if quick else 0.05,
        )
    report.claim(f"dead at all {SAMPLES} samples is rarer than dead at one", "everywhere", str(rarer), rarer)
    report.claim(
        "networks dead at all samples in which no weight has a gradient", "all", f"{still} of {of}", still == of
    )

    ratios: dict[str, dict] = {}
    certain = 1.0 - 0.05 / sum(depth for depth, _ in SPREAD.values())
    inside, medians, apart, means = 0, {}, 0.0, []
    for width, (depth, many) in tqdm(SPREAD.items(), disable=None, unit="width"):
        squares, worst = stretches(width, depth, many // 20 if quick else many)
        apart = max(apart, worst)
        second, fourth = np.mean(squares, axis=-1), np.mean(squares**2, axis=-1)
        means.append(mean_interval(second[-1], 1.0 - 0.05 / len(SPREAD)))
        formula = (1.0 + 5.0 / width) ** np.arange(1, depth + 1)
        groups = np.mean(fourth.reshape(depth, GROUPS, -1), axis=-1)
        found = [bootstrap_interval(group, confidence=certain) for group in groups]
        inside += sum(i.low <= f <= i.high for i, f in zip(found, formula, strict=True))
        ratios[str(width)] = {
            "ratio": [i.estimate for i in found], "low": [i.low for i in found], "high": [i.high for i in found],
            "formula": formula, "seeds": squares.shape[1],
        }  # fmt: skip
        report.within(
            f"width {width}, {depth} layers: E‖Jv‖⁴, where E‖Jv‖² = 1",
            bootstrap_interval(groups[-1]), formula[-1], 0.5 if quick else 0.15,
        )  # fmt: skip
        medians[width] = median_interval(squares[-1, :, 0])
        report.claim(f"width {width}, {depth} layers: the median of ‖Jv‖² is below its mean, 1", "below 1",
                     f"{medians[width].estimate:.3f} (95 % interval {medians[width].low:.3f} to "
                     f"{medians[width].high:.3f})", medians[width].high < 1.0)  # fmt: skip
    report.claim("E‖Jv‖² = 1 lies in the interval, in the deepest layer", f"for all {len(means)} widths", ", ".join(
        f"{i.estimate:.3f} ({i.low:.3f} to {i.high:.3f})" for i in means), all(i.low <= 1.0 <= i.high for i in means)
    )  # fmt: skip
    total = sum(depth for depth, _ in SPREAD.values())
    report.claim("(1 + 5/n)^L lies in the interval of E‖Jv‖⁴", f"at all {total} widths and depths", f"at {inside}",
                 inside == total)  # fmt: skip
    report.between("J, layer by layer, and J from the network's own backward pass differ", apart, high=1e-12)
    report.numbers |= {"dead": dead, "ratios": ratios, "seeds": seeds}
    four, deep = dead["4"], SPREAD[50][0]
    report.conclusion = (
        f"What is said of ReLU holds for wide networks. A network of {DEEPEST} layers of 4 units is dead at a given "
        f"sample in {four['share'][-1]:.0%} of initialisations (formula {four['formula'][-1]:.0%}), and at all "
        f"{SAMPLES} samples in {four['all'][-1]:.0%}: then no weight ever has a gradient, and training moves "
        f"the last bias only. At width 32 that is a chance of {DEEPEST * 0.5**32:.0e}: narrowness does it, not depth "
        f"alone. And “He's weights keep the gradient's size” is true of a mean that a few networks carry: in "
        f"{deep} layers of 50 units the fourth moment is {ratios['50']['ratio'][-1]:.2f} times the square of the "
        f"second (formula {ratios['50']['formula'][-1]:.2f}), and half of all networks have ‖Jv‖² below "
        f"{medians[50].estimate:.2f}. What counts is depth over width. The higher the ratio, the less sure a measured "
        f"fourth moment: its intervals are wide, and deeper networks are left out for that."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import label_lines

    shades = ("#3B0F00", "#7A2C00", "#B84A00", "#E36A00", "#A8890B")
    figure = Figure(figsize=(12.0, 5.0))
    left, right = figure.subplots(1, 2)
    depth = np.arange(1, DEEPEST + 1)
    ends = []
    for (width, dead), colour in zip(numbers["dead"].items(), shades, strict=True):
        left.fill_between(depth, array(dead["low"]), array(dead["high"]), color=colour, alpha=0.25, linewidth=0)
        left.plot(depth, array(dead["share"]), color=colour, linewidth=1.8)
        left.plot(depth, array(dead["all"]), color=colour, linewidth=1.2, linestyle=":")
        left.plot(depth, array(dead["formula"]), color="black", linestyle="--", linewidth=1.0)
        ends.append((f"{width} units", float(DEEPEST), dead["share"][-1], colour))
    left.set(xlabel="hidden layers", ylabel="share of networks", xlim=(1, DEEPEST), ylim=(0.0, 1.02))
    left.set_title(f"Born dead: no unit of some layer is on\n{numbers['seeds']} seeds; band: 95 % interval")
    for style, label in (("-", "at one sample"), ("--", "theory: 1 − (1 − 2⁻ⁿ)ᴸ"), (":", f"at all {SAMPLES} samples")):
        left.plot([], [], color="black" if style == "--" else shades[2], linestyle=style, label=label)
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, frameon=False)
    label_lines(left, ends)
    for (width, found), colour in zip(numbers["ratios"].items(), (shades[0], shades[2], shades[3]), strict=True):
        layers, ratio = np.arange(1, len(found["ratio"]) + 1), array(found["ratio"])
        sides = np.abs(np.stack([array(found["low"]), array(found["high"])]) - ratio)
        right.errorbar(layers, ratio, sides, color=colour, fmt="o", markersize=4, capsize=3)
        right.plot(np.r_[0, layers], np.r_[1.0, array(found["formula"])], color="black", linestyle="--", linewidth=1.0)
        right.annotate(
            f"{width} units", (layers[-1], array(found["high"])[-1]), xytext=(0, 5), textcoords="offset points",
            ha="center", color=colour, fontweight="bold",
        )  # fmt: skip
    right.plot([], [], color="black", linestyle="--", linewidth=1.0, label="theory: (1 + 5/n)ᴸ")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    right.set_yscale("log")
    right.set_yticks([1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"])
    right.minorticks_off()
    right.set(xlabel="hidden layers", ylabel="E‖Jv‖⁴ / E[‖Jv‖²]²", xlim=(0.0, 15.0))
    right.set_title(
        "The gradient's fluctuation grows with depth over width\n"
        "J: slope of the outputs by the input; bars: all hold with 95 %"
    )
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
