"""Does a saturated output stop learning?

Claim: where the sigmoid saturates, its slope is next to nothing, and the neuron no longer learns from its mistake.
Reference: Nielsen, Neural Networks and Deep Learning, chapter 3: one sigmoid neuron, which is to give 0 for the input 1
and starts at (w, b) = (0.6, 0.9) or (2, 2). With the quadratic cost, η = 0.15 and 300 epochs it comes from 0.82 to
0.09, and from 0.98 to 0.20 only; with the cross-entropy, η = 0.005, it is fastest where it is most wrong.
Set-up: that neuron as a gradlab network of one layer, one input, SGD, the two starts side by side as replicas;
`SquaredError(on="sigmoid")` is ½(a − y)², `BinaryCrossEntropy` the other cost, at η = 0.15 for both, and at Nielsen's
0.005 too. Reference values: the recursion z ← z − 2η·dC/dz, written out in the script with Python's own floats. Beyond
Nielsen: starts from z = 1 on, half of it in w and half in b, and how many steps it takes until the output is below ½,
against the same for steps so small that z flows: with the quadratic cost
(e^z − 1 + 3z + 3(1 − e^(−z)) + (1 − e^(−2z))/2)/2η, and with the cross-entropy (z + 1 − e^(−z))/2η.
"""

import math
import sys

import numpy as np
from frame import Numbers, Report, array, main

from gradlab.nn import SGD, BinaryCrossEntropy, Dense, Loss, Network, Sigmoid, SquaredError
from gradlab.training import train

STARTS = np.array([[0.6, 0.9], [2.0, 2.0]])
PRINTED = ((0.82, 0.09), (0.98, 0.20))  # Nielsen's, with the quadratic cost: first and last output
RATE, CAREFUL_RATE, STEPS = 0.15, 0.005, 300
COSTS: dict[str, Loss] = {"quadratic": SquaredError(on="sigmoid"), "cross-entropy": BinaryCrossEntropy()}
HALF_WAY = "steps until the output is below ½"


def learn(loss: Loss, rate: float, starts: np.ndarray, most: int, until: float = -math.inf) -> np.ndarray:
    """Train a neuron from each start (R, 2) of w and b; return its output before each step and after the last (·, R).

    It takes `most` steps, or fewer if all pre-activations fall below `until` before.
    """
    network = Network([Dense(1, 1)], seed=range(len(starts)))
    network.params[...] = starts
    logits = []
    for step in train(network, loss, SGD(rate), np.ones((1, 1)), np.zeros(1), epochs=most, batch_size=1):
        logits.append(step.tape[-1][:, 0, 0].copy())
        if logits[-1].max() < until:
            break
    return Sigmoid().forward(np.array([*logits, network.params.sum(axis=-1)]))


def recur(cost: str, rate: float, z: float, steps: int) -> list[float]:
    """Compute the same outputs with nothing but the recursion: w and b change alike, so that z changes by both."""
    found = []
    for _ in range(steps + 1):
        a = 1.0 / (1.0 + math.exp(-z))
        found.append(a)
        z -= 2.0 * rate * a * (1.0 / (2.0 + math.exp(z) + math.exp(-z)) if cost == "quadratic" else 1.0)
    return found


def flow(cost: str, rate: float, z: np.ndarray) -> np.ndarray:
    """Compute how many steps take z to 0 if they are small: ∫ dz / (2η·dC/dz)."""
    e = np.exp(-z)
    both = 1.0 / e - 1.0 + 3.0 * z + 3.0 * (1.0 - e) + (1.0 - e * e) / 2.0 if cost == "quadratic" else z + 1.0 - e
    return both / (2.0 * rate)


def experiment(report: Report, quick: bool) -> None:
    curves, rates = {}, [(cost, RATE) for cost in COSTS] + [("cross-entropy", CAREFUL_RATE)]
    for cost, rate in rates:
        found = curves[cost, rate] = learn(COSTS[cost], rate, STARTS, STEPS)
        exact = np.array([recur(cost, rate, float(z), STEPS) for z in STARTS.sum(axis=1)]).T
        says = f"{cost}, η = {rate:g}: the network's outputs and the recursion's differ, in {STEPS} steps, by at most"
        report.between(says, abs(found - exact).max(), high=1e-6)
    for r, (first, last) in enumerate(PRINTED):
        a = curves["quadratic", RATE][[0, -1], r]
        expected, measured = f"{first:.2f} and {last:.2f}", f"{a[0]:.2f} and {a[1]:.2f}"
        says = f"quadratic, from (w, b) = ({STARTS[r, 0]:g}, {STARTS[r, 1]:g}): first and last output are Nielsen's"
        report.claim(says, expected, measured, measured == expected)
    pace = {}
    for cost in COSTS:
        z = np.log(curves[cost, RATE][:2] / (1.0 - curves[cost, RATE][:2]))
        first = z[0] - z[1]
        pace[cost] = first[1] / first[0]
    report.between("quadratic: first change of z, from 0.98 over from 0.82 (stalls where it is more wrong)",
                   pace["quadratic"], high=0.5)  # fmt: skip
    report.between("cross-entropy: the same (faster where it is more wrong)", pace["cross-entropy"], low=1.0)

    z = np.arange(1.0, 7.0 if quick else 11.0)
    half = {}
    for cost, loss in COSTS.items():
        found = learn(loss, RATE, np.repeat(z[:, np.newaxis] / 2.0, 2, axis=1), 1_000_000, until=0.0)
        half[cost] = np.argmax(found < 0.5, axis=0)
        theory = flow(cost, RATE, z)
        off = abs(half[cost] - theory)
        worst = int(np.argmax(off / np.maximum(0.02 * theory, 2.0)))
        report.claim(
            f"{cost}: {HALF_WAY}, from z = 1 to {z[-1]:g}", "the theory's within 2 %, or 2 steps",
            f"worst at z = {z[worst]:g}: {half[cost][worst]:,} steps, theory {theory[worst]:,.1f}",
            np.all(off <= np.maximum(0.02 * theory, 2.0)),
        )  # fmt: skip
    report.numbers |= {
        "curves": {cost: curves[cost, RATE] for cost in COSTS},
        "printed": PRINTED,
        "z": z,
        "half": half,
        "fine": (fine := np.linspace(0.3, z[-1], 200)),
        "theory": {cost: flow(cost, RATE, fine) for cost in COSTS},
    }
    end, careful = (curves[key][-1] for key in (("cross-entropy", RATE), ("cross-entropy", CAREFUL_RATE)))
    report.conclusion = (
        f"A saturated output does stop learning with the quadratic cost, whose slope keeps the factor σ′: the first "
        f"step from 0.98 is {pace['quadratic']:.2f} times that from 0.82, and from z = {z[-1]:g} it takes "
        f"{half['quadratic'][-1]:,} steps until the output is below ½, e times as many for each unit of z. With the "
        f"cross-entropy σ′ cancels: the first step is {pace['cross-entropy']:.2f} times as large, {STEPS} steps lead "
        f"from 0.98 to {end[1]:.3f} (with the η of {CAREFUL_RATE:g} that Nielsen names, to {careful[1]:.2f}), and from "
        f"z = {z[-1]:g} it takes {half['cross-entropy'][-1]} steps, {1 / (2 * RATE):.1f} for each unit of z. So "
        f"insensitivity belongs to the pair of output and loss, not to the sigmoid. For a saturated hidden layer no "
        f"choice of loss removes σ′."
    )


def draw(numbers: Numbers):
    from matplotlib.figure import Figure

    from gradlab.lab.style import COLOURS, DERIVATIVE, label_lines

    colours = {"quadratic": DERIVATIVE, "cross-entropy": COLOURS["sigmoid"]}
    figure = Figure(figsize=(11.0, 4.4))
    left, right = figure.subplots(1, 2)
    ends = []
    for cost, curve in numbers["curves"].items():
        for a in array(curve).T:
            left.plot(a, color=colours[cost], linewidth=2.0)
            ends.append((f"{cost}, from {a[0]:.2f}", len(a) - 1.0, a[-1], colours[cost]))
    for curve, (first, last) in zip(array(numbers["curves"]["quadratic"]).T, numbers["printed"], strict=True):
        left.plot([0, len(curve) - 1], [first, last], "ko", markersize=5, zorder=3)
    left.set(ylabel="output of the neuron (0 is wanted)", ylim=(0.0, 1.02))
    left.set_xlabel("training step\nblack dots: the numbers that Nielsen prints, quadratic cost")
    left.set_title("Squared, it stalls where it is most wrong")
    label_lines(left, ends)

    z, fine = array(numbers["z"]), array(numbers["fine"])
    ends = []
    for cost, steps in numbers["half"].items():
        right.plot(z, array(steps), "o", color=colours[cost], markersize=5)
        theory = array(numbers["theory"][cost])
        right.plot(fine, theory, "--", color=colours[cost], linewidth=1.5)
        ends.append((cost, fine[-1], theory[-1], colours[cost]))
        right.annotate("theory", (fine[100], theory[100]), xytext=(6, -12), textcoords="offset points",
                       color=colours[cost])  # fmt: skip
    right.set(yscale="log", xlabel="first pre-activation z (the output is σ(z))")
    right.set_ylabel("training steps until the output is below ½")
    right.set_title("Exponentially long, or in proportion")
    label_lines(right, ends)
    return figure


if __name__ == "__main__":
    sys.exit(main(experiment, draw))
