"""The graph as data: which nodes, how urgent, how far they start themselves, with which arguments.

`launch/graph.yaml` is its one description. `mbrl-control up` and the launch files both start what `NodeStart` says,
so they cannot start different graphs. No process is started here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.cadence import ANCHOR_VARIABLE, FACTOR_VARIABLE, SteadyClock
from mbrl_control.scheduling import Placement, divide_processors

SIMULATED_NODES = frozenset(("sim_driver",))
"""Stand in for the robot's own driver."""
NODES = SIMULATED_NODES | {
    "data_logger",
    "command_relay",
    "state_estimator",
    "guard",
    "dynamics_model",
    "mpc_planner",
    "collector",
}
"""Of a simulated arm's graph; each is a module of `mbrl_nodes`."""


class GraphError(ValueError):
    """A graph description or a folder that cannot be used."""


class NodeSpec(BaseModel):
    """One row of graph.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z_]{1,64}$")
    priority: int = Field(ge=0, le=98)
    """SCHED_FIFO where permitted; 0: normal."""
    state: Literal["none", "configure", "activate"]
    """How far the node starts itself."""
    processor: Literal["any", "reserved", "others"] = "any"
    """Which processors, where there are two or more: all, the reserved one, or all but that."""
    restart: bool = False
    """Started again when it dies; without it the graph ends. Only for what the arm does not need."""

    def placement(self, allowed: Collection[int]) -> Placement:
        """On a machine that lets this process use the processors ``allowed``."""
        reserved, others = divide_processors(tuple(sorted(allowed)))
        return Placement(self.priority, {"any": (), "reserved": reserved, "others": others}[self.processor])


@dataclass(frozen=True, slots=True)
class NodeStart:
    """One node as a process, whoever starts it."""

    spec: NodeSpec
    namespace: str
    """Without slashes at its ends; empty: the root."""
    parameters: Mapping[str, Any]
    """Set by the run; they win over those of ``params_file``."""
    params_file: Path | None = None
    log_level: str = "info"

    @property
    def name(self) -> str:
        return self.spec.name

    def parameter_file(self, folder: Path) -> Path:
        """Write the run's own parameters, ``autostart`` with them, below ``folder``."""
        path = folder / f"{self.name}.params.yaml"
        values = {"autostart": self.spec.state, **self.parameters}
        path.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
        return path

    def parameter_files(self, folder: Path) -> list[Path]:
        """What the node reads, in this order; the later one wins."""
        return [*([] if self.params_file is None else [self.params_file]), self.parameter_file(folder)]

    def arguments(self, folder: Path) -> list[str]:
        """Command line behind the executable."""
        files = [word for path in self.parameter_files(folder) for word in ("--params-file", str(path))]
        return ["--ros-args", "-r", f"__ns:=/{self.namespace}", *files, "--log-level", self.log_level]


def load_graph(path: Path) -> list[NodeSpec]:
    """Read graph.yaml; whatever is unknown, missing or said twice is an error that names file and field."""
    remedy = "compare with launch/graph.yaml"
    try:
        tree = _UniqueKeys(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise GraphError(f"{path}: not a graph description ({error}); {remedy}") from error
    rows = tree.get("nodes") if isinstance(tree, dict) else None
    if not isinstance(rows, dict) or set(tree) != {"nodes"}:
        raise GraphError(f"{path}: nodes: has to be the one field, a mapping of node names; {remedy}")
    specs = [_node_spec(path, str(name), row) for name, row in rows.items()]
    missing = sorted(NODES - {spec.name for spec in specs})
    if missing:
        raise GraphError(f"{path}: nodes: {', '.join(missing)} missing: the arm cannot run without; {remedy}")
    return specs


def of_real_arm(specs: list[NodeSpec]) -> list[NodeSpec]:
    """The same graph where the robot's own driver takes the simulator's place."""
    return [spec for spec in specs if spec.name not in SIMULATED_NODES]


def shared_environment(real_time_factor: float = 1.0) -> dict[str, str]:
    """What all processes of one graph have in common: one clock, single-threaded math."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    clock = SteadyClock(factor=real_time_factor)
    return {ANCHOR_VARIABLE: str(clock.anchor_ns), FACTOR_VARIABLE: str(clock.factor)} | threads


def _node_spec(path: Path, name: str, row: Any) -> NodeSpec:
    if name not in NODES:
        raise GraphError(f"{path}: nodes.{name}: no such node; there are {', '.join(sorted(NODES))}")
    if not isinstance(row, dict):
        raise GraphError(f"{path}: nodes.{name}: {row!r} is no mapping; write {{priority: ..., state: ...}}")
    try:
        return NodeSpec(name=name, **row)
    except (ValidationError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        field = ".".join(["nodes", name, *map(str, first["loc"])])
        raise GraphError(f"{path}: {field}: {first['msg']}; compare with launch/graph.yaml") from error


class _UniqueKeys(yaml.SafeLoader):
    """A key said twice is an error: YAML's own rule, which PyYAML does not keep."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice)}: said twice")
        return super().construct_mapping(node, deep)
