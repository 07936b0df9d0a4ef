"""Answers to the exercise through_time."""

import numpy as np

from answer_bank import right, wrong

FORWARD, BACKWARD = "recurrent", "recurrent_backward"


def before(h):
    return np.concatenate([np.zeros_like(h[:1]), h[:-1]])


@right("through_time", FORWARD, style="into an array")
def by_index(x, W, U, b):
    h = np.empty((*x.shape[:2], W.shape[1]))
    for t in range(len(x)):
        h[t] = np.tanh(x[t] @ W + b) if t == 0 else np.tanh(x[t] @ W + h[t - 1] @ U + b)
    return h


@right("through_time", FORWARD, style="a zero state in front")
def by_state_in_front(x, W, U, b):
    h = np.zeros((len(x) + 1, x.shape[1], len(U)))
    for t in range(len(x)):
        h[t + 1] = np.tanh(x[t] @ W + h[t] @ U + b)
    return h[1:]


@right("through_time", FORWARD, style="inputs at once")
def by_inputs_at_once(x, W, U, b):
    a = x @ W + b
    h = np.zeros_like(a)
    for t in range(len(a)):
        h[t] = np.tanh(a[t] + h[t - 1] @ U)  # before the first step h[-1] is still 0
    return h


@right("through_time", FORWARD, style="one joint matrix")
def by_joint_matrix(x, W, U, b):
    joint, state, states = np.vstack([W, U, b]), np.zeros((x.shape[1], len(U))), []
    for step in x:
        state = np.tanh(np.hstack([step, state, np.ones((len(step), 1))]) @ joint)
        states += [state]
    return np.stack(states)


@right("through_time", FORWARD, style="sample by sample")
def by_samples(x, W, U, b):
    T, n, _ = x.shape
    h = np.zeros((T, n, U.shape[0]))
    for i in range(n):
        state = np.zeros(U.shape[0])
        for t in range(T):
            state = np.tanh(W.T @ x[t, i] + U.T @ state + b[0])
            h[t, i] = state
    return h


@right("through_time", BACKWARD, style="deltas first, einsum")
def backward_by_einsum(dy, x, h, W, U):
    delta = np.empty_like(h)
    delta[-1] = dy * (1 - h[-1] ** 2)
    for t in range(len(h) - 2, -1, -1):
        delta[t] = delta[t + 1] @ U.T * (1 - h[t] ** 2)
    dW = np.einsum("tij,tim->jm", x, delta)
    dU = np.einsum("tij,tim->jm", before(h), delta)
    return np.einsum("tim,jm->tij", delta, W), dW, dU, np.einsum("tim->m", delta)[None]


@right("through_time", BACKWARD, style="sample by sample")
def backward_by_samples(dy, x, h, W, U):
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros((1, len(U)))
    for i in range(x.shape[1]):
        dh = dy[i]
        for t in range(len(x) - 1, -1, -1):
            da = dh * (1 - h[t, i] * h[t, i])
            past = h[t - 1, i] if t else np.zeros(len(U))
            dW += np.outer(x[t, i], da)
            dU += np.outer(past, da)
            db += da
            dx[t, i] = W @ da
            dh = U @ da
    return dx, dW, dU, db


@right("through_time", BACKWARD, style="recursion")
def backward_by_recursion(dy, x, h, W, U):
    if len(x) == 0:
        return np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros((1, W.shape[1]))
    da = dy * (1 - h[-1] ** 2)
    dx, dW, dU, db = backward_by_recursion(da @ U.T, x[:-1], h[:-1], W, U)
    if len(h) > 1:
        dU = dU + h[-2].T @ da
    return np.concatenate([dx, (da @ W.T)[None]]), dW + x[-1].T @ da, dU, db + da.sum(axis=0)


@right("through_time", BACKWARD, style="one joint matrix")
def backward_by_joint_matrix(dy, x, h, W, U):
    T, n, d = x.shape
    joint, djoint, dx, dh = np.vstack([W, U]), 0, [], dy
    past = before(h)
    for t in range(T)[::-1]:
        da = (1 - h[t]) * (1 + h[t]) * dh
        djoint = djoint + np.hstack([x[t], past[t], np.ones((n, 1))]).T @ da
        down = da @ joint.T
        dx.insert(0, down[:, :d])
        dh = down[:, d:]
    return np.array(dx), djoint[:d], djoint[d:-1], djoint[-1:]


@right("through_time", BACKWARD, style="transposed and back, collected")
def backward_by_transposes(dy, x, h, W, U):
    deltas, dh = [], dy.T
    for state in h[::-1]:
        deltas.append(dh * (1 - state.T**2))
        dh = U @ deltas[-1]
    deltas.reverse()
    dW = sum((d @ step).T for d, step in zip(deltas, x))
    dU = sum(((d @ past).T for d, past in zip(deltas[1:], h[:-1])), start=np.zeros_like(U))
    db = sum(d.sum(axis=1, keepdims=True) for d in deltas).T
    return np.array([(W @ d).T for d in deltas]), dW, dU, db


@wrong("through_time", FORWARD, mistake="wrong layer")
def first_state_each_time(x, W, U, b):
    h = np.zeros((*x.shape[:2], W.shape[1]))
    for t in range(len(x)):
        h[t] = np.tanh(x[t] @ W + h[0] @ U + b)
    return h


def _backward(dy, x, h, W, U, slope=None, path=None, past=None):
    """The right way back, but for what is handed in."""
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros((1, len(U)))
    dh = dy
    past = before(h) if past is None else past
    for t in reversed(range(len(x))):
        da = dh * (1 - h[t] ** 2 if slope is None else slope[t])
        dW += x[t].T @ da
        dU += past[t].T @ da
        db += da.sum(axis=0)
        dx[t] = da @ W.T
        dh = da @ (U.T if path is None else path)
    return dx, dW, dU, db


@wrong("through_time", BACKWARD, mistake="transposed")
def recurrent_gradient_transposed(dy, x, h, W, U):
    dx, dW, dU, db = _backward(dy, x, h, W, U)
    return dx, dW, dU.T, db


@wrong("through_time", BACKWARD, mistake="slope at the output")
def tanh_once_more(dy, x, h, W, U):
    return _backward(dy, x, h, W, U, slope=1 - np.tanh(h) ** 2)


@wrong("through_time", BACKWARD, mistake="slope at the input")
def square_of_a(dy, x, h, W, U):
    a = np.arctanh(h)
    return _backward(dy, x, h, W, U, slope=1 - a**2)


@wrong("through_time", BACKWARD, mistake="dropped term")
def last_step_only(dy, x, h, W, U):
    da = dy * (1 - h[-1] ** 2)
    dx = np.zeros_like(x)
    dx[-1] = da @ W.T
    return dx, x[-1].T @ da, h[-2].T @ da, da.sum(axis=0, keepdims=True)


@wrong("through_time", BACKWARD, mistake="dropped term")
def weights_written_over(dy, x, h, W, U):
    dx, dh = np.zeros_like(x), dy
    for t in reversed(range(1, len(x))):
        da = dh * (1 - h[t] ** 2)
        dW, dU, db = x[t].T @ da, h[t - 1].T @ da, da.sum(axis=0, keepdims=True)
        dx[t] = da @ W.T
        dh = da @ U.T
    dx[0] = dh * (1 - h[0] ** 2) @ W.T
    return dx, dW, dU, db


@wrong("through_time", BACKWARD, mistake="dropped term")
def first_step_left_out(dy, x, h, W, U):
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros((1, len(U)))
    dh = dy
    for t in range(len(x) - 1, 0, -1):
        da = dh * (1 - h[t] ** 2)
        dW += x[t].T @ da
        dU += h[t - 1].T @ da
        db += da.sum(axis=0)
        dx[t] = da @ W.T
        dh = da @ U.T
    return dx, dW, dU, db


@wrong("through_time", BACKWARD, mistake="wrong layer")
def state_of_the_same_step(dy, x, h, W, U):
    return _backward(dy, x, h, W, U, past=h)


@wrong("through_time", BACKWARD, mistake="sign")
def slope_negated(dy, x, h, W, U):
    return _backward(dy, x, h, W, U, slope=h**2 - 1)


@wrong("through_time", BACKWARD, mistake="mean twice")
def divided_by_n(dy, x, h, W, U):
    dx, dW, dU, db = _backward(dy, x, h, W, U)
    n = x.shape[1]
    return dx, dW / n, dU / n, db / n


@wrong("through_time", BACKWARD, mistake="wrong axis")
def bias_summed_over_the_state(dy, x, h, W, U):
    dx, dW, dU, db = _backward(dy, x, h, W, U)
    return dx, dW, dU, np.full_like(db, db.sum())


@wrong("through_time", BACKWARD, mistake="factor")
def slope_doubled(dy, x, h, W, U):
    return _backward(dy, x, h, W, U, slope=2 * (1 - h**2))


@wrong("through_time", BACKWARD, mistake="changes input")
def slope_into_dy(dy, x, h, W, U):
    dx, dW, dU, db = np.zeros_like(x), np.zeros_like(W), np.zeros_like(U), np.zeros((1, len(U)))
    dh = dy
    for t in reversed(range(len(x))):
        dh *= 1 - h[t] ** 2
        dW += x[t].T @ dh
        if t:
            dU += h[t - 1].T @ dh
        db += dh.sum(axis=0)
        dx[t] = dh @ W.T
        dh = dh @ U.T
    return dx, dW, dU, db


@wrong("through_time", BACKWARD, mistake="dtype")
def in_single_precision(dy, x, h, W, U):
    return tuple(array.astype(np.float64) for array in _backward(*(np.float32(array) for array in (dy, x, h, W, U))))
