import copy
import itertools
import pickle

import numpy as np
import pytest
from scipy import sparse
from tqdm import tqdm

from gradlab.nn import (
    SGD,
    Adam,
    BinaryCrossEntropy,
    Dense,
    DivergenceError,
    Network,
    SoftmaxCrossEntropy,
    SquaredError,
    best_weights,
    early_stopping,
    mlp,
    schedules,
    train,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((10, 2))
Y = (X[:, :1] > 0).astype(float)
IDS = np.arange(10.0)[:, np.newaxis]  # a feature that names the row
SEEDS = (0, 1, 5)
BCE = BinaryCrossEntropy()


def make(seed=0, **options):
    return Network(mlp([2, 4, 4, 1], "tanh", **options), seed=seed)


def fitted(network=None, optimizer=None, x=X, y=Y, *, loss=BCE, epochs=3, batch_size=4, **options):
    network = make() if network is None else network
    for _ in train(network, loss, optimizer or SGD(0.5), x, y, epochs=epochs, batch_size=batch_size, **options):
        pass
    return network


def rows(network, epochs=1, batch_size=4, **options):
    """The rows of each batch, of each epoch, by their ids."""
    batches = [[] for _ in range(epochs)]
    for step in train(network, BCE, SGD(), IDS, np.zeros(10), epochs=epochs, batch_size=batch_size, **options):
        batches[step.epoch].append(step.tape[0][..., 0].astype(int).copy())
    return batches


# Batches


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 1000])
def test_every_row_comes_exactly_once_an_epoch(batch_size):
    for batches in rows(Network([Dense(1, 1)]), 5, batch_size):
        assert sorted(np.concatenate(batches)) == list(range(10))


def test_last_short_batch_is_used_in_its_own_epoch():
    for batches in rows(Network([Dense(1, 1)]), 3, 4):
        assert [len(batch) for batch in batches] == [4, 4, 2]


def test_rows_are_permuted_anew_each_epoch():
    orders = [tuple(np.concatenate(batches)) for batches in rows(Network([Dense(1, 1)]), 5)]
    assert len(set(orders)) == 5
    assert tuple(range(10)) not in orders


def test_rows_are_mixed_across_batches():
    first = {frozenset(batches[0].tolist()) for batches in rows(Network([Dense(1, 1)]), 20)}
    assert len(first) > 10  # shuffling the order of fixed batches gives 3


def test_without_shuffle_rows_come_in_order():
    for batches in rows(Network([Dense(1, 1)]), 3, shuffle=False):
        assert np.concatenate(batches).tolist() == list(range(10))


def test_replicas_have_orders_of_their_own():
    (batches,) = rows(Network([Dense(1, 1)], seed=SEEDS), batch_size=10)
    orders = batches[0]
    assert len({tuple(order) for order in orders}) == 3
    for r, seed in enumerate(SEEDS):
        ((alone,),) = rows(Network([Dense(1, 1)], seed=seed), batch_size=10)
        assert orders[r].tolist() == alone.tolist()


def test_targets_and_weights_go_with_their_rows():
    weights = np.arange(1.0, 11.0)
    network = Network([Dense(1, 1)], seed=SEEDS)
    for step in train(network, SquaredError(), SGD(1e-4), IDS, IDS * 2, epochs=2, batch_size=3, weights=weights):
        x, logits = step.tape[0], step.tape[-1]
        w = weights[x[..., 0].astype(int)]
        errors = 0.5 * (logits - 2 * x)[..., 0] ** 2
        np.testing.assert_allclose(step.loss, (w * errors).sum(axis=-1) / w.sum(axis=-1), rtol=1e-13)


def test_data_of_each_replica_are_permuted_apart():
    x = np.stack([IDS, IDS + 100.0, IDS + 200.0])
    network = Network([Dense(1, 1)], seed=SEEDS)
    (step,) = train(network, SquaredError(), SGD(1e-9), x, x * 2, epochs=1, batch_size=10)
    seen = step.tape[0][..., 0]
    np.testing.assert_array_equal(np.sort(seen, axis=-1), x[..., 0])
    errors = 0.5 * (step.tape[-1] - 2 * step.tape[0]) ** 2
    np.testing.assert_allclose(step.loss, errors.mean(axis=(-2, -1)), rtol=1e-13)


# Steps


def test_steps_are_counted_and_epochs_end():
    steps = list(train(make(), BCE, SGD(), X, Y, epochs=2, batch_size=4))
    assert [(s.epoch, s.index, s.ends_epoch) for s in steps] == [
        (0, 0, False),
        (0, 1, False),
        (0, 2, True),
        (1, 3, False),
        (1, 4, False),
        (1, 5, True),
    ]


@pytest.mark.parametrize("weights", [None, np.arange(1.0, 11.0)], ids=["plain", "weighted"])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_losses_are_right_in_the_loop_and_after_it(seed, weights):
    network = Network([Dense(1, 1)], seed=seed)
    x, y = IDS / 10, (IDS > 4).astype(float)
    expected, now = [], []
    sums = totals = 0.0
    steps = []
    for step in train(network, BCE, SGD(1.0), x, y, epochs=3, batch_size=4, weights=weights):
        z = step.tape[-1][..., 0].copy()
        row = np.rint(step.tape[0][..., 0] * 10).astype(int)
        w = np.ones(10)[row] if weights is None else weights[row]
        losses = np.logaddexp(0.0, z) - z * y[row, 0]
        if step.index % 3 == 0:
            sums = totals = 0.0
        sums, totals = sums + (w * losses).sum(axis=-1), totals + w.sum(axis=-1)
        expected.append(((w * losses).sum(axis=-1) / w.sum(axis=-1), sums / totals))
        now.append((step.loss, step.running_loss))
        steps.append(step)
    np.testing.assert_allclose(now, expected, rtol=1e-13)
    np.testing.assert_array_equal([(step.loss, step.running_loss) for step in steps], now)


def test_loss_is_that_before_the_step():
    network = make()
    before = BCE.value(network.decision_function(X), Y)
    (step,) = train(network, BCE, SGD(1.0), X, Y, epochs=1, batch_size=10, shuffle=False)
    assert step.loss == before
    assert BCE.value(network.decision_function(X), Y) < before


def test_training_lowers_the_loss():
    network = make()
    before = BCE.value(network.decision_function(X), Y)
    fitted(network, Adam(0.05), epochs=100)
    assert BCE.value(network.decision_function(X), Y) < 0.1 * before


def test_break_stops():
    network = make()
    for step in train(network, BCE, SGD(), X, Y, epochs=100, batch_size=4):
        if step.index == 4:
            after = network.params.copy()
            break
    np.testing.assert_array_equal(network.params, after)


def test_progress_bar_wraps_the_steps():
    steps = tqdm(train(make(), BCE, SGD(), X, Y, epochs=2, batch_size=4), disable=True)
    assert sum(step.ends_epoch for step in steps) == 2


# Arguments


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "epochs: 0 is not a whole number of at least 1"),
        ({"epochs": 1.5}, "epochs: 1.5"),
        ({"batch_size": 0}, "batch_size: 0 is not a whole number of at least 1"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": None}, "seed: None"),
        ({"seed": [0, 1]}, "seed: 2 seeds for 1 replicas"),
        ({"l1": -1.0}, "l1: -1.0"),
        ({"l2": np.nan}, "l2: nan"),
        ({"clip_norm": -1.0}, "clip_norm: -1.0"),
        ({"x": X[:0], "y": Y[:0]}, r"x: an array of shape \(0, 2\)"),
        ({"x": X[0]}, r"x: an array of shape \(2,\)"),
        ({"x": X[:, :1]}, r"Dense\(2, 4\) takes \(samples, 2 features\)"),
        ({"y": Y[:9]}, r"y: an array of shape \(9, 1\) does not fit x of shape \(10, 2\)"),
        ({"y": np.zeros(9)}, r"y: an array of shape \(9, 1\) does not fit"),
        ({"y": np.zeros((10, 2))}, r"y: an array of shape \(10, 2\) .* 1 output"),
        ({"y": np.zeros((1, 10))}, r"y: an array of shape \(1, 10\)"),
        ({"y": np.zeros((3, 10, 1))}, r"y: an array of shape \(3, 10, 1\)"),
        ({"y": Y * 2 - 1}, r"y: BinaryCrossEntropy\(\) takes targets from 0 to 1, not -1 to 1"),
        ({"y": Y + 1}, "takes targets from 0 to 1, not 1 to 2"),
        ({"weights": np.ones(9)}, r"weights of shape \(9,\) do not fit"),
        ({"weights": -np.ones(10)}, "weights: they must be finite, at least 0, and not all 0"),
        ({"weights": np.zeros(10)}, "weights: they must be"),
        ({"weights": np.full(10, np.nan)}, "weights: they must be"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_call(changes, message):
    arguments = {"x": X, "y": Y, "epochs": 1, "batch_size": 4} | changes
    network = make()
    with pytest.raises(ValueError, match=message):
        train(network, BCE, SGD(), **arguments)
    np.testing.assert_array_equal(network.params, make().params)


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "softplus", "identity"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 7])
def test_x_that_is_not_finite_is_refused_with_its_place(row, value, activation, seed):
    x = X.copy()
    x[row, 1] = value
    with pytest.raises(ValueError, match=rf"x: {value} at \[{row}, 1\] is not a finite number"):
        train(Network(mlp([2, 4, 1], activation), seed=seed), BCE, SGD(), x, Y, epochs=1, batch_size=4)


def test_y_that_is_not_finite_is_refused_with_its_place():
    y = Y.copy()
    y[3] = np.nan
    with pytest.raises(ValueError, match=r"y: nan at \[3, 0\] is not a finite number"):
        train(make(), BCE, SGD(), X, y, epochs=1, batch_size=4)


def test_targets_of_squared_error_may_be_anything_finite():
    fitted(y=Y * 10 - 5, loss=SquaredError(), optimizer=SGD(1e-3))


def test_flat_targets_are_taken_for_one_output():
    np.testing.assert_array_equal(fitted(y=Y[:, 0]).params, fitted(y=Y).params)


def test_flat_targets_are_refused_for_several_outputs():
    with pytest.raises(ValueError, match=r"y: an array of shape \(10,\).* 2 output"):
        train(Network([Dense(2, 2)]), SoftmaxCrossEntropy(), SGD(), X, Y[:, 0], epochs=1, batch_size=4)


def test_integers_and_lists_are_taken():
    expected = fitted(x=np.rint(X), y=Y).params
    np.testing.assert_array_equal(fitted(x=np.rint(X).astype(int), y=Y.astype(int)).params, expected)
    np.testing.assert_array_equal(fitted(x=np.rint(X).tolist(), y=Y.tolist()).params, expected)


def test_users_data_stay_as_they_are():
    x, y, weights = X.copy(), Y.copy(), np.arange(1.0, 11.0)
    fitted(x=x, y=y, weights=weights)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weights, np.arange(1.0, 11.0))


# Sample weights


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_whole_weights_equal_repeated_rows(seed):
    counts = np.array([1, 2, 0, 3, 1, 1, 4, 0, 1, 2])
    weighted = fitted(make(seed), weights=counts, batch_size=100, epochs=20)
    repeated = fitted(
        make(seed), x=np.repeat(X, counts, axis=0), y=np.repeat(Y, counts, axis=0), batch_size=100, epochs=20
    )
    np.testing.assert_allclose(weighted.params, repeated.params, rtol=0, atol=1e-12)


def test_rows_of_weight_zero_might_as_well_be_absent():
    counts = np.array([1.0, 1, 0, 1, 1, 0, 1, 1, 0, 0])
    weighted = fitted(weights=counts, batch_size=10, epochs=20)
    absent = fitted(x=X[counts > 0], y=Y[counts > 0], batch_size=10, epochs=20)
    np.testing.assert_allclose(weighted.params, absent.params, rtol=0, atol=1e-12)


def test_batch_of_weight_zero_moves_nothing():
    network = make()
    weights = np.repeat([1.0, 0.0], 5)
    steps = train(network, BCE, SGD(0.5), X, Y, epochs=1, batch_size=5, weights=weights, shuffle=False)
    next(steps)
    after_first = network.params.copy()
    next(steps)
    np.testing.assert_array_equal(network.params, after_first)


def test_scale_of_the_weights_does_not_matter():
    np.testing.assert_allclose(fitted(weights=np.full(10, 7.0)).params, fitted().params, rtol=0, atol=1e-13)


def test_weights_of_replicas_may_differ():
    counts = np.stack([np.arange(1.0, 11.0), np.ones(10), np.arange(10.0, 0.0, -1.0)])
    x = np.broadcast_to(X, (3, 10, 2))
    together = fitted(make(SEEDS), x=x, weights=counts)
    for r, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(together.params[r], fitted(make(seed), weights=counts[r]).params)


# Seeds


def test_same_seed_gives_the_same_training():
    np.testing.assert_array_equal(fitted(seed=3).params, fitted(seed=3).params)


def test_another_seed_gives_another_order():
    assert not np.array_equal(fitted(seed=0).params, fitted(seed=1).params)


def test_order_depends_on_the_networks_seed_too():
    orders = [tuple(rows(Network([Dense(1, 1)], seed=seed), batch_size=10)[0][0]) for seed in range(4)]
    assert len(set(orders)) == 4


def test_replicas_may_be_given_a_seed_each():
    together = fitted(make(SEEDS), seed=[7, 8, 0])
    for r, (seed, own) in enumerate(zip([7, 8, 0], SEEDS, strict=True)):
        np.testing.assert_array_equal(together.params[r], fitted(make(own), seed=seed).params)


# Penalties


def first_step(**options):
    """The change of the parameters by one step of length 1, and the data's gradient."""
    network = make(bias_init="normal")
    start = network.params.copy()
    data = {"shuffle": False, "epochs": 1, "batch_size": 10} | options
    next(train(network, BCE, SGD(1.0), X, Y, **data))
    return start, start - network.params, network.grads, network.weight_mask


@pytest.mark.parametrize("batch_size", [1, 5, 10])
def test_penalties_pull_at_weights_only_whatever_the_batch(batch_size):
    start, moved, grads, mask = first_step(l1=0.3, l2=0.7, batch_size=batch_size)
    expected = grads + mask * (0.3 * np.sign(start) + 0.7 * start)
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-14)


def test_l2_alone_and_l1_alone():
    start, moved, grads, mask = first_step(l2=0.7)
    np.testing.assert_allclose(moved - grads, 0.7 * mask * start, rtol=0, atol=1e-14)
    start, moved, grads, mask = first_step(l1=0.7)
    np.testing.assert_allclose(moved - grads, 0.7 * mask * np.sign(start), rtol=0, atol=1e-14)


@pytest.mark.parametrize("options", [{"l1": 0.3}, {"l2": 0.3}, {"clip_norm": 1e-3}], ids=str)
def test_grads_and_loss_stay_those_of_the_data(options):
    np.testing.assert_array_equal(first_step(**options)[2], first_step()[2])
    penalised = next(train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4, **options))
    assert penalised.loss == next(train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4)).loss


# Clipping


def test_long_gradient_is_shortened_to_the_norm():
    _, moved, grads, _ = first_step(clip_norm=0.01)
    np.testing.assert_allclose(moved, grads * 0.01 / np.linalg.norm(grads), rtol=1e-11, atol=1e-15)


def test_short_gradient_is_left_alone():
    np.testing.assert_array_equal(first_step(clip_norm=100.0)[1], first_step()[1])


def test_penalties_are_clipped_too():
    start, moved, grads, mask = first_step(clip_norm=0.01, l1=0.3, l2=0.7)
    whole = grads + mask * (0.3 * np.sign(start) + 0.7 * start)
    np.testing.assert_allclose(moved, whole * 0.01 / np.linalg.norm(whole), rtol=1e-11, atol=1e-15)


def test_each_replica_is_clipped_on_its_own():
    together = fitted(make(SEEDS), clip_norm=0.05, l2=0.1)
    for r, seed in enumerate(SEEDS):
        np.testing.assert_array_equal(together.params[r], fitted(make(seed), clip_norm=0.05, l2=0.1).params)


def test_clipping_survives_gradients_whose_square_overflows():
    network = Network([Dense(2, 1)])
    start = network.params.copy()
    next(train(network, SquaredError(), SGD(1.0), X * 1e100, Y, epochs=1, batch_size=10, clip_norm=0.5))
    assert np.abs(network.grads).max() > 1e160
    assert np.linalg.norm(network.params - start) == pytest.approx(0.5, rel=1e-12)


def test_clipping_survives_gradients_of_zero():
    network = Network([Dense(2, 1)])
    start = network.params.copy()
    y = network.decision_function(X)
    next(train(network, SquaredError(), SGD(1.0), X, y, epochs=1, batch_size=10, clip_norm=0.5, shuffle=False))
    np.testing.assert_array_equal(network.params, start)


# Schedules


def test_schedule_moves_the_learning_rate_step_by_step():
    optimizer = SGD(0.1)
    times = []

    def schedule(time):
        times.append(time)
        return 1.0 / (1.0 + time)

    rates = [
        optimizer.learning_rate for _ in train(make(), BCE, optimizer, X, Y, epochs=2, batch_size=4, schedule=schedule)
    ]
    assert times == pytest.approx([0.2, 0.6, 0.9, 1.2, 1.6, 1.9])  # the middles of batches of 4, 4 and 2 of 10 rows
    assert rates == pytest.approx([0.1 / (1.0 + time) for time in times])
    assert optimizer.learning_rate == 0.1


def test_constant_schedule_changes_nothing():
    np.testing.assert_array_equal(fitted(schedule=schedules.constant()).params, fitted().params)


def test_schedule_sets_the_length_of_a_step():
    network = make()
    start = network.params.copy()
    next(train(network, BCE, SGD(0.5), X, Y, epochs=1, batch_size=10, schedule=lambda time: 0.25))
    np.testing.assert_allclose(start - network.params, 0.125 * network.grads, rtol=0, atol=1e-15)


def test_learning_rate_is_put_back_after_break():
    optimizer = SGD(0.1)
    arguments = {"epochs": 2, "batch_size": 4, "schedule": schedules.exponential(0.5)}
    for step in train(make(), BCE, optimizer, X, Y, **arguments):
        if step.index == 4:
            assert optimizer.learning_rate < 0.1
            break
    assert optimizer.learning_rate == 0.1


def test_learning_rate_is_put_back_after_an_error():
    optimizer = SGD(0.1)

    def loop():
        for _ in train(make(), BCE, optimizer, X, Y, epochs=1, batch_size=4, schedule=lambda time: 0.5):
            assert optimizer.learning_rate == 0.05
            raise KeyError

    with pytest.raises(KeyError):
        loop()
    assert optimizer.learning_rate == 0.1


# Divergence


def diverged(network, optimizer, x=X, y=Y, loss=BCE, **options):
    with pytest.raises(DivergenceError) as caught:
        fitted(network, optimizer, x, y, loss=loss, **options)
    return caught.value


@pytest.mark.parametrize("loss", [BCE, SquaredError()], ids=repr)
@pytest.mark.parametrize("optimizer", [lambda: SGD(1e200), lambda: SGD(1e120, 0.9)], ids=["sgd", "momentum"])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_relu_network_with_a_huge_rate_diverges_with_a_word(seed, optimizer, loss):
    network = Network(mlp([2, 16, 16, 1], "relu"), seed=seed)
    error = diverged(network, optimizer(), loss=loss, epochs=50)
    assert error.epoch == error.step // 3
    assert np.isfinite(error.last_loss)
    for words in (f"epoch {error.epoch}, step {error.step}", f"layer {error.layer} (", f"seed {error.seed}"):
        assert words in str(error)
    assert f"the last finite loss was {error.last_loss:.6g}" in str(error)


def test_divergence_names_the_layer_where_it_began():
    network = Network(mlp([2, 4, 4, 1], "relu", "constant"))
    network.layers[2].W[...] = 1e308
    error = diverged(network, SGD(), x=np.ones((10, 2)))
    assert (error.epoch, error.step, error.layer, error.quantity) == (0, 0, 2, "output")
    assert np.isnan(error.last_loss)
    assert "the output of layer 2 (Dense(4, 4)), seed 0, is not finite. A smaller" in str(error)


def test_divergence_names_the_delta_where_it_began():
    network = Network([Dense(2, 2, "constant"), Dense(2, 1, "constant")])
    network.layers[0].W[...] = 0.0
    network.layers[1].W[...] = 1e200
    error = diverged(network, SGD(), y=np.full(10, 1e200), loss=SquaredError())
    assert (error.layer, error.quantity) == (1, "delta")


def test_divergence_names_the_gradient_where_it_began():
    error = diverged(Network([Dense(2, 1)]), SGD(), x=X * 1e160, y=X[:, 0] * 1e160, loss=SquaredError())
    assert (error.layer, error.quantity) == (0, "gradient")


def test_divergence_names_the_parameters():
    error = diverged(Network([Dense(2, 1, gain=1e3)]), SGD(1e308), loss=SquaredError(), batch_size=10)
    assert (error.epoch, error.step, error.layer, error.quantity) == (0, 0, 0, "parameters")


def test_divergence_reports_the_loss_of_the_step_before():
    network = Network([Dense(2, 1)])
    losses = []
    steps = train(network, BCE, SGD(1e308), X * 10, Y, epochs=9, batch_size=4)
    with pytest.raises(DivergenceError) as caught:
        losses.extend(float(step.loss) for step in steps)
    assert caught.value.step == len(losses) > 0
    assert caught.value.last_loss == losses[-1]


def test_divergence_of_one_replica_is_that_of_the_network_alone():
    x = np.stack([X, X * 1e100, X])
    together = diverged(Network([Dense(2, 1)], seed=[4, 9, 6]), SGD(1e-3), x, X[:, 0], SquaredError())
    alone = diverged(Network([Dense(2, 1)], seed=9), SGD(1e-3), x[1], X[:, 0], SquaredError())
    assert together.seed == 9
    assert np.isfinite(alone.last_loss)
    assert vars(together) == vars(alone)


def test_large_finite_gradients_are_no_divergence():
    fitted(Network([Dense(2, 1)]), SGD(1e-300), x=X * 1e100, loss=SquaredError())


# Best weights and early stopping


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


def test_min_delta_asks_for_more_than_a_little():
    _, history = watched([1.0, 0.95, 0.91, 0.89, 0.1], patient(2, 0.1), epochs=9)
    assert len(history) == 3
    _, history = watched([1.0, 0.95, 0.85, 0.8, 0.8], patient(2, 0.1), epochs=9)
    assert len(history) == 5


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


def test_live_arrays_are_written_over_by_the_next_step():
    first, second = itertools.islice(train(make(), BCE, SGD(0.5), X, Y, epochs=1, batch_size=4), 2)
    assert all(np.shares_memory(a, b) for a, b in zip(first.tape[1:], second.tape[1:], strict=True))
    assert first.network is second.network


def test_training_in_two_goes_continues_the_optimizer():
    optimizer = Adam(0.01)
    network = fitted(make(), optimizer, epochs=2)
    assert optimizer.t == 6
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    np.testing.assert_array_equal(
        fitted(network, optimizer, seed=1).params, fitted(twin, twin_optimizer, seed=1).params
    )


def test_divergence_error_survives_a_trip_between_processes():
    error = DivergenceError(3, 41, 2, "output", 7, 0.25, "ReLU()")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_class_in_place_of_an_object_is_named():
    x, y = np.zeros((4, 2)), np.zeros(4)
    with pytest.raises(ValueError, match=r"loss: .*BinaryCrossEntropy.* is not a Loss"):
        train(Network(mlp([2, 1])), BinaryCrossEntropy, SGD(), x, y, epochs=1, batch_size=2)


def test_training_without_the_inputs_gradient_is_the_same_training():
    x, y = np.random.default_rng(0).standard_normal((20, 2)), np.arange(20.0) % 2
    with_it, without = (Network(mlp([2, 4, 1], "tanh")) for _ in range(2))
    for step in train(with_it, BinaryCrossEntropy(), Adam(), x, y, epochs=3, batch_size=8):
        assert np.isfinite(step.deltas[0]).all()
    for step in train(without, BinaryCrossEntropy(), Adam(), x, y, epochs=3, batch_size=8, input_gradient=False):
        assert np.isnan(step.deltas[0]).all()
        assert np.isfinite(step.deltas[1]).all()
    np.testing.assert_array_equal(with_it.params, without.params)


def test_divergence_is_named_without_the_inputs_gradient():
    x, y = np.random.default_rng(0).standard_normal((20, 2)), np.arange(20.0) % 2
    network = Network(mlp([2, 8, 8, 1], "relu"))
    with pytest.raises(DivergenceError) as caught:
        for _ in train(network, SquaredError(), SGD(1e6), x, y, epochs=50, batch_size=8, input_gradient=False):
            pass
    assert caught.value.quantity != "delta" or caught.value.layer > 0


@pytest.mark.parametrize("loss", [BinaryCrossEntropy, SquaredError, lambda: SquaredError(on="sigmoid")])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_slopes_that_are_noted_are_those_of_the_loss(loss, seed):
    """Weights of 1 take the way that is not noted; n is 4 or 2, so 1/n has no rounding."""
    noted, weighted = make(seed), make(seed)
    for one, other in zip(
        train(noted, loss(), SGD(0.5), X, Y, epochs=3, batch_size=4),
        train(weighted, loss(), SGD(0.5), X, Y, epochs=3, batch_size=4, weights=np.ones(10)),
        strict=True,
    ):
        np.testing.assert_array_equal(one.deltas[-1], other.deltas[-1])
    np.testing.assert_array_equal(noted.params, weighted.params)


def test_a_loss_of_ones_own_is_asked_at_every_step():
    class Counting(BinaryCrossEntropy):
        asked = 0

        def gradient(self, *arguments):
            self.asked += 1
            return super().gradient(*arguments)

    loss = Counting()
    own = fitted(loss=loss)
    assert loss.asked == 9
    np.testing.assert_array_equal(own.params, fitted().params)


# What scikit-learn does otherwise


def test_alpha_is_divided_by_the_batchs_weight():
    for weights, totals in ((None, [4.0, 4.0, 2.0]), (np.arange(1.0, 11.0), [10.0, 26.0, 19.0])):
        network = make()
        before = network.params.copy()
        options = {"weights": weights, "shuffle": False}
        steps = train(network, BCE, SGD(0.5), X, Y, epochs=1, batch_size=4, alpha=0.3, **options)
        for step, total in zip(steps, totals, strict=True):
            expected = before - 0.5 * (network.grads + 0.3 / total * network.weight_mask * before)
            np.testing.assert_allclose(network.params, expected, rtol=1e-14, err_msg=str(step.index))
            before = network.params.copy()


def test_alpha_and_a_batch_of_weight_zero():
    network = make()
    before = network.params.copy()
    for _ in train(network, BCE, SGD(0.5), X[:4], Y[:4], epochs=1, batch_size=2, alpha=0.3, shuffle=False,
                   weights=np.array([0.0, 0.0, 1.0, 1.0])):  # fmt: skip
        break
    np.testing.assert_array_equal(network.params, before)


def test_an_order_of_ones_own():
    def turned(order):
        return np.roll(order, 1)

    steps = rows(Network(mlp([1, 2, 1], "tanh")), epochs=2, shuffle=turned)
    assert [np.concatenate(epoch).tolist() for epoch in steps] == [
        [9, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        [8, 9, 0, 1, 2, 3, 4, 5, 6, 7],
    ]


@pytest.mark.parametrize("make_sparse", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.coo_array])
def test_sparse_rows_train_as_dense_ones(make_sparse):
    zeros = X * (X > 0)
    np.testing.assert_array_equal(fitted(x=make_sparse(zeros)).params, fitted(x=zeros).params)


def test_sparse_rows_keep_the_networks_float_type():
    network = Network(mlp([2, 3, 1]), dtype=np.float32)
    for step in train(network, BCE, SGD(), sparse.csr_array(X), Y, epochs=1, batch_size=4):
        assert {x.dtype for x in step.tape} == {np.dtype(np.float32)}


def test_sparse_data_that_do_not_fit_are_refused():
    bad = sparse.csr_array(X)
    bad.data[3] = np.nan
    with pytest.raises(ValueError, match=r"x: nan at \[1, 1\] is not a finite number"):
        fitted(x=bad)
    with pytest.raises(ValueError, match="a sparse array is for one network"):
        fitted(make(SEEDS), x=sparse.csr_array(X))


def test_a_loss_that_is_changed_is_changed_from_the_next_step_on():
    loss = SquaredError()
    network = make()
    for step in train(network, loss, SGD(0.1), X, Y, epochs=3, batch_size=10, shuffle=False):
        a = step.tape[-1] if step.epoch < 2 else 1.0 / (1.0 + np.exp(-step.tape[-1]))
        slope = 1.0 if step.epoch < 2 else a * (1.0 - a)
        np.testing.assert_allclose(step.deltas[-1], (a - Y) * slope / 10.0, rtol=1e-12)
        if step.epoch == 1:
            loss.on = "sigmoid"
