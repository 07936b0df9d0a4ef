"""One step of a 2-2-1 sigmoid network on two samples, worked by hand; every line of arithmetic fits a calculator."""

import numpy as np
import pytest

from gradlab.nn import SGD, BinaryCrossEntropy, Dense, Network, Sigmoid
from gradlab.training import train

X = np.array([[1.0, 2.0], [2.0, 0.0]])  # two samples, A and B
T = np.array([[1.0], [0.0]])
LEARNING_RATE = 0.5


@pytest.fixture
def network():
    network = Network([Dense(2, 2), Sigmoid(), Dense(2, 1)])
    hidden, _, output = network.layers
    hidden.W[...] = [[0.1, -0.2], [0.3, 0.4]]
    hidden.b[...] = [[-0.2, -0.6]]
    output.W[...] = [[1.0], [-2.0]]
    output.b[...] = [[0.5]]
    return network


def equals(array, expected):
    return array == pytest.approx(np.array(expected), rel=0.0, abs=1e-9)


def test_forward(network):
    _, z, a, logits = network.forward(X)
    # z = xW + b
    #   A: 1·0.1 + 2·0.3 − 0.2 = 0.5      1·(−0.2) + 2·0.4 − 0.6 =  0
    #   B: 2·0.1 + 0·0.3 − 0.2 = 0        2·(−0.2) + 0·0.4 − 0.6 = −1
    assert equals(z, [[0.5, 0.0], [0.0, -1.0]])
    # a = σ(z) = 1/(1 + e^−z)
    #   A: 1/(1 + 0.6065306597) = 0.6224593312      1/(1 + 1)            = 0.5
    #   B: 1/(1 + 1)            = 0.5               1/(1 + 2.7182818285) = 0.2689414214
    assert equals(a, [[0.6224593312, 0.5], [0.5, 0.2689414214]])
    # logit = 1·a₁ − 2·a₂ + 0.5
    #   A: 0.6224593312 − 2·0.5          + 0.5 = 0.1224593312
    #   B: 0.5          − 2·0.2689414214 + 0.5 = 0.4621171573
    assert equals(logits, [[0.1224593312], [0.4621171573]])


def test_loss(network):
    logits = network.forward(X)[-1]
    # p = σ(logit): A 1/(1 + e^−0.1224593312) = 0.5305766310, B 1/(1 + e^−0.4621171573) = 0.6135163044
    assert equals(network.predict_proba(X), [[0.5305766310], [0.6135163044]])
    # A has t = 1: −log 0.5305766310       = 0.6337908808
    # B has t = 0: −log(1 − 0.6135163044)  = −log 0.3864836956 = 0.9506655965
    # mean:        (0.6337908808 + 0.9506655965)/2             = 0.7922282386
    assert equals(BinaryCrossEntropy().value(logits, T), 0.7922282386)
    # slope of the mean, (p − t)/2: A (0.5305766310 − 1)/2 = −0.2347116845, B 0.6135163044/2 = 0.3067581522
    assert equals(BinaryCrossEntropy().gradient(logits, T), [[-0.2347116845], [0.3067581522]])


def test_backward(network):
    tape = network.forward(X)
    dx, dz, da, dlogits = network.backward(BinaryCrossEntropy().gradient(tape[-1], T), tape)
    hidden, _, output = network.layers
    assert equals(dlogits, [[-0.2347116845], [0.3067581522]])
    # Output layer: dW = aᵀ·dlogits, db = Σ dlogits
    #   dW₁ = 0.6224593312·(−0.2347116845) + 0.5·0.3067581522          = −0.1460984781 + 0.1533790761 =  0.0072805979
    #   dW₂ = 0.5·(−0.2347116845)          + 0.2689414214·0.3067581522 = −0.1173558422 + 0.0824999735 = −0.0348558688
    #   db  = −0.2347116845 + 0.3067581522 = 0.0720464677
    assert equals(output.dW, [[0.0072805979], [-0.0348558688]])
    assert equals(output.db, [[0.0720464677]])
    # da = dlogit·(1, −2)
    #   A: −0.2347116845   0.4694233690
    #   B:  0.3067581522  −0.6135163044
    assert equals(da, [[-0.2347116845, 0.4694233690], [0.3067581522, -0.6135163044]])
    # dz = da·a·(1 − a)
    #   A: −0.2347116845·0.6224593312·0.3775406688 = −0.0551581171     0.4694233690·0.5·0.5 = 0.1173558422
    #   B:  0.3067581522·0.5·0.5                   =  0.0766895380    −0.6135163044·0.2689414214·0.7310585786
    #                                                                                      = −0.1206246267
    assert equals(dz, [[-0.0551581171, 0.1173558422], [0.0766895380, -0.1206246267]])
    # Hidden layer: dW = xᵀ·dz, db = Σ dz
    #   dW₁₁ = 1·(−0.0551581171) + 2·0.0766895380 =  0.0982209589
    #   dW₁₂ = 1·0.1173558422 + 2·(−0.1206246267) = −0.1238934111
    #   dW₂₁ = 2·(−0.0551581171) + 0·0.0766895380 = −0.1103162342
    #   dW₂₂ = 2·0.1173558422 + 0·(−0.1206246267) =  0.2347116845
    #   db₁  = −0.0551581171 + 0.0766895380       =  0.0215314209
    #   db₂  =  0.1173558422 − 0.1206246267       = −0.0032687844
    assert equals(hidden.dW, [[0.0982209589, -0.1238934111], [-0.1103162343, 0.2347116845]])
    assert equals(hidden.db, [[0.0215314209, -0.0032687844]])
    # dx = dz·Wᵀ
    #   A: −0.0551581171·0.1 − 0.1173558422·0.2 = −0.0289869802    −0.0551581171·0.3 + 0.1173558422·0.4 =  0.0303949018
    #   B:  0.0766895380·0.1 + 0.1206246267·0.2 =  0.0317938791     0.0766895380·0.3 − 0.1206246267·0.4 = −0.0252429893
    assert equals(dx, [[-0.0289869802, 0.0303949018], [0.0317938791, -0.0252429893]])


def test_step(network):
    hidden, _, output = network.layers
    (step,) = train(network, BinaryCrossEntropy(), SGD(LEARNING_RATE), X, T, epochs=1, batch_size=2, shuffle=False)
    assert equals(step.loss, 0.7922282386)
    # p − 0.5·dL/dp
    #   hidden W: 0.1 − 0.5·0.0982209589    = 0.0508895205    −0.2 + 0.5·0.1238934111 = −0.1380532944
    #             0.3 + 0.5·0.1103162342    = 0.3551581171     0.4 − 0.5·0.2347116845 =  0.2826441578
    #   hidden b: −0.2 − 0.5·0.0215314209   = −0.2107657104   −0.6 + 0.5·0.0032687844 = −0.5983656078
    #   output W: 1 − 0.5·0.0072805979      = 0.9963597010    −2 + 0.5·0.0348558688   = −1.9825720656
    #   output b: 0.5 − 0.5·0.0720464677    = 0.4639767662
    assert equals(hidden.W, [[0.0508895205, -0.1380532944], [0.3551581172, 0.2826441578]])
    assert equals(hidden.b, [[-0.2107657104, -0.5983656078]])
    assert equals(output.W, [[0.9963597010], [-1.9825720656]])
    assert equals(output.b, [[0.4639767662]])
    # The same arithmetic with the new weights gives 0.7436360607: the step went downhill.
    assert equals(BinaryCrossEntropy().value(network.decision_function(X), T), 0.7436360607)
