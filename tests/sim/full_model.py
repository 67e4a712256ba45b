"""`rollout_full.onnx` of an ensemble without the bundle around it, as a planner's evaluator."""

from __future__ import annotations

from mbrl_control.deployment.export import export_full
from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.deployment.graph_names import BATCH, OBSTACLES, PARTICLES, SCENARIOS
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.particles import Particles
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.rewards.names import DISTRUST, FURTHER_NAMES, TERM_NAMES
from mbrl_control.robot import Arm
from mbrl_control.signals import Array


class FullModel:
    """RolloutEvaluator with trust, the further terms and ``obstacles`` capsules; members' means."""

    def __init__(
        self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape, samples: int, obstacles: int
    ) -> None:
        self.batch_size, self.horizon = samples, graph.horizon
        self.term_names = (*TERM_NAMES, *FURTHER_NAMES)
        members = ensemble.shape.members
        self._scenario = Particles().scenario(graph.horizon, members, arm.joints)
        content = export_full(FullRolloutGraph(ensemble, arm, graph).eval())
        sizes = {BATCH: samples, PARTICLES: 1, OBSTACLES: obstacles, SCENARIOS: members}
        self._lanes = Lanes(content, "rollout_full.onnx", sizes, Layout())

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        values = {
            "state": state,
            "actions": actions,
            "goal_position": objective.tool,
            "goal_joint": objective.joint,
            "weights": objective.weights,
            "trust": objective.trust,
            "obstacles": objective.obstacles,
        }
        return Scores(term_names=(*self.term_names, DISTRUST), **self._lanes.run(values | self._scenario))
