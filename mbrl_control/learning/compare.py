"""Prior, prior and residual, pure network; ensemble and Bayesian networks: one table, judged by another recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from mbrl_control.dynamics.delta_prior import DeltaPrior
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.prior import Prior
from mbrl_control.learning.calibration import CALIBRATED_STEPS, Errors, judged
from mbrl_control.learning.fit_ensemble import fit
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.method import Method
from mbrl_control.learning.model_rows import rows_beside
from mbrl_control.learning.open_loop import predictions
from mbrl_control.signals import Array, Transitions

PRIOR, RESIDUAL, NETWORK = "prior", "prior + residual", "network"
Kind = tuple[str, str]
"""Structure and method, as in `Compared`."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A model's row of the table; all but the cost on rows that neither weights nor scale were fitted to."""

    structure: str
    """`PRIOR`, `RESIDUAL` or `NETWORK`."""
    method: str
    """`nominal`, or one of `Method`."""
    nll: float
    """Nats per row of one step, SI units: of the members' mixture as one Gaussian, as predicted."""
    nll_scaled: float
    """The same with the model's own scale (`calibration`)."""
    position_15: float
    """rad, RMS after 15 steps open loop."""
    velocity_15: float
    """rad/s"""
    ece_1: float
    """Calibration error of the scaled spread, one step ahead."""
    ece_15: float
    step_us: float
    """Processor time of one step of one row through every member."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Three recordings of one arm; ``scaling`` and ``held`` one model step apart."""

    train: Transitions
    scaling: Transitions
    held: Transitions


def compare(
    rows: Recorded,
    prior: Prior,
    seed: int,
    settings: FitSettings,
    step_us: Callable[[ProbabilisticEnsemble], float],
    fitted: Mapping[Kind, ProbabilisticEnsemble] | None = None,
    progress: Callable[[Kind], None] = lambda kind: None,
) -> tuple[Compared, ...]:
    """Fit every model to ``rows.train`` alike, each from ``seed``, and judge it; ``step_us`` measures its cost.

    ``fitted``: models that were fitted so already. DataError as `fit`, and where the other rows hold no whole window.
    """
    known = dict(fitted or {})
    table = []
    for structure, beside in ((PRIOR, prior), (RESIDUAL, prior), (NETWORK, DeltaPrior(prior.dt_s))):
        for method in ("nominal",) if structure == PRIOR else tuple(Method):
            kind = (structure, str(method))
            progress(kind)
            if kind in known:
                model = known[kind]
            elif isinstance(method, Method):
                own = replace(settings, method=method, checkpoint=None)
                model = fit(rows.train, beside, torch.Generator().manual_seed(seed), own).ensemble
            else:
                model = nominal(prior, rows.train)
            table.append(_judge(kind, model, rows, step_us(model)))
    return tuple(table)


def nominal(prior: Prior, rows: Transitions) -> ProbabilisticEnsemble:
    """The prior, with friction and load where those are identified, and the variance of its residual in ``rows``."""
    known, seen = rows_beside(prior, rows, None)
    history, joints = rows.history.shape[1:]
    made = ProbabilisticEnsemble(EnsembleShape(1, joints, history, 1, 1), known, torch.Generator().manual_seed(0))
    made.silence()
    squares = torch.stack([piece.residual.square().sum(0) for _, piece in seen.pieces()])
    made.target_std = (squares.sum(0) / len(rows)).sqrt().clamp(min=1e-9).float()
    with torch.no_grad():
        made.max_log_variance.zero_()
        made.layers[-1][1][..., made.shape.outputs :] = _SATURATED
    return made.eval()


_SATURATED = 30.0
"""Raw log-variance at which the sigmoid is one: the variance is then its upper bound, one."""


def _judge(kind: Kind, model: ProbabilisticEnsemble, rows: Recorded, step_us: float) -> Compared:
    scaling, held = (predictions(model, each, CALIBRATED_STEPS) for each in (rows.scaling, rows.held))
    one, far = (judged(a.steps, Errors.of(a), Errors.of(b)) for a, b in zip(scaling, held, strict=True))
    position, velocity, _ = np.split(held[-1].error, 3, axis=1)
    return Compared(*kind, one.nll_raw, one.nll, _rms(position), _rms(velocity), one.ece, far.ece, step_us)


def _rms(error: Array) -> float:
    return float(np.sqrt(np.mean(np.square(error))))
