"""Prior, prior and residual, pure network; ensemble and Bayesian networks: one table on the same held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from mbrl_control.dynamics.adapters import TorchDynamics
from mbrl_control.dynamics.delta_prior import DeltaPrior
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.fit_ensemble import fit
from mbrl_control.learning.fit_settings import FitSettings, Method
from mbrl_control.learning.judge import gaussian_nll
from mbrl_control.learning.model_rows import rows_beside
from mbrl_control.learning.score import k_step_errors
from mbrl_control.signals import Transitions

_STEPS = 15
_TIMED_ROWS, _TIMED_CALLS = 128, 10


@dataclass(frozen=True, slots=True)
class Compared:
    """A model's row of the table."""

    structure: str
    """`prior`, `prior + residual` or `network`."""
    method: str
    """`nominal`, or one of `Method`."""
    nll: float
    """Nats per held-out row, SI units: of the members' mixture as one Gaussian."""
    position_15: float
    """rad, RMS after 15 steps open loop."""
    velocity_15: float
    """rad/s"""
    cpu_us: float
    """Processor time of a step of one row through every member (of 128 at once, the fastest of ten calls)."""


def compare(
    train: Transitions,
    held: Transitions,
    prior: Prior,
    seed: int,
    settings: FitSettings,
    clock: Callable[[], float] = time.process_time,
) -> tuple[Compared, ...]:
    """Fit every model to ``train`` alike and judge it by ``held`` (rows one model step apart); ``clock`` in seconds.

    Each begins from ``seed``. DataError as `fit` and `k_step_errors`.
    """
    table = [_judge("prior", "nominal", nominal(prior, train), held, clock)]
    for structure, beside in (("prior + residual", prior), ("network", DeltaPrior(prior.dt_s))):
        for method in Method:
            generator = torch.Generator().manual_seed(seed)
            fitted = fit(train, beside, generator, replace(settings, method=method, checkpoint=None))
            table.append(_judge(structure, method.value, fitted.ensemble, held, clock))
    return tuple(table)


def nominal(prior: Prior, rows: Transitions) -> ProbabilisticEnsemble:
    """The prior, with friction and load where those are identified, and the variance of its residual in ``rows``."""
    known, seen = rows_beside(prior, rows, None)
    history, joints = rows.history.shape[1:]
    made = ProbabilisticEnsemble(EnsembleShape(1, joints, history, 1, 1), known, torch.Generator().manual_seed(0))
    made.silence()
    made.target_std = seen.residual.square().mean(0).sqrt().clamp(min=1e-9).float()
    with torch.no_grad():
        made.max_log_variance.zero_()
        made.layers[-1][1][..., made.shape.outputs :] = _SATURATED
    return made.eval()


_SATURATED = 30.0
"""Raw log-variance at which the sigmoid is one: the variance is then its upper bound, one."""


def table_text(rows: tuple[Compared, ...]) -> str:
    """The table, columns aligned."""
    head = f"{'structure':<17}{'method':<10}{'NLL':>9}{'q 15 [rad]':>12}{'dq 15 [rad/s]':>15}{'CPU [us]':>10}"
    lines = [
        f"{r.structure:<17}{r.method:<10}{r.nll:>9.2f}{r.position_15:>12.2e}{r.velocity_15:>15.2e}{r.cpu_us:>10.1f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def _judge(
    structure: str, method: str, model: ProbabilisticEnsemble, held: Transitions, clock: Callable[[], float]
) -> Compared:
    (error,) = k_step_errors(model, held, np.arange(len(held)), (_STEPS,))
    return Compared(
        structure, method, gaussian_nll(model, held), error.position, error.velocity, 1e6 * _cpu_s(model, held, clock)
    )


def _cpu_s(model: ProbabilisticEnsemble, held: Transitions, clock: Callable[[], float]) -> float:
    chosen = np.resize(np.arange(len(held)), _TIMED_ROWS)
    past = held.history[chosen].reshape(_TIMED_ROWS, -1)
    state = np.concatenate([held.position[chosen], held.velocity[chosen], past], axis=1)
    dynamics = TorchDynamics(model)
    every = np.broadcast_to(state, (dynamics.members, *state.shape)).copy()
    seconds = []
    for _ in range(_TIMED_CALLS):
        began = clock()
        dynamics.predict(every, held.action[chosen])
        seconds.append(clock() - began)
    return min(seconds) / _TIMED_ROWS
