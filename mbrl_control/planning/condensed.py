"""The linear-quadratic problem of one horizon about a sequence, over its knots alone: states are eliminated."""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.limits import mean_actions
from mbrl_control.planning.problem import Best, Problem
from mbrl_control.planning.protocol import Expansion
from mbrl_control.planning.quadratic import Quadratic, allowed_changes
from mbrl_control.signals import Array


def condensed(problem: Problem, best: Best) -> Quadratic | None:
    """About ``best``, whose predicted motion gives the states; None where a derivative is not finite."""
    derivatives, objective = problem.derivatives, problem.objective
    if derivatives is None:
        raise ValueError("no derivatives: open the model with them")
    actions = mean_actions(best.knots[None], problem.first_knot)[0]
    states = trajectory_states(problem.state, actions, best.position, best.velocity)
    expansion = derivatives.expand(states, actions, objective)
    if not all(np.isfinite(part).all() for part in (expansion.jacobian, expansion.gradient, expansion.hessian)):
        return None
    response = motion_response(expansion, states.shape[1])
    horizon, joints = actions.shape
    flat = response.reshape(-1, horizon * joints)
    curved = _positive(expansion.hessian) @ response.reshape(horizon, 2 * joints, -1)
    gradient = flat.T @ expansion.gradient.reshape(-1)
    hessian = flat.T @ curved.reshape(-1, horizon * joints)
    return _with_smoothness(problem, states[0], actions, gradient, hessian, best.knots)


def trajectory_states(state: Array, actions: Array, position: Array, velocity: Array) -> Array:
    """States [H, S] before each of the actions [H, J] of a trajectory with motions [H, J] after them."""
    horizon, joints = actions.shape
    past = (len(state) - 2 * joints) // joints
    told = np.concatenate([state[2 * joints :].reshape(past, joints), actions])
    histories = np.stack([told[step : step + past].ravel() for step in range(horizon)])
    positions = np.vstack([state[:joints], position[:-1]])
    velocities = np.vstack([state[joints : 2 * joints], velocity[:-1]])
    return np.concatenate([positions, velocities, histories], axis=1)


def motion_response(expansion: Expansion, size: int) -> Array:
    """[H, 2J, H, J]: change of the motion after each step by each knot, ``size`` numbers in a state."""
    horizon, motions, _ = expansion.jacobian.shape
    joints = motions // 2
    by_knot = np.eye(horizon) * 0.5 + np.eye(horizon, k=-1) * 0.5
    action = np.einsum("hk,ij->hikj", by_knot, np.eye(joints)).reshape(horizon, joints, -1)
    state = np.zeros((size, horizon * joints))
    response = np.empty((horizon, motions, horizon * joints))
    for step in range(horizon):
        moved = expansion.jacobian[step]
        response[step] = moved[:, :size] @ state + moved[:, size:] @ action[step]
        state = np.concatenate([response[step], state[motions + joints :], action[step]])
    return response.reshape(horizon, motions, horizon, joints)


def _positive(hessian: Array) -> Array:
    """[H, M, M] without their negative curvature."""
    values, vectors = np.linalg.eigh(0.5 * (hessian + hessian.transpose(0, 2, 1)))
    return np.asarray((vectors * np.maximum(values, 0.0)[:, None]) @ vectors.transpose(0, 2, 1))


def _with_smoothness(
    problem: Problem, start: Array, actions: Array, gradient: Array, hessian: Array, knots: Array
) -> Quadratic:
    """Adds what changes of the command cost, and the limits of the knots."""
    horizon, joints = actions.shape
    before = np.vstack([start[-joints:], actions[:-1]])
    difference = (np.eye(horizon) - np.eye(horizon, k=-1)) @ (0.5 * np.eye(horizon) + 0.5 * np.eye(horizon, k=-1))
    scale = 2.0 / (horizon * joints) * problem.smoothness
    gradient = gradient + (difference.T @ ((actions - before) * scale)).ravel()
    hessian = hessian + np.kron(difference.T @ difference, np.diag(scale))
    unit = np.tile(problem.limits.bound, horizon)
    limits = allowed_changes(knots, problem.first_knot, problem.limits)
    return Quadratic(gradient * unit, hessian * np.outer(unit, unit), *limits, problem.limits.bound)
