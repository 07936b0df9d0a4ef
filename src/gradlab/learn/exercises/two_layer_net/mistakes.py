"""Two layers: the mean at the output, the slope between, which delta meets which input."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradlab.check.judge import SAMPLES, Answer, Draw, Trial, Wrong
from gradlab.check.losses import slope_of_sigmoid
from gradlab.nn.activations import sigmoid


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    def draw(n: int, d: int, h: int) -> Draw:
        scale = {"W1": (d, h), "b1": (1, h), "W2": (h, 1), "b2": (1, 1)}
        parameters = {name: rng.standard_normal(shape) for name, shape in scale.items()}
        return {"x": rng.standard_normal((n, d)), "t": rng.uniform(size=(n, 1)), **parameters}

    def loss_of(
        hidden: Callable[[np.ndarray], np.ndarray] = sigmoid,
        b1: float = 1.0,
        b2: float = 1.0,
        end: Answer | None = None,
    ) -> Answer:
        def loss(x: Any, t: Any, W1: Any, b_1: Any, W2: Any, b_2: Any) -> Any:
            z = hidden(x @ W1 + b1 * b_1) @ W2 + b2 * b_2
            return np.mean(np.logaddexp(0.0, z) - t * z) if end is None else end(z, t)

        return lambda x, t, W1, b1, W2, b2: loss(x, t, W1, b1, W2, b2)

    wrongs: list[Wrong] = [
        ("slope missing", "σ is missing between the layers: the net is linear", loss_of(lambda z: z)),
        ("slope twice", "σ is applied twice between the layers", loss_of(lambda z: sigmoid(sigmoid(z)))),
        ("factor", "there is a tanh between the layers; σ is asked for", loss_of(np.tanh)),
        ("factor", "there is a ReLU between the layers; σ is asked for", loss_of(lambda z: np.maximum(z, 0.0))),
        ("dropped term", "b1 is missing", loss_of(b1=0.0)),
        ("dropped term", "b2 is missing", loss_of(b2=0.0)),
        ("dropped term", "both biases are missing", loss_of(b1=0.0, b2=0.0)),
        ("mean missing", "it is the sum over the samples: the mean is missing", loss_of(end=lambda z, t: np.sum(np.logaddexp(0.0, z) - t * z))),
        ("mean twice", "it is divided by n twice", loss_of(end=lambda z, t: np.mean(np.logaddexp(0.0, z) - t * z) / len(z))),
        ("dropped term", "the term with 1 − t is missing", loss_of(end=lambda z, t: np.mean(t * np.logaddexp(0.0, -z)))),
        ("dropped term", "the term with t is missing", loss_of(end=lambda z, t: np.mean((1.0 - t) * np.logaddexp(0.0, z)))),
        ("sign", "it has the wrong sign", loss_of(end=lambda z, t: -np.mean(np.logaddexp(0.0, z) - t * z))),
        ("slope twice", "the output goes through σ twice", loss_of(end=lambda z, t: np.mean(np.logaddexp(0.0, sigmoid(z)) - t * sigmoid(z)))),
        ("factor", "this is a squared error; the cross-entropy is asked for", loss_of(end=lambda z, t: np.mean(0.5 * (sigmoid(z) - t) ** 2))),
        ("factor", "this is a squared error; the cross-entropy is asked for", loss_of(end=lambda z, t: np.mean((sigmoid(z) - t) ** 2))),
    ]  # fmt: skip
    yield Trial("loss", [draw(SAMPLES, 3, 4) for _ in range(6)], ("L",), samples=SAMPLES, wrongs=wrongs)

    def wrong(
        dz: Answer = lambda z, t: (sigmoid(z) - t) / len(t),
        slope: Answer = lambda z1, a1: a1 * (1.0 - a1),
        da: Answer = lambda dz2, W2: dz2 @ W2.T,
        dW1: Answer = lambda x, a1, dz1, dz2: x.T @ dz1,
        dW2: Answer = lambda x, a1, z1, dz2: a1.T @ dz2,
        db1: Answer = lambda dz1, dz2: dz1.sum(axis=0, keepdims=True),
        db2: Answer = lambda dz1, dz2: dz2.sum(axis=0, keepdims=True),
        with_b1: float = 1.0,
        with_b2: float = 1.0,
        hidden: Answer = sigmoid,
    ) -> Answer:
        def backward(
            x: Any, t: Any, W1: Any, b1: Any, W2: Any, b2: Any, *out: Any
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
            z1 = x @ W1 + with_b1 * b1
            a1 = hidden(z1)
            dz2 = dz(a1 @ W2 + with_b2 * b2, t)
            dz1 = da(dz2, W2) * slope(z1, a1)
            return dW1(x, a1, dz1, dz2), db1(dz1, dz2), dW2(x, a1, z1, dz2), db2(dz1, dz2)

        return lambda x, t, W1, b1, W2, b2, dW1, db1, dW2, db2: backward(x, t, W1, b1, W2, b2)

    back: list[Wrong] = [
        ("mean missing", "the mean over the samples is missing at the output", wrong(dz=lambda z, t: sigmoid(z) - t)),
        ("mean twice", "the mean over the samples is taken twice", wrong(dz=lambda z, t: (sigmoid(z) - t) / len(t) ** 2)),
        ("slope missing", "the slope of the hidden σ is missing", wrong(slope=lambda z1, a1: 1.0)),
        ("slope at the input", "the slope of the hidden σ is written for its output, but is fed its input", wrong(slope=lambda z1, a1: z1 * (1.0 - z1))),
        ("slope at the output", "the slope of the hidden σ is taken at its output, not at its input", wrong(slope=lambda z1, a1: slope_of_sigmoid(a1))),
        ("dropped term", "the factor 1 − a1 of the hidden slope is missing", wrong(slope=lambda z1, a1: a1)),
        ("dropped term", "the factor a1 of the hidden slope is missing", wrong(slope=lambda z1, a1: 1.0 - a1)),
        ("factor", "the hidden slope is that of tanh, 1 − a²", wrong(slope=lambda z1, a1: 1.0 - a1**2)),
        ("factor", "a slope of σ is in it at the output too, where it has cancelled against the loss", wrong(dz=lambda z, t: (sigmoid(z) - t) * slope_of_sigmoid(z) / len(t))),
        ("slope missing", "σ is missing at the output: the logits themselves are compared with the targets", wrong(dz=lambda z, t: (z - t) / len(t))),
        ("sign", "t − p stands where p − t belongs: all gradients point up", wrong(dz=lambda z, t: (t - sigmoid(z)) / len(t))),
        ("dropped term", "t is missing at the output", wrong(dz=lambda z, t: sigmoid(z) / len(t))),
        ("wrong layer", "dL/dW2 is made of z1, what went into σ, not of what came out", wrong(dW2=lambda x, a1, z1, dz2: z1.T @ dz2)),
        ("wrong layer", "dL/dW1 is made of a1, where its own input x belongs", wrong(dW1=lambda x, a1, dz1, dz2: a1.T @ dz1)),
        ("wrong layer", "dL/dW2 is made of x, where its own input a1 belongs", wrong(dW2=lambda x, a1, z1, dz2: x.T @ dz2)),
        ("wrong layer", "dL/dW1 is made of the output's delta, where the hidden layer's belongs", wrong(dW1=lambda x, a1, dz1, dz2: x.T @ dz2 * np.ones(dz1.shape[1]))),
        ("wrong layer", "dL/db1 is made of the output's delta, where the hidden layer's belongs", wrong(db1=lambda dz1, dz2: dz2.sum() * np.ones((1, dz1.shape[1])))),
        ("wrong layer", "dL/db2 is made of the hidden layer's delta, where the output's belongs", wrong(db2=lambda dz1, dz2: np.full((1, 1), dz1.sum()))),
        ("dropped term", "W2 is missing on the way back to the hidden layer", wrong(da=lambda dz2, W2: dz2 * np.ones(len(W2)))),
        ("transposed", "W2 meets the wrong units: it is not transposed as it should be", wrong(da=lambda dz2, W2: dz2 @ W2)),
        ("dropped term", "b1 is missing on the way forward", wrong(with_b1=0.0)),
        ("dropped term", "b2 is missing on the way forward", wrong(with_b2=0.0)),
        ("dropped term", "only the first sample is in dL/db1", wrong(db1=lambda dz1, dz2: dz1[:1])),
        ("dropped term", "only the last sample is in dL/db1", wrong(db1=lambda dz1, dz2: dz1[-1:])),
        ("dropped term", "only the first sample is in dL/db2", wrong(db2=lambda dz1, dz2: dz2[:1])),
        ("dropped term", "only the last sample is in dL/db2", wrong(db2=lambda dz1, dz2: dz2[-1:])),
        ("dropped term", "both biases are missing on the way forward", wrong(with_b1=0.0, with_b2=0.0)),
        ("slope missing", "σ is missing on the way forward", wrong(hidden=lambda z: z)),
        ("transposed", "dL/dW1 is right once transposed", wrong(dW1=lambda x, a1, dz1, dz2: dz1.T @ x)),
        ("transposed", "dL/dW2 is right once transposed", wrong(dW2=lambda x, a1, z1, dz2: dz2.T @ a1)),
        ("wrong axis", "dL/db1 is summed over the hidden units, not over the samples", wrong(db1=lambda dz1, dz2: dz1.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/db1 is summed over samples and units", wrong(db1=lambda dz1, dz2: np.full((1, dz1.shape[1]), dz1.sum()))),
        ("mean twice", "the mean over the samples is taken once more in dL/db1", wrong(db1=lambda dz1, dz2: dz1.mean(axis=0, keepdims=True))),
        ("mean twice", "the mean over the samples is taken once more in dL/db2", wrong(db2=lambda dz1, dz2: dz2.mean(axis=0, keepdims=True))),
        ("mean twice", "the mean over the samples is taken once more in dL/dW1", wrong(dW1=lambda x, a1, dz1, dz2: x.T @ dz1 / len(x))),
        ("mean twice", "the mean over the samples is taken once more in dL/dW2", wrong(dW2=lambda x, a1, z1, dz2: a1.T @ dz2 / len(x))),
    ]  # fmt: skip
    for n, d, h in ((SAMPLES, 3, 4), (4, 4, 4)):
        arguments = draw(n, d, h)
        held = {f"d{name}": rng.standard_normal(arguments[name].shape) for name in ("W1", "b1", "W2", "b2")}
        yield Trial("backward", [arguments | held], tuple(held), True, n, back)
