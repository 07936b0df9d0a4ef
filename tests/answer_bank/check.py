"""Layers, activations, losses and optimizers as users write them, right and wrong."""

import math

import numpy as np

from answer_bank import right_class, wrong_class
from gradlab.nn import Activation, Layer, Loss


def sigma(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


# layers


class OwnLayer(Layer):
    def initialize(self, rng):
        for name, shape in self.parameter_shapes().items():
            getattr(self, name)[...] = rng.normal(size=shape)


@right_class("layer")
class MyDense(OwnLayer):
    def __init__(self, n_in=3, n_out=4):
        self.n_in, self.n_out = n_in, n_out

    def parameter_shapes(self):
        return {"W": (self.n_in, self.n_out), "b": (1, self.n_out)}

    def forward(self, x):
        return x @ self.W + self.b

    def backward(self, dy, x, y):
        self.dW[...] = x.mT @ dy
        self.db[...] = dy.sum(axis=-2, keepdims=True)
        return dy @ self.W.mT


@right_class("layer")
class DenseByEinsum(MyDense):
    def forward(self, x):
        return np.einsum("...ij,...jk->...ik", x, self.W) + self.b

    def backward(self, dy, x, y):
        np.einsum("...ij,...ik->...jk", x, dy, out=self.dW)
        np.einsum("...ik->...k", dy, out=self.db[..., 0, :])
        return np.einsum("...ik,...jk->...ij", dy, self.W)


@right_class("layer")
class DenseBySamples(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = 0
        self.db[...] = 0
        dx = np.empty_like(x)
        for i in range(len(x)):
            self.dW += np.outer(x[i], dy[i])
            self.db += dy[i]
            dx[i] = self.W @ dy[i]
        return dx


@right_class("layer")
class ScaleShift(OwnLayer):
    def __init__(self, n=3):
        self.n_in = n

    def parameter_shapes(self):
        return {"scale": (1, self.n_in), "shift": (1, self.n_in)}

    def forward(self, x):
        return x * self.scale + self.shift

    def backward(self, dy, x, y):
        self.dscale[...] = (dy * x).sum(axis=-2, keepdims=True)
        self.dshift[...] = dy.sum(axis=-2, keepdims=True)
        return dy * self.scale


@right_class("layer")
class Gated(OwnLayer):
    """x·σ(xW)."""

    def __init__(self, n=3):
        self.n_in = n

    def parameter_shapes(self):
        return {"W": (self.n_in, self.n_in)}

    def forward(self, x):
        return x * sigma(x @ self.W)

    def backward(self, dy, x, y):
        gate = sigma(x @ self.W)
        da = dy * x * gate * (1 - gate)
        self.dW[...] = x.mT @ da
        return dy * gate + da @ self.W.mT


@right_class("layer")
class Quadratic(OwnLayer):
    """(xW)² + xV."""

    def __init__(self, n_in=3, n_out=2):
        self.n_in, self.n_out = n_in, n_out

    def parameter_shapes(self):
        return {"W": (self.n_in, self.n_out), "V": (self.n_in, self.n_out)}

    def forward(self, x):
        return (x @ self.W) ** 2 + x @ self.V

    def backward(self, dy, x, y):
        da = 2 * (x @ self.W) * dy
        self.dW[...] = x.mT @ da
        self.dV[...] = x.mT @ dy
        return da @ self.W.mT + dy @ self.V.mT


@right_class("layer")
class LayerNorm(OwnLayer):
    def __init__(self, n=4, epsilon=1e-3):
        self.n_in, self.epsilon = n, epsilon

    def parameter_shapes(self):
        return {"gamma": (1, self.n_in)}

    def normalise(self, x):
        s = np.sqrt(x.var(axis=-1, keepdims=True) + self.epsilon)
        return (x - x.mean(axis=-1, keepdims=True)) / s, s

    def forward(self, x):
        return self.normalise(x)[0] * self.gamma

    def backward(self, dy, x, y):
        normed, s = self.normalise(x)
        self.dgamma[...] = (dy * normed).sum(axis=-2, keepdims=True)
        d = dy * self.gamma
        means = d.mean(axis=-1, keepdims=True) + normed * (d * normed).mean(axis=-1, keepdims=True)
        return (d - means) / s


@right_class("layer")
class FixedMap(OwnLayer):
    matrix = np.array([[1.0, -2.0], [0.5, 0.0], [3.0, 1.0]])
    n_in, n_out = matrix.shape

    def forward(self, x):
        return x @ self.matrix

    def backward(self, dy, x, y):
        return dy @ self.matrix.T


@right_class("layer")
class TanhDense(MyDense):
    def forward(self, x):
        return np.tanh(x @ self.W + self.b)

    def backward(self, dy, x, y):
        return super().backward(dy * (1 - y**2), x, y)


@wrong_class("layer", "transposed")
class DenseWeightGradientTransposed(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = dy.T @ x
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "transposed")
class DenseWeightGradientForcedIntoShape(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = (dy.T @ x).reshape(self.dW.shape)
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "transposed")
class SquareWeightGradientTransposed(MyDense):
    def __init__(self):
        super().__init__(3, 3)

    def backward(self, dy, x, y):
        self.dW[...] = dy.T @ x
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "transposed")
class SquareWeightsNotTransposed(MyDense):
    def __init__(self):
        super().__init__(3, 3)

    def backward(self, dy, x, y):
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W


@wrong_class("layer", "transposed")
class DenseInputGradientTransposed(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return self.W @ dy.T


@wrong_class("layer", "wrong axis")
class DenseBiasSummedOverEverything(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum()
        return dy @ self.W.T


@wrong_class("layer", "wrong axis")
class DenseBiasSummedOverFeatures(MyDense):
    def backward(self, dy, x, y):
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum(axis=1)
        return dy @ self.W.T


@wrong_class("layer", "added")
class DenseAdding(MyDense):
    def backward(self, dy, x, y):
        self.dW += x.T @ dy
        self.db += dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "added")
class DenseAddingSamples(MyDense):
    def backward(self, dy, x, y):
        for sample, delta in zip(x, dy):
            self.dW += np.outer(sample, delta)
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "dropped term")
class GatedWithoutGate(Gated):
    def backward(self, dy, x, y):
        gate = sigma(x @ self.W)
        da = dy * x * gate * (1 - gate)
        self.dW[...] = x.T @ da
        return da @ self.W.T


@wrong_class("layer", "dropped term")
class GatedWithGateAsConstant(Gated):
    def backward(self, dy, x, y):
        gate = sigma(x @ self.W)
        self.dW[...] = x.T @ (dy * x * gate * (1 - gate))
        return dy * gate


@wrong_class("layer", "dropped term")
class QuadraticWithoutLinearPath(Quadratic):
    def backward(self, dy, x, y):
        da = 2 * (x @ self.W) * dy
        self.dW[...] = x.T @ da
        self.dV[...] = x.T @ dy
        return da @ self.W.T


@wrong_class("layer", "dropped term")
class LayerNormStatisticsAsConstants(LayerNorm):
    def backward(self, dy, x, y):
        normed, s = self.normalise(x)
        self.dgamma[...] = (dy * normed).sum(axis=0, keepdims=True)
        return dy * self.gamma / s


@wrong_class("layer", "dropped term")
class LayerNormVarianceAsConstant(LayerNorm):
    def backward(self, dy, x, y):
        normed, s = self.normalise(x)
        self.dgamma[...] = (dy * normed).sum(axis=0, keepdims=True)
        d = dy * self.gamma
        return (d - d.mean(axis=1, keepdims=True)) / s


@wrong_class("layer", "wrong axis")
class LayerNormMeansOverSamples(LayerNorm):
    def backward(self, dy, x, y):
        normed, s = self.normalise(x)
        self.dgamma[...] = (dy * normed).sum(axis=0, keepdims=True)
        d = dy * self.gamma
        return (d - d.mean(axis=0) - normed * (d * normed).mean(axis=0)) / s


@wrong_class("layer", "changes input")
class GatedIntoDelta(Gated):
    def backward(self, dy, x, y):
        gate = sigma(x @ self.W)
        direct = dy * gate
        dy *= x * gate * (1 - gate)
        self.dW[...] = x.T @ dy
        return direct + dy @ self.W.T


@wrong_class("layer", "changes input")
class LayerNormCentringInPlace(LayerNorm):
    def forward(self, x):
        x -= x.mean(axis=-1, keepdims=True)
        return self.gamma * x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.epsilon)


@wrong_class("layer", "wrong layer")
class DenseWithOutputForInput(MyDense):
    def __init__(self):
        super().__init__(3, 3)

    def backward(self, dy, x, y):
        self.dW[...] = y.T @ dy
        self.db[...] = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


@wrong_class("layer", "wrong layer")
class ScaleWithOutputForInput(ScaleShift):
    def backward(self, dy, x, y):
        self.dscale[...] = (dy * y).sum(axis=0)
        self.dshift[...] = dy.sum(axis=0)
        return dy * self.scale


@wrong_class("layer", "dtype")
class DenseInSinglePrecision(MyDense):
    def backward(self, dy, x, y):
        x, dy = x.astype(np.float32), dy.astype(np.float32)
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum(axis=0)
        return dy @ self.W.T


@wrong_class("layer", "dtype")
class GatedIntoIntegers(Gated):
    def backward(self, dy, x, y):
        gate = sigma(x @ self.W)
        da = np.zeros(x.shape, dtype=int)
        da[...] = dy * x * gate * (1 - gate)
        self.dW[...] = x.T @ da
        return dy * gate + da @ self.W.T


@wrong_class("layer", "sign")
class ScaleShiftSubtracted(ScaleShift):
    def forward(self, x):
        return x * self.scale - self.shift


@wrong_class("layer", "sign")
class DenseInputGradientNegated(MyDense):
    def backward(self, dy, x, y):
        return -super().backward(dy, x, y)


@wrong_class("layer", "mean twice")
class DenseDividedByN(MyDense):
    def backward(self, dy, x, y):
        n = len(x)
        self.dW[...] = x.T @ dy / n
        self.db[...] = dy.mean(axis=0)
        return dy @ self.W.T


@wrong_class("layer", "factor")
class QuadraticWithoutTwo(Quadratic):
    def backward(self, dy, x, y):
        da = (x @ self.W) * dy
        self.dW[...] = x.T @ da
        self.dV[...] = x.T @ dy
        return da @ self.W.T + dy @ self.V.T


@wrong_class("layer", "slope missing")
class TanhDenseWithoutSlope(TanhDense):
    def backward(self, dy, x, y):
        self.dW[...] = x.T @ dy
        self.db[...] = dy.sum(axis=0)
        return dy @ self.W.T


@wrong_class("layer", "slope missing")
class GatedWithoutSlope(Gated):
    def backward(self, dy, x, y):
        da = dy * x
        self.dW[...] = x.T @ da
        return dy * sigma(x @ self.W) + da @ self.W.T


@wrong_class("layer", "slope at the output")
class TanhDenseTwice(TanhDense):
    def backward(self, dy, x, y):
        da = dy * (1 - np.tanh(y) ** 2)
        self.dW[...] = x.T @ da
        self.db[...] = da.sum(axis=0)
        return da @ self.W.T


@wrong_class("layer", "slope at the input")
class TanhDenseWithSums(TanhDense):
    def backward(self, dy, x, y):
        a = x @ self.W + self.b
        da = dy * (1 - a**2)
        self.dW[...] = x.T @ da
        self.db[...] = da.sum(axis=0)
        return da @ self.W.T


@wrong_class("layer", "not in place")
class DenseRebinding(MyDense):
    def backward(self, dy, x, y):
        self.dW = x.T @ dy
        self.db = dy.sum(axis=0, keepdims=True)
        return dy @ self.W.T


# activations


@right_class("activation")
class Cube(Activation):
    def forward(self, x):
        return x**3

    def backward(self, dy, x, y):
        return 3 * x**2 * dy


@right_class("activation")
class Swish(Activation):
    def forward(self, x):
        return x * sigma(x)

    def backward(self, dy, x, y):
        s = sigma(x)
        return dy * (s + x * s * (1 - s))


@right_class("activation")
class SoftRamp(Activation):
    def forward(self, x):
        return np.logaddexp(0, x)

    def backward(self, dy, x, y):
        return dy * (1 - np.exp(-y))


@right_class("activation")
class Sine(Activation):
    def forward(self, x):
        return np.sin(x)

    def backward(self, dy, x, y):
        return dy * np.cos(x)


@right_class("activation")
class Arctan(Activation):
    def forward(self, x):
        return np.arctan(x)

    def backward(self, dy, x, y):
        return dy / (1 + x * x)


@right_class("activation")
class HandSigmoid(Activation):
    def forward(self, x):
        return 0.5 + 0.5 * np.tanh(x / 2)

    def backward(self, dy, x, y):
        return dy * (y - y * y)


@right_class("activation")
class HandTanh(Layer):
    def forward(self, x):
        return 2 * sigma(2 * x) - 1

    def backward(self, dy, x, y):
        return (1 - y) * (1 + y) * dy


@right_class("activation")
class Bell(Activation):
    """e^(−x²)."""

    def forward(self, x):
        return np.exp(-(x**2))

    def backward(self, dy, x, y):
        return np.array([[-2 * a * b * d for a, b, d in zip(*rows)] for rows in zip(x, y, dy)])


@right_class("activation")
class Leaky(Activation):
    def forward(self, x):
        return np.where(x > 0, x, 0.1 * x)

    def derivative(self, x, y):
        return np.where(x > 0, 1.0, 0.1)


@wrong_class("activation", "slope missing")
class CubeWithoutSlope(Cube):
    def backward(self, dy, x, y):
        return dy.copy()


@wrong_class("activation", "slope missing")
class SigmoidWithoutSlope(HandSigmoid):
    def derivative(self, x, y):
        return np.ones_like(x)

    def backward(self, dy, x, y):
        return dy * self.derivative(x, y)


@wrong_class("activation", "delta missing")
class CubeWithoutDelta(Cube):
    def backward(self, dy, x, y):
        return 3 * x**2


@wrong_class("activation", "delta missing")
class SigmoidWithoutDelta(HandSigmoid):
    def backward(self, dy, x, y):
        return y * (1 - y)


@wrong_class("activation", "slope at the output")
class CubeOfCube(Cube):
    def backward(self, dy, x, y):
        return dy * 3 * y**2


@wrong_class("activation", "slope at the output")
class SigmoidOfSigmoid(HandSigmoid):
    def backward(self, dy, x, y):
        s = sigma(y)
        return dy * s * (1 - s)


@wrong_class("activation", "slope at the output")
class ArctanOfArctan(Arctan):
    def backward(self, dy, x, y):
        return dy / (1 + y**2)


@wrong_class("activation", "slope at the output")
class SoftRampOfSoftRamp(SoftRamp):
    def backward(self, dy, x, y):
        return dy * sigma(y)


@wrong_class("activation", "slope at the input")
class SigmoidWithInput(HandSigmoid):
    def backward(self, dy, x, y):
        return dy * x * (1 - x)


@wrong_class("activation", "slope at the input")
class TanhWithInput(HandTanh):
    def backward(self, dy, x, y):
        return dy * (1 - x**2)


@wrong_class("activation", "slope at the input")
class SoftRampWithInput(SoftRamp):
    def backward(self, dy, x, y):
        return dy * (1 - np.exp(-x))


@wrong_class("activation", "sign")
class SineNegated(Sine):
    def backward(self, dy, x, y):
        return -dy * np.cos(x)


@wrong_class("activation", "sign")
class BellWithoutMinus(Bell):
    def backward(self, dy, x, y):
        return 2 * x * y * dy


@wrong_class("activation", "factor")
class CubeWithoutThree(Cube):
    def backward(self, dy, x, y):
        return x**2 * dy


@wrong_class("activation", "factor")
class TanhHalved(HandTanh):
    def backward(self, dy, x, y):
        return 0.5 * (1 - y**2) * dy


@wrong_class("activation", "dropped term")
class SwishWithSigmoidAsConstant(Swish):
    def backward(self, dy, x, y):
        return dy * sigma(x)


@wrong_class("activation", "dropped term")
class SwishWithoutSigmoid(Swish):
    def backward(self, dy, x, y):
        s = sigma(x)
        return dy * x * s * (1 - s)


@wrong_class("activation", "mean twice")
class SineDividedByN(Sine):
    def backward(self, dy, x, y):
        return dy * np.cos(x) / len(dy)


@wrong_class("activation", "changes input")
class CubeIntoDelta(Cube):
    def backward(self, dy, x, y):
        dy *= 3 * x**2
        return dy


@wrong_class("activation", "changes input")
class SigmoidIntoInput(HandSigmoid):
    def forward(self, x):
        np.negative(x, out=x)
        np.exp(x, out=x)
        return 1 / (1 + x)


@wrong_class("activation", "dtype")
class SineInSinglePrecision(Sine):
    def backward(self, dy, x, y):
        return (dy * np.cos(x)).astype(np.float32)


# losses


class OwnLoss(Loss):
    """A loss that is written as a value and a gradient, without the halves that the base has for them."""

    def shares(self, z, weights):
        """Return how much of the mean each sample is, (n, 1)."""
        n = z.shape[-2]
        if weights is None:
            return np.full((n, 1), 1 / n)
        w = np.reshape(weights, (n, 1))
        return w / w.sum()


@right_class("loss")
class Hinge(OwnLoss):
    def value(self, logits, targets, weights=None):
        margins = 1 - (2 * targets - 1) * logits
        return np.sum(self.shares(logits, weights) * np.maximum(margins, 0))

    def gradient(self, logits, targets, weights=None):
        side = 2 * targets - 1
        return -side * (side * logits < 1) * self.shares(logits, weights)


@right_class("loss")
class Huber(OwnLoss):
    def value(self, logits, targets, weights=None):
        e = np.abs(logits - targets)
        return np.sum(self.shares(logits, weights) * np.where(e < 1, e**2 / 2, e - 0.5))

    def gradient(self, logits, targets, weights=None):
        return np.clip(logits - targets, -1, 1) * self.shares(logits, weights)


@right_class("loss")
class Quartic(OwnLoss):
    def value(self, logits, targets, weights=None):
        return np.sum(self.shares(logits, weights) * (logits - targets) ** 4)

    def gradient(self, logits, targets, weights=None):
        return 4 * (logits - targets) ** 3 * self.shares(logits, weights)


@right_class("loss")
class CrossEntropy(OwnLoss):
    def value(self, logits, targets, weights=None):
        return np.sum(self.shares(logits, weights) * (np.logaddexp(0, logits) - targets * logits))

    def gradient(self, logits, targets, weights=None):
        return (sigma(logits) - targets) * self.shares(logits, weights)


@right_class("loss")
class LogCosh(OwnLoss):
    def value(self, logits, targets, weights=None):
        e = logits - targets
        return np.sum((np.logaddexp(e, -e) - math.log(2)) * self.shares(logits, weights))

    def gradient(self, logits, targets, weights=None):
        return np.tanh(logits - targets) * self.shares(logits, weights)


@right_class("loss")
class SquaredSigmoid(OwnLoss):
    def value(self, logits, targets, weights=None):
        return 0.5 * np.sum(self.shares(logits, weights) * (sigma(logits) - targets) ** 2)

    def gradient(self, logits, targets, weights=None):
        a = sigma(logits)
        return (a - targets) * a * (1 - a) * self.shares(logits, weights)


@wrong_class("loss", "mean missing")
class QuarticGradientSummed(Quartic):
    def gradient(self, logits, targets, weights=None):
        return 4 * (logits - targets) ** 3


@wrong_class("loss", "mean missing")
class CrossEntropySummed(CrossEntropy):
    def value(self, logits, targets, weights=None):
        return np.sum(np.logaddexp(0, logits) - targets * logits)

    def gradient(self, logits, targets, weights=None):
        return sigma(logits) - targets


@wrong_class("loss", "mean twice")
class CrossEntropyDividedTwice(CrossEntropy):
    def gradient(self, logits, targets, weights=None):
        return super().gradient(logits, targets, weights) / len(logits)


@wrong_class("loss", "wrong axis")
class HuberMeanOverEverything(Huber):
    def gradient(self, logits, targets, weights=None):
        return np.clip(logits - targets, -1, 1) / logits.shape[1]


@wrong_class("loss", "sign")
class CrossEntropyTargetMinusOutput(CrossEntropy):
    def gradient(self, logits, targets, weights=None):
        return (targets - sigma(logits)) / len(logits)


@wrong_class("loss", "sign")
class HingeWithoutMinus(Hinge):
    def gradient(self, logits, targets, weights=None):
        side = 2 * targets - 1
        return side * (side * logits < 1) * self.shares(logits, weights)


@wrong_class("loss", "factor")
class QuarticWithoutFour(Quartic):
    def gradient(self, logits, targets, weights=None):
        return (logits - targets) ** 3 / len(logits)


@wrong_class("loss", "factor")
class SquaredSigmoidWithTwo(SquaredSigmoid):
    def gradient(self, logits, targets, weights=None):
        a = sigma(logits)
        return 2 * (a - targets) * a * (1 - a) / len(logits)


@wrong_class("loss", "slope missing")
class SquaredSigmoidWithoutSlope(SquaredSigmoid):
    def gradient(self, logits, targets, weights=None):
        return (sigma(logits) - targets) / len(logits)


@wrong_class("loss", "slope missing")
class CrossEntropyByProbability(CrossEntropy):
    def gradient(self, logits, targets, weights=None):
        p = sigma(logits)
        return ((1 - targets) / (1 - p) - targets / p) / len(logits)


@wrong_class("loss", "slope at the output")
class SquaredSigmoidTwice(SquaredSigmoid):
    def gradient(self, logits, targets, weights=None):
        a = sigma(logits)
        s = sigma(a)
        return (a - targets) * s * (1 - s) / len(logits)


@wrong_class("loss", "slope at the input")
class SquaredSigmoidWithLogits(SquaredSigmoid):
    def gradient(self, logits, targets, weights=None):
        return (sigma(logits) - targets) * logits * (1 - logits) / len(logits)


@wrong_class("loss", "dropped term")
class CrossEntropyOfYesOnly(CrossEntropy):
    def gradient(self, logits, targets, weights=None):
        return -targets * sigma(-logits) / len(logits)


@wrong_class("loss", "dropped term")
class CrossEntropyWithoutTargets(CrossEntropy):
    def gradient(self, logits, targets, weights=None):
        return sigma(logits) * self.shares(logits, weights)


@wrong_class("loss", "changes input")
class QuarticIntoTargets(Quartic):
    def gradient(self, logits, targets, weights=None):
        np.subtract(logits, targets, out=targets)
        return 4 * targets**3 / len(logits)


@wrong_class("loss", "changes input")
class LogCoshIntoLogits(LogCosh):
    def value(self, logits, targets, weights=None):
        logits -= targets
        return np.sum(np.logaddexp(logits, -logits) - math.log(2)) / len(logits)


@wrong_class("loss", "dtype")
class QuarticInSinglePrecision(Quartic):
    def gradient(self, logits, targets, weights=None):
        e = (logits - targets).astype(np.float32)
        return 4 * e**3 / len(e)


@wrong_class("loss", "stability")
class CrossEntropyByTheBook(CrossEntropy):
    def value(self, logits, targets, weights=None):
        p = 1 / (1 + np.exp(-logits))
        return -np.sum(self.shares(logits, weights) * (targets * np.log(p) + (1 - targets) * np.log(1 - p)))


# optimizers


@right_class("optimizer")
class Descent:
    def __init__(self, learning_rate=0.1):
        self.learning_rate = learning_rate

    def step(self, params, grads):
        params -= self.learning_rate * grads


@right_class("optimizer")
class DescentByLoop(Descent):
    def step(self, params, grads):
        for i in range(params.size):
            params.flat[i] = params.flat[i] - self.learning_rate * grads.flat[i]


@right_class("optimizer")
class Momentum:
    def __init__(self, learning_rate=0.1, momentum=0.8):
        self.learning_rate, self.momentum = learning_rate, momentum
        self.velocity = 0.0

    def step(self, params, grads):
        self.velocity = self.momentum * self.velocity + grads
        params[...] = params - self.learning_rate * self.velocity


@right_class("optimizer")
class Nesterov(Momentum):
    def step(self, params, grads):
        self.velocity = self.momentum * self.velocity + grads
        params -= self.learning_rate * (grads + self.momentum * self.velocity)


@right_class("optimizer")
class RootMeanSquare:
    def __init__(self, learning_rate=0.01, decay=0.9, epsilon=1e-3):
        self.learning_rate, self.decay, self.epsilon = learning_rate, decay, epsilon
        self.average = 0.0

    def step(self, params, grads):
        self.average = self.decay * self.average + (1 - self.decay) * grads**2
        params -= self.learning_rate * grads / (np.sqrt(self.average) + self.epsilon)


@right_class("optimizer")
class HandAdam:
    def __init__(self, learning_rate=0.01, beta1=0.9, beta2=0.99, epsilon=1e-3):
        self.learning_rate, self.beta1, self.beta2, self.epsilon = learning_rate, beta1, beta2, epsilon
        self.m = self.v = 0.0
        self.t = 0

    def averages(self, grads):
        self.t += 1
        self.m = self.beta1 * self.m + (1 - self.beta1) * grads
        self.v = self.beta2 * self.v + (1 - self.beta2) * grads**2
        return self.m / (1 - self.beta1**self.t), self.v / (1 - self.beta2**self.t)

    def step(self, params, grads):
        m, v = self.averages(grads)
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@right_class("optimizer")
class AdamWithCorrectedRate(HandAdam):
    def step(self, params, grads):
        self.averages(grads)
        root = math.sqrt(1 - self.beta2**self.t)
        rate = self.learning_rate * root / (1 - self.beta1**self.t)
        np.subtract(params, rate * self.m / (np.sqrt(self.v) + root * self.epsilon), out=params)


@right_class("optimizer")
class HandAdamW(HandAdam):
    def __init__(self, learning_rate=0.01, beta1=0.9, beta2=0.99, epsilon=1e-3, weight_decay=0.1):
        super().__init__(learning_rate, beta1, beta2, epsilon)
        self.weight_decay = weight_decay

    def step(self, params, grads):
        m, v = self.averages(grads)
        params *= 1 - self.learning_rate * self.weight_decay
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "sign")
class Ascent(Descent):
    def step(self, params, grads):
        params += self.learning_rate * grads


@wrong_class("optimizer", "factor")
class DescentHalved(Descent):
    def step(self, params, grads):
        params -= 0.5 * self.learning_rate * grads


@wrong_class("optimizer", "not in place")
class DescentRebinding(Descent):
    def step(self, params, grads):
        params = params - self.learning_rate * grads
        return params


@wrong_class("optimizer", "changes input")
class DescentScalingGradients(Descent):
    def step(self, params, grads):
        grads *= self.learning_rate
        params -= grads


@wrong_class("optimizer", "mean twice")
class DescentDividing(Descent):
    def step(self, params, grads):
        params -= self.learning_rate * grads / len(grads)


@wrong_class("optimizer", "dtype")
class DescentInSinglePrecision(Descent):
    def step(self, params, grads):
        params[...] = (params - self.learning_rate * grads).astype(np.float32)


@wrong_class("optimizer", "dropped term")
class MomentumForgotten(Momentum):
    def step(self, params, grads):
        self.velocity = grads
        params -= self.learning_rate * self.velocity


@wrong_class("optimizer", "sign")
class MomentumSubtracted(Momentum):
    def step(self, params, grads):
        self.velocity = grads - self.momentum * self.velocity
        params -= self.learning_rate * self.velocity


@wrong_class("optimizer", "factor")
class MomentumDamped(Momentum):
    def step(self, params, grads):
        self.velocity = self.momentum * self.velocity + (1 - self.momentum) * grads
        params -= self.learning_rate * self.velocity


@wrong_class("optimizer", "not in place")
class MomentumRebinding(Momentum):
    def step(self, params, grads):
        self.velocity = self.momentum * self.velocity + grads
        params = params - self.learning_rate * self.velocity


@wrong_class("optimizer", "changes input")
class MomentumIntoGradients(Momentum):
    def step(self, params, grads):
        grads += self.momentum * self.velocity
        self.velocity = grads.copy()
        params -= self.learning_rate * grads


@wrong_class("optimizer", "dropped term")
class NesterovWithoutGradient(Nesterov):
    def step(self, params, grads):
        self.velocity = self.momentum * self.velocity + grads
        params -= self.learning_rate * self.momentum * self.velocity


@wrong_class("optimizer", "epsilon inside the root")
class RootMeanSquareEpsilonInside(RootMeanSquare):
    def step(self, params, grads):
        self.average = self.decay * self.average + (1 - self.decay) * grads**2
        params -= self.learning_rate * grads / np.sqrt(self.average + self.epsilon)


@wrong_class("optimizer", "dropped term")
class RootMeanSquareWithoutPast(RootMeanSquare):
    def step(self, params, grads):
        self.average = (1 - self.decay) * grads**2
        params -= self.learning_rate * grads / (np.sqrt(self.average) + self.epsilon)


@wrong_class("optimizer", "factor")
class RootMeanSquareSummed(RootMeanSquare):
    def step(self, params, grads):
        self.average = self.decay * self.average + grads**2
        params -= self.learning_rate * grads / (np.sqrt(self.average) + self.epsilon)


@wrong_class("optimizer", "bias correction")
class AdamNotCorrected(HandAdam):
    def step(self, params, grads):
        self.averages(grads)
        params -= self.learning_rate * self.m / (np.sqrt(self.v) + self.epsilon)


@wrong_class("optimizer", "bias correction")
class AdamCorrectedWithoutT(HandAdam):
    def step(self, params, grads):
        self.averages(grads)
        m, v = self.m / (1 - self.beta1), self.v / (1 - self.beta2)
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "bias correction")
class AdamWithoutCorrectedSquares(HandAdam):
    def step(self, params, grads):
        m, _ = self.averages(grads)
        params -= self.learning_rate * m / (np.sqrt(self.v) + self.epsilon)


@wrong_class("optimizer", "epsilon inside the root")
class AdamEpsilonInside(HandAdam):
    def step(self, params, grads):
        m, v = self.averages(grads)
        params -= self.learning_rate * m / np.sqrt(v + self.epsilon)


@wrong_class("optimizer", "dropped term")
class AdamWithoutMomentum(HandAdam):
    def step(self, params, grads):
        _, v = self.averages(grads)
        params -= self.learning_rate * grads / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "not in place")
class AdamRebinding(HandAdam):
    def step(self, params, grads):
        m, v = self.averages(grads)
        params = params - self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "decay coupled")
class AdamWDecayInGradient(HandAdamW):
    def step(self, params, grads):
        m, v = self.averages(grads + self.weight_decay * params)
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "decay coupled")
class AdamWDecayInStep(HandAdamW):
    def step(self, params, grads):
        m, v = self.averages(grads)
        m = m + self.weight_decay * params
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "dropped term")
class AdamWWithoutDecay(HandAdamW):
    def step(self, params, grads):
        m, v = self.averages(grads)
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "sign")
class AdamWGrowing(HandAdamW):
    def step(self, params, grads):
        m, v = self.averages(grads)
        params += self.learning_rate * self.weight_decay * params
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)


@wrong_class("optimizer", "factor")
class AdamWDecayWithoutRate(HandAdamW):
    def step(self, params, grads):
        m, v = self.averages(grads)
        params -= self.weight_decay * params
        params -= self.learning_rate * m / (np.sqrt(v) + self.epsilon)
