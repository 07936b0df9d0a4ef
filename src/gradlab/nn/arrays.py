"""What is asked of arrays in several places: to be floats, and how long they are."""

import numpy as np


def as_floats(x: np.ndarray) -> np.ndarray:
    """Return `x` itself if it holds float32 or float64, else a float64 copy: integers have no slopes."""
    x = np.asanyarray(x)
    return x if x.dtype in (np.float64, np.float32) else x.astype(np.float64)


def norm(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm along the last axis, (..., 1), whatever the size of the numbers.

    The largest entry is divided out first: its square may overflow, or underflow, where the norm does not.
    """
    largest = np.max(np.abs(vectors), axis=-1, keepdims=True)
    scaled = vectors / np.where(largest > 0.0, largest, 1.0)
    return largest * np.sqrt(np.sum(scaled * scaled, axis=-1, keepdims=True))
