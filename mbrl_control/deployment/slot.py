"""Hot swap: a new model loads and warms up in a thread while the old one serves; the switch is one assignment.

The thread takes the lowest real-time priority: at the control thread's own it would keep the processor for the 50 ms
that opening the graphs takes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, load_model
from mbrl_control.robot import Arm
from mbrl_control.scheduling import stand_back


@dataclass(frozen=True, slots=True)
class SwapResult:
    """What `ModelSlot.swap` did."""

    model_id: str
    """Now serving."""
    refused: str
    """Why the requested bundle was refused; empty when it serves."""


class ModelSlot:
    """Holds the serving model, the previous one and at most one that is loading.

    ``request`` comes from any thread, all else from the control thread between two cycles.
    """

    def __init__(
        self,
        first: DeployedModel,
        arm: Arm,
        load: Callable[[Path, Arm, str | None], DeployedModel] = load_model,
    ) -> None:
        self._current = first
        self._previous: DeployedModel | None = None
        self._arm, self._load = arm, load
        self._lock = threading.RLock()
        self._ready: DeployedModel | BundleError | None = None
        self._loading: tuple[Path, str | None] | None = None
        self._ticket = 0

    @property
    def current(self) -> DeployedModel:
        """The serving model."""
        return self._current

    @property
    def previous(self) -> DeployedModel | None:
        """The one that served before, still loaded."""
        return self._previous

    def request(self, path: Path, manifest_sha256: str | None = None) -> threading.Thread:
        """Start loading what was announced; a later request supersedes earlier ones, in whatever order they finish."""
        with self._lock:
            self._ticket += 1
            ticket, self._loading = self._ticket, (path, manifest_sha256)
        thread = threading.Thread(
            target=self._fill, args=(path, manifest_sha256, ticket), name="model-load", daemon=True
        )
        thread.start()
        return thread

    def again(self) -> threading.Thread:
        """Load once more what would serve next: what is loading, else what has loaded, else what serves."""
        with self._lock:
            ready = self._ready
            model = self._current if ready is None or isinstance(ready, BundleError) else ready
            return self.request(*(self._loading or (model.path, model.manifest_sha256)))

    def swap(self) -> SwapResult | None:
        """Take over what has finished loading; None when there is nothing. Never blocks on a load."""
        if self._ready is None:
            return None
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is None:
            return None
        if isinstance(ready, BundleError):
            return SwapResult(self._current.model_id, str(ready))
        self._previous, self._current = self._current, ready
        return SwapResult(ready.model_id, "")

    def rollback(self) -> SwapResult:
        """Serve the previous model again, at once."""
        if self._previous is None:
            return SwapResult(self._current.model_id, "no previous model is loaded")
        self._previous, self._current = self._current, self._previous
        return SwapResult(self._current.model_id, "")

    def _fill(self, path: Path, manifest_sha256: str | None, ticket: int) -> None:
        try:
            stand_back()
            loaded: DeployedModel | BundleError = self._load(path, self._arm, manifest_sha256)
        except Exception as error:  # a thread has no caller: every failure must reach swap()
            loaded = (
                error if isinstance(error, BundleError) else BundleError(f"{path}: {type(error).__name__}: {error}")
            )
        with self._lock:
            if ticket == self._ticket:
                self._ready, self._loading = loaded, None
