"""A network as an ONNX model, for whoever predicts without Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradlab.extras import needed_by
from gradlab.files import whole_or_not_at_all
from gradlab.nn import (
    ELU,
    GELU,
    SELU,
    Activation,
    BatchNorm,
    CentredSigmoid,
    Dense,
    Dropout,
    Identity,
    Layer,
    LeakyReLU,
    Network,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Softsign,
    Tanh,
)


class _Graph:
    """The nodes and constants of an ONNX graph as it grows; values are named by number."""

    def __init__(self, dtype: np.dtype):
        from onnx import helper, numpy_helper

        self._make, self._from_array = helper.make_node, numpy_helper.from_array
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        """Add a constant, numbers in the network's float type, and return its name."""
        array = np.asarray(value, None if isinstance(value, np.ndarray) else self.dtype)
        name = f"c{len(self.constants)}"
        self.constants.append(self._from_array(array, name))
        return name

    def __call__(self, operator: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """Add a node, and return the name of its result; inputs that are no names become constants."""
        names = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        name = name or f"v{len(self.nodes)}"
        self.nodes.append(self._make(operator, names, [name], **attributes))
        return name


def to_onnx(network: Network, out_activation: str, classes: np.ndarray | None, path: Any) -> None:
    """Write a classifier as an ONNX model, from "X" (n, d) to "probabilities" (n, classes) and "label" (n,).

    Parameters
    ----------
    network : Network
        Not of replicas, without Residual.
    out_activation : "logistic" or "softmax"
    classes : ndarray (n_classes,), optional
        Numbers or strings, for "label"; without it, the labels' probabilities are all that there is.
    path : str or path-like
        The file appears whole, or not at all.

    Raises
    ------
    ModuleNotFoundError
        If the package onnx is not installed.
    ValueError
        For a layer, or a kind of class, that cannot be written.
    """
    with needed_by("to_onnx"):
        import onnx
        from onnx import TensorProto, helper

    add = _Graph(network.dtype)
    value = "X"
    for layer in network.layers:
        value = _onnx_layer(add, layer, value)
    if out_activation == "softmax":
        add("Softmax", value, name="probabilities", axis=-1)
    elif classes is None:
        add("Sigmoid", value, name="probabilities")
    else:
        add("Concat", add("Sigmoid", add("Neg", value)), add("Sigmoid", value), name="probabilities", axis=1)
    floats = TensorProto.DOUBLE if network.dtype == np.float64 else TensorProto.FLOAT
    n_in = next(layer.n_in for layer in network.layers if isinstance(layer, Dense))
    n_out = network.parameters[-1].shape[-1] if classes is None else len(classes)
    outputs = [helper.make_tensor_value_info("probabilities", floats, [None, n_out])]
    if classes is not None:
        is_text = classes.dtype.kind in "OUS"
        is_real = classes.dtype.kind == "f"
        if not is_text and classes.dtype.kind not in "iubf":
            raise ValueError(f"to_onnx: classes of type {classes.dtype} cannot be written; use numbers or strings")
        table = classes.astype(object if is_text else np.float64 if is_real else np.int64)
        add("Gather", table, add("ArgMax", "probabilities", axis=1, keepdims=0), name="label", axis=0)
        kind = TensorProto.STRING if is_text else TensorProto.DOUBLE if is_real else TensorProto.INT64
        outputs.append(helper.make_tensor_value_info("label", kind, [None]))
    inputs = [helper.make_tensor_value_info("X", floats, [None, n_in])]
    graph = helper.make_graph(add.nodes, "gradlab", inputs, outputs, initializer=add.constants)
    model = helper.make_model(graph, producer_name="gradlab", opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path = Path(path).resolve()  # what a link points to, not the link
    with whole_or_not_at_all(path) as file:
        file.write(model.SerializeToString())
        if path.exists():
            Path(file.name).chmod(path.stat().st_mode)


def _onnx_layer(add: _Graph, layer: Layer, x: str) -> str:
    """Add a layer as it predicts. Not every runtime has each activation in float64, so some are put together."""
    if type(layer) is Dense:
        return add("Add", add("MatMul", x, np.array(layer.W)), np.array(layer.b))
    if type(layer) is BatchNorm:
        scale = layer.gamma / np.sqrt(layer.running_variance + layer.epsilon)
        return add("Add", add("Mul", x, scale), layer.beta - layer.running_mean * scale)
    if type(layer) in (Dropout, Identity):
        return x
    if isinstance(layer, Activation):
        return _onnx_activation(add, layer, x)
    raise ValueError(f"to_onnx: {layer!r} is a layer that is not known; it cannot be written")


def _onnx_activation(add: _Graph, layer: Activation, x: str) -> str:
    if type(layer) is CentredSigmoid:
        return add("Sub", add("Sigmoid", x), 0.5)
    if type(layer) in (Sigmoid, Tanh):
        return add(type(layer).__name__, x)
    positive = add("Max", x, 0.0)
    if type(layer) is ReLU:
        return positive
    if type(layer) is LeakyReLU:
        return add("Max", x, add("Mul", x, layer.slope))
    if type(layer) in (ELU, SELU):
        alpha, factor = (layer.alpha, 1.0) if isinstance(layer, ELU) else (SELU.ALPHA, SELU.SCALE)
        negative = add("Mul", add("Sub", add("Exp", add("Min", x, 0.0)), 1.0), alpha)
        return add("Mul", add("Add", positive, negative), factor)
    if type(layer) is SiLU:
        return add("Mul", x, add("Sigmoid", x))
    if type(layer) is Softplus:
        return add("Add", positive, add("Log", add("Add", add("Exp", add("Neg", add("Abs", x))), 1.0)))
    if type(layer) is Softsign:
        return add("Div", x, add("Add", add("Abs", x), 1.0))
    if type(layer) is GELU:  # erf is there in float32 only: right to 1e-7
        from onnx import TensorProto

        back = TensorProto.DOUBLE if add.dtype == np.float64 else TensorProto.FLOAT
        narrow = add("Cast", add("Mul", x, np.sqrt(0.5)), to=TensorProto.FLOAT)
        twice = add("Add", add("Cast", add("Erf", narrow), to=back), 1.0)
        return add("Mul", x, add("Mul", twice, 0.5))
    raise ValueError(f"to_onnx: {layer!r} is an activation of somebody's own; it cannot be written")
