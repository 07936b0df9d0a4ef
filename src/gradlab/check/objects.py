"""Is a layer, activation, loss or optimizer of one's own right? If not: what is wrong, and by which known mistake."""

from __future__ import annotations

import ast
import copy
import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from gradlab.check.apart import SECONDS, FailedCodeError, UnusableFileError, describe, load_file, run_apart
from gradlab.check.gradients import GradientCheck, check_gradients
from gradlab.check.judge import why_extreme
from gradlab.check.losses import KNOWN
from gradlab.check.mistakes import Suspect, find
from gradlab.check.optimizers import ALIASES, MissingSettingError, check_optimizer
from gradlab.check.rules import FAMILIES
from gradlab.check.verdict import Verdict
from gradlab.nn.activations import Activation
from gradlab.nn.checks import not_one_of
from gradlab.nn.layers import Layer
from gradlab.nn.losses import Loss
from gradlab.nn.network import Network
from gradlab.nn.optimizers import Optimizer

SIZES = {"n_in": 4, "n_out": 3, "n": 4, "n_features": 4, "features": 4, "width": 4, "d": 4}  # of arguments not given


def check_file(target: str, like: str = "", seconds: float = SECONDS) -> Verdict:
    """Check what a file defines, in a process of its own.

    Parameters
    ----------
    target : str
        ``"FILE.py:NAME"``, or ``"FILE.py:NAME(3, slope=0.1)"`` with arguments for its constructor; a dotted module may
        stand in place of the file.
    like : str
        For an optimizer: whose steps it should take, a name of `FAMILIES`; told from its settings unless given.
    seconds : float
        After so long, it counts as an endless loop.

    Returns
    -------
    Verdict

    Raises
    ------
    UnusableFileError
        If there is nothing to check: no such file or name, an error when it is imported or made, methods that are
        missing, results of the wrong shape or type, or nan.
    """
    if like and like not in FAMILIES:
        raise UnusableFileError(f"--like: {not_one_of(like, FAMILIES)}")
    path, name, arguments = _parse(target)
    try:
        return Verdict(**run_apart(_check, path, name, arguments, like, seconds=seconds))
    except FailedCodeError as error:
        return Verdict(False, name, str(error))


def _parse(target: str) -> tuple[str, str, str]:
    """Split ``FILE.py:NAME(arguments)``."""
    path, colon, rest = target.rpartition(":")
    found = re.fullmatch(r"([^\W\d]\w*)\s*(\(.*\))?", rest.strip(), re.DOTALL)
    if not colon or not path or found is None:
        raise UnusableFileError(f"{target}: not of the form FILE.py:NAME, such as layers.py:Cube")
    return path, found[1], found[2] or ""


# --- inside the process --------------------------------------------------------------------------------------------


def _check(path: str, name: str, arguments: str, like: str) -> dict[str, Any]:
    """Load, make and check it; return a Verdict's fields."""
    module = load_file(path)
    return asdict(check_object(_make(module, path, name, arguments), like, name=name, path=path))


def _make(module: Any, path: str, name: str, arguments: str) -> Any:
    """Return the object to be checked: made from its class if that is what the name stands for."""
    own = [n for n, v in vars(module).items() if inspect.isclass(v) and v.__module__ == module.__name__]
    if not hasattr(module, name):
        hint = not_one_of(name, own) if own else f"{name!r} is not in it, nor any class"
        raise UnusableFileError(f"{path}: {hint}")
    thing = getattr(module, name)
    if not callable(thing) or (not inspect.isclass(thing) and _kind(thing)):
        return thing
    if inspect.isfunction(thing) and not arguments and inspect.signature(thing).parameters:
        raise UnusableFileError(f"{path}, line {_line(thing)}: {name} is a function of arguments: {NOTHING}")
    line = f"{path}, line {_line(thing)}: "
    args, options = _arguments(arguments, line)
    if inspect.isclass(thing):
        _check_methods(thing, line)
    if not arguments:
        options = _sizes(thing, line, name)
    try:
        return thing(*args, **options)
    except BaseException as error:  # whatever a constructor raises
        raise UnusableFileError(describe(error, path, f"{name} cannot be made: ", _line(thing))) from None


def _line(thing: Any) -> int:
    try:
        return inspect.getsourcelines(thing)[1]
    except (OSError, TypeError):
        return 1


def _arguments(text: str, line: str) -> tuple[list[Any], dict[str, Any]]:
    """Read ``(3, slope=0.1)``: literals only."""
    if not text:
        return [], {}
    try:
        call = ast.parse(f"f{text}", mode="eval").body
        assert isinstance(call, ast.Call)
        return [ast.literal_eval(a) for a in call.args], {k.arg or "": ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, AssertionError):
        raise UnusableFileError(f"{line}{text} are not arguments; numbers, texts and lists are allowed") from None


def _sizes(thing: Any, line: str, name: str) -> dict[str, Any]:
    """Choose sizes for the arguments that a constructor needs."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return {}
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind in plain]
    known = SIZES | dict.fromkeys(ALIASES["learning_rate"], 0.1)
    missing = [n for n in needed if n not in known]
    if missing:
        raise UnusableFileError(f"{line}{name} needs {', '.join(missing)}: give it, as in {name}({missing[0]}=3)")
    return {n: known[n] for n in needed}


NOTHING = "no layer, activation, loss or optimizer"
METHODS = {"layer": ("forward", "backward"), "loss": ("value", "gradient"), "optimizer": ("step",)}


def _kind(thing: Any) -> str:
    """Return which kind of thing has these methods; empty for none."""
    for kind, base in (("layer", Layer), ("loss", Loss), ("optimizer", Optimizer)):
        if isinstance(thing, base) or (inspect.isclass(thing) and issubclass(thing, base)):
            return kind
    return next((kind for kind, names in METHODS.items() if all(hasattr(thing, n) for n in names)), "")


def _check_methods(cls: type, line: str) -> None:
    """Raise UnusableFileError for a class without the methods of its kind."""
    kind = _kind(cls)
    if not kind:
        wanted = "; ".join(f"a{'n' * (k[0] == 'o')} {k} has {' and '.join(names)}" for k, names in METHODS.items())
        near = [(k, [n for n in names if not hasattr(cls, n)]) for k, names in METHODS.items()]
        lacks = next((f"no {m[0]}" for k, m in near if len(m) < len(METHODS[k])), "none of the methods")
        raise UnusableFileError(f"{line}{cls.__name__} has {lacks}: {wanted}")
    if kind == "layer" and not issubclass(cls, Layer):
        raise UnusableFileError(f"{line}{cls.__name__} is no Layer: write class {cls.__name__}(gradlab.Layer)")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if issubclass(cls, Loss):
        either = (("value", "sample_losses"), ("gradient", "sample_gradients"))
        missing = [a for a, b in either if all(getattr(cls, n) is getattr(Loss, n) for n in (a, b))]
    if missing and kind != "optimizer":
        raise UnusableFileError(f"{line}{cls.__name__} has no {' and no '.join(missing)}, which a {kind} needs")


def check_object(subject: Any, like: str = "", *, name: str = "", path: str = "") -> Verdict:
    """Check a layer, activation, loss or optimizer that is there already, in this process.

    Parameters
    ----------
    subject : object
    like : str
        As for `check_file`.
    name, path : str
        What to call it, and where it stands, in sentences.

    Returns
    -------
    Verdict

    Raises
    ------
    UnusableFileError
        As for `check_file`.
    FailedCodeError
        If its code raises an error.
    """
    name = name or type(subject).__name__
    path = path or inspect.getsourcefile(type(subject)) or name
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # the numbers are judged, not the way to them
            return _verdict(subject, path, name, like)
    except (UnusableFileError, FailedCodeError):
        raise
    except BaseException as error:  # whatever somebody's own code raises
        raise FailedCodeError(describe(error, path, line=_line(type(subject)))) from None


def _verdict(subject: Any, path: str, name: str, like: str) -> Verdict:
    kind = _kind(subject)
    if isinstance(subject, Layer):
        return _of_layer(subject, path, name)
    if kind == "loss":
        return _of_loss(subject, path, name)
    if kind == "optimizer":
        try:
            return check_optimizer(subject, like, name=name)
        except MissingSettingError as error:
            raise UnusableFileError(f"{path}, line {_line(type(subject))}: {error}") from None
    raise UnusableFileError(f"{path}: {name} is of type {type(subject).__name__}: {NOTHING}")


def _of_layer(layer: Layer, path: str, name: str) -> Verdict:
    """Check a layer on small and on large numbers, as it predicts and as it trains."""
    rng = np.random.default_rng(0)
    network = Network([layer])
    network.params += np.where(network.params == 0.0, rng.standard_normal(network.params.shape), 0.0)  # 0 hides much
    features = getattr(layer, "n_in", None) or 3 * getattr(layer, "features", 1)
    drawn = rng.standard_normal((5, features))
    check: GradientCheck | None = None
    checked = kinks = 0
    worst = 0.0
    for training in (False, True):
        for x, words in ((drawn, "from N(0, 1)"), (3.0 * drawn[::-1], "from N(0, 9)")):
            _check_output(network, x, path, name, training)
            check = check_gradients(network, x, training=training)
            checked, kinks, worst = checked + check.checked, kinks + check.kinks, max(worst, check.error)
            if not check:
                _refuse_shapes(check, f"{path}, line {_line(type(layer).backward)}: {name}: ")
                where = f"x {words}, {len(x)} samples of {features} features{', training' if training else ''}"
                return Verdict(False, name, _told(check, where), check.mistake)
    return Verdict(True, name, _counted(checked, kinks, worst))


def _check_output(network: Network, x: np.ndarray, path: str, name: str, training: bool) -> None:
    """Raise UnusableFileError unless forward and backward give finite arrays of the right shape."""
    [layer] = copy.deepcopy(network).layers
    layer.training = training
    _check_arguments(layer.forward, (x,), path, name)
    _check_arguments(layer.backward, (x, x, x), path, name)
    place = f"{path}, line {_line(type(layer).forward)}: {name}.forward"
    y = layer.forward(x.copy())
    _refuse(y, None, f"{place} gives", f"for x from {x.min():.3g} to {x.max():.3g}")
    if y.ndim != 2 or len(y) != len(x):
        raise UnusableFileError(f"{place} gives an array of shape {y.shape} for x of shape {x.shape}; (n, d) is wanted")
    if isinstance(layer, Activation) and type(layer).derivative is not Activation.derivative:
        slope = layer.derivative(x.copy(), y.copy())
        if isinstance(slope, np.ndarray) and slope.dtype.kind in "biu":
            line = f"{path}, line {_line(type(layer).derivative)}: {name}.derivative"
            raise FailedCodeError(f"{line} gives an array of {slope.dtype}; give floats, as in .astype(x.dtype)")
    try:
        dx = layer.backward(np.ones_like(y), x.copy(), y.copy())
    except Exception:  # is named where the mistakes are looked for
        return
    place = f"{path}, line {_line(type(layer).backward)}: {name}.backward"
    transposed = np.ndim(dx) == 2 and np.shape(dx) == x.shape[::-1]  # a known mistake, which is named further on
    _refuse(dx, None if transposed else x.shape, f"{place} gives", "for finite dy, x and y")


def _check_arguments(method: Callable[..., Any], arguments: tuple[Any, ...], path: str, name: str) -> None:
    """Raise UnusableFileError for a method that does not take so many arguments."""
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError as error:
        place = f"{path}, line {_line(method)}: {name}.{getattr(method, '__name__', '')}"
        raise UnusableFileError(f"{place} takes other arguments than it is given: {error}") from None


def _refuse(array: Any, shape: tuple[int, ...] | None, gives: str, when: str) -> None:
    """Raise UnusableFileError for what is no array of numbers, of another shape, or not finite."""
    if not isinstance(array, np.ndarray):
        raise UnusableFileError(f"{gives} {'None' if array is None else f'a {type(array).__name__}'}, not an array")
    if array.dtype.kind not in "fiub":
        raise UnusableFileError(f"{gives} an array of {array.dtype}, not of floats")
    if shape is not None and array.shape != shape:
        raise UnusableFileError(f"{gives} an array of shape {array.shape}, not {shape} as x has")
    if not np.isfinite(array).all():
        at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise UnusableFileError(f"{gives} {array[tuple(at)]} at {at} {when}")


def _refuse_shapes(check: GradientCheck, line: str) -> None:
    if "has shape" in check.reason and not check.mistake:
        raise UnusableFileError(f"{line}{check.reason.partition('): ')[2]}")


def _of_loss(subject: Any, path: str, name: str) -> Verdict:
    """Check a loss on binary and on one-hot targets."""
    loss = subject if isinstance(subject, Loss) else _Plain(subject)
    rng = np.random.default_rng(0)
    place = f"{path}, line {_line(type(subject).value)}: {name}.value"
    checked = kinks = 0
    worst = 0.0
    for k in (3, 1):
        logits = 2.0 * rng.standard_normal((5, k))
        hot = rng.integers(0, max(k, 2), 5)
        targets = np.eye(k)[hot] if k > 1 else hot[:, np.newaxis].astype(float)
        value = loss.value(logits.copy(), targets.copy())
        if np.shape(value) != ():
            raise UnusableFileError(f"{place} gives an array of shape {np.shape(value)}; one number is wanted")
        if not isinstance(value, int | float | np.generic | np.ndarray) or not np.isfinite(value):
            raise UnusableFileError(f"{place} gives {value!r} for finite logits and targets")
        slopes = loss.gradient(logits.copy(), targets.copy())
        line = f"{path}, line {_line(type(subject).gradient)}: {name}.gradient gives"
        _refuse(slopes, logits.shape, line, "for finite logits and targets")
        check = check_gradients(loss, logits, targets=targets)
        checked, kinks, worst = checked + check.checked, kinks + check.kinks, max(worst, check.error)
        if not check:
            where = f"5 samples of {k} logit{'s' * (k > 1)}"
            if not check.mistake:
                check = _explained_by_its_kind(check, loss, logits, targets, slopes)
            return Verdict(False, name, _told(check, where), check.mistake)
    wrong = _of_extremes(loss, name)
    return Verdict(True, name, _counted(checked, kinks, worst)) if wrong is None else wrong


class _Plain(Loss):
    """A loss of a class that is not derived from Loss."""

    def __init__(self, subject: Any):
        self.subject = subject

    def value(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return self.subject.value(logits, targets)

    def gradient(self, logits: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return self.subject.gradient(logits, targets)


def _explained_by_its_kind(
    check: GradientCheck, loss: Any, logits: np.ndarray, targets: np.ndarray, slopes: np.ndarray
) -> GradientCheck:
    """Add the mistake that explains the slopes, if the value is that of a loss whose mistakes are known."""
    for known in KNOWN:
        if known.is_like(loss):
            made = (Suspect(m, says, np.asarray(wrong(logits, targets))) for m, says, wrong in known.gradients)
            suspect = find(slopes, known.right.gradient(logits, targets), made)
            if suspect is not None:
                return replace(check, mistake=suspect.mistake, explanation=suspect.sentence)
    return check


def _of_extremes(loss: Any, name: str) -> Verdict | None:
    """Return what is wrong with a well-known loss where the logits are large; None if nothing is."""
    for known in KNOWN:
        for draw in known.extremes if known.extremes and known.is_like(loss) else ():
            for method in ("value", "gradient"):
                found, right = (getattr(each, method)(*copy.deepcopy(draw).values()) for each in (loss, known.right))
                if not np.allclose(found, right, 1e-9, 0.0):
                    says = (
                        f"{method} is {np.ravel(found)} for the logits {np.ravel(draw['z'])}, but {np.ravel(right)} is "
                    )
                    says += f"right: {why_extreme(np.asarray(found))}"
                    return Verdict(False, name, says, "stability")
    return None


def _told(check: GradientCheck, where: str) -> str:
    """Put a check of one layer into sentences."""
    reason = check.reason.partition("): ")[2] or check.reason
    reason = reason.replace("the gradient of x ", "the gradient of the logits ") if "logit" in where else reason
    likely = f"\n  most likely: {check.explanation}" if check.explanation else ""
    by = f" (relative error {check.error:.1e})" if np.isfinite(check.error) else ""
    counted = f"{check.checked} entries compared, {check.kinks} left out at kinks"
    return f"{reason}{by}{likely}\n  with {where}; {counted}"


def _counted(checked: int, kinks: int, worst: float) -> str:
    return f"{checked} entries compared, {kinks} left out at kinks, worst relative error {worst:.1e}"
