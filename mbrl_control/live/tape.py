"""The last seconds of the graph's streams, in arrays, as the replay reads them from a log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.streams import Streams
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, BeliefState, SafeCommand

_BELIEFS, _COMMANDS, _REPORTS = 4096, 1024, 512
"""4 s of beliefs at 1 kHz, 5 s of commands at 200 Hz, 10 s and more of the relay's reports."""
_RESTART_NS = 1_000_000_000
"""A stamp so far behind the newest comes from a clock that began anew."""


class Track:
    """Rows [D] by their stamp, the newest ``capacity`` of them; read as views, no copies."""

    def __init__(self, width: int, capacity: int) -> None:
        self._capacity = capacity
        # Twice the capacity: rows stay contiguous, and are moved to the front once per round.
        self._stamp: NDArray[np.int64] = np.zeros(2 * capacity, dtype=np.int64)
        self._rows = np.zeros((2 * capacity, width))
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self._capacity)

    @property
    def oldest_ns(self) -> int:
        return int(self._stamp[self._count - len(self)])

    @property
    def newest_ns(self) -> int:
        return int(self._stamp[self._count - 1])

    def append(self, stamp_ns: int, row: Array) -> None:
        """In order of time: what comes twice or late is left out."""
        if self._count and stamp_ns <= self.newest_ns:
            if stamp_ns > self.newest_ns - _RESTART_NS:
                return
            self._count = 0
        if self._count == len(self._stamp):
            kept = slice(self._count - self._capacity, self._count)
            self._stamp[: self._capacity], self._rows[: self._capacity] = self._stamp[kept], self._rows[kept]
            self._count = self._capacity
        self._stamp[self._count], self._rows[self._count] = stamp_ns, row
        self._count += 1

    def since(self, moment_ns: int) -> tuple[NDArray[np.int64], Array]:
        """From the last row at ``moment_ns`` or before; from the oldest where there is none."""
        first = self._count - len(self)
        stamps = self._stamp[first : self._count]
        begin = first + max(0, int(np.searchsorted(stamps, moment_ns, side="right")) - 1)
        return self._stamp[begin : self._count], self._rows[begin : self._count]


class Tape:
    """Beliefs, applied commands and the relay's reports; one thread writes and reads."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm
        self._beliefs = Track(3 * arm.joints, _BELIEFS)
        self._commands = Track(arm.joints + 1, _COMMANDS)
        self._reports = Track(1, _REPORTS)

    def believe(self, belief: BeliefState) -> None:
        """ValueError where position or velocity is not finite; an effort that is not measured is NaN."""
        row = np.concatenate([belief.position, belief.velocity, belief.effort])
        if not np.isfinite(row[: 2 * self._arm.joints]).all():
            raise ValueError("belief: position or velocity is not finite; nothing is predicted from it")
        self._beliefs.append(belief.stamp_ns, row)

    def apply(self, command: SafeCommand) -> None:
        """ValueError where the applied command is not finite."""
        if not np.isfinite(command.applied).all():
            raise ValueError("safe_command: applied is not finite; nothing is predicted with it")
        self._commands.append(command.stamp_ns, np.append(command.applied, command.drives_enabled))

    def report(self, stamp_ns: int, publishing: bool) -> None:
        """Whether the relay sends commands on, from now."""
        self._reports.append(stamp_ns, np.array([publishing], dtype=np.float64))

    def span_ns(self) -> tuple[int, int]:
        """Between these every stream has its say; empty (end not after begin) before each has begun."""
        if not (len(self._beliefs) and len(self._commands) and len(self._reports)):
            return 0, 0
        begin = max(track.oldest_ns for track in (self._beliefs, self._commands, self._reports))
        return begin, min(self._beliefs.newest_ns, self._commands.newest_ns)

    def streams(self, since_ns: int) -> Streams:
        """What lies in `span_ns` from ``since_ns`` on, views; of no use after the next message."""
        joints = self._arm.joints
        belief_ns, beliefs = self._beliefs.since(since_ns)
        command_ns, commands = self._commands.since(since_ns)
        relay_ns, reports = self._reports.since(since_ns)
        return Streams(
            joint_names=self._arm.joint_names,
            belief_ns=belief_ns,
            position=beliefs[:, :joints],
            velocity=beliefs[:, joints : 2 * joints],
            effort=beliefs[:, 2 * joints :],
            command_ns=command_ns,
            applied=commands[:, :joints],
            drives_enabled=commands[:, joints] > 0.0,
            relay_ns=relay_ns,
            publishing=reports[:, 0] > 0.0,
            payload_ns=np.empty(0, dtype=np.int64),
            payload_kg=0.0,
            interface=self._arm.interface,
        )
