"""The exercise: A network of two layers, from the data to every gradient."""
