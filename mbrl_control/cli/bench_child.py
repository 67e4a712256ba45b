"""A bench as `mbrl-control bench` starts it: what its user can act on is one line on standard error, no traceback."""

from __future__ import annotations

import importlib
import sys

from mbrl_control.cli.errors import leave


def main() -> None:
    """`python -m mbrl_control.cli.bench_child NAME ARGUMENTS`, where `benchmarks` can be imported."""
    name, *arguments = sys.argv[1:]
    program = f"mbrl-control bench {name}"
    sys.argv = [program, *arguments]
    try:
        importlib.import_module(f"benchmarks.{name}").main()
    except Exception as error:
        leave(error, program)


if __name__ == "__main__":
    main()
