"""What training rows were made of, in figures: logs, rows kept and left out, regimes, and where there is no data.

Everything is counted in the data. `dataset_text` says it for people; a bundle holds both (`docs/models.md`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.blocks import BLOCK_NS, GROUP, MARGIN_NS, split_blocks
from mbrl_control.replay.columns import Repair
from mbrl_control.replay.golden_rows import without
from mbrl_control.replay.importing.report import ImportReport
from mbrl_control.replay.joint_coverage import Coverage, JointFigures, coverage, joint_figures
from mbrl_control.replay.regimes import NewestRegime, with_regimes
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import DRIVES_OFF, Grid, gaps, row_faults, row_moments, select
from mbrl_control.robot import Arm
from mbrl_control.signals import Transitions

FORMAT = 1


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file as far as it was read."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """State or commands of one log."""

    messages: int
    usual_hz: float
    gaps: int
    """Intervals longer than three usual ones; no row reaches across."""
    longest_ms: float
    """Interval."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What the import of a recording from elsewhere said of it."""

    sources: tuple[LogFile, ...]
    velocity: str
    effort: str
    usable_s: float
    bad_rows: int
    gaps: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogSource:
    """Where the streams of a log came from; only the caller knows."""

    log: str
    """Folder and file, without the path of one machine."""
    files: tuple[LogFile, ...]
    phase: str | None
    newest_s: float | None
    imported: Imported | None


@dataclass(frozen=True, slots=True)
class LogFigures:
    """One log, or the stretch of it that was read."""

    source: LogSource
    interface: str
    begin: str
    end: str
    """ISO 8601, UTC, of the state."""
    seconds: float
    payloads_kg: tuple[float, ...]
    """Declared, in turn."""
    state: StreamFigures
    command: StreamFigures
    moments: int
    """Rows that there would be without any fault, 10 ms apart."""
    rows: int
    left_out: dict[str, int]
    """Rows by the first reason that holds for them."""
    effort_absent: tuple[str, ...]
    """Joints whose effort no belief holds: zeros were learned in its place."""
    repairs: tuple[Repair, ...]
    """Messages that were not taken as they came."""


@dataclass(frozen=True, slots=True)
class RegimeFigures:
    """A stretch: rows between two changes of payload or log."""

    number: int
    """Oldest first."""
    newest: bool
    """It is of the regime that was learned for; the last one always is."""
    changed: str
    """Why it is not, where its declared payload is the same; else empty."""
    log: str
    payload_kg: float
    rows: int
    held_out_rows: int
    held_out_blocks: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How rows to judge by are chosen; the same for every model."""

    block_s: float
    of_blocks: int
    """One of so many consecutive ones: the one whose number since 1970 has the lowest SHA-256."""
    margin_s: float
    """At both ends of a block: neither learned from nor judged by."""


@dataclass(frozen=True, slots=True)
class DatasetFigures:
    """`dataset.json`."""

    format: int
    robot: str
    interface: str
    joint_names: tuple[str, ...]
    dt_s: float
    history: int
    delay_s: float
    """Found in these logs; rows are cut with it."""
    logs: tuple[LogFigures, ...]
    regimes: tuple[RegimeFigures, ...]
    rows: int
    trained_on: int
    """Without held-out blocks and their margins, older regimes thinned."""
    held_out: HeldOut
    joints: tuple[JointFigures, ...]
    coverage: Coverage
    """Both of the newest regime."""


def dataset_figures(
    arm: Arm,
    sources: Sequence[LogFigures],
    streams: Sequence[Streams],
    rows: Transitions,
    grid: Grid,
    regime: NewestRegime,
    trained_on: int,
) -> DatasetFigures:
    """Of rows [N] cut from ``streams`` with ``grid``, and what was said of each log."""
    held = split_blocks(with_regimes(rows, regime), grid.stride_ns).held
    names = [log.source.log for log, each in zip(sources, streams, strict=True) for _ in each.payloads_kg]
    masses = [mass for each in streams for mass in each.payloads_kg]
    newest = select(rows, regime.holds(rows.session))
    changed = {each.stretch: each.said for each in regime.changed}
    return DatasetFigures(
        format=FORMAT,
        robot=arm.name,
        interface=arm.interface.value,
        joint_names=arm.joint_names,
        dt_s=grid.dt_ns * 1e-9,
        history=grid.history,
        delay_s=grid.delay_s,
        logs=tuple(sources),
        regimes=tuple(
            _regime(number, name, mass, number in regime.stretches, changed.get(number, ""), rows, held)
            for number, (name, mass) in enumerate(zip(names, masses, strict=True))
        ),
        rows=len(rows),
        trained_on=trained_on,
        held_out=HeldOut(BLOCK_NS * 1e-9, GROUP, MARGIN_NS * 1e-9),
        joints=joint_figures(newest, arm.joint_names, arm),
        coverage=coverage(newest.position, arm),
    )


def log_figures(
    source: LogSource, streams: Streams, grid: Grid, golden: Mapping[str, NDArray[np.int64]] | None = None
) -> LogFigures:
    """Of one log; ``golden``: stamps of its beliefs that are a golden log's (`golden_rows`), by that log's name."""
    moments, left_out = rows_left_out(streams, grid, golden or {})
    return LogFigures(
        source=source,
        interface=streams.interface.value,
        begin=_iso(int(streams.belief_ns[0])),
        end=_iso(int(streams.belief_ns[-1])),
        seconds=float(streams.belief_ns[-1] - streams.belief_ns[0]) * 1e-9,
        payloads_kg=streams.payloads_kg,
        state=_stream(streams.belief_ns),
        command=_stream(streams.command_ns),
        moments=moments,
        rows=moments - sum(left_out.values()),
        left_out=left_out,
        effort_absent=streams.effort_absent,
        repairs=streams.repairs,
    )


def rows_left_out(streams: Streams, grid: Grid, golden: Mapping[str, NDArray[np.int64]]) -> tuple[int, dict[str, int]]:
    """Rows there could be, and those that there are not by reason: each counts for the first that holds."""
    moment = row_moments(streams, grid)
    faults = row_faults(streams, moment, grid)
    for name, stamp_ns in golden.items():
        faults[f"of golden log {name}"] = row_faults(without(streams, stamp_ns), moment, grid)[DRIVES_OFF]
    gone, counts = np.zeros(len(moment), dtype=np.bool_), {}
    for why, mask in faults.items():
        if count := int((mask & ~gone).sum()):
            counts[why] = count
        gone |= mask
    return len(moment), counts


def imported_figures(report: ImportReport) -> Imported:
    """Of `import.json`."""
    return Imported(
        sources=tuple(LogFile(each.name, each.bytes, each.sha256) for each in report.sources),
        velocity=report.velocity,
        effort=report.effort,
        usable_s=report.usable_s,
        bad_rows=report.bad_count,
        gaps=len(report.state.gaps) + len(report.command.gaps),
        notes=report.notes,
    )


def log_label(log: Path) -> str:
    """Folder and file: enough to find it again, without the path of one machine."""
    place = log.resolve()
    return f"{place.parent.name}/{place.name}"


def _regime(
    number: int,
    log: str,
    payload_kg: float,
    newest: bool,
    changed: str,
    rows: Transitions,
    held: NDArray[np.bool_],
) -> RegimeFigures:
    own = rows.session == number
    blocks = len(np.unique(rows.stamp_ns[own & held] // BLOCK_NS))
    return RegimeFigures(number, newest, changed, log, payload_kg, int(own.sum()), int((own & held).sum()), blocks)


def _stream(stamp_ns: NDArray[np.int64]) -> StreamFigures:
    interval = np.diff(stamp_ns)
    if not len(interval):
        return StreamFigures(len(stamp_ns), 0.0, 0, 0.0)
    hertz, longest_ms = 1e9 / float(np.median(interval)), float(interval.max()) * 1e-6
    return StreamFigures(len(stamp_ns), hertz, int(gaps(stamp_ns).sum()), longest_ms)


def _iso(ns: int) -> str:
    return datetime.fromtimestamp(ns * 1e-9, UTC).isoformat(timespec="seconds")
