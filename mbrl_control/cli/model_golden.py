"""`mbrl-control models golden`: recordings that are kept as a yardstick for every later model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.cli.model_options import (
    MODELS,
    CommandOption,
    MinutesOption,
    PhaseOption,
    RegistryOption,
    RobotOption,
)
from mbrl_control.command_interface import CommandInterface

if TYPE_CHECKING:
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.golden_logs import GoldenSaid
    from mbrl_control.robot import Arm

app = typer.Typer(
    help="Golden logs: every retraining is judged on them, none learns from them. "
    "Example: mbrl-control models golden list --robot panda --registry out/models",
    no_args_is_help=True,
)


@app.command()
def add(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Log folder or MCAP file.")],
    name: Annotated[str, typer.Option("--name", help="Of the golden log: letters, digits, _ and -.")],
    phase: PhaseOption = None,
    minutes: MinutesOption = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Keep a copy of a recording, of one declared payload and at most three minutes, in the registry.

    Example: mbrl-control models golden add out/demo/log --name week12 --phase excitation --registry out/models
    """
    from mbrl_control.golden_logs import add_golden

    arm, bundles = _place(registry, robot, command)
    newest_s = None if minutes is None else 60.0 * minutes
    said = add_golden(bundles, arm, log, name, time.time_ns(), phase, newest_s)
    typer.echo(json.dumps({"name": said.name, "payload_kg": said.payload_kg, "rows": said.rows, "blocks": said.blocks}))
    if (told := _learned_by_the_active(bundles, arm, said)) is not None:
        typer.echo(f"{told} has learned from this log: until its successor it does better on it than it is", err=True)


@app.command("list")
def list_golden(
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON.")] = False,
) -> None:
    """Golden logs of one arm, each checked.

    Example: mbrl-control models golden list --robot panda --registry out/models
    """
    from mbrl_control.golden_logs import golden_names, read_golden

    arm, bundles = _place(registry, robot, command)
    said = [golden.said for golden in read_golden(bundles, arm)] if golden_names(bundles) else []
    if as_json:
        typer.echo(json.dumps([each.model_dump(mode="json") for each in said]))
        return
    for each in said:
        typer.echo(
            f"{each.name}: {each.payload_kg:g} kg, {each.seconds:.0f} s, {each.blocks} blocks, since {each.created}, "
            f"from {each.source.log}"
        )
    if not said:
        typer.echo(f"no golden log in {bundles.folder}")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Of the golden log.")],
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Give a golden log up: its copy is deleted, and its recording may be learned from.

    Example: mbrl-control models golden remove week12 --robot panda --registry out/models
    """
    from mbrl_control.golden_logs import remove_golden

    _, bundles = _place(registry, robot, command)
    remove_golden(bundles, name)
    typer.echo(f"removed {name}")


def _place(registry: Path, robot: str, command: CommandInterface) -> tuple[Arm, Registry]:
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.robot import load_arm

    arm = load_arm(arm_file(robot), command)
    bundles = Registry(registry, arm.model_name)
    bundles.check_models()
    return arm, bundles


def _learned_by_the_active(bundles: Registry, arm: Arm, said: GoldenSaid) -> str | None:
    """Model id of the active bundle, where one of the golden log's files was among those that it learned from.

    A log that has grown in between is another file to a hash, and so is not found.
    """
    from mbrl_control.deployment.check import verify_bundle

    version = bundles.active()
    if version is None:
        return None
    manifest = verify_bundle(bundles.path(version), arm)
    learned = () if manifest.training is None else manifest.training.log_sha256
    return manifest.model_id if set(learned) & set(said.source.sha256) else None
