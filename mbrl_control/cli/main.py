"""`mbrl-control`: registers the verbs; everything heavy is imported when a verb runs."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer

from mbrl_control.cli import bench, doctor, learner, log, models, retrain, robot
from mbrl_control.cli.errors import leave

PROGRAM = "mbrl-control"
_DEFERRED = {
    "demo": "The whole loop in simulation: learn, plan, change the payload, relearn. Example: mbrl-control demo",
    "collect": "Let an arm excite itself within its limits; a log to learn from. Example: mbrl-control collect --help",
    "up": "Start the graph of one arm as processes. Example: mbrl-control up --help",
}
"""Verbs whose modules import the graph: loaded only when named."""
_PASSING_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Of verbs that read their arguments themselves, --help included."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused or failed, 2 bad input."""
    try:
        build_app()(args=arguments, prog_name=PROGRAM)
    except Exception as error:
        leave(error, PROGRAM)


def build_app() -> typer.Typer:
    """The application with all verbs."""
    app = typer.Typer(
        help="Learn an arm's dynamics, plan with the learned uncertainty, stop when the model does not know.\n\n"
        "Example: mbrl-control doctor",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, text in _DEFERRED.items():
        _defer(app, name, text)
    app.add_typer(robot.app, name="robot")
    app.add_typer(models.app, name="models")
    app.add_typer(log.app, name="log")
    app.command()(retrain.retrain)
    app.command()(learner.learner)
    app.command()(doctor.doctor)
    app.command("bench", help=bench.HELP, context_settings=_PASSING_ON, add_help_option=False)(bench.bench)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=lambda on: _version(on)),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"{PROGRAM} {version('mbrl_control')}")
        raise typer.Exit


def _defer(app: typer.Typer, name: str, text: str) -> None:
    """Register ``mbrl_control.cli.<name>.<name>`` without importing it; its own options, its own --help."""

    def run(context: typer.Context) -> None:
        verb = typer.Typer(pretty_exceptions_enable=False)
        verb.command(name)(getattr(importlib.import_module(f"mbrl_control.cli.{name}"), name))
        verb(args=context.args, prog_name=f"{PROGRAM} {name}")

    app.command(name, help=text, context_settings=_PASSING_ON, add_help_option=False)(run)


if __name__ == "__main__":
    main()
