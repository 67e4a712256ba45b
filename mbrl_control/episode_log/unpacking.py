"""How much a packed file may unpack to: a bomb of some kilobytes claims any number of bytes.

Stamps and noise let a recording pack to a tenth or so; a bomb of zstd makes 128 KiB of 4 bytes (RFC 8878, RLE block).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from mbrl_control.episode_log.errors import LogError

FREE_BYTES = 1 << 28
"""A file may unpack to so much, however small it is."""
MOST_RATIO = 1000
MESSAGE_BYTES = 1 << 26
"""Of one message that was packed by itself."""
_AT_ONCE = 4096
"""Packed bytes, of which a bomb makes 128 MiB."""


def require_unpacked(path: Path, field: str, packed: int, unpacked: int) -> None:
    """LogError where ``packed`` bytes of ``path`` claim to be ``unpacked`` bytes, as those of no recording do."""
    if unpacked > FREE_BYTES + MOST_RATIO * packed:
        problem = f"unpacks to {unpacked} bytes from {packed}, as only a decompression bomb does"
        raise LogError(path, field, problem, "do not use this file; record or export it anew")


@dataclass(slots=True)
class Budget:
    """Of one file that is unpacked piece by piece."""

    path: Path
    packed: int = 0
    unpacked: int = 0
    """Bytes so far."""

    def take(self, packed: int, unpacked: int) -> None:
        """One more piece; LogError as `require_unpacked`."""
        self.packed += packed
        self.unpacked += unpacked
        require_unpacked(self.path, "file", self.packed, self.unpacked)


def unzipped(path: Path, stream: BinaryIO) -> Iterator[bytes]:
    """Pieces of a zstd file; LogError where it is damaged or cut off, and for a bomb."""
    budget, frame = Budget(path), zstandard.ZstdDecompressor().decompressobj()
    try:
        while part := stream.read(_AT_ONCE):
            while part:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                data = frame.decompress(part)
                left = frame.unused_data if frame.eof else b""
                budget.take(len(part) - len(left), len(data))
                yield data
                part = left
    except zstandard.ZstdError as error:
        raise LogError(path, "file", f"cannot be decompressed ({error})", "copy it anew") from error
    if not frame.eof:
        raise LogError(path, "file", "is cut off: its last zstd frame has no end", "copy it anew")


def unzipped_message(path: Path, packed: bytes) -> bytes:
    """One message that was packed by itself; LogError where it is damaged, or larger than `MESSAGE_BYTES`."""
    try:
        claimed = zstandard.frame_content_size(packed)  # which is what would be allocated
        if claimed > MESSAGE_BYTES:
            raise LogError(path, "message", f"claims {claimed} bytes", f"at most {MESSAGE_BYTES} are read")
        return zstandard.decompress(packed, max_output_size=MESSAGE_BYTES)
    except zstandard.ZstdError as error:
        raise LogError(path, "message", f"cannot be decompressed ({error})", "copy the bag anew") from error
