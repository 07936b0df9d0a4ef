"""Wrong answers made by machine: each solution with one thing in its syntax tree changed, as one slip of the pen does.

A kind of slip is a function from a node to what may stand in its place, each with the words for the mistake that are
right about it. A mutant that computes what the solution computes, on the trials' numbers and on others, is no mistake,
and is left out; so is one that raises an error on all of them, which Python itself reports.
"""

from __future__ import annotations

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlab.check.judge import Trial
from gradlab.learn.exercises import EXERCISES, solution, trials

REDUCTIONS = {"sum": "mean", "mean": "sum"}
FACTOR = {"factor"}
OF_A_MEAN = {"mean missing", "mean twice", "wrong axis", "factor", "dropped term"}
OF_A_SLOPE = {"slope missing", "slope twice", "delta missing", "dropped term", "factor", "mean missing", "mean twice"}
OF_ARRAYS = {"wrong layer", "slope at the input", "slope at the output", "transposed", "order", "slope missing", "sign"}


@dataclass(frozen=True)
class Mutant:
    """One wrong answer.

    Attributes
    ----------
    exercise, function : str
    slip : str
        The kind of slip: a key of `SLIPS`.
    line : str
        What was written in place of what.
    words : set of str
        The mistakes' names that are right about it.
    code : callable
    """

    exercise: str
    function: str
    slip: str
    line: str
    words: frozenset[str]
    code: Callable[..., Any]


Changes = Iterator[tuple[ast.AST, set[str]]]


def sign(node: ast.AST) -> Changes:
    """Plus for minus, minus for plus, a minus forgotten."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield ast.BinOp(node.left, other, node.right), {"sign", "dropped term", "factor"}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield node.operand, {"sign"}
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield ast.AugAssign(node.target, other, node.value), {"sign"}


def factor(node: ast.AST) -> Changes:
    """A number twice as large, or a power or root more or less."""
    if isinstance(node, ast.Constant) and isinstance(node.value, float) and node.value:
        yield ast.Constant(2.0 * node.value), {*FACTOR, "dropped term", "sign"}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.right, ast.Constant):
        yield node.left, {"dropped term", "factor", "bias correction"}
    if _is_call(node, "sqrt"):
        yield node.args[0], {"dropped term", "factor"}


def transposition(node: ast.AST) -> Changes:
    """A transposition forgotten, or one too many."""
    words = {"transposed", "wrong axis", "wrong layer"}
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, words
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        for side in ("left", "right"):
            operand = getattr(node, side)
            if isinstance(operand, ast.Name):
                turned = copy.copy(node)
                setattr(turned, side, ast.Attribute(operand, "T", ast.Load()))
                yield turned, words


def axis(node: ast.AST) -> Changes:
    """A sum along the other axis, or along none."""
    if isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg == "axis" and isinstance(keyword.value, ast.Constant):
                changed = copy.copy(node)
                changed.keywords = list(node.keywords)
                changed.keywords[i] = ast.keyword("axis", ast.Constant(1 - keyword.value.value))
                yield changed, {"wrong axis", "dropped term", "mean missing", "mean twice"}


def mean(node: ast.AST) -> Changes:
    """A sum for a mean, a mean for a sum, a division by n forgotten."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in REDUCTIONS:
        changed = copy.copy(node)
        changed.func = ast.Attribute(node.func.value, REDUCTIONS[node.func.attr], ast.Load())
        yield changed, OF_A_MEAN
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and ast.unparse(node.right) in ("n", "len(x)"):
        yield node.left, OF_A_MEAN


def slope(node: ast.AST) -> Changes:
    """A factor left out, or there twice: a slope, a delta."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and not _has_number(node):
        yield node.left, OF_A_SLOPE
        yield node.right, OF_A_SLOPE
        yield ast.BinOp(node, ast.Mult(), node.right), OF_A_SLOPE
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("tanh", "sigmoid"):
        yield node.args[0], OF_A_SLOPE


def array(node: ast.AST) -> Changes:
    """Another array than the one that belongs there: y for x, dz2 for dz1, the old for the new."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.MatMult | ast.Sub):
        for side in ("left", "right"):
            operand = getattr(node, side)
            if isinstance(operand, ast.Name):
                for other in ("x", "y", "dy", "W", "z1", "a1", "z2", "dz1", "dz2", "h", "W1", "W2", "grads", "m", "v"):
                    if other != operand.id:
                        changed = copy.copy(node)
                        setattr(changed, side, ast.Name(other, ast.Load()))
                        yield changed, {*OF_ARRAYS, "dropped term", "factor", "not updated", "bias correction"}


def writing(node: ast.AST) -> Changes:
    """Added for written, written for added."""
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
        yield ast.AugAssign(node.targets[0], ast.Add(), node.value), {"added", "factor", "dropped term"}
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        yield ast.Assign([node.target], node.value, lineno=0), {"dropped term", "not in place", "zero"}


def variance(node: ast.AST) -> Changes:
    """Divided by n − 1; epsilon outside the root, or inside."""
    if _is_call(node, "var"):
        changed = copy.copy(node)
        changed.keywords = [*node.keywords, ast.keyword("ddof", ast.Constant(1))]
        yield changed, {"factor", "mean missing", "mean twice"}
    if (
        _is_call(node, "sqrt")
        and isinstance(inner := node.args[0], ast.BinOp)
        and "epsilon" in ast.unparse(inner.right)
    ):
        root = ast.Call(node.func, [inner.left], [])
        yield ast.BinOp(root, ast.Add(), inner.right), {"epsilon inside the root"}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and _is_call(node.left, "sqrt"):
        inside = ast.BinOp(node.left.args[0], ast.Add(), node.right)
        yield ast.Call(node.left.func, [inside], []), {"epsilon inside the root"}


def term(node: ast.AST) -> Changes:
    """One term of a sum left out."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        words = {"dropped term", "slope missing", "factor", "bias correction", "sign", "delta missing"}
        yield node.left, words
        if isinstance(node.op, ast.Add):
            yield node.right, words


SLIPS: dict[str, Callable[[ast.AST], Changes]] = {
    slip.__name__: slip for slip in (sign, factor, transposition, axis, mean, slope, array, writing, variance, term)
}


def _is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name


def _has_number(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.Constant | ast.UnaryOp) for side in (node.left, node.right))


def mutants(exercise: str) -> list[Mutant]:
    """Return the mutants of an exercise's functions that are wrong, each only once."""
    solved, found = solution(exercise), []
    by_function: dict[str, list[Trial]] = {}
    for trial in trials(exercise):
        by_function.setdefault(trial.function, []).append(trial)
    for name, tried in by_function.items():
        right = getattr(solved, name)
        tree = ast.parse(textwrap.dedent(inspect.getsource(right))).body[0]
        seen = {ast.unparse(tree)}
        expected = [_results(right, trial) for trial in _and_others(tried)]
        for slip, line, words, changed in _changed(tree):
            text = ast.unparse(changed)
            if text in seen:
                continue
            seen.add(text)
            namespace = dict(vars(solved))
            exec(
                compile(ast.fix_missing_locations(ast.Module([changed], [])), f"<{slip} in {name}>", "exec"), namespace
            )
            code = namespace[name]
            given = [_results(code, trial) for trial in _and_others(tried)]
            if any(given) and not _same(expected, given):
                found.append(Mutant(exercise, name, slip, line, frozenset(words), code))
    return found


def _changed(tree: ast.AST) -> Iterator[tuple[str, str, set[str], ast.AST]]:
    """Yield the tree with one node changed: the slip, what it says, its words, and the tree."""
    for i, node in enumerate(ast.walk(tree)):
        for slip, changes in SLIPS.items():
            for new, words in changes(node):
                copied = copy.deepcopy(tree)
                target = list(ast.walk(copied))[i]
                replaced = _Put(target, copy.deepcopy(new)).visit(copied)
                yield slip, f"{ast.unparse(new)} for {ast.unparse(node)}", words, replaced


class _Put(ast.NodeTransformer):
    """Puts one node in another one's place."""

    def __init__(self, target: ast.AST, new: ast.AST):
        self.target, self.new = target, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.target else self.generic_visit(node)


def _and_others(tried: list[Trial]) -> list[list[dict[str, Any]]]:
    """Return the ordinary draws of trials, and the same with their numbers moved a little."""
    rng = np.random.default_rng(1)
    draws = [list(trial.draws) for trial in tried if not trial.extreme]
    moved = [
        [{k: v * rng.uniform(0.8, 1.2, v.shape) if isinstance(v, np.ndarray) else v for k, v in d.items()} for d in ds]
        for ds in draws
    ]
    return draws + moved


def _results(function: Callable[..., Any], draws: list[dict[str, Any]]) -> list[Any]:
    """Return all that a function gives, its arguments included, as it may write into them; nothing if it fails."""
    results: list[Any] = []
    for draw in draws:
        given = copy.deepcopy(draw)
        try:
            with np.errstate(all="ignore"):
                returned = function(*given.values())
        except Exception:  # whatever it raises: shapes that do not fit, names that are not there
            return []
        results += [*(returned if isinstance(returned, tuple) else (returned,)), *given.values()]
    return results


def _same(a: list[Any], b: list[Any]) -> bool:
    if [len(results) for results in a] != [len(results) for results in b]:
        return False
    pairs = ((x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))
    return all(x is y or (np.shape(x) == np.shape(y) and np.allclose(x, y, 1e-9, 1e-12)) for x, y in pairs)


def every_mutant() -> list[Mutant]:
    """Return the mutants of all exercises."""
    return [mutant for exercise in EXERCISES for mutant in mutants(exercise)]
