"""Mass, centre of mass and inertia of a rigid body: moving, joining, and whether a real body can have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Inertial:
    """Mass, centre of mass and inertia about it, in the axes of the link frame."""

    mass: float
    """kg"""
    com: Array
    """[3] m"""
    inertia: Array
    """[3, 3] kg m^2"""

    def moved(self, rotation: Array, translation: Array) -> Inertial:
        """The same body in a frame in which this one's has the given pose."""
        return Inertial(self.mass, rotation @ self.com + translation, rotation @ self.inertia @ rotation.T)

    def joined(self, other: Inertial) -> Inertial:
        """Both bodies as one rigid body (parallel axis theorem)."""
        if other.mass == 0.0:
            return self
        mass = self.mass + other.mass
        com = (self.mass * self.com + other.mass * other.com) / mass
        return Inertial(mass, com, self._about(com) + other._about(com))

    def principal_moments(self) -> Array:
        """[3] kg m^2, ascending."""
        moments = np.asarray(np.linalg.eigvalsh(self.inertia), dtype=np.float64)
        return moments

    def fault(self) -> str | None:
        """Why no rigid body has these numbers; None for one that can exist."""
        moments = self.principal_moments()
        listed = ", ".join(f"{value:.3g}" for value in moments)
        if not self.mass > 0.0:
            return f"mass {self.mass:g} kg is not positive"
        if not moments[0] > 0.0:
            return f"tensor is not positive definite (principal moments {listed} kg m^2)"
        if moments[0] + moments[1] < moments[2]:
            return f"principal moments {listed} kg m^2 break the triangle inequality"
        return None

    def repaired(self) -> Inertial:
        """With what the tensor's diagonal lacks to be a rigid body's, and a hundredth of the largest moment, added."""
        low, middle, high = self.principal_moments()
        missing = max(high - low - middle, -low, 0.0)
        return Inertial(self.mass, self.com, self.inertia + (missing + 0.01 * max(-low, high)) * np.eye(3))

    def _about(self, point: Array) -> Array:
        arm = self.com - point
        return self.inertia + self.mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))


NOTHING = Inertial(0.0, np.zeros(3), np.zeros((3, 3)))


def tensor(xx: float, yy: float, zz: float, xy: float, xz: float, yz: float) -> Array:
    """[3, 3] from its six numbers."""
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
