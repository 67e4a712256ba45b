"""`manifest.json`: everything a control process must know about a bundle, and nothing it may guess."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints

from mbrl_control.command_interface import CommandInterface, model_name

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(ge=1, le=4096)]
"""A size of the model."""
Count = Annotated[int, Field(ge=1)]
"""Grows with what is logged, and with the nights a registry has seen."""
NotNegative = Annotated[FiniteFloat, Field(ge=0.0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class KStep(_Frozen):
    """Held-out open-loop error at step ``steps``, SI, beside the prior alone."""

    steps: Positive
    position: FiniteFloat
    velocity: FiniteFloat
    nominal_position: FiniteFloat
    nominal_velocity: FiniteFloat


class Scaling(_Frozen):
    """Normalizer and variance bounds; already folded into the graphs, stored for readers."""

    feature_mean: tuple[FiniteFloat, ...]
    feature_std: tuple[FiniteFloat, ...]
    target_mean: tuple[FiniteFloat, ...]
    target_std: tuple[FiniteFloat, ...]
    min_log_variance: tuple[FiniteFloat, ...]
    max_log_variance: tuple[FiniteFloat, ...]


class Calibration(_Frozen):
    """Factor on the total predicted std that fits it to held-out errors, and what it is worth where it was not fitted.

    Not applied in the graphs, which state members' disagreement and noise apart: a reader multiplies.
    """

    steps: Positive
    """Ahead, for which it holds."""
    scale: tuple[Annotated[FiniteFloat, Field(gt=0.0)], ...]
    """[3J] of q, dq, effort."""
    ece: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    """Mean distance between the share of truths below a predicted quantile and its level (arXiv:1807.00263)."""
    ece_worst: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    """Of the worst output."""
    ece_raw: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    """Without the scale."""
    ece_constant: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    """Of the best constant spread."""
    nll: FiniteFloat
    nll_raw: FiniteFloat
    nll_constant: FiniteFloat
    """Nats per row."""
    sharpness_ratio: Annotated[FiniteFloat, Field(gt=0.0)]
    """Mean std over that of the best constant spread."""


class Promise(_Frozen):
    """Windows of motion on held-out rows, by which the bundle is judged while it runs (`replay.motion`, `live`).

    Innovation: mean squared error over calibrated variance, of position, velocity and effort, mean over a window.
    """

    steps: Positive
    """That each prediction looks ahead."""
    windows: Annotated[int, Field(ge=1)]
    innovation: tuple[NotNegative, NotNegative, NotNegative]
    """Mean over the windows."""
    log_mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat]
    """Of the natural logarithm of a window's."""
    log_std: tuple[NotNegative, NotNegative, NotNegative]


class RegimeLosses(_Frozen):
    """Losses on the held-out blocks of an older regime, for the record."""

    regime: Annotated[int, Field(ge=0)]
    """Its number in the logs that were read, oldest first."""
    blocks: Count
    candidate: FiniteFloat
    reference: FiniteFloat


class GoldenLosses(_Frozen):
    """Losses on a golden log of the registry, in rad as in `GateRecord`."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    payload_kg: Annotated[FiniteFloat, Field(ge=0.0)]
    blocks: Count
    candidate: FiniteFloat
    reference: FiniteFloat
    difference: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    limit: FiniteFloat | None
    """That the upper bound stayed below; None: of another regime, for the record."""


class LoopFigures(_Frozen):
    """One model's closed loop in simulation, the worst over its targets (`learning.stability`)."""

    finite: bool
    violations: Annotated[int, Field(ge=0)]
    """Simulator steps beyond a limit of the arm."""
    unplanned: Annotated[int, Field(ge=0)]
    """Planner cycles without a new plan."""
    speed: Annotated[FiniteFloat, Field(ge=0.0)]
    """rad/s of the fastest joint at the end of a target's window."""
    distance: Annotated[FiniteFloat, Field(ge=0.0)]
    """m from the target."""


class LoopRecord(_Frozen):
    """Closed loops with the payload of another regime."""

    payload_kg: Annotated[FiniteFloat, Field(ge=0.0)]
    candidate: LoopFigures
    reference: LoopFigures


class GateRecord(_Frozen):
    """The numbers with which this bundle replaced another: losses in rad, position after 15 steps open loop."""

    reference_id: str
    """Model id of the bundle that was active, or `nominal`."""
    blocks: Count
    """Held out, of the newest regime, judged with both."""
    candidate: FiniteFloat
    reference: FiniteFloat
    difference: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    """One-sided bounds of the difference by paired block bootstrap."""
    limit: FiniteFloat
    """That the upper bound stayed below."""
    confidence: Annotated[FiniteFloat, Field(gt=0.0, lt=1.0)]
    resamples: Count
    nll_difference: FiniteFloat | None
    nll_upper: FiniteFloat | None
    """Nats per row of one step, not decisive; None against the nominal prior."""
    others: tuple[RegimeLosses, ...]
    golden: tuple[GoldenLosses, ...] = ()
    loops: tuple[LoopRecord, ...] = ()
    loops_decide: bool = True
    """False: they were asked for as a report, and do not have to be stable."""
    not_simulated: str = ""
    """Why there are no closed loops, where there were other payloads."""


class Training(_Frozen):
    """Where the weights come from and how good they are on held-out rows."""

    log_sha256: tuple[Sha256, ...]
    """Of the first ``log_bytes`` of each log: one that is still being written grows behind them."""
    log_bytes: tuple[Count, ...]
    newest_ns: Annotated[int, Field(ge=0)] = 0
    """Graph clock of the newest state that was read; 0 in bundles without logs, or from before it was stated."""
    rows: Count
    payload_kg: Annotated[FiniteFloat, Field(ge=0.0)]
    """Declared while the newest regime was logged."""
    holdout_nll: FiniteFloat
    coverage_90: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    k_step: tuple[KStep, ...]
    spread: tuple[Annotated[FiniteFloat, Field(ge=0.0)], ...] = ()
    """rad/s, epistemic spread after each of the first steps that `score.SPREAD_QUANTILE` of the held-out windows stay
    below: the range in which the errors above were measured. Empty in bundles from before it was stated."""
    calibration: tuple[Calibration, ...] = ()
    gate: GateRecord | None = None
    promise: Promise | None = None
    """Empty and None in bundles from before they were stated; no promise either where little motion was held out."""


class Manifest(_Frozen):
    """Checked description of one bundle."""

    format: Literal[4] = 4
    """1 lacked the geometry's fingerprint; 2 had one goal for the whole horizon; 3 fixed the number of sequences."""
    robot: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
    version: Count
    created: str
    """ISO 8601, UTC."""
    joint_names: tuple[str, ...]
    units: Literal["rad, rad/s, N m, m, s"] = "rad, rad/s, N m, m, s"
    command_interface: CommandInterface
    dt_s: Annotated[FiniteFloat, Field(gt=0.0, le=1.0)]
    delay_s: Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
    """Command to motion: estimated from the training log; of a prior the arm's own, without the graph's polling."""
    lag_s: tuple[FiniteFloat, ...]
    """[J] of the velocity prior; empty for torques."""
    history: Positive
    horizon: Annotated[int, Field(ge=2, le=4096)]
    """Steps; no plan comes of one alone."""
    refresh: Positive = 12
    """Of `GraphShape`; what every bundle had that does not state it."""
    members: Positive
    width: Positive
    depth: Positive
    """Hidden layers."""
    has_spread: bool
    """False: prior only, the spread is not meaningful."""
    term_names: tuple[str, ...]
    scaling: Scaling
    training: Training | None
    arm_sha256: tuple[Sha256, Sha256]
    """Arm description and URDF, for the record: a comment changes them."""
    geometry_sha256: Sha256
    """Of what is built into the graphs: joints, kinematics, tool frame, position limits; for torques, inertias too."""
    parents: tuple[str, ...]
    """Model ids whose weights this one started from."""
    git_sha: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|unknown)$")]
    extended: bool = False
    """Holds the graphs for trust, particles, obstacles and derivatives, too."""
    dataset: bool = False
    """Says in two more files what was learned from; False in bundles from before that was written down."""
    files: dict[str, Sha256]
    """SHA-256 of every other file of the bundle."""

    @property
    def model_id(self) -> str:
        """Model name of the arm / version, as on the wire."""
        return f"{model_name(self.robot, self.command_interface)}/{self.version}"

    @property
    def holdout_nll(self) -> float:
        """Nats per row; NaN without training."""
        return float("nan") if self.training is None else self.training.holdout_nll
