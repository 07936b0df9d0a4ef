"""Activations against arbitrary precision, in the tails too: a vanishing-gradient study lives on them."""

import copy
import math
import pickle

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.nn import (
    ACTIVATIONS,
    ELU,
    GELU,
    SELU,
    Activation,
    CentredSigmoid,
    Dense,
    Identity,
    LeakyReLU,
    Network,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)

mp.mp.dps = 40
LEAK, ALPHA = mp.mpf(0.2), mp.mpf(1.7)
SELU_SCALE, SELU_ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")
FLUSHED = np.finfo(float).tiny / np.finfo(float).eps  # where Φ(x) is subnormal, SciPy gives 0


def sigma(x):
    return 1 / (1 + mp.exp(-x))


# Each: the object, φ, φ', and what the rounding errors of φ and of φ' are relative to where that is not the value
# itself, because something subtracts. A bound below the largest of these is out of reach of a float.
CASES = {
    "sigmoid": (
        Sigmoid(),
        sigma,
        lambda x: sigma(x) * sigma(-x),
        None,
        sigma,  # 1 − y: y is rounded, so near y = 1 the absolute error is eps
    ),
    "centred_sigmoid": (
        CentredSigmoid(),
        lambda x: mp.tanh(x / 2) / 2,
        lambda x: sigma(x) * sigma(-x),
        None,
        None,
    ),
    "tanh": (Tanh(), mp.tanh, lambda x: mp.sech(x) ** 2, None, lambda x: 1),  # 1 − y², likewise
    "relu": (ReLU(), lambda x: max(x, 0), lambda x: int(x > 0), None, None),
    "leaky_relu": (LeakyReLU(0.2), lambda x: x * (1 if x > 0 else LEAK), lambda x: 1 if x > 0 else LEAK, None, None),
    "elu": (
        ELU(1.7),
        lambda x: x if x > 0 else ALPHA * mp.expm1(x),
        lambda x: 1 if x > 0 else ALPHA * mp.exp(x),
        None,
        None,
    ),
    "selu": (
        SELU(),
        lambda x: SELU_SCALE * (x if x > 0 else SELU_ALPHA * mp.expm1(x)),
        lambda x: SELU_SCALE * (1 if x > 0 else SELU_ALPHA * mp.exp(x)),
        None,
        None,
    ),
    "gelu": (
        GELU(),
        lambda x: x * mp.ncdf(x),
        lambda x: mp.ncdf(x) + x * mp.npdf(x),
        lambda x: abs(x) * mp.ncdf(x) * (1 + x * x / 2) + FLUSHED,  # e^(−x²/2) multiplies the error of x² by x²/2
        lambda x: mp.ncdf(x) + abs(x) * mp.npdf(x) * (1 + x * x / 2) + FLUSHED,
    ),
    "silu": (
        SiLU(),
        lambda x: x * sigma(x),
        lambda x: sigma(x) * (1 + x * sigma(-x)),
        None,
        lambda x: sigma(x) * (1 + abs(x)),  # the slope has a zero at −1.28, and near y = x the error of 1 − σ(x) is eps
    ),
    "softplus": (Softplus(), lambda x: mp.log1p(mp.exp(x)), sigma, None, None),
    "softsign": (Softsign(), lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2, None, None),
    "identity": (Identity(), lambda x: x, lambda x: 1, None, None),
}
MONOTONE = sorted(set(CASES) - {"gelu", "silu"})
EXTREME = [1e4, 745.2, 745.0, 708.5, 104.0, 88.8, 40.0, 37.0, 17.0, 1e-8, 1e-300, 0.0]

both_widths = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def grid(dtype, most):
    """Points dense around 0, at every size down to 1e-12, and out to ±most; one feature a point."""
    sizes = np.logspace(-12, 0, 60)
    points = np.concatenate(
        [np.linspace(-most, most, 401), np.linspace(-20.0, 20.0, 401), sizes, -sizes, [0.0, -1.278]]
    )
    return np.unique(points.astype(dtype))[np.newaxis]


def errors(computed, x, exact, relative_to=None):
    """Errors of an array in units of eps·relative_to (of the exact value, if that is not given)."""
    info = np.finfo(computed.dtype)
    eps, least = float(info.eps), float(info.smallest_subnormal)
    units = []
    for value, point in zip(computed.ravel(), map(mp.mpf, map(float, x.ravel())), strict=True):
        truth = exact(point)
        scale = eps * abs((relative_to or exact)(point)) + least * (1 + abs(point))  # a subnormal, perhaps times x
        units.append(float(abs(mp.mpf(float(value)) - truth) / scale))
    return np.array(units)


def test_every_activation_is_compared():
    assert set(CASES) == set(ACTIVATIONS)
    for name, (activation, *_) in CASES.items():
        made = ACTIVATIONS[name]()
        assert type(activation) is type(made)


# NumPy's own tests allow its float32 exp 3 ulp; the rounded sum and the rounded quotient may add ½ each.
@pytest.mark.parametrize("dtype, most, ulps", [(np.float64, 700.0, 3), (np.float32, 80.0, 4)])
def test_sigmoid_is_right_to_the_last_bits(dtype, most, ulps):
    rng = np.random.default_rng(0)
    more = np.concatenate([rng.uniform(-most, most, 2000), rng.uniform(-40.0, 40.0, 4000)]).astype(dtype)[np.newaxis]
    for x in (grid(dtype, most), more):
        exact = [sigma(mp.mpf(float(point))) for point in x.ravel()]
        ulp = np.spacing(np.array([float(truth) for truth in exact], dtype))
        y = Sigmoid().forward(x).ravel()
        distance = [abs(mp.mpf(float(a)) - b) / float(u) for a, b, u in zip(y, exact, ulp, strict=True)]
        assert max(distance) <= ulps


# Four: an elementary function is good to 1 to 3 units here, and no formula has more than three roundings after it.
@both_widths
@pytest.mark.parametrize("name", CASES)
def test_values_are_right(name, dtype):
    activation, value, _, relative_to, _ = CASES[name]
    x = grid(dtype, 700.0 if dtype is np.float64 else 80.0)
    assert errors(activation.forward(x), x, value, relative_to).max() <= 4.0


@both_widths
@pytest.mark.parametrize("name", CASES)
def test_slopes_are_right(name, dtype):
    activation, _, slope, _, relative_to = CASES[name]
    x = grid(dtype, 700.0 if dtype is np.float64 else 80.0)
    computed = activation.backward(np.ones_like(x), x, activation.forward(x))
    assert errors(computed, x, slope, relative_to).max() <= 4.0


@pytest.mark.parametrize("name", CASES)
def test_backward_multiplies_the_slope_by_dy(name):
    activation = CASES[name][0]
    x, dy = grid(np.float64, 700.0), np.random.default_rng(0).standard_normal(grid(np.float64, 700.0).shape)
    y = activation.forward(x)
    slope = activation.derivative(x, y)
    np.testing.assert_array_equal(activation.backward(dy, x, y), slope * dy)


def test_an_activation_of_ones_own_has_a_derivative_or_a_backward():
    class ByDerivative(Activation):
        def forward(self, x):
            return x * x

        def derivative(self, x, y):
            return x * 2.0

    class ByBackward(Activation):
        def forward(self, x):
            return x * x

        def backward(self, dy, x, y):
            return 2.0 * x * dy

    x = np.array([[-1.0, 0.5, 3.0]])
    for own in (ByDerivative(), ByBackward()):
        np.testing.assert_array_equal(own.derivative(x, x**2), 2.0 * x)
        np.testing.assert_array_equal(own.backward(np.full_like(x, 3.0), x, x**2), 6.0 * x)


def test_an_activation_without_a_derivative_is_refused():
    with pytest.raises(TypeError, match="Flat: an activation needs `derivative` or `backward`"):

        class Flat(Activation):
            def forward(self, x):
                return x


@both_widths
@pytest.mark.parametrize("name", CASES)
def test_nothing_overflows_and_nothing_warns(name, dtype):
    activation = CASES[name][0]
    x = np.array([EXTREME, np.negative(EXTREME)]).astype(dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = activation.forward(x)
        dx = activation.backward(np.ones_like(x), x, y)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", CASES)
@given(x=st.floats(-1e30, 1e30), width=st.sampled_from([32, 64]))
@settings(max_examples=60, deadline=None)
def test_any_number_gives_a_finite_value_and_slope(name, x, width):
    activation = CASES[name][0]
    x = np.array([[x]], dtype=f"f{width // 8}")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = activation.forward(x)
        dx = activation.backward(np.ones_like(x), x, y)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    assert abs(dx.item()) < 1.76  # SELU's, just below 0, is the steepest


@both_widths
@pytest.mark.parametrize("name", MONOTONE)
def test_more_in_is_not_less_out(name, dtype):
    x = np.linspace(-50.0, 50.0, 20_001).astype(dtype)[np.newaxis]
    y = CASES[name][0].forward(x)[0]
    rounding = 4 * np.finfo(dtype).eps * np.abs(y[1:])  # of each value, so where y is flat it may step back by that
    assert (np.diff(y) >= -rounding).all()
    steps = np.diff(y[::200])
    assert (steps >= 0.0).all()
    assert y[-1] > y[0]


@both_widths
@pytest.mark.parametrize("name", MONOTONE)
def test_the_slope_of_a_monotone_activation_is_never_negative(name, dtype):
    activation = CASES[name][0]
    x = np.linspace(-50.0, 50.0, 20_001).astype(dtype)[np.newaxis]
    assert (activation.backward(np.ones_like(x), x, activation.forward(x)) >= 0.0).all()


def test_sigmoid_is_not_clipped():
    x = np.array([[-740.0, -700.0, -100.0, -40.0, -21.0]])
    sigmoid = Sigmoid()
    y = sigmoid.forward(x)
    assert y[0, 0] > 0.0
    expected = np.array([float(sigma(mp.mpf(point))) for point in x[0]])
    assert y[0, 0] == expected[0]  # 4.2e-322, a subnormal
    np.testing.assert_allclose(y[0], expected, rtol=1e-15)
    np.testing.assert_allclose(sigmoid.backward(np.ones_like(x), x, y)[0], expected, rtol=4e-9)  # σ' = σ·(1 − σ)


def test_sigmoid_is_not_clipped_in_float32():
    x = np.array([[-87.0, -60.0, -21.0]], np.float32)
    np.testing.assert_allclose(Sigmoid().forward(x)[0], np.exp(x[0].astype(float)), rtol=1e-6)


@both_widths
def test_a_centred_sigmoid_is_the_sigmoid_less_a_half(dtype):
    x = grid(dtype, 30.0)
    plain, centred = Sigmoid(), CentredSigmoid()
    y, z = plain.forward(x), centred.forward(x)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(z, y - dtype(0.5), rtol=0.0, atol=2 * eps)
    np.testing.assert_allclose(centred.derivative(x, z), (0.5 + z) * (0.5 - z), rtol=0.0, atol=2 * eps)
    np.testing.assert_array_equal(centred.forward(-x), -z)  # so samples spread evenly around 0 have mean 0


def test_the_slope_of_a_centred_sigmoid_is_lost_in_neither_tail():
    x = np.array([[40.0, 300.0, 700.0]])
    centred = CentredSigmoid()
    for side in (x, -x):
        y = centred.forward(side)
        assert (abs(y) == 0.5).all()  # so y does not tell it
        np.testing.assert_allclose(centred.derivative(side, y), np.exp(-x), rtol=1e-15)
    np.testing.assert_array_equal(Sigmoid().derivative(x, Sigmoid().forward(x)), 0.0)


def test_a_plain_sigmoid_is_what_it_was_to_the_last_bit():
    x = grid(np.float64, 700.0)
    y = Sigmoid().forward(x)
    e = np.exp(np.clip(x, -np.inf, 40.0))
    np.testing.assert_array_equal(y, e / (1.0 + e))
    np.testing.assert_array_equal(Sigmoid().derivative(x, y), (1.0 - y) * y)


def test_known_values_worked_by_hand():
    x = np.array([[0.0, math.log(3.0)]])
    np.testing.assert_allclose(CentredSigmoid().forward(x), [[0.0, 0.25]])
    np.testing.assert_allclose(Sigmoid().forward(x), [[0.5, 0.75]])  # 3/(1 + 3)
    np.testing.assert_allclose(Tanh().forward(x), [[0.0, 0.8]])  # (3 − ⅓)/(3 + ⅓)
    np.testing.assert_allclose(Softplus().forward(x), [[math.log(2.0), math.log(4.0)]])
    np.testing.assert_allclose(SiLU().forward(x), [[0.0, 0.75 * math.log(3.0)]])
    np.testing.assert_allclose(ELU(1.7).forward(-x), [[0.0, 1.7 * (1.0 / 3.0 - 1.0)]])
    np.testing.assert_allclose(Softsign().forward(np.array([[-3.0, 1.0]])), [[-0.75, 0.5]])


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_relu_has_slope_0_at_its_kink(zero):
    x = np.array([[zero]])
    assert ReLU().backward(np.ones((1, 1)), x, ReLU().forward(x)) == 0.0


def test_a_kink_has_the_slope_from_below():
    x = np.zeros((1, 1))
    for activation, slope in ((LeakyReLU(0.2), 0.2), (ELU(1.7), 1.7), (SELU(), SELU.SCALE * SELU.ALPHA)):
        np.testing.assert_allclose(activation.backward(np.ones((1, 1)), x, activation.forward(x)), slope, rtol=1e-15)


def test_selu_keeps_the_standard_normal():
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    y = SELU().forward(nodes[np.newaxis])[0]
    weights = weights / weights.sum()
    # The corner at 0 limits what quadrature with smooth polynomials can reach.
    assert weights @ y == pytest.approx(0.0, abs=1e-3)
    assert weights @ y**2 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("slope", [-0.1, 1.5, math.nan, math.inf, "0.1", True, None])
def test_leaky_relu_names_the_slope_that_it_refuses(slope):
    with pytest.raises(ValueError, match=r"LeakyReLU: slope: .* is not a finite number of at least 0 and at most 1"):
        LeakyReLU(slope)


@pytest.mark.parametrize("alpha", [-1.0, math.nan, math.inf, "1"])
def test_elu_names_the_alpha_that_it_refuses(alpha):
    with pytest.raises(ValueError, match=r"ELU: alpha: .* is not a finite number of at least 0"):
        ELU(alpha)


def test_activations_print_as_they_are_made():
    assert [repr(a) for a in (Sigmoid(), LeakyReLU(), ELU(2))] == ["Sigmoid()", "LeakyReLU(slope=0.01)", "ELU(alpha=2)"]


def test_what_a_network_sets_is_no_setting_of_an_activation():
    layers = [Dense(2, 3), ELU(1.5), Dense(3, 3), Sigmoid()]
    Network(layers).forward(np.ones((2, 2)), training=True)
    assert [layer.settings() for layer in layers[1::2]] == [{"alpha": 1.5}, {}]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))], ids=["deepcopy", "pickle"])
def test_a_copied_activation_is_the_same(copied):
    for activation in (CentredSigmoid(), Sigmoid(), LeakyReLU(0.3)):
        twin = copied(activation)
        assert repr(twin) == repr(activation)
        assert twin.settings() == activation.settings()
