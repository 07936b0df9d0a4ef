import numpy as np
import pytest

from gradlab.flow import FlowRecorder
from gradlab.nn import OPTIMIZERS, Adam, BinaryCrossEntropy, Network, mlp, schedules
from gradlab.training import early_stopping, train
from gradlab.training.generators import positions

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = (X[:, 0] > 0).astype(float)
BCE = BinaryCrossEntropy()
OPTIONS = {"sgd": {"momentum": 0.9, "nesterov": True}}
EPOCHS = 6


class Training:
    """Everything at once: dropout, batch normalisation, a schedule, clipping, early stopping, a recorder."""

    def __init__(self, optimizer="adam", seed=(0, 3), dtype="float64", patience=2):
        self.network = Network(mlp([3, 5, 5, 1], "tanh", dropout=0.2, batch_norm=True), seed=seed, dtype=dtype)
        self.optimizer = OPTIMIZERS[optimizer](0.05, **OPTIONS.get(optimizer, {}))
        self.recorder = FlowRecorder(what=["weight_gradient_norm", "update_ratio"])
        self.patience = patience

    def run(self, until=None, start=None):
        """Train, from a start or from the beginning; return what is needed to go on after epoch `until`."""
        if start is not None:
            self.recorder.restore(start[1])
            start = start[0]
        options = {"epochs": EPOCHS, "batch_size": 8, "schedule": schedules.cosine(EPOCHS, 0.0), "clip_norm": 1.0}
        steps = train(self.network, BCE, self.optimizer, X, Y, **options, start=start)
        if self.patience:
            steps = early_stopping(steps, self.score, self.patience, start=start)
        for step in steps:
            self.recorder(step)
            if step.ends_epoch and step.epoch == until and not step.ends_training:
                return step.state(), self.recorder.state()
        return None

    def score(self, network):
        return BCE.value(network.decision_function(X), Y[:, np.newaxis])

    def end(self):
        kept = {f"optimizer.{name}": array for name, array in self.optimizer.state().items()}
        kept |= {"params": self.network.params, "state": self.network.state, "streams": positions(self.network.streams)}
        return kept | self.recorder.table()


@pytest.mark.parametrize("patience", [0, 2])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", [4, (0, 3)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_continued_training_ends_as_if_it_had_never_stopped(optimizer, seed, dtype, patience):
    whole = Training(optimizer, seed, dtype, patience)
    whole.run()
    for until in (0, 3):
        kept = Training(optimizer, seed, dtype, patience).run(until)
        if kept is None:
            continue
        continued = Training(optimizer, seed, dtype, patience)
        continued.run(start=kept)
        for name, array in whole.end().items():
            np.testing.assert_array_equal(continued.end()[name], array, err_msg=name)
            assert continued.end()[name].dtype == array.dtype, name


def test_a_kept_state_is_a_copy_and_survives_a_file(tmp_path):
    kept = Training(patience=0).run(1)[0]
    np.savez(tmp_path / "state.npz", **kept)
    later = Training(patience=0)
    later.run(start=(kept, {}))
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        for name in file.files:
            np.testing.assert_array_equal(file[name], kept[name], err_msg=name)


def test_a_divergence_names_the_same_loss_after_a_restart():
    def diverge(start=None):
        network = Network(mlp([3, 4, 1], "relu"), seed=0)
        states = []
        try:
            for step in train(
                network, BCE, OPTIMIZERS["sgd"](1e3), X, Y, epochs=300, batch_size=30, l2=1e3, start=start
            ):
                states.append(step.state())
        except ArithmeticError as error:
            return str(error), states
        return "", states

    said, states = diverge()
    assert "the last finite loss was" in said
    assert diverge(states[-1])[0] == said


@pytest.mark.parametrize(
    "change, wanted",
    [
        ({"params": None}, "start: 'params' is missing"),
        ({"params": np.zeros(3)}, r"start: 'params' is float64 \(3,\); here it must be float64"),
        ({"optimizer.t": np.array(3.0)}, "start: 'optimizer.t' is float64"),
        ({"streams": np.full((2, 6), 2**40, np.uint64)}, "is no state of a generator"),
        ({"epochs": np.array(EPOCHS)}, "6 epochs are done, of 6"),
        ({"engine": None}, "start: 'engine' is missing"),
        ({"engine": np.array(2)}, r"start: 'engine' is 2; it must be one of 0 \(plain\), 1 \(compiled\)"),
        ({"engine": np.array(-1)}, "start: 'engine' is -1"),
        ({"epochs": np.array(-1)}, "-1 epochs are done"),
        ({"best.waited": np.array([2, 5])}, "2 epochs had gone by without a better score"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(change, wanted):
    kept, recorded = Training().run(0)
    start = {name: array for name, array in (dict(kept) | change).items() if array is not None}
    training = Training()
    with pytest.raises(ValueError, match=wanted):
        training.run(start=(start, recorded))
    if not {"streams", "best.waited"} & change.keys():  # those are looked at later
        np.testing.assert_array_equal(training.network.params, Training().network.params)


def test_only_what_ends_an_epoch_can_be_kept():
    steps = train(Network(mlp([3, 2, 1]), seed=0), BCE, Adam(), X, Y, epochs=1, batch_size=8)
    with pytest.raises(ValueError, match="step 0 does not end an epoch"):
        next(steps).state()
    (step,) = train(Network(mlp([3, 2, 1]), seed=0), BCE, Adam(), X, Y, epochs=1, batch_size=30, shuffle=np.flip)
    with pytest.raises(ValueError, match="shuffle: the order is a function's; such a training cannot be kept"):
        step.state()


def test_the_last_step_says_so():
    last = [
        step.ends_training for step in train(Network(mlp([3, 2, 1]), seed=0), BCE, Adam(), X, Y, epochs=2, batch_size=8)
    ]
    assert last == [False] * 7 + [True]
    steps = train(Network(mlp([3, 2, 1]), seed=0), BCE, Adam(), X, Y, epochs=9, batch_size=30)
    assert [s.ends_training for s in early_stopping(steps, lambda _: 0.0, 2)] == [False, False, True]
