"""The relay under torques: nothing of the other interface, and a ramp at the torque rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mbrl_control.safety.config import limits_of
from mbrl_control.safety.relay_watchdog import TIMEOUT_NS, RelayState, receive, watch
from mbrl_control.signals import CommandInterface, SafeCommand, Stage
from tests.unit.effort_rig import effort_arm

MS = 1_000_000
LIMITS = limits_of(effort_arm("panda"))


def command(torque: np.ndarray, sequence: int = 1) -> SafeCommand:
    return SafeCommand(0, 1, sequence, torque, torque, 0, Stage.NONE, "", True, CommandInterface.EFFORT)


def test_a_command_of_the_other_interface_or_beyond_the_torque_limit_is_not_sent() -> None:
    fine = command(0.5 * LIMITS.effort)
    _, sent = receive(RelayState(), fine, LIMITS, 0)
    np.testing.assert_array_equal(sent, fine.applied)
    for bad in (replace(fine, interface=CommandInterface.VELOCITY), command(1.01 * LIMITS.effort)):
        assert receive(RelayState(), bad, LIMITS, 0) == (RelayState(), None)


def test_silence_ramps_the_torque_down_at_its_rate_and_latches() -> None:
    start = 0.5 * LIMITS.effort
    state, _ = receive(RelayState(), command(start), LIMITS, 0)
    now, sent = TIMEOUT_NS, [start]
    while state.publishing:
        now += 5 * MS
        state, torque = watch(state, LIMITS, now)
        if torque is not None:
            sent.append(torque)
    assert state.latched
    assert state.trips == 1
    change = -np.diff(sent, axis=0)
    assert not sent[-1].any()
    assert (change <= LIMITS.torque_rate * 0.005 + 1e-9).all()
    np.testing.assert_allclose(change[0][:4], LIMITS.torque_rate[:4] * 0.005)
