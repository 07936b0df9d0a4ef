"""The best weights are put back whatever ends a training, and patience is counted exactly."""

import numpy as np
import pytest
from trainings import BCE, SEEDS, X, Y, make

from gradlab.nn import SGD, Adam, SquaredError, schedules
from gradlab.training import DivergenceError, best_weights, early_stopping, train
from gradlab.training.stopping import Best


def watched(scores, wrap, epochs=None, stop=None, network=None):
    """Train under a score that is read from a list; return the network and its parameters after each epoch."""
    network = make() if network is None else network
    left = iter(scores)
    steps = train(network, BCE, SGD(0.5), X, Y, epochs=epochs or len(scores), batch_size=4)
    history = []
    for step in wrap(steps, lambda _: np.asarray(next(left))):
        if step.ends_epoch:
            history.append((network.params.copy(), network.state.copy()))
            if stop is not None and len(history) == stop:
                break
    return network, history


def patient(patience, min_delta=0.0):
    return lambda steps, score: early_stopping(steps, score, patience, min_delta)


@pytest.mark.parametrize(
    "scores, best",
    [
        ([3, 1, 2], 1),
        ([3, 2, 1], 2),
        ([1, 2, 3], 0),
        ([2, 1, 1], 1),
        ([np.nan, 2, np.nan, 3], 1),
        ([2, np.nan, 1, np.nan], 2),
    ],
)
def test_best_weights_are_put_back_at_the_end(scores, best):
    network, history = watched(scores, best_weights)
    assert len(history) == len(scores)
    np.testing.assert_array_equal(network.params, history[best][0])


@pytest.mark.parametrize("wrap", [best_weights, patient(9)], ids=["best_weights", "early_stopping"])
def test_best_weights_are_put_back_after_break(wrap):
    network, history = watched([3, 1, 2, 2, 2], wrap, stop=4)
    np.testing.assert_array_equal(network.params, history[1][0])


@pytest.mark.parametrize("wrap", [best_weights, patient(9)], ids=["best_weights", "early_stopping"])
def test_best_weights_are_put_back_after_an_error_in_the_loop(wrap):
    network = make()
    left = iter([3, 1, 2, 2, 2])
    kept = []

    def loop():
        steps = train(network, BCE, SGD(0.5), X, Y, epochs=5, batch_size=4)
        for step in wrap(steps, lambda _: next(left)):
            kept.append(network.params.copy())
            if step.index == 10:
                raise KeyError

    with pytest.raises(KeyError):
        loop()
    np.testing.assert_array_equal(network.params, kept[5])  # the last step of the second epoch


@pytest.mark.parametrize("wrap", [best_weights, patient(9)], ids=["best_weights", "early_stopping"])
def test_best_weights_are_put_back_after_divergence(wrap):
    network = make()
    optimizer = SGD(0.5)
    kept = None
    steps = train(network, SquaredError(), optimizer, X, Y, epochs=9, batch_size=10)

    def loop():
        nonlocal kept
        for step in wrap(steps, lambda _: 1.0):
            if step.epoch == 0:
                kept = network.params.copy()
            optimizer.learning_rate = 1e300

    with pytest.raises(DivergenceError):
        loop()
    np.testing.assert_array_equal(network.params, kept)


def test_best_weights_are_put_back_after_an_error_in_the_score():
    network = make()
    kept = []

    def score(network):
        kept.append(network.params.copy())
        if len(kept) == 3:
            raise KeyError
        return len(kept)

    with pytest.raises(KeyError):
        list(best_weights(train(network, BCE, SGD(0.5), X, Y, epochs=9, batch_size=4), score))
    np.testing.assert_array_equal(network.params, kept[0])


def test_best_weights_are_copied_not_referenced():
    network, history = watched([1, 2, 3], best_weights)
    assert not np.array_equal(history[0][0], history[2][0])
    np.testing.assert_array_equal(network.params, history[0][0])


def test_running_statistics_are_put_back_with_the_weights():
    network, history = watched([3, 1, 2, 2], best_weights, network=make(batch_norm=True))
    np.testing.assert_array_equal(network.state, history[1][1])
    assert not np.array_equal(history[3][1], history[1][1])


def test_before_the_first_epoch_ends_there_is_nothing_to_put_back():
    network = make()
    for step in best_weights(train(network, BCE, SGD(0.5), X, Y, epochs=2, batch_size=4), lambda _: 0.0):
        after = network.params.copy()
        if step.index == 1:
            break
    np.testing.assert_array_equal(network.params, after)


@pytest.mark.parametrize(
    "patience, scores, epochs",
    [
        (1, [3, 3], 2),
        (1, [3, 2, 1, 1, 0], 4),
        (2, [3, 2, 2, 2, 0], 4),
        (2, [3, 2, 4, 1, 5, 5, 0], 6),
        (3, [1, 2, 2, 2, 0], 4),
        (3, [1, np.nan, np.nan, np.nan, 0], 4),
        (3, [np.nan, np.nan, np.nan, 0], 3),
        (4, [1, 2, 2, 2], 4),
    ],
)
def test_patience_is_counted_exactly(patience, scores, epochs):
    network, history = watched(scores, patient(patience), epochs=9 if epochs < len(scores) else None)
    assert len(history) == epochs
    seen = scores[:epochs]
    if not np.isnan(seen).all():
        np.testing.assert_array_equal(network.params, history[int(np.nanargmin(seen))][0])


@pytest.mark.parametrize(
    "scores, epochs, best",
    [
        ([8.0, 7.5, 7.0, 0.0], 3, 2),  # each a little lower: none is waited for, the last is the best
        ([8.0, 7.5, 6.25, 6.0, 6.0, 0.0], 5, 3),  # 6.25 is lower than 7.5 by more than 1
        ([8.0, 7.0, 7.0, 0.0], 3, 1),  # 7.0 is lower than 8.0 by 1, and not by more
        ([8.0, 6.0, np.nan, 4.0, np.nan, 3.5, 0.0], 6, 5),
        ([np.nan, 8.0, np.nan, np.nan, 0.0], 4, 1),
        ([8.0, 9.0, 6.5, 9.0, 4.0, 9.0, 9.0, 0.0], 7, 4),
    ],
)
def test_min_delta_asks_for_more_than_a_little_and_the_weights_follow_the_lowest(scores, epochs, best):
    network, history = watched(scores, patient(2, 1.0), epochs=9)
    assert len(history) == epochs
    np.testing.assert_array_equal(network.params, history[best][0])


def scikit_learns_epochs(scores, patience, tol):
    """The rule of scikit-learn's MLPClassifier, `_update_no_improvement_count`: how many epochs it trains."""
    best, waited = np.inf, 0
    for epoch, score in enumerate(scores, 1):
        waited = waited + 1 if score > best - tol else 0
        best = min(best, score)
        if waited >= patience:
            return epoch
    return len(scores)


@pytest.mark.parametrize("tol", [0.0, 0.01, 0.3])
@pytest.mark.parametrize("patience", [1, 3])
def test_the_rule_is_scikit_learns(patience, tol):
    for seed in range(50):
        scores = np.random.default_rng(seed).random(30)
        best = Best(make(), tol)
        for epoch, score in enumerate(scores, 1):  # noqa: B007
            best.take(score)
            if best.waited >= patience:
                break
        assert epoch == scikit_learns_epochs(scores, patience, tol)
        assert best.score == scores[:epoch].min()


def test_the_first_weights_stay_while_no_score_is_a_number():
    network, history = watched([np.nan, np.inf, np.nan], best_weights)
    np.testing.assert_array_equal(network.params, history[0][0])


@pytest.mark.parametrize(
    "patience, min_delta, message", [(0, 0.0, "patience: 0"), (1.5, 0.0, "patience: 1.5"), (2, -1.0, "min_delta: -1.0")]
)
def test_early_stopping_refuses_at_the_call(patience, min_delta, message):
    steps = train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4)
    with pytest.raises(ValueError, match=message):
        early_stopping(steps, lambda _: 0.0, patience, min_delta)


@pytest.mark.parametrize(
    "wrap", [best_weights, patient(2), patient(5, 1e-3)], ids=["best_weights", "patience 2", "patience 5"]
)
def test_each_replica_ends_as_it_would_alone(wrap):
    rng = np.random.default_rng(8)
    x, held_out = rng.standard_normal((2, 40, 2))
    y, wanted = rng.integers(0, 2, (2, 40, 1)).astype(float)  # nothing to learn: the held-out loss soon rises

    def ended(seed):
        network = make(seed, batch_norm=True, dropout=0.2)
        steps = train(network, BCE, Adam(0.03), x, y, epochs=30, batch_size=16)
        epochs = 0
        for step in wrap(steps, lambda network: BCE.value(network.decision_function(held_out), wanted)):
            epochs += step.ends_epoch
        return network, epochs

    together, epochs = ended([0, 1, 2, 3])
    alone = [ended(seed) for seed in range(4)]
    for r, (network, _) in enumerate(alone):
        np.testing.assert_array_equal(together.params[r], network.params)
        np.testing.assert_array_equal(together.state[r], network.state)
    assert epochs == max(own for _, own in alone)


@pytest.mark.parametrize("each", [2, "epoch"])
def test_how_often_a_step_is_handed_over_changes_nothing(each):
    def ended(**options):
        network = make(SEEDS, batch_norm=True)
        steps = train(network, BCE, Adam(0.1), X, Y, epochs=30, batch_size=4, **options)
        *_, last = early_stopping(steps, lambda network: BCE.value(network.decision_function(-X), Y), 3)
        return network, last.epoch

    (often, epochs), (seldom, same) = ended(), ended(each=each)
    assert epochs == same < 29
    np.testing.assert_array_equal(often.params, seldom.params)
    np.testing.assert_array_equal(often.state, seldom.state)


def test_replica_out_of_patience_gets_no_better_while_others_go_on():
    scores = [[1, 9], [2, 8], [2, 7], [0, 6], [0, 7], [0, 7]]  # alone, the first would have stopped after three
    network, history = watched(scores, patient(2), network=make([0, 1]))
    assert len(history) == 6
    np.testing.assert_array_equal(network.params[0], history[0][0][0])
    np.testing.assert_array_equal(network.params[1], history[3][0][1])


def test_stopping_early_ends_the_training_beneath_it():
    optimizer = SGD(0.5)
    network = make()
    steps = train(network, BCE, optimizer, X, Y, epochs=9, batch_size=4, schedule=schedules.exponential(0.5))
    for _ in early_stopping(steps, lambda _: 0.0, patience=1):
        pass
    del steps
    assert optimizer.learning_rate == 0.5


def test_steps_pass_through_unchanged():
    plain = train(make(), BCE, SGD(0.5), X, Y, epochs=2, batch_size=4)
    wrapped = best_weights(train(make(), BCE, SGD(0.5), X, Y, epochs=2, batch_size=4), lambda _: 0.0)
    pairs = [(a.index, b.index, float(a.loss), float(b.loss)) for a, b in zip(plain, wrapped, strict=True)]
    assert all(i == j and a == b for i, j, a, b in pairs)
    assert len(pairs) == 6
