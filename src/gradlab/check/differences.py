"""Central differences: what a derivative is, from values of the function alone, and whether it can be told at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gradlab.check.mistakes import Suspect, find, of_a_factor, rounded

STEP = 1e-4  # h, for values up to 1; larger values get a proportional one
SMALLER = 1e-2  # times h, where the function bends too fast for h
KINK = 1e-4  # relative change of a difference, when h is halved, from which on it is not smooth


class Difference(NamedTuple):
    """A central difference, how much of it may be rounding, and why there is none (None) if so: at a kink or not."""

    numeric: float | None
    noise: float
    kink: bool


@dataclass(frozen=True)
class Gradient:
    """One array of derivatives: what the backward pass says, and the function that it should differentiate."""

    layer: int
    name: str
    parameter: str
    values: np.ndarray
    analytic: np.ndarray
    output: Callable[[], np.ndarray]  # with the values as they are now
    c: np.ndarray  # L = Σ c·output()
    suspects: Callable[[np.ndarray], Iterator[Suspect]] = field(default=lambda right: iter(()))

    def right(self, differences: dict[tuple[int, ...], Difference]) -> np.ndarray:
        """Return the central differences as an array; nan where there is none."""
        right = np.full(self.values.shape, np.nan)
        for entry, d in differences.items():
            right[entry] = np.nan if d.numeric is None else d.numeric
        return right

    def explained(self, differences: dict[tuple[int, ...], Difference]) -> Suspect | None:
        """Return the mistake that makes these numbers of the right ones, if it is a known one."""
        right = self.right(differences)
        words = rounded(self.analytic, right)
        if words:
            return Suspect("dtype", words, self.analytic)
        suspect = find(self.analytic, right, self.suspects(right))
        if suspect is None or suspect.mistake in ("factor", "slope missing"):  # one number for all of it is simpler
            suspect = find(self.analytic, right, of_a_factor(self.analytic, right)) or suspect
        return suspect

    def differences(self, max_entries: int, rng: np.random.Generator) -> dict[tuple[int, ...], Difference]:
        """Return the differences by entry; those that could not be compared were tried again with a smaller step."""
        entries = list(np.ndindex(self.values.shape))
        if len(entries) > max_entries:
            entries = [entries[i] for i in sorted(rng.choice(len(entries), max_entries, replace=False))]
        y = self.output()
        found = {entry: self.difference(entry, STEP, y) for entry in entries}
        some = any(d.numeric is not None for d in found.values())
        for entry, d in found.items():
            if d.numeric is None and not (d.kink and some):
                found[entry] = self.difference(entry, STEP * SMALLER, y)
        return found

    def difference(self, entry: tuple[int, ...], step: float, y: np.ndarray) -> Difference:
        """Compare the slopes over h and h/2, above and below."""
        h = step * max(1.0, abs(float(self.values[entry])))
        above, below = self._slopes(entry, h, y)
        near_above, near_below = self._slopes(entry, h / 2.0, y)
        coarse, fine = (above + below) / 2.0, (near_above + near_below) / 2.0
        noise = float(np.finfo(np.float64).eps * (1.0 + np.sum(np.abs(self.c * y))) / h)
        smooth = KINK * max(abs(coarse), abs(fine)) + noise / KINK * (step / STEP)  # the last as large at every step
        if abs(coarse - fine) > smooth or abs(above - below - 2.0 * (near_above - near_below)) > smooth:
            return Difference(None, noise, abs(above - near_above) <= smooth or abs(below - near_below) <= smooth)
        return Difference((4.0 * fine - coarse) / 3.0, noise, False)

    def _slopes(self, entry: tuple[int, ...], h: float, y: np.ndarray) -> tuple[float, float]:
        """Return (L(+h) − L(0))/h and (L(0) − L(−h))/h."""
        value = self.values[entry]
        self.values[entry] = value + h
        above = self.output() - y
        self.values[entry] = value - h
        below = y - self.output()
        self.values[entry] = value
        return float(np.sum(self.c * above)) / h, float(np.sum(self.c * below)) / h
