"""Real-time priority, processor, locked memory: asked for, never required; what is in force is said. And the garbage
collector, which pauses whoever has a deadline."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PRIORITY_VARIABLE = "MBRL_PRIORITY"
"""SCHED_FIFO priority wanted by the parent process; 0 or absent: none, and no locked memory."""
PROCESSORS_VARIABLE = "MBRL_PROCESSORS"
"""Processors wanted with that priority, comma-separated; absent: any."""

_MCL_CURRENT, _MCL_FUTURE = 1, 2
_CAP_IPC_LOCK = 14
_PATIENT_THREADS = "dds.asyn"
"""Fast DDS's asynchronous senders (discovery, service answers; none of the fast topics). They try again without a
pause while another participant does not take what they send: at a real-time priority they keep that participant from
ever running, where it starts later than this process."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a process runs and how urgent it is."""

    priority: int = 0
    """SCHED_FIFO; 0: normal."""
    processors: tuple[int, ...] = ()
    """Allowed ones; empty: any."""

    def environment(self) -> dict[str, str]:
        """What `take_placement` reads in the child."""
        wanted = {PRIORITY_VARIABLE: str(self.priority)}
        return wanted | ({PROCESSORS_VARIABLE: ",".join(map(str, self.processors))} if self.processors else {})


def divide_processors(allowed: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(the reserved one, the others) of the ``allowed`` processors; both empty with fewer than two.

    A woken SCHED_FIFO thread preempts a less urgent one on the processor it last ran on even while another one idles,
    and the preempted one moves there with cold caches. With a processor of its own the planner is left alone.
    """
    if len(allowed) < 2:
        return (), ()
    return allowed[-1:], allowed[:-1]


def take_placement(environment: Mapping[str, str] = os.environ) -> str:
    """Ask for what the parent wanted, for all threads of this process (later ones inherit); say what is in force."""
    priority = int(environment.get(PRIORITY_VARIABLE, "0"))
    if priority <= 0:
        return "SCHED_OTHER"
    memory = lock_memory()
    try:
        _for_all_threads(lambda thread: os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority)))
    except PermissionError:
        # Without a real-time priority the scheduler places threads better than a fixed processor would.
        return f"SCHED_OTHER (SCHED_FIFO {priority} not permitted), {memory}"
    return ", ".join([f"SCHED_FIFO {priority}", memory, *_take_processors(environment.get(PROCESSORS_VARIABLE, ""))])


def stand_back() -> None:
    """Let the calling thread of a real-time process run only where none of the others wants to.

    Still before every normal thread: it may hold the interpreter's lock that the control thread waits for.
    """
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))


def background_processors(allowed: tuple[int, ...]) -> tuple[int, ...]:
    """Where a process that must not disturb control may run: not on the planner's, where there are enough others.

    Of two processors both: a real-time thread preempts it at once on either, and beside all the other nodes on one
    processor a retraining would get next to none of it.
    """
    _, others = divide_processors(allowed)
    return others if len(allowed) > 2 else allowed


def stand_behind() -> str:
    """This process, and later children: lowest weight, in long turns, away from the planner; say what is in force.

    SCHED_BATCH and not SCHED_IDLE, as what keeps a virtual machine's processors awake has (`cli.awake`):
    beside that it would get half of what control leaves.
    """
    os.setpriority(os.PRIO_PROCESS, 0, 19)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.sched_setaffinity(0, background_processors(tuple(sorted(os.sched_getaffinity(0)))))
    return f"SCHED_BATCH, nice 19, processors {','.join(map(str, sorted(os.sched_getaffinity(0))))}"


def keep_garbage_short() -> None:
    """What was loaded until now is never gone through again by the garbage collector: its pauses stay short."""
    gc.collect()
    gc.freeze()


def as_urgent_as_the_process() -> None:
    """The calling thread takes over the policy and priority of the process' first thread."""
    process = os.getpid()
    os.sched_setscheduler(0, os.sched_getscheduler(process), os.sched_getparam(process))


def lane_processors(lanes: int) -> tuple[int, ...]:
    """One allowed processor for each of ``lanes`` threads that compute at once, the caller's first; ValueError with
    fewer processors than lanes."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < lanes:
        raise ValueError(f"{lanes} lanes need as many processors; this process may use {len(allowed)}")
    return tuple(allowed[:lanes])


@contextlib.contextmanager
def kept_on(processors: frozenset[int]) -> Iterator[None]:
    """The calling thread runs on these processors only, until the end of the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _for_all_threads(change: Callable[[int], None]) -> None:
    for thread in os.listdir("/proc/self/task"):
        # One may have ended since it was listed.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            name = Path(f"/proc/self/task/{thread}/comm").read_text()
            if not name.startswith(_PATIENT_THREADS):
                change(int(thread))


def _take_processors(text: str) -> list[str]:
    wanted = {int(word) for word in text.split(",") if word}
    if not wanted or not wanted <= os.sched_getaffinity(0):
        return []
    _for_all_threads(lambda thread: os.sched_setaffinity(thread, wanted))
    return [f"processor {','.join(map(str, sorted(wanted)))}"]


def lock_memory() -> str:
    """Keep every page in memory, read those not read yet: the first call of a rare path must not wait for the disk."""
    if not _lock_is_unlimited():
        return "memory not locked (limited: memlock)"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) == 0:
        return "memory locked"
    return f"memory not locked ({os.strerror(ctypes.get_errno())})"


def _lock_is_unlimited() -> bool:
    """Under a limit that holds today's memory but not tomorrow's, a later allocation would fail while the arm moves."""
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    lines = Path("/proc/self/status").read_text().splitlines()
    capabilities = next(line.split()[1] for line in lines if line.startswith("CapEff"))
    return bool(int(capabilities, 16) >> _CAP_IPC_LOCK & 1)
