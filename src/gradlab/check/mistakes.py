"""Which mistake explains wrong numbers? Each known one says what it would make of the right numbers, and is tried."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gradlab.check.tracer import Graph, Use

CLOSE = 1e-5  # largest difference, relative to the largest entry, between what a mistake makes and what was found
ROUNDED = 1e-8  # relative difference from which on numbers that a float32 can hold have been rounded to it
MOST_PAIRED = 30  # uses that are also left out two at a time

FROM_THE_RESULT: tuple[tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]], ...] = (
    (lambda x: 1.0 / (1.0 + np.exp(-x)), lambda y: y * (1.0 - y)),  # functions whose slope is written with their result
    (np.tanh, lambda y: 1.0 - y * y),
)

NO_SLOPE = "it is dy itself: the slope is missing"
NO_DELTA = "it is the slope alone, not multiplied by dy"

Told = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # a backward pass, from dy, x and y to one result


class Suspect(NamedTuple):
    """A mistake, in a word and in a sentence, and the numbers that it would give."""

    mistake: str
    sentence: str
    makes: np.ndarray


def find(found: np.ndarray, right: np.ndarray, suspects: Iterable[Suspect]) -> Suspect | None:
    """Return the first suspect that explains the numbers.

    Parameters
    ----------
    found, right : ndarray
        What a program gave, and what it should have given; nan where that is not known. Their shapes may differ.
    suspects : iterable of Suspect
        The likeliest first. One that makes the right numbers explains nothing.
    """
    for suspect in suspects:
        makes = np.asarray(suspect.makes)
        if alike(found, makes) and not alike(right, makes):
            return suspect
    return None


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same up to rounding, wherever both are known."""
    known = ~(np.isnan(a) | np.isnan(b))
    if not known.any():
        return False
    size = max(float(np.max(np.abs(a[known]))), float(np.max(np.abs(b[known]))))
    return bool(np.max(np.abs(a[known] - b[known])) <= CLOSE * size)


def alike(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have the same shape, and the same numbers up to rounding."""
    return a.shape == b.shape and close(a, b)


# --- whatever the array is -----------------------------------------------------------------------------------------


def of_any_array(right: np.ndarray, n: int, held: np.ndarray | None = None) -> Iterator[Suspect]:
    """Yield what can be wrong with any array of derivatives.

    Parameters
    ----------
    right : ndarray
    n : int
        Samples in the batch.
    held : ndarray, optional
        What the array held before it was written.
    """
    yield Suspect("sign", "every entry has the wrong sign", -right)
    if n > 1:
        yield Suspect(
            "mean missing",
            f"every entry is {n} times too large, and there are {n} samples: a division by their number is missing",
            right * n,
        )
        yield Suspect(
            "mean twice",
            f"every entry is {n} times too small, and there are {n} samples: it is divided by them once too often",
            right / n,
        )
    if right.ndim == 2 and min(right.shape) > 1:
        yield Suspect("transposed", "the array is transposed: rows stand where columns belong", right.T)
        shaped = "the array is transposed, and brought into shape by reshape, which is something else than transposing"
        yield Suspect("transposed", shaped, right.T.reshape(right.shape))
    if held is not None and np.any(held):
        yield Suspect("added", "the gradient is added to what the array held before, instead of written", right + held)
        yield Suspect("not in place", "the array still holds what it held before: nothing was written into it", held)
    if np.any(right):
        yield Suspect("zero", "every entry is 0: nothing was written, or all of it was multiplied by 0", 0.0 * right)


def of_a_factor(found: np.ndarray, right: np.ndarray) -> Iterator[Suspect]:
    """Yield that all entries are the same number of times too large, if they are."""
    ratio = _ratio(found, right)
    if ratio is not None:
        yield Suspect("factor", f"every entry is {ratio:.6g} times what is right: a constant factor", right * ratio)


def _ratio(found: np.ndarray, right: np.ndarray) -> float | None:
    """Return found/right if that is one number, of at least two entries."""
    if found.shape != right.shape:
        return None
    known = np.isfinite(found) & np.isfinite(right) & (right != 0.0)
    if np.count_nonzero(known) < 2:
        return None
    at = np.argmax(np.abs(np.where(known, right, 0.0)))
    return float(found.flat[at] / right.flat[at])


def rounded(found: np.ndarray, right: np.ndarray) -> str:
    """Say to what the numbers were rounded; empty if they were not."""
    if found.shape != right.shape:
        return ""
    known = np.isfinite(found) & np.isfinite(right)
    if not known.any() or not np.any(right[known] % 1.0):
        return ""
    found, right = found[known], right[known]
    if np.any(found) and np.array_equal(found, np.round(found)) and np.max(np.abs(found - right)) <= 1.0:
        return "every entry is a whole number: an array of integers has cut off what stands behind the point"
    error = np.max(np.abs(found - right)) / np.max(np.abs(right))
    if ROUNDED < error < CLOSE and np.array_equal(found, found.astype(np.float32)):
        return "the numbers were rounded to float32 on the way; keep the float type of the input"
    return ""


# --- a layer's backward pass ---------------------------------------------------------------------------------------


def of_layer(
    parameter: str,
    found: np.ndarray,
    right: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    told: Told,
    turned: Told,
) -> Iterator[Suspect]:
    """Yield what can be wrong with one result of a layer's backward pass.

    Parameters
    ----------
    parameter : str
        ``"x"`` for dL/dx, else the parameter's name.
    found, right : ndarray
    dy, x, y : ndarray (n, d_out), (n, d_in), (n, d_out)
    told : callable
        The layer's own backward pass, so that it can be told other arrays: if it is right when it takes y for x, say,
        then its formula is one for y.
    turned : callable
        The same, with transposed weights, or with a transposed array to write to.
    """

    def is_right(backward: Told, *arrays: np.ndarray) -> bool:
        try:
            with np.errstate(all="ignore"):
                other = backward(*arrays)
        except Exception:  # whatever a backward pass raises that is told what it does not expect
            return False
        return alike(other, right)

    of_x = parameter == "x"
    if is_right(turned, dy, x, y) and not is_right(told, dy, x, y):
        which = "W stands where Wᵀ belongs" if of_x else "rows stand where columns belong"
        yield Suspect("transposed", f"transposed it is right: {which}", found)
    bends = of_x and x.shape == y.shape
    if is_right(told, dy, y, y):
        mistake = "slope at the input" if bends else "wrong layer"
        yield Suspect(mistake, "where backward uses the input x, take the output y, and it is right", found)
    if is_right(told, dy, x, x):
        mistake = "slope at the output" if bends else "wrong layer"
        yield Suspect(mistake, "where backward uses the output y, take the input x, and it is right", found)
    if is_right(told, dy, y, x):
        yield Suspect("wrong layer", "with x and y exchanged it is right", found)
    if bends:
        yield Suspect("slope missing", NO_SLOPE, dy)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = right / dy
        yield Suspect("delta missing", NO_DELTA, slope)
        if len(np.unique(np.round(slope[np.isfinite(slope)], 6))) > 2:  # else it is one number for another
            yield Suspect("slope twice", "the slope is in it twice", right * slope)
        yield Suspect(
            "dropped term", "dy is missing in it: what came around must be added to what came through", right - dy
        )


# --- sums over the samples and the features ------------------------------------------------------------------------


def of_sums(right: np.ndarray, effects: np.ndarray) -> Iterator[Suspect]:
    """Yield wrong sums: over the wrong axis, or with a sample left out.

    Parameters
    ----------
    right : ndarray
        Shaped like a parameter.
    effects : ndarray (*right.shape, n, d_out)
        What each number of the output adds to each entry.
    """
    n, d = effects.shape[-2:]
    rows = "over the features instead of the samples"
    if right.ndim == 2 and right.shape[0] == 1 and right.shape[1] == d:
        each = np.sum(effects, axis=(0, 1))  # what each number of dy adds, whichever entry of the parameter
        yield Suspect("wrong axis", f"it is summed {rows}", np.broadcast_to(np.sum(each, axis=1), (1, n)).copy())
        yield Suspect("wrong axis", "it is summed over the samples and the features", np.full_like(right, np.sum(each)))
        yield Suspect("wrong axis", f"it is divided by the {d} features", right / d)
        yield Suspect("wrong axis", f"it is divided by samples and features, {n} times {d}", right / (n * d))
    total = np.sum(effects, axis=-1)
    for i, which in ((0, "first"), (n - 1, "last")):
        yield Suspect("dropped term", f"the {which} sample is left out", right - total[..., i])
        yield Suspect("dropped term", f"only the {which} sample is in it", total[..., i].copy())


# --- paths through the forward pass --------------------------------------------------------------------------------


def of_paths(
    name: str, found: np.ndarray, dy: np.ndarray, function: Callable[..., np.ndarray], inputs: Mapping[str, np.ndarray]
) -> Iterator[Suspect]:
    """Yield what a gradient is when one way from an input to the output is forgotten, or the slope of a stretch of it.

    Nothing is yielded for a function that cannot be followed.
    """
    if found.shape != inputs[name].shape:
        return
    try:
        with np.errstate(all="ignore"):
            graph = Graph(function, inputs)
    except Exception:  # whatever a function raises that is given something other than arrays
        return
    direction = np.random.default_rng(0).standard_normal(found.shape)
    slope, size = float(np.sum(found * direction)), float(np.sum(np.abs(found * direction)))
    with np.errstate(all="ignore"):
        for mistake, sentence, edit in _edits(graph):
            # One direction tells most of them apart; for the few that agree there, every entry is worked out.
            if abs(graph.slope(name, direction, dy, **edit) - slope) <= CLOSE * size:
                yield Suspect(mistake, sentence, graph.gradient(name, dy, **edit))


def _edits(graph: Graph) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield mistake, sentence and change of the graph, the likeliest first."""
    uses = graph.uses
    for use in uses:
        sentence = f"what goes through {_at(use)} is missing: a term of a sum, or of the product rule"
        yield "dropped term", sentence, {"weights": {use: 0.0}}
    for use in uses:
        yield "sign", f"what goes through {_at(use)} has the wrong sign", {"weights": {use: -1.0}}
    stretches = list(graph.stretches())
    for stretch in stretches:
        sentence = f"the slope of {stretch.where} is missing: it goes through as if it were 1"
        yield "slope missing", sentence, {"stretch": stretch, "slope": 1.0}
    for stretch in stretches:
        sentence = f"the slope of {stretch.where} is taken at its result, where its argument belongs"
        yield "slope at the output", sentence, {"stretch": stretch}
        x, y = graph.values[stretch.start], graph.values[stretch.end]
        for function, slope_from_result in FROM_THE_RESULT:
            if np.allclose(function(x), y):
                sentence = f"the slope of {stretch.where} is right for its result, but is fed its argument"
                yield "slope at the input", sentence, {"stretch": stretch, "slope": slope_from_result(x)}
    for use in uses:
        for factor, words in ((2.0, "twice"), (0.5, "by half")):
            yield "factor", f"what goes through {_at(use)} counts {words}", {"weights": {use: factor}}
    if len(uses) <= MOST_PAIRED:
        for a, b in itertools.combinations(uses, 2):
            sentence = f"what goes through {_at(a)} and through {_at(b)} is missing"
            yield "dropped term", sentence, {"weights": {a: 0.0, b: 0.0}}


def _at(use: Use) -> str:
    return use.where or f"operation {use.node}"
