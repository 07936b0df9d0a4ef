"""What a plain step costs and can be counted: how often it asks each part, and what is held afterwards."""

import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np

from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Dense, Network, Sigmoid, mlp
from gradlab.training import train


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


def test_a_step_asks_each_part_once(monkeypatch):
    """The loss itself is computed when somebody asks for it."""
    calls = []

    def counted(kind, name):
        method = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *given: calls.append((kind, name)) or method(*given))

    steps = steps_of("W1", engine="plain")
    parts = [(Dense, "forward"), (Sigmoid, "forward"), (Sigmoid, "backward"), (Sigmoid, "derivative"),
             (Dense, "backward"), (BinaryCrossEntropy, "gradient"), (BinaryCrossEntropy, "value"),
             (Adam, "step")]  # fmt: skip
    for kind, name in parts:
        counted(kind, name)
    step = next(steps)
    assert [Counter(calls)[part] for part in parts] == [3, 2, 2, 2, 3, 1, 0, 1]
    assert step.loss > 0.0
    assert calls[-1] == (BinaryCrossEntropy, "value")


def test_steps_leave_nothing_behind():
    """Bytes that NumPy holds do not grow from step to step, nor from epoch to epoch."""
    steps = steps_of("W1", engine="plain")
    next(islice(steps, 40, 40), None)  # in the middle of the second epoch, whose rows were gathered at its start
    numpy_alone = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)

    def held():
        found = tracemalloc.take_snapshot().filter_traces([numpy_alone])
        return sum(trace.size for trace in found.traces)

    tracemalloc.start()
    try:
        next(islice(steps, 64, 64), None)
        before = held()
        next(islice(steps, 10, 10), None)
        after_steps = held()
        next(islice(steps, 64 - 10, 64 - 10), None)
        after_epochs = held()
    finally:
        tracemalloc.stop()
    assert after_steps == before
    assert after_epochs == before
