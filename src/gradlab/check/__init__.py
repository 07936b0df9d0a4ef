"""Whether a gradient is right, and if not, which mistake explains it."""

from gradlab.check.gradients import GradientCheck, check_gradients
from gradlab.check.objects import check_file, check_object
from gradlab.check.optimizers import check_optimizer
from gradlab.check.verdict import Verdict

__all__ = ["GradientCheck", "Verdict", "check_file", "check_gradients", "check_object", "check_optimizer"]
