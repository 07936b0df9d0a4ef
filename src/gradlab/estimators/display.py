"""What a notebook shows of a fitted classifier: its network as a table, its gradient flow as a figure."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from gradlab.extras import needed_by
from gradlab.nn import Dense, Network


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

    Raises
    ------
    ModuleNotFoundError
        If Matplotlib is not installed.
    """
    with needed_by("plot_flow"):
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
