"""The exercise: A dense layer, backward."""
