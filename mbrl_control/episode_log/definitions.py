"""Full text of a message type, as the `ros2msg` schema encoding of MCAP wants it.

Format: https://mcap.dev/spec/registry#ros2msg: the definition, then every type it uses, each after a
line of 80 equals signs and a line `MSG: package/Name`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mbrl_control.episode_log.errors import LogError

_SEPARATOR = "=" * 80
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_PRIMITIVES = frozenset({"bool", "byte", "char", "float32", "float64", "string", "wstring"} | _INTEGERS)
_TYPE = re.compile(r"^([A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s")


def full_definition(type_name: str) -> str:
    """Concatenate the definition of ``type_name`` (`package/msg/Name`) and of all types it uses.

    Raises LogError when a message package is not installed.
    """
    texts: dict[str, str] = {}
    pending = [type_name]
    while pending:
        name = pending.pop(0)
        if name not in texts:
            texts[name] = _definition_file(name).read_text(encoding="utf-8")
            pending += _used_types(name, texts[name])
    first, *rest = texts
    parts = [texts[first].rstrip("\n")]
    parts += [f"{_SEPARATOR}\nMSG: {_short(name)}\n{texts[name]}".rstrip("\n") for name in rest]
    return "\n".join(parts) + "\n"


def _used_types(owner: str, text: str) -> list[str]:
    package = owner.split("/")[0]
    found = []
    for line in text.splitlines():
        match = _TYPE.match(line.strip())
        if match is None or match[1] in _PRIMITIVES:
            continue
        parts = match[1].split("/")
        found.append(f"{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}")
    return found


def _definition_file(type_name: str) -> Path:
    parts = type_name.split("/")
    if len(parts) != 3 or parts[1] != "msg":
        raise LogError(type_name, "type", "not of the form package/msg/Name", "give the full type name")
    relative = Path("share", parts[0], "msg", f"{parts[2]}.msg")
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p] + [sys.prefix]
    for prefix in prefixes:
        if (Path(prefix) / relative).is_file():
            return Path(prefix) / relative
    raise LogError(relative, type_name, f"not found below {prefixes}", "install or source the message package")


def _short(type_name: str) -> str:
    package, _, name = type_name.split("/")
    return f"{package}/{name}"
