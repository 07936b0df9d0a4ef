"""One training step worked like a lecture: every rule in symbols, with the numbers put in, and held against a
central difference."""

from __future__ import annotations

import copy
import html
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlab.learn.formulas import Formula, Symbol, added, applied, constant, named, show_number
from gradlab.nn.activations import Activation, Sigmoid, Tanh, sigmoid
from gradlab.nn.arrays import Streams
from gradlab.nn.checks import whole
from gradlab.nn.gradcheck import SMALLER, STEP, _Gradient, check_gradients
from gradlab.nn.layers import Dense, Layer, walk
from gradlab.nn.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError
from gradlab.nn.network import Network, forward
from gradlab.nn.optimizers import SGD, Optimizer
from gradlab.nn.remedies import Dropout
from gradlab.nn.training import _check_data, _raise_if_diverged, _Update

MOST_LINES = 150  # of a network that is shown whole
MOST_TERMS = 8  # of a sum that is written out
MOST_LAYERS = 12  # that are worked; of more, the first and the last
TOLERANCE = 1e-6  # relative error between a derivative and its central difference that counts as none
ROUNDINGS = 10  # of a difference, in units in the last place of a loss over h: Richardson triples those of a loss,
# which has some three, of the last sum, the logarithm and the mean
ROUNDING = 1e-10  # of a line's value, relative to its terms
STYLE = """<style>
.gradlab-step { font-family: Georgia, serif; max-width: 75em }
.gradlab-step table { border-collapse: collapse; margin: 0.5em 0 }
.gradlab-step td, .gradlab-step th { text-align: left; padding: 0.2em 0.8em; border-bottom: 1px solid #ddd }
.gradlab-step .wrong { background: #fdd; color: #900 }
</style>"""


@dataclass(frozen=True)
class Line:
    """One number of the step.

    Attributes
    ----------
    symbol : Symbol
        What it is.
    formula : Formula, optional
        How it comes about; None where only the layer knows.
    words : str
        Where there is no formula, what gives the number.
    value : float
        As it stands in the network's arrays.
    finite_difference : float, optional
        The derivative again, from values of the loss alone.
    noise : float
        How much of that may be rounding.
    kink : bool
        Whether there is none, as the loss has a kink there.
    """

    symbol: Symbol
    formula: Formula | None
    value: float
    words: str = ""
    finite_difference: float | None = None
    noise: float = 0.0
    kink: bool = False

    @property
    def too_small(self) -> bool:
        """Whether the derivative is smaller than the rounding of the difference beside it, which then tells little."""
        d = self.finite_difference
        return d is not None and max(abs(d), abs(self.value)) <= self.noise

    @property
    def problem(self) -> str:
        """What disagrees, in words; empty if nothing does."""
        found = []
        if self.formula is not None:
            worked = self.formula.value
            if not abs(worked - self.value) <= ROUNDING * max(self.formula.size, abs(self.value)):
                found.append(f"the rule gives {worked:.6g}, the network has {self.value:.6g}")
        d = self.finite_difference
        if d is not None and not abs(d - self.value) <= max(TOLERANCE * max(abs(d), abs(self.value)), self.noise):
            found.append(f"the central difference is {d:.6g}, the network has {self.value:.6g}")
        return "; ".join(found)

    def comparison(self, style: str, precision: int | None) -> str:
        """Say what the central difference is, if the number is a derivative."""
        if self.kink:
            return "kink: no difference to compare"
        if self.finite_difference is None:
            return ""
        shown = show_number(self.finite_difference, style, precision)
        shown = f"${shown}$" if style == "latex" else shown
        return f"{shown} (rounding up to {self.noise:.0e})" if self.too_small else shown


@dataclass
class Section:
    """A part of the lecture: a heading, what holds in general, and the numbers."""

    title: str
    rule: str
    lines: list[Line] = field(default_factory=list)
    table: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Explanation:
    """A training step, worked; `explain` makes it.

    Attributes
    ----------
    title : str
    sections : list of Section
    notes : list of str
    precision : int
        Significant digits shown; `json` has all.
    """

    title: str
    sections: list[Section]
    notes: list[str]
    precision: int = 4

    @property
    def lines(self) -> list[Line]:
        """Every number, in the order of the lecture."""
        return [line for section in self.sections for line in section.lines]

    @property
    def mismatches(self) -> list[Line]:
        """The lines where rule, network and central difference disagree."""
        return [line for line in self.lines if line.problem]

    @property
    def verdict(self) -> str:
        """How many derivatives were compared, and how many lines disagree."""
        compared = sum(line.finite_difference is not None for line in self.lines)
        small = sum(line.too_small for line in self.lines)
        kinks = sum(line.kink for line in self.lines)
        wrong = len(self.mismatches)
        first = f"; the first is {self.mismatches[0].symbol.show('text')}" if wrong else ""
        return (
            f"{compared} derivatives compared with central differences, "
            f"{f'{small} of them smaller than their rounding, ' if small else ''}{kinks} left out at kinks: "
            f"{wrong or 'no'} line{'s' * (wrong != 1)} with a mismatch{first}"
        )

    def text(self, colour: bool = False) -> str:
        """Write it for a terminal."""
        red, bold, plain = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if colour else ("", "", "")
        rows = [f"{bold}{self.title}{plain}"]
        for section in self.sections:
            rows += ["", f"{bold}{section.title}{plain}", f"  {section.rule}"]
            if section.table:
                widths = [max(map(len, column)) for column in zip(*section.table, strict=True)]
                for cells in section.table:
                    row = "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True))
                    rows.append(f"  {row}".rstrip())
            longest = max((len(line.symbol.show("text")) for line in section.lines), default=0)
            for line in section.lines:
                value = show_number(line.value, "text", self.precision)
                numbers = "" if line.formula is None else f"{line.formula.numbers('text', self.precision)} = "
                symbols = line.words if line.formula is None else line.formula.symbols("text")
                compared = line.comparison("text", self.precision)
                if line.finite_difference is not None:
                    compared = f"central difference {compared}"
                rows.append(f"    {line.symbol.show('text').ljust(longest)} = {symbols}")
                worked = f"    {' ' * longest} = {numbers}{value}"
                rows.append(f"{worked}    {compared}" if compared else worked)
                if line.problem:
                    rows.append(f"    {' ' * longest}   {red}MISMATCH: {line.problem}{plain}")
        rows += ["", *self.notes, f"{red if self.mismatches else ''}{self.verdict}{plain}"]
        return "\n".join(rows)

    def __str__(self) -> str:
        return self.text()

    def markdown(self) -> str:
        """Write it as Markdown with formulas in LaTeX."""
        rows = [f"# {self.title}"]
        for section in self.sections:
            rows += ["", f"## {section.title}", "", section.rule, ""]
            if section.table:
                head, *body = section.table
                rows += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
                rows += [f"| {' | '.join(cells)} |" for cells in body]
                rows += [""]
            if section.lines:
                rows += ["| in symbols | in numbers | value | central difference |", "|---|---|---|---|"]
            for line in section.lines:
                symbols, numbers, value = self._cells(line, "latex")
                symbols = f"${symbols}$" if line.formula is not None else symbols
                problem = f" **MISMATCH: {line.problem}**" if line.problem else ""
                compared = line.comparison("latex", self.precision)
                rows.append(f"| {symbols} | {f'${numbers}$' if numbers else ''} | ${value}$ | {compared}{problem} |")
        rows += ["", *self.notes, "", self.verdict]
        return "\n".join(rows)

    def _cells(self, line: Line, style: str) -> tuple[str, str, str]:
        name, value = line.symbol.show(style), show_number(line.value, style, self.precision)
        if line.formula is None:
            return (f"${name}$: {line.words}" if style == "latex" else f"{name}: {html.escape(line.words)}"), "", value
        return f"{name} = {line.formula.symbols(style)}", line.formula.numbers(style, self.precision), value

    def html(self) -> str:
        """Write it as one HTML file, whose formulas need no script and no network."""
        title = html.escape(self.title)
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
            f"<body>{self._repr_html_()}</body></html>\n"
        )

    def _repr_html_(self) -> str:
        parts = [STYLE, '<div class="gradlab-step">', f"<h1>{html.escape(self.title)}</h1>"]
        for section in self.sections:
            parts.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.rule)}</p>")
            if section.table:
                tags = ["th", *["td"] * (len(section.table) - 1)]
                rows = [
                    "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
                    for tag, cells in zip(tags, section.table, strict=True)
                ]
                parts.append(f"<table>{''.join(rows)}</table>")
            if section.lines:
                head = "<th>in symbols</th><th>in numbers</th><th>value</th><th>central difference</th>"
                parts.append(f"<table><tr>{head}</tr>")
            for line in section.lines:
                cells = "".join(f"<td>{cell}</td>" for cell in self._cells(line, "html"))
                compared = line.comparison("html", self.precision)
                wrong = f"<br>MISMATCH: {html.escape(line.problem)}" if line.problem else ""
                row = '<tr class="wrong">' if wrong else "<tr>"
                parts.append(f"{row}{cells}<td>{compared}{wrong}</td></tr>")
            parts.append("</table>" if section.lines else "")
        parts += [f"<p>{html.escape(text)}</p>" for text in (*self.notes, self.verdict)]
        return "\n".join([*parts, "</div>"])

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def json(self) -> str:
        """Write every line at full precision."""
        lines = [
            {
                "quantity": line.symbol.show("text"),
                "symbolic": line.words if line.formula is None else line.formula.symbols("text"),
                "numeric": None if line.formula is None else line.formula.numbers("text", None),
                "value": line.value,
                "finite_difference": line.finite_difference,
                "rounding": line.noise,
                "kink": line.kink,
                "mismatch": line.problem or None,
            }
            for line in self.lines
        ]
        notes = {"title": self.title, "notes": self.notes, "verdict": self.verdict}
        return json.dumps({"lines": lines} | notes, allow_nan=False, ensure_ascii=False)


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
    for name, kind, given in (("network", Network, network), ("loss", Loss, loss)):
        if not isinstance(given, kind):
            raise ValueError(f"{name}: {given!r} is not a {kind.__name__}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer: {optimizer!r} is not an Optimizer")
    if network.replicas:
        raise ValueError("network: it has replicas; take one of them, as in network.replica(0)")
    check_precision(precision)
    own = copy.deepcopy(network) if network.dtype == np.float64 else network.astype(np.float64)
    x, y, _ = _check_data(own, loss, x, y, None)
    rows = _rows(samples, x.shape[0])
    x, y = x[rows], y[rows]
    x = x if isinstance(x, np.ndarray) else x.toarray()
    optimizer = SGD(0.1) if optimizer is None else copy.deepcopy(optimizer)
    step = _Step(own, loss, x, y)
    sections = [*step.forward(), step.loss_of_samples(), *step.backward()]
    if not step.whole:
        sections.insert(0, step.overview())
    notes = [f"The network is in {network.dtype}; the step is worked in float64."] * (network.dtype != np.float64)
    if not step.whole:
        check = check_gradients(own, x, loss=loss, targets=y, training=True, max_entries=20)
        notes.append(f"Up to 20 entries of each gradient, layer by layer: {check}.")
    if step.left_out:
        notes.append(f"Layers {step.left_out[0]} to {step.left_out[-1]} go the same way, and are left out.")
    sections.append(step.update(optimizer, l1, l2, clip_norm))  # last, for it changes the parameters
    batch = f"sample {rows[0]}" if len(rows) == 1 else f"a batch of {len(rows)} samples"
    return Explanation(f"One training step of {own!r} on {batch}, with {loss!r}", sections, notes, precision)


def check_precision(precision: int) -> None:
    """Raise ValueError unless it is a number of digits that a float64 has."""
    if whole("precision", precision) > 17:
        raise ValueError(f"precision: {precision!r} is more than the 17 digits that a float64 has")


def _rows(samples: Sequence[int] | None, n: int) -> list[int]:
    """Return the rows of the batch; raise ValueError for one that there is not, or that is named twice."""
    if samples is None:
        return list(range(n))
    rows = [whole(f"samples[{i}]", s, 0) for i, s in enumerate(samples)]
    if not rows:
        raise ValueError("samples: name at least one")
    for i, row in enumerate(rows):
        if row >= n:
            raise ValueError(f"samples[{i}]: {row} is not one of the {n} samples, counted from 0")
        if row in rows[:i]:
            raise ValueError(f"samples[{i}]: {row} is named twice")
    return rows


class _SameMask(Streams):
    """Draws that give a Dropout the mask again that it has."""

    def __init__(self, mask: np.ndarray):
        self._kept = mask > 0.0

    def uniform(self, out: np.ndarray) -> np.ndarray:
        """Write 1, which no rate is above, where the mask keeps, and −1, which every rate is above, where not."""
        out[...] = np.where(self._kept, 1.0, -1.0)
        return out


class _Step:
    """The arrays of a step, and the lines that they make."""

    def __init__(self, network: Network, loss: Loss, x: np.ndarray, y: np.ndarray):
        self.network, self.loss, self.y, self.layers = network, loss, y, network.layers
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named
            tape = network.forward(x, training=True)
            deltas = network.backward(loss.gradient(tape[-1], y), tape)
            if not all(np.isfinite(array).all() for array in (*tape, *deltas, network.grads)):
                _raise_if_diverged(network, tape, deltas, 0, 0, None)
        self.tape, self.deltas = [np.array(a, order="C") for a in tape], [np.array(d, order="C") for d in deltas]
        self.grads = {p.name: network.grads[p.where].reshape(p.shape).copy() for p in network.parameters}
        for layer in walk(self.layers):
            if isinstance(layer, Dropout):
                layer.streams = _SameMask(layer.mask)
        self.value = float(loss.value(self.tape[-1], y))
        self.names = _names(self.layers)
        n, widths = x.shape[0], sum(a.shape[1] for a in self.tape)
        self.whole = 2 * n * widths + 2 * network.params.size <= MOST_LINES
        self.most = MOST_TERMS if self.whole else MOST_TERMS // 2
        self.entries = self._all() if self.whole else self._path()
        depth, ends = len(self.layers), MOST_LAYERS // 2
        self.left_out = range(ends, depth - ends) if depth > MOST_LAYERS else range(0)

    def _all(self) -> list[list[tuple[int, int]]]:
        return [list(np.ndindex(array.shape)) for array in self.tape]

    def _path(self) -> list[list[tuple[int, int]]]:
        """Choose the sample with the largest slope of the loss, and in each layer the unit with the largest delta."""
        sample, unit = map(int, np.unravel_index(np.argmax(np.abs(self.deltas[-1])), self.deltas[-1].shape))
        path = [[(sample, unit)]]
        for layer, delta in zip(reversed(self.layers), reversed(self.deltas[:-1]), strict=True):
            if not isinstance(layer, Activation | Dropout):  # these act on each unit alone
                unit = int(np.argmax(np.abs(delta[sample])))
            path.append([(sample, unit)])
        return path[::-1]

    # --- numbers with their names ----------------------------------------------------------------------------------

    def out(self, i: int, entry: tuple[int, ...]) -> Formula:
        """Return an entry of x_i, which is what layer i is given."""
        return named(self.symbol(i, entry), self.tape[i][entry])

    def delta(self, i: int, entry: tuple[int, ...]) -> Formula:
        """Return an entry of dL/dx_i."""
        return named(self.symbol(i, entry, True), self.deltas[i][entry])

    def symbol(self, i: int, entry: tuple[int, ...], derivative: bool = False) -> Symbol:
        """Name an entry of x_i, or dL by it."""
        return Symbol(*self.names[i], entry, derivative)

    def parameter(self, name: str, array: np.ndarray, entry: tuple[int, ...], derivative: bool = False) -> Symbol:
        """Name an entry of a parameter, or dL by it."""
        i, _, attribute = name.partition(".")
        if type(self.layers[int(i)]) is Dense:
            number = self.names[int(i) + 1][1]
            return Symbol(attribute, number, entry if attribute == "W" else entry[1:], derivative)
        return Symbol(f"layers[{name.rpartition('.')[0]}].{name.rpartition('.')[2]}", None, entry, derivative)

    def _line(self, symbol: Symbol, formula: Formula | None, words: str, place: np.ndarray, *where: Any) -> Line:
        """Return the line of a derivative, with the central difference over an entry of what it is taken by."""
        entry, i, value = where
        x = self.tape[i]

        def output() -> np.ndarray:
            return np.asarray(self.loss.value(forward(self.layers[i:], x)[-1], self.y))

        gradient = _Gradient(i, "", "", place, place, output, np.ones(()))
        with np.errstate(over="ignore", invalid="ignore"):
            y = output()
            d = gradient._difference(entry, STEP, y)
            if d.numeric is None:  # it bends too fast, or has a kink nearby
                d = gradient._difference(entry, STEP * SMALLER, y)
        return Line(symbol, formula, float(value), words, d.numeric, ROUNDINGS * d.noise, d.numeric is None)

    # --- the four parts --------------------------------------------------------------------------------------------

    def overview(self) -> Section:
        """Show every layer's shapes and norms."""
        rows: list[tuple[str, ...]] = [("layer", "gives", "shape", "norm", "norm of dL/d it", "norm of dL/dparameters")]
        for i, layer in enumerate(self.layers):
            shape = " × ".join(map(str, self.tape[i + 1].shape))
            own = [g for name, g in self.grads.items() if int(name.split(".")[0]) == i]
            total = f"{math.sqrt(sum(float(np.sum(g * g)) for g in own)):.4g}" if own else "–"
            norms = [f"{float(np.linalg.norm(a)):.4g}" for a in (self.tape[i + 1], self.deltas[i + 1])]
            name = self.symbol(i + 1, ()).show("text")
            rows.append((f"{i}: {layer!r}", name, shape, norms[0], norms[1], total))
        sample = self.entries[-1][0][0]
        units = ", ".join(f"{self.symbol(i, e[0]).show('text')}" for i, e in enumerate(self.entries))
        rule = f"Too large to show whole. Below, the path with the largest deltas of row {sample}: {units}."
        return Section("The network", rule, table=rows)

    def forward(self) -> Iterator[Section]:
        """Work each layer's outputs."""
        for i, layer in enumerate(self.layers):
            if i in self.left_out:
                continue
            given, name = self.symbol(i, ()).show("text"), self.symbol(i + 1, ()).show("text")
            number = self.names[i + 1][1]
            rule = f"{name} = what {layer!r} makes of {given}"
            if type(layer) is Dense:
                rule = f"{name} = {given}·W{number} + b{number}"
            elif isinstance(layer, Activation):
                rule = f"{name} = {_function(layer)[0]}({given}), number by number"
            section = Section(f"Forward, layer {i}: {layer!r}", rule)
            for entry in self.entries[i + 1]:
                value = float(self.tape[i + 1][entry])
                words = f"by {layer!r}"
                section.lines.append(Line(self.symbol(i + 1, entry), self._output(i, layer, entry), value, words))
            yield section

    def _output(self, i: int, layer: Layer, entry: tuple[int, int]) -> Formula | None:
        sample, k = entry
        if type(layer) is Dense:
            terms = [self.out(i, (sample, j)) * self._weight(i, layer, j, k) for j in range(layer.n_in)]
            return added(terms, self.most) + named(self.parameter(f"{i}.b", layer.b, (0, k)), layer.b[0, k])
        if isinstance(layer, Activation):
            name, function = _function(layer)
            return applied(name, function, self.out(i, entry))
        if isinstance(layer, Dropout):
            return self.out(i, entry) * self._mask(layer, entry)
        return None

    def _weight(self, i: int, layer: Dense, j: int, k: int) -> Formula:
        return named(self.parameter(f"{i}.W", layer.W, (j, k)), layer.W[j, k])

    @staticmethod
    def _mask(layer: Dropout, entry: tuple[int, int]) -> Formula:
        return named(Symbol("mask", None, entry), layer.mask[entry])

    def loss_of_samples(self) -> Section:
        """Work the loss of each sample and their mean, then its slope."""
        logits = self.tape[-1]
        n, k = logits.shape
        section = Section("Loss", f"{self.loss!r}: {_LOSS_WORDS.get(type(self.loss), 'a loss of its own')}")
        shown = range(n) if self.whole else [self.entries[-1][0][0]]
        losses = []
        for i in range(n):
            formula = _sample_loss(self.loss, [self.out(len(self.layers), (i, j)) for j in range(k)], self._targets(i))
            if formula is None:
                break
            own = float(self.loss.value(logits[i : i + 1], self.y[i : i + 1]))
            losses.append(named(Symbol("l", None, (i,)), own))
            if i in shown:
                section.lines.append(Line(Symbol("l", None, (i,)), formula, own))
        mean = None
        if losses:
            total = added(losses, self.most)
            mean = total / constant(n) if n > 1 else total
        section.lines.append(Line(Symbol("L"), mean, self.value, f"by {self.loss!r}"))
        return section

    def _targets(self, i: int) -> list[Formula]:
        return [named(Symbol("t", None, (i, j)), t) for j, t in enumerate(self.y[i])]

    def backward(self) -> Iterator[Section]:
        """Work the deltas and the gradients, from the last layer to the first."""
        top = len(self.layers)
        rule = f"{self.symbol(top, (), True).show('text')} = slope of the loss by each logit"
        first = Section("Backward: the slope of the loss", rule)
        n, k = self.tape[-1].shape
        for entry in self.entries[-1]:
            z = [self.out(top, (entry[0], j)) for j in range(k)]
            slope = _slope(self.loss, z, self._targets(entry[0]), entry[1])
            slope = None if slope is None else slope / constant(n) if n > 1 else slope
            first.lines.append(self._delta_line(top, entry, slope, f"by {self.loss!r}"))
        yield first
        for i in range(top - 1, -1, -1):
            if i not in self.left_out:
                yield self._back_through(i, self.layers[i])

    def _delta_line(self, i: int, entry: tuple[int, int], formula: Formula | None, words: str) -> Line:
        symbol = self.symbol(i, entry, True)
        return self._line(symbol, formula, words, self.tape[i], entry, i, self.deltas[i][entry])

    def _back_through(self, i: int, layer: Layer) -> Section:
        given, name = (self.symbol(j, (), True).show("text") for j in (i, i + 1))
        section = Section(f"Backward, layer {i}: {layer!r}", f"{given} by the layer's own backward pass")
        words = f"by {layer!r}"
        if type(layer) is Dense:
            number, x = self.names[i + 1][1], self.symbol(i, ()).show("text")
            section.rule = f"dL/dW{number} = {x}ᵀ·{name},  dL/db{number} = sum of {name} over the samples"
            section.rule += f",  {given} = {name}·W{number}ᵀ" if i else ""
        elif isinstance(layer, Activation | Dropout):
            section.rule = f"{given} = {name}·slope of {layer!r}, number by number"
        for p in self.network.parameters:
            if int(p.name.split(".")[0]) != i:
                continue
            values, gradient = getattr(p.layer, p.attribute), self.grads[p.name]
            for at in self._chosen(i, layer, p.attribute, gradient):
                formula = None
                if type(layer) is Dense:
                    formula = self._gradient_of_dense(i, p.attribute, at)
                symbol = self.parameter(p.name, values, at, True)
                section.lines.append(self._line(symbol, formula, words, values, at, i, gradient[at]))
        for entry in self.entries[i] if i else []:  # nothing is learned from dL/dx
            section.lines.append(self._delta_line(i, entry, self._pulled_back(i, layer, entry), words))
        return section

    def _chosen(self, i: int, layer: Layer, attribute: str, gradient: np.ndarray) -> list[tuple[int, ...]]:
        if self.whole:
            return list(np.ndindex(gradient.shape))
        if type(layer) is Dense:
            j, k = self.entries[i][0][1], self.entries[i + 1][0][1]
            return [(j, k) if attribute == "W" else (0, k)]
        return [tuple(map(int, np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)))]

    def _gradient_of_dense(self, i: int, attribute: str, at: tuple[int, ...]) -> Formula:
        n, (j, k) = self.tape[i].shape[0], at
        deltas = [self.delta(i + 1, (s, k)) for s in range(n)]
        if attribute == "b":
            return added(deltas, self.most)
        return added([self.out(i, (s, j)) * d for s, d in enumerate(deltas)], self.most)

    def _pulled_back(self, i: int, layer: Layer, entry: tuple[int, int]) -> Formula | None:
        sample, j = entry
        if type(layer) is Dense:
            terms = [self.delta(i + 1, (sample, k)) * self._weight(i, layer, j, k) for k in range(layer.n_out)]
            return added(terms, self.most)
        if isinstance(layer, Dropout):
            return self.delta(i + 1, entry) * self._mask(layer, entry)
        if not isinstance(layer, Activation):
            return None
        a = self.out(i + 1, entry)
        if type(layer) is Sigmoid and not layer.centred:
            return self.delta(i + 1, entry) * a * (constant(1) - a)
        if type(layer) is Tanh:
            return self.delta(i + 1, entry) * (constant(1) - a.squared())
        slope = float(layer.derivative(self.tape[i][sample : sample + 1], self.tape[i + 1][sample : sample + 1])[0, j])
        return self.delta(i + 1, entry) * named(Symbol("slope", None, entry), slope)

    def update(self, optimizer: Optimizer, l1: float, l2: float, clip_norm: float) -> Section:
        """Let the optimizer move the parameters, and work how."""
        network = self.network
        before = network.params.copy()
        for p in network.parameters:  # the differences moved them to and fro
            network.grads[p.where] = self.grads[p.name].ravel()
        _Update(network, optimizer, l1, l2, 0.0, clip_norm)(len(self.y))
        plain = type(optimizer) is SGD and not (optimizer.momentum or l1 or l2 or clip_norm)
        name, rate = type(optimizer).__name__, optimizer.learning_rate
        rule = f"{name}, learning rate η = {rate:g}: every parameter "
        rule += "− η·dL/d it" if plain else "+ Δ, the step that the optimizer makes of its gradient"
        section = Section("Update", rule)
        for p in network.parameters:
            i, layer = int(p.name.split(".")[0]), self.layers[int(p.name.split(".")[0])]
            if i in self.left_out:
                continue
            gradient = self.grads[p.name]
            old, new = (vector[p.where].reshape(p.shape) for vector in (before, network.params))
            for at in self._chosen(i, layer, p.attribute, gradient):
                symbol = self.parameter(p.name, old, at)
                by = self.parameter(p.name, old, at, True)
                was = named(symbol, old[at])
                if plain:
                    formula = was - named(Symbol("η"), rate) * named(by, gradient[at])
                else:
                    formula = was + named(Symbol(f"Δ{symbol.letter}", symbol.layer, symbol.entry), new[at] - old[at])
                after = Symbol(symbol.letter, symbol.layer, symbol.entry, after=True)
                section.lines.append(Line(after, formula, float(new[at])))
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(self.loss.value(forward(self.layers, self.tape[0])[-1], self.y))
        if not math.isfinite(value):
            _raise_if_diverged(network, network.forward(self.tape[0], True), self.deltas, 0, 0, None)
        words = "the loss of the same samples after the step"
        section.lines.append(Line(Symbol("L", after=True), None, value, words))
        return section


def _names(layers: Sequence[Layer]) -> list[tuple[str, int | None]]:
    """Name what stands on the tape: x, z1 and a1 for the first Dense and the activation behind it, h where neither."""
    names: list[tuple[str, int | None]] = [("x", None)]
    number = 0
    for i, layer in enumerate(layers):
        if type(layer) is Dense:
            number += 1
            names.append(("z", number))
        elif isinstance(layer, Activation) and names[-1] == ("z", number):
            names.append(("a", number))
        else:
            names.append(("h", i + 1))
    return names


def _scalar(function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[float], float]:
    return lambda z: float(function(np.array([z]), np.empty(1))[0])


_sigma = _scalar(sigmoid)


def _function(layer: Activation) -> tuple[str, Callable[[float], float]]:
    """Return an activation's name and what it makes of one number."""
    if type(layer) is Sigmoid and not layer.centred:
        return "σ", _sigma
    name = "tanh" if type(layer) is Tanh else type(layer).__name__
    return name, lambda z: float(layer.forward(np.array([[z]]))[0, 0])


# --- what the losses are, in numbers -------------------------------------------------------------------------------

_LOSS_WORDS: dict[type[Loss], str] = {
    BinaryCrossEntropy: "−t·log σ(z) − (1 − t)·log(1 − σ(z)), written so that nothing overflows, "
    "with relu(z) = max(z, 0); its slope by z is σ(z) − t. L is the mean over the samples",
    SoftmaxCrossEntropy: "−Σ t·log softmax(z), with the largest logit m taken out of the exponentials; "
    "its slope by z is softmax(z) − t. L is the mean over the samples",
    SquaredError: "½·Σ (output − t)². L is the mean over the samples",
}


def _sample_loss(loss: Loss, z: list[Formula], t: list[Formula]) -> Formula | None:
    """Return one sample's loss from its logits and targets; None for a loss of somebody's own."""
    if type(loss) is BinaryCrossEntropy:
        each = [
            applied("relu", lambda v: max(v, 0.0), a)
            - b * a
            + applied("log", math.log, constant(1) + applied("exp", math.exp, -applied("abs", abs, a)))
            for a, b in zip(z, t, strict=True)
        ]
        return added(each, len(each))
    if type(loss) is SoftmaxCrossEntropy:
        m = _largest(z)
        log_sum = m + applied("log", math.log, _exponentials(z, m))
        return log_sum * added(t, len(t)) - added([b * a for a, b in zip(z, t, strict=True)], len(t))
    if type(loss) is SquaredError:
        a = [applied("σ", _sigma, v) for v in z] if loss.on == "sigmoid" else z
        squares = [(v - b).squared() for v, b in zip(a, t, strict=True)]
        return constant(0.5) * added(squares, len(squares))
    return None


def _slope(loss: Loss, z: list[Formula], t: list[Formula], k: int) -> Formula | None:
    """Return the slope of one sample's loss by its logit k; None for a loss of somebody's own."""
    if type(loss) is BinaryCrossEntropy:
        return applied("σ", _sigma, z[k]) - t[k]
    if type(loss) is SoftmaxCrossEntropy:
        m = _largest(z)
        return applied("exp", math.exp, z[k] - m) / _exponentials(z, m) * added(t, len(t)) - t[k]
    if type(loss) is SquaredError:
        if loss.on == "identity":
            return z[k] - t[k]
        a = applied("σ", _sigma, z[k])
        return (a - t[k]) * a * (constant(1) - a)
    return None


def _largest(z: list[Formula]) -> Formula:
    return named(Symbol("m"), max(v.value for v in z))


def _exponentials(z: list[Formula], m: Formula) -> Formula:
    return added([applied("exp", math.exp, v - m) for v in z], len(z))
