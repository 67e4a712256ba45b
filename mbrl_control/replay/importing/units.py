"""Source units to SI, and the proof that they were those: limits of the arm, and velocity against position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.importing.mapping import ImportMap
from mbrl_control.replay.importing.resample import Resampled
from mbrl_control.replay.importing.series import BadRows, Recording, Series, left_out
from mbrl_control.robot import Arm
from mbrl_control.signals import Array, CommandInterface

_DEGREE = np.pi / 180.0
_MARGIN = 0.05
"""rad and share of the range: a stop that gives way, an encoder's offset."""
_FACTOR = 1.5
"""On velocity, effort and command limits: noise and short peaks."""
_FEW = 0.01
"""Share of rows beyond the limits up to which these are single bad rows and not a wrong unit."""
_SPEED_OVER_S = 0.1
_MOVING = 0.05
"""rad/s RMS of means over that time, below which a joint says nothing about the unit of its velocity."""


def to_si(recording: Recording, mapping: ImportMap) -> Recording:
    """With rad and rad/s in place of degrees."""
    state = {name: values * _scale(mapping, name) for name, values in recording.state.values.items()}
    command = {name: values * _scale(mapping, name) for name, values in recording.command.values.items()}
    return replace(
        recording, state=replace(recording.state, values=state), command=replace(recording.command, values=command)
    )


def within_limits(series: Series, mapping: ImportMap, arm: Arm, source: str) -> tuple[Series, tuple[BadRows, ...]]:
    """Without the rows that the arm cannot have had, each of which cuts the one before it.

    LogError when these are so many that unit or joints are wrong.
    """
    bad: list[BadRows] = []
    for name in series.values:
        values = series.values[name]
        lower, upper = _bounds(arm, name)
        beyond: NDArray[np.bool_] = (values < lower) | (values > upper)
        outside = np.asarray(beyond.any(axis=1))
        if float(outside.mean()) > _FEW:
            raise _refusal(values, beyond, mapping, arm, name, source)
        joints = [arm.joint_names[j] for j in np.flatnonzero(beyond.any(axis=0))]
        bad += left_out(series, outside, f"{name} is beyond the arm's limits ({', '.join(joints)})")
        series = series.without(outside)
    return series, tuple(bad)


def velocity_fits_position(series: Series, bound_ns: int, arm: Arm, source: str) -> None:
    """Slope of the displacement over 0.1 s on the integral of the recorded velocity: 1 when both are of one joint and
    in one unit.

    LogError outside of 0.5..2. Joints that hardly move are not judged: noise of their velocities is no motion.
    """
    if "velocity" not in series.values:
        return
    moved, said, seconds = _displacements(series, bound_ns)
    power = np.mean((said / seconds) ** 2, axis=0) if len(said) else np.zeros(arm.joints)
    for joint in np.flatnonzero(np.sqrt(power) > _MOVING).tolist():
        slope = float(np.sum(moved[:, joint] * said[:, joint]) / np.sum(said[:, joint] ** 2))
        if not 0.5 <= slope <= 2.0:
            problem = f"positions of {arm.joint_names[joint]} change {slope:.3g} times as fast as its velocity says"
            remedy = "correct joints, columns, time unit or `unit: deg` (of both); or leave velocity out: it is derived"
            raise LogError(source, "velocity", problem, remedy)


def _displacements(series: Series, bound_ns: int) -> tuple[Array, Array, Array]:
    """[M, J] changes of the positions, [M, J] integrals of the velocities (trapezoids) and [M, 1] s in which, over 0.1
    s, or what is left of a stretch without a gap."""
    stamp, position, velocity = series.stamp_ns, series.values["position"], series.values["velocity"]
    interval = np.diff(stamp)
    joined = (interval <= bound_ns) & (np.diff(series.part) == 0)
    area = 0.5 * (velocity[1:] + velocity[:-1]) * (interval * 1e-9)[:, None]
    area[~joined] = 0.0
    integral: Array = np.vstack([np.zeros((1, position.shape[1])), np.cumsum(area, axis=0)])
    stretch = np.concatenate([[0], np.cumsum(~joined)])
    last = np.searchsorted(stretch, stretch, side="right") - 1
    later = np.minimum(np.searchsorted(stamp, stamp + round(_SPEED_OVER_S * 1e9)), last)
    first = np.flatnonzero(later > np.arange(len(stamp)))
    later = later[first]
    seconds = np.asarray((stamp[later] - stamp[first])[:, None] * 1e-9, dtype=np.float64)
    return position[later] - position[first], integral[later] - integral[first], seconds


def speed_within_limits(state: Resampled, arm: Arm, source: str) -> None:
    """LogError where positions change faster than the arm can move: a wrong time unit shows, also without velocities.

    Judged over 0.1 s, or a quarter of a shorter stretch, where noise of positions does not matter.
    """
    period_s = state.grid.period_ns * 1e-9
    speeds = [np.empty((0, arm.joints))]
    for stretch in state.stretches:
        position = stretch.values["position"]
        apart = max(1, min(round(_SPEED_OVER_S / period_s), len(position) // 4))
        speeds.append(np.abs(position[apart:] - position[:-apart]) / (apart * period_s))
    speed, limit = np.concatenate(speeds), _FACTOR * arm.velocity
    beyond = speed > limit
    if len(speed) and float(beyond.any(axis=1).mean()) > _FEW:
        joint = int(np.argmax(beyond.mean(axis=0)))
        problem = (
            f"{arm.joint_names[joint]} moves at up to {speed[:, joint].max():.3g} rad/s for 0.1 s or less, "
            f"more than {limit[joint]:.3g}"
        )
        raise LogError(source, "time", problem, "correct the time unit, joints or `unit` in the map")


def _scale(mapping: ImportMap, name: str) -> float:
    if name == "effort" or (name == "command" and mapping.interface is CommandInterface.EFFORT):
        return 1.0
    unit = mapping.command_unit or mapping.unit if name == "command" else mapping.unit
    return _DEGREE if unit == "deg" else 1.0


def _bounds(arm: Arm, name: str) -> tuple[Array, Array]:
    if name == "position":
        margin = _MARGIN * (1.0 + arm.upper - arm.lower)
        return arm.lower - margin, arm.upper + margin
    limit = _FACTOR * {"velocity": arm.velocity, "effort": arm.effort, "command": arm.command_limit}[name]
    return -limit, limit


def _refusal(
    values: Array, beyond: NDArray[np.bool_], mapping: ImportMap, arm: Arm, name: str, source: str
) -> LogError:
    joint = int(np.argmax(beyond.mean(axis=0)))
    lower, upper = _bounds(arm, name)
    farthest = float(values[np.argmax(np.abs(values[:, joint])), joint])
    problem = (
        f"{arm.joint_names[joint]} is outside [{lower[joint]:.4g}, {upper[joint]:.4g}] "
        f"in {beyond[:, joint].mean():.0%} of the rows, as far as {farthest:.4g}"
    )
    angular = name != "effort" and not (name == "command" and mapping.interface is CommandInterface.EFFORT)
    field = "command_unit" if name == "command" else "unit"
    degrees = _scale(mapping, name) != 1.0
    other = values / _DEGREE if degrees else values * _DEGREE
    fits = float(((other < lower) | (other > upper)).any(axis=1).mean()) <= _FEW
    if angular and fits and degrees:
        return LogError(source, name, f"{problem}; looks like radians", f"write `{field}: rad` in the map")
    if angular and fits:
        return LogError(source, name, f"{problem}; looks like degrees", f"write `{field}: deg` in the map")
    return LogError(source, name, problem, "correct unit, joints or columns in the map, or name the arm that it is of")
