"""Plots of a run: tool error per phase, spread against innovation, cycle times against the deadline."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from mbrl_control.replay.held import interpolate
from mbrl_control.report.reach import PHASES, SETTLED_S, tool_error_mm
from mbrl_control.report.run_data import RunData
from mbrl_control.signals import Array
from sim.truth_file import TruthLog

_LINE, _FAINT, _ALARM, _SECOND = "#1f4e8c", "#9db8d9", "#c0392b", "#d98e04"
_DPI = 120
_FLOOR_MS = -5.0
"""Later plans, and cycles without one, are drawn here."""


def plot_tracking(run: RunData, truth: TruthLog, path: Path) -> None:
    """Distance of the tool from its target over time since the goal; one panel per phase, median in bold."""
    figure, axes = plt.subplots(1, len(PHASES), figsize=(15, 3.6), sharey=True, layout="constrained")
    window = max((goal.window_s for goal in run.goals), default=3.0)
    moving = any(goal.path is not None for goal in run.goals)
    grid = np.linspace(0.0, window - 0.01, 300)
    for axis, phase in zip(axes, PHASES, strict=True):
        curves = [tool_error_mm(goal, truth) for goal in run.goals if goal.phase == phase]
        curves = [(time, error) for time, error in curves if len(time) > 1]
        for time, error in curves:
            axis.semilogy(time, np.maximum(error, 0.01), color=_FAINT, linewidth=0.7)
        if curves:
            median = np.median([np.interp(grid, time, error) for time, error in curves], axis=0)
            axis.semilogy(grid, np.maximum(median, 0.01), color=_LINE, linewidth=2.0, label="median")
            axis.legend(loc="upper right", frameon=False)
        if not moving:
            axis.axvspan(window - SETTLED_S, window, color="0.92", zorder=0)
        title = phase if moving else f"{phase} ({len(curves)} targets)"
        axis.set(title=title, xlabel="time since goal, s", xlim=(0.0, window))
        axis.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("tool to target, mm (truth)")
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_spread(run: RunData, path: Path) -> None:
    """Epistemic spread of the plans and the velocity innovation (measured minus predicted) over the run."""
    figure, axis = plt.subplots(figsize=(12, 4), layout="constrained")
    begin = int(run.ticks.stamp_ns[0])
    time = (run.plans.stamp_ns - begin) * 1e-9
    axis.semilogy(time, np.maximum(_innovation(run), 1e-6), ".", color=_FAINT, markersize=2, label="innovation, RMS")
    axis.semilogy(
        time, np.maximum(run.plans.epistemic, 1e-6), ".", color=_SECOND, markersize=2, label="epistemic spread"
    )
    for phase in PHASES:
        starts = [g.stamp_ns for g in run.goals if g.phase == phase]
        if starts:
            x = (min(starts) - begin) * 1e-9
            axis.axvline(x, color="0.5", linewidth=0.8)
            axis.text(x, 1.01, f" {phase}", transform=axis.get_xaxis_transform(), fontsize=8)
    axis.set(xlabel="time of the run, s", ylabel="velocity, rad/s")
    axis.grid(True, which="major", alpha=0.3)
    axis.legend(loc="upper right", markerscale=5)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def plot_cycles(run: RunData, path: Path) -> None:
    """Time left when each plan was published, over the run and as a histogram; below zero it was late."""
    figure, (line, histogram) = plt.subplots(
        1, 2, figsize=(12, 3.8), width_ratios=(3, 1), sharey=True, layout="constrained"
    )
    cycles = run.cycles
    time = (cycles.stamp_ns - int(run.ticks.stamp_ns[0])) * 1e-9
    slack_ms = np.maximum(1e3 * np.nan_to_num(cycles.slack_s, nan=-np.inf), _FLOOR_MS)
    late = ~cycles.on_time
    line.plot(time[~late], slack_ms[~late], ".", color=_LINE, markersize=2, label="in time")
    line.plot(time[late], slack_ms[late], "x", color=_ALARM, markersize=4, label=f"late or no plan ({late.sum()})")
    line.axhline(0.0, color=_ALARM, linewidth=1.0, label="deadline")
    line.set(xlabel="time of the run, s", ylabel="left at publication, ms", ylim=(1.1 * _FLOOR_MS, None))
    line.legend(loc="lower right", fontsize=8)
    bins = np.linspace(_FLOOR_MS, max(1.0, float(slack_ms.max())), 80).tolist()
    histogram.hist(slack_ms, bins=bins, orientation="horizontal", color=_LINE)
    histogram.axhline(0.0, color=_ALARM, linewidth=1.0)
    histogram.set(xscale="log", xlabel="cycles")
    for axis in (line, histogram):
        axis.grid(True, alpha=0.3)
    figure.savefig(path, dpi=_DPI)
    plt.close(figure)


def _innovation(run: RunData) -> Array:
    """[N] rad/s, RMS over joints of measured minus predicted velocity one step after each plan's knot 0."""
    delay_s = np.array([run.delay_s.get(model, 0.0) for model in run.plans.model_id])
    moment = run.plans.start_ns + np.round((delay_s + run.plans.step_s) * 1e9).astype(np.int64)
    measured = interpolate(run.belief_ns, run.belief_velocity, moment)
    return np.asarray(np.sqrt(np.mean((measured - run.plans.velocity) ** 2, axis=1)))
