"""What one run's log holds for the policy. Grows with the log: every byte is read once, a tenth of the state decoded.

Motion is counted in tenths of a second in which some joint moves, the drives are on and the relay passes commands on:
what `replay.transitions` makes rows of, but for gaps, and without an arm that is held.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.command_interface import ON_WIRE
from mbrl_control.episode_log.bag_metadata import summary_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import event_files, log_files
from mbrl_control.episode_log.reader import Decoder, FileCursor, RawMessage, stamp_ns
from mbrl_control.episode_log.records import MAGIC, Tail
from mbrl_control.episode_log.schema import (
    BELIEF,
    MODEL_RESIDUAL,
    RELAY_STATUS,
    SAFE_COMMAND,
    SAFETY_STATUS,
    Topic,
    matches,
)
from mbrl_control.replay.regimes import same_regime
from mbrl_control.robot import Arm

SAMPLE_NS = 100_000_000
_MOVING = 0.02
"""rad/s of the fastest joint; an arm that holds stays below."""
_ACTIVE = 0
"""`role` of ModelResidual: of the bundle that plans are made with."""
_ALL: tuple[Topic, ...] = (BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS, MODEL_RESIDUAL)
_RARE: tuple[Topic, ...] = (MODEL_RESIDUAL,)
"""Of the ring of events."""
_THINNED = (BELIEF, SAFE_COMMAND)
"""Of these the first message in every `SAMPLE_NS` is decoded."""


class RunTally:
    """Of one log, a folder or a single file.

    Of finished files that end before ``since_ns`` begin and end are taken from their summary, and nothing else is read.
    """

    def __init__(self, log: Path, arm: Arm, since_ns: int = 0) -> None:
        self.log = log
        self.begin_ns = 0
        self.end_ns = 0
        """Of the state that was read, or of a file that was left out; 0: none yet."""
        self.skipped_ns = 0
        """End of the newest file that was left out; 0: none was."""
        self.declared: list[tuple[int, float]] = []
        """Since when which payload, kg; the first one since the log's begin."""
        self.drift_ns: dict[str, int] = {}
        """By model id: when it last did worse than it promised while it was the active one."""
        self.unread_bytes = 0
        """Of a partial tail, at the last look: being written, or cut off."""
        self._arm, self._since_ns = arm, since_ns
        self._motion = array("q")
        self._cursors: dict[Path, FileCursor] = {}
        self._decoder = Decoder(log)
        self._decoded: dict[Topic, int] = {}
        """The tenth of a second that was decoded last."""
        self._drives = self._publishing = False

    def update(self) -> None:
        """Read what was written since the last call; LogError for a damaged log, or one of another arm or interface.

        After an error the next call begins with the record in question: one that was half written then is whole.
        """
        events = [path for _, path in event_files(self.log)] if self.log.is_dir() else []
        topics = {path: _ALL for path in log_files(self.log)} | {path: _RARE for path in events}
        present = [path for path in topics if path.is_file() and path.stat().st_size >= len(MAGIC)]
        self._cursors = {path: self._cursor(path, topics[path]) for path in present}
        self.unread_bytes = 0
        for path in present:
            tail = Tail()
            for message in self._cursors[path].read(tail):
                self._take(message)
            self.unread_bytes += 0 if path in events else tail.ignored_bytes

    def motion_s(self, since_ns: int) -> float:
        """Seconds of motion after ``since_ns``."""
        return (len(self._motion) - bisect_right(self._motion, since_ns)) * SAMPLE_NS * 1e-9

    def motion_under_s(self, payload_kg: float, since_ns: int) -> float:
        """Seconds of motion after ``since_ns`` while a payload was declared that is one regime with this one."""
        begins = [since for since, _ in self.declared] or [0]
        masses = [mass for _, mass in self.declared] or [0.0]
        stretches = zip(begins, [*begins[1:], 2**63 - 1], masses, strict=True)
        return sum(
            self.motion_s(max(begin, since_ns)) - self.motion_s(max(end, since_ns))
            for begin, end, mass in stretches
            if same_regime(mass, payload_kg)
        )

    @property
    def payload_kg(self) -> float:
        """Declared last; none declared is none carried."""
        return self.declared[-1][1] if self.declared else 0.0

    @property
    def newest_ns(self) -> int:
        """Of the newest motion; 0: none."""
        return self._motion[-1] if self._motion else 0

    @property
    def duration_s(self) -> float:
        return (self.end_ns - self.begin_ns) * 1e-9

    def _cursor(self, path: Path, topics: Collection[Topic]) -> FileCursor:
        """Where to go on in a file; at the end of one that is finished and has nothing new."""
        if path in self._cursors:
            return self._cursors[path]
        finished = summary_of(path) if topics == _ALL and self._since_ns else None
        if finished is None or finished.end_ns > self._since_ns:
            return FileCursor(path, topics)
        self.begin_ns = self.begin_ns or finished.start_ns
        self.skipped_ns = max(self.skipped_ns, finished.end_ns)
        self.end_ns = max(self.end_ns, finished.end_ns)
        return FileCursor(path, topics, path.stat().st_size)

    def _take(self, raw: RawMessage) -> None:
        topic = next(topic for topic in _ALL if matches(raw.channel.topic, topic))
        if topic in _THINNED:
            # By the tenth of a second, not by the time since the last one: else each would last up to a message longer.
            tenth = raw.log_time_ns // SAMPLE_NS
            if self._decoded.get(topic) == tenth:
                return
            self._decoded[topic] = tenth
        message = self._decoder.decode(raw)
        if topic == BELIEF:
            self._on_belief(message)
        elif topic == SAFE_COMMAND:
            self._on_command(message)
        elif topic == RELAY_STATUS:
            self._publishing = bool(message.publishing and not message.dry_run)
        elif topic == SAFETY_STATUS:
            self._on_payload(stamp_ns(message.stamp), float(message.payload))
        elif message.role == _ACTIVE and message.exceeded:
            when = stamp_ns(message.stamp)
            self.drift_ns[message.model_id] = max(when, self.drift_ns.get(message.model_id, 0))

    def _on_belief(self, message: Any) -> None:
        if tuple(message.joint_names) != self._arm.joint_names:
            problem = f"{list(message.joint_names)} are not those of {self._arm.name}"
            raise LogError(self.log, "belief.joint_names", problem, "keep the logs of another arm elsewhere")
        now_ns = stamp_ns(message.stamp)
        self.begin_ns, self.end_ns = self.begin_ns or now_ns, max(now_ns, self.end_ns)
        moves = bool(np.abs(message.velocity).max(initial=0.0) >= _MOVING)
        if moves and self._drives and self._publishing and now_ns > self.newest_ns:
            self._motion.append(now_ns)

    def _on_command(self, message: Any) -> None:
        number = int(getattr(message, "interface", 0))  # logs from before there were torques do not say
        if number >= len(ON_WIRE) or ON_WIRE[number] is not self._arm.interface:
            problem = f"{number} is not the number of {self._arm.interface} commands, which the model takes"
            raise LogError(self.log, "safe_command.interface", problem, "keep the logs of each interface apart")
        self._drives = bool(message.drives_enabled)

    def _on_payload(self, now_ns: int, payload_kg: float) -> None:
        if not self.declared:
            self.declared.append((0, payload_kg))
        elif payload_kg != self.payload_kg:
            self.declared.append((now_ns, payload_kg))
