"""The packages' files agree: names, versions, entry points, constraints, installed scripts."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from tests.architecture.source import MESSAGES, NODES, ROOT, literals, node_names

PACKAGES = [ROOT, NODES, MESSAGES]


def canonical(requirement: str) -> str:
    return re.split(r"[\[<>=!~ ;]", requirement)[0].lower().replace("_", "-")


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


def test_every_dependency_has_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line) for line in lines if line and not line.startswith("#")}
    declared = literals(ROOT / "setup.py")
    wanted = [*declared["LIBRARY"], *(name for extra in declared["EXTRAS"].values() for name in extra)]  # type: ignore[attr-defined, misc]
    assert {canonical(name) for name in wanted} - pinned == set()


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
