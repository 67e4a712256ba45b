"""What a rollout costs, term by term, and what it is charged where the model is not trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.rewards.terms import Rollout, Term

_CLOSED = 1e30
"""Larger than any cost, finite in float32."""


@dataclass(frozen=True, slots=True)
class Total:
    """Of B sequences under E members."""

    cost: torch.Tensor
    """[E, B]"""
    terms: torch.Tensor
    """[T, B] weighted, mean over members; [T + 1, B] with trust, the last is what distrust adds."""


def total_cost(
    rollout: Rollout,
    terms: tuple[Term, ...],
    weights: torch.Tensor,
    trust: torch.Tensor | None = None,
    counted: torch.Tensor | None = None,
) -> Total:
    """``weights`` [T]; ``trust`` [H] rad/s: the largest epistemic spread after each step that is trusted, None: any.
    ``counted`` [E]: how much each member counts for what the terms cost in the mean, None: all alike.

    From the first step beyond it the horizon is cut: no step after that may cost less than the dearest one since, so
    that no gain counts that only an untrusted prediction promises. Every member is charged what that adds to the one
    it adds most to: a charge of its own would bring the members' costs together, and mean + k std would reward it. So
    neither a cut nor a tighter trust lowers any cost or any risk over members.
    """
    members = rollout.position.shape[1]
    each = torch.stack([_for_members(term.cost(rollout), members) for term in terms])
    weighted = each * weights.reshape(-1, 1, 1, 1)
    running = [index for index, term in enumerate(terms) if not term.terminal]
    final = [index for index, term in enumerate(terms) if term.terminal]
    passing, ending = weighted[running].sum(0), weighted[final].sum(0)
    plain = passing.mean(0) + ending[-1]
    averaged = _average(weighted, counted)
    parts = torch.stack(
        [value[-1] if term.terminal else value.mean(0) for term, value in zip(terms, averaged, strict=True)]
    )
    if trust is None:
        return Total(plain, parts)
    gate = _gate(rollout.epistemic[:, 0], trust)
    cut = (passing[:, None] - gate).amax(0).mean(0) + (ending - gate[:, -1]).amax(0)
    distrust = (cut - plain).amax(0)
    return Total(plain + distrust, torch.cat([parts, distrust[None]]))


def _average(values: torch.Tensor, counted: torch.Tensor | None) -> torch.Tensor:
    """[..., E, B] -> [..., B] over members."""
    if counted is None:
        return values.mean(-2)
    return (values * (counted / counted.sum())[:, None]).sum(-2)


def _gate(epistemic: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
    """Spread [H, B], trust [H] -> [H, H, 1, B]: zero where the step of the second axis is charged at least what the
    step of the first one costs, else a number larger than any cost."""
    horizon = len(epistemic)
    earlier = torch.tril(torch.ones(horizon, horizon))
    beyond = torch.matmul(earlier, (epistemic > trust[:, None]).float())
    # A step counts for those after it once the step behind it is beyond: the last trusted one is the first that does.
    shut = (torch.cat([beyond[1:], beyond[-1:]]) < 0.5).float()
    others = (torch.triu(torch.ones(horizon, horizon), 1) * _CLOSED)[..., None]
    never = (torch.tril(torch.ones(horizon, horizon), -1) * _CLOSED)[..., None]
    return (others * shut[:, None] + never)[:, :, None]


def _for_members(value: torch.Tensor, members: int) -> torch.Tensor:
    return value.expand(-1, members, -1)
