"""In each epoch every row comes exactly once, in an order that its seed decides."""

import numpy as np
import pytest
from scipy import sparse
from trainings import BCE, IDS, SEEDS, X, Y, fitted, make, rows

from gradlab.nn import SGD, Dense, Network, SquaredError, mlp
from gradlab.training import train


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 1000])
def test_every_row_comes_exactly_once_an_epoch(batch_size):
    for batches in rows(Network([Dense(1, 1)]), 5, batch_size):
        assert sorted(np.concatenate(batches)) == list(range(10))


def test_last_short_batch_is_used_in_its_own_epoch():
    for batches in rows(Network([Dense(1, 1)]), 3, 4):
        assert [len(batch) for batch in batches] == [4, 4, 2]


def test_rows_are_permuted_anew_each_epoch():
    orders = [tuple(np.concatenate(batches)) for batches in rows(Network([Dense(1, 1)]), 5)]
    assert len(set(orders)) == 5
    assert tuple(range(10)) not in orders


def test_rows_are_mixed_across_batches():
    first = {frozenset(batches[0].tolist()) for batches in rows(Network([Dense(1, 1)]), 20)}
    assert len(first) > 10  # shuffling the order of fixed batches gives 3


def test_without_shuffle_rows_come_in_order():
    for batches in rows(Network([Dense(1, 1)]), 3, shuffle=False):
        assert np.concatenate(batches).tolist() == list(range(10))


def test_replicas_have_orders_of_their_own():
    (batches,) = rows(Network([Dense(1, 1)], seed=SEEDS), batch_size=10)
    orders = batches[0]
    assert len({tuple(order) for order in orders}) == 3
    for r, seed in enumerate(SEEDS):
        ((alone,),) = rows(Network([Dense(1, 1)], seed=seed), batch_size=10)
        assert orders[r].tolist() == alone.tolist()


def test_targets_and_weights_go_with_their_rows():
    weights = np.arange(1.0, 11.0)
    network = Network([Dense(1, 1)], seed=SEEDS)
    for step in train(network, SquaredError(), SGD(1e-4), IDS, IDS * 2, epochs=2, batch_size=3, weights=weights):
        x, logits = step.tape[0], step.tape[-1]
        w = weights[x[..., 0].astype(int)]
        errors = 0.5 * (logits - 2 * x)[..., 0] ** 2
        np.testing.assert_allclose(step.loss, (w * errors).sum(axis=-1) / w.sum(axis=-1), rtol=1e-13)


def test_data_of_each_replica_are_permuted_apart():
    x = np.stack([IDS, IDS + 100.0, IDS + 200.0])
    network = Network([Dense(1, 1)], seed=SEEDS)
    (step,) = train(network, SquaredError(), SGD(1e-9), x, x * 2, epochs=1, batch_size=10)
    seen = step.tape[0][..., 0]
    np.testing.assert_array_equal(np.sort(seen, axis=-1), x[..., 0])
    errors = 0.5 * (step.tape[-1] - 2 * step.tape[0]) ** 2
    np.testing.assert_allclose(step.loss, errors.mean(axis=(-2, -1)), rtol=1e-13)


def test_an_order_of_ones_own():
    def turned(order):
        return np.roll(order, 1)

    steps = rows(Network(mlp([1, 2, 1], "tanh")), epochs=2, shuffle=turned)
    assert [np.concatenate(epoch).tolist() for epoch in steps] == [
        [9, 0, 1, 2, 3, 4, 5, 6, 7, 8],
        [8, 9, 0, 1, 2, 3, 4, 5, 6, 7],
    ]


def test_same_seed_gives_the_same_training():
    np.testing.assert_array_equal(fitted(seed=3).params, fitted(seed=3).params)


def test_another_seed_gives_another_order():
    assert not np.array_equal(fitted(seed=0).params, fitted(seed=1).params)


def test_order_depends_on_the_networks_seed_too():
    orders = [tuple(rows(Network([Dense(1, 1)], seed=seed), batch_size=10)[0][0]) for seed in range(4)]
    assert len(set(orders)) == 4


def test_replicas_may_be_given_a_seed_each():
    together = fitted(make(SEEDS), seed=[7, 8, 0])
    for r, (seed, own) in enumerate(zip([7, 8, 0], SEEDS, strict=True)):
        np.testing.assert_array_equal(together.params[r], fitted(make(own), seed=seed).params)


@pytest.mark.parametrize("make_sparse", [sparse.csr_array, sparse.csc_array, sparse.csr_matrix, sparse.coo_array])
def test_sparse_rows_train_as_dense_ones(make_sparse):
    zeros = X * (X > 0)
    np.testing.assert_array_equal(fitted(x=make_sparse(zeros)).params, fitted(x=zeros).params)


def test_sparse_rows_keep_the_networks_float_type():
    network = Network(mlp([2, 3, 1]), dtype=np.float32)
    for step in train(network, BCE, SGD(), sparse.csr_array(X), Y, epochs=1, batch_size=4):
        assert {x.dtype for x in step.tape} == {np.dtype(np.float32)}
