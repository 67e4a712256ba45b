"""The goal in force: the newest one sent after the last arming, else the posture found when it was asked for."""

from __future__ import annotations

import numpy as np
from mbrl_msgs.msg import Goal as GoalMsg

from mbrl_control.planning.goals import goal_refusal
from mbrl_control.robot import Arm
from mbrl_control.signals import BeliefState, Goal, GoalKind
from mbrl_nodes.convert import goal_from_msg
from mbrl_nodes.runtime import LATCHED_QOS, GraphNode


class GoalInput:
    """Subscription of one node; ``in_force`` belongs to the control thread."""

    def __init__(self, node: GraphNode, arm: Arm) -> None:
        self.refused = 0
        self.refusal = ""
        """Why the newest goal was refused: another is followed; empty: it was not."""
        self._node, self._arm = node, arm
        self._goal: Goal | None = None
        self._received_ns = 0
        self._hold: Goal | None = None
        node.create_subscription(GoalMsg, "goal", self._on_goal, LATCHED_QOS)

    def forget(self) -> None:
        """Nothing asked so far counts."""
        self._goal = self._hold = None
        self.refusal = ""

    def overtaken(self, armed_ns: int) -> str:
        """What to do about a goal that came after the last arming and is stamped before it; empty: none did."""
        goal = self._goal
        if goal is None or goal.stamp_ns >= armed_ns or self._received_ns < armed_ns:
            return ""
        return (
            "the newest goal is stamped before the last arming and is not followed; stamp it with the graph's clock, "
            "as `safety_status.stamp` is"
        )

    def in_force(self, armed_ns: int, belief: BeliefState) -> Goal:
        """An arming discards every goal stamped earlier; without a goal the arm stays where it is."""
        goal = self._goal
        if goal is not None and goal.stamp_ns >= armed_ns:
            return goal
        if self._hold is not None and self._hold.stamp_ns >= armed_ns:
            return self._hold
        # Sequence 0 is no sender's: they count from 1.
        hold = Goal(belief.stamp_ns, GoalKind.JOINT, np.zeros(3), belief.position, 0)
        if np.isfinite(belief.position).all():
            # Else the planner refuses the belief, and the next cycle asks again.
            self._hold = hold
        return hold

    def _on_goal(self, message: GoalMsg) -> None:
        try:
            goal = goal_from_msg(message, self._arm.joint_names)
        except ValueError as error:
            self._refuse(str(error))
            return
        if message.frame_id != self._arm.base_frame:
            self._refuse(f"goal.frame_id: '{message.frame_id}'; send it in '{self._arm.base_frame}'")
        elif refusal := goal_refusal(goal, self._node.now_ns(), self._arm):
            self._refuse(refusal)
        else:
            self._goal, self._received_ns, self.refusal = goal, self._node.now_ns(), ""

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        self.refusal = f"the newest goal was refused, the one before it is followed: {reason}"
        self._node.get_logger().error(f"goal refused: {reason}")
