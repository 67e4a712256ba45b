"""Dry friction and end stops of one implicit time step, solved exactly in joint space.

The velocity after the step minimizes a strictly convex function: kinetic, with |v| of each joint for its dry friction
and a box for its end stops (time stepping after Moreau, "Unilateral contact and dry friction in finite freedom
dynamics", 1988; here every bound is known beforehand). Coordinate descent, i.e. projected Gauss-Seidel, finds which
joints stick, slip or stand at a stop; one linear solve of the slipping ones then gives the minimum itself.
"""

from __future__ import annotations

from operator import mul

import numpy as np

from mbrl_control.signals import Array

TOLERANCE = 1e-11
"""rad/s by which a solution may miss its own optimality condition."""
MAX_SWEEPS = 300


def velocity_after_step(
    inertia: Array, impulse: Array, friction: Array, bounds: tuple[Array, Array], guess: Array
) -> Array:
    """The [J] rad/s that minimize ``v' inertia v / 2 - impulse' v + friction' |v|`` within ``bounds``.

    Args:
        inertia: [J, J] kg m^2, symmetric and positive definite, with all that is implicit (damping x step).
        impulse: [J] N m s, momentum before the step plus what every force but friction and stops adds.
        friction: [J] N m s >= 0, largest impulse of dry friction.
        bounds: [J] and [J] rad/s, least and greatest velocity that keeps each joint off its stops.
        guess: [J] rad/s to start from.

    Raises:
        RuntimeError: no convergence; the inertia is not positive definite.
    """
    diagonal = np.diagonal(inertia)
    lower, upper = bounds

    def relaxed(v: Array) -> Array:
        """Each joint alone at its optimum for the others' velocities; the minimum is the one fixed point."""
        pull = impulse - inertia @ v + diagonal * v
        moved = np.sign(pull) * np.maximum(np.abs(pull) - friction, 0.0) / diagonal
        return np.asarray(np.minimum(np.maximum(moved, lower), upper))

    rows, columns = inertia.tolist(), (impulse.tolist(), friction.tolist(), lower.tolist(), upper.tolist())
    v = guess.tolist()
    for _ in range(MAX_SWEEPS):
        _sweep(rows, columns, v)
        exact = _slipping_solved(inertia, impulse, friction, bounds, np.array(v))
        if np.abs(relaxed(exact) - exact).max() <= TOLERANCE:
            return exact
    raise RuntimeError(f"dry friction: no solution in {MAX_SWEEPS} sweeps; inertia {inertia.tolist()}")


def _sweep(rows: list[list[float]], columns: tuple[list[float], ...], v: list[float]) -> None:
    """One round of coordinate descent, in place. Python floats: at seven joints they beat NumPy's overhead."""
    for index, (row, impulse, friction, low, high) in enumerate(zip(rows, *columns, strict=True)):
        pull = impulse - sum(map(mul, row, v)) + row[index] * v[index]
        moved = max(pull - friction, 0.0) + min(pull + friction, 0.0)
        v[index] = min(max(moved / row[index], low), high)


def _slipping_solved(inertia: Array, impulse: Array, friction: Array, bounds: tuple[Array, Array], v: Array) -> Array:
    """``v`` with the joints that slip between their stops at their common optimum, their directions as in ``v``."""
    slipping = np.flatnonzero((v > bounds[0]) & (v < bounds[1]) & ((v != 0.0) | (friction == 0.0)))
    if len(slipping) == len(v):
        return np.asarray(np.linalg.solve(inertia, impulse - friction * np.sign(v)))
    exact = v.copy()
    exact[slipping] = 0.0
    pull = impulse - inertia @ exact - friction * np.sign(v)
    exact[slipping] = np.linalg.solve(inertia[np.ix_(slipping, slipping)], pull[slipping])
    return exact
