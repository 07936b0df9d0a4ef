"""The exercise: a network of two layers, from the data to every gradient."""
