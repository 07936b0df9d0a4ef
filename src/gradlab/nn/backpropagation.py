"""Backpropagation: a tape of outputs going forward, a list of deltas coming back.

A network is layers in a row, each taking what the one before gives; the loss takes what the last one gives, the logits.
Going forward, the input and every output are kept, on the tape, for the way back needs them. Going back, every array on
the tape gets a delta, dL/d(that array), of the same shape. (Some books call delta only that of an activation's input.)
Here is a network of 2 inputs, 3 hidden units and 1 output:

>>> import numpy as np
>>> from gradlab.nn import BinaryCrossEntropy, Dense, Tanh
>>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> targets = np.array([[0.0], [1.0], [1.0], [0.0]])
>>> layers = [Dense(2, 3), Tanh(), Dense(3, 1)]
>>> loss = BinaryCrossEntropy()
>>> tape = forward(layers, x)
>>> deltas = backward(layers, loss.gradient(tape[-1], targets), tape)
>>> [array.shape for array in tape]  # the deltas have the same shapes
[(4, 2), (4, 3), (4, 3), (4, 1)]

Are the gradients right? Move one weight a little up and a little down, and see how the loss follows; so for every
entry of every parameter:

>>> dense = [layers[0], layers[2]]
>>> h = 1e-6
>>> for array, gradient in [(layer.W, layer.dW) for layer in dense] + [(layer.b, layer.db) for layer in dense]:
...     for i in np.ndindex(array.shape):
...         kept = array[i]
...         array[i] = kept + h
...         above = loss.value(forward(layers, x)[-1], targets)
...         array[i] = kept - h
...         below = loss.value(forward(layers, x)[-1], targets)
...         array[i] = kept
...         assert np.isclose(gradient[i], (above - below) / (2 * h))

They are. Gradient descent goes against them, with a learning rate of ½, and the network learns the exclusive or:

>>> for step in range(1000):
...     tape = forward(layers, x)
...     deltas = backward(layers, loss.gradient(tape[-1], targets), tape)
...     for layer in dense:
...         layer.W -= 0.5 * layer.dW
...         layer.b -= 0.5 * layer.db
>>> print(tape[-1].round().T)  # the logits: below 0 for "no", above for "yes"
[[-5.  5.  5. -6.]]
"""

from collections.abc import Sequence

import numpy as np

from gradlab.nn.layers import Layer


def forward(layers: Sequence[Layer], x: np.ndarray) -> list[np.ndarray]:
    """Run samples through N layers; return the tape [x0, x1, … xN], x0 being the samples and xN the logits."""
    tape = [x]
    for layer in layers:
        tape.append(layer.forward(tape[-1]))
    return tape


def backward(layers: Sequence[Layer], dlogits: np.ndarray, tape: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Carry dL/dxN back through the layers; return the deltas [dL/dx0, dL/dx1, … dL/dxN].

    Layer i computed x_(i+1) from x_i, both on the tape, and now computes dL/dx_i from dL/dx_(i+1); the gradients of its
    parameters it writes on the way.
    """
    deltas = [dlogits]
    for i in reversed(range(len(layers))):
        deltas.append(layers[i].backward(deltas[-1], tape[i], tape[i + 1]))
    return deltas[::-1]
