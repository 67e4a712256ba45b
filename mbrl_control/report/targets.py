"""What a demo run has to reach, and which of it this run missed. Limits are the project's, not fitted to a run."""

from __future__ import annotations

from typing import Any

FRESH_MM = 5.0
FRESH_OVER_NOMINAL_MM = 1.0
PAYLOAD_OVER_FRESH = 1.5
RELEARNED_OVER_PAYLOAD = 0.6
RELEARNED_OVER_PAYLOAD_NOMINAL = 0.5
PLAN_RATE_HZ = 49.5
GUARD_RATE_HZ = 198.0
DEMO_S = 540.0


def misses(result: dict[str, Any]) -> list[str]:
    """Each figure that is missing or beyond its limit, with both numbers; ``result`` as of `figures`."""
    median = {key[9:]: value["median"] for key, value in result.items() if key.startswith("reach_mm_")}
    if any(value is None for value in median.values()):
        return ["reach_mm: a phase has no finite error of every target"]
    rows = [
        ("reach_mm_fresh", median["fresh"], min(FRESH_MM, median["nominal"] + FRESH_OVER_NOMINAL_MM)),
        ("reach_mm_relearned (payload)", median["relearned"], RELEARNED_OVER_PAYLOAD * median["payload"]),
        (
            "reach_mm_relearned (payload_nominal)",
            median["relearned"],
            RELEARNED_OVER_PAYLOAD_NOMINAL * median["payload_nominal"],
        ),
        ("excess_late", result["excess_late"], 0.0),
        ("excess_missed", result["excess_missed"], 0.0),
        ("swap_missed_ticks", result["swap_missed_ticks"], 0.0),
        ("limit_violations", result["limit_violations"], 0.0),
        ("demo_s", result.get("demo_s"), DEMO_S),
    ]
    found = [f"{name} {value} above {limit:g}" for name, value, limit in rows if value is None or not value <= limit]
    floors = [("plan_rate_hz", PLAN_RATE_HZ), ("guard_rate_hz", GUARD_RATE_HZ)]
    found += [f"{name} {result[name]} below {limit:g}" for name, limit in floors if not (result[name] or 0.0) >= limit]
    return found + [f"not valid: {reason}" for reason in result["invalid_reasons"]]
