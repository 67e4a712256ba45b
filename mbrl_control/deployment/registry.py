"""`models/<robot>/<version>/` and what is said of the versions: versions only grow, activation may go back.

active.json      the one to run, and those that ran before
candidate.json   one that is compared on live motion before it may run
rejected.json    those that live motion spoke against, with the reason; to activate or propose one takes its mark away
highest.json     the newest version ever taken

Several processes write: retraining, operators, the model node. Each file is replaced whole, and what is read before it
is written is read and written under a lock of the folder, which ends with its process.

A process may be killed, or the disk be full, between two files. So a mark in rejected.json is written before what
follows from it, and taken away before what speaks against it: a mark that is there counts, whatever the other files
say, if they were read first. A marked version that is active is to be left, a marked candidate to be refused: whoever
began that did not come to its end (`live.keeper` does).
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.deployment.check import MANIFEST
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.files import remove_file, replace_file
from mbrl_control.deployment.plain import NotPlain, read_plain

LEAST_WINDOWS = 12
"""Of motion, on which a candidate is compared before the first decision: three blocks of `live.evidence`."""
_ACTIVE, _CANDIDATE, _REJECTED, _HIGHEST = "active.json", "candidate.json", "rejected.json", "highest.json"
_PATIENCE_S, _PAUSE_S = 5.0, 0.01
"""For another process, which holds the lock for milliseconds."""
_LARGEST = 1 << 24
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""As `path` spells it; what is called otherwise was put there by nobody who takes versions."""
_Model = TypeVar("_Model", bound=BaseModel)
_Version = Annotated[int, Field(ge=1)]


class Whatever(Enum):
    """In the place of a version, or of None for no version: nothing is asked."""

    IS_ACTIVE = auto()


ANY: Final = Whatever.IS_ACTIVE


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Active(_File):
    version: _Version
    previous: tuple[_Version, ...] = ()
    """Versions active before, newest last."""


class Candidate(_File):
    """A version in the shadow of the active one."""

    version: _Version
    windows: Annotated[int, Field(ge=LEAST_WINDOWS, le=100_000)]
    """Of motion until the first decision, see `live.evidence`."""


class _Rejected(_File):
    reasons: dict[_Version, str] = {}


class _Highest(_File):
    version: _Version


class Registry:
    """The bundles of one robot below one ``models`` folder. Processes that write take turns; readers never wait."""

    def __init__(self, models: Path, robot: str) -> None:
        self.models = models
        self.folder = models / robot
        self.robot = robot

    def check_models(self) -> None:
        """BundleError where the ``models`` folder is not there: to a reader it would look like an empty registry."""
        if not self.models.is_dir():
            raise BundleError(
                f"{self.models}: no such folder; check --registry (models:=), or make one: "
                f"mbrl-control models prior --robot ARM --registry {self.models}"
            )

    def path(self, version: int) -> Path:
        """Folder of a version, existing or not."""
        return self.folder / str(version)

    def versions(self) -> tuple[int, ...]:
        """Complete bundles, ascending."""
        if not self.folder.is_dir():
            return ()
        named = [entry for entry in self.folder.iterdir() if _VERSION.fullmatch(entry.name)]
        return tuple(sorted(int(entry.name) for entry in named if (entry / MANIFEST).is_file()))

    def next_version(self) -> int:
        """One more than any version ever taken, also when the newest was deleted."""
        highest = self._read(_HIGHEST, _Highest)
        return max(self.versions()[-1:] + ((highest.version,) if highest else ()), default=0) + 1

    def take_version(self) -> int:
        """`next_version`, marked as taken: nobody else gets it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            version = self.next_version()
            self._write(_HIGHEST, _Highest(version=version))
        return version

    def require_free(self, version: int) -> None:
        """BundleError where the number that a bundle from elsewhere brings is not above all that were ever taken."""
        if version < self.next_version():
            raise BundleError(
                f"{self.folder}: version: {version} or a later one was taken here before, and numbers only grow; "
                f"learn again on a copy of this registry as it is now, which gives {self.next_version()}"
            )

    def note_taken(self, version: int) -> None:
        """Of a bundle that came from elsewhere: its number is not given again, also when it is deleted."""
        self._write(_HIGHEST, _Highest(version=max(version, self.next_version() - 1)))

    def active(self) -> int | None:
        """The version in `active.json`; None when nothing was activated."""
        current = self._read(_ACTIVE, _Active)
        return current.version if current else None

    def candidate(self) -> Candidate | None:
        """The version in the active one's shadow; None when there is none."""
        return self._read(_CANDIDATE, Candidate)

    def rejected(self) -> dict[int, str]:
        """Versions that live motion spoke against, with the reason."""
        found = self._read(_REJECTED, _Rejected)
        return dict(found.reasons) if found else {}

    def activate(self, version: int, instead_of: int | Whatever | None = ANY) -> None:
        """Make ``version`` the one to run, candidate or rejected no more; BundleError when there is none.

        ``instead_of``: refused unless that one is active still; None: unless nothing is.
        """
        self._require(version)
        with self._alone():
            current = self._read(_ACTIVE, _Active)
            self._require_active(current, instead_of)
            self._unmark(version)
            if current is None or current.version != version:
                previous = (*current.previous, current.version) if current else ()
                self._write(_ACTIVE, _Active(version=version, previous=previous))
            self._withdraw(version)

    def before(self) -> int:
        """The version that `rollback` would return to: the newest other one that ran before and is not rejected."""
        current = self._read(_ACTIVE, _Active)
        out = {*self.rejected(), *((current.version,) if current else ())}
        found = [version for version in (current.previous if current else ()) if version not in out]
        if not found:
            raise BundleError(f"{self.folder / _ACTIVE}: previous: nothing to go back to; activate a version by number")
        version = found[-1]
        if version not in self.versions():
            raise BundleError(f"{self.path(version)}: version: was deleted; activate one of {list(self.versions())}")
        return version

    def reject(self, version: int, because: str) -> None:
        """What is active is to be left for that reason, and does not come back by itself: the first half of leaving it.

        ActiveChanged where another one is active by now.
        """
        with self._alone():
            self._require_active(self._read(_ACTIVE, _Active), version)
            self._mark(version, because)

    def rollback(self, instead_of: int | Whatever | None = ANY) -> int:
        """Return to the version active before and give its number; ``instead_of``: as in `activate`."""
        with self._alone():
            current = self._read(_ACTIVE, _Active)
            self._require_active(current, instead_of)
            version = self.before()
            assert current is not None, "before() has just read it"
            earlier = current.previous[: len(current.previous) - 1 - current.previous[::-1].index(version)]
            self._write(_ACTIVE, _Active(version=version, previous=earlier))
        return version

    def propose(self, version: int, windows: int) -> None:
        """Let ``version`` be compared on live motion, instead of any other candidate, rejected before or not."""
        self._require(version)
        with self._alone():
            current = self._read(_ACTIVE, _Active)
            if current is None or current.version == version:
                other = "nothing" if current is None else "itself"
                raise BundleError(
                    f"{self.folder / _CANDIDATE}: version: {version} would be compared with {other}; "
                    f"promote another version first: mbrl-control models promote"
                )
            self._unmark(version)
            self._write(_CANDIDATE, Candidate(version=version, windows=windows))

    def refuse(self, version: int, because: str) -> None:
        """The candidate is none any more, and rejected for that reason; ActiveChanged where it was activated by now."""
        with self._alone():
            if self.active() == version:
                raise ActiveChanged(f"{self.folder / _ACTIVE}: version: is {version} by now; nothing was changed")
            self._mark(version, because)
            self._withdraw(version)

    def _require(self, version: int) -> None:
        if version not in self.versions():
            raise BundleError(f"{self.path(version)}: version: no such bundle; choose one of {list(self.versions())}")

    def _require_active(self, current: _Active | None, version: int | Whatever | None) -> None:
        active = None if current is None else current.version
        if version is not ANY and active != version:
            now = "none" if active is None else active
            before = "where there was none" if version is None else f"no more {version}"
            raise ActiveChanged(f"{self.folder / _ACTIVE}: version: is {now} by now, {before}; nothing was changed")

    def _mark(self, version: int, because: str) -> None:
        rejected = self.rejected()
        if rejected.get(version) != because:
            self._write(_REJECTED, _Rejected(reasons=rejected | {version: because}))

    def _unmark(self, version: int) -> None:
        if version in (rejected := self.rejected()):
            self._write(_REJECTED, _Rejected(reasons={each: why for each, why in rejected.items() if each != version}))

    def _withdraw(self, version: int) -> None:
        """It is no candidate any more; another one stays."""
        candidate = self.candidate()
        if candidate is not None and candidate.version == version:
            remove_file(self.folder / _CANDIDATE)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process changes what is said of the versions; BundleError where one does not end that."""
        deadline = time.monotonic() + _PATIENCE_S
        try:
            with _opened(self.folder) as handle:
                while not _locked(handle):
                    if time.monotonic() > deadline:
                        raise BundleError(f"{self.folder}: another process is changing it and does not end; find it")
                    time.sleep(_PAUSE_S)
                yield
        except OSError as error:
            raise BundleError(f"{self.folder}: cannot be changed ({error.strerror}); let this user write it") from error

    def _read(self, name: str, kind: type[_Model]) -> _Model | None:
        path = self.folder / name
        try:
            # An installation may consist of links; what they lead to is a plain file, or nothing to read.
            return kind.model_validate_json(read_plain(path.resolve(), _LARGEST)[0])
        except FileNotFoundError:
            return None
        except NotPlain as error:
            raise BundleError(f"{path}: {error}; delete it and activate a version again") from error
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; delete it and activate a version again") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "json"
            raise BundleError(f"{path}: {field}: {first['msg']}; delete it and activate a version again") from error

    def _write(self, name: str, value: BaseModel) -> None:
        replace_file(self.folder / name, value.model_dump_json(indent=1).encode())


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)
