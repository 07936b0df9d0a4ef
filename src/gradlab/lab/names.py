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
    "binary_cross_entropy": "of the sigmoid of the logit, the two fused: the sigmoid's slope cancels",
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
    "test_balanced_accuracy": "share of each class of the test part classified rightly, averaged over both",
    "test_f1": "harmonic mean of precision and recall of the second class, on the test part",
    "test_roc_auc": "area under the ROC curve on the test part: share of the pairs whose logits are in order",
    "test_log_loss": "cross-entropy on the test part, whatever the training's loss",
    "test_majority": "share of the test part that is of the larger class: the accuracy of always saying it",
    "gradient_ratio": "norm of the first layer's weight gradient over the last layer's, at the first step",
    "gradient_decay": "the factor that this is a layer",
    "least_gradient": "least norm of a layer's weight gradient, at the first step",
    "final_gradient_ratio": "as gradient_ratio, at the last recorded step",
    "final_gradient_decay": "as gradient_decay, at the last recorded step",
    "final_least_gradient": "as least_gradient, at the last recorded step",
}
STATISTICS = ("mean", "median", "min", "max")
