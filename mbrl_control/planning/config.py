"""The planner's settings: frozen, bounded, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, ValidationInfo, field_validator

from mbrl_control.planning.methods.noise import Interpolation
from mbrl_control.planning.protocol import MOST_OBSTACLES
from mbrl_control.planning.risk import Risk, RiskName
from mbrl_control.rewards.names import FURTHER_NAMES, default_weights
from mbrl_control.signals import Array, GoalKind

MethodName = Literal["icem", "cem", "mppi", "random_shooting", "gradient", "ilqr"]
RefinerName = Literal["none", "gradient", "ilqr"]
Acceleration = Annotated[float, Field(gt=0.0, le=100.0)]
Gain = Annotated[float, Field(gt=0.0, le=100.0)]
Weights = dict[str, FiniteFloat]


class Obstacle(BaseModel):
    """A capsule that does not move."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    end: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    """m, ends of its axis in the base frame; the same for a ball."""
    radius: FiniteFloat = Field(gt=0.0, le=10.0)
    """m"""


class PlannerConfigError(ValueError):
    """Settings that cannot be used; names file, field and remedy."""


class PlannerConfig(BaseModel):
    """What may be tuned. Defaults are those of sim/lockstep.py's best run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    period_s: float = Field(0.02, gt=0.0, le=0.1)
    """Of a planner cycle: the model's dt or half of it."""
    command_period_s: float = Field(0.005, gt=0.0, le=0.02)
    """Of the guard."""
    speed_scale: float = Field(0.5, gt=0.0, le=1.0)
    """Share of the joints' rated speed that plans may use."""
    acceleration_scale: float = Field(0.9, gt=0.0, le=1.0)
    """Share of the acceleration limit; the rest is the guard's margin."""
    effort_scale: float = Field(0.9, gt=0.0, le=1.0)
    """Share of the torque limits that plans of torques may use."""
    iterations: int = Field(3, ge=1, le=64)
    """At most; the budget ends them earlier."""
    reserve_s: float = Field(0.002, ge=0.0, le=0.01)
    """Kept free before the deadline for assembling and publishing the plan."""
    samples: int = Field(16, ge=4, le=4096)
    """Of one population: action sequences scored per iteration."""
    method: MethodName = "icem"
    """icem, cem, mppi, random_shooting (the baseline); or by derivatives of the model alone: gradient, ilqr."""
    refine: RefinerName = "none"
    """What follows on ``sampled_iterations`` of a sampling method: none, gradient or ilqr."""
    sampled_iterations: int = Field(1, ge=1, le=64, validate_default=True)
    """Before refinement begins."""
    informed: bool = True
    """Moves from the kinematics, corrected by the model's prediction, join the random samples."""
    elites: int = Field(6, ge=2, le=64)
    warm_elites: int = Field(3, ge=0, le=64)
    """Elites of the last cycle that join the first population; icem and random_shooting sample about their mean."""
    warm_mean: bool = True
    """The last cycle's mean, moved on, is where a cycle begins that has no elites to begin at; false: at zero."""
    momentum: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of the old mean and spread that an update keeps."""
    temperature: float = Field(0.1, gt=0.0, le=100.0)
    """Of mppi, over the costs' median excess above the least."""
    noise_beta: float | None = Field(None, ge=0.0, le=6.0)
    """Exponent of the samples' spectrum; none: 2 for icem, 0 (white) for the others."""
    knots: int = Field(0, ge=0, le=1024)
    """Free values of a random sample over the horizon, interpolated in between; 0: one per step."""
    interpolation: Interpolation = "linear"
    """Between those: linear or cubic."""
    spread_gain: float = Field(0.5, ge=0.0, le=5.0)
    """Initial spread over the mean speed that the rest of the way would take within the horizon."""
    spread_floor: float = Field(0.005, gt=0.0, le=1.0)
    """rad/s."""
    spread_ceiling: float = Field(0.5, gt=0.0, le=5.0, validate_default=True)
    """rad/s."""
    approach_gains: tuple[Gain, ...] = Field((4.0, 8.0, 14.0, 24.0), min_length=1, max_length=16)
    """1/s, of the informed proposals."""
    effort_approach_gains: tuple[Gain, ...] = Field((8.0, 16.0), min_length=1, max_length=16)
    """1/s, the same for torques."""
    acceleration_spread: tuple[Acceleration, Acceleration] = (0.1, 4.0)
    """rad/s^2, least and largest initial spread of random torques, times the inertia."""
    effort_correction_smoothness: float = Field(2.0, gt=0.0, le=100.0)
    """Penalty on torque knots' differences in the correction, in dt^2 (times the inertia)."""
    correction_smoothness: float = Field(1.0, gt=0.0, le=100.0)
    """Penalty on knot differences in the correction of proposals, in steps of dt."""
    disturbance_settle_s: float = Field(0.15, ge=0.0, le=10.0)
    """Time constant of the estimate of what the model does not predict, for torques; 0: none is estimated."""
    delay_window_s: float = Field(0.0, ge=0.0, le=60.0)
    """Time constant of the motion in which the delay from command to motion is looked for, 3 s is good; 0: the bundle's
    is compensated, the one found is only told. A servo whose lag is not what the arm's description says looks like
    another delay."""
    trust: float = Field(0.0, ge=0.0, le=1e6)
    """The horizon is cut where the epistemic spread is beyond this times what 99 % of the held-out rows stay within;
    0: never."""
    particles: int = Field(0, ge=0, le=64)
    """Of each member, with sampled noise; 0: each member's mean."""
    particle_members: Literal["ts1", "ts_infinity"] = "ts_infinity"
    """ts1: particles change members after every step."""
    obstacles: tuple[Obstacle, ...] = Field((), max_length=MOST_OBSTACLES)
    """Keep away from these, with every capsule of the arm's moving links."""
    obstacle_margin_m: float = Field(0.03, ge=0.0, le=0.5)
    """Around them, in which nearness is charged already."""
    posture_pull: float = Field(0.05, ge=0.0, le=1.0)
    """Null-space share towards the preferred posture, per iteration of the inverse kinematics."""
    risk: RiskName = "mean"
    cvar_fraction: float = Field(0.4, gt=0.0, le=1.0)
    std_weight: float = Field(1.0, ge=0.0, le=10.0)
    pose_weights: Weights = Field(default_factory=dict)
    """Cost weights by term name for POSE goals; a term not named keeps its default (rewards/names.py)."""
    joint_weights: Weights = Field(default_factory=dict)
    """The same for JOINT goals."""
    trajectory_weights: Weights = Field(default_factory=dict)
    """The same for TRAJECTORY goals."""
    tool_trajectory_weights: Weights = Field(default_factory=dict)
    """The same for TOOL_TRAJECTORY goals."""

    @field_validator("acceleration_spread")
    @classmethod
    def _in_order(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError("the least is above the largest")
        return value

    @field_validator("spread_ceiling")
    @classmethod
    def _above_the_floor(cls, value: float, others: ValidationInfo) -> float:
        floor = others.data.get("spread_floor")
        if floor is not None and value < floor:
            raise ValueError(f"{value} is below spread_floor {floor}")
        return value

    @field_validator("refine")
    @classmethod
    def _follows_on_samples(cls, value: str, others: ValidationInfo) -> str:
        method = others.data.get("method")
        if value != "none" and method in ("gradient", "ilqr"):
            raise ValueError(f"method {method} refines itself; leave it at none, or take a method that samples")
        return value

    @field_validator("sampled_iterations")
    @classmethod
    def _some_to_refine(cls, value: int, others: ValidationInfo) -> int:
        iterations, method, refine = (others.data.get(name) for name in ("iterations", "method", "refine"))
        refines = method in ("gradient", "ilqr") or refine in ("gradient", "ilqr")
        if refines and iterations is not None and value >= iterations:
            raise ValueError(f"{value} of {iterations} iterations leave none to refine; raise iterations")
        return value

    @property
    def label(self) -> str:
        """The method and what refines it, for reports."""
        return self.method if self.refine == "none" else f"{self.method}+{self.refine}"

    @property
    def derivatives(self) -> bool:
        """Whether the method asks for any."""
        return self.method in ("gradient", "ilqr") or self.refine != "none"

    def obstacle_rows(self) -> Array:
        """[N, 7] of `Objective`, margin included."""
        rows = [[*each.start, *each.end, each.radius + self.obstacle_margin_m] for each in self.obstacles]
        return np.array(rows).reshape(-1, 7)

    def risk_strategy(self) -> Risk:
        """The named risk with its parameter."""
        return Risk(self.risk, self.cvar_fraction, self.std_weight)

    @property
    def weighs_further_terms(self) -> bool:
        """Whether the settings weigh a term that only extended bundles have."""
        return any(name in chosen for chosen in self._set_weights().values() for name in FURTHER_NAMES)

    def weights(self, kind: GoalKind, names: tuple[str, ...]) -> Array:
        """[T] weights of a graph's cost terms ``names`` for goals of a planned kind; PlannerConfigError for a term that
        the graph does not have."""
        chosen = self._set_weights()[kind]
        unknown = sorted(set(chosen) - set(names))
        if unknown:
            further = "; an extended bundle has more" if set(unknown) & set(FURTHER_NAMES) else ""
            raise PlannerConfigError(
                f"planner settings: weights {unknown} name no term; known: {', '.join(names)}{further}"
            )
        weights = default_weights(kind) | chosen
        return np.array([weights.get(name, 0.0) for name in names])

    def _set_weights(self) -> dict[GoalKind, dict[str, float]]:
        return {
            GoalKind.POSE: self.pose_weights,
            GoalKind.JOINT: self.joint_weights,
            GoalKind.TRAJECTORY: self.trajectory_weights,
            GoalKind.TOOL_TRAJECTORY: self.tool_trajectory_weights,
        }


def load_config(values: dict[str, Any], source: str = "planner settings") -> PlannerConfig:
    """Checked settings from a mapping; raises PlannerConfigError."""
    try:
        return PlannerConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(PlannerConfig.model_fields)
        raise PlannerConfigError(f"{source}: field '{field}': {first['msg']}; known fields: {known}") from error


def read_config(path: Path) -> PlannerConfig:
    """Checked settings from a YAML file; raises PlannerConfigError."""
    if not path.exists():
        raise PlannerConfigError(f"{path}: no such file; check --planner-settings (planner_settings:=), or drop it")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlannerConfigError(f"{path}: cannot be read as YAML ({error}); give planner settings") from error
    if not isinstance(values, dict):
        raise PlannerConfigError(f"{path}: holds no mapping; give `name: value` lines")
    return load_config(values, str(path))
