"""`mbrl-control log`: what a log holds, and a finished copy of one that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mbrl_control.cli.errors import UserError

app = typer.Typer(help="Episode logs (MCAP). Example: mbrl-control log info run.mcap", no_args_is_help=True)


@app.command()
def info(log: Annotated[Path, typer.Argument(metavar="LOG", help="An MCAP log.")]) -> None:
    """Duration, state and message counts of a log.

    Example: mbrl-control log info out/demo.mcap
    """
    from mbrl_control.episode_log.recovery import log_info

    held = log_info(log)
    state = "finished" if held.finished else f"cut off, {held.ignored_bytes} bytes of a partial tail ignored"
    typer.echo(f"{log}: {state}, {(held.end_ns - held.start_ns) * 1e-9:.2f} s")
    for topic, count in held.counts:
        typer.echo(f"{count:>9}  {topic}")


@app.command()
def recover(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="A log whose writer was killed.")],
    out: Annotated[Path, typer.Option("--out", help="Finished copy to write; must not exist.")],
) -> None:
    """Write a finished copy of a cut-off log.

    Example: mbrl-control log recover killed.mcap --out whole.mcap
    """
    from mbrl_control.episode_log.recovery import recover as recover_log

    if out.exists():
        raise UserError(f"{out}: --out: exists already; name a new file")
    done = recover_log(log, out)
    typer.echo(f"{out}: {done.messages} messages")
    if done.damaged_chunks or done.ignored_bytes or done.stopped:
        lost = f"lost: {done.damaged_chunks} damaged chunks, {done.ignored_bytes} bytes of a partial tail"
        typer.echo(f"{lost}{'; unread from there on: ' + done.stopped if done.stopped else ''}", err=True)
