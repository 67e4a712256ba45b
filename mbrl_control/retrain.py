"""log -> transitions -> split -> fit -> gate -> bundle -> activated: one retraining, start to end."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from mbrl_control.deployment.bundle import Origin, load_weights, write_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.manifest import KStep, Manifest, Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.episode_log.errors import LogError
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.learning.score import KStepError, coverage_90, k_step_errors
from mbrl_control.replay.blocks import newest_regime, require_blocks, split_blocks, thin_to_model_step
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.delay import estimate_delay
from mbrl_control.replay.effort_delay import estimate_effort_delay
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.replay.transitions import Grid, history_of, select, transitions_from_streams
from mbrl_control.rigid_body import RigidBody
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface, Transitions

OLDER_SHARE = 0.1
"""Of the total row weight for all older regimes: mixed evenly, old rows pull the model back to the old payload."""
GATE_STEPS = (1, 5, 15)
ONE_STEP_TOLERANCE = 1.02
"""One step is mostly measurement noise, alike for both models: a tie there is no reason to refuse."""

Progress = Callable[[str, float], None]


class RetrainRefused(ValueError):
    """The candidate is not better than what runs now; nothing was written."""


@dataclass(frozen=True, slots=True)
class RetrainConfig:
    """What to learn from and where to put it."""

    logs: tuple[Path, ...]
    models: Path
    """Folder that holds the registry of each robot."""
    arm: Arm
    created_ns: int
    """Wall time."""
    phase: str | None = None
    """Learn only from the newest stretch of this phase in each log; None: from all."""
    seed: int = 0
    dt_ns: int = 20_000_000
    fit: FitSettings = field(default_factory=FitSettings)
    git_sha: str = "unknown"
    made_by: tuple[str, ...] = ()
    """Commands that repeat it, for the bundle's card."""


@dataclass(frozen=True, slots=True)
class Score:
    """Errors on the held-out blocks of the newest regime."""

    position_15: float
    """rad, RMS after 0.3 s open loop."""
    velocity_1: float
    """rad/s, RMS after one step."""


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """The activated bundle and the numbers that let it through."""

    model_id: str
    path: Path
    delay_s: float
    rows: int
    held_out_blocks: int
    candidate: Score
    reference: Score
    reference_id: str
    """Model id of the bundle that was beaten, or `nominal`."""
    holdout_nll: float
    coverage_90: float
    epochs: int
    fit_seconds: float


@dataclass(frozen=True, slots=True)
class Parent:
    """The model to start from and to beat."""

    model_id: str
    ensemble: ProbabilisticEnsemble
    delay_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores on the held-out blocks of the newest regime, of the candidate and of what it has to beat."""

    candidate: Score
    reference: Score
    reference_id: str
    nll: float
    coverage: float
    errors: tuple[KStepError, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """A candidate before the gate."""

    fitted: FitResult
    delay_s: float
    rows: int
    """Trained on."""
    blocks: int
    """Held out."""
    judged: Judged


def retrain(config: RetrainConfig, progress: Progress = lambda stage, share: None) -> RetrainResult:
    """Learn a new bundle from the logs and activate it; ``progress(stage, share done)``.

    Raises LogError for an unusable log, TooLittleData, DataError, RetrainRefused with both scores,
    BundleError or ParityError when the bundle cannot be written.
    """
    progress("reading", 0.0)
    streams = _read(config)
    extents = tuple(path.stat().st_size for path in config.logs)
    registry = Registry(config.models, config.arm.model_name)
    active = _active(registry, config.arm)
    learned = learn(
        streams,
        config.arm,
        config.seed,
        None
        if active is None
        else Parent(active.model_id, load_weights(registry.path(active.version), config.arm), active.delay_s),
        config.fit,
        config.dt_ns,
        progress,
    )
    judged, fitted = learned.judged, learned.fitted
    gate(judged.candidate, judged.reference, judged.reference_id, judged.nll)

    progress("exporting", 0.0)
    manifest = _store(config, registry, learned, streams[-1].payload_kg, active, extents)
    registry.activate(manifest.version)
    return RetrainResult(
        manifest.model_id, registry.path(manifest.version), learned.delay_s, learned.rows, learned.blocks,
        judged.candidate, judged.reference, judged.reference_id, judged.nll, judged.coverage, fitted.epochs,
        fitted.seconds,
    )  # fmt: skip


def learn(
    streams: list[Streams],
    arm: Arm,
    seed: int,
    parent: Parent | None,
    settings: FitSettings,
    dt_ns: int = 20_000_000,
    progress: Progress = lambda stage, share: None,
) -> Learned:
    """Everything between a log and the gate: delay, rows, held-out blocks, fit from the ``parent``, scores.

    Raises TooLittleData or DataError.
    """
    delay_s = _delay_s(streams, arm)
    grid = Grid(delay_s, dt_ns, history_of(arm))
    rows = on_command_side(transitions_from_streams(streams, grid), arm)
    split = split_blocks(rows, grid.stride_ns)
    blocks = require_blocks(rows, split.held)
    train = thin_older_regimes(select(rows, split.train))
    fitted = fit(
        train,
        prior_of(arm, dt_ns * 1e-9),
        torch.Generator().manual_seed(seed),
        settings,
        regime_weights(train),
        None if parent is None else parent.ensemble,
        lambda epoch, nll: progress("fitting", epoch / settings.epochs),
    )

    progress("judging", 0.0)
    reference = None if parent is None else (parent.model_id, _parent_score(parent, streams, grid, arm))
    judged = _judge(fitted.ensemble, _judged_rows(rows, grid), reference)
    return Learned(fitted, delay_s, len(train), blocks, judged)


def _delay_s(streams: list[Streams], arm: Arm) -> float:
    if arm.interface is CommandInterface.EFFORT:
        return estimate_effort_delay(streams, RigidBody(arm)).delay_s
    return estimate_delay(streams).delay_s


def run_in_background() -> None:
    """Give this process the lowest priority and torch one thread: retraining must not cost the planner a cycle."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    torch.set_num_threads(1)


def thin_older_regimes(rows: Transitions) -> Transitions:
    """Keep at most half as many rows of all older regimes as of the newest, evenly spread.

    Together they weigh OLDER_SHARE, so most of them would cost time on the arm's computer and change nothing.
    """
    newest = newest_regime(rows)
    older = np.flatnonzero(~newest)
    allowed = int(newest.sum()) // 2
    if len(older) <= allowed:
        return rows
    kept = older[np.linspace(0, len(older) - 1, allowed).astype(np.int64)]
    return select(rows, np.sort(np.concatenate([np.flatnonzero(newest), kept])))


def regime_weights(rows: Transitions) -> Array:
    """[N] row weights of mean 1: the newest session carries 90 % of the total, all older ones 10 %."""
    newest = newest_regime(rows)
    older = len(rows) - int(newest.sum())
    if older == 0:
        return np.ones(len(rows))
    share = np.where(newest, (1.0 - OLDER_SHARE) / newest.sum(), OLDER_SHARE / older)
    return np.asarray(share * len(rows), dtype=np.float64)


def gate(candidate: Score, reference: Score, reference_id: str, nll: float) -> None:
    """RetrainRefused unless the candidate is better; a non-finite number never passes."""
    better = candidate.position_15 < reference.position_15
    kept = candidate.velocity_1 <= ONE_STEP_TOLERANCE * reference.velocity_1
    if not (better and kept and math.isfinite(nll)):
        raise RetrainRefused(
            f"candidate refused on the held-out blocks of the newest regime: position after 0.3 s "
            f"{candidate.position_15:.3e} rad (has to be below {reference.position_15:.3e} of {reference_id}), "
            f"velocity after one step {candidate.velocity_1:.3e} rad/s (at most {ONE_STEP_TOLERANCE} x "
            f"{reference.velocity_1:.3e}), NLL {nll:.3g}; log more motion with the present payload"
        )


def gaussian_nll(ensemble: ProbabilisticEnsemble, rows: Transitions) -> float:
    """Nats per row, mean: the ensemble as one Gaussian of its members' mean and total variance, SI units."""
    history = rows.history.reshape(len(rows), -1)
    state = torch.from_numpy(np.concatenate([rows.position, rows.velocity, history], axis=1)).float()
    with torch.inference_mode():
        members = state.expand(ensemble.shape.members, -1, -1)
        _, mean, variance = ensemble(members, torch.from_numpy(rows.action).float())
    total = variance.mean(0) + mean.var(0, unbiased=False)
    truth = torch.from_numpy(np.concatenate([rows.next_position, rows.next_velocity, rows.next_effort], axis=1))
    nll = 0.5 * ((truth - mean.mean(0)) ** 2 / total + total.log() + math.log(2.0 * math.pi))
    return float(nll.sum(1).mean())


def _read(config: RetrainConfig) -> list[Streams]:
    if not config.logs:
        raise TooLittleData("--log: none given; name at least one log")
    streams = [read_streams(path, config.phase) for path in config.logs]
    for path, stream in zip(config.logs, streams, strict=True):
        if stream.joint_names != config.arm.joint_names:
            problem = f"{list(stream.joint_names)} are not those of {config.arm.name}"
            raise LogError(path, "belief.joint_names", problem, "give a log of this arm")
        if stream.interface is not config.arm.interface:
            problem = f"holds {stream.interface} commands, the model is to take {config.arm.interface}"
            raise LogError(path, "safe_command.interface", problem, "say --command as the log was made")
    return sorted(streams, key=lambda stream: int(stream.belief_ns[0]))


def _active(registry: Registry, arm: Arm) -> Manifest | None:
    """Manifest of the active bundle; None when none is active or the active one has learned nothing."""
    version = registry.active()
    if version is None:
        return None
    manifest = verify_bundle(registry.path(version), arm)
    return manifest if manifest.has_spread else None


def _judged_rows(rows: Transitions, grid: Grid) -> Transitions:
    """Held-out rows of the newest regime, one model step apart."""
    chosen = split_blocks(rows, grid.stride_ns).held & newest_regime(rows)
    return thin_to_model_step(select(rows, chosen), grid.stride_ns, grid.dt_ns)


def _parent_score(parent: Parent, streams: list[Streams], grid: Grid, arm: Arm) -> Score:
    """The parent on rows cut with ITS delay: judged as it runs."""
    own = Grid(parent.delay_s, grid.dt_ns, grid.history, grid.stride_ns)
    held = _judged_rows(on_command_side(transitions_from_streams(streams, own), arm), own)
    return _score(k_step_errors(parent.ensemble, held, np.arange(len(held)), GATE_STEPS))


def _judge(ensemble: ProbabilisticEnsemble, held: Transitions, reference: tuple[str, Score] | None) -> Judged:
    """Scores on the held-out rows; without a ``reference`` (model id, score) the nominal prior is the one to beat."""
    every = np.arange(len(held))
    errors = k_step_errors(ensemble, held, every, GATE_STEPS)
    nominal = Score(position_15=errors[-1].nominal_position, velocity_1=errors[0].nominal_velocity)
    reference_id, to_beat = reference or ("nominal", nominal)
    nll, coverage = gaussian_nll(ensemble, held), coverage_90(ensemble, held, every)
    return Judged(_score(errors), to_beat, reference_id, nll, coverage, errors)


def _store(
    config: RetrainConfig,
    registry: Registry,
    learned: Learned,
    payload_kg: float,
    active: Manifest | None,
    extents: tuple[int, ...],
) -> Manifest:
    """Write the bundle and check it as its users will."""
    training = Training(
        log_sha256=tuple(_digest(path, size) for path, size in zip(config.logs, extents, strict=True)),
        log_bytes=extents,
        rows=learned.rows,
        payload_kg=payload_kg,
        holdout_nll=learned.judged.nll,
        coverage_90=learned.judged.coverage,
        k_step=tuple(KStep(**{name: getattr(e, name) for name in KStep.model_fields}) for e in learned.judged.errors),
    )
    parents = () if active is None else (active.model_id,)
    origin = Origin(config.created_ns, learned.delay_s, training, parents, config.git_sha, config.made_by)
    path, _ = write_bundle(learned.fitted.ensemble, config.arm, registry, origin)
    return verify_bundle(path, config.arm)


def _score(errors: tuple[KStepError, ...]) -> Score:
    return Score(position_15=errors[-1].position, velocity_1=errors[0].velocity)


def _digest(path: Path, size: int) -> str:
    """Of the first ``size`` bytes, which a log that is still being written does not change any more."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as stream:
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()
