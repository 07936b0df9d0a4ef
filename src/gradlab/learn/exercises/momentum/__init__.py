"""The exercise: a step of gradient descent with momentum."""
