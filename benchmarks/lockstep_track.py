"""Tracking a figure eight by torques (the demo's phases), in virtual time, beside two feedback laws.

Example: `mbrl-control bench lockstep_track --iterations 2`. Ends with one line of JSON: RMS of the tool's distance from
the moving goal, mm. The laws are told the same rigid body as the planner's prior and give a torque at the guard's rate:
`computed_torque` (critically damped) and `computed_torque_integral` (the usual cure for friction and load).
`identified` is the learned model without its networks: friction and load found in the same rows, and the rigid body.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.lockstep_fits import identified_model
from benchmarks.lockstep_law import Feedback, Law
from mbrl_control.cli.demo import AMPLITUDE_M, EXCITATION_S, PAYLOAD_KG, SPEED_SCALE, paced
from mbrl_control.cli.locations import arm_file
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.learn import Learned, Parent, learn
from mbrl_control.planning.command_history import CommandHistory
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.planning.figure_eight import STEP_S, figure_eight
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.streams import Streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import Array, BeliefState, CommandInterface, Goal, GoalKind, Plan
from sim.engines import Simulator
from sim.lockstep import Lockstep, excite
from sim.lockstep_model import nominal_model, planning_model

EFFORT = CommandInterface.EFFORT
SETTLE_S = 2.0
FIT = replace(FitSettings.deployed(EFFORT), max_seconds=math.inf)
"""Never cut off by the clock: a loaded machine must not change a figure."""
_FREQUENCY, _INTEGRAL_PER_S = 24.0, 4.0
"""rad/s of the critically damped laws, and how fast their integral answers: the best found by hand for this arm. With
the integral 16, 20, 24 rad/s track at 1.8, 1.2, 1.1 mm, and at 3.3, 2.4, 2.0 mm under 2 kg; 28 (and 8) is worse without
a load, 1.5, as good with it, 1.9; 32 shakes with the arm's delay."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What is tracked: joint positions [T, J] at times [T] s."""

    times: Array
    joints: Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", type=Path, default=arm_file("panda"))
    parser.add_argument("--sim", type=Simulator, default=Simulator.MUJOCO, help="mujoco or pybullet")
    parser.add_argument("--laps", type=int, default=12, help="per phase; a retraining wants 64 s with the load")
    parser.add_argument("--excite", type=float, default=EXCITATION_S, help="seconds of excitation")
    parser.add_argument("--payload", type=float, default=PAYLOAD_KG, help="kg")
    parser.add_argument(
        "--iterations", type=int, default=1, help="of the planner; the demo's budget is good for 1 or 2"
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=PlannerConfig().disturbance_settle_s,
        help="s, the planner's disturbance_settle_s; 0: it estimates no disturbance",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the same figures")
    options = parser.parse_args()
    figures = _phases(options)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


def _phases(options: argparse.Namespace) -> dict[str, float]:
    began, arm = time.perf_counter(), load_arm(options.arm, EFFORT)
    period_s, _ = paced(arm)
    figure = Figure(*figure_eight(arm, AMPLITUDE_M, period_s, options.laps, SPEED_SCALE))
    nominal = nominal_model(arm, arm.command_delay_s)
    unloaded, loaded = _Bench(options, figure, 0.0), _Bench(options, figure, options.payload)
    fresh, parent = _model(learn([_excitation(options)], arm, options.seed, None, FIT), arm)
    figures = {
        "computed_torque": unloaded.by_law(0.0),
        "computed_torque_integral": unloaded.by_law(_INTEGRAL_PER_S),
        "nominal": unloaded.by_plans(nominal),
        "fresh": unloaded.by_plans(fresh),
        "payload_computed_torque": loaded.by_law(0.0),
        "payload_computed_torque_integral": loaded.by_law(_INTEGRAL_PER_S),
        "payload_nominal": loaded.by_plans(nominal),
        "payload": loaded.by_plans(fresh),
        "identified": unloaded.by_plans(identified_model(parent.ensemble, arm, parent.delay_s)),
    }
    relearned, again = _model(learn(loaded.logged, arm, options.seed, parent, FIT), arm)
    figures["relearned"] = loaded.by_plans(relearned)
    figures["relearned_identified"] = loaded.by_plans(identified_model(again.ensemble, arm, again.delay_s))
    rounded = {f"track_mm_{name}_rms": round(value, 3) for name, value in figures.items()}
    return rounded | {
        "fresh_over_nominal": round(figures["fresh"] / figures["nominal"], 3),
        "relearned_over_payload": round(figures["relearned"] / figures["payload"], 3),
        "wall_s": round(time.perf_counter() - began, 1),
    }


def _excitation(options: argparse.Namespace) -> Streams:
    lockstep = Lockstep(options.arm, options.seed, options.sim, EFFORT)
    excite(lockstep, options.excite, ExcitationConfig(), options.seed)
    return lockstep.streams()


def _model(learned: Learned, arm: Arm) -> tuple[PlanningModel, Parent]:
    ensemble, delay_s = learned.fitted.ensemble, learned.delay_s
    return planning_model(ensemble, arm, delay_s, "fitted"), Parent("parent", ensemble, delay_s)


class _Bench:
    """Runs of one regime: those by plans one after the other on one arm, as in the demo; each law on its own."""

    def __init__(self, options: argparse.Namespace, figure: Figure, payload: float) -> None:
        self._options, self._figure, self._payload = options, figure, payload
        self._planned = self._arm()

    @property
    def logged(self) -> list[Streams]:
        """What the runs by plans logged."""
        return [self._planned.streams()]

    def by_plans(self, model: PlanningModel) -> float:
        """RMS mm."""
        lockstep, options = self._planned, self._options
        config = PlannerConfig(iterations=options.iterations, disturbance_settle_s=options.settle)
        planner = Planner(lockstep.arm, config, lockstep.clock, np.random.default_rng(options.seed))
        planner.use(model)
        goal = Goal(lockstep.clock.now_ns(), GoalKind.JOINT, np.zeros(3), lockstep.arm.home, 1)

        def source(deadline_ns: int, belief: BeliefState, history: CommandHistory, following: bool) -> Plan | None:
            plan = planner.plan(0, deadline_ns, belief, history, goal, following).plan
            planner.prepare()
            return plan

        lockstep.follow(source)
        lockstep.run(SETTLE_S)
        start_ns, figure = lockstep.clock.now_ns(), self._figure
        goal = Goal(start_ns, GoalKind.TRAJECTORY, np.zeros(3), lockstep.arm.home, 2, figure.times, figure.joints)
        return self._run(lockstep, start_ns)

    def by_law(self, integral_per_s: float) -> float:
        """RMS mm of computed torque along the same figure."""
        lockstep = self._arm()
        start_ns = lockstep.clock.now_ns() + round(SETTLE_S * 1e9)
        law = tracking_law(lockstep.arm, self._figure, start_ns, integral_per_s)
        lockstep.chain = Feedback(lockstep.arm, law)
        lockstep.run(SETTLE_S)
        return self._run(lockstep, start_ns)

    def _arm(self) -> Lockstep:
        options = self._options
        lockstep = Lockstep(options.arm, options.seed + 1, options.sim, EFFORT)
        if self._payload:
            lockstep.attach_payload(self._payload)
        return lockstep

    def _run(self, lockstep: Lockstep, start_ns: int) -> float:
        figure, arm = self._figure, lockstep.arm
        lockstep.run(float(figure.times[-1]))
        stamps = np.array(lockstep.record.truth_ns)
        moving = stamps >= start_ns
        path = forward_kinematics(arm, figure.joints)
        seconds = (stamps[moving] - start_ns) * 1e-9
        wanted = np.stack([np.interp(seconds, figure.times, column) for column in path.T], axis=1)
        distance = np.linalg.norm(np.array(lockstep.record.tool)[moving] - wanted, axis=1)
        return float(1e3 * np.sqrt(np.mean(distance**2)))


def tracking_law(arm: Arm, figure: Figure, start_ns: int, integral_per_s: float) -> Law:
    """Computed torque along ``figure``, critically damped, with an integral of the error where asked for."""
    body = RigidBody(arm)
    speed = np.gradient(figure.joints, STEP_S, axis=0)
    pull = np.gradient(speed, STEP_S, axis=0)
    summed = np.zeros(arm.joints)
    last_ns = start_ns - round(SETTLE_S * 1e9)

    def law(belief: BeliefState) -> Array:
        nonlocal summed, last_ns
        seconds = (belief.stamp_ns - start_ns) * 1e-9 + arm.command_delay_s
        wanted, pace, lead = (
            np.array([np.interp(seconds, figure.times, column) for column in rows.T])
            for rows in (figure.joints, speed, pull)
        )
        # Beyond the ends `interp` holds the first and the last row: rest at home.
        error = wanted - belief.position
        summed = summed + integral_per_s * error * (belief.stamp_ns - last_ns) * 1e-9
        last_ns = belief.stamp_ns
        answer = lead + _FREQUENCY**2 * (error + summed) + 2.0 * _FREQUENCY * (pace - belief.velocity)
        torque = body.effort(belief.position[None], belief.velocity[None], answer[None])[0]
        return np.clip(torque, -arm.effort, arm.effort)

    return law


if __name__ == "__main__":
    main()
