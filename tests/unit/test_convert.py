"""joint_states as drivers publish them: more joints, any order, fields that are missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from sensor_msgs.msg import JointState

from mbrl_nodes.convert import JointNameError, sample_from_joint_state

NAMES = ("a", "b", "c")
VALUES = {"a": 1.0, "b": 2.0, "c": 3.0, "finger_left": 0.01, "finger_right": 0.02}


def state(names: list[str], velocity: bool = True, effort: bool = True) -> JointState:
    rows = {"position": 1.0, **({"velocity": 10.0} if velocity else {}), **({"effort": 100.0} if effort else {})}
    return JointState(name=names, **{field: [VALUES[n] * factor for n in names] for field, factor in rows.items()})


@given(st.permutations(list(VALUES)))
def test_joints_go_by_name_in_any_order_with_a_gripper_among_them(names: list[str]) -> None:
    sample = sample_from_joint_state(state(names), NAMES)
    np.testing.assert_array_equal(sample.position, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(sample.velocity, [10.0, 20.0, 30.0])
    np.testing.assert_array_equal(sample.effort, [100.0, 200.0, 300.0])


def test_a_missing_effort_is_unknown_and_a_missing_velocity_is_refused_with_the_remedy() -> None:
    assert np.isnan(sample_from_joint_state(state([*NAMES], effort=False), NAMES).effort).all()
    with pytest.raises(JointNameError, match=r"3 positions and 0 velocities.*joint_state_broadcaster"):
        sample_from_joint_state(state([*NAMES], velocity=False), NAMES)


def test_a_message_of_other_joints_names_those_that_are_missing() -> None:
    with pytest.raises(JointNameError, match=r"joints \['c'\] are missing.*finger_left"):
        sample_from_joint_state(state(["a", "finger_left", "b"]), NAMES)
