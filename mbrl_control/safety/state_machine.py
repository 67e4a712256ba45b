"""States of the guard and the only moves between them, as one pure function over one table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mbrl_control.safety.config import GuardConfig
from mbrl_control.signals import OperatorState

IDLE, ARMED, RUNNING = OperatorState.IDLE, OperatorState.ARMED, OperatorState.RUNNING
HOLD, OPERATOR_HOLD = OperatorState.HOLD, OperatorState.OPERATOR_HOLD
PROTECTIVE_STOP = OperatorState.PROTECTIVE_STOP


class Event(Enum):
    """What can move the machine; the first three only by an operator, the next two by anyone."""

    ARM = "arm"
    START = "start"
    RESET = "reset"
    REQUEST_HOLD = "hold requested"
    REQUEST_STOP = "stop requested"
    SOFT_FAULT = "soft fault"
    HARD_FAULT = "hard fault"
    HEALTHY = "healthy"


# IDLE has no way to PROTECTIVE_STOP: its drives are off, which is safer than a stop with drives on.
TABLE: dict[tuple[OperatorState, Event], OperatorState] = {
    (IDLE, Event.ARM): ARMED,
    (ARMED, Event.START): RUNNING,
    (ARMED, Event.REQUEST_STOP): PROTECTIVE_STOP,
    (ARMED, Event.HARD_FAULT): PROTECTIVE_STOP,
    (RUNNING, Event.REQUEST_HOLD): OPERATOR_HOLD,
    (RUNNING, Event.REQUEST_STOP): PROTECTIVE_STOP,
    (RUNNING, Event.SOFT_FAULT): HOLD,
    (RUNNING, Event.HARD_FAULT): PROTECTIVE_STOP,
    (HOLD, Event.HEALTHY): RUNNING,
    (HOLD, Event.REQUEST_HOLD): OPERATOR_HOLD,
    (HOLD, Event.REQUEST_STOP): PROTECTIVE_STOP,
    (HOLD, Event.HARD_FAULT): PROTECTIVE_STOP,
    (OPERATOR_HOLD, Event.START): RUNNING,
    (OPERATOR_HOLD, Event.REQUEST_STOP): PROTECTIVE_STOP,
    (OPERATOR_HOLD, Event.HARD_FAULT): PROTECTIVE_STOP,
    (PROTECTIVE_STOP, Event.RESET): ARMED,
}


@dataclass(frozen=True, slots=True)
class Machine:
    """State, when and why it was entered, and what must be remembered across states."""

    state: OperatorState = IDLE
    since_ns: int = 0
    epoch: int = 0
    """Grows at every entry into ARMED."""
    holds: tuple[int, ...] = ()
    """Times of the entries into HOLD since arming, ns."""
    reason: str = "started"


def transition(machine: Machine, event: Event, reason: str, now_ns: int, config: GuardConfig) -> Machine:
    """The machine after ``event``; the very same object when the table knows no such move."""
    after = TABLE.get((machine.state, event))
    if after is None:
        return machine
    if after == HOLD:
        return _enter_hold(machine, reason, now_ns, config)
    if after == ARMED:
        return Machine(ARMED, now_ns, machine.epoch + 1, (), reason)
    return replace(machine, state=after, since_ns=now_ns, reason=reason)


def expire(machine: Machine, now_ns: int, config: GuardConfig) -> Machine:
    """An automatic hold that did not recover in time becomes a protective stop."""
    if machine.state != HOLD or now_ns - machine.since_ns <= round(config.hold_recovery_s * 1e9):
        return machine
    return transition(machine, Event.HARD_FAULT, f"hold not recovered: {machine.reason}", now_ns, config)


def _enter_hold(machine: Machine, reason: str, now_ns: int, config: GuardConfig) -> Machine:
    holds = (*machine.holds, now_ns)
    recent = sum(now_ns - stamp <= round(config.hold_window_s * 1e9) for stamp in holds)
    if recent >= config.hold_limit:
        text = f"{recent} holds within {config.hold_window_s:g} s: {reason}"
        return replace(machine, state=PROTECTIVE_STOP, since_ns=now_ns, holds=holds, reason=text)
    return replace(machine, state=HOLD, since_ns=now_ns, holds=holds, reason=reason)
