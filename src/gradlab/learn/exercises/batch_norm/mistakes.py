"""Batch normalisation: over which axis, what stands below the line, which ways back are forgotten."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradlab.check.judge import SAMPLES, Answer, Trial, Wrong


def trials(rng: np.random.Generator) -> Iterator[Trial]:
    def parts(x: np.ndarray, epsilon: float, axis: int = 0, ddof: int = 0) -> tuple[np.ndarray, np.ndarray]:
        scale = np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + epsilon)
        return (x - x.mean(axis=axis, keepdims=True)) / scale, scale

    def normed(**options: Any) -> Answer:
        return lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon, **options)[0] + beta

    wrongs: list[Wrong] = [
        ("wrong axis", "mean and variance are taken over the features, not over the samples", normed(axis=1)),
        ("factor", "the variance is divided by n − 1; here it is n", normed(ddof=1)),
        ("dropped term", "beta is missing", lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon)[0]),
        ("dropped term", "gamma is missing", lambda x, gamma, beta, epsilon: parts(x, epsilon)[0] + beta),
        ("dropped term", "gamma and beta are missing", lambda x, gamma, beta, epsilon: parts(x, epsilon)[0]),
        ("dropped term", "the mean is not subtracted", lambda x, gamma, beta, epsilon: gamma * x / parts(x, epsilon)[1] + beta),
        ("dropped term", "it is not divided by the standard deviation", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) + beta),
        ("dropped term", "epsilon is missing", lambda x, gamma, beta, epsilon: gamma * parts(x, 0.0)[0] + beta),
        ("dropped term", "the root is missing: it is divided by the variance", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) / (x.var(axis=0) + epsilon) + beta),
        ("epsilon inside the root", "epsilon is added to the root, not to the variance below it", lambda x, gamma, beta, epsilon: gamma * (x - x.mean(axis=0)) / (x.std(axis=0) + epsilon) + beta),
        ("sign", "beta is subtracted", lambda x, gamma, beta, epsilon: gamma * parts(x, epsilon)[0] - beta),
        ("wrong layer", "gamma and beta are exchanged", lambda x, gamma, beta, epsilon: beta * parts(x, epsilon)[0] + gamma),
        ("wrong axis", "one mean and one variance are taken of all numbers", lambda x, gamma, beta, epsilon: gamma * (x - x.mean()) / np.sqrt(x.var() + epsilon) + beta),
    ]  # fmt: skip

    def wrong(dx: Answer | None = None, dgamma: Answer | None = None, dbeta: Answer | None = None) -> Answer:
        def backward(dy: Any, x: Any, gamma: Any, epsilon: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            x_hat, s = parts(x, epsilon)
            g = gamma * dy
            right = (g - g.mean(axis=0) - x_hat * (g * x_hat).mean(axis=0)) / s
            return (
                right if dx is None else dx(g, x_hat, s, dy),
                (dy * x_hat).sum(axis=0, keepdims=True) if dgamma is None else dgamma(dy, x_hat, x, s),
                dy.sum(axis=0, keepdims=True) if dbeta is None else dbeta(dy),
            )

        return backward

    def through(x_hat: np.ndarray, g: np.ndarray) -> Any:
        return x_hat * (g * x_hat).mean(axis=0)

    def wrong_with_gamma(dy: Any, x: Any, gamma: Any, epsilon: Any) -> tuple[np.ndarray, ...]:
        dx, dgamma, dbeta = wrong()(dy, x, gamma, epsilon)
        return dx, dgamma, gamma * dbeta

    back: list[Wrong] = [
        ("dropped term", "mean and variance are taken as constants; both depend on every sample", wrong(lambda g, x, s, dy: g / s)),
        ("dropped term", "the way through the variance is missing", wrong(lambda g, x, s, dy: (g - g.mean(axis=0)) / s)),
        ("dropped term", "the way through the mean is missing", wrong(lambda g, x, s, dy: (g - through(x, g)) / s)),
        ("dropped term", "gamma is missing", wrong(lambda g, x, s, dy: (dy - dy.mean(axis=0) - through(x, dy)) / s)),
        ("dropped term", "it is not divided by the standard deviation", wrong(lambda g, x, s, dy: g - g.mean(axis=0) - through(x, g))),
        ("dropped term", "it is divided by the variance: a root is missing", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - through(x, g)) / s**2)),
        ("dropped term", "a standard deviation is missing where the variance is differentiated", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - s * through(x, g)) / s)),
        ("dropped term", "there is a standard deviation too many where the variance is differentiated", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - through(x, g) / s) / s)),
        ("sign", "the way through the variance has the wrong sign", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) + through(x, g)) / s)),
        ("sign", "the way through the mean has the wrong sign", wrong(lambda g, x, s, dy: (g + g.mean(axis=0) - through(x, g)) / s)),
        ("sign", "the ways through mean and variance have the wrong sign", wrong(lambda g, x, s, dy: (g + g.mean(axis=0) + through(x, g)) / s)),
        ("mean missing", "the ways through mean and variance are summed over the samples; both statistics are means", wrong(lambda g, x, s, dy: (g - g.sum(axis=0) - x * (g * x).sum(axis=0)) / s)),
        ("mean missing", "the way through the mean is summed over the samples; it is a mean", wrong(lambda g, x, s, dy: (g - g.sum(axis=0) - through(x, g)) / s)),
        ("mean missing", "the way through the variance is summed over the samples; it is a mean", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - x * (g * x).sum(axis=0)) / s)),
        ("factor", "the way through the variance counts twice", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - 2.0 * through(x, g)) / s)),
        ("factor", "the way through the variance counts by half", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - 0.5 * through(x, g)) / s)),
        ("wrong axis", "means are taken over the features, not over the samples", wrong(lambda g, x, s, dy: (g - g.mean(axis=1, keepdims=True) - x * (g * x).mean(axis=1, keepdims=True)) / s)),
        ("dropped term", "x̂ is missing behind its mean", wrong(lambda g, x, s, dy: (g - g.mean(axis=0) - (g * x).mean(axis=0)) / s)),
        ("slope missing", "it is dy itself", wrong(lambda g, x, s, dy: dy)),
        ("wrong layer", "gamma is in dL/dbeta, where it has no place: beta is added after it", wrong_with_gamma),
        ("dropped term", "epsilon is missing", lambda dy, x, gamma, epsilon: wrong()(dy, x, gamma, 0.0)),
        ("dropped term", "it is gamma·dy: how x̂ depends on x is missing", wrong(lambda g, x, s, dy: g)),
        ("wrong layer", "dL/dgamma is made of x, where the normalised x̂ belongs", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x).sum(axis=0, keepdims=True))),
        ("dropped term", "dL/dgamma is made of x − mean: it is not divided by the standard deviation", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x_hat * s).sum(axis=0, keepdims=True))),
        ("dropped term", "x̂ is missing in dL/dgamma", wrong(dgamma=lambda dy, x_hat, x, s: dy.sum(axis=0, keepdims=True))),
        ("wrong axis", "dL/dgamma is summed over the features, not over the samples", wrong(dgamma=lambda dy, x_hat, x, s: (dy * x_hat).sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/dbeta is summed over the features, not over the samples", wrong(dbeta=lambda dy: dy.sum(axis=1)[np.newaxis])),
        ("wrong axis", "dL/dgamma is summed over samples and features", wrong(dgamma=lambda dy, x_hat, x, s: np.full((1, dy.shape[1]), (dy * x_hat).sum()))),
        ("wrong axis", "dL/dbeta is summed over samples and features", wrong(dbeta=lambda dy: np.full((1, dy.shape[1]), dy.sum()))),
    ]  # fmt: skip
    for n, d in ((SAMPLES, 4), (4, 4)):
        x, dy = 1.5 * rng.standard_normal((n, d)) + 1.0, rng.standard_normal((n, d))
        gamma, beta, epsilon = rng.uniform(0.5, 2.0, (1, d)), rng.standard_normal((1, d)), 0.05
        forward = {"x": x, "gamma": gamma, "beta": beta, "epsilon": epsilon}
        yield Trial("batch_norm", [forward], ("y",), samples=n, wrongs=wrongs)
        backward = {"dy": dy, "x": x, "gamma": gamma, "epsilon": epsilon}
        yield Trial("batch_norm_backward", [backward], ("dx", "dgamma", "dbeta"), samples=n, wrongs=back)
