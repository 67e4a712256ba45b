"""Nodes that die: the one that the arm does not need is started again, any other ends the graph."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mbrl_control.cli.locations import launch_file
from mbrl_control.cli.processes import RESTARTS, Graph, GraphFailed
from mbrl_control.graph import NodeSpec, NodeStart, load_graph
from tests.patience import HUNG_S

NODE = """
import json, sys, time
print(json.dumps({"node": "x", "state": "active", "scheduling": "normal"}), flush=True)
print("began", file=sys.stderr, flush=True)
time.sleep(3600)
"""


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """Two processes in the places of a logger and a guard."""
    package = tmp_path / "stub" / "mbrl_nodes"
    package.mkdir(parents=True)
    for name in ("__init__", "data_logger", "guard"):
        (package / f"{name}.py").write_text("" if name == "__init__" else NODE)
    specs = [NodeSpec(name="data_logger", priority=0, state="activate", restart=True)]
    specs.append(NodeSpec(name="guard", priority=0, state="activate"))
    starts = [NodeStart(spec, "arm", {}) for spec in specs]
    environment = os.environ | {"PYTHONPATH": str(package.parent)}
    with Graph(starts, tmp_path / "nodes", environment) as running:
        running.start()
        yield running


def kill(graph: Graph, name: str) -> None:
    process = graph.nodes[name].process
    process.send_signal(signal.SIGKILL)
    process.wait(HUNG_S)


def test_a_logger_that_dies_is_started_again_and_its_words_are_kept(graph: Graph) -> None:
    first = graph.nodes["data_logger"].process.pid
    kill(graph, "data_logger")
    graph.check()
    again = graph.nodes["data_logger"]
    assert again.process.pid != first
    assert again.ready.wait(HUNG_S)
    assert again.log.read_text().count("began") >= 1
    assert graph.restarts["data_logger"] == 1
    graph.check()
    assert graph.restarts["data_logger"] == 1


def test_one_that_keeps_dying_ends_the_graph(graph: Graph) -> None:
    for _ in range(RESTARTS):
        kill(graph, "data_logger")
        graph.check()
        assert graph.nodes["data_logger"].ready.wait(HUNG_S)
    kill(graph, "data_logger")
    with pytest.raises(GraphFailed, match="data_logger ended with status -9"):
        graph.check()


def test_a_guard_that_dies_ends_the_graph(graph: Graph) -> None:
    kill(graph, "guard")
    with pytest.raises(GraphFailed, match="guard ended with status -9"):
        graph.check()


def test_only_the_logger_may_be_started_again() -> None:
    assert [spec.name for spec in load_graph(launch_file("graph.yaml")) if spec.restart] == ["data_logger"]
