"""Guesses that nobody has confirmed: a real arm does not move on them."""

from __future__ import annotations

from pathlib import Path

from mbrl_control.cli.errors import UserError
from mbrl_control.robot import Arm

REMEDY = "compare each with data sheet, maker or measurement, then take it off `unconfirmed` (docs/own_arm.md)"


def refuse_guesses(path: Path, arm: Arm) -> None:
    """UserError when the YAML file ``path`` still lists guesses: of an arm that is about to move."""
    if arm.unconfirmed:
        raise UserError(
            f"{path}: unconfirmed: {', '.join(arm.unconfirmed)}: guessed by `robot new`; a real arm goes live on none; "
            f"{REMEDY}, or stay with the dry run"
        )


def guesses_told(path: Path, arm: Arm) -> str:
    """What a dry run says of them; empty where there are none."""
    if not arm.unconfirmed:
        return ""
    return f"{path}: guesses nobody has confirmed: {', '.join(arm.unconfirmed)}; going live is refused until then"
