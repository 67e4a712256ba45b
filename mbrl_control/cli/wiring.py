"""How a graph meets its arm: simulated or real, in which namespace, through which controllers and topics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.locations import params_file
from mbrl_control.graph import NODES, GraphError
from mbrl_control.safety.controllers import ControllerInterface, controller_fault, kind_told
from mbrl_control.signals import CommandInterface

CONTROLLER_USERS = frozenset(("command_relay", "data_logger", "sim_driver"))
"""Nodes that must agree on the controller."""
OWNED = frozenset(
    (
        "arm",
        "autostart",
        "command_interface",
        "dry_run",
        "models",
        "path",
        "plan_period",
        "seed",
        "settings",
        "simulator",
        "speed_scale",
        "truth_file",
        "use_sim_time",
    )
)
"""Set by the run in every case: in a parameter file they would silently do nothing."""
ROS_NAMES = frozenset(("controller_name", "speed_scaling_topic", "state_topic"))
"""Parameters that become a topic; absolute with a leading slash, unset where empty."""
_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
NAME_RULE = "letters, digits and _ only, no digit first, parts divided by /"


def is_ros_name(text: str) -> bool:
    """Whether a node or topic may have that name, :data:`NAME_RULE`."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Wiring:
    """Decided once per run."""

    real: bool = False
    """The robot's own driver takes the simulator's place."""
    dry_run: bool = False
    """Everything runs, the relay publishes nothing."""
    namespace: str | None = None
    """None: the arm's name; empty: the root."""
    params_file: Path | None = None
    log_level: str = "info"
    command: CommandInterface = CommandInterface.VELOCITY
    """What plans and safe commands are."""
    controller_interface: ControllerInterface | None = None
    """As given; None: see :attr:`interface`."""
    controller_name: str = ""
    """Empty: the usual name of ``controller_interface`` where that is given, else as the parameter file says."""

    def __post_init__(self) -> None:
        """UserError where the controller's name is none, or it would be sent what it does not take, or might be."""
        if self.controller_name and not is_ros_name(self.controller_name.removeprefix("/")):
            options = "initial_joint_controller:=; --controller-name"
            raise UserError(f"controller_name: {self.controller_name!r}: no ROS name: {NAME_RULE} ({options})")
        if fault := controller_fault(self.command, self.controller_interface, self.controller_name):
            options = "controller_interface:=, initial_joint_controller:=; --controller-interface, --controller-name"
            raise UserError(f"controller_interface: {fault} ({options})")

    @property
    def interface(self) -> ControllerInterface | None:
        """As given, as the controller's name tells, of torques effort; None: as the parameter file says."""
        effort = ControllerInterface.EFFORT if self.command is CommandInterface.EFFORT else None
        return self.controller_interface or kind_told(self.controller_name) or effort

    def parameters(self, node: str) -> dict[str, Any]:
        """What the wiring adds to a node's parameters: only what was asked for, so that a parameter file can say it."""
        own = {} if node == "data_logger" else {"command_interface": self.command.value}
        if node not in CONTROLLER_USERS:
            return own
        interface = self.interface
        name = self.controller_name or ("" if interface is None else interface.default_name)
        wanted = {"controller_interface": str(interface or ""), "controller_name": name}
        return own | {key: value for key, value in wanted.items() if value}


SIMULATED = Wiring()
_FAMILIES = {"fer": "franka", "fr3": "franka", "panda": "franka", "ur": "ur"}
"""How an arm's name begins, and whose parameter file it takes."""


def shipped_params_file(arm: str, real: bool) -> Path | None:
    """Parameter file of mbrl_nodes for an arm of that name; None where none fits and the nodes' defaults hold."""
    if not real:
        return params_file("sim.yaml")
    family = next((family for start, family in _FAMILIES.items() if arm.startswith(start)), None)
    return None if family is None else params_file(f"real_{family}.yaml")


def checked_params_file(path: Path) -> Path:
    """An absolute path of a parameter file that does what it says; GraphError names file, field and remedy.

    Node names are given as `/**/guard` (or fully); a name that no node of the graph has would silently do nothing.
    The nodes themselves refuse parameters they do not declare.
    """
    if not path.exists():
        raise GraphError(f"{path}: no such file; check --params-file (params_file:=), or drop it for a shipped one")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GraphError(
            f"{path}: not a parameter file ({error}); compare with params/sim.yaml of mbrl_nodes"
        ) from error
    if not isinstance(tree, dict) or not tree:
        raise GraphError(f"{path}: has to be a mapping of node names; compare with params/sim.yaml of mbrl_nodes")
    for pattern, row in tree.items():
        node = str(pattern).rpartition("/")[2]
        if node not in NODES:
            raise GraphError(f"{path}: {pattern}: no such node; write /**/NODE with one of {', '.join(sorted(NODES))}")
        values = row.get("ros__parameters") if isinstance(row, dict) and set(row) == {"ros__parameters"} else None
        if not isinstance(values, dict):
            raise GraphError(f"{path}: {pattern}: needs the one field ros__parameters, a mapping of parameters")
        owned = sorted(OWNED & set(values))
        if owned:
            reason = "set by the run itself; give the launch argument or option instead"
            raise GraphError(f"{path}: {pattern}: {', '.join(owned)}: {reason}")
        for key in sorted(ROS_NAMES & set(values)):
            if values[key] and not is_ros_name(str(values[key]).removeprefix("/")):
                raise GraphError(f"{path}: {pattern}: {key}: {values[key]!r}: no ROS name: {NAME_RULE}")
    return path.resolve()
