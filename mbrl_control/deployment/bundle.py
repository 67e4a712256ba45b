"""Weights -> bundle: export, parity, golden values, manifest, card, written in one step."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mbrl_control.deployment.check import (
    CARD,
    DATASET_CARD,
    DATASET_FILES,
    GOLDEN,
    MANIFEST,
    WEIGHTS,
    golden_prefix,
    read_bundle,
)
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.exports import export_bare, export_further
from mbrl_control.deployment.files import write_folder
from mbrl_control.deployment.geometry import geometry_sha256
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.manifest import GateRecord, Manifest, Scaling, Training
from mbrl_control.deployment.parity import Exported, check_parity, rollout_cases
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.session import Float32
from mbrl_control.deployment.signing import SIGNATURE, sign, signing_key
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.prior import Prior, prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.rewards.names import term_names
from mbrl_control.robot import Arm
from mbrl_control.signals import CommandInterface

_GOLDEN_CASE = -1
_PRIOR_STD = (0.01, 0.1, 10.0)
"""rad, rad/s, N m: stated by a prior as its spread, and marked as not meaningful."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What only the caller knows about a model."""

    created_ns: int
    """Wall time."""
    delay_s: float
    """Command to motion: estimated from the training log; of a prior the arm's own, without the graph's polling."""
    training: Training | None = None
    parents: tuple[str, ...] = ()
    git_sha: str = "unknown"
    made_by: tuple[str, ...] = ()
    """Commands that repeat it, in order, without paths of one machine."""
    dataset: Mapping[str, bytes] | None = None
    """`DATASET_FILES` by name; None where nothing was learned from logs."""


def write_bundle(
    ensemble: ProbabilisticEnsemble,
    arm: Arm,
    registry: Registry,
    origin: Origin,
    graph: GraphShape | None = None,
    extended: bool = False,
) -> tuple[Path, dict[str, float]]:
    """Export, check, sign and store a new version (not activated); ParityError when the graphs differ from torch.

    ``extended``: with the graphs for trust, particles, obstacles and derivatives, which take minutes.
    """
    graph, keys = graph or GraphShape.deployed(arm.interface), Keys()
    signing_key(keys, registry.models)  # one that cannot be used is said now, not after minutes of exporting
    with torch.no_grad():
        rollout = RolloutGraph(ensemble, arm, graph).eval()
        exported = export_bare(ensemble, rollout)
        if extended:
            exported |= export_further(ensemble, arm, graph)
    generator = np.random.default_rng(0)
    parity = check_parity(exported, rollout, arm, generator)
    content = {name: each.content for name, each in exported.items()}
    content[WEIGHTS] = save_tensors({name: value.contiguous() for name, value in ensemble.state_dict().items()})
    content[GOLDEN] = _golden(exported, rollout_cases(arm, rollout, generator)[_GOLDEN_CASE])
    content |= origin.dataset or {}
    version = registry.take_version()
    content[CARD] = _card(arm, version, origin, parity, ensemble.prior).encode()
    manifest = _manifest(ensemble, arm, version, origin, graph, content, extended)
    content[MANIFEST] = manifest.model_dump_json(indent=1).encode()
    content[SIGNATURE] = sign(content[MANIFEST], keys, registry.models)
    write_folder(registry.path(version), content)
    return registry.path(version), parity


def prior_bundle(
    arm: Arm,
    registry: Registry,
    dt_s: float,
    delay_s: float,
    history: int,
    created_ns: int,
    graph: GraphShape | None = None,
) -> Path:
    """A bundle of the prior alone: residual zero, one member, ``has_spread`` false."""
    shape = EnsembleShape(members=1, joints=arm.joints, history=history, width=8)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, dt_s), torch.Generator().manual_seed(0))
    ensemble.silence()
    ensemble.target_std = torch.tensor(_PRIOR_STD).repeat_interleave(arm.joints)
    path, _ = write_bundle(ensemble, arm, registry, Origin(created_ns, delay_s), graph)
    return path


def extend_bundle(arm: Arm, registry: Registry, version: int, created_ns: int, git_sha: str) -> Path:
    """The same weights as a new version with all graphs; BundleError and ParityError as reading and writing have it."""
    path = registry.path(version)
    bundle, ensemble = read_bundle(path, arm), load_weights(path, arm)
    manifest = bundle.manifest
    graph = GraphShape(manifest.horizon, manifest.refresh)
    dataset = {name: bundle.content[name] for name in DATASET_FILES} if manifest.dataset else None
    origin = Origin(created_ns, manifest.delay_s, manifest.training, (manifest.model_id,), git_sha, dataset=dataset)
    made, _ = write_bundle(ensemble, arm, registry, origin, graph, extended=True)
    return made


def load_weights(path: Path, arm: Arm) -> ProbabilisticEnsemble:
    """The torch ensemble of a bundle, for a warm start or as a torch model; BundleError as `read_bundle`, and for
    weights that are not those of the manifest's network."""
    bundle = read_bundle(path, arm)
    manifest = bundle.manifest
    joints = len(manifest.joint_names)
    shape = EnsembleShape(manifest.members, joints, manifest.history, manifest.width, manifest.depth)
    velocity = manifest.command_interface is CommandInterface.VELOCITY
    try:
        prior: Prior = NominalPrior(manifest.dt_s, manifest.lag_s) if velocity else prior_of(arm, manifest.dt_s)
        tensors = load_tensors(bundle.content[WEIGHTS])
        if isinstance(prior, RigidBodyPrior):
            prior = prior.with_found(tensors["friction"].numpy(), tensors["load"].numpy())
        ensemble = ProbabilisticEnsemble(shape, prior, torch.Generator().manual_seed(0))
        ensemble.load_state_dict(tensors)
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:  # the trial opens graphs, not these
        said = " ".join(str(error).split())
        raise BundleError(
            f"{path / WEIGHTS}: are not those of the manifest ({said}); export the bundle again"
        ) from error
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise BundleError(f"{path / WEIGHTS}: hold numbers that are not finite; export the bundle again")
    return ensemble.eval()


def _manifest(
    ensemble: ProbabilisticEnsemble,
    arm: Arm,
    version: int,
    origin: Origin,
    graph: GraphShape,
    content: dict[str, bytes],
    extended: bool,
) -> Manifest:
    scaling = {name: tuple(getattr(ensemble, name).tolist()) for name in Scaling.model_fields}
    return Manifest(
        robot=arm.name,
        version=version,
        created=datetime.fromtimestamp(origin.created_ns * 1e-9, UTC).isoformat(timespec="seconds"),
        joint_names=arm.joint_names,
        dt_s=ensemble.prior.dt_s,
        delay_s=origin.delay_s,
        command_interface=arm.interface,
        lag_s=ensemble.prior.lag_s if isinstance(ensemble.prior, NominalPrior) else (),
        history=ensemble.shape.history,
        horizon=graph.horizon,
        refresh=graph.refresh,
        members=ensemble.shape.members,
        width=ensemble.shape.width,
        depth=ensemble.shape.depth,
        has_spread=origin.training is not None,
        term_names=term_names(arm),
        scaling=Scaling(**scaling),
        training=origin.training,
        arm_sha256=arm.sha256,
        geometry_sha256=geometry_sha256(arm),
        parents=origin.parents,
        git_sha=origin.git_sha,
        extended=extended,
        dataset=origin.dataset is not None,
        files={name: hashlib.sha256(data).hexdigest() for name, data in content.items()},
    )


def _golden(exported: dict[str, Exported], rollout: dict[str, Float32]) -> bytes:
    """One random case with the outputs of the exported graphs, as arrays ``<graph>.<name>``."""
    arrays: dict[str, Float32] = {}
    for file, each in exported.items():
        case = each.case(rollout)
        named = {name: case[name] for name in each.inputs}
        named |= each.session(file).run(named)
        arrays |= {f"{golden_prefix(file)}.{name}": value for name, value in named.items()}
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _card(arm: Arm, version: int, origin: Origin, parity: dict[str, float], prior: Prior) -> str:
    """For people; programs read the manifest."""
    lines = [f"# {arm.model_name}/{version}", "", f"- commands: {arm.interface}; delay: {origin.delay_s * 1e3:.1f} ms"]
    lines.append("- parity with torch: " + ", ".join(f"{name} {value:.1e}" for name, value in parity.items()))
    lines.append(f"- parents: {', '.join(origin.parents) or 'none'}; source: {origin.git_sha}")
    if origin.made_by:
        lines.append("- made by: " + ", then ".join(f"`{command}`" for command in origin.made_by))
    if origin.dataset is not None:
        lines.append(f"- data: `{DATASET_CARD}`")
    if origin.training is None:
        return "\n".join([*lines, "- nominal prior only: its spread means nothing", ""])
    training = origin.training
    lines.append(
        f"- {training.rows} rows; held-out NLL {training.holdout_nll:.3f}; 90 % covers {training.coverage_90:.3f}"
    )
    lines += [*_gate_lines(training), *_calibration_lines(training), *_promise_lines(training)]
    if isinstance(prior, RigidBodyPrior):
        coulomb, viscous = (", ".join(f"{value:.3g}" for value in row.tolist()) for row in prior.friction)
        lines.append(f"- friction identified: Coulomb {coulomb} N m; viscous {viscous} N m s/rad")
        mass = float(prior.load[0])
        place = ", ".join(f"{value / mass:.3f}" for value in prior.load[1:4].tolist()) if mass > 0.01 else "-"
        lines.append(f"- load identified: {mass:.3f} kg at ({place}) m in the last link's frame")
    lines += ["", "| steps | dq rad/s | nominal | q rad | nominal |", "|---|---|---|---|---|"]
    for row in training.k_step:
        values = (row.velocity, row.nominal_velocity, row.position, row.nominal_position)
        lines.append(f"| {row.steps} | " + " | ".join(f"{value:.2e}" for value in values) + " |")
    return "\n".join([*lines, ""])


def _gate_lines(training: Training) -> list[str]:
    gate = training.gate
    if gate is None:
        return []
    lines = [
        f"- gate: position after 0.3 s {gate.candidate:.3e} rad against {gate.reference:.3e} of {gate.reference_id}, "
        f"mean of {gate.blocks} held-out blocks; difference {gate.difference:.3e}, {gate.confidence:.0%} bounds "
        f"{gate.lower:.3e} and {gate.upper:.3e} ({gate.resamples} resamples), limit {gate.limit:.3e}"
    ]
    if gate.nll_difference is not None and gate.nll_upper is not None:
        lines.append(f"- one-step NLL less the reference's: {gate.nll_difference:.3f}, bound {gate.nll_upper:.3f}")
    for other in gate.others:
        lines.append(
            f"- older regime {other.regime}, {other.blocks} blocks: {other.candidate:.3e} rad against "
            f"{other.reference:.3e}; reported, not decisive"
        )
    return [*lines, *_golden_lines(gate), *_loop_lines(gate)]


def _golden_lines(gate: GateRecord) -> list[str]:
    return [
        f"- golden log {each.name} ({each.payload_kg:g} kg, {each.blocks} blocks): {each.candidate:.3e} rad against "
        f"{each.reference:.3e}; "
        + (
            "another payload: reported, not decisive"
            if each.limit is None
            else f"upper bound of the difference {each.upper:.3e}, limit {each.limit:.3e}"
        )
        for each in gate.golden
    ]


def _loop_lines(gate: GateRecord) -> list[str]:
    if gate.not_simulated:
        return [f"- closed loop with the payloads of other regimes: not simulated: {gate.not_simulated}"]
    counts = "" if gate.loops_decide else "; reported, not decisive: swinging, it is not for this payload"
    return [
        f"- closed loop in simulation with {each.payload_kg:g} kg: ends {1e3 * each.candidate.distance:.1f} mm from "
        f"its targets ({gate.reference_id}: {1e3 * each.reference.distance:.1f}) at {each.candidate.speed:.3f} rad/s "
        f"({each.reference.speed:.3f}), {each.candidate.violations} steps beyond a limit{counts}"
        for each in gate.loops
    ]


def _calibration_lines(training: Training) -> list[str]:
    return [
        f"- spread at step {each.steps}: calibration error {each.ece:.3f} scaled, {each.ece_raw:.3f} as exported; "
        f"{each.sharpness_ratio:.2f} of the best constant spread; factors {min(each.scale):.2f} to "
        f"{max(each.scale):.2f} in the manifest, not applied in the graphs"
        for each in training.calibration
    ]


def _promise_lines(training: Training) -> list[str]:
    """What the bundle is held to while it runs."""
    if training.promise is None:
        return []
    names = ("position", "velocity", "effort")
    promised = zip(names, training.promise.innovation, training.promise.log_std, strict=True)
    numbers = ", ".join(f"{name} {mean:.2f} (log std {std:.2f})" for name, mean, std in promised)
    said = f"{training.promise.steps} steps ahead, {training.promise.windows} windows"
    return [f"- promised innovation {said}: {numbers}"]
