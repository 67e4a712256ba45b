"""Parameters that each node declares, read from its source: name, default and bounds of every `declare(...)`."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.architecture.source import imports, modules


@dataclass(frozen=True)
class Declared:
    """One declared parameter."""

    name: str
    default: Any
    bounds: tuple[float, float] | None

    def complaint(self, value: Any) -> str | None:
        """Why rclpy would refuse ``value``, or None."""
        if type(value) is not type(self.default):
            return f"{self.name}: {value!r} is a {type(value).__name__}, not a {type(self.default).__name__}"
        if self.bounds is not None and not self.bounds[0] <= value <= self.bounds[1]:
            return f"{self.name}: {value!r} is not in {self.bounds}"
        return None


@cache
def declared_by(node: str) -> dict[str, Declared]:
    """Of a node's own module and the modules of `mbrl_nodes` that it imports."""
    names, waiting = set(), [f"mbrl_nodes.{node}"]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            waiting += [target for target in imports(name) if target.startswith("mbrl_nodes.")]
    calls = [call for name in sorted(names) for call in ast.walk(modules()[name].tree) if isinstance(call, ast.Call)]
    found = [_declared(call) for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "declare"]
    return {parameter.name: parameter for parameter in found}


def _declared(call: ast.Call) -> Declared:
    name, default, *rest = call.args
    bounds = next((k.value for k in call.keywords if k.arg == "bounds"), rest[1] if len(rest) > 1 else None)
    return Declared(
        ast.literal_eval(name), ast.literal_eval(default), None if bounds is None else _numbers(ast.unparse(bounds))
    )


def _numbers(text: str) -> tuple[float, float]:
    # Bounds are sums and powers of literals; nothing else gets past the parser.
    assert set(text) <= set("()0123456789.,*- "), text
    low, high = eval(text)
    return low, high
