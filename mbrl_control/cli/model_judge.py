"""`mbrl-control models judge`: a bundle on a log of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.cli.errors import UserError
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
    from mbrl_control.judged_log import Judge


def judge(
    log: Annotated[Path, typer.Option("--log", help="Log folder or MCAP file; best one that it has not learned from.")],
    out: Annotated[Path, typer.Option("--out", help="New folder for reliability.png and judged.json.")],
    version: Annotated[int | None, typer.Argument(help="Version; the active one when left out.")] = None,
    null: Annotated[
        Path | None, typer.Option("--null", help="Log of the unchanged arm: how well the other is told from it.")
    ] = None,
    phase: PhaseOption = None,
    minutes: MinutesOption = None,
    robot: RobotOption = "panda",
    command: CommandOption = CommandInterface.VELOCITY,
    registry: RegistryOption = MODELS,
) -> None:
    """Is a bundle's spread as wide as its errors on a log, and does it tell what it does not know? Calibration error,
    likelihood and sharpness beside the best constant spread, reliability diagram, innovation, members' disagreement.

    Of a log that the bundle may have learned from only the held-out blocks are judged (`rows_judged`). The last line is
    JSON.
    Example: mbrl-control models judge 2 --log out/monday/log --null out/friday/log --out judged --registry out/models
    """
    from mbrl_control.judged_log import judge_log, write_judged

    if out.exists():
        raise UserError(f"{out}: --out: exists already; name a new folder")
    bundle = _judge(registry, robot, command, version)
    figures = judge_log(bundle, log, phase, None if minutes is None else 60.0 * minutes, null)
    typer.echo(json.dumps(write_judged(figures, out, "this log"), allow_nan=False))


def _judge(registry: Path, robot: str, command: CommandInterface, version: int | None) -> Judge:
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.deployment.bundle import load_weights
    from mbrl_control.deployment.check import verify_bundle
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.judged_log import Judge
    from mbrl_control.robot import load_arm

    arm = load_arm(arm_file(robot), command)
    bundles = Registry(registry, arm.model_name)
    bundles.check_models()
    chosen = bundles.active() if version is None else version
    if chosen is None:
        raise UserError(f"{bundles.folder}: active.json: no active version; name one of {list(bundles.versions())}")
    path = bundles.path(chosen)
    return Judge(verify_bundle(path, arm), load_weights(path, arm), arm)
