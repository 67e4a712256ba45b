"""A small sound URDF to be spoilt: three joints, primitive shapes, a tool frame."""

from __future__ import annotations

from pathlib import Path

from mbrl_control.arm_setup.findings import Finding

LINK = """
  <link name="{name}">
    <inertial><origin xyz="0 0 {half}"/><mass value="{mass}"/>
      <inertia ixx="0.02" ixy="0" ixz="0" iyy="0.02" iyz="0" izz="0.004"/></inertial>
    <collision><origin xyz="0 0 {half}"/><geometry><cylinder radius="0.05" length="{length}"/></geometry></collision>
  </link>"""
JOINT = """
  <joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>
    <origin xyz="0 0 {height}"/><axis xyz="{axis}"/>
    <limit lower="{lower}" upper="{upper}" velocity="{velocity}" effort="{effort}"/>
    <dynamics damping="0.5" friction="0.25"/></joint>"""
SOUND = (
    '<robot name="Test Arm">'
    + LINK.format(name="base", mass=4, length=0.3, half=0.15)
    + LINK.format(name="column", mass=3, length=0.1, half=0.05)
    + LINK.format(name="upper", mass=2.5, length=0.4, half=0.2)
    + LINK.format(name="fore", mass=1.5, length=0.3, half=0.15)
    + '\n  <link name="tool0"/>'
    + JOINT.format(
        name="turn", parent="base", child="column", height=0.3, axis="0 0 1", lower=-3, upper=3, velocity=2.5, effort=90
    )
    + JOINT.format(
        name="lift", parent="column", child="upper", height=0.1, axis="0 1 0", lower=-2, upper=2, velocity=2, effort=80
    )
    + JOINT.format(
        name="bend",
        parent="upper",
        child="fore",
        height=0.4,
        axis="0 1 0",
        lower=-2.5,
        upper=2.5,
        velocity=3,
        effort=40,
    )
    + '\n  <joint name="tool0_joint" type="fixed"><parent link="fore"/><child link="tool0"/>'
    + '<origin xyz="0 0 0.3"/></joint>'
    + "\n</robot>\n"
)
FINGER = """
  <link name="finger"><inertial><mass value="0.2"/>
    <inertia ixx="0.0001" ixy="0" ixz="0" iyy="0.0001" iyz="0" izz="0.0001"/></inertial></link>
  <joint name="grip" type="{kind}"><parent link="fore"/><child link="finger"/><origin xyz="0 0.02 0.3"/>
    <axis xyz="0 1 0"/><limit lower="0" upper="0.04" velocity="0.1" effort="10"/></joint>
</robot>"""


def with_finger(kind: str = "prismatic") -> str:
    """A gripper finger beside the tool frame."""
    return SOUND.replace("</robot>", FINGER.format(kind=kind))


def spoilt(*changes: tuple[str, str]) -> str:
    """The sound URDF with each first occurrence replaced; a change that finds nothing is a mistake of the test."""
    text = SOUND
    for old, new in changes:
        assert old in text, f"{old!r} is not in the sound URDF"
        text = text.replace(old, new, 1)
    return text


def written(folder: Path, text: str) -> Path:
    """The URDF as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "arm.urdf"
    path.write_text(text)
    return path


def found(findings: list[Finding], field: str, words: str) -> Finding:
    """The one finding of this field with these words."""
    hits = [finding for finding in findings if finding.field == field and words in finding.fault]
    assert len(hits) == 1, f"{field} ({words}) among\n" + "\n".join(f.text() for f in findings)
    return hits[0]
