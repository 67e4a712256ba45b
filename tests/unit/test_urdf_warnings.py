"""URDFs that may be right and seldom are: `robot check` says so with a remedy, and they do not stop."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mbrl_control.arm_setup.check import check_urdf, check_yaml
from mbrl_control.arm_setup.findings import Severity
from mbrl_control.arm_setup.new import write_new_arm
from tests.unit.urdf_support import SOUND, found, spoilt, with_finger, written

COLUMN = """<mass value="3"/>
      <inertia ixx="0.02" ixy="0" ixz="0" iyy="0.02\""""
VISUAL = '<visual><geometry><mesh filename="nowhere.stl"/></geometry></visual>'
FORE = '<collision><origin xyz="0 0 0.15"/><geometry><cylinder radius="0.05" length="0.3"/></geometry></collision>'
WARNINGS = {
    "placeholder effort": (spoilt(('effort="40"', 'effort="1000"')), "joint bend: limit effort", "placeholder"),
    "effort of one": (spoilt(('effort="40"', 'effort="1"')), "joint bend: limit effort", "placeholder"),
    "very fast": (spoilt(('velocity="3"', 'velocity="10"')), "limit velocity", "bend 10"),
    "inertia in other units": (
        spoilt((COLUMN, COLUMN.replace("0.02", "20"))),
        "link column: inertial",
        "radius of gyration",
    ),
    "gripper finger": (with_finger(), "joint grip", "fixed at zero"),
    "mesh not there": (
        spoilt(
            ('<cylinder radius="0.05" length="0.3"/>', '<mesh filename="package://test_arm/fore.stl"/>'),
            ('<cylinder radius="0.05" length="0.3"/>', '<mesh filename="package://test_arm/fore.stl"/>'),
        ),
        "link fore: collision",
        "not found",
    ),
    "visual not there": (
        spoilt(("<collision>", VISUAL + "<collision>")),
        "link base: visual",
        "'nowhere.stl' not found; `demo --sim pybullet` draws it",
    ),
    "no shape": ("".join(SOUND.rsplit(FORE, 1)), "link fore", "no shape"),
    "grams": (spoilt(('<mass value="1.5"/>', '<mass value="1500"/>')), "link fore: inertial mass", "grams?"),
    "soft limit": (
        spoilt(('effort="40"/>', 'effort="40"/><safety_controller soft_lower_limit="-2" soft_upper_limit="2.5"/>')),
        "joint bend: safety_controller",
        "soft_lower_limit -2 rad is stricter",
    ),
    "soft limit that is no number": (
        spoilt(('effort="40"/>', 'effort="40"/><safety_controller soft_lower_limit="-inf"/>')),
        "joint bend: safety_controller soft_lower_limit",
        "cannot be read, and is not used",
    ),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_what_is_suspicious_is_said_and_does_not_stop(tmp_path: Path, case: str) -> None:
    text, field, words = WARNINGS[case]
    tool = "tool0"
    report = check_urdf(written(tmp_path, text), tool=tool)
    assert found(report.findings, field, words).severity is Severity.WARN
    assert report.stops == 0


def test_a_soft_limit_of_a_continuous_joint_is_followed_in_the_yaml(tmp_path: Path) -> None:
    soft = ('effort="40"/>', 'effort="40"/><safety_controller soft_lower_limit="-2" soft_upper_limit="2"/>')
    endless = ('name="bend" type="revolute"', 'name="bend" type="continuous"')
    new = write_new_arm(written(tmp_path, spoilt(soft, endless)), None, None, None)
    words = "is stricter"
    said = [finding for finding in check_yaml(new.yaml).findings if words in finding.fault]
    assert [finding.field for finding in said] == ["joint bend: safety_controller"] * 2
    assert all("in the YAML's row of bend" in finding.remedy for finding in said)
    tree = yaml.safe_load(new.yaml.read_text())
    for row in tree["joints"]:
        if row["name"] == "bend":
            row.update(lower=-2.0, upper=2.0)
    tree["home"][2] = 1.0
    new.yaml.write_text(yaml.safe_dump(tree))
    assert not [finding for finding in check_yaml(new.yaml).findings if words in finding.text()]
