import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

from gradlab.lab.build import build_loss, build_network, build_optimizer, build_weights, load_data
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.experiment import run_experiment
from gradlab.lab.figures import draw
from gradlab.lab.log import read_history
from gradlab.lab.names import MEASURES
from gradlab.lab.results import judge
from gradlab.lab.run_folder import RunFolder, read_arrays, read_summary
from gradlab.lab.sweep import carry_out
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


def numbers(result):
    """All arrays of a result, by name."""
    parts = {"final": result.final, "flow": result.flow, "tensors": result.tensors, "boundary": result.boundary}
    parts |= {f"history-{i}": history for i, history in enumerate(result.history)}
    return {f"{part}/{name}": array for part, arrays in parts.items() for name, array in arrays.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_training_seeds_together_or_one_by_one_gives_the_same_numbers(tmp_path, monkeypatch, engine):
    together = trained(tmp_path, engine=engine)
    monkeypatch.setattr("gradlab.lab.size.MAX_REPLICAS", 1)
    alone = trained(tmp_path, engine=engine)
    assert [history["train_loss"].shape for history in alone.history] == [(5, 1)] * 3
    together.history, alone.history = [], []
    np.testing.assert_equal(numbers(together), numbers(alone))
    assert together.median_seed == alone.median_seed


@pytest.mark.skipif(not compiled.is_installed(), reason="no Numba")
@pytest.mark.parametrize("text", ["", "probe.every = 'step'\nnetwork.dropout = 0.2\ntraining.optimizer = 'adam'"])
def test_the_compiled_engine_gives_the_numbers_of_the_plain_one_on_any_number_of_threads(tmp_path, text):
    plain, one, two = (trained(tmp_path, text, *how) for how in (("plain",), ("compiled", 1), ("compiled", 2)))
    np.testing.assert_equal(numbers(one), numbers(two))
    assert numbers(plain).keys() == numbers(one).keys()
    for name, array in numbers(plain).items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(numbers(one)[name], array, rtol=1e-8, atol=1e-13, err_msg=name)
        else:
            np.testing.assert_array_equal(numbers(one)[name], array, err_msg=name)


def test_the_gradient_ratio_is_first_over_last_layer(tmp_path):
    result = trained(tmp_path)
    norms = result.flow["weight_gradient_norm"]
    assert norms.shape == (5, 3, 3)  # the first step and the end of four epochs, three layers, three seeds
    np.testing.assert_array_equal(result.final["gradient_ratio"], norms[0, 0] / norms[0, 2])
    np.testing.assert_array_equal(result.final["final_gradient_ratio"], norms[4, 0] / norms[4, 2])


def test_the_kept_parameters_give_the_reported_accuracy(tmp_path):
    result = trained(tmp_path, "network.batch_norm = true")
    data = load_data(result.experiment)
    for r, seed in enumerate(result.experiment.seeds):
        network = build_network(result.experiment.network, data, seed)
        for p in network.parameters:
            network.params[p.where] = result.tensors[p.name][r].ravel()
        for p in network.states:
            network.state[p.where] = result.tensors[p.name][r].ravel()
        right = (network.predict_proba(data.x_test)[:, 0] > 0.5) == data.y_test
        assert right.mean() == result.final["test_accuracy"][r]


def test_balanced_classes_are_weighed_as_scikit_learn_weighs_them(tmp_path):
    text = 'data.name = "breast_cancer"\ntraining.class_weight = "balanced"\nseeds = 1\nnetwork.width = 4\n'
    (tmp_path / "c.toml").write_text(text + "training.epochs = 2\n", encoding="utf-8")
    (experiment,) = settle(load_config(tmp_path / "c.toml"))[0].experiments
    data = load_data(experiment)
    weights = compute_sample_weight("balanced", data.y_train)
    np.testing.assert_allclose(build_weights(experiment.training, data.y_train), weights)
    network, training = build_network(experiment.network, data, 0), experiment.training
    optimizer = build_optimizer(training, network)
    for _ in train(
        network, build_loss(training), optimizer, data.x_train, data.y_train, epochs=2, batch_size=32,
        weights=weights, engine=training.engine,
    ):  # fmt: skip
        pass
    result = run_experiment(experiment, data)
    np.testing.assert_array_equal(result.tensors["0.W"][0], network.layers[0].W)


def test_early_stopping_puts_the_best_weights_back(tmp_path):
    text = "training.epochs = 200\ntraining.patience = 3\ntraining.learning_rate = 1.0\ndata.n_samples = 200"
    path = tmp_path / "early.toml"
    path.write_text("seeds = 3\n" + text, encoding="utf-8")
    (experiment,) = settle(load_config(path))[0].experiments
    data = load_data(experiment)
    assert len(data.x_valid) == 30  # a fifth of the training part's 150
    epochs = {}
    result = run_experiment(experiment, data, lambda _, epoch, seeds, numbers: epochs.update({seeds[0]: epoch}))
    assert max(epochs.values()) < 200
    assert result.flow["weight_gradient_norm"].shape[0] == max(epochs.values()) + 1
    assert np.isfinite(result.final["final_gradient_ratio"]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_divergence_keeps_what_was_recorded(tmp_path, engine):
    text = "network.activation = 'relu'\ntraining.learning_rate = 1e6\ntraining.l2 = 1e6\nprobe.every = 'step'\n"
    text += f"training.engine = '{engine}'"
    epochs = []
    (experiment,) = configured(tmp_path, text).experiments
    result = run_experiment(experiment, load_data(experiment), lambda *numbers: epochs.append(numbers[1]))
    assert "training diverged in epoch" in result.diverged
    assert epochs[0] == 0
    assert result.tensors
    at = int(result.diverged.split("step ")[1].split(":")[0])
    assert at > 3 * (len(epochs) - 2)
    assert result.flow["step"].tolist() == list(range(at))  # all steps before, those of the epoch under way too


def run_into(folder, tmp_path, text=""):
    config = configured(tmp_path, text)
    results = []
    with RunFolder(folder, config) as run:
        for experiment in run.config.experiments:
            results.append(carry_out(experiment, load_data(experiment), folder, None, run.epoch))
        verdicts = [judge(c, r) for c in config.expectations for r in results]
        summary = run.finish(results, verdicts)
        run.done()
    return results, summary


def test_the_folder_holds_what_was_found(tmp_path):
    (result,), summary = run_into(tmp_path / "run", tmp_path)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "config.toml", "environment.json", "metrics.jsonl", "results", "flow.npz", "model.safetensors", "boundary.npz",
        "summary.json", "DONE",
    }  # fmt: skip
    assert read_summary(tmp_path / "run") == summary
    history = read_history(tmp_path / "run")["small"]
    assert history["train_loss"].shape == (5, 3)
    assert np.isnan(history["running_loss"][0]).all()
    np.testing.assert_array_equal(history["test_accuracy"][-1], result.final["test_accuracy"])
    flow = read_arrays(tmp_path / "run", "flow.npz")["small"]
    np.testing.assert_array_equal(flow["weight_gradient_norm"], result.flow["weight_gradient_norm"])
    assert summary["variants"]["small"]["test_accuracy"]["values"] == result.final["test_accuracy"].tolist()

    from safetensors.numpy import load_file

    tensors = load_file(tmp_path / "run" / "model.safetensors")
    np.testing.assert_array_equal(tensors["small/0.W"], result.tensors["0.W"])


def test_a_torn_last_line_of_the_log_is_passed_over(tmp_path):
    run_into(tmp_path / "run", tmp_path)
    log = tmp_path / "run" / "metrics.jsonl"
    whole = log.read_text()
    log.write_text(whole[: len(whole) - 20])
    assert read_history(tmp_path / "run")["small"]["train_loss"].shape == (4, 3)


def test_nothing_is_written_over(tmp_path):
    run_into(tmp_path / "run", tmp_path)
    with pytest.raises(FileExistsError, match="not empty"):
        run_into(tmp_path / "run", tmp_path)


def test_a_failed_write_leaves_no_half_file(tmp_path):
    from gradlab.files import whole_or_not_at_all

    def fail_halfway():
        with whole_or_not_at_all(tmp_path / "a") as file:
            file.write(b"half")
            raise OSError("disk full")

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="disk"):
        fail_halfway()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("", {"decision_boundary"}),
        ('data.name = "hastie"', set()),
        ("[sweep]\nnetwork.width = [2, 3]", {"decision_boundary", "sweep"}),
        ('[sweep]\nnetwork.activation = ["relu", "tanh"]', {"decision_boundary"}),
        ('[sweep]\nnetwork.activation = ["relu", "tanh"]\nnetwork.depth = [1, 2]', {"decision_boundary", "sweep_map"}),
        ("[sweep]\nnetwork.width = [2, 3]\nnetwork.depth = [1, 2]\ntraining.epochs = [2, 3]", {"decision_boundary"}),
        ("probe.what = ['dead_share', 'update_ratio']", {"decision_boundary", "flow_dead_share", "flow_update_ratio"}),
    ],
)
def test_every_figure_there_are_numbers_for_is_drawn(tmp_path, text, wanted):
    run_into(tmp_path / "run", tmp_path, text)
    files = draw(tmp_path / "run")
    assert {f.stem for f in files} == wanted | {"gradient_by_layer", "gradient_over_time", "learning_curves", "sigmoid"}
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in files)


def test_biases_have_the_standard_deviation_that_is_asked_for(tmp_path):
    (experiment,) = configured(tmp_path, "network.bias_std = 0.2236").experiments
    network = build_network(experiment.network, load_data(experiment), range(500))
    np.testing.assert_allclose([np.std(network.layers[2].b), np.mean(network.layers[2].b)], [0.2236, 0.0], atol=0.02)


def test_the_measures_are_those_of_the_trained_networks(tmp_path):
    result = trained(tmp_path)
    (experiment,) = configured(tmp_path).experiments
    assert set(result.final) == set(MEASURES)
    data = load_data(experiment)
    assert result.final["test_log_loss"] == pytest.approx(result.final["test_loss"])
    assert set(result.final["test_majority"]) == {max(data.y_test.mean(), 1 - data.y_test.mean())}
    assert ((result.final["test_balanced_accuracy"] >= 0.0) & (result.final["test_roc_auc"] <= 1.0)).all()
    assert (result.final["least_gradient"] <= result.flow["weight_gradient_norm"][0].max(axis=0)).all()
