"""What speed rests on and can be counted: calls and arrays. Times are only shown; they fail nobody."""

import json
import os
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import gradlab.nn
from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Network, mlp, recording, train

SPEED = Path(__file__).parent.parent / "experiments" / "speed.py"
CALLS_OF_W1 = 40  # added up in test_a_step_makes_few_calls


def steps_of(name, **options):
    """Training of a workload of experiments/speed.py, with made-up samples."""
    widths, rows, optimizer = {
        "W1": ([2, 32, 32, 1], 32, Adam(0.01)),
        "W3": ([2, *[32] * 20, 1], 64, SGD(0.1)),
    }[name]
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32 * rows, 2)), generator.integers(2, size=32 * rows)
    network = Network(mlp(widths, "sigmoid"))
    return train(network, BinaryCrossEntropy(), optimizer, x, y, epochs=1000, batch_size=rows, **options)


@pytest.mark.parametrize("name", ["W1", "W3"])
def test_time_of_a_step(benchmark, name):
    steps = steps_of(name)
    benchmark.pedantic(next, args=(steps,), rounds=50, warmup_rounds=5)


class Counter:
    """Counts the calls made on NumPy, at the outermost level: what NumPy calls by itself is not counted.

    It sees functions and ufuncs that gradlab.nn takes from ``np``, those noted in a plan, and methods of arrays.
    It does not see operators and indexing; those that compute make arrays, which the count of arrays sees.
    """

    def __init__(self):
        self.count, self._inside = 0, False

    def counted(self, function):
        """Wrap a function so that its calls are counted; it still has the attributes of its own."""
        return _Counted(self, function)

    def call(self, function, arguments, options):
        if self._inside:
            return function(*arguments, **options)
        self.count, self._inside = self.count + 1, True
        try:
            return function(*arguments, **options)
        finally:
            self._inside = False

    def profile(self, frame, event, function):
        is_method = event == "c_call" and isinstance(getattr(function, "__self__", None), np.ndarray)
        self.count += is_method and not self._inside

    def of(self, steps):
        """Count the calls of the next step."""
        self.count = 0
        sys.setprofile(self.profile)
        try:
            next(steps)
        finally:
            sys.setprofile(None)
        return self.count


class _Counted:
    def __init__(self, counter, function):
        self._counter, self._function = counter, function

    def __call__(self, *arguments, **options):
        return self._counter.call(self._function, arguments, options)

    def __getattr__(self, name):
        return getattr(self._function, name)


class _CountedNumPy:
    """NumPy, its functions and ufuncs counted; everything else is itself."""

    def __init__(self, counter):
        self._counter, self._wrapped = counter, {}

    def __getattr__(self, name):
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value
        return self._wrapped.setdefault(name, self._counter.counted(value))


@pytest.fixture
def counter(monkeypatch):
    """A counter of all calls of networks that are made from now on."""
    counter = Counter()
    numpy = _CountedNumPy(counter)
    for name, module in list(sys.modules.items()):
        if name.startswith(gradlab.nn.__name__ + ".") and getattr(module, "np", None) is np:
            monkeypatch.setattr(module, "np", numpy)
    note = recording._Noting.__array_ufunc__  # what is noted here is called in every step

    def note_counted(self, ufunc, method, *inputs, **options):
        return note(self, getattr(numpy, ufunc.__name__), method, *inputs, **options)

    monkeypatch.setattr(recording._Noting, "__array_ufunc__", note_counted)
    return counter


def test_a_step_makes_few_calls(counter):
    """Nothing but what the step needs.

    Forward: 1 copy of the input; 3 products, which add the biases too; 2 sigmoids of 4. Loss: 1 copy of the targets, a
    sigmoid of 4, a difference, a division by n. Backward: 3 products for dW and db, 3 for dx; 2 for the derivatives of
    both sigmoids, and 2 to multiply by them. Then the norm of the gradient, to see that it is finite, and Adam's 10.
    """
    steps = steps_of("W1")
    next(steps)
    counts = {counter.of(steps) for _ in range(10)}
    assert max(counts) <= CALLS_OF_W1


def test_the_counter_sees_every_call_more(counter):
    plain, penalised = steps_of("W1"), steps_of("W1", l2=0.1)
    for steps in (plain, penalised):
        next(steps)
    assert counter.of(penalised) == counter.of(plain) + 2  # Update.gradient: a product and a sum


def arrays_of_a_step(**options):
    """Bytes that NumPy holds more after ten steps than before, and the most that any of them held in between."""
    steps = steps_of("W1", **options)
    next(islice(steps, 40, 40), None)
    for _ in range(40):
        next(steps)  # in the middle of the second epoch, whose rows were gathered at its start
    numpy_alone = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)

    def held():
        found = tracemalloc.take_snapshot().filter_traces([numpy_alone])
        return sum(trace.size for trace in found.traces)

    most = 0
    tracemalloc.start()
    try:
        next(steps)
        before = held()
        for _ in range(10):
            now = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            next(steps)
            most = max(most, tracemalloc.get_traced_memory()[1] - now)
        after = held()
    finally:
        tracemalloc.stop()
    return after - before, most


ONE_ACTIVATION = 32 * 32 * 8  # bytes of a hidden layer's output


def test_a_step_allocates_no_array():
    """What Python itself needs, a Step and some views, is less than half of one hidden layer's output. Of what a step
    handles, only what belongs to the single logit is smaller than that, and would not be seen."""
    kept, most = arrays_of_a_step()
    assert kept == 0
    assert most < ONE_ACTIVATION // 2


def test_an_allocation_is_seen(monkeypatch):
    step = Adam.step
    monkeypatch.setattr(Adam, "step", lambda self, params, grads: step(self, params, grads * 1.0))
    kept, most = arrays_of_a_step()
    assert kept == 0
    assert most > ONE_ACTIVATION


def test_the_comparison_runs_through(tmp_path):
    command = [sys.executable, str(SPEED), "--quick", "--peers", "scikit-learn", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == table.strip()
    for name in ("W1", "W2", "W3", "W4", "W5"):
        assert f"| {name} float64 |" in table
    numbers = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert numbers["peers"] == ["scikit-learn"]
    assert numbers["disagreements"] == []
    assert (tmp_path / "figures" / "speed.png").read_bytes().startswith(b"\x89PNG")


DISAGREEING = """
import sys
from dataclasses import replace
import peers, speed

faithful = peers.PEERS["scikit-learn"]
peers.PEERS["scikit-learn"] = lambda job: faithful(replace(job, learning_rate=1.001 * job.learning_rate))
speed.measure = lambda results, size: speed.compare_trainings("W3", "float64", results, size)
sys.exit(speed.main(["--quick", "--peers", "scikit-learn"]))
"""


def test_a_peer_that_does_other_work_is_found():
    """In W3 hardly anything is learned, so only the weights tell a learning rate from one larger by a thousandth."""
    done = subprocess.run([sys.executable, "-c", DISAGREEING], capture_output=True, text=True, cwd=SPEED.parent)
    assert done.returncode == 3, done.stderr
    assert "W3 float64: scikit-learn ends" in done.stderr
