"""How fast gradlab trains, beside what users would pick instead: the same work, in turns, in one process.

``python experiments/speed.py`` takes some minutes and writes ``speed.md``, ``speed.json`` and ``figures/speed.png``;
``--quick`` goes through all of it in seconds, for a look. It exits with 0 however fast or slow anybody was, with 2 for
a mistake in the arguments, and with 3 if the final losses disagree: then the work was not the same.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from peers import PEERS, Job, Weights  # isort: skip (it sets the number of threads before NumPy is loaded)

import numpy as np
from tqdm import tqdm

from gradlab.flow import PROBES, FlowRecorder
from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Network, ReLU, Sigmoid, Step, mlp, train

HERE = Path(__file__).parent
DONE, USAGE, LOSSES_DISAGREE = 0, 2, 3  # exit codes
PACKAGES = {"scikit-learn": ("sklearn", "scikit-learn"), "PyTorch": ("torch", "torch"), "JAX": ("jax", "jax")}
LOOP = "loop of single networks"
WORKLOADS = {
    "W1": "moons 1000, 2-32-32-1 sigmoid, Adam, batch 32, 50 epochs",
    "W2": "breast cancer, 30-64-64-1 sigmoid, Adam, batch 64, 100 epochs",
    "W3": "moons 512, 20 hidden layers of 32, sigmoid, SGD, batch 64, 20 epochs, each layer's gradient norm every step",
    "W4": "digits ≥ 5, 64-512-512-1 ReLU, Adam, batch 256, 20 epochs",
    "W5": "W1 with 30 seeds, rows shuffled: replicas, 15 in a pass, against a loop of single networks",
}
TARGETS = {  # their time / ours, at least
    ("W1", "float64"): {"scikit-learn": 6.0, "PyTorch": 9.0, "JAX": 0.7},
    ("W1", "float32"): {"scikit-learn": 7.0, "PyTorch": 11.0, "JAX": 0.6},
    ("W2", "float64"): {"scikit-learn": 3.8, "PyTorch": 4.0, "JAX": 1.0},
    ("W3", "float64"): {"scikit-learn": 3.3, "PyTorch": 4.5, "JAX": 1.2},
    ("W4", "float64"): {"scikit-learn": 1.25, "PyTorch": 0.9, "JAX": 1.0},
    ("W5", "float64"): {LOOP: 1.7},
    ("W5", "float32"): {LOOP: 2.2},
    ("whole process", "float64"): {"scikit-learn": 4.0, "PyTorch": 10.0, "JAX": 7.0},
}
# How far a final loss may be from ours, as a share of it, and the final weights, as a share of the way that ours have
# gone. Every library sums in another order, and where a gradient is next to nothing Adam takes steps of full length
# along the last bit of it: that carries far in float32, not in float64. scikit-learn's Adam adds epsilon to √v before
# v is divided by 1 − beta2^t, ours and the others' after, so its first steps differ whatever the float type.
LOSS_TOLERANCE = {"float64": 1e-6, "float32": 0.03, "other epsilon": 0.03}
WEIGHT_TOLERANCE = {"float64": 1e-6, "float32": 0.2, "other epsilon": 0.3}
REPLICAS, AT_ONCE = 30, 15
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


@dataclass
class Size:
    """How much is measured.

    Attributes
    ----------
    repetitions, large, processes, small : int
        Of trainings that take less than a second, of those that take longer, of cold starts, of the small measures.
    epochs : int or None
        In place of each workload's own.
    calls : int
        Of one activation in a row.
    at_once : int
        Processes at a time; with more than one, their times mean nothing.
    """

    repetitions: int = 15
    large: int = 5
    processes: int = 5
    small: int = 15
    epochs: int | None = None
    calls: int = 200
    at_once: int = 1


QUICK = Size(repetitions=1, large=1, processes=1, small=1, epochs=1, calls=10, at_once=4)


@dataclass
class Comparison:
    """Seconds of ours and of somebody else's for the same work, one of each in every repetition.

    Attributes
    ----------
    part, what, against : str
        The table, the row, and who the other is.
    ours, theirs : list of float
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


def exhaust(steps: Iterable[Step]) -> None:
    """Take every step, and look at none."""
    deque(steps, maxlen=0)


def steps_of(job: Job) -> Iterable[Step]:
    """Start one training of a job with gradlab."""
    network = Network(mlp(job.widths, job.activation), dtype=job.x.dtype)
    network.params[...] = job.first
    optimizer = Adam(job.learning_rate) if job.optimizer == "adam" else SGD(job.learning_rate)
    options: Any = {"epochs": job.epochs, "batch_size": job.batch_size, "shuffle": False}
    return train(network, BinaryCrossEntropy(), optimizer, job.x, job.y, **options)


def compare_trainings(name: str, dtype: str, results: Results, size: Size) -> None:
    """W1 to W4: one network against each peer. The first run of each warms up, compiles, and gives the weights."""
    job = make_job(name, dtype, size.epochs)
    what, runs, ends, warm_up = f"{name} {dtype}", {}, {}, {}
    for peer in ["gradlab", *results.peers]:
        run = runs[peer] = PEERS[peer](job)
        start = time.process_time()
        weights = run()
        warm_up[peer] = time.process_time() - start
        ends[peer] = flat(weights).astype(np.float64)
    check_same_work(results, what, job, job.first, ends)
    seconds = interleave(runs, size.large if name == "W4" else size.repetitions)
    for peer in results.peers:
        target = TARGETS.get((name, dtype), {}).get(peer)
        results.comparisons.append(Comparison("training", what, peer, seconds["gradlab"], seconds[peer], target))
    if "JAX" in runs:
        results.compilation[what] = warm_up["JAX"] - float(np.median(seconds["JAX"]))


def check_same_work(results: Results, what: str, job: Job, first: np.ndarray, ends: dict[str, np.ndarray]) -> None:
    """Keep final losses and distances of final weights (..., P), and say which are not ours."""
    own = ends["gradlab"]
    way = float(np.linalg.norm(own - first))
    losses = {name: [final_loss(job, w) for w in np.atleast_2d(end)] for name, end in ends.items()}
    results.losses[what] = {name: float(np.mean(values)) for name, values in losses.items()}
    results.apart[what] = {name: float(np.linalg.norm(end - own)) / way for name, end in ends.items()}
    for name in ends:
        is_other = name == "scikit-learn" and job.optimizer == "adam"
        kind = "other epsilon" if is_other else str(job.x.dtype)
        apart = results.apart[what][name]
        if not np.allclose(losses[name], losses["gradlab"], rtol=LOSS_TOLERANCE[kind], atol=0.0):
            pair = results.losses[what][name], results.losses[what]["gradlab"]
            results.disagreements.append(f"{what}: the final loss of {name} is {pair[0]:.8g}, ours {pair[1]:.8g}")
        if not apart <= WEIGHT_TOLERANCE[kind]:
            results.disagreements.append(f"{what}: {name} ends {apart:.2g} of our way from where we end")


def compare_replicas(dtype: str, results: Results, size: Size) -> None:
    """W5: thirty networks side by side against one after the other."""
    job = make_job("W1", dtype, size.epochs)
    ends: dict[str, np.ndarray] = {}

    def train_all(name: str, seeds: Sequence[int | list[int]]) -> None:
        params = []
        for seed in seeds:
            network = Network(mlp(job.widths, job.activation), seed=seed, dtype=dtype)
            optimizer = Adam(job.learning_rate)
            options: Any = {"epochs": job.epochs, "batch_size": job.batch_size}
            exhaust(train(network, BinaryCrossEntropy(), optimizer, job.x, job.y, **options))
            params.append(np.atleast_2d(network.params).astype(np.float64))
        ends[name] = np.concatenate(params)

    chunks = [list(range(i, i + AT_ONCE)) for i in range(0, REPLICAS, AT_ONCE)]
    runs: dict[str, Callable[[], object]] = {
        "gradlab": partial(train_all, "gradlab", chunks),
        LOOP: partial(train_all, LOOP, range(REPLICAS)),
    }
    interleave(runs, 1)
    seconds = interleave(runs, size.large)
    first = Network(mlp(job.widths, job.activation), seed=range(REPLICAS), dtype=dtype).params
    check_same_work(results, f"W5 {dtype}", job, first, ends)
    target = TARGETS["W5", dtype][LOOP]
    ours, theirs = seconds["gradlab"], seconds[LOOP]
    results.comparisons.append(Comparison("training", f"W5 {dtype}", LOOP, ours, theirs, target))


def launch(*arguments: str) -> tuple[float, int]:
    """Run Python in a process of its own; return its seconds of wall time and its peak memory, 0 if not known."""
    command = [sys.executable, "-S", "-c", LAUNCH, sys.executable, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
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
            with ThreadPoolExecutor(size.at_once) as pool:
                found = list(pool.map(lambda peer: launch(str(HERE / "peers.py"), peer, str(file)), seconds))
            for peer, (wall, most) in zip(seconds, found, strict=True):
                if repetition or size.processes == 1:  # the first fills the file cache
                    seconds[peer].append(wall)
                    results.memory[peer].append(most)
    for peer in results.peers:
        target = TARGETS["whole process", "float64"][peer]
        what = "whole process, W1 float64"
        results.comparisons.append(Comparison("process", what, peer, seconds["gradlab"], seconds[peer], target))


def compare_products(results: Results, size: Size) -> None:
    """W4's steps against its matrix products alone: x·W forward, xᵀ·dy for dW, dy·Wᵀ for dx."""
    job = make_job("W4", "float64", size.epochs)
    n = job.batch_size
    rows = len(job.x) // n * n  # whole batches only
    job.x, job.y = job.x[:rows], job.y[:rows]
    products: dict[str, list[Callable[[], object]]] = {"all": [], "learning": []}
    generator = np.random.default_rng(0)
    for i, (w, _) in enumerate(job.weights()):
        x, dy = generator.random((n, w.shape[0])), generator.random((n, w.shape[1]))
        made = [partial(x.dot, w, np.empty_like(dy)), partial(x.T.dot, dy, np.empty_like(w))]
        to_x = [partial(dy.dot, w.T, np.empty_like(x))]
        products["all"] += made + to_x
        products["learning"] += made + (to_x if i else [])
    steps = rows // n * job.epochs

    def multiply(which: str) -> None:
        for _ in range(steps):
            for product in products[which]:
                product()

    runs: dict[str, Callable[[], object]] = {"gradlab": lambda: exhaust(steps_of(job))}
    runs |= {name: partial(multiply, name) for name in products}
    interleave(runs, 1)
    seconds = interleave(runs, size.large)
    for name, against, target in (
        ("all", "its matrix products alone", 1.35),
        ("learning", "the same without dx of the first layer, which learning does not need", None),
    ):
        results.comparisons.append(
            Comparison("cost", "W4 float64, a step", against, seconds["gradlab"], seconds[name], target, is_cost=True)
        )


def compare_activations(results: Results, size: Size) -> None:
    """One pass of an activation against the least that it could be, on 256×256 numbers."""
    generator = np.random.default_rng(0)
    x, dy, y = generator.normal(size=(3, 256, 256))
    np.maximum(x, 0.0, out=y)
    out = np.empty_like(x)
    sigmoid, relu = Sigmoid(), ReLU()

    def plain_sigmoid() -> None:
        np.negative(x, out)
        np.exp(out, out)
        np.add(out, 1.0, out)
        np.divide(1.0, out, out)

    def often(call: Callable[[], object]) -> Callable[[], None]:
        return lambda: deque((call() for _ in range(size.calls)), maxlen=0)

    runs = {
        "sigmoid": often(lambda: sigmoid.forward(x, out)),
        "plain sigmoid": often(plain_sigmoid),
        "relu": often(lambda: relu.backward(dy, x, y, out)),
        "plain relu": often(lambda: np.multiply(dy, x, out)),
    }
    interleave(runs, 1)
    seconds = interleave(runs, size.small)
    for what, key, against, bound in (
        ("sigmoid, forward", "sigmoid", "1/(1 + exp(−x)) in place", 1.3),
        ("ReLU, backward", "relu", "one multiplication", 1.5),
    ):
        results.comparisons.append(
            Comparison("cost", what, against, seconds[key], seconds[f"plain {key}"], bound, is_cost=True)
        )


def compare_watching(results: Results, size: Size) -> None:
    """Time recording and a progress bar: a training that is watched against the same left alone."""
    deep, small = make_job("W3", "float64", size.epochs), make_job("W1", "float64", size.epochs)

    def record(recorder: FlowRecorder) -> None:
        for step in steps_of(deep):
            recorder(step)

    def show() -> None:
        with open(os.devnull, "w") as nowhere:
            exhaust(tqdm(steps_of(small), total=len(small.batches) * small.epochs, file=nowhere))

    runs: dict[str, Callable[[], object]] = {
        "W3": lambda: exhaust(steps_of(deep)),
        "step": lambda: record(FlowRecorder("step")),
        "every probe": lambda: record(FlowRecorder("step", tuple(PROBES), x=deep.x)),
        "epoch": lambda: record(FlowRecorder("epoch")),
        "W1": lambda: exhaust(steps_of(small)),
        "bar": show,
    }
    interleave(runs, 1)
    seconds = interleave(runs, size.small)
    for what, key, base, bound in (
        ("W3, gradient norm of every layer, every step", "step", "W3", 1.25),
        (f"W3, all {len(PROBES)} quantities of every layer, every step", "every probe", "W3", None),
        ("W3, gradient norm of every layer, every epoch", "epoch", "W3", 1.02),
        ("W1 with a tqdm bar", "bar", "W1", 1.02),
    ):
        results.comparisons.append(
            Comparison("cost", what, f"{base} alone", seconds[key], seconds[base], bound, is_cost=True)
        )


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
    results.comparisons.append(Comparison("cost", "import gradlab.nn", "import numpy", ours, theirs, 1.5, is_cost=True))


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
            options: Any = {"epochs": 1 + size.large * epochs, "batch_size": 32}
            steps = iter(train(network, BinaryCrossEntropy(), Adam(), x, y, **options))
            exhaust(islice(steps, samples // 32))
            runs[str(value)] = lambda steps=steps, n=samples // 32 * epochs: exhaust(islice(steps, n))
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
        "## Training",
        "",
        f"CPU time of the process on one thread, {size.repetitions} times ({size.large} in W4 and W5) after a warm-up, "
        "everybody in turn in one process, from the same first "
        "weights, with the same batches and the same optimizer. Their time / ours: above 1 we are faster.",
        "",
        *[f"- {name}: {what}" for name, what in WORKLOADS.items()],
        "",
        *_comparison_table(results.of("training"), 1e3, "ms"),
        "",
        "Nobody computes the gradient of the input, which nothing is trained by (`input_gradient=False` in `train`); W5"
        " and the costs below are with it. scikit-learn records no gradients, so in W3 it does less than the others. "
        "PyTorch runs eagerly, with its fused optimizers. JAX runs a whole training as one compiled function.",
        "",
        *_compilation_table(results.compilation),
        "Where a target is missed, what is left is arithmetic that NumPy does call by call. In W1 (40 calls a step, "
        "on arrays of 32 × 32) a call begins about half a microsecond after the one before; a compiled loop has no "
        "such pause. In W2, W3 and W4 half of a step and more is in matrix products, which are the same for everybody "
        "with the same BLAS, and most of the rest in exp, square root and division. ReLU's slope takes a pass of its "
        "own over the array before the multiplication; NumPy has no call that does both.",
        "",
        "That the work was the same: the final loss over all rows, and in brackets how far the final weights are from "
        "ours, as a share of the way that ours have gone. Allowed are "
        f"{LOSS_TOLERANCE['float64']:g} of the loss and {WEIGHT_TOLERANCE['float64']:g} of the way in float64. In "
        "float32, where each library sums in another order and Adam takes steps of full length along what rounding "
        f"leaves of a gradient next to nothing, {LOSS_TOLERANCE['float32']:g} and {WEIGHT_TOLERANCE['float32']:g}. "
        f"With scikit-learn's Adam {LOSS_TOLERANCE['other epsilon']:g} and {WEIGHT_TOLERANCE['other epsilon']:g}: it "
        "adds epsilon to √v before v is divided by 1 − beta2^t, ours after, so its first steps are not quite ours.",
        "",
        *_loss_table(results),
        "",
        "## Whole process",
        "",
        "Wall time of a fresh process that trains W1 once: interpreter, imports, compilation and training.",
        "",
        *_comparison_table(results.of("process"), 1e3, "ms"),
        "",
        *_memory_table(results),
        "## Costs",
        "",
        "Ours / the other: a bound is met from below. Recording and the bar are compared with the same "
        "training left alone; imports are timed on the wall, in fresh processes.",
        "",
        *_comparison_table(results.of("cost"), 1e3, "ms"),
        "",
        "## Growth",
        "",
        "CPU time of an epoch of 2-32-32-1 sigmoid, 1024 samples, batch 32, Adam, as one size is doubled. The slope is "
        "that of the logarithms: 1 where twice the size takes twice as long, 0 where the size costs nothing.",
        "",
        "| size | from, to | ms an epoch | slope | slope of the last doubling |",
        "|---|---|---|--:|--:|",
    ]
    for what, grown in results.growth.items():
        times = ", ".join(f"{1e3 * s:.3g}" for s in grown["seconds"])
        ends = f"{grown['sizes'][0]}, {grown['sizes'][-1]}"
        lines.append(f"| {what} | {ends} | {times} | {grown['slope']:.2f} | {grown['last']:.2f} |")
    return "\n".join(lines) + "\n"


def _comparison_table(comparisons: Sequence[Comparison], unit: float, name: str) -> list[str]:
    def spread(seconds: Sequence[float]) -> str:
        low, middle, high = (f"{unit * s:.4g}" for s in (min(seconds), float(np.median(seconds)), max(seconds)))
        return f"{middle} ({low}–{high})"

    lines = [f"| what | against | ours, {name} | theirs, {name} | ratio | target | |", "|---|---|--:|--:|--:|--:|---|"]
    for c in comparisons:
        target = "–" if c.target is None else f"{'≤' if c.is_cost else '≥'} {c.target:g}"
        ratio = f"**{c.ratio:.2f}** ({min(c.ratios):.2f}–{max(c.ratios):.2f})"
        lines.append(
            f"| {c.what} | {c.against} | {spread(c.ours)} | {spread(c.theirs)} | {ratio} | {target} | {c.verdict} |"
        )
    return lines


def _loss_table(results: Results) -> list[str]:
    names = ["gradlab", *results.peers, LOOP]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    for what, losses in results.losses.items():
        apart = {name: "" if name == "gradlab" else f" ({a:.1g})" for name, a in results.apart[what].items()}
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
    for c in results.of("training") + results.of("process"):
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
        "W5": f"{REPLICAS} seeds of W1, {AT_ONCE} in a pass",
        "whole process": "W1 from a cold start, wall time",
    }
    figure = Figure(figsize=(8.0, 1.6 + 0.22 * sum(len(g) + 1 for g in groups.values())))
    ax = figure.add_subplot()
    ax.axvline(1.0, color="black", linewidth=1.2)
    places, names, y = [], [], 0.0
    highest = max(1.0, *(c.ratio for group in groups.values() for c in group))
    lowest = min(1.0, *(c.ratio for group in groups.values() for c in group))
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
    ax.set_title("Time that others take for the same training, as a multiple of gradlab's")
    m = results.machine
    versions = ", ".join(f"{peer} {m[peer]}" for peer in results.peers)
    ax.set_xlabel(
        "their time / gradlab's (log scale); right of the line at 1 gradlab is faster\n"
        "one thread, medians; CPU time but for the whole process; JAX's compilation counts only there\n"
        f"{m['processor']}; NumPy {m['NumPy']}, {m['BLAS of NumPy']} ({m['BLAS kernel']} kernels)\n{versions}",
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


def measure(results: Results, size: Size) -> None:
    """Measure everything, with a bar on stderr."""
    parts: list[tuple[str, Callable[[Results, Size], None]]] = [("whole process", compare_processes)]
    for name in ("W1", "W2", "W3", "W4"):
        parts += [(f"{name} {dtype}", partial(compare_trainings, name, dtype)) for dtype in ("float64", "float32")]
    parts += [(f"W5 {dtype}", partial(compare_replicas, dtype)) for dtype in ("float64", "float32")]
    parts += [
        ("matrix products", compare_products),
        ("activations", compare_activations),
        ("recording", compare_watching),
        ("imports", compare_imports),
        ("growth", measure_growth),
    ]
    with tqdm(parts, disable=None, unit="part") as bar:
        for name, part in bar:
            bar.set_description(name)
            part(results, size)


def _compilation_table(compilation: dict[str, float]) -> list[str]:
    if not compilation:
        return []
    rows = [f"| {what} | {seconds:.2f} |" for what, seconds in compilation.items()]
    title = "What compiling takes, which is not in the table above:"
    return [title, "", "| JAX | compilation, s |", "|---|--:|", *rows, ""]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description="Measure how fast gradlab trains, beside its peers.")
    parser.add_argument("--quick", action="store_true", help="one repetition of a few epochs; writes only with --out")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for table, numbers and figure; by default here")
    parser.add_argument(
        "--peers", nargs="+", choices=list(PACKAGES), metavar="PEER",
        help=f"whom to compare with: {', '.join(PACKAGES)}; by default all that are installed",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    installed = [peer for peer, (module, _) in PACKAGES.items() if importlib.util.find_spec(module)]
    missing = [peer for peer in given.peers or [] if peer not in installed]
    if missing:
        parser.error(f"--peers: not installed: {', '.join(missing)}")  # exits with 2
    given.peers = [peer for peer in installed if not given.peers or peer in given.peers]
    if given.out is None and not given.quick:
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
    results = Results(describe_machine(given.peers), given.peers)
    size = QUICK if given.quick else Size()
    measure(results, size)
    table = markdown(results, size)
    print(table)
    if given.out is not None:
        write(results, table, given.out)
    for line in results.disagreements:
        print(f"speed: {line}", file=sys.stderr)
    return LOSSES_DISAGREE if results.disagreements else DONE


if __name__ == "__main__":
    sys.exit(main())
