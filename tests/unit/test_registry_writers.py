"""A registry that several processes write: versions are taken once, and nobody overrides what it has not seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from mbrl_control.deployment.bundle import prior_bundle
from mbrl_control.deployment.check import MANIFEST, verify_bundle
from mbrl_control.deployment.errors import ActiveChanged, BundleError
from mbrl_control.deployment.manifest import GateRecord
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.learning.judge import OtherRegime, Verdict
from mbrl_control.robot import load_arm

VERSIONS = 12
ROBOTS = Path(__file__).parents[2] / "sim" / "robots"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Versions of which no more than the manifest's name is looked at."""
    made = Registry(tmp_path / "models", "planar")
    for _ in range(VERSIONS):
        folder = made.path(made.take_version())
        folder.mkdir()
        (folder / MANIFEST).touch()
    return made


def test_no_two_get_the_same_version(registry: Registry) -> None:
    def take(_: int) -> list[int]:
        return [Registry(registry.models, registry.robot).take_version() for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        taken = [version for some in pool.map(take, range(8)) for version in some]
    assert sorted(taken) == list(range(VERSIONS + 1, VERSIONS + 81))


def test_nothing_that_was_active_is_forgotten_when_many_activate(registry: Registry) -> None:
    def activate(version: int) -> None:
        Registry(registry.models, registry.robot).activate(version)

    with ThreadPoolExecutor(VERSIONS) as pool:
        list(pool.map(activate, registry.versions()))
    back = [registry.active(), *(registry.rollback() for _ in range(VERSIONS - 1))]
    assert sorted(back) == list(registry.versions())


def test_who_was_compared_with_another_does_not_take_over(registry: Registry) -> None:
    for version in (1, 2, 3):
        registry.activate(version)
    registry.activate(4, instead_of=3)
    registry.rollback()
    with pytest.raises(ActiveChanged, match=r"active\.json: version: is 3 by now, no more 4"):
        registry.activate(5, instead_of=4)
    with pytest.raises(ActiveChanged, match="is 3 by now, no more 4"):
        registry.rollback(instead_of=4)
    assert registry.active() == 3
    assert registry.rollback(instead_of=3) == 2


@pytest.mark.parametrize("name", ["007", "0", "+5", "\N{ARABIC-INDIC DIGIT THREE}", "1 ", "9" * 200], ids=ascii)
def test_a_folder_that_no_version_is_called_like_is_none(name: str, registry: Registry) -> None:
    folder = registry.folder / name
    folder.mkdir()
    (folder / MANIFEST).touch()
    assert registry.versions() == tuple(range(1, VERSIONS + 1))


def test_versions_and_blocks_have_no_end(tmp_path: Path) -> None:
    """Learning every ten minutes takes 4096 versions in a month; ten hours of one regime have more blocks than that."""
    arm = load_arm(ROBOTS / "planar.yaml")
    registry = Registry(tmp_path, arm.model_name)
    registry.folder.mkdir()
    (registry.folder / "highest.json").write_text('{"version": 4096}')
    path = prior_bundle(arm, registry, 0.02, 0.01, 3, 0, GraphShape(horizon=5))
    assert verify_bundle(path, arm).version == 4097
    other = OtherRegime(0, 6000, 0.1, 0.1)
    verdict = Verdict("planar/1", 6000, 0.1, 0.1, 0.0, -0.1, 0.001, 0.002, 0.95, 10_000, None, None, (other,))
    assert GateRecord(**asdict(verdict)).blocks == 6000


def as_a_pipe(path: Path) -> None:
    os.mkfifo(path)


def as_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def as_a_folder(path: Path) -> None:
    path.mkdir()


def as_a_desert(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize("put", [as_a_pipe, as_a_device, as_a_folder, as_a_desert])
def test_an_active_json_that_never_ends_is_refused_at_once(put: Callable[[Path], None], registry: Registry) -> None:
    """Whoever polls a registry that came from elsewhere goes on."""
    put(registry.folder / "active.json")
    with pytest.raises(BundleError, match=r"active\.json: .*(no plain file|more than the \d+ allowed); delete it"):
        registry.active()


def test_an_active_json_may_be_a_link_to_a_file(registry: Registry, tmp_path: Path) -> None:
    registry.activate(2)
    (registry.folder / "active.json").rename(tmp_path / "elsewhere.json")
    (registry.folder / "active.json").symlink_to(tmp_path / "elsewhere.json")
    assert registry.active() == 2
