"""The bar of a verb that takes more than two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Takes (stage, share done); shown on standard error where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)


class StageTimes:
    """Takes progress, passes it on, and knows how long each stage lasted. ``now_s``: a steady clock."""

    def __init__(self, progress: Callable[[str, float], None], now_s: Callable[[], float]) -> None:
        self._progress, self._now_s = progress, now_s
        self._begun: list[tuple[str, float]] = []

    def __call__(self, stage: str, share: float) -> None:
        if not self._begun or self._begun[-1][0] != stage:
            self._begun.append((stage, self._now_s()))
        self._progress(stage, share)

    def seconds(self) -> dict[str, float]:
        """By stage, in their order, the last one until now."""
        ends = [begin for _, begin in self._begun[1:]] + [self._now_s()]
        found: dict[str, float] = {}
        for (stage, begin), end in zip(self._begun, ends, strict=True):
            found[stage] = round(found.get(stage, 0.0) + end - begin, 3)
        return found
