"""A bundle judged on a log of one's own: is its spread as wide as its errors, and does it say what it does not know?

What `bench calibration` measures in simulation, of one bundle and one recording. The scale of the spread is the
bundle's, from its own held-out motion; beside it stands the best constant spread, which is fitted to the judged rows
themselves and so has an advantage. The innovation of windows tells a changed arm, the members' disagreement a region
that was not learned; both need a null to be read against: the log's own even windows against its odd ones, and another
log, where one is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_control.deployment.manifest import Manifest, Promise
from mbrl_control.dynamics.ensemble import ProbabilisticEnsemble
from mbrl_control.episode_log.errors import LogError
from mbrl_control.learning.calibration import CALIBRATED_STEPS, Errors, fit_scale, judged_as_scaled
from mbrl_control.learning.detection import WINDOWS_NS, auroc
from mbrl_control.learning.promise import window_innovation
from mbrl_control.learning.score import k_step_errors
from mbrl_control.learning.session import Session, residual_unit, window_scores
from mbrl_control.live.drift import QUANTITIES, Drift
from mbrl_control.replay.blocks import split_blocks, thin_to_model_step
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.dataset_text import mended_lines
from mbrl_control.replay.errors import TooLittleData
from mbrl_control.replay.streams import Streams, read_streams
from mbrl_control.replay.transitions import Grid, select, transitions_from_streams
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, Transitions

AHEAD = 15
"""Steps of what is said of windows."""
PICTURE, FIGURES = "reliability.png", "judged.json"
SCORES = ("innovation", *QUANTITIES, "disagreement")


class CannotJudge(ValueError):
    """A bundle that states no spread, or none that was ever scaled."""


@dataclass(frozen=True, slots=True)
class Judge:
    """A bundle, as far as it judges logs."""

    manifest: Manifest
    ensemble: ProbabilisticEnsemble
    arm: Arm

    @property
    def scales(self) -> dict[int, Array]:
        """[3J] by steps ahead; CannotJudge where it has none."""
        training = self.manifest.training
        found = {} if training is None else {each.steps: np.array(each.scale) for each in training.calibration}
        if not set(CALIBRATED_STEPS) <= set(found):
            raise CannotJudge(
                f"{self.manifest.model_id}: manifest.json: training.calibration: states no scale for its spread (a "
                "prior, or a bundle from before it was stated); judge a retrained one"
            )
        return found


def judge_log(judge: Judge, log: Path, phase: str | None, newest_s: float | None, null: Path | None) -> dict[str, Any]:
    """Figures of ``log``, JSON-ready but for the diagram's data in `spreads`; see the module.

    ``null``: a log of the unchanged arm to compare with, whole. CannotJudge, LogError, TooLittleData, DataError.
    """
    scales, streams = judge.scales, _streams(log, judge.arm, phase, newest_s)
    rows, unseen = judged_rows(streams, judge)
    session = Session.of(judge.ensemble, rows)
    figures = {
        "model_id": judge.manifest.model_id,
        "log": str(log),
        "rows": len(rows),
        "rows_judged": "all" if unseen else "held out",
        "mended": mended_lines(streams.effort_absent, streams.repairs),
        "payloads_kg": streams.payloads_kg,
        "learned_kg": None if judge.manifest.training is None else judge.manifest.training.payload_kg,
        **calibration_figures(session, scales),
        "errors": [asdict(each) for each in k_step_errors(judge.ensemble, rows, np.arange(len(rows)))],
        "innovation": innovation_figures(judge, session, scales[AHEAD]),
        "promise": promise_figures(judge, rows, scales[AHEAD]),
        "spread": spread_figures(judge, session),
    }
    if null is not None:
        theirs = Session.of(judge.ensemble, judged_rows(_streams(null, judge.arm, None, None), judge)[0])
        figures |= {"null": str(null), "auroc": auroc_figures(judge, theirs, session, scales[AHEAD])}
    return figures | {"spreads": {steps: _spreads(session, steps, scales[steps]) for steps in CALIBRATED_STEPS}}


def judged_rows(streams: Streams, judge: Judge) -> tuple[Transitions, bool]:
    """Rows [N] one model step apart; and whether they are all rows of the log.

    Of a log that begins before the newest state that the bundle has learned from they are only those of the blocks that
    no model learns from: it may be one of its own. TooLittleData where there is none.
    """
    grid = Grid(judge.manifest.delay_s, round(judge.manifest.dt_s * 1e9), judge.manifest.history)
    rows = on_command_side(transitions_from_streams([streams], grid), judge.arm)
    training = judge.manifest.training
    unseen = training is None or int(streams.belief_ns[0]) > training.newest_ns
    if not unseen:
        rows = select(rows, split_blocks(rows, grid.stride_ns).held)
    if not len(rows):
        raise TooLittleData(
            "log: no held-out block of 2 s, and the bundle may have learned from the rest; give a later or longer log"
        )
    return thin_to_model_step(rows, grid.stride_ns, grid.dt_ns), unseen


def calibration_figures(session: Session, scales: Mapping[int, Array]) -> dict[str, Any]:
    """Of the spread with the bundle's ``scales``, and of the best constant one."""
    one, far = (judged_as_scaled(each, scales[each], Errors.of(session.ahead[each])) for each in CALIBRATED_STEPS)
    return {
        "ece_1": one.ece,
        "ece_15": far.ece,
        "ece_constant_1": one.ece_constant,
        "ece_constant_15": far.ece_constant,
        "nll": one.nll,
        "nll_constant": one.nll_constant,
        "sharpness_ratio": far.sharpness_ratio,
        "calibration": {each.steps: _without_scale(asdict(each)) for each in (one, far)},
    }


def innovation_figures(judge: Judge, session: Session, scale: Array) -> dict[str, dict[str, float | int | None]]:
    """By length of window: how many with motion, mean of each quantity (1 is as stated), and the AUROC of even windows
    against odd ones, which chance makes 0.5; None where there are too few."""
    found: dict[str, dict[str, float | int | None]] = {}
    for window_ns, scores in _scores(judge, session, scale).items():
        windows = scores["innovation"]
        means = {name: float(scores[name].mean()) if len(windows) else None for name in QUANTITIES}
        null = auroc(windows[::2], windows[1::2]) if len(windows) > 1 else None
        found[_said(window_ns)] = {"windows": len(windows), **means, "null": null}
    return found


def auroc_figures(judge: Judge, null: Session, session: Session, scale: Array) -> dict[str, dict[str, float | None]]:
    """By length of window and score: how well the log's windows are told from those of the null; None where either has
    no window of motion."""
    ours, theirs = (_scores(judge, each, scale) for each in (session, null))
    found: dict[str, dict[str, float | None]] = {}
    for window_ns in WINDOWS_NS:
        pairs = {name: (theirs[window_ns][name], ours[window_ns][name]) for name in SCORES}
        found[_said(window_ns)] = {name: auroc(*pair) if all(map(len, pair)) else None for name, pair in pairs.items()}
    return found


def promise_figures(judge: Judge, rows: Transitions, scale: Array) -> dict[str, Any] | None:
    """What a running graph would have said of these windows (`live.drift`); None where nothing was promised."""
    promise = None if judge.manifest.training is None else judge.manifest.training.promise
    if promise is None:
        return None
    scores = window_innovation(judge.ensemble, rows, scale)
    return {"windows": len(scores), "exceeded": _exceeded(promise, scores)}


def spread_figures(judge: Judge, session: Session) -> dict[str, float | None]:
    """rad/s, members' disagreement about the joints' velocities after 15 steps, as the planner's graph states it; and
    the share of predictions beyond what 99 % of the bundle's own held-out motion stayed below."""
    joints, training = judge.arm.joints, judge.manifest.training
    between = session.ahead[AHEAD].epistemic[:, joints : 2 * joints]
    spread = np.sqrt(between.mean(axis=1))
    median, high = np.quantile(spread, [0.5, 0.99]).tolist()
    stated = None if training is None or len(training.spread) < AHEAD else training.spread[AHEAD - 1]
    beyond = None if stated is None else float((spread > stated).mean())
    return {"median": median, "p99": high, "stated_p99": stated, "share_beyond": beyond}


def write_judged(figures: Mapping[str, Any], out: Path, judged_on: str) -> dict[str, Any]:
    """The diagram and the figures into the folder ``out``; what is left to print."""
    from mbrl_control.learning.reliability_plot import plot_reliability  # a second of matplotlib

    said = {name: value for name, value in figures.items() if name != "spreads"}
    out.mkdir(parents=True, exist_ok=True)
    plot_reliability(figures["spreads"], out / PICTURE, judged_on)
    said["plots"] = [str(out / PICTURE)]
    (out / FIGURES).write_text(json.dumps(said, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return said


def _streams(log: Path, arm: Arm, phase: str | None, newest_s: float | None) -> Streams:
    streams = read_streams(log, phase, None if newest_s is None else round(newest_s * 1e9))
    if streams.joint_names != arm.joint_names:
        problem = f"{list(streams.joint_names)} are not those of {arm.name}"
        raise LogError(log, "belief.joint_names", problem, "give a log of this arm, or say --robot")
    if streams.interface is not arm.interface:
        problem = f"holds {streams.interface} commands, the model takes {arm.interface}"
        raise LogError(log, "safe_command.interface", problem, "say --command as the log was made")
    return streams


def _scores(judge: Judge, session: Session, scale: Array) -> dict[int, dict[str, Array]]:
    unit = residual_unit(judge.ensemble)
    return {window_ns: window_scores(session, AHEAD, scale, unit, window_ns) for window_ns in WINDOWS_NS}


def _exceeded(promise: Promise, scores: Array) -> list[str]:
    """Quantities that were beyond the promise at any time."""
    drift, found = Drift(promise), set()
    for window in scores:
        drift.add(window)
        found |= set(drift.exceeded)
    return [name for name in QUANTITIES if name in found]


def _spreads(session: Session, steps: int, scale: Array) -> dict[str, Errors]:
    errors = Errors.of(session.ahead[steps])
    constant = errors.constant()
    return {
        "as predicted": errors,
        "scaled": errors.scaled(scale),
        "best constant": constant.scaled(fit_scale(constant)),
    }


def _without_scale(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in ("scale", "steps")}


def _said(window_ns: int) -> str:
    return f"{window_ns / 1e9:g}_s"
