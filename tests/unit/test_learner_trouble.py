"""What may pass by itself does not end the service: it is said, and tried again at the next look."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment import files
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.learner.memory import FILE, load
from mbrl_control.learner.service import Ended
from mbrl_control.robot import Arm, load_arm
from tests.unit.test_learner_service import POLICY, Bench


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("planar"))


@pytest.fixture
def bench(arm: Arm, tmp_path: Path) -> Bench:
    registry = Registry(tmp_path / "models", arm.model_name)
    registry.activate(made(arm, registry))
    logs = tmp_path / "out"
    logs.mkdir()
    return Bench(registry, arm, logs, lambda logs: Ended(1, "", "error: retrain: candidate refused: numbers"))


def made(arm: Arm, registry: Registry) -> int:
    """Number of a new bundle."""
    return int(prior_bundle(arm, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5)).name)


def test_a_service_waits_for_the_first_active_bundle_and_a_single_look_refuses(
    bench: Bench, arm: Arm, tmp_path: Path
) -> None:
    bench.registry = Registry(tmp_path / "others", arm.model_name)
    bench.policy = replace(POLICY, shadow=True)
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    with pytest.raises(BundleError, match=r"active\.json: names no bundle that --shadow.*models prior --robot planar"):
        service.turn()
    for _ in range(3):
        service.attend()
    assert bench.events == ["trouble"]
    assert "names no bundle that --shadow" in bench.said[0][1]["reason"]
    bench.registry.activate(made(arm, bench.registry))
    service.attend()
    assert bench.events == ["trouble", "begun", "refused"]


def test_an_active_bundle_that_is_not_whole_is_waited_for(bench: Bench) -> None:
    service = bench.service()
    service.attend()
    manifest = bench.registry.path(1) / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-1])
    again = bench.service()
    again.attend()
    again.attend()
    manifest.write_bytes(whole)
    again.attend()
    assert bench.events == ["waiting", "trouble", "waiting"]
    assert str(bench.registry.path(1)) in bench.said[1][1]["reason"]


def test_a_folder_of_logs_that_cannot_be_read_is_waited_for_and_what_comes_after_is_said_again(bench: Bench) -> None:
    service = bench.service()
    service.attend()
    aside = bench.logs.rename(bench.logs.with_name("aside"))
    service.attend()
    service.attend()
    aside.rename(bench.logs)
    service.attend()
    service.attend()
    assert bench.events == ["waiting", "trouble", "waiting"]
    assert str(bench.logs) in bench.said[1][1]["reason"]


class Disk:
    """While it is full it takes no file's content, and the error names no file, as that of write(2)."""

    full = False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk, write = Disk(), files._write_synced

    def writes(path: Path, data: bytes) -> None:
        if disk.full:
            path.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(files, "_write_synced", writes)
    return disk


def test_what_cannot_be_remembered_is_not_begun(bench: Bench, disk: Disk) -> None:
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    disk.full = True
    for _ in range(3):
        service.attend()
    assert (bench.events, bench.calls) == (["trouble"], [])
    assert f"{bench.registry.folder / FILE}" in bench.said[0][1]["reason"]
    assert os.strerror(errno.ENOSPC) in bench.said[0][1]["reason"]
    disk.full = False
    service.attend()
    assert bench.events == ["trouble", "begun", "refused"]
    assert bench.said[-1][1]["failures"] == load(bench.registry.folder).failures == 1


def test_a_pass_that_the_disk_did_not_take_is_remembered_once_it_does(bench: Bench, arm: Arm, disk: Disk) -> None:
    number = made(arm, bench.registry)

    def passes(_logs: tuple[Path, ...]) -> Ended:
        bench.registry.activate(number)
        disk.full = True
        return Ended(0, json.dumps({"model_id": f"planar/{number}", "active": True}), "")

    bench.answer = passes
    bench.move("first", 14.0, 0.0)
    service = bench.service()
    service.attend()
    service.attend()
    assert bench.events == ["begun", "passed", "trouble"]
    assert load(bench.registry.folder).failures == 1
    disk.full = False
    service.attend()
    memory = load(bench.registry.folder)
    assert (memory.failures, memory.made, bench.events[3:]) == (0, number, ["waiting"])


def test_trouble_while_a_signal_ends_the_service_does_not_keep_it_alive(bench: Bench, disk: Disk) -> None:
    def interrupts(_logs: tuple[Path, ...]) -> Ended:
        disk.full = True
        raise KeyboardInterrupt

    bench.answer = interrupts
    bench.move("first", 14.0, 0.0)
    with pytest.raises(KeyboardInterrupt):
        bench.service().attend()
    assert bench.events == ["begun", "trouble", "interrupted"]

    def cannot_tidy_up(_logs: tuple[Path, ...]) -> Ended:
        try:
            raise KeyboardInterrupt
        finally:
            (bench.logs / "nowhere").rmdir()

    bench.answer = cannot_tidy_up
    bench.move("second", 14.0, 100.0)
    disk.full = False
    with pytest.raises(FileNotFoundError):
        bench.service().attend()
