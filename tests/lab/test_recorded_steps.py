import numpy as np
import pytest

from gradlab.flow import FlowRecorder
from gradlab.lab.build import build_loss, build_network, build_optimizer, load_data
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.experiment import run_experiment
from gradlab.lab.recording import RECORDED
from gradlab.lab.size import estimate
from gradlab.training import train
from gradlab.training.engines import compiled

ENGINES = ["plain", pytest.param("compiled", marks=pytest.mark.skipif(not compiled.is_installed(), reason="no Numba"))]
SMALL = """
seeds = 3
data.n_samples = 60
training.epochs = 4
training.batch_size = 16
network.depth = 2
network.width = 4
"""


def configured(tmp_path, text=""):
    path = tmp_path / "small.toml"
    path.write_text(SMALL + text, encoding="utf-8")
    return settle(load_config(path))[0]


def trained(tmp_path, text="", engine="auto", threads=None):
    (experiment, *_) = configured(tmp_path, f"training.engine = '{engine}'\n{text}").experiments
    return run_experiment(experiment, load_data(experiment), threads=threads)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("every", ["step", "epoch"])
def test_what_is_recorded_is_what_a_recorder_sees_at_every_step(tmp_path, engine, every):
    result = trained(tmp_path, f"probe.every = '{every}'", engine)
    e, data = result.experiment, load_data(result.experiment)
    network, recorder = build_network(e.network, data, e.seeds), FlowRecorder(every, RECORDED)
    optimizer = build_optimizer(e.training, network)
    options = {"epochs": e.training.epochs, "batch_size": e.training.batch_size, "engine": engine}
    for step in train(network, build_loss(e.training), optimizer, data.x_train, data.y_train, **options):
        recorder(step)
    np.testing.assert_allclose(
        recorder.table()["weight_gradient_norm"], result.flow["weight_gradient_norm"], rtol=1e-13
    )
    for name in ("step", "epoch", "zero_share", "subnormal_share"):
        np.testing.assert_array_equal(recorder.table()[name], result.flow[name])


WHAT = ("update_ratio", "dead_share", "activation_std", "bias_norm", "total_gradient_norm", "delta_rms@1")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("every", ["'epoch'", "2"])
@pytest.mark.parametrize("what", [("update_ratio", "weight_norm"), WHAT])
def test_what_else_is_asked_for_is_what_a_recorder_sees(tmp_path, engine, every, what):
    result = trained(tmp_path, f"probe.every = {every}\nprobe.what = {list(what)}", engine)
    e, data = result.experiment, load_data(result.experiment)
    network = build_network(e.network, data, e.seeds)
    recorder = FlowRecorder("epoch" if every == "'epoch'" else 2, what, x=data.x_train)
    optimizer = build_optimizer(e.training, network)
    options = {"epochs": e.training.epochs, "batch_size": e.training.batch_size, "engine": engine}
    for step in train(network, build_loss(e.training), optimizer, data.x_train, data.y_train, **options):
        recorder(step)
    table = recorder.table()
    np.testing.assert_array_equal(table["step"], result.flow["step"])
    for name in what:
        np.testing.assert_allclose(table[name], result.flow[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_experiment_that_was_interrupted_has_recorded_the_same_in_the_end(tmp_path, engine):
    text = f"training.engine = '{engine}'\nprobe.what = {list(WHAT)}"
    (experiment, *_) = configured(tmp_path, text).experiments
    data, kept = load_data(experiment), {}

    class Memory:
        def load(self, declare):
            if not kept:
                return None
            declared = declare(kept["about"])
            assert {n: a.shape for n, a in kept["arrays"].items()} == {n: shape for n, (_, shape) in declared.items()}
            return kept["about"], kept["arrays"]

        def due(self, epoch):
            return False

        def save(self, about, arrays):
            kept.update(about=about, arrays={name: np.array(array) for name, array in arrays.items()})

    def stop(_, epoch, *__):
        if epoch == 4 and not kept:
            raise KeyboardInterrupt

    assert run_experiment(experiment, data, stop, Memory()).interrupted
    resumed, whole = run_experiment(experiment, data, None, Memory()), run_experiment(experiment, data)
    assert set(whole.flow) == {"step", "epoch", *RECORDED, *WHAT}
    for name, values in whole.flow.items():
        np.testing.assert_array_equal(resumed.flow[name], values, err_msg=name)


@pytest.mark.parametrize(
    "every, limit, batch_size, stride",
    [
        ("step", 2000, 16, 1),  # 3 batches of the training part's 45 rows, 7 epochs: 21 steps
        ("step", 21, 16, 1),
        ("step", 20, 16, 2),
        ("step", 2, 16, 11),
        (2, 11, 16, 2),
        (2, 10, 16, 4),
        ("epoch", 8, 16, 1),  # the first step, and the ends of 7 epochs
        ("epoch", 7, 16, 2),
        ("epoch", 2, 16, 7),
        ("epoch", 8, 64, 1),  # the first step is the only one of its epoch
        ("epoch", 4, 64, 3),
        ("epoch", 3, 64, 4),
    ],
)
def test_no_more_is_recorded_than_the_limit(every, limit, batch_size, stride, tmp_path):
    text = f"""
        data.n_samples = 60
        training.epochs = 7
        training.batch_size = {batch_size}
        probe.every = {every!r}
        probe.limit = {limit}
    """
    (tmp_path / "long.toml").write_text(text, encoding="utf-8")
    (experiment,) = load_config(tmp_path / "long.toml").experiments
    result = run_experiment(experiment, load_data(experiment))
    steps, batches = result.flow["step"], -(-45 // batch_size)
    wanted = range(0, 7 * batches, stride)
    if every == "epoch":  # counted from the last
        wanted = sorted({0, *range(7 * batches - 1, -1, -stride * batches)} - ({-1} if batches > 1 else set()))
    assert list(steps) == list(wanted)
    assert len(steps) <= limit
    assert estimate(experiment).recorded_steps.count == len(steps)
    assert bool(estimate(experiment).recorded_steps.thinned) == (stride > (every if isinstance(every, int) else 1))
