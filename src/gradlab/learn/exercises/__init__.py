"""Twelve exercises in backpropagation, from one sigmoid to a network in time: each module is a task, and solves it."""

EXERCISES: tuple[str, ...] = (
    "sigmoid",
    "relu",
    "dense_forward",
    "dense_backward",
    "squared_error",
    "cross_entropy",
    "softmax",
    "two_layer_net",
    "momentum",
    "adam",
    "batch_norm",
    "through_time",
)
