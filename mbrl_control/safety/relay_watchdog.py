"""The command relay's own judgement: when the guard falls silent or the drives go off, ramp to zero, go silent.

A forward controller keeps the last command it got for ever, so nothing may end on another command than zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mbrl_control.safety.config import GuardLimits
from mbrl_control.signals import Array, SafeCommand

TIMEOUT_NS = 20_000_000
"""Fixed: the watchdog can be neither switched off nor loosened."""


@dataclass(frozen=True, slots=True)
class RelayState:
    """What the relay remembers. ``last`` [J] rad/s or N m is None while nothing was ever sent."""

    last: Array | None = None
    epoch: int = -1
    sequence: int = 0
    heard_ns: int = 0
    ramped_ns: int = 0
    """Time of the newest step of the ramp."""
    publishing: bool = False
    ramping: bool = False
    latched: bool = False
    trips: int = 0


def receive(
    state: RelayState, command: SafeCommand, limits: GuardLimits, now_ns: int
) -> tuple[RelayState, Array | None]:
    """State and command [J] rad/s or N m to publish now, or None for silence.

    Only an arming (a newer epoch with the drives enabled) clears the latch, and not before the ramp has ended. A
    command that comes after the timeout finds the watchdog tripped, also when this process was the one that slept. An
    old sequence, a non-finite command, one beyond the limit or of the other interface is not sent and does not feed the
    watchdog.
    """
    if command.interface is not limits.interface:
        return state, None
    if command.applied.shape != limits.command.shape or not np.isfinite(command.applied).all():
        return state, None
    if (np.abs(command.applied) > limits.command * (1.0 + 1e-6)).any():
        return state, None
    if command.epoch < state.epoch or (command.epoch == state.epoch and command.sequence <= state.sequence):
        return state, None
    state, ramp = watch(state, limits, now_ns)
    if state.ramping:
        return state, ramp
    armed = command.drives_enabled and command.epoch > state.epoch
    heard = replace(state, epoch=command.epoch, sequence=command.sequence, heard_ns=now_ns)
    if state.latched and not armed:
        return heard, ramp
    if not command.drives_enabled:
        # No fault of the guard's, so no latch; its next arming counts once the ramp has ended.
        return watch(replace(heard, ramping=state.publishing, ramped_ns=state.heard_ns), limits, now_ns)
    return replace(heard, publishing=True, latched=False, last=command.applied), command.applied


def watch(state: RelayState, limits: GuardLimits, now_ns: int) -> tuple[RelayState, Array | None]:
    """To be called at least every 5 ms: after 20 ms of silence the next step of the ramp to zero [J]."""
    last = state.last
    if not state.publishing or last is None:
        return state, None
    if not state.ramping:
        if now_ns - state.heard_ns <= TIMEOUT_NS:
            return state, None
        state = replace(state, ramping=True, latched=True, trips=state.trips + 1, ramped_ns=state.heard_ns + TIMEOUT_NS)
    if not last.any():
        return replace(state, publishing=False, ramping=False), None
    step = limits.command_rate * (now_ns - state.ramped_ns) * 1e-9
    last = np.copysign(np.maximum(np.abs(last) - step, 0.0), last)
    return replace(state, last=last, ramped_ns=now_ns), last


def wind_down(state: RelayState, now_ns: int) -> RelayState:
    """The relay itself is told to end: the ramp to zero begins now instead of 20 ms after the guard's last word.

    A forward controller keeps the last command for ever; `watch` is called until nothing is published any more.
    """
    if not state.publishing or state.ramping:
        return state
    return replace(state, ramping=True, latched=True, ramped_ns=now_ns)
