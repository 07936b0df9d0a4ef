"""What a training records between hand-overs is what a recorder would have seen of every step."""

import numpy as np
import pytest
from trainings import BCE, SEEDS, X, Y, make

from gradlab.flow import FlowRecorder
from gradlab.nn import Adam, BatchNorm, Dense, Network, Residual, Sigmoid, Tanh
from gradlab.training import train
from gradlab.training.recording import QUANTITIES

OPTIONS = {"epochs": 3, "batch_size": 4, "alpha": 0.1, "clip_norm": 0.5}  # three batches an epoch


def deep(seed, dtype):
    inside = Residual([Dense(4, 4), Sigmoid(), Residual([Dense(4, 4)])])
    return Network([BatchNorm(2), Dense(2, 4), Tanh(), inside, Dense(4, 1)], seed=seed, dtype=dtype)


def joined(records):
    """Put what was taken at each hand-over one below the other."""
    return {name: np.concatenate([taken[name] for taken in records]) for name in records[0]}


@pytest.mark.parametrize("seed", [3, SEEDS], ids=["one", "replicas"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("each", ["step", "epoch", 2])
@pytest.mark.parametrize(
    "every, wanted", [("step", range(9)), ("epoch", [0, 2, 5, 8]), (2, [0, 2, 4, 6, 8]), (5, [0, 5])]
)
def test_what_is_recorded_is_what_a_recorder_sees_of_every_step(every, wanted, each, dtype, seed):
    recorder, own = FlowRecorder("step", list(QUANTITIES)), []
    quiet, watched = deep(seed, dtype), deep(seed, dtype)
    for step in train(watched, BCE, Adam(0.05), X, Y, **OPTIONS):
        recorder(step)
        assert step.recorded == {}
    for step in train(quiet, BCE, Adam(0.05), X, Y, **OPTIONS, each=each, record=list(QUANTITIES), record_every=every):
        if step.recorded:
            own.append(step.recorded)
            assert own[-1]["step"][-1] <= step.index
    recorded, seen = joined(own), recorder.table()
    assert recorded["step"].tolist() == list(wanted)
    assert recorded["epoch"].tolist() == [i // 3 for i in wanted]
    assert recorded["ends_epoch"].tolist() == [i % 3 == 2 for i in wanted]
    for name in QUANTITIES:
        np.testing.assert_array_equal(recorded[name], seen[name][list(wanted)], err_msg=name)
    assert recorded["weight_norm"].dtype == dtype
    np.testing.assert_array_equal(quiet.params, watched.params)


def test_what_was_recorded_is_handed_over_once_and_is_a_copy():
    steps = train(make(), BCE, Adam(), X, Y, **OPTIONS, each=2, record=["weight_norm"])
    taken = [(step.recorded, step.recorded["weight_norm"].copy()) for step in steps]
    assert [record["step"].tolist() for record, _ in taken] == [[0, 1], [2], [3], [4, 5], [6, 7], [8]]
    for record, before in taken:
        assert list(record) == ["step", "epoch", "ends_epoch", "weight_norm"]
        assert record["weight_norm"].shape == (len(record["step"]), 3, 1)
        np.testing.assert_array_equal(record["weight_norm"], before)


def test_the_change_of_a_step_is_told_without_what_was_changed_between_steps():
    """A recorder knows W from the hand-over before; a training knows it from before its own step."""
    network = make()
    steps = train(network, BCE, Adam(0.05), X, Y, **OPTIONS, record=["update_ratio"])
    next(steps)
    network.params *= 3.0
    before = network.params.copy()
    step = next(steps)
    W = network.layers[0].W.ravel()
    expected = np.linalg.norm(W - before[: W.size]) / np.linalg.norm(before[: W.size])
    assert step.recorded["update_ratio"][0, 0, 0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"record": ["weight_norms"]}, "record: 'weight_norms' is not one of .*; did you mean 'weight_norm'"),
        ({"record": ["dead_share"]}, "record: 'dead_share' is not one of weight_gradient_norm, "),
        ({"record": [3]}, "record: 3 is not one of"),
        ({"record": ["weight_norm"], "record_every": 0}, "record_every: 0 is not a whole number of at least 1"),
        ({"record": ["weight_norm"], "record_every": "epochs"}, "record_every: 'epochs' is not 'step', 'epoch' or a"),
        ({"record": ["weight_norm"], "record_every": 1.5}, "record_every: 1.5 is not"),
        ({"record": ["weight_norm"], "network": Network([Tanh(), BatchNorm(2)])}, "has no weights whose gradient"),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_the_call(options, message):
    network = options.get("network") or make()
    options = {name: value for name, value in options.items() if name != "network"}
    kept = network.params.copy()
    with pytest.raises(ValueError, match=message):
        train(network, BCE, Adam(), X, np.zeros((10, 2)) if kept.size == 4 else Y, **OPTIONS, **options)
    np.testing.assert_array_equal(network.params, kept)
