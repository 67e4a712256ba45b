"""Bundles of an arm that takes torques: the prior rolls out as a rigid body; bundles of another arm are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.deployment.bundle import Origin, load_weights, prior_bundle, write_bundle
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import Opening, load_model
from mbrl_control.deployment.geometry import geometry_sha256
from mbrl_control.deployment.manifest import Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.dynamics.rigid_prior import RigidBodyPrior
from mbrl_control.planning.protocol import Objective
from mbrl_control.rigid_body import RigidBody
from mbrl_control.rigid_load import MOMENTS, point_moments
from mbrl_control.robot import Arm, EffortMode, load_arm
from mbrl_control.signals import CommandInterface
from sim.generate import ROBOTS
from tests.unit.signing_support import sign_anew

BATCH, HORIZON, DT = 3, 5, 0.02
GRAPH = GraphShape(HORIZON, refresh=3)


@pytest.fixture(scope="module", params=["planar", "panda"])
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(ROBOTS / f"{request.param}.yaml", CommandInterface.EFFORT)


@pytest.fixture(scope="module")
def bundle(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    return prior_bundle(arm, registry, DT, 0.008, 1, 0, GRAPH)


def test_the_prior_rollout_is_pins_forward_dynamics_with_terms_held_as_stated(arm: Arm, bundle: Path) -> None:
    """The oracle refreshes mass matrix and bias as often as the graph; fresh ones lead to nearly the same place."""
    pinocchio = pytest.importorskip("pinocchio")
    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{arm.name}.urdf"))
    rigid.armature = arm.armature
    if arm.effort_mode is not None and arm.effort_mode.gravity_compensated:
        rigid.gravity.linear = np.zeros(3)
    data, generator = rigid.createData(), np.random.default_rng(0)
    model = load_model(bundle, arm, opening=Opening(BATCH))
    torque = 0.05 * arm.effort
    actions = generator.uniform(-torque, torque, (BATCH, HORIZON, arm.joints))
    q, dq = arm.home.copy(), generator.uniform(-0.3, 0.3, arm.joints)
    state = np.concatenate([q, dq, np.zeros(arm.joints)])
    goals = (np.zeros((HORIZON, 3)), np.tile(q, (HORIZON, 1)))
    scores = model.rollout.evaluate(state, actions, Objective.plain(*goals, np.ones(len(model.rollout.term_names))))
    fresh = (q, dq)
    for step, action in enumerate(actions[1]):
        if step % GRAPH.refresh == 0:
            mass = pinocchio.crba(rigid, data, q)
            mass = np.triu(mass) + np.triu(mass, 1).T
            bias = pinocchio.rnea(rigid, data, q, dq, np.zeros(arm.joints))
        exact = pinocchio.aba(rigid, data, *fresh, action)
        fresh = (fresh[0] + DT * fresh[1] + 0.5 * DT**2 * exact, fresh[1] + DT * exact)
        acceleration = np.linalg.solve(mass, action - bias)
        q, dq = q + DT * dq + 0.5 * DT**2 * acceleration, dq + DT * acceleration
        np.testing.assert_allclose(scores.position[1, step], q, atol=2e-5)
        np.testing.assert_allclose(scores.velocity[1, step], dq, atol=2e-4)
        np.testing.assert_allclose(scores.effort[1, step], action, rtol=1e-5, atol=1e-5)
    first = model.step_model.step(state, actions[1, 0])
    np.testing.assert_allclose(first[: arm.joints], scores.position[1, 0], atol=1e-5)
    np.testing.assert_allclose(first[-arm.joints :], actions[1, 0], rtol=1e-6)
    assert np.abs(dq).max() > 0.1
    # What holding them costs over the whole horizon, of the way that was gone.
    assert np.abs(q - fresh[0]).max() < 0.02 * np.abs(q - arm.home).max()


def test_manifest_and_weights_say_what_the_commands_are(arm: Arm, bundle: Path) -> None:
    manifest = verify_bundle(bundle, arm)
    assert manifest.command_interface is CommandInterface.EFFORT
    assert manifest.model_id == f"{arm.name}_effort/1"
    assert manifest.lag_s == ()
    assert not manifest.has_spread
    assert isinstance(load_weights(bundle, arm).prior, RigidBodyPrior)


def test_the_other_interface_is_refused_both_ways(arm: Arm, bundle: Path, tmp_path: Path) -> None:
    velocity = replace(arm, interface=CommandInterface.VELOCITY)
    with pytest.raises(BundleError, match="command_interface: effort, the arm takes velocity"):
        verify_bundle(bundle, velocity)
    other = prior_bundle(velocity, Registry(tmp_path, arm.name), DT, 0.008, 3, 0, GRAPH)
    with pytest.raises(BundleError, match="command_interface: velocity, the arm takes effort"):
        verify_bundle(other, arm)


def test_identified_friction_is_saved_with_the_weights_and_deployed(arm: Arm, tmp_path: Path) -> None:
    level = 0.05 * arm.effort
    friction = np.stack([level, 0.1 * level])
    known = prior_of(arm, DT)
    assert isinstance(known, RigidBodyPrior)
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(2, arm.joints, 1, 8),
        known.with_found(friction, np.zeros(MOMENTS)),
        torch.Generator().manual_seed(0),
    )
    ensemble.silence()
    path, _ = write_bundle(ensemble, arm, Registry(tmp_path, arm.model_name), Origin(0, 0.006), GRAPH)
    loaded = load_weights(path, arm).prior
    assert isinstance(loaded, RigidBodyPrior)
    np.testing.assert_array_equal(loaded.friction.numpy(), friction)
    model, rest = load_model(path, arm, opening=Opening(BATCH)), np.concatenate([arm.home, np.zeros(2 * arm.joints)])
    carried = RigidBody(arm).gravity(arm.home)
    for share, sticks in ((0.9, True), (-0.9, True), (2.0, False), (-2.0, False)):
        speed = model.step_model.step(rest, carried + share * level)[arm.joints : 2 * arm.joints]
        expected = (
            0.0
            if sticks
            else DT
            * RigidBody(arm).acceleration(arm.home[None], 0.0 * arm.home[None], (carried + 0.5 * share * level)[None])[
                0
            ]
        )
        np.testing.assert_allclose(speed, expected, atol=2e-4)
    goal = (np.zeros((HORIZON, 3)), np.tile(arm.home, (HORIZON, 1)))
    held = np.broadcast_to(carried + 0.9 * level, (BATCH, HORIZON, arm.joints))
    scores = model.rollout.evaluate(rest, held, Objective.plain(*goal, np.ones(len(model.rollout.term_names))))
    np.testing.assert_allclose(scores.position, np.broadcast_to(arm.home, scores.position.shape), atol=1e-4)


def test_an_identified_load_is_saved_with_the_weights_and_deployed(arm: Arm, tmp_path: Path) -> None:
    """Against pin with the load as a body of the last link; drives that carry the arm do not carry it."""
    pinocchio = pytest.importorskip("pinocchio")
    place = arm.tool_translation + 0.05
    known = prior_of(arm, DT)
    assert isinstance(known, RigidBodyPrior)
    found = known.with_found(np.zeros((2, arm.joints)), 2.0 * point_moments(place[None])[0])
    ensemble = ProbabilisticEnsemble(EnsembleShape(2, arm.joints, 1, 8), found, torch.Generator().manual_seed(0))
    ensemble.silence()
    path, _ = write_bundle(ensemble, arm, Registry(tmp_path, arm.model_name), Origin(0, 0.006), GRAPH)
    loaded = load_weights(path, arm).prior
    assert isinstance(loaded, RigidBodyPrior)
    assert torch.equal(loaded.load, found.load)

    rigid = pinocchio.buildModelFromUrdf(str(ROBOTS / f"{arm.name}.urdf"))
    rigid.armature = arm.armature
    bare = rigid.createData()
    carried = np.zeros(arm.joints)
    if arm.effort_mode is not None and arm.effort_mode.gravity_compensated:
        carried = pinocchio.computeGeneralizedGravity(rigid, bare, arm.home).copy()
    rigid.appendBodyToJoint(arm.joints, pinocchio.Inertia(2.0, place, np.zeros((3, 3))), pinocchio.SE3.Identity())
    torque = 0.02 * arm.effort
    expected = DT * pinocchio.aba(rigid, rigid.createData(), arm.home, np.zeros(arm.joints), torque + carried)
    model, rest = load_model(path, arm, opening=Opening(BATCH)), np.concatenate([arm.home, np.zeros(2 * arm.joints)])
    step = model.step_model.step(rest, torque)[arm.joints : 2 * arm.joints]
    np.testing.assert_allclose(step, expected, atol=1e-4 * np.abs(expected).max() + 1e-5)
    goal = (np.zeros((HORIZON, 3)), np.tile(arm.home, (HORIZON, 1)))
    actions = np.broadcast_to(torque, (BATCH, HORIZON, arm.joints))
    scores = model.rollout.evaluate(rest, actions, Objective.plain(*goal, np.ones(len(model.rollout.term_names))))
    np.testing.assert_allclose(scores.velocity[0, 0], expected, atol=1e-4 * np.abs(expected).max() + 1e-5)


def test_the_card_says_what_load_was_found(arm: Arm, tmp_path: Path) -> None:
    known = prior_of(arm, DT)
    assert isinstance(known, RigidBodyPrior)
    load = 2.0 * point_moments(np.array([[0.1, 0.0, 0.2]]))[0]
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(2, arm.joints, 1, 8),
        known.with_found(np.zeros((2, arm.joints)), load),
        torch.Generator().manual_seed(0),
    )
    training = Training(
        log_sha256=(), log_bytes=(), rows=1, payload_kg=2.0, holdout_nll=0.0, coverage_90=0.9, k_step=()
    )
    path, _ = write_bundle(ensemble, arm, Registry(tmp_path, arm.model_name), Origin(0, 0.006, training), GRAPH)
    said = "- load identified: 2.000 kg at (0.100, 0.000, 0.200) m in the last link's frame"
    assert said in (path / "card.md").read_text(encoding="utf-8")


def test_bundles_whose_networks_were_told_the_torque_are_refused_by_name(
    arm: Arm, bundle: Path, tmp_path: Path
) -> None:
    """Theirs are longer by the torques of the action and of the history."""
    copy = Path(shutil.copytree(bundle, tmp_path / "1"))
    manifest = json.loads((copy / "manifest.json").read_text())
    for name in ("feature_mean", "feature_std"):
        manifest["scaling"][name] += 2 * arm.joints * [1.0]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    sign_anew(copy)
    for read in (load_weights, load_model, verify_bundle):
        with pytest.raises(
            BundleError, match=r"told the torque, made by an older version; .*models prior .*--command effort"
        ):
            read(copy, arm)


def test_an_older_format_is_refused_by_name(arm: Arm, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "1"))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    sign_anew(copy)
    with pytest.raises(BundleError, match=r"manifest\.json: format.*export the bundle again"):
        verify_bundle(copy, arm)


def _heavier(arm: Arm) -> Arm:
    return replace(arm, bodies=(*arm.bodies[:-1], replace(arm.bodies[-1], mass=1.1 * arm.bodies[-1].mass)))


CHANGES: dict[str, Callable[[Arm], Arm]] = {
    "mass": _heavier,
    "centre of mass": lambda arm: replace(arm, bodies=(replace(arm.bodies[0], com=np.ones(3)), *arm.bodies[1:])),
    "armature": lambda arm: replace(arm, armature=arm.armature + 0.01),
    "torque limit": lambda arm: replace(arm, effort=0.9 * arm.effort),
    "who carries the weight": lambda arm: replace(
        arm, effort_mode=EffortMode(not (arm.effort_mode or EffortMode(True)).gravity_compensated)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_the_rigid_body_is_made_of_belongs_to_the_fingerprint_of_torques_alone(
    change: str, arm: Arm, bundle: Path
) -> None:
    with pytest.raises(BundleError, match=r"geometry_sha256: .*inertias"):
        verify_bundle(bundle, CHANGES[change](arm))
    velocity = replace(arm, interface=CommandInterface.VELOCITY)
    assert geometry_sha256(CHANGES[change](velocity)) == geometry_sha256(velocity)
    assert geometry_sha256(velocity) != geometry_sha256(arm)


def test_friction_and_noise_do_not_change_the_fingerprint(arm: Arm, bundle: Path) -> None:
    verify_bundle(bundle, replace(arm, friction_viscous=2.0 * arm.friction_viscous, servo_gain=2.0 * arm.servo_gain))
