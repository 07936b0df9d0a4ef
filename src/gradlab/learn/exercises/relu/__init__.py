"""The exercise: the rectifier and its slope."""
