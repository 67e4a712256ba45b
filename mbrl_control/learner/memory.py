"""The service's memory in one file beside the bundles, and the lock by which one registry has one service."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mbrl_control.deployment.files import replace_file
from mbrl_control.learner.policy import Memory

FILE, LOCK = "learner.json", "learner.lock"


class LearnerError(ValueError):
    """A memory that cannot be read, or that another service holds."""


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    tried_ns: Annotated[int, Field(ge=0)]
    failures: Annotated[int, Field(ge=0)]
    made: Annotated[int, Field(ge=0)]


def load(folder: Path) -> Memory:
    """What was kept in ``folder``; an empty memory where nothing was."""
    path = folder / FILE
    if not path.exists():
        return Memory()
    try:
        stored = _Stored.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "json"
        raise LearnerError(f"{path}: {field}: {first['msg']}; delete it: what was tried is then forgotten") from error
    return Memory(stored.tried_ns, stored.failures, stored.made)


def save(folder: Path, memory: Memory) -> None:
    """Replace what is kept in ``folder`` in one step; OSError, which names the file, leaves it as it was."""
    stored = _Stored(tried_ns=memory.tried_ns, failures=memory.failures, made=memory.made)
    try:
        replace_file(folder / FILE, stored.model_dump_json(indent=1).encode())
    except OSError as error:  # of a write that a full disk refuses, which names no file
        raise OSError(error.errno, error.strerror, str(folder / FILE)) from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other service learns into ``folder``; one that does is an error. A killed one leaves no lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LearnerError(f"{folder / LOCK}: another learner works for this registry; end it first") from error
        yield
