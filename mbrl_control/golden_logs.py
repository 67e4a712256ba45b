"""Golden logs: recordings that an operator keeps as a yardstick for ever, copied into the registry of their arm.

    <registry>/<model>/golden/<name>/log_0.mcap     the chosen stretch, what learning would read of it
                                     golden.json    what it is, with the SHA-256 of the log

Every retraining judges its candidate on all of them (`learning.further_gates`) and learns from none of them
(`replay.golden_rows`). One that is damaged, or of another arm, stops the retraining: a yardstick that silently dropped
out would let through what it was kept to refuse.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from mbrl_control.command_interface import CommandInterface
from mbrl_control.deployment.files import write_folder
from mbrl_control.deployment.manifest import Sha256
from mbrl_control.deployment.plain import NotPlain, read_plain
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.digest import first_sha256
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.folder import GOLDEN, log_file
from mbrl_control.episode_log.reader import Decoder, LogReader, stamp_ns
from mbrl_control.episode_log.schema import BELIEF, RELAY_STATUS, SAFE_COMMAND, SAFETY_STATUS
from mbrl_control.episode_log.writer import LogWriter
from mbrl_control.replay.blocks import BLOCK_NS, LEAST_BLOCKS, judged_blocks
from mbrl_control.replay.streams import Streams, phase_stretch, read_streams
from mbrl_control.replay.transitions import Grid, cut_transitions, history_of
from mbrl_control.robot import Arm

FOLDER, SAID, LOG = "golden", GOLDEN, log_file(Path(), 0).name
NAME = r"^[A-Za-z0-9_-]{1,64}$"
MOST_S = 180.0
"""Of motion: every retraining predicts all of it, on the arm's computer."""
_MOST_LOG_BYTES = 256 << 20
_TOPICS = (BELIEF, SAFE_COMMAND, RELAY_STATUS, SAFETY_STATUS)
_DRAFT = ".draft-"
"""Of `write_folder`: what a killed `golden add` left was never a golden log."""
Count = Annotated[int, Field(ge=1)]


class GoldenError(ValueError):
    """A golden log that cannot be kept, read or found; names file, field and remedy."""


class GoldenSource(BaseModel):
    """From what it was copied."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    log: str
    """Folder and file, without the path of one machine."""
    sha256: tuple[Sha256, ...]
    bytes: tuple[Count, ...]
    """Of each of its files that were read, as far as they were."""
    phase: str | None
    newest_s: FiniteFloat | None


class GoldenSaid(BaseModel):
    """`golden.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    name: Annotated[str, StringConstraints(pattern=NAME)]
    robot: str
    command_interface: CommandInterface
    joint_names: tuple[str, ...]
    payload_kg: Annotated[FiniteFloat, Field(ge=0.0)]
    """Declared throughout."""
    seconds: Annotated[FiniteFloat, Field(gt=0.0)]
    rows: Count
    """Of training, if it were learned from: 10 ms apart, cut with the arm description's delay."""
    blocks: Count
    """Of 2 s that a model is judged by."""
    created: str
    """ISO 8601, UTC."""
    source: GoldenSource
    files: dict[str, Sha256]


@dataclass(frozen=True, slots=True)
class Golden:
    """One golden log, checked and read."""

    said: GoldenSaid
    streams: Streams


def add_golden(
    registry: Registry,
    arm: Arm,
    log: Path,
    name: str,
    created_ns: int,
    phase: str | None = None,
    newest_s: float | None = None,
) -> GoldenSaid:
    """Copy a log, the newest stretch of ``phase`` or its end, as golden log ``name``; whole or not at all.

    Raises GoldenError, or LogError for a log that cannot be read.
    """
    target = _place(registry, name)
    if target.exists():
        raise GoldenError(f"{target}: exists already; choose another --name, or remove it first")
    with tempfile.TemporaryDirectory(prefix="mbrl-golden-") as folder:
        copied = Path(folder) / LOG
        # The log may still be growing: what is hashed is what is copied, and what is kept is what was measured.
        reader = LogReader(log, newest_ns=None if newest_s is None else round(newest_s * 1e9)).fixed()
        source = _source(reader, phase, newest_s)
        _copy(reader, copied, phase)
        streams = _streams(copied, log)
        content = {LOG: copied.read_bytes()}
    _require_arm(log, streams, arm)
    rows, blocks = _measured(log, streams, arm)
    if len(content[LOG]) > _MOST_LOG_BYTES:
        raise GoldenError(f"{log}: {len(content[LOG])} bytes, more than {_MOST_LOG_BYTES}; choose a shorter stretch")
    said = GoldenSaid(
        name=name,
        robot=arm.name,
        command_interface=arm.interface,
        joint_names=arm.joint_names,
        payload_kg=streams.payload_kg,
        seconds=float(streams.belief_ns[-1] - streams.belief_ns[0]) * 1e-9,
        rows=rows,
        blocks=blocks,
        created=datetime.fromtimestamp(created_ns * 1e-9, UTC).isoformat(timespec="seconds"),
        source=source,
        files={LOG: hashlib.sha256(content[LOG]).hexdigest()},
    )
    # Marked before it holds a log: whoever meets the draft takes it for no data.
    write_folder(target, {SAID: (said.model_dump_json(indent=1) + "\n").encode(), **content})
    return said


def golden_names(registry: Registry) -> tuple[str, ...]:
    """Of one arm and interface, in order; GoldenError for whatever else lies among them."""
    folder = registry.folder / FOLDER
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise GoldenError(f"{folder}: is a link or no folder; put the folder itself there")
    if not folder.exists():
        return ()
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(_DRAFT)]
    for entry in entries:
        if not re.fullmatch(NAME, entry.name) or entry.is_symlink() or not entry.is_dir():
            raise GoldenError(f"{entry}: is no golden log (a folder, named {NAME}, no link); move it away")
    return tuple(sorted(entry.name for entry in entries))


def read_golden(registry: Registry, arm: Arm) -> tuple[Golden, ...]:
    """All of them, checked; GoldenError or LogError for the first that is damaged or of another arm."""
    return tuple(_read(registry, name, arm) for name in golden_names(registry))


def golden_said(registry: Registry, name: str) -> GoldenSaid:
    """What a golden log says of itself; its hash holds, the log itself is not read."""
    folder = _place(registry, name)
    if not folder.is_dir() or folder.is_symlink():
        known = ", ".join(golden_names(registry)) or "none"
        raise GoldenError(f"{folder}: no such golden log; known: {known}")
    said = _said(folder)
    found = {entry.name for entry in folder.iterdir()}
    if set(said.files) != {LOG} or found != {LOG, SAID}:
        raise GoldenError(f"{folder}: holds {sorted(found)}, expected {[SAID, LOG]}; {_remedy(name)}")
    if hashlib.sha256(_bytes(folder / LOG, _MOST_LOG_BYTES)).hexdigest() != said.files[LOG]:
        raise GoldenError(f"{folder / LOG}: sha256 differs from files of {SAID}; {_remedy(name)}")
    return said


def remove_golden(registry: Registry, name: str) -> None:
    """From now on nothing is judged by it, and its recording may be learned from; GoldenError where there is none."""
    folder = _place(registry, name)
    if folder.is_symlink() or not folder.is_dir():
        known = ", ".join(golden_names(registry)) or "none"
        raise GoldenError(f"{folder}: no such golden log; known: {known}")
    shutil.rmtree(folder)


def _place(registry: Registry, name: str) -> Path:
    """Always right below the registry's own folder of golden logs."""
    if not re.fullmatch(NAME, name):
        raise GoldenError(f"--name: {name!r} is no name; use 1 to 64 of A-Z, a-z, 0-9, _ and -")
    if (registry.folder / FOLDER).is_symlink():
        raise GoldenError(f"{registry.folder / FOLDER}: is a link; put the folder itself there")
    return registry.folder / FOLDER / name


def _streams(copied: Path, log: Path) -> Streams:
    """Of the copy; what is wrong with it is the log's fault."""
    try:
        return read_streams(copied)
    except LogError as error:
        raise GoldenError(str(error).replace(str(copied), str(log))) from error


def _require_arm(log: Path, streams: Streams, arm: Arm) -> None:
    if streams.joint_names != arm.joint_names:
        raise GoldenError(f"{log}: joint_names: {list(streams.joint_names)} are not those of {arm.name}; say --robot")
    if streams.interface is not arm.interface:
        raise GoldenError(f"{log}: interface: holds {streams.interface} commands, not {arm.interface}; say --command")
    if len(streams.payloads_kg) != 1:
        masses = ", ".join(f"{mass:g}" for mass in streams.payloads_kg)
        raise GoldenError(f"{log}: payload: declared as {masses} kg in turn; choose a stretch with one: --phase")


def _measured(log: Path, streams: Streams, arm: Arm) -> tuple[int, int]:
    """Rows, and blocks that can judge."""
    grid = Grid(arm.command_delay_s, history=history_of(arm))
    rows = cut_transitions(streams, grid)
    blocks = len(np.unique(rows.stamp_ns[judged_blocks(rows, grid.stride_ns)] // BLOCK_NS)) if len(rows) else 0
    if blocks < LEAST_BLOCKS:
        raise GoldenError(
            f"{log}: {blocks} blocks of 2 s of motion without a gap, {LEAST_BLOCKS} are needed; choose a longer stretch"
        )
    return len(rows), blocks


def _copy(reader: LogReader, target: Path, phase: str | None) -> None:
    """The messages that `streams_of` reads of the same stretch, as they are; LogError as reading has it."""
    log, decoder = reader.path, Decoder(reader.path)
    stretch = None if phase is None else phase_stretch(log, reader, phase)
    known: set[str] = set()
    first_ns: int | None = None
    with LogWriter(target) as writer:
        for raw in reader.raw(_TOPICS):
            if stretch is not None and not stretch[0] <= stamp_ns(decoder.decode(raw).stamp) < stretch[1]:
                continue
            first_ns = raw.log_time_ns if first_ns is None else first_ns
            if raw.log_time_ns - first_ns > MOST_S * 1e9:
                raise GoldenError(f"{log}: longer than {MOST_S:g} s; choose a stretch: --phase or --minutes")
            channel = raw.channel
            if channel.topic not in known:
                known.add(channel.topic)
                writer.add_topic(channel.topic, channel.type, channel.definition, channel.qos)
            writer.write(channel.topic, raw.cdr, raw.log_time_ns, raw.publish_time_ns)
    if not any(topic.rpartition("/")[2] == SAFETY_STATUS.name for topic in known):
        raise GoldenError(
            f"{log}: {SAFETY_STATUS.name}: holds no message in this stretch, so nothing says what the arm carried; "
            "choose a longer stretch"
        )


def _source(reader: LogReader, phase: str | None, newest_s: float | None) -> GoldenSource:
    assert reader.sizes is not None, "it is fixed"
    digests = tuple(first_sha256(path, size) for path, size in reader.sizes.items())
    place, sizes = reader.path.resolve(), tuple(reader.sizes.values())
    said = f"{place.parent.name}/{place.name}"
    return GoldenSource(log=said, sha256=digests, bytes=sizes, phase=phase, newest_s=newest_s)


def _read(registry: Registry, name: str, arm: Arm) -> Golden:
    said, folder = golden_said(registry, name), _place(registry, name)
    own = (arm.name, arm.interface, arm.joint_names)
    if (said.robot, said.command_interface, said.joint_names) != own:
        raise GoldenError(
            f"{folder / SAID}: of {said.robot}, {said.command_interface}, joints {list(said.joint_names)}; this arm is "
            f"{arm.name}, {arm.interface}, {list(arm.joint_names)}; {_remedy(name)}"
        )
    streams = read_streams(folder / LOG)
    _require_arm(folder / LOG, streams, arm)
    if streams.payload_kg != said.payload_kg:
        raise GoldenError(f"{folder / SAID}: payload_kg: {said.payload_kg}, the log has {streams.payload_kg}")
    return Golden(said, streams)


def _said(folder: Path) -> GoldenSaid:
    try:
        said = GoldenSaid.model_validate_json(_bytes(folder / SAID, 1 << 20))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "json"
        raise GoldenError(f"{folder / SAID}: {field}: {first['msg']}; {_remedy(folder.name)}") from error
    if said.name != folder.name:
        raise GoldenError(f"{folder / SAID}: name: says {said.name}, lies in {folder.name}; move it back")
    return said


def _bytes(path: Path, limit: int) -> bytes:
    try:
        return read_plain(path, limit)[0]
    except NotPlain as error:
        raise GoldenError(f"{path}: {error}; {_remedy(path.parent.name)}") from error
    except OSError as error:
        raise GoldenError(f"{path}: cannot be read ({error.strerror}); {_remedy(path.parent.name)}") from error


def _remedy(name: str) -> str:
    return f"copy it again from where it came, or give it up: mbrl-control models golden remove {name}"
