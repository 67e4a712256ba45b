"""The card of one log: what there is to learn from it, as a dataset card says it of all logs of a model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mbrl_control.cli.locations import arm_file
from mbrl_control.episode_log.errors import LogError
from mbrl_control.learned_from import read_log
from mbrl_control.replay.dataset import LogFigures, log_figures
from mbrl_control.replay.dataset_text import limits, log_lines
from mbrl_control.replay.delay import DelayEstimate, estimate_delay
from mbrl_control.replay.effort_delay import estimate_effort_delay
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.joint_coverage import Coverage, JointFigures, coverage, joint_figures
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, cut_transitions, history_for
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class LogCard:
    """Everything that is said of one log."""

    log: LogFigures
    delay_s: float | None
    delay_said: str
    """How clearly it was found, or why it was not."""
    joints: tuple[JointFigures, ...]
    """Empty where there is no row."""
    coverage: Coverage | None
    """Where the arm is known."""


def log_card(log: Path, robot: str | None) -> LogCard:
    """Rows are cut with the delay that is found, or with none. LogError for an unusable log, or one of another arm."""
    source, streams = read_log(log)
    arm = None if robot is None else _arm(log, robot, streams)
    delay_s, said = _delay(streams, arm)
    grid = Grid(delay_s or 0.0, history=history_for(streams.interface))
    rows = cut_transitions(streams, grid)
    figures = log_figures(source, streams, grid)
    joints = joint_figures(rows, streams.joint_names, arm) if len(rows) else ()
    near = coverage(rows.position, arm) if arm is not None and len(rows) else None
    return LogCard(figures, delay_s, said, joints, near)


def as_json(card: LogCard) -> str:
    """One line."""
    return json.dumps(asdict(card), allow_nan=False)


def as_markdown(card: LogCard) -> str:
    """For people."""
    lines = [f"# Log {card.log.source.log}", "", *log_lines(card.log)]
    lines += [f"- delay from command to motion: {card.delay_said}", ""]
    if not card.joints:
        return "\n".join([*lines, "No row: nothing can be learned from this log."])
    return "\n".join([*lines, *limits(card.joints, card.coverage, card.log.payloads_kg)])


def _arm(log: Path, robot: str, streams: Streams) -> Arm:
    arm = load_arm(arm_file(robot), streams.interface)
    if arm.joint_names != streams.joint_names:
        problem = f"{list(streams.joint_names)} are not those of {arm.name}"
        raise LogError(log, "belief.joint_names", problem, "say --robot as the log was made, or leave it out")
    return arm


def _delay(streams: Streams, arm: Arm | None) -> tuple[float | None, str]:
    try:
        if streams.interface is CommandInterface.VELOCITY:
            return _found(estimate_delay(streams))
        if arm is None:
            return None, "not estimated: for torques it takes the arm's masses; say --robot"
        return _found(estimate_effort_delay([streams], RigidBody(arm)))
    except TooLittleData as error:
        return None, f"not found: {error}"


def _found(delay: DelayEstimate) -> tuple[float, str]:
    return delay.delay_s, (
        f"{delay.delay_s * 1e3:.0f} ms (residual {delay.residual_ratio:.2f} of the worst candidate's; near 1 the log "
        "does not tell)"
    )
