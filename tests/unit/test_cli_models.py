"""The verbs over a registry, on real prior bundles of the two-link arm."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from mbrl_control.cli import main as cli
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.provenance import source_commit
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.registry import Registry
from mbrl_control.learning.judge import RetrainRefused
from mbrl_control.live.watch import WINDOWS


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prior bundles of the planar arm, the second one active."""
    folder = tmp_path_factory.mktemp("registry")
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            cli.main(["models", "prior", "--robot", "planar", "--registry", str(folder)])
    return folder


def test_promote_sign_and_keys(registry: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A bundle of a key that is revoked comes back when it is signed anew, or not at all."""
    models = shutil.copytree(registry, tmp_path / "models")
    where = ("--robot", "planar", "--registry", str(models))
    own = run(capsys, "models", "keys", "list")[1].split()
    assert own[0] == "own"
    assert f"signed by {own[1][:16]}" in run(capsys, "models", "verify", "1", *where)[1]
    status, out, _ = run(capsys, "models", "promote", "1", *where)
    assert (status, json.loads(out)) == (0, {"model_id": "planar/1", "active": 1})
    (models / "planar" / "2" / "signature.json").unlink()
    status, out, err = run(capsys, "models", "promote", "2", *where)
    assert (status, out) == (2, "")
    remedy = shlex.split(err.partition("mbrl-control models ")[2].strip())
    assert run(capsys, "models", *remedy)[0] == 0
    assert run(capsys, "models", "promote", "2", *where)[0] == 0
    assert run(capsys, "models", "rollback", *where)[0] == 0


def test_the_keys_of_another(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    theirs = Keys(tmp_path / "theirs")
    theirs.own()
    ((key_id, file),) = theirs.trusted().items()
    monkeypatch.setenv("MBRL_KEYS", str(tmp_path / "mine"))
    assert run(capsys, "models", "keys", "list")[1].startswith("no own key in ")
    assert not (tmp_path / "mine").exists()
    assert run(capsys, "models", "keys", "trust", str(file)) == (0, f"trusted  {key_id}\n", "")
    mine = Keys()
    mine.own()
    listed = [line.split()[:2] for line in run(capsys, "models", "keys", "list")[1].splitlines()]
    assert sorted(listed) == sorted([["own", mine.own_id()], ["trusted", key_id]])
    assert run(capsys, "models", "keys", "revoke", key_id[:8]) == (0, f"revoked  {key_id}\n", "")
    status, _, err = run(capsys, "models", "keys", "trust", str(file))
    assert (status, "revoked" in err) == (2, True)
    own_id = mine.own_id()
    assert own_id is not None
    assert "private half is deleted" in run(capsys, "models", "keys", "revoke", own_id)[2]


def test_list_verify_roll_back_and_forth(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--robot", "planar", "--registry", str(registry))
    status, out, _ = run(capsys, "models", "list", *where, "--json")
    said = {"robot": "planar", "versions": [1, 2], "active": 2, "candidate": None, "rejected": {}}
    assert (status, json.loads(out)) == (0, said)
    assert run(capsys, "models", "verify", *where)[0] == 0
    status, out, _ = run(capsys, "models", "rollback", *where)
    assert (status, json.loads(out)["model_id"]) == (0, "planar/1")
    status, out, _ = run(capsys, "models", "show", *where)
    manifest = json.loads(out)
    assert (manifest["version"], manifest["has_spread"]) == (1, False)
    assert run(capsys, "models", "rollback", "2", *where)[0] == 0
    assert "* planar/2" in run(capsys, "models", "list", *where)[1]


def test_a_candidate_and_what_was_rejected_are_listed(
    registry: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    models = shutil.copytree(registry, tmp_path / "models")
    where = ("--robot", "planar", "--registry", str(models))
    status, out, _ = run(capsys, "models", "shadow", "1", *where)
    assert (status, json.loads(out)) == (0, {"model_id": "planar/1", "candidate": 1, "windows": WINDOWS})
    assert run(capsys, "models", "list", *where)[1].splitlines() == ["? planar/1", "* planar/2"]
    Registry(models, "planar").refuse(1, "off by 0.2 rad")
    assert run(capsys, "models", "list", *where)[1].splitlines()[0] == "x planar/1  off by 0.2 rad"
    assert json.loads(run(capsys, "models", "list", *where, "--json")[1])["rejected"] == {"1": "off by 0.2 rad"}
    assert run(capsys, "models", "promote", "1", *where)[0] == 0
    assert run(capsys, "models", "list", *where)[1].splitlines()[0] == "* planar/1"


@pytest.mark.parametrize("verb", ["list", "show", "verify", "rollback", "sign"])
def test_a_registry_that_is_not_there_is_no_empty_one(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    status, out, err = run(capsys, "models", verb, "--robot", "planar", "--registry", str(absent))
    assert (status, out) == (2, "")
    assert f"{absent}: no such folder; check --registry" in err
    assert "models prior" in err
    assert not absent.exists()
    assert run(capsys, "models", "list", "--robot", "planar", "--registry", str(tmp_path))[0] == 0


def test_a_damaged_bundle_is_refused_by_file(
    registry: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = tmp_path / "planar" / "1"
    copy.mkdir(parents=True)
    for path in (registry / "planar" / "1").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with (copy / "rollout.onnx").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    status, _, err = run(capsys, "models", "verify", "1", "--robot", "planar", "--registry", str(tmp_path))
    assert status == 2
    assert "rollout.onnx" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "verify", "9"),
        ("models", "rollback", "9"),
        ("models", "promote", "9"),
        ("models", "shadow", "9"),
        ("models", "shadow", "1", "--windows", "3"),
        ("models", "sign", "9"),
        ("models", "show", "x"),
        ("models", "show", "-1"),
    ],
    ids=" ".join,
)
def test_a_version_that_is_not_there_exits_2(
    registry: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, _, err = run(capsys, *arguments, "--robot", "planar", "--registry", str(registry))
    assert (status, bool(err)) == (2, True)


def test_another_robots_name_is_an_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "models", "list", "--robot", "nobody")
    assert status == 2
    assert "planar" in err


def test_robot_check_prints_every_joint(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "robot", "check", "planar")
    assert status == 0
    assert "shoulder" in out
    assert "elbow" in out


def test_retrain_refusals_exit_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from mbrl_control import retrain as library

    def worse(*_: object) -> None:
        raise RetrainRefused("candidate 2.0e-2 rad, active 1.0e-2 rad")

    monkeypatch.setattr(library, "retrain", worse)
    monkeypatch.setattr(library, "run_in_background", lambda: None)
    status, out, err = run(capsys, "retrain", "--log", str(tmp_path / "a.mcap"), "--robot", "planar")
    assert (status, out) == (1, "")
    assert "2.0e-2" in err


def test_retrain_needs_a_readable_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from mbrl_control import retrain as library

    monkeypatch.setattr(library, "run_in_background", lambda: None)  # would lower this test process for good
    missing = tmp_path / "missing.mcap"
    status, _, err = run(capsys, "retrain", "--log", str(missing), "--robot", "planar", "--registry", str(tmp_path))
    assert status == 2
    assert str(missing) in err


def test_the_commit_is_a_hash_or_unknown() -> None:
    commit = source_commit()
    assert commit == "unknown" or (len(commit) == 40 and int(commit, 16) >= 0)


def test_robot_check_names_every_range_that_no_plant_can_be_drawn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = arm_file("planar")
    for file in (source.with_suffix(".urdf"), source.with_suffix(".mjcf.xml")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    description = yaml.safe_load(source.read_text())
    ranges = {"mass": [0.0, 1.1], "servo_gain": [1.2, 0.8], "noise": [1.0], "command_delay_steps": [0.5, 1], "odd": 1}
    path = tmp_path / "planar.yaml"
    path.write_text(yaml.safe_dump(description | {"randomization": description["randomization"] | ranges}))
    status, out, _ = run(capsys, "robot", "check", str(path), "--json")
    assert status == 1
    stops = {row["field"]: row["fault"] for row in json.loads(out)["findings"] if row["severity"] == "stop"}
    assert set(stops) == {"randomization", *(f"randomization.{name}" for name in ranges if name != "odd")}
    assert stops["randomization"] == "odd is unknown"
    path.write_text(yaml.safe_dump({key: value for key, value in description.items() if key != "randomization"}))
    assert run(capsys, "robot", "check", str(path))[0] == 0, "an arm need not have any"
