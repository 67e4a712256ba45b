"""Predictions from a true state with the true commands, several steps ahead, and how sure the model says it is.

The total variance after k steps is the one that the planner's graph states (`deployment.rollout_graph`): the members'
disagreement, and each step's predicted noise as the prior's nominal response carries it on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.errors import DataError
from mbrl_control.signals import Array, Transitions

_AT_ONCE = 1 << 11
"""Windows that pass the networks: hidden units of all those of a long log would be larger than the log."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """W windows after ``steps`` open-loop steps; SI, outputs q, dq and effort."""

    steps: int
    starts: NDArray[np.int64]
    """[W] row from which each window starts."""
    error: Array
    """[W, 3J] truth minus the members' mean."""
    epistemic: Array
    """[W, 3J] variance of the members' means."""
    variance: Array
    """[W, 3J] total."""

    @property
    def std(self) -> Array:
        """[W, 3J] total."""
        return np.sqrt(self.variance)


def predictions(ensemble: ProbabilisticEnsemble, rows: Transitions, steps: tuple[int, ...]) -> tuple[Predicted, ...]:
    """After each of ``steps``, from every row whose next max(steps) rows are gapless; DataError when there is none."""
    starts, longest = whole_windows(rows, np.arange(len(rows)), max(steps)), max(steps)
    if len(starts) == 0:
        raise no_window(longest)
    truth = _outputs(rows)
    noises = torch.empty(longest, len(starts), truth.shape[1], dtype=torch.float64)
    found = []
    for step, (mean, variance) in enumerate(open_loop(ensemble, rows, starts, longest)):
        noises[step] = variance.double().mean(0)
        if step + 1 in steps:
            members = mean.double()
            between = members.var(0, unbiased=False)
            total = between + _accumulated(ensemble, noises[: step + 1])
            error = truth[starts + step] - members.mean(0).numpy()
            found.append(Predicted(step + 1, starts, error, between.numpy(), total.numpy()))
    return tuple(found)


def open_loop(
    ensemble: ProbabilisticEnsemble, rows: Transitions, starts: NDArray[np.int64], steps: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Mean and variance [E, W, 3J] one step after the other; each member goes on from its own mean."""
    state = _carried_state(ensemble, rows, starts)
    pieces = [slice(begin, begin + _AT_ONCE) for begin in range(0, max(1, len(starts)), _AT_ONCE)]
    with torch.inference_mode():
        for step in range(steps):
            action = torch.from_numpy(rows.action[starts + step]).float()
            parts = [ensemble(state[:, part], action[part]) for part in pieces]
            state, mean, variance = (torch.cat(each, dim=1) for each in zip(*parts, strict=True))
            yield mean, variance


def whole_windows(rows: Transitions, starts: NDArray[np.int64], steps: int) -> NDArray[np.int64]:
    """Those of ``starts`` whose next ``steps`` rows, their own the first, lie in one segment."""
    inside = starts[starts + steps <= len(rows)]
    return np.asarray(inside[rows.segment[inside] == rows.segment[inside + steps - 1]], dtype=np.int64)


def no_window(steps: int) -> DataError:
    return DataError(f"rows: no gapless run of {steps} rows to score; keep longer segments")


def _carried_state(ensemble: ProbabilisticEnsemble, rows: Transitions, starts: NDArray[np.int64]) -> torch.Tensor:
    """[E, W, S], the same for every member."""
    history = rows.history[starts].reshape(len(starts), -1)
    state = np.concatenate([rows.position[starts], rows.velocity[starts], history], axis=1)
    return torch.from_numpy(state).float().expand(ensemble.shape.members, -1, -1)


def _outputs(rows: Transitions) -> Array:
    return np.concatenate([rows.next_position, rows.next_velocity, rows.next_effort], axis=1)


def _accumulated(ensemble: ProbabilisticEnsemble, noises: torch.Tensor) -> torch.Tensor:
    """One-step variances [k, W, 3J] of the steps so far -> variance [W, 3J] after the last of them."""
    decay, moved, past = (matrix[..., -1, :] for matrix in ensemble.prior.noise_propagation(len(noises)))
    position, velocity, effort = noises.chunk(3, dim=2)
    drifted = torch.einsum("k,kwj->wj", past, position) + torch.einsum("jk,kwj->wj", moved, velocity)
    return torch.cat([drifted, torch.einsum("jk,kwj->wj", decay, velocity), effort[-1]], dim=1)
