"""The YAML of an own arm as text: every field with its reason, guesses marked."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import yaml

from mbrl_control.arm_setup.dynamics_guesses import Value
from mbrl_control.robot import Arm

WIDTH = 118
ORDER = (
    *("name", "base_frame", "tool_frame", "joints", "links", "home", "work_box", "capsules"),
    *("servo", "friction", "armature", "effort_mode", "noise", "delays", "brake", "camera"),
)


def yaml_text(arm: Arm, values: dict[str, Value], urdf_name: str) -> str:
    """All fields in the order of the shipped arms, then the list of those that nobody has confirmed."""
    lines = _comment(
        f"{arm.name}: written by `mbrl-control robot new` from {urdf_name}. SI units: m, kg, kg m^2, rad, s, N m. "
        "The URDF beside this file gives kinematics, position, velocity and effort limits, inertias; the rest is here."
    )
    lines += _comment(
        "GUESS marks a proposal. Confirm each (data sheet, maker, measurement) before the real arm moves, and take its "
        "name off `unconfirmed` at the end. `mbrl-control robot check` lists what is left."
    )
    for place in ORDER:
        if place in values:
            lines += _field(place, values[place], arm)
    lines += ["", *_comment("Proposed and not confirmed by anybody yet."), "unconfirmed:"]
    lines += [f"  - {place}" for place in ORDER if place in values and values[place].guess]
    return "\n".join(lines) + "\n"


def _field(place: str, value: Value, arm: Arm) -> list[str]:
    plain = isinstance(value.value, str)
    reason = ("GUESS: " if value.guess else "") + value.reason + "."
    if plain:
        return [f"{place}: {_flow(value.value)}  # {value.reason}"]
    lines = ["", *_comment(reason.replace("..", "."))]
    if place == "joints":
        lines += _comment("Limits in force, the URDF's where a row gives none; rad, rad/s, N m:")
        lines += [f"# {row}" for row in _limit_table(arm)]
    return [*lines, *_content(place, value.value)]


def _content(place: str, value: Any) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"{place}:", *(f"  - {_flow(row)}" for row in value)]
    if isinstance(value, dict) and any(isinstance(part, list) for part in value.values()) and place != "camera":
        return [f"{place}:", *(f"  {key}: {_flow(part)}" for key, part in value.items())]
    return [f"{place}: {_flow(value)}"]


def _limit_table(arm: Arm) -> Sequence[str]:
    rows = zip(arm.joint_names, arm.lower, arm.upper, arm.velocity, arm.effort, strict=True)
    return [f"{name}: {lower:g} .. {upper:g}, {speed:g}, {effort:g}" for name, lower, upper, speed, effort in rows]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("...\n").strip()
