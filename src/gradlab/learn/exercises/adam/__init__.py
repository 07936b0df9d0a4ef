"""The exercise: A step of Adam."""
