"""log -> transitions -> split -> fit -> gate -> signed bundle -> trial -> activated or candidate: one retraining."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from mbrl_control.deployment.bundle import Origin, load_weights, write_bundle
from mbrl_control.deployment.check import DATASET, DATASET_CARD, verify_bundle
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.lifecycle import promote, shadow
from mbrl_control.deployment.manifest import Calibration, GateRecord, KStep, Manifest, Promise, Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.signing import signing_key
from mbrl_control.episode_log.errors import LogError
from mbrl_control.golden_logs import Golden, read_golden
from mbrl_control.learned_from import LearnedLog, apart, as_json, dataset_of, golden_told, read_log
from mbrl_control.learning.checkpoint import forget
from mbrl_control.learning.curves import Curves
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.further_gates import Yardstick, judge_golden, require_stable
from mbrl_control.learning.judge import RetrainRefused, Score, Verdict, gate
from mbrl_control.learning.learn import Fitter, Learned, Parent, Progress, learn
from mbrl_control.learning.regimes import other_payloads
from mbrl_control.learning.stability import Loops, OtherPayloads
from mbrl_control.live.watch import WINDOWS
from mbrl_control.replay.dataset_text import dataset_text
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.transitions import Grid, history_of
from mbrl_control.robot import Arm


class ClosedLoop(Protocol):
    """A closed loop in simulation with the arm, which only the caller can build (`cli.closed_loop`)."""

    def __call__(self, candidate: Parent, reference: Parent | None, payloads_kg: tuple[float, ...]) -> Loops:
        """Both models with each payload; ``reference`` None: the prior."""
        ...


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
    shadow: bool = False
    """What passes becomes the candidate, to be compared on live motion before it may run."""
    closed_loop: ClosedLoop | None = None
    """Asked of a candidate with the payloads of other regimes; None: nothing is asked, and its bundle says so."""
    other_payloads: OtherPayloads = OtherPayloads.BOUND
    """What that counts for."""


@dataclass(frozen=True, slots=True)
class RetrainResult:
    """The bundle and the numbers that let it through."""

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
    active: bool
    """False: it is the candidate."""


def retrain(
    config: RetrainConfig,
    progress: Progress = lambda stage, share: None,
    curves: Curves | None = None,
    fitter: Fitter | None = None,
) -> RetrainResult:
    """Learn a new bundle from the logs and activate it, or propose it; ``progress(stage, share done)``, ``curves`` of
    every epoch.

    ``fitter``: see `learn`.

    Raises LogError for an unusable log, TooLittleData, DataError, RetrainRefused with the numbers,
    BundleError or ParityError when the bundle cannot be written, signed or opened, or another was activated meanwhile.
    """
    signing_key(Keys(), config.models)  # one that cannot sign is said now, not after minutes of learning
    progress("reading", 0.0)
    registry = Registry(config.models, config.arm.model_name)
    predecessor = registry.active()
    if config.shadow and predecessor is None:
        raise BundleError(f"{registry.folder}: active.json: names no bundle to compare with; retrain without --shadow")
    golden = read_golden(registry, config.arm)
    logs = _read(config, golden)
    active = _active(registry, predecessor, config.arm)
    parent = _parent(registry, active, config.arm)
    learned = _learn(config, logs, parent, progress, curves, fitter)
    try:
        verdict = gate(learned.judged, np.random.default_rng(config.seed))
        verdict = _further_gates(config, verdict, golden, logs, learned, parent, progress)
    except RetrainRefused:
        _forget_fit(config)
        raise

    progress("exporting", 0.0)
    manifest = _store(config, registry, learned, verdict, active, logs)
    progress("trying", 0.0)
    if config.shadow:
        shadow(registry, manifest.version, WINDOWS, config.arm)
    else:
        _activate(registry, manifest, predecessor, config.arm)
    _forget_fit(config)
    return _result(manifest, registry, learned, verdict, not config.shadow)


def _forget_fit(config: RetrainConfig) -> None:
    """A fit that was judged is not resumed: the next one begins anew."""
    if config.fit is not None:
        forget(config.fit.checkpoint)


def run_in_background() -> None:
    """Give this process the lowest priority and torch one thread: retraining must not cost the planner a cycle."""
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    torch.set_num_threads(1)


def _read(config: RetrainConfig, golden: Sequence[Golden]) -> list[LearnedLog]:
    """Oldest first."""
    if not config.logs:
        raise TooLittleData("--log: none given; name at least one log")
    logs = []
    for path in config.logs:
        source, stream = read_log(path, config.phase, config.newest_s)
        if stream.joint_names != config.arm.joint_names:
            problem = f"{list(stream.joint_names)} are not those of {config.arm.name}"
            raise LogError(path, "belief.joint_names", problem, "give a log of this arm")
        if stream.interface is not config.arm.interface:
            problem = f"holds {stream.interface} commands, the model is to take {config.arm.interface}"
            raise LogError(path, "safe_command.interface", problem, "say --command as the log was made")
        logs.append(apart(source, stream, golden))
    return sorted(logs, key=lambda log: int(log.streams.belief_ns[0]))


def _learn(
    config: RetrainConfig,
    logs: Sequence[LearnedLog],
    parent: Parent | None,
    progress: Progress,
    curves: Curves | None,
    fitter: Fitter | None,
) -> Learned:
    """From what is not golden."""
    settings = config.fit or FitSettings.deployed(config.arm.interface)
    kept = [log.kept for log in logs]
    try:
        return learn(kept, config.arm, config.seed, parent, settings, config.dt_ns, progress, curves, fitter)
    except TooLittleData as error:
        if not (told := golden_told(logs)):
            raise
        raise TooLittleData(f"{error}; golden logs are never learned from, these were left out: {told}") from error


def _further_gates(
    config: RetrainConfig,
    verdict: Verdict,
    golden: Sequence[Golden],
    logs: Sequence[LearnedLog],
    learned: Learned,
    parent: Parent | None,
    progress: Progress,
) -> Verdict:
    """Golden logs, then closed loops with the payloads of other regimes; RetrainRefused with the numbers."""
    arm, newest_kg = config.arm, logs[-1].streams.payload_kg
    candidate = Parent("candidate", learned.fitted.ensemble, learned.delay_s)
    yardsticks = [Yardstick(each.said.name, each.said.payload_kg, each.streams) for each in golden]
    generator = np.random.default_rng(config.seed)
    scores = judge_golden(yardsticks, newest_kg, candidate, parent, arm, config.dt_ns, generator)
    known = [mass for log in logs for mass in log.streams.payloads_kg] + [each.payload_kg for each in yardsticks]
    payloads, loops = other_payloads(known, newest_kg), Loops()
    if payloads and config.closed_loop is None:
        loops = Loops(not_simulated="no simulation of the arm was given")
    elif payloads and config.closed_loop is not None:
        progress("simulating", 0.0)
        loops = config.closed_loop(candidate, parent, payloads)
    decide = config.other_payloads is OtherPayloads.BOUND
    if decide:
        require_stable(loops)
    told = loops.not_simulated
    return replace(verdict, golden=scores, loops=loops.scores, loops_decide=decide, not_simulated=told)


def _activate(registry: Registry, manifest: Manifest, predecessor: int | None, arm: Arm) -> None:
    """In the place of the very one it was compared with, or of none: its gate says nothing about another."""
    try:
        promote(registry, manifest.version, arm, instead_of=predecessor)
    except ActiveChanged as error:
        beside = "the prior alone" if predecessor is None else "that"
        raise ActiveChanged(
            f"{error}; {manifest.model_id} was compared with {beside} and is kept: retrain again, or overrule: "
            f"mbrl-control models promote {manifest.version}"
        ) from error


def _active(registry: Registry, version: int | None, arm: Arm) -> Manifest | None:
    """Manifest of the active ``version``; None when there is none or it has learned nothing."""
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


def _result(manifest: Manifest, registry: Registry, learned: Learned, verdict: Verdict, active: bool) -> RetrainResult:
    judged, fitted = learned.judged, learned.fitted
    return RetrainResult(
        manifest.model_id, registry.path(manifest.version), learned.delay_s, learned.rows, learned.blocks,
        judged.candidate, judged.reference, judged.reference_id, judged.nll, judged.coverage, fitted.epochs,
        fitted.seconds, verdict, active,
    )  # fmt: skip


def _store(
    config: RetrainConfig,
    registry: Registry,
    learned: Learned,
    verdict: Verdict,
    active: Manifest | None,
    logs: Sequence[LearnedLog],
) -> Manifest:
    files = [file for log in logs for file in log.source.files]
    digests, sizes = tuple(file.sha256 for file in files), tuple(file.bytes for file in files)
    newest_ns = max(int(log.streams.belief_ns[-1]) for log in logs)
    training = training_of(learned, verdict, logs[-1].streams.payload_kg, digests, sizes, newest_ns)
    parents = () if active is None else (active.model_id,)
    grid = Grid(learned.delay_s, config.dt_ns, history_of(config.arm))
    dataset = dataset_of(logs, config.arm, grid, learned.regime, learned.rows)
    files_of_dataset = {DATASET: as_json(dataset), DATASET_CARD: dataset_text(dataset).encode()}
    origin = Origin(
        config.created_ns, learned.delay_s, training, parents, config.git_sha, config.made_by, files_of_dataset
    )
    # Whoever plans with what only an extended bundle has goes on with it.
    return store(learned, config.arm, registry, origin, extended=_extended(registry, config.arm))


def training_of(
    learned: Learned,
    verdict: Verdict,
    payload_kg: float,
    log_sha256: tuple[str, ...] = (),
    log_bytes: tuple[int, ...] = (),
    newest_ns: int = 0,
) -> Training:
    """What a bundle says of its rows and scores; without logs where the rows were recorded otherwise."""
    return Training(
        log_sha256=log_sha256,
        log_bytes=log_bytes,
        newest_ns=newest_ns,
        rows=learned.rows,
        payload_kg=payload_kg,
        holdout_nll=learned.judged.nll,
        coverage_90=learned.judged.coverage,
        k_step=tuple(KStep(**{name: getattr(e, name) for name in KStep.model_fields}) for e in learned.judged.errors),
        spread=learned.judged.spread,
        calibration=tuple(Calibration(**asdict(each)) for each in learned.judged.calibration),
        gate=GateRecord(**asdict(verdict)),
        promise=None if learned.judged.promise is None else Promise(**asdict(learned.judged.promise)),
    )


def store(learned: Learned, arm: Arm, registry: Registry, origin: Origin, extended: bool = False) -> Manifest:
    """Write the bundle, with all graphs where ``extended``, and check it as its users will; it is not activated."""
    path, _ = write_bundle(learned.fitted.ensemble, arm, registry, origin, extended=extended)
    return verify_bundle(path, arm)
