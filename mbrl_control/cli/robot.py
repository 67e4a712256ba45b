"""`mbrl-control robot`: what an arm description says, and whether it is complete."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Arm descriptions. Example: mbrl-control robot check sim/robots/planar.yaml", no_args_is_help=True
)


@app.callback()
def _group() -> None:
    pass


@app.command()
def check(
    arm: Annotated[str, typer.Argument(metavar="ARM", help="Name of a shipped arm, or a YAML file.")],
) -> None:
    """Load and validate an arm's YAML and URDF, print joints and limits; compare the simulation model.

    Example: mbrl-control robot check sim/robots/panda.yaml
    """
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.cli.simulation import check_simulation_model
    from mbrl_control.robot import load_arm

    path = arm_file(arm)
    description = load_arm(path)
    typer.echo(f"{path}: ok, {len(description.joint_names)} joints")
    typer.echo(f"{'joint':<24}{'lower rad':>12}{'upper rad':>12}{'rad/s':>10}")
    rows = zip(description.joint_names, description.lower, description.upper, description.velocity, strict=True)
    for name, lower, upper, velocity in rows:
        typer.echo(f"{name:<24}{lower:>12.4f}{upper:>12.4f}{velocity:>10.3f}")
    if path.with_suffix(".mjcf.xml").is_file():
        typer.echo(f"{check_simulation_model(path, description).name}: the same arm")
    else:
        typer.echo(f"no simulation model yet; the simulator needs one: python -m sim.generate {path}")
