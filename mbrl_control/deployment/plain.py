"""Bytes of a file that somebody else may have written: a plain one, of bounded size, read once."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class NotPlain(ValueError):
    """A link, a device, a folder, or more bytes than allowed; the message goes on from the file's name."""


def read_plain(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The bytes and what the opened file is; NotPlain or OSError.

    The file is opened before it is judged: between a look at the name and the opening it could be exchanged.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotPlain("is a link or no plain file") from error
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise NotPlain("is a link or no plain file")
        if status.st_size > limit:
            raise NotPlain(f"{status.st_size} bytes, more than the {limit} allowed")
        with open(handle, "rb", closefd=False) as file:
            # Not up to the limit: Python makes room for all that is asked for, which takes a process whose memory is
            # locked 15 ms for 64 MiB, and the planner waits for the interpreter meanwhile.
            data = file.read(status.st_size + 1)
    finally:
        os.close(handle)
    if len(data) > status.st_size:
        raise NotPlain("grew while it was read")
    return data, status
