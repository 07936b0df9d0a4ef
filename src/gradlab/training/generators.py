"""Where random generators stand, as whole numbers, so that they can be put there again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlab.nn.streams import Streams


def positions(streams: Streams) -> np.ndarray:
    """Return where each generator stands, (replicas, 6): NumPy's PCG64 as whole numbers of 64 bits."""
    return np.array([_words(generator.bit_generator.state) for generator in streams.generators], np.uint64)


def reposition(streams: Streams, state: np.ndarray) -> None:
    """Put each generator where `positions` said that it stood."""
    for generator, words in zip(streams.generators, state.tolist(), strict=True):
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
