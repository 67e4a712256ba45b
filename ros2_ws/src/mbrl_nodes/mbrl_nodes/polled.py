"""Subscriptions that their owner reads when it wants to, with the times the middleware noted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from mbrl_control.cadence import SteadyClock, wall_times


class _NeverExecuted(CallbackGroup):
    """Keeps its subscriptions out of the executor's wait set."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        raise AssertionError("a polled subscription is never executed")


@dataclass(frozen=True, slots=True)
class Stamped:
    """A message with the times the middleware noted; graph clock."""

    content: Any
    published_ns: int
    """Handed to the middleware by its publisher."""
    received_ns: int
    """Taken in by this process."""


class Polled:
    """A subscription that its owner reads when it wants to, instead of being called back.

    The executor rebuilds its wait set for every message, which costs more than the message; at 200 Hz and more that
    is most of a node's time. ``drain`` must be called from one thread only. ``raw``: messages are CDR bytes.
    """

    def __init__(self, node: LifecycleNode, message_type: Any, topic: str, qos: QoSProfile, raw: bool = False) -> None:
        group = _NeverExecuted()
        self._subscription = node.create_subscription(
            message_type, topic, lambda _: None, qos, callback_group=group, raw=raw
        )
        self._group = group
        self._drained_ns: int | None = None
        """When `drain_stamped` last began to take, graph clock."""

    def drain(self) -> list[Any]:
        """All messages since the last call, oldest first; at most as many as the depth of the QoS."""
        return [content for content, _ in self._take()]

    def drain_stamped(self, clock: SteadyClock) -> list[Stamped]:
        """``drain`` with the middleware's times; a message came between the last call and this one."""
        before_ns = clock.now_ns()
        taken = self._take()
        earliest_ns, self._drained_ns = self._drained_ns, before_ns
        if not taken:
            return []
        # The middleware stamps with the wall clock, which may step; the graph's clock does not.
        times = wall_times(clock, time.time_ns, clock.factor)
        found = []
        for content, info in taken:
            received_ns = times.between(info["received_timestamp"], earliest_ns)
            published_ns = min(times.graph_time(info["source_timestamp"]), received_ns)
            found.append(Stamped(content, published_ns, received_ns))
        return found

    def _take(self) -> list[tuple[Any, dict[str, Any]]]:
        taken = []
        handle = self._subscription.handle
        with handle:
            while (one := handle.take_message(self._subscription.msg_type, self._subscription.raw)) is not None:
                taken.append(one)
        return taken

    def newest(self) -> Any | None:
        """The last of ``drain``, None when there is none."""
        messages = self.drain()
        return messages[-1] if messages else None
