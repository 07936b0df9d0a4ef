"""Answers to the exercise momentum."""

import numpy as np

from answer_bank import right, wrong


@right("momentum", "momentum_step", style="[...]")
def by_ellipsis(params, grads, velocity, learning_rate, momentum):
    velocity[...] = momentum * velocity + grads
    params[...] = params - learning_rate * velocity


@right("momentum", "momentum_step", style="loop over entries")
def by_loop(params, grads, velocity, learning_rate, momentum):
    for i in np.ndindex(params.shape):
        velocity[i] = momentum * velocity[i] + grads[i]
        params[i] = params[i] - learning_rate * velocity[i]


@right("momentum", "momentum_step", style="out=")
def by_out(params, grads, velocity, learning_rate, momentum):
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, grads, out=velocity)
    np.subtract(params, velocity * learning_rate, out=params)


@right("momentum", "momentum_step", style="new array, copied back")
def by_copyto(params, grads, velocity, learning_rate, momentum):
    new = velocity * momentum + grads
    np.copyto(velocity, new)
    np.copyto(params, params - learning_rate * new)


@right("momentum", "momentum_step", style="change of the velocity")
def by_change(params, grads, velocity, learning_rate, momentum):
    velocity -= (1 - momentum) * velocity - grads
    params += -learning_rate * velocity


@right("momentum", "momentum_step", style="both parts of the step")
def by_two_parts(params, grads, velocity, learning_rate, momentum):
    params -= learning_rate * momentum * velocity
    params -= learning_rate * grads
    velocity *= momentum
    velocity += grads


@right("momentum", "momentum_step", style="einsum")
def by_einsum(params, grads, velocity, learning_rate, momentum):
    velocity[:] = np.einsum("a,a...->...", [momentum, 1.0], np.stack([velocity, grads]))
    params[:] = np.einsum("a,a...->...", [1.0, -learning_rate], np.stack([params, velocity]))


@wrong("momentum", "momentum_step", mistake="dropped term")
def plain_gradient_descent(params, grads, velocity, learning_rate, momentum):
    velocity[...] = grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="dropped term")
def gradient_never_joins(params, grads, velocity, learning_rate, momentum):
    velocity[...] = momentum * velocity
    params -= learning_rate * (velocity + grads)


@wrong("momentum", "momentum_step", mistake="factor")
def damped(params, grads, velocity, learning_rate, momentum):
    velocity[...] = momentum * velocity + (1 - momentum) * grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="factor")
def velocity_never_fades(params, grads, velocity, learning_rate, momentum):
    velocity += grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="factor")
def learning_rate_twice(params, grads, velocity, learning_rate, momentum):
    velocity[...] = momentum * velocity + learning_rate * grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="not in place")
def both_rebound(params, grads, velocity, learning_rate, momentum):
    velocity = momentum * velocity + grads
    params = params - learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="not in place")
def velocity_rebound(params, grads, velocity, learning_rate, momentum):
    velocity = momentum * velocity + grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="not in place")
def params_rebound(params, grads, velocity, learning_rate, momentum):
    velocity *= momentum
    velocity += grads
    params = params - learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="not in place")
def returned(params, grads, velocity, learning_rate, momentum):
    new = momentum * velocity + grads
    return params - learning_rate * new, new


@wrong("momentum", "momentum_step", mistake="changes input")
def velocity_into_gradients(params, grads, velocity, learning_rate, momentum):
    grads += momentum * velocity
    velocity[...] = grads
    params -= learning_rate * velocity


@wrong("momentum", "momentum_step", mistake="changes input")
def gradients_scaled(params, grads, velocity, learning_rate, momentum):
    velocity *= momentum
    velocity += grads
    grads[...] = velocity
    grads *= learning_rate
    params -= grads


@wrong("momentum", "momentum_step", mistake="dtype")
def in_single_precision(params, grads, velocity, learning_rate, momentum):
    velocity[...] = (momentum * velocity + grads).astype(np.float32)
    params -= learning_rate * velocity
