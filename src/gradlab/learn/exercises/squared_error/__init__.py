"""The exercise: the squared error of a sigmoid, and its gradient."""
