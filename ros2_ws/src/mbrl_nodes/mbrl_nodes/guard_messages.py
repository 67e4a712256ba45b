"""What the guard tells: its status, and the answers to requests."""

from __future__ import annotations

from typing import Any

from mbrl_msgs.msg import SafetyStatus

from mbrl_control.safety.guard_status import GuardStatus
from mbrl_control.safety.requests import Reply
from mbrl_nodes.convert import stamp_from_ns


def status_to_msg(status: GuardStatus, now_ns: int, missed_ticks: int, has_spread: bool, requests: int) -> SafetyStatus:
    return SafetyStatus(
        stamp=stamp_from_ns(now_ns),
        state=int(status.state),
        reasons=list(status.reasons),
        epoch=status.epoch,
        speed_scale=status.speed_scale,
        payload=status.payload_kg,
        model_id=status.model_id,
        has_spread=has_spread,
        challenge=status.challenge,
        missed_ticks=missed_ticks,
        rejected_plans=status.rejected_plans,
        holds=status.holds,
        requests=requests,
    )


def answer(reply: Reply, response: Any) -> Any:
    """Fill in the response of any service that has ``success`` and ``message``."""
    response.success, response.message = reply.success, reply.message
    return response
