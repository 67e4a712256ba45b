"""Source -> samples -> SI units, checked -> cleaned -> uniform grid -> log and report: one import, start to end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.importing import bags, hdf5, tables
from mbrl_control.replay.importing.clean import clean
from mbrl_control.replay.importing.mapping import ImportMap, check_joints
from mbrl_control.replay.importing.reached import reached_ends
from mbrl_control.replay.importing.report import ImportReport, remarks, source_file, stream_report, write_report
from mbrl_control.replay.importing.resample import (
    Resampled,
    common_spans,
    grid_of,
    resample_command,
    resample_state,
)
from mbrl_control.replay.importing.series import Recording
from mbrl_control.replay.importing.units import speed_within_limits, to_si, velocity_fits_position, within_limits
from mbrl_control.replay.importing.write import write_log
from mbrl_control.robot import Arm

Progress = Callable[[str, float], None]
FORMAT = 1


def import_recording(
    source: Path,
    map_path: Path,
    mapping: ImportMap,
    arm: Arm,
    out: Path,
    progress: Progress = lambda stage, share: None,
) -> ImportReport:
    """Make the log folder ``out`` of a recording; all of it or, with a LogError, nothing.

    The arm's interface is the map's. The report stands beside the log's files.
    """
    check_joints(map_path, mapping, arm)
    if out.exists():
        raise LogError(out, "--out", "exists already", "name a new folder")
    progress("reading", 0.0)
    recording = to_si(read_source(source, map_path, mapping, arm), mapping)

    progress("checking", 0.0)
    recording, state, command = checked(recording, mapping, arm, str(source))
    spans = common_spans(state, command)
    if not spans:
        why = "state and commands have no time in common" if state.stretches and command.stretches else "only gaps"
        raise LogError(source, "time", why, "check clocks, time units and bounds on gaps in the map")

    ends = reached_ends(recording, state, command)
    part = out.with_name(f"{out.name}.partial")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise LogError(part, "--out", f"cannot be made ({error.strerror})", "remove it, or name another") from error
    try:
        messages = write_log(
            part, state, command, arm, mapping.payload_kg, ends, lambda share: progress("writing", share)
        )
        report = _report(recording, map_path, mapping, arm, state, command, len(ends), messages)
        write_report(part, report)
        part.rename(out)
    except BaseException:
        shutil.rmtree(part)
        raise
    return report


def read_source(source: Path, map_path: Path, mapping: ImportMap, arm: Arm) -> Recording:
    """By what the source is; LogError when the map has no section for it."""
    if not source.exists():
        raise LogError(source, "SOURCE", "no such file or folder", "check the path")
    suffix = source.suffix.lower()
    if mapping.tables is not None and (source.is_dir() or suffix in tables.SUFFIXES):
        return tables.read_tables(source, mapping, mapping.tables, arm)
    if mapping.topics is not None and (source.is_dir() or suffix in bags.SUFFIXES):
        return bags.read_bag(source, mapping, mapping.topics, arm)
    if mapping.hdf5 is not None and suffix in hdf5.SUFFIXES:
        return hdf5.read_hdf5(source, mapping, mapping.hdf5, arm)
    known = ", ".join((*tables.SUFFIXES, *bags.SUFFIXES, *hdf5.SUFFIXES))
    raise LogError(
        map_path, "map", f"has no section for {source.name}", f"add tables, topics or hdf5; files end in {known}"
    )


def checked(recording: Recording, mapping: ImportMap, arm: Arm, source: str) -> tuple[Recording, Resampled, Resampled]:
    """The usable rows, and both streams on their grids; every row left out is in ``bad``."""
    state, bad_state = clean(recording.state)
    command, bad_command = clean(recording.command)
    for kind, series in (("state", state), ("command", command)):
        if not len(series):
            bad = (*recording.bad, *bad_state, *bad_command)
            first = f"{bad[0].where} row {bad[0].first}: {bad[0].why}" if bad else "all cells are empty"
            raise LogError(source, kind, f"no usable row ({first})", "correct the map, or repair the file")
    state, beyond_state = within_limits(state, mapping, arm, source)
    command, beyond_command = within_limits(command, mapping, arm, source)
    state_grid = grid_of(state, mapping.state, source, "state")
    command_grid = grid_of(command, mapping.command, source, "command")
    velocity_fits_position(state, state_grid.bound_ns, arm, source)
    on_state, on_command = resample_state(state, state_grid), resample_command(command, command_grid)
    speed_within_limits(on_state, arm, source)
    bad = (*recording.bad, *bad_state, *beyond_state, *on_state.bad, *bad_command, *beyond_command, *on_command.bad)
    bad = tuple(dict.fromkeys(bad))  # a row of a table may be bad for state and commands alike
    return Recording(state, command, bad, recording.files, recording.notes, recording.task_ends), on_state, on_command


def _report(
    recording: Recording,
    map_path: Path,
    mapping: ImportMap,
    arm: Arm,
    state: Resampled,
    command: Resampled,
    ends: int,
    messages: int,
) -> ImportReport:
    spans = common_spans(state, command)
    has_velocity, has_effort = ("velocity" in recording.state.values), ("effort" in recording.state.values)
    assumed = remarks(state, command, has_velocity, has_effort)
    return ImportReport(
        format=FORMAT,
        robot=arm.name,
        robot_sha256=arm.sha256,
        interface=arm.interface.value,
        map=mapping.model_dump(mode="json", exclude_none=True),
        map_sha256=source_file(map_path).sha256,
        sources=tuple(source_file(path) for path in recording.files),
        joints=mapping.joints,
        velocity="recorded" if has_velocity else "derived",
        effort="recorded" if has_effort else "absent, zero",
        state=stream_report("state", state, len(recording.state)),
        command=stream_report("command", command, len(recording.command)),
        spans_ns=spans,
        usable_s=sum(end - start for start, end in spans) * 1e-9,
        bad_rows=recording.bad,
        notes=(*recording.notes, *_ends_told(len(recording.task_ends), ends), *assumed),
        messages=messages,
    )


def _ends_told(known: int, reached: int) -> tuple[str, ...]:
    """What became of the ends of tasks."""
    if not known:
        return ()
    cut = "" if reached == known else "; the others' last rows were left out: those episodes are cut, not over"
    return (f"ends of tasks: {reached} of {known} are in the log{cut}",)
