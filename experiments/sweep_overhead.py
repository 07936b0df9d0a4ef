"""What a sweep costs beyond the training itself, and what a second worker gains.

Two hundred tiny runs, carried out as `gradlab run` does, are timed in pairs with the same trainings alone; then a sweep
of longer ones on two processes, in pairs with one. Ratios of medians over the pairs; run it on an idle machine with
two cores at least:  python experiments/sweep_overhead.py [PAIRS]
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # as the workers

import statistics
import sys
import tempfile
import time
from pathlib import Path

from gradlab.lab.build import load_data
from gradlab.lab.config import load_config
from gradlab.lab.engines import settle
from gradlab.lab.executors import workers
from gradlab.lab.experiment import run_experiment
from gradlab.lab.run_folder import RunFolder
from gradlab.lab.sweep import carry_out_all

TINY = """
data.n_samples = 60
training.epochs = 2
network.width = 4
[sweep]
"data.seed" = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"training.learning_rate" = [{rates}]
"""
LONGER = """
seeds = 10
network.depth = 4
training.epochs = 60
[sweep]
"data.seed" = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
"""


def configured(folder, text):
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    config, _ = settle(load_config(path))
    return config, [load_data(experiment) for experiment in config.experiments]


def seconds_alone(config, data):
    began = time.perf_counter()
    for experiment, dataset in zip(config.experiments, data, strict=True):
        run_experiment(experiment, dataset)
    return time.perf_counter() - began


def seconds_of_the_sweep(config, data, folder, where):
    began = time.perf_counter()
    with workers(where) as found, RunFolder(folder, config) as run:
        done = carry_out_all(config.experiments, data, folder, found, None, run.epoch)
    assert len(done.results) == len(config.experiments)
    return time.perf_counter() - began


def main(pairs):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = ", ".join(f"{0.01 * (i + 1):.2f}" for i in range(20))
        config, data = configured(folder, TINY.format(rates=rates))
        overheads = []
        for i in range(pairs):
            alone = seconds_alone(config, data)
            overheads.append(seconds_of_the_sweep(config, data, folder / f"tiny-{i}", "1") - alone)
        each = 1000.0 * statistics.median(overheads) / len(config.experiments)
        print(f"{len(config.experiments)} tiny runs: {each:.1f} ms each beyond their training")
        config, data = configured(folder, LONGER)
        gains = []
        for i in range(pairs):
            one = seconds_of_the_sweep(config, data, folder / f"one-{i}", "1")
            gains.append(one / seconds_of_the_sweep(config, data, folder / f"two-{i}", "2"))
        print(f"{len(config.experiments)} longer runs: two processes are {statistics.median(gains):.2f} times faster")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
