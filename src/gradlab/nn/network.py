"""A network keeps the parameters of all its layers in one flat vector, and their gradients in another.

One step of training, whatever the layers, is then

    tape = network.forward(x, training=True)
    network.backward(loss.gradient(tape[-1], targets), tape)
    network.params -= learning_rate * network.grads
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gradlab.nn.activations import sigmoid
from gradlab.nn.backpropagation import backward, forward
from gradlab.nn.checks import check_int
from gradlab.nn.layers import Layer
from gradlab.nn.losses import softmax
from gradlab.nn.part import bind
from gradlab.nn.streams import Streams
from gradlab.nn.wiring import adopt, check_fit, lay_out, walk

ROWS_AT_ONCE = 256  # samples per pass when nothing is learned from it: the tape of a large table stays small


class Tape(list[np.ndarray]):
    """The arrays of one pass, [x0, x1, … xN], and whether the pass trained or predicted."""

    training = False


class Network:
    """Layers in a row, their parameters in one flat vector.

    Parameters
    ----------
    layers : sequence of Layer
        They become the network's own; a layer that another network owns is copied.
    seed : int or sequence of int
        A sequence makes replicas: the same layers with one set of parameters per seed, side by side. Each is bitwise
        identical to the network made with its seed alone, as long as BLAS multiplies in one thread.
    dtype : float64 or float32
        Of parameters, tape and deltas.

    Attributes
    ----------
    params, grads : ndarray (..., P)
        All parameters and their gradients; `parameters` says where each stands. The layers hold views of them.
    state : ndarray (..., S)
        What layers keep but do not learn (running statistics), in the same way; `states` says where each stands.
    weight_mask : ndarray (P,)
        1 at weights, 0 at biases and the like: what a penalty on the weights is multiplied by.
    replicas : tuple
        The leading axis of every array: ``()`` for one network, ``(R,)`` for R replicas of the `seeds`.

    Examples
    --------
    >>> from gradlab.nn import Dense, Network, Sigmoid
    >>> network = Network([Dense(2, 3), Sigmoid(), Dense(3, 1)], seed=0)
    >>> [x.shape for x in network.forward(np.ones((5, 2)))]
    [(5, 2), (5, 3), (5, 3), (5, 1)]
    """

    def __init__(self, layers: Sequence[Layer], *, seed: int | Sequence[int] = 0, dtype: Any = np.float64):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float64, np.float32):
            raise ValueError(f"dtype: {self.dtype} is not one of float64, float32")
        one = not isinstance(seed, Iterable)
        self.seeds = tuple(check_int("seed", s, 0) for s in ([seed] if one else seed))  # type: ignore[union-attr]
        if not self.seeds:
            raise ValueError("seed: an empty sequence makes no replicas; give at least one seed")
        self.replicas: tuple[int, ...] = () if one else (len(self.seeds),)
        self.layers = adopt(layers)
        self.parameters, n_params = lay_out(self.layers, "parameter_shapes")
        self.states, n_state = lay_out(self.layers, "state_shapes")
        self.params, self.grads = (np.zeros((*self.replicas, n_params), self.dtype) for _ in range(2))
        self.state = np.zeros((*self.replicas, n_state), self.dtype)
        self.weight_mask = np.zeros(n_params, self.dtype)
        for p in self.parameters:
            self.weight_mask[p.where] = p.attribute.startswith("W")
        self.streams = Streams(np.random.default_rng(s) for s in self.seeds)
        for r, generator in enumerate(self.streams.generators):
            self._bind(() if one else (r,))
            for layer in walk(self.layers):
                layer.initialize(generator)
        self._bind()
        self._training: bool | None = None  # what the layers were told last
        self._n_features: int | None = None  # that the last samples had

    def forward(self, x: np.ndarray, training: bool = False) -> Tape:
        """Run samples x (n, d) or (..., n, d), the same for all replicas or one set each, through every layer.

        Returns the tape [x0, x1, … xN]; xN are the logits. Layers that tell the two apart (dropout, batch
        normalisation) train or predict. Raises ValueError if x has other axes, or other features than the first layer
        takes.
        """
        self._switch(training)
        tape = Tape(forward(self.layers, self.samples(x)))
        tape.training = training
        return tape

    def backward(self, dlogits: np.ndarray, tape: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Carry dL/dlogits (..., n, k) back through every layer, along a tape from `forward`, and fill `grads`.

        Returns the deltas [dL/dx0, dL/dx1, … dL/dxN], shaped like the tape. Raises ValueError, naming both shapes, if
        dlogits are not shaped like the logits.
        """
        if dlogits.shape != tape[-1].shape:
            raise ValueError(f"dlogits of shape {dlogits.shape} do not fit logits of shape {tape[-1].shape}")
        if isinstance(tape, Tape):
            self._switch(tape.training)  # something may have been predicted since
        return backward(self.layers, dlogits.astype(self.dtype, copy=False), tape)

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits (..., n, k) of any number of samples; nothing is learned from it."""
        x = np.asarray(x, dtype=self.dtype)
        if x.ndim < 2 or x.shape[-2] <= ROWS_AT_ONCE:
            return self.forward(x)[-1]
        starts = range(0, x.shape[-2], ROWS_AT_ONCE)
        return np.concatenate([self.forward(x[..., i : i + ROWS_AT_ONCE, :])[-1] for i in starts], axis=-2)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Compute probabilities (..., n, k): σ, that of class 1, for one output; the softmax for several classes.

        Several outputs that are independent, each a yes or no, are σ of `decision_function` instead.
        """
        logits = self.decision_function(x)
        return sigmoid(logits) if logits.shape[-1] == 1 else softmax(logits)

    def replica(self, r: int) -> Network:
        """Copy one replica as a network on its own."""
        return self._like(self.seeds[r], self.dtype, (r,))

    def astype(self, dtype: Any) -> Network:
        """Copy the network in another float type."""
        return self._like(self.seeds if self.replicas else self.seeds[0], dtype, ())

    def samples(self, x: np.ndarray) -> np.ndarray:
        """Return x in the network's float type, (..., n, d): the same samples, not copied, for every replica."""
        x = np.asarray(x, dtype=self.dtype)
        if x.ndim < 2 or x.shape[:-2] not in ((), self.replicas):
            wanted = "(samples, features)" + (f" or {self.replicas} in front of it" if self.replicas else "")
            raise ValueError(f"x: an array of shape {x.shape} is not {wanted}")
        if x.shape[-1] != self._n_features:
            check_fit(self.layers, x.shape[-1], f"x, of shape {x.shape},")
            self._n_features = x.shape[-1]
        return x if x.shape[:-2] == self.replicas else np.broadcast_to(x, self.replicas + x.shape)

    def __repr__(self) -> str:
        count = f" × {self.replicas[0]} replicas" if self.replicas else ""
        return f"Network([{', '.join(map(repr, self.layers))}]): {self.params.shape[-1]} parameters{count}"

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def _switch(self, training: bool) -> None:
        """Tell the layers which kind of pass comes now, if it is another one than before."""
        if training is not self._training:
            for layer in walk(self.layers):
                layer.training = training
            self._training = training

    def _bind(self, replica: tuple[int, ...] = ()) -> None:
        """Give the layers their views: of all replicas, or of one while it is being initialized."""
        lead = () if replica else self.replicas
        vectors = [
            ("", self.parameters, self.params),
            ("d", self.parameters, self.grads),
            ("", self.states, self.state),
        ]
        for prefix, places, vector in vectors:
            for p in places:
                bind(p.layer, prefix + p.attribute, vector[replica][..., p.where].reshape(lead + p.shape))
        for layer in walk(self.layers):
            layer.streams = self.streams

    def _like(self, seed: int | Sequence[int], dtype: Any, which: tuple[int, ...]) -> Network:
        twin = Network(self.layers, seed=seed, dtype=dtype)  # the layers have an owner, so they are copied
        twin.params[...], twin.grads[...], twin.state[...] = self.params[which], self.grads[which], self.state[which]
        return twin
