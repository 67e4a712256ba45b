"""The rules themselves: each refuses the offence it is there for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture import source, test_imports
from tests.architecture.source import ROOT, Module


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Module]]:
    """A copy of the module table that a test may add offenders to."""
    table = dict(source.modules())
    source.imports.cache_clear()
    monkeypatch.setattr(source, "modules", lambda: table)
    yield table
    source.imports.cache_clear()


def plant(table: dict[str, Module], name: str, code: str) -> None:
    table[name] = Module(name, Path(ROOT, *name.split(".")).with_suffix(".py"), ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import mbrl_control.planning.protocol",
        "from mbrl_control.planning import protocol",
        "from ..planning.protocol import Scores",
        "def late():\n    from mbrl_control.planning.protocol import Scores",
    ],
)
def test_safety_may_not_import_planning(planted: dict[str, Module], code: str) -> None:
    plant(planted, "mbrl_control.safety.offender", code)
    assert test_imports.forbidden_imports("mbrl_control.safety.offender") != []


def test_own_part_and_value_types_are_fine(planted: dict[str, Module]) -> None:
    plant(planted, "mbrl_control.safety.honest", "from mbrl_control.signals import Plan\nfrom . import offender")
    assert test_imports.forbidden_imports("mbrl_control.safety.honest") == []


def test_torch_is_found_through_a_chain_and_through_a_package(planted: dict[str, Module]) -> None:
    plant(planted, "mbrl_nodes.offender", "from mbrl_control.dynamics.inner import x")
    plant(planted, "mbrl_control.dynamics.inner", "from mbrl_control.dynamics.deep import y")
    plant(planted, "mbrl_control.dynamics.deep", "import torch.nn")
    assert source.loaded_by("mbrl_nodes.offender")["torch.nn"][-2:] == ("mbrl_control.dynamics.deep", "torch.nn")


def test_imports_for_type_checkers_do_not_count(planted: dict[str, Module]) -> None:
    plant(planted, "sim.honest", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch")
    assert "torch" not in source.imports("sim.honest")


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("torch.load(f)", True),
        ("torch.load(f, weights_only=False)", True),
        ("torch.load(f, weights_only=True)", False),
        ("torch.save(w, f)", True),
        ("np.load(f, allow_pickle=True)", True),
        ("np.load(f)", False),
        ("yaml.load(f)", True),
        ("yaml.safe_load(f)", False),
    ],
)
def test_loading_code_from_a_file(code: str, refused: bool) -> None:
    call = ast.parse(code).body[0].value  # type: ignore[attr-defined]
    assert test_imports.unsafe(call) is refused


@pytest.mark.parametrize(
    ("clause", "refused"),
    [
        ("except:\n    x()", True),
        ("except Exception:\n    pass", True),
        ("except Exception:\n    log()", False),
        ("except KeyError:\n    pass", False),
    ],
)
def test_swallowing(clause: str, refused: bool) -> None:
    tree = ast.parse(f"try:\n    x()\n{clause}")
    (handler,) = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    assert test_imports.swallows(handler) is refused
