"""A dense layer, forward: which way round, which index is summed, where the bias goes."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import SAMPLES, Trial, Wrong
from gradlab.nn.activations import sigmoid


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    wrongs: list[Wrong] = [
        ("dropped term", "the bias is missing", lambda x, W, b: x @ W),
        (
            "transposed",
            "it is right with W transposed: the sum runs over the wrong index of W",
            lambda x, W, b: x @ W.T + b,
        ),
        ("transposed", "it is W times x: the two stand in the wrong order", lambda x, W, b: W @ x + b),
        ("transposed", "x is transposed", lambda x, W, b: x.T @ W + b),
        ("sign", "the bias is subtracted", lambda x, W, b: x @ W - b),
        ("wrong axis", "the bias is added along the samples, not to each of them", lambda x, W, b: x @ W + b.T),
        ("wrong axis", "the sum of the biases is added to each output", lambda x, W, b: x @ W + b.sum()),
        ("wrong axis", "x and W are multiplied entry by entry, not as matrices", lambda x, W, b: x * W + b),
        ("factor", "the bias is counted once for each input", lambda x, W, b: x @ W + len(W) * b),
        ("factor", "the bias is divided by the number of samples", lambda x, W, b: x @ W + b / len(x)),
        ("mean twice", "the sum over the inputs is divided by their number", lambda x, W, b: x @ W / len(W) + b),
        ("mean twice", "the sum over the inputs, not the bias, is divided by n", lambda x, W, b: x @ W / len(x) + b),
        ("sign", "the product has the wrong sign", lambda x, W, b: b - x @ W),
        (
            "transposed",
            "W is brought into shape by reshape, which reads it in another order than transposing",
            lambda x, W, b: x @ W.reshape(W.shape[::-1]).T + b,
        ),
        (
            "dropped term",
            "only the last input is in it: each one writes over the one before",
            lambda x, W, b: x[:, -1:] @ W[-1:] + b,
        ),
        ("dropped term", "only the last input is in it, and no bias", lambda x, W, b: x[:, -1:] @ W[-1:]),
        ("dropped term", "only the first input is in it", lambda x, W, b: x[:, :1] @ W[:1] + b),
        (
            "dropped term",
            "the bias is added to the first sample only",
            lambda x, W, b: x @ W + b * (np.arange(len(x)) == 0)[:, np.newaxis],
        ),
        (
            "dropped term",
            "the bias is added to the last sample only",
            lambda x, W, b: x @ W + b * (np.arange(len(x)) == len(x) - 1)[:, np.newaxis],
        ),
        ("dropped term", "the first input is left out of the sum", lambda x, W, b: x[:, 1:] @ W[1:] + b),
        ("dropped term", "the last input is left out of the sum", lambda x, W, b: x[:, :-1] @ W[:-1] + b),
        ("factor", "x + b is multiplied by W: the bias comes after", lambda x, W, b: (x + b) @ W),
        (
            "wrong layer",
            "an activation has been applied; xW + b alone is asked for",
            lambda x, W, b: sigmoid(x @ W + b),
        ),
    ]
    for n, d, k in ((SAMPLES, 4, 3), (4, 4, 4)):
        arguments = {
            "x": rng.standard_normal((n, d)),
            "W": rng.standard_normal((d, k)),
            "b": rng.standard_normal((1, k)),
        }
        yield Trial("dense", [arguments], ("y",), samples=n, wrongs=wrongs)
