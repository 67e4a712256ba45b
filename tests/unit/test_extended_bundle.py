"""What an extended bundle adds: derivatives, particles, trust, obstacles; against the graphs that every bundle has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_control.deployment.bundle import Origin, extend_bundle, write_bundle
from mbrl_control.deployment.check import GRADIENT, JACOBIAN, read_bundle
from mbrl_control.deployment.derivatives import _named
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, Opening, load_model
from mbrl_control.deployment.particles import Particles
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.deployment.session import Session
from mbrl_control.deployment.trial import try_bundle
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.condensed import trajectory_states
from mbrl_control.planning.config import Obstacle, PlannerConfig
from mbrl_control.planning.protocol import UNLIMITED, Objective
from mbrl_control.robot import Arm, load_arm
from tests.patience import SLOW_S

ROBOTS = Path(__file__).parents[2] / "sim/robots"
pytestmark = pytest.mark.timeout(SLOW_S)  # recording the derivatives takes minutes on a slow machine
HORIZON, MEMBERS, BATCH = 3, 2, 4
NOWHERE = np.zeros((0, 7))


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(ROBOTS / "planar.yaml")


@pytest.fixture(scope="module")
def registry(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """1: as every bundle; 2: the same weights, extended."""
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    shape = EnsembleShape(MEMBERS, arm.joints, 3, 8)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, 0.02), torch.Generator().manual_seed(0)).eval()
    ensemble.target_std = torch.tensor((0.002, 0.02, 1.0)).repeat_interleave(arm.joints)
    write_bundle(ensemble, arm, registry, Origin(0, 0.01), GraphShape(HORIZON))
    extend_bundle(arm, registry, 1, 0, "unknown")
    return registry


def test_its_trial_opens_all_of_its_graphs(registry: Registry, arm: Arm) -> None:
    """So their operations are among those that a bundle may have."""
    bundle = read_bundle(registry.path(2), arm)
    try_bundle(bundle)
    forged = replace(bundle, content=bundle.content | {JACOBIAN: bundle.content[GRADIENT]})
    with pytest.raises(BundleError, match=r"trial: .*jacobian\.onnx"):
        try_bundle(forged)


def _loaded(registry: Registry, arm: Arm, version: int = 2, **opening) -> DeployedModel:
    return load_model(registry.path(version), arm, opening=Opening(BATCH, **opening))


@pytest.fixture(scope="module")
def bare(registry: Registry, arm: Arm) -> DeployedModel:
    return _loaded(registry, arm, 1)


@pytest.fixture(scope="module")
def derived(registry: Registry, arm: Arm) -> DeployedModel:
    return _loaded(registry, arm, derivatives=True)


@pytest.fixture(scope="module")
def start(arm: Arm) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.concatenate([arm.home, generator.uniform(-0.3, 0.3, 4 * arm.joints)])


@pytest.fixture(scope="module")
def actions(arm: Arm) -> np.ndarray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, (BATCH, HORIZON, arm.joints))


def _objective(arm: Arm, model: DeployedModel, trust: float = UNLIMITED, obstacles=NOWHERE, **weights) -> Objective:
    tool, joint = np.full((HORIZON, 3), 0.4), np.tile(arm.home + 0.2, (HORIZON, 1))
    chosen = np.array([weights.get(name, 1.0) for name in model.rollout.term_names])
    return Objective(tool, joint, chosen, np.full(HORIZON, trust), obstacles)


def test_one_particle_without_noise_is_the_rollout_of_the_means(arm, bare, derived, start, actions) -> None:
    plain = bare.rollout.evaluate(start, actions, _objective(arm, bare))
    full = derived.rollout.evaluate(start, actions, _objective(arm, derived, speed_limit=0.0, spread=0.0))
    np.testing.assert_allclose(full.cost, plain.cost, rtol=1e-5)
    for name in ("position", "velocity", "effort", "variance", "epistemic", "aleatoric"):
        np.testing.assert_allclose(getattr(full, name), getattr(plain, name), rtol=1e-4, atol=1e-6)
    assert full.term_names[: len(plain.term_names)] == plain.term_names


def test_gradient_is_the_slope_of_what_the_rollouts_score(arm, derived, start, actions) -> None:
    objective = _objective(arm, derived)
    found = derived.derivatives.gradient(start, actions[0], objective)
    step = 0.05
    for place in np.ndindex(*found.shape):
        pair = np.stack([actions[0]] * BATCH)
        pair[(0, *place)] += step
        pair[(1, *place)] -= step
        cost = derived.rollout.evaluate(start, pair, objective).cost.mean(axis=0)
        assert found[place] == pytest.approx((cost[0] - cost[1]) / (2.0 * step), abs=2e-3 * np.abs(found).max() + 1e-4)


def test_expansion_is_that_of_the_step_model(arm, derived, start, actions) -> None:
    joints, objective = arm.joints, _objective(arm, derived, smoothness=0.0, spread=0.0)
    scores = derived.rollout.evaluate(start, actions, objective)
    states = trajectory_states(start, actions[0], scores.position[0].copy(), scores.velocity[0].copy())
    expansion = derived.derivatives.expand(states, actions[0], objective)
    both, step = np.concatenate([states[1], actions[0, 1]]), 0.02
    for column in range(len(both)):
        ends = []
        for sign in (1.0, -1.0):
            moved = both.copy()
            moved[column] += sign * step
            ends.append(derived.step_model.step(moved[:-joints], moved[-joints:])[: 2 * joints])
        slope = (ends[0] - ends[1]) / (2.0 * step)
        np.testing.assert_allclose(expansion.jacobian[1, :, column], slope, atol=2e-3)


def test_derivatives_are_those_of_sessions_that_allocate_and_are_not_overwritten(
    arm, registry, derived, start, actions
) -> None:
    """To the last bit."""
    objective, content = _objective(arm, derived), read_bundle(registry.path(2), arm).content
    states = np.tile(start, (HORIZON, 1))
    gradient = derived.derivatives.gradient(start, actions[0], objective)
    expansion = derived.derivatives.expand(states, actions[0], objective)
    derived.derivatives.gradient(-start, actions[1], objective)
    derived.derivatives.expand(-states, actions[1], objective)
    told = _named(objective)
    plain = {name: Session(content[name], name) for name in (GRADIENT, JACOBIAN)}
    exact = plain[GRADIENT].run(told | {"state": start, "actions": actions[:1]})
    np.testing.assert_array_equal(gradient, exact["gradient"].astype(np.float64))
    exact = plain[JACOBIAN].run(told | {"state": states, "actions": actions[0]})
    names = {"jacobian": "jacobian", "gradient": "stage_gradient", "hessian": "stage_hessian"}
    for own, name in names.items():
        np.testing.assert_array_equal(getattr(expansion, own), exact[name].astype(np.float64))


def test_stage_costs_add_up_to_what_the_rollouts_score(arm, tmp_path, start, actions) -> None:
    """Of one member, whose trajectory is the mean: slopes by each command through all later steps, and curvatures as
    the slopes' own change."""
    registry = Registry(tmp_path, arm.model_name)
    ensemble = ProbabilisticEnsemble(EnsembleShape(1, arm.joints, 3, 8), prior_of(arm, 0.02), torch.Generator()).eval()
    path, _ = write_bundle(ensemble, arm, registry, Origin(0, 0.01), GraphShape(HORIZON), extended=True)
    model = load_model(path, arm, opening=Opening(BATCH, derivatives=True))
    objective = _objective(arm, model, smoothness=0.0)
    scores = model.rollout.evaluate(start, actions, objective)
    states = trajectory_states(start, actions[0], scores.position[0].copy(), scores.velocity[0].copy())
    expansion = model.derivatives.expand(states, actions[0], objective)
    whole = model.derivatives.gradient(start, actions[0], objective)
    summed = _slope_of_all(expansion.jacobian, expansion.gradient, arm.joints)
    np.testing.assert_allclose(summed, whole, atol=1e-3 * np.abs(whole).max())
    _curvature_is_the_slopes_change(model, states, actions[0], objective, expansion)


def _slope_of_all(jacobian: np.ndarray, gradient: np.ndarray, joints: int) -> np.ndarray:
    """Derivative of the summed stage costs by each command, carried step by step through motion and history."""
    horizon, size = len(jacobian), jacobian.shape[2] - joints
    total = np.zeros((horizon, joints))
    for command in range(horizon):
        carried = np.zeros((size, joints))
        for step in range(command, horizon):
            given = np.eye(joints) if step == command else np.zeros((joints, joints))
            motion = jacobian[step] @ np.vstack([carried, given])
            total[command] += gradient[step] @ motion
            history = np.vstack([carried[2 * joints :], given])[joints:]
            carried = np.vstack([motion, history])
    return total


def _curvature_is_the_slopes_change(model, states, actions, objective, expansion) -> None:
    """Moves the state before a step along directions that the step carries on; the slopes follow the curvature."""
    joints, step = actions.shape[1], 1e-3
    for column in range(2 * joints):
        ends = []
        for sign in (1.0, -1.0):
            moved = states.copy()
            moved[:, column] += sign * step
            ends.append(model.derivatives.expand(moved, actions, objective).gradient)
        change = (ends[0] - ends[1]) / (2.0 * step)
        predicted = np.einsum("hij,hj->hi", expansion.hessian, expansion.jacobian[:, :, column])
        np.testing.assert_allclose(change, predicted, atol=0.05 * np.abs(expansion.hessian).max())


def test_particles_spread_as_the_predicted_variance_says(arm, registry, start, actions) -> None:
    """Of an arm at rest, the mean square of the final speed grows by the variance that the model predicts for it."""
    many = _loaded(registry, arm, particles=Particles(400, noise=True, seed=3))
    alone = dict.fromkeys(many.rollout.term_names, 0.0) | {"speed_terminal": 1.0}
    rest, still = np.concatenate([arm.home, np.zeros(4 * arm.joints)]), np.zeros_like(actions)
    objective = _objective(arm, many, **alone)
    scores = many.rollout.evaluate(rest, still, objective)
    assert scores.cost.shape == (400 * MEMBERS, BATCH)
    calm = _loaded(registry, arm, derivatives=True).rollout.evaluate(rest, still, objective)
    grown = scores.cost.mean(axis=0) - calm.cost.mean(axis=0)
    own = calm.variance[:, -1, arm.joints : 2 * arm.joints].mean(axis=1) - np.square(calm.epistemic[:, -1])
    np.testing.assert_allclose(grown, own, rtol=0.25)


@pytest.mark.parametrize("shuffle", [False, True])
def test_noise_is_no_disagreement(arm, registry, derived, start, actions, shuffle: bool) -> None:
    """What is predicted, and the members' spread, are those of the means, however few particles there are."""
    few = _loaded(registry, arm, particles=Particles(2, noise=True, shuffle=shuffle, seed=3))
    objective = _objective(arm, few)
    noisy = few.rollout.evaluate(start, actions, objective)
    calm = derived.rollout.evaluate(start, actions, objective)
    for name in ("position", "velocity", "variance", "epistemic", "aleatoric"):
        np.testing.assert_allclose(getattr(noisy, name), getattr(calm, name), rtol=1e-4, atol=1e-6)
    assert np.abs(noisy.cost.mean(axis=0) - calm.cost.mean(axis=0)).min() > 1e-6, "costs are the particles'"
    np.testing.assert_allclose(noisy.terms[:-1].sum(axis=0), noisy.cost.mean(axis=0), rtol=1e-4)


def test_order_of_particles_that_change_members_is_undone() -> None:
    """Follows each particle by hand."""
    scenario = Particles(5, noise=False, shuffle=True, seed=1).scenario(6, 4, 2)
    for particle in range(5):
        owner = np.arange(4)
        for step in range(6):
            order = scenario["order"][particle, step].astype(int)
            assert (owner[order] == np.arange(4)).all()
            owner = owner[scenario["shuffle"][particle, step].astype(int)]
    assert (np.sort(scenario["shuffle"], axis=2) == np.arange(4)).all()
    assert not (scenario["shuffle"] == np.arange(4)).all()


def test_members_change_with_ts1_and_not_with_ts_infinity(arm, registry, start, actions) -> None:
    """Without noise TS-infinity with two particles is the means twice; with TS1 the sum over particles differs."""
    scores = {}
    for shuffle in (False, True):
        model = _loaded(registry, arm, particles=Particles(2, noise=False, shuffle=shuffle, seed=5))
        scores[shuffle] = model.rollout.evaluate(start, actions, _objective(arm, model)).cost.copy()
    steady = np.sort(scores[False].reshape(MEMBERS, 2, BATCH), axis=1)
    np.testing.assert_allclose(steady[:, 0], steady[:, 1], rtol=1e-6)
    assert np.abs(np.sort(scores[True], axis=0) - np.sort(scores[False], axis=0)).max() > 1e-5


def test_trust_cuts_and_an_obstacle_on_the_way_is_charged(arm, derived, registry, start, actions) -> None:
    free = derived.rollout.evaluate(start, actions, _objective(arm, derived)).cost.copy()
    cut = derived.rollout.evaluate(start, actions, _objective(arm, derived, trust=0.0))
    assert (cut.cost >= free - 1e-6).all()
    assert cut.terms[-1].max() > 1e-4
    near = _loaded(registry, arm, obstacles=1)
    obstacle = np.array([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]])
    objective = _objective(arm, near, obstacles=obstacle)
    touched = near.rollout.evaluate(start, actions, objective)
    place = touched.term_names.index("obstacle")
    assert touched.terms[place].min() > 0.0
    slope = derived.derivatives.gradient(start, actions[0], objective)
    assert np.abs(slope - derived.derivatives.gradient(start, actions[0], _objective(arm, derived))).max() > 1e-4


SETTINGS = {
    "trust": {"trust": 2.0},
    "particles": {"particles": 2},
    "an obstacle": {"obstacles": [{"start": [1, 0, 0], "end": [1, 0, 1], "radius": 0.1}]},
    "ilqr": {"method": "ilqr"},
    "a gradient after samples": {"refine": "gradient"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_need_it_refuse_a_bundle_without_and_say_how(name: str, arm: Arm, registry: Registry) -> None:
    config = PlannerConfig.model_validate(SETTINGS[name])
    with pytest.raises(BundleError, match="models extend 1 --robot planar --command velocity"):
        load_model(registry.path(1), arm, opening=opening_of(config))
    model = load_model(registry.path(2), arm, opening=opening_of(config))
    planned = planning_model(model, config)
    assert (planned.derivatives is not None) == config.derivatives


def test_obstacles_carry_their_margin() -> None:
    config = PlannerConfig(obstacles=(Obstacle(start=(0, 0, 0), end=(0, 0, 1), radius=0.1),), obstacle_margin_m=0.02)
    np.testing.assert_allclose(config.obstacle_rows(), [[0, 0, 0, 0, 0, 1, 0.12]])
    assert PlannerConfig().obstacle_rows().shape == (0, 7)
