"""The compiled engine's own promises: threads, interrupts, divergence, hand-overs, records, and the comparison."""

import contextlib
import copy
import multiprocessing
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from architectures import random_training

from gradlab.flow import FlowRecorder
from gradlab.nn import (
    SGD,
    Adam,
    AdamW,
    BatchNorm,
    BinaryCrossEntropy,
    Dense,
    Dropout,
    LeakyReLU,
    Network,
    ReLU,
    Residual,
    RMSProp,
    Sigmoid,
    SquaredError,
    mlp,
    schedules,
)
from gradlab.training import DivergenceError, EngineError, early_stopping, engines, evaluate, predict, train
from gradlab.training.engines import compiled
from gradlab.training.generators import positions
from gradlab.training.recording import QUANTITIES

pytest.importorskip("numba")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = (X[:, 0] * X[:, 1] > 0).astype(float)
SEEDS = (0, 3, 12345)


def remedied(seed=0, dtype=np.float64):
    layers = [Dense(3, 6), BatchNorm(6), Sigmoid(), Residual([Dense(6, 6), ReLU(), Dropout(0.3)]), Dense(6, 1)]
    return Network(layers, seed=seed, dtype=dtype)


def steps_of(network, optimizer=None, **options):
    options = {"epochs": 4, "batch_size": 8, "engine": "compiled", **options}
    return train(network, BinaryCrossEntropy(), optimizer or Adam(0.01), X, Y, **options)


def trained(network, optimizer=None, **options):
    for _ in steps_of(network, optimizer, **options):
        pass
    return network


# Threads and replicas


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_replicas_change_no_bit(threads, dtype):
    together = trained(remedied(SEEDS, dtype), threads=threads, each="epoch")
    for r, seed in enumerate(SEEDS):
        alone = trained(remedied(seed, dtype), each="step")
        for vector in ("params", "grads", "state"):
            np.testing.assert_array_equal(getattr(together, vector)[r], getattr(alone, vector))
        assert positions(together.streams)[r].tolist() == positions(alone.streams)[0].tolist()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "two"])
def test_what_is_no_number_of_threads_is_refused(threads):
    with pytest.raises(ValueError, match="threads"):
        steps_of(remedied(), threads=threads)


def test_the_threads_of_blas_are_what_they_were():
    from threadpoolctl import threadpool_info, threadpool_limits

    def counts():
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    trained(remedied())  # so that all libraries are loaded
    with threadpool_limits(2, "blas"):
        before = counts()
        trained(remedied())
        assert counts() == before
        with pytest.raises(DivergenceError):
            trained(Network(mlp([3, 4, 1], "relu")), SGD(1e300))
        assert counts() == before


def _child(network, queue):
    queue.put((predict(network, X, engine="compiled"), trained(network, epochs=1).params))


def test_a_fork_trains_and_predicts_while_other_threads_do():
    network, end = remedied(SEEDS), threading.Event()
    other = remedied(SEEDS)

    def work():
        while not end.is_set():
            predict(other, X, engine="compiled")

    thread = threading.Thread(target=work)
    steps = steps_of(network, each="epoch")
    next(steps)  # whose pool has threads now
    thread.start()
    try:
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        for _ in range(3):
            child = context.Process(target=_child, args=(network, queue), daemon=True)
            child.start()
            logits, params = queue.get(timeout=600)
            child.join(300)
            assert child.exitcode == 0
            np.testing.assert_array_equal(logits, predict(network, X, engine="compiled"))
            assert params.shape == network.params.shape
    finally:
        end.set()
        thread.join()
        steps.close()


# Interrupts


@contextlib.contextmanager
def key_pressed_in(seconds):
    """Raise KeyboardInterrupt in this thread after a while."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    main = threading.main_thread().ident
    timer = threading.Timer(seconds, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)


def all_threads_wait():
    """Whether each thread of the pool is free at once to meet the others."""
    count = compiled.default_threads()
    pool, meeting = compiled.thread_pool(count, os.getpid()), threading.Barrier(count + 1)
    for _ in range(count):
        pool.submit(meeting.wait, 60)
    try:
        meeting.wait(60)
    except threading.BrokenBarrierError:
        return False
    return True


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs POSIX signals")
@pytest.mark.parametrize("which", ["the first", "a later"])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_an_interrupted_training_is_what_it_was_at_the_last_hand_over(seed, which):
    rng = np.random.default_rng(1)
    n = 2_000_000 if which == "the first" else 400_000  # so many steps that a hand-over takes seconds
    x, y = rng.normal(size=(n, 3)), rng.integers(2, size=n).astype(float)
    network, optimizer = remedied(seed), Adam(0.001)
    steps = train(
        network, BinaryCrossEntropy(), optimizer, x, y, epochs=1000, batch_size=2, engine="compiled",
        each="epoch" if which == "the first" else 150_000,
    )  # fmt: skip
    if which == "a later":
        next(steps)

    def now():
        moments = [getattr(optimizer, name, np.zeros_like(network.params)) for name in ("m", "v")]
        return [a.copy() for a in (network.params, network.state, *moments, positions(network.streams))]

    before, t = now(), optimizer.t
    with key_pressed_in(0.2), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in steps:  # on a fast machine there may be some before the key
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            before, t = now(), optimizer.t
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for one, other in zip(before, now(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert optimizer.t == t
    assert all_threads_wait()


# Divergence


@pytest.mark.parametrize("each", ["step", "epoch", 3])
def test_divergence_is_named_as_the_plain_engine_names_it(each):
    named = {}
    for engine in ("plain", "compiled"):
        network = Network(mlp([3, 8, 8, 1], "relu"), seed=[5, 7, 11])
        steps = train(network, SquaredError(), SGD(3.0), X, Y, epochs=200, batch_size=8, engine=engine, each=each)
        with pytest.raises(DivergenceError) as caught:
            list(steps)
        named[engine] = caught.value
    one, other = named["plain"], named["compiled"]
    assert (one.epoch, one.step, one.layer, one.quantity, one.seed, one.name) == (
        other.epoch, other.step, other.layer, other.quantity, other.seed, other.name,
    )  # fmt: skip
    np.testing.assert_allclose(one.last_loss, other.last_loss, rtol=1e-6)


def test_parameters_that_overflow_are_found_at_the_epochs_end():
    network = Network([Dense(3, 1)])
    network.params[...] = 1e200
    for engine in ("plain", "compiled"):
        twin = copy.deepcopy(network)
        with pytest.raises(DivergenceError, match="parameters of layer 0") as caught:
            trained(twin, SGD(1e308), l2=1e10, epochs=1, batch_size=50, engine=engine)
        assert caught.value.step == 0


# Hand-overs


@pytest.mark.parametrize("each", ["step", 3, "epoch"])
def test_the_tape_and_the_deltas_are_the_last_batchs(each):
    network, shown = remedied(SEEDS), remedied(SEEDS)
    by_step = steps_of(shown)
    for step in steps_of(network, each=each):
        while True:
            twin = next(by_step)
            if twin.index == step.index:
                break
        for a, b in zip((*step.tape, *step.deltas), (*twin.tape, *twin.deltas), strict=True):
            np.testing.assert_array_equal(a, b)
        inner, other = network.layers[3].passes[True], shown.layers[3].passes[True]
        for a, b in zip((*inner.tape, *inner.deltas), (*other.tape, *other.deltas), strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(network.layers[3].layers[2].mask, shown.layers[3].layers[2].mask)
        np.testing.assert_array_equal(step.running_loss, twin.running_loss)
        np.testing.assert_array_equal(step.loss, twin.loss)


CHANGED = {
    "parameters": lambda network, optimizer: network.params.__imul__(0.9),
    "a weight": lambda network, optimizer: setattr(network.layers[0], "W", 0.1),
    "the rate": lambda network, optimizer: setattr(optimizer, "learning_rate", 0.2),
    "momentum": lambda network, optimizer: setattr(optimizer, "momentum", 0.1),
    "dropout": lambda network, optimizer: setattr(network.layers[3].layers[2], "rate", 0.0),
    "batch norm": lambda network, optimizer: setattr(network.layers[1], "momentum", 0.9),
}


@pytest.mark.parametrize("change", CHANGED)
def test_what_is_changed_at_a_hand_over_holds_from_the_next_step(change):
    ends = {}
    for engine in ("plain", "compiled"):
        network, optimizer = remedied(), SGD(0.1, momentum=0.5)
        for step in steps_of(network, optimizer, engine=engine, each=3):
            if step.index == 5:
                CHANGED[change](network, optimizer)
        ends[engine] = np.concatenate([network.params, network.state])
    np.testing.assert_allclose(ends["compiled"], ends["plain"], rtol=1e-9, atol=1e-12)


def test_the_state_carries_the_engine():
    whole = trained(remedied(SEEDS), epochs=6)
    *_, step = steps_of(remedied(SEEDS), epochs=3)
    state = {name: array.copy() for name, array in step.state().items()}
    resumed = remedied(SEEDS)
    steps = list(steps_of(resumed, epochs=6, start=state, engine="auto", each="epoch"))
    assert {step.engine for step in steps} == {"compiled"}
    np.testing.assert_array_equal(resumed.params, whole.params)


def test_without_numba_what_was_begun_compiled_is_not_continued(monkeypatch):
    *_, step = steps_of(remedied(), epochs=2)
    monkeypatch.setattr(compiled, "is_installed", lambda: False)
    with pytest.raises(EngineError, match=r'pip install "gradlab\[fast\]"'):
        steps_of(remedied(), epochs=4, start=step.state())


def test_early_stopping_watches_both_engines_alike():
    ends = {}
    for engine in ("plain", "compiled"):
        network = remedied(SEEDS)
        steps = steps_of(network, SGD(0.5), epochs=40, engine=engine, each="epoch")
        score = lambda net: evaluate(net, BinaryCrossEntropy(), X, Y, engine="plain")[0]  # noqa: E731
        count = sum(1 for _ in early_stopping(steps, score, 3))
        ends[engine] = count, network.params.copy()
    assert ends["plain"][0] == ends["compiled"][0]
    np.testing.assert_allclose(ends["compiled"][1], ends["plain"][1], rtol=1e-6, atol=1e-8)


# Records


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("every", ["step", "epoch", 4])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_what_is_recorded_is_what_a_recorder_finds_at_every_step(engine, every, seed):
    recorder = FlowRecorder(every, list(QUANTITIES))
    for step in steps_of(remedied(seed), engine="plain"):
        recorder(step)
    expected = recorder.table()
    for each in ("step", "epoch", 3):
        taken, found = FlowRecorder(every, list(QUANTITIES)), []
        for step in steps_of(remedied(seed), engine=engine, each=each, record=list(QUANTITIES), record_every=every):
            taken(step)
            found.append(step.recorded)
        table = taken.table()
        assert table.keys() == expected.keys()
        for name, array in expected.items():
            joined = np.concatenate([part[name] for part in found if part])
            np.testing.assert_array_equal(joined, table[name])
            np.testing.assert_allclose(table[name], array, rtol=1e-9, atol=1e-12, err_msg=name)


def test_norms_are_right_where_squares_vanish():
    layers = mlp([2, *[6] * 12, 1], "sigmoid", gain=1e-12)
    tables = []
    for engine in ("plain", "compiled"):
        network = Network(layers)
        steps = train(
            network, BinaryCrossEntropy(), SGD(0.1), X[:, :2], Y, epochs=1, batch_size=50, engine=engine,
            record=["weight_gradient_norm", "delta_rms", "zero_share"],
        )  # fmt: skip
        tables.append(next(step.recorded for step in steps))
    assert 0.0 < tables[0]["weight_gradient_norm"].min() < 1e-150
    for name in ("weight_gradient_norm", "delta_rms", "zero_share"):
        np.testing.assert_allclose(tables[1][name], tables[0][name], rtol=1e-9)


# Predicting


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_predictions_are_the_networks(rows, seed, dtype):
    network = trained(remedied(seed, dtype))
    x = np.random.default_rng(2).normal(size=(rows, 3))
    tolerance = 50 * np.finfo(dtype).eps
    expected = network.decision_function(x)
    found = predict(network, x, engine="compiled", threads=2)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found, predict(network, x, engine="compiled", threads=1))


def test_evaluation_is_that_of_the_logits():
    network = trained(remedied(SEEDS))
    for engine in ("plain", "compiled"):
        loss, accuracy = evaluate(network, BinaryCrossEntropy(), X, Y, engine=engine)
        logits = network.decision_function(X)
        np.testing.assert_allclose(loss, BinaryCrossEntropy().value(logits, Y[:, np.newaxis]), rtol=1e-12)
        np.testing.assert_array_equal(accuracy, np.mean((logits[..., 0] > 0) == Y, axis=-1))


def test_x_that_does_not_fit_is_refused_by_both_engines():
    for engine in ("plain", "compiled"):
        with pytest.raises(ValueError, match=r"Dense\(3, 6\) takes 3 features, but x"):
            predict(remedied(), np.zeros((4, 2)), engine=engine)


# What it is held against


LOWERED = {
    "a setting": ("layer 1 (BatchNorm(6))", lambda program: program.settings.__setitem__((1, 1), 0.5)),
    "an activation": (
        "layer 2 (Sigmoid())",
        lambda program: program.table.__setitem__((2, 0), program.table[2, 0] + 2),
    ),
    "a weight": ("layer 0 (Dense(3, 6))", lambda program: program.table.__setitem__((0, 7), 1)),
}


@pytest.mark.parametrize("fault", LOWERED)
def test_a_kernel_that_computes_something_else_is_found_in_the_first_step(monkeypatch, fault):
    name, spoil = LOWERED[fault]
    refresh = compiled.Program.refresh
    monkeypatch.setattr(compiled.Program, "refresh", lambda program: (refresh(program), spoil(program)))
    with pytest.raises(EngineError, match=r"in the first step the (output|delta|gradient)") as caught:
        trained(remedied())
    assert name in str(caught.value)


@pytest.mark.parametrize("make", [SGD, RMSProp, Adam])
def test_an_optimizer_that_steps_otherwise_is_found_in_the_first_step(monkeypatch, make):
    rates = engines.Task.rates
    monkeypatch.setattr(engines.Task, "rates", lambda *arguments: 1.001 * rates(*arguments))
    with pytest.raises(EngineError, match=f"the update of {make.__name__}"):
        trained(remedied(), make(0.05))


def test_the_comparison_draws_no_number_and_moves_no_statistic():
    network = remedied()
    next(steps_of(network))
    twin = remedied()
    next(steps_of(twin, engine="plain"))
    np.testing.assert_allclose(network.state, twin.state, rtol=1e-12)
    np.testing.assert_array_equal(positions(network.streams), positions(twin.streams))


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1.0, 1e8])
def test_inputs_of_any_size_are_no_mismatch(scale):
    rng = np.random.default_rng(5)
    x = scale * rng.normal(size=(64, 3)) + scale * np.array([0.0, 1e6, 1.0])
    for dtype in (np.float64, np.float32):
        with contextlib.suppress(DivergenceError):
            network = remedied(0, dtype)
            list(
                train(
                    network, SquaredError(), SGD(1e-3), x, Y[:1].repeat(64), epochs=1, batch_size=16, engine="compiled"
                )
            )


# Choosing


def test_auto_goes_by_one_networks_work(monkeypatch):
    network = remedied(range(50))
    small, large = engines.LARGE / network.params.shape[-1] - 1, engines.LARGE / network.params.shape[-1] + 1
    assert engines.choose("auto", network, work=small * network.params.shape[-1]) == "plain"
    assert engines.choose("auto", network, work=large * network.params.shape[-1]) == "compiled"
    monkeypatch.setattr(compiled, "is_installed", lambda: False)
    assert engines.choose("auto", network) == "plain"


@pytest.mark.parametrize("engine", ["fast", "", None, "Compiled"])
def test_an_engine_that_there_is_not_is_refused(engine):
    with pytest.raises(ValueError, match=r"engine: .* is not one of auto, plain, compiled"):
        steps_of(remedied(), engine=engine)


def test_a_sparse_array_and_an_unknown_layer_run_plain(capsys):
    from scipy.sparse import csr_array

    for x, layers in ((csr_array(X), mlp([3, 4, 1])), (X, [Dense(3, 2), _Own(), Dense(2, 1)])):
        with pytest.raises(EngineError):
            train(Network(layers), BinaryCrossEntropy(), SGD(), x, Y, epochs=1, batch_size=5, engine="compiled")
        step = next(train(Network(layers), BinaryCrossEntropy(), SGD(), x, Y, epochs=1, batch_size=5))
        assert step.engine == "plain"


class _Own(Dense):
    def __init__(self):
        super().__init__(2, 2)


def test_the_schedule_is_followed_and_the_rate_put_back():
    ends = {}
    for engine in ("plain", "compiled"):
        network, optimizer = remedied(), SGD(0.3)
        trained(network, optimizer, engine=engine, each="epoch", schedule=schedules.cosine(4))
        ends[engine] = network.params
        assert optimizer.learning_rate == 0.3
    np.testing.assert_allclose(ends["compiled"], ends["plain"], rtol=1e-9, atol=1e-12)


def test_one_interpreter_serves_all_networks_of_a_width():
    for seed in range(10):
        training = random_training(seed)
        with contextlib.suppress(DivergenceError):
            options = {**training.options, "epochs": 1, "engine": "compiled", "each": "epoch"}
            list(train(training.network(), training.loss(), training.optimizer(), training.x, training.y, **options))
    interpreter = compiled.load(np.dtype(np.float64))
    assert len(interpreter.train_batches.signatures) <= 2
    assert len(interpreter.predict_rows.signatures) <= 2


def test_a_compiled_network_is_pickled_and_copied():
    network = trained(remedied(SEEDS))
    for twin in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        np.testing.assert_array_equal(trained(twin, epochs=1).params, trained(copy.deepcopy(network), epochs=1).params)


@pytest.mark.parametrize("shape", ["none", "shared", "own"])
def test_the_mask_of_adamw_spares_what_it_says(shape):
    ends = {}
    for engine in ("plain", "compiled"):
        network = Network(mlp([3, 6, 1]), seed=SEEDS)
        own = np.random.default_rng(3).integers(2, size=network.params.shape).astype(float)
        mask = {"none": None, "shared": network.weight_mask, "own": own}[shape]
        optimizer = AdamW(0.01, weight_decay=5.0, mask=mask)
        list(train(network, SquaredError(), optimizer, X, Y, epochs=1, batch_size=8, engine=engine, each="epoch"))
        ends[engine] = network.params
    np.testing.assert_allclose(ends["compiled"], ends["plain"], rtol=1e-10)


def test_read_only_arrays_are_predicted_with_and_compile_nothing_anew():
    network = trained(remedied())
    expected = predict(network, X, engine="compiled")
    interpreter = compiled.load(np.dtype(np.float64))
    before = len(interpreter.predict_rows.signatures)
    x = X.copy()
    for array in (x, network.params, network.state):
        array.flags.writeable = False
    np.testing.assert_array_equal(predict(network, x, engine="compiled"), expected)
    np.testing.assert_array_equal(predict(network, np.asfortranarray(x), engine="compiled"), expected)
    assert len(interpreter.predict_rows.signatures) == before


def test_another_engine_than_that_of_the_start_is_a_mistake():
    *_, step = steps_of(remedied(), epochs=2)
    with pytest.raises(ValueError, match="engine: 'plain' is asked for, but start is of a training on the compiled"):
        steps_of(remedied(), epochs=4, start=step.state(), engine="plain")


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_no_rows_are_predicted_and_are_not_evaluated(engine):
    assert predict(remedied(SEEDS), X[:0], engine=engine).shape == (3, 0, 1)
    with pytest.raises(ValueError, match="has no sample"):
        evaluate(remedied(), BinaryCrossEntropy(), X[:0], Y[:0], engine=engine)
    with pytest.raises(ValueError, match=r"targets of shape \(5, 1\) do not fit logits of shape \(50, 1\)"):
        evaluate(remedied(), BinaryCrossEntropy(), X, Y[:5], engine=engine)
    for x in ([1.0, 2.0], "x", None):
        with pytest.raises((ValueError, TypeError)):
            predict(remedied(), x, engine=engine)


def test_settings_that_are_no_numbers_have_no_kernel():
    leaky = Network([Dense(3, 2), LeakyReLU(), Dense(2, 1)])
    leaky.layers[1].slope = np.linspace(0.0, 1.0, 2)
    with pytest.raises(EngineError, match="LeakyReLU has a setting that is no number"):
        trained(leaky)
    optimizer = SGD(0.1)
    optimizer.learning_rate = np.full(55, 0.1)
    with pytest.raises(EngineError, match="SGD has a setting that is no number"):
        trained(remedied(), optimizer)
    with pytest.raises(EngineError, match="the schedule gives no number"):
        trained(remedied(), SGD(0.1), schedule=lambda time: np.array([0.3]))


@pytest.mark.parametrize("each", ["step", "epoch"])
def test_after_a_divergence_the_optimizer_has_counted_the_same_steps(each):
    counts = {}
    for engine in ("plain", "compiled"):
        network, optimizer = Network(mlp([3, 8, 8, 1], "relu"), seed=[5, 7, 11]), SGD(3.0)
        steps = train(network, SquaredError(), optimizer, X, Y, epochs=200, batch_size=8, engine=engine, each=each)
        with pytest.raises(DivergenceError):
            list(steps)
        counts[engine] = optimizer.t
    assert counts["plain"] == counts["compiled"]
