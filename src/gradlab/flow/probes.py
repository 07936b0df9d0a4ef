"""What is recorded of a step, layer by layer: how large the gradient is, and whether it is still there at all."""

from collections.abc import Callable, Sequence

import numpy as np

from gradlab.nn.arrays import norm
from gradlab.nn.checks import lookup, whole
from gradlab.nn.network import Network, Parameter
from gradlab.nn.training import Step

Probe = Callable[["Weights", Network], np.ndarray]


class Weights:
    """The weight matrices of a network: one a layer that has one, from the input to the logits.

    Parameters
    ----------
    network : Network

    Attributes
    ----------
    names : tuple of str
        ``"0.W"``, ``"2.W"``, …

    Raises
    ------
    ValueError
        If the network has no weights.
    """

    def __init__(self, network: Network):
        self._places: list[Parameter] = [p for p in network.parameters if p.attribute == "W"]
        if not self._places:
            raise ValueError(f"{network!r} has no weights whose gradient could be recorded")
        self.names = tuple(p.name for p in self._places)
        # np.add.reduceat sums from each edge to the next: every second part is a weight matrix, and the rest is not
        # wanted. The last edge is left out where the vector ends with it.
        edges = [edge for p in self._places for edge in (p.where.start, p.where.stop)]
        self._edges = np.array(edges if edges[-1] < network.params.shape[-1] else edges[:-1])

    def norms(self, vector: np.ndarray) -> np.ndarray:
        """Compute the norm (layers, ...) of each weight matrix's part of a flat vector (..., P)."""
        with np.errstate(over="ignore", under="ignore"):
            sums = np.add.reduceat(vector * vector, self._edges, axis=-1)[..., ::2]
        norms = np.moveaxis(np.sqrt(sums), -1, 0)
        limits = np.finfo(vector.dtype)
        doubtful = (sums < limits.tiny / limits.eps) | ~np.isfinite(sums)
        for i in np.flatnonzero(doubtful.reshape(-1, len(self.names)).any(axis=0)):
            norms[i] = norm(vector[..., self._places[i].where])[..., 0]
        return norms

    def share(self, vector: np.ndarray, wanted: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Compute the share (layers, ...) of entries of each weight matrix for which `wanted` holds."""
        return np.stack([np.mean(wanted(vector[..., p.where]), axis=-1) for p in self._places])


def weight_gradient_norm(weights: Weights, network: Network) -> np.ndarray:
    """Norm of dL/dW of each layer; right however small, as long as the float type can hold the number itself."""
    return weights.norms(network.grads)


def weight_norm(weights: Weights, network: Network) -> np.ndarray:
    """Norm of W of each layer, after the step."""
    return weights.norms(network.params)


def zero_share(weights: Weights, network: Network) -> np.ndarray:
    """Share of each layer's dL/dW that is exactly zero: underflowed, or behind dead units."""
    return weights.share(network.grads, lambda g: g == 0.0)


def subnormal_share(weights: Weights, network: Network) -> np.ndarray:
    """Share of each layer's dL/dW too small for the float type's full precision: about to underflow."""
    tiny = np.finfo(network.grads.dtype).tiny
    return weights.share(network.grads, lambda g: (g != 0.0) & (np.abs(g) < tiny))


PROBES: dict[str, Probe] = {
    "weight_gradient_norm": weight_gradient_norm,
    "weight_norm": weight_norm,
    "zero_share": zero_share,
    "subnormal_share": subnormal_share,
}


class FlowRecorder:
    """Records the gradient flow of the steps that it is called with.

    Parameters
    ----------
    every : "step", "epoch" or int
        Which steps: all; the first of all and the last of each epoch; or one in so many, from the first.
    what : sequence of str
        Names from `PROBES`.

    Attributes
    ----------
    layers : tuple of str
        Names of the weight matrices, from the input to the logits; empty before the first step.

    Examples
    --------
    >>> from gradlab.nn import SGD, BinaryCrossEntropy, Network, mlp, train
    >>> x, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0.0, 1.0])
    >>> recorder = FlowRecorder()
    >>> for step in train(Network(mlp([2, 3, 1])), BinaryCrossEntropy(), SGD(), x, y, epochs=5, batch_size=2):
    ...     recorder(step)
    >>> recorder.table()["weight_gradient_norm"].shape  # steps, layers, replicas
    (5, 2, 1)
    """

    def __init__(self, every: str | int = 1, what: Sequence[str] = ("weight_gradient_norm",)):
        self.every = {"step": 1, "epoch": "epoch"}.get(str(every)) or whole("every", every)
        self._probes = {name: lookup("what", name, PROBES) for name in what}
        self._steps: list[tuple[int, int]] = []
        self._records: dict[str, list[np.ndarray]] = {name: [] for name in what}
        self._weights: Weights | None = None
        self.layers: tuple[str, ...] = ()

    def __call__(self, step: Step) -> None:
        """Record a step, if it is one of those wanted."""
        if self.every == "epoch":
            if step.index and not step.ends_epoch:
                return
        elif step.index % self.every:  # type: ignore[operator]
            return
        if self._weights is None:
            self._weights = Weights(step.network)
            self.layers = self._weights.names
        self._steps.append((step.index, step.epoch))
        for name, probe in self._probes.items():
            self._records[name].append(probe(self._weights, step.network))

    def table(self) -> dict[str, np.ndarray]:
        """Return ``step`` and ``epoch`` (steps,), and each quantity (steps, layers, replicas); one network is one.

        Raises
        ------
        ValueError
            If nothing was recorded.
        """
        if not self._steps:
            raise ValueError("no step was recorded: call the recorder with the steps of train")
        table = {"step": np.array([i for i, _ in self._steps]), "epoch": np.array([e for _, e in self._steps])}
        for name, records in self._records.items():
            stacked = np.stack(records)
            table[name] = stacked.reshape(*stacked.shape[:2], -1)
        return table
