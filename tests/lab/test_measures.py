"""The measures are scikit-learn's, and what they say of a gradient is right where the ratio is blind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from gradlab.lab.measures import majority, of_flow, scores
from gradlab.lab.names import MEASURES

LOGITS = arrays(np.float64, (3, 12), elements=st.sampled_from([-30.0, -1.5, -0.5, 0.0, 0.25, 1.0, 30.0]))
LABELS = arrays(np.float64, 12, elements=st.sampled_from([0.0, 1.0])).filter(lambda y: 0.0 < y.mean() < 1.0)


@given(LOGITS, LABELS)
def test_the_scores_are_scikit_learns(logits, y):
    found = scores(logits, y)
    for r, row in enumerate(logits):
        said, p = row > 0.0, 1.0 / (1.0 + np.exp(-row))
        expected = {
            "balanced_accuracy": metrics.balanced_accuracy_score(y, said),
            "f1": metrics.f1_score(y, said, zero_division=0.0),
            "roc_auc": metrics.roc_auc_score(y, row),
            "log_loss": metrics.log_loss(y, np.stack([1.0 / (1.0 + np.exp(row)), p], axis=1)),
        }
        for name, value in expected.items():
            assert found[name][r] == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_with_one_class_the_area_is_not_known_and_nothing_warns():
    found = scores(np.array([[1.0, -2.0, 3.0]]), np.ones(3))
    assert np.isnan(found["roc_auc"]).all()
    assert found["balanced_accuracy"] == pytest.approx(2 / 3)
    assert scores(np.array([[-1.0, -2.0]]), np.zeros(2))["f1"] == 0.0


def test_float32_logits_are_measured_in_float64():
    assert scores(np.array([[200.0, -200.0]], np.float32), np.array([1.0, 0.0]))["log_loss"].dtype == np.float64


def test_the_majority_is_the_larger_class():
    assert majority(np.array([0.0, 0.0, 0.0, 1.0])) == majority(np.array([1.0, 1.0, 1.0, 0.0])) == 0.75


def test_layers_that_vanish_alike_are_seen_by_the_least_norm():
    alike = of_flow(np.full((5, 2), 1e-5))
    np.testing.assert_allclose(alike["gradient_ratio"], 1.0)
    np.testing.assert_allclose(alike["least_gradient"], 1e-5)
    falling = of_flow(np.array([[1e-4], [1e-2], [1.0]]))
    np.testing.assert_allclose([*falling["gradient_ratio"], *falling["gradient_decay"]], [1e-4, 1e-2])
    assert of_flow(np.array([[3.0]]))["gradient_decay"] == 1.0


def test_every_measure_that_a_claim_may_name_is_computed():
    of_scores = {f"test_{name}" for name in scores(np.ones((1, 2)), np.array([0.0, 1.0]))}
    flow = set(of_flow(np.ones((2, 1))))
    own = {"test_accuracy", "train_accuracy", "test_loss", "train_loss", "test_majority"}
    assert set(MEASURES) == own | of_scores | flow | {f"final_{name}" for name in flow}
