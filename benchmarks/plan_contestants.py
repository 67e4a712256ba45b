"""Who takes part in `bench plan`, with which settings: the published grid.

One grid of samples and iterations for everybody (pytorch-mppi scores once a cycle), those with a temperature are swept
over that, too. Ours take part without moves from the kinematics among the samples, as the peers have none, and with
them (`+moves`, what is deployed). Random shooting without moves begins anew in every cycle: the simplest baseline. The
width of our random samples follows the way to the goal that the inverse kinematics finds; of the peers' it is swept,
and that very width is one of the values (`way`), mbrl-lib's own, a quarter of the range, another (`own`). Each front is
the best of what its sweep reaches.
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
CEM_NOISE, MPPI_NOISE = ("own", 0.1, "way"), (0.03, 0.1, 0.3, "way")
"""Standard deviation over the largest command."""
PEERS = ("mbrl_cem", "pytorch_mppi")
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
    rows = [Contestant("deployed"), Contestant(ORACLE)]
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
    hot = product(SAMPLES, MPPI_TEMPERATURES, MPPI_NOISE)
    return rows + [Contestant("pytorch_mppi", {"samples": s, "temperature": t, "noise": n}) for s, t, n in hot]
