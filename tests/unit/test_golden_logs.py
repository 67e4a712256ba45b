"""Golden logs: copied whole, kept apart, and never read when they are not what they were."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mbrl_control.golden_logs as golden_module
from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment import files
from mbrl_control.deployment.registry import Registry
from mbrl_control.episode_log.folder import recordings_below
from mbrl_control.episode_log.prune import prune
from mbrl_control.episode_log.recovery import log_info
from mbrl_control.golden_logs import (
    FOLDER,
    LOG,
    NAME,
    SAID,
    GoldenError,
    add_golden,
    golden_names,
    read_golden,
    remove_golden,
)
from mbrl_control.replay.streams import read_streams
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from tests.unit.synthetic_log import T0_NS, Arm, arm_streams, write_streams

PLANAR = load_arm(arm_file("planar"))
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s."""
    path = tmp_path_factory.mktemp("log") / "log.mcap"
    write_streams(path, arm_streams(Arm(), 40.0, np.random.default_rng(0)))
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models", PLANAR.model_name)


def kept(registry: Registry, log: Path, name: str = "week12") -> Path:
    add_golden(registry, PLANAR, log, name, T0_NS)
    return registry.folder / FOLDER / name


def test_the_copy_is_what_learning_would_have_read(log: Path, registry: Registry) -> None:
    said = add_golden(registry, PLANAR, log, "week12", T0_NS)
    (golden,) = read_golden(registry, PLANAR)
    assert golden.said == said
    source = read_streams(log)
    for field in ("belief_ns", "position", "velocity", "effort", "command_ns", "applied", "relay_ns", "publishing"):
        np.testing.assert_array_equal(getattr(golden.streams, field), getattr(source, field))
    assert (said.payload_kg, said.joint_names, said.created) == (0.0, PLANAR.joint_names, "2023-11-14T22:13:20+00:00")
    assert said.blocks >= 18
    assert said.rows > 3800
    folder = registry.folder / FOLDER / "week12"
    assert {name.rpartition("/")[2] for name, count in log_info(folder).counts if count} == {
        "belief", "safe_command", "relay_status", "safety_status"
    }  # fmt: skip
    assert (folder / LOG).stat().st_size < log.stat().st_size
    assert registry.versions() == (), "a golden log is no bundle"


def test_one_phase_alone_is_kept(tmp_path: Path, registry: Registry) -> None:
    """The status that says the payload comes with every stretch of a graph's log, and has to be in it."""
    streams = arm_streams(Arm(), 30.0, np.random.default_rng(1))
    write_streams(tmp_path / "log.mcap", streams, ((T0_NS, "a"), (T0_NS + 20 * SECOND, "b")))
    said = add_golden(registry, PLANAR, tmp_path / "log.mcap", "a", T0_NS, phase="a")
    (golden,) = read_golden(registry, PLANAR)
    inside = streams.belief_ns < T0_NS + 20 * SECOND
    np.testing.assert_array_equal(golden.streams.belief_ns, streams.belief_ns[inside])
    assert (said.source.phase, said.seconds) == ("a", pytest.approx(20.0, abs=0.01))
    with pytest.raises(GoldenError, match="safety_status: holds no message in this stretch"):
        add_golden(registry, PLANAR, tmp_path / "log.mcap", "end", T0_NS, newest_s=9.0)


def test_a_golden_log_is_not_pruned_with_the_runs_below_one_folder(
    log: Path, registry: Registry, tmp_path: Path
) -> None:
    """As with `--registry out/models` and `log prune out`; it is the oldest and the newest file by turns."""
    golden = kept(registry, log) / LOG
    runs = [tmp_path / f"run_{number}" / "log" / "log_0.mcap" for number in range(2)]
    for age, run in enumerate(runs):
        run.parent.mkdir(parents=True)
        shutil.copy(log, run)
        os.utime(run, (1e9 + age, 1e9 + age))
    size = log.stat().st_size
    for when in (1.0, 2e9):
        os.utime(golden, (when, when))
        assert prune(tmp_path, size, dry_run=True).removed == (runs[0],)
    assert prune(tmp_path, 0).removed == (runs[0],), "the newest run stays"
    assert [each.said.name for each in read_golden(registry, PLANAR)] == ["week12"]


def test_no_draft_of_a_golden_log_is_taken_for_data(
    log: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever prunes or learns may look at any moment, and a killed `golden add` leaves what it had."""
    write = files._write_synced
    seen: list[list[Path]] = []

    def looks(path: Path, data: bytes) -> None:
        write(path, data)
        seen.append(recordings_below(registry.models))

    monkeypatch.setattr(files, "_write_synced", looks)
    kept(registry, log)
    assert seen == [[], []]


@given(st.one_of(st.text(max_size=70), st.sampled_from(["..", "../x", "a/b", "/etc", ".draft-x", "a\n", ""])))
def test_a_name_never_leads_out_of_the_registry(name: str) -> None:
    registry = Registry(Path("/nonexistent/models"), "planar")
    with pytest.raises(GoldenError, match=r"no such golden log|is no name"):
        remove_golden(registry, name)
    place = registry.folder / FOLDER / name
    if re.fullmatch(NAME, name):
        assert place.parent == registry.folder / FOLDER
        assert place.name == name


def test_what_cannot_be_a_yardstick_is_refused_and_leaves_nothing(
    log: Path, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = arm_streams(Arm(), 40.0, np.random.default_rng(2))
    cases: dict[str, tuple[str, object]] = {
        "payload: declared as 0, 1 kg": ("payload", replace(streams, payload_ns=np.array([T0_NS + 20 * SECOND]))),
        "are not those of planar": ("names", replace(streams, joint_names=("a", "b"))),
        "blocks of 2 s": ("short", arm_streams(Arm(), 12.0, np.random.default_rng(3))),
        "is not finite": ("nan", replace(streams, position=np.where(np.arange(2) == 1, np.nan, streams.position))),
    }
    for message, (name, broken) in cases.items():
        write_streams(tmp_path / f"{name}.mcap", broken)  # type: ignore[arg-type]
        with pytest.raises(GoldenError, match=message) as refused:
            add_golden(registry, PLANAR, tmp_path / f"{name}.mcap", name, T0_NS)
        assert f"{name}.mcap" in str(refused.value)
    with pytest.raises(GoldenError, match="holds velocity commands, not effort"):
        add_golden(registry, load_arm(arm_file("planar"), CommandInterface.EFFORT), log, "effort", T0_NS)
    monkeypatch.setattr(golden_module, "MOST_S", 30.0)
    with pytest.raises(GoldenError, match="longer than 30 s"):
        add_golden(registry, PLANAR, log, "long", T0_NS)
    assert golden_names(registry) == ()


def test_a_name_is_used_once_and_free_again_when_it_is_removed(log: Path, registry: Registry) -> None:
    kept(registry, log)
    with pytest.raises(GoldenError, match="exists already"):
        kept(registry, log)
    with pytest.raises(GoldenError, match=r"no such golden log; known: week12"):
        remove_golden(registry, "week13")
    remove_golden(registry, "week12")
    assert golden_names(registry) == ()
    kept(registry, log)


def _edit(field: str, value: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        said = json.loads((folder / SAID).read_text())
        (folder / SAID).write_text(json.dumps(said | {field: value}))

    return apply


def _flip(folder: Path) -> None:
    data = bytearray((folder / LOG).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / LOG).write_bytes(data)


def _link(folder: Path) -> None:
    outside = folder.parents[2] / "outside.mcap"
    (folder / LOG).rename(outside)
    (folder / LOG).symlink_to(outside)


def _linked_folder(folder: Path) -> None:
    outside = folder.parents[2] / "outside"
    folder.rename(outside)
    folder.symlink_to(outside)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped bit": (_flip, r"log_0\.mcap: sha256 differs .* models golden remove week12"),
    "cut off": (lambda folder: (folder / LOG).write_bytes(b"\x89MCAP0\r\n"), "sha256 differs"),
    "no log": (lambda folder: (folder / LOG).unlink(), "expected"),
    "no description": (lambda folder: (folder / SAID).unlink(), r"golden\.json: cannot be read"),
    "not json": (lambda folder: (folder / SAID).write_text("{"), r"golden\.json: json"),
    "unknown field": (_edit("surprise", 1), "surprise"),
    "non-finite payload": (_edit("payload_kg", "nan"), "payload_kg"),
    "other payload": (_edit("payload_kg", 2.0), "payload_kg: 2.0, the log has 0.0"),
    "renamed": (_edit("name", "week13"), "name: says week13"),
    "other arm": (_edit("robot", "panda"), "of panda, velocity"),
    "other joints": (_edit("joint_names", ["a", "b"]), r"joints \['a', 'b'\]"),
    "other interface": (_edit("command_interface", "effort"), "of planar, effort"),
    "another file": (lambda folder: (folder / "x").write_text(""), "holds"),
    "link": (_link, r"log_0\.mcap: is a link"),
    "linked folder": (_linked_folder, "is no golden log"),
    "stranger beside it": (lambda folder: (folder.parent / "x.txt").write_text(""), r"x\.txt: is no golden log"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_or_foreign_one_is_an_error_and_not_passed_over(name: str, log: Path, registry: Registry) -> None:
    folder = kept(registry, log)
    assert len(read_golden(registry, PLANAR)) == 1
    break_it, message = BROKEN[name]
    break_it(folder)
    with pytest.raises(GoldenError, match=message):
        read_golden(registry, PLANAR)


def test_what_a_killed_copy_left_is_nothing(log: Path, registry: Registry) -> None:
    folder = kept(registry, log)
    (folder.parent / ".draft-x").mkdir()
    assert golden_names(registry) == ("week12",)
