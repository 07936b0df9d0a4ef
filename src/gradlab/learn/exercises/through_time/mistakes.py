"""Backpropagation through time: what goes back from step to step, and what is summed over the steps."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradlab.check.judge import SAMPLES, Answer, Trial, Wrong
from gradlab.nn.activations import sigmoid


def states(
    phi: Callable[[np.ndarray], np.ndarray] = np.tanh,
    recur: Answer = lambda h, U: h @ U,
    bias: float = 1.0,
    first: int = 0,
) -> Answer:
    def recurrent(x: Any, W: Any, U: Any, b: Any) -> np.ndarray:
        h, every = np.zeros((x.shape[1], W.shape[1])), []
        for t in range(len(x)):
            h = phi(x[t] @ W + (recur(h, U) if t >= first else 0.0) + bias * b)
            every.append(h)
        return np.array(every)

    return recurrent


def from_first(x: Any, W: Any, U: Any, b: Any) -> np.ndarray:
    first = np.tanh(x[0] @ W + b)
    return np.array([first, *(np.tanh(step @ W + first @ U + b) for step in x[1:])])


def wrong(
    slope: Answer = lambda a, h: 1.0 - h * h,
    recur: Answer = lambda delta, U: delta @ U.T,
    dx: Answer = lambda delta, W: delta @ W.T,
    past: Answer = lambda h, t: h[t - 1] if t else 0.0 * h[0],
    last: int = 0,
    dW: Answer | None = None,
    db: Answer = lambda deltas: deltas.sum(axis=(0, 1))[np.newaxis],
    seen: Answer = lambda x, t: x[t],
    every: bool = False,
    scale: float = 1.0,
) -> Answer:
    def backward(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
        last_step, deltas = len(x) - 1, np.zeros_like(h)
        b = np.arctanh(np.clip(h[0], -1 + 1e-15, 1 - 1e-15)) - x[0] @ W
        for t in range(last_step, last - 1, -1):
            a = x[t] @ W + (h[t - 1] @ U if t else 0.0) + b
            dh = dy if t == last_step else recur(deltas[t + 1], U) + (dy if every else 0.0)
            deltas[t] = dh * slope(a, h[t])
        dU = sum(past(h, t).T @ deltas[t] for t in range(len(x)))
        dw = sum(seen(x, t).T @ deltas[t] for t in range(len(x))) if dW is None else dW(x, deltas)
        return dx(deltas, W) * scale, dw * scale, dU * scale, db(deltas) * scale

    return backward


def sums(deltas: Any, x: Any, h: Any, W: Any) -> tuple[np.ndarray, ...]:
    before = np.concatenate([0.0 * h[:1], h[:-1]])
    dW, dU = (sum(a[t].T @ deltas[t] for t in range(len(x))) for a in (x, before))
    return deltas @ W.T, dW, dU, deltas.sum(axis=(0, 1))[np.newaxis]


def back_without_slope(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
    dh, deltas = dy, np.zeros_like(h)
    for t in reversed(range(len(x))):
        deltas[t] = dh * (1.0 - h[t] ** 2)
        dh = dh @ U.T
    return sums(deltas, x, h, W)


def dx_without_slope(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
    right = wrong()(dy, x, h, W, U)
    dh, dx = dy, np.zeros_like(x)
    for t in reversed(range(len(x))):
        dx[t] = dh @ W.T
        dh = dh * (1.0 - h[t] ** 2) @ U.T
    return dx, *right[1:]


def from_the_first(dy: Any, x: Any, h: Any, W: Any, U: Any) -> tuple[np.ndarray, ...]:
    dh, deltas = dy, np.zeros_like(h)
    for t in range(len(x)):
        deltas[t] = dh * (1.0 - h[t] ** 2)
        dh = deltas[t] @ U.T
    return sums(deltas, x, h, W)


def only(which: slice) -> Answer:
    return lambda dy, x, h, W, U: _only(wrong()(dy, x, h, W, U), dy, x, h, W, U, which)


def _only(right: Any, dy: Any, x: Any, h: Any, W: Any, U: Any, which: slice) -> tuple[np.ndarray, ...]:
    deltas = right[0] @ np.linalg.pinv(W.T)
    kept = np.zeros_like(deltas)
    kept[which] = deltas[which]
    return right[0], *sums(kept, x, h, W)[1:]


FORWARD: list[Wrong] = [
    ("dropped term", "the state before is forgotten: U has no effect", states(recur=lambda h, U: 0.0 * h)),
    ("dropped term", "the bias is missing", states(bias=0.0)),
    ("slope missing", "tanh is missing", states(lambda a: a)),
    ("factor", "there is a σ; tanh is asked for", states(sigmoid)),
    ("transposed", "U is transposed", states(recur=lambda h, U: h @ U.T)),
    ("dropped term", "the state before is added without U", states(recur=lambda h, U: h)),
    ("sign", "the state before enters with the wrong sign", states(recur=lambda h, U: -h @ U)),
    (
        "wrong layer",
        "the steps are taken from the last to the first",
        lambda x, W, U, b: states()(x[::-1], W, U, b)[::-1],
    ),
    ("dropped term", "the second step forgets the first", states(first=2)),
    ("wrong layer", "every step starts from the first state, not from the one before", from_first),
]
BACKWARD: list[Wrong] = [
    ("slope missing", "the slope of tanh is missing", wrong(slope=lambda a, h: 1.0)),
    ("sign", "the slope of tanh has the wrong sign", wrong(slope=lambda a, h: h * h - 1.0)),
    ("factor", "the slope of tanh counts twice at every step", wrong(slope=lambda a, h: 2.0 * (1.0 - h * h))),
    ("factor", "the slope of tanh counts by half at every step", wrong(slope=lambda a, h: 0.5 * (1.0 - h * h))),
    ("slope twice", "the slope of tanh is in it twice at every step", wrong(slope=lambda a, h: (1.0 - h * h) ** 2)),
    ("slope at the input", "1 − h² is right for the output h, but is fed the input of tanh", wrong(slope=lambda a, h: 1.0 - a * a)),
    ("slope at the output", "the slope of tanh is taken at its output: tanh is applied to h once more", wrong(slope=lambda a, h: 1.0 - np.tanh(h) ** 2)),
    ("factor", "the slope is that of σ, h·(1 − h); here is a tanh", wrong(slope=lambda a, h: h * (1.0 - h))),
    ("dropped term", "the slope 1 − h² lacks its square: it is 1 − h", wrong(slope=lambda a, h: 1.0 - h)),
    ("sign", "the slope is 1 + h² where 1 − h² belongs", wrong(slope=lambda a, h: 1.0 + h * h)),
    ("dropped term", "nothing goes back in time: only the last step has a delta", wrong(recur=lambda delta, U: 0.0 * delta)),
    ("transposed", "U is not transposed on the way back in time", wrong(recur=lambda delta, U: delta @ U)),
    ("dropped term", "U is missing on the way back in time", wrong(recur=lambda delta, U: delta)),
    ("sign", "what goes back in time has the wrong sign", wrong(recur=lambda delta, U: -delta @ U.T)),
    ("slope missing", "the slope of tanh is missing on the way back in time: dL/dh is passed on", back_without_slope),
    ("slope missing", "the slope of tanh is missing on the way to dx", dx_without_slope),
    ("wrong layer", "it goes through the steps from the first to the last", from_the_first),
    ("wrong layer", "W stands where U belongs on the way back in time", lambda dy, x, h, W, U: wrong(recur=lambda delta, _: delta @ W.T)(dy, x, h, W, U)),
    ("added", "dy is added at every step; it belongs to the last state alone", wrong(every=True)),
    ("transposed", "W is not transposed on the way to dx", wrong(dx=lambda delta, W: delta @ W)),
    ("wrong layer", "dx goes through U where W belongs", lambda dy, x, h, W, U: wrong(dx=lambda delta, _: delta @ U.T)(dy, x, h, W, U)),
    ("wrong layer", "dL/dU is made of the state after the step, where the one before belongs", wrong(past=lambda h, t: h[t])),
    ("wrong layer", "before the first step the state is 0; h[t − 1] with t = 0 is the last one", wrong(past=lambda h, t: h[t - 1])),
    ("wrong layer", "dL/dU is made of x, where the state before belongs", lambda dy, x, h, W, U: wrong(past=lambda _, t: x[t])(dy, x, h, W, U)),
    ("wrong layer", "dL/dW is made of the state, where x belongs", lambda dy, x, h, W, U: wrong(seen=lambda _, t: h[t])(dy, x, h, W, U)),
    ("dropped term", "the first step is left out", wrong(last=1)),
    ("dropped term", "the last step is left out of the sums", only(slice(0, -1))),
    ("dropped term", "the first step is left out of the sums", only(slice(1, None))),
    ("dropped term", "only the last step is in the sums", only(slice(-1, None))),
    ("dropped term", "only the second step is in the sums", only(slice(1, 2))),
    ("dropped term", "only the first step is in the sums, the last to be reached: each writes over the one before", only(slice(0, 1))),
    ("mean twice", "the sums over the steps are divided by their number", lambda dy, x, h, W, U: tuple(g / (len(x) if i else 1) for i, g in enumerate(wrong()(dy, x, h, W, U)))),
    ("mean twice", "everything is divided by the number of samples; dy holds their mean already", lambda dy, x, h, W, U: tuple(g / (x.shape[1] if i else 1) for i, g in enumerate(wrong()(dy, x, h, W, U)))),
    ("wrong axis", "dL/db is summed over the units, not over the samples", wrong(db=lambda deltas: deltas.sum(axis=(0, 2))[np.newaxis])),
    ("wrong axis", "dL/db is summed over steps, samples and units", wrong(db=lambda deltas: np.full((1, deltas.shape[2]), deltas.sum()))),
    ("mean twice", "dL/db is averaged over the samples; dy holds their mean already", wrong(db=lambda deltas: deltas.sum(axis=0).mean(axis=0)[np.newaxis])),
]  # fmt: skip


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    for steps, n, d, m in ((4, SAMPLES, 2, 3), (4, 3, 3, 3)):
        shapes = {"x": (steps, n, d), "W": (d, m), "U": (m, m), "b": (1, m)}
        arguments = {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}
        yield Trial("recurrent", [arguments], ("h",), samples=n, wrongs=FORWARD)
        h = states()(**arguments)
        given = {
            "dy": rng.standard_normal((n, m)),
            "x": arguments["x"],
            "h": h,
            "W": arguments["W"],
            "U": arguments["U"],
        }
        yield Trial("recurrent_backward", [given], ("dx", "dW", "dU", "db"), samples=n, wrongs=BACKWARD)
