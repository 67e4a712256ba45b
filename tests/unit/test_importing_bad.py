"""Broken, hostile and mistaken sources: one line that says what to do, or a row left out and reported by its number."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.main import main
from mbrl_control.episode_log import writer as writer_module
from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.importing.series import BadRows
from mbrl_control.replay.streams import read_streams
from mbrl_control.retrain import RetrainConfig, retrain
from mbrl_control.robot import load_arm
from tests.unit import foreign_recordings as foreign
from tests.unit.foreign_recordings import TABLE, refused, regular, run, write_csv

Edit = Callable[[list[str]], None]


def cells(lines: list[str], line: int, **changed: str) -> str:
    """A line (from 1, as in an editor) with cells changed."""
    head = lines[0].split(",")
    row = dict(zip(head, lines[line - 1].split(","), strict=True)) | changed
    return ",".join(row.values())


def swap(lines: list[str], line: int, **changed: str) -> None:
    lines[line - 1] = cells(lines, line, **changed)


def ragged(lines: list[str]) -> None:
    lines[49] += ",1.0"
    lines[50] = lines[50].rsplit(",", 1)[0]


def wild_stamp(lines: list[str]) -> None:
    """Far ahead, but all that follow are still used."""
    swap(lines, 50, t="1900000000000")


def backward(lines: list[str]) -> None:
    lines[49], lines[50] = lines[50], lines[49]


@pytest.mark.parametrize(
    ("edit", "state"),
    [
        (ragged, [(50, "has 10 cells, the head has 9"), (51, "has 8 cells, the head has 9")]),
        (lambda lines: swap(lines, 50, q_joint_b="nan"), [(50, "holds a number that is not finite")]),
        (lambda lines: swap(lines, 50, dq_joint_a=""), [(50, "velocity is not finite")]),
        (lambda lines: swap(lines, 50, dq_joint_a="1_0"), [(50, "'1_0' is not a number")]),
        (lambda lines: swap(lines, 50, t="later"), [(50, "time is not a number")]),
        (lambda lines: swap(lines, 50, t="inf"), [(50, "time is not a number")]),
        (lambda lines: swap(lines, 50, t="1e1000000"), [(50, "time is not a number")]),
        (lambda lines: swap(lines, 50, t="-5"), [(50, "stamp outside of 1970 to 2038")]),
        (lambda lines: swap(lines, 50, q_joint_a="57.0"), [(50, "position is beyond the arm's limits (shoulder)")]),
        (lambda lines: lines.insert(50, lines[49]), [(51, "stamp was there already")]),
        (wild_stamp, [(50, "stamp goes backward, or is ahead of those that follow")]),
        (backward, [(50, "stamp goes backward, or is ahead of those that follow")]),
    ],
    ids=[
        "ragged",
        "nan",
        "empty",
        "digits",
        "text",
        "inf",
        "exponent",
        "negative",
        "beyond",
        "repeated",
        "wild",
        "backward",
    ],
)
def test_a_bad_row_is_left_out_and_named_by_its_line(tmp_path: Path, edit: Edit, state: list[tuple[int, str]]) -> None:
    motion = regular()
    lines = write_csv(tmp_path / "a.csv", motion)
    edit(lines)
    (tmp_path / "a.csv").write_text("\n".join(lines))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    # Of two rows in the wrong order one is left out, and nobody knows how long the command of the other held.
    between = "too few rows between two gaps"
    assert [(bad.first, bad.why) for bad in report.bad_rows if bad.why != between] == state
    assert report.state.samples == len(lines) - 1 - len(state)
    streams = read_streams(tmp_path / "log")
    step = 0.03**2 / 8 * (foreign.AMPLITUDE * foreign.OMEGA**2).max()
    seconds = (streams.belief_ns - foreign.T0_NS) * 1e-9
    np.testing.assert_allclose(streams.position, foreign.position(seconds), atol=step)


def test_many_bad_rows_are_reported_as_ranges(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "a.csv", regular())
    for line in range(20, 120):
        swap(lines, line, q_joint_a="x")
    (tmp_path / "a.csv").write_text("\n".join(lines))
    report = run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    assert BadRows("a.csv", 20, 119, "'x' is not a number") in report.bad_rows
    assert (report.state.gaps[0].after_row, report.state.gaps[0].before_row) == (19, 120)


def test_degrees_are_told_from_radians_and_the_remedy_is_named(tmp_path: Path) -> None:
    degrees = 180 / np.pi
    write_csv(tmp_path / "deg.csv", regular(), unit=degrees)
    refused(tmp_path, tmp_path / "deg.csv", TABLE, "looks like degrees; write `unit: deg`")
    run(tmp_path / "deg.csv", {**TABLE, "unit": "deg"}, tmp_path / "log")
    np.testing.assert_allclose(read_streams(tmp_path / "log").position, regular().q, atol=1e-12)
    lines = write_csv(tmp_path / "mixed.csv", regular())
    rows = [line.split(",") for line in lines[1:]]
    mixed = [",".join([*r[:3], *(repr(float(x) * degrees) for x in r[3:5]), *r[5:]]) for r in rows]
    (tmp_path / "mixed.csv").write_text("\n".join([lines[0], *mixed]))
    refused(tmp_path, tmp_path / "mixed.csv", TABLE, "velocity: .* looks like degrees")
    rows = [[*r[:7], *(repr(float(x) * degrees) for x in r[7:])] for r in rows]
    (tmp_path / "mixed.csv").write_text("\n".join([lines[0], *map(",".join, rows)]))
    refused(tmp_path, tmp_path / "mixed.csv", TABLE, "command: .* write `command_unit: deg`")
    run(tmp_path / "mixed.csv", {**TABLE, "command_unit": "deg"}, tmp_path / "log_mixed")


def test_joints_mixed_up_between_position_and_velocity_are_noticed(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    tables = TABLE["tables"]
    state = {**tables["state"], "velocity": ["dq_joint_b", "dq_joint_a"]}
    mapping = {**TABLE, "tables": {**tables, "state": state}}
    refused(tmp_path, tmp_path / "a.csv", mapping, "velocity: positions of shoulder change")


def test_permuted_joints_in_the_map_are_a_permutation_of_the_columns(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    permuted = {**TABLE, "joints": {"joint_b": "elbow", "joint_a": "shoulder"}}
    tables = TABLE["tables"]
    listed = {**permuted, "tables": {**tables, "state": {**tables["state"], "position": ["q_joint_b", "q_joint_a"]}}}
    for number, mapping in enumerate((permuted, listed)):
        run(tmp_path / "a.csv", mapping, tmp_path / f"log_{number}")
        np.testing.assert_array_equal(read_streams(tmp_path / f"log_{number}").position, regular().q)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"joints": {"joint_a": "shoulder"}}, "joints: lead to"),
        ({"joints": {"joint_a": "shoulder", "joint_b": "wrist"}}, "joints: lead to"),
        ({"joints": {"joint_a": "shoulder", "joint_c": "elbow"}}, "column 'q_joint_c': is not in the table"),
        ({"unit": "m"}, "unit: .*the joints of these arms turn"),
        ({"interface": "position"}, "interface: "),
        ({"untis": "deg"}, "untis: "),
        ({"tables": None}, "exactly one of topics, tables and hdf5"),
        ({"state": {"max_gap_ms": 11.0}}, "state.max_gap_ms: .* hardly longer than a period"),
        ({"payload_kg": float("nan")}, "payload_kg: "),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_map_that_cannot_be_meant_is_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    write_csv(tmp_path / "a.csv", regular())
    refused(tmp_path, tmp_path / "a.csv", {**TABLE, **change}, match)


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = write_csv(path, regular())
    for content, match in (
        (b"", "column 't': is not in the table"),
        ("\n".join(lines).encode("utf-16"), "no CSV in UTF-8"),
        (b'"' + "\n".join(lines).encode(), "is not in the table|no CSV"),
        (("\n".join(lines) + '\n"' + "x" * 200_000).encode(), "no CSV in UTF-8"),
        ("\n".join([lines[0].replace("dq_joint_a", "q_joint_a"), *lines[1:]]).encode(), "is there more than once"),
        (lines[0].encode(), "no usable row"),
        ("\n".join(line.replace(",", ";") for line in lines).encode(), "column 't': is not in the table"),
    ):
        path.write_bytes(content)
        refused(tmp_path, path, TABLE, match)


def test_a_time_in_the_wrong_unit_is_refused(tmp_path: Path) -> None:
    """Milliseconds read as seconds: the positions then change a thousand times too slowly."""
    lines = write_csv(tmp_path / "a.csv", regular())
    start = float(lines[1].split(",")[0])
    relative = [",".join([f"{float(t) - start}", rest]) for t, rest in (line.split(",", 1) for line in lines[1:])]
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *relative]))
    tables = TABLE["tables"]
    wrong = {name: {**part, "time_unit": "s"} for name, part in tables.items()}
    refused(tmp_path, tmp_path / "a.csv", {**TABLE, "tables": wrong}, "positions of shoulder change 0.001 times")


def test_state_and_commands_of_different_times_are_refused(tmp_path: Path) -> None:
    lines = write_csv(tmp_path / "a.csv", regular())
    for line in range(2, len(lines) + 1):
        empty = ("u",) if line < 150 else ("q", "dq")
        swap(lines, line, **{f"{name}_{joint}": "" for name in empty for joint in foreign.JOINTS})
    (tmp_path / "a.csv").write_text("\n".join(lines))
    refused(tmp_path, tmp_path / "a.csv", TABLE, "state and commands have no time in common")


def test_an_existing_folder_is_not_touched(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular())
    (tmp_path / "log").mkdir()
    with pytest.raises(LogError, match="--out: exists already"):
        run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    assert not list((tmp_path / "log").iterdir())


def test_another_arm_is_refused_and_retrain_takes_the_right_one(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", regular(20.0))
    refused(tmp_path, tmp_path / "a.csv", TABLE, "joints: lead to", robot="panda")
    run(tmp_path / "a.csv", TABLE, tmp_path / "log")
    config = RetrainConfig((tmp_path / "log",), tmp_path / "models", load_arm(arm_file("planar")), 0)
    with pytest.raises(TooLittleData, match="held-out blocks"):  # all of it was read and cut into rows
        retrain(config)


def test_the_command_line_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_csv(tmp_path / "a.csv", regular(), unit=180 / np.pi)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(TABLE))
    arguments = ["log", "import", str(tmp_path / "a.csv"), "--out", str(tmp_path / "log"), "--robot", "planar"]
    for mapping, said in (("map.yaml", "write `unit: deg` in the map"), ("none.yaml", "--map: no such file")):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--map", str(tmp_path / mapping)])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("velocity", [True, False])
def test_a_time_unit_that_makes_the_arm_too_fast_is_refused(tmp_path: Path, velocity: bool) -> None:
    """Milliseconds read as microseconds, with and without velocities that contradict it."""
    write_csv(tmp_path / "a.csv", regular(), skip=() if velocity else ("dq",))
    tables = {name: {**part, "time_unit": "us"} for name, part in TABLE["tables"].items()}
    if not velocity:
        del tables["state"]["velocity"]
    match = "positions of shoulder change" if velocity else "time: .* moves at up to .*correct the time unit"
    refused(tmp_path, tmp_path / "a.csv", {**TABLE, "tables": tables}, match)


def test_noise_of_positions_is_no_wrong_time_unit(tmp_path: Path) -> None:
    """1 kHz with 2 mrad of noise: from row to row the shoulder jumps by some 3 rad/s, more than it can."""
    motion = regular(2.0, 0.001)
    noisy = motion.q + np.random.default_rng(0).normal(scale=2e-3, size=motion.q.shape)
    lines = write_csv(tmp_path / "a.csv", motion, skip=("dq",))
    rows = [line.split(",") for line in lines[1:]]
    table = [",".join([row[0], *map(repr, q), *row[3:]]) for row, q in zip(rows, noisy.tolist(), strict=True)]
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *table]))
    tables = {name: dict(part) for name, part in TABLE["tables"].items()}
    del tables["state"]["velocity"]
    assert run(tmp_path / "a.csv", {**TABLE, "tables": tables}, tmp_path / "log").velocity == "derived"


def test_a_disk_that_does_not_take_an_import_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "a.csv", regular(20.0))
    real, left = os.write, [60]

    def write(descriptor: int, data: memoryview) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(writer_module.os, "write", write)
    refused(tmp_path, tmp_path / "a.csv", TABLE, r"disk: did not take \d+ messages or more .*No space left")


def test_noise_of_the_velocity_of_a_joint_at_rest_is_no_wrong_unit(tmp_path: Path) -> None:
    """Of 0.1 rad/s, while velocities that are not those of the joint are still found."""
    motion, rng = regular(), np.random.default_rng(1)
    lines = write_csv(tmp_path / "a.csv", motion)
    table = [line.split(",") for line in lines[1:]]
    for row, position, velocity in zip(table, rng.normal(0.3, 1e-4, 300), rng.normal(0.0, 0.1, 300), strict=True):
        row[2], row[4] = repr(float(position)), repr(float(velocity))
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *(",".join(row) for row in table)]))
    assert run(tmp_path / "a.csv", TABLE, tmp_path / "log").bad_rows == ()
    for row, velocity in zip(table, (motion.dq[:, 1] * 3.0).tolist(), strict=True):
        row[2], row[4] = row[1], repr(velocity)
    (tmp_path / "a.csv").write_text("\n".join([lines[0], *(",".join(row) for row in table)]))
    refused(tmp_path, tmp_path / "a.csv", TABLE, "velocity: positions of elbow change")
