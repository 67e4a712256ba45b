"""log -> transitions -> split -> fit -> gate -> signed bundle -> trial -> activated: one retraining, start to end."""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from mbrl_control.deployment.bundle import Origin, load_weights, write_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.lifecycle import promote
from mbrl_control.deployment.manifest import Calibration, GateRecord, KStep, Manifest, Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.signing import signing_key
from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.reader import LogReader
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import Score, Verdict, gate
from mbrl_control.learning.learn import Learned, Parent, Progress, learn
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.robot import Arm


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
    newest_s: float | None = None
    """s, learn only from the end of each log; None: from all."""
    seed: int = 0
    dt_ns: int = 20_000_000
    fit: FitSettings | None = None
    """None: what bundles of the arm's interface are fitted with."""
    git_sha: str = "unknown"
    made_by: tuple[str, ...] = ()
    """Commands that repeat it, for the bundle's card."""


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
    gate: Verdict


def retrain(
    config: RetrainConfig, progress: Progress = lambda stage, share: None, curves: Curves | None = None
) -> RetrainResult:
    """Learn a new bundle from the logs and activate it; ``progress(stage, share done)``, ``curves`` of every epoch.

    Raises LogError for an unusable log, TooLittleData, DataError, RetrainRefused with the numbers,
    BundleError or ParityError when the bundle cannot be written, signed or opened, or another became active meanwhile.
    """
    signing_key(Keys(), config.models)  # one that cannot sign is said now, not after minutes of learning
    progress("reading", 0.0)
    streams = _read(config)
    extents = _extents(config)
    registry = Registry(config.models, config.arm.model_name)
    before = registry.active()
    active = _active(registry, config.arm)
    settings = config.fit or FitSettings.deployed(config.arm.interface)
    parent = _parent(registry, active, config.arm)
    learned = learn(streams, config.arm, config.seed, parent, settings, config.dt_ns, progress, curves)
    verdict = gate(learned.judged, np.random.default_rng(config.seed))

    progress("exporting", 0.0)
    manifest = _store(config, registry, learned, verdict, streams[-1].payload_kg, active, extents)
    progress("trying", 0.0)
    promote(registry, manifest.version, config.arm, instead_of=before)  # it was compared with no other
    return _result(manifest, registry, learned, verdict)


def run_in_background() -> None:
    """Give this process the lowest priority and torch one thread: retraining must not cost the planner a cycle."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    torch.set_num_threads(1)


def _read(config: RetrainConfig) -> list[Streams]:
    if not config.logs:
        raise TooLittleData("--log: none given; name at least one log")
    streams = [read_streams(path, config.phase, _newest_ns(config)) for path in config.logs]
    for path, stream in zip(config.logs, streams, strict=True):
        if stream.joint_names != config.arm.joint_names:
            problem = f"{list(stream.joint_names)} are not those of {config.arm.name}"
            raise LogError(path, "belief.joint_names", problem, "give a log of this arm")
        if stream.interface is not config.arm.interface:
            problem = f"holds {stream.interface} commands, the model is to take {config.arm.interface}"
            raise LogError(path, "safe_command.interface", problem, "say --command as the log was made")
    return sorted(streams, key=lambda stream: int(stream.belief_ns[0]))


def _newest_ns(config: RetrainConfig) -> int | None:
    return None if config.newest_s is None else round(config.newest_s * 1e9)


def _extents(config: RetrainConfig) -> tuple[tuple[Path, int], ...]:
    """The files that were read, with their sizes."""
    readers = [LogReader(path, newest_ns=_newest_ns(config)) for path in config.logs]
    return tuple((path, path.stat().st_size) for reader in readers for path in reader.files()[0])


def _active(registry: Registry, arm: Arm) -> Manifest | None:
    """Manifest of the active bundle; None when none is active or the active one has learned nothing."""
    version = registry.active()
    if version is None:
        return None
    manifest = verify_bundle(registry.path(version), arm)
    return manifest if manifest.has_spread else None


def _extended(registry: Registry, arm: Arm) -> bool:
    version = registry.active()
    return version is not None and verify_bundle(registry.path(version), arm).extended


def _parent(registry: Registry, active: Manifest | None, arm: Arm) -> Parent | None:
    """The active bundle as the one to start from and to beat."""
    if active is None:
        return None
    return Parent(active.model_id, load_weights(registry.path(active.version), arm), active.delay_s)


def _result(manifest: Manifest, registry: Registry, learned: Learned, verdict: Verdict) -> RetrainResult:
    judged, fitted = learned.judged, learned.fitted
    return RetrainResult(
        manifest.model_id, registry.path(manifest.version), learned.delay_s, learned.rows, learned.blocks,
        judged.candidate, judged.reference, judged.reference_id, judged.nll, judged.coverage, fitted.epochs,
        fitted.seconds, verdict,
    )  # fmt: skip


def _store(
    config: RetrainConfig,
    registry: Registry,
    learned: Learned,
    verdict: Verdict,
    payload_kg: float,
    active: Manifest | None,
    extents: tuple[tuple[Path, int], ...],
) -> Manifest:
    digests = tuple(_digest(path, size) for path, size in extents)
    training = training_of(learned, verdict, payload_kg, digests, tuple(size for _, size in extents))
    parents = () if active is None else (active.model_id,)
    origin = Origin(config.created_ns, learned.delay_s, training, parents, config.git_sha, config.made_by)
    # Whoever plans with what only an extended bundle has goes on with it.
    return store(learned, config.arm, registry, origin, extended=_extended(registry, config.arm))


def training_of(
    learned: Learned,
    verdict: Verdict,
    payload_kg: float,
    log_sha256: tuple[str, ...] = (),
    log_bytes: tuple[int, ...] = (),
) -> Training:
    """What a bundle says of its rows and scores; without logs where the rows were recorded otherwise."""
    return Training(
        log_sha256=log_sha256,
        log_bytes=log_bytes,
        rows=learned.rows,
        payload_kg=payload_kg,
        holdout_nll=learned.judged.nll,
        coverage_90=learned.judged.coverage,
        k_step=tuple(KStep(**{name: getattr(e, name) for name in KStep.model_fields}) for e in learned.judged.errors),
        spread=learned.judged.spread,
        calibration=tuple(Calibration(**asdict(each)) for each in learned.judged.calibration),
        gate=GateRecord(**asdict(verdict)),
    )


def store(learned: Learned, arm: Arm, registry: Registry, origin: Origin, extended: bool = False) -> Manifest:
    """Write the bundle, with all graphs where ``extended``, and check it as its users will; it is not activated."""
    path, _ = write_bundle(learned.fitted.ensemble, arm, registry, origin, extended=extended)
    return verify_bundle(path, arm)


def _digest(path: Path, size: int) -> str:
    """Of the first ``size`` bytes, which a log that is still being written does not change any more."""
    digest, left = hashlib.sha256(), size
    with path.open("rb") as stream:
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
    return digest.hexdigest()
