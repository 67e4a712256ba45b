"""What a candidate passes besides the held-out blocks (`judge.gate`): golden logs, and a closed loop in simulation.

A golden log of the newest regime is asked the same as the held-out blocks: the bound of the paired block bootstrap.
Of other regimes a model is wrong by right: its losses there are reported, and its closed loop has to stay stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbrl_control.block_bootstrap import paired_difference
from mbrl_control.learning.judge import MARGIN, GoldenScore, RetrainRefused
from mbrl_control.learning.learn import Parent
from mbrl_control.learning.losses import BlockLosses, losses_of, paired, prior_losses
from mbrl_control.learning.stability import Loops, faults
from mbrl_control.replay.blocks import judged_blocks, thin_to_model_step
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.regimes import same_regime
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import Grid, history_of, select, transitions_from_streams
from mbrl_control.robot import Arm
from mbrl_control.signals import Transitions


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A golden log as the gate needs it: of one payload, and nothing was learned from it."""

    name: str
    payload_kg: float
    streams: Streams


def judge_golden(
    yardsticks: Sequence[Yardstick],
    newest_kg: float,
    candidate: Parent,
    reference: Parent | None,
    arm: Arm,
    dt_ns: int,
    generator: np.random.Generator,
) -> tuple[GoldenScore, ...]:
    """Candidate and reference (None: the prior) on every golden log, each on rows cut with its own delay.

    ``newest_kg`` is the payload of the regime that was learned. RetrainRefused, with all numbers, where a bound of
    that regime is missed or a number is not finite.
    """
    scores = []
    for each in yardsticks:
        ours, theirs = _losses(each, candidate, reference, arm, dt_ns)
        for whose, losses in (("the candidate", ours), ("the reference", theirs)):
            if not np.isfinite(losses.position).all():
                raise RetrainRefused(f"candidate refused on golden log {each.name}: a loss of {whose} is not finite")
        current = same_regime(each.payload_kg, newest_kg)
        scores.append(_score(each, current, ours, theirs, reference is None, generator))
    missed = [score for score in scores if score.limit is not None and not score.upper < score.limit]
    if missed:
        told = "; ".join(
            f"{score.name}: mean loss {score.candidate:.3e} rad against {score.reference:.3e} over {score.blocks} "
            f"blocks, 95% sure to be below {score.upper:.3e} (has to be below {score.limit:.3e})"
            for score in missed
        )
        raise RetrainRefused(
            f"candidate refused on golden logs of its own regime: {told}; log more motion like theirs, or remove a "
            "golden log of an arm that is no longer the same"
        )
    return tuple(scores)


def require_stable(loops: Loops) -> None:
    """RetrainRefused, with the numbers, where a closed loop of the candidate is not stable."""
    told = [f"{score.payload_kg:g} kg: {', '.join(found)}" for score in loops.scores if (found := faults(score))]
    if told:
        raise RetrainRefused(
            "candidate refused: its closed loop in simulation is not stable with other payloads, in brackets the "
            f"active model's (or the prior's): {'; '.join(told)}; log more motion, with those payloads too, or leave "
            "out logs of a payload that the arm cannot carry"
        )


def _losses(
    yardstick: Yardstick, candidate: Parent, reference: Parent | None, arm: Arm, dt_ns: int
) -> tuple[BlockLosses, BlockLosses]:
    rows = _rows(yardstick.streams, candidate.delay_s, arm, dt_ns)
    ours = losses_of(candidate.ensemble, rows)
    if reference is None:
        return paired(ours, prior_losses(candidate.ensemble.prior, rows))
    return paired(ours, losses_of(reference.ensemble, _rows(yardstick.streams, reference.delay_s, arm, dt_ns)))


def _rows(streams: Streams, delay_s: float, arm: Arm, dt_ns: int) -> Transitions:
    """One model step apart, in blocks with margins."""
    grid = Grid(delay_s, dt_ns, history_of(arm))
    rows = on_command_side(transitions_from_streams([streams], grid), arm)
    return thin_to_model_step(select(rows, judged_blocks(rows, grid.stride_ns)), grid.stride_ns, grid.dt_ns)


def _score(
    yardstick: Yardstick,
    current: bool,
    ours: BlockLosses,
    theirs: BlockLosses,
    against_prior: bool,
    generator: np.random.Generator,
) -> GoldenScore:
    found = paired_difference(ours.position, theirs.position, generator)
    reference = float(theirs.position.mean())
    limit = 0.0 if against_prior else MARGIN * reference
    return GoldenScore(
        name=yardstick.name,
        payload_kg=yardstick.payload_kg,
        blocks=found.blocks,
        candidate=float(ours.position.mean()),
        reference=reference,
        difference=found.mean,
        lower=found.cautious.lower,
        upper=found.cautious.upper,
        limit=limit if current else None,
    )
