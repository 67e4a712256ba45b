"""What a retraining learns from: logs without their golden rows, and the dataset card that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.digest import first_sha256
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import log_files
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
from mbrl_control.replay.streams import Streams, streams_of
from mbrl_control.replay.transitions import Grid, transitions_from_streams
from mbrl_control.robot import Arm

_TRIES = 3
"""Of a log of which a file is removed before it was read."""


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


def read_log(log: Path, phase: str | None = None, newest_s: float | None = None) -> tuple[LogSource, Streams]:
    """Decode a log, as `read_streams` does, and say of which bytes of which files: of those that were read.

    The log may be written meanwhile, and its oldest files removed for the quota: what is not there any more when its
    turn comes is no part of it. LogError for an unusable log.
    """
    for _ in range(_TRIES - 1):
        files = log_files(log)
        try:
            return _as_it_is(log, phase, newest_s)
        except LogError:
            if log in files or all(path.exists() for path in files):
                raise
    return _as_it_is(log, phase, newest_s)


def _as_it_is(log: Path, phase: str | None, newest_s: float | None) -> tuple[LogSource, Streams]:
    reader = LogReader(log, newest_ns=None if newest_s is None else round(newest_s * 1e9)).fixed()
    assert reader.sizes is not None, "it is fixed"
    # Hashed first: what was read may be removed at any time.
    source = _source(log, reader.sizes, phase, newest_s)
    return source, streams_of(reader, phase)


def _source(log: Path, sizes: Mapping[Path, int], phase: str | None, newest_s: float | None) -> LogSource:
    files = tuple(LogFile(path.name, size, first_sha256(path, size)) for path, size in sizes.items())
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
