"""An explanation is sections of lines: it knows which disagree, and writes itself as text, Markdown, HTML and JSON."""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from gradlab.learn.formulas import Formula, Symbol, show_number

TOLERANCE = 1e-6  # relative error between a derivative and its central difference that counts as none
ROUNDING = 1e-10  # of a line's value, relative to its terms
XMLNS = ' xmlns="http://www.w3.org/2000/svg"'  # which a drawing within HTML has no need of
STYLE = """<style>
.gradlab-step { font: 16px/1.5 Georgia, serif; color: #1a1a1a; background: #fff }
.gradlab-step { max-width: 70em; margin: 0 auto; padding: 1em }
.gradlab-step h1 { font-size: 1.5em; line-height: 1.3; overflow-wrap: anywhere }
.gradlab-step h2 { font-size: 1.15em; margin: 2em 0 0.3em; overflow-wrap: anywhere }
.gradlab-step p { max-width: 48em; margin: 0.3em 0 }
.gradlab-step .wide { overflow-x: auto }
.gradlab-step table { border-collapse: collapse; margin: 0.5em 0 }
.gradlab-step td, .gradlab-step th { text-align: left; padding: 0.25em 1em 0.25em 0; border-bottom: 1px solid #ddd }
.gradlab-step th { font-weight: normal; color: #555 }
.gradlab-step sub, .gradlab-step sup { font-size: 0.7em; line-height: 0 }
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
    diagram : str
        The network in the step as SVG, which stands in the HTML.
    """

    title: str
    sections: list[Section]
    notes: list[str]
    precision: int = 4
    diagram: str = ""

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
            rows += ["", f"{bold}{section.title}{plain}"]
            rows += textwrap.wrap(section.rule, 118, initial_indent="  ", subsequent_indent="  ")
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
        if self.diagram:
            parts.append(f'<div class="wide">{self.diagram.replace(XMLNS, "", 1)}</div>')
        for section in self.sections:
            parts.append(f"<h2>{html.escape(section.title)}</h2><p>{html.escape(section.rule)}</p>")
            if section.table:
                head, *rows = ([html.escape(cell) for cell in cells] for cells in section.table)
                parts.append(_table(head, [("<tr>", row) for row in rows]))
            if section.lines:
                parts.append(self._lines_in_html(section.lines))
        parts += [f"<p>{html.escape(text)}</p>" for text in (*self.notes, self.verdict)]
        return "\n".join([*parts, "</div>"])

    def _lines_in_html(self, lines: Sequence[Line]) -> str:
        """Write lines as a table, its last column only if there is anything in it."""
        rows = []
        for line in lines:
            compared = line.comparison("html", self.precision)
            compared += f"<br>MISMATCH: {html.escape(line.problem)}" if line.problem else ""
            row = '<tr class="wrong">' if line.problem else "<tr>"
            rows.append((row, [*self._cells(line, "html"), compared]))
        columns = 3 + any(cells[-1] for _, cells in rows)
        head = ["in symbols", "in numbers", "value", "central difference"]
        return _table(head[:columns], [(row, cells[:columns]) for row, cells in rows])

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


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Write a table in HTML, of a head and rows, each with its tag."""
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    body = [f"{row}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for row, cells in rows]
    return "\n".join([f'<div class="wide"><table><tr>{heads}</tr>', *body, "</table></div>"])
