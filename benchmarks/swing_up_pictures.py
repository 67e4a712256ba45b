"""Pictures of a swing-up: a strip of frames, and angles and torques over time."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.swing_up_run import ARM, SAMPLE_S, UPRIGHT, Trace, static_torque
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.render import load_camera, render_arm

_SIZE, _ROW, _FRAMES = (200, 200), 6, 12
_LINE, _FAINT, _ALARM = "#1f4e8c", "#9db8d9", "#c0392b"


def write_strip(trace: Trace, path: Path) -> None:
    """Frames of one run at even times until half a second after it is upright (or to its end), row after row."""
    arm, camera = load_arm(ARM), load_camera(ARM)
    end = min(len(trace.position) - 1, int(min(trace.upright_after_s + 0.5, 1e6) / SAMPLE_S))
    frames = []
    for index in np.linspace(0, end, _FRAMES).astype(int):
        picture = Image.fromarray(render_arm(arm, trace.position[index], camera, *_SIZE))
        caption = f"{index * SAMPLE_S:.2f} s  {trace.effort[index, 0]:+.0f} N m"
        ImageDraw.Draw(picture).text((6, 4), caption, fill=(20, 20, 20))
        frames.append(np.asarray(picture))
    rows = [np.hstack(frames[begin : begin + _ROW]) for begin in range(0, _FRAMES, _ROW)]
    Image.fromarray(np.vstack(rows)).save(path)


def write_plot(traces: dict[str, list[Trace]], path: Path) -> None:
    """Joint angles above, shoulder torque below; a column per controller, all starts faint, the first in full."""
    static = float(static_torque(load_arm(ARM, CommandInterface.EFFORT))[0])
    size = (3.8 * len(traces), 5.0)
    figure, axes = plt.subplots(2, len(traces), figsize=size, sharex=True, sharey="row", layout="constrained")
    for (angle, torque), (name, runs) in zip(axes.T, traces.items(), strict=True):
        for number, run in reversed(list(enumerate(runs))):
            time = np.arange(len(run.position)) * SAMPLE_S
            color, width = (_FAINT, 0.8) if number else (_LINE, 1.8)
            angle.plot(time, run.position[:, 0], color=color, linewidth=width)
            torque.plot(time, run.effort[:, 0], color=color, linewidth=width)
        angle.plot(time, runs[0].position[:, 1], color=_LINE, linewidth=1.0, linestyle=":", label="elbow")
        for level in (UPRIGHT[0], -UPRIGHT[0]):
            angle.axhline(level, color=_ALARM, linewidth=0.8)
        torque.axhline(static, color=_ALARM, linewidth=0.8, label="static, horizontal")
        angle.set(title=name.replace("_", " "))
        torque.set(xlabel="s")
    axes[0, 0].set_ylabel("shoulder, rad")
    axes[1, 0].set_ylabel("shoulder torque, N m")
    for axis in axes[:, 0]:
        axis.legend(loc="lower right", frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)
