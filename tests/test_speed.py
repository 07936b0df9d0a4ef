"""The comparison with others: that it runs through, that everybody does the same work, and who does not is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradlab.nn import SGD, Adam, BinaryCrossEntropy, Network, mlp
from gradlab.training import train

SPEED = Path(__file__).parent.parent / "experiments" / "speed.py"


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("name", ["W1", "W3"])
def test_time_of_an_epoch(benchmark, name, engine):
    """It is only shown: no time fails anybody."""
    widths, batch_size, optimizer = {
        "W1": ([2, 32, 32, 1], 32, Adam(0.01)),
        "W3": ([2, *[32] * 20, 1], 64, SGD(0.1)),
    }[name]
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(32 * batch_size, 2)), generator.integers(2, size=32 * batch_size)
    options = {"epochs": 100, "batch_size": batch_size, "each": "epoch", "engine": engine}
    steps = train(Network(mlp(widths, "sigmoid")), BinaryCrossEntropy(), optimizer, x, y, **options)
    benchmark.pedantic(next, args=(steps,), rounds=5, warmup_rounds=1)


def test_the_comparison_runs_through(tmp_path):
    command = [sys.executable, str(SPEED), "--quick", "--peers", "scikit-learn", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert done.stdout.strip() == table.strip()
    for name in ("W1", "W2", "W3", "W4"):
        for engine in ("compiled", "plain"):
            assert f"| {name} float64 | {engine} | scikit-learn |" in table
    for name in ("W5 float64, two threads", "W7 W3 float64", "W7 W6 float64"):
        assert f"| {name} | compiled |" in table
    assert "| whole process, W1 float64 | auto |" in table
    numbers = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert numbers["peers"] == ["scikit-learn"]
    assert numbers["engines"] == ["compiled", "plain"]
    assert numbers["disagreements"] == []
    assert {"W4 float32", "W5 float32, compiled", "W6 float64, relu"} <= numbers["losses"].keys()
    assert (tmp_path / "figures" / "speed.png").read_bytes().startswith(b"\x89PNG")


def run(script):
    """Run a script beside the experiments, in a process of its own: they set the number of threads."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, cwd=SPEED.parent, check=False)


DISAGREEING = """
import sys
from dataclasses import replace
import peers, speed

faithful = peers.PEERS["scikit-learn"]
peers.PEERS["scikit-learn"] = lambda job: faithful(replace(job, learning_rate=1.001 * job.learning_rate))
sys.exit(speed.main(["--quick", "--peers", "scikit-learn", "--only", "W3"]))
"""


def test_a_peer_that_does_other_work_is_found():
    """In W3 hardly anything is learned, so only the weights tell a learning rate from one larger by a thousandth."""
    done = run(DISAGREEING)
    assert done.returncode == 3, done.stderr
    assert "W3 float64: scikit-learn ends" in done.stderr


MAIN_JOB = """
import numpy as np
import main_job, speed
from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp
from gradlab.training import train

job = speed.make_main_job(speed.QUICK)
job.save("FOLDER/job.npz")
main_job.main("gradlab", "FOLDER/job.npz", "FOLDER/result.npz")
found = dict(np.load("FOLDER/result.npz"))
for v, activation in enumerate(job.activations):
    network = Network(mlp(job.widths.tolist(), str(activation)))
    for seed in range(3):
        network.params[...] = job.first[v, seed]
        orders = iter(job.orders[seed])
        options = {"epochs": 1, "batch_size": job.batch_size, "shuffle": lambda order: next(orders), "engine": "plain"}
        for step in train(network, BinaryCrossEntropy(), SGD(job.learning_rate), job.x_train, job.y_train, **options):
            pass
        np.testing.assert_allclose(found["params"][v, seed], network.params, atol=1e-12)
        logits = network.forward(job.x_test)[-1]
        loss, accuracy = BinaryCrossEntropy().value(logits, job.y_test), np.mean((logits > 0) == (job.y_test > 0.5))
        np.testing.assert_allclose(found["scores"][v, 0, 2:, seed], [loss, accuracy], rtol=1e-9)
        norms = [np.linalg.norm(layer.dW) for layer in network.layers[::2]]
        np.testing.assert_allclose(found["norms"][v, 0, :, seed], norms, rtol=1e-6)
results = speed.Results({}, ["JAX"], ["compiled"])
speed.check_same_results(results, job, {"gradlab": found, "JAX": found})
assert results.disagreements == []
for name in ("params", "scores", "norms"):
    other = found | {name: found[name] * 1.001}
    speed.check_same_results(results, job, {"gradlab": found, "JAX": other})
print(*results.disagreements, sep="\\n")
"""


def test_the_main_job_is_what_its_peers_are_given_and_other_results_are_found(tmp_path):
    """Ours draws the orders of the rows itself; the peers take those of the job, as the plain engine does here."""
    done = run(MAIN_JOB.replace("FOLDER", str(tmp_path)))
    assert done.returncode == 0, done.stderr
    found = done.stdout.splitlines()
    assert len(found) == 9
    assert "W6 float64, relu: the norms of JAX are not ours" in found
    assert any(line.startswith("W6 float64, sigmoid: JAX ends") for line in found)


PRODUCTS = """
import numpy as np
import speed

made = []
multiply = np.matmul
np.matmul = lambda a, b, out: (made.append((a.shape[-2:], b.shape[-2:], len(a))), multiply(a, b, out))
speed.products_of([2, 3, 3, 3, 1], 4, "float64", 5)()
assert sorted(made) == sorted([
    ((4, 2), (2, 3), 5), ((2, 4), (4, 3), 5),
    ((4, 3), (3, 3), 10), ((3, 4), (4, 3), 10), ((4, 3), (3, 3), 10),
    ((4, 3), (3, 1), 5), ((3, 4), (4, 1), 5), ((4, 1), (1, 3), 5),
]), made
"""


def test_the_products_of_a_step_are_all_that_it_needs():
    """Of five networks; the input's gradient is not among them, as nothing is trained by it."""
    done = run(PRODUCTS)
    assert done.returncode == 0, done.stderr
