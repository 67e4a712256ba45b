"""`mbrl-control robot`: bring an own arm, and say what is missing or suspicious in an arm's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mbrl_control.arm_setup.check import Report
    from mbrl_control.arm_setup.findings import Finding
    from mbrl_control.robot import Arm

app = typer.Typer(help="Arm descriptions. Example: mbrl-control robot check panda", no_args_is_help=True)

BaseOption = Annotated[str | None, typer.Option(help="Link that stands still; found where only one makes sense.")]
ToolOption = Annotated[str | None, typer.Option(help="Link to be moved; found where the URDF has one tip.")]


@app.callback()
def _group() -> None:
    pass


@app.command()
def check(
    arm: Annotated[str, typer.Argument(metavar="ARM", help="Name of a shipped arm, a YAML file, or a URDF alone.")],
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """All that is missing or suspicious in an arm's files, each with a remedy and, where possible, a value.

    Exit status: 0 the arm can be used, 1 a finding stops it, 2 a file cannot be read.

    Example: mbrl-control robot check panda
    """
    from mbrl_control.arm_setup.check import check_urdf, check_yaml
    from mbrl_control.cli.locations import yaml_beside

    path = _file_of(arm)
    beside = yaml_beside(path) if path.suffix == ".urdf" else path
    alone = beside is None
    report = check_urdf(path) if beside is None else check_yaml(beside)
    if report.arm is not None:
        report.add(_randomization_findings(report.path, report.arm))
        report.add(_simulation_findings(report.path, report.arm))
    if as_json:
        typer.echo(json.dumps(_as_dict(report)))
    else:
        _print(report, alone)
    if report.stops:
        raise typer.Exit(1)


@app.command()
def new(
    urdf: Annotated[Path, typer.Option(help="The arm's URDF (xacro expanded).")],
    out: Annotated[Path | None, typer.Option(help="New folder for a copy of URDF and meshes (default: none).")] = None,
    base: BaseOption = None,
    tool: ToolOption = None,
) -> None:
    """Write an own arm's YAML and simulation model: from the URDF what it says, the rest proposed with reasons.

    Nothing is overwritten. Exit status: 0 written, 1 the URDF has faults that no YAML can mend, 2 it cannot be read.

    Example: mbrl-control robot new --urdf arm_description/arm.urdf --out my_arm
    """
    from mbrl_control.arm_setup.new import write_new_arm
    from mbrl_control.cli.simulation import write_simulation_model

    _refuse_no_file(urdf, "--urdf: ")
    typer.echo(f"{urdf}: reading shapes and trying poses, some seconds", err=True)
    written = write_new_arm(urdf, out, base, tool)
    for finding in (*written.faults, *written.unread):
        typer.echo(finding.text())
    if written.faults:
        typer.echo("nothing is written; correct the URDF first")
        raise typer.Exit(1)
    model = write_simulation_model(written.yaml)
    for path in (written.urdf, written.yaml, model):
        typer.echo(f"{path}")
    typer.echo(f"guesses, to be confirmed before the real arm moves: {', '.join(written.guesses)}")
    typer.echo(f"next: mbrl-control robot check {written.yaml}; mbrl-control demo --robot {written.yaml}")


def _file_of(arm: str) -> Path:
    """YAML or URDF that ARM names.

    Raises:
        ArmError: neither a shipped arm nor a file of these kinds.
    """
    from mbrl_control.cli.locations import arm_file, known_arms
    from mbrl_control.robot import ArmError

    path = Path(arm)
    if path.suffix in (".yaml", ".yml", ".urdf"):
        _refuse_no_file(path, "")
        return path if path.suffix == ".urdf" else path.resolve()
    if arm in known_arms():
        return arm_file(arm)
    remedy = f"give a YAML, a URDF, or the name of a shipped arm ({', '.join(known_arms())})"
    raise ArmError(f"ARM {arm}: {'neither URDF nor YAML' if path.exists() else 'no such file or arm'}; {remedy}")


def _refuse_no_file(path: Path, option: str) -> None:
    from mbrl_control.robot import ArmError

    if not path.is_file():
        fault = "is a folder" if path.is_dir() else "no such file"
        raise ArmError(f"{option}{path}: {fault}; give the path of the arm's file")


def _randomization_findings(path: Path, arm: Arm) -> list[Finding]:
    """Ranges that no plant can be drawn from."""
    from mbrl_control.arm_setup.findings import stop
    from mbrl_control.cli.simulation import faults_of_randomization

    return [stop(fault) for fault in faults_of_randomization(path, arm)]


def _simulation_findings(path: Path, arm: Arm) -> list[Finding]:
    """The simulation model is there and of the same arm."""
    from mbrl_control.arm_setup.findings import stop, warn
    from mbrl_control.cli.simulation import check_simulation_model, simulation_model_is_stale
    from mbrl_control.robot import ArmError

    model = path.with_suffix(".mjcf.xml")
    if not model.is_file():
        remedy = f"python -m sim.generate {path}"
        return [warn(model, "file", "no simulation model yet; only the simulator needs one", remedy)]
    try:
        check_simulation_model(path, arm)
        if simulation_model_is_stale(path):
            fault = "not what URDF and YAML make now: the simulator would take the old numbers"
            return [warn(model, "file", fault, f"python -m sim.generate {path}, unless it was edited by hand")]
    except ArmError as error:
        return [stop(error)]
    return []


def _as_dict(report: Report) -> dict[str, object]:
    findings = [finding.as_dict() for finding in report.findings]
    joints = () if report.arm is None else report.arm.joint_names
    return {"file": str(report.path), "ok": not report.stops, "joints": list(joints), "findings": findings}


def _print(report: Report, alone: bool) -> None:
    for finding in report.findings:
        typer.echo(finding.text())
    counts = {kind: sum(finding.severity == kind for finding in report.findings) for kind in ("stop", "warn", "guess")}
    said = f"{counts['stop']} that stop, {counts['warn']} suspicious, {counts['guess']} guesses to confirm"
    if report.arm is not None:
        typer.echo(f"{report.path}: ok, {report.arm.joints} joints; {said}")
        _print_joints(report.arm)
    else:
        typer.echo(f"{report.path}: {said}")
    if alone and not report.stops:
        typer.echo(f"no YAML beside it yet: mbrl-control robot new --urdf {report.path}")


def _print_joints(arm: Arm) -> None:
    typer.echo(f"{'joint':<24}{'lower rad':>12}{'upper rad':>12}{'rad/s':>10}{'N m':>10}")
    for row in zip(arm.joint_names, arm.lower, arm.upper, arm.velocity, arm.effort, strict=True):
        typer.echo("{:<24}{:>12.4f}{:>12.4f}{:>10.3f}{:>10.1f}".format(*row))
