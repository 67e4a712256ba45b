"""The packages' files agree: names, versions, entry points, constraints, installed scripts."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as tree
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.architecture.source import MESSAGES, NODES, ROOT, literals, node_names

PACKAGES = [ROOT, NODES, MESSAGES]


def canonical(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", requirement)[0].lower())


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_manifests_name_the_same_release(folder: Path) -> None:
    manifest = tree.parse(folder / "package.xml").getroot()
    assert manifest.get("format") == "3"
    assert manifest.findtext("version") == tree.parse(ROOT / "package.xml").getroot().findtext("version")
    assert manifest.findtext("license") == "Apache-2.0"
    assert manifest.find("maintainer").get("email")  # type: ignore[union-attr]  # colcon stops without one
    if (folder / "setup.py").is_file():
        name = literals(folder / "setup.py")["NAME"]
        assert manifest.findtext("name") == name
        assert f'version="{manifest.findtext("version")}"' in (folder / "setup.py").read_text()
        assert (folder / "resource" / str(name)).is_file()
        assert f"lib/{name}" in (folder / "setup.cfg").read_text()


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonical(line) for line in lines if line and not line.startswith("#")}


def declared() -> list[str]:
    """Requirements of the library and of every extra."""
    found = literals(ROOT / "setup.py")
    return [*found["LIBRARY"], *(name for extra in found["EXTRAS"].values() for name in extra)]  # type: ignore[attr-defined, misc]


def pulled_in(requirements: list[str]) -> set[str]:
    """Installed distributions that requirements lead to, on this machine and with the extras they ask for."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        key = (canonical(wanted.name), frozenset(wanted.extras))
        if key in done:
            continue
        done.add(key)
        try:
            further = [Requirement(text) for text in requires(wanted.name) or []]
        except PackageNotFoundError:
            continue  # of the other variant
        found.add(key[0])
        for extra in ("", *wanted.extras):
            waiting += [inner for inner in further if inner.marker is None or inner.marker.evaluate({"extra": extra})]
    return found


def test_every_dependency_has_a_tested_version() -> None:
    assert {canonical(name) for name in declared()} - pinned() == set()


def test_so_has_everything_that_they_bring_along() -> None:
    found = pulled_in(declared())
    assert {"fonttools", "ros-fastdds", "colcon-core", "libpinocchio"} <= found
    assert found - pinned() == set()


def test_constraints_are_plain_versions() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)]
    assert odd == ["setuptools>=77.0.3,<80"]
    assert "torch==2.13.0" in lines
    assert len({canonical(line) for line in lines}) == len(lines)


def test_every_node_with_a_main_is_an_entry_point() -> None:
    with_main = {
        path.stem
        for path in (NODES / "mbrl_nodes").glob("*.py")
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
    }
    assert with_main <= set(node_names())


def test_the_command_lines_entry_point_exists() -> None:
    assert '"mbrl-control = mbrl_control.cli.main:main"' in (ROOT / "setup.py").read_text()
    assert any(
        isinstance(node, ast.FunctionDef) and node.name == "main"
        for node in ast.parse((ROOT / "mbrl_control" / "cli" / "main.py").read_text()).body
    )
