"""A picture of a network in one training step: what each unit gives, what comes back to it, and the weights between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np

from gradlab.learn.worked.formulas import show_number
from gradlab.learn.worked.layers import function_of
from gradlab.learn.worked.step import WorkedStep, acts_unit_by_unit
from gradlab.nn.activations import Activation
from gradlab.nn.checks import check_int
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
RADIUS, RING = 26.0, 8.0  # of a unit; the widest ring
LINE, THINNEST = 7.0, 0.6  # the widest line, and that of a weight of 0
MARGIN, HEAD, FOOT = 24.0, 118.0, 22.0  # FOOT is one line of the legend
NARROWEST = 704.0  # so that the legend fits
LETTER = 0.6  # width of a letter, in font sizes
APART = 16.0  # least distance between two numbers, one above the other
MOST_NUMBERS = 9  # of the lines between two columns


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
    if check_int("sample", sample, 0) not in step.rows:
        raise ValueError(f"sample: {sample} is not in the batch, which has {len(step.rows)} rows of x")
    return Diagram(draw(step, step.rows.index(sample)))


def draw(step: WorkedStep, sample: int | None = None) -> str:
    """Draw a step for a row of its batch; the one whose loss has the largest slope, unless it is named."""
    return _Drawing(step, step.sample if sample is None else sample).svg()


@dataclass
class _Column:
    """One layer, or a Dense and the activation behind it: which arrays it shows, which units of them, and where."""

    first: int  # the tape's index of what its delta is by
    last: int  # the tape's index of what it gives
    units: list[int] = field(default_factory=list)
    x: float = 0.0
    heights: dict[int, float] = field(default_factory=dict)  # of the units


class _Drawing:
    """The columns of a step in their places, and the elements that they make."""

    def __init__(self, step: WorkedStep, sample: int):
        self.step, self.sample = step, sample
        every, ends = self._chosen(), MOST_COLUMNS // 2
        deep = len(every) > MOST_COLUMNS
        self.before_gap, self.behind_gap = (every[:ends], every[-ends:]) if deep else (every, [])
        self.columns = self.before_gap + self.behind_gap
        self._place()
        weights = [abs(weight) for _, _, links in self._weights() for _, _, weight, _ in links]
        self.widest_line = max(weights, default=0.0)
        self.widest_ring = max(abs(self._delta(column, unit)) for column in self.columns for unit in column.units)
        legend = list(self._legend())
        self.height = self.bottom + FOOT * (len(legend) + 1) + MARGIN
        box = f"0 0 {self.width:g} {self.height:g}"
        self.root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "viewBox": box})
        self._draw(legend)

    def _chosen(self) -> list[_Column]:
        """Fold each Dense with the activation behind it, then choose the units, from the last column to the first."""
        columns, i, layers = [_Column(0, 0)], 0, self.step.layers
        while i < len(layers):
            folded = type(layers[i]) is Dense and any(isinstance(layer, Activation) for layer in layers[i + 1 : i + 2])
            columns.append(_Column(i + 1, i + 1 + folded))
            i += 1 + folded
        follows: list[int] = []  # the units behind a layer that keeps them apart
        for column in reversed(columns):
            deltas = np.abs(self.step.deltas[column.first][self.sample])
            column.units = follows or sorted(np.argsort(-deltas, kind="stable")[:MOST_UNITS].tolist())
            layer = layers[column.first - 1] if column.first else None
            apart = layer is not None and (acts_unit_by_unit(layer) or type(layer) is Residual)
            follows = column.units if apart else []
        return columns

    def _place(self) -> None:
        """Give every column and unit its place."""
        rows = max(len(column.units) for column in self.columns)
        more = any(self._hidden(column) for column in self.columns)
        self.bottom = HEAD + rows * ROW + (FOOT if more else 0.0)
        across = PITCH * (len(self.columns) - 1) + (GAP if self.behind_gap else 0.0)
        self.width = max(across + PITCH, NARROWEST)
        for i, column in enumerate(self.columns):
            column.x = (self.width - across) / 2.0 + PITCH * i + (GAP if i >= len(self.before_gap) else 0.0)
            top = HEAD + (rows - len(column.units) + 1) * ROW / 2.0
            column.heights = {unit: top + ROW * j for j, unit in enumerate(column.units)}

    # --- numbers ---------------------------------------------------------------------------------------------------

    def _hidden(self, column: _Column) -> int:
        return int(self.step.tape[column.last].shape[1]) - len(column.units)

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
        ElementTree.indent(self.root)
        return ElementTree.tostring(self.root, encoding="unicode") + "\n"

    def _add(
        self, tag: str, parent: ElementTree.Element | None = None, **attributes: str | float
    ) -> ElementTree.Element:
        """Add an element; an attribute is spelled with _ for -, and one behind a word of Python's."""
        shown = {
            name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:.6g}"
            for name, value in attributes.items()
        }
        return ElementTree.SubElement(self.root if parent is None else parent, tag, shown)

    def _text(
        self, x: float, y: float, text: str, parent: ElementTree.Element | None = None, **more: str | float
    ) -> None:
        attributes = {"font_size": 12.0, "text_anchor": "middle", **more}
        self._add("text", parent, x=x, y=y, **attributes).text = text

    def _over_lines(
        self, x: float, y: float, text: str, parent: ElementTree.Element | None = None, fill: str = INK
    ) -> None:
        halo: dict[str, Any] = {
            "stroke": PAPER,
            "stroke_width": 4.0,
            "stroke_linejoin": "round",
            "paint_order": "stroke",
        }
        self._text(x, y, text, parent, font_size=11.0, fill=fill, **halo)

    def _line(self, x1: float, y1: float, x2: float, y2: float, stroke: str, stroke_width: float, **more: Any) -> None:
        self._add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=stroke_width, **more)

    def _draw(self, legend: Sequence[tuple[Callable[[float, float], None], str]]) -> None:
        """Draw everything, what lies below first."""
        font = {"font-family": "Helvetica, Arial, sans-serif", "fill": INK}
        self.root.attrib |= {"width": f"{self.width:g}", "height": f"{self.height:g}", "role": "img", **font}
        self._add("title").text = f"The network in one training step, for sample {self.step.rows[self.sample]}"
        self._add("rect", width=self.width, height=self.height, fill=PAPER)
        self._captions()
        for left, right in self._neighbours():
            self._link(left, right)
        for left, right, links in self._weights():
            self._lines(left, right, links)
        if self.behind_gap:
            self._gap()
        for column in self.columns:
            self._heading(column)
            for unit in column.units:
                self._unit(column, unit)
            if self._hidden(column):
                below = max(column.heights.values()) + 68.0
                self._text(column.x, below, f"… {self._hidden(column)} more", fill=GREY)
        for i, (mark, words) in enumerate(legend):
            y = self.bottom + FOOT * (i + 1.5)
            mark(MARGIN + 22.0, y)
            self._text(MARGIN + 54.0, y + 4.0, words, text_anchor="start")

    def _captions(self) -> None:
        step, s = self.step, self.sample
        row, n = step.rows[s], len(step.rows)
        batch = f"{f', row {s}' * (s != row)} of a batch of {n}" if n > 1 else ", alone in its batch"
        own = float(step.loss.value(step.tape[-1][s : s + 1], step.y[s : s + 1]))
        title = f"One training step, sample {row}{batch}"
        losses = f"Its loss is {_short(own)}" + (f"; the batch's, L, is {_short(step.value)}" if n > 1 else "")
        self._text(MARGIN, MARGIN + 8.0, title, font_size=15.0, text_anchor="start", font_weight="bold")
        self._text(MARGIN, MARGIN + 28.0, losses, text_anchor="start")

    def _heading(self, column: _Column) -> None:
        """Say above a column what it is, what fills its units, and what rings them."""
        step, layers = self.step, self.step.layers[max(column.first - 1, 0) : column.last]
        title = ", ".join(map(repr, layers)) or "input"
        name, by = (step.symbol(i, ()).show("text") for i in (column.last, column.first))
        fill = f"fill {name}"
        if column.last > column.first and isinstance(layers[-1], Activation):
            fill += f" = {function_of(layers[-1])[0]}({by})"
        group = self._add("g")
        self._add("title", group).text = title
        most = int((PITCH - 20.0) / 12.0 / LETTER)
        for i, text in enumerate((title, fill, f"ring dL/d{by}")):
            short = text if len(text) <= most else f"{text[: most - 1]}…"
            self._text(column.x, MARGIN + 52.0 + 16.0 * i, short, group, font_weight="normal" if i else "bold")

    def _unit(self, column: _Column, unit: int) -> None:
        """Draw a unit: its name and bias above it, its value in it, its delta round it and below."""
        step, x, y, entry = self.step, column.x, column.heights[unit], (self.sample, unit)
        value, delta = self._value(column, unit), self._delta(column, unit)
        name = step.symbol(column.last, entry).show("text")
        exact = {name: value, step.symbol(column.first, entry).show("text"): step.tape[column.first][entry]}
        exact[step.symbol(column.first, entry, True).show("text")] = delta
        dense = self._dense(column)
        if dense is not None:
            i, layer = dense
            exact[step.parameter(f"{i}.b", (0, unit)).show("text")] = layer.b[0, unit]
            name += f"  b {_short(layer.b[0, unit])}"
        if column is self.columns[-1]:
            for line, text in enumerate(("target", _short(step.y[entry]))):
                at = x + RADIUS + RING + 8.0, y - 3.0 + 14.0 * line
                self._text(*at, text, font_size=11.0, text_anchor="start")
        group = self._add("g", class_="unit")
        self._add("title", group).text = "\n".join(f"{what} = {_exact(number)}" for what, number in exact.items())
        self._add("circle", group, cx=x, cy=y, r=RADIUS + RING, fill=PAPER)
        ring = RING * _share(delta, self.widest_ring)
        if ring:
            style: dict[str, Any] = {"fill": "none", "stroke": _colour(delta), "stroke_width": ring}
            self._add("circle", group, class_="ring", cx=x, cy=y, r=RADIUS + ring / 2.0, **style)
        tint = _tint(value, max(abs(self._value(column, each)) for each in column.units))
        self._add("circle", group, cx=x, cy=y, r=RADIUS, fill=tint, stroke=GREY, stroke_width=1.0)
        text = _short(value)
        self._text(x, y + 4.0, text, group, font_size=min(12.0, 2.0 * (RADIUS - 2.0) / LETTER / len(text)))
        self._over_lines(x, y - RADIUS - RING - 5.0, name, group)
        self._over_lines(x, y + RADIUS + RING + 13.0, _short(delta), group, _colour(delta) if delta else INK)

    def _lines(self, left: _Column, right: _Column, links: list[tuple[int, int, float, float]]) -> None:
        """Draw the weights, the smallest first, and their numbers where there is room for all."""
        for j, k, weight, gradient in sorted(links, key=lambda link: abs(link[2])):
            group = self._add("g", class_="weight")
            names = (self.step.parameter(f"{right.first - 1}.W", (j, k), by).show("text") for by in (False, True))
            exact = zip(names, (weight, gradient), strict=True)
            self._add("title", group).text = "\n".join(f"{what} = {_exact(number)}" for what, number in exact)
            share = _share(weight, self.widest_line)
            ends = left.x, left.heights[j], right.x, right.heights[k]
            width = THINNEST + (LINE - THINNEST) * share
            self._line(*ends, _colour(weight), width, parent=group, stroke_opacity=0.3 + 0.6 * share)
        for way in (1 / 3, 0.4, 0.5, 0.6, 2 / 3) if len(links) <= MOST_NUMBERS else ():
            x = (1.0 - way) * left.x + way * right.x
            heights = [(1.0 - way) * left.heights[j] + way * right.heights[k] for j, k, _, _ in links]
            if all(below - above >= APART for above, below in pairwise(sorted(heights))):
                for y, (_, _, weight, _) in zip(heights, links, strict=True):
                    text = _short(weight)
                    half = len(text) * 11.0 * LETTER / 2.0
                    self._add("rect", x=x - half, y=y - 7.0, width=2.0 * half, height=14.0, rx=3.0, fill=PAPER)
                    self._text(x, y + 4.0, text, font_size=11.0, fill=_colour(weight))
                return

    def _link(self, left: _Column, right: _Column) -> None:
        """Draw what leads from column to column without a weight: a band from all to all, or lines between units."""
        links = self._links(right)
        if "band" in links:
            start, end = left.x + RADIUS + RING + 8.0, right.x - RADIUS - RING - 8.0
            (a, b), (c, d) = ((min(each.heights.values()), max(each.heights.values())) for each in (left, right))
            corners = (start, a - RADIUS), (end, c - RADIUS), (end, d + RADIUS), (start, b + RADIUS)
            self._add("polygon", points=" ".join(f"{x:g},{y:g}" for x, y in corners), fill=PALE)
        if "units" in links:
            for unit in right.units:
                self._line(left.x, left.heights[unit], right.x, right.heights[unit], GREY, 1.5)

    def _gap(self) -> None:
        """Say which layers are left out."""
        x = (self.before_gap[-1].x + self.behind_gap[0].x) / 2.0
        for side in (x - GAP / 2.0, x + GAP / 2.0):
            self._line(side, HEAD, side, self.bottom, GREY, 1.5, stroke_dasharray="6 6")
        first, last = self.before_gap[-1].last, self.behind_gap[0].first - 2
        for i, text in enumerate(("⋯", f"layers {first} to {last}", "are left out")):
            self._text(x, (HEAD + self.bottom) / 2.0 + 18.0 * (i - 1), text, fill=GREY)

    # --- legend ----------------------------------------------------------------------------------------------------

    def _legend(self) -> Iterator[tuple[Callable[[float, float], None], str]]:
        """Yield what draws each mark, and what it means."""
        kinds = set().union(*(self._links(right) for _, right in self._neighbours()))
        line, ring = (f"the widest is {_short(widest)} in size" for widest in (self.widest_line, self.widest_ring))
        fill = "fill: what the unit gives, the number in it; the deeper the larger within its column"
        yield self._rules(9.0, BLUE, ORANGE), "blue: positive; orange: negative. Point at a mark for its exact numbers"
        if "weights" in kinds:
            yield self._rules(3.0, BLUE, ORANGE), f"line: a weight, the wider the larger; {line}; b is a bias"
        yield self._discs(ring=False), fill
        yield self._discs(ring=True), f"ring: its delta, the derivative of L, the number below; {ring}"
        if "units" in kinds:
            yield self._rules(1.5, GREY), "grey line: from unit to unit, without a weight"
        if "band" in kinds:
            yield self._rules(14.0, PALE), "grey band: what the layer makes of all units together"

    def _rules(self, width: float, *colours: str) -> Callable[[float, float], None]:
        def draw_at(x: float, y: float) -> None:
            each = 44.0 / len(colours)
            for i, colour in enumerate(colours):
                self._line(x - 22.0 + each * i, y, x - 22.0 + each * (i + 1), y, colour, width)

        return draw_at

    def _discs(self, ring: bool) -> Callable[[float, float], None]:
        def draw_at(x: float, y: float) -> None:
            for at, sign in ((x - 11.0, 1.0), (x + 11.0, -1.0)):
                fill, stroke = ("none", _colour(sign)) if ring else (_tint(sign, 1.0), GREY)
                self._add("circle", cx=at, cy=y, r=7.0, fill=fill, stroke=stroke, stroke_width=4.0 if ring else 1.0)

        return draw_at

    def _links(self, right: _Column) -> set[str]:
        """Return which kinds of links lead to a column."""
        layer = self.step.layers[right.first - 1]
        if type(layer) is Dense:
            return {"weights"}
        if type(layer) is Residual:
            return {"units", "band"}
        return {"units"} if acts_unit_by_unit(layer) else {"band"}


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
