"""What the compiled engine knows: for each class a kernel, and a digest of the methods that the kernel stands for.

A kernel computes what its class says, as the class was when the kernel was written. So a class whose methods read
otherwise now, by an edit of its file, an assignment to the class or to an object, is unknown here, and runs plain.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from gradlab.nn import activations, losses, optimizers, remedies
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.network import Network
from gradlab.nn.remedies import Residual
from gradlab.nn.streams import Streams
from gradlab.training.penalties import Penalties

METHODS = ("forward", "backward", "derivative", "moments", "gradient", "sample_gradients", "step", "begin", "uniform")


class Kernel(NamedTuple):
    """What stands for the objects of a class.

    Attributes
    ----------
    digest : str
        Of the methods, as `digest` gives it.
    of : callable
        From an object to the name of its kernel, followed by its settings.
    """

    digest: str
    of: Callable[[Any], tuple[Any, ...]]


LAYERS: dict[type, Kernel] = {
    Dense: Kernel("8707dc9a1d47b8d1", lambda layer: ("dense",)),
    remedies.BatchNorm: Kernel("21e439afcd67d34f", lambda layer: ("batch_norm", layer.momentum, layer.epsilon)),
    remedies.Dropout: Kernel("6faca9a58e45c0fa", lambda layer: ("dropout", layer.rate)),
    remedies.Residual: Kernel("b409de4849b3db79", lambda layer: ("residual",)),
    activations.Sigmoid: Kernel("046f5c114df76e69", lambda layer: ("centred_sigmoid" if layer.centred else "sigmoid",)),
    activations.Tanh: Kernel("48c355aea430835b", lambda layer: ("tanh",)),
    activations.ReLU: Kernel("3fd2d1214ebff649", lambda layer: ("relu",)),
    activations.LeakyReLU: Kernel("46349c92c382ab02", lambda layer: ("leaky_relu", layer.slope)),
    activations.ELU: Kernel("f849abad4f50b5ac", lambda layer: ("elu", layer.alpha, 1.0)),
    activations.SELU: Kernel("28ea815da488165c", lambda layer: ("elu", layer.ALPHA, layer.SCALE)),
    activations.GELU: Kernel("e10820ed542689c0", lambda layer: ("gelu",)),
    activations.SiLU: Kernel("b9185b2cdce9bf3c", lambda layer: ("silu",)),
    activations.Softplus: Kernel("1a09c9f825c02764", lambda layer: ("softplus",)),
    activations.Softsign: Kernel("f896dd75e17a43a6", lambda layer: ("softsign",)),
    activations.Identity: Kernel("6ce1eef9a080c827", lambda layer: ("identity",)),
}
LOSSES: dict[type, Kernel] = {
    losses.BinaryCrossEntropy: Kernel("c3dcc75209db08f7", lambda loss: ("binary_cross_entropy",)),
    losses.SoftmaxCrossEntropy: Kernel("f20e248bbe3121a0", lambda loss: ("softmax_cross_entropy",)),
    losses.SquaredError: Kernel(
        "2f94d7ad5fbfefa5", lambda loss: ("squared_error_on_sigmoid" if loss.on == "sigmoid" else "squared_error",)
    ),
}
OPTIMIZERS: dict[type, Kernel] = {
    optimizers.SGD: Kernel("d03c054d1cf8803d", lambda o: ("sgd", o.momentum, o.nesterov)),
    optimizers.RMSProp: Kernel("2311cda78ffe2d6f", lambda o: ("rmsprop", o.decay, o.epsilon)),
    optimizers.Adam: Kernel("06afc44020e31cd3", lambda o: ("adam", o.beta1, o.beta2, o.epsilon, o.epsilon_hat)),
    optimizers.AdamW: Kernel(
        "b31c3e8cd8b27e39", lambda o: ("adamw", o.beta1, o.beta2, o.epsilon, o.epsilon_hat, o.weight_decay)
    ),
}
AROUND: dict[type, Kernel] = {  # what calls them
    Network: Kernel("eff83c44a99b0fe8", lambda network: ()),
    Penalties: Kernel("b0d590fb39c45ceb", lambda penalties: ()),
    Streams: Kernel("446f55480241aade", lambda streams: ()),
}


def unknown(network: Network, loss: Any = None, optimizer: Any = None, penalties: Any = None) -> str:
    """Name the first part that the compiled engine does not know, and why; empty if it knows all."""
    parts: list[tuple[str, Any, dict[type, Kernel]]] = [("network", network, AROUND)]
    parts += [(f"layers[{place}]", layer, LAYERS) for place, layer in _each(network.layers)]
    parts += [("network.streams", network.streams, AROUND)]
    parts += [("loss", loss, LOSSES)] if loss is not None else []
    parts += [("optimizer", optimizer, OPTIMIZERS)] if optimizer is not None else []
    parts += [("penalties", penalties, AROUND)] if penalties is not None else []
    return next((f"{name}: {why}" for name, part, table in parts if (why := _why_unknown(part, table))), "")


def _each(layers: Iterable[Layer], path: str = "") -> Iterator[tuple[str, Layer]]:
    for i, layer in enumerate(layers):
        yield f"{path}{i}", layer
        if type(layer) is Residual:
            yield from _each(layer.layers, f"{path}{i}.")


def _why_unknown(part: Any, table: dict[type, Kernel]) -> str:
    kind = type(part)
    if kind not in table:
        return f"{part!r} has no compiled kernel"
    replaced = [name for name in METHODS if name in vars(part)]
    if replaced:
        return f"{replaced[0]} of this {kind.__name__} has been replaced"
    if digest(kind) != table[kind].digest:
        return f"{kind.__name__} is not as its compiled kernel expects: a method reads otherwise"
    return ""


def digest(kind: type) -> str:
    """Return a digest of the syntax trees of a class's methods, inherited ones included, and of what they call here.

    Comments, docstrings and annotations do not count. It is empty if a source cannot be read.
    """
    trees = []
    for base in kind.__mro__:
        for name in METHODS:
            method = vars(base).get(name)
            if method is not None:
                trees.append(f"{name}: {_tree(method)}")
    return (
        "" if any(tree.endswith(": ") for tree in trees) else hashlib.sha256("\n".join(trees).encode()).hexdigest()[:16]
    )


def _tree(function: Any, seen: frozenset[Any] = frozenset()) -> str:
    """Return a function's source without comments, then that of the functions of gradlab that it names."""
    if not isinstance(function, FunctionType):
        return ""
    trees = [_source(function.__code__)]
    for name in sorted(set(function.__code__.co_names)):
        called = function.__globals__.get(name)
        if isinstance(called, FunctionType) and called not in seen and called.__module__.startswith("gradlab."):
            trees.append(_tree(called, seen | {function}))
    return "" if "" in trees else "\n".join(trees)


@lru_cache(maxsize=1024)
def _source(code: CodeType) -> str:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, SyntaxError, TypeError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in (*node.args.args, *node.args.kwonlyargs):
                argument.annotation = None
    return ast.unparse(tree)
