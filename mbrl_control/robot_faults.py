"""Contradictions between the fields of an arm description."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbrl_control.robot_file import ArmError, YamlFile
from mbrl_control.signals import Array

if TYPE_CHECKING:
    from mbrl_control.robot import Arm

NAME = re.compile(r"[a-z0-9_]{1,64}")
JOINT_FIELDS = frozenset(("name", "parent", "child", "xyz", "rpy", "axis", "lower", "upper", "velocity", "effort"))
JOINT_FIELDS |= {"acceleration", "jerk", "torque_rate"}
LONGEST_DELAY_S = 0.1
POSITIVE = ("velocity", "acceleration", "jerk", "effort", "torque_rate", "servo_gain", "servo_lag_s")


def contradictions(arm: Arm, source: YamlFile, known: frozenset[str]) -> Iterator[ArmError]:
    """One after the other; ``known`` are the fields of the top level."""
    for field in sorted(map(str, set(source.tree) - known)):
        yield source.error(field, "unknown field", f"remove or correct it; known: {', '.join(sorted(known))}")
    if not NAME.fullmatch(arm.name):
        yield source.error("name", f"{arm.name!r}", "use 1 to 64 of a-z, 0-9 and _: it names folders and topics")
    for index, row in enumerate(source.tree["joints"]):
        for key in sorted(map(str, set(row) - JOINT_FIELDS)):
            yield source.error(f"joints[{index}].{key}", "unknown field", f"known: {', '.join(sorted(JOINT_FIELDS))}")
    guessable = sorted(map(str, set(source.tree) - {"unconfirmed"}))
    for name in arm.unconfirmed:
        if name not in guessable:
            remedy = f"name the guess that is left, one of {', '.join(guessable)}"
            yield source.error("unconfirmed", f"{name!r} is no field of the file", remedy)
    yield from _limit_faults(arm, source)
    yield from _place_faults(arm, source)
    yield from _sign_faults(arm, source)


def _limit_faults(arm: Arm, source: YamlFile) -> Iterator[ArmError]:
    crossed = [name for name, low, high in zip(arm.joint_names, arm.lower, arm.upper, strict=True) if not low < high]
    if crossed:
        yield source.error("joints[].lower", f"not below `upper`: {', '.join(crossed)}", "swap or correct the limits")
    for key in POSITIVE:
        wrong = [name for name, value in zip(arm.joint_names, getattr(arm, key), strict=True) if not value > 0.0]
        if wrong:
            fault = f"not positive: {', '.join(wrong)}"
            yield source.error(key.replace("servo_", "servo."), fault, "give positive values")
    for key, delay in (("sensor_s", arm.sensor_delay_s), ("command_s", arm.command_delay_s)):
        if delay > LONGEST_DELAY_S:
            yield source.error(f"delays.{key}", f"{delay} s", f"more than {LONGEST_DELAY_S} s cannot be compensated")


def _place_faults(arm: Arm, source: YamlFile) -> Iterator[ArmError]:
    if out := _outside(arm, arm.home, arm.home):
        yield source.error("home", f"outside the joint limits: {out}", "move it inside `lower`..`upper`")
    if not (arm.box_lower < arm.box_upper).all():
        yield source.error("work_box.lower", "not below `work_box.upper`", "swap or correct the box")
    if out := _outside(arm, arm.box_lower, arm.box_upper):
        yield source.error("work_box", f"outside the joint limits: {out}", "shrink it to `lower`..`upper`")


def _outside(arm: Arm, low: Array, high: Array) -> str:
    """The joints of which ``low`` or ``high`` [J] rad leaves the limits, with all numbers; empty where none does."""
    rows = zip(arm.joint_names, low, high, arm.lower, arm.upper, strict=True)
    found = []
    for name, first, last, lower, upper in rows:
        if not (lower <= first and last <= upper):
            said = f"{first:g}" if first == last else f"{first:g}..{last:g}"
            found.append(f"{name} {said}, not in {lower:g}..{upper:g} rad")
    return "; ".join(found)


def _sign_faults(arm: Arm, source: YamlFile) -> Iterator[ArmError]:
    nonnegative = {f"noise.{key}": getattr(arm.noise, key) for key in type(arm.noise).__dataclass_fields__}
    nonnegative |= {"delays.sensor_s": arm.sensor_delay_s, "delays.command_s": arm.command_delay_s}
    nonnegative |= {"friction.coulomb": arm.friction_coulomb.min(), "friction.viscous": arm.friction_viscous.min()}
    nonnegative |= {"armature": arm.armature.min()}
    nonnegative |= {"brake.factor": arm.brake_factor, "brake.floor": arm.brake_floor}
    for key, value in nonnegative.items():
        if value < 0.0:
            yield source.error(key, f"negative ({value})", "give zero or more")
