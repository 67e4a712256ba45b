#!/usr/bin/env bash
# The shipped bundles, made anew by the project's own command, in virtual time: `mbrl-control bench make_bundle`.
# Arguments: ARM:COMMAND pairs, default all. A refused one leaves what was shipped, and the exit status is 1.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${MBRL_BIN:-.venv/bin/mbrl-control}
failed=0
for pair in ${*:-panda:velocity planar:velocity ur5e:velocity panda:effort planar:effort ur5e:effort}; do
  if ! $bin bench make_bundle --robot "${pair%:*}" --command "${pair#*:}"; then
    echo "$pair: not made, what was shipped is left as it was" >&2
    failed=1
  fi
done
exit $failed
