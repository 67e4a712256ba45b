"""Pictures of the run from the simulator's truth: a strip of frames per phase, and a short film of the last one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mbrl_control.report.run_data import GoalEvent
from sim.render import Renderer
from sim.truth_file import TruthLog

SIZE = (240, 180)
STRIP_TIMES_S = (0.0, 0.4, 0.8, 1.2, 2.9)
FILM_TARGETS = 3
FRAME_S = 0.1


def write_frames(goals: tuple[GoalEvent, ...], truth: TruthLog, draw: Renderer, folder: Path) -> None:
    """frames.png: rows are the phases' first targets, columns times after the goal; film.gif: the last phase."""
    phases = list(dict.fromkeys(goal.phase for goal in goals))
    if not phases:
        return
    rows = []
    for phase in phases:
        first = next(goal for goal in goals if goal.phase == phase)
        rows.append([_frame(first, truth, draw, seconds) for seconds in STRIP_TIMES_S])
    Image.fromarray(np.vstack([np.hstack(row) for row in rows])).save(folder / "frames.png")
    filmed = [goal for goal in goals if goal.phase == phases[-1]][:FILM_TARGETS]
    times = np.arange(0.0, 3.0, FRAME_S)
    film = [Image.fromarray(_frame(goal, truth, draw, float(t))) for goal in filmed for t in times]
    film[0].save(folder / "film.gif", save_all=True, append_images=film[1:], duration=round(FRAME_S * 1000), loop=0)


def _frame(goal: GoalEvent, truth: TruthLog, draw: Renderer, seconds: float) -> NDArray[np.uint8]:
    index = int(np.searchsorted(truth.stamp_ns, goal.stamp_ns + round(seconds * 1e9)))
    index = min(index, len(truth.stamp_ns) - 1)
    place = goal.place(np.array([seconds]))[0]
    picture = Image.fromarray(draw(truth.position[index], *SIZE, place))
    error_mm = 1e3 * float(np.linalg.norm(truth.tool[index] - place))
    load = f", {truth.payload_mass[index]:.0f} kg" if truth.payload_mass[index] > 0.0 else ""
    caption = f"{goal.phase}{load}  {seconds:.1f} s  {error_mm:.1f} mm"
    ImageDraw.Draw(picture).text((6, 4), caption, fill=(20, 20, 20))
    return np.asarray(picture)
