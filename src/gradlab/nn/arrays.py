"""What layers need of arrays: a matrix product, room for results, and room for the steps between."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

KEPT_SHAPES = 32  # a bound on what stays allocated when every call brings another shape


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Matrix product of the last two axes; plain matrices go through `ndarray.dot`, which starts sooner."""
    plain = a.ndim == b.ndim == 2 and (out is None or out.flags.c_contiguous)
    return a.dot(b, out) if plain else np.matmul(a, b, out=out)


def as_floats(x: np.ndarray) -> np.ndarray:
    """Return `x` itself if it holds float32 or float64, else a float64 copy: integers have no slopes."""
    x = np.asanyarray(x)
    return x if x.dtype in (np.float64, np.float32) else x.astype(np.float64)


def with_room(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `x` as floats and a new array of its shape, for a call that was given no ``out``."""
    x = as_floats(x)
    return x, np.empty(x.shape, x.dtype)


class _Kept(threading.local):
    """The scratch arrays of one thread."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[tuple[int, ...], tuple[int, ...], np.dtype, int], np.ndarray] = {}
        self.ones: dict[tuple[int, np.dtype], np.ndarray] = {}


_kept = _Kept()


def scratch(like: np.ndarray, number: int = 0) -> np.ndarray:
    """Return an array shaped like `like` for a result in between; it holds until the next call of any layer.

    It is the same array every time, so that a training step allocates nothing. Two at once have two numbers.
    """
    if type(like) is not np.ndarray:
        return like.scratch(number)  # type: ignore[attr-defined]  # calls are being noted, for a plan with its own
    key = like.shape, like.strides, like.dtype, number
    array = _kept.arrays.get(key)
    if array is None:
        if len(_kept.arrays) >= KEPT_SHAPES:
            _kept.arrays.clear()
        array = _kept.arrays[key] = np.empty_like(like)
    return array


def row_of_ones(dy: np.ndarray) -> np.ndarray:
    """Return ones (1, n) for an array (..., n, d): their product is the sum over samples, at a quarter of its time."""
    key = dy.shape[-2], dy.dtype
    ones = _kept.ones.get(key)
    if ones is None:
        if len(_kept.ones) >= KEPT_SHAPES:
            _kept.ones.clear()
        ones = _kept.ones[key] = np.ones((1, key[0]), key[1])
    return ones


def norm(vectors: np.ndarray, room: np.ndarray | None = None) -> np.ndarray:
    """Return the Euclidean norm along the last axis, (..., 1), whatever the size of the numbers.

    The largest entry is divided out first: its square may overflow, or underflow, where the norm does not.
    `room`, shaped like `vectors`, holds what comes in between.
    """
    room = np.abs(vectors, room)
    largest = np.max(room, axis=-1, keepdims=True)
    np.divide(vectors, np.where(largest > 0.0, largest, 1.0), room)
    np.multiply(room, room, room)
    return largest * np.sqrt(np.sum(room, axis=-1, keepdims=True))


class Streams:
    """Random numbers for replicas, from one generator each: none depends on how many others there are."""

    def __init__(self, generators: Iterable[np.random.Generator]):
        self.generators = list(generators)

    def uniform(self, out: np.ndarray) -> np.ndarray:
        """Fill an array (..., n, d) with numbers from [0, 1)."""
        for generator, part in zip(self.generators, out.reshape(len(self.generators), -1), strict=True):
            generator.random(dtype=part.dtype.type, out=part)
        return out

    def state(self) -> np.ndarray:
        """Return where each generator stands, (replicas, 6): NumPy's PCG64 as whole numbers of 64 bits."""
        return np.array([_words(generator.bit_generator.state) for generator in self.generators], np.uint64)

    def restore(self, state: np.ndarray) -> None:
        """Put each generator where `state` says that it stood."""
        for generator, words in zip(self.generators, state.tolist(), strict=True):
            high, low, high_step, low_step, half, word = words
            if half > 1 or word >> 32:
                raise ValueError(f"{words} is no state of a generator")
            generator.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": high << 64 | low, "inc": high_step << 64 | low_step},
                "has_uint32": half,
                "uinteger": word,
            }


def _words(state: Mapping[str, Any]) -> list[int]:
    """Take the state of a PCG64 apart: where it is and its step, two words each, and half a word not yet used."""
    position, step = state["state"]["state"], state["state"]["inc"]
    low = 2**64 - 1
    return [position >> 64, position & low, step >> 64, step & low, state["has_uint32"], state["uinteger"]]
