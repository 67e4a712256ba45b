#!/usr/bin/env bash
# The shipped bundles, made anew by the project's own commands: excite the simulated arm, learn from that alone.
# Arguments: ARM:COMMAND pairs, default all. A refused one leaves what was shipped, and the exit status is 1.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${MBRL_BIN:-.venv/bin/mbrl-control}
pairs=${*:-panda:velocity planar:velocity ur5e:velocity panda:effort planar:effort ur5e:effort}
work=out/models-$(date +%Y%m%d-%H%M%S)
failed=0
for pair in $pairs; do
  robot=${pair%:*} command=${pair#*:}
  name=$robot
  [ "$command" = velocity ] || name=${robot}_$command
  options=(--robot "$robot" --command "$command" --seed 0)
  if $bin collect "${options[@]}" --seconds 90 --headless --out "$work/$name" &&
    $bin retrain "${options[@]}" --log "$work/$name/log.mcap" --phase excitation --registry "$work/registry" &&
    $bin models verify --robot "$robot" --command "$command" --registry "$work/registry"; then
    rm -rf "models/$name" && cp -r "$work/registry/$name" "models/$name"
    du -sb "models/$name"
  else
    echo "models/$name: not made, left as it was" >&2
    failed=1
  fi
done
exit $failed
