#!/usr/bin/env bash
# Format, lint, types, tests; stops at the first that fails. Arguments go to pytest, which runs twice: what computes
# side by side on two processors, then what has deadlines with nothing beside it.
# REPORTS=FOLDER   parallel.xml and ros.xml of the two runs go there
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
no_tests=5 # pytest's status when nothing was selected: fine in one of the two runs

main() {
  local parallel=0 ros=0
  $bin/ruff check .
  $bin/ruff format --check .
  $bin/mypy
  # One thread each: two processes with two threads each would wait for one another.
  OMP_NUM_THREADS=1 tests parallel -m "not ros" -n 2 --dist loadfile --no-loadscope-reorder "$@" || parallel=$?
  [[ $parallel -eq 0 || $parallel -eq $no_tests ]] || exit "$parallel"
  tests ros -m ros "$@" || ros=$?
  [[ $ros -eq $no_tests && $parallel -eq 0 ]] || exit "$ros"
}

tests() { # name of the report, pytest's arguments
  local name=$1
  shift
  $bin/python -m pytest ${REPORTS:+--junitxml="$REPORTS/$name.xml"} "$@"
}

main "$@"
