"""Log -> training rows on the model's time grid (docs/architecture.md, "The model's time grid")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.errors import DifferentArms, TooLittleData
from mbrl_control.replay.growing_array import GrowingArray
from mbrl_control.replay.held import HeldSignal, interpolate
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface, Transitions

MAX_GAP_PERIODS = 3.0
DRIVES_OFF = "drives off"


@dataclass(frozen=True, slots=True)
class Grid:
    """The model's time grid and how densely rows are cut from the log."""

    delay_s: float
    dt_ns: int = 20_000_000
    history: int = 3
    stride_ns: int = 10_000_000

    def __post_init__(self) -> None:
        if self.dt_ns <= 0 or self.history < 0 or self.delay_s < 0.0:
            raise ValueError("grid: dt_ns must be positive, history and delay_s not negative; correct the grid")
        if self.stride_ns <= 0 or self.dt_ns % self.stride_ns:
            raise ValueError(f"grid: stride_ns {self.stride_ns} must divide dt_ns {self.dt_ns}; choose another stride")


def history_of(arm: Arm) -> int:
    """K of its models."""
    return history_for(arm.interface)


def history_for(interface: CommandInterface) -> int:
    """K: a velocity servo lags over several steps, a torque acts within one."""
    return 3 if interface is CommandInterface.VELOCITY else 1


def transitions_from_logs(paths: Sequence[Path], grid: Grid) -> Transitions:
    """Rows of all logs, oldest first; session and segment ids grow over log boundaries.

    Raises LogError for an unusable log, DifferentArms, and TooLittleData when the logs give no row.
    """
    streams = sorted((read_streams(path) for path in paths), key=lambda s: int(s.belief_ns[0]))
    return transitions_from_streams(streams, grid)


def transitions_from_streams(streams: Sequence[Streams], grid: Grid) -> Transitions:
    """As `transitions_from_logs`, from decoded streams in the order of their time."""
    if not streams:
        raise TooLittleData("logs: none given; name at least one log")
    if any(s.joint_names != streams[0].joint_names for s in streams):
        raise DifferentArms("logs: joint names differ between the logs; give logs of one arm")
    columns = {name: GrowingArray() for name in Transitions.__dataclass_fields__}
    session = segment = rows = 0
    for stream in streams:
        cut = _Cut.of(stream, grid)
        for piece in cut.pieces():
            numbered = replace(piece, session=piece.session + session, segment=piece.segment + segment)
            for name, column in columns.items():
                column.append(getattr(numbered, name))
        session += len(stream.payload_ns) + 1
        segment += int(cut.segment[-1]) + 1 if len(cut) else 0
        rows += len(cut)
    if not rows:
        raise TooLittleData(
            "logs: no row with drives enabled, relay publishing, effort measured and no gap; log the arm as it moves "
            "(`log card` counts what is missing)"
        )
    return Transitions(**{name: column.array() for name, column in columns.items()})


def cut_transitions(streams: Streams, grid: Grid, since_ns: int = 0) -> Transitions:
    """Rows of one log; every window a row reads is whole: no gap, drives on, relay publishing, one payload.

    ``since_ns``: rows lie on strides from there on; where the log begins later, from its beginning.
    """
    return _Cut.of(streams, grid, since_ns).rows(slice(None))


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where the whole rows of one log are; they are made when they are asked for."""

    streams: Streams
    grid: Grid
    moment: NDArray[np.int64]
    """[M] ns, at which they begin."""
    session: NDArray[np.int64]
    segment: NDArray[np.int64]
    """[M], from 0 in this log."""
    command: HeldSignal
    effort: HeldSignal

    @staticmethod
    def of(streams: Streams, grid: Grid, since_ns: int = 0) -> _Cut:
        moment = row_moments(streams, grid, since_ns)
        moment = moment[~np.any(list(row_faults(streams, moment, grid).values()), axis=0)]
        session = np.searchsorted(streams.payload_ns, moment, side="right").astype(np.int64)
        segment = _segments(moment, session, grid.stride_ns)
        command = HeldSignal(streams.command_ns, streams.applied)
        effort = HeldSignal(streams.belief_ns, streams.effort)
        return _Cut(streams, grid, moment, session, segment, command, effort)

    def __len__(self) -> int:
        return len(self.moment)

    def pieces(self) -> Iterator[Transitions]:
        """All rows, so many at once that little lies beside what they are put into; at least one piece."""
        for begin in range(0, max(1, len(self)), _PIECE):
            yield self.rows(slice(begin, begin + _PIECE))

    def rows(self, place: slice) -> Transitions:
        streams, grid, moment = self.streams, self.grid, self.moment[place]
        after, delay_ns = moment + grid.dt_ns, round(grid.delay_s * 1e9)
        means = [
            self.command.mean(moment - delay_ns - k * grid.dt_ns, after - delay_ns - k * grid.dt_ns)
            for k in range(grid.history, -1, -1)
        ]
        no_history = np.empty((len(moment), 0, len(streams.joint_names)))
        return Transitions(
            position=interpolate(streams.belief_ns, streams.position, moment),
            velocity=interpolate(streams.belief_ns, streams.velocity, moment),
            history=np.stack(means[:-1], axis=1) if grid.history else no_history,
            action=means[-1],
            next_position=interpolate(streams.belief_ns, streams.position, after),
            next_velocity=interpolate(streams.belief_ns, streams.velocity, after),
            next_effort=self.effort.mean(moment, after),
            stamp_ns=moment,
            session=self.session[place],
            segment=self.segment[place],
        )


def select(rows: Transitions, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Transitions:
    """The chosen rows, by mask or index."""
    place = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
    columns = {name: GrowingArray() for name in Transitions.__dataclass_fields__}
    for name, column in columns.items():
        for begin in range(0, max(1, len(place)), _PIECE):
            column.append(getattr(rows, name)[place[begin : begin + _PIECE]])
    return Transitions(**{name: column.array() for name, column in columns.items()})


_PIECE = 1 << 14
"""Rows that are made at once on their way into an array that grows."""


def row_moments(streams: Streams, grid: Grid, since_ns: int = 0) -> NDArray[np.int64]:
    """[M] ns at which a row could begin, whole or not; none before ``since_ns``."""
    delay_ns = round(grid.delay_s * 1e9)
    reach_ns = grid.history * grid.dt_ns + delay_ns
    start = max(int(streams.belief_ns[0]), int(streams.command_ns[0]) + reach_ns, since_ns)
    end = min(int(streams.belief_ns[-1]), int(streams.command_ns[-1]) + delay_ns)
    return np.arange(start, max(start, end - grid.dt_ns + 1), grid.stride_ns, dtype=np.int64)


def row_faults(streams: Streams, moment: NDArray[np.int64], grid: Grid) -> dict[str, NDArray[np.bool_]]:
    """Why rows at ``moment`` [M] are not whole, [M] by reason: the time integral of each over a row's windows must
    vanish."""
    delay_ns = round(grid.delay_s * 1e9)
    after = moment + grid.dt_ns
    first_command = moment - delay_ns - grid.history * grid.dt_ns
    commanded = (streams.command_ns, first_command, after - delay_ns)
    unmeasured = np.isin(streams.belief_ns, streams.unmeasured_ns)
    first_session = np.searchsorted(streams.payload_ns, first_command, side="right")
    return {
        "relay not heard of yet": np.asarray(streams.relay_ns[0] > first_command),
        DRIVES_OFF: _ever(~streams.drives_enabled, *commanded),
        "gap in the commands": _ever(gaps(streams.command_ns), *commanded),
        "relay does not publish": _ever(~streams.publishing, streams.relay_ns, first_command, after),
        "gap in the state": _ever(gaps(streams.belief_ns), streams.belief_ns, moment, after),
        "effort not measured": _ever(unmeasured, streams.belief_ns, moment, after),
        "declared payload changes": first_session != np.searchsorted(streams.payload_ns, after, side="right"),
    }


def _ever(
    bad: NDArray[np.bool_], stamp_ns: NDArray[np.int64], start_ns: NDArray[np.int64], end_ns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """A bad sample is in force somewhere in [start, end): counts of bad samples, no rounding."""
    count = np.concatenate([[0], np.cumsum(bad)])
    first = np.maximum(np.searchsorted(stamp_ns, start_ns, side="right") - 1, 0)
    last = np.searchsorted(stamp_ns, end_ns, side="left")
    return np.asarray(count[np.maximum(last, first)] - count[first] != 0, dtype=np.bool_)


def gaps(stamp_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[N] whether the interval that starts at each sample is a gap (longer than 3 usual periods)."""
    interval = np.diff(stamp_ns)
    if len(interval) == 0:
        return np.zeros(len(stamp_ns), dtype=np.bool_)
    return np.append(interval > MAX_GAP_PERIODS * float(np.median(interval)), False)


def _segments(moment: NDArray[np.int64], session: NDArray[np.int64], stride_ns: int) -> NDArray[np.int64]:
    breaks = (np.diff(moment) != stride_ns) | (np.diff(session) != 0)
    if len(moment) == 0:
        return np.empty(0, dtype=np.int64)
    return np.concatenate([[0], np.cumsum(breaks)]).astype(np.int64)
