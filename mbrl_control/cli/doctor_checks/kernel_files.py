"""Small files in which the kernel says what it does, and the folders of this process's control groups."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str:
    """Content of a kernel file, empty where this kernel has none or does not let this user read it."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def group_limits(root: Path, controller: str, file: str, old_file: str) -> list[str]:
    """What a limit's file says, from this process's control group up to the top: version 2 or, ``old_file``, version 1.

    In a container the path in /proc may be the host's while only the own group is mounted, at the top.
    """
    mount = root / "sys/fs/cgroup"
    found = []
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found += [text(folder / file) for top in (mount, mount / "unified") for folder in _upwards(top, path)]
        elif controller in controllers.split(","):
            tops = {mount / controllers, mount / controller}
            found += [text(folder / old_file) for top in tops for folder in _upwards(top, path)]
    return [limit for limit in found if limit]


def _upwards(top: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [top.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]
