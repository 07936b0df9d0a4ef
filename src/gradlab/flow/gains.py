"""Is it the weights or the slope? What the gradient gains or loses on its way back through a layer, in factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType

import numpy as np

from gradlab.nn.activations import Activation
from gradlab.nn.arrays import norm
from gradlab.nn.layers import Dense
from gradlab.nn.network import Network
from gradlab.nn.remedies import BatchNorm, Dropout
from gradlab.training.loop import Step
from gradlab.training.passes import in_a_row


@dataclass(frozen=True)
class Attribution:
    """Each layer's gain, ‖δ_l‖/‖δ_{l+1}‖ = weight·slope·rest, with δ_l = dL/dz_l of the Dense layer l.

    Norms are over samples and units. A number is nan where the norm that it divides by is 0, underflowed or not.

    Attributes
    ----------
    layers : tuple of str
        Whose δ_l it is: every Dense layer's ``"0.W"``, ``"2.W"``, … but the last one's.
    gain : ndarray (layers, replicas)
        ‖δ_l‖/‖δ_{l+1}‖; one network is one replica.
    weight : ndarray (layers, replicas)
        ‖δ_{l+1}Wᵀ‖/‖δ_{l+1}‖, W being the weights of layer l + 1 in that pass.
    slope : ndarray (layers, replicas)
        By what the activation between them multiplies the norm, ‖d ⊙ φ'‖/‖d‖: with nothing else between, d is
        δ_{l+1}Wᵀ. 1 without an activation; with several, their product.
    rest : ndarray (layers, replicas)
        By what BatchNorm and Dropout between them multiply it; 1 if there are none.
    """

    layers: tuple[str, ...]
    gain: np.ndarray
    weight: np.ndarray
    slope: np.ndarray
    rest: np.ndarray


def attribution(source: Step | Network, deltas: Sequence[np.ndarray] | None = None) -> Attribution:
    """Split each layer's backward gain into a weight factor and a slope factor.

    All that it needs are the deltas: with y = φ(z_l) and z_{l+1} = yW + b, the pass back has computed
    δ_{l+1} = dL/dz_{l+1}, then dL/dy = δ_{l+1}Wᵀ, then δ_l = dL/dy ⊙ φ'(z_l). So the factors are those of the step
    itself, with the weights as they were before it changed them. They do not depend on the size of the deltas: where
    these would underflow, go back from ``1e100 * dlogits``.

    Parameters
    ----------
    source : Step or Network
        The step that `train` has just yielded, whose deltas are live; or a network.
    deltas : list of ndarray
        With a network: what its `backward` has returned.

    Returns
    -------
    Attribution
        In float64.

    Raises
    ------
    ValueError
        If there is a layer that is not a Dense, an activation, a BatchNorm or a Dropout: around a Residual the gradient
        takes two ways, whose sum has no factors. If there are fewer than two Dense layers; or the deltas are
        missing, or not one for the input and each layer.

    Examples
    --------
    >>> from gradlab.nn import BinaryCrossEntropy, mlp
    >>> network = Network(mlp([2, 8, 8, 8, 1], "sigmoid"))
    >>> tape = network.forward(np.ones((4, 2)), training=True)
    >>> deltas = network.backward(BinaryCrossEntropy().gradient(tape[-1], np.ones((4, 1))), tape)
    >>> bool((attribution(network, deltas).slope <= 0.25).all())
    True
    """
    network = source.network if isinstance(source, Step) else source
    if not isinstance(network, Network):
        raise ValueError(f"source: {source!r} is neither a Step of train nor a Network")
    if isinstance(source, Step):
        deltas = source.deltas
    if deltas is None:
        raise ValueError(f"deltas: {network!r} has gone through no pass yet; give what its backward returned")
    if len(deltas) != len(network.layers) + 1:
        raise ValueError(f"deltas: {len(deltas)} arrays do not fit {len(network.layers)} layers: one more than these")
    for i, layer in enumerate(network.layers):
        if not isinstance(layer, Dense | Activation | BatchNorm | Dropout):
            kinds = "Dense, activations, BatchNorm and Dropout"
            raise ValueError(f"layer {i} ({layer!r}): the gain cannot be split; the layers may be {kinds}")
    dense = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    if len(dense) < 2:
        raise ValueError(f"{network!r}: a gain needs two Dense layers, one behind the other")
    first, last = dense[0] + 1, dense[-1] + 1
    sizes = {i: _size(deltas[i]) for i in range(first, last + 1)}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors = {i: sizes[i] / sizes[i + 1] for i in range(first, last)}
        gains = [sizes[a + 1] / sizes[b + 1] for a, b in itertools.pairwise(dense)]

    def product(kind: type | UnionType) -> np.ndarray:
        """Multiply, between each two Dense layers, the factors of the layers of one kind."""
        between = [range(a + 1, b) for a, b in itertools.pairwise(dense)]
        one = np.ones_like(sizes[last])
        chosen = [[factors[i] for i in places if isinstance(network.layers[i], kind)] for places in between]
        return np.stack([np.prod([one, *some], axis=0) for some in chosen])

    return Attribution(
        layers=tuple(f"{i}.W" for i in dense[:-1]),
        gain=np.stack(gains),
        weight=np.stack([factors[i] for i in dense[1:]]),
        slope=product(Activation),
        rest=product(BatchNorm | Dropout),
    )


def _size(delta: np.ndarray) -> np.ndarray:
    """Compute the norm (replicas,) of a delta over samples and units, in float64."""
    return np.atleast_1d(norm(in_a_row(np.asarray(delta, np.float64)))[..., 0])
