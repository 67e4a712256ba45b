"""The project's own modules as syntax trees, and the graph of their imports. Nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NODES = ROOT / "ros2_ws" / "src" / "mbrl_nodes"
MESSAGES = ROOT / "ros2_ws" / "src" / "mbrl_msgs"
_TREES = {"mbrl_control": ROOT, "sim": ROOT, "benchmarks": ROOT, "mbrl_nodes": NODES}


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


@cache
def modules() -> dict[str, Module]:
    """Every module of the project (tests excluded) by its dotted name."""
    found = {}
    for top, base in _TREES.items():
        for path in sorted((base / top).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Absolute dotted names a module imports, in functions too, type-checking blocks excepted.

    ``from a import b`` counts as ``a.b`` when that is a module of the project, else as ``a``.
    """
    module = modules()[name]
    return frozenset(target for node in _executed(module.tree) for target in _targets(module, node))


def _executed(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _executed(other)
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        else:
            yield from _executed(child)


def _targets(module: Module, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        above = module.package.split(".")
        base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
    for alias in node.names:
        deeper = f"{base}.{alias.name}"
        yield deeper if deeper in modules() else base


def loaded_by(name: str) -> dict[str, tuple[str, ...]]:
    """Everything that importing ``name`` can load, with the chain that leads there; packages run their __init__."""
    chains: dict[str, tuple[str, ...]] = {name: (name,)}
    waiting = [name]
    while waiting:
        current = waiting.pop(0)
        if current not in modules():
            continue
        parents = [current.rpartition(".")[0]] if "." in current else []
        for target in [*sorted(imports(current)), *parents]:
            if target not in chains:
                chains[target] = (*chains[current], target)
                waiting.append(target)
    return chains


def source_files() -> list[Path]:
    """Every Python file of the project, tests included."""
    files = [module.path for module in modules().values()]
    return [*files, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "launch").rglob("*.py"))]


def literals(path: Path) -> dict[str, object]:
    """Literal assignments at the top of a Python file."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue  # computed, not a literal
    return found


def node_names() -> list[str]:
    """Nodes that the package of nodes declares as entry points."""
    names = literals(NODES / "setup.py")["NODES"]
    assert isinstance(names, list)
    return names


def shown(path: Path) -> str:
    """Path relative to the project."""
    return path.relative_to(ROOT).as_posix()
