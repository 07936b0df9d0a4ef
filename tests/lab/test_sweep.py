"""A run's experiments on any workers: the same numbers, whoever trains them and whatever happens to whom."""

import csv
import json
import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import COMMAND, gradlab, gradlab_alone

from gradlab.lab import sweep
from gradlab.lab.build import load_data
from gradlab.lab.checkpoints import result_path
from gradlab.lab.collect import collect
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.executors import workers
from gradlab.lab.run_folder import RunFolder
from gradlab.lab.store import StoreError

CONFIGS = Path(__file__).parents[2] / "configs"
GATHERED = ("flow.npz", "model.safetensors", "boundary.npz", "metrics.jsonl")
SMALL = """
title = "Small"
seeds = 2
data.n_samples = 60
training.epochs = 3
network.width = 4
[sweep]
"network.depth" = [1, 2]
"training.learning_rate" = [0.1, 1]
"""


@pytest.fixture
def begin_gradlab(begin):
    return partial(begin, *COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def until(true, seconds=600.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def results_in(folder):
    return [path for path in folder.glob("results/*") if not path.name.startswith(".")]


def bytes_of(folder):
    return {name: (folder / name).read_bytes() for name in GATHERED if (folder / name).exists()}


def numbers_of(done):
    """What a run says that it found, without times and places."""
    found = json.loads(done.stdout)
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in found["variants"].values()], found[
        "expectations"
    ]


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def carried_out(config, folder, where):
    configuration = settle(load_config(config))[0]
    with workers(where) as found, RunFolder(folder, configuration) as run:
        data = [load_data(experiment) for experiment in configuration.experiments]
        findings = sweep.carry_out_all(configuration.experiments, data, folder, found, None, run.epoch)
        assert not findings.failures
        run.finish([findings.results[e.name] for e in configuration.experiments], [])
    return findings


def test_whoever_trains_the_numbers_are_equal_to_the_last_bit(small, tmp_path, cluster):
    for folder, where in (("one", "1"), ("two", "2"), ("many", cluster)):
        carried_out(small, tmp_path / folder, where)
    one = bytes_of(tmp_path / "one")
    assert one.keys() == set(GATHERED)
    assert bytes_of(tmp_path / "two") == one
    assert bytes_of(tmp_path / "many") == one


@pytest.mark.parametrize("where", ["1", "2"])
def test_what_is_there_is_not_trained_again(where, small, tmp_path):
    carried_out(small, tmp_path / "whole", "1")
    first = carried_out(small, tmp_path / "run", "1")
    one, *others = sorted(results_in(tmp_path / "run"))
    one.unlink()
    before = {path: path.stat().st_mtime_ns for path in others}
    again = carried_out(small, tmp_path / "run", where)
    assert {path: path.stat().st_mtime_ns for path in others} == before
    assert one.exists()
    assert again.results.keys() == first.results.keys()
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal there")
def test_a_sweep_that_was_killed_and_started_again_ends_with_the_same_table(begin_gradlab, tmp_path):
    quick = ["--seeds", 2, "--set", "training.epochs=20", "--json"]
    arguments = ["run", CONFIGS / "depth_sweep.toml", "--workers", 2, "--checkpoint-every", 1, *quick]
    undisturbed = gradlab("run", CONFIGS / "depth_sweep.toml", "--out", "undisturbed", *quick, cwd=tmp_path)
    process = begin_gradlab(*arguments, cwd=tmp_path)
    until(lambda: len(results_in(tmp_path / "runs/depth_sweep")) >= 4)  # of eight
    process.kill()
    process.communicate()
    assert not (tmp_path / "runs/depth_sweep/DONE").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in results_in(tmp_path / "runs/depth_sweep")}
    assert 4 <= len(kept) < 8
    again = gradlab_alone(*arguments, cwd=tmp_path)
    assert again.returncode == undisturbed.returncode
    assert again.stderr == "gradlab: going on with the unfinished run in runs/depth_sweep\n"
    assert numbers_of(again) == numbers_of(undisturbed)
    assert bytes_of(tmp_path / "runs/depth_sweep") == bytes_of(tmp_path / "undisturbed")
    times = {path.name: path.stat().st_mtime_ns for path in results_in(tmp_path / "runs/depth_sweep")}
    assert len(times) == 8
    assert {name: times[name] for name in kept} == kept


LONG = SMALL + '[[variants]]\nname = "short"\n[[variants]]\nname = "long"\ntraining.epochs = 100000\n'


def children_of(pid):
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"spawn_main" in path.read_bytes() and f"\nPPid:\t{pid}\n" in (path.parent / "status").read_text()
    ]


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found there")
def test_a_run_that_always_kills_its_worker_is_given_up_and_named(begin_gradlab, tmp_path):
    one = LONG.replace('"network.depth" = [1, 2]\n"training.learning_rate" = [0.1, 1]', '"network.depth" = [1]')
    (tmp_path / "long.toml").write_text(one)
    process = begin_gradlab("run", "long.toml", "--workers", 2, "--quiet", cwd=tmp_path)
    until(lambda: len(results_in(tmp_path / "runs/long")) == 1)
    for _ in range(2):  # the first time along with one that has nothing to do
        (tmp_path / "runs/long/metrics.jsonl").write_bytes(b"")
        until(lambda: process.poll() is not None or b'"long' in (tmp_path / "runs/long/metrics.jsonl").read_bytes())
        assert process.poll() is None, process.communicate()
        os.kill(process.pid, signal.SIGSTOP)  # lest it give the task to the other worker while that is killed too
        for pid in children_of(process.pid):
            os.kill(pid, signal.SIGKILL)
        os.kill(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert errors == "gradlab: long, depth=1: its worker died each of 2 times that it was tried\n"
    assert "short, depth=1" in output
    assert not (tmp_path / "runs/long/DONE").exists()


@pytest.mark.skipif(os.name == "nt", reason="a console's interrupt cannot be sent to one process there")
def test_an_interrupt_keeps_what_every_worker_had(begin_gradlab, tmp_path):
    (tmp_path / "long.toml").write_text(LONG)
    process = begin_gradlab("run", "long.toml", "--workers", 2, "--quiet", cwd=tmp_path)
    until(lambda: len(results_in(tmp_path / "runs/long")) == 4)
    log = tmp_path / "runs/long/metrics.jsonl"
    until(lambda: all(log.read_bytes().count(b'"long, depth=1, learning_rate=%d' % rate) > 5 for rate in (0, 1)))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert errors == (
        "gradlab: interrupted; what was recorded is in runs/long; go on with: gradlab run --resume runs/long\n"
    )
    assert "short, depth=2" in output
    assert len(list((tmp_path / "runs/long/checkpoints").iterdir())) == 2
    gathered = gradlab("collect", "runs/long", cwd=tmp_path)
    assert gathered.returncode == 0
    assert gathered.stderr.startswith(f"gradlab: {tmp_path}/runs/long: 4 without a result yet: long, depth=1, ")
    assert "8 lines in runs/long/collected.csv" in gathered.stdout


@pytest.mark.parametrize(
    "arguments, code, wanted",
    [
        (["--workers", "0"], 2, "--workers: '0' is neither a number of processes from 1 to 1024 nor tcp://HOST:PORT"),
        (["--workers", "x", "--dry-run"], 2, "--workers: 'x' is neither"),
        (
            ["--workers", "64", "--set", "network.width=8000", "--dry-run"],
            2,
            "--workers: 64 of these experiments would take",
        ),
    ],
)
def test_workers_that_cannot_be_are_a_mistake_and_nothing_is_written(arguments, code, wanted, small, tmp_path):
    done = gradlab("run", small, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert wanted in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_a_cluster_that_is_not_there_is_a_failure_and_nothing_is_written(small, tmp_path):
    pytest.importorskip("distributed")
    impatient = "from gradlab.lab import executors; executors.CONNECT = 1.0; "
    done = gradlab_alone("run", small, "--workers", "tcp://127.0.0.1:9", cwd=tmp_path, before=impatient)
    assert done.returncode == 1
    assert done.stderr == "gradlab: tcp://127.0.0.1:9: no Dask scheduler answers there\n"
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


def test_a_result_of_something_else_is_refused(small, tmp_path):
    experiment = settle(load_config(small))[0].experiments[0]
    with pytest.raises(StoreError, match="another version of gradlab, or another file of data"):
        sweep._fetch(experiment, tmp_path, ("0123456789abcdef.safetensors", b""))
    path = result_path(tmp_path, experiment)
    path.parent.mkdir()
    with pytest.raises(StoreError, match="no file of safetensors"):
        sweep._fetch(experiment, tmp_path, (path.name, b"nonsense"))


def test_a_dry_run_states_the_bytes_and_what_is_left_out(small, tmp_path):
    thin = ["--set", "probe.every=step", "--set", "probe.limit=3"]
    lines = gradlab("run", small, "--dry-run", "--workers", 2, *thin, cwd=tmp_path).stdout.splitlines()
    wanted = "#   one step in 2 is recorded, not every step, which would be more than probe.limit allows"
    assert lines.count(wanted) == 4
    assert lines[-1].startswith("# in all: 8 networks, at most ")
    assert lines[-1].endswith(" MiB on disk, without figures")
    done = gradlab("run", small, *thin, "--json", cwd=tmp_path)
    assert done.stderr.count(wanted.removeprefix("#   ")) == 4
    assert {entry["thinned"] for entry in numbers_of(done)[0]} == {wanted.removeprefix("#   ")}


# collect


def test_what_runs_have_found_is_one_table(small, tmp_path):
    for name in ("first", "second"):
        carried_out(small, tmp_path / name, "1")
    done = gradlab("collect", "first", "second", "--out", "both", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "both/collected.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 4 * 2
    assert list(rows[0])[:5] == ["run", "variant", "network.depth", "training.learning_rate", "seed"]
    summary = json.loads((tmp_path / "second/summary.json").read_text())["variants"]["small, depth=2, learning_rate=1"]
    [row] = [
        row for row in rows
        if (row["run"], row["network.depth"], row["training.learning_rate"], row["seed"]) == ("second", "2", "1", "1")
    ]  # fmt: skip
    for measure in ("test_accuracy", "train_loss", "final_gradient_ratio"):
        assert float(row[measure]) == summary[measure]["values"][1]
    figures = {path.name for path in (tmp_path / "both/figures").iterdir()}
    assert figures == {"collected-network.depth.png", "collected-training.learning_rate.png"}
    assert "second: small, depth=2, learning_rate=1" in done.stdout


def test_a_table_of_results_equals_that_of_the_summary(small, tmp_path):
    assert gradlab("run", small, "--out", "run", cwd=tmp_path).returncode == 0
    done = collect([tmp_path / "run"])
    (tmp_path / "run/DONE").unlink()
    under_way = collect([tmp_path / "run"])
    assert done.rows == under_way.rows
    assert done.entries == under_way.entries


def test_the_table_is_the_same_in_parquet(small, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    text = SMALL + '"network.width" = [3, [4, 5]]\n'
    small.write_text(text.replace('"network.depth" = [1, 2]\n', ""))
    carried_out(small, tmp_path / "run", "1")
    rows = collect([tmp_path / "run"]).rows
    from gradlab.lab.collect import save_table

    save_table(rows, tmp_path)
    table = parquet.read_table(tmp_path / "collected.parquet").to_pylist()
    assert [row["network.width"] for row in table] == [str(row["network.width"]) for row in rows]
    assert [row["train_loss"] for row in table] == [row["train_loss"] for row in rows]
    assert np.isfinite([row["train_loss"] for row in table]).all()


@pytest.mark.parametrize(
    "arguments, code, wanted",
    [
        (["nowhere"], 1, "nowhere: this is no folder of a run"),
        (["a/run", "b/run"], 2, "DIR: each needs a name of its own"),
        (["a", "b"], 2, "--out: missing"),
        (["forged"], 1, "forged/summary.json: it is not a summary that gradlab wrote"),
    ],
)
def test_what_cannot_be_gathered_is_one_plain_message(arguments, code, wanted, tmp_path):
    (tmp_path / "forged").mkdir()
    (tmp_path / "forged/DONE").touch()
    (tmp_path / "forged/summary.json").write_text('{"variants": {"a": {"variant": 3}}}')
    done = gradlab("collect", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert wanted in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
