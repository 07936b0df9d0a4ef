"""A formula that knows its numbers: written once, it reads in symbols and in numbers, as text, LaTeX and HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SUM, PRODUCT, ATOM = range(3)  # what a formula is, from what binds least
LATEX = {
    "·": r" \cdot ",
    "−": "-",
    "²": "^2",
    "½": r"\tfrac12",
    "…": r"\ldots",
    "η": r"\eta ",
    "Δ": r"\Delta ",
    "σ": r"\sigma",
}
TOGETHER = "\N{WORD JOINER}"  # no line ends here
HTML = {"²": "<sup>2</sup>"}
BRACKETS = {  # that stand round something, and are written another way in each style
    "√(": {"text": "√(", "latex": r"\sqrt{", "html": "√("},
    ")√": {"text": ")", "latex": "}", "html": ")"},
    "^(": {"text": "^", "latex": "^{", "html": "<sup>"},
    ")^": {"text": "", "latex": "}", "html": "</sup>"},
}
LETTERS = {  # with a shape of their own
    "beta": {"latex": r"\beta", "html": "<i>β</i>"},
    "beta1": {"latex": r"\beta_1", "html": "<i>β</i><sub>1</sub>"},
    "beta2": {"latex": r"\beta_2", "html": "<i>β</i><sub>2</sub>"},
    "c1": {"latex": "c_1", "html": "<i>c</i><sub>1</sub>"},
    "c2": {"latex": "c_2", "html": "<i>c</i><sub>2</sub>"},
    "epsilon": {"latex": r"\varepsilon", "html": "<i>ε</i>"},
    "gamma": {"latex": r"\gamma", "html": "<i>γ</i>"},
    "xhat": {"latex": r"\hat{x}", "html": "<i>x̂</i>"},
}


@dataclass(frozen=True)
class Symbol:
    """The name of a number: a letter, the layer it belongs to, and its entry.

    Attributes
    ----------
    letter : str
    layer : int, optional
        Counted from 1.
    entry : tuple of int
        Sample and unit of an activation, input and output of a weight, counted from 0.
    derivative : bool
        Whether dL by it is meant.
    after : bool
        Whether its value after the step is meant.
    of : Symbol, optional
        What it belongs to, in place of a layer and an entry: the momentum v of a weight.
    """

    letter: str
    layer: int | None = None
    entry: tuple[int, ...] = ()
    derivative: bool = False
    after: bool = False
    of: Symbol | None = None

    def show(self, style: str) -> str:
        """Write it as text, LaTeX or HTML."""
        entry = ",".join(map(str, self.entry))
        owner = "" if self.of is None else f"({self.of.show(style)})"
        if style == "text":
            place = f"[{entry}]" if entry else ""
            prime = "'" if self.after else ""
            return f"{'dL/d' if self.derivative else ''}{self.letter}{self.layer or ''}{prime}{place}{owner}"
        if style == "latex":
            up = (rf"({self.layer})" if self.layer else "") + (r"\prime" if self.after else "")
            name = self._letter(style) + (f"^{{{up}}}" if up else "") + (f"_{{{entry}}}" if entry else "") + owner
            return rf"\frac{{\partial L}}{{\partial {name}}}" if self.derivative else name
        up = (f"({self.layer})" if self.layer else "") + ("′" if self.after else "")
        name = self._letter(style) + (f"<sup>{up}</sup>" if up else "")
        name += (f"<sub>{entry}</sub>" if entry else "") + owner
        return f"∂<i>L</i>/{TOGETHER}∂{name}" if self.derivative else name

    def _letter(self, style: str) -> str:
        if self.letter in LETTERS:
            return LETTERS[self.letter][style]
        if style == "html":
            return f"<i>{html.escape(self.letter)}</i>"
        letter = self.letter if len(self.letter) == 1 else rf"\mathrm{{{self.letter.replace('_', ' ')}}}"
        return "".join(LATEX.get(character, character) for character in letter)


class Formula:
    """Numbers put together, each with its symbol; Python's operators build it.

    Parameters
    ----------
    pieces : sequence of str or (Symbol, float)
        What stands between the numbers, and the numbers.
    value : float
        What it comes to.
    size : float
        The same with every term taken as positive: rounding is relative to this.
    level : int
        SUM, PRODUCT or ATOM.

    Examples
    --------
    >>> a, b = named(Symbol("a"), 0.5), named(Symbol("b"), -2.0)
    >>> formula = a * b + b
    >>> formula.symbols("text"), formula.numbers("text", 4), formula.value
    ('a·b + b', '0.5·(−2) + (−2)', -3.0)
    """

    def __init__(self, pieces: Sequence[str | tuple[Symbol, float]], value: float, size: float, level: int):
        self.pieces, self.value, self.size, self.level = tuple(pieces), value, size, level

    def _within(self, level: int) -> tuple[str | tuple[Symbol, float], ...]:
        return self.pieces if self.level >= level else ("(", *self.pieces, ")")

    def __add__(self, other: Formula) -> Formula:
        pieces = (*self.pieces, " + ", *other._within(SUM))
        return Formula(pieces, self.value + other.value, self.size + other.size, SUM)

    def __sub__(self, other: Formula) -> Formula:
        pieces = (*self.pieces, " − ", *other._within(PRODUCT))
        return Formula(pieces, self.value - other.value, self.size + other.size, SUM)

    def __mul__(self, other: Formula) -> Formula:
        pieces = (*self._within(PRODUCT), "·", *other._within(PRODUCT))
        return Formula(pieces, self.value * other.value, self.size * other.size, PRODUCT)

    def __truediv__(self, other: Formula) -> Formula:
        pieces = (*self._within(PRODUCT), "/", *other._within(ATOM))
        return Formula(pieces, self.value / other.value, self.size / abs(other.value), PRODUCT)

    def __neg__(self) -> Formula:
        return Formula(("−", *self._within(PRODUCT)), -self.value, self.size, SUM)

    def squared(self) -> Formula:
        """Multiply it by itself."""
        return Formula((*self._within(ATOM), "²"), self.value**2, self.size**2, ATOM)

    def root(self) -> Formula:
        """Take its square root."""
        value = math.sqrt(self.value)
        return Formula(("√(", *self.pieces, ")√"), value, math.sqrt(self.size), ATOM)

    def power(self, exponent: int) -> Formula:
        """Raise it to a power."""
        pieces = (*self._within(ATOM), "^(", str(exponent), ")^")
        return Formula(pieces, self.value**exponent, self.size**exponent, ATOM)

    def _with_powers(self) -> list[tuple[str | tuple[Symbol, float], bool]]:
        """Return the pieces, and whether each is raised to a power."""
        return [(p, after in ("²", "^(")) for p, after in zip(self.pieces, (*self.pieces[1:], ""), strict=True)]

    def symbols(self, style: str) -> str:
        """Write it with the symbols."""
        written = []
        for piece, raised in self._with_powers():
            if isinstance(piece, str):
                written.append(_glue(piece, style))
            else:
                shown = piece[0].show(style)
                if raised and piece[0].derivative:
                    shown = f"({shown})"
                elif raised and style == "latex":  # it may have an index up there already
                    shown = f"{{{shown}}}"
                written.append(shown)
        return "".join(written)

    def numbers(self, style: str, precision: int | None) -> str:
        """Write it with the numbers put in, to so many significant digits; None is for all."""
        written = []
        opens = True  # a negative number needs brackets unless it comes first, or first within some
        for piece, raised in self._with_powers():
            if isinstance(piece, str):
                written.append(_glue(piece, style))
                opens = piece.endswith("(")
            else:
                number = show_number(piece[1], style, precision)
                bare = number.replace(".", "").isdecimal() if raised else opens or not number.startswith(("−", "-"))
                written.append(number if bare else f"({number})")
                opens = False
        return "".join(written)


def named(symbol: Symbol, value: float) -> Formula:
    """Make a formula of one number."""
    return Formula([(symbol, float(value))], float(value), abs(float(value)), ATOM)


def constant(number: float) -> Formula:
    """Make a formula of a number that is its own symbol."""
    return Formula([f"{number:g}"], float(number), abs(number), ATOM)


def applied(name: str, function: Callable[[float], float], argument: Formula) -> Formula:
    """Make the formula name(argument)."""
    value = float(function(argument.value))
    return Formula([name, "(", *argument.pieces, ")"], value, max(1.0, abs(value), argument.size), ATOM)


def added(terms: Sequence[Formula], most: int) -> Formula:
    """Add up; of more than `most` terms, the largest are written, and the others as their sum."""
    rest = None
    if len(terms) > most:
        by_size = sorted(range(len(terms)), key=lambda i: -abs(terms[i].value))
        kept = set(by_size[: most - 1])
        others = [terms[i] for i in by_size[most - 1 :]]
        rest = named(Symbol("…"), math.fsum(term.value for term in others))
        rest.size = math.fsum(term.size for term in others)
        terms = [term for i, term in enumerate(terms) if i in kept]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total if rest is None else total + rest


def show_number(value: float, style: str, precision: int | None) -> str:
    """Write a number to so many significant digits; None is for all of them."""
    text = repr(float(value)) if precision is None else f"{value:.{precision}g}"
    if style == "text":
        return text.replace("-", "−")
    mantissa, e, exponent = text.partition("e")
    if style == "latex":
        return mantissa + (rf" \times 10^{{{int(exponent)}}}" if e else "")
    return (mantissa + (f"×10<sup>{int(exponent)}</sup>" if e else "")).replace("-", "−")


def _glue(piece: str, style: str) -> str:
    if piece in BRACKETS:
        return BRACKETS[piece][style]
    if style == "latex":
        piece = re.sub(r"\b([A-Za-z]{2,})\b('?)", r"\\mathrm{\1}\2", piece)
        return "".join(LATEX.get(character, character) for character in piece)
    return HTML.get(piece, html.escape(piece, quote=False)) if style == "html" else piece
