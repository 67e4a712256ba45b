"""The service as a process: it ends in order with its child, survives its child, and works from another machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli import learner, retraining
from mbrl_control.cli.errors import BAD_INPUT, exit_status
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.main import build_app
from mbrl_control.cli.retraining import run_retraining
from mbrl_control.command_interface import CommandInterface
from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.errors import BundleError, KeysError
from mbrl_control.deployment.keys import FOLDER_VARIABLE, Keys
from mbrl_control.deployment.lifecycle import import_bundle, promote
from mbrl_control.deployment.registry import Registry
from mbrl_control.learner.memory import load
from mbrl_control.learner.policy import Memory, Policy
from mbrl_control.learner.service import Ended
from mbrl_control.robot import Arm, load_arm
from tests.patience import HUNG_S, SLOW_S
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("planar"))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 s of motion of an arm that differs from its description."""
    root = tmp_path_factory.mktemp("out")
    (root / "run" / "log").mkdir(parents=True)
    streams = arm_streams(Simulated(lag_ms=(70.0, 90.0)), 100.0, np.random.default_rng(2))
    write_streams(root / "run" / "log" / "log_0.mcap", streams)
    return root


@pytest.fixture
def registry(arm: Arm, tmp_path: Path) -> Registry:
    """Of the robot, with the prior active."""
    registry = Registry(tmp_path / "robot" / "models", arm.model_name)
    registry.activate(int(prior_bundle(arm, registry, 0.02, 0.01, 3, T0_NS).name))
    return registry


def command(logs: Path, registry: Registry, *more: str) -> list[str]:
    options = ["--logs", str(logs), "--registry", str(registry.models), "--robot", "planar", "--new-minutes", "1.5"]
    return [sys.executable, "-m", "mbrl_control.cli.main", "learner", *options, *more]


def environment(**changed: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **changed}


def retrainings_of(process: int) -> list[int]:
    """Retrainings, from when they run their own program on."""
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in found if b"retrain" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")]


def events(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_service_and_retraining_and_leaves_nothing(
    logs: Path, registry: Registry, number: signal.Signals
) -> None:
    pipe = subprocess.PIPE
    service = subprocess.Popen(command(logs, registry), env=environment(), stdout=pipe, stderr=pipe, text=True)
    assert service.stdout is not None
    while json.loads(service.stdout.readline())["event"] != "begun":
        pass
    # `begun` is said before the child is there.
    while not (children := retrainings_of(service.pid)):
        assert service.poll() is None
    niceness = os.getpriority(os.PRIO_PROCESS, service.pid)
    service.send_signal(number)
    output, error = service.communicate(timeout=HUNG_S)
    assert service.returncode == 0, error
    assert [event["event"] for event in events(output)] == ["interrupted", "ended"]
    assert niceness == 19
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert registry.versions() == (1,)
    assert list(registry.folder.glob(".draft-*")) == []
    assert load(registry.folder) == Memory()


def test_a_child_that_is_killed_while_it_writes_leaves_no_half_bundle(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's own start-up code stands for a training that dies: memory, a fault of a library."""
    foreign = registry.folder / ".draft-somebody"
    foreign.mkdir()
    died = f"""
import os, pathlib, signal, sys
if "retrain" in sys.orig_argv:
    draft = pathlib.Path({str(registry.folder)!r}, ".draft-own")
    draft.mkdir()
    (draft / "model.onnx").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    (tmp_path / "sitecustomize.py").write_text(died)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ended = run_retraining(["--log", "x"], registry.folder)
    assert (ended.status, ended.output) == (-signal.SIGKILL, "")
    assert [path.name for path in registry.folder.glob(".draft-*")] == [foreign.name]


@pytest.mark.parametrize("shadow", [True, False])
def test_a_retraining_is_told_whether_live_motion_decides(
    logs: Path, registry: Registry, shadow: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[list[str]] = []

    def passes(arguments: Sequence[str], _folder: Path) -> Ended:
        told.append(list(arguments))
        return Ended(0, json.dumps({"model_id": "planar/2", "active": not shadow}), "")

    monkeypatch.setattr(retraining, "run_retraining", passes)
    policy = Policy(1.5, 1.5, shadow=shadow)
    _, service = learner._service(logs, registry.models, "planar", CommandInterface.VELOCITY, policy, 45.0, 0)
    assert service.turn()
    assert ("--shadow" in told[0]) is shadow
    assert {"log", "registry", "robot", "command", "minutes", "seed"} <= {word.lstrip("-") for word in told[0]}
    assert events(capsys.readouterr().out)[-1]["role"] == ("candidate" if shadow else "active")


def test_the_service_of_a_first_boot_waits_for_an_active_bundle_and_learns_then(
    logs: Path, tmp_path: Path, arm: Arm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun before `models prior`: status 2 would be the end of its unit."""
    pauses = iter(range(3))

    def sleep(_seconds: float) -> None:
        if (pause := next(pauses)) == 1:
            registry = Registry(tmp_path, arm.model_name)
            registry.activate(int(prior_bundle(arm, registry, 0.02, 0.01, 3, T0_NS).name))
        if pause == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(retraining, "run_retraining", lambda *_: Ended(1, "", "refused"))
    monkeypatch.setattr(learner, "time", SimpleNamespace(sleep=sleep, time=time.time))
    policy = Policy(1.5, 1.5, shadow=True)
    _, service = learner._service(logs, tmp_path, "planar", CommandInterface.VELOCITY, policy, 45.0, 0)
    learner._serve(service)
    said = events(capsys.readouterr().out)
    assert [event["event"] for event in said] == ["trouble", "begun", "refused"]
    assert "models prior" in said[0]["reason"]


def test_options_that_are_wrong_are_bad_input_at_once(logs: Path, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    for wrong in ("--registry", "--logs"):
        options = {"--logs": str(logs), "--registry": str(tmp_path)} | {wrong: missing}
        words = [word for pair in options.items() for word in pair]
        with pytest.raises(ValueError, match=missing) as refused:
            build_app()(["learner", *words, "--robot", "planar"], standalone_mode=False)
        assert exit_status(refused.value) == BAD_INPUT


@pytest.mark.timeout(SLOW_S)
def test_another_machine_learns_and_the_robot_takes_its_bundle_once_it_trusts_the_key(
    logs: Path, registry: Registry, arm: Arm, tmp_path: Path
) -> None:
    trainer = Keys(tmp_path / "trainer" / "keys")
    # Both know each other's key: the trainer starts from the robot's active bundle.
    robot = Keys()
    (robot_key,) = (path for key_id, path in robot.trusted().items() if key_id == robot.own_id())
    trainer.own()
    trainer.trust(robot_key)
    copy = Registry(Path(shutil.copytree(registry.models, tmp_path / "trainer" / "models")), arm.model_name)
    done = subprocess.run(
        command(logs, copy, "--once"),
        env=environment(**{FOLDER_VARIABLE: str(trainer.folder)}),
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [event["event"] for event in events(done.stdout)] == ["started", "begun", "passed", "ended"]
    assert copy.active() == 2

    with pytest.raises(KeysError, match="not among the trusted"):
        import_bundle(copy.path(2), registry, arm)
    assert (registry.versions(), registry.next_version()) == ((1,), 2)
    theirs = {key_id: path for key_id, path in trainer.trusted().items() if key_id == trainer.own_id()}
    robots = Keys(tmp_path / "robot" / "keys")
    robots.trust(robot_key)
    ((key_id, file),) = theirs.items()
    assert robots.trust(file) == key_id
    taken = import_bundle(copy.path(2), registry, arm, robots)
    assert (taken.signer, taken.manifest.model_id) == (key_id, "planar/2")
    assert registry.active() == 1
    promote(registry, 2, arm, robots)
    assert registry.active() == 2
    # A number is taken once, also where the bundle was deleted since.
    with pytest.raises(BundleError, match="numbers only grow"):
        import_bundle(copy.path(2), registry, arm, robots)
    shutil.rmtree(registry.path(2))
    with pytest.raises(BundleError, match="numbers only grow"):
        import_bundle(copy.path(2), registry, arm, robots)
    # What the logs held is known to the new bundle: the same learner has nothing to do.
    again = subprocess.run(
        command(logs, copy, "--once"),
        env=environment(**{FOLDER_VARIABLE: str(trainer.folder)}),
        capture_output=True,
        text=True,
        timeout=SLOW_S,
        check=False,
    )
    assert [event["event"] for event in events(again.stdout)] == ["started", "waiting", "ended"]
