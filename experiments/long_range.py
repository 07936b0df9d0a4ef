"""Are long lags lost on a recurrent sigmoid network?

Claim: the gradient of a recurrent sigmoid network vanishes from step to step, so that what happened long ago is not
learnt.
Reference: Hochreiter 1991; Bengio, Simard & Frasconi 1994: backwards, a step multiplies the error by W_recurrentᵀ and
by σ′ ≤ ¼. The remedies: orthogonal weights (Saxe et al. 2014, arXiv 1312.6120), the identity and ReLU (Le et al. 2015,
arXiv 1504.00941), dynamical isometry (Pennington et al. 2017, arXiv 1711.04735). Theory: √χ of
`gradlab.flow.mean_field`.
Set-up: four recurrences h_t = φ(x_t·W + h_(t−1)·W_recurrent + b): σ with Glorot's normal W_recurrent, the default;
σ − ½ with 4·orthogonal, so that gain times slope is 1; tanh with orthogonal; ReLU with the identity. W is Glorot's
uniform, b = 0. Error: before any training, the norm of δ_t, over 8 sequences and 512 units, from an error
drawn at the last of 21 steps; the factor is that of a step back, its geometric mean without the first two and the last
one, with all inputs 0, 10 seeds. Task: the first of lag + 1 random bits, ±1, is asked for after the last; state of 32,
one logit, cross-entropy, Adam at 0.003, norm of the gradient at most 1, batches of 32, 8 seeds; 2000 sequences to train
on, 500 to test on. The budget, within which "not learnt" is said: 20 epochs, 1260 steps.
"""

import sys

import numpy as np
from frame import LEGEND_OF_BANDS, Numbers, Report, array, main

from gradlab.flow import Interval, mean_field, mean_interval
from gradlab.nn import Adam, BinaryCrossEntropy, CentredSigmoid, Dense, Network, Recurrent
from gradlab.training import train

DEFAULT, *LONG = NAMES = ("σ", "σ − ½, 4·orthogonal", "tanh, orthogonal", "ReLU, identity")
STEPS_BACK = 20


def recurrence(name: str, width: int) -> Recurrent:
    if name == DEFAULT:
        return Recurrent(1, width, "sigmoid", recurrent_init="glorot_normal")
    if name.startswith("σ"):
        return Recurrent(1, width, CentredSigmoid(), recurrent_init="orthogonal", recurrent_gain=4.0)
    if name.startswith("tanh"):
        return Recurrent(1, width, "tanh", recurrent_init="orthogonal")
    return Recurrent(1, width, "relu", recurrent_init="identity")


def bits(n: int, lag: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, lag]).choice([-1.0, 1.0], (n, lag + 1))


def error_norms(name: str, width: int, seeds: int, x: np.ndarray) -> np.ndarray:
    """Return ‖δ_t‖/‖δ_T‖ (seeds, steps), from the last step back, before any training."""
    norms = []
    for seed in range(seeds):
        network = Network([recurrence(name, width)], seed=seed)
        dy = np.random.default_rng(seed).standard_normal((len(x), width))
        deltas = network.layers[0].deltas(dy, x)
        norms.append(np.linalg.norm(deltas, axis=(-2, -1))[::-1])
    return np.array(norms) / np.array(norms)[:, :1]


def accuracy(name: str, lag: int, seeds: int, epochs: int) -> np.ndarray:
    """Train on the first bit; return the share (seeds,) of test sequences that are right."""
    x, x_test = bits(2000, lag, 0), bits(500, lag, 1)
    network = Network([recurrence(name, 32), Dense(32, 1)], seed=range(seeds))
    for _ in train(
        network, BinaryCrossEntropy(), Adam(0.003), x, x[:, 0] > 0.0,
        epochs=epochs, batch_size=32, clip_norm=1.0,
    ):  # fmt: skip
        pass
    return np.mean((network.decision_function(x_test)[..., 0] > 0.0) == (x_test[:, 0] > 0.0), axis=-1)


def experiment(report: Report, quick: bool) -> None:
    width, seeds = (256, 3) if quick else (512, 10)
    theory = mean_field("sigmoid", 1.0).chi ** 0.5
    quiet = error_norms(DEFAULT, width, seeds, np.zeros((8, STEPS_BACK + 1)))
    log = mean_interval(np.diff(np.log(quiet[:, 2:-1]), axis=1).mean(axis=1))
    factor = Interval(*np.exp([log.mean, log.low, log.high]).tolist())
    report.within("σ: factor on the error of a step back, against √χ", factor, theory, 0.03)
    norms = {name: error_norms(name, width, seeds, bits(8, STEPS_BACK, 0)) for name in NAMES}

    lags, seeds, epochs = ([2, 20], 2, 6) if quick else ([2, 5, 10, 20], 8, 20)
    right = {name: np.array([accuracy(name, lag, seeds, epochs) for lag in lags]).T for name in NAMES}
    report.numbers |= {"theory": theory, "norms": norms, "lags": lags, "right": right, "epochs": epochs}
    report.between(f"{DEFAULT}, lag {lags[-1]}: share of test sequences that are right",
                   mean_interval(right[DEFAULT][:, -1]), 0.45, 0.55)  # fmt: skip
    for name in LONG:
        report.count(f"{name}, lag {lags[-1]}: more than 0.9 are right", right[name][:, -1] > 0.9, seeds)
    by_lag = ", ".join(
        f"{share:.2f} at lag {lag}" for lag, share in zip(lags, right[DEFAULT].mean(axis=0), strict=True)
    )
    others = "; ".join(f"{name}: {right[name][:, -1].mean():.2f}" for name in LONG)
    report.conclusion = (
        f"With the default first weights, yes: a step back multiplies the error by {factor.mean:.4f}, as mean-field "
        f"theory says ({theory:.4f}); with the bits of the task, {np.median(norms[DEFAULT][:, -1]):.0e} of it is "
        f"left after {STEPS_BACK} steps. The share of test sequences that are right is {by_lag}. But it is not in the "
        f"shape of the sigmoid: centred, and with orthogonal weights that make up for its slope, it keeps lag "
        f"{lags[-1]} like the others ({others})."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, label_lines, line_and_band, positive

    colours = dict(zip(NAMES, (COLOURS["sigmoid"], "#0B2340", COLOURS["tanh"], COLOURS["relu"]), strict=True))
    figure = Figure(figsize=(11.0, 4.4))
    errors, shares = figure.subplots(1, 2, width_ratios=[1.0, 1.2])
    back = np.arange(STEPS_BACK + 1)
    errors.set(yscale="log", xlabel="steps back", ylabel="norm of the error / that at the last step")
    errors.set_xticks([0, 5, 10, 15, 20])
    errors.set_title("How much of an error is left, before training")
    for name in NAMES:
        line_and_band(errors, back, positive(array(numbers["norms"][name])), colours[name])
    errors.plot(back, numbers["theory"] ** back, color="#222222", linestyle="--", linewidth=1.2)
    errors.text(9.3, numbers["theory"] ** 9, f" theory: {numbers['theory']:.3f} a step", va="bottom")
    lags = array(numbers["lags"])
    shares.set(ylim=(0.4, 1.03), xlabel="lag (steps between the bit and the question)",
               ylabel="share of test sequences that are right")  # fmt: skip
    shares.set_xticks(numbers["lags"])
    shares.set_title(f"Remembering the first bit, after {numbers['epochs']} epochs")
    shares.axhline(0.5, color="#666666", linestyle=":")
    shares.text(lags[0], 0.49, "guessing", color="#666666", va="top")
    medians = {name: tuple(np.median(array(numbers["right"][name]), axis=0)) for name in NAMES}
    alike = [name for name in NAMES if sum(median == medians[name] for median in medians.values()) > 1]
    for name in NAMES:
        line_and_band(shares, lags, array(numbers["right"][name]), colours[name], marker="o")
        if name in alike:  # one lies on the other: every marker shows the rim of the one below
            shares.lines[-1].set_markersize(13 - 4 * alike.index(name))
    if alike:
        shares.text(lags[-1], 0.97, f"{len(alike)} lines on one another", ha="right", va="top", color="#666666")
    figure.suptitle("A recurrent sigmoid network loses long lags by its default weights, not by its shape")
    figure.supxlabel(LEGEND_OF_BANDS, fontsize=9, color="#666666")
    for ax, x, key in ((errors, back, "norms"), (shares, lags, "right")):
        ends = [(name, x[-1], float(np.median(array(numbers[key][name])[:, -1])), colours[name]) for name in NAMES]
        label_lines(ax, [(name if ax is shares else name.partition(",")[0], *end) for name, *end in ends])
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
