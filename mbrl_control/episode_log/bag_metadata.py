"""`metadata.yaml` of rosbag2 beside the files, so that `ros2 bag info` and `play` take the folder as a bag.

Version 5 of the format, which every rosbag2 since Humble reads (rosbag2_storage, `yaml_storage` and
`metadata_io`). Only finished files are listed: rosbag2 refuses a bag with any other.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mbrl_control.episode_log.folder import METADATA, numbered_files
from mbrl_control.episode_log.records import CHANNEL, FOOTER, MAGIC, SCHEMA, read_map, read_string

_VERSION = 5
_STATISTICS = 0x0B
_HEADER = struct.Struct("<BQ")
_END = struct.Struct("<BQQQI8s")
"""Footer (opcode, length, begin of the summary, begin of its offsets, CRC) and magic."""
_COUNTS = struct.Struct("<QHIIIIQQ")
"""Messages, schemas, channels, attachments, metadata, chunks, first and last log time."""
_MOST_SUMMARY = 1 << 28


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
    """What the end of a file says of it; None when it is not finished, or was removed.

    Reads the summary section of https://mcap.dev/spec and nothing else: whatever stands in it is counted on by nobody
    but who counts.
    """
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size < len(MAGIC) + _END.size:
                return None
            stream.seek(size - _END.size)
            opcode, _, start, _, check, magic = _END.unpack(stream.read(_END.size))
            if (opcode, magic) != (FOOTER, MAGIC) or not 0 < start <= size or size - start > _MOST_SUMMARY:
                return None
            stream.seek(start)
            data = stream.read(size - start)
    except FileNotFoundError:
        return None
    if check and zlib.crc32(data[: -len(MAGIC) - 4]) != check:
        return None
    try:
        return _summary(path, memoryview(data)[: -_END.size])
    except struct.error:
        return None


def _summary(path: Path, data: memoryview) -> BagFile | None:
    schemas: dict[int, str] = {}
    channels: dict[int, tuple[str, int, str]] = {}
    statistics: memoryview | None = None
    at = 0
    while at < len(data):
        opcode, length = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size :][:length]
        at += _HEADER.size + length
        if opcode == SCHEMA:
            schemas[struct.unpack_from("<H", body)[0]] = read_string(body, 2)[0]
        elif opcode == CHANNEL:
            number, schema = struct.unpack_from("<HH", body)
            topic, offset = read_string(body, 4)
            _, offset = read_string(body, offset)
            channels[number] = (topic, schema, read_map(body, offset).get("offered_qos_profiles", ""))
        elif opcode == _STATISTICS:
            statistics = body
    if statistics is None:
        return None
    *_, start, end = _COUNTS.unpack_from(statistics)
    counted = dict(struct.iter_unpack("<HQ", statistics[_COUNTS.size + 4 :]))
    counts = ((topic, schemas.get(schema, ""), qos, counted.get(n, 0)) for n, (topic, schema, qos) in channels.items())
    return BagFile(path, start, end, tuple(counts))


def write_metadata(
    folder: Path, known: dict[Path, BagFile] | None = None, without: Collection[Path] = ()
) -> list[BagFile]:
    """Write `metadata.yaml` of the finished files, in one step, and return them.

    What ``known`` has is not read again; it learns the others. ``without`` those that are about to be removed: were
    they removed first, a process that is killed in between would leave a bag that rosbag2 refuses.
    """
    known = {} if known is None else known
    paths = [path for _, path in numbered_files(folder) if path not in without]
    for path in paths:
        if path not in known and (found := summary_of(path)) is not None:
            known[path] = found
    files = [known[path] for path in paths if path in known]
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
