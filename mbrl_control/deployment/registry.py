"""`models/<robot>/<version>/` and `active.json`: versions only grow, activation may go back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.deployment.check import MANIFEST
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.files import replace_file

_ACTIVE = "active.json"
_HIGHEST = "highest.json"
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
    """The bundles of one robot below one ``models`` folder; one writer at a time."""

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
        names = [entry.name for entry in self.folder.iterdir() if (entry / MANIFEST).is_file()]
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def next_version(self) -> int:
        """One more than any version ever taken, also when the newest was deleted."""
        highest = self._read(_HIGHEST, _Highest)
        return max(self.versions()[-1:] + ((highest.version,) if highest else ()), default=0) + 1

    def take_version(self) -> int:
        """`next_version`, marked as taken."""
        version = self.next_version()
        self.folder.mkdir(parents=True, exist_ok=True)
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

    def activate(self, version: int) -> None:
        """Make ``version`` the one to run; BundleError when there is none."""
        if version not in self.versions():
            raise BundleError(f"{self.path(version)}: version: no such bundle; choose one of {list(self.versions())}")
        current = self._read(_ACTIVE, _Active)
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

    def rollback(self) -> int:
        """Return to the version active before and give its number."""
        version, current = self.before(), self._read(_ACTIVE, _Active)
        assert current is not None, "before() has just read it"
        self._write(_ACTIVE, _Active(version=version, previous=current.previous[:-1]))
        return version

    def _read(self, name: str, kind: type[_Model]) -> _Model | None:
        path = self.folder / name
        if not path.exists():
            return None
        try:
            return kind.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror}; delete it and activate a version again") from error
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "json"
            raise BundleError(f"{path}: {field}: {first['msg']}; delete it and activate a version again") from error

    def _write(self, name: str, value: BaseModel) -> None:
        replace_file(self.folder / name, value.model_dump_json(indent=1).encode())
