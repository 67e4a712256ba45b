"""How topics are offered, as rosbag2 writes it beside them, so that a player offers them the same way.

Spelling of rosbag2's metadata up to version 8: numbers of rmw's enumerations (rmw/types.h), infinite times as the
largest of int32 seconds and nanoseconds.
"""

from __future__ import annotations

from mbrl_control.episode_log.schema import QosClass

_KEEP_LAST, _RELIABLE, _BEST_EFFORT, _TRANSIENT_LOCAL, _VOLATILE, _AUTOMATIC = 1, 1, 2, 1, 2, 1
_INFINITE = ["    sec: 9223372036", "    nsec: 854775807"]


def offered_qos(kind: QosClass) -> str:
    """`offered_qos_profiles` of a topic of this class, YAML."""
    reliable = _BEST_EFFORT if kind is QosClass.STREAM else _RELIABLE
    durable = _TRANSIENT_LOCAL if kind is QosClass.LATCHED else _VOLATILE
    lines = [
        f"- history: {_KEEP_LAST}",
        f"  depth: {1 if kind is QosClass.LATCHED else 10}",
        f"  reliability: {reliable}",
        f"  durability: {durable}",
        *("  deadline:", *_INFINITE, "  lifespan:", *_INFINITE),
        f"  liveliness: {_AUTOMATIC}",
        *("  liveliness_lease_duration:", *_INFINITE),
        "  avoid_ros_namespace_conventions: false",
    ]
    return "\n".join(lines)
