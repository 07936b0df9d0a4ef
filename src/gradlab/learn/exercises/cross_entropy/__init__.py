"""The exercise: the cross-entropy of a sigmoid, for any logit, and its gradient."""
