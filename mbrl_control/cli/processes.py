"""Starts, watches and stops the processes of a graph described by `launch/graph.yaml`.

Every node is a fresh process in its own session: Ctrl-C reaches only this process, which then stops the
nodes in order, so the logger ends last and its file is whole. A node that dies takes the graph down.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.cadence import ANCHOR_VARIABLE, SteadyClock
from mbrl_control.cli.errors import Refused
from mbrl_control.scheduling import Placement, divide_processors

_PR_SET_PDEATHSIG = 1
_STACK_BYTES = 2 * 2**20
"""Of each thread of a child: real-time children lock their memory, and a node has some twenty threads."""
NODES = frozenset(
    (
        "data_logger",
        "sim_driver",
        "command_relay",
        "state_estimator",
        "guard",
        "dynamics_model",
        "mpc_planner",
        "collector",
    )
)
"""Of a simulated arm's graph; each is a module of `mbrl_nodes`."""
_STATES = {"none": "unconfigured", "configure": "inactive", "activate": "active"}


class GraphError(ValueError):
    """A graph description or a folder that cannot be used."""


class GraphFailed(Refused):
    """A node or another child process failed."""


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

    def placement(self, allowed: Collection[int]) -> Placement:
        """On a machine that lets this process use the processors ``allowed``."""
        reserved, others = divide_processors(tuple(sorted(allowed)))
        return Placement(self.priority, {"any": (), "reserved": reserved, "others": others}[self.processor])


@dataclass(slots=True)
class NodeProcess:
    """A started node. ``ready`` is set by its first JSON line on standard output."""

    spec: NodeSpec
    process: subprocess.Popen[str]
    log: Path
    ready: threading.Event = field(default_factory=threading.Event)
    state: str = "starting"
    scheduling: str = ""


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


def free_domain() -> int:
    """A ROS domain whose first discovery port nobody has bound on this machine."""
    generator = random.SystemRandom()
    for domain in generator.sample(range(1, 101), 100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", 7400 + 250 * domain))
            return domain
    raise GraphError("no free ROS domain between 1 and 100: end some ROS graphs of this machine")


def graph_environment(folder: Path, domain: int | None) -> dict[str, str]:
    """Environment of all processes of one graph: one clock anchor, loopback only, single-threaded math."""
    environment = dict(os.environ)
    environment[ANCHOR_VARIABLE] = str(SteadyClock().anchor_ns)
    environment.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment["ROS_LOG_DIR"] = str(folder)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = "1"
    if domain is not None:
        environment["ROS_DOMAIN_ID"] = str(domain)
    return environment


class Graph:
    """The running graph; use it as a context manager."""

    def __init__(
        self,
        specs: list[NodeSpec],
        namespace: str,
        folder: Path,
        parameters: Mapping[str, Mapping[str, Any]],
        params_file: Path | None = None,
        domain: int | None = None,
    ) -> None:
        self.specs = specs
        self.namespace = namespace
        self.folder = folder
        self.nodes: dict[str, NodeProcess] = {}
        self._parameters = parameters
        self._params_file = params_file
        folder.mkdir(parents=True, exist_ok=True)
        self.environment = graph_environment(folder, domain)

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 40.0, on_ready: Callable[[NodeProcess], None] | None = None) -> None:
        """Start every node and wait until each has reached its state."""
        for spec in self.specs:
            self.nodes[spec.name] = self._spawn(spec)
        deadline = time.monotonic() + timeout_s
        for node in self.nodes.values():
            while not node.ready.wait(0.05):
                self.check()
                if time.monotonic() > deadline:
                    waiting = [name for name, other in self.nodes.items() if not other.ready.is_set()]
                    raise GraphFailed(
                        f"{', '.join(waiting)}: not ready after {timeout_s:.0f} s; see {self.folder}, and whether "
                        "another graph or other real-time processes run on this machine"
                    )
            if node.state != _STATES[node.spec.state]:
                raise GraphFailed(f"{node.spec.name}: could not start:\n{_tail(node.log)}")
            if on_ready is not None:
                on_ready(node)

    def check(self) -> None:
        """Raise when a node has ended by itself."""
        for node in self.nodes.values():
            code = node.process.poll()
            if code is not None:
                raise GraphFailed(
                    f"{node.spec.name} ended with status {code}; last lines of {node.log}:\n{_tail(node.log)}"
                )

    def stop(self) -> None:
        """Stop every node, last started first; escalate only for one that does not end."""
        for name in [spec.name for spec in reversed(self.specs) if spec.name in self.nodes]:
            self.stop_node(name)

    def stop_node(self, name: str) -> None:
        process = self.nodes.pop(name).process
        for number, patience_s in ((signal.SIGINT, 5.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience_s)

    def environment_of(self, spec: NodeSpec) -> dict[str, str]:
        """What a process in this node's place is started with."""
        return self.environment | spec.placement(os.sched_getaffinity(0)).environment()

    def _spawn(self, spec: NodeSpec) -> NodeProcess:
        params = self.folder / f"{spec.name}.params.yaml"
        values = {"autostart": spec.state, **self._parameters.get(spec.name, {})}
        params.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
        command = [sys.executable, "-m", f"mbrl_nodes.{spec.name}", "--ros-args", "-r", f"__ns:=/{self.namespace}"]
        if self._params_file is not None:
            command += ["--params-file", str(self._params_file)]
        command += ["--params-file", str(params)]
        log = self.folder / f"{spec.name}.log"
        log.write_text("")
        # Both writers append: at an offset of its own, the node's standard error would overwrite what `_follow` wrote.
        with log.open("a") as stream:
            process = spawn(command, self.environment_of(spec), stream)
        node = NodeProcess(spec, process, log)
        threading.Thread(target=_follow, args=(node,), daemon=True).start()
        return node


def spawn(
    command: list[str], environment: Mapping[str, str], stderr: Any, stdin: int | None = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """A child in its own session that is told to end when this process dies, however it dies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
        resource.setrlimit(resource.RLIMIT_STACK, (_STACK_BYTES, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def _follow(node: NodeProcess) -> None:
    assert node.process.stdout is not None
    with node.log.open("a") as log:
        for line in node.process.stdout:
            log.write(line)
            log.flush()
            if not node.ready.is_set() and line.startswith('{"node"'):
                message = json.loads(line)
                node.state, node.scheduling = message["state"], message["scheduling"]
                node.ready.set()


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
