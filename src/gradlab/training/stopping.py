"""Early stopping and best weights: functions over the steps of `train`."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gradlab.nn.checks import check_float, check_int
from gradlab.nn.network import Network
from gradlab.training.loop import Step
from gradlab.training.state import Shapes, State, check_state

Score = Callable[[Network], np.ndarray | float]


def best_weights(steps: Iterable[Step], score: Score, *, start: State | None = None) -> Iterator[Step]:
    """Pass the steps on; when they end, put back the weights of the epoch with the lowest score.

    Parameters
    ----------
    steps : iterable of Step
    score : callable
        From the network to a number, or one a replica (R,): lower is better, as for a loss. It is called at the
        end of each epoch. nan is never better.
    start : mapping of str to ndarray, optional
        From `Step.state`, given to `train` too: the best weights so far are those of then.

    Yields
    ------
    Step

    Notes
    -----
    The weights are copied, and put back whatever ends the steps: their own end, `break`, or an error. (After `break`
    that is when the iterator goes away; one that you hold on to has a ``close()``.) Running statistics go with them.
    Every replica has a best epoch of its own.
    """
    return _watch(steps, score, None, 0.0, start)


def early_stopping(
    steps: Iterable[Step], score: Score, patience: int, min_delta: float = 0.0, *, start: State | None = None
) -> Iterator[Step]:
    """Stop after exactly `patience` epochs in a row without a better score, with the best weights put back.

    A replica out of patience keeps the best weights it had, while the others go on; so each ends as it would
    have ended alone.

    Parameters
    ----------
    steps, score
        As in `best_weights`.
    patience : int
        At least 1.
    min_delta : float
        A score counts as better if it is lower than the lowest before it by more than this. The weights of the lowest
        score are put back all the same.
    start : mapping of str to ndarray, optional
        From `Step.state`, given to `train` too: the best so far, and how long ago it was, are those of then.

    Yields
    ------
    Step
    """
    patience = check_int("patience", patience)
    if start is not None and np.all(start.get("best.waited", 0) >= patience):
        raise ValueError(f"start: {patience} epochs had gone by without a better score: nothing is left to go on with")
    return _watch(steps, score, patience, check_float("min_delta", min_delta, 0.0), start)


def stopping_shapes(network: Network) -> Shapes:
    """Tell the names, types and shapes of what early stopping adds to `Step.state`."""
    one, kind = network.replicas, network.dtype
    return {
        "best.score": (np.dtype(np.float64), one),
        "best.waited": (np.dtype(np.int64), one),
        "best.params": (kind, network.params.shape),
        "best.statistics": (kind, network.state.shape),
    }


class Best:
    """The rule of early stopping: the lowest score of each replica so far, with its weights, and the epochs since one
    was lower by `min_delta`.

    Parameters
    ----------
    network : Network
    min_delta : float

    Attributes
    ----------
    score : ndarray (...)
        The lowest; nan is never lower.
    waited : ndarray (...)
        Epochs in a row without a score that was below the lowest before it by more than `min_delta`.
    params, statistics : ndarray (..., P), (..., S)
        The network's, of the epoch with the lowest score.
    """

    def __init__(self, network: Network, min_delta: float = 0.0):
        self._network, self._min_delta = network, min_delta
        self.score = np.full(network.replicas, np.inf)
        self.waited = np.zeros(network.replicas, np.int64)
        self.params, self.statistics = network.params.copy(), network.state.copy()

    def take(self, now: np.ndarray | float, going: Any = True) -> None:
        """Compare with the scores of the network as it is now, for the replicas that are still going."""
        lower = np.asarray((now < self.score) & going)
        improved = (now < self.score - self._min_delta) & lower
        self.waited = np.where(improved, 0, self.waited + 1)
        self.score = np.where(lower, now, self.score)
        self.params[lower], self.statistics[lower] = self._network.params[lower], self._network.state[lower]

    def roll_back(self) -> None:
        """Give the network the weights with the lowest score."""
        self._network.params[...], self._network.state[...] = self.params, self.statistics

    def state(self) -> State:
        """Copy everything; `stopping_shapes` lists it."""
        return {f"best.{name}": np.array(getattr(self, name)) for name in _KEPT}

    def restore(self, start: State) -> None:
        """Become what gave this state."""
        check_state(start, stopping_shapes(self._network))
        for name in _KEPT:
            setattr(self, name, start[f"best.{name}"].copy())


_KEPT = ("score", "waited", "params", "statistics")


def _watch(
    steps: Iterable[Step], score: Score, patience: int | None, min_delta: float, start: State | None
) -> Iterator[Step]:
    best: Best | None = None
    over = False
    try:
        for step in steps:
            if best is None and (step.ends_epoch or start is not None):
                best = Best(step.network, min_delta)
                if start is not None:
                    best.restore(start)
            if step.ends_epoch and best is not None:
                going = True if patience is None else best.waited < patience
                best.take(np.asarray(score(step.network)), going)
                over = patience is not None and bool((best.waited >= patience).all())
                step.ends_training |= over
                step.keep_also(best.state)
            yield step
            if over:
                break
    finally:
        if best is not None:
            best.roll_back()
