"""Steps whose every number tells which step it is, and their plain lists."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_control.replay.layout import Field, Layout
from mbrl_control.replay.provenance import Provenance, Source
from mbrl_control.replay.steps import Steps

LAYOUT = Layout((Field("state", (2,), "float64", "rad"), Field("reward", (), "float32", "no unit")), ("a", "b"))
ORIGINS = (
    Provenance(Source.REAL, "cem"),
    Provenance(Source.SYNTHETIC, "cem", "ensemble-3"),
    Provenance(Source.INTERVENTION, "operator"),
)
COLUMNS = ("state", "reward", "stamp_ns", "episode", "terminal", "truncated")


def steps(count: int, episode: int, generator: np.random.Generator, stamp: int = 0) -> Steps:
    return Steps(
        fields={"state": generator.normal(size=(count, 2)), "reward": generator.normal(size=count).astype(np.float32)},
        stamp_ns=stamp + 10 * np.arange(count),
        episode=np.full(count, episode) + (np.arange(count) >= count // 2),
        terminal=generator.random(count) < 0.1,
        truncated=generator.random(count) < 0.1,
        origins=ORIGINS,
        origin=generator.integers(0, 3, size=count).astype(np.uint32),
    )


def as_list(given: Steps) -> list[tuple[Any, ...]]:
    columns = [given.fields["state"], given.fields["reward"]]
    columns += [getattr(given, name) for name in COLUMNS[2:]]
    return [
        (*(np.asarray(column[i]).tolist() for column in columns), given.origins[given.origin[i]])
        for i in range(len(given))
    ]


def rows_as_list(rows: Any, table: Any) -> list[tuple[Any, ...]]:
    return [(*(row[name].tolist() for name in COLUMNS), table[int(row["origin"])]) for row in rows]
