# mypy: ignore-errors
# ruff: noqa: D403 -- a docstring may begin with a formula
"""One interpreter for all networks, compiled by Numba, so that a step of training needs no call from Python.

A network comes as a `program`: a table with a row per operation, which says where in flat buffers the operation finds
its input and puts its output. `train_batches` takes training steps, `predict_rows` computes logits. Everything that
Numba compiles stands in this one file: its cache notices a change in the file of the cached function only.

To read in order: the functions of one number, the activations, the layers, the losses, the optimizers, then the two
passes through a program and what calls them. NumPy's float32 constants below (`ONE`, `HALF`) are exact in both widths
and leave the width of an expression as it is, where Python's 1.0 would widen float32 to float64.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array, populate_array

# The columns of a program. X and Y are offsets in the tape, DX and DY in the deltas, PARAMS in the parameters and their
# gradients. An array (b, d), of a batch of b rows, is tape[offset : offset + b·d].
KIND, X, Y, DX, DY, N_IN, N_OUT, PARAMS, STATE, SCRATCH, OTHER = range(11)

# What the column KIND says; ACTIVATION + i is the i-th of `ACTIVATIONS`.
DENSE, BATCH_NORM, DROPOUT, FORK, ADD, ACTIVATION = range(6)

BINARY_CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, SQUARED_ERROR, SQUARED_ERROR_ON_SIGMOID = range(4)
SGD, RMSPROP, ADAM, ADAMW = range(4)
DONE, STOPPED, GRADIENT_NOT_FINITE, PARAMETERS_NOT_FINITE = range(4)  # how `train_batches` ended


class Rows(NamedTuple):
    """The rows of one epoch, in the order in which they are taken."""

    x: np.ndarray  #        (n, d)
    y: np.ndarray  #        (n, k), the targets
    weights: np.ndarray  #  (n,), how much each row counts; (0,) if all count the same
    logits: np.ndarray  #   (n, k), filled: what each row got when its batch came
    batches: int  #         how many there are; the last has all rows that are left


class Buffers(NamedTuple):
    """Where a pass writes; sized for the largest batch. After a step they still hold its activations and deltas."""

    tape: np.ndarray  #     activations
    deltas: np.ndarray  #   their gradients
    scratch: np.ndarray  #  statistics of BATCH_NORM (2·n_in), masks of DROPOUT (b·n_in)


class Vectors(NamedTuple):
    """Flat vectors (P,) with an entry per parameter, and the running statistics."""

    params: np.ndarray
    grads: np.ndarray  #          of the data's loss alone
    update: np.ndarray  #         the gradient with penalties, clipped; written only if there are any
    first_moment: np.ndarray  #   of SGD (its velocity), Adam and AdamW
    second_moment: np.ndarray  #  of RMSProp, Adam and AdamW
    weight_mask: np.ndarray  #    1 where penalties apply, 0 elsewhere
    decay_mask: np.ndarray  #     what AdamW's decay is multiplied by
    state: np.ndarray  #          (S,), the running statistics of the batch normalisations


class Method(NamedTuple):
    """What is minimised, and how."""

    loss: int
    optimizer: int
    hyper: np.ndarray  #      (5,), of SGD: momentum, nesterov; RMSProp: decay, epsilon;
    #                         Adam and AdamW: beta1, beta2, epsilon, epsilon_hat, weight_decay
    penalties: np.ndarray  #  (4,): l1, l2, alpha, clip_norm; 0 for none


class Records(NamedTuple):
    """What is measured in some of the steps, for each of m weight matrices."""

    wanted: np.ndarray  #   uint8 (last − first,): whether the step is measured
    asked: np.ndarray  #    uint8 (6,): which quantities are, in the order of `measure`
    weights: np.ndarray  #  int64 (m, 4): offset and size in params, offset in deltas of dL/dy and number of outputs
    values: np.ndarray  #   float64 (steps measured, 6, m), filled: see `measure`
    before: (
        np.ndarray
    )  #   (P,), a buffer for the parameters before the step; (0,) if the last quantity is not asked for


FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}  # NaN and infinity stay visible
INNER = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel = njit(**FLAGS, **INNER)
sum_kernel = njit(**FLAGS | {"fastmath": {"contract", "nsz", "reassoc"}}, **INNER)  # sums in the order that is fastest
entry_point = njit(**FLAGS, no_cfunc_wrapper=True, cache=True)

ZERO, HALF, ONE, TWO, FORTY = np.float32([0, 0.5, 1, 2, 40])


# Functions of one number, without a branch, so that loops over them are compiled to vector instructions.


def exp(x):
    """e^x to 1 ulp, subnormal results included."""


def expm1(x):
    """e^x − 1 to 2 ulp, for x ≤ 0."""


def log1p(x):
    """log(1 + x) to 2 ulp, for x from 0 to 1."""


def exponentials(number, integer, mantissa, bias, lowest, highest, ln2_high, ln2_low, terms):
    """Make exp and expm1 of a float width, by x = k·log 2 + r with a whole k, so that e^x = 2^k·e^r."""
    log2_e, unsigned = number(1 / math.log(2)), np.uint32 if integer is np.int32 else np.uint64
    rounder = number(1.5 * 2**mantissa)  # so large that adding it leaves no room for a fraction
    rounder_bits, bits, twice_bias, half = rounder.view(integer), integer(mantissa), integer(2 * bias), unsigned(1)
    coefficients = tuple(number(1 / math.factorial(i)) for i in range(terms, 1, -1))

    @kernel
    def split(x):
        """Return e^r − 1, from its Taylor series, and k + 2·bias, a positive integer."""
        x = min(max(x, lowest), highest)
        shifted = x * log2_e + rounder
        k = shifted - rounder
        r = x - k * ln2_high - k * ln2_low
        series = number(0)
        for c in coefficients:
            series = series * r + c
        return r + r * r * series, integer(number(shifted).view(integer) - rounder_bits + twice_bias)

    @kernel
    def power_of_2(exponent):
        """2^(exponent − bias): the bits of a float without mantissa."""
        return integer(exponent << bits).view(number)

    @kernel
    def exp(x):
        """(1 + (e^r − 1))·2^k, where 2^k is multiplied in halves: it alone might be too large or too small."""
        rest, k = split(x)
        first = integer(unsigned(k) >> half)
        return (rest + ONE) * power_of_2(first) * power_of_2(integer(k - first))

    @kernel
    def expm1(x):
        """2^k·(e^r − 1) + (2^k − 1)."""
        rest, k = split(max(x, least))
        scale = power_of_2(integer(k - one_bias))
        return scale * rest + (scale - ONE)

    least, one_bias = number(-FORTY), integer(bias)
    return exp, expm1


def logarithm(number, terms):
    """Make log1p: with s = x/(2 + x), log(1 + x) = 2·(s + s³/3 + s⁵/5 + …) = x − s·(x − 2·(s²/3 + s⁴/5 + …)).

    Above √2 − 1 it is log 2 + log(1 + (x − 1)/2): half the terms are enough.
    """
    coefficients = tuple(number(2 / i) for i in range(2 * terms + 1, 1, -2))
    bound, ln2 = number(math.sqrt(2) - 1), number(math.log(2))

    @kernel
    def log1p(x):
        ahead = ln2 if x > bound else number(0)
        x = (x - ONE) * HALF if x > bound else x
        s = x / (TWO + x)
        series = number(0)
        for c in coefficients:
            series = series * (s * s) + c
        return ahead + (x - s * (x - s * s * series))

    return log1p


# log 2 in two parts, the first one short enough that k times it is exact
F64, F32 = np.float64, np.float32
LN2_64, LN2_32 = (F64(0.6931471803691238), F64(1.9082149292705877e-10)), (F32(0.693145751953125), F32(1.4286068e-06))
EXP64, EXPM1_64 = exponentials(F64, np.int64, 52, 1023, F64(-746), F64(710), *LN2_64, 13)
EXP32, EXPM1_32 = exponentials(F32, np.int32, 23, 127, F32(-104), F32(89), *LN2_32, 7)
LOG1P64, LOG1P32 = logarithm(F64, 10), logarithm(F32, 4)


def by_width(function, for_float32, for_float64):
    """Let compiled code that calls `function` get the one for the width of its argument."""
    overload(function)(lambda x: (lambda x: for_float32(x)) if x == types.float32 else (lambda x: for_float64(x)))


by_width(exp, EXP32, EXP64)
by_width(expm1, EXPM1_32, EXPM1_64)
by_width(log1p, LOG1P32, LOG1P64)


@kernel
def square(x):
    """x²."""
    return x * x


@kernel
def tanh(x):
    """tanh(x) = (1 − e^(−2·abs(x)))/(1 + e^(−2·abs(x))) with the sign of x, to 3 ulp."""
    e = expm1(-TWO * abs(x))
    return math.copysign(-e / (TWO + e), x)


@kernel
def sigmoid(x):
    """σ(x) = e^x/(1 + e^x), exact in both tails; it rounds to 1 long before x = 40."""
    e = exp(min(x, FORTY))
    return e / (ONE + e)


@kernel
def sigmoid_slope(x):
    """σ'(x) = e^(−abs(x))/(1 + e^(−abs(x)))²."""
    e = exp(-abs(x))
    return e / square(ONE + e)


@kernel
def step(x, below, above):
    """Return `below` for x ≤ 0 and `above` for x > 0; what is not a number stays."""
    return above if x > ZERO else below if x <= ZERO else x


@kernel
def normal_distribution(x):
    """Φ(x) = ½·erfc(−x/√2)."""
    return HALF * math.erfc(type(x)(-math.sqrt(0.5)) * x)


@kernel
def gelu_slope(x):
    """Φ(x) + x·e^(−x²/2)/√(2π); its second part vanishes long before abs(x) = 40."""
    near = max(min(x, FORTY), -FORTY)
    return normal_distribution(x) + near * type(x)(1 / math.sqrt(2 * math.pi)) * exp(-HALF * near * near)


# The activations: y = f(x, a, b) and dy/dx = slope(x, y, a, b), where a and b are the settings of the operation.
ACTIVATIONS = {
    "sigmoid": (lambda x, a, b: sigmoid(x), lambda x, y, a, b: y * (ONE - y)),
    "centred_sigmoid": (lambda x, a, b: HALF * tanh(HALF * x), lambda x, y, a, b: sigmoid_slope(x)),
    "tanh": (lambda x, a, b: tanh(x), lambda x, y, a, b: ONE - y * y),
    "relu": (lambda x, a, b: max(x, ZERO), lambda x, y, a, b: step(x, ZERO, ONE)),
    "leaky_relu": (lambda x, a, b: x if x > ZERO else a * x, lambda x, y, a, b: step(x, a, ONE)),  # a: slope
    "elu": (  # a: alpha, b: scale, which is not 1 in SELU
        lambda x, a, b: b * (max(x, ZERO) + a * expm1(min(x, ZERO))),
        lambda x, y, a, b: b * exp(min(x, ZERO)) * step(x, a, ONE),
    ),
    "gelu": (lambda x, a, b: x * normal_distribution(x), lambda x, y, a, b: gelu_slope(x)),
    "silu": (lambda x, a, b: x * sigmoid(x), lambda x, y, a, b: sigmoid(x) + y * (ONE - sigmoid(x))),
    "softplus": (lambda x, a, b: max(x, ZERO) + log1p(exp(-abs(x))), lambda x, y, a, b: -expm1(-y)),
    "softsign": (lambda x, a, b: x / (ONE + abs(x)), lambda x, y, a, b: square(ONE / (ONE + abs(x)))),
    "identity": (lambda x, a, b: x, lambda x, y, a, b: ONE),
}


def choose_forward(kind, functions):
    """Make the function that fills y with f(x), for the f that belongs to the kind asked for."""
    if not functions:
        return kernel(lambda asked, x, y, a, b: None)
    f, other = kernel(functions[0]), choose_forward(kind + 1, functions[1:])

    @kernel
    def forward(asked, x, y, a, b):
        if asked == kind:
            for i in range(x.size):
                y[i] = f(x[i], a, b)
        else:
            other(asked, x, y, a, b)

    return forward


def choose_backward(kind, slopes):
    """Make the function that fills dx with dy·slope(x, y), for the slope that belongs to the kind asked for."""
    if not slopes:
        return kernel(lambda asked, dy, x, y, dx, a, b: None)
    slope, other = kernel(slopes[0]), choose_backward(kind + 1, slopes[1:])

    @kernel
    def backward(asked, dy, x, y, dx, a, b):
        if asked == kind:
            for i in range(x.size):
                dx[i] = dy[i] * slope(x[i], y[i], a, b)
        else:
            other(asked, dy, x, y, dx, a, b)

    return backward


activation_forward = choose_forward(ACTIVATION, [f for f, _ in ACTIVATIONS.values()])
activation_backward = choose_backward(ACTIVATION, [slope for _, slope in ACTIVATIONS.values()])


# The layers.


@intrinsic
def matrix(typing, flat, n, d):
    """Return an array (n·d,) as (n, d), as reshape does, but for its checks: they take as long as a small product."""
    result = types.Array(flat.dtype, 2, "C")

    def make_view(context, builder, signature, arguments):
        source = make_array(flat)(context, builder, arguments[0])
        view = make_array(result)(context, builder)
        n, d = (context.cast(builder, arguments[i], signature.args[i], types.intp) for i in (1, 2))
        populate_array(
            view,
            data=source.data,
            shape=cgutils.pack_array(builder, [n, d]),
            strides=cgutils.pack_array(builder, [builder.mul(d, source.itemsize), source.itemsize]),
            itemsize=source.itemsize,
            meminfo=source.meminfo,
            parent=source.parent,
        )
        return impl_ret_borrowed(context, builder, result, view._getvalue())

    return result(flat, n, d), make_view


@kernel
def weights_and_biases(vector, offset, n_in, n_out):
    """Return W (n_in, n_out) and b (n_out,) of a Dense layer, or their gradients."""
    end = offset + n_in * n_out
    return matrix(vector[offset:end], n_in, n_out), vector[end : end + n_out]


@kernel
def two_rows(vector, offset, n):
    """Return two rows (n,) that stand one behind the other, such as gamma and beta."""
    return vector[offset : offset + n], vector[offset + n : offset + 2 * n]


@kernel
def dense_forward(x, W, b, y):
    """y = xW + b."""
    np.dot(x, W, y)
    for i in range(len(x)):
        for j in range(b.size):
            y[i, j] += b[j]


@kernel
def dense_backward(dy, x, W, dW, db, dx, dx_wanted):
    """dW = xᵀ·dy, db = Σ_i dy_i, dx = dy·Wᵀ."""
    db[:] = 0
    for i in range(len(dy)):
        for j in range(db.size):
            db[j] += dy[i, j]
    np.dot(x.T, dy, dW)
    if dx_wanted:
        np.dot(dy, W.T, dx)


@kernel
def batch_statistics(x, running_mean, running_variance, momentum, mean, variance):
    """Fill mean and variance with those of a batch, and move the running ones towards them."""
    n, d = x.shape
    number = x.dtype.type
    mean[:] = 0
    variance[:] = 0
    for i in range(n):
        for j in range(d):
            mean[j] += x[i, j]
    for j in range(d):
        mean[j] /= number(n)
    for i in range(n):
        for j in range(d):
            variance[j] += square(x[i, j] - mean[j])
    for j in range(d):
        if n > 1:  # one row has no unbiased variance
            running_mean[j] += momentum * (mean[j] - running_mean[j])
            running_variance[j] += momentum * (variance[j] / number(n - 1) - running_variance[j])
        variance[j] /= number(n)


@kernel
def batch_norm_forward(x, gamma, beta, mean, scale, y):
    """y = gamma·(x − mean)·scale + beta, where scale = 1/√(variance + epsilon)."""
    for i in range(len(x)):
        for j in range(gamma.size):
            y[i, j] = (x[i, j] - mean[j]) * (gamma[j] * scale[j]) + beta[j]


@kernel
def batch_norm_backward(dy, x, gamma, mean, scale, dgamma, dbeta, dx):
    """dgamma = Σ_i dy_i·x̂_i, dbeta = Σ_i dy_i, dx = (dy − x̂·dgamma/n − dbeta/n)·gamma·scale, x̂ = (x − mean)·scale."""
    n, d = x.shape
    share = ONE / x.dtype.type(n)
    dgamma[:] = 0
    dbeta[:] = 0
    for i in range(n):
        for j in range(d):
            dgamma[j] += dy[i, j] * ((x[i, j] - mean[j]) * scale[j])
            dbeta[j] += dy[i, j]
    for i in range(n):
        for j in range(d):
            along_x = (x[i, j] - mean[j]) * scale[j] * (dgamma[j] * share)
            dx[i, j] = (dy[i, j] - along_x - dbeta[j] * share) * (gamma[j] * scale[j])


@kernel
def dropout_forward(generator, rate, x, mask, y):
    """y = x·mask; the mask is 1/(1 − rate) where a number drawn from [0, 1) is at least rate, and 0 elsewhere."""
    number = x.dtype.type
    kept = ONE / (ONE - rate)
    for i in range(x.size):
        mask[i] = kept if generator.random(None, number) >= rate else number(0)
    multiply(x, mask, y)


@kernel
def multiply(a, b, out):
    """out = a·b, entry by entry."""
    for i in range(out.size):
        out[i] = a[i] * b[i]


@kernel
def add(a, b, out):
    """out = a + b."""
    for i in range(out.size):
        out[i] = a[i] + b[i]


# The losses: dL/dlogits, of the mean over the samples.


@kernel
def softmax_slopes(z, targets, rows, slopes):
    """softmax(z)·Σ_k t_k − t; the largest logit of each row is subtracted first, which changes nothing else."""
    n_outputs = z.size // rows
    for i in range(0, z.size, n_outputs):
        largest = z[i]
        for j in range(i + 1, i + n_outputs):
            largest = max(largest, z[j])
        for j in range(i, i + n_outputs):
            slopes[j] = z[j] - largest
    for i in range(z.size):
        slopes[i] = exp(slopes[i])
    for i in range(0, z.size, n_outputs):
        sum_e, sum_t = slopes[i], targets[i]
        for j in range(i + 1, i + n_outputs):
            sum_e += slopes[j]
            sum_t += targets[j]
        for j in range(i, i + n_outputs):
            slopes[j] = slopes[j] / sum_e * sum_t - targets[j]


@kernel
def loss_slopes(loss, z, targets, weights, rows, slopes):
    """Fill slopes with w_i·l_i'(z)/Σ_i w_i, where w_i = 1 if there are no weights; return Σ_i w_i."""
    if loss == BINARY_CROSS_ENTROPY:  # σ(z) − t
        for i in range(z.size):
            slopes[i] = sigmoid(z[i]) - targets[i]
    elif loss == SOFTMAX_CROSS_ENTROPY:
        softmax_slopes(z, targets, rows, slopes)
    elif loss == SQUARED_ERROR:  # z − t
        for i in range(z.size):
            slopes[i] = z[i] - targets[i]
    else:  # (σ(z) − t)·σ'(z)
        for i in range(z.size):
            s = sigmoid(z[i])
            slopes[i] = (s - targets[i]) * ((ONE - s) * s)
    if weights.size == 0:
        share = ONE / z.dtype.type(rows)
        for i in range(z.size):
            slopes[i] *= share
        return z.dtype.type(rows)
    total = z.dtype.type(0)
    for i in range(rows):
        total += weights[i]
    n_outputs = z.size // rows
    divisor = total if total > 0 else z.dtype.type(1)  # a batch of weight 0 pulls nowhere
    for i in range(rows):
        for j in range(i * n_outputs, (i + 1) * n_outputs):
            slopes[j] = slopes[j] * weights[i] / divisor
    return total


# The update: penalties, clipping and the optimizers, on flat vectors.


@sum_kernel
def sum_of_squares(v):
    """Σ v², in float64."""
    total = 0.0
    for i in range(v.size):
        total += np.float64(v[i]) * np.float64(v[i])
    return total


@kernel
def norm(v):
    """Return the Euclidean norm; if squares overflow or vanish, the largest entry is divided out first."""
    total = sum_of_squares(v)
    if not (total < 1e-280 or total == math.inf):
        return math.sqrt(total)
    largest = 0.0
    for i in range(v.size):
        largest = max(largest, abs(np.float64(v[i])))
    if largest == 0.0 or largest == math.inf:
        return largest
    total = 0.0
    for i in range(v.size):
        total += (v[i] / largest) ** 2
    return largest * math.sqrt(total)


@kernel
def all_finite(v):
    """Return whether no entry is infinite or not a number."""
    n_finite = 0
    for i in range(v.size):
        n_finite += math.isfinite(v[i])
    return n_finite == v.size


@kernel
def penalise(params, grads, mask, l1, l2, clip_norm, update):
    """update = g + mask·(l1·sign(p) + l2·p), times clip_norm/norm where its norm is larger than clip_norm."""
    number = params.dtype.type
    l1, l2 = number(l1), number(l2)
    for i in range(params.size):
        sign = number(params[i] > ZERO) - number(params[i] < ZERO)
        update[i] = grads[i] + mask[i] * (l1 * sign + l2 * params[i])
    if clip_norm > 0.0:
        length = norm(update)
        if length > clip_norm:
            for i in range(params.size):
                update[i] *= clip_norm / length


@kernel
def sgd(p, g, v, rate, momentum, nesterov):
    """v = momentum·v + g, then p −= rate·v, or rate·(g + momentum·v); without momentum v is g."""
    if momentum == ZERO:
        for i in range(p.size):
            p[i] -= rate * g[i]
    elif nesterov:
        for i in range(p.size):
            v[i] = momentum * v[i] + g[i]
            p[i] -= rate * (g[i] + momentum * v[i])
    else:
        for i in range(p.size):
            v[i] = momentum * v[i] + g[i]
            p[i] -= rate * v[i]


@kernel
def rmsprop(p, g, v, rate, decay, rest, epsilon):
    """v = decay·v + (1 − decay)·g², then p −= rate·g/(√v + epsilon)."""
    for i in range(p.size):
        v[i] = decay * v[i] + rest * (g[i] * g[i])
        p[i] -= rate * (g[i] / (math.sqrt(v[i]) + epsilon))


@kernel
def adam(p, g, m, v, rate, rest1, rest2, epsilon):
    """m += (1 − beta1)·(g − m) and v += (1 − beta2)·(g² − v), then p −= rate·m/(√v + epsilon)."""
    for i in range(p.size):
        m[i] += rest1 * (g[i] - m[i])
        v[i] += rest2 * (g[i] * g[i] - v[i])
        p[i] -= rate * (m[i] / (math.sqrt(v[i]) + epsilon))


@kernel
def optimize(method, vectors, g, learning_rate, t):
    """Take step number t, counted from 1, along the gradient g.

    Adam divides m by c1 = 1 − beta1^t and v by c2 = 1 − beta2^t. As (m/c1)/(√(v/c2) + epsilon) is
    (√c2/c1)·m/(√v + √c2·epsilon), both constants go into the rate and epsilon; epsilon_hat is not multiplied by √c2.
    """
    p, m, v, hyper = vectors.params, vectors.first_moment, vectors.second_moment, method.hyper
    number = p.dtype.type
    if method.optimizer == SGD:
        sgd(p, g, m, number(learning_rate), number(hyper[0]), hyper[1] != 0.0)
    elif method.optimizer == RMSPROP:
        rmsprop(p, g, v, number(learning_rate), number(hyper[0]), number(1.0 - hyper[0]), number(hyper[1]))
    else:
        beta1, beta2, epsilon, epsilon_hat, weight_decay = hyper[0], hyper[1], hyper[2], hyper[3], hyper[4]
        if method.optimizer == ADAMW:  # p −= learning_rate·weight_decay·mask·p
            decay, mask = number(learning_rate * weight_decay), vectors.decay_mask
            for i in range(p.size):
                p[i] -= decay * (mask[i] * p[i])
        root = math.sqrt(1.0 - beta2**t)
        rate = number(learning_rate * root / (1.0 - beta1**t))
        if epsilon_hat == 0.0:
            epsilon *= root
        adam(p, g, m, v, rate, number(1.0 - beta1), number(1.0 - beta2), number(epsilon))


# The two passes through a program.


@kernel
def forward(program, settings, b, tape, scratch, params, state, generator):
    """Fill the tape for a batch of b rows, which stands at its start; without a generator, as in predicting."""
    for row in range(len(program)):
        kind, n_in, n_out = program[row, KIND], program[row, N_IN], program[row, N_OUT]
        x, y = tape[program[row, X] : program[row, X] + b * n_in], tape[program[row, Y] : program[row, Y] + b * n_out]
        if kind == DENSE:
            W, bias = weights_and_biases(params, program[row, PARAMS], n_in, n_out)
            dense_forward(matrix(x, b, n_in), W, bias, matrix(y, b, n_out))
        elif kind == BATCH_NORM:
            gamma, beta = two_rows(params, program[row, PARAMS], n_in)
            running_mean, running_variance = two_rows(state, program[row, STATE], n_in)
            mean, scale = two_rows(scratch, program[row, SCRATCH], n_in)
            x, y = matrix(x, b, n_in), matrix(y, b, n_in)
            if generator is None:
                mean[:], scale[:] = running_mean, running_variance
            else:
                batch_statistics(x, running_mean, running_variance, settings[row, 0], mean, scale)
            for j in range(n_in):
                scale[j] = ONE / math.sqrt(scale[j] + settings[row, 1])
            batch_norm_forward(x, gamma, beta, mean, scale, y)
        elif kind == DROPOUT:
            if generator is None:
                y[:] = x
            else:
                mask = scratch[program[row, SCRATCH] : program[row, SCRATCH] + b * n_in]
                dropout_forward(generator, settings[row, 0], x, mask, y)
        elif kind == ADD:
            add(x, tape[program[row, OTHER] : program[row, OTHER] + b * n_in], y)
        elif kind >= ACTIVATION:
            activation_forward(kind, x, y, settings[row, 0], settings[row, 1])


@kernel
def backward(program, settings, b, tape, deltas, scratch, params, grads, input_gradient):
    """Fill deltas and gradients, from the deltas of the last operation's output back to the first's input."""
    for row in range(len(program) - 1, -1, -1):
        kind, n_in, n_out = program[row, KIND], program[row, N_IN], program[row, N_OUT]
        x, y = tape[program[row, X] : program[row, X] + b * n_in], tape[program[row, Y] : program[row, Y] + b * n_out]
        dx, dy = (
            deltas[program[row, DX] : program[row, DX] + b * n_in],
            deltas[program[row, DY] : program[row, DY] + b * n_out],
        )
        if kind == DENSE:
            W, _ = weights_and_biases(params, program[row, PARAMS], n_in, n_out)
            dW, db = weights_and_biases(grads, program[row, PARAMS], n_in, n_out)
            x, dx, dy = matrix(x, b, n_in), matrix(dx, b, n_in), matrix(dy, b, n_out)
            dense_backward(dy, x, W, dW, db, dx, row > 0 or input_gradient)
        elif kind == BATCH_NORM:
            gamma, _ = two_rows(params, program[row, PARAMS], n_in)
            dgamma, dbeta = two_rows(grads, program[row, PARAMS], n_in)
            mean, scale = two_rows(scratch, program[row, SCRATCH], n_in)
            x, dx, dy = matrix(x, b, n_in), matrix(dx, b, n_in), matrix(dy, b, n_in)
            batch_norm_backward(dy, x, gamma, mean, scale, dgamma, dbeta, dx)
        elif kind == DROPOUT:
            multiply(dy, scratch[program[row, SCRATCH] : program[row, SCRATCH] + b * n_in], dx)
        elif kind == FORK:
            add(dy, deltas[program[row, OTHER] : program[row, OTHER] + b * n_in], dx)
        elif kind == ADD:
            dx[:] = dy
        else:
            activation_backward(kind, dy, x, y, dx, settings[row, 0], settings[row, 1])


@kernel
def measure(records, step, vectors, deltas, b):
    """Measure each weight matrix after a step.

    Norm of the gradient; norm of W; share of zeros in the gradient; share of subnormal numbers in it; root mean square
    of dL/dy; norm of W's change, divided by that of W before.
    """
    asked = records.asked
    for i in range(len(records.weights)):
        offset, size, dy, n_out = records.weights[i]
        values = records.values[step, :, i]
        W, g = vectors.params[offset : offset + size], vectors.grads[offset : offset + size]
        if asked[0]:
            values[0] = norm(g)
        if asked[1]:
            values[1] = norm(W)
        if asked[2] or asked[3]:
            zeros = subnormals = 0
            for j in range(size):
                zeros += g[j] == ZERO
                subnormals += abs(g[j]) < np.finfo(g.dtype).tiny
            values[2], values[3] = zeros / size, (subnormals - zeros) / size
        if asked[4]:
            values[4] = norm(deltas[dy : dy + b * n_out]) / math.sqrt(b * n_out)
        if asked[5]:
            before = records.before[offset : offset + size]
            length = norm(before)
            for j in range(size):
                before[j] = W[j] - before[j]
            values[5] = norm(before) / length


@entry_point
def train_batches(
    program, settings, rows, batch_size, first, last, buffers, vectors, method, rates, t, generator, stop, records
):
    """Train one network on some batches of an epoch.

    Batch s is rows s·batch_size to (s + 1)·batch_size, the last one those to n. All arrays are C-contiguous, and of the
    network's width unless said otherwise.

    Parameters
    ----------
    program : ndarray of int64 (operations, 11)
    settings : ndarray (operations, 2)
        Of BATCH_NORM: momentum, epsilon; DROPOUT: rate; an activation: a, b.
    rows : Rows
    batch_size, first, last : int
        The batches first to last − 1 are taken.
    buffers : Buffers
    vectors : Vectors
    method : Method
    rates : ndarray of float64 (last − first,)
        The learning rate of each step.
    t : int
        Steps taken before.
    generator : numpy.random.Generator
        Of the dropout masks.
    stop : ndarray of uint8 (1,)
        Another thread may set it to end the training before the next step.
    records : Records

    Returns
    -------
    s, code : int
        ``last, DONE``; or the batch at which the training ended, and why. STOPPED: before it began.
        GRADIENT_NOT_FINITE, or the logits are not: before its update. PARAMETERS_NOT_FINITE: after the last update of
        the epoch.
    """
    n, d = rows.x.shape
    k = rows.y.shape[1]
    x, y, logits = rows.x.reshape(n * d), rows.y.reshape(n * k), rows.logits.reshape(n * k)
    tape, deltas, scratch = buffers.tape, buffers.deltas, buffers.scratch
    params, grads, mask, state = vectors.params, vectors.grads, vectors.weight_mask, vectors.state
    l1, l2, alpha, clip_norm = method.penalties[0], method.penalties[1], method.penalties[2], method.penalties[3]
    z_offset, dz_offset = program[-1, Y], program[-1, DY]
    measured = 0
    for s in range(first, last):
        if stop[0]:
            return s, STOPPED
        start, end = s * batch_size, n if s + 1 == rows.batches else (s + 1) * batch_size
        b = end - start
        tape[: b * d] = x[start * d : end * d]
        forward(program, settings, b, tape, scratch, params, state, generator)
        z, dz = tape[z_offset : z_offset + b * k], deltas[dz_offset : dz_offset + b * k]
        logits[start * k : end * k] = z
        total = loss_slopes(method.loss, z, y[start * k : end * k], rows.weights[start:end], b, dz)
        backward(program, settings, b, tape, deltas, scratch, params, grads, s == last - 1)
        if not all_finite(z) or (not math.isfinite(np.dot(grads, grads)) and not all_finite(grads)):
            return s, GRADIENT_NOT_FINITE
        g = grads
        if l1 > 0.0 or l2 > 0.0 or alpha > 0.0 or clip_norm > 0.0:
            g = vectors.update
            decay = l2 + alpha / total if total > 0 else l2
            penalise(params, grads, mask, l1, decay, clip_norm, g)
        wanted = records.wanted[s - first]
        if wanted and records.asked[5]:
            records.before[:] = params
        optimize(method, vectors, g, rates[s - first], t + s - first + 1)
        if wanted:
            measure(records, measured, vectors, deltas, b)
            measured += 1
        if end == n and not all_finite(params):
            return s, PARAMETERS_NOT_FINITE
    return last, DONE


@entry_point
def predict_rows(program, settings, x, logits, block, tape, scratch, params, state, stop):
    """Compute the logits of all rows, in blocks, with running statistics and without dropout.

    Parameters
    ----------
    program, settings
        As in `train_batches`.
    x : ndarray (n, d)
    logits : ndarray (n, k)
        Filled.
    block : int
        How many rows are taken at once; the tape has room for as many.
    tape, scratch, params, state : ndarray
        As in `Buffers` and `Vectors`; params and state are only read.
    stop : ndarray of uint8 (1,)
        Another thread may set it to end this before the next block.

    Returns
    -------
    n_done : int
        How many rows have their logits: n unless stopped.
    """
    (n, d), k = x.shape, logits.shape[1]
    x, logits = x.reshape(n * d), logits.reshape(n * k)
    z_offset = program[-1, Y]
    for start in range(0, n, block):
        if stop[0]:
            return start
        end = min(start + block, n)
        b = end - start
        tape[: b * d] = x[start * d : end * d]
        forward(program, settings, b, tape, scratch, params, state, None)
        logits[start * k : end * k] = tape[z_offset : z_offset + b * k]
    return n
