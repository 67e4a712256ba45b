"""Where a row comes from: its source, its policy, its model. Rows hold a number, a table says what it means."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbrl_control.replay.buffer_errors import BufferFault
from mbrl_control.replay.storage import write_all

MAX_NAME = 256


class Source(IntEnum):
    """Who made a row."""

    REAL = 0
    """An arm (or the simulator in its place), commanded by the policy."""
    SYNTHETIC = 1
    """A learned model, rolled out by the policy."""
    INTERVENTION = 2
    """An arm, while a person or the guard overrode the policy."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Of rows."""

    source: Source
    policy: str
    """Whose actions these are: method or collector, with its version."""
    model: str = ""
    """Real rows: the model that was active; synthetic ones: the model that made them. Empty: none."""

    def __post_init__(self) -> None:
        for name in ("policy", "model"):
            value = getattr(self, name)
            if len(value) > MAX_NAME or not all(character.isprintable() for character in value):
                raise BufferFault("provenance", name, "is long or not printable", f"at most {MAX_NAME} characters")
        if not self.policy:
            raise BufferFault("provenance", "policy", "is empty", "name whose actions these are")
        if self.source is Source.SYNTHETIC and not self.model:
            raise BufferFault("provenance", "model", "is empty for synthetic rows", "name the model that made them")


class OriginTable:
    """The provenances of a buffer's rows, numbered from 0; with a file, written there before any row refers to it."""

    def __init__(self, file: Path | None = None) -> None:
        """Read ``file`` if given; what follows its last whole line is cut off. BufferFault for one that is damaged."""
        self._known: list[Provenance] = []
        self._descriptor: int | None = None
        if file is not None:
            self._file = file
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._known, self._end = _read_lines(file)
            except BufferFault:
                self.close()
                raise
            os.ftruncate(self._descriptor, self._end)

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, number: int) -> Provenance:
        return self._known[number]

    def numbers(self, origins: Sequence[Provenance]) -> NDArray[np.uint32]:
        """[len(origins)] number of each; new ones are entered."""
        for origin in dict.fromkeys(origins):
            if origin not in self._known:
                self._enter(origin)
        return np.array([self._known.index(origin) for origin in origins], dtype=np.uint32)

    def sources(self, origin: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """[...] the Source of each of the numbers [...] that rows hold under ``origin``."""
        return np.array([known.source for known in self._known], dtype=np.uint8)[origin]

    def sync(self) -> None:
        """On the disk when this returns."""
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _enter(self, origin: Provenance) -> None:
        if self._descriptor is not None:
            line = _line(origin)
            write_all(self._descriptor, self._file, line, self._end)
            self._end += len(line)
        self._known.append(origin)


def _line(origin: Provenance) -> bytes:
    text = json.dumps({"source": origin.source.name, "policy": origin.policy, "model": origin.model}).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read_lines(path: Path) -> tuple[list[Provenance], int]:
    """Provenances of the whole lines, and where those end. BufferFault for a damaged line that others follow: no kill
    leaves one, and without it the rows that name it or a later one would be lost."""
    known: list[Provenance] = []
    end = 0
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        check, _, text = line.rstrip(b"\n").partition(b" ")
        if not line.endswith(b"\n") or check != b"%08x" % zlib.crc32(text):
            if number < len(lines):
                raise BufferFault(path, f"line {number}", "is damaged", "restore the file from a copy")
            break
        fields = json.loads(text)
        known.append(Provenance(Source[fields["source"]], fields["policy"], fields["model"]))
        end += len(line)
    return known, end
