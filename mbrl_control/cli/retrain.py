"""`mbrl-control retrain`: learn a new bundle from logs, at the lowest priority, activated if it passes the gate."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.cli.errors import Refused
from mbrl_control.cli.progress import StageTimes, progress_bar
from mbrl_control.cli.provenance import collected_by, own_or_shipped, repeatable, source_commit
from mbrl_control.cli.retrain_search import Ray, SearchOptions, Seeds, Sweep, Table, searching
from mbrl_control.command_interface import CommandInterface
from mbrl_control.learning.method import Method
from mbrl_control.learning.stability import OtherPayloads

if TYPE_CHECKING:
    from mbrl_control.learning.fit_settings import FitSettings
    from mbrl_control.retrain import RetrainConfig

OtherPayloadsOption = Annotated[
    OtherPayloads,
    typer.Option("--other-payloads", help="A candidate that is not stable with them: refuse, or only report."),
]

Checkpoints = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        help="Folder that keeps the state of the fit; the same command again resumes it. Emptied once judged.",
    ),
]
FitMethod = Annotated[
    Method, typer.Option("--method", help="Networks: an ensemble, or one with dropout or a Laplace posterior.")
]
RolloutSteps = Annotated[
    int | None,
    typer.Option("--rollout-steps", help="Learn open-loop motion over so many steps, too; takes longer.", min=2),
]
Shadow = Annotated[
    bool, typer.Option("--shadow", help="Do not activate it: let a running graph compare it on live motion first.")
]


def retrain(
    log: Annotated[
        list[Path],
        typer.Option("--log", help="Log folder or MCAP file, also one being written; give several to learn from all."),
    ],
    registry: Annotated[Path, typer.Option("--registry", help="Folder that holds <robot>/<version>/.")] = Path(
        "models"
    ),
    robot: Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")] = "panda",
    command: Annotated[
        CommandInterface, typer.Option("--command", help="What the logged commands are.")
    ] = CommandInterface.VELOCITY,
    phase: Annotated[
        str | None, typer.Option("--phase", help="Only the newest stretch of this phase of each log (topic `phase`).")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", help="Only the last minutes of each log; memory grows with them.", min=0.1),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the training.", min=0)] = 0,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="Folder of an event file with the learning curves.")
    ] = None,
    other_payloads: OtherPayloadsOption = OtherPayloads.BOUND,
    checkpoints: Checkpoints = None,
    shadow: Shadow = False,
    method: FitMethod = Method.ENSEMBLE,
    rollout_steps: RolloutSteps = None,
    seeds: Seeds = 1,
    sweep: Sweep = None,
    table: Table = None,
    ray: Ray = None,
) -> None:
    """Learn from logs; the new bundle is activated only when it passes the gate on held-out motion.

    A first one has to beat the prior, a later one to be, with 95 % confidence, less than 2 % worse than the active one.
    So it has on golden logs (models golden) of the same payload; with other payloads in the logs its loop has to be
    stable in simulation. Of several seeds or settings the best goes on to the gate, chosen on rows that neither the
    fits nor the gate have. With --shadow a running graph compares it with the active one on live motion, too, and then
    activates or refuses it.

    Runs at nice 19 with one thread. The last line is JSON. Exit status 1: refused, with the numbers.
    Example: mbrl-control retrain --log out/demo/log --registry out/demo/registry --robot panda
    """
    search = SearchOptions(seeds, sweep, table, ray)
    search.check(checkpoints, tensorboard, method)
    said = {"robot": own_or_shipped(robot), "command": command.value, "phase": phase, "minutes": minutes, "seed": seed}
    said["other-payloads"] = None if other_payloads is OtherPayloads.BOUND else other_payloads.value
    said |= {"method": None if method is Method.ENSEMBLE else method.value, "rollout-steps": rollout_steps}
    made_by = (
        *filter(None, map(collected_by, log)),
        repeatable("retrain", {"log": log[0], **said, "seeds": seeds if seeds > 1 else None, "sweep": sweep}),
    )
    fit = _fit(command, checkpoints, method, rollout_steps)
    config = _config(log, registry, robot, command, seed, fit)
    newest_s = None if minutes is None else 60.0 * minutes
    config = replace(config, phase=phase, newest_s=newest_s, made_by=made_by, shadow=shadow)
    config = replace(config, other_payloads=other_payloads)
    typer.echo(_run(config, search, tensorboard))


def _run(config: RetrainConfig, search: SearchOptions, tensorboard: Path | None) -> str:
    """The line of JSON: the result, what was tried for it, and how long each stage took."""
    from mbrl_control.learning.curves import tensorboard_curves
    from mbrl_control.learning.judge import RetrainRefused
    from mbrl_control.replay.errors import TooLittleData
    from mbrl_control.retrain import retrain as run
    from mbrl_control.retrain import run_in_background

    run_in_background()  # before Ray: its processes on this machine inherit it
    writer = nullcontext() if tensorboard is None else tensorboard_curves(tensorboard)
    with searching(search) as fitter, progress_bar() as progress, writer as curves:
        stages = StageTimes(progress, time.monotonic)
        try:
            result = run(config, stages, curves, fitter)
        except (RetrainRefused, TooLittleData) as error:
            raise Refused(f"retrain: {error}") from error
        facts = asdict(result) | {"stage_seconds": stages.seconds()}
    if fitter is not None:
        facts["tried"] = [asdict(trial) for trial in fitter.trials]
    return json.dumps(facts, default=str)


def _fit(command: CommandInterface, checkpoints: Path | None, method: Method, rollout_steps: int | None) -> FitSettings:
    from mbrl_control.learning.fit_settings import Checkpointing, FitSettings, RolloutLoss

    checkpoint = None if checkpoints is None else Checkpointing(checkpoints)
    rollout = None if rollout_steps is None else RolloutLoss(rollout_steps)
    return replace(FitSettings.deployed(command), checkpoint=checkpoint, method=method, rollout=rollout)


def _config(
    log: list[Path], registry: Path, robot: str, command: CommandInterface, seed: int, fit: FitSettings
) -> RetrainConfig:
    from mbrl_control.cli.closed_loop import SimulatedLoops
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.retrain import RetrainConfig
    from mbrl_control.robot import load_arm

    place, now_ns = arm_file(robot), time.time_ns()
    arm, loops = load_arm(place, command), SimulatedLoops(place, command, seed)
    return RetrainConfig(
        tuple(log), registry, arm, now_ns, seed=seed, fit=fit, git_sha=source_commit(), closed_loop=loops
    )
