"""Options of `mbrl-control retrain` that fit more than one ensemble, or fit them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbrl_control.cli.errors import UserError
from mbrl_control.learning.method import Method

if TYPE_CHECKING:
    from mbrl_control.learning.search import FitAll, Search

Seeds = Annotated[int, typer.Option("--seeds", help="Fit so many ensembles, keep the best.", min=1, max=100)]
Sweep = Annotated[Path | None, typer.Option("--sweep", help="YAML: fields of the fit, values to try.")]
Table = Annotated[Path | None, typer.Option("--table", help="All that was tried, as .csv or .json.")]
Ray = Annotated[
    str | None, typer.Option("--ray", help="Fit on this Ray cluster, which is trusted: HOST:PORT, auto or local.")
]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """As given on the command line."""

    seeds: int = 1
    sweep: Path | None = None
    table: Path | None = None
    ray: str | None = None

    @property
    def asked(self) -> bool:
        return self.seeds > 1 or self.sweep is not None or self.ray is not None

    def check(self, checkpoints: Path | None, tensorboard: Path | None, method: Method = Method.ENSEMBLE) -> None:
        """UserError for what does not go together."""
        if self.asked and (checkpoints is not None or tensorboard is not None):
            option = "--checkpoints" if checkpoints is not None else "--tensorboard"
            raise UserError(f"{option}: is of one ensemble, fitted here at once; drop it, or --seeds, --sweep, --ray")
        if self.asked and method is not Method.ENSEMBLE:
            raise UserError(f"--method {method}: is one network, fitted here; drop it, or --seeds, --sweep, --ray")
        if self.table is None:
            return
        if self.table.suffix not in (".csv", ".json"):
            raise UserError(f"--table {self.table}: names no known format; end it in .csv or .json")
        if self.seeds == 1 and self.sweep is None:
            raise UserError("--table: lists what was tried, and nothing is; give --seeds or --sweep")


@contextmanager
def searching(options: SearchOptions) -> Iterator[Search | None]:
    """The fitter to learn with, None: the usual one; what was tried is written into the table at the end, however the
    candidate fares at the gate."""
    if not options.asked:
        yield None
        return
    from mbrl_control.learning.search import Search, write_table
    from mbrl_control.learning.sweep import read_sweep

    grid = {} if options.sweep is None else read_sweep(options.sweep)
    with _fitted_by(options.ray) as fit_all:
        search = Search(options.seeds, grid, fit_all)
        try:
            yield search
        finally:
            if options.table is not None and search.trials:
                write_table(options.table, search.trials)


@contextmanager
def _fitted_by(ray: str | None) -> Iterator[FitAll]:
    """Here, or by a cluster."""
    if ray is None:
        from mbrl_control.learning.search import fit_here

        yield fit_here
        return
    from mbrl_control.learning.ray_fit import RayFits, connected

    with connected(ray) as cluster:
        yield RayFits(cluster)
