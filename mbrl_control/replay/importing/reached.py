"""Which of the source's ends of tasks its log reaches: behind one that was left out the episode is cut, not over."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from mbrl_control.replay.importing.resample import Resampled, common_spans
from mbrl_control.replay.importing.series import Recording


def reached_ends(recording: Recording, state: Resampled, command: Resampled) -> tuple[int, ...]:
    """Stamps at which the log ends where a task did, ascending.

    Both of the episode's last samples, state and command, were used, and the last span with both ends with them: on a
    grid coarser than the source up to a period earlier.
    """
    used = np.isin([each.state_ns for each in recording.task_ends], recording.state.stamp_ns)
    used &= np.isin([each.command_ns for each in recording.task_ends], recording.command.stamp_ns)
    state_ends, command_ends = ([stretch.end_ns for stretch in each.stretches] for each in (state, command))
    spans_end = {end for _, end in common_spans(state, command)}
    found = set()
    for task, kept in zip(recording.task_ends, used.tolist(), strict=True):
        last_state = _newest(state_ends, task.state_ns, state.grid.period_ns)
        last_command = _newest(command_ends, task.command_ns + command.grid.usual_ns, command.grid.period_ns)
        if kept and last_state is not None and last_command is not None:
            found.add(min(last_state, last_command))
    return tuple(sorted(found & spans_end))


def _newest(ends_ns: list[int], until_ns: int, period_ns: int) -> int | None:
    """The end of a stretch less than a period before ``until_ns``, or then; None: there is none."""
    place = bisect_right(ends_ns, until_ns) - 1
    return ends_ns[place] if place >= 0 and ends_ns[place] > until_ns - period_ns else None
