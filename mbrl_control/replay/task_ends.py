"""Where the task of a log's episode was over, and the rows that lead there.

This project's own graph knows no task that is over. An import knows those that its source marks as terminal, and notes
them in the log itself, in `safety_status.reasons`: there they outlive a recovery, and a file taken out of its folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader, stamp_ns
from mbrl_control.episode_log.schema import SAFETY_STATUS
from mbrl_control.replay.arm_rows import last_rows
from mbrl_control.replay.transitions import Grid
from mbrl_control.signals import Transitions

TASK_ENDED = "imported: the task ended"
"""Reason of the status that is stamped with the episode's last state."""


def read_task_ends(log: Path, newest_ns: int | None = None) -> tuple[int, ...]:
    """Stamps of the states in which tasks ended, ascending, of one log or its newest part."""
    found = set()
    for _, _, message in LogReader(log, newest_ns=newest_ns).messages((SAFETY_STATUS,)):
        try:
            if TASK_ENDED in message.reasons:
                found.add(stamp_ns(message.stamp))
        except (AttributeError, TypeError) as error:
            problem = f"has other fields than {SAFETY_STATUS.type} ({error})"
            raise LogError(log, SAFETY_STATUS.name, problem, "give a log of this graph") from error
    return tuple(sorted(found))


def terminal_rows(rows: Transitions, ends_ns: tuple[int, ...], grid: Grid) -> NDArray[np.bool_]:
    """[N] the last rows of segments that go on to the end of a task, as near as the rows' stride comes.

    An episode that ends a stride or more before its task did was cut: its last row is none of these.
    """
    if not ends_ns:
        return np.zeros(len(rows), dtype=np.bool_)
    ends, after = np.array(ends_ns, dtype=np.int64), rows.stamp_ns + grid.dt_ns
    following = np.searchsorted(ends, after, side="left")
    missing_ns = ends[np.minimum(following, len(ends) - 1)] - after
    return np.asarray(last_rows(rows) & (missing_ns >= 0) & (missing_ns < grid.stride_ns), dtype=np.bool_)
