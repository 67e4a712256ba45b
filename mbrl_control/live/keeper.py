"""Follows what the registry says, judges what runs on live motion, and changes the registry as the verdicts say.

Main flow: ``ModelKeeper.poll``. What has to be known elsewhere is announced at once: a bundle that is left is called
rejected before anything is read from disk, so that the guard holds the arm first. What the registry says is rejected
is never announced as active, whoever left it half-way, this process before it was killed, too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from mbrl_control.deployment.check import MANIFEST, read_bundle
from mbrl_control.deployment.errors import ActiveChanged, BundleError, KeysError
from mbrl_control.deployment.evaluator import OnnxStepModel, load_model
from mbrl_control.deployment.keys import Keys
from mbrl_control.deployment.lifecycle import promote, roll_back
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.registry import Candidate, Registry
from mbrl_control.deployment.signing import SIGNATURE
from mbrl_control.live.score import Scorer
from mbrl_control.live.tape import Tape
from mbrl_control.live.watch import Decision, LiveWatch, Scored, Verdict
from mbrl_control.robot import Arm

Changes = tuple[tuple[str, int], ...]
"""Path -> time of its last change, ns."""


class Status(Enum):
    """As on the wire."""

    CANDIDATE = 0
    ACTIVE = 1
    REJECTED = 2


@dataclass(frozen=True, slots=True)
class Announcement:
    """What became of a bundle."""

    status: Status
    model_id: str
    path: Path
    reason: str
    """Why it was rejected, or became active otherwise than by an operator; else empty."""
    manifest: Manifest | None = None
    """None where rejected."""
    manifest_sha256: str = ""


@dataclass(frozen=True, slots=True)
class _Said:
    """By the registry, of what is active."""

    version: int | None
    fault: str = ""
    """Why the registry cannot be read."""
    rejected: str | None = None
    """Why this very version is to be left."""


class ModelKeeper:
    """One thread calls it, some times a second."""

    def __init__(
        self, registry: Registry, arm: Arm, announce: Callable[[Announcement], None], generator: np.random.Generator
    ) -> None:
        self._registry, self._arm, self._announce, self._generator = registry, arm, announce, generator
        self._seen: _Said | None = None
        """Last."""
        self._refused: tuple[Path, Changes] | None = None
        """An active bundle that could not be used, and as of when."""
        self._compared: tuple[Candidate | None, str, LiveWatch] | None = None
        """What candidate.json said last, and beside what."""
        self._watch: LiveWatch | None = None
        self._previous_said = ""
        self._because = ""
        """Why the next activation happens."""
        self._stuck = ""
        self._unkept: tuple[int, str] | None = None
        """The active version, and why it is rejected, where the disk did not take that."""

    def poll(self, tape: Tape) -> list[Scored]:
        """Follow the registry, then judge; the windows that were scored."""
        with suppress(BundleError):  # said in `trouble` already
            self._keep()
        self._follow_active()
        self._follow_candidate()
        if self._watch is None or self._stuck:
            return []
        windows, verdict = self._watch.advance(tape)
        if verdict is not None:
            self._act(verdict)
            self._follow_active()
        return windows

    def trouble(self) -> str:
        """What somebody has to do something about; from any thread."""
        watch, stuck = self._watch, self._stuck
        if stuck or watch is None or not (quantities := watch.exceeded):
            return stuck
        return (
            f"the arm moves otherwise than {watch.active.model_id} promised ({', '.join(quantities)}): another load or "
            "friction, or motion unlike its logs; going back would not help, retrain"
        )

    def facts(self) -> dict[str, str]:
        """For the diagnostics, from any thread."""
        watch, compared = self._watch, self._compared
        if watch is None:
            return {}
        held = "its promise" if watch.active.promise else "nothing but finite numbers: it made no promise"
        facts = {"held_to": held, "previous": self._previous_said}
        candidate, asked = watch.candidate, None if compared is None else compared[0]
        if candidate is not None and asked is not None:
            facts["candidate"] = f"{candidate.model_id}, {watch.compared} windows, decided from {asked.windows} on"
        return facts

    def _follow_active(self) -> None:
        """Announce on every change of what is said of the active version, once; a refused one anew when its remedy was
        tried. One that is rejected is left: who began that did not come to its end."""
        said = self._look()
        if said == self._seen and not self._remedied():
            return
        self._seen, self._refused = said, None
        if said.fault:
            self._announce(Announcement(Status.REJECTED, "", self._registry.folder, said.fault))
        elif said.version is not None and said.rejected is not None:
            self._leave(said.version, said.rejected)
        elif said.version is not None:
            self._begin(said.version)

    def _look(self) -> _Said:
        try:
            version = self._registry.active()
            rejected = self._registry.rejected()  # after it: an activation takes the mark away first
        except BundleError as error:
            return _Said(None, str(error))
        if self._unkept is not None and self._unkept[0] != version:
            self._unkept = None  # somebody decided otherwise
        if self._unkept is not None:
            rejected.setdefault(*self._unkept)
        return _Said(version, rejected=None if version is None else rejected.get(version))

    def _keep(self) -> None:
        """Let a restart know, too; BundleError where the disk does not take it."""
        if self._unkept is not None:
            self._registry.reject(*self._unkept)
            self._unkept = None

    def _remedied(self) -> bool:
        """Whether a refused bundle was signed or mended since, or a key trusted."""
        return self._refused is not None and last_changes(self._refused[0]) != self._refused[1]

    def _begin(self, version: int) -> None:
        because, self._because = self._because, ""
        path = self._registry.path(version)
        changes = last_changes(path)
        try:
            model = load_model(path, self._arm)
            scorer = Scorer(model.manifest, model.step_model, self._arm)
        except ValueError as error:  # BundleError is one; a signed manifest may still hold nonsense
            self._refused = (path, changes)
            self._announce(Announcement(Status.REJECTED, self._id(version), path, str(error)))
            return
        self._announce(
            Announcement(Status.ACTIVE, model.model_id, path, because, model.manifest, model.manifest_sha256)
        )
        self._watch = LiveWatch(scorer, self._previous(scorer), self._generator)
        self._stuck = ""

    def _previous(self, beside: Scorer) -> Scorer | None:
        """The bundle that a rollback would return to, where there is one."""
        try:
            version = self._registry.before()
            if self._watch is not None and self._watch.active.manifest.version == version:
                scorer = comparable(self._watch.active, beside)
            else:
                scorer = load_scorer(self._registry.path(version), self._arm, beside)
        except BundleError as error:
            self._previous_said = str(error)
            return None
        self._previous_said = scorer.model_id
        return scorer

    def _follow_candidate(self) -> None:
        """Compare what `candidate.json` names with the active bundle, anew whenever one of both changes."""
        if self._watch is None:
            return
        try:
            found, fault = self._registry.candidate(), ""
        except BundleError as error:
            found, fault = None, str(error)
        if (found, fault, self._watch) == self._compared:
            return
        self._compared = (found, fault, self._watch)
        self._watch.shadow(None)
        if fault:
            self._announce(Announcement(Status.REJECTED, "", self._registry.folder, fault))
        if found is None or found.version == self._watch.active.manifest.version:
            return  # the latter is what an activation leaves that was killed before its end
        path = self._registry.path(found.version)
        try:
            if (why := self._registry.rejected().get(found.version)) is not None:
                raise BundleError(why)  # a refusal that did not come to its end
            scorer = load_scorer(path, self._arm, self._watch.active)
        except BundleError as error:
            self._refuse(found.version, str(error))
            return
        self._watch.shadow(scorer, found.windows)
        self._announce(Announcement(Status.CANDIDATE, scorer.model_id, path, "", scorer.manifest))

    def _act(self, verdict: Verdict) -> None:
        assert self._watch is not None, "a verdict comes from it"
        if verdict.decision is Decision.LEAVE:
            self._leave(self._watch.active.manifest.version, verdict.reason)
            return
        candidate = self._watch.candidate
        assert candidate is not None, "only a candidate has such a verdict"
        version = candidate.manifest.version
        self._watch.shadow(None)
        if verdict.decision is Decision.PROMOTE:
            self._promote(version, verdict.reason)
        else:
            self._refuse(version, verdict.reason)

    def _leave(self, version: int, because: str) -> None:
        """First the guard holds, then the registry says so, then it goes back."""
        model_id = self._id(version)
        self._announce(Announcement(Status.REJECTED, model_id, self._registry.path(version), because))
        self._seen, self._unkept = _Said(version, rejected=because), (version, because)
        self._stuck = f"{model_id} is rejected ({because})"
        try:
            self._keep()
            roll_back(self._registry, self._arm, instead_of=version)
            self._because = f"rolled back from {model_id}: {because}"
        except BundleError as error:
            self._stuck += f", and nothing takes its place ({error}); promote another version"

    def _promote(self, version: int, reason: str) -> None:
        assert self._watch is not None, "a candidate is compared with what runs"
        beside = self._watch.active.manifest.version
        try:
            promote(self._registry, version, self._arm, instead_of=beside)
            self._because = f"better in the shadow of {self._id(beside)}: {reason}"
        except ActiveChanged:
            self._compared = None  # the next poll compares it with what runs by then
        except BundleError as error:
            self._refuse(version, f"{error}; it had passed: {reason}")

    def _refuse(self, version: int, reason: str) -> None:
        try:
            self._registry.refuse(version, reason)
        except ActiveChanged:
            return  # it runs by now: what counts is how it does
        except BundleError as error:
            reason += f"; that could not be kept: {error}"
        self._announce(Announcement(Status.REJECTED, self._id(version), self._registry.path(version), reason))

    def _id(self, version: int) -> str:
        return f"{self._registry.robot}/{version}"


def last_changes(bundle: Path) -> Changes:
    """When what decides whether a bundle may be used was last changed: its files, and whom this user trusts."""
    keys: tuple[Path, ...] = ()
    with suppress(KeysError):  # no place for keys: the bundle will be refused for it
        keys = Keys().folders()
    found = []
    for path in (bundle, bundle / MANIFEST, bundle / SIGNATURE, *keys):
        with suppress(OSError):  # what is not there has not changed
            found.append((str(path), path.lstat().st_mtime_ns))
    return tuple(found)


def load_scorer(path: Path, arm: Arm, beside: Scorer) -> Scorer:
    """The one-step graph of a bundle, verified and compared with its golden case; BundleError for whatever is wrong."""
    bundle = read_bundle(path, arm)
    try:
        return comparable(Scorer(bundle.manifest, OnnxStepModel(bundle), arm), beside)
    except BundleError:
        raise
    except Exception as error:  # untrusted bytes: whatever they break must not break the caller
        raise BundleError(f"{path}: {type(error).__name__}: {error}; export the bundle again") from error


def comparable(scorer: Scorer, beside: Scorer) -> Scorer:
    """The same; BundleError where both do not look equally far ahead."""
    if scorer.grid.dt_ns != beside.grid.dt_ns:
        raise BundleError(
            f"{scorer.model_id}: dt_s: {scorer.manifest.dt_s} s cannot be compared with {beside.manifest.dt_s} s of "
            f"{beside.model_id}; promote it by hand if it is meant"
        )
    return scorer
