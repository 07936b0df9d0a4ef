"""The exercise: a step of Adam."""
