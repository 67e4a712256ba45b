"""Finishes a torn file without writing its messages again: its whole records as they are, then the summary they lack.

To decode and to write some hundred thousand messages takes longer than a process that ends is given, and no byte of
what was logged changes this way. Format: https://mcap.dev/spec.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.records import CHANNEL, CHUNK, FOOTER, MAGIC, MESSAGE, SCHEMA, Tail, read_records

_HEADER_RECORD, _MESSAGE_INDEX, _DATA_END = 0x01, 0x07, 0x0F
_CHUNK_INDEX, _STATISTICS, _SUMMARY_OFFSET = 0x08, 0x0B, 0x0E
_HEAD = struct.Struct("<BQ")
_CHUNK_BEGIN = struct.Struct("<QQQII")
"""First and last log time, size, CRC, length of the name of the compression."""
_INDEX_ENTRY = 16
_AT_ONCE = 1 << 20


@dataclass(slots=True)
class _Contents:
    """What the whole records hold."""

    announced: dict[int, dict[int, bytes]] = field(default_factory=lambda: {SCHEMA: {}, CHANNEL: {}})
    """Bodies of schemas and channels by their number."""
    counts: Counter[int] = field(default_factory=Counter)
    """Messages by channel."""
    start_ns: int = 2**64 - 1
    end_ns: int = 0


@dataclass(slots=True)
class _Chunk:
    """One, and the index records behind it."""

    offset: int
    length: int
    begin: bytes
    """Of its body: times, size, checksum, compression, packed size."""
    indexes: dict[int, int] = field(default_factory=dict)
    """Offset of the index of each channel."""
    index_bytes: int = 0


def finish_copy(source: Path, target: Path) -> tuple[int, int] | None:
    """Copy the whole records of ``source`` into ``target``, made anew, and finish it.

    Returns its messages and the bytes of a partial tail that were left out; None, and no ``target``, where a chunk is
    damaged or lacks its index, or other records stand in the file than a logger writes: `recovery.recover` takes it
    then. OSError where ``target`` cannot be written, which may be there in part.
    """
    with source.open("rb") as stream:
        tail, contents = Tail(), _Contents()
        try:
            for record in read_records(source, stream, tail, skip_damaged=True):
                _take(contents, record.opcode, record.body)
            end, chunks, indexed = _layout(stream)
        except (LogError, struct.error):
            return None
        if tail.damaged or end is None or not contents.counts or indexed != contents.counts:
            return None
        try:
            with target.open("xb") as copy:
                _copy_bytes(stream, copy, end)
                _finish(copy, contents, chunks)
        except OSError as error:
            error.filename = str(target)
            raise
        return contents.counts.total(), tail.ignored_bytes


def _take(contents: _Contents, opcode: int, body: memoryview) -> None:
    (number,) = struct.unpack_from("<H", body)
    if opcode != MESSAGE:
        contents.announced[opcode][number] = bytes(body)
        return
    (log_time,) = struct.unpack_from("<Q", body, 6)
    contents.counts[number] += 1
    contents.start_ns, contents.end_ns = min(contents.start_ns, log_time), max(contents.end_ns, log_time)


def _layout(stream: BinaryIO) -> tuple[int | None, list[_Chunk], Counter[int]]:
    """Where the whole records end (None: they are not those of a logger), the chunks, and the messages that their
    indexes have, by channel."""
    chunks: list[_Chunk] = []
    indexed: Counter[int] = Counter()
    end = len(MAGIC)
    for opcode, at, length in _records(stream):
        if opcode == _DATA_END:
            break
        if opcode == CHUNK:
            name = struct.unpack("<I", _read(stream, at + _HEAD.size + _CHUNK_BEGIN.size - 4, 4))[0]
            begin = _read(stream, at + _HEAD.size, _CHUNK_BEGIN.size + min(name, 64) + 8)
            chunks.append(_Chunk(at, _HEAD.size + length, begin))
        elif opcode == _MESSAGE_INDEX and chunks:
            number, size = struct.unpack("<HI", _read(stream, at + _HEAD.size, 6))
            chunks[-1].indexes[number] = at
            chunks[-1].index_bytes += _HEAD.size + length
            indexed[number] += size // _INDEX_ENTRY
        elif opcode not in (_HEADER_RECORD, SCHEMA, CHANNEL):
            return None, [], indexed
        end = at + _HEAD.size + length
    return end, chunks, indexed


def _records(stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(opcode, offset, length of the body) of the whole records outside of chunks."""
    size, at = stream.seek(0, 2), len(MAGIC)
    while at + _HEAD.size <= size:
        opcode, length = _HEAD.unpack(_read(stream, at, _HEAD.size))
        if opcode == 0 or at + _HEAD.size + length > size:
            return
        yield opcode, at, length
        at += _HEAD.size + length


def _read(stream: BinaryIO, at: int, size: int) -> bytes:
    stream.seek(at)
    return stream.read(size)


def _copy_bytes(stream: BinaryIO, copy: BinaryIO, size: int) -> None:
    stream.seek(0)
    while size > 0:
        part = stream.read(min(size, _AT_ONCE))
        copy.write(part)
        size -= len(part)


def _finish(copy: BinaryIO, contents: _Contents, chunks: list[_Chunk]) -> None:
    copy.write(_record(_DATA_END, struct.pack("<I", 0)))
    start = copy.tell()
    groups = {
        opcode: b"".join(_record(opcode, body) for body in bodies.values())
        for opcode, bodies in contents.announced.items()
    }
    groups[_STATISTICS] = _record(_STATISTICS, _statistics(contents, len(chunks)))
    groups[_CHUNK_INDEX] = b"".join(_record(_CHUNK_INDEX, _chunk_index(chunk)) for chunk in chunks)
    offsets, at = b"", start
    for opcode, group in groups.items():
        offsets += _record(_SUMMARY_OFFSET, struct.pack("<BQQ", opcode, at, len(group)))
        at += len(group)
    summary = b"".join(groups.values()) + offsets
    footer = _HEAD.pack(FOOTER, 20) + struct.pack("<QQ", start, at)
    copy.write(summary + footer + struct.pack("<I", zlib.crc32(summary + footer)) + MAGIC)


def _record(opcode: int, body: bytes) -> bytes:
    return _HEAD.pack(opcode, len(body)) + body


def _statistics(contents: _Contents, chunks: int) -> bytes:
    schemas, channels = (len(contents.announced[kind]) for kind in (SCHEMA, CHANNEL))
    counted = (contents.counts.total(), schemas, channels, 0, 0, chunks, contents.start_ns, contents.end_ns)
    return struct.pack("<QHIIIIQQ", *counted) + _map(contents.counts)


def _chunk_index(chunk: _Chunk) -> bytes:
    start, end, size, _, name = _CHUNK_BEGIN.unpack_from(chunk.begin)
    compression = chunk.begin[_CHUNK_BEGIN.size - 4 : _CHUNK_BEGIN.size + name]
    (packed,) = struct.unpack_from("<Q", chunk.begin, _CHUNK_BEGIN.size + name)
    begin = struct.pack("<QQQQ", start, end, chunk.offset, chunk.length) + _map(chunk.indexes)
    return begin + struct.pack("<Q", chunk.index_bytes) + compression + struct.pack("<QQ", packed, size)


def _map(numbers: dict[int, int]) -> bytes:
    entries = b"".join(struct.pack("<HQ", number, value) for number, value in numbers.items())
    return struct.pack("<I", len(entries)) + entries
