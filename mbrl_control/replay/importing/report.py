"""What an import did: `import.json` for programs, `import.md` for people, both beside the log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.importing.resample import METHODS, Gap, Resampled
from mbrl_control.replay.importing.series import BadRows

JSON_NAME, TEXT_NAME = "import.json", "import.md"
_SHOWN = 20
_MOST_BYTES = 256 << 20
_MODEL_STEP_NS = 20_000_000


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that was read."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """State or commands."""

    method: str
    samples: int
    """Rows that were used."""
    usual_ms: float
    """Median interval of the source."""
    period_ms: float
    """Of the grid."""
    max_gap_ms: float
    stretches: int
    on_grid: int
    """Samples written."""
    bridged: int
    longest_bridged_ms: float
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """Everything that happened to the recording."""

    format: int
    robot: str
    robot_sha256: tuple[str, str]
    interface: str
    map: dict[str, Any]
    map_sha256: str
    sources: tuple[SourceFile, ...]
    joints: dict[str, str]
    velocity: str
    effort: str
    state: StreamReport
    command: StreamReport
    spans_ns: tuple[tuple[int, int], ...]
    """In which there are both, on the clock of the source."""
    usable_s: float
    bad_rows: tuple[BadRows, ...]
    notes: tuple[str, ...]
    messages: int

    @property
    def bad_count(self) -> int:
        """Rows that were left out."""
        return sum(bad.last - bad.first + 1 for bad in self.bad_rows)


def source_file(path: Path) -> SourceFile:
    """Name, size and digest of one file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return SourceFile(path.name, path.stat().st_size, digest)


def stream_report(kind: str, resampled: Resampled, samples: int) -> StreamReport:
    """Figures of one stream."""
    grid = resampled.grid
    return StreamReport(
        METHODS[kind], samples, grid.usual_ns * 1e-6, grid.period_ns * 1e-6, grid.bound_ns * 1e-6,
        len(resampled.stretches), sum(len(s.stamp_ns) for s in resampled.stretches), resampled.bridged,
        resampled.longest_bridged_ns * 1e-6, resampled.gaps,
    )  # fmt: skip


def remarks(state: Resampled, command: Resampled, has_velocity: bool, has_effort: bool) -> tuple[str, ...]:
    """What whoever learns from this must know."""
    said = []
    if not has_velocity:
        said.append("velocity was not recorded: derived from position (second-order differences), noise included")
    if not has_effort:
        said.append("effort was not recorded and is zero: what a model learned from this says of effort means nothing")
    short = sum(gap.length_ns <= command.grid.bound_ns for gap in command.gaps)
    if short:
        bound = f"{command.grid.bound_ns * 1e-6:g} ms"
        holes = f"holes of up to {bound} where rows were left out or no command was in force"
        said.append(f"command: {holes}: {short}; nothing is held across them")
    for kind, stream in (("state", state), ("command", command)):
        if stream.grid.usual_ns > _MODEL_STEP_NS:
            slow = f"{kind}: {stream.grid.usual_ns * 1e-6:g} ms between rows, a model's step is 20 ms"
            said.append(f"{slow}: what is learned about shorter times is the interpolation's")
        if stream.grid.period_ns > 1.5 * stream.grid.usual_ns:
            said.append(f"{kind}: the grid is coarser than the source; it is not filtered")
    return tuple(said)


def write_report(folder: Path, report: ImportReport) -> None:
    """Both files."""
    tree = json.dumps(asdict(report), indent=2, allow_nan=False)
    (folder / JSON_NAME).write_text(f"{tree}\n", encoding="utf-8")
    (folder / TEXT_NAME).write_text(text_of(report), encoding="utf-8")


def text_of(report: ImportReport) -> str:
    """Markdown."""
    lines = [f"# Import for {report.robot}, {report.interface} commands", ""]
    lines += [f"- {each.name}: {each.bytes} bytes, sha256 {each.sha256}" for each in report.sources]
    lines += ["", f"Usable: {report.usable_s:.2f} s in {len(report.spans_ns)} spans with both state and commands."]
    lines += ["", "| | rows used | usual, ms | grid, ms | gap above, ms | stretches | bridged | longest bridged, ms |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for kind, part in (("state", report.state), ("command", report.command)):
        numbers = f"{part.samples} | {part.usual_ms:.3f} | {part.period_ms:.3f} | {part.max_gap_ms:.3f}"
        lines.append(f"| {kind} | {numbers} | {part.stretches} | {part.bridged} | {part.longest_bridged_ms:.3f} |")
    lines += ["", f"- state: {report.state.method}", f"- command: {report.command.method}"]
    lines += [f"- velocity: {report.velocity}; effort: {report.effort}"]
    lines += [f"- {note}" for note in report.notes]
    lines += ["", f"## Rows left out: {report.bad_count}", ""]
    lines += _some([f"- {bad.where}: {_rows(bad)}: {bad.why}" for bad in report.bad_rows])
    gaps = [(kind, gap) for kind, part in (("state", report.state), ("command", report.command)) for gap in part.gaps]
    lines += ["", f"## Gaps: {len(gaps)}", ""]
    lines += _some(
        [f"- {kind}, {g.where}: rows {g.after_row} to {g.before_row}: {g.length_ns * 1e-6:.3f} ms" for kind, g in gaps]
    )
    return "\n".join(lines) + "\n"


def _rows(bad: BadRows) -> str:
    return f"row {bad.first}" if bad.first == bad.last else f"rows {bad.first} to {bad.last}"


def _some(lines: list[str]) -> list[str]:
    rest = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"- and {rest} more: {JSON_NAME} has all"] if rest > 0 else []) or ["none"]


def read_report(log: Path) -> ImportReport | None:
    """`import.json` beside the files of a log that was imported; None of any other log. LogError for a damaged one."""
    path = log / JSON_NAME
    if not path.is_file() or path.is_symlink():
        return None
    if path.stat().st_size > _MOST_BYTES:
        raise LogError(path, "file", f"is larger than {_MOST_BYTES} bytes", "import the recording again")
    try:
        return TypeAdapter(ImportReport).validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "json"
        raise LogError(path, field, first["msg"], "import the recording again") from error
