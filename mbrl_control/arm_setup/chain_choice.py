"""Which links of a URDF are base and tool, where the user does not say."""

from __future__ import annotations

from dataclasses import dataclass

from mbrl_control.robot_file import ArmError
from mbrl_control.urdf_chain import ROTARY, UPRIGHT_RAD, moving_joints, tilt
from mbrl_control.urdf_file import UrdfFile

WORLDS = ("world", "map", "odom")
TOOL_NAMES = ("tool0", "tool", "tcp", "flange", "ee_link")
"""The usual names of a flange's frame, best first (REP 103, ROS-Industrial)."""


@dataclass(frozen=True, slots=True)
class ChainChoice:
    """Base and tool link, and why these."""

    base: str
    tool: str
    base_reason: str
    tool_reason: str


def choose_chain(urdf: UrdfFile, base: str | None = None, tool: str | None = None) -> ChainChoice:
    """Base and tool as asked for; what is not asked for is chosen where only one choice makes sense.

    Raises:
        ArmError: the URDF has no such link, no moving joint, or several tips; lists the candidates.
    """
    for option, link in (("base", base), ("tool", tool)):
        if link is not None and link not in urdf.links:
            raise urdf.error(f"--{option} {link}", "no such link", f"use one of {', '.join(urdf.links)}")
    chosen_tool, tool_reason = (tool, "as asked for") if tool else _tool(urdf, base)
    chosen_base, base_reason = (base, "as asked for") if base else _base(urdf, chosen_tool)
    if not moving_joints(urdf, chosen_base, chosen_tool):
        fault = f"no rotary joint between {chosen_base!r} and {chosen_tool!r}"
        raise urdf.error("joint", fault, "give --base and --tool with the arm's joints between")
    return ChainChoice(chosen_base, chosen_tool, base_reason, tool_reason)


def _tool(urdf: UrdfFile, base: str | None) -> tuple[str, str]:
    tips = [tip for tip in urdf.tips() if _rotary_above(urdf, tip) and (base is None or _is_above(urdf, base, tip))]
    if not tips:
        raise urdf.error("joint", "no rotary joint", "give the URDF of an arm with revolute joints")
    if len(tips) == 1:
        return tips[0], "the only link at an end of the tree behind a rotary joint"
    last_joints = {_rotary_above(urdf, tip)[0] for tip in tips}
    still = not any(urdf.kind(name) == "prismatic" for tip in tips for name in urdf.above(tip))
    if len(last_joints) == 1 and still:
        named = [name for name in TOOL_NAMES if name in tips]
        if named:
            return named[0], f"the usual name; the same body also ends in {', '.join(t for t in tips if t != named[0])}"
    raise _ambiguous(urdf, tips)


def _ambiguous(urdf: UrdfFile, tips: list[str]) -> ArmError:
    listed = "; ".join(f"{tip} (behind {len(_rotary_above(urdf, tip))} rotary joints)" for tip in tips)
    remedy = "give --tool LINK; a link between will do, such as a gripper's base or a flange"
    return urdf.error("tool_frame", f"{len(tips)} tips: {listed}", remedy)


def _base(urdf: UrdfFile, tool: str) -> tuple[str, str]:
    above = urdf.above(tool)
    moving = [name for name in above if urdf.kind(name) in ROTARY]
    if not moving:
        raise urdf.error("joint", f"no rotary joint above {tool!r}", "choose another --tool")
    links = [urdf.ends(moving[-1])[0]]
    for name in above[above.index(moving[-1]) + 1 :]:
        if urdf.kind(name) != "fixed":
            return links[-1], f"the link above it moves ({name}, {urdf.kind(name)}): taken as standing still"
        links.append(urdf.ends(name)[0])
    if links[-1] in WORLDS and len(links) > 1:
        if tilt(urdf, links[-2]) > UPRIGHT_RAD:
            return links[-1], "the root of the tree: the first link below is mounted at a tilt"
        return links[-2], f"the first link below {links[-1]!r}"
    return links[-1], "the root of the tree"


def _rotary_above(urdf: UrdfFile, link: str) -> list[str]:
    return [name for name in urdf.above(link) if urdf.kind(name) in ROTARY]


def _is_above(urdf: UrdfFile, base: str, link: str) -> bool:
    return base == link or any(urdf.ends(name)[0] == base for name in urdf.above(link))
