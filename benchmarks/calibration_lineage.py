"""What becomes of the members' disagreement about unseen regions from one retraining to the next.

Only a model that begins anew has its members held apart beyond its rows (`learning.apart`); a retraining begins at its
parent's weights. So each successor learns from one more session, and is asked the same as the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.calibration_sessions import Bench, Plant
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.learn import Learned
from mbrl_control.learning.session import Session
from mbrl_control.replay.streams import Streams
from mbrl_control.signals import Array

Judge = Callable[[ProbabilisticEnsemble, Array, dict[str, Session]], dict[str, float]]
"""Ensemble, excited positions [N, J], sessions by name -> figures."""
_SEEDS = 10_000
"""From one generation's session to the next one's."""


def lineage(
    bench: Bench,
    first: Learned,
    streams: Streams,
    asked: Mapping[str, Streams],
    judge: Judge,
    generations: int,
    seed: int,
    said: Callable[[str], None],
) -> list[dict[str, float]]:
    """Figures of each successor of ``first``, which learned from ``streams``, about the sessions ``asked``."""
    found: list[dict[str, float]] = []
    learned, sessions = first, [streams]
    for number in range(1, generations + 1):
        said(f"successor {number} of {generations}")
        sessions.append(bench.streams(Plant(), seed + _SEEDS * number))
        learned = bench.successor(learned, sessions, seed + number)
        ensemble, delay_s = learned.fitted.ensemble, learned.delay_s
        excited = np.concatenate([bench.rows(each, delay_s).position for each in sessions])
        own = {name: Session.of(ensemble, bench.rows(each, delay_s)) for name, each in asked.items()}
        found.append(judge(ensemble, excited, own))
    return found
