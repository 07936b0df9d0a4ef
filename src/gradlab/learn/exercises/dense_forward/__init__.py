"""The exercise: A dense layer, forward."""
