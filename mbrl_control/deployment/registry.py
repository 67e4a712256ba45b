"""`models/<robot>/<version>/` and `active.json`: versions only grow, activation may go back."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.deployment.check import MANIFEST
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.files import replace_file
from mbrl_control.deployment.plain import NotPlain, read_plain

_ACTIVE = "active.json"
_HIGHEST = "highest.json"
_LARGEST = 1 << 24
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
"""As `path` spells it; what is called otherwise was put there by nobody who takes versions."""
_Model = TypeVar("_Model", bound=BaseModel)


class _Active(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Annotated[int, Field(ge=1)]
    previous: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Versions active before, newest last."""


class _Highest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    version: Annotated[int, Field(ge=1)]


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

    def active(self) -> int | None:
        """The version in `active.json`; None when nothing was activated."""
        current = self._read(_ACTIVE, _Active)
        return current.version if current else None

    def activate(self, version: int, instead_of: int | None = None) -> None:
        """Make ``version`` the one to run; BundleError when there is none.

        ``instead_of``: refused unless that one is active still.
        """
        if version not in self.versions():
            raise BundleError(f"{self.path(version)}: version: no such bundle; choose one of {list(self.versions())}")
        with self._alone():
            current = self._read(_ACTIVE, _Active)
            self._require_active(current, instead_of)
            if current is None or current.version != version:
                previous = (*current.previous, current.version) if current else ()
                self._write(_ACTIVE, _Active(version=version, previous=previous))

    def before(self) -> int:
        """The version that `rollback` would return to."""
        current = self._read(_ACTIVE, _Active)
        if current is None or not current.previous:
            raise BundleError(f"{self.folder / _ACTIVE}: previous: nothing to go back to; activate a version by number")
        version = current.previous[-1]
        if version not in self.versions():
            raise BundleError(f"{self.path(version)}: version: was deleted; activate one of {list(self.versions())}")
        return version

    def rollback(self, instead_of: int | None = None) -> int:
        """Return to the version active before and give its number.

        ``instead_of``: refused unless that one is active still.
        """
        with self._alone():
            version, current = self.before(), self._read(_ACTIVE, _Active)
            assert current is not None, "before() has just read it"
            self._require_active(current, instead_of)
            self._write(_ACTIVE, _Active(version=version, previous=current.previous[:-1]))
        return version

    def _require_active(self, current: _Active | None, version: int | None) -> None:
        if version is not None and (current is None or current.version != version):
            now = "none" if current is None else current.version
            raise ActiveChanged(
                f"{self.folder / _ACTIVE}: version: is {now} by now, no more {version}; nothing was changed"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process changes what is said of the versions: a retraining, an operator, a rollback."""
        try:
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise BundleError(
                f"{self.folder}: cannot be changed ({error.strerror}); activate a version first"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _read(self, name: str, kind: type[_Model]) -> _Model | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            # An installation may consist of links; what they lead to is a plain file, or nothing to read.
            return kind.model_validate_json(read_plain(path.resolve(), _LARGEST)[0])
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
