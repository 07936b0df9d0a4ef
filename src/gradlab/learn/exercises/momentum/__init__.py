"""The exercise: A step of gradient descent with momentum."""
