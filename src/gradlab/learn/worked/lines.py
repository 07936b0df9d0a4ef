"""A worked step as data: sections of lines, each a number, the formula it comes from, and what it is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

from gradlab.learn.worked.formulas import Formula, Symbol

TOLERANCE = 1e-6  # relative error between a derivative and its central difference that counts as none
ROUNDING = 1e-10  # of a line's value, relative to its terms


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


@dataclass
class Section:
    """A part of the lecture: a heading, what holds in general, and the numbers."""

    title: str
    rule: str
    lines: list[Line] = field(default_factory=list)
    table: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Worked:
    """A training step, worked: every number in the order of the lecture, and which of them disagree.

    Attributes
    ----------
    title : str
    sections : list of Section
    notes : list of str
    precision : int
        Significant digits to be shown.
    diagram : str
        The network in the step as SVG.
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
