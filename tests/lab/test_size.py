import pytest

from gradlab.lab.build import load_data
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.experiment import run_experiment
from gradlab.lab.results import HISTORY
from gradlab.lab.run_folder import RunFolder
from gradlab.lab.size import MAX_REPLICAS, estimate, replicas_at_once
from gradlab.lab.sweep import carry_out
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


@pytest.mark.parametrize("engine", ENGINES)
def test_the_estimate_is_not_far_from_the_truth(tmp_path, engine):
    import tracemalloc

    text = "seeds = 8\nnetwork.depth = 6\nnetwork.width = 64\ntraining.epochs = 2\ntraining.batch_size = 64"
    text += f"\ntraining.engine = '{engine}'"
    path = tmp_path / "large.toml"
    path.write_text(text, encoding="utf-8")
    (experiment,) = load_config(path).experiments
    data = load_data(experiment)
    run_experiment(experiment, data)
    tracemalloc.start()
    result = run_experiment(experiment, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = estimate(experiment)
    assert sum(t[0].size for t in result.tensors.values()) == size.parameters
    assert 0.5 < size.memory / peak < 2.5


def test_the_bytes_on_disk_are_foreseen(tmp_path):
    config = configured(tmp_path, 'probe.every = "step"\nnetwork.dtype = "float32"\nnetwork.batch_norm = true')
    (experiment,) = config.experiments
    with RunFolder(tmp_path / "run", config) as folder:
        folder.finish([carry_out(experiment, load_data(experiment), folder.path)], [])
    kept = sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file())
    assert 0.7 < estimate(experiment).disk / kept < 1.4


def test_what_is_recorded_of_a_long_training_does_not_grow_with_it(tmp_path):
    sizes = []
    for epochs in (10_000, 100_000):
        (tmp_path / "long.toml").write_text(f'training.epochs = {epochs}\nprobe.every = "step"', encoding="utf-8")
        (experiment,) = load_config(tmp_path / "long.toml").experiments
        sizes.append(estimate(experiment))
    first, second = (size.recorded_steps for size in sizes)
    assert first.count <= 2000
    assert second.count <= 2000
    assert second.stride == 10 * first.stride
    assert sizes[1].memory - sizes[0].memory == 8 * len(HISTORY) * 90_000  # the losses of each epoch


def test_compiled_seeds_are_trained_together_as_far_as_memory_goes(tmp_path):
    (experiment,) = configured(tmp_path, "training.engine = 'plain'").experiments

    def together(width, engine="compiled", **changed):
        training = experiment.training.model_copy(update={"engine": engine, **changed})
        network = experiment.network.model_copy(update={"width": width})
        return replicas_at_once(experiment.model_copy(update={"training": training, "network": network}), 60, 2)

    assert together(4) == MAX_REPLICAS
    assert 1 < together(2000) < MAX_REPLICAS
    assert together(10_000) == 1
    assert together(4, patience=3) == 1
    assert together(400, "plain") < together(400)
