"""Members that differ where no row is, so that their disagreement says so.

Members that differ by their initial weights and batches alone disagree about poses beyond the excited range of a
joint less than about fast motion within it, and a planner that cuts its horizon by their disagreement is not warned.
So at poses beyond the range of the rows each is held, loosely, at an offset of its own from the mean of all members.
The offsets come in pairs of opposite sign, of which both or none are chosen for the model, and the mean is not held:
what the ensemble predicts there stays as the rows have it, and only its unanimity goes. Anchored ensembles (Pearce et
al., AISTATS 2020, arXiv:1810.05546) hold each member to a draw of the prior; noise-contrastive priors (Hafner et al.,
UAI 2019, arXiv:1807.09289) ask for uncertainty at inputs moved off the rows. Here both meet: a draw per member, in
the outputs, off the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.model_rows import ModelRows
from mbrl_control.signals import Array

OFFSET = 0.5
"""Std of the members' offsets, in std of the learned residual."""
APART_WEIGHT = 0.1
_POINTS, _BATCH = 4096, 32
_BEYOND_RAD, _FARTHER_RAD = (0.1, 0.8), (0.1, 1.6)
"""How far beyond the range of the rows one joint is moved; and of a parent's members, whose own range a log may lie far
within."""
_EDGE = 0.1
"""Share of the rows that counts as near to an edge: those are moved."""
_POOL = 20_000
"""Rows that the edges are looked for among: millions need no sorting."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Points that the fit draws from, and where the members are held there."""

    features: torch.Tensor
    """[P, F] scaled."""
    offsets: torch.Tensor
    """[E, 1 or P, 3J] from the members' mean, in units of the targets' std."""

    def loss(self, ensemble: ProbabilisticEnsemble, generator: torch.Generator) -> torch.Tensor:
        """Of some of the points, summed over members; to be added to that of the rows."""
        chosen = torch.randint(len(self.features), (_BATCH,), generator=generator)
        mean, _ = ensemble.heads(self.features[chosen].expand(ensemble.shape.members, -1, -1))
        between = mean - mean.mean(0).detach()
        held = self.offsets.expand(-1, len(self.features), -1)[:, chosen]
        return APART_WEIGHT * (between - held).square().mean((1, 2)).sum()


def held_apart(ensemble: ProbabilisticEnsemble, rows: ModelRows, generator: torch.Generator) -> Apart:
    """Of a fresh ensemble of two members or more and the rows that it will learn, in its scaling: the second half is
    held at the negative of the first, an odd last one at zero."""
    features, members = _beyond(ensemble, rows, _BEYOND_RAD, generator), ensemble.shape.members
    drawn = OFFSET * torch.randn(members // 2, 1, ensemble.shape.outputs, generator=generator)
    alone = torch.zeros(members % 2, 1, ensemble.shape.outputs)
    return Apart(features, torch.cat([drawn, -drawn, alone]))


def kept_apart(ensemble: ProbabilisticEnsemble, rows: ModelRows, generator: torch.Generator) -> Apart:
    """Of a parent's members, before they are changed: each stays where it is about their mean, or they would come to
    agree about what none of them knows by learning the same rows again (docs/architecture.md, the table)."""
    features = _beyond(ensemble, rows, _FARTHER_RAD, generator)
    with torch.no_grad():
        mean, _ = ensemble.heads(features.expand(ensemble.shape.members, -1, -1))
        return Apart(features, mean - mean.mean(0))


def paired(count: int, members: int) -> list[int]:
    """Which of a parent's ``members`` each of ``count`` begins as: partners stay partners, see `held_apart`."""
    pairs = members // 2
    if pairs == 0:
        return [0] * count
    first = [number % pairs for number in range(count // 2)]
    alone = [members - 1] * (count % 2)
    return [*first, *(pairs + number for number in first), *alone]


def _beyond(
    ensemble: ProbabilisticEnsemble, rows: ModelRows, by_rad: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """[P, F] scaled features of rows near the edge of one joint's range, moved beyond it."""
    position = rows.transitions.position
    lowest, highest = (torch.from_numpy(edge) for edge in (position.min(axis=0), position.max(axis=0)))
    joint = torch.arange(_POINTS) % ensemble.shape.joints
    upwards = torch.rand(_POINTS, generator=generator) < 0.5
    near = rows.at(_near_edges(position, joint, upwards, generator).numpy())
    beyond = by_rad[0] + (by_rad[1] - by_rad[0]) * torch.rand(_POINTS, generator=generator).double()
    moved = near.position.clone()
    moved[torch.arange(_POINTS), joint] = torch.where(upwards, highest[joint] + beyond, lowest[joint] - beyond)
    return ensemble.scaled_features(moved.float(), near.velocity.float(), near.commands.float())


def balanced(scores: torch.Tensor, count: int) -> list[int]:
    """Which ``count`` members are chosen by their ``scores`` [E], lower is better: pairs as a whole, so that offsets of
    the chosen sum to zero, too; the best where no such choice exists."""
    count = min(count, len(scores))
    pairs, alone = divmod(len(scores), 2)
    chosen_alone = count % 2
    if chosen_alone > alone:
        return sorted(torch.argsort(scores)[:count].tolist())
    both = scores[:pairs] + scores[pairs : 2 * pairs]
    first = torch.argsort(both)[: count // 2].tolist()
    return sorted([*first, *(pairs + number for number in first), *([2 * pairs] if chosen_alone else [])])


def _near_edges(
    position: Array, joint: torch.Tensor, upwards: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """[P] a row for each point, with its ``joint`` [P] among the outermost on that side."""
    pool = torch.randint(len(position), (min(len(position), _POOL),), generator=generator)
    order = torch.from_numpy(position[pool.numpy()].argsort(axis=0))
    outermost = max(1, round(_EDGE * len(pool)))
    rank = torch.randint(outermost, (len(joint),), generator=generator)
    return pool[order[torch.where(upwards, len(pool) - 1 - rank, rank), joint]]
