"""Joint friction as a law of its own, beside which a network learns what is left.

A joint that slides under torques needs about as much torque as its friction takes, and one that sticks exactly as
much: torque and friction say nearly the same, and a network that is told the torque explains friction by it. It
then predicts its rows well and underrates what torque does, by four times on a light wrist, and a planner that
believes it makes the arm swing. With a load it confuses torque and inertia alike. So friction has a law of its own, the
load its place in the rigid body (`rigid_load`), both are identified (`learning.identify`), and networks see the motion.

The law is what stops a joint within the step, if it can: ``-clip(v / (dt m) + u - b, -c, c)``, m the joint's entry on
the diagonal of the inverse mass matrix; Coulomb friction c while it slides, sticking below it (after Karnopp, J. Dyn.
Sys. Meas. Control 107, 1985, in discrete time, each joint for itself). Viscous friction is linear beside it.
"""

from __future__ import annotations

import torch


def friction_torque(friction: torch.Tensor, velocity: torch.Tensor, stopping: torch.Tensor) -> torch.Tensor:
    """Friction's torque on the joints [..., J, N] N m.

    ``friction`` [2, J] Coulomb N m and viscous N m s/rad, ``velocity`` [..., J, N] rad/s, ``stopping`` [..., J, N] N m:
    what would have to be taken away for the joints to rest at the end of the step.
    """
    coulomb, viscous = friction[0, :, None], friction[1, :, None]
    return -torch.minimum(torch.maximum(stopping, -coulomb), coulomb) - viscous * velocity
