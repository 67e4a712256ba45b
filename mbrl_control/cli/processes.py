"""Starts, watches and stops the processes of a graph described by `launch/graph.yaml`.

Every node is a fresh process in its own session: Ctrl-C reaches only this process, which then stops the
nodes in order, so the logger ends last and its log is whole. A node that dies takes the graph down; one that the arm
does not need (`restart` in graph.yaml) is started again, and only one that keeps dying takes it down.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mbrl_control.cadence import FACTOR_VARIABLE
from mbrl_control.cli.awake import halts_are_dear, keep_awake, let_sleep
from mbrl_control.cli.errors import Refused
from mbrl_control.cli.spawn import spawn
from mbrl_control.cli.transports import transports
from mbrl_control.graph import GraphError, NodeSpec, NodeStart, shared_environment

RESTARTS = 5
"""Of one node in the life of a graph: more is no accident."""
_STATES = {"none": "unconfigured", "configure": "inactive", "activate": "active"}


class GraphFailed(Refused):
    """A node or another child process failed."""


@dataclass(slots=True)
class NodeProcess:
    """A started node. ``ready`` is set by its first JSON line on standard output."""

    spec: NodeSpec
    process: subprocess.Popen[str]
    log: Path
    ready: threading.Event = field(default_factory=threading.Event)
    state: str = "starting"
    scheduling: str = ""


def free_domain() -> int:
    """A ROS domain whose discovery ports nobody has bound on this machine: the one for all, and that of a first process
    which listens on the loopback only."""
    generator = random.SystemRandom()
    for domain in generator.sample(range(1, 101), 100):
        ports = (7400 + 250 * domain, 7410 + 250 * domain)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for port in ports:
                probes.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("0.0.0.0", port))
            return domain
    raise GraphError("no free ROS domain between 1 and 100: end some ROS graphs of this machine")


def graph_environment(
    folder: Path, domain: int | None, simulated: bool = True, real_time_factor: float = 1.0
) -> dict[str, str]:
    """Environment of all processes of one graph; a simulated one stays on this machine unless told otherwise."""
    environment = os.environ | shared_environment(real_time_factor) | {"ROS_LOG_DIR": str(folder)}
    environment |= transports(environment, at_home=simulated)
    if domain is not None:
        environment["ROS_DOMAIN_ID"] = str(domain)
    return environment


class Graph:
    """The running graph; use it as a context manager."""

    def __init__(self, starts: list[NodeStart], folder: Path, environment: Mapping[str, str]) -> None:
        self.starts = starts
        self.namespace = starts[0].namespace
        self.folder = folder
        self.nodes: dict[str, NodeProcess] = {}
        self.environment = dict(environment)
        self.restarts: Counter[str] = Counter()
        """How often each node was started again."""
        self._awake: list[subprocess.Popen[str]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Graph:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, timeout_s: float = 120.0, on_ready: Callable[[NodeProcess], None] | None = None) -> None:
        """Start every node and wait until each has reached its state."""
        for start in self.starts:
            self.nodes[start.name] = self._spawn(start)
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
        if self._wakes_must_be_prompt():
            self._awake = keep_awake(os.sched_getaffinity(0))

    def _wakes_must_be_prompt(self) -> bool:
        """A slowed graph has time for a processor that comes back late, and spinning may cost a guest its share."""
        in_real_time = float(self.environment.get(FACTOR_VARIABLE, "1")) == 1.0
        urgent = any(node.scheduling.startswith("SCHED_FIFO") for node in self.nodes.values())
        return in_real_time and urgent and halts_are_dear()

    @property
    def kept_awake(self) -> bool:
        """Whether the processors spin instead of halting; see `awake`."""
        return bool(self._awake)

    def check(self) -> None:
        """Start again what has ended by itself and may be; raise for any other."""
        for name, node in list(self.nodes.items()):
            code = node.process.poll()
            if code is None:
                continue
            if not (node.spec.restart and node.ready.is_set() and self.restarts[name] < RESTARTS):
                raise GraphFailed(f"{name} ended with status {code}; last lines of {node.log}:\n{_tail(node.log)}")
            self.restarts[name] += 1
            self.nodes[name] = self._spawn(next(start for start in self.starts if start.name == name))

    def stop(self) -> None:
        """Stop every node, last started first; escalate only for one that does not end."""
        let_sleep(self._awake)
        self._awake = []
        for name in [start.name for start in reversed(self.starts) if start.name in self.nodes]:
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

    def _spawn(self, start: NodeStart) -> NodeProcess:
        command = [sys.executable, "-m", f"mbrl_nodes.{start.name}", *start.arguments(self.folder)]
        log = self.folder / f"{start.name}.log"
        if not self.restarts[start.name]:
            log.write_text("")
        # Both writers append: at an offset of its own, the node's standard error would overwrite what `_follow` wrote.
        with log.open("a") as stream:
            process = spawn(command, self.environment_of(start.spec), stream)
        node = NodeProcess(start.spec, process, log)
        threading.Thread(target=_follow, args=(node,), daemon=True).start()
        return node


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
