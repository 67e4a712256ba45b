"""Distances of segments and points on links, against optimization and against the rigid-body kinematics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import lsq_linear

from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.deployment.obstacles import CapsuleBodies
from mbrl_control.deployment.particles import Particles
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.kinematics import ToolChain, link_points
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.kinematics import forward_kinematics
from mbrl_control.planning.protocol import UNLIMITED
from mbrl_control.replay.transitions import history_of
from mbrl_control.rewards.clearance import segment_distance, squared_depth
from mbrl_control.rewards.names import FURTHER_NAMES, TERM_NAMES
from mbrl_control.robot import load_arm

ROBOTS = Path(__file__).parents[2] / "sim/robots"
POINTS = arrays(np.float64, (4, 3), elements=st.floats(-1.0, 1.0, width=32))


@settings(deadline=None)
@given(POINTS)
def test_distance_is_the_least_over_both_segments(points: np.ndarray) -> None:
    p, p_end, q, q_end = points
    found = float(segment_distance(*(torch.from_numpy(point) for point in points)))
    ways = np.stack([p_end - p, q - q_end], axis=1)
    place = lsq_linear(ways, q - p, (0.0, 1.0), method="bvls").x
    assert found == pytest.approx(np.linalg.norm(ways @ place + p - q), abs=2e-4)


@pytest.mark.parametrize("shift", [np.array([0.0, 0.3, 0.0]), np.array([0.7, 0.4, 0.0]), np.zeros(3)])
def test_parallel_segments_and_balls(shift: np.ndarray) -> None:
    start, end = np.zeros(3), np.array([0.5, 0.0, 0.0])
    pair = [torch.from_numpy(value) for value in (start, end, start + shift, end + shift)]
    gap = np.array([max(shift[0] - 0.5, 0.0), shift[1], 0.0])
    assert float(segment_distance(*pair)) == pytest.approx(np.linalg.norm(gap), abs=1e-4)
    ball = [pair[0], pair[1], pair[2], pair[2]]
    nearest = np.clip(shift[0], 0.0, 0.5)
    assert float(segment_distance(*ball)) == pytest.approx(np.linalg.norm(shift - [nearest, 0, 0]), abs=1e-4)


@pytest.mark.parametrize("name", ["panda", "ur5e", "planar"])
def test_points_on_links_are_where_the_rigid_body_has_them(name: str) -> None:
    pin = pytest.importorskip("pinocchio")
    arm = load_arm(ROBOTS / f"{name}.yaml")
    model = pin.buildModelFromUrdf(str(ROBOTS / f"{name}.urdf"))
    data, generator = model.createData(), np.random.default_rng(0)
    points = [generator.uniform(-0.2, 0.2, (2, 3)) for _ in range(arm.joints)]
    q = generator.uniform(arm.lower, arm.upper)
    found = link_points(ToolChain.of(arm), points, torch.from_numpy(q)[:, None])[..., 0].T.numpy()
    full = pin.neutral(model)
    for joint, value in zip(arm.joint_names, q, strict=True):
        full[model.joints[model.getJointId(joint)].idx_q] = value
    pin.framesForwardKinematics(model, data, full)
    base = data.oMf[model.getFrameId(arm.base_frame)]
    expected = []
    for link, local in zip(reversed(arm.link_names[1:]), reversed(points), strict=True):
        pose = base.inverse() * data.oMf[model.getFrameId(link)]
        expected += [pose.act(point) for point in local]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_depth_counts_every_pair_and_nothing_far_away() -> None:
    starts = torch.zeros(3, 2, 1).double()
    ends = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]).double()[..., None]
    obstacles = torch.tensor([[0.25, 0, 0.5, 0.25, 0, 0.5, 0.1], [9.0, 9, 9, 9, 9, 9, 0.1]]).double()
    depth = squared_depth(starts, ends, torch.tensor([0.2, 0.1]).double(), obstacles)
    assert float(depth[0]) == pytest.approx(0.05**2, abs=1e-6)
    assert squared_depth(starts, ends, torch.tensor([0.2, 0.1]).double(), obstacles[:0]).tolist() == [0.0]


def test_an_arm_in_an_obstacle_is_pushed_out_of_it() -> None:
    arm = load_arm(ROBOTS / "panda.yaml")
    bodies, q = CapsuleBodies(arm), torch.from_numpy(arm.home)[None, None, :, None].requires_grad_()
    hand = link_points(ToolChain.of(arm), [np.zeros((1, 3))] * arm.joints, q[0, 0].detach())[:, 0, 0].tolist()
    obstacle = torch.tensor([[*hand, *hand, 0.1]]).double()
    before = bodies.intrusion(q, obstacle)
    before.sum().backward()
    assert q.grad is not None
    moved = q.detach() - 0.05 * q.grad / q.grad.norm()
    assert 0.0 < float(bodies.intrusion(moved, obstacle)) < float(before.detach())


def test_what_an_obstacle_costs_is_what_each_member_expects() -> None:
    """Members that disagree do not pay alike: risk over them counts for clearance, too."""
    arm, members, shape = load_arm(ROBOTS / "planar.yaml"), 3, GraphShape(6)
    ensemble = ProbabilisticEnsemble(
        EnsembleShape(members, arm.joints, history_of(arm), 8), prior_of(arm, 0.02), torch.Generator().manual_seed(0)
    ).eval()
    ensemble.target_std = torch.tensor((0.01, 0.5, 1.0)).repeat_interleave(arm.joints)
    graph, scenario = FullRolloutGraph(ensemble, arm, shape).eval(), Particles().scenario(6, members, arm.joints)
    state = torch.cat([torch.from_numpy(arm.home).float(), torch.zeros((1 + history_of(arm)) * arm.joints)])
    actions = torch.full((2, 6, arm.joints), 0.5)
    names = (*TERM_NAMES, *FURTHER_NAMES)
    weights = torch.tensor([float(name == "obstacle") for name in names])
    hand = torch.tensor(forward_kinematics(arm, arm.home), dtype=torch.float32)
    obstacle = torch.cat([hand, hand, torch.tensor([0.05])])[None]
    drawn = [torch.from_numpy(np.ascontiguousarray(value)).float() for value in scenario.values()]
    with torch.no_grad():
        cost = graph(
            *(state, actions, torch.zeros(6, 3), torch.zeros(6, arm.joints), weights),
            *(torch.full((6,), UNLIMITED), obstacle, *drawn),
        )[0]
        means = graph.simulate(state, actions.permute(1, 2, 0)).means
        own = [graph.bodies.intrusion(means[:, [member], : arm.joints], obstacle)[:, 0] for member in range(members)]
    np.testing.assert_allclose(cost, torch.stack(own).mean(1), rtol=1e-4)
    assert np.ptp(cost[:, 0].numpy()) > 0.01 * float(cost.mean())
