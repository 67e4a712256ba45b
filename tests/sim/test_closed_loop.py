"""The closed loop that a candidate passes with other payloads: an honest model does, one that swings does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from mbrl_control.cli.closed_loop import SimulatedLoops
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.deployment.bundle import load_weights
from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.learning.further_gates import require_stable
from mbrl_control.learning.judge import RetrainRefused
from mbrl_control.learning.learn import Parent
from mbrl_control.learning.stability import REST_RAD_S, faults
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from tests.patience import SLOW_S

VELOCITY, EFFORT = CommandInterface.VELOCITY, CommandInterface.EFFORT


def shipped(robot: str, command: CommandInterface) -> Parent:
    """The model that comes with the package, learned without a load."""
    arm = load_arm(arm_file(robot), command)
    registry = Registry(shipped_models(), arm.model_name)
    version = registry.active()
    assert version is not None
    delay_s = verify_bundle(registry.path(version), arm).delay_s
    return Parent(f"{arm.model_name}/{version}", load_weights(registry.path(version), arm), delay_s)


def swinging(model: Parent) -> Parent:
    """Weights that say what is left over of a velocity is thirty times as large and the other way round."""
    with torch.no_grad():
        joints = model.ensemble.shape.joints
        model.ensemble.target_std[joints : 2 * joints] *= -30.0
    return Parent("candidate", model.ensemble, model.delay_s)


@pytest.mark.timeout(SLOW_S)
@pytest.mark.parametrize(
    ("robot", "command", "payload_kg"), [("planar", VELOCITY, 1.0), ("panda", VELOCITY, 2.0), ("panda", EFFORT, 2.0)]
)
def test_a_shipped_model_is_stable_with_a_load_it_does_not_know(
    robot: str, command: CommandInterface, payload_kg: float
) -> None:
    loops = SimulatedLoops(arm_file(robot), command, 1)(shipped(robot, command), None, (payload_kg,))
    assert loops.not_simulated == ""
    require_stable(loops)
    (score,) = loops.scores
    assert score.payload_kg == payload_kg
    assert score.candidate.speed < REST_RAD_S
    assert score.candidate.distance > 0.0, "a distance of exactly nothing was not measured"


@pytest.mark.timeout(SLOW_S)
def test_weights_whose_loop_swings_are_refused_with_the_numbers() -> None:
    reference = shipped("planar", VELOCITY)
    candidate = swinging(shipped("planar", VELOCITY))
    loops = SimulatedLoops(arm_file("planar"), VELOCITY, 0)(candidate, reference, (0.0, 1.0))
    assert all(faults(score) for score in loops.scores)
    with pytest.raises(RetrainRefused, match=r"0 kg: .*; 1 kg: .*rad/s"):
        require_stable(loops)


def test_an_arm_that_cannot_be_simulated_is_said_and_not_passed_over(tmp_path: Path) -> None:
    path = arm_file("planar")
    for suffix in (".yaml", ".urdf"):
        shutil.copy(path.with_suffix(suffix), tmp_path / f"own{suffix}")
    model = shipped("planar", VELOCITY)
    loops = SimulatedLoops(tmp_path / "own.yaml", VELOCITY, 0)(model, None, (1.0,))
    assert loops.scores == ()
    assert "own.mjcf.xml" in loops.not_simulated
    assert str(tmp_path) not in loops.not_simulated, "it goes into the manifest"
