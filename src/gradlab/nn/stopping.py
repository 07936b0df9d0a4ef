"""Early stopping and best weights: functions over the steps of `train`."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gradlab.nn.checks import real, whole
from gradlab.nn.network import Network
from gradlab.nn.training import Shapes, State, Step, check_state

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
    """Stop after exactly `patience` epochs without a better score, with the best weights put back.

    A replica out of patience keeps the best weights it had, while the others go on; so each ends as it would
    have ended alone.

    Parameters
    ----------
    steps, score
        As in `best_weights`.
    patience : int
        At least 1.
    min_delta : float
        How much lower than the best a score must be to count as better.
    start : mapping of str to ndarray, optional
        From `Step.state`, given to `train` too: the best so far, and how long ago it was, are those of then.

    Yields
    ------
    Step
    """
    patience = whole("patience", patience)
    if start is not None and np.all(start.get("best.waited", 0) >= patience):
        raise ValueError(f"start: {patience} epochs had gone by without a better score: nothing is left to go on with")
    return _watch(steps, score, patience, real("min_delta", min_delta, 0.0), start)


def stopping_shapes(network: Network) -> Shapes:
    """Tell the names, types and shapes of what early stopping adds to `Step.state`."""
    one, kind = network.replicas, network.dtype
    return {
        "best.score": (np.dtype(np.float64), one),
        "best.waited": (np.dtype(np.int64), one),
        "best.params": (kind, network.params.shape),
        "best.statistics": (kind, network.state.shape),
    }


class _Best:
    """The lowest score of each replica so far, how many epochs ago it was, and the weights that had it."""

    def __init__(self, network: Network, start: State | None):
        self.network = network
        self.score = np.full(network.replicas, np.inf)
        self.waited = np.zeros(network.replicas, np.int64)
        self.params, self.statistics = network.params.copy(), network.state.copy()
        if start is not None:
            check_state(start, stopping_shapes(network))
            self.score, self.waited = start["best.score"].copy(), start["best.waited"].copy()
            self.params, self.statistics = start["best.params"].copy(), start["best.statistics"].copy()

    def take(self, now: np.ndarray, going: Any, min_delta: float) -> None:
        """Compare with the scores of the network as it is now, for the replicas that are still going."""
        better = np.asarray((now < self.score - min_delta) & going)
        self.score = np.where(better, now, self.score)
        self.waited = np.where(better, 0, self.waited + 1)
        self.params[better], self.statistics[better] = self.network.params[better], self.network.state[better]

    def put_back(self) -> None:
        """Give the network the best weights it had."""
        self.network.params[...], self.network.state[...] = self.params, self.statistics

    def state(self) -> State:
        """Copy everything; `stopping_shapes` lists it."""
        names = ("score", "waited", "params", "statistics")
        return {f"best.{name}": np.array(getattr(self, name)) for name in names}


def _watch(
    steps: Iterable[Step], score: Score, patience: int | None, min_delta: float, start: State | None
) -> Iterator[Step]:
    best: _Best | None = None
    over = False
    try:
        for step in steps:
            if best is None and (step.ends_epoch or start is not None):
                best = _Best(step.network, start)
            if step.ends_epoch and best is not None:
                going = True if patience is None else best.waited < patience
                best.take(np.asarray(score(step.network)), going, min_delta)
                over = patience is not None and bool((best.waited >= patience).all())
                step.ends_training |= over
                step.keep_also(best.state)
            yield step
            if over:
                break
    finally:
        if best is not None:
            best.put_back()
