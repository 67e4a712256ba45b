"""The simulators by name. An engine's library is imported when the engine is opened, not before."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from mbrl_control.robot import ArmError
from mbrl_control.signals import CommandInterface
from sim.arm_sim import ArmSim
from sim.randomization import SimParameters


class Simulator(StrEnum):
    """What there is to simulate an arm with."""

    MUJOCO = "mujoco"
    PYBULLET = "pybullet"


def simulator_named(name: str) -> Simulator:
    """The engine of that name; ArmError where there is none."""
    if name not in list(Simulator):
        raise ArmError(f"simulator: {name!r} is unknown; use one of {', '.join(Simulator)}")
    return Simulator(name)


def interface_named(name: str) -> CommandInterface:
    """The command interface of that name; ArmError where there is none."""
    if name not in list(CommandInterface):
        raise ArmError(f"command_interface: {name!r} is unknown; use one of {', '.join(CommandInterface)}")
    return CommandInterface(name)


def open_arm(
    simulator: Simulator,
    arm_path: str | Path,
    seed: int,
    start_ns: int = 0,
    interface: CommandInterface = CommandInterface.VELOCITY,
    parameters: SimParameters | None = None,
) -> ArmSim:
    """A simulated arm at rest at home; ``seed`` of the measurement noise, ``start_ns`` the time of step 0.

    ``parameters`` of the plant; None: the arm exactly as described.

    Raises:
        ArmError: the arm's files do not suit the engine or the interface.
    """
    if simulator is Simulator.MUJOCO:
        from sim.mujoco_arm import MujocoArm

        return MujocoArm(arm_path, seed, start_ns, interface, parameters)
    from sim.pybullet_arm import PybulletArm

    return PybulletArm(arm_path, seed, start_ns, interface, parameters)


def simulation_facts(simulator: Simulator, sim: ArmSim, randomization_seed: int) -> dict[str, Any]:
    """What a truth file says of its simulator and of the plant; a negative seed: the arm as described."""
    return {
        "simulator": simulator.value,
        "command_interface": sim.interface.value,
        "randomization_seed": randomization_seed,
        "plant": sim.parameters.facts(),
    }
