"""Bad URDFs: each fault is named with file, field and remedy, by `robot check`, by `robot new`, and on loading."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mbrl_control.arm_setup.check import check_urdf, check_yaml
from mbrl_control.arm_setup.findings import Severity
from mbrl_control.arm_setup.new import write_new_arm
from mbrl_control.cli import main as cli
from mbrl_control.robot import ArmError, load_arm
from tests.unit.urdf_support import SOUND, found, spoilt, with_finger, written

FLOATING = """<link name="room"/><joint name="loose" type="floating"><parent link="room"/><child link="base"/></joint>
</robot>"""
LOOP = '<joint name="back" type="fixed"><parent link="tool0"/><child link="base"/></joint></robot>'
RING = '<joint name="tie" type="fixed"><parent link="base"/><child link="tool0"/></joint></robot>'
STOPS = {
    "degrees": (spoilt(('lower="-2.5"', 'lower="-170"')), "joint bend: limit lower", "degrees", -2.96706),
    "degrees per second": (
        spoilt(('velocity="2"', 'velocity="180"')),
        "joint lift: limit velocity",
        "degrees",
        3.14159,
    ),
    "degrees per second of a continuous joint": (
        spoilt(('name="lift" type="revolute"', 'name="lift" type="continuous"'), ('velocity="2"', 'velocity="180"')),
        "joint lift: limit velocity",
        "degrees",
        3.14159,
    ),
    "an origin turned in degrees": (
        spoilt(('<origin xyz="0 0 0.4"/><axis', '<origin xyz="0 0 0.4" rpy="0 0 -90"/><axis')),
        "joint bend: origin rpy",
        "degrees",
        None,
    ),
    "an inertia turned in degrees": (
        spoilt(('<origin xyz="0 0 0.05"/><mass', '<origin xyz="0 0 0.05" rpy="90 0 0"/><mass')),
        "link column: inertial: origin rpy",
        "degrees",
        None,
    ),
    "no axis": (spoilt(('<axis xyz="0 1 0"/>', '<axis xyz="0 0 0"/>')), "joint lift: axis", "zero", None),
    "millimetres": (
        spoilt(('<origin xyz="0 0 0.4"/><axis', '<origin xyz="0 0 400"/><axis')),
        "joint bend: origin xyz",
        "millimetres",
        [0.0, 0.0, 0.4],
    ),
    "an exporter's infinity": (
        spoilt(('lower="-2.5" upper="2.5"', 'lower="-2.5" upper="1e16"')),
        "joint bend: limit upper",
        "continuous",
        None,
    ),
    "limits crossed": (
        spoilt(('lower="-2" upper="2"', 'lower="2" upper="-2"')),
        "joint lift: limit lower",
        "not below",
        None,
    ),
    "negative effort": (spoilt(('effort="80"', 'effort="-80"')), "joint lift: limit effort", "negative", None),
    "not a number": (spoilt(('effort="80"', 'effort="80 Nm"')), "joint lift: limit effort", "not numbers", None),
    "floating base": (SOUND.replace("</robot>", FLOATING), "joint loose", "floating", None),
    "planar base": (SOUND.replace("</robot>", FLOATING.replace("floating", "planar")), "joint loose", "planar", None),
    "mimic in the chain": (
        spoilt(('<axis xyz="0 1 0"/>', '<axis xyz="0 1 0"/><mimic joint="turn"/>')),
        "joint lift: mimic",
        "'turn'",
        None,
    ),
    "prismatic in the chain": (
        spoilt(('name="lift" type="revolute"', 'name="lift" type="prismatic"')),
        "joint lift",
        "prismatic",
        None,
    ),
    "unknown type": (spoilt(('name="lift" type="revolute"', 'name="lift" type="hinge"')), "joint lift", "hinge", None),
    "two joints of a name": (spoilt(('name="lift"', 'name="turn"')), "joint turn", "2 of this name", None),
    "two links of a name": (
        spoilt(('<link name="tool0"/>', '<link name="tool0"/><link name="fore"/>')),
        "link fore",
        "2 of this name",
        None,
    ),
    "no link of that name": (
        spoilt(('<child link="fore"/>', '<child link="forearm"/>')),
        "joint bend: child",
        "forearm",
        None,
    ),
    "no parent": (spoilt(('<parent link="base"/>', "")), "joint turn: parent", "missing", None),
    "two roots": (SOUND.replace("</robot>", '<link name="table"/></robot>'), "robot", "2 roots: base, table", None),
    "a loop": (SOUND.replace("</robot>", LOOP), "robot", "no root", None),
    "a ring": (SOUND.replace("</robot>", RING), "link tool0", "held by 2 joints (tool0_joint, tie)", None),
    "xacro": (spoilt(('effort="80"', 'effort="${strong}"')), "xacro", "not expanded", None),
}


def test_the_sound_urdf_has_nothing_to_say_against(tmp_path: Path) -> None:
    assert check_urdf(written(tmp_path, SOUND)).findings == []


@pytest.mark.parametrize("case", STOPS)
def test_a_fault_that_no_yaml_mends_is_named_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    text, field, words, proposal = STOPS[case]
    path = written(tmp_path, text)
    finding = found(check_urdf(path).findings, field, words)
    assert finding.severity is Severity.STOP
    assert finding.file == str(path)
    assert finding.remedy
    if proposal is not None:
        np.testing.assert_allclose(finding.proposal, proposal, rtol=1e-5)
        assert finding.reason
    assert found(list(write_new_arm(path, None, None, None).faults), field, words)
    assert [entry.name for entry in tmp_path.iterdir()] == ["arm.urdf"]


def test_a_full_turn_is_no_mistake_and_a_fixed_joint_needs_no_axis(tmp_path: Path) -> None:
    """As exporters write them: 2 pi rounded up, and pybullet_data's Panda at its flange."""
    turned = ('<origin xyz="0 0 0.4"/><axis', '<origin xyz="0 0 0.4" rpy="0 0 -6.2832"/><axis')
    flange = ('<origin xyz="0 0 0.3"/></joint>\n</robot>', '<origin xyz="0 0 0.3"/><axis xyz="0 0 0"/></joint></robot>')
    assert check_urdf(written(tmp_path, spoilt(turned, flange))).findings == []


MENDED = {
    "no limits": (
        spoilt(('<limit lower="-2.5" upper="2.5" velocity="3" effort="40"/>', "")),
        "joint bend: limit effort",
        "missing",
    ),
    "limits of zero": (
        spoilt(('lower="-2.5" upper="2.5"', 'lower="0" upper="0"')),
        "joint bend: limit lower",
        "missing: lower and upper are both zero",
    ),
    "effort zero": (spoilt(('effort="40"', 'effort="0"')), "joint bend: limit effort", "missing"),
    "velocity zero": (spoilt(('velocity="3"', 'velocity="0"')), "joint bend: limit velocity", "missing"),
    "continuous": (
        spoilt(('name="turn" type="revolute"', 'name="turn" type="continuous"')),
        "joint turn: limit upper",
        "continuous",
    ),
    "no inertia": (
        spoilt(('<mass value="1.5"/>', '<mass value="0"/>')),
        "link fore: inertial",
        "without mass",
    ),
    "triangle inequality": (
        spoilt(
            (
                'izz="0.004"/></inertial>\n    <collision><origin xyz="0 0 0.05"/>',
                'izz="0.05"/></inertial>\n    <collision><origin xyz="0 0 0.05"/>',
            )
        ),
        "link column: inertial",
        "triangle inequality",
    ),
    "not positive definite": (
        spoilt(
            (
                'iyz="0" izz="0.004"/></inertial>\n    <collision><origin xyz="0 0 0.2"/>',
                'iyz="0.03" izz="0.004"/></inertial>\n    <collision><origin xyz="0 0 0.2"/>',
            )
        ),
        "link upper: inertial",
        "not positive definite",
    ),
}


@pytest.mark.parametrize("case", MENDED)
def test_a_gap_is_named_and_robot_new_fills_it_in_the_yaml(tmp_path: Path, case: str) -> None:
    text, field, words = MENDED[case]
    path = written(tmp_path, text)
    report = check_urdf(path)
    gap = found(report.findings, field, words)
    assert gap.severity is Severity.STOP
    assert gap.proposal is not None
    new = write_new_arm(path, None, None, None)
    assert new.faults == ()
    mended = check_yaml(new.yaml)
    assert mended.stops == 0
    assert mended.arm is not None
    assert (mended.arm.lower < mended.arm.upper).all()
    assert all(body.fault() is None for body in mended.arm.bodies)
    by_hand = new.yaml.read_text().split("unconfirmed:")[1]
    assert ("links" if "inertial" in field else "joints") in by_hand


@pytest.mark.parametrize("case", MENDED)
def test_loading_an_arm_whose_yaml_does_not_fill_the_gap_names_it(tmp_path: Path, case: str) -> None:
    sound = write_new_arm(written(tmp_path, SOUND), None, None, None)
    text, field, words = MENDED[case]
    written(tmp_path, text)
    with pytest.raises(ArmError) as caught:
        load_arm(sound.yaml)
    if "limit" in field:
        assert caught.value.field.split(": limit")[0] == field.split(": limit")[0]
    else:
        assert (caught.value.field, words in caught.value.fault) == (field, True)
    report = check_yaml(sound.yaml)
    finding = found(report.findings, field, words.replace("continuous", "missing"))
    assert finding.proposal is not None, "a value is proposed"
    assert report.arm is None


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    text = spoilt(('lower="-2.5"', 'lower="-170"'), ('effort="80"', 'effort="-80"'), ('<parent link="base"/>', ""))
    fields = {finding.field for finding in check_urdf(written(tmp_path, text)).findings}
    assert {"joint bend: limit lower", "joint lift: limit effort", "joint turn: parent"} <= fields


def test_several_tips_are_listed_and_one_can_be_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, with_finger())
    with pytest.raises(ArmError, match=r"tool0 \(behind 3 rotary joints\); finger \(behind 3") as caught:
        write_new_arm(path, None, None, None)
    assert "--tool" in caught.value.remedy
    with pytest.raises(ArmError, match="no such link"):
        write_new_arm(path, None, None, "gripper")
    arm = load_arm(write_new_arm(path, None, None, "tool0").yaml)
    assert arm.joint_names == ("turn", "lift", "bend")
    assert arm.bodies[2].mass == pytest.approx(1.7), "the finger's mass stays on the forearm"
    assert arm.bodies[2].com[1] == pytest.approx(0.2 * 0.02 / 1.7)


def test_the_command_line_has_an_exit_status_for_each_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(["robot", *arguments])
        out = capsys.readouterr()
        return int(caught.value.code or 0), out.out, out.err

    path = written(tmp_path, SOUND)
    assert run("check", str(path))[0] == 0
    status, out, _ = run("new", "--urdf", str(path))
    assert status == 0
    assert str(path.with_suffix(".yaml")) in out
    status, out, _ = run("check", str(path), "--json")
    told = json.loads(out)
    assert (status, told["ok"], told["joints"]) == (0, True, ["turn", "lift", "bend"])
    assert {finding["severity"] for finding in told["findings"]} == {"guess"}
    status, _, err = run("new", "--urdf", str(path))
    assert status == 2
    assert "never overwritten" in err
    spoil = path.with_suffix(".yaml")
    spoil.write_text(
        spoil.read_text().replace("sensor_s: 0.002", "sensor_s: 0.004").replace("lag_s: [0.03", "lag_s: [0.04")
    )
    status, out, _ = run("check", str(spoil))
    assert status == 0
    assert "not what URDF and YAML make now" in out
    spoil.write_text(spoil.read_text().replace("home:", "hoome:"))
    status, out, _ = run("check", str(spoil), "--json")
    fields = {finding["field"]: finding["proposal"] for finding in json.loads(out)["findings"]}
    assert status == 1
    assert len(fields["home"]) == 3, "the missing field comes with a value"
    assert "hoome" in fields
    short = spoil.rename(path.with_suffix(".yml"))
    for name in (short, path):
        assert str(short) in run("check", str(name))[1]
    path.write_text("<robot")
    assert run("check", str(path))[0] == 2
    (tmp_path / "notes.md").touch()
    for file, words in {"none.urdf": "no such file", "notes.md": "neither URDF nor YAML", ".": "neither"}.items():
        status, _, err = run("check", str(tmp_path / file))
        assert (status, words in err, "--robot" in err, "same stem" in err) == (2, True, False, False), err
    status, out, err = run("new", "--urdf", str(tmp_path / "none.urdf"))
    assert (status, out, "none.urdf: no such file" in err, "same stem" in err) == (2, "", True, False)
