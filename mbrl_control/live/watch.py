"""The bundles on the tape: the active one held to its promise, the one before and a candidate beside it.

Main flow: ``LiveWatch.advance``. A bundle is left for two reasons only, since an arm that has changed (a load, say)
makes every model wrong and going back does not help:

gross    in three starts in a row (0.5 s of motion from the first row to the last) it is off by five times what it
         states of its held-out rows, and by five times as much as the one before. Or it says no numbers.
evident  it exceeds its promise (`drift`), and the one before, which has learned too, is better (`evidence`).

Exceeded alone is drift: said, and left to a retraining. A prior alone, and a bundle from before promises were made, is
asked for numbers (and, where it has learned, for no gross failure), for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from mbrl_control.deployment.registry import LEAST_WINDOWS
from mbrl_control.live.drift import Drift
from mbrl_control.live.evidence import LOOKS, BetterSoFar, looked
from mbrl_control.live.score import Scorer, StartScore, WindowScore, windowed
from mbrl_control.live.tape import Tape
from mbrl_control.replay.motion import AHEAD, SPACING, Filling

GROSS = 5.0
"""Times the stated error, and the other's."""
GROSS_STARTS = 3
WINDOWS = 60
"""Of motion, 30 s, until the first look at a candidate; the last is at four times as many."""
_BEFORE_NS = 600_000_000
"""Of motion before a bundle became active that it is judged by, too: what it would have predicted."""


class Role(Enum):
    """As on the wire."""

    ACTIVE = 0
    PREVIOUS = 1
    CANDIDATE = 2


class Decision(Enum):
    """What is to be done about a bundle."""

    LEAVE = "leave the active one"
    PROMOTE = "promote the candidate"
    REFUSE = "refuse the candidate"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one bundle, with the numbers in words."""

    decision: Decision
    model_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Scored:
    """One bundle on one window."""

    role: Role
    scorer: Scorer
    window: WindowScore
    exceeded: bool


class LiveWatch:
    """Everything since one bundle became active."""

    def __init__(self, active: Scorer, previous: Scorer | None, generator: np.random.Generator) -> None:
        self._scorers = {Role.ACTIVE: active} | ({} if previous is None else {Role.PREVIOUS: previous})
        self._spacing_ns = SPACING * active.grid.dt_ns
        self._ahead_ns = AHEAD * active.grid.dt_ns
        self._generator = generator
        self._filling = Filling[dict[Role, StartScore]](self._spacing_ns)
        self._recent: list[Mapping[Role, StartScore]] = []
        """Starts in a row, at most `GROSS_STARTS`."""
        self._next_ns: int | None = None
        self._drifts = {role: Drift(each.promise) for role, each in self._scorers.items() if each.promise is not None}
        self._better = BetterSoFar()
        self._losses: list[tuple[float, float]] = []
        """Of candidate and active, by window."""
        self._first_look = WINDOWS

    @property
    def exceeded(self) -> tuple[str, ...]:
        """Quantities in which the active bundle is not what it promised, now."""
        drift = self._drifts.get(Role.ACTIVE)
        return () if drift is None else drift.exceeded

    @property
    def compared(self) -> int:
        """Windows on which the candidate was compared."""
        return len(self._losses)

    @property
    def active(self) -> Scorer:
        return self._scorers[Role.ACTIVE]

    @property
    def candidate(self) -> Scorer | None:
        return self._scorers.get(Role.CANDIDATE)

    def shadow(self, candidate: Scorer | None, first_look: int = WINDOWS) -> None:
        """Compare another bundle from now on, or none. ValueError for too few windows."""
        if first_look < LEAST_WINDOWS:
            raise ValueError(f"windows: {first_look} are too few to tell; give {LEAST_WINDOWS} or more")
        self._scorers.pop(Role.CANDIDATE, None)
        self._drifts.pop(Role.CANDIDATE, None)
        self._losses, self._first_look = [], first_look
        self._recent.clear()
        self._filling.add(-1, None)
        if candidate is not None:
            self._scorers[Role.CANDIDATE] = candidate
            if candidate.promise is not None:
                self._drifts[Role.CANDIDATE] = Drift(candidate.promise)

    def advance(self, tape: Tape) -> tuple[list[Scored], Verdict | None]:
        """Score what the tape holds since the last call: full windows, and the first decision that they lead to."""
        begin, end = tape.span_ns()
        reach_ns = max(scorer.needs_ns for scorer in self._scorers.values())
        next_ns = self._next_ns if self._next_ns is not None else end - self._ahead_ns - _BEFORE_NS
        # What the tape has lost is a gap: starts go on behind it.
        next_ns += max(0, -(-(begin + reach_ns - next_ns) // self._spacing_ns)) * self._spacing_ns
        ready = range(next_ns, end - self._ahead_ns + 1, self._spacing_ns)
        if begin >= end or not ready:
            return [], None
        cut = {scorer.grid: scorer.rows(tape, next_ns) for scorer in self._scorers.values()}
        windows: list[Scored] = []
        for start_ns in ready:
            self._next_ns = start_ns + self._spacing_ns
            scores = {role: each.score(cut[each.grid], start_ns) for role, each in self._scorers.items()}
            whole = {role: score for role, score in scores.items() if score is not None}
            found, verdict = self._take(start_ns, whole if len(whole) == len(scores) else None)
            windows += found
            if verdict is not None:
                return windows, verdict
        return windows, None

    def _take(self, start_ns: int, scores: dict[Role, StartScore] | None) -> tuple[list[Scored], Verdict | None]:
        """One start of all bundles; None: the arm rested, or there was a gap."""
        full = self._filling.add(start_ns, scores)
        if scores is None:
            self._recent.clear()
            return [], None
        self._recent = [*self._recent, scores][-GROSS_STARTS:]
        windows = self._window(full, start_ns) if full else []
        return windows, self._gross() or (self._evident(windows) if windows else None)

    def _window(self, starts: tuple[dict[Role, StartScore], ...], last_ns: int) -> list[Scored]:
        found = []
        for role, scorer in self._scorers.items():
            window = windowed([each[role] for each in starts], last_ns, scorer.grid.dt_ns)
            if role in self._drifts:
                self._drifts[role].add(window.innovation)
            exceeded = role in self._drifts and bool(self._drifts[role].exceeded)
            found.append(Scored(role, scorer, window, exceeded))
        return found

    def _gross(self) -> Verdict | None:
        """See the module's description; the active bundle comes first."""
        for role, beside, decision in (
            (Role.ACTIVE, Role.PREVIOUS, Decision.LEAVE),
            (Role.CANDIDATE, Role.ACTIVE, Decision.REFUSE),
        ):
            if role in self._scorers:
                reason = self._no_numbers(role) or self._far_off(role, beside)
                if reason:
                    return Verdict(decision, self._scorers[role].model_id, reason)
        return None

    def _no_numbers(self, role: Role) -> str:
        return "" if self._recent[-1][role].finite else "its predictions of the arm's motion are not finite numbers"

    def _far_off(self, role: Role, beside: Role) -> str:
        stated = self._scorers[role].stated
        if stated is None or beside not in self._scorers or len(self._recent) < GROSS_STARTS:
            return ""
        own, other = (np.sqrt([each[which].squared for each in self._recent]) for which in (role, beside))
        if not (own > GROSS * np.maximum(stated, other)).all():
            return ""
        return (
            f"position after 0.3 s off by {own.min():.3e} rad and more in {len(own)} starts in a row; it states "
            f"{stated:.3e}, and {self._scorers[beside].model_id} is off by {other.max():.3e} at most"
        )

    def _evident(self, windows: list[Scored]) -> Verdict | None:
        """What the comparisons say after a window."""
        loss = {each.role: each.window.position for each in windows}
        if Role.PREVIOUS in loss:
            self._better.add(loss[Role.PREVIOUS], loss[Role.ACTIVE])
        if reason := self._worse_than_before(loss):
            return Verdict(Decision.LEAVE, self._scorers[Role.ACTIVE].model_id, reason)
        return self._look(loss) if Role.CANDIDATE in loss else None

    def _worse_than_before(self, loss: Mapping[Role, float]) -> str:
        previous = self._scorers.get(Role.PREVIOUS)
        if previous is None or previous.stated is None or not (self.exceeded and self._better.enough):
            return ""
        return (
            f"{', '.join(self.exceeded)} beyond what it promised, and {previous.model_id} {self._better.said}; "
            f"position after 0.3 s in the last one {loss[Role.ACTIVE]:.3e} rad against {loss[Role.PREVIOUS]:.3e}"
        )

    def _look(self, loss: Mapping[Role, float]) -> Verdict | None:
        """At one of the numbers of windows that were fixed beforehand."""
        self._losses.append((loss[Role.CANDIDATE], loss[Role.ACTIVE]))
        looks = [self._first_look * 2**number for number in range(LOOKS)]
        if self.compared not in looks:
            return None
        candidate, active = np.array(self._losses).T
        look = looked(candidate, active, self._generator)
        model_id = self._scorers[Role.CANDIDATE].model_id
        if look.passes:
            return Verdict(Decision.PROMOTE, model_id, look.said)
        return Verdict(Decision.REFUSE, model_id, look.said) if self.compared == looks[-1] else None
