"""The guard's stops of a run: in which phase, and why. A phase that was stopped says less about its model."""

from __future__ import annotations

from typing import Any

from mbrl_control.episode_log.reader import stamp_ns
from mbrl_control.signals import OperatorState


def stops_of(statuses: list[Any], phases: list[tuple[int, str]]) -> dict[str, list[str]]:
    """Reasons of every entry into PROTECTIVE_STOP, in order, by the phase it fell into ("" before the first).

    ``statuses`` are the guard's in the order of time; ``phases`` are (published ns, name) of each phase's begin.
    """
    found: dict[str, list[str]] = {}
    stopped = False
    for status in statuses:
        entered = status.state == OperatorState.PROTECTIVE_STOP and not stopped
        stopped = status.state == OperatorState.PROTECTIVE_STOP
        if entered:
            begun = [name for published_ns, name in phases if published_ns <= stamp_ns(status.stamp)]
            found.setdefault(begun[-1] if begun else "", []).append("; ".join(status.reasons))
    return found
