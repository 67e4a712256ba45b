"""Rows of one joint that moves as the prior says but for noise of a known size, and a model that states that noise."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.signals import Transitions

LAG_S, DT_S = 0.05, 0.02


def noisy_arm(noise: float, seed: int, rows: int = 4000) -> Transitions:
    """One joint that moves as the prior says, with noise [rad/s] that enters the state; effort is white, of std 1."""
    generator = np.random.default_rng(seed)
    prior = NominalPrior(DT_S, (LAG_S,))
    command = 0.5 * np.sin(0.05 * np.arange(rows + 1))
    q, dq = np.zeros(rows + 1), np.zeros(rows + 1)
    alpha, gain = prior.alpha.item(), prior.gain.item()
    for k in range(rows):
        q[k + 1] = q[k] + DT_S * command[k] + gain * (dq[k] - command[k])
        dq[k + 1] = dq[k] - alpha * (dq[k] - command[k]) + noise * generator.normal()
    past = np.concatenate([[0.0], command[: rows - 1]])[:, None, None]
    columns = [value[:, None] for value in (q[:-1], dq[:-1], command[:-1], q[1:], dq[1:], generator.normal(size=rows))]
    zeros, stamps = np.zeros(rows, dtype=np.int64), np.arange(rows, dtype=np.int64) * 20_000_000
    return Transitions(columns[0], columns[1], past, *columns[2:], stamps, zeros, zeros)


def knowing(noise: float, members: int = 2) -> ProbabilisticEnsemble:
    """The prior alone, which states the noise as its spread."""
    shape = EnsembleShape(members, 1, 1, 8)
    ensemble = ProbabilisticEnsemble(shape, NominalPrior(DT_S, (LAG_S,)), torch.Generator().manual_seed(0))
    ensemble.silence()
    unit = float(ensemble.bounded_variance(torch.zeros(3))[0].detach()) ** 0.5
    ensemble.target_std = torch.tensor([1e-5, noise, 1.0]) / unit
    return ensemble.eval()
