"""One turn of the service: look at the logs, decide, let a child process retrain, remember what came of it.

The retraining is handed in, and so is whoever is told: nothing here starts a process, reads a clock or sleeps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mbrl_control.deployment.check import verify_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.registry import Registry
from mbrl_control.learner.memory import load, save
from mbrl_control.learner.named import named_log
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
        self._stored = True
        """What is remembered is on the disk, too."""
        self._known: Known | None = None
        self._waiting = self._trouble = ""
        """Said last; empty where another thing was said since."""
        self._proposed = ""
        """Model id of the candidate, as far as is known here."""

    def attend(self) -> None:
        """`turn`, where what may pass by itself ends nothing: it is said once, and left to the next look.

        That is an active bundle that is not there or not whole, and what a disk or a share refuses.
        """
        try:
            self.turn()
        except (BundleError, OSError) as error:
            if _ending(error):
                raise
            self._tell_of_trouble(error)
        else:
            self._trouble = ""

    def turn(self) -> bool:
        """False: a retraining was due and made no model. BundleError for the active bundle, OSError for the disk."""
        if not self._stored:
            self._remember(self._memory)
        known = self._active()
        self._tell_of_candidate(known)
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
        # Before the active one: whoever promotes it activates it first, so that it is never taken for none of both.
        proposed = self._registry.candidate() if self._policy.shadow else None
        version = self._registry.active()
        if version is None and self._policy.shadow:
            raise BundleError(_nothing_to_compare_with(self._registry, self._arm))
        if self._known is None or self._known.version != (version or 0):
            self._known = Known() if version is None else known_of(self._registry, version, self._arm)
        if proposed is None or proposed.version == self._known.version:
            return self._known
        return replace(self._known, candidate=f"{self._registry.robot}/{proposed.version}")

    def _tell_of_candidate(self, known: Known) -> None:
        """What became of the one that live motion was to judge."""
        before = self._proposed
        if before and before == known.model_id:
            self._say("taken", f"the candidate {before} is active now", {"model_id": before})
        elif before and before != known.candidate:
            reason = self._registry.rejected().get(_version(before), "another one took its place, or it was withdrawn")
            facts = {"model_id": before, "reason": reason, "active": known.model_id}
            self._say("left", f"{before} is not the candidate any more: {reason}", facts)
        self._proposed = known.candidate  # last: what could not be told is told at the next look

    def _wait(self, known: Known, decision: Decision) -> None:
        """Said once for each kind of waiting: that a log grows is no news every few seconds."""
        kind = f"{known.model_id} {re.sub(r'[0-9.]+', '', decision.reason)}"
        if kind != self._waiting:
            self._waiting = kind
            self._say("waiting", f"waiting: {decision.reason}", {"active": known.model_id, "reason": decision.reason})

    def _retrain(self, decision: Decision, known: Known, attempt: Memory) -> bool:
        before, logs = self._memory, self._watch.logs()
        facts = {"cause": decision.cause.value, "reason": decision.reason, "logs": [str(log) for log in logs]}
        # First: what nothing remembers would be begun again and again.
        save(self._registry.folder, attempt)
        self._memory = attempt
        self._say("begun", f"retraining ({decision.cause}): {decision.reason}", facts | {"active": known.model_id})
        try:
            ended = self._retraining(logs)
        except KeyboardInterrupt:
            self._take_back(before)
            self._say("interrupted", "retraining interrupted; it is tried again", {})
            raise
        if ended.status == 0:
            self._passed(json.loads(ended.output.strip().splitlines()[-1]), attempt)
            return True
        self._failed(ended, logs)
        return False

    def _passed(self, result: dict[str, Any], attempt: Memory) -> None:
        model_id = str(result["model_id"])
        now = "is active" if result["active"] else "is the candidate: live motion decides whether it may run"
        role = "active" if result["active"] else "candidate"
        self._proposed = "" if result["active"] else model_id
        self._say("passed", f"{model_id} passed its gate and {now}", {"role": role, "result": result})
        self._remember(passed(attempt, _version(model_id)))

    def _failed(self, ended: Ended, logs: tuple[Path, ...]) -> None:
        last = (ended.error.strip().splitlines() or ["it said nothing"])[-1]
        facts = {"status": ended.status, "reason": last, "failures": self._memory.failures}
        if ended.status == REFUSED:
            self._say("refused", f"no better model: {last}", facts)
            return
        self._say("failed", f"retraining ended with status {ended.status}: {last}", facts)
        # The newest log may get better; an older one stays as it is, and would fail every later attempt.
        named = named_log(last, logs)
        if ended.status == BAD_INPUT and named is not None and named != logs[0]:
            self._watch.leave_out(named, last)

    def _take_back(self, before: Memory) -> None:
        """An attempt that was interrupted is nobody's fault: the same motion is worth another try."""
        try:
            self._remember(before)
        except OSError as error:  # which must not hide the interrupt
            self._tell_of_trouble(error)

    def _remember(self, memory: Memory) -> None:
        """In this process in any case; OSError where the disk does not take it: the next turn begins with it."""
        self._memory, self._stored = memory, False
        save(self._registry.folder, memory)
        self._stored = True

    def _tell_of_trouble(self, error: Exception) -> None:
        """Once, until it has passed; what is waited for is news again then."""
        reason = " ".join(str(error).split())
        self._waiting = ""
        if reason != self._trouble:
            self._trouble = reason
            self._say("trouble", f"tried again at the next look: {reason}", {"reason": reason})


def _ending(error: BaseException | None) -> bool:
    """Whether it came up while a signal was ending the retraining: it must not keep the service alive."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _ending(error.__context__))


def _nothing_to_compare_with(registry: Registry, arm: Arm) -> str:
    return (
        f"{registry.folder}: active.json: names no bundle that --shadow could compare with; make one: "
        f"mbrl-control models prior --robot {arm.name} --command {arm.interface} --registry {registry.models}"
    )


def _version(model_id: str) -> int:
    return int(model_id.rpartition("/")[2])


def known_of(registry: Registry, version: int, arm: Arm) -> Known:
    """What the policy has to know of a version; BundleError for one that does not count."""
    manifest = verify_bundle(registry.path(version), arm)
    training = manifest.training
    if training is None:
        return Known(version, manifest.model_id)
    # Bundles from before it was stated: what was logged before they were made counts as known.
    newest_ns = training.newest_ns or round(datetime.fromisoformat(manifest.created).timestamp() * 1e9)
    return Known(version, manifest.model_id, newest_ns, training.payload_kg)
