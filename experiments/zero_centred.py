"""Does an output that is not zero-centred hurt?

Claim: the sigmoid's outputs are all positive, so the gradients of a neuron's incoming weights all have one sign, and
learning zigzags; a zero-centred activation learns faster.
Reference: LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", section 4.3.
Set-up: scikit-learn's digits, centred and divided by one number to variance 1; hidden layers of 64, Glorot's normal
weights, biases 0, ten classes through a softmax, plain SGD in batches of 10. Signs: 3 hidden layers, the second one's
incoming weights at the first step; of each neuron, the share of its non-zero weight gradients that have the more
frequent sign. Cost: steps until the cross-entropy of all digits is below 0.1, looked at every 3 %. It is compared
between σ and σ − ½, equal but for the centring, and between σ − ½ = ½·tanh(x/2) and tanh, both centred, whose slopes at
0 are ¼ and 1: all at one rate, 0.1, and each at its own best of 0.1, 0.2, 0.4, … 3.2; and, in the deepest network and
at rate 0.4, in batches of 10 and of 100. Both have the same seeds, 8 of them; a ratio is the geometric mean over them.
"""

import math
import sys
from functools import cache

import numpy as np
from frame import Numbers, Report, array, main

from gradlab.flow import Interval, mean_interval
from gradlab.nn import SGD, Activation, CentredSigmoid, Network, ReLU, Sigmoid, SoftmaxCrossEntropy, Tanh, mlp
from gradlab.training import DivergenceError, train

WIDTH = 64
LOSS, TARGET = SoftmaxCrossEntropy(), 0.1
BUDGET = 12_000  # steps
ONE_RATE, NOISY_RATE = 0.1, 0.4
ACTIVATIONS = {"σ": Sigmoid(), "σ − ½": CentredSigmoid(), "tanh": Tanh(), "ReLU": ReLU()}
PAIRS = {"centring": ("σ", "σ − ½"), "scale": ("σ − ½", "tanh")}


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return standardised pixels and one-hot digits."""
    from sklearn.datasets import load_digits

    x, digit = load_digits(return_X_y=True)
    x = x - x.mean(axis=0)
    return x / x.std(), np.eye(10)[digit]


def a_network(activation: Activation, depth: int, seeds: int) -> Network:
    weight_init = "he_normal" if isinstance(activation, ReLU) else "glorot_normal"
    return Network(mlp([64, *[WIDTH] * depth, 10], activation, weight_init), seed=range(seeds))


def share_of_one_sign(activation: Activation, batch_size: int, batches: int, seeds: int) -> np.ndarray:
    """Compute each seed's mean share (seeds,), over neurons and batches; neurons with no gradient do not count."""
    network = a_network(activation, 3, seeds)
    x, y = digits()
    rows = np.random.default_rng(0).permutation(len(x))
    shares = []
    for batch in np.resize(rows, (batches, batch_size)):
        tape = network.forward(x[batch], training=True)
        network.backward(LOSS.gradient(tape[-1], y[batch]), tape)
        positive, negative = ((s * network.layers[2].dW > 0.0).sum(axis=-2) for s in (1.0, -1.0))
        both = positive + negative
        shares.append(np.where(both, np.maximum(positive, negative) / np.maximum(both, 1), np.nan))
    return np.nanmean(shares, axis=(0, 2))


def share_if_random(n: int) -> float:
    """Compute the expected share of the more frequent of two signs among an even number n of fair coins.

    E max(K, n − K)/n = ½ + E|K − n/2|/n = ½ + C(n, n/2)/2^(n + 1).
    """
    return 0.5 + math.comb(n, n // 2) / 2 ** (n + 1)


def cost(
    activation: Activation, depth: int, rate: float, seeds: int, budget: int = BUDGET, batch_size: int = 10
) -> np.ndarray:
    """Count the steps (seeds,) until the training loss is below the target; inf where the budget was not enough."""
    network = a_network(activation, depth, seeds)
    x, y = digits()
    looks = set(np.geomspace(10, BUDGET, 240).astype(int).tolist())
    steps = np.full(seeds, np.inf)
    try:
        for step in train(network, LOSS, SGD(rate), x, y, epochs=BUDGET, batch_size=batch_size):
            taken = step.index + 1
            if taken in looks:
                reached = LOSS.value(network.decision_function(x), y) < TARGET
                steps = np.where(reached & np.isinf(steps), taken, steps)
            if np.isfinite(steps).all() or taken >= budget:
                break
    except DivergenceError:
        pass
    return steps


def costs_by_rate(activation: Activation, depth: int, rates: np.ndarray, seeds: int) -> np.ndarray:
    """Count the steps (rates, seeds) at each rate; a rate is given up at twice the cost of the best so far."""
    costs = []
    budget = BUDGET
    for rate in rates:
        costs.append(cost(activation, depth, rate, seeds, budget))
        slowest = costs[-1].max()
        budget = min(budget, int(2.0 * slowest)) if math.isfinite(slowest) else budget
    return np.array(costs)


def ratio(slow: np.ndarray, fast: np.ndarray) -> Interval:
    """Estimate the geometric mean over seeds of slow/fast, with its interval."""
    log = mean_interval(np.log(slow / fast))
    return Interval(math.exp(log.mean), math.exp(log.low), math.exp(log.high))


def experiment(report: Report, quick: bool) -> None:
    seeds, batch_sizes = (4, [1, 100]) if quick else (20, [1, 3, 10, 30, 100, 300, 1000])
    samples = 30 if quick else 300
    shares = {
        name: np.array([share_of_one_sign(act, size, max(2, samples // size), seeds) for size in batch_sizes])
        for name, act in ACTIVATIONS.items()
    }
    report.numbers |= {"batch_sizes": batch_sizes, "shares": shares, "random": share_if_random(WIDTH)}
    for name in ("σ", "ReLU"):
        report.between(f"{name}, one sample: share of a neuron's weight gradients with one sign, in the least seed",
                       shares[name][0].min(), 1.0, 1.0)  # fmt: skip
    for name in ("σ − ½", "tanh"):
        report.within(f"{name}, one sample: that share, as with {WIDTH} fair coins", mean_interval(shares[name][0]),
                      share_if_random(WIDTH), 0.05 if quick else 0.02)  # fmt: skip

    seeds, depths, rates = (2, [1, 2], [0.1, 0.4]) if quick else (8, [1, 2, 4], [0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
    found: dict[str, dict[str, list[Interval]]] = {"one rate": {}, "own rate": {}}
    best: dict[str, list[float]] = {name: [] for name in ("σ", "σ − ½", "tanh")}
    steps: dict[str, dict[str, list[np.ndarray]]] = {how: {name: [] for name in best} for how in found}
    for depth in depths:
        for name in best:
            costs = costs_by_rate(ACTIVATIONS[name], depth, np.array(rates), seeds)
            i = int(np.argmin(np.exp(np.log(costs).mean(axis=1))))
            best[name].append(rates[i])
            steps["one rate"][name].append(costs[0])
            steps["own rate"][name].append(costs[i])
    words = {"one rate": f"all at rate {ONE_RATE:g}", "own rate": "each at its own best rate"}
    for how, text in words.items():
        for what, (slow, fast) in PAIRS.items():
            found[how][what] = [ratio(*pair) for pair in zip(steps[how][slow], steps[how][fast], strict=True)]
            low, high = (0.6, 1.7) if what == "centring" else (4.0, math.inf)
            for depth, measured in zip(depths, found[how][what], strict=True):
                says = f"{what}, {text}, depth {depth}: steps of {slow} over those of {fast}"
                report.between(says, measured, low, high)
    ratios = {how: {what: [[r.low, r.mean, r.high] for r in of] for what, of in d.items()} for how, d in found.items()}
    report.numbers |= {"depths": depths, "best_rates": best, "steps": steps, "ratios": ratios}
    pair = [ACTIVATIONS[name] for name in PAIRS["centring"]]
    noise = [ratio(*(cost(act, depths[-1], NOISY_RATE, seeds, batch_size=size) for act in pair)) for size in (10, 100)]
    says = f"centring, rate {NOISY_RATE:g}, depth {depths[-1]}, in batches of 100 in place of 10: steps of σ over σ − ½"
    report.between(says, noise[1], 0.6, 1.7)
    report.numbers["noise"] = [[r.low, r.mean, r.high] for r in noise]

    def listed(how: str, what: str) -> str:
        return ", ".join(f"×{r.mean:.2g}" for r in found[how][what])

    report.conclusion = (
        f"The premise holds, and holds for ReLU too: at one sample, all of a neuron's weight gradients have one sign, "
        f"against a share of {shares['tanh'][0].mean():.3f} with tanh, as coins would fall. In batches of "
        f"{batch_sizes[-1]} it is still {shares['σ'][-1].mean():.2f} for σ and {shares['ReLU'][-1].mean():.2f} for "
        f"ReLU. But that alone costs next to nothing. At one small rate, centring is worth "
        f"{listed('one rate', 'centring')} in {', '.join(map(str, depths))} hidden layers, and the scale, slope 1 in "
        f"place of ¼, "
        f"{listed('one rate', 'scale')}: tanh learns faster because it is steeper, not because it is centred. At each "
        f"one's own best rate, which makes up for a small slope in a shallow network, the scale is worth "
        f"{listed('own rate', 'scale')}, less than expected, and centring {listed('own rate', 'centring')}, in the "
        f"deepest network more than expected. The best rates of σ and σ − ½ are {best['σ'][-1]:g} and "
        f"{best['σ − ½'][-1]:g} there; what costs is the noise of small batches: at rate {NOISY_RATE:g}, "
        f"centring is worth ×{noise[0].mean:.2g} in batches of 10 and ×{noise[1].mean:.2g} in batches of 100."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    from gradlab.lab.style import COLOURS, label_lines

    colours = {"σ": COLOURS["sigmoid"], "σ − ½": "#12365C", "tanh": COLOURS["tanh"], "ReLU": COLOURS["relu"]}
    figure = Figure(figsize=(12.0, 4.2))
    signs, *panels = figure.subplots(1, 3, width_ratios=[1.0, 0.9, 0.9])
    sizes = numbers["batch_sizes"]
    signs.set(xscale="log", ylim=(0.5, 1.02), xlabel="batch size (samples)", ylabel="share of one sign")
    signs.set_title("Signs of a neuron's weight gradients")
    means = {name: array(shares).mean(axis=1) for name, shares in numbers["shares"].items()}
    for name, line in means.items():
        signs.plot(
            sizes, line, color=colours[name], marker="o", markersize=4, linestyle=(0, (4, 2)) if "½" in name else "-"
        )
    signs.axhline(numbers["random"], color="#666666", linestyle="--", linewidth=1)
    signs.text(sizes[0], numbers["random"] - 0.008, "theory: fair coins", va="top", color="#666666", fontsize=9)

    depths = numbers["depths"]
    titles = {"centring": "Centring alone: σ over σ − ½", "scale": "Scale alone: σ − ½ over tanh"}
    for ax, (what, title) in zip(panels, titles.items(), strict=True):
        for how, colour, label in (
            ("one rate", "#12365C", "at rate 0.1"),
            ("own rate", "#E69F00", "each at its own best rate"),
        ):
            low, mean, high = array(numbers["ratios"][how][what]).T
            ax.errorbar(depths, mean, [mean - low, high - mean], color=colour, marker="o", capsize=3, label=label)
        if what == "centring":
            for (low, mean, high), marker, size in zip(array(numbers["noise"]), "v^", (10, 100), strict=True):
                ax.errorbar(  # beside the others: one of them lies where a line's end does
                    [depths[-1] + 0.15], [mean], [[mean - low], [high - mean]], color="#7F3C8D", marker=marker,
                    linestyle="", capsize=3, label=f"at rate 0.4, batches of {size}",
                )  # fmt: skip
        ax.axhspan(*((0.6, 1.7) if what == "centring" else (4.0, 40.0)), color="#999999", alpha=0.15, linewidth=0)
        ax.axhline(1.0, color="#666666", linewidth=1)
        ax.set(yscale="log", ylim=(0.5, 40.0), xlabel="hidden layers", ylabel="ratio of steps to a loss of 0.1")
        ax.set_title(title)
        ax.xaxis.set_major_locator(FixedLocator(depths))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set_yticks([0.5, 1, 2, 4, 10, 20, 40], ["½", "1", "2", "4", "10", "20", "40"])
        ax.set_xlim(depths[0] - 0.3, depths[-1] + 0.3)
        ax.legend(loc="upper left", frameon=False)
    figure.suptitle("What an output that is not zero-centred costs (grey: expected; bars: 95 % intervals over seeds)")
    label_lines(signs, [(name, sizes[-1], line[-1], colours[name]) for name, line in means.items()])
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
