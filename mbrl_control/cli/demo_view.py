"""What the demo shows on the terminal: what happens now, a progress bar, one table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_control.cli.processes import NodeProcess
from mbrl_control.report.targets import judged_by

PHASES = ("nominal", "fresh", "payload_nominal", "payload", "relearned")


class DemoView:
    """Writes to standard error, so that standard output ends with the JSON line."""

    def __init__(self, headless: bool) -> None:
        self._headless = headless
        self._console = Console(stderr=True, highlight=False)
        self._begin = time.monotonic()

    def say(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._begin:6.1f} s[/dim]  {text}", soft_wrap=True)

    def ready(self, node: NodeProcess) -> None:
        self.say(f"{node.spec.name}: {node.state}, {node.scheduling}")

    def targets(self, rows: list[list[float]]) -> None:
        self.say(f"{len(rows)} targets, the same in every phase (m, base frame):")
        for index, row in enumerate(rows):
            self._console.print(f"          {index:2d}  " + "  ".join(f"{value:+.3f}" for value in row))

    @contextmanager
    def progress(self, name: str, total: float) -> Iterator[Callable[[dict[str, Any]], None]]:
        """A bar of targets or seconds; stops of the guard are said as they come."""
        columns = (TextColumn("{task.description:>16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.say(f"phase {name}")
        with Progress(*columns, console=self._console, disable=self._headless) as progress:
            bar = progress.add_task(name, total=total)

            def on_event(event: dict[str, Any]) -> None:
                if event["event"] == "stop":
                    self.say(f"guard stopped the arm ({'; '.join(event['reasons'])}): reset, re-armed, counted")
                elif event["event"] == "target":
                    progress.update(bar, completed=event["index"] + 1)
                else:
                    progress.update(bar, completed=event["seconds"])

            yield on_event

    def table(self, figures: dict[str, Any]) -> None:
        """The figures a reader looks for first."""
        prefix, number = judged_by(figures)
        table = Table(title=f"{prefix[:5]} error of the tool (mm, simulator truth)")
        columns = tuple(dict.fromkeys((number, "median", "p95", "max")))
        for column in ("phase", *columns):
            table.add_column(column, justify="left" if column == "phase" else "right")
        for phase in PHASES:
            error = figures[f"{prefix}_{phase}"]
            shown = ("-" if error[key] is None else f"{error[key]:.2f}" for key in columns)
            table.add_row(phase, *shown)
        self._console.print(table)
        for key in (
            "plan_rate_hz",
            "guard_rate_hz",
            "excess_late",
            "excess_missed",
            "swap_missed_ticks",
            "limit_violations",
        ):
            self._console.print(f"{key:>20}  {figures[key]}")
        for text in figures["invalid_reasons"] + figures["misses"]:
            self._console.print(f"[red]not met:[/red] {text}")
