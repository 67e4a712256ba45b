"""`mbrl-control models`: the bundles of a registry, from the prior to start from to the one that is active."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.cli import model_golden, model_judge, model_keys
from mbrl_control.cli.model_options import MODELS, CommandOption, RegistryOption, RobotOption
from mbrl_control.command_interface import CommandInterface

if TYPE_CHECKING:
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.robot import Arm

app = typer.Typer(
    help="Model bundles. Example: mbrl-control models list --robot panda --registry models", no_args_is_help=True
)

app.add_typer(model_keys.app, name="keys")
app.add_typer(model_golden.app, name="golden")
app.command("judge")(model_judge.judge)


@app.command("list")
def list_versions(
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Versions of one robot: the active one, the candidate, and those that live motion spoke against, with the reason.

    Example: mbrl-control models list --robot panda --registry out/demo/registry
    """
    bundles = _registry(registry, robot, command)
    versions, active, rejected = bundles.versions(), bundles.active(), bundles.rejected()
    found = bundles.candidate()
    candidate = None if found is None else found.version
    if as_json:
        said = {"robot": bundles.robot, "versions": list(versions), "active": active, "candidate": candidate}
        typer.echo(json.dumps(said | {"rejected": rejected}))
        return
    for version in versions:
        mark = "*" if version == active else "?" if version == candidate else "x" if version in rejected else " "
        typer.echo(f"{mark} {bundles.robot}/{version}" + (f"  {rejected[version]}" if version in rejected else ""))
    if not versions:
        typer.echo(f"no bundle in {bundles.folder}")


@app.command()
def show(
    version: Annotated[int | None, typer.Argument(help="Version; the active one when left out.")] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """The checked manifest of a bundle, as JSON.

    Example: mbrl-control models show 2 --robot panda --registry out/demo/registry
    """
    from mbrl_control.deployment.check import verify_bundle

    bundles = _registry(registry, robot, command)
    manifest = verify_bundle(bundles.path(_chosen(bundles, version)), _arm(robot, command))
    typer.echo(manifest.model_dump_json(indent=1))


@app.command()
def verify(
    version: Annotated[int | None, typer.Argument(help="Version; the active one when left out.")] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Check signature, hashes, sizes and names, then let a child process run every graph against its golden case.

    Example: mbrl-control models verify 2 --robot panda --registry out/demo/registry
    """
    from mbrl_control.deployment.check import read_bundle
    from mbrl_control.deployment.trial import try_bundle

    bundles = _registry(registry, robot, command)
    bundle = read_bundle(bundles.path(_chosen(bundles, version)), _arm(robot, command))
    tried = try_bundle(bundle)
    typer.echo(
        f"{bundle.path}: ok, {bundle.manifest.model_id}, manifest {bundle.manifest_sha256[:12]}, "
        f"signed by {bundle.signer[:16]}; trial: {tried.cpu_s:.1f} s of processor time, {tried.memory_mib:.0f} MiB"
    )


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Version to make active.")],
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Verify a bundle, let it pass its trial, and make it active; a running graph follows at its next cycle.

    No gate is asked: that is `retrain`'s, and its numbers are in the bundle's card. What live motion said against it is
    forgotten; while it runs it is judged anew. Refused: what is active stays so.

    Example: mbrl-control models promote 3 --robot panda --registry out/models
    """
    from mbrl_control.deployment import lifecycle

    bundles = _registry(registry, robot, command)
    lifecycle.promote(bundles, version, _arm(robot, command))
    _say_active(bundles, version)


@app.command()
def shadow(
    version: Annotated[int, typer.Argument(help="Version to compare.")],
    windows: Annotated[
        int, typer.Option("--windows", help="Of 0.5 s of motion, until the first decision.", min=12, max=100_000)
    ] = 60,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Verify a bundle, let it pass its trial, and let a running graph compare it with the active one on live motion.

    It is promoted when it is, with 95 % confidence, less than 2 % worse, asked at N, 2 N and 4 N windows, and refused
    otherwise. What spoke against it before is forgotten. Another candidate gives way.

    Example: mbrl-control models shadow 3 --windows 60 --robot panda --registry out/models
    """
    from mbrl_control.deployment import lifecycle

    bundles = _registry(registry, robot, command)
    lifecycle.shadow(bundles, version, windows, _arm(robot, command))
    typer.echo(json.dumps({"model_id": f"{bundles.robot}/{version}", "candidate": version, "windows": windows}))


@app.command()
def sign(
    version: Annotated[int | None, typer.Argument(help="Version; the active one when left out.")] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Vouch for a bundle from elsewhere, or from before bundles were signed, by your own key; checked and tried first.

    Example: mbrl-control models sign 3 --robot panda --registry out/models
    """
    from mbrl_control.deployment.lifecycle import sign_bundle

    bundles = _registry(registry, robot, command)
    bundle = sign_bundle(bundles, _chosen(bundles, version), _arm(robot, command))
    typer.echo(json.dumps({"model_id": bundle.manifest.model_id, "key_id": bundle.signer, "path": str(bundle.path)}))


@app.command("import")
def import_(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle, named by its version.")],
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Take in a bundle that another machine made and signed: verified, tried, copied; `promote` makes it active.

    Its number is in what was signed, so it has to be free here: let the other machine learn on a copy of this registry.

    Example: mbrl-control models import trained/panda/7 --robot panda --registry out/models
    """
    from mbrl_control.deployment.lifecycle import import_bundle

    bundles = _registry(registry, robot, command)
    taken = import_bundle(bundle, bundles, _arm(robot, command))
    facts = {"model_id": taken.manifest.model_id, "key_id": taken.signer, "active": bundles.active()}
    typer.echo(json.dumps(facts | {"path": str(taken.path)}))


@app.command()
def rollback(
    version: Annotated[
        int | None, typer.Argument(help="Version, tried again as by `promote`; the one active before when left out.")
    ] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Make an earlier version active again; a running graph follows at its next cycle.

    Example: mbrl-control models rollback 1 --robot panda --registry out/demo/registry
    """
    from mbrl_control.deployment import lifecycle

    bundles, arm = _registry(registry, robot, command), _arm(robot, command)
    if version is None:
        version = lifecycle.roll_back(bundles, arm)
    else:
        lifecycle.promote(bundles, version, arm)
    _say_active(bundles, version)


@app.command()
def extend(
    version: Annotated[int | None, typer.Argument(help="Version; the active one when left out.")] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Write a bundle again as a new version with all graphs: particles, obstacles, trust, derivatives; activate it.

    Planner settings that ask for any of these need it; retrainings of an extended bundle are extended, too.

    Example: mbrl-control models extend --robot panda --registry out/models
    """
    from mbrl_control.cli.provenance import source_commit
    from mbrl_control.deployment.bundle import extend_bundle
    from mbrl_control.deployment.check import read_bundle
    from mbrl_control.deployment.lifecycle import promote

    bundles, arm = _registry(registry, robot, command), _arm(robot, command)
    source = _chosen(bundles, version)
    training = read_bundle(bundles.path(source), arm).manifest.training
    if training is not None and not training.spread:
        typer.echo("its training measured no spread: the planner's `trust` will need a retrained model", err=True)
    path = extend_bundle(arm, bundles, source, time.time_ns(), source_commit())
    made = int(path.name)
    promote(bundles, made, arm)
    typer.echo(json.dumps({"model_id": f"{bundles.robot}/{made}", "path": str(path)}))


@app.command()
def prior(
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Export the nominal prior alone (nothing learned) as a new version and activate it.

    Example: mbrl-control models prior --robot panda --registry out/models
    """
    from mbrl_control.deployment.bundle import prior_bundle
    from mbrl_control.deployment.lifecycle import promote
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.replay.transitions import Grid, history_of

    arm = _arm(robot, command)
    bundles = Registry(registry, arm.model_name)
    # Beliefs carry the time of measurement, so only the way of the command counts.
    grid = Grid(delay_s=arm.command_delay_s)
    path = prior_bundle(arm, bundles, grid.dt_ns * 1e-9, grid.delay_s, history_of(arm), time.time_ns())
    version = int(path.name)
    promote(bundles, version, arm)
    typer.echo(json.dumps({"model_id": f"{arm.model_name}/{version}", "path": str(path)}))


def _say_active(bundles: Registry, version: int) -> None:
    typer.echo(json.dumps({"model_id": f"{bundles.robot}/{version}", "active": version}))


def _arm(robot: str, command: CommandInterface) -> Arm:
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.robot import load_arm

    return load_arm(arm_file(robot), command)


def _registry(models: Path, robot: str, command: CommandInterface) -> Registry:
    from mbrl_control.deployment.registry import Registry

    bundles = Registry(models, _arm(robot, command).model_name)
    bundles.check_models()
    return bundles


def _chosen(bundles: Registry, version: int | None) -> int:
    from mbrl_control.cli.errors import UserError

    chosen = bundles.active() if version is None else version
    if chosen is None:
        raise UserError(f"{bundles.folder}: active.json: no active version; name one of {list(bundles.versions())}")
    return chosen
