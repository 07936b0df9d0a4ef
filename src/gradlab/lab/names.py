"""What a configuration can name besides data and the parts of a network, each with what it is."""

OPTIMIZER_OPTIONS = {
    "sgd": ("momentum", "nesterov"),
    "rmsprop": ("decay", "epsilon"),
    "adam": ("beta1", "beta2", "epsilon"),
    "adamw": ("beta1", "beta2", "epsilon", "weight_decay"),
}
SCHEDULE_OPTIONS = {
    "constant": (),
    "step": ("schedule_every", "schedule_factor"),
    "exponential": ("schedule_factor",),
    "cosine": ("schedule_floor",),
}
CONFIG_LOSSES = {
    "binary_cross_entropy": "of the sigmoid of the logit, the two fused: a wrong output never stalls",
    "squared_error": "of the sigmoid of the logit, its slope kept: a saturated output stalls",
}
ENGINES = {
    "auto": "compiled where Numba is installed and knows every part, else plain",
    "plain": "the layers themselves, one step after the other",
    "compiled": 'whole epochs without Python, the seeds on threads; needs: pip install "gradlab[fast]"',
}
MEASURES = {
    "test_accuracy": "share of the test part classified rightly, at the end",
    "train_accuracy": "the same of the training part",
    "test_loss": "loss on the test part, at the end",
    "train_loss": "loss on the training part, at the end",
    "gradient_ratio": "norm of the first layer's weight gradient over the last layer's, at the first step",
    "final_gradient_ratio": "the same at the last recorded step",
}
STATISTICS = ("mean", "median", "min", "max")
