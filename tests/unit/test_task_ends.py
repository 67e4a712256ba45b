"""What a recording calls terminal, from its file through a log into a buffer: over there, cut everywhere else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.replay.home import open_buffer
from mbrl_control.replay.importing.report import ImportReport
from mbrl_control.replay.log_buffer import Filled, fill_buffer
from mbrl_control.replay.streams import read_streams
from mbrl_control.robot import load_arm
from tests.unit.foreign_recordings import HDF5, Motion, refused, regular, run

MS = 1_000_000
STEP_NS, PAUSE_NS = 10 * MS, 60_000 * MS
"""Of the source, and between its episodes."""
DT_NS = 20 * MS
BROKEN = np.nan


@dataclass
class Flat:
    """A D4RL file of four seconds: rows that are terminal or timed out, and those whose numbers are broken."""

    terminals: tuple[int, ...] = ()
    timeouts: tuple[int, ...] = ()
    observations: tuple[int, ...] = ()
    actions: tuple[int, ...] = ()
    motion: Motion = field(default_factory=lambda: regular(4.0))

    def write(self, path: Path) -> Path:
        h5py = pytest.importorskip("h5py")
        motion = self.motion
        observations, actions = np.concatenate([motion.q, motion.dq], axis=1), motion.u.copy()
        observations[list(self.observations), 1] = BROKEN
        actions[list(self.actions), 0] = BROKEN
        with h5py.File(path, "w") as file:
            file["observations"], file["actions"] = observations, actions
            for name in ("terminals", "timeouts"):
                file[name] = np.isin(np.arange(len(actions)), getattr(self, name))
        return path


def imported(source: Path, tmp_path: Path, mapping: dict[str, Any] = HDF5) -> tuple[ImportReport, Filled, Any]:
    """The report, what the buffer is said to hold, and its last rows of episodes."""
    report = run(source, mapping, tmp_path / "log")
    return report, *filled(tmp_path / "log", tmp_path / "rows")


def filled(log: Path, out: Path) -> tuple[Filled, Any]:
    done = fill_buffer(log, read_streams(log), load_arm(arm_file("planar")), out, 0.0)
    buffer, _ = open_buffer(out)
    with buffer:
        (part,) = buffer.parts()
        last = np.append(np.diff(part["episode"]) != 0, True)
        np.testing.assert_array_equal(part["terminal"] + part["truncated"], last, "one of both at ends, never both")
        return done, part[last].copy()


def flags(ends: Any) -> list[tuple[bool, bool]]:
    return [(bool(row["terminal"]), bool(row["truncated"])) for row in ends]


OVER, CUT = (True, False), (False, True)


def test_terminals_of_d4rl_are_terminal_in_the_buffer_and_timeouts_truncated(tmp_path: Path) -> None:
    """Also on the file's last row, and where the time was over with the task."""
    flat = Flat(terminals=(149, 320, 399), timeouts=(249, 320))
    report, done, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [OVER, CUT, OVER, OVER]
    starts = np.array([0, 150, 250, 321]) * STEP_NS + np.arange(4) * PAUSE_NS
    lasts = np.array([149, 249, 320, 399])
    ended_ns = starts + (lasts - [0, 150, 250, 321]) * STEP_NS
    np.testing.assert_array_equal(ends["stamp_ns"] + DT_NS, ended_ns)
    np.testing.assert_allclose(ends["next_position"], flat.motion.q[lasts], atol=1e-9)
    assert (done.terminal, done.truncated, done.task_ends, done.episodes) == (3, 1, 3, 4)
    assert {"terminals: 3", "timeouts: 2", "ends of tasks: 3 of 3 are in the log"} <= set(report.notes)


def test_without_a_mark_the_end_of_the_file_is_none_of_the_task(tmp_path: Path) -> None:
    _, done, ends = imported(Flat(terminals=(149,)).write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [OVER, CUT]
    assert (done.terminal, done.truncated) == (1, 1)


@pytest.mark.parametrize("name", ["observations", "actions"])
def test_an_episode_whose_terminal_row_was_left_out_is_cut(tmp_path: Path, name: str) -> None:
    flat = Flat(terminals=(149, 399), **{name: (149,)})
    report, done, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert [bad.first for bad in report.bad_rows] == [149]
    assert flags(ends) == [CUT, OVER]
    assert (done.terminal, done.truncated, done.task_ends) == (1, 1, 1)
    (told,) = [note for note in report.notes if note.startswith("ends of tasks")]
    assert told.startswith("ends of tasks: 1 of 2 are in the log; the others' last rows were left out")


def test_a_state_left_out_before_the_terminal_one_is_bridged_and_the_task_over_all_the_same(tmp_path: Path) -> None:
    flat = Flat(terminals=(149, 399), observations=(148,))
    _, _, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [OVER, OVER]


def test_without_the_command_that_led_to_the_terminal_row_nothing_learns_from_it(tmp_path: Path) -> None:
    """What was commanded on the way there is unknown: the episode is cut where that begins, and said to be."""
    flat = Flat(terminals=(149, 399), actions=(148,))
    report, done, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [CUT, OVER]
    assert ends["stamp_ns"][0] + DT_NS == 148 * STEP_NS
    assert (done.terminal, done.truncated, done.task_ends) == (1, 1, 1)
    (told,) = [note for note in report.notes if note.startswith("ends of tasks")]
    assert told.startswith("ends of tasks: 1 of 2 are in the log")


def test_a_gap_before_the_terminal_cuts_the_first_piece_only(tmp_path: Path) -> None:
    """Of the rows from 90 to 93 nothing is known: two pieces of one episode, of which the second is over."""
    flat = Flat(terminals=(149,), observations=tuple(range(90, 94)), motion=regular(6.0))
    _, _, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [CUT, OVER, CUT]
    assert ends["stamp_ns"][0] + DT_NS == 89 * STEP_NS


def test_a_tail_too_short_to_be_of_use_takes_the_terminal_with_it(tmp_path: Path) -> None:
    """Rows 148 and 149 stand alone behind a gap: a stretch has at least three."""
    flat = Flat(terminals=(149,), observations=tuple(range(144, 148)), motion=regular(6.0))
    _, done, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path)
    assert flags(ends) == [CUT, CUT]
    assert done.task_ends == 0


@pytest.mark.parametrize(("broken", "wanted"), [((), OVER), ((149,), CUT)])
def test_on_a_coarser_grid_the_log_ends_up_to_a_period_earlier(
    tmp_path: Path, broken: tuple[int, ...], wanted: tuple[bool, bool]
) -> None:
    """It ends at row 148 either way, with the last row and without: only the former is the end of the task."""
    mapping = {**HDF5, "state": {"period_ms": 20}, "command": {"period_ms": 20}}
    flat = Flat(terminals=(149,), observations=broken)
    _, _, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path, mapping)
    assert flags(ends) == [wanted, CUT]
    assert ends["stamp_ns"][0] + DT_NS == 148 * STEP_NS


@pytest.mark.parametrize("dt_s", [0.008, 0.02, 0.05])
def test_steps_off_the_rows_grid_end_less_than_a_stride_later(tmp_path: Path, dt_s: float) -> None:
    flat = Flat(terminals=(149,), motion=regular(200 * dt_s, dt_s))
    mapping = {**HDF5, "hdf5": {**HDF5["hdf5"], "dt_s": dt_s}}
    _, _, ends = imported(flat.write(tmp_path / "a.hdf5"), tmp_path, mapping)
    assert flags(ends) == [OVER, CUT]
    assert 0 <= 149 * round(dt_s * 1e9) - int(ends["stamp_ns"][0]) - DT_NS < 10 * MS


def test_a_file_of_the_log_alone_says_it_too(tmp_path: Path) -> None:
    """What stands beside the log is lost where it is recovered or its files are handed on."""
    run(Flat(terminals=(149,)).write(tmp_path / "a.hdf5"), HDF5, tmp_path / "log")
    shutil.copy(tmp_path / "log" / "log_0.mcap", tmp_path / "alone.mcap")
    _, ends = filled(tmp_path / "alone.mcap", tmp_path / "rows")
    assert flags(ends) == [OVER, CUT]


def minari(path: Path, *episodes: dict[str, Any]) -> Path:
    """Episodes of a second; ``observations`` and ``actions`` name the broken rows, others the marked steps."""
    h5py = pytest.importorskip("h5py")
    motion = regular(1.0)
    with h5py.File(path, "w") as file:
        for number, said in enumerate(episodes):
            group = file.create_group(f"episode_{number}")
            observations, actions = np.concatenate([motion.q, motion.dq], axis=1), motion.u[:-1].copy()
            observations[said.get("observations", []), 0] = BROKEN
            actions[said.get("actions", []), 1] = BROKEN
            group["observations"], group["actions"] = observations, actions
            for name in ("terminations", "truncations"):
                if name in said:
                    group[name] = np.isin(np.arange(99), said[name])
    return path


def test_terminations_of_minari_are_terminal_and_truncations_truncated(tmp_path: Path) -> None:
    source = minari(
        tmp_path / "main_data.hdf5",
        {"terminations": [98], "truncations": []},
        {"terminations": [], "truncations": [98]},
        {"terminations": [98], "truncations": [98]},
        {"terminations": [98], "truncations": [], "observations": [99]},
        {"terminations": [98], "truncations": [], "actions": [98]},
    )
    report, done, ends = imported(source, tmp_path)
    assert flags(ends) == [OVER, CUT, OVER, CUT, CUT]
    assert (ends["stamp_ns"] + DT_NS - ends["stamp_ns"][0] - DT_NS).tolist() == [
        *(number * (100 * STEP_NS + PAUSE_NS) for number in range(3)),
        *(number * (100 * STEP_NS + PAUSE_NS) - STEP_NS for number in (3, 4)),
    ]
    assert (done.terminal, done.truncated, done.task_ends) == (2, 3, 2)
    assert {"terminations: 4", "truncations: 2"} <= set(report.notes)
    assert any(note.startswith("ends of tasks: 2 of 4 are in the log; ") for note in report.notes)


def test_minari_without_marks_or_with_some_inside_of_an_episode_says_so(tmp_path: Path) -> None:
    source = minari(tmp_path / "main_data.hdf5", {"terminations": [7, 8], "truncations": []}, {"truncations": [98]})
    report, done, ends = imported(source, tmp_path)
    assert flags(ends) == [CUT, CUT]
    assert done.terminal == 0
    assert {
        "terminations: 0",
        "1 episodes have no terminations: none of them ends for that reason",
        "terminations before the last step of an episode: 2, passed over: the episode goes on",
        "truncations: 1",
    } <= set(report.notes)


def test_marks_of_other_lengths_or_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = minari(tmp_path / "main_data.hdf5", {})
    for marks, match in (
        (np.zeros(98), "episode_0/terminations: 98 rows beside 99 actions"),
        (np.where(np.arange(99) == 7, np.nan, 0.0), "episode_0/terminations: row 7 is not finite"),
        (h5py.SoftLink("/episode_0/actions"), "episode_0/terminations: is a link"),
    ):
        with h5py.File(path, "a") as file:
            if "terminations" in file["episode_0"]:
                del file["episode_0/terminations"]
            file["episode_0/terminations"] = marks
        refused(tmp_path, path, HDF5, match)
    flat = Flat().write(tmp_path / "flat.hdf5")
    with h5py.File(flat, "a") as file:
        del file["terminals"]
        file["terminals"] = np.where(np.arange(400) == 9, np.inf, 0.0)
    refused(tmp_path, flat, HDF5, "terminals: row 9 is not finite")
