"""Processors of a virtual machine: when they are kept awake, and that nothing is left spinning."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mbrl_control.cadence import FACTOR_VARIABLE
from mbrl_control.cli import processes
from mbrl_control.cli.awake import give_way_as_session, halts_are_dear, keep_awake, let_sleep
from mbrl_control.cli.processes import Graph, NodeProcess
from mbrl_control.graph import NodeSpec, NodeStart
from tests.patience import HUNG_S


def machine(root: Path, flags: str, driver: str | None) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(f"processor : 0\nflags\t\t: fpu {flags} sse2\n")
    if driver is not None:
        idle = root / "sys/devices/system/cpu/cpuidle"
        idle.mkdir(parents=True)
        (idle / "current_driver").write_text(driver + "\n")
    return root


@pytest.mark.parametrize(
    ("flags", "driver", "dear"),
    [
        ("hypervisor", "none", True),
        ("hypervisor", None, True),
        ("hypervisor", "haltpoll", False),
        ("", "intel_idle", False),
        ("", None, False),
    ],
)
def test_only_a_guest_without_idle_states_is_kept_awake(
    tmp_path: Path, flags: str, driver: str | None, dear: bool
) -> None:
    assert halts_are_dear(machine(tmp_path, flags, driver)) is dear


@pytest.mark.parametrize(
    ("factor", "scheduling", "dear", "kept"),
    [
        ("1.0", "SCHED_FIFO 50", True, True),
        ("0.25", "SCHED_FIFO 50", True, False),
        ("1.0", "SCHED_OTHER", True, False),
        ("1.0", "SCHED_FIFO 50", False, False),
    ],
)
def test_a_graph_keeps_processors_awake_only_in_real_time_with_urgent_nodes_where_halts_are_dear(
    factor: str, scheduling: str, dear: bool, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = NodeSpec(name="guard", priority=50, state="activate")
    node = NodeProcess(spec, subprocess.Popen(["true"]), tmp_path / "log", state="active", scheduling=scheduling)
    node.ready.set()
    monkeypatch.setattr(processes, "halts_are_dear", lambda: dear)
    monkeypatch.setattr(processes, "keep_awake", lambda _: [subprocess.Popen(["true"], stdout=subprocess.PIPE)])
    monkeypatch.setattr(Graph, "_spawn", lambda *_: node)
    monkeypatch.setattr(Graph, "check", lambda _: None)
    with Graph([NodeStart(spec, "", {})], tmp_path, {FACTOR_VARIABLE: factor}) as graph:
        graph.start()
        assert graph.kept_awake is kept


def test_each_processor_gets_one_that_gives_way_to_everything_and_they_end() -> None:
    allowed = os.sched_getaffinity(0)
    children = keep_awake(allowed)
    try:
        deadline = time.monotonic() + HUNG_S
        while any(os.sched_getscheduler(child.pid) != os.SCHED_IDLE for child in children):
            assert time.monotonic() < deadline, "a child never became idle-class"
            time.sleep(0.05)
        time.sleep(0.2)
        groups = [Path(f"/proc/{child.pid}/autogroup") for child in children]
        assert all(group.read_text().split()[-1] == "19" for group in groups if group.exists())
        assert set().union(*(os.sched_getaffinity(child.pid) for child in children)) == allowed
        assert len(children) == len(allowed)
    finally:
        let_sleep(children)
    assert all(child.returncode is not None for child in children)


@pytest.mark.parametrize(("leads", "written"), [(True, "19"), (False, "/autogroup-1 nice 0")])
def test_only_a_session_of_its_own_gets_the_lowest_weight(
    leads: bool, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed in a shell, it would slow everything else in that terminal."""
    (tmp_path / "autogroup").write_text("/autogroup-1 nice 0")
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid() + (not leads))
    give_way_as_session(tmp_path / "autogroup")
    give_way_as_session(tmp_path / "a kernel without")
    assert (tmp_path / "autogroup").read_text() == written
    assert not (tmp_path / "a kernel without").exists()


@pytest.mark.parametrize("disposition", ["SIG_DFL", "SIG_IGN"])
def test_they_end_with_a_parent_that_is_killed(disposition: str) -> None:
    """Also where the parent is a shell's background job, which ignores SIGINT."""
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, sys, time; from mbrl_control.cli.awake import keep_awake\n"
            f"signal.signal(signal.SIGINT, signal.{disposition})\n"
            "print(*(child.pid for child in keep_awake({int(sys.argv[1])})), flush=True); time.sleep(3600)",
            str(min(os.sched_getaffinity(0))),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert pids
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + HUNG_S
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, f"{pids} outlived their parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
