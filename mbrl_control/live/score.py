"""What one bundle's predictions of the motion just past were off, start by start and window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.manifest import Manifest, Promise
from mbrl_control.dynamics.protocol import DynamicsModel
from mbrl_control.live.open_loop import Ahead, NoiseGains, look_ahead
from mbrl_control.live.tape import Tape
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.motion import AHEAD, SPACING, moves
from mbrl_control.replay.transitions import Grid, cut_transitions
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Transitions

_LEAD_NS = 20_000_000
"""Of the streams before the first command that a row reads: what held then began earlier."""


@dataclass(frozen=True, slots=True)
class StartScore:
    """`AHEAD` steps from one start."""

    finite: bool
    """Whether the model said numbers at all."""
    innovation: Array
    """[3] of position, velocity, effort: mean over joints of the squared error in the calibrated predicted variance;
    NaN where no spread was calibrated, or no effort measured."""
    squared: float
    """rad^2, mean over joints of the position's squared error; infinite where it is no number."""


@dataclass(frozen=True, slots=True)
class WindowScore:
    """The starts of one window of motion."""

    begin_ns: int
    end_ns: int
    finite: bool
    innovation: Array
    """[3] mean over the starts."""
    position: float
    """rad, RMS over joints and starts after `AHEAD` steps: what the gate compares."""


class Scorer:
    """One bundle on the tape, its rows cut with its own delay and history."""

    def __init__(self, manifest: Manifest, model: DynamicsModel, arm: Arm) -> None:
        """BundleError where the manifest's calibration is not of this arm."""
        self.manifest, self._model, self._arm = manifest, model, arm
        dt_ns = round(manifest.dt_s * 1e9)
        self.grid = Grid(manifest.delay_s, dt_ns, manifest.history, dt_ns)
        self._gains = NoiseGains.of(manifest, AHEAD)
        self._scale = _scale(manifest)

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def promise(self) -> Promise | None:
        """What the bundle is held to; None where it promised nothing that can be compared with what is scored here."""
        training = self.manifest.training
        if training is None or training.promise is None or self._scale is None or training.promise.steps != AHEAD:
            return None
        return training.promise

    @property
    def stated(self) -> float | None:
        """rad, RMS of the position after `AHEAD` steps that the bundle states of its held-out rows; None: of none."""
        training = self.manifest.training
        found = () if training is None else [each.position for each in training.k_step if each.steps == AHEAD]
        return next(iter(found), None)

    @property
    def needs_ns(self) -> int:
        """How far before a start its rows reach back."""
        return self.grid.history * self.grid.dt_ns + round(self.grid.delay_s * 1e9) + _LEAD_NS

    def rows(self, tape: Tape, first_ns: int) -> Transitions:
        """From ``first_ns`` on, a model step apart."""
        cut = cut_transitions(tape.streams(first_ns - self.needs_ns), self.grid, first_ns)
        return on_command_side(cut, self._arm)

    def score(self, rows: Transitions, start_ns: int) -> StartScore | None:
        """Of a start whose steps are in ``rows``; None where some are not whole, or the arm rests."""
        start = whole(rows, start_ns)
        if start is None or not moves(rows.velocity[start : start + AHEAD]):
            return None
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # a model that explodes is a finding, no warning
                return self._scored(look_ahead(self._model, self._gains, rows, start, AHEAD))
        except ModelFailed:  # it says no numbers either
            return StartScore(False, np.full(3, np.nan), np.inf)

    def _scored(self, ahead: Ahead) -> StartScore:
        joints = self._arm.joints
        # The measured effort may be missing: what the model said of it is then still asked to be a number.
        finite = bool(np.isfinite(ahead.error[: 2 * joints]).all() and np.isfinite(ahead.variance).all())
        squared = float(np.mean(ahead.error[:joints] ** 2))
        nothing = np.full(3, np.nan)
        if not finite or self._scale is None:
            return StartScore(finite, nothing, squared if np.isfinite(squared) else np.inf)
        variance = np.maximum(ahead.variance, np.finfo(np.float64).tiny) * self._scale**2
        return StartScore(True, (ahead.error**2 / variance).reshape(3, -1).mean(axis=1), squared)


def whole(rows: Transitions, start_ns: int) -> int | None:
    """Row that begins at ``start_ns`` and has `AHEAD` - 1 more behind it without a gap."""
    start = int(np.searchsorted(rows.stamp_ns, start_ns))
    last = start + AHEAD - 1
    if last >= len(rows) or rows.stamp_ns[start] != start_ns or rows.segment[start] != rows.segment[last]:
        return None
    return start


def windowed(starts: Sequence[StartScore], last_ns: int, dt_ns: int) -> WindowScore:
    """The starts of a window, the last of them at ``last_ns``; its time is that of the starts."""
    return WindowScore(
        begin_ns=last_ns - (len(starts) - 1) * SPACING * dt_ns,
        end_ns=last_ns + SPACING * dt_ns,
        finite=all(each.finite for each in starts),
        innovation=np.mean([each.innovation for each in starts], axis=0),
        position=float(np.sqrt(np.mean([each.squared for each in starts]))),
    )


def _scale(manifest: Manifest) -> Array | None:
    """[3J] on the predicted std; None of a prior and of bundles from before it was stated."""
    training = manifest.training
    found = () if training is None else [each.scale for each in training.calibration if each.steps == AHEAD]
    for scale in found:
        if len(scale) != 3 * len(manifest.joint_names):
            raise BundleError(
                f"{manifest.model_id}: training.calibration.scale: {len(scale)} numbers for "
                f"{len(manifest.joint_names)} joints; retrain"
            )
        return np.array(scale)
    return None
