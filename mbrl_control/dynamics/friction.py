"""Joint friction, identified from data before a network learns what is left.

A joint that slides under torques needs about as much torque as its friction takes, and one that sticks exactly as
much: torque and friction say nearly the same, and a network that has to learn both explains friction by torque. It
then predicts its rows well and underrates what torque does, by four times on a light wrist, and a planner that
believes it makes the arm swing. With a law of its own friction leaves the networks nothing of that size to explain.
They are told the torque all the same: the inertia of a load is nothing else than a part of it.

The law is what stops a joint within the step, if it can: ``-clip(v / (dt m) + u - b, -c, c)``, m the joint's entry on
the diagonal of the inverse mass matrix; Coulomb friction c while it slides, sticking below it (after Karnopp, J. Dyn.
Sys. Meas. Control 107, 1985, in discrete time, each joint for itself). Viscous friction is linear beside it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls

SLIDES = 0.05
"""rad/s; a joint faster than that, before and after a step, slides through it."""
_LEAST_ROWS = 50


def identify_friction(velocity: torch.Tensor, after: torch.Tensor, torque: torch.Tensor) -> torch.Tensor:
    """Joint speeds before and after a step [N, J] rad/s, torque besides command and rigid body [N, J] N m.

    -> [2, J] float64: Coulomb friction N m, viscous friction N m s/rad, both at least 0, each joint for itself; 0 for
    a joint that does not slide in enough rows.
    """
    found = np.zeros((2, velocity.shape[1]))
    columns = (value.double().numpy().T for value in (velocity, after, torque))
    for joint, (speed, end, needed) in enumerate(zip(*columns, strict=True)):
        slides = (np.minimum(np.abs(speed), np.abs(end)) > SLIDES) & (speed * end > 0.0)
        if np.count_nonzero(slides) >= _LEAST_ROWS:
            features = np.stack([np.sign(speed), speed], axis=1)[slides]
            found[:, joint], _ = nnls(features, -needed[slides])
    return torch.from_numpy(found)


def friction_torque(friction: torch.Tensor, velocity: torch.Tensor, stopping: torch.Tensor) -> torch.Tensor:
    """Friction's torque on the joints [..., J, N] N m.

    ``friction`` as `identify_friction` gives it, ``velocity`` [..., J, N] rad/s, ``stopping`` [..., J, N] N m: what
    would have to be taken away for the joints to rest at the end of the step.
    """
    coulomb, viscous = friction[0, :, None], friction[1, :, None]
    return -torch.minimum(torch.maximum(stopping, -coulomb), coulomb) - viscous * velocity
