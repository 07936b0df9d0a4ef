"""The network, in NumPy alone. To learn backpropagation, read layers, activations, losses and backpropagation."""

from gradlab.nn.activations import (
    ACTIVATIONS,
    Activation,
    Identity,
    ReLU,
    Sigmoid,
    Tanh,
)
from gradlab.nn.architectures import mlp
from gradlab.nn.initializers import INITIALIZERS
from gradlab.nn.layers import Dense, Layer
from gradlab.nn.losses import LOSSES, BinaryCrossEntropy, Loss, SoftmaxCrossEntropy, SquaredError
from gradlab.nn.network import Network
from gradlab.nn.optimizers import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, RMSProp
from gradlab.nn.recurrent import Recurrent
from gradlab.nn.relatives import ELU, GELU, SELU, CentredSigmoid, LeakyReLU, SiLU, Softplus, Softsign
from gradlab.nn.remedies import BatchNorm, Dropout, Residual

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "INITIALIZERS",
    "LOSSES",
    "OPTIMIZERS",
    "SELU",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CentredSigmoid",
    "Dense",
    "Dropout",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Loss",
    "Network",
    "Optimizer",
    "RMSProp",
    "ReLU",
    "Recurrent",
    "Residual",
    "SiLU",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Softsign",
    "SquaredError",
    "Tanh",
    "mlp",
]
