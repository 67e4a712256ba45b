"""What the service sees of logs: motion, payload, drift; each byte once; foreign logs by name."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.command_interface import CommandInterface
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.schema import MODEL_RESIDUAL, Topic
from mbrl_control.learner.tally import RunTally
from mbrl_control.learner.watch import Watch, logs_below
from mbrl_control.robot import Arm, load_arm
from tests.unit.synthetic_log import T0_NS, arm_streams, message, write_rows, write_streams
from tests.unit.synthetic_log import Arm as Simulated

SECOND = 1_000_000_000
Told = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("planar"))


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 s of motion, of which the last 4 with another payload."""
    path = tmp_path_factory.mktemp("log") / "log_0.mcap"
    streams = arm_streams(Simulated(), 10.0, np.random.default_rng(1))
    write_streams(path, replace(streams, payload_ns=np.array([T0_NS + 6 * SECOND])))
    return path


def residual(second: float, model_id: str, role: int = 0, exceeded: bool = True) -> tuple[int, Topic, bytes]:
    ns = T0_NS + round(second * SECOND)
    return ns, MODEL_RESIDUAL, message(MODEL_RESIDUAL, stamp=ns, role=role, model_id=model_id, exceeded=exceeded)


def run_of(folder: Path, *files: Path) -> Path:
    folder.mkdir(parents=True)
    for number, file in enumerate(files):
        shutil.copy(file, folder / f"log_{number}.mcap")
    return folder


def watch_of(root: Path, arm: Arm, newest_s: float = 3600.0) -> tuple[Watch, Told]:
    told: Told = []
    return Watch(root, arm, newest_s, lambda event, log, reason: told.append((event, log.name, reason))), told


def test_motion_is_counted_in_tenths_of_seconds_and_split_at_a_payload(arm: Arm, moving: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "run" / "log", moving)
    watch, told = watch_of(tmp_path, arm)
    watch.look(0)
    seen = watch.seen(T0_NS + 8 * SECOND, "planar/1")
    assert seen.new_s == pytest.approx(2.0, abs=0.2)
    assert seen.regime_s == pytest.approx(4.0, abs=0.2)
    assert seen.fresh_s == seen.new_s
    assert seen.payload_kg == 1.0
    assert abs(seen.newest_ns - (T0_NS + 10 * SECOND)) < 0.3 * SECOND
    assert watch.logs() == (tmp_path / "run" / "log",)
    assert told == []


def test_a_tenth_of_a_second_lasts_no_longer_where_messages_come_a_little_early_or_late(
    arm: Arm, tmp_path: Path
) -> None:
    """By the time since the last one that counts, half of them would last 104 ms."""
    rng = np.random.default_rng(1)
    streams = arm_streams(Simulated(), 20.0, rng)
    stamps = streams.belief_ns + rng.integers(-400_000, 400_000, len(streams.belief_ns))
    moving = replace(streams, belief_ns=stamps, velocity=np.full_like(streams.velocity, 0.1))
    write_streams(tmp_path / "log_0.mcap", moving)
    watch, _ = watch_of(tmp_path, arm)
    watch.look(0)
    assert watch.seen(0, "").new_s == pytest.approx(20.0, abs=0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {"velocity": 0.0},
        {"drives_enabled": False},
        {"publishing": False},
    ],
    ids=str,
)
def test_an_arm_that_holds_or_is_not_driven_does_not_move(arm: Arm, tmp_path: Path, changes: dict[str, float]) -> None:
    streams = arm_streams(Simulated(), 3.0, np.random.default_rng(1))
    still = {name: np.full_like(getattr(streams, name), value) for name, value in changes.items()}
    write_streams(tmp_path / "log_0.mcap", replace(streams, **still))  # type: ignore[arg-type]
    watch, _ = watch_of(tmp_path, arm)
    watch.look(0)
    assert watch.seen(0, "").new_s == 0.0


@settings(max_examples=8)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4))
def test_a_log_read_while_it_grows_holds_what_it_holds_read_at_once(
    arm: Arm, moving: Path, tmp_path_factory: pytest.TempPathFactory, shares: list[float]
) -> None:
    content = moving.read_bytes()
    folder = tmp_path_factory.mktemp("growing")
    path = folder / "log_0.mcap"
    growing = RunTally(folder, arm)
    path.write_bytes(b"")
    written = 0
    for cut in [*sorted(round(share * len(content)) for share in shares), len(content)]:
        with path.open("ab") as file:
            file.write(content[written:cut])
        written = cut
        growing.update()
    whole = RunTally(moving.parent, arm)
    whole.update()
    for since in range(11):
        assert growing.motion_s(T0_NS + since * SECOND) == whole.motion_s(T0_NS + since * SECOND)
    assert growing.unread_bytes == 0
    kept = ("begin_ns", "end_ns", "payload_kg", "declared", "newest_ns")
    assert [getattr(growing, name) for name in kept] == [getattr(whole, name) for name in kept]


def test_drift_is_of_the_active_model_and_read_from_the_ring_of_events_too(
    arm: Arm, moving: Path, tmp_path: Path
) -> None:
    log = run_of(tmp_path / "log", moving)
    rows = [residual(2.0, "planar/1"), residual(3.0, "planar/1", exceeded=False), residual(4.0, "planar/2", role=2)]
    write_rows(log / "events_1.mcap", rows)  # type: ignore[arg-type]
    watch, _ = watch_of(tmp_path, arm)
    watch.look(0)
    assert watch.seen(0, "planar/1").drift_ns == T0_NS + 2 * SECOND
    assert watch.seen(0, "planar/2").drift_ns == 0
    # The ring drops its oldest file and begins another.
    (log / "events_1.mcap").unlink()
    write_rows(log / "events_3.mcap", [residual(9.0, "planar/1")])  # type: ignore[list-item]
    watch.look(0)
    assert watch.seen(0, "planar/1").drift_ns == T0_NS + 9 * SECOND


def test_what_cannot_be_learned_from_is_named_once_and_the_rest_counts(arm: Arm, moving: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "good" / "log", moving)
    foreign = replace(arm_streams(Simulated(), 2.0, np.random.default_rng(1)), joint_names=("a", "b"))
    write_streams(tmp_path / "foreign.mcap", foreign)
    (tmp_path / "notes.mcap").write_text("these are notes, not a log")
    damaged = bytearray(moving.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "damaged.mcap").write_bytes(bytes(damaged))
    (tmp_path / "cut.mcap").write_bytes(moving.read_bytes()[:-20_000])
    watch, told = watch_of(tmp_path, arm)
    for _ in range(3):
        watch.look(0)
    skipped = {name: reason for event, name, reason in told if event == "skipped"}
    assert set(skipped) == {"foreign.mcap", "notes.mcap", "damaged.mcap"}
    assert "belief.joint_names" in skipped["foreign.mcap"]
    assert [name for event, name, _ in told if event == "cut_off"] == ["cut.mcap"]
    assert len(told) == 4
    assert {log.name for log in watch.logs()} == {"log", "cut.mcap"}


def test_a_log_that_a_retraining_refused_is_left_out_for_good(arm: Arm, moving: Path, tmp_path: Path) -> None:
    log = run_of(tmp_path / "log", moving)
    watch, told = watch_of(tmp_path, arm)
    watch.look(0)
    watch.leave_out(log, "belief.position: is not finite")
    watch.look(0)
    assert watch.logs() == ()
    assert watch.seen(0, "").newest_ns == 0
    assert told == [("skipped", "log", "belief.position: is not finite")]


def test_memory_bounds_what_is_learned_from_and_counted(arm: Arm, moving: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "a" / "log", moving)
    later = arm_streams(Simulated(), 10.0, np.random.default_rng(1), start_ns=T0_NS + 60 * SECOND)
    write_streams(tmp_path / "later.mcap", later)
    both, _ = watch_of(tmp_path, arm, newest_s=30.0)
    both.look(0)
    assert [log.name for log in both.logs()] == ["later.mcap", "log"]
    # Both under no load: motion counts however many runs it is spread over, and not what was logged under 1 kg.
    assert both.seen(0, "").regime_s == pytest.approx(16.0, abs=0.4)
    assert both.seen(T0_NS + 3 * SECOND, "").fresh_s == pytest.approx(13.0, abs=0.4)
    one, _ = watch_of(tmp_path, arm, newest_s=5.0)
    one.look(0)
    assert [log.name for log in one.logs()] == ["later.mcap"]
    assert one.seen(0, "").new_s == pytest.approx(10.0, abs=0.4)  # 5 s of each
    assert one.seen(0, "").regime_s == pytest.approx(5.0, abs=0.2)


def test_logs_of_another_interface_are_refused(moving: Path) -> None:
    with pytest.raises(LogError, match=r"safe_command\.interface"):
        RunTally(moving, load_arm(arm_file("planar"), CommandInterface.EFFORT)).update()


def test_of_finished_files_with_nothing_new_only_the_span_is_known(arm: Arm, moving: Path, tmp_path: Path) -> None:
    log = run_of(tmp_path / "log", moving)
    tally, whole = RunTally(log, arm, since_ns=T0_NS + 3600 * SECOND), RunTally(log, arm)
    tally.update()
    whole.update()
    assert (tally.motion_s(0), tally.skipped_ns) == (0.0, tally.end_ns)
    assert tally.end_ns >= whole.end_ns > 0
    assert 0 < tally.begin_ns <= whole.begin_ns
    assert tally.end_ns - whole.end_ns < 0.1 * SECOND


def test_every_mcap_file_is_somebodys(moving: Path, tmp_path: Path) -> None:
    log = run_of(tmp_path / "run" / "log", moving, moving)
    for name in ("events_1.mcap", "copy.mcap"):
        shutil.copy(moving, log / name)
    (tmp_path / "link.mcap").symlink_to(moving)
    assert logs_below(tmp_path) == [log, log / "copy.mcap"]


def test_a_golden_log_is_no_motion(arm: Arm, moving: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "run" / "log", moving)
    alone, _ = watch_of(tmp_path, arm)
    alone.look(0)
    before = alone.seen(0, ""), alone.logs()
    golden = run_of(tmp_path / "models" / "planar" / "golden" / "week12", moving)
    (golden / "golden.json").write_text("{}")
    beside, told = watch_of(tmp_path, arm)
    beside.look(0)
    assert (beside.seen(0, ""), beside.logs()) == before
    assert before[0].new_s > 0.0
    assert told == []


def test_what_vanishes_during_a_look_is_passed_over(
    arm: Arm, moving: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draft that becomes a bundle, a run that an operator removes: after it was listed, before it is entered."""
    root = tmp_path / "out"
    log = run_of(root / "run" / "log", moving)
    draft = run_of(root / "models" / "planar" / ".draft-x", moving)
    scandir = os.scandir

    def vanishes(path: str | Path) -> object:
        if Path(path) == draft:
            draft.rename(tmp_path / "elsewhere")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishes)
    assert logs_below(root) == [log]
    assert not draft.exists()


def test_a_folder_of_logs_that_is_gone_is_no_empty_one(arm: Arm, moving: Path, tmp_path: Path) -> None:
    run_of(tmp_path / "out" / "log", moving)
    watch, _ = watch_of(tmp_path / "out", arm)
    watch.look(0)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="out"):
        watch.look(0)
    (tmp_path / "elsewhere").rename(tmp_path / "out")
    watch.look(0)
    assert watch.seen(0, "").new_s > 0.0
