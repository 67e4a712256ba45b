"""Who takes part in `bench plan`, with which settings: one published grid for everybody.

Every planner of ours is swept over samples and iterations, those with a temperature over that, too. `icem_blind` has no
moves from the kinematics among its samples, as the peers have none: what is left is the optimizer. The peers get
their own parameters over the same budgets and beyond: mbrl-lib's CEM up to 512 sequences, pytorch-mppi up to 1024 (it
scores once a cycle). Each front is the best of what its sweep reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

SAMPLES, ITERATIONS = (8, 16, 32, 64), (1, 2, 4)
TEMPERATURES = (0.03, 0.1, 0.3)
CEM_SAMPLES, CEM_ITERATIONS = (64, 128, 256, 512), (2, 4)
MPPI_SAMPLES, MPPI_TEMPERATURES = (64, 128, 256, 512, 1024), (0.003, 0.03, 0.3)
PEERS = ("mbrl_cem", "pytorch_mppi")
ORACLE = "oracle"
"""icem as deployed, with the plant for a model."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """One point of the grid."""

    planner: str
    settings: dict[str, Any] = field(default_factory=dict)
    """Of `PlannerConfig`, or of the peer: samples, iterations, temperature."""

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
        rows += [Contestant(method, {"method": method} | budget) for budget in budgets]
    blind = {"method": "icem", "informed": False}
    rows += [Contestant("icem_blind", blind | budget) for budget in budgets]
    warm = product(budgets, TEMPERATURES)
    rows += [Contestant("mppi", {"method": "mppi", "temperature": t} | budget) for budget, t in warm]
    rows += [Contestant(method, {"method": method} | budget) for method in ("gradient", "ilqr") for budget in few]
    for refiner in ("gradient", "ilqr"):
        more = [{"samples": s, "iterations": i} for s, i in product((8, 16), (2, 4))]
        rows += [Contestant(f"icem+{refiner}", {"method": "icem", "refine": refiner} | budget) for budget in more]
    swept = product(CEM_SAMPLES, CEM_ITERATIONS)
    rows += [Contestant("mbrl_cem", {"samples": s, "iterations": i}) for s, i in swept]
    hot = product(MPPI_SAMPLES, MPPI_TEMPERATURES)
    return rows + [Contestant("pytorch_mppi", {"samples": s, "temperature": t}) for s, t in hot]
