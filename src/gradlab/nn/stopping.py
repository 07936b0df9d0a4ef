"""Early stopping and best weights: functions over the steps of `train`."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from gradlab.nn.checks import real, whole
from gradlab.nn.network import Network
from gradlab.nn.training import Step

Score = Callable[[Network], np.ndarray | float]


def best_weights(steps: Iterable[Step], score: Score) -> Iterator[Step]:
    """Pass the steps on; when they end, put back the weights of the epoch with the lowest score.

    Parameters
    ----------
    steps : iterable of Step
    score : callable
        From the network to a number, or one a replica (R,): lower is better, as for a loss. It is called at the
        end of each epoch. nan is never better.

    Yields
    ------
    Step

    Notes
    -----
    The weights are copied, and put back whatever ends the steps: their own end, `break`, or an error. (After `break`
    that is when the iterator goes away; one that you hold on to has a ``close()``.) Running statistics go with them.
    Every replica has a best epoch of its own.
    """
    return _watch(steps, score, None, 0.0)


def early_stopping(steps: Iterable[Step], score: Score, patience: int, min_delta: float = 0.0) -> Iterator[Step]:
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

    Yields
    ------
    Step
    """
    return _watch(steps, score, whole("patience", patience), real("min_delta", min_delta, 0.0))


def _watch(steps: Iterable[Step], score: Score, patience: int | None, min_delta: float) -> Iterator[Step]:
    network: Network | None = None
    try:
        for step in steps:
            if step.ends_epoch:
                if network is None:
                    network = step.network
                    best = np.full(network.replicas, np.inf)
                    waited = np.zeros(network.replicas, int)
                    params, state = network.params.copy(), network.state.copy()
                now = np.asarray(score(network))
                going = True if patience is None else waited < patience
                better = (now < best - min_delta) & going
                best = np.where(better, now, best)
                waited = np.where(better, 0, waited + 1)
                params[better], state[better] = network.params[better], network.state[better]
            yield step
            if step.ends_epoch and patience is not None and (waited >= patience).all():
                break
    finally:
        if network is not None:
            network.params[...], network.state[...] = params, state
