#!/usr/bin/env bash
# Format, lint, types, tests; stops at the first that fails. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
exec $bin/python -m pytest "$@"
