"""A picture of a network in one training step: what each unit gives, what comes back to it, and the weights between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np

from gradlab.learn.formulas import show_number
from gradlab.learn.rules import function_of
from gradlab.learn.step import WorkedStep, acts_unit_by_unit
from gradlab.nn.activations import Activation
from gradlab.nn.checks import whole
from gradlab.nn.layers import Dense
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.remedies import Residual

MOST_UNITS = 6  # of a column
MOST_COLUMNS = 9  # of a deep network, the first and the last
DIGITS = 3
BLUE, ORANGE = "#1f6fb4", "#d1660a"  # positive and negative; the colour-blind tell them apart too
INK, GREY, PALE, PAPER = "#1a1a1a", "#767676", "#ececec", "#ffffff"
PITCH, GAP, ROW = 210.0, 120.0, 108.0  # from column to column, across a gap, and from unit to unit
RADIUS, RING, LINE = 26.0, 8.0, 7.0  # of a unit; the widest ring; the widest line
MARGIN, HEAD, FOOT = 24.0, 118.0, 22.0  # FOOT is one line of the legend
NARROWEST = 704.0  # so that the legend fits
LETTER = 0.6  # width of a letter, in font sizes
APART = 16.0  # least distance between two numbers, one above the other
MOST_NUMBERS = 12  # of the lines between two columns


@dataclass(frozen=True)
class Diagram:
    """A drawing, which a notebook shows; `diagram` makes it.

    Attributes
    ----------
    svg : str
        An XML document.
    """

    svg: str

    def __str__(self) -> str:
        return self.svg

    def _repr_svg_(self) -> str:
        return self.svg


def diagram(
    network: Network,
    loss: Loss,
    x: np.ndarray,
    y: np.ndarray,
    *,
    sample: int | None = None,
    samples: Sequence[int] | None = None,
) -> Diagram:
    """Draw a network in one training step, for one sample of the batch.

    A unit is filled by what it gives, and ringed by its delta, the derivative of the loss; a line is a weight. Blue is
    positive and orange is negative, and the larger a number, the deeper its colour or the wider its line. Of a wide
    layer the units with the largest deltas are shown, of a deep network the first and the last layers.

    Parameters
    ----------
    network : Network
        One, not replicas. It is not changed.
    loss : Loss
    x : ndarray (n, d)
    y : ndarray (n, k), or (n,) for a network with one output
    sample : int, optional
        The row of x that is shown; unless given, the row of the batch whose loss has the largest slope.
    samples : sequence of int, optional
        Rows of x that make the batch; all, unless given.

    Returns
    -------
    Diagram

    Raises
    ------
    ValueError
        If an argument does not fit.
    DivergenceError
        If a number of the step is not finite.

    Examples
    --------
    >>> from gradlab.nn import BinaryCrossEntropy, mlp
    >>> network = Network(mlp([2, 2, 1]), seed=0)
    >>> print(str(diagram(network, BinaryCrossEntropy(), np.eye(2), np.array([0.0, 1.0])))[:4])
    <svg
    """
    step = WorkedStep(network, loss, x, y, samples)
    if sample is None:
        return Diagram(draw(step))
    if whole("sample", sample, 0) not in step.rows:
        raise ValueError(f"sample: {sample} is not in the batch, which has {len(step.rows)} rows of x")
    return Diagram(draw(step, step.rows.index(sample)))


def draw(step: WorkedStep, sample: int | None = None) -> str:
    """Draw a step for a row of its batch; the one whose loss has the largest slope, unless it is named."""
    return _Drawing(step, step.sample if sample is None else sample).svg()


@dataclass
class _Column:
    """One layer, or a Dense and the activation behind it: which arrays it shows, and which units of them."""

    first: int  # the tape's index of what its delta is by
    last: int  # the tape's index of what it gives
    units: list[int]
    x: float = 0.0

    def __post_init__(self) -> None:
        self.heights: dict[int, float] = {}  # of the units


class _Drawing:
    """The columns of a step in their places, and the elements that they make."""

    def __init__(self, step: WorkedStep, sample: int):
        self.step, self.sample = step, sample
        every = self._columns()
        self.left_out = max(len(every) - MOST_COLUMNS, 0)
        ends = MOST_COLUMNS // 2 if self.left_out else len(every)
        self.left_out += self.left_out > 0  # the ends are one column less than what fits
        self.before_gap, self.behind_gap = every[:ends], every[ends + self.left_out :] if self.left_out else []
        self.columns = self.before_gap + self.behind_gap
        rows = max(len(column.units) for column in self.columns)
        more = any(len(column.units) < self._width(column) for column in self.columns)
        self.bottom = HEAD + rows * ROW + (FOOT if more else 0.0)
        across = PITCH * (len(self.columns) - 1) + (GAP if self.left_out else 0.0)
        self.width = max(across + PITCH, NARROWEST)
        x = (self.width - across) / 2.0
        for place, column in enumerate(self.columns):
            if self.left_out and place == len(self.before_gap):
                x += GAP
            column.x = x + PITCH * place
            top = HEAD + (rows - len(column.units)) * ROW / 2.0 + ROW / 2.0
            column.heights = {unit: top + ROW * i for i, unit in enumerate(column.units)}
        weights = [abs(w) for _, _, links in self._weights() for _, _, w, _ in links]
        self.widest_line = max(weights, default=0.0)
        self.widest_ring = max(abs(self._delta(c, unit)) for c in self.columns for unit in c.units)
        self.legend = list(self._legend())
        self.height = self.bottom + FOOT * (len(self.legend) + 1) + MARGIN

    def _columns(self) -> list[_Column]:
        """Fold each Dense with the activation behind it, then choose the units, from the last column to the first."""
        columns, i, layers = [_Column(0, 0, [])], 0, self.step.layers
        while i < len(layers):
            folded = type(layers[i]) is Dense and any(isinstance(layer, Activation) for layer in layers[i + 1 : i + 2])
            columns.append(_Column(i + 1, i + 1 + folded, []))
            i += 1 + folded
        follows: list[int] = []
        for column in reversed(columns):
            column.units = follows or self._largest(column)
            own = layers[column.first - 1] if column.first else None
            follows = column.units if own is not None and (acts_unit_by_unit(own) or type(own) is Residual) else []
        return columns

    def _largest(self, column: _Column) -> list[int]:
        deltas = np.abs(self.step.deltas[column.first][self.sample])
        return sorted(np.argsort(-deltas, kind="stable")[:MOST_UNITS].tolist())

    # --- numbers ---------------------------------------------------------------------------------------------------

    def _width(self, column: _Column) -> int:
        return int(self.step.tape[column.last].shape[1])

    def _value(self, column: _Column, unit: int) -> float:
        return float(self.step.tape[column.last][self.sample, unit])

    def _delta(self, column: _Column, unit: int) -> float:
        return float(self.step.deltas[column.first][self.sample, unit])

    def _dense(self, column: _Column) -> tuple[int, Dense] | None:
        i = column.first - 1
        layer = self.step.layers[i] if i >= 0 else None
        return (i, layer) if type(layer) is Dense else None

    def _neighbours(self) -> Iterator[tuple[_Column, _Column]]:
        yield from pairwise(self.before_gap)
        yield from pairwise(self.behind_gap)

    def _weights(self) -> Iterator[tuple[_Column, _Column, list[tuple[int, int, float, float]]]]:
        """Yield the neighbours with weights between them, and each unit, unit, weight and its derivative."""
        for left, right in self._neighbours():
            dense = self._dense(right)
            if dense is not None:
                i, layer = dense
                gradient = self.step.grads[f"{i}.W"]
                pairs = [(j, k) for j in left.units for k in right.units]
                yield left, right, [(j, k, float(layer.W[j, k]), float(gradient[j, k])) for j, k in pairs]

    # --- elements --------------------------------------------------------------------------------------------------

    def svg(self) -> str:
        """Write the document."""
        size = {"width": f"{self.width:g}", "height": f"{self.height:g}"}
        self.root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {self.width:g} {self.height:g}",
                **size,
                "role": "img",
                "font-family": "Helvetica, Arial, sans-serif",
                "fill": INK,
            },
        )
        row, n = self.step.rows[self.sample], len(self.step.rows)
        ElementTree.SubElement(self.root, "title").text = f"The network in one training step, for sample {row}"
        ElementTree.SubElement(self.root, "rect", {**size, "fill": PAPER})
        self._captions(row, n)
        for left, right in self._neighbours():
            self._link(left, right)
        for left, right, links in self._weights():
            self._lines(left, right, links)
        if self.left_out:
            self._gap()
        for column in self.columns:
            self._heading(column)
            for unit in column.units:
                self._unit(column, unit)
            hidden = self._width(column) - len(column.units)
            if hidden:
                self._text(column.x, max(column.heights.values()) + 68.0, f"… {hidden} more", fill=GREY)
        for i, (mark, words) in enumerate(self.legend):
            y = self.bottom + FOOT * (i + 1.5)
            mark(MARGIN + 22.0, y)
            self._text(MARGIN + 54.0, y + 4.0, words, anchor="start")
        ElementTree.indent(self.root)
        return ElementTree.tostring(self.root, encoding="unicode") + "\n"

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12.0,
        anchor: str = "middle",
        parent: ElementTree.Element | None = None,
        **more: str,
    ) -> None:
        attributes = {"x": f"{x:.2f}", "y": f"{y:.2f}", "font-size": f"{size:g}", "text-anchor": anchor}
        attributes |= {name.replace("_", "-"): value for name, value in more.items()}
        ElementTree.SubElement(self.root if parent is None else parent, "text", attributes).text = text

    def _halo(self, x: float, y: float, text: str, parent: ElementTree.Element | None = None, **more: str) -> None:
        """Write over lines."""
        halo = {"stroke": PAPER, "stroke_width": "4", "stroke_linejoin": "round", "paint_order": "stroke"}
        self._text(x, y, text, size=11.0, parent=parent, **halo, **more)

    def _captions(self, row: int, n: int) -> None:
        step, s = self.step, self.sample
        batch = f"{f', row {s}' * (s != row)} of a batch of {n}" if n > 1 else ", alone in its batch"
        own = float(step.loss.value(step.tape[-1][s : s + 1], step.y[s : s + 1]))
        losses = f"Its loss is {_short(own)}" + (f"; the batch's, L, is {_short(step.value)}" if n > 1 else "")
        self._text(
            MARGIN,
            MARGIN + 8.0,
            f"One training step, sample {row}{batch}",
            size=15.0,
            anchor="start",
            font_weight="bold",
        )
        self._text(MARGIN, MARGIN + 28.0, losses, anchor="start")

    def _heading(self, column: _Column) -> None:
        """Say above a column what it is, what fills its units, and what rings them."""
        step, layers = self.step, self.step.layers[max(column.first - 1, 0) : column.last]
        title = ", ".join(map(repr, layers)) or "input"
        name, by = (step.symbol(i, ()).show("text") for i in (column.last, column.first))
        gives = f"fill {name}"
        if column.last > column.first and isinstance(layers[-1], Activation):
            gives += f" = {function_of(layers[-1])[0]}({by})"
        group = ElementTree.SubElement(self.root, "g")
        ElementTree.SubElement(group, "title").text = title
        most = int((PITCH - 20.0) / 12.0 / LETTER)
        for i, (text, weight) in enumerate(((title, "bold"), (gives, "normal"), (f"ring dL/d{by}", "normal"))):
            short = text if len(text) <= most else f"{text[: most - 1]}…"
            self._text(column.x, MARGIN + 52.0 + 16.0 * i, short, parent=group, font_weight=weight)

    def _unit(self, column: _Column, unit: int) -> None:
        step, x, y = self.step, column.x, column.heights[unit]
        value, delta = self._value(column, unit), self._delta(column, unit)
        entry = (self.sample, unit)
        name = step.symbol(column.last, entry).show("text")
        exact = [f"{name} = {_exact(value)}"]
        if column.last > column.first:
            exact.append(f"{step.symbol(column.first, entry).show('text')} = {_exact(step.tape[column.first][entry])}")
        exact.append(f"{step.symbol(column.first, entry, True).show('text')} = {_exact(delta)}")
        dense = self._dense(column)
        if dense is not None:
            i, layer = dense
            bias = step.parameter(f"{i}.b", (0, unit)).show("text")
            exact.append(f"{bias} = {_exact(layer.b[0, unit])}")
            name += f"  b {_short(layer.b[0, unit])}"
        if column is self.columns[-1]:
            for i, text in enumerate(("target", _short(step.y[entry]))):
                self._text(x + RADIUS + RING + 8.0, y - 3.0 + 14.0 * i, text, size=11.0, anchor="start")
        group = ElementTree.SubElement(self.root, "g", {"class": "unit"})
        ElementTree.SubElement(group, "title").text = "\n".join(exact)
        ring = RING * _share(delta, self.widest_ring)
        place = {"cx": f"{x:.2f}", "cy": f"{y:.2f}"}
        back = {**place, "r": f"{RADIUS + RING:g}", "fill": PAPER}
        ElementTree.SubElement(group, "circle", back)
        if ring:
            around = {"r": f"{RADIUS + ring / 2.0:.3f}", "stroke": _colour(delta), "stroke-width": f"{ring:.3f}"}
            ElementTree.SubElement(group, "circle", {**place, **around, "fill": "none", "class": "ring"})
        most = max(abs(self._value(column, u)) for u in column.units)
        disc = {"r": f"{RADIUS:g}", "fill": _tint(value, most), "stroke": GREY, "stroke-width": "1"}
        ElementTree.SubElement(group, "circle", {**place, **disc})
        text = _short(value)
        self._text(x, y + 4.0, text, size=min(12.0, 2.0 * (RADIUS - 2.0) / LETTER / len(text)), parent=group)
        self._halo(x, y - RADIUS - RING - 5.0, name, group)
        self._halo(x, y + RADIUS + RING + 13.0, _short(delta), group, fill=_colour(delta) if delta else INK)

    def _lines(self, left: _Column, right: _Column, links: list[tuple[int, int, float, float]]) -> None:
        """Draw the weights, the smallest first, and their numbers where there is room for all."""
        i = right.first - 1
        for j, k, weight, gradient in sorted(links, key=lambda link: abs(link[2])):
            group = ElementTree.SubElement(self.root, "g", {"class": "weight"})
            of, by = (self.step.parameter(f"{i}.W", (j, k), derivative).show("text") for derivative in (False, True))
            ElementTree.SubElement(group, "title").text = f"{of} = {_exact(weight)}\n{by} = {_exact(gradient)}"
            share = _share(weight, self.widest_line)
            width = 0.6 + (LINE - 0.6) * share
            style = {
                "stroke": _colour(weight),
                "stroke-width": f"{width:.3f}",
                "stroke-opacity": f"{0.3 + 0.6 * share:.3f}",
            }
            ElementTree.SubElement(group, "line", {**_ends(left, j, right, k), **style})
        for way in (0.4, 0.5, 0.6) if len(links) <= MOST_NUMBERS else ():
            x = (1.0 - way) * left.x + way * right.x
            heights = [(1.0 - way) * left.heights[j] + way * right.heights[k] for j, k, _, _ in links]
            if all(below - above >= APART for above, below in pairwise(sorted(heights))):
                for y, (_, _, weight, _) in zip(heights, links, strict=True):
                    self._number(x, y, weight)
                return

    def _number(self, x: float, y: float, weight: float) -> None:
        """Write a weight on its line."""
        text = _short(weight)
        half = len(text) * 11.0 * LETTER / 2.0
        box = {"x": f"{x - half:.2f}", "y": f"{y - 7.0:.2f}", "width": f"{2.0 * half:.2f}", "height": "14", "rx": "3"}
        ElementTree.SubElement(self.root, "rect", {**box, "fill": PAPER})
        self._text(x, y + 4.0, text, size=11.0, fill=_colour(weight))

    def _link(self, left: _Column, right: _Column) -> None:
        """Draw what leads from column to column without a weight: a band from all to all, or lines between units."""
        i = right.first - 1
        layer = self.step.layers[i]
        if type(layer) is Dense:
            return
        if not acts_unit_by_unit(layer):
            (a, b), (c, d) = ((min(col.heights.values()), max(col.heights.values())) for col in (left, right))
            start, end = left.x + RADIUS + RING + 8.0, right.x - RADIUS - RING - 8.0
            corners = [(start, a - RADIUS), (end, c - RADIUS), (end, d + RADIUS), (start, b + RADIUS)]
            points = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners)
            ElementTree.SubElement(self.root, "polygon", {"points": points, "fill": PALE})
        if acts_unit_by_unit(layer) or type(layer) is Residual:
            for unit in right.units:
                style = {"stroke": GREY, "stroke-width": "1.5"}
                ElementTree.SubElement(self.root, "line", {**_ends(left, unit, right, unit), **style})

    def _gap(self) -> None:
        x = (self.before_gap[-1].x + self.behind_gap[0].x) / 2.0
        y = (HEAD + self.bottom) / 2.0
        for side in (-1.0, 1.0):
            at = f"{x + side * GAP / 2.0:.2f}"
            style = {"stroke": GREY, "stroke-width": "1.5", "stroke-dasharray": "6 6"}
            ElementTree.SubElement(
                self.root, "line", {"x1": at, "x2": at, "y1": f"{HEAD:g}", "y2": f"{self.bottom:g}", **style}
            )
        first, last = self.before_gap[-1].last, self.behind_gap[0].first - 2
        for i, text in enumerate(("⋯", f"layers {first} to {last}", "are left out")):
            self._text(x, y + 18.0 * i - 18.0, text, fill=GREY)

    # --- legend ----------------------------------------------------------------------------------------------------

    def _legend(self) -> Iterator[tuple[Callable[[float, float], None], str]]:
        """Yield what draws each mark, and what it means."""
        kinds = {self._kind(right) for _, right in self._neighbours()}
        yield self._rules(9.0, BLUE, ORANGE), "blue: positive; orange: negative. Point at a mark for its exact numbers"
        if "weights" in kinds:
            widest = f"the widest is {_short(self.widest_line)} in size"
            yield self._rules(3.0, BLUE, ORANGE), f"line: a weight, the wider the larger; {widest}; b is a bias"
        yield (
            self._discs(ring=False),
            "fill: what the unit gives, the number in it; the deeper the larger within its column",
        )
        widest = f"the widest is {_short(self.widest_ring)} in size"
        yield self._discs(ring=True), f"ring: its delta, the derivative of L, the number below; {widest}"
        if "units" in kinds:
            yield self._rules(1.5, GREY), "grey line: from unit to unit, without a weight"
        if "band" in kinds:
            yield self._rules(14.0, PALE), "grey band: what the layer makes of all units together"

    def _rules(self, width: float, *colours: str) -> Callable[[float, float], None]:
        def draw_at(x: float, y: float) -> None:
            each = 44.0 / len(colours)
            for i, colour in enumerate(colours):
                left = x - 22.0 + each * i
                ends = {"x1": f"{left:.2f}", "y1": f"{y:.2f}", "x2": f"{left + each:.2f}", "y2": f"{y:.2f}"}
                ElementTree.SubElement(self.root, "line", {**ends, "stroke": colour, "stroke-width": f"{width:g}"})

        return draw_at

    def _discs(self, ring: bool) -> Callable[[float, float], None]:
        def draw_at(x: float, y: float) -> None:
            for side, sign in ((-11.0, 1.0), (11.0, -1.0)):
                style = {"fill": "none" if ring else _tint(sign, 1.0), "stroke": _colour(sign) if ring else GREY}
                place = {"cx": f"{x + side:.2f}", "cy": f"{y:.2f}", "r": "7", "stroke-width": "4" if ring else "1"}
                ElementTree.SubElement(self.root, "circle", {**place, **style})

        return draw_at

    def _kind(self, right: _Column) -> str:
        layer = self.step.layers[right.first - 1]
        return "weights" if type(layer) is Dense else "units" if acts_unit_by_unit(layer) else "band"


def _ends(left: _Column, j: int, right: _Column, k: int) -> dict[str, str]:
    ends = {"x1": left.x, "y1": left.heights[j], "x2": right.x, "y2": right.heights[k]}
    return {name: f"{at:.2f}" for name, at in ends.items()}


def _short(value: float) -> str:
    return show_number(float(value), "text", DIGITS)


def _exact(value: float) -> str:
    return show_number(float(value), "text", None)


def _share(value: float, most: float) -> float:
    return abs(value) / most if most else 0.0


def _colour(value: float) -> str:
    return ORANGE if value < 0.0 else BLUE


def _tint(value: float, most: float) -> str:
    """Mix the colour with white, by the share of the largest; at most so deep that what is written on it is read."""
    share = 0.7 * _share(value, most)
    full = [int(_colour(value)[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + share * (channel - 255)):02x}" for channel in full)
