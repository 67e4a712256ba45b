"""Where the rows cut from a log come from: whose plan the commands followed, with which model, and who overrode it.

A plan says its model and whether the collector made it; the planner's report says its method. A command says which plan
it followed, by sequence, and which stage of the guard changed it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import PLAN, PLANNER_REPORT, SAFE_COMMAND
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.transitions import Grid
from mbrl_control.signals import PlanOutcome

RECORDED, GUARD, UNKNOWN = "recorded", "guard", "unknown"
"""Policies of commands that no plan stands behind (an imported log), of the guard's own, and of a plan that the log
lacks."""
_Followed = tuple[str, str]
"""Policy and model."""


@dataclass(frozen=True, slots=True)
class _Plan:
    stamp_ns: int
    epoch: int
    excitation: bool
    model: str


@dataclass(frozen=True, slots=True)
class _Commands:
    """In the order of their stamps."""

    stamp_ns: NDArray[np.int64]
    """[C]."""
    overridden: NDArray[np.bool_]
    """[C] the guard, or a person by way of it, sent something else than the plan asked."""
    followed: list[_Followed]


def origins_of_log(
    log: Path, row_ns: NDArray[np.int64], grid: Grid
) -> tuple[tuple[Provenance, ...], NDArray[np.uint32]]:
    """Provenances, and the number of that of each row, [N], as `arm_rows.arm_steps` takes them.

    ``row_ns`` [N]: stamps of the rows that `transitions.cut_transitions` cut from ``log`` with ``grid``. A row is an
    intervention where any command of its action was overridden; its policy and model are those of the last plan that
    was followed in it. LogError when the log has no command, or none in force at a row.
    """
    commands = _commands(log)
    begin_ns = row_ns - round(grid.delay_s * 1e9)
    first = np.searchsorted(commands.stamp_ns, begin_ns, side="right") - 1
    behind = np.searchsorted(commands.stamp_ns, begin_ns + grid.dt_ns, side="left")
    if len(first) and int(first.min()) < 0:
        raise LogError(log, SAFE_COMMAND.name, "begins after the first row", "give the log that the rows were cut from")
    count = np.concatenate([[0], np.cumsum(commands.overridden)])
    overridden = count[behind] > count[first]
    numbers: dict[Provenance, int] = {}
    origin = np.empty(len(row_ns), dtype=np.uint32)
    for row, (start, end, changed) in enumerate(zip(first.tolist(), behind.tolist(), overridden.tolist(), strict=True)):
        policy, model = _last_plan(commands.followed[start:end])
        source = Source.INTERVENTION if changed else Source.REAL
        origin[row] = numbers.setdefault(Provenance(source, policy, model), len(numbers))
    return tuple(numbers), origin


def _last_plan(followed: list[_Followed]) -> _Followed:
    """The guard's own policy only where it followed no plan at all."""
    return next((one for one in followed[::-1] if one[0] != GUARD), (GUARD, ""))


def _commands(log: Path) -> _Commands:
    plans: dict[int, list[_Plan]] = defaultdict(list)
    methods: dict[tuple[int, int], str] = {}
    told: dict[int, tuple[int, int]] = {}
    for topic, _, message in LogReader(log).messages((PLAN, PLANNER_REPORT, SAFE_COMMAND)):
        if topic == PLAN:
            excitation = message.outcome == PlanOutcome.EXCITATION
            made = _Plan(stamp_ns(message.stamp), message.epoch, excitation, message.model_id)
            plans[message.sequence].append(made)
        elif topic == PLANNER_REPORT:
            methods[message.plan_epoch, message.plan_sequence] = message.method
        else:
            told[stamp_ns(message.stamp)] = (message.plan_sequence, message.limiting_stage)
    if not told:
        raise LogError(log, SAFE_COMMAND.name, "holds no message", "log the whole graph while the arm moves")
    for each in plans.values():
        each.sort(key=lambda plan: plan.stamp_ns)
    stamps = sorted(told)
    return _Commands(
        np.array(stamps, dtype=np.int64),
        np.array([told[stamp][1] != 0 for stamp in stamps], dtype=np.bool_),
        [_followed(stamp, *told[stamp], plans, methods) for stamp in stamps],
    )


def _followed(
    command_ns: int,
    sequence: int,
    stage: int,
    plans: dict[int, list[_Plan]],
    methods: dict[tuple[int, int], str],
) -> _Followed:
    """Sequences begin anew with every epoch of a publisher: the newest plan of that number is meant."""
    if sequence == 0:
        return (GUARD if stage else RECORDED), ""
    known = plans.get(sequence, [])
    place = bisect_right(known, command_ns, key=lambda plan: plan.stamp_ns)
    if place == 0:
        return UNKNOWN, ""
    plan = known[place - 1]
    return ("excitation", "") if plan.excitation else (methods.get((plan.epoch, sequence)) or "planner", plan.model)
