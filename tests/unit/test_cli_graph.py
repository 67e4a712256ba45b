"""Graph descriptions: the shipped one, and each thing that can be wrong with one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.graph import NODES, GraphError, load_graph
from tests.patience import HUNG_S

SHIPPED = launch_file("graph.yaml").read_text()


def test_the_shipped_graph_has_every_node_and_the_guard_is_the_most_urgent() -> None:
    specs = {spec.name: spec for spec in load_graph(launch_file("graph.yaml"))}
    assert set(specs) == NODES
    assert max(specs.values(), key=lambda spec: spec.priority).name == "guard"
    assert {name for name, spec in specs.items() if spec.processor == "reserved"} == {"mpc_planner", "collector"}


BROKEN = {
    "binary": (b"\xff\xfe\x00", "not a graph description"),
    "empty": (b"", "nodes: has to be"),
    "no nodes": (b"nodes: {}", "data_logger, "),
    "extra field": (SHIPPED.encode() + b"surprise: 1\n", "nodes: has to be the one field"),
    "misspelt node": (SHIPPED.replace("guard:", "gaurd:").encode(), r"nodes\.gaurd: no such node"),
    "missing node": (SHIPPED.replace("  guard:", "  #").encode(), "guard missing"),
    "said twice": (SHIPPED.encode() + b"  guard: {priority: 1, state: activate}\n", "guard: said twice"),
    "misspelt field": (SHIPPED.replace("priority: 50", "prioritiy: 50").encode(), r"nodes\.guard\.prioritiy|priority"),
    "wrong type": (SHIPPED.replace("priority: 50", "priority: high").encode(), r"nodes\.guard\.priority"),
    "no mapping": (SHIPPED.replace("{priority: 50, state: activate, processor: others}", "50").encode(), "no mapping"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_refused_in_one_line_with_the_file(name: str, tmp_path: Path) -> None:
    content, words = BROKEN[name]
    path = tmp_path / "graph.yaml"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=words) as caught:
        load_graph(path)
    assert str(path) in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_bad_input_leaves_no_folder(tmp_path: Path) -> None:
    graph = tmp_path / "graph.yaml"
    graph.write_text(yaml.safe_dump({"nodes": {}}))
    for arguments in (
        ["up", "--graph", str(graph)],
        ["up", "--registry", str(tmp_path / "none")],
        ["up", "--go-live"],
        ["up", "--real", "--go-live", "--dry-run"],
        ["up", "--real", "--real-time-factor", "0.5"],
        ["up", "--params-file", str(graph)],
        ["demo", "--robot", "no"],
        ["demo", "--sim", "pybullet", "--robot", str(unphysical(tmp_path))],
    ):
        command = [sys.executable, "-m", "mbrl_control.cli.main", *arguments, "--out", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def unphysical(folder: Path) -> Path:
    """An arm that only the simulator refuses: its steps do not divide this delay."""
    source = arm_file("planar")
    (folder / "planar.yaml").write_text(source.read_text().replace("sensor_s: 0.002", "sensor_s: 0.003"))
    (folder / "planar.urdf").write_bytes(source.with_suffix(".urdf").read_bytes())
    return folder / "planar.yaml"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_runs_the_way_out_once_and_whole(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps = []

    def work() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), number)
                time.sleep(1.0)
                steps.append("went on")
            finally:
                os.kill(os.getpid(), number)
                steps.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["cleaned up"]
    assert signal.getsignal(number) is before


def test_a_terminated_verb_takes_its_child_with_it(tmp_path: Path) -> None:
    """The demo's retraining, say: a child that goes on would activate a bundle nobody asked for any more."""
    code = (
        "import sys\n"
        "from mbrl_control.cli import session\n"
        "from mbrl_control.cli.interrupt import interruptible\n"
        "sys.executable = sys.argv[1]\n"
        "with interruptible():\n    session.run_verb(['sleep'])\n"
    )
    pid_file = tmp_path / "pid"
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nexec sleep 3600\n")
    child.chmod(0o755)
    parent = subprocess.Popen([sys.executable, "-c", code, str(child)], stderr=subprocess.DEVNULL)
    while not pid_file.exists() or not pid_file.read_text().strip():
        assert parent.poll() is None
        time.sleep(0.02)
    parent.terminate()
    parent.wait(HUNG_S)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
