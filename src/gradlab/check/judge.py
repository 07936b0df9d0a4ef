"""The judge of a function: whether its numbers are right, and which known mistake explains those that are not.

A function is called on drawn arguments, beside a reference. What it gives is first held against what an answer is (an
array of numbers, of that shape), then against the reference's numbers, and where they differ against what each known
mistake would have made of them.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.check.apart import FailedCodeError, UnusableFileError, describe
from gradlab.check.mistakes import Suspect, alike, close, find, of_a_factor, of_any_array, rounded

SAMPLES = 5  # in most trials
RIGHT = 1e-9  # largest difference from the right numbers, relative to the largest of them
SINGLE = 1e-6  # the same for numbers that were computed in float32 somewhere
SEVEN_DIGITS = "it is right to some seven digits only: a float32 on the way, or a small number that was added"
WHOLE = "it is an array of integers, which cannot hold what stands behind the point"

Draw = dict[str, Any]  # a function's arguments, by name
Answer = Callable[..., Any]
Wrong = tuple[str, str, Answer]  # a mistake in a word, in a sentence, and as a function of the same arguments


@dataclass(frozen=True)
class Trial:
    """Calls of one function.

    Attributes
    ----------
    function : str
    draws : sequence of dict
        The arguments of each call, in their order. Where the result is a number, there are several, so that there is
        something to compare.
    results : tuple of str
        What the function returns, in order; or the arguments that it leaves its results in.
    written : bool
        Whether it leaves them in its arguments.
    samples : int
        In the batch.
    wrongs : sequence of Wrong
        The known mistakes, the likeliest first.
    extreme : bool
        Whether the numbers are so large that a careless formula leaves the finite numbers.
    """

    function: str
    draws: Sequence[Draw]
    results: tuple[str, ...]
    written: bool = False
    samples: int = 1
    wrongs: Sequence[Wrong] = ()
    extreme: bool = False


def why_extreme(found: np.ndarray) -> str:
    """Say why a result is wrong where the numbers are very large."""
    if np.isfinite(found).all():
        return "something is cut off, or a small number added, and hides how large the logits are"
    return "e to such a power, or the logarithm of what it leaves, is not finite; write it so that neither is needed"


class Judge:
    """One function on one trial."""

    def __init__(
        self,
        function: Callable[..., Any],
        reference: Callable[..., Any],
        trial: Trial,
        path: str,
        lenient: bool = False,
    ):
        self.function, self.reference, self.trial, self.path = function, reference, trial, path
        self.lenient = lenient  # whether a column may stand for a row
        try:
            code = inspect.unwrap(function).__code__
            self.place = f"{path}, line {code.co_firstlineno}: " if path else ""
        except AttributeError:  # a callable object
            self.place = f"{path}: " if path else ""

    def verdict(self, others: list[Trial]) -> tuple[str, str] | None:
        """Return a mistake in a word and in a sentence; None if the function is right."""
        trial = self.trial
        calls = [_call(self.reference, trial, draw) for draw in trial.draws]
        try:
            answers = [self._answer(draw, rights) for draw, rights in zip(trial.draws, calls, strict=True)]
        except (UnusableFileError, FailedCodeError):
            for other in others:  # where rows and columns are equally many, more goes through, and shows what is wrong
                judge = Judge(self.function, self.reference, other, self.path, lenient=True)
                try:
                    found = None if other.extreme else judge.verdict([])
                except (UnusableFileError, FailedCodeError):
                    continue
                if found is not None and found[0]:
                    return found
            raise
        changed = self._changed()
        if changed is not None:
            return changed
        self.whole = [_is_whole(answers[0][i]) and not _is_whole(calls[0][i]) for i in range(len(trial.results))]
        self.found = [_together([answer[i] for answer in answers]) for i in range(len(trial.results))]
        self.right = [_together([call[i] for call in calls]) for i in range(len(trial.results))]
        told = (self._compare(number, name) for number, name in enumerate(trial.results))
        return next(filter(None, told), None)

    def _answer(self, draw: Draw, rights: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
        """Call the function; raise an error for what is no answer. `rights` is what it should give."""
        trial, name = self.trial, self.trial.function
        self.given = copy.deepcopy(draw)
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # the numbers are judged, not the way to them
                returned = self.function(*self.given.values())
        except NotImplementedError as error:
            raise FailedCodeError(f"{self.place}{name} is still to be written: {error}") from None
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # it was not even entered
                wanted = ", ".join(draw)
                raise UnusableFileError(f"{self.place}{name} takes other arguments than ({wanted})") from None
            raise FailedCodeError(describe(error, self.path)) from None
        except BaseException as error:  # whatever somebody's own code raises
            raise FailedCodeError(describe(error, self.path)) from None
        if trial.written:
            results = tuple(self.given[r] for r in trial.results)
        elif len(trial.results) == 1:
            results = (returned,)
        else:
            if not isinstance(returned, tuple | list) or len(returned) != len(trial.results):
                shown = f"{len(returned)} results" if isinstance(returned, tuple | list) else _kind_of(returned)
                raise UnusableFileError(
                    f"{self.place}{name} returns {shown}; it is to return {', '.join(trial.results)}"
                )
            results = tuple(returned)
            self._refuse_another_order(results, rights)
        for result, right, each in zip(results, rights, trial.results, strict=True):
            self._refuse(each, result, np.asarray(right))
        if self.lenient:
            return tuple(np.reshape(result, np.shape(right)) for result, right in zip(results, rights, strict=True))
        return results

    def _refuse_another_order(self, results: tuple[Any, ...], rights: tuple[Any, ...]) -> None:
        """Raise FailedCodeError if the results are right, but in another order."""
        _, *others = itertools.permutations(range(len(results)))
        for order in others:
            pairs = [(results[i], right) for i, right in zip(order, rights, strict=True)]
            if all(isinstance(result, np.ndarray) and alike(result, right) for result, right in pairs):
                wanted = ", ".join(self.trial.results)
                raise FailedCodeError(
                    f"{self.place}{self.trial.function}: the results are right, but in another order than {wanted}"
                )

    def _refuse(self, name: str, result: Any, right: np.ndarray) -> None:
        """Raise UnusableFileError for what is no array of numbers of the right shape, or is not finite."""
        which = f"{self.place}{self.trial.function}: {name} is"
        number = isinstance(result, int | float | np.generic) and not isinstance(result, bool)
        if not isinstance(result, np.ndarray) and not (number and right.ndim == 0):
            wanted = f"an array of shape {right.shape}" if right.ndim else "a number"
            raise UnusableFileError(f"{which} {_kind_of(result)}; it is to be {wanted}")
        array = np.asarray(result)
        if array.dtype.kind not in "fiub":
            raise UnusableFileError(f"{which} an array of {array.dtype}; it is to hold floats")
        if array.shape != right.shape and not (self.lenient and array.shape == right.shape[::-1]):
            hint = ""
            if array.ndim == 2 and array.shape == right.shape[::-1]:
                hint = ": rows and columns are exchanged"
            elif array.ndim == right.ndim == 2 and len(right) == 1 and array.shape[1] == right.shape[1]:
                hint = ": the sum over the samples is missing"
            wanted = f"of shape {right.shape}" if right.ndim else "a number"
            raise UnusableFileError(f"{which} of shape {array.shape}; it is to be {wanted}{hint}")
        if not np.isfinite(array).all() and not self.trial.extreme:
            at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            raise UnusableFileError(f"{which} {array[tuple(at)]}{f' at {at}' if at else ''}, for finite arguments")

    def _compare(self, number: int, name: str) -> tuple[str, str] | None:
        """Hold one result against the right one."""
        found, right = self.found[number], self.right[number]
        error = np.abs(found - right)
        held = self._held(name)
        size = np.max(np.abs(right if held is None else right - held))
        if np.isfinite(found).all() and np.max(error) <= RIGHT * size:
            return None
        mistake, likely = self._explained(number, name) if np.isfinite(found).all() else ("", "")
        if self.trial.extreme and mistake in ("", "dtype"):
            return "stability", f"{self.place}{self._extreme(name, found, right)}"
        at = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
        entry = list(at) if at and len(self.trial.draws) == 1 else ""
        compared = f"{name}{entry} is {found[at] + 0.0:.6g}, but {right[at] + 0.0:.6g} is right"
        if f"{found[at]:.6g}" == f"{right[at]:.6g}":
            compared = f"{name}{entry} is {found[at]:.12g}, but {right[at]:.12g} is right"
        fine = int(np.sum(error <= RIGHT * size))
        count = f"{fine} of {error.size} numbers are right" if fine else "no number is right"
        explained = f"; {likely or f'{count}, and no known mistake explains what is not'}"
        return mistake, f"{self.place}{self.trial.function}: {compared}{explained}"

    def _held(self, name: str) -> np.ndarray | None:
        """Return what an argument held before, if the result is left in it."""
        return np.asarray(self.trial.draws[0][name], dtype=float) if self.trial.written else None

    def _extreme(self, name: str, found: np.ndarray, right: np.ndarray) -> str:
        at = tuple(int(i) for i in np.unravel_index(np.argmax(~(np.abs(found - right) <= RIGHT)), found.shape))
        largest = max(float(np.max(np.abs(value))) for value in self.trial.draws[0].values())
        return (
            f"{self.trial.function}: for numbers as large as {largest:g}, {name}{list(at) or ''} is {found[at]:.6g}, "
            f"but {right[at]:.6g} is right; {why_extreme(found)}"
        )

    def _explained(self, number: int, name: str) -> tuple[str, str]:
        """Return the mistake that makes these numbers, in a word and in a sentence; two empty texts if none does."""
        found, right = self.found[number], self.right[number]
        near = np.max(np.abs(found - right)) < SINGLE * np.max(np.abs(right))
        words = rounded(found, right) or WHOLE * self.whole[number]
        if words or (near and not self.trial.written):
            return "dtype", words or SEVEN_DIGITS
        suspect = find(found, right, self._suspects(number, name, found, right))
        if suspect is not None:
            return suspect.mistake, suspect.sentence
        return ("dtype", SEVEN_DIGITS) if near else ("", "")

    def _suspects(self, number: int, name: str, found: np.ndarray, right: np.ndarray) -> Iterator[Suspect]:
        """Yield what may be wrong with a result, the likeliest first."""
        trial, held = self.trial, self._held(name)
        if held is not None and close(found, held):
            says = f"{name} still holds what it held before: write into it, as in {name}[...] = …; {name} = … does not"
            yield Suspect("not in place", says, held)
        made = [(m, says, results) for m, says, wrong in trial.wrongs if (results := self._of_wrong(wrong)) is not None]
        whole = [all(map(alike, results, self.found)) for _, _, results in made]  # it explains the other results too
        for mistake, says, results in itertools.compress(made, whole):
            yield Suspect(mistake, says, results[number])
        for mistake, says, results in [] if self.takes_a_step else made:  # a step's results go together
            yield Suspect(mistake, says, results[number])
        if not trial.written and len(trial.draws) == 1:
            for other, result in zip(trial.results, self.right, strict=True):
                order = ", ".join(trial.results)
                if other != name:
                    yield Suspect("order", f"this is {other}: the results are in another order than {order}", result)
        if held is None or not self.takes_a_step:
            yield from of_any_array(right, trial.samples, held)
            yield from of_a_factor(found, right)
            return
        moved, wrongly = right - held, found - held
        for s in itertools.chain(of_any_array(moved, trial.samples), of_a_factor(wrongly, moved)):
            yield Suspect(s.mistake, s.sentence.replace("every entry", f"the change of {name}"), s.makes + held)

    @property
    def takes_a_step(self) -> bool:
        """Whether the function changes its arguments by a little, rather than writing something new into them."""
        return "params" in self.trial.results

    def _of_wrong(self, wrong: Callable[..., Any]) -> list[np.ndarray] | None:
        """Return the results of a wrong answer; None where it cannot be computed."""
        made = []
        for draw in self.trial.draws:
            try:
                with np.errstate(all="ignore"):
                    results = wrong(*copy.deepcopy(draw).values())
            except ValueError:  # shapes that do not fit: the mistake cannot have been made on these numbers
                return None
            made.append(results if len(self.trial.results) > 1 else (results,))
        return [_together(list(each)) for each in zip(*made, strict=True)]

    def _changed(self) -> tuple[str, str] | None:
        """Return which argument the last call changed that is not to be changed."""
        allowed = self.trial.results if self.trial.written else ()
        for name, before in self.trial.draws[-1].items():
            if name not in allowed and not np.array_equal(before, self.given[name], equal_nan=True):
                says = f"it changes its argument {name} in place; compute in a new array"
                return "changes input", f"{self.place}{self.trial.function}: {says}"
        return None


def _call(function: Callable[..., Any], trial: Trial, draw: Draw) -> tuple[Any, ...]:
    """Call a right function; return its results."""
    given = copy.deepcopy(draw)
    with np.errstate(all="ignore"):
        returned = function(*given.values())
    if trial.written:
        return tuple(given[name] for name in trial.results)
    return returned if len(trial.results) > 1 else (returned,)


def _together(results: list[Any]) -> np.ndarray:
    """Return the result of the only call, or those of several one behind another."""
    return np.asarray(results[0] if len(results) == 1 else results, dtype=float)


def _is_whole(result: Any) -> bool:
    return np.asarray(result).dtype.kind in "iub"


def _kind_of(result: Any) -> str:
    return "None: a return is missing" if result is None else f"a {type(result).__name__}"
