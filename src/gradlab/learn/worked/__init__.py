"""One path: a step is taken (`step`), worked into lines (`lecture`, by `layers`, `losses`, `updates`), and written."""
