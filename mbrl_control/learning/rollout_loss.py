"""Multi-step loss: the model runs open loop over consecutive rows, and the gradient passes through its whole run.

A model fitted to one step learns from measured states as if they were true; noise in them flattens what it learns of
them, and steps add that up. Here only the first state is measured (Nagabandi et al. 2018, arXiv:1708.02596, judge so;
Venkatraman et al. 2015, "Improving multi-step prediction of learned time series models", on why to train so).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior, prior_step
from mbrl_control.learning.errors import DataError
from mbrl_control.replay.blocks import newest_regime
from mbrl_control.signals import Transitions

_SCALE_WINDOWS = 2000
_LEAST_SCALE = 1e-6
"""rad, rad/s: where the prior makes no error."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Runs of consecutive rows, one model step apart."""

    state: torch.Tensor
    """[N, S]"""
    action: torch.Tensor
    """[N, J]"""
    after: torch.Tensor
    """[N, 2J] measured q', dq'."""
    start: torch.Tensor
    """[W] rows at which a run begins."""
    stride: int
    """Rows per model step."""
    scale: torch.Tensor
    """[steps, 2J] RMS error of the prior alone: errors are counted in it."""


def windows_of(transitions: Transitions, held: NDArray[np.int64], prior: Prior, steps: int) -> tuple[Windows, Windows]:
    """Runs of the newest regime that hold no held-out row, and runs of nothing but held-out rows.

    Raises DataError where either has none.
    """
    stride = _stride(transitions, prior.dt_s)
    starts = _starts(transitions, stride, steps, round(prior.dt_s * 1e9))
    is_held = np.zeros(len(transitions), dtype=np.bool_)
    is_held[held] = True
    inside = is_held[starts[:, None] + stride * np.arange(steps)]
    train, test = starts[~inside.any(1)], starts[inside.all(1)]
    if len(train) == 0 or len(test) == 0:
        raise DataError(
            f"rollout.steps: no gapless run of {steps} steps of {prior.dt_s:g} s among the rows of the newest regime "
            "that are trained on, or among those held out; lower it, raise holdout_block, or keep longer segments"
        )
    past = transitions.history.reshape(len(transitions), -1)
    arrays = (
        np.concatenate([transitions.position, transitions.velocity, past], axis=1),
        transitions.action,
        np.concatenate([transitions.next_position, transitions.next_velocity], axis=1),
    )
    state, action, after = (torch.from_numpy(array).float() for array in arrays)
    scale = _prior_error(transitions, train, stride, steps, prior)
    made = [Windows(state, action, after, torch.from_numpy(chosen), stride, scale) for chosen in (train, test)]
    return made[0], made[1]


def rollout_error(ensemble: ProbabilisticEnsemble, windows: Windows, start: torch.Tensor) -> torch.Tensor:
    """[E] mean squared error of q and dq over the steps from rows ``start`` [B]; 1: as large as the prior's."""
    joints, steps = ensemble.shape.joints, len(windows.scale)
    state = windows.state[start].expand(ensemble.shape.members, -1, -1)
    total = torch.zeros(ensemble.shape.members)
    for step in range(steps):
        now = start + step * windows.stride
        state, mean, _ = ensemble(state, windows.action[now])
        off = (mean[..., : 2 * joints] - windows.after[now]) / windows.scale[step]
        total = total + off.square().mean((1, 2))
    return total / steps


def _stride(transitions: Transitions, dt_s: float) -> int:
    """Rows per model step, from the time between neighbours; DataError where it does not divide the step."""
    same = np.diff(transitions.segment) == 0
    dt_ns, apart = round(dt_s * 1e9), np.diff(transitions.stamp_ns)[same]
    least = int(apart.min()) if len(apart) else 0
    if least <= 0 or dt_ns % least:
        raise DataError(f"transitions.stamp_ns: rows {least} ns apart do not divide the model step of {dt_ns} ns")
    return dt_ns // least


def _starts(transitions: Transitions, stride: int, steps: int, dt_ns: int) -> NDArray[np.int64]:
    reach = stride * (steps - 1)
    first = np.arange(max(0, len(transitions) - reach), dtype=np.int64)
    last = first + reach
    whole = transitions.segment[first] == transitions.segment[last]
    # Rows may have been thinned inside a segment: then the last one is later than it should be.
    whole &= transitions.stamp_ns[last] - transitions.stamp_ns[first] == dt_ns * (steps - 1)
    newest = newest_regime(transitions)
    starts: NDArray[np.int64] = first[whole & newest[first] & newest[last]]
    return starts


def _prior_error(
    transitions: Transitions, starts: NDArray[np.int64], stride: int, steps: int, prior: Prior
) -> torch.Tensor:
    chosen = starts[np.linspace(0, len(starts) - 1, min(len(starts), _SCALE_WINDOWS)).astype(np.int64)]
    position, velocity = (torch.from_numpy(a[chosen]) for a in (transitions.position, transitions.velocity))
    errors = []
    for step in range(steps):
        now = chosen + step * stride
        position, velocity = prior_step(prior, position, velocity, torch.from_numpy(transitions.action[now]))
        truth = torch.from_numpy(np.concatenate([transitions.next_position[now], transitions.next_velocity[now]], 1))
        errors.append((torch.cat([position, velocity], dim=1) - truth).square().mean(0).sqrt())
    return torch.stack(errors).clamp(min=_LEAST_SCALE).float()
