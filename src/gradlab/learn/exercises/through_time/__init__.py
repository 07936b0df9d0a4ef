"""The exercise: backpropagation through time."""
