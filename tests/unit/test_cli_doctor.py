"""Each check of the doctor on given findings; the whole report on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from mbrl_control.cli import doctor

GOOD = {"torch": "2.13.0", "mujoco": "3.17.0", "ros-rclpy": "9.1.2", "onnxruntime": "1.32.0", "onnxruntime-gpu": None}


def test_a_complete_installation_is_ok() -> None:
    checks = [*doctor.package_checks(GOOD), doctor.inference_check(GOOD)]
    assert {check.level for check in checks} == {"ok"}


def test_both_runtimes_at_once_are_a_conflict() -> None:
    check = doctor.inference_check({**GOOD, "onnxruntime-gpu": "1.31.1"})
    assert check.level == "fail"
    assert "overwrite" in check.remedy


@pytest.mark.parametrize(
    ("change", "name"),
    [({"torch": None}, "torch"), ({"mujoco": None}, "mujoco"), ({"mujoco": "4.0.0"}, "mujoco")],
)
def test_a_missing_or_broken_package_fails(change: dict[str, str | None], name: str) -> None:
    failed = [check for check in doctor.package_checks({**GOOD, **change}) if check.level == "fail"]
    assert [check.name for check in failed] == [name]


@pytest.mark.parametrize(
    ("env", "level"),
    [
        ({}, "ok"),
        ({"ROS_DOMAIN_ID": "101"}, "ok"),
        ({"ROS_DOMAIN_ID": "102"}, "fail"),
        ({"ROS_DOMAIN_ID": "-1"}, "fail"),
        ({"ROS_DOMAIN_ID": "seven"}, "fail"),
        ({"ROS_SECURITY_ENABLE": "true"}, "fail"),
        ({"ROS_SECURITY_ENABLE": "false"}, "ok"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "warn"),
    ],
)
def test_environment(env: dict[str, str], level: str) -> None:
    (check,) = doctor.environment_checks(env)
    assert check.level == level


def test_missing_shared_memory_is_a_warning_with_a_way_out(tmp_path: Path) -> None:
    check = doctor.shared_memory_check(tmp_path / "absent")
    assert check.level == "warn"
    assert "FASTDDS_BUILTIN_TRANSPORTS=UDPv4" in check.remedy


def test_levels_follow_the_findings() -> None:
    assert doctor.python_check((3, 12)).level == "fail"
    assert doctor.cores_check(1).level == "warn"
    assert doctor.realtime_check("PermissionError: not permitted").level == "warn"
    assert doctor.graph_check("ModuleNotFoundError: No module named 'mbrl_msgs'").level == "fail"
    assert doctor.clock_check(4e-3).level == "warn"
    assert [doctor.disk_check(mib * 2**20).level for mib in (100, 1000, 5000)] == ["fail", "warn", "ok"]


def test_whatever_is_not_ok_has_a_remedy_and_json_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        doctor.doctor(as_json=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert all(bool(check["remedy"]) == (check["level"] != "ok") for check in report["checks"])
    assert report["ok"] == all(check["level"] != "fail" for check in report["checks"])
    assert ended.value.exit_code == (0 if report["ok"] else 1)
