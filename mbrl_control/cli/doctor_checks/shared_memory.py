"""The folder through which Fast DDS passes messages between processes of one machine, and what lies in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.kernel_files import text
from mbrl_control.cli.doctor_checks.ros import UDP

_MIB = 2**20
_LEAST_FREE = 64 * _MIB
_HOST_IPC = "ipc:[4026531839]"
"""The kernel's number of the first IPC namespace (include/linux/proc_ns.h, PROC_IPC_INIT_INO)."""
_PATTERNS = ("fastrtps_*", "fastdds_*", "sem.fastrtps_*", "sem.fastdds_*")


@dataclass(frozen=True, slots=True)
class SharedFile:
    """One file of Fast DDS."""

    name: str
    size: int
    live: bool
    """A process of this machine (of this container's PID namespace) uses it."""
    foreign: bool
    """Owned by another user."""


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """What is to know about the folder."""

    folder: str
    writable: bool
    free: int
    files: tuple[SharedFile, ...] = ()
    private: bool = False
    """In a container that has shared memory of its own."""


def read_shared_memory(folder: Path = Path("/dev/shm"), proc: Path = Path("/proc")) -> SharedMemory:
    """Look; nothing is changed."""
    if not os.access(folder, os.W_OK):
        return SharedMemory(str(folder), False, 0)
    found: dict[str, os.stat_result] = {}
    for pattern in _PATTERNS:
        for path in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                found[path.name] = path.stat()
    # A process keeps a lock on the lock file beside each of its segments; the kernel lists it for every user.
    locked = _locked_inodes(proc)
    live = {_segment(name) for name, status in found.items() if status.st_ino in locked}
    files = [
        SharedFile(name, status.st_size, _segment(name) in live, status.st_uid != os.geteuid())
        for name, status in found.items()
    ]
    private = in_container() and not _host_ipc(proc)
    return SharedMemory(str(folder), True, shutil.disk_usage(folder).free, tuple(files), private)


def in_container(root: Path = Path("/")) -> bool:
    """Docker, Podman and Kubernetes leave a mark; others may not."""
    marks = (".dockerenv", "run/.containerenv", "var/run/secrets/kubernetes.io")
    return any((root / mark).exists() for mark in marks)


def _host_ipc(proc: Path) -> bool:
    return os.readlink(proc / "self/ns/ipc") == _HOST_IPC


def _segment(name: str) -> str:
    """The segment that a lock or a semaphore belongs to."""
    return name.removeprefix("sem.").removesuffix("_mutex").removesuffix("_el").removesuffix("_sl")


def _locked_inodes(proc: Path) -> frozenset[int]:
    """Of files that a process of this PID namespace has locked; proc(5): number, FLOCK, ..., device:inode, range."""
    lines = [line.split() for line in text(proc / "locks").splitlines()]
    return frozenset(int(words[5].rsplit(":", 1)[1]) for words in lines if words[1] == "FLOCK")


def shared_memory_check(memory: SharedMemory) -> Check:
    """Room, other users' graphs, left-overs, and whether containers share it."""
    name = "shared memory"
    if not memory.writable:
        remedy = f"mount it (`--ipc=host` or `--shm-size=256m` for a container), or `{UDP}`"
        return Check(name, "warn", f"{memory.folder} cannot be written; Fast DDS falls back to UDP", remedy)
    found = f"{memory.free // _MIB} MiB free in {memory.folder}; Fast DDS files: {_counts(memory.files)}"
    if memory.free < _LEAST_FREE:
        return Check(name, "warn", found, f"{_removal(memory.files)}; for a container --shm-size=256m; or `{UDP}`")
    if any(file.live and file.foreign for file in memory.files):
        remedy = f"nodes of two users find each other, but no message arrives: use one user, or `{UDP}`"
        return Check(name, "warn", found, remedy)
    if memory.private:
        remedy = f"nodes of other containers see these, but get no message: start all with --ipc=host, or `{UDP}`"
        return Check(name, "info", f"{found}; this container's own", remedy)
    if not all(file.live for file in memory.files):
        return Check(name, "info", found, f"harmless, of killed processes; {_removal(memory.files)}")
    return Check(name, "ok", found)


def _counts(files: Sequence[SharedFile]) -> str:
    if not files:
        return "none"
    parts = [
        (sum(file.live and not file.foreign for file in files), "in use"),
        (sum(file.live and file.foreign for file in files), "in use by another user"),
        (sum(not file.live for file in files), "left over"),
    ]
    size = sum(file.size for file in files) / _MIB
    return ", ".join(f"{count} {what}" for count, what in parts if count) + f" ({size:.1f} MiB)"


def _removal(files: Sequence[SharedFile]) -> str:
    remove = "rm -f " + " ".join(f"/dev/shm/{pattern}" for pattern in _PATTERNS)
    if any(file.live for file in files):
        return f"end the running graphs, then `{remove}`"
    return f"`{remove}` while no graph runs"
