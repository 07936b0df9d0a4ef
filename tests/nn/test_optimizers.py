import itertools
import math
import pickle

import numpy as np
import pytest

from gradlab.nn import OPTIMIZERS, SGD, Adam, AdamW, RMSProp, schedules

# (settings of ours, PyTorch's class, PyTorch's settings)
CASES = [
    (SGD, {"learning_rate": 0.1}, "SGD", {"lr": 0.1}),
    (SGD, {"learning_rate": 0.1, "momentum": 0.9}, "SGD", {"lr": 0.1, "momentum": 0.9}),
    (
        SGD,
        {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True},
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    ),
    (RMSProp, {"learning_rate": 0.01}, "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-8}),
    (
        RMSProp,
        {"learning_rate": 0.01, "decay": 0.5, "epsilon": 1e-3},
        "RMSprop",
        {"lr": 0.01, "alpha": 0.5, "eps": 1e-3},
    ),
    (Adam, {"learning_rate": 0.01}, "Adam", {"lr": 0.01}),
    (
        Adam,
        {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.7, "epsilon": 1e-2},
        "Adam",
        {"lr": 0.01, "betas": (0.5, 0.7), "eps": 1e-2},
    ),
    (AdamW, {"learning_rate": 0.01}, "AdamW", {"lr": 0.01, "weight_decay": 0.01}),
    (AdamW, {"learning_rate": 0.01, "weight_decay": 0.5}, "AdamW", {"lr": 0.01, "weight_decay": 0.5}),
]
IDS = [f"{ours.__name__}-{'-'.join(map(str, settings.values()))}" for ours, settings, *_ in CASES]
START = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
CENTRE = np.array([0.3, 0.1, -1.0, 2.0, 3.0])
STEPS = 100


def slope(p):
    """The gradient of an uneven bowl with ripples: it depends on where the trajectory is, and changes sign."""
    return np.arange(1, 6) * (p - CENTRE) + np.sin(5.0 * p)


def trajectory(optimizer, start=START, steps=STEPS):
    p = start.copy()
    path = []
    for _ in range(steps):
        optimizer.step(p, slope(p))
        path.append(p.copy())
    return np.array(path)


@pytest.mark.parametrize("ours, settings, theirs, their_settings", CASES, ids=IDS)
def test_trajectory_is_pytorchs(ours, settings, theirs, their_settings):
    torch = pytest.importorskip("torch")
    p = torch.tensor(START.copy(), requires_grad=True)
    reference = getattr(torch.optim, theirs)([p], **their_settings)
    path = []
    for _ in range(STEPS):
        p.grad = torch.tensor(slope(p.detach().numpy()))
        reference.step()
        path.append(p.detach().numpy().copy())
    np.testing.assert_allclose(trajectory(ours(**settings)), path, rtol=0, atol=1e-12)


def by_hand(name, i, learning_rate, **s):
    """The textbook's lines for one parameter, number by number."""
    p, v, m = float(START[i]), 0.0, 0.0
    path = []
    for t in range(1, STEPS + 1):
        g = (i + 1) * (p - float(CENTRE[i])) + math.sin(5.0 * p)  # as in `slope`
        if name == "SGD":
            v = s.get("momentum", 0.0) * v + g
            p -= learning_rate * (g + s["momentum"] * v if s.get("nesterov") else v)
        elif name == "RMSProp":
            decay = s.get("decay", 0.9)
            v = decay * v + (1 - decay) * g**2
            p -= learning_rate * g / (math.sqrt(v) + s.get("epsilon", 1e-8))
        else:
            beta1, beta2, epsilon = s.get("beta1", 0.9), s.get("beta2", 0.999), s.get("epsilon", 1e-8)
            if name == "AdamW":
                p -= learning_rate * s.get("weight_decay", 0.01) * p
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g**2
            if s.get("epsilon_hat"):  # Kingma & Ba, section 2: the corrections go into the rate
                rate = learning_rate * math.sqrt(1 - beta2**t) / (1 - beta1**t)
                p -= rate * m / (math.sqrt(v) + epsilon)
            else:
                p -= learning_rate * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + epsilon)
        path.append(p)
    return path, m, v


BY_HAND = [
    *((ours, settings) for ours, settings, *_ in CASES),
    (Adam, {"learning_rate": 0.01, "epsilon": 1e-2, "epsilon_hat": True}),
    (AdamW, {"learning_rate": 0.01, "beta1": 0.0, "beta2": 0.5, "weight_decay": 2.0}),
    (RMSProp, {"learning_rate": 0.01, "decay": 0.0}),
]


@pytest.mark.parametrize(
    "ours, settings", BY_HAND, ids=[f"{o.__name__}-{'-'.join(map(str, s.values()))}" for o, s in BY_HAND]
)
def test_every_step_is_the_textbooks_worked_in_plain_floats(ours, settings):
    optimizer = ours(**settings)
    path = trajectory(optimizer)
    for i in range(len(START)):
        expected, m, v = by_hand(ours.__name__, i, **settings)
        np.testing.assert_allclose(path[:, i], expected, rtol=0, atol=1e-12)
        kept = {"SGD": {"velocity": v}, "RMSProp": {"mean_square": v}}.get(ours.__name__, {"m": m, "v": v})
        if ours is not SGD or settings.get("momentum"):
            for name, value in kept.items():
                assert getattr(optimizer, name)[i] == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_adam_with_epsilon_hat_is_scikit_learns():
    """And differs from PyTorch's in the first steps, where sqrt(v) is near epsilon."""
    from sklearn.neural_network._stochastic_optimizers import AdamOptimizer

    rng = np.random.default_rng(0)
    ours, theirs = np.ones(5), [np.ones(5)]
    hat, other = Adam(0.01, 0.8, 0.99, 1e-3, epsilon_hat=True), Adam(0.01, 0.8, 0.99, 1e-3)
    reference, differing = AdamOptimizer(theirs, 0.01, 0.8, 0.99, 1e-3), np.ones(5)
    for t in range(20):
        gradient = 1e-3 * rng.standard_normal(5)
        hat.step(ours, gradient)
        other.step(differing, gradient)
        reference.update_params(theirs, [gradient])
        np.testing.assert_allclose(ours, theirs[0], rtol=1e-13)
        if t == 0:
            assert (abs(1.0 - differing) > 1.1 * abs(1.0 - ours)).all()


def test_first_adam_step_has_the_length_of_the_learning_rate():
    p = np.zeros(2)
    Adam(0.01).step(p, np.array([3.0, -1e-3]))
    # m/(1 − beta1) = g and v/(1 − beta2) = g², so the step is learning_rate·g/(|g| + epsilon)
    assert p == pytest.approx([-0.01, 0.01], rel=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_step_changes_params_in_place_and_leaves_the_gradient(name):
    params, grads = np.ones(3), np.array([1.0, -2.0, 0.5])
    view = params[1:]
    assert OPTIMIZERS[name]().step(params, grads) is None
    assert view[0] > 1.0 > view[1]
    assert grads.tolist() == [1.0, -2.0, 0.5]


@pytest.mark.parametrize("ours, settings, theirs, their_settings", CASES, ids=IDS)
def test_replicas_move_as_they_would_alone(ours, settings, theirs, their_settings):
    starts = np.stack([START, START + 1.0, -START])
    together = trajectory(ours(**settings), starts)
    for r, start in enumerate(starts):
        np.testing.assert_array_equal(together[:, r], trajectory(ours(**settings), start))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_float32_stays_float32(name):
    params = np.ones(3, np.float32)
    optimizer = OPTIMIZERS[name]()
    optimizer.step(params, np.ones(3, np.float32))
    kept = [value for value in vars(optimizer).values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in kept} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_learning_rate_may_change_between_steps(name):
    optimizer, other = OPTIMIZERS[name](0.1), OPTIMIZERS[name](0.1)
    p, q = START.copy(), START.copy()
    for o, x in ((optimizer, p), (other, q)):
        o.step(x, CENTRE)
    before = p.copy()
    other.learning_rate = 0.2
    optimizer.step(p, CENTRE)
    other.step(q, CENTRE)
    # Every optimizer moves by learning_rate times something that does not depend on it.
    np.testing.assert_allclose(q - before, 2.0 * (p - before), rtol=1e-12, atol=1e-15)


def test_mask_spares_what_it_is_zero_at():
    mask = np.array([1.0, 0.0, 1.0, 0.0, 0.5])
    masked, plain = START.copy(), START.copy()
    AdamW(0.1, weight_decay=0.3, mask=mask).step(masked, np.ones(5))
    Adam(0.1).step(plain, np.ones(5))
    np.testing.assert_allclose(masked - plain, -0.1 * 0.3 * mask * START, rtol=0, atol=1e-15)


def test_mask_is_shared_by_replicas():
    mask = np.array([1.0, 0.0, 1.0, 0.0, 0.5])
    together = trajectory(AdamW(0.1, mask=mask), np.stack([START, CENTRE]), 5)
    np.testing.assert_array_equal(together[:, 1], trajectory(AdamW(0.1, mask=mask), CENTRE, 5))


def test_mask_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"AdamW: a mask of shape \(4,\) does not fit params of shape \(5,\)"):
        AdamW(mask=np.ones(4)).step(START.copy(), CENTRE)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_converges_on_a_quadratic(name):
    optimizer = OPTIMIZERS[name](0.05, **({"weight_decay": 0.0} if name == "adamw" else {}))
    curvature = np.array([1.0, 2.0, 4.0, 8.0, 10.0])
    p = START.copy()
    for t in range(2000):
        optimizer.learning_rate = 0.05 * 0.995**t  # a fixed rate would circle the minimum
        optimizer.step(p, curvature * (p - CENTRE))
    np.testing.assert_allclose(p, CENTRE, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_shapes_are_checked(name):
    optimizer = OPTIMIZERS[name]()
    with pytest.raises(ValueError, match=r"params of shape \(3,\), gradients of shape \(1,\)"):
        optimizer.step(np.ones(3), np.ones(1))
    optimizer.step(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"params of shape \(2,\).*the first step had \(3,\)"):
        optimizer.step(np.ones(2), np.ones(2))
    assert optimizer.t == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pickled_optimizer_goes_on_where_it_was(name):
    optimizer = OPTIMIZERS[name](0.05)
    half = trajectory(optimizer, steps=10)[-1]
    twin = pickle.loads(pickle.dumps(optimizer))
    np.testing.assert_array_equal(trajectory(optimizer, half, 10), trajectory(twin, half, 10))
    assert twin.t == 20


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: SGD(0.0), "SGD: learning_rate: 0.0"),
        (lambda: SGD(-1.0), "SGD: learning_rate: -1.0"),
        (lambda: SGD(np.inf), "SGD: learning_rate: inf"),
        (lambda: SGD("fast"), "SGD: learning_rate: 'fast'"),
        (lambda: SGD(True), "SGD: learning_rate: True"),
        (lambda: SGD(momentum=1.1), "SGD: momentum: 1.1"),
        (lambda: SGD(momentum=-0.1), "SGD: momentum: -0.1"),
        (lambda: SGD(nesterov=True), "SGD: nesterov needs a momentum"),
        (lambda: RMSProp(np.nan), "RMSProp: learning_rate: nan"),
        (lambda: RMSProp(decay=1.0), "RMSProp: decay: 1"),
        (lambda: RMSProp(epsilon=0.0), "RMSProp: epsilon: 0.0"),
        (lambda: Adam(0), "Adam: learning_rate: 0"),
        (lambda: Adam(beta1=1.0), "Adam: beta1: 1"),
        (lambda: Adam(beta2=-0.1), "Adam: beta2: -0.1"),
        (lambda: Adam(epsilon=-1e-8), "Adam: epsilon: -1e-08"),
        (lambda: AdamW(beta2=1.5), "AdamW: beta2: 1.5"),
        (lambda: AdamW(weight_decay=-0.1), "AdamW: weight_decay: -0.1"),
    ],
)
def test_refused_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "schedule, times, factors",
    [
        (schedules.constant(), [0, 7.5], [1, 1]),
        (schedules.step(10), [0, 9.9, 10, 19.9, 20], [1, 1, 0.1, 0.1, 0.01]),
        (schedules.step(2.5, 0.5), [0, 2.4, 2.5, 5], [1, 1, 0.5, 0.25]),
        (schedules.exponential(0.25), [0, 0.5, 1, 2], [1, 0.5, 0.25, 0.0625]),
        (schedules.step(1e-300, 2.0), [0, 1], [1, np.inf]),
        (schedules.exponential(1e6), [0, 100], [1, np.inf]),
        # (1 + cos(π/3))/2 = (1 + 0.5)/2 = 0.75 after a third of the time; it stays at its end
        (schedules.cosine(6), [0, 2, 3, 6, 100], [1, 0.75, 0.5, 0, 0]),
        (schedules.cosine(6, floor=0.2), [0, 2, 3, 6, 100], [1, 0.8, 0.6, 0.2, 0.2]),
        (schedules.warm_up(schedules.constant(), 4), [0, 1, 4, 5], [0, 0.25, 1, 1]),
        # The schedule's clock runs while it warms up: at time 1 half the way up, and 0.5^1.
        (schedules.warm_up(schedules.exponential(0.5), 2), [0, 1, 2, 3], [0, 0.25, 0.25, 0.125]),
        (schedules.warm_up(schedules.constant(), 0), [0, 1], [1, 1]),
    ],
)
def test_schedule_by_hand(schedule, times, factors):
    assert [schedule(time) for time in times] == pytest.approx(factors, abs=1e-15)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.step(0), "step: every: 0"),
        (lambda: schedules.step(1, -1.0), "step: factor: -1.0"),
        (lambda: schedules.exponential(0.0), "exponential: factor: 0.0"),
        (lambda: schedules.cosine(-5), "cosine: epochs: -5"),
        (lambda: schedules.cosine(5, -0.1), "cosine: floor: -0.1"),
        (lambda: schedules.warm_up(schedules.constant(), -1), "warm_up: epochs: -1"),
    ],
)
def test_refused_schedules_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make", [lambda: schedules.step(3), lambda: schedules.exponential(0.9), lambda: schedules.cosine(50)]
)
def test_schedules_never_rise(make):
    factors = [make()(time) for time in np.linspace(0, 60, 301)]
    assert all(a >= b for a, b in itertools.pairwise(factors))


def test_whole_numbers_are_not_moved():
    with pytest.raises(ValueError, match="params of type int64: only floats"):
        SGD(0.5).step(np.ones(3, dtype=np.int64), np.ones(3, dtype=np.int64))


@pytest.mark.parametrize(
    "make, name, value",
    [
        (lambda **kw: SGD(0.1, **{"momentum": 0.9} | kw), "momentum", 0.5),
        (lambda **kw: RMSProp(0.1, **kw), "decay", 0.5),
        (lambda **kw: RMSProp(0.1, **kw), "epsilon", 0.1),
        (lambda **kw: Adam(0.1, **kw), "beta1", 0.5),
        (lambda **kw: Adam(0.1, **kw), "beta2", 0.5),
        (lambda **kw: Adam(0.1, **kw), "epsilon", 0.1),
    ],
)
def test_a_number_may_change_between_steps(make, name, value):
    """Changed before the first gradient that is not 0, it acts as if it had been so from the start."""
    changed, always = make(), make(**{name: value})
    one, other = np.ones(3), np.ones(3)
    changed.step(one, np.zeros(3))
    always.step(other, np.zeros(3))
    setattr(changed, name, value)
    for gradient in ([1.0, 2.0, 3.0], [3.0, -2.0, 1.0]):
        changed.step(one, np.array(gradient))
        always.step(other, np.array(gradient))
    np.testing.assert_array_equal(one, other)
