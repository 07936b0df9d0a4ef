"""A tiny neural-network trainer, from scratch in NumPy, and a laboratory for gradient flow around it."""

from typing import TYPE_CHECKING, Any

from gradlab.nn import *  # noqa: F403
from gradlab.nn import __all__ as _of_nn

if TYPE_CHECKING:
    from gradlab.estimator import MLPClassifier

__version__ = "0.1.0"
__all__ = ["MLPClassifier", *_of_nn]


def __getattr__(name: str) -> Any:
    """Import the estimator when it is asked for: scikit-learn takes a second."""
    if name == "MLPClassifier":
        from gradlab.estimator import MLPClassifier

        return MLPClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "MLPClassifier"])
