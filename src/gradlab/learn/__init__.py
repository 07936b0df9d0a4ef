"""For those who learn backpropagation: one training step with every number shown."""

from gradlab.learn.diagram import Diagram, diagram
from gradlab.learn.explanation import Explanation
from gradlab.learn.trace import explain

__all__ = ["Diagram", "Explanation", "diagram", "explain"]
