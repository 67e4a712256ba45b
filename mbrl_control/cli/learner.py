"""`mbrl-control learner`: watches logs and retrains by policy, behind everything else, until it is told to end."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbrl_control.cli.errors import Refused, UserError
from mbrl_control.cli.interrupt import interruptible
from mbrl_control.cli.retrain import Shadow
from mbrl_control.command_interface import CommandInterface

if TYPE_CHECKING:
    from mbrl_control.learner.policy import Policy
    from mbrl_control.learner.service import Ended, Service

_EVERY_S = 10.0


def learner(
    logs: Annotated[Path, typer.Option("--logs", help="Folder below which runs keep their logs.")],
    registry: Annotated[Path, typer.Option("--registry", help="Folder that holds <robot>/<version>/.")] = Path(
        "models"
    ),
    robot: Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")] = "panda",
    command: Annotated[
        CommandInterface, typer.Option("--command", help="What the logged commands are.")
    ] = CommandInterface.VELOCITY,
    new_minutes: Annotated[
        float, typer.Option("--new-minutes", help="Retrain after so much new motion.", min=0.5)
    ] = 10.0,
    retry_minutes: Annotated[
        float,
        typer.Option("--retry-minutes", help="New motion before another try after a refusal; doubles.", min=0.5),
    ] = 10.0,
    minutes: Annotated[
        float, typer.Option("--minutes", help="Learn from so much log at most; 6 MB of memory each.", min=2.0)
    ] = 45.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every training.", min=0)] = 0,
    once: Annotated[bool, typer.Option("--once", help="One look, one retraining if it is due, end: for cron.")] = False,
    shadow: Shadow = False,
) -> None:
    """Retrain whenever the logs are worth it: new motion, another declared payload, or a model worse than it promised.

    With --shadow what passes its gate does not run before live motion has spoken for it, too, in a running graph; the
    next retraining waits for that.
    Each retraining is a child process at nice 19 with one thread. A refused one is tried again only with new motion.
    One line of JSON per event on standard output, a sentence on standard error. Ctrl-C or SIGTERM ends both.
    Exit status of --once: 0 nothing due or a new model, 1 refused or failed, 2 bad input, as of an active bundle.

    Example: mbrl-control learner --logs out --registry out/models --robot panda
    """
    from mbrl_control.learner.memory import alone
    from mbrl_control.learner.policy import Policy
    from mbrl_control.scheduling import stand_behind

    if not logs.is_dir():
        raise UserError(f"{logs}: --logs: no such folder; name the one below which runs keep their logs")
    policy = Policy(new_minutes, retry_minutes, shadow=shadow)
    folder, service = _service(logs, registry, robot, command, policy, minutes, seed)
    say("started", f"learner: watching {logs} for {folder}; {stand_behind()}", {"logs": str(logs)})
    try:
        with interruptible(), alone(folder):
            if once:
                _end_by(service.turn())
            else:
                _serve(service)
    finally:
        say("ended", "learner: ended", {})


def _serve(service: Service) -> None:
    """Until a signal ends it, which is its proper end; what goes wrong at a look is tried again at the next one."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            service.attend()
            time.sleep(_EVERY_S)


def _end_by(good: bool) -> None:
    if not good:
        raise Refused("learner: a retraining was due and made no model, for the reason above")


def say(event: str, sentence: str, facts: dict[str, Any]) -> None:
    """One line for programs, one for people."""
    print(json.dumps({"event": event, "time": time.time(), **facts}), flush=True)
    print(sentence, file=sys.stderr, flush=True)


def _service(
    logs: Path,
    registry: Path,
    robot: str,
    command: CommandInterface,
    policy: Policy,
    minutes: float,
    seed: int,
) -> tuple[Path, Service]:
    """The robot's folder of bundles, and the service for it."""
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.cli.retraining import run_retraining
    from mbrl_control.deployment.registry import Registry
    from mbrl_control.learner.service import Service
    from mbrl_control.learner.watch import Watch
    from mbrl_control.robot import load_arm

    arm = load_arm(arm_file(robot), command)
    bundles = Registry(registry, arm.model_name)
    bundles.check_models()
    options = ["--registry", str(registry), "--robot", robot, "--command", command.value]
    options += ["--minutes", str(minutes), "--seed", str(seed), *(["--shadow"] if policy.shadow else [])]

    def retraining(chosen: tuple[Path, ...]) -> Ended:
        return run_retraining([word for log in chosen for word in ("--log", str(log))] + options, bundles.folder)

    def report(event: str, log: Path, reason: str) -> None:
        say(event, f"{event}: {log}: {reason}", {"log": str(log), "reason": reason})

    watch = Watch(logs, arm, 60.0 * minutes, report)
    return bundles.folder, Service(watch, bundles, arm, policy, retraining, say)
