"""The map of correlations against closed forms, arbitrary precision, its own slope, and networks that it describes."""

import math

import mpmath as mp
import numpy as np
import pytest

from gradlab.flow import chi, correlation_fixed_point, correlation_map, critical_gain, mean_field
from gradlab.nn import ACTIVATIONS, Activation, Network, mlp

CS = (-1.0, -0.9, -0.3, 0.0, 0.3, 0.7, 0.99, 1.0 - 1e-7, 1.0)
PRECISE = {"tanh": mp.tanh, "sigmoid": lambda x: 1 / (1 + mp.exp(-x))}


def arc_cosine_kernel(c):
    """Cho & Saul 2009: (√(1 − c²) + c·(π − arccos c))/π, whatever the variance."""
    return (math.sqrt(1.0 - c * c) + c * (math.pi - math.acos(c))) / math.pi


@pytest.mark.parametrize("c", [c if c == 0.3 else pytest.param(c, marks=pytest.mark.slow) for c in CS])
@pytest.mark.parametrize(("gain", "q"), [(1.0, None), (2.0, None), (1.3, 1e-6), (1.3, 1e6)])
def test_relu_has_the_same_kernel_whatever_the_variance(c, gain, q):
    assert correlation_map("relu", c, gain, q=q) == pytest.approx(arc_cosine_kernel(c), abs=1e-13)


@pytest.mark.parametrize("c", CS)
def test_relu_has_the_arc_cosine_kernel(c):
    assert correlation_map("relu", c, math.sqrt(2.0)) == pytest.approx(arc_cosine_kernel(c), abs=1e-13)


@pytest.mark.parametrize("c", CS)
def test_a_linear_layer_leaves_a_correlation_as_it_is(c):
    assert correlation_map("identity", c, 0.7, q=3.0) == pytest.approx(c, abs=1e-13)
    assert correlation_map("identity", c, 1.0, 0.5, q=1.0) == pytest.approx((c + 0.25) / 1.25, abs=1e-13)


@pytest.mark.parametrize(
    ("name", "q"),
    [
        ("tanh", 5.0),
        ("sigmoid", 0.3),
        pytest.param("tanh", 0.3, marks=pytest.mark.slow),
        pytest.param("sigmoid", 5.0, marks=pytest.mark.slow),
    ],
)
def test_it_is_the_integral(name, q):
    f, c, root = PRECISE[name], mp.mpf(0.6), mp.sqrt(q)
    with mp.workdps(15):
        s, edges = mp.sqrt(1 - c * c), [-8, 0, 8]
        both = mp.quad(
            lambda u, w: f(root * u) * f(root * (c * u + s * w)) * mp.npdf(u) * mp.npdf(w), edges, edges, maxdegree=6
        )
        one = mp.quad(lambda u: f(root * u) ** 2 * mp.npdf(u), edges)
        expected = (4 * both + 0.09) / (4 * one + 0.09)
    assert correlation_map(name, 0.6, 2.0, 0.3, q=q) == pytest.approx(float(expected), rel=1e-9)


class HardTanh(Activation):
    """A user's activation, with kinks away from 0."""

    def forward(self, x):
        return np.clip(x, -1.0, 1.0)

    def derivative(self, x, y):
        return 1.0 * (np.abs(x) < 1.0)


def test_kinks_away_from_0_cost_digits_only():
    rng = np.random.default_rng(0)
    u, w = rng.standard_normal((2, 4_000_000))
    sampled = np.clip(u, -1, 1) * np.clip(0.8 * u + 0.6 * w, -1, 1)
    expected = sampled.mean() / np.mean(np.clip(u, -1, 1) ** 2)
    assert correlation_map(HardTanh(), 0.8, 1.0, q=1.0) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_it_increases_bends_upwards_and_keeps_1(name):
    values = [correlation_map(name, c, 2.0, 0.3, q=1.5) for c in np.linspace(0.0, 1.0, 9)]
    assert np.all(np.diff(values) >= 0.0)
    assert np.all(np.diff(values, 2) >= -1e-12)
    assert values[-1] == 1.0


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softsign", "relu", "gelu"])
def test_the_slope_at_1_is_chi(name):
    """By a difference that is wrong by h·C''; a kink's C'' goes like 1/√(1 − c)."""
    theory, h = mean_field(name, 1.2, 0.4), 1e-7
    slope = (1.0 - correlation_map(name, 1.0 - h, 1.2, 0.4)) / h
    assert slope == pytest.approx(chi(name, theory.q, 1.2), rel=1e-3)


@pytest.mark.parametrize(("name", "gain"), [("sigmoid", 1.0), ("sigmoid", 4.0), ("tanh", 1.0), ("softsign", 1.2)])
def test_in_the_ordered_phase_all_becomes_one_as_fast_as_gradients_vanish(name, gain):
    theory, found = mean_field(name, gain, 0.2), correlation_fixed_point(name, gain, 0.2)
    assert theory.chi < 1.0
    assert (found.c, found.q) == (1.0, theory.q)
    assert found.depth_scale == theory.depth_scale


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("tanh", 2.0),
        ("softsign", 4.0),
        pytest.param("tanh", 5.0, marks=pytest.mark.slow),
        pytest.param("sigmoid", 30.0, marks=pytest.mark.slow),
    ],
)
def test_in_the_chaotic_phase_every_correlation_comes_to_one_below_1(name, gain):
    found = correlation_fixed_point(name, gain, 0.2)
    assert mean_field(name, gain, 0.2).chi > 1.0
    for c in (-0.5, 0.0, 0.999):
        for _ in range(200):
            c = correlation_map(name, c, gain, 0.2, q=found.q)
        assert c == pytest.approx(found.c, abs=1e-6)
    h = 1e-4
    ahead, behind = (correlation_map(name, found.c + d, gain, 0.2, q=found.q) for d in (h, -h))
    assert found.slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-6)


def test_odd_activations_without_biases_lose_every_correlation():
    found = correlation_fixed_point("tanh", 2.0)
    assert found.c == 0.0
    assert 0.0 < found.slope < 1.0


def test_at_the_edge_and_without_a_scale_nothing_is_forgotten_at_a_rate():
    gain = critical_gain("tanh", 0.05**0.5)
    assert gain**2 == pytest.approx(1.76, abs=0.01)  # Schoenholz et al. 2017, section 5
    assert correlation_fixed_point("tanh", gain, 0.05**0.5).depth_scale == math.inf
    for gain in (1.0, math.sqrt(2.0), 2.0):
        found = correlation_fixed_point("relu", gain)
        assert (found.c, found.depth_scale) == (1.0, math.inf)


@pytest.mark.parametrize(("name", "gain", "bias_std"), [("tanh", 1.2, 0.3), ("tanh", 2.5, 0.3), ("sigmoid", 30.0, 1.0)])
def test_wide_networks_follow_it(name, gain, bias_std):
    """Two samples through 12 layers of 400 units, 12 networks; a correlation of n units is known to about 1/√n."""
    c, depth, width = 0.4, 12, 400
    theory = mean_field(name, gain, bias_std)
    rng = np.random.default_rng(0)
    measured = []
    for seed in range(12):
        u, w = rng.standard_normal((2, width))
        z = math.sqrt(theory.q) * np.stack([u, c * u + math.sqrt(1 - c * c) * w])
        layers = mlp([width] * (depth + 1), name, "lecun_normal", gain=gain)
        network = Network(layers, seed=seed)
        for p in network.parameters:
            if p.attribute == "b":
                network.params[p.where] = bias_std * rng.standard_normal(width)
        tape = network.forward(ACTIVATIONS[name]().forward(z))
        found = []
        for pre in tape[1::2]:
            found.append(pre[0] @ pre[1] / np.sqrt((pre[0] @ pre[0]) * (pre[1] @ pre[1])))
        measured.append(found)
    expected = [c]
    for _ in range(depth):
        expected.append(correlation_map(name, expected[-1], gain, bias_std, q=theory.q))
    error = np.std(measured, axis=0) / math.sqrt(12) + 1e-3
    assert np.all(np.abs(np.mean(measured, axis=0) - expected[1:]) < 5.0 * error)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: correlation_map("tanh", 1.5, 1.0), "c: 1.5 is not"),
        (lambda: correlation_map("tanh", math.nan, 1.0), "c: nan is not"),
        (lambda: correlation_map("tanhh", 0.5, 1.0), "did you mean 'tanh'"),
        (lambda: correlation_map("tanh", 0.5, 0.0), "gain: 0.0 is not"),
        (lambda: correlation_map("tanh", 0.5, 1.0, -1.0), "bias_std: -1.0 is not"),
        (lambda: correlation_map("tanh", 0.5, 1.0, q=-1.0), "q: -1.0 is not"),
        (lambda: correlation_fixed_point("tanh", -1.0), "gain: -1.0 is not"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
