"""For those who learn backpropagation: one training step with every number shown, and checks that know the mistake."""

from gradlab.check.objects import check_file, check_object
from gradlab.check.optimizers import check_optimizer
from gradlab.check.verdict import Verdict
from gradlab.learn.diagram import Diagram, diagram
from gradlab.learn.worked.explanation import Explanation
from gradlab.learn.worked.lecture import explain

__all__ = ["Diagram", "Explanation", "Verdict", "check_file", "check_object", "check_optimizer", "diagram", "explain"]
