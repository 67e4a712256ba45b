"""Child of the doctor: imports the named modules in order; after each one a JSON line says how it went."""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    """A module that kills the process is the first one without a line."""
    for name in sys.argv[1:]:
        error = ""
        try:
            importlib.import_module(name)
        except Exception as failure:  # whatever a damaged package raises is what is reported
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
        print(json.dumps({"module": name, "error": error}), flush=True)


if __name__ == "__main__":
    main()
