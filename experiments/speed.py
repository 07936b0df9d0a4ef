"""How fast gradlab trains, beside what users would pick instead: the same work, in turns, in one process.

``python experiments/speed.py`` takes some minutes and writes ``speed.md``, ``speed.json`` and ``figures/speed.png``;
``--quick`` goes through all of it in seconds, for a look. It exits with 0 however fast or slow anybody was, with 2 for
a mistake in the arguments, and with 3 if the results disagree: then the work was not the same.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from peers import PEERS, THREADS, Job, Weights  # isort: skip (it sets the number of threads before NumPy is loaded)

import numpy as np
from main_job import LIBRARIES, MainJob
from tqdm import tqdm

from gradlab.lab.build import build_network, load_data
from gradlab.lab.config import load_config
from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Network, mlp
from gradlab.training import train
from gradlab.training.engines.compiled import default_threads, is_installed

HERE = Path(__file__).parent
DONE, USAGE, LOSSES_DISAGREE = 0, 2, 3  # exit codes
PACKAGES = {"scikit-learn": ("sklearn", "scikit-learn"), "PyTorch": ("torch", "torch"), "JAX": ("jax", "jax")}
LOOP = "one after another"
PRODUCTS = "its matrix products"
WORKLOADS = {
    "W1": "moons 1000, 2-32-32-1 sigmoid, Adam, batch 32, 50 epochs",
    "W2": "breast cancer, 30-64-64-1 sigmoid, Adam, batch 64, 100 epochs",
    "W3": "moons 512, 20 hidden layers of 32, sigmoid, SGD, batch 64, 20 epochs, each layer's gradient norm every step",
    "W4": "digits ≥ 5, 64-512-512-1 ReLU, Adam, batch 256, 20 epochs",
    "W5": "W1 with 30 seeds, rows shuffled: replicas in one pass, against one network after another",
    "W6": "the main job, configs/sigmoid_vs_relu.toml: 3 variants × 30 seeds of 8 hidden layers, 60 epochs; after each "
    "epoch loss and accuracy on both parts of the data and each layer's gradient norm; wall time, all cores",
    "W7": "a step of W3's network, and of one of W6's 30 replicas, against its matrix products: x·W forward, xᵀ·dy for "
    "dW and, but for the first layer, dy·Wᵀ for dx",
}
TARGETS = {  # their time / ours, at least
    "W1 float64": {"scikit-learn": 9.0, "PyTorch": 20.0, "JAX": 1.2},
    "W1 float32": {"scikit-learn": 11.0, "PyTorch": 25.0, "JAX": 1.0},
    "W2 float64": {"scikit-learn": 3.5, "PyTorch": 5.0, "JAX": 1.2},
    "W3 float64": {"scikit-learn": 3.3, "PyTorch": 4.5, "JAX": 1.2},
    "W4 float64": {"scikit-learn": 1.2, "PyTorch": 1.1, "JAX": 1.0},
    "W5 float64, one core": {LOOP: 1.0},
    "W5 float64, two threads": {LOOP: 1.7},
    "W6 float64": {"PyTorch": 4.0, "JAX": 2.0},
    "whole process, W1 float64": {"scikit-learn": 8.0, "PyTorch": 18.0, "JAX": 6.0},
}
MOST = {"W7 W3 float64": 1.6, "W7 W6 float64": 1.6}  # ours / their products, at most
# How far a final loss may be from ours, as a share of it, and the final weights, as a share of the way that ours have
# gone. Every library sums in another order, and where a gradient is next to nothing Adam takes steps of full length
# along the last bit of it: that carries far in float32, not in float64. scikit-learn's Adam adds epsilon to √v before
# v is divided by 1 − beta2^t, ours and the others' after, so its first steps differ whatever the float type.
LOSS_TOLERANCE = {"float64": 1e-6, "float32": 0.03, "other epsilon": 0.03}
WEIGHT_TOLERANCE = {"float64": 1e-6, "float32": 0.2, "other epsilon": 0.3}
REPLICAS = 30
MAIN_CONFIG = HERE.parent / "configs" / "sigmoid_vs_relu.toml"
DOUBLINGS = 5
LAUNCH = """
import subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - start
try:
    import resource
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
except ImportError:
    most = 0
print(seconds, most)
"""  # a small process in between: a child's peak memory counts that of the process which started it
LOAD = """
import sys, time
import numpy as np
from gradlab.training.engines import cache
start = time.perf_counter()
cache.load(np.dtype(sys.argv[1]))
print(time.perf_counter() - start)
"""


@dataclass
class Size:
    """How much is measured.

    Attributes
    ----------
    repetitions, large, processes, small : int
        Of trainings that take less than a second, of those that take longer, of processes, of the small measures.
    epochs : int or None
        In place of each workload's own.
    replicas : int
        Of W5 to W7.
    compiles : bool
        Whether the engine is compiled anew, to time that.
    """

    repetitions: int = 15
    large: int = 5
    processes: int = 5
    small: int = 15
    epochs: int | None = None
    replicas: int = REPLICAS
    compiles: bool = True


QUICK = Size(repetitions=1, large=1, processes=1, small=1, epochs=1, replicas=3, compiles=False)


@dataclass
class Comparison:
    """Seconds of ours and of somebody else's for the same work, one of each in every repetition.

    Attributes
    ----------
    part, what, against : str
        The table, the row, and who the other is.
    ours, theirs : list of float
    engine : str
        Which of ours it is.
    target : float or None
        What the ratio should be.
    is_cost : bool
        Whether the ratio is ours/theirs, and the target its upper bound; else theirs/ours, and its lower.
    """

    part: str
    what: str
    against: str
    ours: list[float]
    theirs: list[float]
    engine: str = ""
    target: float | None = None
    is_cost: bool = False

    def __post_init__(self) -> None:
        ratio = float(np.median(self.theirs) / np.median(self.ours))
        self.ratio = 1.0 / ratio if self.is_cost else ratio

    @property
    def ratios(self) -> list[float]:
        """The ratio in each repetition."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [ours / theirs if self.is_cost else theirs / ours for ours, theirs in pairs]

    @property
    def verdict(self) -> str:
        """Whether the target was met."""
        if self.target is None:
            return "–"
        return "met" if (self.ratio <= self.target if self.is_cost else self.ratio >= self.target) else "missed"


@dataclass
class Results:
    """All that was measured."""

    machine: dict[str, str]
    peers: list[str]
    engines: list[str]
    comparisons: list[Comparison] = field(default_factory=list)
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    apart: dict[str, dict[str, float]] = field(default_factory=dict)  # final weights from ours
    disagreements: list[str] = field(default_factory=list)
    compilation: dict[str, float] = field(default_factory=dict)  # seconds
    memory: dict[str, list[int]] = field(default_factory=dict)  # bytes
    growth: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, part: str) -> list[Comparison]:
        """Return the comparisons of one part."""
        return [c for c in self.comparisons if c.part == part]


def make_job(name: str, dtype: str, epochs: int | None = None) -> Job:
    """Make one of the first four workloads, its rows in an order of their own, its first weights drawn with seed 0."""
    from sklearn.datasets import load_breast_cancer, load_digits, make_moons

    if name == "W1":
        x, y = make_moons(1000, noise=0.2, random_state=0)
        network, how = ([2, 32, 32, 1], "sigmoid"), ("adam", 1e-2, 32, 50, False)
    elif name == "W2":
        x, y = load_breast_cancer(return_X_y=True)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        network, how = ([30, 64, 64, 1], "sigmoid"), ("adam", 1e-3, 64, 100, False)
    elif name == "W3":
        x, y = make_moons(512, noise=0.2, random_state=0)
        network, how = ([2, *[32] * 20, 1], "sigmoid"), ("sgd", 0.1, 64, 20, True)
    else:
        x, y = load_digits(return_X_y=True)
        x, y = x / 16.0, y >= 5
        network, how = ([64, 512, 512, 1], "relu"), ("adam", 1e-3, 256, 20, False)
    order = np.random.default_rng(0).permutation(len(x))
    first = Network(mlp(*network), dtype=dtype).params
    job = Job(x[order].astype(dtype), y[order].reshape(-1, 1).astype(dtype), *network, *how, first)
    job.epochs = epochs or job.epochs
    return job


def flat(weights: Weights) -> np.ndarray:
    """Return all weights as one vector, in the order of ``Network.params``."""
    return np.concatenate([array.ravel() for pair in weights for array in pair])


def final_loss(job: Job, weights: np.ndarray) -> float:
    """Compute, in float64, the loss of all rows with the weights that somebody's training ended with."""
    network = Network(mlp(job.widths, job.activation))
    network.params[...] = weights
    return float(BinaryCrossEntropy().value(network.decision_function(job.x), job.y))


def interleave(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Run each in turn, again and again; return the CPU seconds of this process."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    return seconds


def exhaust(steps: Iterable[object]) -> None:
    """Take every step, and look at none."""
    deque(steps, maxlen=0)


def compare(
    results: Results, part: str, what: str, engine: str, ours: list[float], theirs: dict[str, list[float]]
) -> None:
    """Keep the times of one of our engines beside those of others; the targets are those of the faster engine."""
    for peer, seconds in theirs.items():
        target = TARGETS.get(what, {}).get(peer) if engine in (results.engines[0], "auto") else None
        results.comparisons.append(Comparison(part, what, peer, ours, seconds, engine, target))


def compare_trainings(name: str, dtype: str, results: Results, size: Size) -> None:
    """W1 to W4: one network on each of our engines against each peer. The first run of each warms up and compiles."""
    job = make_job(name, dtype, size.epochs)
    what, runs, ends, warm_up = f"{name} {dtype}", {}, {}, {}
    for peer in [*results.engines, *results.peers]:
        run = runs[peer] = PEERS[peer](job)
        start = time.process_time()
        weights = run()
        warm_up[peer] = time.process_time() - start
        ends[peer] = flat(weights).astype(np.float64)
    check_same_work(results, what, job, job.first, ends)
    seconds = interleave(runs, size.large if name == "W4" else size.repetitions)
    for engine in results.engines:
        compare(results, "training", what, engine, seconds[engine], {peer: seconds[peer] for peer in results.peers})
    if "JAX" in runs:
        results.compilation[f"JAX, {what}"] = warm_up["JAX"] - float(np.median(seconds["JAX"]))


def check_same_work(results: Results, what: str, job: Job, first: np.ndarray, ends: dict[str, np.ndarray]) -> None:
    """Keep final losses and distances of final weights (..., P) from the first of them, and say which are too large."""
    base, own = next(iter(ends.items()))
    way = float(np.linalg.norm(own - first))
    losses = {name: [final_loss(job, w) for w in np.atleast_2d(end)] for name, end in ends.items()}
    results.losses[what] = {name: float(np.mean(values)) for name, values in losses.items()}
    results.apart[what] = {name: float(np.linalg.norm(end - own)) / way for name, end in ends.items()}
    for name in ends:
        is_other = name == "scikit-learn" and job.optimizer == "adam"
        kind = "other epsilon" if is_other else str(job.x.dtype)
        apart = results.apart[what][name]
        if not np.allclose(losses[name], losses[base], rtol=LOSS_TOLERANCE[kind], atol=0.0):
            pair = results.losses[what][name], results.losses[what][base]
            results.disagreements.append(f"{what}: the final loss of {name} is {pair[0]:.8g}, ours {pair[1]:.8g}")
        if not apart <= WEIGHT_TOLERANCE[kind]:
            results.disagreements.append(f"{what}: {name} ends {apart:.2g} of our way from where we end")


def compare_replicas(dtype: str, results: Results, size: Size) -> None:
    """W5: thirty networks side by side against one after the other."""
    job = make_job("W1", dtype, size.epochs)
    ends: dict[str, np.ndarray] = {}

    def train_all(name: str, engine: str, seeds: Sequence[int | range], threads: int) -> float:
        params, start = [], time.perf_counter()
        for seed in seeds:
            network = Network(mlp(job.widths, job.activation), seed=seed, dtype=dtype)
            options: Any = {"epochs": job.epochs, "batch_size": job.batch_size, "engine": engine, "each": "epoch"}
            exhaust(
                train(network, BinaryCrossEntropy(), Adam(job.learning_rate), job.x, job.y, threads=threads, **options)
            )
            params.append(np.atleast_2d(network.params).astype(np.float64))
        ends[name] = np.concatenate(params)
        return time.perf_counter() - start

    first = Network(mlp(job.widths, job.activation), seed=range(size.replicas), dtype=dtype).params
    together = [range(size.replicas)]
    for engine in results.engines:
        runs = {
            "one core": partial(train_all, engine, engine, together, 1),
            "two threads": partial(train_all, "two threads", engine, together, 2),
            LOOP: partial(train_all, LOOP, engine, range(size.replicas), 1),
        }
        if engine == "plain":
            del runs["two threads"]
        wall: dict[str, list[float]] = {name: [] for name in runs}
        for repetition in range(size.large + 1):
            for name, run in runs.items():
                seconds = run()
                if repetition:
                    wall[name].append(seconds)
        check_same_work(results, f"W5 {dtype}, {engine}", job, first, ends)
        for name in runs:
            if name != LOOP:
                compare(results, "training", f"W5 {dtype}, {name}", engine, wall[name], {LOOP: wall[LOOP]})


def make_main_job(size: Size) -> MainJob:
    """Make W6 of its configuration: data, first weights, and the order of the rows in each epoch."""
    experiments = load_config(MAIN_CONFIG, seeds=size.replicas).experiments
    data, training = load_data(experiments[0]), experiments[0].training
    networks = [build_network(one.network, data, range(size.replicas)) for one in experiments]
    generators = [np.random.default_rng([0, seed]) for seed in range(size.replicas)]
    epochs, n = size.epochs or training.epochs, len(data.x_train)
    parts = data.x_train, data.y_train, data.x_test, data.y_test
    x_train, y_train, x_test, y_test = (a.reshape(len(a), -1).astype(np.float64) for a in parts)
    return MainJob(
        x_train,
        y_train,
        x_test,
        y_test,
        np.array([x_train.shape[1], *experiments[0].network.widths, 1]),
        np.array([one.network.activation for one in experiments]),
        training.learning_rate,
        training.batch_size,
        np.array([[generator.permutation(n) for _ in range(epochs)] for generator in generators]),
        np.stack([network.params for network in networks]),
    )


def compare_main_jobs(results: Results, size: Size) -> None:
    """W6: the main job, each library in a process of its own with all cores."""
    libraries = [library for library in LIBRARIES if library == "gradlab" or library in results.peers]
    wall: dict[str, list[float]] = {library: [] for library in libraries}
    given: dict[str, dict[str, np.ndarray]] = {}
    job = make_main_job(size)
    with tempfile.TemporaryDirectory() as folder:
        file, result = Path(folder) / "job.npz", Path(folder) / "result.npz"
        job.save(file)
        env = {name: value for name, value in os.environ.items() if name not in (*THREADS, "XLA_FLAGS")}
        for _ in range(size.processes):
            for library in libraries:
                command = [sys.executable, str(HERE / "main_job.py"), library, str(file), str(result)]
                subprocess.run(command, check=True, env=env)
                with np.load(result) as found:
                    given[library] = {name: found[name] for name in found.files}
                wall[library].append(float(given[library]["training"]))
                if library == "JAX":
                    results.compilation["JAX, W6 float64"] = float(given[library]["compilation"])
    check_same_results(results, job, given)
    others = {library: seconds for library, seconds in wall.items() if library != "gradlab"}
    compare(results, "main", "W6 float64", "compiled", wall["gradlab"], others)


def check_same_results(results: Results, job: MainJob, given: dict[str, dict[str, np.ndarray]]) -> None:
    """Keep the last losses of W6 and how far its results are from ours, and say which are too far."""
    own = given["gradlab"]
    for v, activation in enumerate(job.activations):
        what = f"W6 float64, {activation}"
        way = np.linalg.norm(own["params"][v] - job.first[v])
        results.losses[what], results.apart[what] = {}, {}
        for library, found in given.items():
            apart = float(np.linalg.norm(found["params"][v] - own["params"][v]) / way)
            name = results.engines[0] if library == "gradlab" else library
            results.losses[what][name], results.apart[what][name] = float(found["scores"][v, -1, 0].mean()), apart
            if not apart <= WEIGHT_TOLERANCE["float64"]:
                results.disagreements.append(f"{what}: {library} ends {apart:.2g} of our way from where we end")
            for kind in ("scores", "norms"):
                if not np.allclose(found[kind][v], own[kind][v], rtol=LOSS_TOLERANCE["float64"], atol=1e-12):
                    results.disagreements.append(f"{what}: the {kind} of {library} are not ours")


def launch(*arguments: str) -> tuple[float, int]:
    """Run Python in a process of its own; return its seconds of wall time and its peak memory, 0 if not known.

    It may keep the bytecode of what it imports, as an installed package does.
    """
    command = [sys.executable, "-S", "-c", LAUNCH, sys.executable, *arguments]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    seconds, most = done.stdout.split()
    return float(seconds), int(most)


def compare_processes(results: Results, size: Size) -> None:
    """W1 from a cold start: the interpreter, imports, compilation and training, by the clock on the wall."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.npz"
        make_job("W1", "float64", size.epochs).save(file)
        seconds: dict[str, list[float]] = {peer: [] for peer in ["gradlab", *results.peers]}
        results.memory = {peer: [] for peer in seconds}
        for repetition in range(size.processes + (size.processes > 1)):
            for peer in seconds:
                wall, most = launch(str(HERE / "peers.py"), peer, str(file))
                if repetition or size.processes == 1:  # the first fills the file cache
                    seconds[peer].append(wall)
                    results.memory[peer].append(most)
    theirs = {peer: seconds[peer] for peer in results.peers}
    compare(results, "process", "whole process, W1 float64", "auto", seconds["gradlab"], theirs)


def products_of(widths: Sequence[int], batch_size: int, dtype: Any, networks: int) -> Callable[[], None]:
    """Return what multiplies the matrices of one training step of some networks, and does nothing else.

    One call to NumPy makes all products of one shape, so that what a call costs does not count.
    """
    generator = np.random.default_rng(0)
    calls: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    shapes = list(pairwise(widths))
    for n_in, n_out in dict.fromkeys(shapes):
        count = networks * shapes.count((n_in, n_out))
        x, w, dy = (
            generator.normal(size=(count, *shape)).astype(dtype)
            for shape in ((batch_size, n_in), (n_in, n_out), (batch_size, n_out))
        )
        calls += [(x, w, np.empty_like(dy)), (x.mT, dy, np.empty_like(w))]
        dx = networks * (shapes.count((n_in, n_out)) - ((n_in, n_out) == shapes[0]))
        calls += [(dy[:dx], w[:dx].mT, np.empty_like(x[:dx]))] if dx else []

    def multiply() -> None:
        for a, b, out in calls:
            np.matmul(a, b, out)

    return multiply


def epochs_of(
    network: Network, optimizer: Any, x: Any, y: Any, batch_size: int, engine: str, epochs: int, times: int
) -> Callable[[], None]:
    """Return what takes the next epochs of a training on one thread, so many times; the first epoch is over."""
    options: Any = {"epochs": 1 + epochs * times, "batch_size": batch_size, "each": "epoch", "threads": 1}
    steps = iter(train(network, BinaryCrossEntropy(), optimizer, x, y, engine=engine, **options))
    next(steps)
    return lambda: exhaust(islice(steps, epochs))


def compare_products(results: Results, size: Size) -> None:
    """W7: what a step costs beside its matrix products alone, on one thread, whole batches only."""
    main, epochs, times = make_main_job(size), size.epochs or 10, size.large + 1
    for dtype in ("float64", "float32"):
        deep = make_job("W3", dtype)
        trainings = {  # name: what to train, and how
            "W3": (deep.widths, "sigmoid", 0, deep.learning_rate, deep.batch_size, deep.x, deep.y),
            "W6": (
                main.widths.tolist(), str(main.activations[0]), range(size.replicas), main.learning_rate,
                main.batch_size, main.x_train.astype(dtype), main.y_train.astype(dtype),
            ),
        }  # fmt: skip
        runs: dict[str, Callable[[], object]] = {}
        for name, (widths, activation, seeds, rate, batch_size, x, y) in trainings.items():
            batches = len(x) // batch_size
            rows = slice(0, batches * batch_size)
            at_once = len(seeds) if isinstance(seeds, range) else batches  # networks, or steps of the only one
            steps = batches * epochs // (1 if isinstance(seeds, range) else batches)
            multiply = products_of(widths, batch_size, dtype, at_once)
            runs[name] = lambda multiply=multiply, steps=steps: [multiply() for _ in range(steps)]
            for engine in results.engines:
                network = Network(mlp(widths, activation), seed=seeds, dtype=dtype)
                runs[f"{name} {engine}"] = epochs_of(
                    network, SGD(rate), x[rows], y[rows], batch_size, engine, epochs, times
                )
        interleave(runs, 1)
        seconds = interleave(runs, size.large)
        for engine in results.engines:
            for name in trainings:
                what = f"W7 {name} {dtype}"
                most = MOST.get(what) if engine == results.engines[0] else None
                ours = seconds[f"{name} {engine}"]
                results.comparisons.append(
                    Comparison("products", what, PRODUCTS, ours, seconds[name], engine, most, is_cost=True)
                )


def compare_watching(results: Results, size: Size) -> None:
    """Time recording, hand-overs and a progress bar: a training that is watched against the same left alone."""
    deep, small = make_job("W3", "float64", size.epochs), make_job("W1", "float64", size.epochs)

    def run(job: Job, engine: str, **options: Any) -> Iterable[object]:
        network = Network(mlp(job.widths, job.activation))
        optimizer = Adam(job.learning_rate) if job.optimizer == "adam" else SGD(job.learning_rate)
        options = {"epochs": job.epochs, "batch_size": job.batch_size, "each": "epoch", "engine": engine} | options
        return train(network, BinaryCrossEntropy(), optimizer, job.x, job.y, **options)

    for engine in results.engines:
        with open(os.devnull, "w") as nowhere:
            start, record = partial(run, engine=engine), {"record": ["weight_gradient_norm"]}
            total = len(small.batches) * small.epochs
            runs: dict[str, Callable[[], object]] = {
                "W3": lambda start=start: exhaust(start(deep)),
                "norms": lambda start=start, record=record: exhaust(start(deep, **record)),
                "W1": lambda start=start: exhaust(start(small)),
                "steps": lambda start=start: exhaust(start(small, each="step")),
                "bar": lambda start=start, total=total, file=nowhere: exhaust(
                    tqdm(start(small, each="step"), total=total, file=file)
                ),
            }
            interleave(runs, 1)
            seconds = interleave(runs, size.small)
        for what, key, base in (
            ("W3, gradient norm of every layer, every step", "norms", "W3"),
            ("W1, handed over at every step", "steps", "W1"),
            ("W1, handed over at every step to a tqdm bar", "bar", "W1"),
        ):
            against = f"{base}, handed over once per epoch"
            results.comparisons.append(
                Comparison("cost", what, against, seconds[key], seconds[base], engine, is_cost=True)
            )


def time_compiling(results: Results, size: Size) -> None:
    """Time how long the compiled engine takes to be made, the first time and from its cache."""
    if "compiled" not in results.engines:
        return

    def load(dtype: str, **folder: str) -> float:
        command = [sys.executable, "-c", LOAD, dtype]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | folder)
        return float(done.stdout)

    for dtype in ("float64", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            where = {"NUMBA_CACHE_DIR": folder} if size.compiles else {}
            results.compilation[f"gradlab, {dtype}, the first time"] = load(dtype, **where)
            results.compilation[f"gradlab, {dtype}, from its cache"] = load(dtype, **where)


def compare_imports(results: Results, size: Size) -> None:
    """How long a fresh interpreter takes to import gradlab.nn, and NumPy alone."""
    codes = {"gradlab": "import gradlab.nn", "numpy": "import numpy"}
    seconds: dict[str, list[float]] = {name: [] for name in codes}
    for repetition in range(size.small + 1):
        for name, code in codes.items():
            wall, _ = launch("-c", code)
            if repetition:
                seconds[name].append(wall)
    ours, theirs = seconds["gradlab"], seconds["numpy"]
    results.comparisons.append(Comparison("cost", "import gradlab.nn", "import numpy", ours, theirs, is_cost=True))


def measure_growth(results: Results, size: Size) -> None:
    """CPU time of an epoch as one of depth, width, samples and replicas is doubled, the others kept."""
    standard = {"hidden layers": 2, "width": 32, "samples": 1024, "replicas": 1}
    firsts = {"hidden layers": 1, "width": 16, "samples": 256, "replicas": 1}
    epochs = size.epochs or 4
    generator = np.random.default_rng(0)
    for what, first in firsts.items():
        sizes = [first * 2**i for i in range(DOUBLINGS + 1)]
        runs: dict[str, Callable[[], object]] = {}
        for value in sizes:
            depth, width, samples, replicas = (standard | {what: value}).values()
            x, y = generator.normal(size=(samples, 2)), generator.integers(2, size=samples)
            network = Network(mlp([2, *[width] * depth, 1], "sigmoid"), seed=range(replicas) if replicas > 1 else 0)
            runs[str(value)] = epochs_of(network, Adam(), x, y, 32, results.engines[0], epochs, size.large)
        seconds = interleave(runs, size.large)
        medians = np.array([np.median(seconds[str(value)]) for value in sizes]) / epochs
        slope = float(np.polyfit(np.log2(sizes), np.log2(medians), 1)[0])
        last = float(np.log2(medians[-1] / medians[-2]))
        results.growth[what] = {"sizes": sizes, "seconds": medians.tolist(), "slope": slope, "last": last}


def describe_machine(peers: Sequence[str]) -> dict[str, str]:
    """Say what the numbers depend on, and nothing of whose machine it is."""
    from threadpoolctl import threadpool_info

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    blas = [lib for lib in blas if "numpy" in lib["filepath"]] or blas
    if blas:
        library, kernel = f"{blas[0]['internal_api']} {blas[0]['version']}", str(blas[0].get("architecture"))
    else:
        library = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]  # type: ignore[index,call-overload]
        kernel = "not known"
    return {
        "processor": f"{processor}, {platform.machine()}, {platform.system()}",
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "BLAS of NumPy": library,
        "BLAS kernel": kernel,
        "gradlab": version("gradlab"),
        **({"Numba": version("numba")} if is_installed() else {}),
        "cores": str(default_threads()),
        **{peer: version(PACKAGES[peer][1]) for peer in peers},
    }


def markdown(results: Results, size: Size) -> str:
    """Write the tables."""
    machine = results.machine
    lines = ["# Speed", ""]
    if size is QUICK:
        lines += ["A quick look: one repetition of a few epochs. These numbers mean little.", ""]
    lines += [
        "Made by `python experiments/speed.py`. Ratios are those of medians, in brackets the least and the "
        "largest of one repetition. Absolute times are those of one machine, and of whatever else it did meanwhile.",
        "",
        "| | |",
        "|---|---|",
        *[f"| {name} | {value} |" for name, value in machine.items()],
        "",
        f"The kernel in use is `{machine['BLAS kernel']}`. OpenBLAS picks it by the processor, unless the environment "
        "variable `OPENBLAS_CORETYPE` names one; this program leaves it as it is. PyTorch and JAX bring kernels of "
        "their own, so the ratios to them depend on it, most of all where matrix products weigh most: in W4.",
        "",
        "## Beside the targets",
        "",
        "Their time / ours, with the engine that is faster, in brackets what it should be; in W7 ours / the products'.",
        "",
        *_target_table(results),
        "",
        "## Training",
        "",
        f"CPU time of the process on one thread (W5: wall time), {size.repetitions} times ({size.large} in W4 and W5) "
        "after a warm-up, everybody in turn in one process, from the same first weights, with the same batches and the "
        "same optimizer. Both engines hand over one step per epoch. Their time / ours: above 1 we are faster.",
        "",
        *[f"- {name}: {what}" for name, what in WORKLOADS.items()],
        "",
        *_comparison_table(results.of("training"), 1e3, "ms"),
        "",
        "scikit-learn records no gradients, so in W3 it does less than the others. PyTorch runs eagerly, with its "
        "fused optimizers. JAX runs a whole training as one compiled function. The compiled engine holds the first "
        "step of every training against the layers, which take it too: that is in its times.",
        "",
        "## The main job",
        "",
        f"W6: wall time on all cores ({machine['cores']}), {size.processes} times, each in a process of its own, "
        "imports and compilation left out. PyTorch stacks the seeds and multiplies with `baddbmm`; JAX compiles "
        "`vmap` of a `scan` over epochs of a `scan` over batches.",
        "",
        *_comparison_table(results.of("main"), 1.0, "s"),
        "",
        "## Compilation",
        "",
        "Seconds that are in none of the tables above. gradlab compiles one interpreter per float width, once for all "
        "networks, and keeps it on disk; JAX compiles each training.",
        "",
        "| what | s |",
        "|---|--:|",
        *[f"| {what} | {seconds:.2f} |" for what, seconds in results.compilation.items()],
        "",
        "## The same work",
        "",
        "The final loss over all rows, and in brackets how far the final weights are from those of the first column, "
        "as a share of the way that these have gone. Allowed are "
        f"{LOSS_TOLERANCE['float64']:g} of the loss and {WEIGHT_TOLERANCE['float64']:g} of the way in float64. In "
        "float32, where each library sums in another order and Adam takes steps of full length along what rounding "
        f"leaves of a gradient next to nothing, {LOSS_TOLERANCE['float32']:g} and {WEIGHT_TOLERANCE['float32']:g}. "
        f"With scikit-learn's Adam {LOSS_TOLERANCE['other epsilon']:g} and {WEIGHT_TOLERANCE['other epsilon']:g}: it "
        "adds epsilon to √v before v is divided by 1 − beta2^t, ours after, so its first steps are not quite ours. In "
        "W6 the scores and norms of all epochs are compared too.",
        "",
        *_loss_table(results),
        "",
        "## Whole process",
        "",
        "Wall time of a fresh process that trains W1 once: interpreter, imports, compilation and training. Of ours "
        '`engine="auto"` chooses the plain engine, for so little work.',
        "",
        *_comparison_table(results.of("process"), 1e3, "ms"),
        "",
        *_memory_table(results),
        "## A step beside its matrix products",
        "",
        "W7: CPU time of some epochs of a training, without its first, which is held against the layers, and without "
        "recording or evaluation, on one thread, beside that of the same products in stacks, so that calling them "
        "costs nothing. Ours / theirs.",
        "",
        *_comparison_table(results.of("products"), 1e3, "ms"),
        "",
        "## Costs",
        "",
        "Ours / the other. Imports are timed on the wall, in fresh processes.",
        "",
        *_comparison_table(results.of("cost"), 1e3, "ms"),
        "",
        "## Growth",
        "",
        f"CPU time of an epoch of 2-32-32-1 sigmoid, 1024 samples, batch 32, Adam, on the {results.engines[0]} engine "
        "and one thread, as one size is doubled. The slope is that of the logarithms: 1 where twice the size takes "
        "twice as long, 0 where the size costs nothing.",
        "",
        "| size | from, to | ms an epoch | slope | slope of the last doubling |",
        "|---|---|---|--:|--:|",
    ]
    for what, grown in results.growth.items():
        times = ", ".join(f"{1e3 * s:.3g}" for s in grown["seconds"])
        ends = f"{grown['sizes'][0]}, {grown['sizes'][-1]}"
        lines.append(f"| {what} | {ends} | {times} | {grown['slope']:.2f} | {grown['last']:.2f} |")
    return "\n".join(lines) + "\n"


def _target_table(results: Results) -> list[str]:
    """Return a row per workload with a target, and a column for each of those who are compared with."""
    columns = [*results.peers, LOOP, PRODUCTS]
    cells: dict[str, dict[str, str]] = {}
    for c in results.comparisons:
        if c.target is not None:
            sign = "≤" if c.is_cost else "≥"
            missed = ", **missed**" if c.verdict == "missed" else ""
            cells.setdefault(c.what, {})[c.against] = f"{c.ratio:.2f} ({sign} {c.target:g}{missed})"
    rows = [
        f"| {what} | " + " | ".join(row.get(column, "") for column in columns) + " |" for what, row in cells.items()
    ]
    return [f"| | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns), *rows]


def _comparison_table(comparisons: Sequence[Comparison], unit: float, name: str) -> list[str]:
    def spread(seconds: Sequence[float]) -> str:
        low, middle, high = (f"{unit * s:.4g}" for s in (min(seconds), float(np.median(seconds)), max(seconds)))
        return f"{middle} ({low}–{high})"

    lines = [f"| what | ours | against | ours, {name} | theirs, {name} | ratio | target | |"]
    lines += ["|---|---|---|--:|--:|--:|--:|---|"]
    for c in comparisons:
        target = "–" if c.target is None else f"{'≤' if c.is_cost else '≥'} {c.target:g}"
        ratio = f"**{c.ratio:.2f}** ({min(c.ratios):.2f}–{max(c.ratios):.2f})"
        lines.append(
            f"| {c.what} | {c.engine} | {c.against} | {spread(c.ours)} | {spread(c.theirs)} | {ratio} | {target} "
            f"| {c.verdict} |"
        )
    return lines


def _loss_table(results: Results) -> list[str]:
    names = [*results.engines, *results.peers, "two threads", LOOP]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for what, losses in results.losses.items():
        base = next(iter(losses))
        apart = {name: "" if name == base else f" ({a:.1g})" for name, a in results.apart[what].items()}
        cells = [f"{losses[name]:.6f}{apart[name]}" if name in losses else "" for name in names]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return lines + [f"\nDISAGREES: {line}" for line in results.disagreements]


def _memory_table(results: Results) -> list[str]:
    if not all(all(values) for values in results.memory.values()):
        return []
    medians = {peer: float(np.median(values)) for peer, values in results.memory.items()}
    return [
        "Peak memory of these processes:",
        "",
        "| | MiB | theirs / ours |",
        "|---|--:|--:|",
        *[f"| {peer} | {most / 2**20:.0f} | {most / medians['gradlab']:.1f} |" for peer, most in medians.items()],
        "",
    ]


def draw(results: Results, file: Path) -> None:
    """Draw the ratio to each peer, workload by workload, on a logarithmic axis with a line at 1."""
    from matplotlib import rc_context

    from gradlab.lab.style import COLOURS, STYLE

    looks = {  # colour and marker
        "scikit-learn": (COLOURS["sigmoid"], "o"),
        "PyTorch": (COLOURS["relu"], "s"),
        "JAX": (COLOURS["tanh"], "^"),
        LOOP: (COLOURS["softplus"], "D"),
    }
    groups: dict[str, list[Comparison]] = {}
    faster = (results.engines[0], "auto")
    for c in results.of("training") + results.of("main") + results.of("process"):
        if c.engine not in faster:
            continue
        groups.setdefault(c.what, []).append(c)
    with rc_context(STYLE):
        _figure(results, groups, looks).savefig(file)


def _figure(results: Results, groups: dict[str, list[Comparison]], looks: dict[str, tuple[str, str]]) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    says = {
        "W1": "2-32-32-1 sigmoid, batch 32",
        "W2": "30-64-64-1 sigmoid, batch 64",
        "W3": "20 hidden layers, norms recorded",
        "W4": "64-512-512-1 ReLU, batch 256",
        "W5": f"{REPLICAS} seeds of W1 in a pass, wall time",
        "W6": f"the main job, 3 × {REPLICAS} networks\nwall time, all cores",
        "whole process": "W1 from a cold start, wall time",
    }
    figure = Figure(figsize=(9.0, 1.9 + 0.22 * sum(len(g) + 1 for g in groups.values())))
    ax = figure.add_subplot()
    ax.axvline(1.0, color="black", linewidth=1.2)
    places, names, y = [], [], 0.0
    ratios = [1.0, *(c.ratio for group in groups.values() for c in group)]
    lowest, highest = min(ratios), max(ratios)
    for what, group in groups.items():
        key = next(key for key in says if what.startswith(key))
        title = what.replace(", W1 float64", "") if key == "whole process" else what
        places.append(y + (len(group) - 1) / 2)
        names.append(f"{title}\n{says[key]}")
        for c in group:
            colour, marker = looks[c.against]
            ax.plot([1.0, c.ratio], [y, y], color=colour, linewidth=1.5, alpha=0.5)
            ax.plot(c.ratio, y, marker, color=colour, markersize=6)
            ratio = f"{c.ratio:.1f}" if c.ratio >= 1 else f"{c.ratio:.2f}"
            ax.annotate(
                f"{c.against} {ratio}", (max(c.ratio, 1.0), y), xytext=(7, 0), textcoords="offset points", va="center",
                color=colour, fontsize=8.5,
            )  # fmt: skip
            y += 1.0
        y += 1.0
    ax.set_xscale("log")
    ax.set_xlim(lowest / 1.25, highest * 2.2)
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    ax.xaxis.set_major_locator(FixedLocator([t for t in ticks if lowest / 1.25 <= t <= highest * 2.2]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_yticks(places, names, fontsize=8.5)
    ax.set_ylim(y - 0.5, -1.0)
    ax.grid(visible=False, axis="y")
    figure.suptitle("Time that others take for the same training, as a multiple of gradlab's")
    m = results.machine
    versions = ", ".join(f"{peer} {m[peer]}" for peer in results.peers)
    ax.set_xlabel(
        "their time / gradlab's (log scale); right of the line at 1 gradlab is faster\n"
        f"{results.engines[0]} engine, whole process: plain; medians\n"
        "one thread and CPU time unless said otherwise; compilation counts in the whole process only\n"
        f"{m['processor']}\nNumPy {m['NumPy']}, {m['BLAS of NumPy']} ({m['BLAS kernel']} kernels)\n{versions}",
        fontsize=8.5,
    )
    return figure


def write(results: Results, table: str, folder: Path) -> None:
    """Write table, numbers and figure."""
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    (folder / "speed.md").write_text(table, encoding="utf-8")
    numbers = asdict(results)
    for entry, c in zip(numbers["comparisons"], results.comparisons, strict=True):
        entry |= {"ratio": c.ratio, "verdict": c.verdict}
    (folder / "speed.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(results, folder / "figures" / "speed.png")


def measure(results: Results, size: Size, only: Sequence[str] = ()) -> None:
    """Measure everything, or some parts only, with a bar on stderr."""
    parts: list[tuple[str, Callable[[Results, Size], None]]] = [("compilation", time_compiling)]
    parts += [("whole process", compare_processes)]
    for name in ("W1", "W2", "W3", "W4"):
        parts += [(f"{name} {dtype}", partial(compare_trainings, name, dtype)) for dtype in ("float64", "float32")]
    parts += [(f"W5 {dtype}", partial(compare_replicas, dtype)) for dtype in ("float64", "float32")]
    if "compiled" in results.engines:
        parts += [("W6", compare_main_jobs)]
    parts += [
        ("W7", compare_products),
        ("watching", compare_watching),
        ("imports", compare_imports),
        ("growth", measure_growth),
    ]
    parts = [(name, part) for name, part in parts if not only or name.split()[0] in only]
    with tqdm(parts, disable=None, unit="part") as bar:
        for name, part in bar:
            bar.set_description(name)
            part(results, size)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Measure how fast gradlab trains, beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one repetition of a few epochs; writes only with --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for table, numbers and figure; by default here")
    parser.add_argument(
        "--peers", nargs="+", choices=list(PACKAGES), metavar="PEER",
        help=f"whom to compare with: {', '.join(PACKAGES)}; by default all that are installed",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", metavar="PART", default=(), help="parts to measure, such as W1 or W6")
    given = parser.parse_args(arguments)
    installed = [peer for peer, (module, _) in PACKAGES.items() if importlib.util.find_spec(module)]
    missing = [peer for peer in given.peers or [] if peer not in installed]
    if missing:
        parser.error(f"--peers: not installed: {', '.join(missing)}")  # exits with 2
    given.peers = [peer for peer in installed if not given.peers or peer in given.peers]
    if given.out is None and not given.quick and not given.only:
        given.out = HERE
    if given.out is not None:
        try:  # now, rather than after minutes of measuring
            (given.out / "figures").mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=given.out).close()
        except OSError as error:
            parser.error(f"--out: nothing can be written to {given.out}: {error.strerror}")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write them; return the exit code."""
    given = parse(arguments)
    engines = ["compiled", "plain"] if is_installed() else ["plain"]
    results = Results(describe_machine(given.peers), given.peers, engines)
    size = QUICK if given.quick else Size()
    measure(results, size, given.only)
    table = markdown(results, size)
    print(table)
    if given.out is not None:
        write(results, table, given.out)
    for line in results.disagreements:
        print(f"speed: {line}", file=sys.stderr)
    return LOSSES_DISAGREE if results.disagreements else DONE


if __name__ == "__main__":
    sys.exit(main())
