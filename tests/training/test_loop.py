"""The loop hands over the steps it is asked for, and what is changed at a hand-over holds from the next step on."""

import copy

import numpy as np
import pytest
from tqdm import tqdm
from trainings import BCE, IDS, SEEDS, X, Y, fitted, make

from gradlab.nn import (
    SGD,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    LeakyReLU,
    Network,
    SquaredError,
    mlp,
    schedules,
)
from gradlab.training import train


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
        ({"x": X[:, :1]}, r"Dense\(2, 4\) takes 2 features, but x"),
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


def test_training_in_two_goes_continues_the_optimizer():
    optimizer = Adam(0.01)
    network = fitted(make(), optimizer, epochs=2)
    assert optimizer.t == 6
    twin, twin_optimizer = copy.deepcopy((network, optimizer))
    np.testing.assert_array_equal(
        fitted(network, optimizer, seed=1).params, fitted(twin, twin_optimizer, seed=1).params
    )


def test_a_class_in_place_of_an_object_is_named():
    x, y = np.zeros((4, 2)), np.zeros(4)
    with pytest.raises(ValueError, match=r"loss: .*BinaryCrossEntropy.* is not a Loss"):
        train(Network(mlp([2, 1])), BinaryCrossEntropy, SGD(), x, y, epochs=1, batch_size=2)


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


def test_a_loss_that_is_changed_is_changed_from_the_next_step_on():
    loss = SquaredError()
    network = make()
    for step in train(network, loss, SGD(0.1), X, Y, epochs=3, batch_size=10, shuffle=False):
        a = step.tape[-1] if step.epoch < 2 else 1.0 / (1.0 + np.exp(-step.tape[-1]))
        slope = 1.0 if step.epoch < 2 else a * (1.0 - a)
        np.testing.assert_allclose(step.deltas[-1], (a - Y) * slope / 10.0, rtol=1e-12)
        if step.epoch == 1:
            loss.on = "sigmoid"


# How often a step is handed over


def handed_over(each, *, network=None, optimizer=None, epochs=3, batch_size=4, **options):
    """Train on 10 rows; return the network, and of every step handed over when it was and the parameters after it."""
    network = make(SEEDS, batch_norm=True, dropout=0.3) if network is None else network
    seen = []
    steps = train(
        network, BCE, optimizer or Adam(0.05), X, Y, epochs=epochs, batch_size=batch_size, each=each, **options
    )
    for step in steps:
        seen.append((step.epoch, step.index, step.ends_epoch, step.ends_training, network.params.copy()))
    return network, seen


@pytest.mark.parametrize(
    "each, wanted",
    [
        ("step", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (1, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (2, [1, 3, 4, 5, 7, 9]),  # two epochs of five batches: after every second, and at each epoch's end
        (4, [3, 4, 7, 9]),
        (5, [4, 9]),
        (np.int64(7), [4, 6, 9]),
        ("epoch", [4, 9]),
    ],
)
def test_the_steps_that_are_asked_for_are_handed_over(each, wanted):
    options = {"epochs": 2, "batch_size": 2, "schedule": schedules.exponential(0.7), "clip_norm": 0.5}
    every, all_steps = handed_over("step", **options)
    network, seen = handed_over(each, **options)
    assert [index for _, index, *_ in seen] == wanted
    assert [(ends, over) for *_, ends, over, _ in seen] == [(i in (4, 9), i == 9) for i in wanted]
    for *when, params in seen:
        *same, expected = all_steps[when[1]]
        assert when == same
        np.testing.assert_array_equal(params, expected)
    np.testing.assert_array_equal(network.params, every.params)
    np.testing.assert_array_equal(network.state, every.state)


@pytest.mark.parametrize("each", [2, "epoch"])
def test_tape_and_deltas_are_the_last_batchs_and_the_running_loss_covers_all(each):
    each_step = list(train(make(), BCE, SGD(0.5), X, Y, epochs=2, batch_size=4))
    for step in train(make(), BCE, SGD(0.5), X, Y, epochs=2, batch_size=4, each=each):
        same = each_step[step.index]
        assert step.loss == same.loss
        assert step.running_loss == same.running_loss
        for one, other in zip([*step.tape, *step.deltas], [*same.tape, *same.deltas], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("each", [0, -1, 1.5, True, None, "epochs", "2", ["step"]])
def test_what_is_no_number_of_steps_is_refused(each):
    network = make()
    with pytest.raises(ValueError, match=r"each: .* is not .*whole number of at least 1"):
        train(network, BCE, SGD(), X, Y, epochs=1, batch_size=4, each=each)
    np.testing.assert_array_equal(network.params, make().params)


def test_a_state_is_that_of_the_epochs_end_however_seldom_a_step_is_handed_over():
    options = {"epochs": 3, "batch_size": 4}
    seldom = [step.state() for step in train(make(), BCE, Adam(), X, Y, each="epoch", **options)]
    often = [step.state() for step in train(make(), BCE, Adam(), X, Y, **options) if step.ends_epoch]
    for one, other in zip(seldom, often, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


# Objects of one's own


class Distance:
    """A loss that is no `Loss`: value and gradient, and nothing else."""

    def value(self, logits, targets, weights=None):
        return 0.5 * np.mean((logits - targets) ** 2, axis=(-2, -1))

    def gradient(self, logits, targets, weights=None):
        return (logits - targets) / logits.shape[-2]


class Descent:
    """An optimizer that is no `Optimizer`: a step, and nothing else."""

    def step(self, params, grads):
        params -= 0.1 * grads


@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_any_object_with_value_and_gradient_is_a_loss_and_any_with_step_an_optimizer(seed):
    options = {"x": X, "y": 5 * Y, "epochs": 2, "batch_size": 4, "l2": 0.1, "clip_norm": 1.0}
    own = train(make(seed), Distance(), Descent(), **options)
    known = train(make(seed), SquaredError(), SGD(0.1), **options)
    for one, other in zip(own, known, strict=True):
        np.testing.assert_allclose(one.loss, other.loss, rtol=1e-14)
        np.testing.assert_allclose(one.running_loss, other.running_loss, rtol=1e-14)
        np.testing.assert_allclose(one.network.params, other.network.params, rtol=1e-12)


class NoStep:
    learning_rate = 0.1


class NoGradient:
    value = Distance.value


@pytest.mark.parametrize(
    "loss, optimizer, message",
    [
        (NoGradient(), SGD(), r"loss: .*NoGradient.* is not a Loss: it needs value and gradient"),
        ("mse", SGD(), "loss: 'mse' is not a Loss"),
        (Distance, SGD(), "loss: .*Distance.* is not a Loss"),
        (BCE, NoStep(), r"optimizer: .*NoStep.* is not an Optimizer: it needs step"),
        (BCE, SGD, "optimizer: .*SGD.* is not an Optimizer"),
        (BCE, None, "optimizer: None is not an Optimizer"),
    ],
)
def test_what_is_no_loss_and_no_optimizer_is_named(loss, optimizer, message):
    network = make()
    with pytest.raises(ValueError, match=message):
        train(network, loss, optimizer, X, Y, epochs=1, batch_size=4)
    np.testing.assert_array_equal(network.params, make().params)


def test_a_schedule_needs_a_learning_rate_to_change():
    with pytest.raises(ValueError, match=r"schedule: .*Descent.* has no learning_rate that it could change"):
        train(make(), BCE, Descent(), X, Y, epochs=1, batch_size=4, schedule=schedules.constant())


def test_an_optimizer_without_a_state_cannot_be_kept_nor_continued():
    (step,) = train(make(), BCE, Descent(), X, Y, epochs=1, batch_size=10)
    with pytest.raises(ValueError, match=r"optimizer: .*Descent.* has no state that could be kept; derive it"):
        step.state()
    (step,) = train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=10)
    with pytest.raises(ValueError, match=r"start: .*Descent.* has no state that could be restored; der"):
        train(make(), BCE, Descent(), X, Y, epochs=2, batch_size=10, start=step.state())


# What is changed at a hand-over holds from the next step on


def on_whole_batches(network, optimizer, change, each=1, loss=BCE):
    """Yield steps on all rows in their order; between the second and the third hand-over `change` is called."""
    steps = train(network, loss, optimizer, X, Y, epochs=4, batch_size=10, shuffle=False, each=each)
    for step in steps:
        yield step
        if step.index == 1:
            change()


@pytest.mark.parametrize("each", [1, "epoch"])
def test_changed_parameters_are_those_of_the_next_step(each):
    network = make()
    for step in on_whole_batches(network, SGD(0.1), lambda: network.params.fill(0.25), each):
        if step.index == 2:
            first = np.repeat(np.tanh(0.25 * X.sum(axis=1, keepdims=True) + 0.25), 4, axis=1)
            second = np.repeat(np.tanh(first[:, :1] + 0.25), 4, axis=1)
            np.testing.assert_allclose(step.tape[2], first, rtol=1e-14)
            np.testing.assert_allclose(step.tape[-1], second[:, :1] + 0.25, rtol=1e-14)
            np.testing.assert_allclose(network.params, 0.25 - 0.1 * network.grads, rtol=1e-14)


@pytest.mark.parametrize("schedule", [None, schedules.constant()], ids=["no schedule", "schedule"])
def test_a_changed_learning_rate_is_that_of_the_next_step(schedule):
    """A schedule goes on from the rate that the training began with."""
    optimizer, network = SGD(0.1), make()
    before = network.params.copy()
    for step in train(network, BCE, optimizer, X, Y, epochs=4, batch_size=10, schedule=schedule):
        rate = 0.1 if schedule or step.index < 2 else 0.4
        np.testing.assert_allclose(network.params, before - rate * network.grads, rtol=1e-13)
        before = network.params.copy()
        if step.index == 1:
            optimizer.learning_rate = 0.4


def test_changed_settings_of_an_optimizer_are_those_of_the_next_step():
    optimizer, network = SGD(0.1, momentum=0.9), make()
    velocity, before = 0.0, network.params.copy()
    for step in on_whole_batches(network, optimizer, lambda: setattr(optimizer, "momentum", 0.5)):
        velocity = (0.9 if step.index < 2 else 0.5) * velocity + network.grads
        np.testing.assert_allclose(network.params, before - 0.1 * velocity, rtol=1e-12, atol=1e-15)
        before = network.params.copy()


def test_changed_settings_of_layers_are_those_of_the_next_step():
    bent, norm, drop = LeakyReLU(0.1), BatchNorm(4, epsilon=0.5), Dropout(0.0)
    network = Network([Dense(2, 4), norm, bent, drop, Dense(4, 1)])

    def change():
        bent.slope, norm.epsilon, drop.rate = 0.5, 2.0, 0.75

    gamma, beta = norm.gamma.copy(), norm.beta.copy()
    for step in on_whole_batches(network, SGD(0.1), change):
        slope, epsilon, kept = (0.1, 0.5, [1.0]) if step.index < 2 else (0.5, 2.0, [0.0, 4.0])
        x, normalised, y, dropped = step.tape[1:5]
        expected = gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta
        np.testing.assert_allclose(normalised, expected, rtol=1e-12, atol=1e-14)
        gamma, beta = norm.gamma.copy(), norm.beta.copy()
        np.testing.assert_allclose(y, np.where(normalised > 0.0, normalised, slope * normalised), rtol=1e-14)
        assert sorted(np.unique(drop.mask)) == kept
        np.testing.assert_array_equal(dropped, y * drop.mask)


@pytest.mark.parametrize(
    "order", [lambda o: o[:5], lambda o: o * 0, lambda o: o + 1, lambda o: o * 1.0, lambda o: None]
)
def test_an_order_that_has_not_each_row_once_is_refused(order):
    with pytest.raises(ValueError, match="shuffle: it gave"):
        next(train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4, shuffle=order))


@pytest.mark.parametrize("record", [None, 5, "weight_norm"])
def test_what_is_no_sequence_of_names_is_not_recorded(record):
    with pytest.raises(ValueError, match=r"record: .* is not a sequence of names, of weight_gradient_norm"):
        train(make(), BCE, SGD(), X, Y, epochs=1, batch_size=4, record=record)
