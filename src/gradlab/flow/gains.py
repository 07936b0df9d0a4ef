"""Is it the weights or the slope? What the gradient gains or loses on its way back through a layer, in factors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlab.nn.activations import Activation
from gradlab.nn.arrays import norm
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.network import Network
from gradlab.nn.remedies import BatchNorm, Dropout, Residual
from gradlab.training.loop import Step
from gradlab.training.passes import in_a_row

KINDS = ("weight", "slope", "rest", "around")
Factors = dict[str, np.ndarray]  # by what each kind multiplies the norm (replicas,)


@dataclass(frozen=True)
class Attribution:
    """Each layer's gain, ‖δ_l‖/‖δ_{l+1}‖ = weight·slope·rest·around.

    δ_l is dL/dz_l of the Dense layer l, and dL/dy of a Residual. Norms are over samples and units. A number is nan
    where the norm that it divides by is 0, underflowed or not.

    Attributes
    ----------
    layers : tuple of str
        Whose δ_l it is: every Dense layer's ``"0.W"``, ``"2.W"``, … and every Residual's ``"3"``, but the last one's.
    gain : ndarray (layers, replicas)
        ‖δ_l‖/‖δ_{l+1}‖; one network is one replica.
    weight : ndarray (layers, replicas)
        ‖δ_{l+1}Wᵀ‖/‖δ_{l+1}‖, W being the weights of layer l + 1 in that pass. If that is a Residual, the product over
        the Dense layers inside it.
    slope : ndarray (layers, replicas)
        By what the activation between them multiplies the norm, ‖d ⊙ φ'‖/‖d‖: with nothing else between, d is
        δ_{l+1}Wᵀ. 1 without an activation; with several, those inside a Residual too, their product.
    rest : ndarray (layers, replicas)
        By what BatchNorm and Dropout multiply it; 1 if there are none.
    around : ndarray (layers, replicas)
        Of a Residual y = x + f(x), ‖dL/dy + d‖/‖d‖, where d = f'ᵀ·dL/dy came back through f: by what the way around
        multiplies the norm. 1 if layer l + 1 is none.
    """

    layers: tuple[str, ...]
    gain: np.ndarray
    weight: np.ndarray
    slope: np.ndarray
    rest: np.ndarray
    around: np.ndarray


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
        If there is a layer that is not a Dense, an activation, a BatchNorm, a Dropout or a Residual of these; if there
        are fewer than two Dense layers or Residuals; or the deltas are missing, not one for the input and each layer,
        or of another pass than the last one through a Residual.

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
    stations = [i for i, layer in enumerate(network.layers) if isinstance(layer, Dense | Residual)]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors = _factors(network.layers, deltas, "")
        if len(stations) < 2:
            raise ValueError(f"{network!r}: a gain needs two Dense layers or Residuals, one behind the other")
        sizes = [_size(deltas[i + 1]) for i in stations]
        gains = [one / following for one, following in itertools.pairwise(sizes)]
        split = [_product(factors[a + 1 : b + 1]) for a, b in itertools.pairwise(stations)]
    names = [f"{i}.W" if isinstance(network.layers[i], Dense) else f"{i}" for i in stations[:-1]]
    one = np.ones_like(sizes[0])
    by_kind = {kind: np.stack([one * each.get(kind, 1.0) for each in split]) for kind in KINDS}
    return Attribution(tuple(names), np.stack(gains), **by_kind)


def _factors(layers: Sequence[Layer], deltas: Sequence[np.ndarray], path: str) -> list[Factors]:
    """Compute by what each layer multiplies the norm of what comes back to it."""
    found: list[Factors] = []
    for i, layer in enumerate(layers):
        change = _size(deltas[i]) / _size(deltas[i + 1])
        if isinstance(layer, Residual):
            inner = layer.passes.get(True)
            if inner is None or not inner.deltas or not np.array_equal(inner.deltas[-1], deltas[i + 1], equal_nan=True):
                raise ValueError(f"layer {path}{i} ({layer!r}) has gone through another pass than that of the deltas")
            branch = _product(_factors(layer.layers, inner.deltas, f"{path}{i}."))
            around = _size(deltas[i]) / _size(inner.deltas[0])
            found.append(branch | {"around": around * branch.get("around", 1.0)})
        elif isinstance(layer, Dense | Activation | BatchNorm | Dropout):
            kind = "weight" if isinstance(layer, Dense) else "slope" if isinstance(layer, Activation) else "rest"
            found.append({kind: change})
        else:
            kinds = "Dense, activations, BatchNorm, Dropout and Residual"
            raise ValueError(f"layer {path}{i} ({layer!r}): the gain cannot be split; the layers may be {kinds}")
    return found


def _product(factors: Sequence[Factors]) -> Factors:
    """Multiply the factors of several layers, kind by kind."""
    return {kind: np.prod([f[kind] for f in factors if kind in f], axis=0) for kind in {k for f in factors for k in f}}


def _size(delta: np.ndarray) -> np.ndarray:
    """Compute the norm (replicas,) of a delta over samples and units, in float64."""
    return np.atleast_1d(norm(in_a_row(np.asarray(delta, np.float64)))[..., 0])
