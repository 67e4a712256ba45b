"""The graphs of a bundle, with what they are to be compared on."""

from __future__ import annotations

from functools import partial

from mbrl_control.deployment.check import FULL, GRADIENT, JACOBIAN, ROLLOUT, STEP
from mbrl_control.deployment.export import (
    export_full,
    export_gradient,
    export_jacobian,
    export_rollout,
    export_step,
)
from mbrl_control.deployment.full_graph import FullRolloutGraph
from mbrl_control.deployment.gradient_graph import GradientGraph
from mbrl_control.deployment.graph_names import (
    BATCH,
    FULL_INPUTS,
    GRADIENT_INPUTS,
    GRADIENT_OUTPUTS,
    JACOBIAN_INPUTS,
    JACOBIAN_OUTPUTS,
    OBSTACLES,
    PARTICLES,
    ROLLOUT_INPUTS,
    ROLLOUT_OUTPUTS,
    SCENARIOS,
    STEP_INPUTS,
    STEP_OUTPUTS,
)
from mbrl_control.deployment.jacobian_graph import JacobianGraph
from mbrl_control.deployment.parity import (
    OBSTACLE_COUNT,
    PARTICLE_CASE,
    SEQUENCES,
    Exported,
    full_case,
    gradient_case,
    jacobian_case,
    step_case,
)
from mbrl_control.deployment.rollout_graph import GraphShape, RolloutGraph
from mbrl_control.deployment.step_graph import StepGraph
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.robot import Arm


def export_bare(ensemble: ProbabilisticEnsemble, rollout: RolloutGraph) -> dict[str, Exported]:
    """What every bundle has, by file name."""
    step, first = StepGraph(ensemble).eval(), partial(step_case, ensemble.shape.members)
    return {
        STEP: Exported(step, export_step(step), STEP_INPUTS, STEP_OUTPUTS, {}, first),
        ROLLOUT: Exported(rollout, export_rollout(rollout), ROLLOUT_INPUTS, ROLLOUT_OUTPUTS, {BATCH: SEQUENCES}, dict),
    }


def export_further(ensemble: ProbabilisticEnsemble, arm: Arm, graph: GraphShape) -> dict[str, Exported]:
    """What an extended bundle has besides, by file name. Derivatives take as long as all else together."""
    members = ensemble.shape.members
    full = FullRolloutGraph(ensemble, arm, graph).eval()
    gradient, jacobian = GradientGraph(full).eval(), JacobianGraph(full).eval()
    full_sizes = {
        BATCH: SEQUENCES,
        PARTICLES: PARTICLE_CASE.rows,
        OBSTACLES: OBSTACLE_COUNT,
        SCENARIOS: PARTICLE_CASE.rows * members,
    }
    full_io, gradient_io = (FULL_INPUTS, ROLLOUT_OUTPUTS), (GRADIENT_INPUTS, GRADIENT_OUTPUTS)
    jacobian_io = (JACOBIAN_INPUTS, JACOBIAN_OUTPUTS)
    return {
        FULL: Exported(full, export_full(full), *full_io, full_sizes, partial(full_case, members, arm)),
        GRADIENT: Exported(gradient, export_gradient(gradient), *gradient_io, {}, partial(gradient_case, arm)),
        JACOBIAN: Exported(jacobian, export_jacobian(jacobian), *jacobian_io, {}, partial(jacobian_case, arm)),
    }
