"""A tiny neural-network trainer, from scratch in NumPy, and a laboratory for gradient flow around it."""

from gradlab.nn import *  # noqa: F403
from gradlab.nn import __all__  # noqa: F401

__version__ = "0.1.0"
