"""What a simulated plant is: the numbers in which it may differ from the arm's description, and ranges to draw from.

The description keeps telling everybody else (planner, guard, estimator) what is known of the arm; the plant alone
changes. The drives, too, know the described masses only: their gravity compensation stays, and a heavier link sags.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.robot import Arm, ArmError, SensorNoise, load_arm
from mbrl_control.robot_faults import LONGEST_DELAY_S
from mbrl_control.robot_file import YamlFile
from mbrl_control.signals import Array
from sim.generate import TIMESTEP_S


@dataclass(frozen=True, slots=True)
class SimParameters:
    """Of one plant; arrays are [J]."""

    mass_scale: Array
    """Of each moving link: its mass and inertia over the described ones, its centre of mass where it was."""
    friction_coulomb: Array
    """N m"""
    friction_viscous: Array
    """N m s/rad"""
    servo_gain: Array
    """N m s/rad"""
    servo_lag_s: Array
    command_delay_s: float
    """Whole physics steps."""
    noise: SensorNoise

    @classmethod
    def nominal(cls, arm: Arm) -> SimParameters:
        """The arm exactly as it is described."""
        return cls(
            mass_scale=np.ones(arm.joints),
            friction_coulomb=arm.friction_coulomb,
            friction_viscous=arm.friction_viscous,
            servo_gain=arm.servo_gain,
            servo_lag_s=arm.servo_lag_s,
            command_delay_s=arm.command_delay_s,
            noise=arm.noise,
        )

    def facts(self) -> dict[str, Any]:
        """JSON-ready; floats keep every digit."""
        return {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in asdict(self).items()}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> SimParameters:
        """Back from :meth:`facts`, as a truth file's header holds them."""
        arrays = {key: np.array(value) for key, value in facts.items() if isinstance(value, list)}
        return cls(**arrays, command_delay_s=facts["command_delay_s"], noise=SensorNoise(**facts["noise"]))


@dataclass(frozen=True, slots=True)
class Randomization:
    """Ranges (low, high), both included. Factors on the described values, but for the delay."""

    mass: tuple[float, float]
    friction_coulomb: tuple[float, float]
    friction_viscous: tuple[float, float]
    servo_gain: tuple[float, float]
    servo_lag: tuple[float, float]
    noise: tuple[float, float]
    """On the standard deviations; the resolution stays."""
    command_delay_steps: tuple[int, int]
    """Physics steps that the command delay is longer than described."""


DELAY = "command_delay_steps"
_RANGES = tuple(Randomization.__dataclass_fields__)


def load_randomization(arm_path: str | Path) -> Randomization:
    """The block ``randomization`` of an arm's YAML.

    Raises:
        ArmError: there is none, or a range cannot be drawn from.
    """
    source = YamlFile(Path(arm_path))
    for fault in randomization_faults(source, load_arm(arm_path).command_delay_s):
        raise fault
    ranges = {name: source.vector(f"randomization.{name}", 2).tolist() for name in _RANGES}
    low, high = ranges.pop("command_delay_steps")
    return Randomization(command_delay_steps=(int(low), int(high)), **{name: (a, b) for name, (a, b) in ranges.items()})


def randomization_faults(source: YamlFile, delay_s: float) -> Iterator[ArmError]:
    """All that is wrong with the block of an arm whose command delay is described as ``delay_s``."""
    try:
        block = source.field(source.tree, "randomization")
    except ArmError as error:
        yield error
        return
    if not isinstance(block, dict):
        yield source.error("randomization", "not a mapping", f"give ranges of {', '.join(_RANGES)}")
        return
    for name in sorted(set(block) - set(_RANGES)):
        yield source.error("randomization", f"{name} is unknown", f"give ranges of {', '.join(_RANGES)}")
    for name in _RANGES:
        try:
            low, high = source.vector(f"randomization.{name}", 2)
        except ArmError as error:
            yield error
            continue
        if low > high or (low <= 0.0 and name != DELAY):
            yield source.error(f"randomization.{name}", f"[{low}, {high}]", "give [low, high], factors above zero")
        elif name == DELAY and not _whole_steps_within_reach(low, high, delay_s):
            fault = f"[{low}, {high}] on top of {delay_s} s"
            remedy = f"give whole physics steps of {TIMESTEP_S} s that leave 0 to {LONGEST_DELAY_S} s"
            yield source.error(f"randomization.{name}", fault, remedy)


def _whole_steps_within_reach(low: float, high: float, delay_s: float) -> bool:
    within = delay_s + low * TIMESTEP_S >= 0.0 and delay_s + high * TIMESTEP_S <= LONGEST_DELAY_S
    return within and not low % 1.0 and not high % 1.0


def draw_parameters(ranges: Randomization, arm: Arm, generator: np.random.Generator) -> SimParameters:
    """One plant: every factor uniform, each joint and each noise by itself; the delay uniform over its whole steps."""

    def factors(of: tuple[float, float]) -> Array:
        return generator.uniform(*of, arm.joints)

    steps = int(generator.integers(*ranges.command_delay_steps, endpoint=True))
    louder = generator.uniform(*ranges.noise, 3)
    noise = arm.noise
    return SimParameters(
        mass_scale=factors(ranges.mass),
        friction_coulomb=arm.friction_coulomb * factors(ranges.friction_coulomb),
        friction_viscous=arm.friction_viscous * factors(ranges.friction_viscous),
        servo_gain=arm.servo_gain * factors(ranges.servo_gain),
        servo_lag_s=arm.servo_lag_s * factors(ranges.servo_lag),
        command_delay_s=arm.command_delay_s + steps * TIMESTEP_S,
        noise=replace(
            noise,
            position_std=noise.position_std * louder[0],
            velocity_std=noise.velocity_std * louder[1],
            effort_std=noise.effort_std * louder[2],
        ),
    )


def randomized_plant(arm_path: str | Path, seed: int) -> SimParameters | None:
    """The plant of a ``seed``, drawn from the ranges of the arm's YAML; None, the arm as described, for a negative one.

    Raises:
        ArmError: as :func:`load_randomization`.
    """
    if seed < 0:
        return None
    return draw_parameters(load_randomization(arm_path), load_arm(arm_path), np.random.default_rng(seed))
