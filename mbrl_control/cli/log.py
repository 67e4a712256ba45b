"""`mbrl-control log`: what a log holds, a cut-off one finished, tables of it and from tables, played again, pruned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli.errors import UserError

app = typer.Typer(
    help="Episode logs (MCAP; a folder is a rosbag2 bag). Example: mbrl-control log info out/demo/log",
    no_args_is_help=True,
)
LogArgument = Annotated[Path, typer.Argument(metavar="LOG", help="Folder of a run's log, or one MCAP file.")]


@app.command()
def info(log: LogArgument) -> None:
    """Duration, state, files and message counts of a log.

    Example: mbrl-control log info out/demo/log
    """
    from mbrl_control.episode_log.folder import is_written, log_files
    from mbrl_control.episode_log.recovery import log_info

    held, files = log_info(log), log_files(log)
    torn = "being written" if any(is_written(path) for path in files) else "cut off (`log recover` finishes it)"
    state = "finished" if held.finished else f"{torn}, {held.ignored_bytes} bytes of a tail ignored"
    size = sum(path.stat().st_size for path in files)
    typer.echo(f"{log}: {state}, {(held.end_ns - held.start_ns) * 1e-9:.2f} s, {len(files)} files, {size} bytes")
    for topic, count in held.counts:
        typer.echo(f"{count:>9}  {topic}")


@app.command()
def recover(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A log whose writer was killed, and is not running.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="One finished file to write; must not exist. Left out: a folder in place."),
    ] = None,
) -> None:
    """Finish a cut-off log: a folder in its place, damaged files kept beside; or everything readable as one new file.

    Example: mbrl-control log recover out/demo/log
    """
    from mbrl_control.episode_log.bag_metadata import write_metadata
    from mbrl_control.episode_log.folder import is_written, log_files
    from mbrl_control.episode_log.recovery import finish_files
    from mbrl_control.episode_log.recovery import recover as recover_log

    if out is None:
        if not log.is_dir():
            raise UserError(f"{log}: --out: is needed for a single file; name the finished copy to write")
        busy = [path for path in log_files(log) if is_written(path)]
        done = finish_files(log)
        write_metadata(log)
        for path in busy:
            typer.echo(f"{path}: a logger writes to it; left alone", err=True)
    elif out.exists():
        raise UserError(f"{out}: --out: exists already; name a new file")
    else:
        done = [(out, recover_log(log, out))]
    for path, one in done:
        typer.echo(f"{path}: {one.messages} messages")
        if one.damaged_chunks or one.ignored_bytes or one.stopped:
            lost = f"lost: {one.damaged_chunks} damaged chunks, {one.ignored_bytes} bytes of a partial tail"
            typer.echo(f"{lost}{'; unread from there on: ' + one.stopped if one.stopped else ''}", err=True)
    if not done:
        typer.echo(f"{log}: nothing to finish")


@app.command()
def card(
    log: LogArgument,
    robot: Annotated[
        str | None, typer.Option("--robot", help="Its arm, by name or YAML file: ranges and ratings beside the data.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON instead of Markdown.")] = False,
) -> None:
    """What a model could learn from a log, and what not: rows, gaps, delay, payloads, ranges; of an imported one, too.

    Example: mbrl-control log card out/demo/log --robot panda > card.md
    """
    from mbrl_control.cli import log_card

    found = log_card.log_card(log, robot)
    typer.echo(log_card.as_json(found) if as_json else log_card.as_markdown(found))


@app.command()
def export(
    log: LogArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for the tables.")],
    kind: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Only these; several allowed.")] = None,
) -> None:
    """Write one table per topic: a row per message, a column per number, joints by name.

    Example: mbrl-control log export out/demo/log --topic belief --topic safe_command --out tables
    """
    from mbrl_control.episode_log.export import KINDS
    from mbrl_control.episode_log.export import export as export_log

    if kind not in KINDS:
        raise UserError(f"--format: {kind}: not known; choose one of {', '.join(KINDS)}")
    if out.exists():
        raise UserError(f"{out}: --out: exists already; name a new folder")
    for table in export_log(log, out, kind, topic or ()):
        typer.echo(f"{table.rows:>9}  {table.path}")


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="MCAP, rosbag2 folder, CSV, Parquet (or a folder of tables), HDF5."),
    ],
    out: Annotated[Path, typer.Option("--out", help="New folder for the log and its report.")],
    mapping: Annotated[
        Path, typer.Option("--map", metavar="MAP.yaml", help="What SOURCE calls what: docs/importing.md.")
    ],
    robot: Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")],
) -> None:
    """Make a log of a recording from elsewhere, for `retrain --log`; import.md in it says what was done and left out.

    Example: mbrl-control log import recording.csv --out out/imported --map map.yaml --robot panda
    """
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.cli.progress import progress_bar
    from mbrl_control.replay.importing.mapping import load_map
    from mbrl_control.replay.importing.report import TEXT_NAME
    from mbrl_control.replay.importing.run import import_recording
    from mbrl_control.robot import load_arm

    read = load_map(mapping)
    arm = load_arm(arm_file(robot), read.interface)
    with progress_bar() as progress:
        done = import_recording(source, mapping, read, arm, out, progress)
    typer.echo(f"{out}: {done.usable_s:.2f} s usable, {len(done.spans_ns)} spans, {done.messages} messages")
    typer.echo(
        f"{done.bad_count} rows left out, {len(done.state.gaps) + len(done.command.gaps)} gaps: {out / TEXT_NAME}"
    )


@app.command()
def buffer(
    log: LogArgument,
    out: Annotated[Path, typer.Option("--out", help="New folder for the buffer.")],
    robot: Annotated[str, typer.Option("--robot", help="Name of a shipped arm, or a YAML file.")],
    phase: Annotated[str | None, typer.Option("--phase", help="Only the newest stretch of this phase.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Only the last minutes; memory grows with them.", min=0.1)
    ] = None,
    delay_ms: Annotated[
        float | None, typer.Option("--delay-ms", help="Command to motion; left out: estimated.", min=0.0, max=1000.0)
    ] = None,
) -> None:
    """Make a replay buffer of a log, to learn from in Python (docs/replay.md): training rows, each with whose command
    it was, the plan's or, as an intervention, the guard's.

    Example: mbrl-control log buffer out/demo/log --out out/rows --robot panda
    """
    from mbrl_control.cli.locations import arm_file
    from mbrl_control.replay.dataset_text import mended_lines
    from mbrl_control.replay.log_buffer import fill_buffer
    from mbrl_control.replay.streams import read_streams
    from mbrl_control.robot import load_arm

    newest_ns = None if minutes is None else round(60e9 * minutes)
    streams = read_streams(log, phase, newest_ns)
    arm = load_arm(arm_file(robot), streams.interface)
    done = fill_buffer(log, streams, arm, out, None if delay_ms is None else 1e-3 * delay_ms, newest_ns)
    for mended in mended_lines(streams.effort_absent, streams.repairs):
        typer.echo(mended)
    for origin, count in done.rows:
        model = f", model {origin.model}" if origin.model else ""
        typer.echo(f"{count:>9}  {origin.source.name.lower()}: {origin.policy}{model}")
    typer.echo(
        f"{out}: rows every {done.period_ns * 1e-6:g} ms, steps of {done.dt_ns * 1e-6:g} ms, "
        f"{done.episodes} episodes, delay {done.delay_s * 1e3:g} ms"
    )
    typer.echo(
        f"{done.terminal} episodes end terminal, {done.truncated} truncated; "
        f"the log knows {done.task_ends} ends of tasks"
    )


@app.command()
def play(
    log: LogArgument,
    rate: Annotated[float, typer.Option("--rate", help="Of the log's own rhythm.", min=0.01, max=100.0)] = 1.0,
    start: Annotated[float, typer.Option("--start", help="s after the first message.", min=0.0)] = 0.0,
    seconds: Annotated[float, typer.Option("--seconds", help="s of the log; 0: to its end.", min=0.0)] = 0.0,
    topic: Annotated[list[str] | None, typer.Option("--topic", help="Only these; several allowed.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Before every name; begins with `played`.")] = "played",
) -> None:
    """Publish a log again in its own rhythm, as `/played/...`: never under its own names, which a controller may hear.

    Example: mbrl-control log play out/demo/log --rate 0.5 --topic joint_states
    """
    from mbrl_control.cli.play import play as play_log
    from mbrl_control.episode_log.playback import Playback

    play_log(log, Playback(start, seconds, tuple(topic or ())), rate, prefix)


@app.command()
def prune(
    root: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds the runs.")],
    keep_gb: Annotated[float, typer.Option("--keep-gb", help="All logs below FOLDER together, 10^9 bytes.", min=0.0)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove the oldest log files of all runs below a folder until the rest fit; the newest file always stays.

    Example: mbrl-control log prune out --keep-gb 60 --dry-run
    """
    from mbrl_control.episode_log.prune import prune as prune_logs

    done = prune_logs(root, round(keep_gb * 1e9), dry_run)
    for path in done.removed:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    typer.echo(f"{len(done.removed)} files, {done.removed_bytes} bytes; {done.kept_bytes} bytes stay")
