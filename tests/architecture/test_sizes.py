"""Files and functions stay readable. The aim is 300 and 40 lines (a warning); more than 350 and 60 is refused."""

from __future__ import annotations

import ast
import warnings
from pathlib import Path

import pytest

from tests.architecture.source import NODES, modules, node_names, shown, source_files

FILE_AIM, FILE_LIMIT = 300, 350
FUNCTION_AIM, FUNCTION_LIMIT = 40, 60
NODE_AIM, NODE_LIMIT = 150, 200


def judge(what: str, lines: int, aim: int, limit: int) -> None:
    assert lines <= limit, f"{what}: {lines} lines, more than {limit}: split it"
    if lines > aim:
        warnings.warn(f"{what}: {lines} lines, the aim is {aim}", stacklevel=2)


@pytest.mark.parametrize("path", source_files(), ids=shown)
def test_a_file_holds_one_idea(path: Path) -> None:
    judge(shown(path), len(path.read_text(encoding="utf-8").splitlines()), FILE_AIM, FILE_LIMIT)


@pytest.mark.parametrize("path", source_files(), ids=shown)
def test_a_function_fits_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            judge(f"{shown(path)}:{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_AIM, FUNCTION_LIMIT)


@pytest.mark.parametrize("path", [NODES / "mbrl_nodes" / f"{name}.py" for name in node_names()], ids=shown)
def test_a_node_is_thin(path: Path) -> None:
    judge(shown(path), len(path.read_text(encoding="utf-8").splitlines()), NODE_AIM, NODE_LIMIT)


def test_every_package_says_what_it_is() -> None:
    installed = [module for module in modules().values() if not module.name.startswith("benchmarks")]
    folders = {module.path.parent for module in installed}
    silent = []
    for folder in sorted(folders):
        init = folder / "__init__.py"
        if not init.is_file() or not ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))):
            silent.append(shown(folder))
    assert silent == []
