"""A training that leaves the finite numbers says where it began."""

import pickle

import numpy as np
import pytest
from trainings import BCE, SEEDS, X, Y, fitted

from gradlab.nn import SGD, Dense, Network, SquaredError, mlp
from gradlab.training import DivergenceError, train


def diverged(network, optimizer, x=X, y=Y, loss=BCE, **options):
    with pytest.raises(DivergenceError) as caught:
        fitted(network, optimizer, x, y, loss=loss, **options)
    return caught.value


@pytest.mark.parametrize("loss", [BCE, SquaredError()], ids=repr)
@pytest.mark.parametrize("optimizer", [lambda: SGD(1e200), lambda: SGD(1e120, 0.9)], ids=["sgd", "momentum"])
@pytest.mark.parametrize("seed", [0, SEEDS], ids=["one", "replicas"])
def test_relu_network_with_a_huge_rate_diverges_with_a_word(seed, optimizer, loss):
    network = Network(mlp([2, 16, 16, 1], "relu"), seed=seed)
    error = diverged(network, optimizer(), loss=loss, epochs=50)
    assert error.epoch == error.step // 3
    assert np.isfinite(error.last_loss)
    for words in (f"epoch {error.epoch}, step {error.step}", f"layer {error.layer} (", f"seed {error.seed}"):
        assert words in str(error)
    assert f"the last finite loss was {error.last_loss:.6g}" in str(error)


def test_divergence_names_the_layer_where_it_began():
    network = Network(mlp([2, 4, 4, 1], "relu", "constant"))
    network.layers[2].W[...] = 1e308
    error = diverged(network, SGD(), x=np.ones((10, 2)))
    assert (error.epoch, error.step, error.layer, error.quantity) == (0, 0, 2, "output")
    assert np.isnan(error.last_loss)
    assert "the output of layer 2 (Dense(4, 4)), seed 0, is not finite. A smaller" in str(error)


def test_divergence_names_the_delta_where_it_began():
    network = Network([Dense(2, 2, "constant"), Dense(2, 1, "constant")])
    network.layers[0].W[...] = 0.0
    network.layers[1].W[...] = 1e200
    error = diverged(network, SGD(), y=np.full(10, 1e200), loss=SquaredError())
    assert (error.layer, error.quantity) == (1, "delta")


def test_divergence_names_the_gradient_where_it_began():
    error = diverged(Network([Dense(2, 1)]), SGD(), x=X * 1e160, y=X[:, 0] * 1e160, loss=SquaredError())
    assert (error.layer, error.quantity) == (0, "gradient")


def test_divergence_names_the_parameters():
    error = diverged(Network([Dense(2, 1, gain=1e3)]), SGD(1e308), loss=SquaredError(), batch_size=10)
    assert (error.epoch, error.step, error.layer, error.quantity) == (0, 0, 0, "parameters")


def test_divergence_reports_the_loss_of_the_step_before():
    network = Network([Dense(2, 1)])
    losses = []
    steps = train(network, BCE, SGD(1e308), X * 10, Y, epochs=9, batch_size=4)
    with pytest.raises(DivergenceError) as caught:
        losses.extend(float(step.loss) for step in steps)
    assert caught.value.step == len(losses) > 0
    assert caught.value.last_loss == losses[-1]


def test_divergence_of_one_replica_is_that_of_the_network_alone():
    x = np.stack([X, X * 1e100, X])
    together = diverged(Network([Dense(2, 1)], seed=[4, 9, 6]), SGD(1e-3), x, X[:, 0], SquaredError())
    alone = diverged(Network([Dense(2, 1)], seed=9), SGD(1e-3), x[1], X[:, 0], SquaredError())
    assert together.seed == 9
    assert np.isfinite(alone.last_loss)
    assert vars(together) == vars(alone)


def test_large_finite_gradients_are_no_divergence():
    fitted(Network([Dense(2, 1)]), SGD(1e-300), x=X * 1e100, loss=SquaredError())


def test_divergence_error_survives_a_trip_between_processes():
    error = DivergenceError(3, 41, 2, "output", 7, 0.25, "ReLU()")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)
