"""What a demo run has to reach, and which of it this run missed. Limits are the project's, not fitted to a run."""

from __future__ import annotations

from typing import Any

FRESH_MM = 5.0
FRESH_OVER_NOMINAL_MM = 1.0
FRESH_OVER_NOMINAL = 0.5
"""Of tracking by torques, under friction that the prior does not know."""
PAYLOAD_OVER_FRESH = 1.5
RELEARNED_OVER_PAYLOAD = 0.6
RELEARNED_OVER_PAYLOAD_NOMINAL = 0.5
PLAN_RATE_HZ = 49.5
GUARD_RATE_HZ = 198.0
DEMO_S = 540.0


REACH, TRACK = ("reach_mm", "median"), ("track_mm", "rms")
"""Prefix of a run's figures, and the number that stands for a phase: at rest at targets, or in motion along a path."""


def _shown(value: float | None) -> str:
    return "missing" if value is None else f"{value:.5g}"


def judged_by(result: dict[str, Any]) -> tuple[str, str]:
    """Which of them a report's figures are of."""
    return TRACK if f"{TRACK[0]}_fresh" in result else REACH


def misses(result: dict[str, Any]) -> list[str]:
    """Each figure that is missing or beyond its limit, with both numbers; ``result`` as of `figures`."""
    task, number = judged_by(result)
    prefix, tracking = f"{task}_", task == TRACK[0]
    phase = {key[9:]: value[number] for key, value in result.items() if key.startswith(prefix)}
    if any(value is None for value in phase.values()):
        return [f"{prefix[:-1]}: a phase has no finite error of every target"]
    rows = [
        (f"{prefix}relearned (payload)", phase["relearned"], RELEARNED_OVER_PAYLOAD * phase["payload"]),
        ("excess_late", result["excess_late"], 0.0),
        ("excess_missed", result["excess_missed"], 0.0),
        ("swap_missed_ticks", result["swap_missed_ticks"], 0.0),
        ("limit_violations", result["limit_violations"], 0.0),
        ("demo_s", result.get("demo_s"), DEMO_S),
    ]
    if tracking:
        rows.append((f"{prefix}fresh", phase["fresh"], FRESH_OVER_NOMINAL * phase["nominal"]))
    else:
        rows.append((f"{prefix}fresh", phase["fresh"], min(FRESH_MM, phase["nominal"] + FRESH_OVER_NOMINAL_MM)))
        most = RELEARNED_OVER_PAYLOAD_NOMINAL * phase["payload_nominal"]
        rows.append((f"{prefix}relearned (payload_nominal)", phase["relearned"], most))
    beyond = [row for row in rows if row[1] is None or not row[1] <= row[2]]
    found = [f"{name} {_shown(value)} above {limit:g}" for name, value, limit in beyond]
    floors = [("plan_rate_hz", PLAN_RATE_HZ), ("guard_rate_hz", GUARD_RATE_HZ)]
    short = [(name, limit) for name, limit in floors if not (result[name] or 0.0) >= limit]
    found += [f"{name} {_shown(result[name])} below {limit:g}" for name, limit in short]
    return found + [f"not valid: {reason}" for reason in result["invalid_reasons"]]
