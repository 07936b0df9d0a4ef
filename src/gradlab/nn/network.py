"""A network is layers in a row over one flat vector of parameters: a tape of activations going forward,
a list of deltas coming back."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.nn.activations import Activation, sigmoid
from gradlab.nn.arrays import Streams
from gradlab.nn.checks import whole
from gradlab.nn.layers import Dense, Layer, bind, walk
from gradlab.nn.losses import softmax
from gradlab.nn.plan import Plans, Tape

ROWS_AT_ONCE = 256  # samples a pass when nothing is learned from it: the tape of a large table stays small


def forward(layers: Sequence[Layer], x: np.ndarray) -> list[np.ndarray]:
    """Run samples through the layers; return the tape [x0, x1, … xL].

    This and `backward` are all of backpropagation. A network makes the same numbers from kept arrays, with fewer
    calls: see `Plan`.
    """
    tape = [x]
    for layer in layers:
        tape.append(layer.forward(tape[-1]))
    return tape


def backward(layers: Sequence[Layer], dlogits: np.ndarray, tape: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Carry dL/dxL back through the layers; return the deltas [dL/dx0, … dL/dxL].

    For each layer, y = f(x), the chain rule gives dL/dx from dL/dy. The layer is told the x that it saw and the y that
    it gave, which the tape has kept, and writes the gradients of its parameters on the way.
    """
    deltas = [dlogits]
    for layer, x, y in zip(reversed(layers), reversed(tape[:-1]), reversed(tape[1:]), strict=True):
        deltas.append(layer.backward(deltas[-1], x, y))
    return deltas[::-1]


@dataclass(frozen=True)
class Parameter:
    """Where one parameter of one layer stands in the flat vector.

    Attributes
    ----------
    name : str
        The layer's place and the parameter's name: ``"0.W"``, or ``"3.1.W"`` inside a container.
    layer : Layer
    attribute : str
        ``"W"``: the layer holds ``W`` and ``dW``.
    shape : tuple of int
    where : slice
        Its part of ``network.params`` and ``network.grads``, along the last axis.
    """

    name: str
    layer: Layer
    attribute: str
    shape: tuple[int, ...]
    where: slice


class Network:
    """Layers in a row, their parameters in one flat vector.

    Parameters
    ----------
    layers : sequence of Layer
        They become the network's own; a layer that another network owns is copied.
    seed : int or sequence of int
        A sequence makes replicas: the same layers with one set of parameters a seed, side by side in the
        leading axis of every array. Replica r equals, to the last bit, the network made with its seed alone, as long as
        BLAS runs in one thread: with more, a product may be cut elsewhere.
    dtype : float64 or float32
        Of parameters, tape and deltas.

    Attributes
    ----------
    params, grads : ndarray (..., P)
        All parameters and their gradients. The layers hold views: writing here changes the layers.
    state : ndarray (..., S)
        What layers keep but do not learn (running statistics), laid out in the same way.
    parameters : tuple of Parameter
        Where each parameter stands in the flat vector.
    states : tuple of Parameter
        Where each running statistic stands in `state`.
    weight_mask : ndarray (P,)
        1 at weights, 0 at biases and the like: what a penalty on the weights is multiplied by.
    replicas : tuple
        The leading axis of every array: ``()`` for one network, ``(R,)`` for R replicas.
    seeds : tuple of int

    Raises
    ------
    ValueError
        If there are no layers, one does not fit the one before, one with parameters stands in two places,
        or a seed is not a whole number from 0.

    Examples
    --------
    >>> from gradlab.nn import Dense, Network, Sigmoid
    >>> network = Network([Dense(2, 3), Sigmoid(), Dense(3, 1)], seed=0)
    >>> network.params.shape
    (13,)
    >>> [x.shape for x in network.forward(np.ones((5, 2)))]
    [(5, 2), (5, 3), (5, 3), (5, 1)]
    """

    def __init__(self, layers: Sequence[Layer], *, seed: int | Sequence[int] = 0, dtype: Any = np.float64):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float64, np.float32):
            raise ValueError(f"dtype: {self.dtype} is not one of float64, float32")
        one = not isinstance(seed, Iterable)
        self.seeds = tuple(whole("seed", s, 0) for s in ([seed] if one else seed))  # type: ignore[union-attr]
        if not self.seeds:
            raise ValueError("seed: an empty sequence makes no replicas; give at least one seed")
        self.replicas: tuple[int, ...] = () if one else (len(self.seeds),)
        self.layers = _adopt(layers)
        self._allocate()
        generators = [np.random.default_rng(s) for s in self.seeds]
        for r, generator in enumerate(generators):
            self._bind(() if one else (r,))
            for layer in walk(self.layers):
                layer.initialize(generator)
        self._bind()
        self._stream(Streams(generators))

    def _allocate(self) -> None:
        """Lay out the flat vectors: layer by layer, parameter by parameter."""
        self.parameters, size = _layout(self.layers, "parameter_shapes")
        self.states, state_size = _layout(self.layers, "state_shapes")
        self.params = np.zeros((*self.replicas, size), self.dtype)
        self.grads = np.zeros((*self.replicas, size), self.dtype)
        self.state = np.zeros((*self.replicas, state_size), self.dtype)
        self.weight_mask = np.zeros(size, self.dtype)
        for p in self.parameters:
            self.weight_mask[p.where] = p.attribute.startswith("W")

    def _bind(self, replica: tuple[int, ...] = ()) -> None:
        """Give the layers their views: of all replicas, or of one while it is being initialized."""
        lead = () if replica else self.replicas
        params, grads, state = self.params[replica], self.grads[replica], self.state[replica]
        for p in self.parameters:
            shape = lead + p.shape
            bind(p.layer, p.attribute, params[..., p.where].reshape(shape), grads[..., p.where].reshape(shape))
        for w, b in itertools.pairwise(self.parameters):
            if type(w.layer) is Dense and w.layer is b.layer:
                both, shape = slice(w.where.start, b.where.stop), (*lead, w.layer.n_in + 1, w.layer.n_out)
                w.layer.joint, w.layer.djoint = params[..., both].reshape(shape), grads[..., both].reshape(shape)
        for s in self.states:
            setattr(s.layer, s.attribute, state[..., s.where].reshape(lead + s.shape))

    def _stream(self, streams: Streams) -> None:
        """Give the layers their random numbers, and forget all kept arrays."""
        self.streams = streams
        for layer in walk(self.layers):
            layer.streams = streams
        self._switch(False)
        self._plans, self._lock = Plans(self.layers), threading.Lock()

    def forward(self, x: np.ndarray, training: bool = False) -> list[np.ndarray]:
        """Run the samples through every layer.

        Parameters
        ----------
        x : ndarray (n, d) or (..., n, d)
            Samples, the same for all replicas or one set each.
        training : bool
            Whether layers that tell the two apart (dropout, batch normalisation) train or predict.

        Returns
        -------
        tape : list of ndarray
            [x0, x1, … xL]: the input, then every layer's output; xL are the logits. The arrays are live: the
            next pass of the same shape writes over them.
        """
        if training is not self._training:
            self._switch(training)
        if not isinstance(x, np.ndarray) or x.dtype != self.dtype:
            x = np.asarray(x, dtype=self.dtype)
        if x.shape[:-2] != self.replicas or x.ndim < 2:
            x = self._spread(x)
        return self._plans.forward(x, training)

    def _switch(self, training: bool) -> None:
        """Tell the layers which kind of pass comes now."""
        self._training = training
        for layer in walk(self.layers):
            layer.training = training

    def _spread(self, x: np.ndarray) -> np.ndarray:
        """Show the same samples to every replica, without copying them."""
        if x.ndim != 2:
            wanted = "(samples, features)" + (f" or {self.replicas} in front of it" if self.replicas else "")
            raise ValueError(f"x: an array of shape {x.shape} is not {wanted}")
        return np.broadcast_to(x, self.replicas + x.shape)

    def backward(
        self, dlogits: np.ndarray, tape: Sequence[np.ndarray], input_gradient: bool = True
    ) -> list[np.ndarray]:
        """Carry dL/dlogits back through every layer, and fill `grads`.

        Parameters
        ----------
        dlogits : ndarray (..., n, k)
            dL/dxL, from a loss.
        tape : list of ndarray
            From a `forward` pass.
        input_gradient : bool
            Whether dL/dx0 is wanted. Training has no use for it; without it, it may be nan.

        Returns
        -------
        deltas : list of ndarray
            [dL/dx0, dL/dx1, … dL/dxL], shaped like the tape, and live like it.

        Raises
        ------
        ValueError
            If dlogits is not shaped like the logits; it names both.
        """
        if dlogits.shape != tape[-1].shape:
            raise ValueError(f"dlogits of shape {dlogits.shape} do not fit logits of shape {tape[-1].shape}")
        if dlogits.dtype != self.dtype:
            dlogits = dlogits.astype(self.dtype)
        if isinstance(tape, Tape) and tape.training is not self._training:
            self._switch(tape.training)  # something was predicted since
        plan = tape.plan if isinstance(tape, Tape) else None
        if plan is None:  # arrays of somebody's own, or too many other shapes have come since
            return backward(self.layers, dlogits, tape)
        return plan.backward(dlogits, input_gradient)

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        """Compute the logits (..., n, k) of any number of samples, in a new array; nothing is learned from it."""
        x = np.asarray(x, dtype=self.dtype)
        with self._lock:  # threads may predict side by side, but share the arrays of a pass
            if x.ndim < 2 or x.shape[-2] <= ROWS_AT_ONCE:
                return self.forward(x)[-1].copy()
            starts = range(0, x.shape[-2], ROWS_AT_ONCE)
            return np.concatenate([self.forward(x[..., i : i + ROWS_AT_ONCE, :])[-1].copy() for i in starts], axis=-2)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Compute probabilities, shaped like the logits (..., n, k), in a new array.

        One output gives σ(logit), the probability of class 1; several give their softmax.
        """
        logits = self.decision_function(x)
        return sigmoid(logits, logits) if logits.shape[-1] == 1 else softmax(logits, logits)

    def replica(self, r: int) -> Network:
        """Copy one replica as a network on its own."""
        return self._like(self.seeds[r], self.dtype, (r,))

    def astype(self, dtype: Any) -> Network:
        """Copy the network in another float type."""
        return self._like(self.seeds if self.replicas else self.seeds[0], dtype, ())

    def _like(self, seed: int | Sequence[int], dtype: Any, which: tuple[int, ...]) -> Network:
        twin = Network(self.layers, seed=seed, dtype=dtype)  # the layers have an owner, so they are copied
        twin.params[...], twin.grads[...], twin.state[...] = self.params[which], self.grads[which], self.state[which]
        return twin

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_plans", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()
        self._stream(self.streams)

    def __repr__(self) -> str:
        count = f" × {self.replicas[0]} replicas" if self.replicas else ""
        return f"Network([{', '.join(map(repr, self.layers))}]): {self.params.shape[-1]} parameters{count}"


def _adopt(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Check that the layers fit one another, and make them one network's own."""
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise ValueError(f"layers[{i}]: {layer!r} is not a Layer")
    if not layers:
        raise ValueError("layers: a network needs at least one")
    own: list[Layer] = []
    seen: list[Layer] = []
    features, source = None, ""
    for i, layer in enumerate(layers):
        n_in = getattr(layer, "n_in", None)
        if None not in (features, n_in) and features != n_in:
            raise ValueError(f"layers[{i}]: {layer!r} takes {n_in} features, but {source} gives {features}")
        try:
            features = layer.output_features(features)
        except ValueError as error:
            raise ValueError(f"layers[{i}]: {error}, as {source} gives") from None
        if n_in is not None or hasattr(layer, "n_out"):
            source = f"layers[{i}], {layer!r},"
        for inner in walk([layer]):
            if any(inner is other for other in seen) and not isinstance(inner, Activation):
                raise ValueError(f"layers[{i}]: {inner!r} stands in two places; each needs a layer of its own")
            seen.append(inner)
        own.append(copy.deepcopy(layer) if any(inner.adopted for inner in walk([layer])) else layer)
        for inner in walk(own[-1:]):
            inner.adopted = True
    return tuple(own)


def _layout(layers: Sequence[Layer], shapes: str) -> tuple[tuple[Parameter, ...], int]:
    """Place what every layer declares under `shapes` in one flat vector; return the places and its length."""
    places: list[Parameter] = []
    size = 0

    def place(layers: Sequence[Layer], path: str) -> None:
        nonlocal size
        for i, layer in enumerate(layers):
            for name, shape in getattr(layer, shapes)().items():
                count = int(np.prod(shape, dtype=np.int64))
                places.append(Parameter(f"{path}{i}.{name}", layer, name, tuple(shape), slice(size, size + count)))
                size += count
            place(layer.layers, f"{path}{i}.")

    place(layers, "")
    return tuple(places), size
