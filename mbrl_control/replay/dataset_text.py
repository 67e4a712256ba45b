"""The figures of a dataset or of one log for people, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from mbrl_control.replay.columns import Repair
from mbrl_control.replay.dataset import DatasetFigures, Imported, LogFigures, RegimeFigures
from mbrl_control.replay.joint_coverage import Coverage, JointFigures

_SHOWN = 20
"""Of a list; `dataset.json` has all."""


def dataset_text(figures: DatasetFigures) -> str:
    """`dataset_card.md`."""
    newest = figures.regimes[-1]
    lines = [
        "# What this model was learned from",
        "",
        f"- {figures.robot}, {figures.interface} commands, joints {', '.join(figures.joint_names)}",
        f"- {sum(log.seconds for log in figures.logs) / 60.0:.2f} minutes in {len(figures.logs)} logs; {figures.rows} "
        f"rows, {figures.trained_on} learned from; steps of {figures.dt_s * 1e3:g} ms, {figures.history} past commands",
        f"- delay from command to motion, found in these logs: {figures.delay_s * 1e3:.1f} ms",
        f"- held out: of every {figures.held_out.of_blocks} blocks of {figures.held_out.block_s:g} s the one whose "
        f"number since 1970 has the lowest SHA-256, less {figures.held_out.margin_s:g} s at both ends",
        "",
        "## Regimes",
        "",
        "| | log | declared payload, kg | rows | held out | blocks | counts as |",
        "|---|---|---|---|---|---|---|",
        *map(_regime, figures.regimes[-_SHOWN:]),
        "",
        f"The newest regime is what the model is for, and judges it: {newest.payload_kg:g} kg, {_together(figures)}.",
    ]
    for log in figures.logs[-_SHOWN:]:
        lines += ["", f"## {log.source.log}", "", *log_lines(log)]
    hidden = len(figures.logs) - len(figures.logs[-_SHOWN:])
    lines += ["", f"And {hidden} older logs: `dataset.json` has all."] if hidden else []
    return "\n".join([*lines, "", *limits(figures.joints, figures.coverage, (newest.payload_kg,)), ""])


def log_lines(log: LogFigures) -> list[str]:
    """Of one log."""
    source = log.source
    lines = [f"- {log.begin} to {log.end}, {log.seconds / 60.0:.2f} minutes, {log.interface} commands"]
    if source.phase is not None:
        lines.append(f"- only the newest stretch of phase `{source.phase}`")
    if source.newest_s is not None:
        lines.append(f"- only the last {source.newest_s:g} s")
    lines.append(f"- declared payload: {', '.join(f'{mass:g}' for mass in log.payloads_kg[-_SHOWN:])} kg")
    for kind, stream in (("state", log.state), ("commands", log.command)):
        lines.append(
            f"- {kind}: {stream.messages}, usually {stream.usual_hz:.1f} Hz, {stream.gaps} gaps, longest interval "
            f"{stream.longest_ms:.1f} ms"
        )
    lines.append(f"- rows: {log.rows} of {log.moments}")
    lines += [f"- left out, {why}: {count} rows" for why, count in log.left_out.items()]
    lines += [f"- {mended}" for mended in mended_lines(log.effort_absent, log.repairs)]
    lines += [f"- {file.name}: {file.bytes} bytes, sha256 {file.sha256}" for file in source.files[-_SHOWN:]]
    hidden = len(source.files) - len(source.files[-_SHOWN:])
    lines += [f"- and {hidden} older files"] if hidden else []
    return lines + ([] if source.imported is None else _imported(source.imported))


def mended_lines(effort_absent: Sequence[str], repairs: Sequence[Repair]) -> list[str]:
    """What was not taken from a log as it stands there."""
    lines = [f"{repair.field}: {repair.what}: {repair.told}" for repair in repairs]
    if effort_absent:
        joints = ", ".join(effort_absent)
        lines.append(f"effort absent ({joints}): zeros in its place; what a model says of these efforts means nothing")
    return lines


def limits(joints: Sequence[JointFigures], coverage: Coverage | None, payloads_kg: Sequence[float]) -> list[str]:
    """Where there is no data, and so nothing to rely on."""
    lines = [
        "## Limits of use",
        "",
        "| joint | seen, rad | range, rad | speed, rad/s: 99 % (highest) | rated | command | effort, N m |",
        "|---|---|---|---|---|---|---|",
        *map(_joint, joints),
        "",
    ]
    lines += [f"- {joint.joint}: {_missing(joint)}" for joint in joints]
    if coverage is not None:
        lines.append(
            f"- {coverage.share:.1%} of {coverage.poses} uniform poses in the work box have a row within "
            f"{coverage.near_rad:g} rad of every joint: elsewhere the model's spread is what tells"
        )
    told = ", ".join(f"{mass:g}" for mass in sorted(set(payloads_kg)))
    return [*lines, f"- loads other than {told} kg, and anything that touches the arm, are not in the data"]


def _joint(joint: JointFigures) -> str:
    rated = "-" if joint.speed_limit is None else f"{joint.speed_limit:.2f}"
    return (
        f"| {joint.joint} | {joint.least:.3f} to {joint.most:.3f} | {joint.lower:.3f} to {joint.upper:.3f} | "
        f"{joint.speed_99:.3f} ({joint.speed_most:.3f}) | {rated} | "
        f"{joint.command_least:.3f} to {joint.command_most:.3f} | {joint.effort_least:.2f} to {joint.effort_most:.2f} |"
    )


def _missing(joint: JointFigures) -> str:
    holes = ", ".join(f"{begin:.2f} to {end:.2f}" for begin, end in joint.empty)
    where = f"no data at {holes} rad" if holes else "data in every twentieth of its range"
    slowest = min((each for each in joint.bins if each.rows), key=lambda each: each.speed)
    return (
        f"{where}; none above {joint.speed_most:.2f} rad/s, and at {slowest.begin:.2f} to {slowest.end:.2f} rad none "
        f"above {slowest.speed:.2f}"
    )


def _regime(regime: RegimeFigures) -> str:
    cells = (regime.number, regime.log, f"{regime.payload_kg:g}", regime.rows, regime.held_out_rows)
    counts_as = "newest" if regime.newest else regime.changed or "older"
    return f"| {' | '.join(map(str, cells))} | {regime.held_out_blocks} | {counts_as} |"


def _together(figures: DatasetFigures) -> str:
    """The newest regime in one clause."""
    newest = [regime for regime in figures.regimes if regime.newest]
    rows, blocks = sum(each.rows for each in newest), sum(each.held_out_blocks for each in newest)
    return f"{len(newest)} stretches with {rows} rows and {blocks} held-out blocks"


def _imported(imported: Imported) -> list[str]:
    lines = [
        f"- imported: {imported.usable_s:.2f} s usable, {imported.bad_rows} rows left out, {imported.gaps} gaps; "
        f"velocity {imported.velocity}, effort {imported.effort}"
    ]
    lines += [f"- from {each.name}: {each.bytes} bytes, sha256 {each.sha256}" for each in imported.sources[:_SHOWN]]
    return lines + [f"- {note}" for note in imported.notes[:_SHOWN]]
