"""One training step worked like a lecture: every rule in symbols, with the numbers put in, and held against a
central difference."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np

from gradlab.check.gradients import check_gradients
from gradlab.learn.diagram import draw
from gradlab.learn.worked.explanation import Explanation
from gradlab.learn.worked.formulas import Formula, Symbol, added, constant, named
from gradlab.learn.worked.layers import rules_of
from gradlab.learn.worked.lines import Line, Section
from gradlab.learn.worked.losses import LOSS_WORDS, sample_loss, slope_of_loss
from gradlab.learn.worked.step import WorkedStep
from gradlab.learn.worked.updates import update
from gradlab.nn.checks import check_int
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.optimizers import SGD, Optimizer


def explain(
    network: Network,
    loss: Loss,
    x: np.ndarray,
    y: np.ndarray,
    *,
    optimizer: Optimizer | None = None,
    samples: Sequence[int] | None = None,
    precision: int = 4,
    l1: float = 0.0,
    l2: float = 0.0,
    clip_norm: float = 0.0,
) -> Explanation:
    """Work one training step: forward, loss, backward, update.

    A small network is shown whole. Of a larger one each layer's shapes and norms are shown, and the numbers along one
    path: the sample whose logit has the largest derivative, and in each layer the unit with the largest; of a deep one,
    in the first and the last layers.

    Nothing given is changed. The step is taken by a copy, in float64, and the numbers are those of its arrays.

    Parameters
    ----------
    network : Network
        One, not replicas.
    loss : Loss
    x : ndarray (n, d)
    y : ndarray (n, k), or (n,) for a network with one output
    optimizer : Optimizer, optional
        SGD at 0.1 unless given.
    samples : sequence of int, optional
        Rows that make the batch; all, unless given.
    precision : int
        Significant digits shown, from 1 to 17.
    l1, l2, clip_norm : float
        As in `train`.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        If an argument does not fit.
    DivergenceError
        If the step leaves the finite numbers.

    Notes
    -----
    A line holds three numbers against each other: what the rule gives from the numbers in it, what the network has,
    and, for a derivative, the central difference of the loss (see `check_gradients`). A fault in a layer's backward
    pass makes a mismatch there, and in the derivatives of all layers before it.

    Examples
    --------
    >>> from gradlab.nn import BinaryCrossEntropy, mlp
    >>> network = Network(mlp([2, 2, 1]), seed=0)
    >>> explanation = explain(network, BinaryCrossEntropy(), np.eye(2), np.array([0.0, 1.0]))
    >>> print(explanation.verdict)
    19 derivatives compared with central differences, 0 left out at kinks: no lines with a mismatch
    """
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer: {optimizer!r} is not an Optimizer")
    check_precision(precision)
    step = WorkedStep(network, loss, x, y, samples)
    optimizer = SGD(0.1) if optimizer is None else _in_float64(optimizer)
    sections = [*_forward(step), _loss(step), *_backward(step)]
    if not step.whole:
        sections.insert(0, _overview(step))
    notes = [f"The network is in {network.dtype}; the step is worked in float64."] * (network.dtype != np.float64)
    if not step.whole:
        check = check_gradients(step.network, step.tape[0], loss=loss, targets=step.y, training=True, max_entries=20)
        notes.append(f"Up to 20 entries of each gradient, layer by layer: {check}.")
    if step.left_out:
        notes.append(f"Layers {step.left_out[0]} to {step.left_out[-1]} go the same way, and are left out.")
    picture = draw(step)
    sections.append(update(step, optimizer, l1, l2, clip_norm))  # last, for it changes the parameters
    batch = f"sample {step.rows[0]}" if len(step.rows) == 1 else f"a batch of {len(step.rows)} samples"
    title = f"One training step of {step.network!r} on {batch}, with {loss!r}"
    return Explanation(title, sections, notes, precision, picture)


def _in_float64(optimizer: Optimizer) -> Optimizer:
    """Copy an optimizer; what it holds of earlier steps becomes as precise as the step that is worked."""
    own = copy.deepcopy(optimizer)
    for name, array in vars(own).items():
        if isinstance(array, np.ndarray):
            vars(own)[name] = array.astype(np.float64)
    return own


def check_precision(precision: int) -> None:
    """Raise ValueError unless it is a number of digits that a float64 has."""
    if check_int("precision", precision) > 17:
        raise ValueError(f"precision: {precision!r} is more than the 17 digits that a float64 has")


def _overview(step: WorkedStep) -> Section:
    """Show every layer's shapes and norms."""
    rows: list[tuple[str, ...]] = [("layer", "gives", "shape", "norm", "norm of dL/d it", "norm of dL/dparameters")]
    for i, layer in enumerate(step.layers):
        shape = " × ".join(map(str, step.tape[i + 1].shape))
        own = [g for name, g in step.grads.items() if int(name.split(".")[0]) == i]
        total = f"{math.sqrt(sum(float(np.sum(g * g)) for g in own)):.4g}" if own else "–"
        norms = [f"{float(np.linalg.norm(a)):.4g}" for a in (step.tape[i + 1], step.deltas[i + 1])]
        rows.append((f"{i}: {layer!r}", step.symbol(i + 1, ()).show("text"), shape, norms[0], norms[1], total))
    units = ", ".join(f"{step.symbol(i, e[0]).show('text')}" for i, e in enumerate(step.entries))
    rule = f"Too large to show whole. Below, the path with the largest deltas of row {step.sample}: {units}."
    return Section("The network", rule, table=rows)


def _forward(step: WorkedStep) -> Iterator[Section]:
    """Work each layer's outputs."""
    for i, layer in enumerate(step.layers):
        if i in step.left_out:
            continue
        rules = rules_of(layer)
        section = Section(f"Forward, layer {i}: {layer!r}", rules.forward(step, i), list(rules.asides(step, i)))
        for entry in step.entries[i + 1]:
            value = float(step.tape[i + 1][entry])
            section.lines.append(Line(step.symbol(i + 1, entry), rules.output(step, i, entry), value, f"by {layer!r}"))
        yield section


def _loss(step: WorkedStep) -> Section:
    """Work the loss of each sample and their mean."""
    loss, logits = step.loss, step.tape[-1]
    n, k = logits.shape
    section = Section("Loss", f"{loss!r}: {LOSS_WORDS.get(type(loss), 'a loss of its own')}")
    losses = []
    for i in range(n):
        formula = sample_loss(loss, [step.out(len(step.layers), (i, j)) for j in range(k)], _targets(step, i))
        if formula is None:
            break
        own = float(loss.value(logits[i : i + 1], step.y[i : i + 1]))
        losses.append(named(Symbol("l", None, (i,)), own))
        if step.whole or i == step.sample:
            section.lines.append(Line(Symbol("l", None, (i,)), formula, own))
    mean = None
    if losses:
        total = added(losses, step.most)
        mean = total / constant(n) if n > 1 else total
    section.lines.append(Line(Symbol("L"), mean, step.value, f"by {loss!r}"))
    return section


def _targets(step: WorkedStep, i: int) -> list[Formula]:
    return [named(Symbol("t", None, (i, j)), t) for j, t in enumerate(step.y[i])]


def _backward(step: WorkedStep) -> Iterator[Section]:
    """Work the deltas and the gradients, from the last layer to the first."""
    top = len(step.layers)
    rule = f"{step.symbol(top, (), True).show('text')} = slope of the loss by each logit"
    first = Section("Backward: the slope of the loss", rule)
    n, k = step.tape[-1].shape
    for entry in step.entries[-1]:
        z = [step.out(top, (entry[0], j)) for j in range(k)]
        slope = slope_of_loss(step.loss, z, _targets(step, entry[0]), entry[1])
        slope = None if slope is None else slope / constant(n) if n > 1 else slope
        first.lines.append(_delta(step, top, entry, slope, f"by {step.loss!r}"))
    yield first
    for i in range(top - 1, -1, -1):
        if i not in step.left_out:
            yield _back_through(step, i)


def _back_through(step: WorkedStep, i: int) -> Section:
    layer, rules = step.layers[i], rules_of(step.layers[i])
    section, words = Section(f"Backward, layer {i}: {layer!r}", rules.backward(step, i)), f"by {layer!r}"
    for p in step.network.parameters:
        if int(p.name.split(".")[0]) != i:
            continue
        values = getattr(p.layer, p.attribute)
        for at in step.chosen(p.name):
            symbol, formula = step.parameter(p.name, at, True), rules.gradient(step, i, p.name, at)
            value = step.grads[p.name][at]
            section.lines.append(step.derivative(symbol, formula, words, values, at, i, value))
    for entry in step.entries[i] if i else []:  # nothing is learned from dL/dx
        if i in step.through:
            value = float(step.through[i][1][entry])
            back = Symbol("back", step.number(i), entry)
            section.lines.append(Line(back, None, value, "by the layers inside, from the last to the first"))
        section.lines.append(_delta(step, i, entry, rules.pulled_back(step, i, entry), words))
    return section


def _delta(step: WorkedStep, i: int, entry: tuple[int, int], formula: Formula | None, words: str) -> Line:
    symbol = step.symbol(i, entry, True)
    return step.derivative(symbol, formula, words, step.tape[i], entry, i, step.deltas[i][entry])
