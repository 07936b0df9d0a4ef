"""How a worked step is written: as text, Markdown, HTML and JSON. Nothing is computed here."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from html import escape

from gradlab.learn.worked.formulas import show_number
from gradlab.learn.worked.lines import Line, Worked

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


def text(worked: Worked, colour: bool = False) -> str:
    """Write it for a terminal."""
    red, bold, plain = ("\x1b[31m", "\x1b[1m", "\x1b[0m") if colour else ("", "", "")
    rows = [f"{bold}{worked.title}{plain}"]
    for section in worked.sections:
        rows += ["", f"{bold}{section.title}{plain}"]
        rows += textwrap.wrap(section.rule, 118, initial_indent="  ", subsequent_indent="  ")
        if section.table:
            widths = [max(map(len, column)) for column in zip(*section.table, strict=True)]
            for cells in section.table:
                row = "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True))
                rows.append(f"  {row}".rstrip())
        longest = max((len(line.symbol.show("text")) for line in section.lines), default=0)
        for line in section.lines:
            value = show_number(line.value, "text", worked.precision)
            numbers = "" if line.formula is None else f"{line.formula.numbers('text', worked.precision)} = "
            symbols = line.words if line.formula is None else line.formula.symbols("text")
            compared = _comparison(line, "text", worked.precision)
            if line.finite_difference is not None:
                compared = f"central difference {compared}"
            rows.append(f"    {line.symbol.show('text').ljust(longest)} = {symbols}")
            row = f"    {' ' * longest} = {numbers}{value}"
            rows.append(f"{row}    {compared}" if compared else row)
            if line.problem:
                rows.append(f"    {' ' * longest}   {red}MISMATCH: {line.problem}{plain}")
    rows += ["", *worked.notes, f"{red if worked.mismatches else ''}{worked.verdict}{plain}"]
    return "\n".join(rows)


def markdown(worked: Worked) -> str:
    """Write it as Markdown with formulas in LaTeX."""
    rows = [f"# {worked.title}"]
    for section in worked.sections:
        rows += ["", f"## {section.title}", "", section.rule, ""]
        if section.table:
            head, *body = section.table
            rows += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
            rows += [f"| {' | '.join(cells)} |" for cells in body]
            rows += [""]
        if section.lines:
            rows += ["| in symbols | in numbers | value | central difference |", "|---|---|---|---|"]
        for line in section.lines:
            symbols, numbers, value = _cells(worked, line, "latex")
            symbols = f"${symbols}$" if line.formula is not None else symbols
            problem = f" **MISMATCH: {line.problem}**" if line.problem else ""
            compared = _comparison(line, "latex", worked.precision)
            rows.append(f"| {symbols} | {f'${numbers}$' if numbers else ''} | ${value}$ | {compared}{problem} |")
    rows += ["", *worked.notes, "", worked.verdict]
    return "\n".join(rows)


def _cells(worked: Worked, line: Line, style: str) -> tuple[str, str, str]:
    name, value = line.symbol.show(style), show_number(line.value, style, worked.precision)
    if line.formula is None:
        return (f"${name}$: {line.words}" if style == "latex" else f"{name}: {escape(line.words)}"), "", value
    return f"{name} = {line.formula.symbols(style)}", line.formula.numbers(style, worked.precision), value


def page(worked: Worked) -> str:
    """Write it as an HTML file of its own."""
    title = escape(worked.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>\n'
        f"<body>{html(worked)}</body></html>\n"
    )


def html(worked: Worked) -> str:
    """Write it as a part of a page, whose formulas need no script and no network."""
    parts = [STYLE, '<div class="gradlab-step">', f"<h1>{escape(worked.title)}</h1>"]
    if worked.diagram:
        parts.append(f'<div class="wide">{worked.diagram.replace(XMLNS, "", 1)}</div>')
    for section in worked.sections:
        parts.append(f"<h2>{escape(section.title)}</h2><p>{escape(section.rule)}</p>")
        if section.table:
            head, *rows = ([escape(cell) for cell in cells] for cells in section.table)
            parts.append(_table(head, [("<tr>", row) for row in rows]))
        if section.lines:
            parts.append(_lines_in_html(worked, section.lines))
    parts += [f"<p>{escape(text)}</p>" for text in (*worked.notes, worked.verdict)]
    return "\n".join([*parts, "</div>"])


def _lines_in_html(worked: Worked, lines: Sequence[Line]) -> str:
    """Write lines as a table, its last column only if there is anything in it."""
    rows = []
    for line in lines:
        compared = _comparison(line, "html", worked.precision)
        compared += f"<br>MISMATCH: {escape(line.problem)}" if line.problem else ""
        row = '<tr class="wrong">' if line.problem else "<tr>"
        rows.append((row, [*_cells(worked, line, "html"), compared]))
    columns = 3 + any(cells[-1] for _, cells in rows)
    head = ["in symbols", "in numbers", "value", "central difference"]
    return _table(head[:columns], [(row, cells[:columns]) for row, cells in rows])


def as_json(worked: Worked) -> str:
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
        for line in worked.lines
    ]
    notes = {"title": worked.title, "notes": worked.notes, "verdict": worked.verdict}
    return json.dumps({"lines": lines} | notes, allow_nan=False, ensure_ascii=False)


def _comparison(line: Line, style: str, precision: int | None) -> str:
    """Say what the central difference is, if the number is a derivative."""
    if line.kink:
        return "kink: no difference to compare"
    if line.finite_difference is None:
        return ""
    shown = show_number(line.finite_difference, style, precision)
    shown = f"${shown}$" if style == "latex" else shown
    return f"{shown} (rounding up to {line.noise:.0e})" if line.too_small else shown


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Write a table in HTML, of a head and rows, each with its tag."""
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    body = [f"{row}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for row, cells in rows]
    return "\n".join([f'<div class="wide"><table><tr>{heads}</tr>', *body, "</table></div>"])
