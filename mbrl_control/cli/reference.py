"""Reference runs: the planner's and the guard's CPU work per cycle on recorded inputs, without ROS.

They run at the same policy and priority in the place of the stopped node while the other processes go on. What is
late here is the machine's doing, so only the excess over it is the graph's. Run as a child process:
``python -m mbrl_control.cli.reference planner|guard FOLDER SECONDS ARM BUNDLE``; its last line is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.cadence import Cadence, SteadyClock, Tick, plan_budget_ns
from mbrl_control.cli.processes import Graph, GraphFailed
from mbrl_control.cli.replayed_inputs import Recording, record, shift_plan
from mbrl_control.cli.session import PLANNER_SETTINGS, Session
from mbrl_control.cli.spawn import spawn
from mbrl_control.deployment.layout_choice import load_measured
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig, read_config
from mbrl_control.planning.planner import Planner
from mbrl_control.robot import Arm, load_arm
from mbrl_control.safety.config import GuardConfig
from mbrl_control.safety.guard_for_arm import guard_of
from mbrl_control.safety.state_machine import Event
from mbrl_control.scheduling import keep_garbage_short, take_placement
from mbrl_control.signals import BeliefState, CommandInterface, OperatorState, SensorSample

Step = Callable[[Tick], bool]
"""One cycle; True when it was late."""
KINDS = ("planner", "guard")
GUARD_PERIOD_NS = 5_000_000
NODES = {"planner": "mpc_planner", "guard": "guard"}
_TOWARDS_RUNNING = {
    OperatorState.IDLE: Event.ARM,
    OperatorState.ARMED: Event.START,
    OperatorState.PROTECTIVE_STOP: Event.RESET,
}


def run_references(session: Session, graph: Graph, seconds: float, on_event: Any, bundle: Path | None = None) -> None:
    """Both at once, each in its node's place, which ends; writes reference_planner.json and reference_guard.json.

    ``bundle``: what the planner's plans with, the one of the cycles it is held against; None: the active one.
    """
    for node in NODES.values():
        graph.stop_node(node)
    bundle = bundle or session.active_bundle()
    children = {}
    for kind in KINDS:
        replaced = next(start.spec for start in graph.starts if start.name == NODES[kind])
        arguments = [kind, str(session.folder), str(seconds), str(session.arm), session.wiring.command, str(bundle)]
        command = [sys.executable, "-m", "mbrl_control.cli.reference", *arguments]
        with (session.nodes / f"reference_{kind}.log").open("w") as log:
            children[kind] = spawn(command, graph.environment_of(replaced), log)
    begin = time.monotonic()
    while any(child.poll() is None for child in children.values()):
        done_s = (time.monotonic() - begin) * session.real_time_factor
        on_event({"event": "excited", "seconds": min(seconds, done_s)})
        graph.check()
        time.sleep(0.2)
    for kind, child in children.items():
        output, _ = child.communicate()
        if child.returncode != 0:
            raise GraphFailed(f"reference of the {kind} ended with status {child.returncode}; see {session.nodes}")
        session.write(f"reference_{kind}.json", json.loads(output.splitlines()[-1]))


def main() -> None:
    """Process entry."""
    kind, folder, seconds, arm_file, command, bundle = sys.argv[1:7]
    arm = load_arm(Path(arm_file), CommandInterface(command))
    # The log is read at normal priority: only the measured loop stands in the node's place.
    recording = record(Path(folder) / "log")
    clock = SteadyClock()
    # As in a node, before the model is opened: the layout is chosen for the processors that the loop will have.
    scheduling = take_placement()
    facts: dict[str, str] = {}
    if kind == "planner":
        config = read_config(Path(folder) / PLANNER_SETTINGS)
        period_ns = round(config.period_s * 1e9)
        reference = _PlannerReference(arm, Path(bundle), config, recording, clock)
        step, facts["model_id"] = reference.step, reference.model_id
    else:
        period_ns = GUARD_PERIOD_NS
        step = _GuardReference(arm, recording, clock).step
    sys.setswitchinterval(5e-4)
    keep_garbage_short()
    counted = _measure(step, period_ns, float(seconds), clock)
    print(json.dumps(counted | facts | {"scheduling": scheduling}), flush=True)


def _measure(step: Step, period_ns: int, seconds: float, clock: SteadyClock) -> dict[str, Any]:
    """Deadlines given up count as late, as they do in the graph; and how far wake-ups are from a period apart, ms."""
    cadence, late = Cadence(period_ns, clock), 0
    woken_ns: list[int] = []
    wanted = round(seconds * 1e9) // period_ns
    index = 0
    while index < wanted:
        tick = cadence.wait()
        index = tick.index
        if index <= wanted:
            late += step(tick)
            woken_ns.append(tick.deadline_ns + tick.lateness_ns)
    jitter_ms = np.abs(np.diff(woken_ns) - period_ns) * 1e-6
    quantiles = {"p50": 50.0, "p99": 99.0, "max": 100.0}
    jitter = {name: round(float(np.percentile(jitter_ms, share)), 4) for name, share in quantiles.items()}
    return {"cycles": wanted, "late": late + wanted - len(woken_ns), "jitter_ms": jitter}


class _Replay:
    """Maps now to the recording, which repeats; stamps are shifted so that ages are as recorded."""

    def __init__(self, recording: Recording, clock: SteadyClock) -> None:
        self._length_ns = recording.end_ns - recording.begin_ns
        self._recording = recording
        self._begin_ns = clock.now_ns()
        self.round = -1

    def locate(self, now_ns: int) -> tuple[int, bool]:
        """(offset to add to recorded stamps, whether a new round of the recording begins)."""
        number = (now_ns - self._begin_ns) // self._length_ns
        fresh, self.round = number != self.round, number
        return self._begin_ns + number * self._length_ns - self._recording.begin_ns, fresh


class _PlannerReference:
    """What mpc_planner does in a tick, less the messages."""

    def __init__(self, arm: Arm, bundle: Path, config: PlannerConfig, recording: Recording, clock: SteadyClock) -> None:
        self._joints, self._recording, self._clock = arm.joints, recording, clock
        self._config = config
        self._planner = Planner(arm, self._config, clock, np.random.default_rng(0))
        model, _, _ = load_measured(bundle, arm, None, opening_of(self._config), clock)
        self.model_id = model.model_id
        self._planner.use(planning_model(model, self._config))
        self._replay = _Replay(recording, clock)
        self._history, self._next = CommandHistory(arm.joints), 0

    def step(self, tick: Tick) -> bool:
        offset, fresh = self._replay.locate(self._clock.now_ns())
        if fresh:
            self._planner.activate()
            self._history, self._next = CommandHistory(self._joints), 0
        recorded_ns = self._clock.now_ns() - offset
        commands, goals = self._recording.commands, self._recording.goals
        while self._next < len(commands) and commands[self._next][0] <= recorded_ns:
            stamp, velocity = commands[self._next]
            self._history.append(stamp + offset, velocity)
            self._next += 1
        belief = _newest_belief(self._recording, recorded_ns, offset)
        goal = next((goal for goal in reversed(goals) if goal.stamp_ns <= recorded_ns), goals[0])
        goal = replace(goal, stamp_ns=goal.stamp_ns + offset)
        deadline = tick.deadline_ns + plan_budget_ns(round(self._config.period_s * 1e9))
        plan = self._planner.plan(tick.index, deadline, belief, self._history, goal, True).plan
        done = self._clock.now_ns()
        self._planner.prepare()
        optimized = plan is not None and plan.outcome.optimized
        return not optimized or done > deadline


def _newest_belief(recording: Recording, recorded_ns: int, offset: int) -> BeliefState:
    index = max(0, int(np.searchsorted(recording.belief_ns, recorded_ns, side="right")) - 1)
    belief = recording.beliefs[index]
    return replace(belief, stamp_ns=belief.stamp_ns + offset)


class _GuardReference:
    """What the guard does in a tick with an arm that runs: newest sample, newest plan, one command."""

    def __init__(self, arm: Arm, recording: Recording, clock: SteadyClock) -> None:
        self._recording, self._clock = recording, clock
        self._core = guard_of(arm, GuardConfig(), np.random.default_rng(0))
        self._replay = _Replay(recording, clock)
        self._next = self._sequence = 0

    def step(self, tick: Tick) -> bool:
        now = self._clock.now_ns()
        offset, fresh = self._replay.locate(now)
        if fresh:
            self._next = 0
        recorded_ns = now - offset
        while self._next < len(self._recording.plans) and self._recording.plan_ns[self._next] <= recorded_ns:
            self._sequence += 1
            self._core.receive_plan(shift_plan(self._recording.plans[self._next], offset, 1, self._sequence), now)
            self._next += 1
        self._core.tick(now, _newest_sample(self._recording, recorded_ns, offset), now)
        event = _TOWARDS_RUNNING.get(self._core.state)
        if event is not None:
            self._core.request(event, "operator", self._core.status().challenge, now)
        # A guard tick is never late by itself: only deadlines given up count.
        return False


def _newest_sample(recording: Recording, recorded_ns: int, offset: int) -> SensorSample:
    index = max(0, int(np.searchsorted(recording.sample_ns, recorded_ns, side="right")) - 1)
    sample = recording.samples[index]
    return replace(sample, stamp_ns=sample.stamp_ns + offset)


if __name__ == "__main__":
    main()
