"""All logs below one folder, as the policy sees them; what cannot be learned from is left out and said by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import event_files, numbered_files
from mbrl_control.learner.policy import Seen
from mbrl_control.learner.tally import RunTally
from mbrl_control.robot import Arm

Report = Callable[[str, Path, str], None]
"""Takes (event, log, reason)."""


class Watch:
    """The logs below ``root``, also the one being written. Only the last ``newest_s`` of each count."""

    def __init__(self, root: Path, arm: Arm, newest_s: float, report: Report) -> None:
        self._root, self._arm, self._newest_s, self._report = root, arm, newest_s, report
        self._tallies: dict[Path, RunTally] = {}
        self._unreadable: set[Path] = set()
        """At the last look; tried again at the next one."""
        self._refused: set[Path] = set()
        """By a retraining; for good."""
        self._told: dict[Path, str] = {}

    def look(self, since_ns: int) -> None:
        """Read what is new; of finished files seen for the first time, those with something after ``since_ns``."""
        found = logs_below(self._root)
        self._tallies = {log: self._tallies.get(log) or RunTally(log, self._arm, since_ns) for log in found}
        self._unreadable = set()
        for log, tally in self._tallies.items():
            before = tally.unread_bytes
            try:
                _update(tally)
            except (LogError, OSError) as error:
                self._unreadable.add(log)
                self._tell("skipped", log, str(error))
            else:
                if tally.unread_bytes and tally.unread_bytes == before:
                    self._tell("cut_off", log, f"{before} bytes of a partial tail cannot be read; the rest is used")

    def leave_out(self, log: Path, reason: str) -> None:
        """Never learn from a log again, in the life of this process."""
        self._refused.add(log)
        self._tell("skipped", log, reason)

    def seen(self, since_ns: int, model_id: str) -> Seen:
        """What the usable logs hold, motion counted as new from ``since_ns`` on, drift of ``model_id``."""
        usable = self._usable()
        if not usable:
            return Seen()
        present_kg, learned = usable[0].payload_kg, [self._tallies[log] for log in self.logs()]
        return Seen(
            newest_ns=max(tally.newest_ns for tally in usable),
            new_s=sum(tally.motion_s(max(since_ns, self._window_ns(tally))) for tally in usable),
            regime_s=sum(tally.motion_under_s(present_kg, self._window_ns(tally)) for tally in learned),
            fresh_s=sum(tally.motion_under_s(present_kg, max(since_ns, self._window_ns(tally))) for tally in learned),
            payload_kg=present_kg,
            drift_ns=max(tally.drift_ns.get(model_id, 0) for tally in usable),
        )

    def logs(self) -> tuple[Path, ...]:
        """What to learn from, newest first: as many as hold no more than ``newest_s`` together, one at least."""
        chosen: list[Path] = []
        left_s = self._newest_s
        for tally in self._usable():
            taken_s = min(tally.duration_s, self._newest_s)
            if chosen and taken_s > left_s:
                break
            chosen.append(tally.log)
            left_s -= taken_s
        return tuple(chosen)

    def _usable(self) -> list[RunTally]:
        """Those with a state in them, newest first."""
        out = self._unreadable | self._refused
        held = [tally for log, tally in self._tallies.items() if log not in out and tally.end_ns]
        return sorted(held, key=lambda tally: tally.end_ns, reverse=True)

    def _window_ns(self, tally: RunTally) -> int:
        return tally.end_ns - round(self._newest_s * 1e9)

    def _tell(self, event: str, log: Path, reason: str) -> None:
        """Once, until there is something else to say of that log."""
        if self._told.get(log) != event + reason:
            self._told[log] = event + reason
            self._report(event, log, " ".join(reason.split()))


def logs_below(root: Path) -> list[Path]:
    """Folders with numbered files, and every other MCAP file as a log of its own."""
    files = {path for path in root.rglob("*.mcap") if path.is_file() and not path.is_symlink()}
    folders = {path.parent for path in files}
    numbered = {path for folder in folders for _, path in numbered_files(folder)}
    events = {path for folder in folders for _, path in event_files(folder)}
    return sorted({path.parent for path in numbered} | files - numbered - events)


def _update(tally: RunTally) -> None:
    """Twice where the first try fails: a record may have been written by halves right then."""
    try:
        tally.update()
    except (LogError, OSError):
        tally.update()
