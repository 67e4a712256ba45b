"""Faults disturb the measurement and nothing else, for their time."""

from __future__ import annotations

import numpy as np
import pytest

from mbrl_control.signals import SensorSample
from sim.faults import FAULTS, FaultyArm
from sim.generate import ROBOTS
from sim.mujoco_arm import MujocoArm


def run(fault: str | None, magnitude: float = 0.0, duration_s: float = 0.02) -> tuple[list[SensorSample | None], float]:
    """Measurements of 40 steps with the fault begun after the first ten, and the sum of the true positions."""
    sim = FaultyArm(MujocoArm(ROBOTS / "planar.yaml", 0))
    sim.command(0.1 * sim.arm.velocity)
    samples = []
    for index in range(40):
        if index == 10 and fault is not None:
            sim.inject(fault, magnitude, duration_s)
        sim.step()
        samples.append(sim.sensor())
    return samples, float(sim.truth().position.sum())


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_changes_only_the_samples_of_its_time(fault: str) -> None:
    clean, true = run(None)
    faulty, true_with_fault = run(fault, 0.5)
    assert true == true_with_fault
    changed = [index for index in range(40) if repr(clean[index]) != repr(faulty[index])]
    assert changed == list(range(10, 19))


def test_each_fault_does_what_its_name_says() -> None:
    clean, _ = run(None)
    reference = clean[15]
    assert reference is not None
    samples = {fault: run(fault, 0.5)[0][15] for fault in FAULTS}
    assert samples["sensor_dropout"] is None
    assert np.isnan(samples["sensor_nan"].position).all()
    np.testing.assert_allclose(samples["position_bias"].position, reference.position + 0.5)
    assert samples["clock_step"].stamp_ns == reference.stamp_ns + 500_000_000
    np.testing.assert_array_equal(samples["sensor_freeze"].position, clean[9].position)
    assert samples["sensor_freeze"].stamp_ns == reference.stamp_ns


def test_duration_zero_lasts_until_cleared() -> None:
    sim = FaultyArm(MujocoArm(ROBOTS / "planar.yaml", 0))
    sim.inject("sensor_dropout", 0.0, 0.0)
    for _ in range(100):
        sim.step()
        assert sim.sensor() is None
    sim.clear()
    assert sim.sensor() is not None


@pytest.mark.parametrize(
    ("fault", "magnitude", "duration"), [("none", 0, 1), ("sensor_nan", np.nan, 1), ("sensor_nan", 0, -1)]
)
def test_a_wrong_request_is_refused(fault: str, magnitude: float, duration: float) -> None:
    with pytest.raises(ValueError, match="fault"):
        FaultyArm(MujocoArm(ROBOTS / "planar.yaml", 0)).inject(fault, magnitude, duration)
