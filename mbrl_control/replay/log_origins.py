"""Whose command moved the arm in each row of a log: the plan's, or the guard's, which limited it or took its place."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import PLAN, SAFE_COMMAND
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.transitions import Grid
from mbrl_control.signals import PlanOutcome, Stage, Transitions

RECORDED = "recorded"
"""Policy of commands that no plan of this log is behind: of recordings from elsewhere."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """The guard's commands, in the order of their stamps."""

    stamp_ns: NDArray[np.int64]
    """[C]"""
    stage: NDArray[np.int64]
    """[C] `signals.Stage` that limited or made the command; 0: it is the plan's."""
    plan: NDArray[np.int64]
    """[C] index into ``plans``; 0 for none."""
    plans: tuple[tuple[str, str], ...]
    """Policy and model, of each once; the first is `RECORDED` without a model."""


def read_ticks(log: Path, newest_ns: int | None = None) -> Ticks:
    """Of one log, or its newest part. LogError where the log has no commands, or one of a stage that nobody knows."""
    commands: dict[int, Any] = {}
    made: dict[int, list[tuple[int, int]]] = {}
    plans = {(RECORDED, ""): 0}
    for topic, _, message in LogReader(log, newest_ns=newest_ns).messages((SAFE_COMMAND, PLAN)):
        stamp = stamp_ns(message.stamp)
        if topic is PLAN:
            number = plans.setdefault((_policy(message.outcome), message.model_id), len(plans))
            made.setdefault(message.sequence, []).append((stamp, number))
        else:
            commands[stamp] = (message.limiting_stage, message.plan_sequence)
    if not commands:
        raise LogError(log, SAFE_COMMAND.name, "holds no message", "log the whole graph while the arm moves")
    for known in made.values():
        known.sort()
    stamps = sorted(commands)
    stages = [int(commands[stamp][0]) for stamp in stamps]
    unknown = set(stages) - {stage.value for stage in Stage}
    if unknown:
        raise LogError(log, f"{SAFE_COMMAND.name}.limiting_stage", f"is {unknown.pop()}", "give a log of this graph")
    sampled = [_behind(made.get(commands[stamp][1], []), stamp) for stamp in stamps]
    return Ticks(_int64(stamps), _int64(stages), _int64(sampled), tuple(plans))


def origins_of(rows: Transitions, ticks: Ticks, grid: Grid) -> tuple[tuple[Provenance, ...], NDArray[np.uint32]]:
    """Provenances, and of each row [N] which one, by the ticks that its action is the mean of.

    An intervention where the guard had a hand in any of them.
    """
    begin = rows.stamp_ns - round(grid.delay_s * 1e9)
    first = np.maximum(np.searchsorted(ticks.stamp_ns, begin, side="right") - 1, 0)
    last = np.maximum(np.searchsorted(ticks.stamp_ns, begin + grid.dt_ns, side="left") - 1, first)
    touched = np.append(np.flatnonzero(ticks.stage != 0), len(ticks.stamp_ns))
    next_touched = touched[np.searchsorted(touched, first)]
    by_guard = next_touched <= last
    stage = np.where(by_guard, ticks.stage[np.minimum(next_touched, len(ticks.stage) - 1)], 0)
    pairs, origin = np.unique(np.stack([stage, ticks.plan[last]], axis=1), axis=0, return_inverse=True)
    made = tuple(_provenance(int(stage), *ticks.plans[plan]) for stage, plan in pairs)
    return made, np.asarray(origin, dtype=np.uint32).reshape(-1)


def _provenance(stage: int, policy: str, model: str) -> Provenance:
    if stage == 0:
        return Provenance(Source.REAL, policy, model)
    return Provenance(Source.INTERVENTION, f"guard: {Stage(stage).name.lower()}", model)


def _policy(outcome: int) -> str:
    return "excitation" if outcome == PlanOutcome.EXCITATION else "planner"


def _behind(made: list[tuple[int, int]], stamp: int) -> int:
    """Of the plans of one sequence number, the newest that was there: numbers begin anew with each activation."""
    place = bisect_right(made, stamp, key=lambda plan: plan[0])
    return made[place - 1][1] if place else 0


def _int64(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
