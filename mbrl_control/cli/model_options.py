"""Options that name an arm's registry of bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.command_interface import CommandInterface

RobotOption = Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")]
CommandOption = Annotated[CommandInterface, typer.Option("--command", help="What the model commands.")]
RegistryOption = Annotated[Path, typer.Option("--registry", help="Folder that holds <robot>/<version>/.")]
MODELS = Path("models")
PhaseOption = Annotated[
    str | None, typer.Option("--phase", help="Only the newest stretch of this phase (topic `phase`).")
]
MinutesOption = Annotated[float | None, typer.Option("--minutes", help="Only the last minutes.", min=0.1)]
