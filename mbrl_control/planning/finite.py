"""What is no number begins no plan."""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.rollforward import StartState
from mbrl_control.signals import BeliefState


class NonFiniteBelief(ValueError):
    """A belief with a position or velocity that is no number: nothing may be planned from it, or learned."""


class NonFiniteStart(ValueError):
    """The model, or a command in force, leads from a finite belief to a state that is no number."""


def check_belief(belief: BeliefState) -> None:
    """Raises NonFiniteBelief."""
    for name in ("position", "velocity", "covariance"):
        if not np.isfinite(getattr(belief, name)).all():
            raise NonFiniteBelief(f"belief: {name} is not finite; look at the estimator and the arm's state topic")


def check_start(start: StartState) -> None:
    """Raises NonFiniteStart."""
    # Before anything of the cycle is kept: a target found from such a state would spoil the cycles that follow.
    if not (np.isfinite(start.state).all() and np.isfinite(start.first_knot).all()):
        raise NonFiniteStart("the belief rolled forward is not finite; look at the model and at the applied commands")
