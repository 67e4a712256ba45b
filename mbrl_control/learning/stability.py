"""What a closed loop in simulation has to show before a model may move an arm under a payload it was not learned for.

Beside such a payload a model is wrong by right, and so is the place at which its loop comes to rest: what is asked is
that it does come to rest, within the arm's limits, and not much farther from the goal than the active model's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

REST_RAD_S = 0.1
"""Of the fastest joint, RMS over the last quarter second of a target's window."""
DISTANCE_FACTOR, DISTANCE_FLOOR_M = 2.0, 0.05
"""A loop may end so many times as far from its goal as the active model's, and the floor more: an arm that bends under
a load its model does not know ends centimetres away."""


class OtherPayloads(StrEnum):
    """What the closed loops with the payloads of other regimes count for."""

    BOUND = "bound"
    """A candidate whose loop is not stable with one of them is refused."""
    REPORT = "report"
    """Nothing: their figures are kept. Torques planned for a load are too large for the empty arm, which swings under
    them whatever was learned besides: who relearns torques under a load has to accept that, and keep the load on."""


@dataclass(frozen=True, slots=True)
class LoopFigures:
    """One model's loop with one payload: the worst over its targets, of the simulator's truth."""

    finite: bool
    """False: the loop was left at the first number that was not; the figures are of what came before."""
    violations: int
    """Simulator steps with a joint beyond its range or its rated speed."""
    unplanned: int
    """Planner cycles without a newly optimized plan."""
    speed: float
    """rad/s, see `REST_RAD_S`."""
    distance: float
    """m, of the tool from the target, mean over the last half second of the window."""


@dataclass(frozen=True, slots=True)
class LoopScore:
    """The candidate and the active model (or the prior, where none is) with one payload, same targets."""

    payload_kg: float
    candidate: LoopFigures
    reference: LoopFigures


@dataclass(frozen=True, slots=True)
class Loops:
    """Of every payload that was asked for, or why there are none."""

    scores: tuple[LoopScore, ...] = ()
    not_simulated: str = ""


def distance_limit(reference: LoopFigures) -> float:
    """m; of a loop that was left, the distance says nothing."""
    return DISTANCE_FLOOR_M + (DISTANCE_FACTOR * reference.distance if reference.finite else 0.0)


def faults(score: LoopScore) -> tuple[str, ...]:
    """What the candidate's loop does not fulfil, with its numbers (and the reference's); empty: it passes."""
    candidate, other, limit = score.candidate, score.reference, distance_limit(score.reference)
    speeds = f"still {candidate.speed:.3g} rad/s fast, not {REST_RAD_S:g} ({other.speed:.3g})"
    found = [
        (candidate.finite, "a number was not finite"),
        (candidate.violations == 0, f"{candidate.violations} steps beyond a limit of the arm ({other.violations})"),
        (candidate.unplanned == 0, f"{candidate.unplanned} cycles without a plan ({other.unplanned})"),
        (candidate.speed <= REST_RAD_S, speeds),
        (
            candidate.distance <= limit,
            f"{1e3 * candidate.distance:.3g} mm from its goal, not {1e3 * limit:.3g} ({1e3 * other.distance:.3g})",
        ),
    ]
    return tuple(fault for passed, fault in found if not passed)
