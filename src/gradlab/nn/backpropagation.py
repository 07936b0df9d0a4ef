"""Backpropagation: a tape of outputs going forward, a list of deltas coming back.

A network is layers in a row, each taking what the one before gives; the loss takes what the last one gives, the logits.
Going forward, every output is kept, for the way back needs them. Here a network of 2 inputs, 3 hidden units and 1
output learns the exclusive or, by gradient descent:

>>> import numpy as np
>>> from gradlab.nn import BinaryCrossEntropy, Dense, Tanh
>>> x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> targets = np.array([[0.0], [1.0], [1.0], [0.0]])
>>> layers = [Dense(2, 3), Tanh(), Dense(3, 1)]
>>> loss = BinaryCrossEntropy()
>>> for step in range(1000):
...     tape = forward(layers, x)
...     deltas = backward(layers, loss.gradient(tape[-1], targets), tape)
...     for layer in (layers[0], layers[2]):
...         layer.W -= 0.5 * layer.dW
...         layer.b -= 0.5 * layer.db
>>> print(tape[-1].round().T)  # the logits: below 0 for "no", above for "yes"
[[-5.  5.  5. -6.]]

Is a gradient right? Move one weight a little up and a little down, and see how the loss follows:

>>> def loss_at(w):
...     layers[0].W[1, 2] = w
...     return loss.value(forward(layers, x)[-1], targets)
>>> w, h = layers[0].W[1, 2], 1e-6
>>> slope = (loss_at(w + h) - loss_at(w - h)) / (2 * h)
>>> layers[0].W[1, 2] = w
>>> tape = forward(layers, x)
>>> deltas = backward(layers, loss.gradient(tape[-1], targets), tape)
>>> bool(np.isclose(layers[0].dW[1, 2], slope))
True
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

    Layer i made x_(i+1) of x_i, both on the tape, and makes dL/dx_i of dL/dx_(i+1); the gradients of its parameters it
    writes on the way.
    """
    deltas = [dlogits]
    for i in reversed(range(len(layers))):
        deltas.append(layers[i].backward(deltas[-1], tape[i], tape[i + 1]))
    return deltas[::-1]
