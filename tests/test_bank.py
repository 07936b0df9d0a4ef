"""The bank of answers: every right one does what the solution does, every wrong one does not."""

import importlib

import answer_bank
import numpy as np
import pytest
from answer_bank.mutants import SLIPS, mutants

from gradlab.check import check_gradients
from gradlab.learn.exercises import EXERCISES, solution
from gradlab.nn import SGD, Adam, AdamW, Dense, Network, RMSProp

for name in (*EXERCISES, "check"):
    importlib.import_module(f"answer_bank.{name}")

N, D, K, STEPS = 5, 3, 4, 4
TARGETS = ("squared_error", "cross_entropy", "softmax")


def arguments(exercise, function):
    """Return the lists of arguments that a function is tried on: ordinary ones, then huge logits or later steps."""
    rng = np.random.default_rng(0)
    r = rng.standard_normal
    x, dy, z = r((N, D)), r((N, D)), 2.0 * r((N, K))
    t = np.exp(r((N, K)))
    t /= t.sum(axis=1, keepdims=True)
    huge = [np.array([[1e3, -1e3], [-1e3, 1e3]]), np.array([[0.0, 1.0], [0.25, 0.75]])]
    solved = solution(exercise)
    if exercise in ("sigmoid", "relu"):
        forward = getattr(solved, exercise)
        return [[x]] if function == exercise else [[dy, x, forward(x)]]
    if exercise in TARGETS:
        return [[z, t], huge] if exercise != "squared_error" else [[z, t]]
    if exercise == "dense_forward":
        return [[x, r((D, K)), r((1, K))]]
    if exercise == "dense_backward":
        return [[z, x, r((D, K))]]
    if exercise == "two_layer_net":
        params = [r(shape) for shape in [(D, K), (1, K), (K, 1), (1, 1)]]
        given = [x, rng.uniform(size=(N, 1)), *params]
        return [given] if function == "loss" else [given + [r(p.shape) for p in params]]
    if exercise == "momentum":
        return [[r(D), r(D), r(D), 0.1, 0.8]]
    if exercise == "adam":
        return [[r(D), r(D), r(D), r(D) ** 2, steps, 0.1, 0.8, 0.95, 1e-3] for steps in (1, 2, 3)]
    gamma = r((1, D))
    if exercise == "batch_norm":
        return [[x, gamma, r((1, D)), 1e-3]] if function == exercise else [[dy, x, gamma, 1e-3]]
    xs, W, U, b = r((STEPS, N, D)), 0.5 * r((D, K)), 0.5 * r((K, K)), r((1, K))
    return [[xs, W, U, b]] if function == "recurrent" else [[r((N, K)), xs, solved.recurrent(xs, W, U, b), W, U]]


def outcome(code, given):
    """Return everything that a call did, as arrays: what came back, and what its arguments hold afterwards."""
    given = [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in given]
    with np.errstate(all="ignore"):
        back = code(*given)
    back = back if isinstance(back, tuple) else () if back is None else (back,)
    return [*map(np.asarray, back), *(argument for argument in given if isinstance(argument, np.ndarray))]


def same(has, wanted):
    return len(has) == len(wanted) and all(
        a.shape == b.shape and a.dtype.kind == b.dtype.kind and np.allclose(a, b, rtol=1e-9, atol=1e-12)
        for a, b in zip(has, wanted, strict=True)
    )


def solution_to(answer):
    return getattr(solution(answer.exercise), answer.function)


def agrees(answer):
    """Whether an answer does what the solution does; one that fails does not."""
    solution = solution_to(answer)
    for given in arguments(answer.exercise, answer.function):
        try:
            has = outcome(answer.code, given)
        except ValueError:
            return False  # shapes that do not fit
        if not same(has, outcome(solution, given)):
            return False
    return True


def layer_is_right(layer):
    try:
        return bool(check_gradients(Network([layer], seed=1), tolerance=1e-8))
    except ValueError:
        return False  # shapes that do not fit


def loss_is_right(loss):
    """Whether the gradient is the value's, the value a mean and finite for huge logits, nothing changed or rounded."""
    rng = np.random.default_rng(0)
    z, t = rng.standard_normal((N, K)), rng.integers(0, 2, (N, K)).astype(float)
    twice = loss.value(np.concatenate([z, z]), np.concatenate([t, t])), loss.value(z.copy(), t.copy())
    with np.errstate(all="ignore"):
        finite = np.isfinite(loss.value(1e3 * z, t.copy()))
    kept = outcome(loss.value, [z, t])[1:] + outcome(loss.gradient, [z, t])[1:]
    network = Network([Dense(D, K)])
    matches = check_gradients(network, rng.standard_normal((N, D)), loss=loss, targets=t)
    exact = loss.gradient(z.copy(), t.copy()).dtype == np.float64
    return bool(matches and np.isclose(*twice) and finite and exact) and same(kept, [z, t, z, t])


def optimizer_is_right(optimizer):
    """Whether five steps go where the rule goes whose settings the optimizer has; for momentum there are two."""
    settings = {name: value for name, value in vars(optimizer).items() if name in HYPERPARAMETERS}
    peers = RULES[frozenset(settings)]
    rng = np.random.default_rng(0)
    params, gradients = rng.standard_normal(D), rng.standard_normal((5, D))
    copies = [params.copy() for _ in peers]
    peers = [rule(**settings) for rule in peers]
    unchanged = gradients.copy()
    for i in range(5):
        optimizer.step(params, gradients[i])
        for peer, copy in zip(peers, copies, strict=True):
            peer.step(copy, unchanged[i])
    return any(same([params, gradients], [copy, unchanged]) for copy in copies)


def nesterov(**settings):
    return SGD(**settings, nesterov=True)


HYPERPARAMETERS = ("learning_rate", "momentum", "decay", "beta1", "beta2", "epsilon", "weight_decay")
RULES = {
    frozenset({"learning_rate"}): [SGD],
    frozenset({"learning_rate", "momentum"}): [SGD, nesterov],
    frozenset({"learning_rate", "decay", "epsilon"}): [RMSProp],
    frozenset({"learning_rate", "beta1", "beta2", "epsilon"}): [Adam],
    frozenset({"learning_rate", "beta1", "beta2", "epsilon", "weight_decay"}): [AdamW],
}
IS_RIGHT = {
    "layer": layer_is_right,
    "activation": layer_is_right,
    "loss": loss_is_right,
    "optimizer": optimizer_is_right,
}


def label(answer):
    return f"{answer.exercise}-{answer.function}-{answer.code.__name__}"


ANSWERS = [answer for answer in answer_bank.ANSWERS if answer.exercise != "check"]
CLASSES = [answer for answer in answer_bank.ANSWERS if answer.exercise == "check"]


@pytest.mark.parametrize("answer", ANSWERS, ids=label)
def test_answer_is_what_it_is_called(answer):
    assert agrees(answer) == answer.is_right


@pytest.mark.parametrize("answer", CLASSES, ids=label)
def test_class_is_what_it_is_called(answer):
    assert IS_RIGHT[answer.function](answer.code()) == answer.is_right


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a.label == "changes input"], ids=label)
def test_answer_changes_an_argument(answer):
    given = arguments(answer.exercise, answer.function)[0]
    arrays = sum(isinstance(argument, np.ndarray) for argument in given)
    assert not same(outcome(answer.code, given)[-arrays:], outcome(solution_to(answer), given)[-arrays:])


@pytest.mark.parametrize("exercise", EXERCISES)
def test_every_exercise_has_answers_of_both_kinds(exercise):
    answers = [a for a in ANSWERS if a.exercise == exercise]
    assert sum(a.is_right for a in answers) >= 5
    assert sum(not a.is_right for a in answers) + len(mutants(exercise)) >= 12
    assert len({a.code.__name__ for a in answers}) == len(answers)


@pytest.mark.parametrize("answer", [a for a in ANSWERS if a.label == "stability"], ids=label)
def test_unstable_answer_is_right_for_ordinary_logits(answer):
    ordinary, _ = arguments(answer.exercise, answer.function)
    assert same(outcome(answer.code, ordinary), outcome(solution_to(answer), ordinary))


def test_unknown_mistake_is_refused():
    with pytest.raises(ValueError, match="mistake 'typo' is not one of mean missing, "):
        answer_bank.wrong("sigmoid", "sigmoid", "typo")


def test_every_slip_makes_mutants():
    assert {mutant.slip for exercise in EXERCISES for mutant in mutants(exercise)} == set(SLIPS)


def test_a_mutant_differs_in_one_place_and_only_what_is_wrong_is_kept():
    made = {mutant.line for mutant in mutants("dense_forward")}
    assert {"x @ W - b for x @ W + b", "x @ W for x @ W + b", "x @ W.T for x @ W"} <= made
    assert "x + W for x @ W" not in made
    assert not any(line.startswith("2.0") for line in made)  # there is no number in it
