"""Planning models of the lockstep: an ensemble as it lies in memory, or the nominal prior alone.

Both are exported to ONNX in memory and run as the deployed bundles do, so scores and speed are the deployed ones.
"""

from __future__ import annotations

import numpy as np
import torch

from mbrl_control.deployment.export import export_rollout, export_step
from mbrl_control.deployment.graph_names import BATCH
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.session import Session
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.planning.protocol import Objective, Scores
from mbrl_control.replay.transitions import history_of
from mbrl_control.rewards.names import term_names
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

DT_S = 0.02
SAMPLES = PlannerConfig().samples


class GraphModel:
    """RolloutEvaluator and StepModel over exported graphs."""

    def __init__(self, ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape, samples: int) -> None:
        self.batch_size, self.horizon, self.term_names = samples, graph.horizon, term_names(arm)
        self._members = ensemble.shape.members
        content = export_rollout(RolloutGraph(ensemble, arm, graph))
        self._rollout = Lanes(content, "lockstep rollout.onnx", {BATCH: samples}, Layout())
        self._step = Session(export_step(StepGraph(ensemble)), "lockstep model.onnx")

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        """See RolloutEvaluator."""
        goals = {"goal_position": objective.tool, "goal_joint": objective.joint}
        out = self._rollout.run({"state": state, "actions": actions, "weights": objective.weights} | goals)
        return Scores(term_names=self.term_names, **out)

    def step(self, state: Array, action: Array) -> Array:
        """See StepModel: mean over the members."""
        tiled = np.broadcast_to(state, (self._members, 1, len(state)))
        out = self._step.run({"state": tiled, "action": action[None]})
        return np.asarray(out["next_state"].mean(axis=0)[0], dtype=np.float64)


def nominal_model(arm: Arm, delay_s: float, graph: GraphShape | None = None, samples: int = SAMPLES) -> PlanningModel:
    """The prior with a residual of zero."""
    shape = EnsembleShape(1, arm.joints, history_of(arm), 8)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, DT_S), torch.Generator().manual_seed(0))
    ensemble.silence()
    return planning_model(ensemble, arm, delay_s, "nominal", graph, samples)


def planning_model(
    ensemble: ProbabilisticEnsemble,
    arm: Arm,
    delay_s: float,
    name: str,
    graph: GraphShape | None = None,
    samples: int = SAMPLES,
) -> PlanningModel:
    """An ensemble with its graphs; ``graph``: their sizes, else the deployed ones."""
    model = GraphModel(ensemble, arm, graph or GraphShape.deployed(arm.interface), samples)
    return PlanningModel(model, model, name, ensemble.prior.dt_s, delay_s, ensemble.shape.history)
