import errno
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gradlab import files
from gradlab.lab import checkpoints, log
from gradlab.lab import experiment as lab
from gradlab.lab.build import load_data
from gradlab.lab.checkpoints import CheckpointFile, key_of, load_result
from gradlab.lab.config import load_config
from gradlab.lab.engines import engines_of, settle
from gradlab.lab.examine import examine, newest_unfinished
from gradlab.lab.experiment import run_experiment
from gradlab.lab.run_folder import FolderInUseError, RunFolder
from gradlab.lab.store import StoreError
from gradlab.lab.sweep import carry_out, work
from gradlab.training.engines import EngineError, compiled
from gradlab.training.engines.task import Task

ENGINES = ["plain", pytest.param("compiled", marks=pytest.mark.skipif(not compiled.is_installed(), reason="no Numba"))]
KILLS = int(os.environ.get("GRADLAB_KILLS", "6"))
FEW = """
seeds = 3
data.n_samples = 60
training.epochs = 4
training.batch_size = 16
network.width = 4
"""
EVERYTHING = (
    FEW.replace("epochs = 4", "epochs = 12")
    + """
network.dropout = 0.2
network.batch_norm = true
[[variants]]
name = "sgd"
training = { momentum = 0.9, nesterov = true, schedule = "cosine", warm_up = 2.0 }
[[variants]]
name = "rmsprop"
training = { optimizer = "rmsprop", learning_rate = 0.01, schedule = "step", schedule_every = 3.0, l2 = 0.01 }
network.residual = true
[[variants]]
name = "adam"
training = { optimizer = "adam", learning_rate = 0.05, patience = 2 }
probe.every = "step"
[[variants]]
name = "adamw"
training = { optimizer = "adamw", learning_rate = 0.05, clip_norm = 0.5, schedule = "exponential" }
network.dtype = "float32"
probe.every = 5
[[variants]]
name = "diverging"
training = { learning_rate = 1e6, l2 = 1e6 }
network.activation = "relu"
"""
)
CAN_KILL = pytest.mark.skipif(os.name == "nt", reason="there is no such signal")


def configured(folder, text=EVERYTHING, engine="plain"):
    path = folder / "c.toml"
    path.write_text(f"training.engine = '{engine}'\n{text}", encoding="utf-8")
    return settle(load_config(path))[0]


@pytest.fixture(autouse=True)
def _two_seeds_at_a_time(monkeypatch):
    """Let an experiment have parts that are done before others begin."""
    monkeypatch.setattr(lab, "replicas_at_once", lambda e, n, d: 1 if e.training.patience else 2)


def do_all(config, folder, every=1, on_epoch=lambda *_: None):
    """Do what the command does."""
    with RunFolder(folder, config) as run:

        def tell(*epoch):
            run.epoch(*epoch)
            on_epoch(*epoch)

        results = [carry_out(e, load_data(e), folder, every, tell) for e in config.experiments]
        if not any(result.interrupted for result in results):
            run.finish(results, [])
            run.done()
    return results


def content(folder):
    """All that is in a run's folder, its times and its name left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = path.read_bytes()
        if name == "summary.json":
            summary = json.loads(found[name])
            for variant in summary["variants"].values():
                del variant["seconds"]
            found[name] = summary | {"run_dir": ""}
        if name.startswith("results/"):
            head = 8 + int.from_bytes(found[name][:8], "little")  # it has the seconds
            found[name] = found[name][head:]
    return found


def assert_same(folder, other):
    one, two = content(folder), content(other)
    assert list(one) == list(two)
    for name, what in one.items():
        assert what == two[name], name


@pytest.fixture(scope="module", params=ENGINES)
def whole(request, tmp_path_factory):
    """An undisturbed run of everything, how long it took, and its configuration; on each engine."""
    folder = tmp_path_factory.mktemp("whole")
    config = configured(folder, EVERYTHING, request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "replicas_at_once", lambda e, n, d: 1 if e.training.patience else 2)
        started = time.perf_counter()
        do_all(config, folder / "run")
    return folder / "run", time.perf_counter() - started, config


# Killed, interrupted, out of room


def live(config_path, folder, ready):
    """A process's life: it does all that it is let do."""
    lab.replicas_at_once = lambda e, n, d: 1 if e.training.patience else 2
    config = settle(load_config(config_path))[0]
    ready.send(True)
    do_all(config, folder)


class Life:
    """A process that goes on with a run, until it is done or killed."""

    def __init__(self, config_path, folder):
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(["gradlab.lab.sweep", "sklearn.datasets", "sklearn.model_selection", "numba"])
        ready, told = processes.Pipe(duplex=False)
        self.process = processes.Process(target=live, args=(config_path, folder, told))
        self.process.start()
        assert ready.poll(600.0)

    def is_over(self, seconds):
        """Whether it comes to its end by itself; after so many seconds it is killed."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        return self.process.exitcode == 0


@CAN_KILL
def test_a_run_killed_at_random_moments_ends_as_if_undisturbed(whole, tmp_path):
    """GRADLAB_KILLS=20 for more of them."""
    folder, seconds, _ = whole
    rng, kills = np.random.default_rng(), 0
    for run in itertools.count():
        while not Life(folder.parent / "c.toml", tmp_path / str(run)).is_over(
            rng.uniform(0.0, seconds / 3) if kills < KILLS else 600.0
        ):
            kills += 1
        assert_same(folder, tmp_path / str(run))
        if kills >= KILLS:
            break


def carried_out(experiment, folder):
    told = []
    return carry_out(experiment, load_data(experiment), folder, 10**6, lambda *e: told.append(e[1:3])), told


def test_an_interrupt_within_any_epoch_loses_nothing_before_it(whole, tmp_path, monkeypatch):
    folder, _, config = whole
    index, rng, left = Task.index, np.random.default_rng(0), [16]

    def interrupted(task, epoch, batch):
        """Count a step, as either engine does while it runs."""
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return index(task, epoch, batch)

    monkeypatch.setattr(Task, "index", interrupted)
    for experiment in config.experiments:
        epochs, interrupts, left[0] = [], 0, 16
        while True:
            result, told = carried_out(experiment, tmp_path)
            assert told[: len(epochs)] == epochs  # what was kept is told again, and nothing kept was lost
            if not result.interrupted:
                break
            epochs, interrupts = told, interrupts + 1
            left[0] = int(rng.integers(4, 24))
        assert interrupts or experiment.name == "diverging"
    left[0] = 10**6
    for experiment in config.experiments:
        one, two = (carry_out(experiment, load_data(experiment), where) for where in (folder, tmp_path))
        np.testing.assert_equal(vars(one) | {"seconds": 0}, vars(two) | {"seconds": 0})


def test_an_interrupted_experiment_gives_what_was_recorded_so_far(tmp_path):
    (experiment,) = configured(tmp_path, FEW).experiments

    def on_epoch(_, epoch, seeds, numbers):
        if epoch == 2:
            raise KeyboardInterrupt

    result = carry_out(experiment, load_data(experiment), tmp_path, None, on_epoch)
    assert result.interrupted
    assert result.flow["weight_gradient_norm"].shape == (3, 2, 3)
    assert len(result.history[0]["train_loss"]) == 3


@pytest.mark.parametrize("fails", ["a checkpoint", "the log", "a result"])
def test_a_full_disk_is_an_error_that_names_the_file_and_costs_nothing_kept(whole, tmp_path, monkeypatch, fails):
    folder, _, config = whole
    (experiment, *_) = config.experiments
    written = []

    class Full:
        """A file on a disk with room for its first byte, when the time has come."""

        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        def write(self, data):
            if written[0]:
                return self._file.write(data)
            self._file.write(data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    part = {"a checkpoint": "checkpoints", "the log": "metrics", "a result": "results"}[fails]

    def opened(path, mode="r", **options):
        file = open(path, mode, **options)  # noqa: SIM115
        if part in str(path) and ("w" in mode or "a" in mode):
            left[0] -= 1
            written[:] = [left[0] >= 0]
            return Full(file)
        return file

    left = [0 if fails == "a result" else 5]
    for module in (files, log):
        monkeypatch.setattr(module, "open", opened, raising=False)
    with pytest.raises(OSError, match="No space left on device") as caught:
        carry_out(experiment, load_data(experiment), tmp_path, 1, lambda *e: log.append_epoch(tmp_path, *e))
    assert part in caught.value.filename
    assert not Path(caught.value.filename).name.startswith(".")
    monkeypatch.undo()
    monkeypatch.setattr(lab, "replicas_at_once", lambda e, n, d: 2)
    left_there = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "metrics.jsonl"]
    assert [path.parent.name for path in left_there] == ["checkpoints"]  # the last good one, and nothing half-written
    told = []
    result = carry_out(experiment, load_data(experiment), tmp_path, 1, lambda *e: told.append(e))
    expected = carry_out(experiment, load_data(experiment), folder)
    np.testing.assert_equal(vars(result) | {"seconds": 0}, vars(expected) | {"seconds": 0})


# One process at a time


def hold(config_path, folder, held):
    with RunFolder(folder, settle(load_config(config_path))[0]):
        held.set()
        time.sleep(600.0)


@CAN_KILL
def test_the_second_process_is_refused_and_told_of_the_first(tmp_path):
    config = configured(tmp_path, FEW)
    processes = multiprocessing.get_context("forkserver")
    held = processes.Event()
    process = processes.Process(target=hold, args=(tmp_path / "c.toml", tmp_path / "runs" / "c", held))
    process.start()
    try:
        assert held.wait(600.0)
        before = content(tmp_path / "runs")
        with pytest.raises(FolderInUseError, match=f"process {process.pid} is writing there"):
            RunFolder(tmp_path / "runs" / "c", config)
        assert newest_unfinished("c", config, tmp_path / "runs") is None
        assert content(tmp_path / "runs") == before
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert newest_unfinished("c", config, tmp_path / "runs").path == tmp_path / "runs" / "c"
    do_all(config, tmp_path / "runs" / "c")  # the lock went with the process
    assert {"DONE", "summary.json"} < set(content(tmp_path / "runs" / "c"))
    assert not list((tmp_path / "runs" / "c").glob(".*"))


def test_only_an_unfinished_run_of_the_same_configuration_and_version_is_gone_on_with(tmp_path, monkeypatch):
    config = configured(tmp_path, FEW)
    path = tmp_path / "runs" / "c"
    assert newest_unfinished("c", config, path.parent) is None
    RunFolder(path, config).__exit__(None, None, None)
    (path.parent / "c-2").mkdir()  # the newest, and nothing in it
    assert newest_unfinished("c", config, path.parent) is None
    (path.parent / "c-2").rmdir()
    assert newest_unfinished("c", config, path.parent).path == path
    other = configured(tmp_path, FEW + "data.seed = 1")
    assert newest_unfinished("c", other, path.parent) is None
    with pytest.raises(FileExistsError, match="the folder is not empty"):
        RunFolder(path, other)
    with monkeypatch.context() as patch:
        patch.setattr("gradlab.__version__", "0.99.1")
        assert "it was begun by gradlab 0.1, format 4; this is gradlab 0.99" in examine(path).other_version()
        assert newest_unfinished("c", config, path.parent) is None
    do_all(config, path)
    assert newest_unfinished("c", config, path.parent) is None
    with pytest.raises(FileExistsError, match="the folder is not empty"):
        RunFolder(path, config)


def test_a_folder_abandoned_before_anything_was_in_it_can_be_used(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", ".writer", ".config.toml.123", "environment.json"):
        (folder / name).touch()
    do_all(configured(tmp_path, FEW), folder)
    assert not list(folder.glob(".*"))


def test_more_networks_than_a_file_holds_are_refused_before_any_is_trained(tmp_path, monkeypatch):
    config = configured(tmp_path, FEW + "network.batch_norm = true\nnetwork.depth = 3")
    arrays = len(carry_out(config.experiments[0], load_data(config.experiments[0]), tmp_path).tensors) + 2
    monkeypatch.setattr("gradlab.lab.models.MAX_ARRAYS", arrays)
    RunFolder(tmp_path / "fits", config).__exit__(None, None, None)
    monkeypatch.setattr("gradlab.lab.models.MAX_ARRAYS", arrays - 1)
    with pytest.raises(StoreError, match=f"it would hold {arrays} arrays"):
        RunFolder(tmp_path / "run", config)
    assert not (tmp_path / "run").exists()


# What is kept


def test_an_experiment_is_named_by_all_that_its_numbers_depend_on(tmp_path):
    (tmp_path / "a.csv").write_text("a,y\n" + "1,0\n2,1\n" * 20)
    text = 'data = { name = "csv", path = "a.csv", target = "y" }\n'
    (one,) = configured(tmp_path, text).experiments
    key = key_of(one)
    assert len(key) == 16
    assert int(key, 16) >= 0
    (tmp_path / "b.csv").write_text((tmp_path / "a.csv").read_text())
    assert key_of(configured(tmp_path, text.replace("a.csv", "b.csv")).experiments[0]) == key
    (tmp_path / "b.csv").write_text((tmp_path / "a.csv").read_text().replace("2,1", "3,1", 1))
    assert key_of(configured(tmp_path, text.replace("a.csv", "b.csv")).experiments[0]) != key
    for change in ("seeds = 2", "network.width = 3", "training.epochs = 3", 'probe.every = "step"'):
        assert key_of(configured(tmp_path, change + "\n" + text).experiments[0]) != key, change
    (tmp_path / "a.csv").unlink()
    with pytest.raises(StoreError, match=r"a\.csv: No such file"):
        key_of(one)


def test_a_resolved_configuration_is_the_same_experiments(tmp_path):
    config = configured(tmp_path)
    (tmp_path / "config.toml").write_bytes(config.as_toml())
    again = settle(load_config(tmp_path / "config.toml"))[0]
    assert again == config
    assert [key_of(e) for e in again.experiments] == [key_of(e) for e in config.experiments]
    assert len({key_of(e) for e in config.experiments}) == 5


def test_work_in_another_process_gives_the_same_result(tmp_path, monkeypatch):
    monkeypatch.undo()  # the other process knows nothing of two seeds at a time
    (experiment,) = configured(tmp_path, FEW).experiments
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        name = pool.apply(work, (experiment.model_dump_json(), str(tmp_path), 2))
    key = key_of(experiment)
    assert name == f"{key}.safetensors"
    there = load_result(tmp_path / "results" / name, key, experiment)
    (tmp_path / "here").mkdir()
    here = carry_out(experiment, load_data(experiment), tmp_path / "here")
    np.testing.assert_equal(vars(there) | {"seconds": 0}, vars(here) | {"seconds": 0})
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(log.line_of(*epoch) for epoch in log.epochs_of(here))
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_result_under_another_name_is_refused(whole, tmp_path):
    folder, _, config = whole
    one, two, *_ = config.experiments
    path = folder / "results" / f"{key_of(one)}.safetensors"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / f"{key_of(two)}.safetensors").write_bytes(path.read_bytes())
    with pytest.raises(StoreError, match="it is of another experiment"):
        carry_out(two, load_data(two), tmp_path)


def test_checkpoints_come_every_so_many_epochs_or_seconds(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoints, "save", lambda path, kind, about, arrays: saved.append(about["under_way"][0] - 1))
    (experiment,) = configured(tmp_path, FEW.replace("epochs = 4", "epochs = 7")).experiments
    run_experiment(experiment, load_data(experiment), checkpointer=CheckpointFile(tmp_path / "c" / "x", "k", 3))
    assert saved == [3, 6, 3, 6]  # of the first two seeds, then of the third; the last epoch is followed by the result
    clock, saved[:] = iter(range(0, 10**6, 4)), []
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    run_experiment(experiment, load_data(experiment), checkpointer=CheckpointFile(tmp_path / "c" / "x", "k"))
    assert saved == [3, 6, 3, 6] or saved == [3, 1, 4]
    assert checkpoints.SECONDS < 30.0


def test_the_log_has_null_and_a_word_where_training_diverged(whole):
    folder, _, _ = whole
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    own = [line for line in lines if line["variant"] == "diverging"]
    assert own[-1]["diverged"] is True
    assert own[-1]["train_loss"] == [None, None]
    for line in lines:
        assert line.get("diverged", False) == (None in line["train_loss"] + line["test_loss"])
    assert [line["epoch"] for line in own] == list(range(len(own)))
    assert "NaN" not in (folder / "metrics.jsonl").read_text()


def test_the_environment_is_noted(whole):
    folder, _, config = whole
    found = json.loads((folder / "environment.json").read_text())
    assert found["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["seeds"] == [0, 1, 2]
    assert found["blas"]
    assert found.keys() >= {"format", "gradlab", "commit", "platform", "scipy", "scikit-learn", "numba"}
    assert found["engine"] == engines_of(config)
    assert found["threads"] == compiled.default_threads()


def test_a_run_whose_data_have_changed_is_not_mixed_with_what_was_kept(tmp_path):
    rows = "".join(f"{i / 40},{(i * 7) % 40 / 40},{'ab'[i % 2]}\n" for i in range(40))
    (tmp_path / "t.csv").write_text("u,v,kind\n" + rows, encoding="utf-8")
    text = 'data = { name = "csv", path = "t.csv", target = "kind" }\ntraining.epochs = 2\nnetwork.width = 2\n'
    config = configured(tmp_path, text)
    with RunFolder(tmp_path / "run", config):
        [e] = config.experiments
        carry_out(e, load_data(e), tmp_path / "run")
    (tmp_path / "t.csv").write_text("u,v,kind\n" + rows + "0.5,0.5,a\n", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"results/\w+\.safetensors is of another experiment: the data or"):
        RunFolder(tmp_path / "run", config)
    assert newest_unfinished("run", config, tmp_path) is None


def test_what_somebody_else_puts_beside_the_checkpoints_keeps_no_run_from_its_end(tmp_path):
    config = configured(tmp_path, FEW)
    with RunFolder(tmp_path / "run", config) as run:
        (tmp_path / "run" / "checkpoints" / ".DS_Store").touch()
        run.done()
    assert (tmp_path / "run" / "DONE").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("name", ["config.toml", "environment.json", "metrics.jsonl"])
def test_a_pipe_in_place_of_a_file_is_named_and_not_waited_for(tmp_path, name):
    config = configured(tmp_path, FEW)
    with RunFolder(tmp_path / "run", config):
        pass
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    with pytest.raises((OSError, StoreError), match="it is not a file"):
        RunFolder(tmp_path / "run", config)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_file_is_read_up_to_a_size_and_written_through_links_and_into_pipes(tmp_path):
    (tmp_path / "target").write_bytes(b"before")
    (tmp_path / "link").symlink_to("target")
    with files.whole_or_not_at_all(tmp_path / "link") as file:
        file.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert files.read_file(tmp_path / "target", 5) == b"after"
    with pytest.raises(OSError, match="at most 4 are read"):
        files.read_file(tmp_path / "target", 4)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with files.whole_or_not_at_all(tmp_path / "pipe") as file:
        file.write(b"through")
    assert os.read(reader, 20) == b"through"
    os.close(reader)


def test_a_run_without_any_result_says_why(tmp_path):
    from typer.testing import CliRunner

    from gradlab.cli import app

    config = configured(tmp_path, FEW)
    with RunFolder(tmp_path / "run", config):
        key = key_of(config.experiments[0])
        (tmp_path / "run" / "checkpoints" / f"{key}.safetensors").write_bytes(b"\0" * 7)
    done = CliRunner().invoke(app, ["run", "--resume", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert f"checkpoints/{key}.safetensors: it is no file of safetensors, or it was cut off" in done.stderr
    assert "seeds" not in done.stdout


# Engines


class TestEngines:
    AUTO = FEW + "[[variants]]\nname = 'a'\n[[variants]]\nname = 'b'\ntraining.engine = 'plain'\n"

    @pytest.fixture
    def without_numba(self, monkeypatch):
        monkeypatch.setattr(compiled, "is_installed", lambda: False)

    def auto(self, folder):
        (folder / "c.toml").write_text(self.AUTO)
        return load_config(folder / "c.toml")

    def opened(self, folder):
        config, _ = examine(folder / "run").settled(self.auto(folder))
        return RunFolder(folder / "run", config)

    def begun_by(self, folder, engine):
        """Begin a run as if "auto" had been this engine then."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gradlab.lab.engines.why_not", lambda *_: "" if engine == "compiled" else "no")
            with self.opened(folder) as run:
                assert engines_of(run.config) == {"a": engine, "b": "plain"}

    @pytest.mark.skipif(not compiled.is_installed(), reason="no Numba")
    def test_auto_is_compiled_where_that_is_possible_and_says_why_it_is_not(self, tmp_path, monkeypatch):
        config, remarks = settle(self.auto(tmp_path))
        assert engines_of(config) == {"a": "compiled", "b": "plain"}
        assert remarks == []
        assert settle(config) == (config, [])
        monkeypatch.setattr("gradlab.lab.engines.why_not", lambda *_: "loss: strange")
        config, remarks = settle(self.auto(tmp_path))
        assert engines_of(config) == {"a": "plain", "b": "plain"}
        assert remarks == ["the plain engine is used: loss: strange"]

    def test_without_numba_auto_is_plain_and_compiled_is_refused(self, tmp_path, without_numba):
        config, remarks = settle(self.auto(tmp_path))
        assert engines_of(config) == {"a": "plain", "b": "plain"}
        assert remarks == []
        with pytest.raises(EngineError, match=r'cannot be used: .*pip install "gradlab\[fast\]"'):
            configured(tmp_path, FEW, "compiled")

    @pytest.mark.parametrize("engine", ENGINES)
    def test_a_run_goes_on_with_the_engine_that_it_was_begun_with(self, tmp_path, monkeypatch, engine):
        monkeypatch.setattr(compiled, "is_installed", lambda: True)
        self.begun_by(tmp_path, engine)
        monkeypatch.setattr("gradlab.lab.examine.settle", lambda _: pytest.fail("it was settled"))
        with self.opened(tmp_path) as run:
            assert run.begun
            assert engines_of(run.config) == {"a": engine, "b": "plain"}

    def test_a_run_begun_compiled_is_refused_without_numba_and_nothing_is_written(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(compiled, "is_installed", lambda: True)
            self.begun_by(tmp_path, "compiled")
        before = content(tmp_path)
        monkeypatch.setattr(compiled, "is_installed", lambda: False)
        with pytest.raises(EngineError, match=r'begun with .compiled., .*pip install "gradlab\[fast\]"'):
            self.opened(tmp_path)
        assert content(tmp_path) == before

    @pytest.mark.parametrize(
        "engine",
        [
            None,
            "plain",
            {},
            {"a": "plain"},
            {"a": "fast", "b": "plain"},
            {"a": "plain", "b": "compiled"},
            {"a": [], "b": 0},
        ],
    )
    def test_a_note_of_engines_that_cannot_be_is_refused(self, tmp_path, engine):
        self.begun_by(tmp_path, "plain")
        file = tmp_path / "run" / "environment.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"engine": engine}))
        with pytest.raises(StoreError, match=r"environment\.json: .*(engine of each experiment|cannot be the engine)"):
            self.opened(tmp_path)

    def test_what_is_kept_is_named_by_the_engine(self, tmp_path):
        [open_] = load_config(tmp_path / "c.toml").experiments if configured(tmp_path, FEW, "auto") else []
        with pytest.raises(ValueError, match=r"training\.engine: that of c is not settled"):
            key_of(open_)
        keys = {key_of(open_.model_copy(update={"training": open_.training.model_copy(update={"engine": engine})}))
                for engine in ("plain", "compiled")}  # fmt: skip
        assert len(keys) == 2
