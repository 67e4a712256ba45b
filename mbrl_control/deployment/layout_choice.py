"""Which layout scores a population fastest on this machine: measured where it will run, never guessed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from mbrl_control.cadence import Clock
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.cuda import cuda_listed
from mbrl_control.deployment.evaluator import DeployedModel, Opening, load_model
from mbrl_control.deployment.graph_names import BATCH, ROLLOUT_BATCH_AXES
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.opener import Opener
from mbrl_control.deployment.session import Threads
from mbrl_control.robot import Arm

PASSES, ROUNDS = 2, 8
"""Each candidate is opened twice, and called so often each time: a slow moment of the machine seldom meets both."""
SHARED_PASSES, _SHARED = 8, 1.5
"""So many where others run, too: what waits for the later of two threads has a tail that few calls do not show. They do
where the simplest layout's 90th percentile is beyond that times its 10th."""
_LONGEST_NS = 500_000_000
"""Of one candidate in one pass; two calls are measured in any case."""
_GAIN, _GAIN_SPINNING = 0.9, 0.7
"""A layout must need at most this share of a simpler one's time. Threads are exposed to whatever else runs, and threads
that wait busily take from it, too: under two busy processes such a pool is slower than one thread (`bench rollout`)."""
_STOLEN = 3.0
"""A 90th percentile of the simplest layout over its median. One thread waits for nobody: what is as slow as that was
the machine's doing, and a tail that is the machine's says nothing of a layout."""

_GPU = Layout(cuda=True)


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one candidate, s per population."""

    layout: Layout
    median: float
    p90: float


@dataclass(frozen=True, slots=True)
class LayoutChoice:
    """The chosen layout and what it was chosen from, simplest first."""

    layout: Layout
    timings: tuple[Timing, ...]
    without_cuda: str = ""
    """Why a GPU that ONNX Runtime is built for was not tried; empty: it was, or there is none."""

    @property
    def on_processor(self) -> Layout:
        """The choice, were there no GPU."""
        return choose(tuple(timing for timing in self.timings if not timing.layout.cuda))

    def __str__(self) -> str:
        """The choice and why, on one line."""
        by_median = stolen(self.timings)
        taken = (one.median if by_median else one.p90 for one in self.timings)
        measured = "; ".join(f"{one.layout} {1e3 * s:.1f} ms" for one, s in zip(self.timings, taken, strict=True))
        figure = "median, for the machine took the processors away" if by_median else "p90"
        fallback = f"; CUDA could not be used: {self.without_cuda}" if self.without_cuda else ""
        return f"{self.layout} ({figure}, of a population: {measured}{fallback})"


def choose_layout(
    content: bytes, place: str, sizes: Mapping[str, int], clock: Clock, axes: Mapping[str, int] = ROLLOUT_BATCH_AXES
) -> LayoutChoice:
    """Measure `candidates` and choose; ``sizes`` and ``axes`` as in `Lanes`."""
    layouts = candidates(sizes[BATCH], len(os.sched_getaffinity(0)), os.sched_getscheduler(0) != os.SCHED_OTHER)

    def opened(layout: Layout) -> Lanes:
        return Lanes(content, place, sizes, layout, axes)

    without_cuda = _refusal(opened, clock) if cuda_listed() else ""
    if cuda_listed() and not without_cuda:
        layouts = (*layouts, _GPU)
    together: list[list[float]] = [[] for _ in layouts]
    done = 0
    while done < PASSES or (done < SHARED_PASSES and shared(together[0])):
        for layout, row in zip(layouts, together, strict=True):
            row += _seconds(opened(layout), clock)
        done += 1
    timings = tuple(
        Timing(layout, float(np.median(row)), float(np.quantile(row, 0.9)))
        for layout, row in zip(layouts, together, strict=True)
    )
    return LayoutChoice(choose(timings), timings, without_cuda)


def _refusal(opened: Callable[[Layout], Lanes], clock: Clock) -> str:
    """Why a GPU cannot be used, in one line; empty where it can."""
    try:
        _seconds(opened(_GPU), clock)
    except Exception as error:  # driver, memory, an operation that it lacks: none may keep an arm from planning
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def choose(timings: tuple[Timing, ...]) -> Layout:
    """The fastest by its 90th percentile, or the median (see `stolen`); a less simple one only for a clear gain."""
    by_median = stolen(timings)
    chosen, least = timings[0], np.inf
    for timing in timings:
        gain = _GAIN_SPINNING if timing.layout.threads.spinning else _GAIN
        taken = timing.median if by_median else timing.p90
        if taken < gain * least:
            chosen, least = timing, taken
    return chosen.layout


def shared(seconds: Sequence[float]) -> bool:
    """Whether others took the processors now and then, by the times of the simplest layout."""
    low, high = np.quantile(seconds, [0.1, 0.9])
    return bool(high > _SHARED * low)


def stolen(timings: tuple[Timing, ...]) -> bool:
    """Whether the processors were away while this was measured, so that medians are what tells the layouts apart."""
    return timings[0].p90 > _STOLEN * timings[0].median


def load_measured(
    path: Path, arm: Arm, manifest_sha256: str | None, opening: Opening, clock: Clock
) -> tuple[DeployedModel, Opener, LayoutChoice]:
    """A bundle in the layout that is fastest here, what opens those that follow it, and why; errors as `load_model`.

    It is checked and runs in one lane first: nothing of a bundle is measured that would be refused.
    """
    model = load_model(path, arm, manifest_sha256, opening)
    content, sizes = read_bundle(path, arm).content[opening.graph], model.rollout.sizes
    choice = choose_layout(content, str(path / opening.graph), sizes, clock)
    opener = Opener(replace(opening, layout=choice.layout), choice.on_processor)
    if choice.layout != Layout():
        model = opener(path, arm, manifest_sha256)
    return model, opener, choice


def candidates(sequences: int, processors: int, urgent: bool = False) -> tuple[Layout, ...]:
    """Simplest first: one lane; lanes of one thread; one session with as many threads, sleeping or spinning.

    A process with a real-time priority (``urgent``) has no pools: their threads keep the priority of whoever opened the
    session, of a model that was loaded aside the lowest.
    """
    counts = [count for count in range(2, processors + 1) if sequences % count == 0]
    lanes = tuple(Layout(count) for count in counts)
    if processors < 2 or urgent:
        return (Layout(), *lanes)
    pools = tuple(Layout(1, Threads(processors, spinning)) for spinning in (False, True))
    return (Layout(), *lanes, *pools)


def _seconds(lanes: Lanes, clock: Clock) -> list[float]:
    """Of `ROUNDS` calls, or as many as fit the time, after two to warm up.

    The caller opens one at a time: what spins would disturb the others.
    """
    # Zeros: the time does not depend on the values, and a state of zeros is one of every arm's.
    values = {name: np.zeros(shape) for name, shape in lanes.inputs.items()}
    marks = [clock.now_ns()]
    while len(marks) < 5 or (len(marks) < ROUNDS + 3 and marks[-1] - marks[0] < _LONGEST_NS):
        lanes.run(values)
        marks.append(clock.now_ns())
    return [(after - before) * 1e-9 for before, after in pairwise(marks[2:])]
