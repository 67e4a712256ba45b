"""`mbrl-control models`: the bundles of a registry: list, show, verify, roll back, and the prior to start from."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.command_interface import CommandInterface

if TYPE_CHECKING:
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.robot import Arm

app = typer.Typer(
    help="Model bundles. Example: mbrl-control models list --robot panda --registry models", no_args_is_help=True
)

RobotOption = Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")]
CommandOption = Annotated[CommandInterface, typer.Option("--command", help="What the model commands.")]
RegistryOption = Annotated[Path, typer.Option("--registry", help="Folder that holds <robot>/<version>/.")]
MODELS = Path("models")


@app.command("list")
def list_versions(
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Versions of one robot; the active one is marked.

    Example: mbrl-control models list --robot panda --registry out/demo/registry
    """
    bundles = _registry(registry, robot, command)
    versions, active = bundles.versions(), bundles.active()
    if as_json:
        typer.echo(json.dumps({"robot": bundles.robot, "versions": list(versions), "active": active}))
        return
    for version in versions:
        typer.echo(f"{'*' if version == active else ' '} {bundles.robot}/{version}")
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
    """Check hashes, sizes, names and shapes, then run every graph against its golden case.

    Example: mbrl-control models verify 2 --robot panda --registry out/demo/registry
    """
    from mbrl_control.deployment.check import read_bundle
    from mbrl_control.deployment.evaluator import DeployedModel, Opening

    bundles = _registry(registry, robot, command)
    bundle = read_bundle(bundles.path(_chosen(bundles, version)), _arm(robot, command))
    DeployedModel(bundle)
    if bundle.manifest.extended:
        DeployedModel(bundle, Opening(derivatives=True))
    typer.echo(f"{bundle.path}: ok, {bundle.manifest.model_id}, manifest {bundle.manifest_sha256[:12]}")


@app.command()
def rollback(
    version: Annotated[int | None, typer.Argument(help="Version; the one active before when left out.")] = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Make an earlier version active again; a running graph follows at its next cycle.

    Example: mbrl-control models rollback 1 --robot panda --registry out/demo/registry
    """
    from mbrl_control.deployment.check import verify_bundle

    bundles = _registry(registry, robot, command)
    verify_bundle(bundles.path(bundles.before() if version is None else version), _arm(robot, command))
    if version is None:
        version = bundles.rollback()
    else:
        bundles.activate(version)
    typer.echo(json.dumps({"model_id": f"{bundles.robot}/{version}", "active": version}))


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

    bundles, arm = _registry(registry, robot, command), _arm(robot, command)
    source = _chosen(bundles, version)
    training = read_bundle(bundles.path(source), arm).manifest.training
    if training is not None and not training.spread:
        typer.echo("its training measured no spread: the planner's `trust` will need a retrained model", err=True)
    path = extend_bundle(arm, bundles, source, time.time_ns(), source_commit())
    made = int(path.name)
    bundles.activate(made)
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
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.replay.transitions import Grid, history_of

    arm = _arm(robot, command)
    bundles = Registry(registry, arm.model_name)
    # Beliefs carry the time of measurement, so only the way of the command counts.
    grid = Grid(delay_s=arm.command_delay_s)
    path = prior_bundle(arm, bundles, grid.dt_ns * 1e-9, grid.delay_s, history_of(arm), time.time_ns())
    version = int(path.name)
    bundles.activate(version)
    typer.echo(json.dumps({"model_id": f"{arm.model_name}/{version}", "path": str(path)}))


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
