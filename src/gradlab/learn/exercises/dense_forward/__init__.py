"""The exercise: a dense layer, forward."""
