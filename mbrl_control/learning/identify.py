"""Friction and load of an arm under torques, identified before a network learns what is left.

Torque is linear in both, so one least-squares problem over the joints that slide finds them; what a joint that sticks
says of its friction, a bound, is not used. All unknowns are at least zero: friction's two coefficients of each joint,
and the masses of points on a grid about the tool; so any load that comes out is one that a body can have. The first
solution is reweighted twice: joints by their noise (Gautier, ICRA 1997), and what a blow or an outlier leaves less
(Huber, Annals of Mathematical Statistics 35, 1964).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from mbrl_control.dynamics.prior import Prior
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.replay.transitions import select
from mbrl_control.rigid_load import MOMENTS, load_regressor, moments_about, point_moments
from mbrl_control.signals import Array, Transitions

LOAD_REACH_M = 0.2
"""A load is looked for so far from the tool, along each axis of the last link; one beyond is found at the edge."""
_SLIDES = 0.05
"""rad/s; a joint faster than that, before and after a step, slides through it."""
_GRID_M = 0.05
_LEAST_ROWS, _MOST_ROWS = 200, 5_000
"""Of a joint that slides, and of a regime: some two dozen numbers are sought, more rows cost time alone."""
_DOUBT = np.array([10.0, *3 * [1.0], *6 * [0.05]])
"""kg, kg m, kg m^2: how far the moments about the tool may lie from those expected, where the rows leave them open."""
_HUBER = 3.0
"""Std of a joint's noise, beyond which what is left counts less."""


def prior_of_each_regime(prior: Prior, rows: Transitions, parent: Prior | None) -> dict[int, Prior]:
    """The prior beside which the rows of each regime are learned; they differ in the load alone.

    Friction that the ``parent`` knows is kept, for good: a load changes much and friction little, and on one path they
    cannot be told apart. What it does not know is identified, as the load is in every regime, the newest first.
    """
    regimes = np.unique(rows.session)[::-1].tolist()
    if not isinstance(prior, RigidBodyPrior):
        return dict.fromkeys(regimes, prior)
    friction, expected = np.zeros((2, prior.joints)), np.zeros(MOMENTS)
    if isinstance(parent, RigidBodyPrior):
        friction, expected = parent.friction.numpy(), parent.load.numpy()
    loads = {}
    for regime in regimes:
        friction, loads[regime] = identify(prior, select(rows, rows.session == regime), friction, expected)
    return {regime: prior.with_found(friction, load) for regime, load in loads.items()}


def identify(prior: RigidBodyPrior, rows: Transitions, known: Array, expected: Array) -> tuple[Array, Array]:
    """Rows under one load, friction [2, J] that is known (0 where not) -> friction [2, J] and load [10].

    Coulomb friction N m, viscous friction N m s/rad; a joint that does not slide in enough rows says nothing: its
    friction stays as it is. The load is as `rigid_load` says; what the rows leave open of it is as ``expected`` [10].
    """
    moving = np.flatnonzero(_slides(rows).any(axis=1))
    spread = np.linspace(0, len(moving) - 1, min(len(moving), _MOST_ROWS)).astype(np.int64)
    rows = select(rows, moving[spread])
    kept, slides = (known > 0.0).any(axis=0), _slides(rows)
    enough = np.count_nonzero(slides, axis=0) >= _LEAST_ROWS
    unknown = np.flatnonzero(~kept & enough)
    slides &= enough
    if not slides.any():
        return known, expected
    acceleration = (rows.next_velocity - rows.velocity) / prior.dt_s
    needed = prior.required_torque(rows.position, rows.velocity, acceleration) - rows.action
    needed += np.where(kept, known[0] * np.sign(rows.velocity) + known[1] * rows.velocity, 0.0)
    rubbing = _friction_regressor(rows.velocity, unknown)
    carried = load_regressor(prior.described, rows.position, rows.velocity, acceleration)
    columns = np.concatenate([-rubbing, -carried, needed[..., None]], axis=2)
    found, load = _solve(columns, slides, prior.tool, expected)
    friction = known.copy()
    friction[:, unknown] = found.reshape(2, -1)
    return friction, load


def _slides(rows: Transitions) -> NDArray[np.bool_]:
    """[N, J]"""
    slowest = np.minimum(np.abs(rows.velocity), np.abs(rows.next_velocity))
    return np.asarray((slowest > _SLIDES) & (rows.velocity * rows.next_velocity > 0.0))


def _friction_regressor(velocity: Array, joints: NDArray[np.intp]) -> Array:
    """[N, J] rad/s -> [N, J, 2U] of the U ``joints``, each of which rubs on itself alone."""
    own = np.take(np.eye(velocity.shape[1]), joints, axis=1)
    return np.concatenate([np.sign(velocity)[..., None] * own, velocity[..., None] * own], axis=2)


def _grid(tool: Array) -> Array:
    """[P, 3] m"""
    steps = np.arange(-LOAD_REACH_M, LOAD_REACH_M + 0.5 * _GRID_M, _GRID_M)
    return np.asarray(tool + np.array(list(itertools.product(steps, repeat=3))), dtype=np.float64)


def _solve(columns: Array, slides: NDArray[np.bool_], tool: Array, expected: Array) -> tuple[Array, Array]:
    """Columns [N, J, F + 10 + 1] of friction, load and torque -> coefficients [F] and load [10]."""
    count, moments = columns.shape[2] - MOMENTS - 1, point_moments(_grid(tool))
    about_tool = moments_about(tool) / _DOUBT
    open_rows = np.hstack([np.zeros((MOMENTS, count)), about_tool.T @ moments.T])
    weight = np.ones(slides.shape)
    for _ in range(3):
        # The triangle keeps all that least squares needs of the rows.
        triangle = np.asarray(np.linalg.qr((columns * weight[..., None])[slides], mode="r"))
        rubbed, moved, wanted = np.split(triangle, [count, count + MOMENTS], axis=1)
        matrix = np.vstack([np.hstack([rubbed, moved @ moments.T]), open_rows])
        solution, _ = nnls(matrix, np.append(wanted, about_tool.T @ expected))
        found, load = solution[:count], moments.T @ solution[count:]
        weight = _weights(columns[..., -1] - columns[..., :-1] @ np.concatenate([found, load]), slides)
    return found, load


def _weights(left: Array, slides: NDArray[np.bool_]) -> Array:
    """[N, J] from what is left N m: the inverse of the joint's noise, less for outliers."""
    size = np.abs(left)
    noise = np.array(
        [np.median(column[mask]) if mask.any() else 1.0 for column, mask in zip(size.T, slides.T, strict=True)]
    )
    noise = np.maximum(1.4826 * noise, _TINY)
    return np.asarray(np.sqrt(np.minimum(1.0, _HUBER * noise / np.maximum(size, _TINY))) / noise)


_TINY = 1e-3
"""N m; rows without any noise leave nothing to weigh by."""
