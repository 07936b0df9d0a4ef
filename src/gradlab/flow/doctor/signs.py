"""The signs that the doctor looks for, in the order in which one makes the next ones meaningless.

Are there labels to learn, are the inputs of a size, does the loss belong to the output, do the units differ, do the
slopes live, does the gradient reach the first layer; and only then, by trials, whether rate, size and the rest suit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from gradlab.flow.doctor.patient import Patient, Trial
from gradlab.flow.doctor.reference import FEWEST
from gradlab.flow.doctor.treatments import Treatment, treated
from gradlab.nn import (
    Activation,
    BatchNorm,
    CentredSigmoid,
    Dropout,
    Identity,
    LeakyReLU,
    Recurrent,
    ReLU,
    Residual,
    Sigmoid,
    Softsign,
    Tanh,
)
from gradlab.nn.losses import SoftmaxCrossEntropy, SquaredError

# Beyond these a number is a sign. They stand far outside of what healthy networks show: see the bank of faults.
LARGE_INPUT, SMALL_INPUT = 5.0, 0.05  # typical size of a feature: its root mean square
SATURATED, DEAD, NEARLY_ALL = 0.5, 0.5, 0.95  # share of a layer
VANISHING, EXPLODING = 1e-2, 1e2  # delta at the first hidden layer / delta at the last
LARGE_SIGNAL = 30.0  # standard deviation of a pre-activation
IMBALANCED = 0.9  # share of the largest class
DECADES = 8  # how far learning rates are searched, up and down, by factors of ten
LITTLE, MUCH, SOLVED = 0.9, 0.7, 0.2  # loss after a trial / loss of the best constant
NARROW, WIDER = 16, 4  # units of a hidden layer below which more are tried; how many times as many
ALIKE = 1.1  # times the least loss, of learning rates that serve alike
OFTEN = 0.7  # share of the units that is dropped, from which fewer are tried

KINDS = {
    "no_signal": "labels without signal",
    "imbalanced": "imbalanced classes",
    "unscaled": "unscaled inputs",
    "wrong_loss": "wrong loss for the output",
    "symmetric": "symmetric initialisation",
    "dead": "dead units",
    "saturated": "saturated units",
    "residual": "residual blocks without scaling",
    "exploding": "exploding gradient",
    "vanishing": "vanishing gradient",
    "dropout": "dropout too high",
    "rate_too_high": "learning rate too high",
    "rate_too_low": "learning rate too low",
    "narrow": "too few units",
    "unexplained": "too little is learned",
    "healthy": "nothing wrong",
}


@dataclass(frozen=True)
class Sign:
    """Something that is wrong, and what may help.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    text : str
        What is seen, with the numbers that show it.
    treatments : tuple of (str, treatment)
        What to do, in words and as keys, the first choice first; a treatment that would change nothing is passed over.
    evidence : dict of float
    is_certain : bool
        Whether it is wrong even where training does not show it.
    is_final : bool
        Whether nothing else can be asked as long as it is there.
    is_last : bool
        Whether it is said only if nothing else is.
    """

    kind: str
    text: str
    treatments: tuple[tuple[str, Treatment], ...] = ()
    evidence: dict[str, float] = field(default_factory=dict)
    is_certain: bool = False
    is_final: bool = False
    is_last: bool = False


Look = Callable[[Patient], Iterator[Sign]]
PUT_TOGETHER = "Look at how inputs and labels were put together. Were rows shuffled? Do features tell the class?"


# --- the data -------------------------------------------------------------------------------------------------------


def labels(patient: Patient) -> Iterator[Sign]:
    """Ask of each class whether it can be told from the others."""
    counts = patient.counts[patient.counts > 0]
    if len(counts) < 2:
        advice = "Look at how inputs and labels were put together."
        yield Sign("no_signal", "all samples have the same label", ((advice, {}),), is_certain=True, is_final=True)
        return
    reference, fewest = patient.reference, int(counts.min())
    if fewest < FEWEST and patient.majority > IMBALANCED:
        small = int(np.flatnonzero(patient.counts == fewest)[0])
        yield Sign(
            "imbalanced",
            f"{_percent(patient.majority)} are class {patient.counts.argmax()}, and class {small} has {fewest} "
            f"sample{'s' * (fewest > 1)}, too few to judge whether the features tell it",
            ((f"Collect more samples of class {small}.", {}),),
            {"majority": patient.majority, "fewest": float(fewest)},
            is_certain=True,
            is_final=True,
        )
    elif fewest >= FEWEST and not reference.has_signal:
        i = int(np.argmax(reference.areas - reference.limits))
        yield Sign(
            "no_signal",
            f"neither a straight line nor a curve nor its nearest neighbours tell a sample's class: the area under the "
            f"ROC curve is {reference.areas[i]:.2f} at best, and by chance up to {reference.limits[i]:.2f}",
            ((PUT_TOGETHER, {}),),
            {"area": float(reference.areas[i]), "limit": float(reference.limits[i])},
            is_certain=True,
            is_final=True,
        )


def inputs(patient: Patient) -> Iterator[Sign]:
    """Ask whether the features are of a size."""
    if isinstance(patient.network.layers[0], BatchNorm):
        return
    varies = np.ptp(patient.x, axis=0) > 0.0
    if not varies.any():
        return
    x = np.asarray(patient.x[:, varies], float)
    spread, offset = x.std(axis=0), abs(x.mean(axis=0))
    largest, least = float(np.hypot(spread, offset).max()), float(spread.min())
    if largest > LARGE_INPUT or spread.max() < SMALL_INPUT or (offset > LARGE_INPUT * spread).any():
        yield Sign(
            "unscaled",
            f"the features spread by {least:.3g} to {spread.max():.3g} around means of up to {offset.max():.3g}; "
            "weights are drawn for inputs that spread by about 1 around 0",
            (
                (
                    "Standardize each column: subtract its mean, divide by its standard deviation.",
                    {"data.standardize": True},
                ),
            ),
            {"largest": largest, "least": least},
        )


def output(patient: Patient) -> Iterator[Sign]:
    """Ask whether loss, last layer and targets belong together."""
    last, loss, y = patient.network.layers[-1], patient.loss, patient.y
    low, high = float(y.min()), float(y.max())
    proper = "binary_cross_entropy" if y.shape[1] == 1 else "softmax_cross_entropy"
    if not patient.targets_fit:
        yield Sign(
            "wrong_loss",
            f"targets go from {low:.3g} to {high:.3g}, and {loss!r} takes {loss.target_range[0]:g} to "
            f"{loss.target_range[1]:g}",
            (("Write the two classes as 0 and 1.", {}),),
            {"least": low, "largest": high},
            is_certain=True,
            is_final=True,
        )
    elif isinstance(loss, SoftmaxCrossEntropy) and y.shape[1] == 1:
        yield Sign(
            "wrong_loss",
            f"{loss!r} with one output: softmax of a single logit is 1, whatever the logit",
            (
                (
                    "Use the binary cross-entropy, or an output for each class.",
                    {"training.loss": "binary_cross_entropy"},
                ),
            ),
            is_certain=True,
        )
    elif isinstance(last, Activation) and not isinstance(last, Identity):
        yield Sign(
            "wrong_loss",
            f"the last layer is {last!r}, and {loss!r} bends its output once more",
            (("Let the network end with the Dense that gives the logits.", {"ends in logits": True}),),
            is_certain=True,
        )
    elif isinstance(loss, SquaredError) and len(np.unique(y)) <= 2:
        yield Sign(
            "wrong_loss",
            f"{loss!r} with targets {low:g} and {high:g}: a wrong output that is sure has next to no slope",
            (("Use cross-entropy, whose slope there is 1.", {"training.loss": proper}),),
        )


# --- the first step -------------------------------------------------------------------------------------------------


def symmetry(patient: Patient) -> Iterator[Sign]:
    """Ask whether the units of each hidden layer differ."""
    for i, dense in enumerate(patient.hidden):
        joint = np.concatenate([dense.W, dense.b])
        if dense.n_out > 1 and np.ptp(joint, axis=1).max() <= 1e-12 * max(1.0, float(abs(joint).max())):
            yield Sign(
                "symmetric",
                f"all {dense.n_out} units of hidden layer {i + 1} have the same weights, so they stay one unit",
                (("Draw the first weights at random.", {"network.weight_init": _suitable(patient)}),),
                {"layer": float(i + 1)},
                is_certain=True,
            )
            return


def slopes(patient: Patient) -> Iterator[Sign]:
    """Ask whether the units' slopes live on the samples."""
    if "dead_share" not in patient.first:
        return
    dead, saturated = patient.first["dead_share"], patient.first["saturated_share"]
    spread = patient.first["preactivation_std"]
    if patient.layers_of(Residual) and spread.max() > LARGE_SIGNAL:
        return  # dead for that reason: see `flow`
    bounded = any(isinstance(a, Sigmoid | CentredSigmoid | Tanh | Softsign) for a in patient.activations)
    biased = max((float(abs(dense.b).max()) for dense in patient.hidden), default=0.0) > 1.0
    smaller: tuple[tuple[str, Treatment], ...] = (
        ("Draw smaller first weights.", {"network.gain": 1.0}),
        ("Draw smaller first weights.", {"network.gain": 1.0, "network.weight_init": _suitable(patient)}),
        ("Let batch normalisation scale the pre-activations.", {"network.batch_norm": True}),
    )
    zero: tuple[tuple[str, Treatment], ...] = (("Start with biases of 0.", {"network.bias_init": "zeros"}),)
    again: tuple[tuple[str, Treatment], ...] = (
        (
            "Begin again with a smaller learning rate.",
            {"begin again": True, "training.learning_rate": _less(patient, 0.1)},
        ),
        (
            "Begin again with a much smaller learning rate.",
            {"begin again": True, "training.learning_rate": _less(patient, 0.01)},
        ),
    )
    if not bounded:
        i = int(np.argmax(dead))
        if dead[i] <= DEAD and saturated.max() > NEARLY_ALL:  # a slope, but next to none
            i, dead = int(np.argmax(saturated)), saturated
        if dead[i] > DEAD:
            leaky = ("Take an activation that has a slope on both sides.",
                     {"network.activation": "leaky_relu", "network.weight_init": "he_normal"})  # fmt: skip
            where = f"{dead[i]:.0%} of the units of hidden layer {i + 1} have no slope to speak of on the samples"
            if patient.is_trained:
                where += f": they died in training, {_dead_units(patient, i)}"
            yield Sign(
                "dead",
                where,
                (*(again if patient.is_trained else zero if biased else ()), leaky, *smaller),
                {"layer": float(i + 1), "share": float(dead[i])},
                is_certain=not patient.is_trained,
            )
        return
    i = int(np.argmax(saturated))
    if saturated[i] > SATURATED:
        yield Sign(
            "saturated",
            f"{saturated[i]:.0%} of hidden layer {i + 1} is where the slope is below a twentieth of its largest; "
            f"pre-activations spread by {spread[i]:.3g}" + (", after training" if patient.is_trained else ""),
            (*(again if patient.is_trained else zero if biased else ()), *smaller),
            {"layer": float(i + 1), "share": float(saturated[i])},
            is_certain=not patient.is_trained,
        )


def flow(patient: Patient) -> Iterator[Sign]:
    """Ask whether signal and gradient keep their size from layer to layer."""
    gain = _least_gain(patient)
    relu: Treatment = {"network.activation": "relu", "network.weight_init": "he_normal", "network.gain": 1.0}
    unit: Treatment = {"network.gain": 1.0}
    suitable: Treatment = {"network.gain": 1.0, "network.weight_init": _suitable(patient)}
    smaller = ("Draw smaller first weights: He's for the ReLU family, Glorot's for others.", unit)
    smaller_too = ("Draw smaller first weights: He's for the ReLU family, Glorot's for others.", suitable)
    normal = ("Let batch normalisation scale the pre-activations.", {"network.batch_norm": True})
    if not patient.first:
        yield Sign("exploding", "the very first pass leaves the finite numbers", (smaller, smaller_too, normal))
        return
    deltas = patient.first["delta_rms"][:-1]
    if not deltas.size:
        return
    ratio = float(deltas[0] / deltas[-1]) if deltas[-1] > 0.0 else 0.0
    spread = float(patient.first["preactivation_std"].max()) if "preactivation_std" in patient.first else 0.0
    evidence = {"ratio": ratio, "layers": float(len(deltas)), "spread": spread}
    blocks = patient.layers_of(Residual)
    if ratio > EXPLODING or spread > LARGE_SIGNAL:
        grown = []
        if ratio > EXPLODING:
            grown.append(f"the delta at the first of {len(deltas)} hidden layers is {ratio:.3g} times that at the last")
        if spread > LARGE_SIGNAL:
            grown.append(f"pre-activations spread by up to {spread:.3g}")
        if blocks:
            scaled = {"network.gain": float(f"{gain / np.sqrt(len(blocks)):.2g}")}
            yield Sign(
                "residual",
                f"each of {len(blocks)} residual blocks adds its branch at full size: {', and '.join(grown)}",
                (("Scale the branches: draw their weights smaller by 1/√blocks.", scaled), normal),
                evidence,
            )
            return
        yield Sign("exploding", ", and ".join(grown), (smaller, smaller_too, normal), evidence)
    elif len(deltas) > 1 and ratio < VANISHING:
        yield Sign(
            "vanishing",
            f"of the delta at the last of {len(deltas)} hidden layers {ratio:.2g} arrives at the first, "
            f"a factor of {ratio ** (1.0 / (len(deltas) - 1)):.2g} per layer",
            (
                *((smaller,) if gain < 1.0 else ()),
                ("A ReLU with He's weights keeps it.", relu),
                ("Batch normalisation keeps it.", {"network.batch_norm": True}),
            ),
            evidence,
        )


def time(patient: Patient) -> Iterator[Sign]:
    """Ask whether the gradient reaches the first steps of the sequences that a Recurrent is given."""
    first = patient.network.layers[0]
    if not isinstance(first, Recurrent):
        return
    sizes = patient.through_time
    if len(sizes) < 2 or not sizes[-1] > 0.0:
        return
    ratio = float(sizes[0] / sizes[-1])
    if VANISHING < ratio < EXPLODING:
        return
    orthogonal: Treatment = {"network.recurrent_init": "orthogonal", "network.recurrent_gain": 1.0}
    tanh: Treatment = {"network.activation": "tanh", **orthogonal}
    kind = "vanishing" if ratio <= VANISHING else "exploding"
    yield Sign(
        kind,
        f"of the gradient at the last of {len(sizes)} time steps {ratio:.2g} arrives at the first",
        (
            ("Draw the recurrent weights orthogonal, with gain 1.", orthogonal),
            ("Draw the recurrent weights orthogonal, with tanh.", tanh),
        ),
        {"ratio": ratio, "steps": float(len(sizes))},
    )


# --- trials ---------------------------------------------------------------------------------------------------------


def trials(patient: Patient) -> Iterator[Sign]:
    """Ask whether another setting is a good deal better, and this one bad."""
    now = patient.trial
    looks: list[tuple[Callable[[Patient, Trial], Iterator[Sign]], Callable[[], bool]]] = [
        (_classes, lambda: False),
        (_rate_too_high, lambda: _is_well(patient, now, SOLVED)),
        (_dropout, lambda: False),
        (_rate_too_low, lambda: _is_well(patient, patient.long_trial, MUCH)),  # slow, but it gets there
        (_width, lambda: False),
        (_unexplained, lambda: False),
    ]
    for look, ends_here in looks:
        if ends_here():
            return
        for sign in look(patient, now):
            yield sign
            return


def _is_well(patient: Patient, trial: Trial, limit: float) -> bool:
    """Tell whether a trial leaves less than a limit, and no more mistakes than the data make necessary."""
    return trial.left < limit and not _falls_short(patient, trial)


def _falls_short(patient: Patient, now: Trial) -> bool:
    """Tell whether less is right than what the data allow, or no more than a straight line where a curve has more."""
    reference = patient.reference
    if min(patient.counts[patient.counts > 0]) < FEWEST:
        return False
    if reference.bends and now.accuracy < reference.line_accuracy + 0.25 * (
        reference.accuracy - reference.line_accuracy
    ):
        return True
    return now.accuracy < reference.accuracy - max(3.0 * reference.margin, 0.1)


def _dropout(patient: Patient, now: Trial) -> Iterator[Sign]:
    rates = [layer.rate for layer in patient.layers_of(Dropout)]
    if not rates or max(rates) < OFTEN:
        return
    treatment: Treatment = {"network.dropout": 0.2}
    other = treated(patient, treatment)
    if other is not None and other.trial.is_better_than(now):
        yield Sign(
            "dropout",
            f"{max(rates):.0%} of the units are dropped in each step: a moment's training leaves {_left(now)}, "
            f"and with 20 % dropped {_left(other.trial)}",
            (("Drop fewer.", treatment),),
            {"rate": max(rates), "left": now.left, "left_at_better": other.trial.left},
        )


def _rate_too_high(patient: Patient, now: Trial) -> Iterator[Sign]:
    scale, after = _search(patient, 0.1)
    if scale < 1.0 and now.left > SOLVED and after.left < (MUCH if now.left > MUCH else 0.5) * min(now.left, 1.0):
        yield _of_the_rate(patient, "rate_too_high", scale, after)


def _rate_too_low(patient: Patient, now: Trial) -> Iterator[Sign]:
    scale, after = _search(patient, 10.0)
    if scale > 1.0 and after.is_better_than(now) and after.left < LITTLE:
        yield _of_the_rate(patient, "rate_too_low", scale, after)


def _of_the_rate(patient: Patient, kind: str, scale: float, after: Trial) -> Sign:
    now, rate = patient.trial, patient.optimizer.learning_rate
    better = float(f"{scale * rate:.3g}")
    seen = "it diverges" if np.isinf(now.left) else f"it leaves {_left(now)}"
    return Sign(
        kind,
        f"in a moment's training at {rate:.3g} {seen}; at {better:.3g}, {_left(after)}",
        ((f"Take a {'smaller' if scale < 1.0 else 'larger'} learning rate.", {"training.learning_rate": better}),),
        {"rate": rate, "better": better, "left": now.left, "left_at_better": after.left},
    )


def _search(patient: Patient, factor: float) -> tuple[float, Trial]:
    """Go up or down by factors until a learning rate serves well, or two in a row do no better than the best.

    Of those that serve nearly alike the smallest is returned.
    """
    tried, best, in_vain = {1.0: patient.trial}, 1.0, 0
    for decade in range(1, DECADES + 1):
        scale = factor**decade
        other = treated(patient, {"training.learning_rate": patient.optimizer.learning_rate * scale})
        if other is None:
            break
        tried[scale] = other.trial
        if other.trial.left < tried[best].left:
            in_vain = in_vain if other.trial.left > 0.99 * tried[best].left else 0
            best = scale
        elif tried[best].left < LITTLE:
            in_vain += 1
        if in_vain == 2 or (tried[best].left < SOLVED and best != scale):
            break
    alike = [scale for scale, trial in tried.items() if trial.left <= ALIKE * tried[best].left]
    return (chosen := min(alike)), tried[chosen]


def _width(patient: Patient, now: Trial) -> Iterator[Sign]:
    widths = [dense.n_out for dense in patient.hidden]
    if not widths:
        if patient.reference.bends and _falls_short(patient, now) and not patient.layers_of(Recurrent):
            yield Sign(
                "narrow",
                f"without a hidden layer it is a straight line, which gets {now.accuracy:.0%} right, and a curve "
                f"{patient.reference.accuracy:.0%}",
                (("Add a hidden layer.", {}),),
                {"accuracy": now.accuracy, "reference": patient.reference.accuracy},
            )
        return
    if min(widths) >= NARROW:
        return
    wide = max(WIDER * min(widths), 2 * NARROW)
    treatment: Treatment = {"network.width": wide}
    other = treated(patient, treatment)
    if other is not None and other.trial.is_better_than(now):
        yield Sign(
            "narrow",
            f"with {min(widths)} unit{'s' * (min(widths) > 1)} in a hidden layer {now.accuracy:.0%} is right after a "
            f"moment's training; with {wide}, {other.trial.accuracy:.0%}",
            ((f"Give each hidden layer {wide} units.", treatment),),
            {"width": float(min(widths)), "accuracy": now.accuracy, "accuracy_at_better": other.trial.accuracy},
        )


def _classes(patient: Patient, now: Trial) -> Iterator[Sign]:
    if patient.majority < IMBALANCED or patient.weights is not None or now.recalls.min() > 0.5:
        return
    treatment: Treatment = {"training.class_weight": "balanced"}
    other = treated(patient, treatment)
    if other is not None and other.trial.accuracy > now.accuracy + 0.05:
        least = int(np.argmin(now.recalls))
        yield Sign(
            "imbalanced",
            f"{_percent(patient.majority)} are class {patient.counts.argmax()}, and after a moment's training "
            f"{now.recalls[least]:.0%} of class {np.flatnonzero(patient.counts)[least]} are found",
            (("Weigh the classes, each by the inverse of its share.", treatment),),
            {"majority": patient.majority, "accuracy": now.accuracy, "accuracy_at_better": other.trial.accuracy},
        )


def _unexplained(patient: Patient, now: Trial) -> Iterator[Sign]:
    if now.left <= LITTLE and not _falls_short(patient, now):
        return
    remedies: tuple[tuple[str, Treatment], ...] = (
        ("Adam goes on where plain steps stall.", {"training.optimizer": "adam", "training.learning_rate": 0.01}),
        ("Adam goes on where plain steps stall.", {"training.optimizer": "adam", "training.learning_rate": 0.1}),
        ("ReLUs learn sooner.", {"network.activation": "relu", "network.weight_init": "he_normal"}),
        ("Batch normalisation keeps signals of a size.", {"network.batch_norm": True}),
    )
    helps = next((r for r in remedies if (to := treated(patient, r[1])) and to.trial.is_better_than(now)), None)
    reference = patient.reference
    yield Sign(
        "unexplained",
        f"a moment's training leaves {_left(now)}, at this learning rate and at others, and gets {now.accuracy:.0%} "
        f"right; a straight line gets {reference.line_accuracy:.0%}, and the best of the simple ways tried here "
        f"{reference.accuracy:.0%}; no probe says why",
        (helps or ("Train for longer; look at the flow and at single samples.", {}),),
        {"left": now.left, "accuracy": now.accuracy, "reference": reference.accuracy},
        is_final=helps is None,
        is_last=True,
    )


LOOKS: tuple[Look, ...] = (labels, inputs, output, symmetry, slopes, flow, time, trials)


# --- what several need ----------------------------------------------------------------------------------------------


def _suitable(patient: Patient) -> str:
    """Name the initializer that suits the activations."""
    return "he_normal" if any(isinstance(a, ReLU | LeakyReLU) for a in patient.activations) else "glorot_uniform"


def _least_gain(patient: Patient) -> float:
    return min((dense.gain for dense in patient.hidden), default=1.0)


def _less(patient: Patient, factor: float) -> float:
    return float(f"{patient.optimizer.learning_rate * factor:.3g}")


def _dead_units(patient: Patient, i: int) -> str:
    """Name the units of an activation, counted from 0, whose slope is 0 on every sample."""
    from gradlab.flow.quantities import Activations
    from gradlab.training.passes import lay_open, part_of

    network = patient.network
    name = Activations(network).names[i]
    part = part_of(network, name, lay_open(network.layers, network.forward(patient.x)))
    units = np.flatnonzero(~np.any(part.layer.derivative(part.x, part.y) != 0.0, axis=0))  # type: ignore[attr-defined]
    shown = ", ".join(map(str, units[:10]))
    return f"unit{'s' * (len(units) != 1)} {shown}{', …' if len(units) > 10 else ''}"


def _left(trial: Trial) -> str:
    if np.isinf(trial.left):
        return "no finite loss"
    return (
        f"{trial.left:.0%} of a constant's loss" if trial.left < 10.0 else f"{trial.left:.3g} times a constant's loss"
    )


def _percent(share: float) -> str:
    return f"{share:.0%}" if share < 0.995 else f"{share:.1%}"
