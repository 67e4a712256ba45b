"""A peer's optimizer in its own environment: ``python plan_peers.py KIND``, then its settings or one cycle a message.

KIND ``mbrl_cem``: mbrl-lib's `TrajectoryOptimizer` with its `CEMOptimizer`, which begins at its last solution moved on
by one step; ``pytorch_mppi``: `MPPI.command`, the same. Both score the same sequences by the same weights as ours: the
rollout as torch compiled it from our modules, kinematics and costs after the horizon and all, and commands made
feasible as ours are. What is theirs is how they sample, weigh and go on, and torch as what computes the rollouts (ours
are computed by ONNX Runtime; `evaluations_ratio` leaves that out). One thread: less processor time than two.
In the first cycle of an episode the answer holds what its plan costs here, so that we can compare.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Cycle = dict[str, Any]
Optimize = Callable[[Cycle], torch.Tensor]


def compete() -> None:
    make, scorers = {"mbrl_cem": mbrl_cem, "pytorch_mppi": pytorch_mppi}[sys.argv[1]], Scorers()
    write, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    with torch.inference_mode():
        for line in sys.stdin:
            message = json.loads(line)
            if "settings" in message:
                settings = message["settings"]
                scorer = scorers.of(settings["rollout"])
                optimize = make(settings, scorer)
                continue
            cycle: Cycle = {name: np.array(value) for name, value in message.items()}
            if cycle["anew"]:
                torch.manual_seed(int(cycle["seed"]))
            began = time.process_time()
            knots = optimize(cycle)
            cpu_ms = (time.process_time() - began) * 1e3
            told = scorer.cost(knots.float().expand(settings["samples"], -1, -1))[0].item() if cycle["anew"] else None
            print(json.dumps([knots.double().tolist(), cpu_ms, told]), file=write, flush=True)


class Scorers:
    """Compiled once: settings that differ in other things than samples share one."""

    def __init__(self) -> None:
        self._opened: dict[str, Scorer] = {}

    def of(self, path: str) -> Scorer:
        """Of the rollout that was compiled to ``path``."""
        if path not in self._opened:
            self._opened[path] = Scorer(torch.jit.freeze(torch.jit.load(path).eval()))
        return self._opened[path]


class Scorer:
    """Costs of sequences in a cycle."""

    def __init__(self, rollout: torch.jit.ScriptModule) -> None:
        self._rollout, self._cycle = rollout, {}

    def begin(self, cycle: Cycle) -> None:
        self._cycle = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in cycle.items()}

    def cost(self, knots: torch.Tensor) -> torch.Tensor:
        """[B] mean over members; not finite is the worst."""
        cycle, feasible = self._cycle, self._feasible(knots)
        before = torch.cat([cycle["first_knot"].expand(len(knots), 1, -1), feasible[:, :-1]], dim=1)
        goals = (cycle["goal_position"], cycle["goal_joint"], cycle["weights"])
        cost = self._rollout(cycle["state"], 0.5 * (before + feasible), *goals).mean(0)
        return torch.nan_to_num(cost, nan=1e9, posinf=1e9, neginf=1e9)

    def _feasible(self, knots: torch.Tensor) -> torch.Tensor:
        cycle = self._cycle
        wanted = torch.clamp(knots, cycle["lower"], cycle["upper"])
        previous, rows = cycle["first_knot"].expand(len(knots), -1), []
        for k in range(knots.shape[1]):
            previous = torch.minimum(torch.maximum(wanted[:, k], previous - cycle["step"]), previous + cycle["step"])
            rows.append(previous)
        return torch.stack(rows, dim=1)


def mbrl_cem(settings: dict[str, Any], scorer: Scorer) -> Optimize:
    import omegaconf
    from mbrl.planning import TrajectoryOptimizer

    made: list[Any] = []

    def optimize(cycle: Cycle) -> torch.Tensor:
        scorer.begin(cycle)
        if cycle["anew"] or not made:
            own = {
                "_target_": "mbrl.planning.CEMOptimizer",
                "num_iterations": settings["iterations"],
                "population_size": settings["samples"],
                "elite_ratio": max(0.1, 2.0 / settings["samples"]),  # of one elite it takes a variance, which is NaN
                "alpha": 0.1,
                "device": "cpu",
                "lower_bound": "???",
                "upper_bound": "???",
            }
            bounds = cycle["lower"], cycle["upper"]
            config = omegaconf.OmegaConf.create(own)
            made[:] = [TrajectoryOptimizer(config, *bounds, planning_horizon=settings["horizon"])]
        if settings["noise"] != "own":
            variance = _deviation(settings, cycle).square().expand(settings["horizon"], -1)
            require(made[0].optimizer, "_init_population_params")
            made[0].optimizer._init_population_params = lambda mean: (mean.clone(), variance.clone())
        best = made[0].optimize(lambda knots: -scorer.cost(knots.float()))
        return torch.as_tensor(np.asarray(best))

    return optimize


def _deviation(settings: dict[str, Any], cycle: Cycle) -> torch.Tensor:
    """[J] of the random commands."""
    if settings["noise"] == "way":
        return torch.as_tensor(cycle["spread"], dtype=torch.float32)
    largest = 0.5 * (cycle["upper"] - cycle["lower"])
    return torch.as_tensor(settings["noise"] * largest, dtype=torch.float32)


def require(owner: object, *names: str) -> None:
    """What is replaced has to be there: under another name in another version, ours would silently not count."""
    missing = [name for name in names if not hasattr(owner, name)]
    if missing:
        raise AttributeError(f"{owner}: {', '.join(missing)}: this version has another inside; adapt plan_peers.py")


def pytorch_mppi(settings: dict[str, Any], scorer: Scorer) -> Optimize:
    from pytorch_mppi import MPPI

    made: list[Any] = []
    require(MPPI, "_setup_action_cost_fn", "_compute_rollout_costs")

    class Batched(MPPI):
        """Its rollouts as one call instead of one per step; its weights' term in the controls for this cycle's noise,
        or without that term, as ours; its temperature over the costs' spread, as ours, where that is wanted."""

        def _setup_action_cost_fn(self) -> None:
            self._compute_action_cost = lambda noise: self.lambda_ * noise * self._noise_sigma_inv_diag

        def _compute_rollout_costs(self, perturbed: torch.Tensor) -> tuple[torch.Tensor, None, torch.Tensor]:
            cost = scorer.cost(perturbed)
            if settings["scale"] == "spread":
                spread = (cost - cost.min()).median().item()
                self.lambda_ = max(settings["temperature"] * spread, 1e-9)
            return cost, None, perturbed

    def optimize(cycle: Cycle) -> torch.Tensor:
        scorer.begin(cycle)
        deviation = _deviation(settings, cycle)
        if cycle["anew"] or not made:
            lower, upper = (torch.as_tensor(cycle[name], dtype=torch.float32) for name in ("lower", "upper"))
            made[:] = [
                Batched(
                    lambda state, _action: state,
                    lambda state, _action: state[:, 0],
                    len(cycle["state"]),
                    torch.diag(deviation.square()),
                    num_samples=settings["samples"],
                    horizon=settings["horizon"],
                    lambda_=settings["temperature"],
                    u_min=lower,
                    u_max=upper,
                )
            ]
        penalty = deviation.square().reciprocal() if settings["control_cost"] == "own" else torch.zeros_like(deviation)
        made[0]._noise_sigma_sqrt_diag, made[0]._noise_sigma_inv_diag = deviation, penalty
        made[0].command(torch.as_tensor(cycle["state"], dtype=torch.float32))
        return made[0].U

    return optimize


if __name__ == "__main__":
    compete()
