"""A dense layer, backward: which two arrays, which one transposed, which samples."""

from collections.abc import Iterator

import numpy as np

from gradlab.check.judge import SAMPLES, Answer, Trial, Wrong


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    def wrong(
        dx: Answer = lambda dy, x, W: dy @ W.T,
        dW: Answer = lambda dy, x, W: x.T @ dy,
        db: Answer = lambda dy, x, W: dy.sum(axis=0, keepdims=True),
    ) -> Answer:
        return lambda dy, x, W: (dx(dy, x, W), dW(dy, x, W), db(dy, x, W))

    wrongs: list[Wrong] = [
        ("transposed", "it is right with W transposed: dy and W are summed over the wrong index", wrong(dx=lambda dy, x, W: dy @ W)),
        ("transposed", "the order of dy and W is exchanged", wrong(dx=lambda dy, x, W: W @ dy)),
        ("transposed", "the order of dy and W is exchanged", wrong(dx=lambda dy, x, W: W.T @ dy)),
        ("transposed", "it is right once transposed: x and dy stand in the wrong order", wrong(dW=lambda dy, x, W: dy.T @ x)),
        ("transposed", "x is not transposed", wrong(dW=lambda dy, x, W: x @ dy)),
        ("transposed", "dy is transposed, not x", wrong(dW=lambda dy, x, W: x @ dy.T)),
        ("wrong layer", "it is made of x where dy belongs", wrong(dx=lambda dy, x, W: x @ W.T)),
        ("wrong layer", "it is made of y = xW where dy belongs", wrong(dx=lambda dy, x, W: x @ W @ W.T)),
        ("wrong layer", "it is made of y = xW where x belongs", wrong(dW=lambda dy, x, W: (x @ W).T @ dy)),
        ("wrong layer", "it is made of y = xW where dy belongs", wrong(db=lambda dy, x, W: (x @ W).sum(axis=0, keepdims=True))),
        ("wrong layer", "x and W are multiplied; dL/dW comes from x and dy", wrong(dW=lambda dy, x, W: x.T @ (x @ W))),
        ("wrong layer", "it is made of dL/dx where x belongs", wrong(dW=lambda dy, x, W: (dy @ W.T).T @ dy)),
        ("wrong layer", "it is made of dy alone", wrong(dW=lambda dy, x, W: dy.T @ dy)),
        ("wrong layer", "it is W itself", wrong(dW=lambda dy, x, W: W)),
        ("wrong axis", "dy is summed over the outputs, not over the samples", wrong(db=lambda dy, x, W: dy.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dy is summed over samples and outputs", wrong(db=lambda dy, x, W: np.full((1, dy.shape[1]), dy.sum()))),
        ("wrong axis", "dy is averaged over the outputs, not summed over the samples", wrong(db=lambda dy, x, W: dy.mean(axis=1)[np.newaxis])),
        ("dropped term", "only the first sample is in it", wrong(dW=lambda dy, x, W: x[:1].T @ dy[:1])),
        ("dropped term", "only the last sample is in it", wrong(dW=lambda dy, x, W: x[-1:].T @ dy[-1:])),
        ("dropped term", "the first sample is left out", wrong(dW=lambda dy, x, W: x[1:].T @ dy[1:])),
        ("dropped term", "the last sample is left out", wrong(dW=lambda dy, x, W: x[:-1].T @ dy[:-1])),
        ("dropped term", "only the first sample is in it", wrong(db=lambda dy, x, W: dy[:1])),
        ("dropped term", "only the last sample is in it", wrong(db=lambda dy, x, W: dy[-1:])),
        ("dropped term", "the first sample is left out", wrong(db=lambda dy, x, W: dy[1:].sum(axis=0, keepdims=True))),
        ("dropped term", "the last sample is left out", wrong(db=lambda dy, x, W: dy[:-1].sum(axis=0, keepdims=True))),
        ("dropped term", "only the last output is in it", wrong(dx=lambda dy, x, W: dy[:, -1:] @ W.T[-1:])),
        ("dropped term", "only the first output is in it", wrong(dx=lambda dy, x, W: dy[:, :1] @ W.T[:1])),
        ("wrong axis", "dy is summed before it meets x", wrong(dW=lambda dy, x, W: x.sum(axis=0)[:, np.newaxis] * dy.sum(axis=0))),
    ]  # fmt: skip
    for n, d, k in ((SAMPLES, 4, 3), (4, 4, 4)):
        arguments = {
            "dy": rng.standard_normal((n, k)),
            "x": rng.standard_normal((n, d)),
            "W": rng.standard_normal((d, k)),
        }
        yield Trial("dense_backward", [arguments], ("dx", "dW", "db"), samples=n, wrongs=wrongs)
