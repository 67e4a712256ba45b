"""Who takes part in `bench plan`, with which settings: the published grid.

One grid of samples and iterations for everybody (pytorch-mppi scores once a cycle), those with a temperature are swept
over that, too. Ours take part without moves from the kinematics among the samples, as the peers have none, and with
them (`+moves`, what is deployed). Random shooting without moves begins anew in every cycle: the simplest baseline. The
width of our random samples follows the way to the goal that the inverse kinematics finds; of the peers' it is swept,
and that very width is one of the values (`way`), mbrl-lib's own, a quarter of the range, another (`own`). pytorch-mppi
weighs its samples by a cost of control, too, which for arms with small noise outweighs the task: it takes part with it
(`control_cost=own`) and without, as ours is, and then also with its temperature over the costs' median excess, as ours
(`scale=spread`). Each front is the best of what its sweep reaches; where the best is at an end of a sweep (`at_edge`),
a wider one might have reached more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

SAMPLES, ITERATIONS = (8, 16, 64, 256), (1, 2, 4)
TEMPERATURES = (0.03, 0.1, 0.3)
"""Of ours, over the costs' median excess above the least."""
MPPI_TEMPERATURES = (0.003, 0.03, 0.3)
"""Of pytorch-mppi, in units of the cost."""
MPPI_WEIGHTS = (
    ("own", "cost", MPPI_TEMPERATURES),
    ("none", "cost", MPPI_TEMPERATURES),
    ("none", "spread", TEMPERATURES),
)
"""Of pytorch-mppi: its cost of control, what its temperature is of, and temperatures."""
CEM_NOISE, MPPI_NOISE = ("own", 0.1, "way"), (0.03, 0.1, 0.3, "way")
"""Standard deviation over the largest command."""
PEERS = ("mbrl_cem", "pytorch_mppi")
FEWER = (1, 2)
"""Iterations of `deployed-1` and `deployed-2`: what a machine that has no time for all of them runs."""
ORACLE = "oracle"
"""icem as deployed, with the plant for a model."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One point of the grid."""

    planner: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Of `PlannerConfig`, or of the peer: samples, iterations, temperature, noise."""

    @property
    def derivatives(self) -> bool:
        """Whether it needs an extended bundle."""
        return "refine" in self.settings or self.settings.get("method") in ("gradient", "ilqr")

    def __str__(self) -> str:
        own = {name: value for name, value in self.settings.items() if name not in ("method", "refine", "informed")}
        return f"{self.planner} " + " ".join(f"{name}={value}" for name, value in own.items())


def grid() -> list[Contestant]:
    """Everybody."""
    budgets = [{"samples": s, "iterations": i} for s, i in product(SAMPLES, ITERATIONS)]
    few = [{"samples": s, "iterations": i} for s, i in product((4, 8), (2, 4))]
    fewer = [Contestant(f"deployed-{count}", {"iterations": count}) for count in FEWER]
    rows = [Contestant("deployed"), Contestant(ORACLE), *fewer]
    for method in ("icem", "cem", "random_shooting"):
        cold = {"warm_elites": 0} if method == "random_shooting" else {}
        rows += [Contestant(method, {"method": method, "informed": False} | cold | budget) for budget in budgets]
        rows += [Contestant(f"{method}+moves", {"method": method} | budget) for budget in budgets]
    for name, informed in (("mppi", False), ("mppi+moves", True)):
        own = {"method": "mppi", "informed": informed}
        rows += [Contestant(name, own | {"temperature": t} | budget) for budget, t in product(budgets, TEMPERATURES)]
    rows += [Contestant(method, {"method": method} | budget) for method in ("gradient", "ilqr") for budget in few]
    for refiner in ("gradient", "ilqr"):
        more = [{"samples": s, "iterations": i} for s, i in product((8, 16), (2, 4))]
        rows += [Contestant(f"icem+{refiner}", {"method": "icem", "refine": refiner} | budget) for budget in more]
    rows += [Contestant("mbrl_cem", budget | {"noise": noise}) for budget, noise in product(budgets, CEM_NOISE)]
    return rows + [
        Contestant("pytorch_mppi", {"samples": s, "temperature": t, "noise": n, "control_cost": cost, "scale": scale})
        for cost, scale, temperatures in MPPI_WEIGHTS
        for s, t, n in product(SAMPLES, temperatures, MPPI_NOISE)
    ]


def at_edge(contestant: Contestant) -> list[str]:
    """Swept numbers of a peer's that are the first or the last of their sweep."""
    own = contestant.settings
    swept: dict[str, tuple[Any, ...]] = {"samples": SAMPLES, "iterations": ITERATIONS, "noise": CEM_NOISE}
    if contestant.planner == "pytorch_mppi":
        temperatures = next(
            t for cost, scale, t in MPPI_WEIGHTS if (cost, scale) == (own["control_cost"], own["scale"])
        )
        swept = {"samples": SAMPLES, "temperature": temperatures, "noise": MPPI_NOISE}
    numbers = {name: [value for value in values if not isinstance(value, str)] for name, values in swept.items()}
    ends = {name: (min(values), max(values)) for name, values in numbers.items() if len(values) > 1}
    return [name for name, both in ends.items() if own[name] in both]
