"""Whether the learned spread is as wide as the errors, and whether it, or the innovation, tells what the model lacks.

Everything in virtual time: one session to learn from, a second to fit the spread's scale on, a third that both are
judged on; then sessions of the same excitation of an arm with +2 kg, with twice the friction, in the other simulator,
in a wider box, and one more of the unchanged arm as the null.

    ece_1, ece_15        calibration error of the scaled spread, mean over outputs (`learning.calibration`); beside them
                         ece_constant_1 and _15 of the best constant spread
    sharpness_ratio      mean std after 15 steps over that of the best constant spread
    auroc_region         members' disagreement one step ahead, as the deployed graph states it (velocities): rows
                         with some joint 0.3-0.6 rad outside the excited range against another session's inside;
                         `region` has it of all outputs, and of the same poses at rest, which no graph computes
    auroc_region_at_rest   the latter
    auroc_region_successor   the least `auroc_region` of `--generations` retrainings after the first, each from its
                         parent's weights with one more session; `lineage` has all
    auroc_payload, auroc_friction   innovation in windows of 1 s of motion, 15 steps ahead; beside them other windows,
                         horizons and quantities, disagreement in the innovation's place, and null against null

    table                prior, prior and residual, pure network; ensemble, dropout, last-layer Laplace: NLL, error
                         after 15 steps, calibration error, processor time of a step of the deployed graph

Writes reliability.png, table.csv and table.md into the output folder. `--no-table` spares five of six fits,
`--generations 0` those of the successors.
Example: `mbrl-control bench calibration --seconds 240`. Ends with one line of JSON; some minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import calibration_table
from benchmarks.calibration_lineage import lineage
from benchmarks.calibration_sessions import (
    FRICTION_FACTOR,
    OUTSIDE_RAD,
    PAYLOAD_KG,
    Bench,
    Plant,
    outside,
)
from mbrl_control.cli.locations import arm_file
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.learning.calibration import CALIBRATED_STEPS, Errors, fit_scale, judged
from mbrl_control.learning.compare import Recorded
from mbrl_control.learning.detection import WINDOWS_NS, auroc, unfamiliar_pose, unfamiliarity
from mbrl_control.learning.reliability_plot import plot_reliability
from mbrl_control.learning.score import k_step_errors
from mbrl_control.learning.session import HORIZONS, Session, residual_unit, velocity_unit, window_scores
from mbrl_control.replay.streams import Streams
from mbrl_control.signals import Array, CommandInterface
from sim.engines import Simulator

AT_MOST = {"ece_1": 0.03, "ece_15": 0.05, "sharpness_ratio": 1.2}
AT_LEAST = {"auroc_region": 0.95, "auroc_region_successor": 0.95, "auroc_payload": 0.95, "auroc_friction": 0.9}
PLANTS = {
    "fit": Plant(),
    "judge": Plant(),
    "null": Plant(),
    "payload": Plant(payload_kg=PAYLOAD_KG),
    "friction": Plant(friction=FRICTION_FACTOR),
    "other_simulator": Plant(simulator=Simulator.PYBULLET),
    "region": Plant(wider_rad=OUTSIDE_RAD[1]),
}
"""Sessions beside the one that is learned from, each with a seed of its own."""
HEADLINE_NS, HEADLINE_STEPS = 1_000_000_000, 15
GROWTH = (1, 2, 5, 10, 15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", type=Path, default=arm_file("panda"))
    parser.add_argument(
        "--command", type=CommandInterface, default=CommandInterface.VELOCITY, help="velocity or effort"
    )
    parser.add_argument("--seconds", type=float, default=240.0, help="of each session")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/calibration"), help="folder of the diagrams")
    parser.add_argument(
        "--table", action=argparse.BooleanOptionalAction, default=True, help="fit and compare all kinds"
    )
    parser.add_argument("--generations", type=int, default=3, help="retrainings after the first")
    options = parser.parse_args()
    began = time.perf_counter()

    def said(text: str) -> None:
        print(f"{time.perf_counter() - began:4.0f} s: {text}", file=sys.stderr, flush=True)

    bench = Bench(options.arm, options.command, options.seconds)
    said("the session that is learned from")
    streams = bench.streams(Plant(), options.seed)
    learned = bench.learned(streams, options.seed)
    asked = _asked(bench, options.seed, said)
    rows = {name: bench.rows(each, learned.delay_s) for name, each in asked.items()}
    sessions = {name: Session.of(learned.fitted.ensemble, each) for name, each in rows.items()}
    excited = bench.rows(streams, learned.delay_s).position
    of_region = {name: asked[name] for name in ("judge", "null", "region")}
    successors = lineage(bench, learned, streams, of_region, region_figures, options.generations, options.seed, said)
    figures = measure(learned.fitted.ensemble, excited, sessions, successors)
    options.out.mkdir(parents=True, exist_ok=True)
    picture = options.out / "reliability.png"
    spreads = {steps: _spreads(sessions, steps) for steps in CALIBRATED_STEPS}
    plot_reliability(spreads, picture, "another session")
    facts: dict[str, Any] = {"plots": [str(picture)]}
    if options.table:
        train = bench.trained_on(streams, learned.delay_s)
        recorded = Recorded(train, sessions["fit"].rows, sessions["judge"].rows)
        table = calibration_table.table(bench, learned, recorded, options.seed, said)
        written = [str(path) for path in calibration_table.write_table(table, options.out)]
        facts |= {"table": [asdict(row) for row in table], "tables": written}
    print(json.dumps(figures | facts | {"wall_s": round(time.perf_counter() - began, 1)}))


def measure(
    ensemble: ProbabilisticEnsemble, excited: Array, sessions: dict[str, Session], successors: list[dict[str, float]]
) -> dict[str, Any]:
    """JSON-ready; positions [N, J] ``excited`` in the session that was learned from; ``successors``: `region_figures`
    of each."""
    judge = sessions["judge"]
    calibrated = {
        steps: judged(steps, Errors.of(sessions["fit"].ahead[steps]), Errors.of(judge.ahead[steps]))
        for steps in CALIBRATED_STEPS
    }
    region = region_figures(ensemble, excited, sessions)
    changes = change_figures(ensemble, sessions)
    figures = {
        "ece_1": calibrated[1].ece,
        "ece_15": calibrated[15].ece,
        "ece_constant_1": calibrated[1].ece_constant,
        "ece_constant_15": calibrated[15].ece_constant,
        "sharpness_ratio": calibrated[15].sharpness_ratio,
        "auroc_region": region["moving_velocity_alone"],
        "auroc_region_at_rest": region["at_rest"],
        **_of_successors(successors),
        "auroc_payload": _headline(changes, "payload"),
        "auroc_friction": _headline(changes, "friction"),
        "auroc_other_simulator": _headline(changes, "other_simulator"),
        "auroc_null": _headline(changes, "null"),
    }
    every = np.arange(len(judge.rows))
    errors = k_step_errors(ensemble, judge.rows, every, GROWTH)
    return {
        **{name: round(value, 4) for name, value in figures.items()},
        "targets": {"at_most": AT_MOST, "at_least": AT_LEAST},
        "misses": misses(figures),
        "calibration": {
            steps: {name: value for name, value in asdict(each).items() if name != "scale"}
            for steps, each in calibrated.items()
        },
        "scale_range": {steps: [min(each.scale), max(each.scale)] for steps, each in calibrated.items()},
        "growth": [asdict(each) for each in errors],
        "region": region,
        "lineage": successors,
        "changes": changes,
    }


def misses(figures: dict[str, float]) -> list[str]:
    """What is beyond its bound, or is no number."""
    above = [
        f"{name} {figures[name]:.4g} above {limit}" for name, limit in AT_MOST.items() if not figures[name] <= limit
    ]
    asked = {name: least for name, least in AT_LEAST.items() if name in figures}
    below = [f"{name} {figures[name]:.4g} below {least}" for name, least in asked.items() if not figures[name] >= least]
    return above + below


def region_figures(ensemble: ProbabilisticEnsemble, excited: Array, sessions: dict[str, Session]) -> dict[str, float]:
    """AUROC of rows outside the excited range against another session's inside it, and how many there are."""
    units = {"all_outputs": residual_unit(ensemble), "velocity_alone": velocity_unit(ensemble)}
    chosen = {name: outside(sessions[name].rows.position, excited) == 0.0 for name in ("judge", "null")}
    beyond = outside(sessions["region"].rows.position, excited)
    chosen["region"] = (beyond >= OUTSIDE_RAD[0]) & (beyond <= OUTSIDE_RAD[1])
    scores: dict[str, dict[str, Array]] = {}
    for name, rows in chosen.items():
        session, one = sessions[name], sessions[name].ahead[1]
        scores[name] = {"at_rest": unfamiliar_pose(ensemble, session.rows.position[rows], units["all_outputs"])}
        for kind, unit in units.items():
            scores[name][f"moving_{kind}"] = unfamiliarity(one, unit)[rows[one.starts]]
    found = {kind: round(auroc(null, scores["region"][kind]), 4) for kind, null in scores["judge"].items()}
    null = {f"null_{kind}": round(auroc(each, scores["null"][kind]), 4) for kind, each in scores["judge"].items()}
    counts = {"rows_outside": float(chosen["region"].sum()), "rows_inside": float(chosen["judge"].sum())}
    return found | null | counts


def change_figures(ensemble: ProbabilisticEnsemble, sessions: dict[str, Session]) -> dict[str, dict[str, float]]:
    """By session, AUROC of its windows against those of the judging session, by horizon, window and score."""
    unit = residual_unit(ensemble)
    scales = {steps: fit_scale(Errors.of(sessions["fit"].ahead[steps])) for steps in HORIZONS}
    found: dict[str, dict[str, float]] = {}
    for name in ("null", "payload", "friction", "other_simulator"):
        found[name] = {}
        for steps in HORIZONS:
            for window_ns in WINDOWS_NS:
                null, changed = (
                    window_scores(sessions[each], steps, scales[steps], unit, window_ns) for each in ("judge", name)
                )
                for score, values in changed.items():
                    found[name][_key(steps, window_ns, score)] = round(auroc(null[score], values), 4)
    return found


def _of_successors(successors: list[dict[str, float]]) -> dict[str, float]:
    """The worst of them; nothing where there are none."""
    if not successors:
        return {}
    return {"auroc_region_successor": min(each["moving_velocity_alone"] for each in successors)}


def _key(steps: int, window_ns: int, score: str) -> str:
    return f"{score}_{steps}_steps_{window_ns / 1e9:g}_s"


def _headline(changes: dict[str, dict[str, float]], name: str) -> float:
    return changes[name][_key(HEADLINE_STEPS, HEADLINE_NS, "innovation")]


def _spreads(sessions: dict[str, Session], steps: int) -> dict[str, Errors]:
    fit, judge = (Errors.of(sessions[name].ahead[steps]) for name in ("fit", "judge"))
    constant = judge.constant().scaled(fit_scale(fit.constant()))
    return {"as predicted": judge, "scaled": judge.scaled(fit_scale(fit)), "best constant": constant}


def _asked(bench: Bench, seed: int, said: Callable[[str], None]) -> dict[str, Streams]:
    """The other sessions."""
    found = {}
    for number, (name, plant) in enumerate(PLANTS.items(), start=1):
        said(name)
        found[name] = bench.streams(plant, seed + 100 * number)
    return found


if __name__ == "__main__":
    main()
