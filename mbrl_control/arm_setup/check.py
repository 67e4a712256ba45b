"""`robot check`: everything that is missing or suspicious in an arm's files, not only the first fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbrl_control.arm_setup.arm_check import arm_findings
from mbrl_control.arm_setup.chain_choice import choose_chain
from mbrl_control.arm_setup.findings import Finding, Severity, stop
from mbrl_control.arm_setup.proposals import Draft, propose
from mbrl_control.arm_setup.shapes import LinkShapes, bare_links, read_shapes
from mbrl_control.arm_setup.urdf_check import faults_of_chain, faults_of_urdf, gaps, suspicions
from mbrl_control.robot import FIELDS, Arm, ArmError
from mbrl_control.robot_faults import contradictions
from mbrl_control.robot_fields import JOINT_VALUES, NOISE, readers
from mbrl_control.robot_file import YamlFile
from mbrl_control.urdf_chain import moving_joints
from mbrl_control.urdf_file import UrdfFile


@dataclass(slots=True)
class Report:
    """Of one arm. ``arm`` is None where it does not load."""

    path: Path
    findings: list[Finding] = field(default_factory=list)
    arm: Arm | None = None

    def add(self, findings: Iterable[Finding]) -> None:
        """What is not yet said of the same field in the same words."""
        known = {(f.file, f.field, f.fault) for f in self.findings}
        for finding in findings:
            if (finding.file, finding.field, finding.fault) not in known:
                known.add((finding.file, finding.field, finding.fault))
                self.findings.append(finding)

    @property
    def stops(self) -> int:
        return sum(finding.severity is Severity.STOP for finding in self.findings)


def check_urdf(path: Path, base: str | None = None, tool: str | None = None) -> Report:
    """A URDF alone, before there is a YAML.

    Raises:
        ArmError: no such file, or not XML.
    """
    urdf = UrdfFile(path)
    report = Report(path, faults_of_urdf(urdf))
    try:
        choice = choose_chain(urdf, base, tool)
        names = moving_joints(urdf, choice.base, choice.tool)
        report.add(faults_of_chain(urdf, choice.base, choice.tool))
    except ArmError as error:
        report.add([stop(error)])
        return report
    report.add(_urdf_details(urdf, names, (choice.base, choice.tool), None, {}))
    return report


def check_yaml(path: Path) -> Report:
    """An arm's YAML and the URDF beside it.

    Raises:
        ArmError: a file is missing, or not YAML or XML.
    """
    source = YamlFile(path)
    urdf = UrdfFile(path.with_suffix(".urdf"))
    report = Report(path, faults_of_urdf(urdf))
    draft = _Lazy(lambda: _draft(source, urdf, report))
    try:
        read = readers(source, urdf)
    except ArmError as error:
        report.add([_with_proposal(stop(error), draft.get())])
        return report
    values, failed = {}, []
    for name, reader in read.items():
        try:
            values[name] = reader()
        except ArmError as error:
            failed.append(name)
            report.add([_with_proposal(stop(error), draft.get())])
    report.add([_with_proposal(finding, draft.get()) for finding in _single_fields(source)])
    _judge_whole(report, source, values, failed, draft)
    if "link_names" in values:
        names = list(values["joint_names"])
        covered = {values["link_names"][capsule.link_index] for capsule in values.get("capsules", ())}
        bounds: dict[str, Sequence[float]] = {key: values[key] for key in ("lower", "upper") if key in values}
        report.add(_urdf_details(urdf, names, (values["base_frame"], values["tool_frame"]), covered, bounds))
    return report


def _judge_whole(report: Report, source: YamlFile, values: dict[str, Any], failed: list[str], draft: _Lazy) -> None:
    """Contradictions and suspicions; a field that is missing is judged as proposed."""
    proposed = draft.get() if failed else None
    if failed and (proposed is None or "chain" in failed or proposed.arm.joints != len(values["joint_names"])):
        return
    filled = {name: getattr(proposed.arm, name) for name in failed} if proposed is not None else {}
    arm = Arm(**values, **filled)
    contrary = [stop(fault) for fault in contradictions(arm, source, FIELDS)]
    report.add(contrary)
    if not contrary:
        report.add(_with_proposal(finding, proposed) for finding in arm_findings(arm, source))
    report.arm = None if report.stops else arm


def _urdf_details(
    urdf: UrdfFile,
    names: list[str],
    ends: tuple[str, str],
    covered: set[str] | None,
    bounds: dict[str, Sequence[float]],
) -> Iterator[Finding]:
    """``covered``: links with a capsule in the YAML; None without a YAML. Gaps count where no YAML fills them."""
    shapes = LinkShapes()
    try:
        shapes = read_shapes(urdf, [ends[0], *(urdf.ends(name)[1] for name in names)], names)
    except ArmError as error:
        yield stop(error)
    try:
        if covered is None:
            yield from gaps(urdf, names, shapes)
        yield from suspicions(urdf, names, ends, shapes, bounds)
    except ArmError as error:
        yield stop(error)
    yield from shapes.findings
    yield from bare_links(urdf, shapes, covered or ())


def _single_fields(source: YamlFile) -> Iterator[Finding]:
    """Fields that are read together, one by one."""
    places = [(source.tree, f"noise.{key}", "") for key in NOISE]
    for index, row in enumerate(source.rows("joints")):
        places += [(row, key, f"joints[{index}]") for key in JOINT_VALUES]
    for tree, key, inside in places:
        try:
            source.finite(source.field(tree, key, inside), f"{inside}.{key}" if inside else key, ())
        except ArmError as error:
            yield stop(error)


class _Lazy:
    """A draft that is made when the first proposal is asked for: it takes seconds."""

    def __init__(self, make: Callable[[], Draft | None]) -> None:
        self._make = make
        self._made: list[Draft | None] = []

    def get(self) -> Draft | None:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]


def _draft(source: YamlFile, urdf: UrdfFile, report: Report) -> Draft | None:
    """Proposals for the chain that the YAML names; None where the URDF's faults leave none to propose."""
    if report.stops:
        return None
    links = [source.tree.get(key) for key in ("base_frame", "tool_frame")]
    base, tool = (link if isinstance(link, str) and link in urdf.links else None for link in links)
    try:
        return propose(urdf, choose_chain(urdf, base, tool))
    except ArmError as error:
        report.add([stop(error)])
        return None


def _with_proposal(finding: Finding, draft: Draft | None) -> Finding:
    """The draft's value at the finding's field, if it has one."""
    if draft is None or finding.proposal is not None:
        return finding
    if limit := re.fullmatch(r"joint (\S+): limit (\w+)", finding.field):
        rows = {row["name"]: row for row in draft.values["joints"].value}
        value = rows.get(limit[1], {}).get(limit[2])
        return finding if value is None else finding.with_proposal(value, draft.values["joints"].reason)
    if body := re.fullmatch(r"link (\S+): inertial", finding.field):
        found = (
            [row for row in draft.values["links"].value if row["name"] == body[1]] if "links" in draft.values else []
        )
        return finding.with_proposal(found[0], draft.values["links"].reason) if found else finding
    top, *steps = re.findall(r"\w+", finding.field)
    if top not in draft.values or finding.severity is not Severity.STOP:
        return finding
    value = draft.values[top].value
    for step in steps:
        key = int(step) if step.isdigit() else step
        fits = key in value if isinstance(value, dict) else isinstance(key, int) and key < len(value)
        if not fits:
            break
        value = value[key]
    return finding.with_proposal(value, draft.values[top].reason)
