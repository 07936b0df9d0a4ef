"""Both engines compute the same: for each layer of the contract's table, and for trainings that nobody thought of."""

import contextlib

import numpy as np
import pytest
from architectures import Training, random_training
from test_contract import TABLE

from gradlab.nn import SGD, BatchNorm, BinaryCrossEntropy, Dense, Network
from gradlab.nn.wiring import walk
from gradlab.training import DivergenceError, train
from gradlab.training.batches import count_batches
from gradlab.training.engines import kernels

pytest.importorskip("numba")

KNOWN = {name: case for name, case in TABLE.items() if not kernels.unknown(Network([case[0]()]))}


def run(training, engine, steps, each="step", network=None, optimizer=None):
    """Train for so many steps, to the end of an epoch; return the network, and copies of what each step shows."""
    network = training.network() if network is None else network
    shown = []
    normalised = any(isinstance(layer, BatchNorm) for layer in walk(network.layers))
    epochs = -(-steps // count_batches(len(training.x), training.options["batch_size"], normalised))
    taken = train(
        network, training.loss(), optimizer or training.optimizer(), training.x, training.y, epochs=epochs,
        engine=engine, each=each, **training.options,
    )  # fmt: skip
    for step in taken:
        losses = step.loss, step.running_loss
        shown.append([[np.copy(a) for a in arrays] for arrays in (step.tape, step.deltas, [network.grads], losses)])
    return network, shown


def assert_alike(found, expected, tolerance):
    """Compare arrays, relative to the largest number in any of them: a difference is passed on from one to the next."""
    size = max([float(np.max(np.abs(b), initial=0.0)) for b in expected] + [1e-6])
    for a, b in zip(found, expected, strict=True):
        assert float(np.max(np.abs(a - b), initial=0.0)) <= tolerance * size


def between(make, n_in, seed=0, dtype=np.float64):
    """A training in which a layer stands between two that learn."""
    n_out = make().output_features(n_in)
    rng = np.random.default_rng(3)
    return Training(
        lambda: [Dense(2, n_in), make(), Dense(n_out, 1)],
        BinaryCrossEntropy,
        lambda: SGD(0.05),
        rng.normal(size=(17, 2)),
        rng.integers(2, size=17).astype(float),
        seed,
        dtype,
        {"batch_size": 5},
    )


@pytest.mark.parametrize("seed", [4, [4, 8]], ids=["one", "replicas"])
@pytest.mark.parametrize("name", KNOWN)
def test_each_layer_of_the_contract_is_computed_alike(name, seed):
    training = between(*KNOWN[name], seed)
    plain, seen_plain = run(training, "plain", 3)
    compiled, seen = run(training, "compiled", 3)
    for found, expected in zip(seen, seen_plain, strict=True):
        for arrays, right in zip(found, expected, strict=True):
            assert_alike(arrays, right, 1e-10)
    assert_alike([compiled.params, compiled.state], [plain.params, plain.state], 1e-10)


def test_every_known_layer_stands_in_the_contract():
    made = {type(layer) for make, _ in KNOWN.values() for layer in [make()]}
    assert made == set(kernels.LAYERS)


def end_of(training, engine, each, network=None):
    """Train for 50 steps; return the network, or where it diverged, and what each hand-over showed."""
    try:
        return run(training, engine, 50, each, network)
    except DivergenceError as error:
        return (error.step, error.layer, error.quantity, error.seed), []


def is_chaotic(training, parameters):
    """Whether a training goes elsewhere if its first parameters change in the last place: no two ways of computing it
    can then agree."""
    moved = training.network()
    signs = np.random.default_rng(0).choice([-1.0, 1.0], moved.params.shape)
    moved.params *= 1.0 + signs * np.finfo(moved.dtype).eps
    end_of(training, "plain", "step", moved)
    return np.max(np.abs(moved.params - parameters)) > 1e-10 * np.max(np.abs(parameters))


@pytest.mark.parametrize("seed", range(120))
def test_random_trainings_end_at_the_same_parameters(seed):
    training = random_training(seed)
    plain, seen_plain = end_of(training, "plain", "step")
    compiled, seen = end_of(training, "compiled", "step")
    by_epoch, _ = end_of(training, "compiled", "epoch")
    if not isinstance(plain, Network):
        assert plain == compiled == by_epoch
        return
    for arrays, right in zip(seen[0], seen_plain[0], strict=True):
        assert_alike(arrays, right, 1e-12)
    np.testing.assert_array_equal(by_epoch.params, compiled.params)
    np.testing.assert_array_equal(by_epoch.grads, compiled.grads)
    np.testing.assert_array_equal(by_epoch.state, compiled.state)
    if not is_chaotic(training, plain.params):
        assert_alike([compiled.params, compiled.state], [plain.params, plain.state], 1e-8)
        for arrays, right in zip(seen[-1], seen_plain[-1], strict=True):
            assert_alike(arrays, right, 1e-8)


@pytest.mark.parametrize("seed", range(60))
def test_random_trainings_in_single_precision_agree_step_by_step(seed):
    """Each step of the compiled engine begins where the plain one stood: no difference is carried on."""
    training = random_training(seed, np.float32)
    plain, compiled = training.network(), training.network()
    one, other = training.optimizer(), training.optimizer()
    options = {**training.options, "epochs": 4}
    pair = [
        train(network, training.loss(), optimizer, training.x, training.y, engine=engine, **options)
        for network, optimizer, engine in ((plain, one, "plain"), (compiled, other, "compiled"))
    ]
    with contextlib.suppress(DivergenceError):
        for step, twin in zip(*pair, strict=True):
            assert_alike(twin.tape, step.tape, 1e-4)
            assert_alike(twin.deltas, step.deltas, 1e-3)
            assert_alike([compiled.grads], [plain.grads], 1e-3)
            compiled.params[...], compiled.state[...] = plain.params, plain.state
            for name in one.averages:
                getattr(other, name)[...] = getattr(one, name)
