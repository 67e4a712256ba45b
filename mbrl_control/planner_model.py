"""Between deployment and planning: how a planner's settings want a bundle opened, and what it then plans with."""

from __future__ import annotations

import numpy as np

from mbrl_control.deployment.evaluator import DeployedModel, Opening
from mbrl_control.deployment.particles import Particles
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import PlanningModel
from mbrl_control.planning.protocol import UNLIMITED


def opening_of(config: PlannerConfig, seed: int = 0) -> Opening:
    """``seed`` of the particles' noise."""
    shuffle = config.particle_members == "ts1"
    particles = Particles(config.particles, True, shuffle, seed) if config.particles else None
    return Opening(
        sequences=config.samples,
        obstacles=len(config.obstacles),
        particles=particles,
        trusted=config.trust > 0.0,
        derivatives=config.derivatives,
        further_terms=config.weighs_further_terms,
    )


def planning_model(model: DeployedModel, config: PlannerConfig) -> PlanningModel:
    """A loaded bundle as the planner sees it."""
    manifest, rollout = model.manifest, model.rollout
    trust = np.minimum(config.trust * rollout.validated_spread, UNLIMITED) if config.trust > 0.0 else None
    return PlanningModel(
        rollout,
        model.step_model,
        model.model_id,
        manifest.dt_s,
        manifest.delay_s,
        manifest.history,
        model.rollouts,
        model.derivatives,
        trust,
    )
