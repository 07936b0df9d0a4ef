"""MLPClassifier for scikit-learn's users: its parameters, samples and solvers, and the ways to other libraries."""

from gradlab.estimators.classifier import MLPClassifier

__all__ = ["MLPClassifier"]
