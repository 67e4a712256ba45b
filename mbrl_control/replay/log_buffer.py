"""A log as a replay buffer: rows on the model's grid, as a fit sees them, each with its provenance."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.arm_rows import arm_layout, arm_steps
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.effort_delay import estimate_effort_delay
from mbrl_control.replay.home import create_buffer
from mbrl_control.replay.layout import BufferSpec
from mbrl_control.replay.log_origins import origins_of, read_ticks
from mbrl_control.replay.provenance import Provenance
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.task_ends import read_task_ends, terminal_rows
from mbrl_control.replay.transitions import Grid, history_of, transitions_from_streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class Filled:
    """What is in a buffer that was made of a log."""

    delay_s: float
    """By which the rows' commands lie before their states."""
    period_ns: int
    """From row to row."""
    dt_ns: int
    """From a row's state to its next one."""
    episodes: int
    terminal: int
    """Episodes that end with their task."""
    truncated: int
    """Episodes that were cut."""
    task_ends: int
    """That the log knows: no row leads to those that are not among the terminal ones."""
    rows: tuple[tuple[Provenance, int], ...]
    """How many of each provenance."""


def fill_buffer(
    log: Path, streams: Streams, arm: Arm, folder: Path, delay_s: float | None = None, newest_ns: int | None = None
) -> Filled:
    """Make the buffer ``folder`` of one log; all of it, or nothing.

    ``streams``: of ``log``, with the same ``newest_ns``; ``delay_s``: None to estimate it. Terminal are the last
    rows of episodes whose end an import knew as that of the task. LogError, TooLittleData and BufferFault.
    """
    part = folder.with_name(f"{folder.name}.partial")
    for path in (folder, part):
        if path.exists():
            raise LogError(path, "--out", "exists already", "remove it, or name a new folder")
    if streams.joint_names != arm.joint_names:
        problem = f"{list(streams.joint_names)} are not those of {arm.name}"
        raise LogError(log, "belief.joint_names", problem, "name the arm that the log is of")
    grid = Grid(_delay_s(streams, arm) if delay_s is None else delay_s, history=history_of(arm))
    rows = on_command_side(transitions_from_streams([streams], grid), arm)
    origins, origin = origins_of(rows, read_ticks(log, newest_ns), grid)
    ends_ns = read_task_ends(log, newest_ns)
    steps = arm_steps(rows, origins, origin, terminal=terminal_rows(rows, ends_ns, grid))
    spec = BufferSpec(arm_layout(arm.joint_names, grid.history, arm.interface), None, grid.stride_ns)
    try:
        with create_buffer(part, spec) as buffer:
            buffer.append(steps)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # which it may not have come to
        raise
    counts = np.bincount(origin, minlength=len(origins)).tolist()
    return Filled(
        grid.delay_s,
        grid.stride_ns,
        grid.dt_ns,
        len(np.unique(steps.episode)),
        int(steps.terminal.sum()),
        int(steps.truncated.sum()),
        len(ends_ns),
        tuple(zip(origins, counts, strict=True)),
    )


def _delay_s(streams: Streams, arm: Arm) -> float:
    if arm.interface is CommandInterface.EFFORT:
        return estimate_effort_delay([streams], RigidBody(arm)).delay_s
    return estimate_delay(streams).delay_s
