"""A pass through an activation or a loss is a few ufunc calls on arrays that stay: noted once, they are made again.

What is saved is Python: looking up a method, its scratch array, turning each number into an array. The calls and their
order are the layer's own, so the results are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

Call = tuple[Callable[..., Any], tuple[Any, ...]]
Rooms = dict[tuple[tuple[int, ...], tuple[int, ...], float | str], np.ndarray]  # by shape, strides and what they hold


class _Noting(np.ndarray):
    """An array that writes down every ufunc that is called with it."""

    calls: list[Call] | None = None
    rooms: Rooms

    def __array_finalize__(self, parent: Any) -> None:
        self.calls, self.rooms = getattr(parent, "calls", None), getattr(parent, "rooms", {})

    def scratch(self, number: int) -> _Noting:
        """Return the scratch array of this shape and number, made at the first request."""
        key = self.shape, self.strides, f"scratch {number}"
        if key not in self.rooms:
            self.rooms[key] = np.empty_like(self, subok=False)
        room = self.rooms[key].view(_Noting)
        room.calls, room.rooms = self.calls, self.rooms
        return room

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        if method != "__call__" or options or out is None or self.calls is None:
            raise TypeError(f"{ufunc} cannot be noted: it is called without a result to write to, or with options")
        result = out[0].view(np.ndarray)
        if ufunc in (np.minimum, np.maximum):  # vectorised for two arrays, not for an array and a number
            inputs = tuple(x if isinstance(x, np.ndarray) else self._filled(x, result) for x in inputs)
            call: Call = (
                partial(ufunc, out=result),
                tuple(_plain(x, result.dtype) for x in inputs),
            )  # `out` by name only
        else:
            call = (ufunc, (*(_plain(x, result.dtype) for x in inputs), result))
        call[0](*call[1])
        self.calls.append(call)
        return out[0]

    def _filled(self, number: float, like: np.ndarray) -> np.ndarray:
        """Return an array full of one number, made at the first request."""
        key = like.shape, like.strides, number
        if key not in self.rooms:
            self.rooms[key] = np.full_like(like, number)
        return self.rooms[key]


def _plain(given: Any, dtype: np.dtype) -> np.ndarray:
    """Return an input as a plain array; a number as one of no dimensions, which NumPy takes up sooner."""
    return given.view(np.ndarray) if isinstance(given, np.ndarray) else np.array(given, dtype)


def note_calls(rooms: Rooms, function: Callable[..., Any], *arrays: np.ndarray | None) -> list[Call]:
    """Run ``function(*arrays)``, and return the calls that it made on NumPy.

    Parameters
    ----------
    rooms : dict
        Scratch arrays, shared by calls that are made one after another; it is filled.
    function : callable
        Nothing but ufunc calls that write to given arrays, to `scratch` ones included, whatever the numbers are.
    *arrays : ndarray or None
        They keep their place in memory, and hold the results.

    Returns
    -------
    list of (callable, arguments)

    Raises
    ------
    TypeError
        If a call cannot be noted.
    """
    calls: list[Call] = []
    noting = [None if array is None else array.view(_Noting) for array in arrays]
    for array in noting:
        if array is not None:
            array.calls, array.rooms = calls, rooms
    function(*noting)
    noted = calls.copy()
    calls.clear()  # the arrays that wrote it still hold it, and would go in a circle with what it holds
    return noted


def make(calls: Sequence[Call]) -> None:
    """Make calls again, on the numbers that their arrays hold now."""
    for call, arguments in calls:
        call(*arguments)
