"""The exercise: batch normalisation, forward and backward."""
