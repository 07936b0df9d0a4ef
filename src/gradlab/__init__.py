"""A tiny neural-network trainer, from scratch in NumPy, and a laboratory for gradient flow around it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradlab.nn import *  # noqa: F403
from gradlab.nn import __all__ as _of_nn
from gradlab.training import *  # noqa: F403
from gradlab.training import __all__ as _of_training

if TYPE_CHECKING:
    from gradlab.check import GradientCheck, check_gradients
    from gradlab.estimators import MLPClassifier

_LATE = {  # imported when they are asked for: scikit-learn takes a second
    "GradientCheck": "gradlab.check",
    "MLPClassifier": "gradlab.estimators",
    "check_gradients": "gradlab.check",
}
__version__ = "0.1.0"
__all__ = ["GradientCheck", "MLPClassifier", "check_gradients", *_of_nn, *_of_training]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
