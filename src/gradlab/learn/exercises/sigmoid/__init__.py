"""The exercise: the sigmoid and its slope."""
