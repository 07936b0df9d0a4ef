"""The compiled interpreter against formulas written out in NumPy and mpmath."""

import math
import threading
import time
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest

numba = pytest.importorskip("numba")
from gradlab.training.engines import interpreter as vm  # noqa: E402

WIDTHS = [np.float64, np.float32]
SELU = ("elu", 1.6732632423543772, 1.0507009873554805)


# What is compared with: activations in mpmath, layers in NumPy.


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def normal(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


EXACT = {  # name: settings, f, derivative, with the derivative taken at 0 from the left
    "sigmoid": ((0, 0), sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "centred_sigmoid": ((0, 0), lambda x: mpmath.tanh(x / 2) / 2, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": ((0, 0), mpmath.tanh, lambda x: 1 / mpmath.cosh(x) ** 2),
    "relu": ((0, 0), lambda x: max(x, 0), lambda x: x > 0),
    "leaky_relu": ((0.25, 0), lambda x: max(x, x / 4), lambda x: 1 if x > 0 else 0.25),
    "elu": (
        (0.5, 1.25),
        lambda x: 1.25 * (x if x > 0 else 0.5 * mpmath.expm1(x)),
        lambda x: 1.25 * (1 if x > 0 else 0.5 * mpmath.exp(x)),
    ),
    "gelu": ((0, 0), lambda x: x * normal(x), lambda x: normal(x) + x * mpmath.npdf(x)),
    "silu": ((0, 0), lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "softplus": ((0, 0), lambda x: mpmath.log1p(mpmath.exp(-abs(x))) + max(x, 0), sigmoid),
    "softsign": ((0, 0), lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "identity": ((0, 0), lambda x: x, lambda x: 1),
}


@numba.njit
def loops(kind, x, y, dy, dx, a, b):
    """Call what Python cannot: kernels have no wrapper for it."""
    vm.activation_forward(kind, x, y, a, b)
    vm.activation_backward(kind, dy, x, y, dx, a, b)


@numba.njit
def slopes_of(loss, z, targets, weights, rows, slopes):
    vm.loss_slopes(loss, z, targets, weights, rows, slopes)


def activation(name, x, a=0.0, b=0.0):
    """Return f(x) and f'(x) from the compiled loops."""
    kind, y, dx = vm.ACTIVATION + list(vm.ACTIVATIONS).index(name), np.empty_like(x), np.empty_like(x)
    number = x.dtype.type
    loops(kind, x.ravel(), y.reshape(-1), np.ones(x.size, x.dtype), dx.reshape(-1), number(a), number(b))
    return y, dx


def pull_back(spec, x, net, grads, training, generator):
    """Return y and the function that turns dy into dx and adds to grads, of some layers in plain NumPy."""
    pulls = []
    for kind, *settings in spec:
        if kind == "dense":
            at, n_in, n_out = net.next_params, x.shape[1], settings[0]
            net.next_params = end = at + (n_in + 1) * n_out
            W, b = net.params[at : end - n_out].reshape(n_in, n_out), net.params[end - n_out : end]

            def pull(dy, x=x, W=W, at=at, end=end):
                grads[at:end] += np.concatenate([(x.T @ dy).ravel(), dy.sum(axis=0)])
                return dy @ W.T

            x = x @ W + b
        elif kind == "batch_norm":
            momentum, epsilon = settings
            n, d = x.shape
            at, state = net.next_params, net.state[net.next_state : net.next_state + 2 * d].reshape(2, d)
            net.next_params, net.next_state = at + 2 * d, net.next_state + 2 * d
            gamma, beta = net.params[at : at + 2 * d].reshape(2, d)
            mean, variance = (x.mean(axis=0), x.var(axis=0)) if training else state.copy()
            if training and n > 1:
                state += momentum * (np.array([mean, variance * n / (n - 1)]) - state)
            scale = 1 / np.sqrt(variance + epsilon)
            x_hat = (x - mean) * scale

            def pull(dy, x_hat=x_hat, scale=scale, gamma=gamma, at=at, d=d):
                grads[at : at + 2 * d] += np.concatenate([(dy * x_hat).sum(axis=0), dy.sum(axis=0)])
                dx_hat = dy * gamma
                return (dx_hat - dx_hat.mean(axis=0) - x_hat * (dx_hat * x_hat).mean(axis=0)) * scale

            x = gamma * x_hat + beta
        elif kind == "dropout":
            rate, mask = settings[0], np.ones_like(x)
            if training:
                mask = (generator.random(x.shape, dtype=net.width) >= net.width(rate)) / (1 - rate)

            def pull(dy, mask=mask):
                return dy * mask

            x = x * mask
        elif kind == "residual":
            inner, pull_inner = pull_back(settings[0], x, net, grads, training, generator)

            def pull(dy, pull_inner=pull_inner):
                return dy + pull_inner(dy)

            x = x + inner
        else:
            y, slope = activation(kind, x, *settings)

            def pull(dy, slope=slope):
                return dy * slope

            x = y
        pulls.append(pull)

    def pull_all(dy):
        for pull in reversed(pulls):
            dy = pull(dy)
        return dy

    return x, pull_all


def logistic(z):
    return 1 / (1 + np.exp(-z))


def reference_slopes(loss, z, targets):
    if loss == vm.BINARY_CROSS_ENTROPY:
        return logistic(z) - targets
    if loss == vm.SOFTMAX_CROSS_ENTROPY:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True) * targets.sum(axis=1, keepdims=True) - targets
    if loss == vm.SQUARED_ERROR:
        return z - targets
    return (logistic(z) - targets) * logistic(z) * (1 - logistic(z))


# A network by hand: its program, buffers and vectors.


class Machine:
    """A network of a float width, and what `train_batches` needs to train it on some rows."""

    def __init__(self, spec, x, y, width, weights=None, batch_size=8, seed=0, loss=vm.SQUARED_ERROR, **method):
        self.spec, self.width, self.batch_size, self.loss = spec, width, batch_size, loss
        self.operations, self.settings, self.weights = [], [], []
        self.sizes = SimpleNamespace(params=0, state=0, scratch=0, tape=batch_size * x.shape[1])
        self.lower(spec, (0, x.shape[1]), None)
        rng = np.random.default_rng(seed)
        params = rng.normal(size=self.sizes.params) * 0.5
        state = rng.uniform(0.5, 1.5, self.sizes.state)
        mask = np.zeros_like(params)
        for at, size, *_ in self.weights:
            mask[at : at + size] = 1
        self.vectors = vm.Vectors(
            *(
                v.astype(width)
                for v in (params, *(params * 0 for _ in range(4)), mask, rng.uniform(size=mask.shape), state)
            )
        )
        self.vectors.grads[:] = self.vectors.update[:] = np.nan  # whatever stood there before
        weights = np.zeros(0) if weights is None else weights
        arrays = (v.astype(width, order="C") for v in (x, y, weights, y * np.nan))
        self.rows = vm.Rows(*arrays, -(-len(x) // batch_size))
        self.buffers = vm.Buffers(
            *(np.full(size, np.nan, width) for size in (self.sizes.tape, self.sizes.tape, self.sizes.scratch))
        )
        self.program = np.array(self.operations, np.int64)
        self.settings = np.array(self.settings, width)
        self.generator = np.random.Generator(np.random.PCG64(seed))
        self.stop = np.zeros(1, np.uint8)
        self.t = 0
        self.choose(**method)

    def choose(self, optimizer=vm.SGD, hyper=(), penalties=(0.0, 0.0, 0.0, 0.0)):
        hyper = np.array([*hyper, *[0.0] * (5 - len(hyper))])
        self.method = vm.Method(self.loss, optimizer, hyper, np.array(penalties))

    def slot(self, features):
        offset = self.sizes.tape
        self.sizes.tape += self.batch_size * features
        return offset

    def lower(self, spec, x, dx):
        """Add the operations of some layers to the program; x is (offset in the tape, features)."""
        dx = x[0] if dx is None else dx
        for kind, *settings in spec:
            (at, d), n_out = x, settings[0] if kind == "dense" else x[1]
            op = dict.fromkeys(range(11), 0) | {vm.X: at, vm.DX: dx, vm.N_IN: d, vm.N_OUT: n_out}
            if kind == "residual":
                inner_dx = self.slot(d)
                fork = len(self.operations)
                self.emit(op | {vm.KIND: vm.FORK, vm.OTHER: inner_dx}, ())
                (inner_y, _), inner_dy = self.lower(settings[0], x, inner_dx)
                y = self.slot(d)
                self.emit(op | {vm.KIND: vm.ADD, vm.X: inner_y, vm.OTHER: at, vm.Y: y, vm.DX: inner_dy, vm.DY: y}, ())
                self.operations[fork][vm.DY] = y
                x, dx = (y, d), y
                continue
            y = self.slot(n_out)
            op |= {vm.Y: y, vm.DY: y, vm.PARAMS: self.sizes.params, vm.STATE: self.sizes.state}
            op |= {vm.SCRATCH: self.sizes.scratch}
            if kind == "dense":
                op[vm.KIND], settings = vm.DENSE, ()
                self.weights.append((self.sizes.params, d * n_out, y, n_out))
                self.sizes.params += (d + 1) * n_out
            elif kind == "batch_norm":
                op[vm.KIND] = vm.BATCH_NORM
                self.sizes.params += 2 * d
                self.sizes.state += 2 * d
                self.sizes.scratch += 2 * d
            elif kind == "dropout":
                op[vm.KIND] = vm.DROPOUT
                self.sizes.scratch += self.batch_size * d
            else:
                op[vm.KIND] = vm.ACTIVATION + list(vm.ACTIVATIONS).index(kind)
            self.emit(op, settings)
            x, dx = (y, n_out), y
        return x, dx

    def emit(self, op, settings):
        self.operations.append([op[column] for column in range(11)])
        self.settings.append([*settings, *[0.0] * (2 - len(settings))])

    @property
    def n_batches(self):
        return -(-len(self.rows.x) // self.batch_size)

    def train(self, first=0, last=None, rate=0.05, wanted=()):
        last = self.n_batches if last is None else last
        rates = np.broadcast_to(rate, last - first).astype(float)
        marks = np.isin(np.arange(first, last), wanted).astype(np.uint8)
        weights = np.array(self.weights, np.int64).reshape(-1, 4)
        values = np.full((marks.sum(), 6, len(weights)), np.nan)
        before = np.empty(self.vectors.params.size if len(wanted) else 0, self.width)
        self.records = vm.Records(marks, np.ones(6, np.uint8), weights, values, before)
        result = vm.train_batches(
            self.program, self.settings, self.rows, self.batch_size, first, last, self.buffers, self.vectors,
            self.method, rates, self.t, self.generator, self.stop, self.records,
        )  # fmt: skip
        self.t += result[0] - first
        return result

    def predict(self, x, block=5):
        logits = np.full((len(x), self.rows.y.shape[1]), np.nan, self.width)
        n = vm.predict_rows(
            self.program, self.settings, x.astype(self.width), logits, block, self.buffers.tape,
            self.buffers.scratch, self.vectors.params, self.vectors.state, self.stop,
        )  # fmt: skip
        return n, logits

    def copy(self):
        """Return a network in float64 as `pull_back` takes it: what the reference starts from."""
        vectors = {name: v.astype(float) for name, v in self.vectors._asdict().items()}
        return SimpleNamespace(**vectors, width=self.width, next_params=0, next_state=0)

    def batch(self, s):
        """Return x, y and weights (n, 1) of a batch in float64."""
        at = slice(s * self.batch_size, (s + 1) * self.batch_size)
        weights = self.rows.weights if self.rows.weights.size else np.ones(len(self.rows.x))
        return self.rows.x[at].astype(float), self.rows.y[at].astype(float), weights[at, np.newaxis].astype(float)

    def reference_pass(self, net, s, generator):
        """Return logits and gradients of a batch; net's running statistics move."""
        x, y, weights = self.batch(s)
        grads = np.zeros_like(net.params)
        net.next_params = net.next_state = 0
        z, pull = pull_back(self.spec, x, net, grads, True, generator)
        dx = pull(reference_slopes(self.loss, z, y) * weights / (weights.sum() or 1.0))
        return z, grads, dx


def data(n=20, d=3, k=2, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.uniform(size=(n, k)), rng.uniform(size=n)


def close(width, got, expected, scale=1.0):
    tolerance = scale * (1e-11 if width is np.float64 else 2e-5)
    np.testing.assert_allclose(got, expected, rtol=tolerance * 10, atol=tolerance)


MIXED = [
    ("dense", 6),
    ("batch_norm", 0.1, 1e-5),
    ("sigmoid",),
    ("residual", [("dense", 5), SELU, ("dropout", 0.3), ("residual", [("tanh",)]), ("dense", 6)]),
    ("dropout", 0.25),
    ("gelu",),
    ("dense", 2),
]


# Functions of one number.


@numba.njit
def fill(f, x, y):
    for i in range(x.size):
        y[i] = f(x[i])


def ulp_errors(got, exact, x):
    """Return by how many units in the last place each result is off."""
    errors = []
    for value, at in zip(got, x, strict=True):
        true = exact(mpmath.mpf(float(at)))
        unit = np.spacing(np.abs(got.dtype.type(float(true))))
        errors.append(float(abs(mpmath.mpf(float(value)) - true) / mpmath.mpf(float(unit))))
    return np.array(errors)


def function(name):
    f = getattr(vm, name)
    return numba.njit(lambda x: f(x))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "name, most, low, high",
    [("exp", 1.0, -746, 710), ("expm1", 2.0, -50, 0), ("log1p", 2.0, 0, 1), ("tanh", 3.0, -25, 25)],
)
def test_functions_are_right_to_a_few_units_in_the_last_place(name, most, low, high, width):
    if name == "exp" and width is np.float32:
        low, high = -104, 89
    tiny = 10.0 ** -np.arange(1, 30)
    near = np.concatenate([np.linspace(max(low, -2), min(high, 2), 2001), tiny, -tiny])
    x = np.concatenate([np.linspace(low, high, 4001), near[(near >= low) & (near <= high)]]).astype(width)
    y = np.empty_like(x)
    fill(vm.tanh if name == "tanh" else function(name), x, y)
    with mpmath.workprec(200):
        overflows = np.isinf(y)
        assert all(getattr(mpmath, name)(float(v)) > np.finfo(width).max for v in x[overflows])
        errors = ulp_errors(y[~overflows], getattr(mpmath, name), x[~overflows])
    assert errors.max() <= most


@pytest.mark.parametrize("width", WIDTHS)
def test_exp_at_the_ends(width):
    x = np.array([-np.inf, -1e30, -1e4, 0.0, -0.0, 1e4, 1e30, np.inf, np.nan], width)
    y = np.empty_like(x)
    fill(function("exp"), x, y)
    np.testing.assert_array_equal(y, [0, 0, 0, 1, 1, np.inf, np.inf, np.inf, np.nan])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", vm.ACTIVATIONS)
def test_activations_hold_on_the_whole_line(name, width):
    settings, f, derivative = EXACT[name]
    extremes = [1e4, 745.0, 720.0, 709.0, 700.0, 104.0, 95.0, 88.0, 37.0, 15.0, 1e-3, 1e-30]
    x = np.concatenate([np.linspace(-12, 12, 481), extremes, np.negative(extremes), [0.0, -0.0]]).astype(width)
    y, dx = activation(name, x, *settings)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()
    info = np.finfo(width)
    for i, v in enumerate(x.tolist()):
        with mpmath.workprec(1200):
            value, slope = f(mpmath.mpf(v)), derivative(mpmath.mpf(v))
        # erfc of a rounded argument: its error grows with x²; where σ is subnormal, x·σ has no more digits than σ
        relative = (12 + (v * v if name == "gelu" else 0)) * info.eps
        absolute = info.smallest_subnormal * max(1.0, abs(v) if name == "silu" else 0.0)
        assert abs(y[i] - value) <= relative * abs(value) + absolute, v
        small = 2 * info.smallest_subnormal if name in ("elu", "softsign", "centred_sigmoid") else 8 * info.eps
        if name == "sigmoid" and v < 0:
            small = 2 * info.smallest_subnormal
        assert abs(dx[i] - slope) <= 8 * info.eps * abs(slope) + small, v


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", vm.ACTIVATIONS)
def test_activations_show_what_is_not_a_number_and_take_the_largest_numbers(name, width):
    settings, f, _ = EXACT[name]
    x = np.array([np.nan, -1e30, 1e30], width)
    y, dx = activation(name, np.tile(x, 20), *settings)  # many, for the vector code, and a rest
    assert np.isnan(y[::3]).all()
    assert np.isnan(dx[::3]).all() or name == "identity"
    for i in (1, 2):
        np.testing.assert_allclose(y[i::3].astype(float), float(f(mpmath.mpf(float(x[i])))), rtol=1e-6, atol=1e-300)
        assert np.isfinite(dx[i::3]).all()


@pytest.mark.parametrize("name", ["sigmoid", "centred_sigmoid", "tanh", "relu", "leaky_relu", "elu"])
def test_activations_at_infinity(name):
    settings, *_ = EXACT[name]
    y, _ = activation(name, np.array([-np.inf, np.inf]), *settings)
    expected = {
        "sigmoid": [0, 1],
        "centred_sigmoid": [-0.5, 0.5],
        "tanh": [-1, 1],
        "relu": [0, np.inf],
        "leaky_relu": [-np.inf, np.inf],
        "elu": [-0.625, np.inf],
    }
    np.testing.assert_array_equal(y, expected[name])


# Passes through a network.


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("loss", range(4))
@pytest.mark.parametrize("weighted", [False, True])
def test_passes_agree_with_numpy(width, loss, weighted):
    x, y, weights = data()
    if weighted:
        weights[8:16] = 0.0  # a batch that pulls nowhere
    machine = Machine(MIXED, x, y, width, weights if weighted else None, loss=loss)
    net, generator = machine.copy(), np.random.Generator(np.random.PCG64(0))
    for s in range(3):
        net.params = machine.vectors.params.astype(float)
        z, grads, dx = machine.reference_pass(net, s, generator)
        assert machine.train(s, s + 1) == (s + 1, vm.DONE)
        b = len(z)
        close(width, machine.rows.logits[s * 8 : s * 8 + b], z)
        close(width, machine.vectors.grads, grads)
        close(width, machine.vectors.state, net.state)
        close(width, machine.buffers.deltas[: b * 3].reshape(b, 3), dx)
        assert np.any(grads) == (not weighted or s != 1)
    assert machine.generator.bit_generator.state == generator.bit_generator.state


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("n_in, hidden, n_out", [(1, 1, 1), (1, 7, 2), (2, 33, 1), (3, 1, 4), (17, 2, 1), (5, 9, 10)])
@pytest.mark.parametrize("batch_size", [1, 13])
def test_dense_of_any_width(width, n_in, hidden, n_out, batch_size):
    x, y, _ = data(13, n_in, n_out)
    spec = [("dense", hidden), ("softsign",), ("dense", hidden), ("identity",), ("dense", n_out)]
    machine = Machine(spec, x, y, width, batch_size=batch_size)
    z, grads, dx = machine.reference_pass(machine.copy(), 0, None)
    machine.train(0, 1)
    close(width, machine.rows.logits[:batch_size], z)
    close(width, machine.vectors.grads, grads)
    close(width, machine.buffers.deltas[: dx.size], dx.ravel())


@pytest.mark.parametrize("loss", range(4))
def test_gradients_are_the_slopes_of_the_loss(loss):
    """Central differences of the loss itself, over every parameter."""
    x, y, weights = data(8)
    spec = [
        ("dense", 4),
        ("batch_norm", 0.1, 1e-5),
        ("softplus",),
        ("residual", [("dense", 4), ("silu",)]),
        ("dense", 2),
    ]
    machine = Machine(spec, x, y, np.float64, weights, loss=loss)
    net = machine.copy()

    def value(params):
        net.params, net.next_params, net.next_state = params, 0, 0
        z, _ = pull_back(spec, x, net, np.zeros_like(params), True, None)
        a = logistic(z)
        losses = {
            vm.BINARY_CROSS_ENTROPY: -y * np.log(a) - (1 - y) * np.log(1 - a),
            vm.SOFTMAX_CROSS_ENTROPY: -y * np.log(np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
            vm.SQUARED_ERROR: (z - y) ** 2 / 2,
            vm.SQUARED_ERROR_ON_SIGMOID: (a - y) ** 2 / 2,
        }[loss]
        return (losses.sum(axis=1) * weights).sum() / weights.sum()

    params, h = net.params, 1e-6
    slopes = [(value(params + h * e) - value(params - h * e)) / (2 * h) for e in np.eye(params.size)]
    machine.train()
    np.testing.assert_allclose(machine.vectors.grads, slopes, atol=1e-8)


def test_one_row_has_no_variance():
    x, y, _ = data(1)
    machine = Machine([("dense", 4), ("batch_norm", 0.1, 1e-5), ("dense", 2)], x, y, np.float64, batch_size=1)
    state = machine.vectors.state.copy()
    assert machine.train() == (1, vm.DONE)
    np.testing.assert_array_equal(machine.vectors.state, state)


@pytest.mark.parametrize("width", WIDTHS)
def test_dropout_draws_numpys_numbers(width):
    x, y = np.ones((5, 3)), np.zeros((5, 3))
    machine = Machine([("dropout", 0.4), ("dropout", 0.4)], x, y, width, batch_size=5, seed=9)
    generator = np.random.Generator(np.random.PCG64(9))
    for _ in range(3):  # an odd number of float32 draws leaves half a word behind
        machine.train()
        kept = [generator.random((5, 3), width) >= width(0.4) for _ in range(2)]
        np.testing.assert_allclose(machine.rows.logits, (kept[0] & kept[1]) / 0.36, rtol=1e-6)
        assert machine.generator.bit_generator.state == generator.bit_generator.state


def test_input_gradient_is_computed_in_the_last_batch_only():
    x, y, _ = data(20)
    machine = Machine([("dense", 3), ("dense", 2)], x, y, np.float64)
    machine.train()
    dx = machine.buffers.deltas[: 8 * 3].reshape(8, 3)
    assert np.isfinite(dx[:4]).all()
    assert np.isnan(dx[4:]).all()  # the last batch has 4 rows; those before it, which have 8, wrote nothing


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("block", [1, 5, 8])
def test_prediction_uses_running_statistics_and_no_dropout(width, block):
    x, y, _ = data()
    machine = Machine(MIXED, x, y, width)
    machine.train()
    net = machine.copy()
    z, _ = pull_back(MIXED, x.astype(width).astype(float), net, None, False, None)
    n, logits = machine.predict(x, block)
    assert n == 20
    close(width, logits, z)


# Updates.


def reference_step(optimizer, hyper, net, g, rate, t):
    p, m, v = net.params, net.first_moment, net.second_moment
    if optimizer == vm.SGD:
        momentum, nesterov = hyper
        m[:] = momentum * m + g
        p -= rate * (g + momentum * m if nesterov else m)
    elif optimizer == vm.RMSPROP:
        decay, epsilon = hyper
        v[:] = decay * v + (1 - decay) * g**2
        p -= rate * g / (np.sqrt(v) + epsilon)
    else:
        beta1, beta2, epsilon, epsilon_hat, weight_decay = hyper
        if optimizer == vm.ADAMW:
            p -= rate * weight_decay * net.decay_mask * p
        m += (1 - beta1) * (g - m)
        v += (1 - beta2) * (g**2 - v)
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        if epsilon_hat:
            p -= rate * m_hat * math.sqrt(1 - beta2**t) / (np.sqrt(v) + epsilon)
        else:
            p -= rate * m_hat / (np.sqrt(v_hat) + epsilon)


HYPERS = [
    (vm.SGD, (0.0, 0)),
    (vm.SGD, (0.9, 0)),
    (vm.SGD, (0.9, 1)),
    (vm.RMSPROP, (0.9, 1e-3)),
    (vm.ADAM, (0.9, 0.99, 1e-3, 0, 0)),
    (vm.ADAM, (0.9, 0.99, 1e-3, 1, 0)),
    (vm.ADAMW, (0.8, 0.99, 1e-3, 0, 0.5)),
]
PENALTIES = [
    (0, 0, 0, 0),
    (0.1, 0, 0, 0),
    (0, 0.2, 0, 0),
    (0, 0, 0.3, 0),
    (0, 0, 0, 0.05),
    (0.1, 0.2, 0.3, 0.4),
    (0, 0, 0, 1e9),
]
SMALL = [("dense", 4), ("tanh",), ("dense", 2)]


def follow(machine, net, steps, rate):
    """Take the reference's steps on `net`, and compare with the machine's."""
    l1, l2, alpha, clip_norm = machine.method.penalties
    for s in range(steps):
        _, grads, _ = machine.reference_pass(net, s, None)
        total = machine.batch(s)[2].sum()
        g = grads + net.weight_mask * (l1 * np.sign(net.params) + (l2 + (alpha / total if total else 0)) * net.params)
        if clip_norm:
            g = g * clip_norm / max(clip_norm, np.linalg.norm(g))
        reference_step(machine.method.optimizer, machine.method.hyper[: machine.n_hyper], net, g, rate, s + 1)
    return grads


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("optimizer, hyper", HYPERS)
@pytest.mark.parametrize("penalties", [PENALTIES[0], PENALTIES[5]])
def test_optimizers(width, optimizer, hyper, penalties):
    x, y, _ = data(60)
    machine = Machine(SMALL, x, y, width, optimizer=optimizer, hyper=hyper, penalties=[float(v) for v in penalties])
    machine.n_hyper, net = len(hyper), machine.copy()
    assert machine.train(0, 3) == (3, vm.DONE)
    assert machine.train(3) == (8, vm.DONE)  # goes on
    grads = follow(machine, net, 8, 0.05)
    close(width, machine.vectors.grads, grads, 10)
    for name in ("params", "second_moment", *(("first_moment",) if hyper[0] else ())):
        close(width, getattr(machine.vectors, name), getattr(net, name), 10)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("weighted", [False, True])
def test_penalties_and_clipping(width, penalties, weighted):
    x, y, weights = data(24)
    weights[:8] = 0
    machine = Machine(
        SMALL, x, y, width, weights if weighted else None, hyper=(0.0, 0.0), penalties=[float(v) for v in penalties]
    )
    machine.n_hyper = 2
    machine.vectors.params[:3] = 0  # where the sign is 0
    net = machine.copy()
    machine.train()
    grads = follow(machine, net, 3, 0.05)
    close(width, machine.vectors.params, net.params)
    close(width, machine.vectors.grads, grads)


def test_each_step_has_its_learning_rate():
    x, y, _ = data(24)
    one, many = (Machine(SMALL, x, y, np.float64) for _ in range(2))
    for s, rate in enumerate([0.1, 0.0, 0.3]):
        many.train(s, s + 1, rate)
    one.train(0, 3, np.array([0.1, 0.0, 0.3]))
    np.testing.assert_array_equal(one.vectors.params, many.vectors.params)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_clipping_holds_where_squares_overflow_or_vanish(scale):
    x, y, _ = data(8)
    machine = Machine([("dense", 2)], x * scale, y, np.float64, penalties=[0.0, 0.0, 0.0, scale / 100])
    machine.vectors.params[:6] = 0  # the weights
    before = machine.vectors.params.copy()
    machine.vectors.params[6:] = before[6:] = 0
    machine.rows.y[:] *= -1
    assert machine.train(rate=1.0 / scale)[1] == vm.DONE
    length = np.linalg.norm((machine.vectors.update / scale)[:6])
    bias = np.linalg.norm((machine.vectors.grads)[6:])
    if scale > 1:
        assert length == pytest.approx(0.01)
    else:
        assert np.linalg.norm(machine.vectors.update) == pytest.approx(min(bias, scale / 100))


# Records, stopping, and numbers that are not finite.


@pytest.mark.parametrize("width", WIDTHS)
def test_records(width):
    x, y, _ = data(32)
    machine = Machine([("dense", 4), ("relu",), ("dense", 2)], x, y, width)
    machine.vectors.params[12] = -50  # the first bias: a unit that is never active, whose gradients are 0
    machine.train(0, 4, wanted=(1, 3))
    assert machine.records.values.shape == (2, 6, 2)
    again = Machine([("dense", 4), ("relu",), ("dense", 2)], x, y, width)
    again.vectors.params[12] = -50
    for i, s in enumerate((1, 3)):
        again.train(s - 1, s)
        before = again.vectors.params.astype(float)
        again.train(s, s + 1)
        for j, (at, size, dy, n_out) in enumerate(machine.weights):
            g, W = again.vectors.grads[at : at + size].astype(float), again.vectors.params[at : at + size].astype(float)
            delta, w_before = again.buffers.deltas[dy : dy + 8 * n_out].astype(float), before[at : at + size]
            norms = np.linalg.norm(g), np.linalg.norm(W)
            expected = [
                *norms,
                (g == 0).mean(),
                0,
                np.sqrt((delta**2).mean()),
                np.linalg.norm(W - w_before) / np.linalg.norm(w_before),
            ]
            close(width, machine.records.values[i, :, j], expected)
    assert machine.records.values[0, 2, 0] == 0.25


@pytest.mark.parametrize("width, tiny, huge", [(np.float64, 1e-200, 1e200), (np.float32, 1e-30, 1e30)])
def test_records_of_very_small_and_very_large_numbers(width, tiny, huge):
    x, y = np.full((1, 2), tiny), np.zeros((1, 1))
    machine = Machine([("dense", 1)], x, y, width, batch_size=1)
    machine.vectors.params[:] = [huge, huge, 0]
    machine.train(wanted=(0,), rate=0.0)
    g = np.finfo(width).tiny / 4
    norm_w = huge * math.sqrt(2)
    delta = 2.0 * huge * tiny
    expected = [delta * tiny * math.sqrt(2), norm_w, 0, 0, delta, 0]
    np.testing.assert_allclose(machine.records.values[0, :, 0], expected, rtol=1e-6)
    machine.vectors.params[:] = [0, 0, 1]
    machine.rows.x[:] = [[g, 0]]
    machine.train(wanted=(0,), rate=0.0)
    np.testing.assert_allclose(machine.records.values[0, :, 0], [float(width(g)), 0, 0.5, 0.5, 1, np.nan], rtol=1e-6)


def test_a_set_flag_stops_before_the_step():
    x, y, _ = data(24)
    machine = Machine(SMALL, x, y, np.float64)
    params = machine.vectors.params.copy()
    machine.stop[0] = 1
    assert machine.train(1) == (1, vm.STOPPED)
    assert machine.predict(x)[0] == 0
    np.testing.assert_array_equal(machine.vectors.params, params)


def test_another_thread_can_stop_a_training():
    n = 20_000  # which would take long
    machine = Machine(
        [("dense", 100), *[("gelu",)] * 200, ("dense", 1)], np.zeros((n, 1)), np.zeros((n, 1)), np.float64, batch_size=1
    )
    assert machine.train(0, 1) == (1, vm.DONE)
    results = []
    thread = threading.Thread(target=lambda: results.append(machine.train(1)))
    thread.start()
    while np.isnan(machine.rows.logits[10, 0]) and thread.is_alive():
        time.sleep(0.001)
    machine.stop[0] = 1
    thread.join()
    s, code = results[0]
    assert code == vm.STOPPED
    assert 10 < s < n
    assert np.isfinite(machine.rows.logits[:s]).all()
    assert np.isnan(machine.rows.logits[s:]).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("loss", range(4))
def test_a_gradient_that_is_not_finite_ends_the_training_before_the_update(width, bad, loss):
    x, y, _ = data(24)
    x[9, 1] = bad
    machine = Machine(SMALL if np.isnan(bad) else [("dense", 2)], x, y, width, loss=loss)
    assert machine.train(0, 1) == (1, vm.DONE)
    params = machine.vectors.params.copy()
    assert machine.train(1) == (1, vm.GRADIENT_NOT_FINITE)
    np.testing.assert_array_equal(machine.vectors.params, params)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("loss", range(4))
@pytest.mark.parametrize("place", range(3))
def test_losses_show_what_is_not_a_number(width, loss, place):
    z, targets = np.zeros((40, 3), width), np.full((40, 3), 1 / 3, width)
    z[7, place] = np.nan
    slopes = np.empty_like(z)
    slopes_of(loss, z.ravel(), targets.ravel(), np.zeros(0, width), 40, slopes.reshape(-1))
    assert np.isnan(slopes[7]).all() if loss == vm.SOFTMAX_CROSS_ENTROPY else np.isnan(slopes[7, place])
    assert np.isfinite(np.delete(slopes, 7, axis=0)).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("loss", [vm.BINARY_CROSS_ENTROPY, vm.SOFTMAX_CROSS_ENTROPY, vm.SQUARED_ERROR_ON_SIGMOID])
def test_losses_take_any_logits(width, loss):
    z = np.array([[1e4, -1e4], [745, 37], [-1e30, 1e30], [0, 0]], width)
    targets, slopes = np.full((4, 2), 0.5, width), np.empty((4, 2), width)
    slopes_of(loss, z.ravel(), targets.ravel(), np.zeros(0, width), 4, slopes.reshape(-1))
    sharp = np.array([[0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0, 0]]) / 4
    if loss == vm.SOFTMAX_CROSS_ENTROPY:
        sharp[1, 1] = -0.125
    np.testing.assert_allclose(slopes, sharp * (loss != vm.SQUARED_ERROR_ON_SIGMOID), atol=1e-15)


def test_a_gradient_whose_square_overflows_is_finite():
    x, y, _ = data(8)
    machine = Machine([("dense", 2)], x * 1e80, y, np.float64)
    assert machine.train(rate=1e-320) == (1, vm.DONE)


@pytest.mark.parametrize("width", WIDTHS)
def test_parameters_that_are_not_finite_end_the_training_at_the_end_of_the_epoch(width):
    x, y, _ = data(24)
    machine = Machine(SMALL, x, y, width)
    assert machine.train(0, 2, rate=0.1) == (2, vm.DONE)
    assert machine.train(2, 3, rate=np.inf) == (2, vm.PARAMETERS_NOT_FINITE)


def test_each_width_is_compiled_once():
    for width in WIDTHS:
        x, y, weights = data()
        machine = Machine(MIXED, x, y, width, weights, penalties=[0.1, 0.0, 0.0, 1.0])
        machine.train(wanted=(0,))
        machine.predict(x)
    assert len(vm.train_batches.signatures) == len(vm.predict_rows.signatures) == 2
