"""Rows of an arm: from `signals.Transitions`, as they are cut from logs, into a buffer and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.layout import Field, Layout, Rows
from mbrl_control.replay.provenance import Provenance
from mbrl_control.replay.steps import Steps
from mbrl_control.signals import CommandInterface, Transitions

_STATE = {
    "position": "rad",
    "velocity": "rad/s",
    "next_position": "rad",
    "next_velocity": "rad/s",
    "next_effort": "N m",
}


def arm_layout(
    joint_names: tuple[str, ...], history: int, interface: CommandInterface = CommandInterface.VELOCITY
) -> Layout:
    """Float64 throughout: what is learned is next_position less a prior, which loses seven digits."""
    command = "N m" if interface is CommandInterface.EFFORT else "rad/s"
    joints = len(joint_names)
    fields = [Field(name, (joints,), "float64", unit) for name, unit in _STATE.items()]
    fields.append(Field("action", (joints,), "float64", command))
    fields.append(Field("session", (), "int64", "no unit"))
    if history:
        fields.append(Field("history", (history, joints), "float64", command))
    return Layout(tuple(fields), joint_names)


def arm_steps(
    rows: Transitions,
    origins: tuple[Provenance, ...],
    origin: NDArray[np.uint32] | None = None,
    first_episode: int = 0,
    terminal: NDArray[np.bool_] | None = None,
) -> Steps:
    """Steps of one log. Its segments are episodes from ``first_episode`` (the buffer's ``next_episode``) on.

    ``origin`` [N] indexes ``origins``; None: all the first. ``terminal`` [N]: the last rows of segments that end with
    their task (`task_ends.terminal_rows`); None: of none. The others are truncated where they end: the record stops
    there, the arm does not.
    """
    names = [*_STATE, "action", "session", *(["history"] if rows.history.shape[1] else [])]
    over = np.zeros(len(rows), dtype=np.bool_) if terminal is None else terminal
    return Steps(
        fields={name: getattr(rows, name) for name in names},
        stamp_ns=rows.stamp_ns,
        episode=first_episode + rows.segment - rows.segment[:1],
        terminal=over,
        truncated=last_rows(rows) & ~over,
        origins=origins,
        origin=np.zeros(len(rows), dtype=np.uint32) if origin is None else origin,
    )


def last_rows(rows: Transitions) -> NDArray[np.bool_]:
    """[N] which rows are the last of their segment."""
    last = np.ones(len(rows), dtype=np.bool_)
    last[:-1] = np.diff(rows.segment) != 0
    return last


def arm_transitions(rows: Rows) -> Transitions:
    """Rows [N] as transitions, without a copy; their segments are the rows' runs."""
    names = rows.dtype.names or ()
    joints = rows["position"].shape[-1]
    history = rows["history"] if "history" in names else np.empty((len(rows), 0, joints))
    return Transitions(
        **{name: rows[name] for name in (*_STATE, "action", "session", "stamp_ns")},
        history=history,
        segment=rows["run"],
    )
