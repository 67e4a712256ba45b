"""D4RL-style HDF5 (flat arrays with ends) and Minari (a group per episode).

Layouts: D4RL, Fu et al., "D4RL: Datasets for Deep Data-Driven Reinforcement Learning", 2020 (`observations`, `actions`,
`terminals`, `timeouts`, one row per step); Minari's documentation, "Dataset standards" (`episode_<n>/observations` has
one row more than `actions`; `terminations`, `truncations`). Neither has time stamps: steps are ``dt_s`` apart, episodes
are laid one after another with a pause between them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.episode_log.unpacking import FREE_BYTES, require_unpacked
from mbrl_control.replay.importing.mapping import Hdf5, ImportMap
from mbrl_control.replay.importing.series import MOST_NUMBERS, UNCUT, Recording, Series, TaskEnd, too_long
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

SUFFIXES = (".h5", ".hdf5")
_EPISODE = re.compile(r"episode_([0-9]{1,9})")
_MINARI_ENDS = ("terminations", "truncations")
_PAUSE_NS = 60_000_000_000
"""Between episodes: as long as the longest bound on gaps that a map may state."""
_BROKEN = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError)
"""What h5py makes of the library's errors about a damaged file."""


@dataclass(frozen=True, slots=True)
class _Episode:
    name: str
    first_row: int
    observations: Array
    actions: Array
    terminal: bool
    """The task was over with the last action; the record was not only cut."""


def read_hdf5(path: Path, mapping: ImportMap, layout: Hdf5, arm: Arm) -> Recording:
    """State and commands of every episode. LogError for a broken file, other shapes, links out of the file."""
    try:
        h5py = import_module("h5py")
    except ModuleNotFoundError as error:
        remedy = "install the extra: pip install 'mbrl_control[data]'"
        raise LogError(path, "format", "HDF5 needs h5py, which is not installed", remedy) from error
    try:
        with h5py.File(path, "r") as file:
            numbered = [match for name in file if (match := _EPISODE.fullmatch(name))]
            if numbered:
                names = [match[0] for match in sorted(numbered, key=lambda match: int(match[1]))]
                episodes, notes = _all_minari(path, h5py, file, names, layout)
            else:
                episodes, notes = _d4rl(path, h5py, file, layout)
    except LogError:
        raise
    except _BROKEN as error:
        problem = f"cannot be read as HDF5 ({_shown(str(error))})"
        raise LogError(path, "file", problem, "give a whole file; copy it anew") from error
    return _recording(path, episodes, notes, mapping, layout, arm)


def _all_minari(
    path: Path, h5py: Any, file: Any, names: list[str], layout: Hdf5
) -> tuple[list[_Episode], tuple[str, ...]]:
    episodes: list[_Episode] = []
    ends: list[dict[str, NDArray[np.bool_]]] = []
    numbers = 0
    for name in names:
        episode, marks = _minari(path, h5py, file, name, layout)
        episodes.append(episode)
        ends.append(marks)
        numbers += episode.observations.size + episode.actions.size + sum(each.size for each in marks.values())
        if numbers > MOST_NUMBERS:  # of few data sets under many names, too
            raise too_long(path, name)
    return episodes, tuple(note for kind in _MINARI_ENDS for note in _minari_notes(kind, ends))


def _minari(path: Path, h5py: Any, file: Any, name: str, layout: Hdf5) -> tuple[_Episode, dict[str, NDArray[np.bool_]]]:
    """An episode, and its steps' marks [N] of each kind that the file has."""
    observations = _matrix(path, h5py, file, f"{name}/{layout.observations}")
    actions = _matrix(path, h5py, file, f"{name}/{layout.actions}")
    if len(observations) != len(actions) + 1:
        problem = f"{len(observations)} rows beside {len(actions)} actions"
        raise LogError(path, f"{name}/{layout.observations}", problem, "Minari has one observation more than actions")
    kinds = [kind for kind in _MINARI_ENDS if kind in file[name]]
    marks = {kind: _marks(path, h5py, file, f"{name}/{kind}", len(actions)) for kind in kinds}
    terminal = bool(marks.get("terminations", np.zeros(1, dtype=np.bool_))[-1:].any())
    return _Episode(name, 0, observations, actions, terminal), marks


def _minari_notes(kind: str, ends: list[dict[str, NDArray[np.bool_]]]) -> list[str]:
    """How many episodes end so; what is missing, or contradicts that an episode ends with its last step."""
    known = [marks[kind] for marks in ends if kind in marks]
    notes = [f"{kind}: {sum(bool(each[-1:].any()) for each in known)}"]
    if missing := len(ends) - len(known):
        notes.append(f"{missing} episodes have no {kind}: none of them ends for that reason")
    if inside := sum(int(np.count_nonzero(each[:-1])) for each in known):
        notes.append(f"{kind} before the last step of an episode: {inside}, passed over: the episode goes on")
    return notes


def _d4rl(path: Path, h5py: Any, file: Any, layout: Hdf5) -> tuple[list[_Episode], tuple[str, ...]]:
    """Split behind every terminal or timeout: the row after it is another episode's first."""
    observations, actions = (_matrix(path, h5py, file, name) for name in (layout.observations, layout.actions))
    if len(observations) != len(actions):
        problem = f"{len(observations)} rows beside {len(actions)} actions"
        raise LogError(path, layout.observations, problem, "D4RL has as many of both; the file may be cut")
    marks = {name: np.zeros(len(actions), dtype=np.bool_) for name in ("terminals", "timeouts")}
    notes: list[str] = []
    for name in marks:
        if name not in file:
            notes.append(f"{path.name} has no {name}: no episode ends for that reason")
            continue
        marks[name] = _marks(path, h5py, file, name, len(actions))
        notes.append(f"{name}: {int(np.count_nonzero(marks[name]))}")
    over = marks["terminals"]  # whether time had run out as well or not
    edges = [0, *(np.flatnonzero(over | marks["timeouts"]) + 1).tolist(), len(actions)]
    return [
        _Episode(
            f"{path.name} episode {number}",
            first,
            observations[first:last],
            actions[first:last],
            terminal=bool(over[last - 1]),
        )
        for number, (first, last) in enumerate(pairwise(edges))
        if last > first
    ], tuple(notes)


def _marks(path: Path, h5py: Any, file: Any, name: str, count: int) -> NDArray[np.bool_]:
    """[N] of each step, whether it is marked; LogError for another number of steps, and for what is no number."""
    marks = _array(path, h5py, file, name).reshape(-1)
    if len(marks) != count:
        raise LogError(path, name, f"{len(marks)} rows beside {count} actions", "the file may be cut")
    if not np.isfinite(marks).all():
        row = int(np.flatnonzero(~np.isfinite(marks))[0])
        raise LogError(path, name, f"row {row} is not finite", "mark every step with 0 or 1")
    return np.asarray(marks != 0)


def _recording(
    path: Path, episodes: list[_Episode], notes: tuple[str, ...], mapping: ImportMap, layout: Hdf5, arm: Arm
) -> Recording:
    if not episodes:
        raise LogError(path, "file", "holds no step", "give a file with episodes")
    step_ns, order = round(layout.dt_s * 1e9), mapping.order(arm)
    lengths = np.array([len(episode.observations) for episode in episodes])
    starts = np.concatenate([[0], np.cumsum(lengths * step_ns + _PAUSE_NS)[:-1]])
    fields = {"position": layout.position, "velocity": layout.velocity, "effort": layout.effort}
    states = [
        {name: _chosen(path, name, e.observations, indices, order) for name, indices in fields.items() if indices}
        for e in episodes
    ]
    scale = np.ones(arm.joints) if layout.action_scale is None else np.asarray(layout.action_scale)[order]
    commands = [{"command": scale * _chosen(path, "command", e.actions, layout.command, order)} for e in episodes]
    task_ends = tuple(
        TaskEnd(start + (len(e.observations) - 1) * step_ns, start + (len(e.actions) - 1) * step_ns)
        for e, start in zip(episodes, starts.tolist(), strict=True)
        if e.terminal
    )
    made = f"stamps are made: {layout.dt_s:g} s from step to step, {_PAUSE_NS * 1e-9:g} s between episodes"
    return Recording(
        _joined(episodes, states, starts, step_ns), _joined(episodes, commands, starts, step_ns), (), (path,),
        (f"{len(episodes)} episodes", made, *notes), task_ends,
    )  # fmt: skip


def _joined(
    episodes: list[_Episode], values: list[dict[str, Array]], starts: NDArray[np.int64], step_ns: int
) -> Series:
    counts = [len(next(iter(each.values()))) for each in values]
    steps = [np.arange(count, dtype=np.int64) for count in counts]
    return Series(
        names=tuple(episode.name for episode in episodes),
        part=np.repeat(np.arange(len(episodes), dtype=np.int64), counts),
        row=np.concatenate([step + e.first_row for step, e in zip(steps, episodes, strict=True)]),
        stamp_ns=np.concatenate([step * step_ns + start for step, start in zip(steps, starts.tolist(), strict=True)]),
        until_ns=np.full(sum(counts), UNCUT),
        values={name: np.concatenate([each[name] for each in values]) for name in values[0]},
    )


def _chosen(path: Path, name: str, matrix: Array, indices: tuple[int, ...], order: list[int]) -> Array:
    if max(indices) >= matrix.shape[1]:
        raise LogError(path, f"hdf5.{name}", f"column {max(indices)} of {matrix.shape[1]}", "correct the map, from 0")
    return np.asarray(matrix[:, [indices[place] for place in order]], dtype=np.float64)


def _matrix(path: Path, h5py: Any, file: Any, name: str) -> Array:
    values = _array(path, h5py, file, name)
    if values.ndim != 2:
        raise LogError(path, name, f"has shape {values.shape}", "name a data set with a row per step and a column each")
    return values


def _array(path: Path, h5py: Any, file: Any, name: str) -> Array:
    """A data set that lies in this file itself, as numbers."""
    place = file
    for key in name.strip("/").split("/"):
        if not isinstance(place, h5py.Group) or key not in place:
            known = ", ".join(map(str, list(place)[:20])) if isinstance(place, h5py.Group) else "none"
            raise LogError(path, name, "is not in the file", f"correct the map; there are: {_shown(known)}")
        if not isinstance(place.get(key, getlink=True), h5py.HardLink):
            raise LogError(path, name, "is a link", "copy the data into the file: links are not followed")
        place = place[key]
    if not isinstance(place, h5py.Dataset) or place.dtype.kind not in "fiub":
        raise LogError(
            path, name, "is no data set of numbers", "correct the map: dictionaries need the path of an array"
        )
    if place.is_virtual or place.external:
        raise LogError(path, name, "lies in another file", "copy the data into the file")
    if place.shape is None:
        raise LogError(path, name, "is empty", "give a file with steps")
    count, chunk = math.prod(place.shape), math.prod(place.chunks or (0,))
    if count > MOST_NUMBERS or chunk * place.dtype.itemsize > FREE_BYTES:
        raise LogError(path, name, f"claims {max(count, chunk)} numbers", "import it in parts")
    require_unpacked(path, name, path.stat().st_size, 8 * count)
    return np.asarray(place[()], dtype=np.float64)


def _shown(text: str) -> str:
    """What comes from the file, as any terminal shows it."""
    return text[:500].encode("ascii", "backslashreplace").decode()
