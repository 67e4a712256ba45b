"""All logs below one folder, as the policy sees them; what cannot be learned from is left out and said by name.

What was logged before the mark is read only where it would be learned from: `Watch.look`. What is said of it does not
depend on when this process began.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import is_numbered, is_of_events, recordings_below
from mbrl_control.learner.policy import Seen
from mbrl_control.learner.tally import RunTally
from mbrl_control.robot import Arm

_SETTLED_NS = 1_000_000_000
"""After so much of a log drives, relay and payload are known, whatever was said of them in a file that was left out."""

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
        """Read what is new; of finished files seen for the first time those with something after ``since_ns``.

        Then, of the logs that would be learned from, the rest of what would be. OSError where ``root`` cannot be read.
        """
        from_ns = max(0, since_ns - _SETTLED_NS)
        self._tallies = {log: self._kept_or_new(log, from_ns) for log in logs_below(self._root)}
        self._unreadable = set()
        for log in self._tallies:
            self._read(log)
        while (lacking := self._lacking()) is not None:
            from_ns = max(0, self._window_ns(lacking) - 2 * _SETTLED_NS)
            self._tallies[lacking.log] = RunTally(lacking.log, self._arm, from_ns)
            self._read(lacking.log)

    def leave_out(self, log: Path, reason: str) -> None:
        """Never learn from a log again, in the life of this process."""
        self._refused.add(log)
        self._tell("skipped", log, reason)

    def seen(self, since_ns: int, model_id: str) -> Seen:
        """What the usable logs hold after ``since_ns``, drift of ``model_id``, and the motion to learn from."""
        usable = self._usable()
        if not usable:
            return Seen()
        present_kg, learned = usable[0].payload_kg, [self._tallies[log] for log in self.logs()]
        newest_ns = max(tally.newest_ns for tally in usable)
        drift_ns = max(tally.drift_ns.get(model_id, 0) for tally in usable)
        return Seen(
            newest_ns=newest_ns if newest_ns > since_ns else 0,
            new_s=sum(tally.motion_s(max(since_ns, self._window_ns(tally))) for tally in usable),
            regime_s=sum(tally.motion_under_s(present_kg, self._window_ns(tally)) for tally in learned),
            fresh_s=sum(tally.motion_under_s(present_kg, max(since_ns, self._window_ns(tally))) for tally in learned),
            payload_kg=present_kg,
            drift_ns=drift_ns if drift_ns > since_ns else 0,
        )

    def logs(self) -> tuple[Path, ...]:
        """What to learn from, newest first: as many as hold no more than ``newest_s`` together, one at least."""
        return tuple(tally.log for tally, fits in self._considered() if fits)

    def _considered(self) -> list[tuple[RunTally, bool]]:
        """Those to learn from, and the first one that does not fit any more: (tally, whether it does), newest first."""
        considered: list[tuple[RunTally, bool]] = []
        left_s = self._newest_s
        for tally in self._usable():
            taken_s = min(tally.duration_s, self._newest_s)
            fits = not considered or taken_s <= left_s
            considered.append((tally, fits))
            if not fits:
                break
            left_s -= taken_s
        return considered

    def _usable(self) -> list[RunTally]:
        """Those with a state in them, newest first."""
        out = self._unreadable | self._refused
        held = [tally for log, tally in self._tallies.items() if log not in out and tally.end_ns]
        return sorted(held, key=lambda tally: tally.end_ns, reverse=True)

    def _lacking(self) -> RunTally | None:
        """The newest of those considered that left a file out which ends in its window.

        By their summaries files seem longer than the states in them, never shorter: a log that is not considered
        would not be either if it were read.
        """
        short = (tally for tally, _ in self._considered() if tally.skipped_ns > self._window_ns(tally) - _SETTLED_NS)
        return next(short, None)

    def _window_ns(self, tally: RunTally) -> int:
        return tally.end_ns - round(self._newest_s * 1e9)

    def _kept_or_new(self, log: Path, from_ns: int) -> RunTally:
        """Anew also where a rollback has put the mark back before what was left out."""
        kept = self._tallies.get(log)
        return RunTally(log, self._arm, from_ns) if kept is None or kept.skipped_ns > from_ns else kept

    def _read(self, log: Path) -> None:
        tally = self._tallies[log]
        before = tally.unread_bytes
        try:
            _update(tally)
        except (LogError, OSError) as error:
            self._unreadable.add(log)
            self._tell("skipped", log, str(error))
        else:
            if tally.unread_bytes and tally.unread_bytes == before:
                self._tell("cut_off", log, f"{before} bytes of a partial tail cannot be read; the rest is used")

    def _tell(self, event: str, log: Path, reason: str) -> None:
        """Once, until there is something else to say of that log."""
        if self._told.get(log) != event + reason:
            self._told[log] = event + reason
            self._report(event, log, " ".join(reason.split()))


def logs_below(root: Path) -> list[Path]:
    """Folders with numbered files, and every other MCAP file as a log of its own; golden logs are none.

    OSError where ``root`` itself cannot be read: one that is gone is no empty one.
    """
    next(root.iterdir(), None)
    recordings = recordings_below(root)
    folders = {path.parent for path in recordings if is_numbered(path)}
    single = {path for path in recordings if not (is_numbered(path) or is_of_events(path))}
    return sorted(folders | single)


def _update(tally: RunTally) -> None:
    """Twice where the first try fails: a record may have been written by halves right then."""
    try:
        tally.update()
    except (LogError, OSError):
        tally.update()
