"""When to retrain: a pure function of what the logs hold, what is active and what was tried before.

Time is counted in motion, not on a clock: an arm at rest teaches nothing, and a log that was refused is not tried again
for getting older. Every attempt moves the mark from which motion counts as new, so a candidate that was refused, or a
bundle that was rolled back, is not learned once more from the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_MINUTE_S = 60.0
_DOUBLINGS = 3
"""Of the pause after attempts in a row that made no model that stayed."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much motion is worth a retraining. Minutes of motion, all of them."""

    minutes: float = 10.0
    """New motion since the active bundle's newest row."""
    retry_minutes: float = 10.0
    """New motion after an attempt that made no model that stayed; doubled with every further one, up to 8 times."""
    least_minutes: float = 1.2
    """In the newest regime (one payload, of however many runs) before anything is tried: the gate needs 64 s of it, see
    `replay.blocks`. And how much of it has to be new after drift or another payload."""
    shadow: bool = False
    """What passes becomes the candidate of live motion; nothing is learned while there is one."""

    def __post_init__(self) -> None:
        for name in ("minutes", "retry_minutes", "least_minutes"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"policy.{name}: {getattr(self, name)} minutes; give a positive number")


@dataclass(frozen=True, slots=True)
class Known:
    """The active bundle, as far as it matters here."""

    version: int = 0
    """0: none is active."""
    model_id: str = ""
    newest_ns: int = 0
    """Graph clock of the newest row that it has learned from; 0: none."""
    payload_kg: float = 0.0
    """It was learned with."""
    candidate: str = ""
    """Model id of the one that live motion is to judge beside it; empty: none, or nobody asks."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What has to outlive the process."""

    tried_ns: int = 0
    """Graph clock of the newest motion that an attempt was made with."""
    failures: int = 0
    """Attempts in a row that made no model; one that has begun counts until it is known to have ended well."""
    made: int = 0
    """Version that the newest successful attempt made; 0: none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the logs hold, of motion with drives on and commands passed on."""

    newest_ns: int = 0
    """Of the newest motion after the mark of `since_ns`; 0: none."""
    new_s: float = 0.0
    """Motion after the mark."""
    regime_s: float = 0.0
    """Motion under the present payload, of all logs that would be learned from."""
    fresh_s: float = 0.0
    """Of that, after the mark."""
    payload_kg: float = 0.0
    """Declared at the end of the newest log."""
    drift_ns: int = 0
    """When the active model last did worse than it promised; 0: not after the mark."""


class Cause(StrEnum):
    """Why a retraining begins, or that none does."""

    WAIT = "wait"
    PAYLOAD = "payload"
    DRIFT = "drift"
    MINUTES = "minutes"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why in words."""

    cause: Cause
    reason: str

    @property
    def retrain(self) -> bool:
        return self.cause is not Cause.WAIT


def since_ns(known: Known, memory: Memory) -> int:
    """From when on motion is new."""
    return max(known.newest_ns, memory.tried_ns)


def failures_of(known: Known, memory: Memory) -> int:
    """Attempts in a row that did not stay; a bundle of ours that was left for an older one again is one of them."""
    if known.newest_ns > memory.tried_ns:  # somebody else has learned since
        return 0
    return memory.failures + int(known.version < memory.made)


def decide(policy: Policy, known: Known, memory: Memory, seen: Seen) -> Decision:
    """Retrain or wait; ``seen`` counts from `since_ns`."""
    if known.candidate:
        return _wait(f"{known.candidate} is compared with {known.model_id} on live motion; a running graph decides")
    least_s = policy.least_minutes * _MINUTE_S
    if seen.regime_s < least_s:
        return _wait(f"{_of(seen.regime_s, least_s)} of motion under the present payload")
    failures = failures_of(known, memory)
    if failures:
        pause_s = policy.retry_minutes * _MINUTE_S * 2.0 ** min(failures - 1, _DOUBLINGS)
        told = f"{_of(seen.new_s, pause_s)} of new motion after {failures} without a model that stayed"
        return _wait(told) if seen.new_s < pause_s else Decision(Cause.RETRY, told)
    fresh = seen.fresh_s >= least_s
    if known.version and seen.payload_kg != known.payload_kg:
        told = f"payload {seen.payload_kg:g} kg, {known.model_id} learned with {known.payload_kg:g} kg"
        return Decision(Cause.PAYLOAD, told) if fresh else _wait(f"{told}; {_of(seen.fresh_s, least_s)} of motion")
    if seen.drift_ns > since_ns(known, memory):
        told = f"{known.model_id} does worse than it promised"
        return Decision(Cause.DRIFT, told) if fresh else _wait(f"{told}; {_of(seen.fresh_s, least_s)} of new motion")
    told = f"{_of(seen.new_s, policy.minutes * _MINUTE_S)} of new motion"
    return Decision(Cause.MINUTES, told) if seen.new_s >= policy.minutes * _MINUTE_S else _wait(told)


def begun(known: Known, memory: Memory, seen: Seen) -> Memory:
    """Before an attempt: it counts as failed, and is remembered so, should it take this process with it."""
    return Memory(max(seen.newest_ns, memory.tried_ns), failures_of(known, memory) + 1, memory.made)


def passed(begun: Memory, version: int) -> Memory:
    """After an attempt that made ``version`` the active one."""
    return Memory(begun.tried_ns, 0, version)


def _wait(reason: str) -> Decision:
    return Decision(Cause.WAIT, reason)


def _of(seconds: float, needed_s: float) -> str:
    return f"{seconds / _MINUTE_S:.1f} of {needed_s / _MINUTE_S:.1f} min"
