"""Friction and load of an arm under torques, identified before a network learns what is left.

Torque is linear in both, so one least-squares problem over the joints that slide finds them: a joint that sticks says
nothing of either, its friction is whatever holds it. All unknowns are at least zero: friction's two coefficients of
each joint, and the masses of points on a grid about the tool; so any load that comes out is one that a body can have.
Joints are weighed by what was left of them in a first solution (weighted least squares, Gautier, ICRA 1997).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mbrl_control.dynamics.prior import Prior
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.replay.transitions import select
from mbrl_control.rigid_load import MOMENTS, load_regressor, point_moments
from mbrl_control.signals import Array, Transitions

SLIDES = 0.05
"""rad/s; a joint faster than that, before and after a step, slides through it."""
LOAD_REACH_M = 0.2
"""A load is looked for so far from the tool, along each axis of the last link."""
_GRID_M = 0.05
_LEAST_ROWS, _MOST_ROWS = 50, 20_000
"""Of a joint that slides, and of a regime: some two dozen numbers are sought, more rows cost memory alone."""
_SIZE = 0.05
"""kg m^2: the load's second moment about the tool is taken for 0 with this deviation, where the rows leave it open."""


def prior_of_each_regime(prior: Prior, rows: Transitions, parent: Prior | None) -> dict[int, Prior]:
    """The prior beside which the rows of each regime are learned; they differ in the load alone.

    Friction that the ``parent`` knows is kept: a load changes much and friction little, and on one path they cannot be
    told apart. What it does not know is identified, as the load is in every regime, the newest first.
    """
    regimes = np.unique(rows.session)[::-1].tolist()
    if not isinstance(prior, RigidBodyPrior):
        return dict.fromkeys(regimes, prior)
    friction = parent.friction.numpy() if isinstance(parent, RigidBodyPrior) else np.zeros((2, prior.joints))
    loads = {}
    for regime in regimes:
        friction, loads[regime] = identify(prior, select(rows, rows.session == regime), friction)
    return {regime: prior.with_found(friction, load) for regime, load in loads.items()}


def identify(prior: RigidBodyPrior, rows: Transitions, known: Array) -> tuple[Array, Array]:
    """Rows under one load, friction [2, J] that is known (0 where not) -> friction [2, J] and load [10].

    Coulomb friction N m, viscous friction N m s/rad; of a joint that does not slide in enough rows it stays 0.
    The load is as `rigid_load` says.
    """
    rows = select(rows, np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.int64))
    slides = _slides(rows)
    acceleration = (rows.next_velocity - rows.velocity) / prior.dt_s
    kept = (known > 0.0).any(axis=0)
    needed = prior.required_torque(rows.position, rows.velocity, acceleration) - rows.action
    needed += np.where(kept, known[0] * np.sign(rows.velocity) + known[1] * rows.velocity, 0.0)
    unknown = np.flatnonzero(~kept & (np.count_nonzero(slides, axis=0) >= _LEAST_ROWS))
    friction, load = known.copy(), np.zeros(MOMENTS)
    if np.count_nonzero(slides) >= _LEAST_ROWS:
        rubbing = _friction_regressor(rows.velocity, unknown)
        carried = load_regressor(prior.described, rows.position, rows.velocity, acceleration)
        found, load = _solve(-rubbing, -carried, needed, slides, _grid(prior.tool))
        friction[:, unknown] = found.reshape(2, -1)
    return friction, load


def _slides(rows: Transitions) -> NDArray[np.bool_]:
    """[N, J]"""
    slowest = np.minimum(np.abs(rows.velocity), np.abs(rows.next_velocity))
    return np.asarray((slowest > SLIDES) & (rows.velocity * rows.next_velocity > 0.0))


def _friction_regressor(velocity: Array, joints: NDArray[np.intp]) -> Array:
    """[N, J] rad/s -> [N, J, 2U] of the U ``joints``, each of which rubs on itself alone."""
    own = np.take(np.eye(velocity.shape[1]), joints, axis=1)
    return np.concatenate([np.sign(velocity)[..., None] * own, velocity[..., None] * own], axis=2)


def _grid(tool: Array) -> Array:
    """[P, 3] m"""
    steps = np.arange(-LOAD_REACH_M, LOAD_REACH_M + 0.5 * _GRID_M, _GRID_M)
    return np.asarray(tool + np.array(list(itertools.product(steps, repeat=3))), dtype=np.float64)


def _solve(
    rubbing: Array, carried: Array, needed: Array, slides: NDArray[np.bool_], grid: Array
) -> tuple[Array, Array]:
    """Regressors [N, J, F] and [N, J, 10], torque [N, J] -> coefficients [F] and load [10]."""
    count, moments = rubbing.shape[2], point_moments(grid)
    columns = np.concatenate([rubbing, carried, needed[..., None]], axis=2)
    size = np.concatenate([np.zeros(count), np.square(grid - grid.mean(axis=0)).sum(axis=1) / _SIZE])
    weight = np.ones(needed.shape[1])
    for _ in range(2):
        # The triangle keeps all that least squares needs of the rows.
        triangle = np.asarray(np.linalg.qr((columns * weight[:, None])[slides], mode="r"))
        rubbed, moved, wanted = np.split(triangle, [count, count + MOMENTS], axis=1)
        solution, _ = nnls(np.vstack([np.hstack([rubbed, moved @ moments.T]), size]), np.append(wanted, 0.0))
        found, load = solution[:count], moments.T @ solution[count:]
        left = np.where(slides, columns[..., -1] - columns[..., :-1] @ np.concatenate([found, load]), 0.0)
        weight = np.sqrt(slides.sum(axis=0) / np.maximum(np.square(left).sum(axis=0), _TINY))
    return found, load


_TINY = 1e-12
"""N^2 m^2; rows without any noise leave nothing to weigh by."""
