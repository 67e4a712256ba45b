"""One bundle after the other, opened as was fastest for the first; on the processor where its GPU cannot be used.

A GPU that could be used at start-up may be full, or lost, when the next model comes. That keeps no arm from planning.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, Opening, load_model
from mbrl_control.deployment.lanes import Layout
from mbrl_control.robot import Arm

LOST_AFTER = 5
"""Cycles in a row that could not be computed: one may have met a busy driver, a lost device fails all of them."""


class Opener:
    """Of one planner's process; to be called like `load_model`, from any thread."""

    def __init__(self, opening: Opening, on_processor: Layout) -> None:
        """``on_processor``: the layout in place of a GPU's."""
        self._opening, self._on_processor = opening, replace(opening, layout=on_processor)
        self._lost = ""

    def __call__(self, path: Path, arm: Arm, manifest_sha256: str | None = None) -> DeployedModel:
        """See `load_model`; `DeployedModel.without_cuda` says why a GPU that was to be used is not."""
        if not self._opening.layout.cuda:
            return load_model(path, arm, manifest_sha256, self._opening)
        reason = self._lost
        if not reason:
            try:
                return load_model(path, arm, manifest_sha256, self._opening)
            except BundleError as error:
                # Whether it was the GPU's fault or the bundle's, the processor tells.
                reason = str(error)
        model = load_model(path, arm, manifest_sha256, self._on_processor)
        model.without_cuda = reason
        return model

    def gives_up(self, failures: int, reason: str) -> bool:
        """After ``failures`` cycles in a row on the GPU, the last for that reason: whether it is left now, for good."""
        if self._lost or not self._opening.layout.cuda or failures < LOST_AFTER:
            return False
        self._lost = f"{failures} cycles in a row failed, the last: {reason}"
        return True
