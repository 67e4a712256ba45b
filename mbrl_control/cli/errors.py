"""Which errors are the user's, and the exit status each has: 0 done, 1 refused or failed, 2 bad input."""

from __future__ import annotations

import sys
from typing import NoReturn

BAD_INPUT = 2
REFUSED = 1
_OWN_PACKAGES = ("mbrl_control", "sim")


class UserError(ValueError):
    """Bad input: names the file or option, the field, and the remedy. Exit status 2."""


class Refused(Exception):
    """The request was understood and turned down, with the reason. Exit status 1."""


def exit_status(error: BaseException) -> int | None:
    """Status for an error that a user can act on; None for a bug, which keeps its traceback.

    ValueErrors count only when this project defined their class: a bare ValueError is a bug.
    """
    if isinstance(error, Refused):
        return REFUSED
    if isinstance(error, ValueError) and type(error).__module__.split(".")[0] in _OWN_PACKAGES:
        return BAD_INPUT
    if isinstance(error, OSError) and error.filename is not None:
        return BAD_INPUT
    return None


def leave(error: BaseException, program: str) -> NoReturn:
    """End the process with the error's status and its one line on standard error; a bug is raised again."""
    status = exit_status(error)
    if status is None:
        raise error
    print(f"{program}: error: {one_line(error)}", file=sys.stderr)
    sys.exit(status)


def one_line(error: BaseException) -> str:
    """The error's text on a single line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its permissions"
    return " ".join(str(error).split())
