"""Keeps the logs of many runs together below a bound: the oldest files go first, and rosbag2 is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mbrl_control.episode_log.bag_metadata import write_metadata
from mbrl_control.episode_log.folder import METADATA, is_numbered, is_written, recordings_below


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went and what is left."""

    removed: tuple[Path, ...]
    removed_bytes: int
    kept_bytes: int


def prune(root: Path, keep_bytes: int, dry_run: bool = False) -> Pruned:
    """Remove the oldest numbered log files below ``root`` until the rest take no more than ``keep_bytes``.

    The newest file stays whatever its size, and so does each that a logger of this machine is writing to. Golden logs,
    events, bundles and reports are not logs of a run.
    """
    logged = [path for path in recordings_below(root) if is_numbered(path)]
    files = sorted((path.stat().st_mtime_ns, path.stat().st_size, path) for path in logged)
    total = sum(size for _, size, _ in files)
    removed: list[Path] = []
    gone = 0
    for _, size, path in files[:-1]:
        if total - gone <= keep_bytes:
            break
        if not is_written(path):
            removed.append(path)
            gone += size
    if not dry_run:
        for folder in {path.parent for path in removed}:
            if (folder / METADATA).is_file():
                write_metadata(folder, without=removed)
        for path in removed:
            path.unlink(missing_ok=True)
    return Pruned(tuple(removed), gone, total - gone)
