"""The same weights, the same batches, another program: every step must agree."""

import math

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

from gradlab.nn import (
    ACTIVATIONS,
    SGD,
    Adam,
    AdamW,
    BinaryCrossEntropy,
    Dense,
    Network,
    RMSProp,
    SoftmaxCrossEntropy,
    SquaredError,
    mlp,
)
from gradlab.training import train

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 3))
LABELS = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)
Y = LABELS[:, np.newaxis].astype(float)
BATCH = 16  # of 50 rows: the last batch has 2
EPOCHS = 5
WIDTHS = [3, 8, 5, 1]


def make(activation):
    return Network(mlp(WIDTHS, activation, bias_init="normal"), seed=1)


def denses(network):
    return [layer for layer in network.layers if isinstance(layer, Dense)]


def batches():
    for _ in range(EPOCHS):
        for start in range(0, len(X), BATCH):
            yield slice(start, start + BATCH)


def steps_of(network, loss, optimizer, y=Y, **options):
    return train(network, loss, optimizer, X, y, epochs=EPOCHS, batch_size=BATCH, shuffle=False, **options)


def agree(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)


# scikit-learn

# scikit-learn's Adam adds epsilon before the bias correction of the second moment, ours (as in the paper's
# algorithm, and in PyTorch) after it. With an epsilon too small to count, the two are one formula.
NO_EPSILON = 1e-100
SOLVERS = {
    "sgd": (lambda: SGD(0.2), {"solver": "sgd", "momentum": 0.0, "nesterovs_momentum": False}),
    "momentum": (lambda: SGD(0.05, 0.9), {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": False}),
    "nesterov": (lambda: SGD(0.05, 0.9, nesterov=True), {"solver": "sgd", "momentum": 0.9, "nesterovs_momentum": True}),
    "adam": (lambda: Adam(0.01, epsilon=NO_EPSILON), {"solver": "adam", "epsilon": NO_EPSILON}),
}


def scikit_learns(network, activation, learning_rate, **settings):
    """An MLPClassifier with the weights of a network, and a fresh optimizer."""
    theirs = MLPClassifier(WIDTHS[1:-1], activation, learning_rate_init=learning_rate, shuffle=False, **settings)
    theirs.set_params(batch_size=BATCH).partial_fit(X, LABELS, classes=[0, 1])
    del theirs._optimizer
    for layer, coefs, intercepts in zip(denses(network), theirs.coefs_, theirs.intercepts_, strict=True):
        coefs[...], intercepts[...] = layer.W, layer.b[0]
    return theirs


@pytest.mark.parametrize("l2", [0.0, 0.05])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "ours, theirs", [("sigmoid", "logistic"), ("tanh", "tanh"), ("relu", "relu"), ("identity", "identity")]
)
def test_steps_agree_with_scikit_learn(ours, theirs, solver, l2):
    make_optimizer, settings = SOLVERS[solver]
    optimizer = make_optimizer()
    network = make(ours)
    reference = scikit_learns(network, theirs, optimizer.learning_rate, **settings)
    for step, batch in zip(steps_of(network, BinaryCrossEntropy(), optimizer, l2=l2), batches(), strict=True):
        n = len(X[batch])
        reference.set_params(alpha=l2 * n, batch_size=n)  # scikit-learn divides its penalty by the batch size
        reference.partial_fit(X[batch], LABELS[batch])
        if not l2:
            agree(step.loss, reference.loss_)
        for layer, coefs, intercepts in zip(denses(network), reference.coefs_, reference.intercepts_, strict=True):
            agree(layer.W, coefs)
            agree(layer.b[0], intercepts)
    agree(network.predict_proba(X)[:, 0], reference.predict_proba(X)[:, 1])


# PyTorch

MODULES = {
    "sigmoid": ("Sigmoid", {}),
    "centred_sigmoid": ("CentredSigmoid", {}),  # PyTorch has none; see `module`
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}),
    "elu": ("ELU", {}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "silu": ("SiLU", {}),
    "softplus": ("Softplus", {"threshold": 50.0}),  # from there on PyTorch takes x for log(1 + e^x)
    "softsign": ("Softsign", {}),
    "identity": ("Identity", {}),
}
OPTIMIZERS = {
    "sgd": (lambda: SGD(0.1), "SGD", {"lr": 0.1}),
    "nesterov": (
        lambda: SGD(0.05, 0.9, nesterov=True),
        "SGD",
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    ),
    "adam": (lambda: Adam(0.01), "Adam", {"lr": 0.01}),
    "adamw": (lambda: AdamW(0.01, weight_decay=0.1), "AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": (lambda: RMSProp(0.01), "RMSprop", {"lr": 0.01, "alpha": 0.9}),
}


def module(torch, name, **settings):
    class CentredSigmoid(torch.nn.Module):
        def forward(self, x):
            return torch.sigmoid(x) - 0.5

    return CentredSigmoid() if name == "CentredSigmoid" else getattr(torch.nn, name)(**settings)


def pytorchs(torch, network, activation):
    """A torch.nn.Sequential with the weights of a network."""
    name, settings = MODULES[activation]
    modules = []
    for layer in denses(network):
        linear = torch.nn.Linear(layer.n_in, layer.n_out, dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.W.T.copy()))
            linear.bias.copy_(torch.tensor(layer.b[0].copy()))
        modules += [linear, module(torch, name, **settings)]
    return torch.nn.Sequential(*modules[:-1])


def agree_step_by_step(torch, network, reference, steps, optimizer, loss, y):
    for step, batch in zip(steps, batches(), strict=True):
        optimizer.zero_grad()
        value = loss(reference(torch.tensor(X[batch])), torch.tensor(y[batch]))
        value.backward()
        optimizer.step()
        agree(step.loss, value.item())
        linears = [module for module in reference if isinstance(module, torch.nn.Linear)]
        for layer, linear in zip(denses(network), linears, strict=True):
            agree(layer.dW, linear.weight.grad.numpy().T)
            agree(layer.db[0], linear.bias.grad.numpy())
            agree(layer.W, linear.weight.detach().numpy().T)
            agree(layer.b[0], linear.bias.detach().numpy())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_steps_agree_with_pytorch(activation, optimizer):
    torch = pytest.importorskip("torch")
    ours, theirs, settings = OPTIMIZERS[optimizer]
    network = make(activation)
    reference = pytorchs(torch, network, activation)
    agree_step_by_step(
        torch,
        network,
        reference,
        steps_of(network, BinaryCrossEntropy(), ours()),
        getattr(torch.optim, theirs)(reference.parameters(), **settings),
        torch.nn.functional.binary_cross_entropy_with_logits,
        Y,
    )


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error"])
def test_losses_of_several_outputs_agree_with_pytorch(name):
    torch = pytest.importorskip("torch")
    y = np.eye(3)[np.arange(50) % 3]
    loss, theirs = {
        "softmax_cross_entropy": (SoftmaxCrossEntropy(), torch.nn.functional.cross_entropy),
        # ½·Σ over the outputs, mean over the samples
        "squared_error": (SquaredError(), lambda z, t: 0.5 * ((z - t) ** 2).sum(dim=1).mean()),
    }[name]
    network = Network(mlp([3, 8, 3], "tanh"), seed=1)
    reference = pytorchs(torch, network, "tanh")
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.1)
    agree_step_by_step(torch, network, reference, steps_of(network, loss, SGD(0.1), y), optimizer, theirs, y)


def test_every_activation_has_its_counterpart():
    assert set(MODULES) == set(ACTIVATIONS)


def test_a_step_that_differs_a_little_is_noticed():
    network = make("tanh")
    reference = scikit_learns(network, "tanh", 0.2 * (1 + 1e-8), **SOLVERS["sgd"][1])
    reference.set_params(alpha=0.0)
    next(steps_of(network, BinaryCrossEntropy(), SGD(0.2)))
    reference.partial_fit(X[:BATCH], LABELS[:BATCH])
    apart = max(math.dist(a.W.ravel(), b.ravel()) for a, b in zip(denses(network), reference.coefs_, strict=True))
    assert 1e-10 < apart < 1e-7
