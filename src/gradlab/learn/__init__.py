"""For those who learn backpropagation: one training step with every number shown."""

from gradlab.learn.trace import Explanation, explain

__all__ = ["Explanation", "explain"]
