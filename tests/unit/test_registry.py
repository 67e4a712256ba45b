"""What is said of the versions of a registry, and that several writers do not undo each other's words."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mbrl_control.deployment import registry as module
from mbrl_control.deployment.check import MANIFEST
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.registry import Registry
from tests.unit.stopped_writes import Killed, stopped


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Five versions without content, the first of them active."""
    registry = Registry(tmp_path, "planar")
    for version in range(1, 6):
        registry.path(version).mkdir(parents=True)
        (registry.path(version) / MANIFEST).write_text("{}")
    registry.activate(1)
    return registry


def files(registry: Registry) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in registry.folder.iterdir() if path.is_file()}


def test_a_rejected_version_is_not_gone_back_to_until_it_is_activated_by_hand(registry: Registry) -> None:
    for version in (2, 3, 4):
        registry.activate(version)
    registry.reject(4, "off by 0.2 rad")
    assert registry.active() == 4, "until it is known what takes its place"
    assert registry.rollback(instead_of=4) == 3
    assert registry.rejected() == {4: "off by 0.2 rad"}
    registry.activate(5)
    registry.refuse(3, "worse than before")
    assert registry.before() == 2
    assert registry.rollback() == 2
    assert registry.before() == 1
    registry.activate(4)
    assert registry.rejected() == {3: "worse than before"}


def test_what_was_decided_about_a_version_that_runs_no_more_is_not_done(registry: Registry) -> None:
    registry.activate(2)
    registry.activate(3)
    before = files(registry)
    with pytest.raises(ActiveChanged, match="is 3 by now, no more 2; nothing was changed"):
        registry.rollback(instead_of=2)
    with pytest.raises(ActiveChanged, match="is 3 by now, no more 2"):
        registry.reject(2, "off")
    with pytest.raises(ActiveChanged, match="is 3 by now; nothing was changed"):
        registry.refuse(3, "worse, as a candidate")
    with pytest.raises(ActiveChanged, match="is 3 by now, where there was none; nothing was changed"):
        registry.activate(4, instead_of=None)
    with pytest.raises(ActiveChanged):
        registry.activate(4, instead_of=2)
    assert files(registry) == before


def test_a_candidate_is_one_until_it_is_activated_refused_or_another_is(registry: Registry) -> None:
    registry.refuse(2, "once")
    registry.propose(2, 60)
    found = registry.candidate()
    assert found is not None
    assert (found.version, found.windows, registry.rejected()) == (2, 60, {})
    registry.propose(3, 12)
    registry.refuse(2, "too late")
    assert registry.candidate() is not None, "it was another's"
    registry.activate(3, instead_of=1)
    assert registry.candidate() is None
    with pytest.raises(BundleError, match="would be compared with itself"):
        registry.propose(3, 60)
    with pytest.raises(BundleError, match="no such bundle"):
        registry.propose(9, 60)


def test_what_runs_is_not_gone_back_to(registry: Registry) -> None:
    """It ran before, too."""
    for version in (2, 3, 2):
        registry.activate(version)
    registry.refuse(3, "worse than before")
    registry.reject(2, "off")
    assert registry.before() == 1 == registry.rollback()


def test_where_nothing_was_active_the_first_may_become_it(tmp_path: Path) -> None:
    registry = Registry(tmp_path, "planar")
    for version in (1, 2):
        registry.path(version).mkdir(parents=True)
        (registry.path(version) / MANIFEST).write_text("{}")
    registry.activate(1, instead_of=None)
    with pytest.raises(ActiveChanged, match="where there was none"):
        registry.activate(2, instead_of=None)
    registry.activate(2)
    assert registry.active() == 2


@pytest.mark.parametrize("how", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"])
@pytest.mark.parametrize("made", [0, 1, 2])
def test_an_activation_that_does_not_come_to_its_end_leaves_no_mark_on_what_is_active(
    made: int, how: BaseException, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts next would take it for one that is to be left."""
    registry.activate(2)
    registry.reject(2, "off")
    registry.rollback()
    (registry.folder / "candidate.json").write_text('{"version": 2, "windows": 60}')
    with stopped(monkeypatch, made, how), pytest.raises((Killed, BundleError)):
        registry.activate(2)
    assert (registry.active(), registry.rejected()) == ((1, {2: "off"}), (1, {}), (2, {}))[made]
    registry.activate(2)
    assert (registry.active(), registry.rejected(), registry.candidate()) == (2, {}, None)


@pytest.mark.parametrize("how", [Killed(), OSError(errno.ENOSPC, "No space left on device")], ids=["killed", "full"])
@pytest.mark.parametrize("made", [0, 1])
def test_a_refusal_that_does_not_come_to_its_end_loses_no_reason(
    made: int, how: BaseException, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.propose(2, 60)
    with stopped(monkeypatch, made, how), pytest.raises((Killed, BundleError)):
        registry.refuse(2, "worse")
    assert registry.candidate() is not None
    assert registry.rejected() == ({}, {2: "worse"})[made]


def test_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path, "planar")
    registry.path(1).mkdir(parents=True)
    (registry.path(1) / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match="would be compared with nothing"):
        registry.propose(1, 60)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("candidate.json", '{"version": 2, "windows": 5}', r"candidate\.json: windows: .* delete it"),
        ("candidate.json", '{"version": 2', r"candidate\.json: json: "),
        ("rejected.json", '{"reasons": {"x": "why"}}', r"rejected\.json: reasons\.x"),
    ],
)
def test_a_damaged_file_is_named_with_its_field(registry: Registry, name: str, content: str, words: str) -> None:
    (registry.folder / name).write_text(content)
    with pytest.raises(BundleError, match=words):
        registry.candidate() or registry.rejected()


def test_writers_wait_for_each_other(registry: Registry) -> None:
    """Many take versions at once: none is taken twice."""
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: registry.take_version(), range(40)))
    assert sorted(taken) == list(range(6, 46))


def test_a_writer_that_does_not_end_is_not_waited_for_for_ever(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    handle = os.open(registry.folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(BundleError, match="another process is changing it"):
        registry.activate(2)
    assert registry.active() == 1
    releasing = threading.Timer(0.02, os.close, [handle])
    monkeypatch.setattr(module, "_PATIENCE_S", 60.0)
    releasing.start()
    registry.activate(2)
    releasing.join()
    assert registry.active() == 2
