"""One window of `bench rate`: the graph moves the arm, then the same CPU work runs without ROS in its nodes' places."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.awake import stolen_s
from mbrl_control.cli.demo import SPEED_SCALE, WINDOW_S, target_distance
from mbrl_control.cli.locations import arm_file, launch_file
from mbrl_control.cli.reference import run_references
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import prepare
from mbrl_control.cli.task_client import TaskClient
from mbrl_control.cli.wiring import Wiring
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import PLAN, PLANNER_REPORT, SAFE_COMMAND, Topic
from mbrl_control.graph import load_graph
from mbrl_control.kinematics import sample_targets
from mbrl_control.report.limits import protective_stops
from mbrl_control.report.run_data import RunData, read_run
from mbrl_control.report.timing import goal_windows, late_cycles, missed_ticks, rate_hz
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, CommandInterface, PlanOutcome
from sim.engines import Simulator

GUARD_PERIOD_MS = 5.0
Work = Callable[[Session, TaskClient], object]
"""What the arm does in a window, by the operator that is handed over."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What is measured."""

    robot: str
    simulator: Simulator
    command: CommandInterface
    rate_hz: int
    window_s: float
    real_time_factor: float
    seed: int
    hogs: int
    registry: Path | None = None
    """Whose active bundle is planned with; None: a copy of the shipped one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the planner, beside its period and the cap on speed."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was found in one."""

    scheduling: dict[str, str]
    rates: tuple[float | None, float | None]
    """Hz of plans and of safe commands."""
    planner: tuple[int, int]
    """(late, all) cycles while targets were followed."""
    guard: tuple[int, int]
    """(missed, all) ticks."""
    references: dict[str, dict[str, Any]]
    """Of planner and guard: cycles, late, jitter_ms; of the planner the model_id that it planned with."""
    jitter_ms: dict[str, Array]
    """How far the planner's wake-ups and the guard's commands are from a period apart."""
    latency_ms: Array
    """From an encoders' sample to the first safe command that follows the plan made from it."""
    age_ms: Array
    """Of every safe command that follows a plan: since the sample that the plan was made from. Where no new plan comes,
    it grows, and `latency_ms` has no value."""
    cycle_ms: Array
    """Wake-up to plan ready."""
    iterations: Counter[int]
    """Cycles in motion by how many they did."""
    refined: Counter[int]
    """The same by how many of them derivatives proposed."""
    outcomes: Counter[str]
    """The same by `PlanOutcome`."""
    stops: int
    stolen: float
    """Share of the processors' time that the hypervisor gave to others."""


def run_window(
    contest: Contest,
    folder: Path,
    number: int,
    prepared: Callable[[Session], object] = prepare,
    work: Work | None = None,
    reference_s: float | None = None,
) -> Window:
    """A graph of its own; its folder stays. ``prepared`` fills its registry.

    ``work``: None: to follow drawn targets. ``reference_s``: of the references, which plan with the bundle that the
    window began with; None: as long as the window.
    """
    arm = load_arm(arm_file(contest.robot), contest.command)
    folder.mkdir(parents=True)
    session = Session(
        *(folder, arm_file(contest.robot), arm.name, contest.seed + number, SPEED_SCALE, contest.simulator.value),
        foreign_registry=contest.registry,
        wiring=Wiring(command=contest.command),
        real_time_factor=contest.real_time_factor,
        settings={**contest.settings, "period_s": 1.0 / contest.rate_hz},
    )
    prepared(session)
    bundle = session.active_bundle()
    before, began = stolen_s(), time.monotonic()
    with _hogs(contest.hogs), session.graph(load_graph(launch_file("graph.yaml"))) as graph:
        graph.start()
        session.await_log()
        scheduling = {name: node.scheduling for name, node in graph.nodes.items()}
        with TaskClient(graph, session.arm) as task:
            if work is None:
                task.run(**reaches(arm, contest, number))
            else:
                work(session, task)
            task.run(do="hold")
        run_references(session, graph, reference_s or contest.window_s, lambda _: None, bundle)
    stolen = (stolen_s() - before) / (len(os.sched_getaffinity(0)) * (time.monotonic() - began))
    return _window(contest, session, arm, scheduling, stolen)


def reaches(arm: Arm, contest: Contest, number: int, each_s: float = WINDOW_S) -> dict[str, Any]:
    """Command of drawn targets for the whole window, a new one after ``each_s``."""
    count = max(1, round(contest.window_s / each_s))
    generator = np.random.default_rng([contest.seed, number])
    targets = sample_targets(arm, count, target_distance(arm), generator)[1]
    return {"do": "reach", "phase": "rate", "targets": targets.tolist(), "window": each_s}


@contextmanager
def _hogs(count: int) -> Iterator[None]:
    """Busy processes at normal priority."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _window(contest: Contest, session: Session, arm: Arm, scheduling: dict[str, str], stolen: float) -> Window:
    period_ns = round(1e9 / contest.rate_hz)
    run = read_run(session.log, arm, period_ns)
    in_motion = goal_windows(run.plans.stamp_ns, run.goals)
    everywhere = np.ones(len(run.ticks.stamp_ns), dtype=np.bool_)
    jitter, latency, age, cycle, done = _timings(session.log, run, period_ns)
    return Window(
        scheduling=scheduling,
        rates=(rate_hz(run.plans.stamp_ns, in_motion), rate_hz(run.ticks.stamp_ns, everywhere)),
        planner=late_cycles(run.cycles, goal_windows(run.cycles.stamp_ns, run.goals)),
        guard=missed_ticks(run.ticks),
        references={kind: _reference(session.folder, kind) for kind in ("planner", "guard")},
        jitter_ms=jitter,
        latency_ms=latency,
        age_ms=age,
        cycle_ms=cycle,
        iterations=Counter(report.iterations for report in done),
        refined=Counter(report.refined for report in done),
        outcomes=Counter(PlanOutcome(report.outcome).name for report in done),
        stops=protective_stops(run.ticks),
        stolen=stolen,
    )


def _reference(folder: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"reference_{kind}.json").read_text(encoding="utf-8"))
    return found


def _timings(log: Path, run: RunData, period_ns: int) -> tuple[dict[str, Array], Array, Array, Array, list[Any]]:
    """Jitter by node, latency, age and cycle times, ms, and the planner's reports, while targets were followed."""
    messages = list(LogReader(log).messages((PLAN, PLANNER_REPORT, SAFE_COMMAND)))
    reports = [message for topic, _, message in messages if topic == PLANNER_REPORT]
    inside = goal_windows(np.array([stamp_ns(m.stamp) for m in reports], dtype=np.int64), run.goals)
    woken = np.array([stamp_ns(m.deadline) + round(m.lateness * 1e9) for m in reports])
    commands = np.array([published for topic, published, _ in messages if topic == SAFE_COMMAND], dtype=np.int64)
    both = inside[1:] & inside[:-1]
    moving = goal_windows(commands, run.goals)
    jitter = {
        "planner": np.abs(np.diff(woken) - period_ns)[both] * 1e-6,
        "guard": np.abs(np.diff(commands) * 1e-6 - GUARD_PERIOD_MS)[moving[1:] & moving[:-1]],
    }
    since, age_ms, first = sample_ages(messages)
    inside_goal = goal_windows(since, run.goals)
    done = list(compress(reports, inside))
    cycle_ms = np.array([m.total * 1e3 for m in done])
    return jitter, age_ms[inside_goal & first], age_ms[inside_goal], cycle_ms, done


def sample_ages(messages: list[tuple[Topic, int, Any]]) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_]]:
    """[N] ns of the safe commands that follow a plan, [N] ms since the sample that it was made from, and [N] whether it
    is the first of that plan."""
    measured: dict[int, int] = {}
    epoch, followed = None, 0
    found: list[tuple[int, int, bool]] = []
    for topic, published, message in messages:
        if topic == PLAN:
            if message.epoch != epoch:
                epoch, measured = message.epoch, {}
            measured[message.sequence] = stamp_ns(message.belief_stamp)
        elif topic == SAFE_COMMAND:
            first, followed = message.plan_sequence != followed, message.plan_sequence
            if followed in measured:
                found.append((published, published - measured[followed], first))
    rows = np.array(found, dtype=np.int64).reshape(-1, 3)
    return rows[:, 0], rows[:, 1] * 1e-6, rows[:, 2].astype(np.bool_)


def machine() -> dict[str, Any]:
    """The machine, for the record."""
    return {"processors": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 2)}
