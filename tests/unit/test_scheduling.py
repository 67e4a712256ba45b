"""Placement of processes: pure rules, and what a child process really gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.graph import NodeSpec
from mbrl_control.scheduling import Placement, background_processors, divide_processors

CODE = (
    "import json, os, threading; from mbrl_control.scheduling import take_placement\n"
    "told = take_placement()\n"
    "worker = []\n"
    "thread = threading.Thread(target=lambda: worker.extend((os.sched_getscheduler(0), *os.sched_getaffinity(0))))\n"
    "thread.start(); thread.join()\n"
    "locked = [line for line in open('/proc/self/status') if line.startswith('VmLck')][0].split()[1]\n"
    "print(json.dumps([told, worker, int(locked)]))"
)


def run_child(code: str, placement: Placement) -> str:
    """Standard output of a fresh Python with that placement wanted."""
    env = os.environ | placement.environment()
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout


def child(placement: Placement) -> tuple[str, list[int], int]:
    """What the child says, (policy, processors) of a thread started afterwards, locked kB."""
    told, worker, locked = json.loads(run_child(CODE, placement))
    return told, worker, locked


def test_a_thread_that_stands_back_leaves_the_others_as_they_were() -> None:
    code = (
        "import os, threading; from mbrl_control.scheduling import stand_back, take_placement\n"
        "take_placement(); seen = []\n"
        "def work():\n    stand_back(); seen.append((os.sched_getscheduler(0), os.sched_getparam(0).sched_priority))\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "print(*seen[0], os.sched_getscheduler(0), os.sched_getparam(0).sched_priority)"
    )
    output = run_child(code, Placement(5))
    policy, priority, main_policy, main_priority = map(int, output.split())
    assert policy == main_policy
    assert (priority, main_priority) == ((1, 5) if policy == os.SCHED_FIFO else (0, 0))


def test_the_middlewares_patient_senders_stay_normal() -> None:
    """They try again without a pause: at a real-time priority a node that starts later never gets to run."""
    code = (
        "import os, threading; from mbrl_control.scheduling import take_placement\n"
        "seen, named, placed = [], threading.Event(), threading.Event()\n"
        "def work():\n"
        "    open(f'/proc/self/task/{threading.get_native_id()}/comm', 'w').write('dds.asyn.0.1'); named.set()\n"
        "    placed.wait(); seen.append(os.sched_getscheduler(0))\n"
        "thread = threading.Thread(target=work); thread.start(); named.wait()\n"
        "told = take_placement(); placed.set(); thread.join(); print(seen[0], told)"
    )
    output = run_child(code, Placement(5))
    assert output.startswith(f"{os.SCHED_OTHER} ")


@given(st.sets(st.integers(0, 64), min_size=1))
def test_one_processor_is_reserved_where_there_are_two(allowed: set[int]) -> None:
    reserved, others = divide_processors(tuple(sorted(allowed)))
    if len(allowed) == 1:
        assert (reserved, others) == ((), ())
    else:
        assert len(reserved) == 1
        assert not {*reserved} & {*others}
        assert {*reserved, *others} == allowed


def test_planner_and_guard_never_share_a_processor() -> None:
    planner = NodeSpec(name="planner", priority=30, state="activate", processor="reserved").placement({0, 1, 2})
    guard = NodeSpec(name="guard", priority=50, state="activate", processor="others").placement({0, 1, 2})
    assert (planner.processors, guard.processors) == ((2,), (0, 1))


def test_a_child_says_what_is_in_force_and_later_threads_have_it() -> None:
    processor = max(os.sched_getaffinity(0))
    told, worker, locked = child(Placement(5, (processor,)))
    # Where the machine permits it, it is really in force; where not, the child says so.
    permitted = told.startswith("SCHED_FIFO 5")
    assert (worker[0] == os.SCHED_FIFO) == permitted
    assert (f"processor {processor}" in told) == permitted
    assert {*worker[1:]} == ({processor} if permitted else os.sched_getaffinity(0))
    assert (locked > 0) == ("memory locked" in told)


def test_a_child_without_wishes_stays_as_it_is() -> None:
    told, worker, locked = child(Placement())
    assert told == "SCHED_OTHER"
    assert (worker[0], locked) == (os.SCHED_OTHER, 0)


def test_a_processor_that_is_not_there_is_not_claimed() -> None:
    told, worker, _ = child(Placement(5, (4095,)))
    assert "processor" not in told
    assert {*worker[1:]} == os.sched_getaffinity(0)


@given(st.sets(st.integers(0, 63), min_size=1, max_size=8))
def test_who_learns_keeps_off_the_planners_processor_where_there_are_others_enough(allowed: set[int]) -> None:
    processors = tuple(sorted(allowed))
    reserved, _ = divide_processors(processors)
    found = background_processors(processors)
    assert found
    assert set(found) <= allowed
    assert not set(found) & set(reserved) or len(allowed) == 2


def test_who_stands_behind_has_the_lowest_weight_and_so_have_its_children() -> None:
    code = (
        "import os, subprocess, sys; from mbrl_control.scheduling import stand_behind\n"
        "stand_behind()\n"
        "show = 'import os; print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))'\n"
        "print(os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0))\n"
        "sys.stdout.flush(); subprocess.run([sys.executable, '-c', show], check=True)"
    )
    own, inherited = run_child(code, Placement()).splitlines()
    assert own == inherited == f"{os.SCHED_BATCH} 19"
