"""Whether a gradient is right, and if not, which mistake explains it."""

from gradlab.check.gradients import GradientCheck, check_gradients

__all__ = ["GradientCheck", "check_gradients"]
