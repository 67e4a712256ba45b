"""`mbrl-control bench NAME`: runs `benchmarks/NAME.py` of the checkout as a child (`bench_child`).

The library never imports `benchmarks`: a bench is found by its file, and described by its docstring's first line.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import typer

from mbrl_control.cli.errors import UserError
from mbrl_control.cli.interrupt import interruptible

HELP = "Run a measurement of the checkout; its last line is JSON. Example: mbrl-control bench transfer"
_CHECKOUT = Path(__file__).resolve().parents[2]
_USAGE = """Usage: mbrl-control bench NAME [ARGUMENTS]...

Run a measurement of the checkout: progress on standard error, one line of JSON last on standard output.
Everything after NAME is the bench's own; `mbrl-control bench NAME --help` lists it.

Example: mbrl-control bench transfer --seeds 3

Benches:
"""


def bench(context: typer.Context) -> None:
    """Run a bench by name with its own arguments; the exit status is the bench's."""
    known = known_benches(_CHECKOUT)
    if not context.args or context.args[0] in ("--help", "-h"):
        typer.echo(_USAGE + listing(known))
        return
    name, *arguments = context.args
    if name not in known:
        typer.echo(f"Benches:\n{listing(known)}", err=True)
        raise UserError(f"bench {name}: there is no such bench; name one of {', '.join(known)}")
    raise typer.Exit(run_bench(_CHECKOUT, name, arguments))


def known_benches(checkout: Path) -> dict[str, str]:
    """Name and first docstring line of every module of `benchmarks` with a ``main``, by name.

    Raises:
        UserError: this is no checkout.
    """
    folder = checkout / "benchmarks"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; benches run from a checkout of the project, after `make setup` there"
        )
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.py"))}
    return {
        name: (ast.get_docstring(tree) or "").partition("\n")[0]
        for name, tree in trees.items()
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    }


def listing(benches: dict[str, str]) -> str:
    """One line each."""
    width = max(map(len, benches), default=0)
    return "\n".join(f"  {name:<{width}}  {line}" for name, line in benches.items())


def run_bench(checkout: Path, name: str, arguments: list[str]) -> int:
    """Exit status of the child, 128 + N when signal N ended it; paths in ``arguments`` are the caller's."""
    # Not the current folder but the checkout comes first: another checkout's benchmarks must not answer.
    path = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-P", "-m", "mbrl_control.cli.bench_child", name, *arguments]
    with interruptible(), subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as child:
        try:
            status = child.wait()
        except KeyboardInterrupt:
            child.terminate()
            raise
    return status if status >= 0 else 128 - status
