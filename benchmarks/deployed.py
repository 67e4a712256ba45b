"""Bundles of the deployed size for benches of the live graph: the shipped one, not the prior alone, and another."""

from __future__ import annotations

from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.session import Session
from mbrl_control.cli.shipped import prepare
from mbrl_control.deployment.check import CheckedBundle, verify_bundle
from mbrl_control.deployment.files import write_folder
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.registry import Registry
from mbrl_control.robot import Arm, load_arm


def registry_of(session: Session) -> Registry:
    return Registry(session.registry, arm_of(session).model_name)


def arm_of(session: Session) -> Arm:
    return load_arm(session.arm, session.wiring.command)


def prepare_learned(session: Session) -> Manifest:
    """The run begins with the shipped bundle; GraphFailed where it would begin with the prior, which costs less."""
    said = prepare(session)
    manifest = verify_bundle(session.active_bundle(), arm_of(session))
    if not manifest.has_spread:
        raise GraphFailed(f"{said}; cycles of a prior are no measure: make a bundle for this arm (make models)")
    return manifest


def add_bundle(session: Session, bundle: CheckedBundle) -> None:
    """Beside the run's own, under its own number; BundleError where that was taken before."""
    registry, version = registry_of(session), bundle.manifest.version
    registry.require_free(version)
    write_folder(registry.path(version), bundle.content)


def size_of(manifest: Manifest) -> str:
    """Members, width and depth of the networks, horizon: what a cycle's work goes with."""
    return f"{manifest.members} x {manifest.width} x {manifest.depth}, {manifest.horizon} steps"
