"""What commands are. A module of its own: the command line names it without loading NumPy."""

from __future__ import annotations

from enum import StrEnum


class CommandInterface(StrEnum):
    """What the numbers of a command mean. Plan, guard, relay and model of one graph agree on it."""

    VELOCITY = "velocity"
    """rad/s, followed by the drive's own servo."""
    EFFORT = "effort"
    """N m, on top of the gravity torque of the unloaded arm where the drives add that themselves."""


ON_WIRE = (CommandInterface.VELOCITY, CommandInterface.EFFORT)
"""By their number in the messages `Plan` and `SafeCommand`."""


def model_name(robot: str, interface: CommandInterface) -> str:
    """Folder of a robot's models: a model of velocities is of no use for torques."""
    return robot if interface is CommandInterface.VELOCITY else f"{robot}_{interface}"
