"""Losses against arbitrary precision, central differences and PyTorch."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.nn import LOSSES, BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError

mp.mp.dps = 40
EACH = {**LOSSES, "squared_error on sigmoid": lambda: SquaredError(on="sigmoid")}
each_loss = pytest.mark.parametrize("make", EACH.values(), ids=EACH.keys())
both_widths = pytest.mark.parametrize("dtype", [np.float64, np.float32])


def sigma(z):
    return 1 / (1 + mp.exp(-z))


def exact_loss(loss, logits, targets):
    """Loss of one sample from its definition, in arbitrary precision."""
    z, t = [mp.mpf(float(v)) for v in logits], [mp.mpf(float(v)) for v in targets]
    if isinstance(loss, BinaryCrossEntropy):
        return sum(b * mp.log1p(mp.exp(-a)) + (1 - b) * mp.log1p(mp.exp(a)) for a, b in zip(z, t, strict=True))
    if isinstance(loss, SoftmaxCrossEntropy):
        log_sum = mp.log(sum(mp.exp(a) for a in z))
        return sum(b * (log_sum - a) for a, b in zip(z, t, strict=True))
    out = [sigma(a) for a in z] if loss.on == "sigmoid" else z
    return sum((a - b) ** 2 for a, b in zip(out, t, strict=True)) / 2


def batch(n=6, k=3, replicas=(), seed=0):
    """Draw logits and one-hot targets, which all losses take."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.0, 3.0, (*replicas, n, k)), np.eye(k)[rng.integers(0, k, n)]


@each_loss
@both_widths
def test_values_are_right(make, dtype):
    loss = make()
    rng = np.random.default_rng(0)
    logits = (rng.standard_normal((300, 3)) * 10.0 ** rng.uniform(-3, 2, (300, 1))).astype(dtype)
    targets = np.eye(3)[rng.integers(0, 3, 300)].astype(dtype)
    exact = [float(exact_loss(loss, z, t)) for z, t in zip(logits, targets, strict=True)]
    each = [float(loss.value(z[np.newaxis], t[np.newaxis])) for z, t in zip(logits, targets, strict=True)]
    # The largest logit is added and taken away again, and so is a target of 1.
    eps = float(np.finfo(dtype).eps)
    rounding = 4.0 * eps * (1.0 + np.abs(logits).max(axis=1) + exact)
    assert (np.abs(np.subtract(each, exact)) <= rounding).all()
    assert loss.value(logits, targets) == pytest.approx(np.mean(exact), rel=10.0 * eps)


@both_widths
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_binary_cross_entropy_keeps_its_digits_in_both_tails(dtype, target):
    loss = BinaryCrossEntropy()
    most, eps = (700.0 if dtype is np.float64 else 80.0), float(np.finfo(dtype).eps)
    logits = np.linspace(-most, most, 1001).astype(dtype)
    for z in logits:
        exact = float(exact_loss(loss, [z], [target]))
        value = loss.value(np.array([[z]]), np.array([[target]], dtype))
        assert value == pytest.approx(exact, rel=4.0 * eps, abs=0.0)


@both_widths
def test_binary_cross_entropy_is_not_clipped(dtype):
    loss = BinaryCrossEntropy()
    logits = np.array([[50.0]], dtype)
    assert loss.value(logits, np.array([[0.0]], dtype)) == 50.0
    assert loss.gradient(logits, np.array([[0.0]], dtype)) == 1.0


def test_binary_cross_entropy_of_a_confident_right_answer_is_not_rounded_to_zero():
    exact = float(mp.log1p(mp.exp(-40)))  # 4.2e-18
    assert BinaryCrossEntropy().value(np.array([[40.0]]), np.array([[1.0]])) == pytest.approx(exact, rel=1e-12, abs=0.0)


@both_widths
@each_loss
def test_no_logit_overflows(make, dtype):
    loss = make()
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [745.0, -745.0], [37.0, 0.0], [0.0, 0.0]], dtype)
    targets = np.tile(np.array([[0.0, 1.0]], dtype), (5, 1))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(loss.value(logits, targets))
        assert np.isfinite(loss.gradient(logits, targets)).all()


def test_a_softmax_that_is_right_beyond_all_digits_has_a_loss_of_0_and_not_of_minus_0():
    [loss] = SoftmaxCrossEntropy().sample_losses(np.array([[1000.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert (loss, np.signbit(loss)) == (0.0, False)


def test_the_fused_slopes_are_output_minus_target():
    logits, targets = batch()
    y = 1.0 / (1.0 + np.exp(-logits))
    np.testing.assert_allclose(BinaryCrossEntropy().gradient(logits, targets), (y - targets) / 6, rtol=1e-12)
    y = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(SoftmaxCrossEntropy().gradient(logits, targets), (y - targets) / 6, rtol=1e-12)
    np.testing.assert_allclose(SquaredError().gradient(logits, targets), (logits - targets) / 6, rtol=1e-12)


def test_a_fused_slope_does_not_stall_where_the_output_is_wrong_and_saturated():
    logits, targets = np.array([[40.0]]), np.array([[0.0]])
    assert BinaryCrossEntropy().gradient(logits, targets) == 1.0


def test_squared_error_on_the_sigmoid_keeps_its_slope_and_stalls():
    z, t = np.array([[-30.0]]), np.array([[1.0]])
    s = sigma(mp.mpf(-30))
    slope = SquaredError(on="sigmoid").gradient(z, t)
    assert float(slope.item()) == pytest.approx(float((s - 1) * s * (1 - s)), rel=1e-14, abs=0.0)  # −9.4e-14
    assert SquaredError().gradient(z, t) == -31.0


@each_loss
@given(
    n=st.integers(1, 6), k=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), soft=st.booleans(), weighted=st.booleans()
)
@settings(max_examples=40, deadline=None)
def test_the_gradient_is_the_slope_of_the_value(make, n, k, seed, soft, weighted):
    loss, rng = make(), np.random.default_rng(seed)
    logits = rng.normal(0.0, 2.0, (n, k))
    targets = rng.random((n, k)) if soft else rng.integers(0, 2, (n, k)).astype(float)
    weights = rng.uniform(0.1, 2.0, n) if weighted else None
    analytic, h = loss.gradient(logits, targets, weights), 1e-4
    for entry in np.ndindex(n, k):
        step = np.zeros((n, k))
        step[entry] = h
        rise = loss.value(logits + step, targets, weights) - loss.value(logits - step, targets, weights)
        # The difference is off by h²·l'''/6 and by the rounding of values of size 100 over 2h.
        assert analytic[entry] == pytest.approx(rise / (2 * h), rel=0.0, abs=1e-9)


@pytest.mark.parametrize("soft", [False, True], ids=["one-hot", "probabilities"])
def test_values_and_gradients_are_pytorchs(soft):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional  # noqa: N806
    logits, targets = batch(n=20)
    if soft:
        targets = np.random.default_rng(1).dirichlet(np.ones(3), 20)
    references = {
        BinaryCrossEntropy(): lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="sum") / 20,
        SoftmaxCrossEntropy(): F.cross_entropy,
        SquaredError(): lambda z, t: F.mse_loss(z, t, reduction="sum") / 40,
        SquaredError(on="sigmoid"): lambda z, t: F.mse_loss(torch.sigmoid(z), t, reduction="sum") / 40,
    }
    for loss, reference in references.items():
        z = torch.tensor(logits, requires_grad=True)
        value = reference(z, torch.tensor(targets))
        value.backward()
        np.testing.assert_allclose(loss.value(logits, targets), value.item(), rtol=1e-13)
        np.testing.assert_allclose(loss.gradient(logits, targets), z.grad.numpy(), rtol=1e-12, atol=1e-16)


@each_loss
def test_the_mean_is_over_samples(make):
    loss = make()
    logits, targets = batch()
    twice, targets_twice = np.tile(logits, (2, 1)), np.tile(targets, (2, 1))
    np.testing.assert_allclose(loss.value(twice, targets_twice), loss.value(logits, targets), rtol=1e-14)
    pulls = loss.gradient(twice, targets_twice)
    np.testing.assert_allclose(pulls[:6] + pulls[6:], loss.gradient(logits, targets), rtol=1e-14)


@each_loss
def test_a_whole_weight_counts_a_sample_that_often(make):
    loss = make()
    logits, targets = batch()
    weights = np.array([3, 1, 0, 2, 1, 5])
    repeated, repeated_targets = np.repeat(logits, weights, axis=0), np.repeat(targets, weights, axis=0)
    np.testing.assert_allclose(
        loss.value(logits, targets, weights), loss.value(repeated, repeated_targets), rtol=1e-14, atol=0.0
    )
    ends = np.cumsum(weights)
    pulls = loss.gradient(repeated, repeated_targets)
    sums = [pulls[end - weight : end].sum(axis=0) for end, weight in zip(ends, weights, strict=True)]
    np.testing.assert_allclose(loss.gradient(logits, targets, weights), sums, rtol=1e-13, atol=0.0)


@each_loss
def test_only_the_ratios_of_weights_matter(make):
    loss = make()
    logits, targets = batch()
    np.testing.assert_allclose(
        loss.value(logits, targets, np.full(6, 7.0)), loss.value(logits, targets), rtol=1e-14, atol=0.0
    )
    np.testing.assert_allclose(
        loss.gradient(logits, targets, np.full(6, 7.0)), loss.gradient(logits, targets), rtol=1e-13, atol=0.0
    )


@each_loss
def test_weights_may_be_a_row_or_a_column_and_each_replicas_own(make):
    loss = make()
    logits, targets = batch(replicas=(2,))
    weights = np.random.default_rng(1).uniform(0.1, 2.0, (2, 6))
    for shared in (weights[0], weights[0][:, np.newaxis]):
        for r in range(2):
            assert loss.value(logits, targets, shared)[r] == loss.value(logits[r], targets, weights[0])
            assert np.array_equal(
                loss.gradient(logits, targets, shared)[r], loss.gradient(logits[r], targets, weights[0])
            )
    for own in (weights, weights[..., np.newaxis]):
        for r in range(2):
            assert loss.value(logits, targets, own)[r] == loss.value(logits[r], targets, weights[r])
            assert np.array_equal(loss.gradient(logits, targets, own)[r], loss.gradient(logits[r], targets, weights[r]))


@each_loss
def test_as_many_replicas_as_samples_do_not_mix_up_the_weights(make):
    loss = make()
    logits, targets = batch(n=3, replicas=(3,))
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    values = [loss.value(logits[r, r : r + 1], targets[r : r + 1]) for r in range(3)]
    np.testing.assert_allclose(loss.value(logits, targets, weights), values, rtol=1e-14)


@each_loss
def test_a_batch_of_weight_0_pulls_nowhere(make):
    logits, targets = batch()
    assert not make().gradient(logits, targets, np.zeros(6)).any()


@each_loss
@both_widths
def test_a_replica_has_the_loss_it_would_have_alone(make, dtype):
    loss = make()
    logits, targets = batch(n=17, replicas=(3,))
    logits, targets = logits.astype(dtype), targets.astype(dtype)
    value, gradient = loss.value(logits, targets), loss.gradient(logits, targets)
    own = loss.value(logits, np.stack([targets] * 3))
    assert value.shape == (3,)
    assert np.array_equal(value, own)
    for r in range(3):
        assert value[r] == loss.value(logits[r], targets)
        assert np.array_equal(gradient[r], loss.gradient(logits[r], targets))


@each_loss
def test_float32_stays_float32(make):
    logits, targets = batch()
    z, t = logits.astype(np.float32), targets.astype(np.float32)
    loss = make()
    assert loss.value(z, t).dtype == loss.gradient(z, t).dtype == loss.value(z, t, np.ones(6)).dtype == np.float32
    np.testing.assert_allclose(loss.value(z, t), loss.value(logits, targets), rtol=1e-6)
    np.testing.assert_allclose(loss.gradient(z, t), loss.gradient(logits, targets), rtol=1e-5, atol=1e-7)


@each_loss
def test_value_and_gradient_change_nothing_that_is_given(make):
    loss = make()
    logits, targets = batch()
    weights = np.arange(1.0, 7.0)
    given = [array.copy() for array in (logits, targets, weights)]
    loss.value(logits, targets, weights)
    gradient = loss.gradient(logits, targets, weights)
    for array, before in zip((logits, targets, weights), given, strict=True):
        assert np.array_equal(array, before)
        assert not np.may_share_memory(array, gradient)


@each_loss
@pytest.mark.parametrize(
    "logits, targets", [((6, 1), (6,)), ((6, 3), (6,)), ((6, 3), (5, 3)), ((2, 6, 3), (3, 6, 3)), ((6,), (6,))]
)
def test_an_error_names_both_shapes(make, logits, targets):
    for method in (make().value, make().gradient):
        with pytest.raises(ValueError, match="targets of shape") as error:
            method(np.zeros(logits), np.zeros(targets))
        assert str(logits) in str(error.value)
        assert str(targets) in str(error.value)


@each_loss
@pytest.mark.parametrize("weights", [(5,), (6, 3), (1, 6), (3, 6), (6, 6), ()])
def test_an_error_names_the_shape_of_the_weights(make, weights):
    logits, targets = batch()
    for method in (make().value, make().gradient):
        with pytest.raises(ValueError, match="weights of shape") as error:
            method(logits, targets, np.ones(weights))
        assert str(weights) in str(error.value)
        assert "(6, 3)" in str(error.value)


def test_squared_error_names_what_it_cannot_stand_on():
    with pytest.raises(ValueError, match=r"on: 'sigmod' is not one of identity, sigmoid; did you mean 'sigmoid'\?"):
        SquaredError(on="sigmod")


def test_losses_are_found_by_name():
    assert list(LOSSES) == ["binary_cross_entropy", "softmax_cross_entropy", "squared_error"]
    assert all(isinstance(make(), Loss) for make in LOSSES.values())
    assert [repr(make()) for make in EACH.values()] == [
        "BinaryCrossEntropy()",
        "SoftmaxCrossEntropy()",
        "SquaredError(on='identity')",
        "SquaredError(on='sigmoid')",
    ]
