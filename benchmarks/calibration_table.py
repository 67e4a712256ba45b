"""The table of `bench calibration`: kinds of models, fitted to one session, scaled on a second, judged on a third."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from benchmarks.calibration_sessions import Bench
from benchmarks.step_cost import deployed_step_us
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.compare import RESIDUAL, Compared, Recorded, compare
from mbrl_control.learning.learn import Learned
from mbrl_control.learning.method import Method

DT_S = 0.02
_DIGITS = {
    "nll": ".2f",
    "nll_scaled": ".2f",
    "position_15": ".2e",
    "velocity_15": ".2e",
    "ece_1": ".4f",
    "ece_15": ".4f",
    "step_us": ".1f",
}
_HEADS = {
    "structure": "structure",
    "method": "method",
    "nll": "NLL",
    "nll_scaled": "NLL scaled",
    "position_15": "q after 15 steps, rad",
    "velocity_15": "dq after 15 steps, rad/s",
    "ece_1": "ece_1",
    "ece_15": "ece_15",
    "step_us": "CPU per step, us",
}


def table(
    bench: Bench, learned: Learned, rows: Recorded, seed: int, said: Callable[[str], None]
) -> tuple[Compared, ...]:
    """The ensemble beside the prior is the one that was ``learned``; all others are fitted to the same rows."""
    known = {(RESIDUAL, Method.ENSEMBLE.value): learned.fitted.ensemble}
    return compare(
        rows,
        prior_of(bench.arm, DT_S),
        seed,
        bench.settings,
        deployed_step_us,
        known,
        lambda kind: said(f"table: {', '.join(kind)}"),
    )


def write_table(rows: tuple[Compared, ...], folder: Path) -> list[Path]:
    """`table.csv` in full precision and `table.md` to read."""
    names = [field.name for field in fields(Compared)]
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    (folder / "table.md").write_text(markdown(rows), encoding="utf-8")
    return [folder / "table.csv", folder / "table.md"]


def markdown(rows: tuple[Compared, ...]) -> str:
    """One line per model; of each column but the cost the best in bold."""
    best = {name: min(getattr(row, name) for row in rows) for name in _DIGITS}
    lines = [f"| {' | '.join(_HEADS.values())} |", f"|{'---|' * len(_HEADS)}"]
    for row in rows:
        cells = [row.structure, row.method]
        for name, digits in _DIGITS.items():
            value = getattr(row, name)
            cell = format(value, digits)
            cells.append(f"**{cell}**" if value == best[name] and name != "step_us" else cell)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
