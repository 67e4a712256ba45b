"""Closed loop, all planners, ours and the peers', on the same weights: processor time per plan against cost.

Tasks: the planar arm's swing-up under torques, and a reach and a figure eight of the Panda under velocities, in virtual
time against MuJoCo's plant. Everybody has the same model (the shipped bundle; the swing-up's is learned at the
beginning), the same costs, limits, beliefs and starts; settings are swept on one grid (benchmarks/plan_contestants.py):
each plays `--screen` episodes (after the first only where no cheaper one of its planner clearly beat it), and the front
of every planner there the `--episodes` that count, of other seeds (benchmarks/plan_schedule.py).

    cpu_ratio        = the least, over the front of a peer, of its processor time per plan over the least of ours that
                       costs no more, over the episode and at its end; the peer's is of its optimizer alone, ours of the
                       whole cycle. Settings are chosen on one half of the episodes and compared on the other, both
                       ways; cost_ratio and end_ratio are ours over theirs there: beyond 1.05 the costs were not equal,
                       which is a miss. `at_best`: at the peer's point of least cost alone
    cpu_ratio_blind  = the same for our icem without moves from the kinematics
    cpu_ratio_optimizers = as cpu_ratio, of the optimizers alone: without belief, goal and plan, that peers need as well
    evaluations_ratio, beside it: of the sequences that are scored per plan, which no library has a part in: the peers'
                       rollouts are computed by torch, ours by ONNX Runtime (`bench rollout` compares those)
    at_edge          = what of a peer's best setting is at an end of its sweep; of noise and temperature a miss
    regret_vs_oracle = the deployed planner's episode costs over those with the plant itself as its model; `end`: the
                       same over the last half second, where the way there no longer counts. In virtual time all of the
                       iterations are done, and `bench rate` says how many there is time for; `regret_iterations`: with
                       one and two of them over the plant's three

Intervals: the middle 95 % over resampled episodes. Example: `mbrl-control bench plan --episodes 20 --out out/plan`.
Ends with one line of JSON; hours: 344 settings play at most 688 episodes of each task in the screening, about 80 of
them 20 more. What was killed goes on with `--resume`: `episodes.csv` and, beside it, the learned weights are all it
needs, here or on another machine. There only the screening and finished tasks count on, since processor times of two
machines do not compare; so give a session whole tasks (`--tasks reach`). A finished one is summed up again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import peers_python
from benchmarks.plan_contestants import FEWER, ORACLE, PEERS, SAMPLES, Contestant, at_edge, grid
from benchmarks.plan_figures import Point, best_of, cpu_ratio, of_optimizers, picture, points_of, regret, table
from benchmarks.plan_oracle import Oracle
from benchmarks.plan_peer_client import Ours, Peer, Peers
from benchmarks.plan_rows import EPISODES, NotToBeResumed, Row, RowFile, machine, read_rows, require_model
from benchmarks.plan_schedule import Turn, comparable, finalists, pending, screening_seeds
from benchmarks.plan_tasks import TASKS, Task, run_episode
from benchmarks.plan_weights import fingerprint
from mbrl_control.cli.session import new_folder
from mbrl_control.deployment.bundle import Origin, write_bundle
from mbrl_control.deployment.evaluator import load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import RolloutGraph
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.planner_model import opening_of, planning_model
from mbrl_control.planning.config import PlannerConfig
from mbrl_control.planning.planner import Planner, PlanningModel
from mbrl_control.replay.transitions import history_of
from sim.lockstep import Lockstep
from sim.mujoco_arm import MujocoArm

TARGETS = {"cpu_ratio": 3.0, "regret_vs_oracle": 1.10}
EQUAL = 1.05
"""Ratio of costs that still counts as equal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    names = list(dict.fromkeys(contestant.planner for contestant in grid()))
    parser.add_argument("--planners", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--most-samples", type=int, default=max(SAMPLES), help="leave out the larger settings: a quick look"
    )
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--screen", type=int, default=2, help="episodes of every setting before those; 0: all play all")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--out", type=Path, default=Path("out/plan"), help="new folder: episodes.csv, fronts.png")
    parser.add_argument("--resume", action="store_true", help="go on where the episodes.csv in --out ends")
    options = parser.parse_args()
    if options.resume and not (options.out / EPISODES).exists():
        parser.error(f"--resume: {options.out / EPISODES} does not exist; leave it out to begin")
    folder, began = options.out if options.resume else new_folder(options.out), time.monotonic()
    contest = Contest.of(options, machine())
    try:
        rows = contest.comparable(read_rows(folder / EPISODES)) if options.resume else []
        with RowFile(folder / EPISODES) as file:
            for row in episodes(contest, rows, folder):
                file.append(row)
    except NotToBeResumed as error:
        parser.error(str(error))
    rows = contest.counted(rows)
    picture(rows, {name: TASKS[name].unit for name in options.tasks}, folder / "fronts.png")
    files = {"csv": str(folder / EPISODES), "picture": str(folder / "fronts.png")}
    print(json.dumps(figures(rows, options) | files | {"wall_s": round(time.monotonic() - began, 1)}), flush=True)


@dataclass(frozen=True, slots=True)
class Contest:
    """Who plays which episodes, and where."""

    contestants: tuple[Contestant, ...]
    tasks: tuple[str, ...]
    screened: range
    counting: range
    """Seeds."""
    machine: str

    @staticmethod
    def of(options: argparse.Namespace, machine_name: str) -> Contest:
        contestants = [
            one
            for one in grid()
            if one.planner in options.planners and one.settings.get("samples", 0) <= options.most_samples
        ]
        counting = range(options.seed, options.seed + options.episodes)
        screened = screening_seeds(options.seed, options.screen)
        return Contest(tuple(contestants), tuple(options.tasks), screened, counting, machine_name)

    def pending(self, rows: Sequence[Row], task: str) -> list[Turn]:
        """See `plan_schedule.pending`."""
        return pending(self.contestants, self.screened, self.counting, rows, task)

    def comparable(self, rows: Sequence[Row]) -> list[Row]:
        """See `plan_schedule.comparable`; what is set aside is said."""
        kept = comparable(self.contestants, self.screened, self.counting, rows, self.machine)
        if len(kept) < len(rows):
            say(f"{len(rows) - len(kept)} episodes of another machine are set aside: their task is played on this one")
        return kept

    def counted(self, rows: Sequence[Row]) -> list[Row]:
        """The finalists' episodes that count."""
        names = {
            task: {str(one) for one in finalists(self.contestants, rows, task, self.screened)} for task in self.tasks
        }
        return [row for row in rows if row.setting in names.get(row.task, ()) and row.seed in self.counting]


def episodes(contest: Contest, rows: list[Row], folder: Path) -> Iterator[Row]:
    """Plays what ``rows`` lacks, task by task; each new row is appended to them, too."""
    left = [name for name in contest.tasks if contest.pending(rows, name)]
    # What cannot be had is found out before hours are spent: the peers' environment, and every task's model.
    if left and any(one.planner in PEERS for one in contest.contestants):
        peers_python()
    with tempfile.TemporaryDirectory() as scratch, Peers() as peers:
        extended = any(one.derivatives for one in contest.contestants)
        stages = [prepare(TASKS[name], Path(scratch) / name, folder, extended) for name in left]
        for stage in stages:
            require_model(rows, stage.task.name, stage.model, folder / EPISODES)
        for stage in stages:
            while own := contest.pending(rows, stage.task.name):
                count = sum(len(seeds) for _, seeds in own)
                say(f"{stage.task.name}: {count} episodes of {len({str(one) for one, _ in own})} settings in this pass")
                for contestant, seeds in own:
                    for row in run(stage, contestant, seeds, contest.machine, peers):
                        rows.append(row)
                        yield row


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class _CostAlone(torch.nn.Module):
    """What a peer asks for: once compiled, all that the cost does not need is gone."""

    def __init__(self, rollout: RolloutGraph) -> None:
        super().__init__()
        self.rollout = rollout

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.rollout(*inputs)[0]


@dataclass(frozen=True, slots=True)
class Stage:
    """A task with its model."""

    task: Task
    ensemble: ProbabilisticEnsemble
    delay_s: float
    model: str
    """Beginning of the weights' hash."""
    bundle: Path
    folder: Path

    def traced(self, samples: int) -> Path:
        """The rollout as torch compiles it, for processes without our modules."""
        path = self.folder / f"rollout_{samples}.pt"
        if not path.exists():
            arm, graph = self.task.arm, self.task.graph
            module = _CostAlone(RolloutGraph(self.ensemble, arm, graph)).eval()
            state = torch.zeros((2 + history_of(arm)) * arm.joints)
            actions, goals = torch.zeros(samples, graph.horizon, arm.joints), torch.zeros(graph.horizon, arm.joints)
            weights = torch.ones(len(module.rollout.term_names))
            with torch.inference_mode():
                inputs = (state, actions, torch.zeros(graph.horizon, 3), goals, weights)
                torch.jit.trace(module, inputs, check_trace=False).save(path)
        return path


def prepare(task: Task, folder: Path, kept: Path, extended: bool) -> Stage:
    """Export the task's weights once into ``folder``; those that are learned here stay in ``kept``."""
    folder.mkdir()
    arm = task.arm
    ensemble, delay_s = task.ensemble(arm, kept)
    registry = Registry(folder / "registry", arm.model_name)
    origin = Origin(time.time_ns(), delay_s)
    bundle, _ = write_bundle(ensemble, arm, registry, origin, task.graph, extended)
    return Stage(task, ensemble, delay_s, fingerprint(ensemble), bundle, folder)


def run(stage: Stage, contestant: Contestant, seeds: list[int], machine_name: str, peers: Peers) -> Iterator[Row]:
    """The episodes of one point of the grid."""
    task, is_peer = stage.task, contestant.planner in PEERS
    optimizer: Peer | Ours = peers.of(contestant.planner, peer_settings(stage, contestant)) if is_peer else Ours()
    config = task.config if is_peer else task.config.model_copy(update=contestant.settings)
    model = model_of(stage, config, contestant.planner == ORACLE)

    def make(lockstep: Lockstep, generator: np.random.Generator) -> Planner:
        planner = Planner(task.arm, config, lockstep.clock, generator, optimizer.optimize)
        planner.use(model)
        return planner

    for seed in seeds:
        optimizer.begin(seed)
        episode = run_episode(task, make, seed)
        alone_ms = float(np.median(optimizer.cpu_ms))
        cpu_ms = alone_ms if is_peer else float(np.median(episode.own_cpu_ms))
        row = Row(
            *(task.name, contestant.planner, str(contestant), seed, round(episode.cost, 5), round(episode.end, 5)),
            *(round(cpu_ms, 4), round(alone_ms, 4), episode.failed, evaluations_of(contestant, config)),
            *(stage.model, machine_name),
        )
        say(str(row))
        yield row


def evaluations_of(contestant: Contestant, config: PlannerConfig) -> int:
    """Sequences scored per plan; pytorch-mppi scores once."""
    own = {"samples": config.samples, "iterations": config.iterations}
    own |= {"iterations": 1} if contestant.planner == "pytorch_mppi" else {}
    samples, iterations = ((own | contestant.settings)[name] for name in ("samples", "iterations"))
    return int(samples * iterations)


def peer_settings(stage: Stage, contestant: Contestant) -> dict[str, Any]:
    """With the compiled rollout of this task."""
    rollout, horizon = stage.traced(contestant.settings["samples"]), stage.task.graph.horizon
    return contestant.settings | {"rollout": str(rollout), "horizon": horizon}


def model_of(stage: Stage, config: PlannerConfig, oracle: bool) -> PlanningModel:
    """As the planner node opens it, or the plant."""
    task = stage.task
    if not oracle:
        return planning_model(load_model(stage.bundle, task.arm, None, opening_of(config)), config)
    plant = MujocoArm(task.arm_path, 0, interface=task.interface)
    model = Oracle(plant.model, stage.ensemble, task.arm, task.graph, config.samples)
    past = history_of(task.arm)
    return PlanningModel(model, model, ORACLE, stage.ensemble.prior.dt_s, stage.delay_s, past)


def figures(rows: list[Row], options: argparse.Namespace) -> dict[str, Any]:
    """JSON-ready."""
    points = {name: points_of(rows, name) for name in options.tasks}
    ours = [name for name in options.planners if name not in (*PEERS, ORACLE)]
    found: dict[str, Any] = {
        "cpu_ratio": {peer: {t: cpu_ratio(p, peer, ours) for t, p in points.items()} for peer in PEERS},
        "cpu_ratio_blind": {peer: {t: cpu_ratio(p, peer, ["icem"]) for t, p in points.items()} for peer in PEERS},
        "cpu_ratio_optimizers": {
            peer: {t: cpu_ratio(of_optimizers(p), peer, ours) for t, p in points.items()} for peer in PEERS
        },
        "at_edge": {peer: {t: edges(p, peer) for t, p in points.items()} for peer in PEERS},
        "regret_vs_oracle": {task: regret(own) for task, own in points.items()},
        "regret_iterations": {
            task: {count: regret(own, f"deployed-{count}") for count in FEWER} for task, own in points.items()
        },
    }
    fronts = {task: table(own) for task, own in points.items()}
    facts = {"episodes": options.episodes, "screened": options.screen}
    facts |= {f"{name}s": _by_task(rows, name) for name in ("machine", "model")}
    return facts | found | {"fronts": fronts, "misses": misses_of(found)}


def edges(points: Sequence[Point], peer: str) -> list[str]:
    """What of its best setting is at an end of the sweep."""
    best, named = best_of(points, peer), {str(one): one for one in grid()}
    return [] if best is None else at_edge(named[best.setting])


def _by_task(rows: list[Row], name: str) -> dict[str, str]:
    """What was one and the same for all that counts in a task."""
    return {row.task: getattr(row, name) for row in rows}


def misses_of(found: dict[str, Any]) -> list[str]:
    """What stays behind `TARGETS` or was not measured, and where the costs were not equal."""
    misses, most = [], TARGETS["regret_vs_oracle"]
    for peer, per_task in found["cpu_ratio"].items():
        for task, value in per_task.items():
            if value is None:
                misses.append(f"cpu_ratio {peer} {task} not measured")
                continue
            if value["value"] < TARGETS["cpu_ratio"]:
                misses.append(f"cpu_ratio {peer} {task} {value['value']} below {TARGETS['cpu_ratio']}")
            unequal = [name for name in ("cost_ratio", "end_ratio") if (value[name] or 0.0) > EQUAL]
            misses += [f"{name} {peer} {task} {value[name]} above {EQUAL}" for name in unequal]
    for peer, per_task in found["at_edge"].items():
        for task, names in per_task.items():
            misses += [f"at_edge {peer} {task} {name}" for name in names if name in ("noise", "temperature")]
    for task, value in found["regret_vs_oracle"].items():
        if value is None:
            misses.append(f"regret_vs_oracle {task} not measured")
            continue
        for name, ratio in (("regret_vs_oracle", value["value"]), ("regret_vs_oracle end", value["end"]["value"])):
            if ratio > most:
                misses.append(f"{name} {task} {ratio} above {most}")
    return misses


if __name__ == "__main__":
    main()
