"""Training a network: the loop, what stops it, and the engines that take its steps."""

from gradlab.training.divergence import DivergenceError
from gradlab.training.engines import EngineError, evaluate, predict
from gradlab.training.loop import Step, train
from gradlab.training.stopping import best_weights, early_stopping

__all__ = [
    "DivergenceError",
    "EngineError",
    "Step",
    "best_weights",
    "early_stopping",
    "evaluate",
    "predict",
    "train",
]
