"""The gradient-flow laboratory: what is recorded of a step, and what the numbers of many seeds say."""
