"""One turn of the service: look at the logs, decide, let a child process retrain, remember what came of it.

The retraining is handed in, and so is whoever is told: nothing here starts a process, reads a clock or sleeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.learner.memory import load, save
from mbrl_control.learner.policy import Decision, Known, Memory, Policy, begun, decide, passed, since_ns
from mbrl_control.learner.watch import Watch
from mbrl_control.robot import Arm

Say = Callable[[str, str, dict[str, Any]], None]
"""Takes (event, sentence, facts)."""
REFUSED, BAD_INPUT = 1, 2
"""Exit statuses of `mbrl-control retrain`, see `cli.errors`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a retraining's process went."""

    status: int
    """Exit status; below zero: the signal that ended it."""
    output: str
    error: str


Retraining = Callable[[tuple[Path, ...]], Ended]
"""Learns from these logs, in a process of its own."""


class Service:
    """Watches for one arm and one registry; `turn` does what is due and returns."""

    def __init__(
        self, watch: Watch, registry: Registry, arm: Arm, policy: Policy, retraining: Retraining, say: Say
    ) -> None:
        self._watch, self._registry, self._arm, self._policy = watch, registry, arm, policy
        self._retraining, self._say = retraining, say
        self._memory = load(registry.folder)
        self._known: Known | None = None
        self._waiting = ""

    def turn(self) -> bool:
        """False: a retraining was due and made no model. Errors of the active bundle are the caller's to end by."""
        known = self._active()
        mark_ns = since_ns(known, self._memory)
        self._watch.look(mark_ns)
        seen = self._watch.seen(mark_ns, known.model_id)
        decision = decide(self._policy, known, self._memory, seen)
        if not decision.retrain:
            self._wait(known, decision)
            return True
        self._waiting = ""
        return self._retrain(decision, known, begun(known, self._memory, seen))

    def _active(self) -> Known:
        """Verified anew only where another version is active."""
        version = self._registry.active()
        if self._known is None or self._known.version != (version or 0):
            self._known = Known() if version is None else known_of(self._registry, version, self._arm)
        return self._known

    def _wait(self, known: Known, decision: Decision) -> None:
        """Said once for each kind of waiting: that a log grows is no news every few seconds."""
        kind = f"{known.model_id} {re.sub(r'[0-9.]+', '', decision.reason)}"
        if kind != self._waiting:
            self._waiting = kind
            self._say("waiting", f"waiting: {decision.reason}", {"active": known.model_id, "reason": decision.reason})

    def _retrain(self, decision: Decision, known: Known, attempt: Memory) -> bool:
        before, logs = self._memory, self._watch.logs()
        facts = {"cause": decision.cause.value, "reason": decision.reason, "logs": [str(log) for log in logs]}
        self._say("begun", f"retraining ({decision.cause}): {decision.reason}", facts | {"active": known.model_id})
        self._remember(attempt)
        try:
            ended = self._retraining(logs)
        except KeyboardInterrupt:
            self._remember(before)  # nobody's fault: the same motion is worth another try
            self._say("interrupted", "retraining interrupted; it is tried again", {})
            raise
        if ended.status == 0:
            result = json.loads(ended.output.strip().splitlines()[-1])
            self._remember(passed(attempt, int(result["model_id"].rpartition("/")[2])))
            self._say("passed", f"{result['model_id']} passed its gate and is active", {"result": result})
            return True
        self._failed(ended, logs)
        return False

    def _failed(self, ended: Ended, logs: tuple[Path, ...]) -> None:
        last = (ended.error.strip().splitlines() or ["it said nothing"])[-1]
        facts = {"status": ended.status, "reason": last, "failures": self._memory.failures}
        if ended.status == REFUSED:
            self._say("refused", f"no better model: {last}", facts)
            return
        self._say("failed", f"retraining ended with status {ended.status}: {last}", facts)
        # The newest log may get better; an older one stays as it is, and would fail every later attempt.
        named = [log for log in logs[1:] if str(log) in last]
        if ended.status == BAD_INPUT and named:
            self._watch.leave_out(named[0], last)

    def _remember(self, memory: Memory) -> None:
        self._memory = memory
        save(self._registry.folder, memory)


def known_of(registry: Registry, version: int, arm: Arm) -> Known:
    """What the policy has to know of a version; BundleError for one that does not count."""
    manifest = verify_bundle(registry.path(version), arm)
    training = manifest.training
    if training is None:
        return Known(version, manifest.model_id)
    # Bundles from before it was stated: what was logged before they were made counts as known.
    newest_ns = training.newest_ns or round(datetime.fromisoformat(manifest.created).timestamp() * 1e9)
    return Known(version, manifest.model_id, newest_ns, training.payload_kg)
