"""`metadata.yaml` of rosbag2 beside the files, so that `ros2 bag info` and `play` take the folder as a bag.

Version 5 of the format, which every rosbag2 since Humble reads (rosbag2_storage, `yaml_storage` and
`metadata_io`). Only finished files are listed: rosbag2 refuses a bag with any other.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader

from mbrl_control.episode_log.folder import METADATA, numbered_files

_VERSION = 5


@dataclass(frozen=True, slots=True)
class BagFile:
    """One finished file, as its own summary has it."""

    path: Path
    start_ns: int
    end_ns: int
    counts: tuple[tuple[str, str, str, int], ...]
    """(topic, type, offered QoS, messages), the empty ones too."""

    @property
    def messages(self) -> int:
        return sum(count for *_, count in self.counts)


def summary_of(path: Path) -> BagFile | None:
    """What the end of a file says of it; None when it is not finished."""
    try:
        with path.open("rb") as stream:
            summary = make_reader(stream).get_summary()
    except (McapError, struct.error, UnicodeDecodeError):
        return None
    if summary is None or summary.statistics is None:
        return None
    statistics = summary.statistics
    counts = tuple(
        (
            channel.topic,
            summary.schemas[channel.schema_id].name,
            channel.metadata.get("offered_qos_profiles", ""),
            statistics.channel_message_counts.get(number, 0),
        )
        for number, channel in sorted(summary.channels.items())
    )
    return BagFile(path, statistics.message_start_time, statistics.message_end_time, counts)


def write_metadata(folder: Path, known: dict[Path, BagFile] | None = None) -> list[BagFile]:
    """Write `metadata.yaml` of the finished files, in one step, and return them.

    What ``known`` has is not read again; it learns the others.
    """
    known = {} if known is None else known
    for _, path in numbered_files(folder):
        if path not in known and (found := summary_of(path)) is not None:
            known[path] = found
    files = [known[path] for _, path in numbered_files(folder) if path in known]
    text = yaml.safe_dump({"rosbag2_bagfile_information": _information(files)}, sort_keys=False)
    new = folder / f"{METADATA}.new"
    new.write_text(text, encoding="utf-8")
    new.replace(folder / METADATA)
    return files


def _information(files: list[BagFile]) -> dict[str, Any]:
    filled = [file for file in files if file.messages]
    counts: Counter[tuple[str, str, str]] = Counter()
    for file in files:
        for topic, kind, qos, count in file.counts:
            counts[topic, kind, qos] += count
    return {
        "version": _VERSION,
        "storage_identifier": "mcap",
        **_span(filled),
        "message_count": sum(file.messages for file in files),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": qos,
                },
                "message_count": count,
            }
            for (topic, kind, qos), count in counts.items()
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file.path.name for file in files],
        "files": [{"path": file.path.name, **_span([file]), "message_count": file.messages} for file in files],
    }


def _span(files: Iterable[BagFile]) -> dict[str, Any]:
    start = min((file.start_ns for file in files), default=0)
    end = max((file.end_ns for file in files), default=0)
    return {
        "duration": {"nanoseconds": end - start},
        "starting_time": {"nanoseconds_since_epoch": start},
    }
