"""Models for the benches in virtual time: fitted to their rows, or what was identified in them without networks."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.fit_ensemble import FitResult, FitSettings, fit
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Transitions
from sim.lockstep_model import DT_S, planning_model


def fitted_model(
    rows: Transitions,
    arm: Arm,
    delay_s: float,
    seed: int,
    row_weights: Array | None = None,
    warm_start: ProbabilisticEnsemble | None = None,
) -> tuple[PlanningModel, FitResult]:
    """An ensemble fitted to ``rows``."""
    prior = prior_of(arm, DT_S)
    settings = replace(FitSettings.deployed(arm.interface), max_seconds=math.inf)
    result = fit(rows, prior, torch.Generator().manual_seed(seed), settings, row_weights, warm_start)
    return planning_model(result.ensemble, arm, delay_s, "fitted"), result


def identified_model(ensemble: ProbabilisticEnsemble, arm: Arm, delay_s: float) -> PlanningModel:
    """Friction and load of a fitted ensemble's prior without its networks: what they add is measured against it."""
    alone = ensemble.select([0])
    alone.silence()
    return planning_model(alone, arm, delay_s, "identified")
