"""One run of the graph in one folder: which file goes where and which node gets which parameter."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.processes import Graph, GraphFailed, free_domain, graph_environment
from mbrl_control.cli.spawn import spawn
from mbrl_control.cli.wiring import SIMULATED, Wiring
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.episode_log.schema import (
    BELIEF,
    JOINT_STATES,
    MODEL_STATUS,
    RELAY_STATUS,
    SAFE_COMMAND,
    SAFETY_STATUS,
)
from mbrl_control.graph import GraphError, NodeSpec, NodeStart, of_real_arm
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.robot import load_arm

PLANNER_SETTINGS = "planner.yaml"
SPOKEN = (JOINT_STATES, BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS, MODEL_STATUS)
"""Topics that carry messages without anybody's request."""


@dataclass(frozen=True, slots=True)
class Session:
    """Folder layout of a run; every artefact of it lies below ``folder``."""

    folder: Path
    arm: Path
    robot: str
    seed: int
    speed_scale: float
    simulator: str = "mujoco"
    foreign_registry: Path | None = None
    """A registry outside the folder (read by `up`); None: the run's own."""
    wiring: Wiring = SIMULATED
    real_time_factor: float = 1.0
    """Graph seconds per real second; below 1 only where the arm is simulated."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the planner, beside the cap on speed."""

    def __post_init__(self) -> None:
        """UserError where a real arm's watchdogs and deadlines would be stretched."""
        if self.wiring.real and self.real_time_factor != 1.0:
            raise UserError(f"--real-time-factor {self.real_time_factor:g}: a real arm runs in real time; drop it")

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def truth(self) -> Path:
        return self.folder / "truth.bin"

    @property
    def registry(self) -> Path:
        return self.foreign_registry or self.folder / "registry"

    @property
    def nodes(self) -> Path:
        return self.folder / "nodes"

    @property
    def planner_settings(self) -> Path:
        return self.folder / PLANNER_SETTINGS

    @property
    def plan_period_s(self) -> float:
        """Of the planner, which the guard judges the age of plans by."""
        return float(self.settings.get("period_s", PlannerConfig().period_s))

    @property
    def model_options(self) -> list[str]:
        """Of a verb that works on the run's models."""
        return [
            *("--robot", str(self.arm), "--registry", str(self.registry)),
            *("--command", self.wiring.command.value),
        ]

    def active_bundle(self) -> Path:
        """Folder of the bundle in use."""
        registry = Registry(self.registry, load_arm(self.arm, self.wiring.command).model_name)
        version = registry.active()
        if version is None:
            raise GraphFailed(f"{registry.folder}: no bundle is active; make one with `mbrl-control models prior`")
        return registry.path(version)

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters of every node, those of the wiring among them."""
        arm = {"arm": str(self.arm)}
        own: dict[str, dict[str, Any]] = {
            "data_logger": {"path": str(self.log)},
            "sim_driver": {"truth_file": str(self.truth), "seed": self.seed, "simulator": self.simulator},
            "command_relay": {"dry_run": self.wiring.dry_run},
            "guard": {"speed_scale": self.speed_scale, "plan_period": self.plan_period_s},
            "dynamics_model": {"models": str(self.registry)},
            "mpc_planner": {"seed": self.seed, "settings": str(self.planner_settings)},
            "collector": {"seed": self.seed, "speed_scale": self.speed_scale},
            "state_estimator": {},
        }
        wired = {name: values | self.wiring.parameters(name) for name, values in own.items()}
        return {name: values if name == "data_logger" else arm | values for name, values in wired.items()}

    def starts(self, specs: list[NodeSpec]) -> list[NodeStart]:
        """Every node of the run, in the order of starting."""
        wiring, parameters = self.wiring, self.parameters()
        namespace = self.robot if wiring.namespace is None else wiring.namespace
        return [
            NodeStart(spec, namespace, parameters[spec.name], wiring.params_file, wiring.log_level)
            for spec in (of_real_arm(specs) if wiring.real else specs)
        ]

    def graph(self, specs: list[NodeSpec]) -> Graph:
        self.write_settings()
        # The driver of a real arm is in a domain already; a simulated graph keeps to itself.
        alone = not self.wiring.real and "ROS_DOMAIN_ID" not in os.environ
        domain = free_domain() if alone else None
        environment = graph_environment(self.nodes, domain, not self.wiring.real, self.real_time_factor)
        return Graph(self.starts(specs), self.nodes, environment)

    def write_settings(self) -> None:
        """The planner's settings file, which the nodes' parameters name."""
        self.planner_settings.write_text(yaml.safe_dump({"speed_scale": self.speed_scale} | self.settings))

    def await_log(self, timeout_s: float = 60.0) -> None:
        """Until the logger hears every node that speaks by itself: DDS may take seconds to introduce them."""
        deadline = time.monotonic() + timeout_s
        while deaf := sorted(t.name for t in SPOKEN if not any(LogReader(self.log).raw((t,)))):
            if time.monotonic() > deadline:
                raise GraphFailed(
                    f"{self.log}: {', '.join(deaf)}: not heard within {timeout_s:.0f} s; see {self.nodes}"
                )
            time.sleep(0.3)

    def write(self, name: str, value: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(value, indent=1) + "\n")


def new_folder(folder: Path) -> Path:
    """The folder of a run, made now; one that already holds a run is refused, nothing is overwritten."""
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise GraphError(f"--out {folder}: exists and is not empty; name another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run_verb(arguments: Sequence[str]) -> str:
    """Run another verb of this command line as a child, which ends with this process; return its last line.

    What it says on standard error is shown as it comes; a failure raises GraphFailed and points there.
    """
    command = [sys.executable, "-m", "mbrl_control.cli.main", *arguments]
    child = spawn(command, os.environ, None)
    try:
        output, _ = child.communicate()
    except BaseException:  # whatever ends this process's wait must not leave a child that goes on writing bundles
        child.send_signal(signal.SIGINT)
        child.wait()
        raise
    lines = output.strip().splitlines()
    if child.returncode != 0:
        raise GraphFailed(f"`mbrl-control {arguments[0]}` ended with status {child.returncode}, for the reason above")
    return lines[-1] if lines else ""
