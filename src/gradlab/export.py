"""A network for others: a page of HTML, a figure of its gradient flow, a PyTorch module, an ONNX file."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

import numpy as np

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


def network_html(network: Network, out_activation: str) -> str:
    """Show a network as a table: its layers, their shapes, their parameters.

    Parameters
    ----------
    network : Network
    out_activation : str
        What makes probabilities of the logits.

    Returns
    -------
    str
        A fragment of HTML that needs neither style sheets nor scripts.
    """
    rows, width = [], network.layers[0].n_in if isinstance(network.layers[0], Dense) else ""
    for i, layer in enumerate(network.layers):
        shapes = layer.parameter_shapes()
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        n_in, width = width, getattr(layer, "n_out", width)
        named = ", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes.items())
        rows.append((str(i), repr(layer), f"{n_in} → {width}", named, f"{count:,}" if count else ""))
    rows.append(("", f"{out_activation} of the logits", f"{width} → {width}", "", ""))
    heads = ("", "layer", "features", "parameters", "number")
    style = "style='text-align:left;padding:0 1em 0 0'"
    lines = ["".join(f"<td {style}>{html.escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    head = "".join(f"<th {style}>{name}</th>" for name in heads)
    total = f"{network.params.shape[-1]:,} parameters, {network.dtype}"
    return f"<table><caption>The network: {total}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def draw_flow(flow: dict[str, np.ndarray], ax: Any = None) -> Any:
    """Draw the norm of each layer's weight gradient over the epochs, the first layer dark and the last one light.

    Parameters
    ----------
    flow : dict of ndarray
        "epoch" (steps,) and "weight_gradient_norm" (steps, layers).
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    norms = flow["weight_gradient_norm"]
    n = norms.shape[1]
    epochs = flow["epoch"] + 1  # at whose ends the records were made, but for one of the very first step
    if len(epochs) > 1 and epochs[0] == epochs[1]:
        epochs[0] -= 1
    for i in range(n):
        name = f"layer {i + 1}" + (" (logits)" if i == n - 1 else "")
        ax.plot(epochs, np.where(norms[:, i] > 0.0, norms[:, i], np.nan), color=plt.cm.viridis(0.9 * i / max(n - 1, 1)),
                label=name)  # fmt: skip
    ax.set(yscale="log", xlabel="epoch", ylabel="norm of dL/dW", title="Gradient flow, layer by layer")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, ncols=1 + n // 20, reverse=True)
    return ax


def to_torch(network: Network, out_activation: str | None) -> Any:
    """Return a network as a `torch.nn.Sequential` in evaluation mode, of the same float type.

    Parameters
    ----------
    network : Network
        Not of replicas, without Residual.
    out_activation : "logistic", "softmax" or None
        What comes after the logits.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    ValueError
        For a layer that has no counterpart.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch needs PyTorch, which is not installed: pip install torch") from error
    from torch import nn

    plain: dict[type[Layer], Any] = {
        Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, ReLU: nn.ReLU, SELU: nn.SELU, GELU: nn.GELU, SiLU: nn.SiLU,
        Softplus: lambda: nn.Softplus(threshold=40.0), Softsign: nn.Softsign, Identity: nn.Identity,
    }  # fmt: skip

    def converted(layer: Layer) -> Any:
        if type(layer) in plain:
            return plain[type(layer)]()
        if type(layer) is LeakyReLU:
            return nn.LeakyReLU(layer.slope)
        if type(layer) is ELU:
            return nn.ELU(layer.alpha)
        if type(layer) is Dropout:
            return nn.Dropout(layer.rate)
        if type(layer) is Dense:
            linear = nn.Linear(layer.n_in, layer.n_out)
            linear.weight.data, linear.bias.data = _tensor(layer.W.T), _tensor(layer.b[0])
            return linear
        if type(layer) is BatchNorm:
            norm = nn.BatchNorm1d(layer.n_in, eps=layer.epsilon, momentum=layer.momentum)
            norm.weight.data, norm.bias.data = _tensor(layer.gamma[0]), _tensor(layer.beta[0])
            norm.running_mean, norm.running_var = _tensor(layer.running_mean[0]), _tensor(layer.running_variance[0])
            return norm
        raise ValueError(f"to_torch: {layer!r} has no counterpart in PyTorch")

    def _tensor(array: np.ndarray) -> Any:
        return torch.from_numpy(np.array(array, order="C"))

    modules = [converted(layer) for layer in network.layers]
    if out_activation is not None:
        modules.append(nn.Softmax(dim=-1) if out_activation == "softmax" else nn.Sigmoid())
    return nn.Sequential(*modules).to(torch.float64 if network.dtype == np.float64 else torch.float32).eval()


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
    ImportError
        If the package onnx is not installed.
    ValueError
        For a layer, or a kind of class, that cannot be written.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ImportError("to_onnx needs the package onnx: pip install 'gradlab[onnx]'") from error

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
            os.chmod(file.name, path.stat().st_mode)


def _onnx_layer(add: _Graph, layer: Layer, x: str) -> str:
    """Add a layer as it predicts. Not every runtime has each activation in float64, so some are put together."""
    if type(layer) is Dense:
        return add("Add", add("MatMul", x, np.array(layer.W)), np.array(layer.b))
    if type(layer) is BatchNorm:
        scale = layer.gamma / np.sqrt(layer.running_variance + layer.epsilon)
        return add("Add", add("Mul", x, scale), layer.beta - layer.running_mean * scale)
    if type(layer) in (Dropout, Identity):
        return x
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
    kind = "an activation of somebody's own" if isinstance(layer, Activation) else "a layer that is not known"
    raise ValueError(f"to_onnx: {layer!r} is {kind}; it cannot be written")
