"""What a retraining learns from: logs without their golden rows, and the dataset card that says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.digest import first_sha256
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.golden_logs import Golden
from mbrl_control.replay.blocks import MARGIN_NS
from mbrl_control.replay.dataset import (
    DatasetFigures,
    LogFile,
    LogSource,
    dataset_figures,
    imported_figures,
    log_figures,
    log_label,
)
from mbrl_control.replay.golden_rows import coincident_ns, without
from mbrl_control.replay.importing.report import read_report
from mbrl_control.replay.regimes import NewestRegime
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, transitions_from_streams
from mbrl_control.robot import Arm


@dataclass(frozen=True)
class LearnedLog:
    """One log, decoded, and what of it is a golden recording."""

    source: LogSource
    streams: Streams
    golden_ns: dict[str, NDArray[np.int64]]
    """Stamps of its beliefs that lie on a golden log's, by that log's name; only where there are any."""

    @cached_property
    def kept(self) -> Streams:
        """What may be learned from and judged on."""
        streams = self.streams
        for stamp_ns in self.golden_ns.values():
            streams = without(streams, stamp_ns)
        return streams


def apart(source: LogSource, streams: Streams, golden: Sequence[Golden]) -> LearnedLog:
    """A log, its golden rows known."""
    found = {each.said.name: coincident_ns(streams, each.streams) for each in golden}
    return LearnedLog(source, streams, {name: stamps for name, stamps in found.items() if len(stamps)})


def golden_told(logs: Sequence[LearnedLog]) -> str:
    """Which golden logs were found in them, and how much of these logs that leaves out; empty: none."""
    seconds: dict[str, float] = {}
    for log in logs:
        for name, stamps in log.golden_ns.items():
            seconds[name] = seconds.get(name, 0.0) + float(stamps[-1] - stamps[0] + 2 * MARGIN_NS) * 1e-9
    return ", ".join(f"{name} ({length:.0f} s)" for name, length in seconds.items())


def extents(log: Path, newest_ns: int | None = None) -> tuple[tuple[Path, int], ...]:
    """Files of a log that are read, as large as they are now."""
    return tuple((path, path.stat().st_size) for path in LogReader(log, newest_ns=newest_ns).files()[0])


def log_source(
    log: Path, read: Sequence[tuple[Path, int]], phase: str | None = None, newest_s: float | None = None
) -> LogSource:
    """Where a log came from; ``read``: its files, as far as they were read."""
    files = tuple(LogFile(path.name, size, first_sha256(path, size)) for path, size in read)
    report = read_report(log)
    return LogSource(log_label(log), files, phase, newest_s, None if report is None else imported_figures(report))


def dataset_of(
    logs: Sequence[LearnedLog], arm: Arm, grid: Grid, regime: NewestRegime, trained_on: int
) -> DatasetFigures:
    """Of what was learned for ``regime`` from ``logs`` with rows cut by ``grid``."""
    kept = [log.kept for log in logs]
    said = [log_figures(log.source, log.streams, grid, log.golden_ns) for log in logs]
    return dataset_figures(arm, said, kept, transitions_from_streams(kept, grid), grid, regime, trained_on)


def as_json(figures: DatasetFigures) -> bytes:
    """Content of `dataset.json`."""
    return (json.dumps(asdict(figures), indent=1, allow_nan=False) + "\n").encode()
