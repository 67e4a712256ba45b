"""The closed loop that a retraining asks of its candidate: between `retrain`, which knows no simulator, and `sim`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mbrl_control.learning.learn import Parent
from mbrl_control.learning.stability import LoopFigures, Loops, LoopScore
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.robot import Arm, ArmError
from mbrl_control.signals import CommandInterface


@dataclass(frozen=True, slots=True)
class SimulatedLoops:
    """See `retrain.ClosedLoop`. The simulator is imported when it is asked for: most retrainings know one payload."""

    arm_path: Path
    interface: CommandInterface
    seed: int

    def __call__(self, candidate: Parent, reference: Parent | None, payloads_kg: tuple[float, ...]) -> Loops:
        """Both models with each payload; an arm that cannot be simulated is said, without the path of this machine."""
        from mbrl_control.cli.simulation import load_simulated_arm
        from sim.closed_loop import draw_targets, loop_figures

        try:
            arm = load_simulated_arm(self.arm_path, interface=self.interface)
            targets = draw_targets(arm, np.random.default_rng(self.seed))
        except ArmError as error:
            return Loops(not_simulated=str(error).replace(f"{self.arm_path.parent}/", ""))
        ours, theirs = _planning(candidate, arm), _planning(reference, arm)

        def figures(model: PlanningModel, payload_kg: float) -> LoopFigures:
            return loop_figures(self.arm_path, self.interface, model, payload_kg, targets, self.seed)

        return Loops(tuple(LoopScore(each, figures(ours, each), figures(theirs, each)) for each in payloads_kg))


def _planning(model: Parent | None, arm: Arm) -> PlanningModel:
    """Exported in memory, as the planner would open it; None: the prior."""
    from sim.lockstep_model import nominal_model, planning_model

    if model is None:
        return nominal_model(arm, arm.command_delay_s)
    return planning_model(model.ensemble, arm, model.delay_s, model.model_id)
