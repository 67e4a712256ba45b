"""Streaming MCAP records: reads what is there and says whether the tail is whole.

Only the sequential part of https://mcap.dev/spec is used, because an index exists in finished files
alone. A killed or growing file ends inside a record; that tail is reported, never guessed at.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
import zstandard

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.unpacking import Budget

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, FOOTER = 0x03, 0x04, 0x05, 0x06, 0x02
_LAST_OPCODE = 0x0F
_HEADER = struct.Struct("<BQ")
_CHUNK = struct.Struct("<QQQI")
_MAX_RECORD = 1 << 30
_MAX_CHUNK = 1 << 28
"""Bytes unpacked: a file of some kilobytes may claim any number."""
_REMEDY = "recover the readable part with `mbrl-control log recover`"


@dataclass(frozen=True, slots=True)
class Record:
    """One record outside or inside a chunk."""

    opcode: int
    body: memoryview


@dataclass(slots=True)
class Tail:
    """How the file ended; filled when the records are exhausted."""

    finished: bool = False
    ignored_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    """What was wrong with each chunk that was left out."""
    whole_bytes: int = 0
    """Of the file, up to the end of the last record that was yielded whole."""

    def add(self, later: Tail) -> None:
        """Take in how the next file of the same log ended."""
        self.finished &= later.finished
        self.ignored_bytes += later.ignored_bytes
        self.damaged += later.damaged


def read_records(path: Path, stream: BinaryIO, tail: Tail, skip_damaged: bool = False) -> Iterator[Record]:
    """Yield schema, channel and message records in file order, chunks unpacked, from where ``stream`` stands on.

    That is its begin, or the `Tail.whole_bytes` of an earlier reading.
    Raises LogError for a file that is not MCAP, for a decompression bomb, and for a chunk whose checksum is wrong; with
    ``skip_damaged`` such a chunk is left out as a whole and noted in ``tail``.
    """
    budget = Budget(path)
    if stream.tell() == 0:
        _check_magic(path, stream.read(len(MAGIC)))
    tail.whole_bytes = stream.tell()
    while (record := _next_record(path, stream, tail)) is not None:
        if record.opcode == CHUNK:
            yield from _chunk(path, record, tail, skip_damaged, budget)
        elif record.opcode == FOOTER:
            tail.finished = stream.read(len(MAGIC)) == MAGIC
            return
        elif record.opcode in (SCHEMA, CHANNEL, MESSAGE):
            yield record
        tail.whole_bytes = stream.tell()


def _check_magic(path: Path, magic: bytes) -> None:
    if not magic:
        raise LogError(path, "file", "is empty", "give a log that was written")
    if magic != MAGIC:
        raise LogError(path, "magic", "not an MCAP file", "give a .mcap log")


def _chunk(path: Path, record: Record, tail: Tail, skip_damaged: bool, budget: Budget) -> Iterator[Record]:
    """Its records, all or none; one at a time, since a chunk of some kilobytes may hold millions of empty ones."""
    try:
        data = _unpack(path, record.body)
        for _ in _places(path, data):  # to its end, before any of it is given away
            pass
    except LogError as error:
        if not skip_damaged:
            raise
        tail.damaged.append(str(error))
        return
    budget.take(len(record.body), len(data))
    for opcode, start, end in _places(path, data):
        yield Record(opcode, data[start:end])


def _next_record(path: Path, stream: BinaryIO, tail: Tail) -> Record | None:
    head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        tail.ignored_bytes = len(head)
        return None
    opcode, length = _HEADER.unpack(head)
    if opcode == 0:  # a power cut leaves blocks of zeros behind the last write
        at = stream.tell()
        tail.ignored_bytes = len(head) + stream.seek(0, os.SEEK_END) - at  # counted, not read: it may be any number
        return None
    if length > _MAX_RECORD or (opcode > _LAST_OPCODE and opcode < 0x80):
        raise LogError(path, f"record {opcode:#x}", f"impossible length {length} or opcode", _REMEDY)
    body = stream.read(length)
    if len(body) < length:
        tail.ignored_bytes = len(head) + len(body)
        return None
    return Record(opcode, memoryview(body))


def _unpack(path: Path, body: memoryview) -> memoryview:
    if len(body) < _CHUNK.size + 4:
        raise LogError(path, "chunk", "shorter than its header", _REMEDY)
    _, _, size, checksum = _CHUNK.unpack_from(body)
    compression, offset = read_string(body, _CHUNK.size)
    packed = bytes(body[offset + 8 :])
    if size > _MAX_CHUNK:
        raise LogError(path, "chunk", f"claims {size} bytes, more than {_MAX_CHUNK}", _REMEDY)
    try:
        if compression == "zstd":
            if zstandard.frame_content_size(packed) not in (-1, size):  # which is what would be allocated
                raise LogError(path, "chunk", "size is wrong", _REMEDY)
            data = zstandard.decompress(packed, max_output_size=size)
        elif compression == "lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size)
        elif compression == "":
            data = packed
        else:
            raise LogError(path, "chunk compression", f"unknown {compression!r}", "use zstd, lz4 or none")
    except (zstandard.ZstdError, RuntimeError) as error:
        raise LogError(path, "chunk", f"cannot be decompressed ({error})", _REMEDY) from error
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise LogError(path, "chunk", "checksum or size is wrong", _REMEDY)
    return memoryview(data)


def _places(path: Path, data: memoryview) -> Iterator[tuple[int, int, int]]:
    """Opcode, begin and end of each record of a chunk."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < _HEADER.size:
            raise LogError(path, "chunk", "ends inside a record", _REMEDY)
        opcode, length = _HEADER.unpack_from(data, offset)
        offset += _HEADER.size
        if length > end - offset:
            raise LogError(path, "chunk", "ends inside a record", _REMEDY)
        yield opcode, offset, offset + length
        offset += length


def read_map(body: memoryview, offset: int) -> dict[str, str]:
    """Decode a map of strings, length in bytes first."""
    (length,) = struct.unpack_from("<I", body, offset)
    at, end, found = offset + 4, offset + 4 + length, {}
    while at < end:
        key, at = read_string(body, at)
        found[key], at = read_string(body, at)
    return found


def read_string(body: memoryview, offset: int) -> tuple[str, int]:
    """Decode a length-prefixed string; returns it and the offset behind it."""
    (length,) = struct.unpack_from("<I", body, offset)
    start = offset + 4
    return bytes(body[start : start + length]).decode("utf-8", "replace"), start + length
