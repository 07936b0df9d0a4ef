"""The exercise: a dense layer, backward."""
