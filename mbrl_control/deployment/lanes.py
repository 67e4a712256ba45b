"""A population scored in lanes: sessions of their own for equal shares of the sequences, each on a thread of its own.

One session with several threads meets after every operation; lanes meet once per population. Inputs and outputs are
allocated and bound once. Each lane keeps to a processor: a woken thread is otherwise often queued behind its waker.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.graph_names import ACTIONS, BATCH, ROLLOUT_BATCH_AXES
from mbrl_control.deployment.quiet_runtime import failure_named
from mbrl_control.deployment.session import Bound, Float32, Session, Threads
from mbrl_control.scheduling import as_urgent_as_the_process, kept_on, lane_processors
from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Layout:
    """How a population is spread."""

    lanes: int = 1
    threads: Threads = field(default_factory=Threads)
    """Of each lane's session."""
    cuda: bool = False
    """On a GPU instead, as one lane."""

    def __str__(self) -> str:
        if self.cuda:
            return "CUDA graph"
        each = "1 thread" if self.threads.count == 1 else f"{self.threads.count} threads"
        waiting = ", spinning" if self.threads.spinning else ""
        return f"cpu, {self.lanes} {'lane' if self.lanes == 1 else 'lanes'} of {each}{waiting}"


class Lanes:
    """A rollout graph for a fixed number of sequences."""

    def __init__(
        self,
        content: bytes,
        place: str,
        sizes: Mapping[str, int],
        layout: Layout,
        axes: Mapping[str, int] = ROLLOUT_BATCH_AXES,
    ) -> None:
        """``sizes``: of the graph's open axes, the sequences among them. ``axes``: which axis of each output counts
        those; they are the first axis of `ACTIONS`.

        ValueError when the sequences do not divide into the lanes; BundleError for a graph that does not open.
        """
        sequences = sizes[BATCH]
        if sequences % layout.lanes:
            raise ValueError(f"{sequences} sequences do not divide into {layout.lanes} lanes")
        self.sequences, self.layout, self._axes = sequences, layout, axes
        share = sequences // layout.lanes
        each = {**sizes, BATCH: share}
        sessions = [Session(content, place, each, layout.threads, layout.cuda) for _ in range(layout.lanes)]
        self.inputs = {name: _whole(name, shape, sequences) for name, shape in sessions[0].inputs.items()}
        self.outputs = sessions[0].outputs
        if {*self.outputs} != {*axes}:
            raise BundleError(f"{place}: outputs: {list(self.outputs)}, expected {list(axes)}; export again")
        self._shared = {name: np.zeros(shape, np.float32) for name, shape in self.inputs.items()}
        self._slices = [slice(lane * share, (lane + 1) * share) for lane in range(layout.lanes)]
        self._lanes = [self._bound(session, where) for session, where in zip(sessions, self._slices, strict=True)]
        self._result = {name: self._gathered(name) for name in self.outputs}
        self._processors = [frozenset({processor}) for processor in lane_processors(layout.lanes)]
        workers = layout.lanes - 1
        # They start in whichever thread scores first: of a model that is loaded aside, one that stands back.
        self._pool = ThreadPoolExecutor(workers, "rollout-lane", as_urgent_as_the_process) if workers else None

    def run(self, values: Mapping[str, NDArray[np.floating]]) -> dict[str, Array]:
        """Named inputs -> named outputs, which the next call overwrites; ValueError on another shape, ModelFailed where
        the runtime could not, or a lane's processor has been taken from the process."""
        for name, shape in self.inputs.items():
            if values[name].shape != shape:
                raise ValueError(f"{name}: shape {values[name].shape}, the model takes {shape}")
            np.copyto(self._shared[name], values[name], casting="same_kind")
        if self._pool is None:
            self._lanes[0][0].run()
        else:
            others = [self._pool.submit(self._run_lane, lane) for lane in range(1, len(self._lanes))]
            try:
                self._run_lane(0)
            finally:
                # None may still read the inputs when the next call overwrites them.
                wait(others)
            for other in others:
                other.result()
        for name, gathered in self._result.items():
            axis = self._axes[name]
            for (_, out), where in zip(self._lanes, self._slices, strict=True):
                gathered[(slice(None),) * axis + (where,)] = out[name]
        return self._result

    def _run_lane(self, lane: int) -> None:
        processors = self._processors[lane]
        # A container's processors may be narrowed while it runs; the lanes are laid out anew at the next start.
        place = f"processor {min(processors)} of lane {lane} (if this process may not use it any more, start it again)"
        with failure_named(place), kept_on(processors):
            self._lanes[lane][0].run()

    def _bound(self, session: Session, where: slice) -> tuple[Bound, dict[str, Float32]]:
        inputs = {name: array[where] if name == ACTIONS else array for name, array in self._shared.items()}
        outputs = {name: np.zeros(shape, np.float32) for name, shape in session.output_shapes.items()}
        return session.bind(inputs, outputs), outputs

    def _gathered(self, name: str) -> Array:
        """float64, as the planners compute."""
        shape = list(self._lanes[0][1][name].shape)
        shape[self._axes[name]] = self.sequences
        return np.zeros(shape)


def _whole(name: str, shape: tuple[int, ...], sequences: int) -> tuple[int, ...]:
    return (sequences, *shape[1:]) if name == ACTIONS else shape
