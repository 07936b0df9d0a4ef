"""What the compiled engine knows: for each class a kernel, and a digest of the methods that the kernel stands for.

A kernel computes what its class says, as the class was when the kernel was written. So a class whose methods read
otherwise now, by an edit of its file, an assignment to the class or to an object, is unknown here, and runs plain.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np

from gradlab.nn import activations, losses, optimizers, relatives, remedies
from gradlab.nn.layers import Dense
from gradlab.nn.network import Network
from gradlab.nn.streams import Streams
from gradlab.nn.wiring import numbered
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
    Dense: Kernel("8b77d1f76fee3443", lambda layer: ("dense",)),
    remedies.BatchNorm: Kernel("b198c4ebd9247c43", lambda layer: ("batch_norm", layer.momentum, layer.epsilon)),
    remedies.Dropout: Kernel("46266eef0516dabb", lambda layer: ("dropout", layer.rate)),
    remedies.Residual: Kernel("c1f6b01c76f98e88", lambda layer: ("residual",)),
    activations.Sigmoid: Kernel("390217d6f807108f", lambda layer: ("sigmoid",)),
    relatives.CentredSigmoid: Kernel("627ff37052a56695", lambda layer: ("centred_sigmoid",)),
    activations.Tanh: Kernel("aead205167c86deb", lambda layer: ("tanh",)),
    activations.ReLU: Kernel("0369d60369ed5936", lambda layer: ("relu",)),
    relatives.LeakyReLU: Kernel("5fc6dbcc1ab2d0c0", lambda layer: ("leaky_relu", layer.slope)),
    relatives.ELU: Kernel("311b901950268b17", lambda layer: ("elu", layer.alpha, 1.0)),
    relatives.SELU: Kernel("e757871c80421d9f", lambda layer: ("elu", layer.ALPHA, layer.SCALE)),
    relatives.GELU: Kernel("9929fd7a2e5c4079", lambda layer: ("gelu",)),
    relatives.SiLU: Kernel("49b3d8ab06adf4af", lambda layer: ("silu",)),
    relatives.Softplus: Kernel("3c2a736f508db34f", lambda layer: ("softplus",)),
    relatives.Softsign: Kernel("47dad131153e6f75", lambda layer: ("softsign",)),
    activations.Identity: Kernel("cc77e13fea8fa7e8", lambda layer: ("identity",)),
}
LOSSES: dict[type, Kernel] = {
    losses.BinaryCrossEntropy: Kernel("cd419621dbb5a1a6", lambda loss: ("binary_cross_entropy",)),
    losses.SoftmaxCrossEntropy: Kernel("e0d827d592ece6e9", lambda loss: ("softmax_cross_entropy",)),
    losses.SquaredError: Kernel(
        "26451f45d8d9927e", lambda loss: ("squared_error_on_sigmoid" if loss.on == "sigmoid" else "squared_error",)
    ),
}
OPTIMIZERS: dict[type, Kernel] = {
    optimizers.SGD: Kernel("2d39e57e4a7c56c2", lambda o: ("sgd", o.momentum, o.nesterov)),
    optimizers.RMSProp: Kernel("898499bcd101e6c4", lambda o: ("rmsprop", o.decay, o.epsilon)),
    optimizers.Adam: Kernel("1318834160523321", lambda o: ("adam", o.beta1, o.beta2, o.epsilon, o.epsilon_hat)),
    optimizers.AdamW: Kernel(
        "7526a4a509e44554", lambda o: ("adamw", o.beta1, o.beta2, o.epsilon, o.epsilon_hat, o.weight_decay)
    ),
}
AROUND: dict[type, Kernel] = {  # what calls them
    Network: Kernel("1485e0dae0daede8", lambda network: ()),
    Penalties: Kernel("b0d590fb39c45ceb", lambda penalties: ()),
    Streams: Kernel("446f55480241aade", lambda streams: ()),
}


def unknown(network: Network, loss: Any = None, optimizer: Any = None, penalties: Any = None) -> str:
    """Name the first part that the compiled engine does not know, and why; empty if it knows all."""
    parts: list[tuple[str, Any, dict[type, Kernel]]] = [("network", network, AROUND)]
    parts += [(f"layers[{place}]", layer, LAYERS) for place, layer in numbered(network.layers)]
    parts += [("network.streams", network.streams, AROUND)]
    parts += [("loss", loss, LOSSES)] if loss is not None else []
    parts += [("optimizer", optimizer, OPTIMIZERS)] if optimizer is not None else []
    parts += [("penalties", penalties, AROUND)] if penalties is not None else []
    methods = {kind: _methods(kind) for kind in {type(part) for _, part, table in parts if type(part) in table}}
    known = {kind: (_digest(found), found.keys()) for kind, found in methods.items()}
    return next((f"{name}: {why}" for name, part, table in parts if (why := _why_unknown(part, table, known))), "")


def _why_unknown(part: Any, table: dict[type, Kernel], known: Mapping[type, tuple[str, AbstractSet[str]]]) -> str:
    kind = type(part)
    if kind not in table:
        return f"{part!r} has no compiled kernel"
    now, methods = known[kind]
    replaced = sorted(methods & vars(part).keys())
    if replaced:
        return f"{replaced[0]} of this {kind.__name__} has been replaced"
    if now != table[kind].digest:
        return f"{kind.__name__} is not as its compiled kernel expects: a method reads otherwise"
    return why_no_setting(part, table)


def why_no_setting(part: Any, table: dict[type, Kernel]) -> str:
    """Say which setting of a known part is no number, as kernels need it; empty if all are."""
    settings = [value for value in table[type(part)].of(part) if not isinstance(value, str)]
    settings += [part.learning_rate] if table is OPTIMIZERS else []
    wrong = [value for value in settings if not isinstance(value, int | float | np.integer | np.floating | np.bool_)]
    return f"{type(part).__name__} has a setting that is no number: {wrong[0]!r}" if wrong else ""


def digest(kind: type) -> str:
    """Return a digest of the syntax trees of a class's methods, inherited ones included, and of what they call here.

    Comments, docstrings and annotations do not count. It is empty if a source cannot be read.
    """
    return _digest(_methods(kind))


def _digest(found: dict[str, list[Any]]) -> str:
    trees = [f"{name}: {_tree(method)}" for name, methods in found.items() for method in methods]
    if any(tree.endswith(": ") for tree in trees):
        return ""
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:16]


def _methods(kind: type) -> dict[str, list[Any]]:
    """Find the methods that a kernel stands for, and those that they call, each as every class in line defines it."""
    found: dict[str, list[Any]] = {}
    wanted = list(METHODS)
    while wanted:
        name = wanted.pop(0)
        methods = [vars(base)[name] for base in kind.__mro__ if name in vars(base)]
        if name in found or not methods:
            continue
        found[name] = methods
        functions = [method for method in methods if isinstance(method, FunctionType)]
        called = sorted({name for function in functions for name in function.__code__.co_names})
        wanted += [n for n in called if isinstance(getattr(kind, n, None), FunctionType)]
    return found


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
