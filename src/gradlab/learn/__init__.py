"""For those who learn backpropagation: one training step with every number shown, and checks that know the mistake."""

from gradlab.learn.check import check_file, check_object
from gradlab.learn.diagram import Diagram, diagram
from gradlab.learn.explanation import Explanation
from gradlab.learn.optimizercheck import check_optimizer
from gradlab.learn.trace import explain
from gradlab.learn.verdict import Verdict

__all__ = ["Diagram", "Explanation", "Verdict", "check_file", "check_object", "check_optimizer", "diagram", "explain"]
