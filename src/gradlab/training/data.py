"""Data are checked where they enter a training, so that what is wrong is named before anything is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.weighting import column_of_weights


def check_data(
    network: Network, loss: Loss, x: Any, y: np.ndarray, weights: np.ndarray | None
) -> tuple[Any, np.ndarray, np.ndarray | None]:
    """Return samples, targets and weights in the network's float type.

    Parameters
    ----------
    network : Network
    loss : Loss
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array (n, d)
    y : ndarray (n, k), or (n,) for a network with one output
    weights : ndarray (n,), optional

    Raises
    ------
    ValueError
        For what could not be trained on, named.
    """
    sparse = hasattr(x, "toarray")
    x = x.tocsr().astype(network.dtype) if sparse else np.asarray(x, dtype=network.dtype)
    y = np.asarray(y, dtype=network.dtype)
    if sparse and network.replicas:
        raise ValueError("x: a sparse array is for one network, not for replicas")
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"x: an array of shape {x.shape} is not (samples, features) with at least one sample")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is named below
        logits = network.forward(x[:1].toarray() if sparse else x[..., :1, :])[-1]
    if y.ndim == 1 and logits.shape[-1] == 1:
        y = y[:, np.newaxis]
    if y.shape[-2:] != (x.shape[-2], logits.shape[-1]) or y.shape[:-2] not in ((), network.replicas):
        raise ValueError(
            f"y: an array of shape {y.shape} does not fit x of shape {x.shape} and a network with "
            f"{logits.shape[-1]} output(s): it is (samples, outputs)"
        )
    _check_finite(x, y)
    least, most = getattr(loss, "target_range", (-np.inf, np.inf))
    if y.min() < least or y.max() > most:
        raise ValueError(f"y: {loss!r} takes targets from {least:g} to {most:g}, not {y.min():g} to {y.max():g}")
    if weights is None:
        return x, y, None
    weights = column_of_weights(weights, x, "x")
    if not np.isfinite(weights).all() or weights.min() < 0.0 or weights.sum() == 0.0:
        raise ValueError("weights: they must be finite, at least 0, and not all 0")
    return x, y, weights


def _check_finite(x: Any, y: np.ndarray) -> None:
    """Raise ValueError naming the first number that is not finite."""
    for name, array in (("x", x), ("y", y)):
        values = array if isinstance(array, np.ndarray) else array.data
        if np.isfinite(values).all():
            continue
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        value, where = values[place], place
        if array is not values:  # a sparse array: the row and the column that the entry belongs to
            where = int(np.searchsorted(x.indptr, place[0], side="right")) - 1, int(x.indices[place[0]])
        raise ValueError(f"{name}: {value} at {list(where)} is not a finite number")
