"""A registry's writer that does not come to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mbrl_control.deployment import registry as module


class Killed(BaseException):
    """As by SIGKILL: nobody catches it."""


@contextmanager
def stopped(monkeypatch: pytest.MonkeyPatch, made: int, how: BaseException) -> Iterator[None]:
    """After ``made`` files were replaced or removed, none is any more: ``how`` is raised instead."""
    done = [0]

    def until_then(real: Callable[..., None]) -> Callable[..., None]:
        def change(*arguments: Any) -> None:
            if done[0] == made:
                raise how
            done[0] += 1
            real(*arguments)

        return change

    with monkeypatch.context() as patch:
        for name in ("replace_file", "remove_file"):
            patch.setattr(module, name, until_then(getattr(module, name)))
        yield
