"""A log is a folder: numbered files, one after another, beside them rosbag2's metadata and the ring of events.

    log_0.mcap log_1.mcap ...           everything, in the order of writing (`rotation`)
    events_7.mcap events_8.mcap ...     rare messages alone, the newest files of them (`event_ring`)
    metadata.yaml                       what rosbag2 wants to know of the finished files (`bag_metadata`)

A single MCAP file is a log, too: one that was recovered, imported or written by somebody else.
"""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from mbrl_control.episode_log.errors import LogError

METADATA = "metadata.yaml"
GOLDEN = "golden.json"
"""Lies beside a golden log (`mbrl_control.golden_logs`): a yardstick, neither data nor to be pruned."""
_FILE = re.compile(r"log_([0-9]{1,9})\.mcap")
_EVENTS = re.compile(r"events_([0-9]{1,9})\.mcap")


def log_file(folder: Path, number: int) -> Path:
    """The file of that number, existing or not."""
    return folder / f"log_{number}.mcap"


def event_file(folder: Path, number: int) -> Path:
    """The file of events of that number, existing or not."""
    return folder / f"events_{number}.mcap"


def numbered_files(folder: Path) -> list[tuple[int, Path]]:
    """(number, file) in the order of writing; links are left out, a log may come from anywhere."""
    return _numbered(folder, _FILE)


def event_files(folder: Path) -> list[tuple[int, Path]]:
    """`numbered_files` of the ring of events."""
    return _numbered(folder, _EVENTS)


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[tuple[int, Path]]:
    found = [(pattern.fullmatch(entry.name), entry) for entry in folder.iterdir()]
    return sorted(
        (int(match[1]), entry) for match, entry in found if match and entry.is_file() and not entry.is_symlink()
    )


def recordings_below(root: Path) -> list[Path]:
    """Every MCAP file below ``root`` that is data, in order: links are none, and nothing beside a `GOLDEN` is.

    What vanishes meanwhile (a draft, a run that is removed) and folders that this user may not read are passed over;
    any other OSError is raised.
    """
    found: list[Path] = []
    for folder, _, names in os.walk(root, onerror=_raise_unless_gone):
        if GOLDEN not in names:
            found += [Path(folder, name) for name in names if name.endswith(".mcap")]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
        raise error


def is_numbered(path: Path) -> bool:
    """Whether it bears the name of a file of a log's folder."""
    return _FILE.fullmatch(path.name) is not None


def is_of_events(path: Path) -> bool:
    """Whether it bears the name of a file of the ring of events."""
    return _EVENTS.fullmatch(path.name) is not None


def log_files(log: Path) -> tuple[Path, ...]:
    """The files of a log, oldest first: of a folder its numbered ones, else the file itself.

    LogError for a folder without any.
    """
    if not log.is_dir():
        return (log,)
    try:
        files = tuple(path for _, path in numbered_files(log))
    except OSError as error:
        raise LogError(log, "folder", f"cannot be read ({error.strerror})", "check its permissions") from error
    if not files:
        raise LogError(log, "folder", "holds no log_<number>.mcap", "give the folder `log` of a run, or an MCAP file")
    return files


def is_written(path: Path) -> bool:
    """Whether a logger of this machine has the file open: `LogWriter` holds a lock on it (flock(2)), a killed one none.

    What is written to must not be replaced or removed: the logger would go on in a file that nobody finds any more.
    """
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # a file system without locks
            return False
    return False
