"""When the silence of somebody outside the graph (driver, controller) is trouble."""

from __future__ import annotations

FIRST_LOOKS = 10
"""Looks, one a second, before the first sign: drivers and spawners take seconds to start, discovery too."""
LOOKS = 3
"""After it."""


class Patience:
    """Asked once a second."""

    def __init__(self) -> None:
        self._silent, self._granted = 0, FIRST_LOOKS

    def ends(self, sign: bool) -> bool:
        """``sign``: something was heard since the last look. True when there has been none for too long."""
        if sign:
            self._granted = LOOKS
        self._silent = 0 if sign else self._silent + 1
        return self._silent >= self._granted
