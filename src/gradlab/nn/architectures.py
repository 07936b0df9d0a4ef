"""Layers put together: the multilayer perceptron, with or without the remedies."""

from collections.abc import Sequence

from gradlab.nn.activations import ACTIVATIONS, Activation
from gradlab.nn.checks import check_float, check_int, lookup
from gradlab.nn.initializers import Initializer
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.remedies import BatchNorm, Dropout, Residual


def mlp(
    widths: Sequence[int],
    activation: str | Activation | Sequence[str | Activation] = "sigmoid",
    weight_init: str | Initializer | None = None,
    *,
    gain: float = 1.0,
    bias_init: str | Initializer = "zeros",
    dropout: float = 0.0,
    batch_norm: bool = False,
    residual: bool = False,
) -> list[Layer]:
    """Lay out a multilayer perceptron: Dense, then an activation, for each hidden layer; Dense for the logits.

    Parameters
    ----------
    widths : sequence of int
        Features in, units of each hidden layer, outputs: ``[2, 32, 32, 1]`` has two hidden layers.
    activation : str or Activation, or one a hidden layer
        A name from `ACTIVATIONS`, or an object.
    weight_init : str or callable, optional
        Of every Dense. Without it, what suits the activation behind: He for the ReLU family, LeCun for SELU,
        Glorot for the rest and for the logits.
    gain : float
        Factor on the standard deviation of all first weights.
    bias_init : str or callable
    dropout : float
        Share of each hidden layer's outputs that is dropped while training.
    batch_norm : bool
        Whether each hidden layer's pre-activations are normalised.
    residual : bool
        Whether a hidden layer that is as wide as the one before is added to it rather than put in its place.

    Returns
    -------
    list of Layer

    Raises
    ------
    ValueError
        If there are fewer than two widths, one is below 1, or the activations are not one a hidden layer.

    Examples
    --------
    >>> mlp([2, 4, 1], "relu")
    [Dense(2, 4), ReLU(), Dense(4, 1)]
    """
    if len(widths) < 2:
        raise ValueError(f"widths: {widths!r} needs at least two entries: features in and outputs")
    sizes = [check_int(f"widths[{i}]", width) for i, width in enumerate(widths)]
    depth = len(sizes) - 2
    each = list(activation) if isinstance(activation, list | tuple) else [activation] * depth
    if len(each) != depth:
        raise ValueError(f"activation: {len(each)} of them for {depth} hidden layers; give one, or one a hidden layer")
    dropout = check_float("dropout", dropout, 0.0, 1.0)
    layers: list[Layer] = []
    for n_in, n_out, choice in zip(sizes[:-2], sizes[1:-1], each, strict=True):
        act = choice if isinstance(choice, Activation) else lookup("activation", choice, ACTIVATIONS)()
        block: list[Layer] = [Dense(n_in, n_out, weight_init or act.weight_init, bias_init, gain)]
        if batch_norm:
            block.append(BatchNorm(n_out))
        block.append(act)
        if dropout:
            block.append(Dropout(dropout))
        layers += [Residual(block)] if residual and n_in == n_out else block
    layers.append(Dense(sizes[-2], sizes[-1], weight_init or "glorot_uniform", bias_init, gain))
    return layers
