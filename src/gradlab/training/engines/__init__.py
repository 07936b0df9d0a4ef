"""Two engines take the steps: plain calls the layers, compiled runs kernels that are held against them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gradlab.nn.checks import check_int, not_one_of
from gradlab.nn.losses import Loss, SoftmaxCrossEntropy
from gradlab.nn.network import ROWS_AT_ONCE, Network
from gradlab.training.engines.errors import EngineError
from gradlab.training.engines.plain import PlainEngine
from gradlab.training.engines.task import Engine, Task

__all__ = ["NAMES", "Engine", "EngineError", "Task", "choose", "evaluate", "predict", "start", "why_not"]

NAMES = ("plain", "compiled")
INSTALL = 'the compiled engine needs Numba: pip install "gradlab[fast]"'
LARGE = 10**9  # parameters × rows × epochs from which "auto" is compiled: a training of some seconds


def choose(
    name: str,
    network: Network,
    loss: Any = None,
    optimizer: Any = None,
    penalties: Any = None,
    *,
    sparse: bool = False,
    work: float = np.inf,
) -> str:
    """Return "plain" or "compiled": what is asked for, or what "auto" is for these parts.

    Parameters
    ----------
    name : "plain", "compiled" or "auto"
    network, loss, optimizer, penalties
        What would be compiled.
    sparse : bool
        Whether the samples are in a sparse array.
    work : float
        Parameters of one network times rows times epochs: "auto" is plain below `LARGE`.

    Raises
    ------
    ValueError
        If it is none of these names.
    EngineError
        If "compiled" is asked for without Numba, for a part that it does not know, or with no folder to keep it in.
    """
    if name not in (*NAMES, "auto"):
        raise ValueError(f"engine: {not_one_of(name, ('auto', *NAMES))}")
    if name == "plain" or (name == "auto" and work < LARGE):
        return "plain"
    from gradlab.training.engines import compiled

    if name == "auto" and not compiled.is_installed():
        return "plain"
    why = why_not(network, loss, optimizer, penalties, sparse)
    if not why:
        return "compiled"
    if name == "compiled":
        raise EngineError(f"engine: 'compiled' cannot be used: {why}")
    print(f"gradlab: the plain engine is used: {why}", file=sys.stderr)
    return "plain"


def why_not(
    network: Network, loss: Any = None, optimizer: Any = None, penalties: Any = None, sparse: bool = False
) -> str:
    """Say why the compiled engine cannot be used; empty if it can."""
    from gradlab.training.engines import compiled
    from gradlab.training.engines.cache import NoCacheError, folder
    from gradlab.training.engines.kernels import unknown

    if not compiled.is_installed():
        return INSTALL
    if sparse:
        return "x: a sparse array has no compiled kernel"
    if why := unknown(network, loss, optimizer, penalties):
        return why
    try:
        folder()
    except NoCacheError as error:
        return str(error)
    return ""


def start(name: str, task: Task, x: Any, epochs: int, batch_size: int, threads: int | None = None) -> Engine:
    """Return an engine for a training, see `choose`.

    Parameters
    ----------
    name : "plain", "compiled" or "auto"
    task : Task
    x : ndarray or SciPy sparse array
        The samples.
    epochs, batch_size : int
    threads : int, optional
        Most threads of the compiled engine; all cores, unless given.
    """
    if threads is not None:
        threads = check_int("threads", threads)
    work = float(task.network.params.shape[-1]) * task.n * epochs
    sparse = not isinstance(x, np.ndarray)
    chosen = choose(name, task.network, task.loss, task.optimizer, task.penalties, sparse=sparse, work=work)
    if chosen == "plain":
        return PlainEngine(task)
    from gradlab.training.engines import compiled

    return compiled.CompiledEngine(task, x.shape[-1], batch_size, threads)


def predict(network: Network, x: Any, *, engine: str = "auto", threads: int | None = None) -> np.ndarray:
    """Compute the logits of any number of samples; nothing is learned from it.

    Parameters
    ----------
    network : Network
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array (n, d)
    engine : "plain", "compiled" or "auto"
        As in `train`.
    threads : int, optional
        Most threads of the compiled engine; all cores, unless given.

    Returns
    -------
    ndarray (..., n, k)
        `Network.predict_proba` makes probabilities of them.
    """
    sparse = hasattr(x, "toarray")
    x = x if sparse else network.samples(x)
    work = float(network.params.shape[-1]) * x.shape[-2]
    if threads is not None:
        threads = check_int("threads", threads)
    if choose(engine, network, sparse=sparse, work=work) == "plain" or x.shape[-2] == 0:
        if not sparse:
            return network.decision_function(x)
        parts = [x[i : i + ROWS_AT_ONCE].toarray() for i in range(0, x.shape[0], ROWS_AT_ONCE)]
        return np.concatenate([network.decision_function(part) for part in parts])
    from gradlab.training.engines import compiled

    return compiled.predict(network, x, threads)


def evaluate(
    network: Network,
    loss: Loss,
    x: Any,
    y: np.ndarray,
    weights: np.ndarray | None = None,
    *,
    engine: str = "auto",
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute loss and accuracy (...) of the network as it is now; nothing is learned from it.

    Parameters
    ----------
    network : Network
    loss : Loss
    x : ndarray (n, d) or (..., n, d), or SciPy sparse array (n, d)
    y : ndarray (n, k), or (n,) for a network with one output
        Targets.
    weights : ndarray (n,), optional
        How much each sample counts, in the loss.
    engine, threads
        As in `predict`.

    Returns
    -------
    loss, accuracy : ndarray (...)
        The accuracy is the share of samples of which every output is on its target's side of ½; with softmax, of which
        the largest logit is that of the largest target.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # a network about to diverge is named by the next step
        logits = predict(network, x, engine=engine, threads=threads)
        if logits.shape[-2] == 0:
            raise ValueError(f"x: an array of shape {np.shape(x)} has no sample to evaluate the network on")
        targets = np.asarray(y, network.dtype)
        targets = targets[..., np.newaxis] if targets.ndim == 1 else targets
        value = loss.value(logits, targets, weights)
        if isinstance(loss, SoftmaxCrossEntropy):
            right = np.argmax(logits, axis=-1) == np.argmax(targets, axis=-1)
        else:
            right = np.all((logits > 0.0) == (targets > 0.5), axis=-1)
        return value, np.mean(right, axis=-1)
