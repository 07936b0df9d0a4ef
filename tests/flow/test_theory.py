"""Mean-field theory against arbitrary precision, against its own iteration, and against networks that it describes."""

import math

import mpmath as mp
import numpy as np
import pytest

from gradlab.flow import chi, critical_gain, mean_field, predicted_decay, variance_map
from gradlab.nn import ACTIVATIONS, ELU, Activation, LeakyReLU, Network, mlp


def sigma(x):
    return 1 / (1 + mp.exp(-x))


LAMBDA, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")

EXACT = {  # φ and φ' in arbitrary precision
    "sigmoid": (sigma, lambda x: sigma(x) * sigma(-x)),
    "centred_sigmoid": (lambda x: mp.tanh(x / 2) / 2, lambda x: mp.sech(x / 2) ** 2 / 4),
    "tanh": (mp.tanh, lambda x: mp.sech(x) ** 2),
    "relu": (lambda x: max(x, 0), lambda x: int(x > 0)),
    "leaky_relu": (lambda x: x if x > 0 else mp.mpf(0.01) * x, lambda x: 1 if x > 0 else mp.mpf(0.01)),
    "elu": (lambda x: x if x > 0 else mp.expm1(x), lambda x: 1 if x > 0 else mp.exp(x)),
    "selu": (
        lambda x: LAMBDA * (x if x > 0 else ALPHA * mp.expm1(x)),
        lambda x: LAMBDA * (1 if x > 0 else ALPHA * mp.exp(x)),
    ),
    "gelu": (lambda x: x * mp.ncdf(x), lambda x: mp.ncdf(x) + x * mp.npdf(x)),
    "silu": (lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * sigma(-x))),
    "softplus": (lambda x: mp.log1p(mp.exp(x)), sigma),
    "softsign": (lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "identity": (lambda x: x, lambda x: 1),
}


def mean_square(f, q):
    """E[f(√q·z)²] in x = √q·z, by mpmath: both signs at once, halved towards 0."""
    root = mp.sqrt(q)
    edges = {mp.mpf(0), *(root * k for k in (0.5, 1, 2, 4, 8, 14)), *(mp.mpf(2) ** k for k in range(-3, 7))}
    with mp.workdps(17):
        total = mp.quad(
            lambda x: (f(x) ** 2 + f(-x) ** 2) * mp.exp(-x * x / (2 * root * root)),
            sorted(edge for edge in edges if edge <= 14 * root),
            maxdegree=4,
        )
        return total / (root * mp.sqrt(2 * mp.pi))


class HardTanh(Activation):
    """A user's activation, with kinks away from 0."""

    def forward(self, x):
        return np.clip(x, -1.0, 1.0)

    def derivative(self, x, y):
        return 1.0 * (np.abs(x) < 1.0)


class Cube(Activation):
    """A user's activation that gives `backward` alone, and grows."""

    def forward(self, x):
        return x**3

    def backward(self, dy, x, y):
        return dy * 3 * x**2


class Wave(Activation):
    def forward(self, x):
        return np.sin(x)

    def derivative(self, x, y):
        return np.cos(x)


def test_every_activation_has_a_reference():
    assert EXACT.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("q", [1e-12, 0.7, 4e3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_moments_are_those_of_arbitrary_precision(name, q):
    phi, slope = EXACT[name]
    expected = float(mp.mpf(1.3) ** 2 * mean_square(phi, q) + mp.mpf(0.3) ** 2)
    assert variance_map(name, q, 1.3, 0.3) == pytest.approx(expected, rel=1e-12, abs=0.0)
    assert chi(name, q, 1.3) == pytest.approx(float(mp.mpf(1.3) ** 2 * mean_square(slope, q)), rel=1e-12, abs=0.0)


@pytest.mark.parametrize("gain", [0.01, 1.2, 50.0])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "elu"])
def test_fixed_points_are_those_of_arbitrary_precision(name, gain):
    theory = mean_field(name, gain, 0.05)
    if theory.q == math.inf:
        assert name == "elu"
        assert gain > math.sqrt(2.0)
        return
    phi, slope = EXACT[name]
    step = theory.q / 1000
    rest, further = (gain**2 * mean_square(phi, q) + 0.05**2 - q for q in (theory.q, theory.q + step))
    newton = -rest / ((further - rest) / step)  # how far the root of the exact map is from here
    assert abs(newton) <= 1e-9 * theory.q
    assert theory.chi == pytest.approx(float(gain**2 * mean_square(slope, theory.q)), rel=1e-12)


@pytest.mark.parametrize("q", [1e-300, 1e-30, 1e30, 1e300])
def test_variances_at_the_ends_of_the_floats(q):
    assert variance_map("identity", q, 1.0) == pytest.approx(q, rel=1e-13, abs=0.0)
    assert variance_map("relu", q, 1.0) == pytest.approx(q / 2.0, rel=1e-13, abs=0.0)
    assert variance_map("tanh", q, 1.0) == pytest.approx(min(q, 1.0), rel=1e-13, abs=0.0)
    # Far out, σ' is a spike of area ∫σ'² = 1/6 under the Gaussian's 1/√(2πq).
    spike = 1.0 / 6.0 / math.sqrt(2.0 * math.pi * q)
    assert chi("sigmoid", q, 1.0) == pytest.approx(spike if q > 1.0 else 1.0 / 16.0, rel=1e-13, abs=0.0)


def test_a_kink_at_zero_is_seen_from_both_sides():
    assert chi("relu", 0.0, 1.0) == 0.5  # where ReLU'(0) itself is 0
    assert chi(LeakyReLU(0.5), 0.0, 2.0) == 4.0 * (1.0 + 0.25) / 2.0
    assert chi(ELU(3.0), 0.0, 1.0) == (1.0 + 9.0) / 2.0
    assert chi("sigmoid", 0.0, 4.0) == 1.0


def test_infinite_variance_is_a_limit():
    assert variance_map("tanh", math.inf, 3.0, 1.0) == 10.0
    assert variance_map("sigmoid", math.inf, 2.0) == 2.0
    assert variance_map("relu", math.inf, 1.0) == math.inf
    assert chi("tanh", math.inf, 3.0) == 0.0
    assert chi("gelu", math.inf, 2.0) == 2.0


def test_activations_of_ones_own():
    # E[min(z², c²)/c²] with c = 1/√q, and the share of z within ±c
    for q in (1e-4, 0.3, 17.0, 1e5):
        c = 1.0 / math.sqrt(q)
        within = math.erf(c / math.sqrt(2.0))
        below = within - 2.0 * c * math.exp(-c * c / 2.0) / math.sqrt(2.0 * math.pi)  # E[z² within ±c]
        if q < 1e3:  # above, this difference has lost its digits
            assert variance_map(HardTanh(), q, 1.0) == pytest.approx(
                q * below + math.erfc(c / 2**0.5), rel=1e-11, abs=0.0
            )
        assert chi(HardTanh(), q, 1.0) == pytest.approx(within, rel=1e-11, abs=0.0)
        assert variance_map(Cube(), q, 1.0) == pytest.approx(15.0 * q**3, rel=1e-12, abs=0.0)
        assert chi(Cube(), q, 1.0) == pytest.approx(27.0 * q**2, rel=1e-12, abs=0.0)
    for q in (0.3, 17.0, 1e4):
        assert variance_map(Wave(), q, 1.0) == pytest.approx(0.5 * (1.0 - math.exp(-2.0 * q)), rel=1e-11, abs=0.0)


def test_what_cannot_be_integrated_is_refused():
    class Root(Wave):
        def forward(self, x):
            with np.errstate(invalid="ignore"):
                return np.sqrt(x)

    with pytest.raises(ValueError, match=r"Root\(\): φ is not a number"):
        mean_field(Root(), 1.0)
    with pytest.raises(ValueError, match="too rough to be integrated"):
        variance_map(Wave(), 1e14, 1.0)


@pytest.mark.parametrize(
    "name, gain, factor",
    [("sigmoid", 1.0, 0.23605), ("sigmoid", 2.0, 0.41422), ("sigmoid", 4.0, 0.63157), ("tanh", 2.0, 1.1673)],
)
def test_known_factors(name, gain, factor):
    assert math.sqrt(mean_field(name, gain).chi) == pytest.approx(factor, abs=0.51 * 10 ** -(len(str(factor)) - 2))


def test_relu_scales_by_the_gain_alone():
    he = mean_field("relu", math.sqrt(2.0))
    assert (he.q, he.chi, he.depth_scale) == (1.0, 1.0, math.inf)
    assert (mean_field("relu", 1.0).q, mean_field("relu", 1.0).chi) == (0.0, 0.5)
    assert (mean_field("relu", 2.0).q, mean_field("relu", 2.0).chi) == (math.inf, 2.0)
    assert mean_field("relu", 1.0, 0.5).q == pytest.approx(0.5, rel=1e-13)  # q = q/2 + 1/4
    assert mean_field("relu", math.sqrt(2.0), 0.5).q == math.inf


def test_selu_keeps_a_variance_of_one():
    assert mean_field("selu", 1.0).q == pytest.approx(1.0, rel=1e-14)


def test_the_depth_scale_is_that_of_vanishing_and_of_exploding():
    assert mean_field("relu", 1.0).depth_scale == pytest.approx(1.0 / math.log(2.0), rel=1e-15)
    assert mean_field("relu", 2.0).depth_scale == pytest.approx(1.0 / math.log(2.0), rel=1e-15)
    assert mean_field("identity", 1.0).depth_scale == math.inf
    with pytest.raises(AttributeError):
        mean_field("relu", 1.0).q = 3.0


def test_near_the_critical_gain():
    """tanh maps q to gain²·(q − 2q² + 17q³/3 − …), so q* is near ε at gain² = 1 + 2ε; iterating takes 1/ε layers."""
    assert mean_field("tanh", 1.0).q == 0.0
    assert mean_field("tanh", 1.0 - 1e-9).q == 0.0
    for epsilon in (1e-4, 1e-6):
        gain = math.sqrt(1.0 + 2.0 * epsilon)
        # 1/gain² = 1 − 2q + 17q²/3 to second order in q
        q = epsilon * (1.0 - 2.0 * epsilon + 17.0 / 6.0 * epsilon)
        assert mean_field("tanh", gain).q == pytest.approx(q, rel=60.0 * epsilon**2 + 1e-9)


@pytest.mark.parametrize("bias_std", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_fixed_point_is_the_one_that_iterating_from_one_leads_to(name, bias_std):
    for gain in (0.5, 1.1, 1.47):
        q = 1.0
        for _ in range(40):
            q = variance_map(name, q, gain, bias_std)
        theory = mean_field(name, gain, bias_std)
        after = variance_map(name, q, gain, bias_std)
        if theory.q == math.inf:
            assert after > q > 1.0
        elif theory.q == 0.0:
            assert after < q < 1.0
        else:  # still on its way, or there
            assert min(1.0, theory.q) * (1 - 1e-9) <= q <= max(1.0, theory.q) * (1 + 1e-9)
            assert abs(after - theory.q) <= abs(q - theory.q) + 1e-12 * q
            assert variance_map(name, theory.q, gain, bias_std) == pytest.approx(theory.q, rel=1e-12)


def test_of_several_fixed_points_it_is_the_one_below():
    """GELU with a gain between √2 and 2 shrinks small variances and blows up large ones."""
    q = mean_field("gelu", 1.45, 0.1).q
    assert 0.0 < q < 1.0
    assert variance_map("gelu", 1.5, 1.45, 0.1) < 1.5  # goes back to it
    assert variance_map("gelu", 1e3, 1.45, 0.1) > 1e3  # does not: there is another one between
    assert mean_field("gelu", 1.6, 0.1).q == math.inf  # which has now passed 1


def test_the_critical_gelu_of_the_literature():
    """Roberts, Yaida & Hanin 2022 (arXiv 2106.10165, section 5.3.4): q, the gain² and the variance of the biases."""
    q, gain, bias_std = (3.0 + math.sqrt(17.0)) / 2.0, math.sqrt(1.98305826), math.sqrt(0.17292239)
    assert chi("gelu", q, gain) == pytest.approx(1.0, abs=1e-8)
    assert variance_map("gelu", q, gain, bias_std) == pytest.approx(q, abs=3e-8)
    below = mean_field("gelu", gain, bias_std)  # from q = 1 another one comes first
    assert below.q == pytest.approx(3.035, abs=0.001)
    assert below.chi < 1.0


def test_two_fixed_points_about_to_meet_are_not_stepped_over():
    """Raise the bias until the two of GELU vanish: q* grows until it has met the other, and only then is infinite."""
    low, high = 0.3, 0.6  # finite, infinite
    for _ in range(30):
        middle = (low + high) / 2.0
        low, high = (low, middle) if mean_field("gelu", 1.42, middle).q == math.inf else (middle, high)
    q = mean_field("gelu", 1.42, low).q
    slope = (variance_map("gelu", q * 1.0001, 1.42, low) - variance_map("gelu", q * 0.9999, 1.42, low)) / (2e-4 * q)
    assert slope == pytest.approx(1.0, abs=1e-4)  # where they meet, the map touches the diagonal


def test_critical_gains():
    assert critical_gain("tanh") == critical_gain("softsign") == critical_gain("identity") == critical_gain("elu") == 1
    assert critical_gain("relu") == critical_gain("relu", 0.5) == critical_gain("softplus") == math.sqrt(2.0)
    assert critical_gain(LeakyReLU(0.3)) == pytest.approx(math.sqrt(2.0 / 1.09), rel=1e-15)
    assert critical_gain(Wave()) == 1.0


@pytest.mark.parametrize(
    "name, bias_std", [("sigmoid", 0.0), ("sigmoid", 1.0), ("tanh", 0.3), ("selu", 0.3), ("gelu", 1.5), ("elu", 1.5)]
)
def test_at_the_critical_gain_chi_is_one_and_was_below(name, bias_std):
    gain = critical_gain(name, bias_std)
    theory = mean_field(name, gain, bias_std)
    assert 0.0 < theory.q < math.inf
    assert float(gain**2 * mean_square(EXACT[name][1], theory.q)) == pytest.approx(1.0, rel=1e-9)
    assert all(mean_field(name, gain * factor, bias_std).chi < 1.0 for factor in (0.5, 0.9, 0.99, 0.9999))


def test_the_critical_sigmoid_is_the_critical_tanh():
    """σ(x) = (1 + tanh(x/2))/2: a gain of g is tanh's with g/4 and biases of g/4, up to the 4 between both q."""
    gain = critical_gain("sigmoid")
    assert chi("tanh", mean_field("tanh", gain / 4.0, gain / 4.0).q, gain / 4.0) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_no_critical_gain_where_the_fixed_point_leaps(name):
    with pytest.raises(
        ValueError, match=rf"(?i)^{name}\(\): no gain is critical .* χ leaps from 0\.\d+ to 1\.\d+ at 1\."
    ):
        critical_gain(name)


def test_no_critical_gain_without_a_slope():
    class Flat(Activation):
        def forward(self, x):
            return np.sign(x)

        def derivative(self, x, y):
            return 0.0 * x

    with pytest.raises(ValueError, match=r"Flat\(\): no gain is critical, χ stays below 1"):
        critical_gain(Flat())
    assert mean_field(Flat(), 2.0).depth_scale == 0.0


def test_decay_follows_the_variance():
    factors = predicted_decay("tanh", 1.3, 4, 2.0, 0.2)
    q = 2.0
    for factor in factors:
        assert factor == math.sqrt(chi("tanh", q, 1.3))
        q = variance_map("tanh", q, 1.3, 0.2)
    assert factors.shape == (4,)
    assert predicted_decay("sigmoid", 2.0, 200, 9.0)[-1] ** 2 == pytest.approx(
        mean_field("sigmoid", 2.0).chi, rel=1e-12
    )
    np.testing.assert_allclose(predicted_decay("relu", 50.0, 200, 1.0), 50.0 * math.sqrt(0.5), rtol=1e-14)  # to q = inf


def test_critical_tanh_never_arrives():
    """q_l falls like 1/(2l), so χ_l = 1 − 2q_l + … = 1 − 1/l and the product falls like a power, not exponentially."""
    factors = predicted_decay("tanh", 1.0, 500, 1.0)
    depth = np.arange(1, 501)
    np.testing.assert_allclose(depth[400:] * (1.0 - factors[400:] ** 2), 1.0, atol=0.02)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_field("sigmod", 1.0),
        lambda: mean_field(math.tanh, 1.0),
        lambda: chi("sigmod", 1.0, 1.0),
        lambda: critical_gain("sigmod"),
    ],
)
def test_unknown_activations_are_named(call):
    with pytest.raises(ValueError, match=r"activation: .* is not one of sigmoid, tanh, relu"):
        call()


@pytest.mark.parametrize(
    "call, name",
    [
        (lambda: mean_field("tanh", 0.0), "gain"),
        (lambda: mean_field("tanh", math.inf), "gain"),
        (lambda: mean_field("tanh", 1.0, -0.1), "bias_std"),
        (lambda: variance_map("tanh", -1.0, 1.0), "q"),
        (lambda: variance_map("tanh", math.nan, 1.0), "q"),
        (lambda: variance_map("tanh", 1.0, -1.0), "gain"),
        (lambda: variance_map("tanh", 1.0, 1.0, math.nan), "bias_std"),
        (lambda: chi("tanh", -1e-9, 1.0), "q"),
        (lambda: chi("tanh", 1.0, 0), "gain"),
        (lambda: critical_gain("tanh", -1.0), "bias_std"),
        (lambda: predicted_decay("tanh", 1.0, 0, 1.0), "depth"),
        (lambda: predicted_decay("tanh", 1.0, 2.5, 1.0), "depth"),
        (lambda: predicted_decay("tanh", 1.0, 3, -1.0), "q0"),
    ],
)
def test_numbers_out_of_range_are_named(call, name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        call()


def delta_norms(activation, gain, bias_std=0.0, scale=1.0, depth=20, width=256, seeds=8, samples=2):
    """Geometric mean over seeds and samples of the norm of dL/dy, from the input to the last hidden layer's y."""

    def biases(rng, shape, _):
        return bias_std * rng.standard_normal(shape)

    layers = mlp([width] * (depth + 1) + [1], activation, "lecun_normal", gain=gain, bias_init=biases)
    network = Network(layers, seed=range(seeds))
    tape = network.forward(scale * np.random.default_rng(0).standard_normal((samples, width)))
    deltas = network.backward(np.ones_like(tape[-1]), tape)
    norms = np.stack([np.linalg.norm(delta, axis=-1) for delta in deltas[:-1:2]])  # behind each activation
    return np.exp(np.mean(np.log(norms), axis=(1, 2)))


@pytest.mark.parametrize(
    "name, gain, bias_std, within",
    [
        ("sigmoid", 1.0, 0.0, 0.01),
        ("sigmoid", 2.0, 1.0, 0.02),
        ("sigmoid", 4.0, 0.0, 0.02),
        ("tanh", 2.0, 0.0, 0.02),
        ("relu", math.sqrt(2.0), 0.0, 0.02),
    ],
)
def test_networks_do_as_predicted(name, gain, bias_std, within):
    norms = delta_norms(name, gain, bias_std)
    measured = (norms[6] / norms[20]) ** (1 / 14)
    assert measured == pytest.approx(math.sqrt(mean_field(name, gain, bias_std).chi), rel=within)


def test_networks_decay_layer_by_layer_as_predicted():
    norms = delta_norms("tanh", 1.0, scale=3.0)
    predicted = predicted_decay("tanh", 1.0, 20, 9.0)
    np.testing.assert_allclose(norms[:-1] / norms[1:], predicted, rtol=0.04)
    assert predicted[1] / predicted[0] > 1.1  # so an entry that stood one layer off would be seen
    assert norms[0] / norms[20] == pytest.approx(np.prod(predicted), rel=0.1)
