#!/usr/bin/env bash
# Set-up from nothing on Debian 12: environment, pinned packages, messages, own packages. Usage: setup.sh cpu|gpu
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:-cpu}
venv=.venv
stamp=$venv/.mbrl-setup
wheels=
downloading=0
torch_index=${TORCH_INDEX-} # an index with the CPU build of torch; the registry's own carries CUDA (several GB)
unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH # of another ROS environment

main() {
  local started=$SECONDS wanted
  wanted="$variant $(fingerprint)"
  if [[ -f $stamp && $(<"$stamp") == "$wanted" && -x $venv/bin/python ]]; then
    echo "set-up is up to date ($venv, $variant)"
    return
  fi
  find_python
  check_prerequisites
  make_environment
  install_packages
  build_messages
  pip_install --no-build-isolation --no-deps -e ros2_ws/src/mbrl_nodes
  echo "$wanted" >"$stamp"
  echo "$((SECONDS - started - downloading))" >"$venv/.mbrl-setup-seconds"
  echo "set-up finished in $((SECONDS - started - downloading)) s, and $downloading s of downloads"
}

fingerprint() { # of everything that decides what the environment holds
  {
    messages_fingerprint
    sha256sum constraints.txt {.,ros2_ws/src/mbrl_nodes}/{setup.py,setup.cfg,pyproject.toml} .ci/setup.sh
  } | sha256sum | cut -d' ' -f1
}

messages_fingerprint() {
  find ros2_ws/src/mbrl_msgs .ci/build_messages.sh constraints.txt -type f -print0 | sort -z | xargs -0 sha256sum |
    sha256sum | cut -d' ' -f1
}

find_python() { # python3.11, or a python3 that is one
  local candidate
  python=""
  for candidate in python3.11 python3 /usr/bin/python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      python=$candidate
      return
    fi
  done
}

check_prerequisites() {
  local missing=()
  if [[ -z $python ]]; then
    missing+=(python3.11 python3.11-venv python3.11-dev)
  else
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3.11-venv)
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || missing+=(python3.11-dev)
  fi
  command -v gcc >/dev/null || command -v cc >/dev/null || missing+=(gcc)
  command -v g++ >/dev/null || command -v c++ >/dev/null || missing+=(g++)
  command -v make >/dev/null || missing+=(make)
  if ((${#missing[@]})); then
    echo "set-up: missing Debian packages; install them and run this again:" >&2
    echo "  sudo apt-get install -y ${missing[*]}" >&2
    exit 2
  fi
}

make_environment() { # the CPU and the GPU runtime fill the same folder: a change of variant starts afresh
  if [[ -f $venv/.mbrl-variant && $(<"$venv/.mbrl-variant") != "$variant" ]]; then
    echo "set-up: $venv was made for $(<"$venv/.mbrl-variant"), making it anew for $variant"
    rm -rf "$venv"
  fi
  if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear "$venv"
  fi
  echo "$variant" >"$venv/.mbrl-variant"
}

install_packages() { # a new environment is filled from a folder downloaded before, so that set-up can be timed without the network
  local own=".[$variant,ros,build,test]" begun=$SECONDS
  pip_install setuptools
  if "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    pip_install --no-build-isolation -e "$own"
    return
  fi
  echo "set-up: downloading about 1 GB of packages (with CUDA: several)"
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  if [[ $variant == cpu && -n $torch_index ]]; then
    pip_download --no-deps --index-url "$torch_index" "$(grep '^torch==' constraints.txt)"
  fi
  pip_download --find-links "$wheels" --no-build-isolation "$own"
  downloading=$((SECONDS - begun))
  echo "set-up: installing packages into $venv"
  pip_install --no-index --find-links "$wheels" --no-build-isolation -e "$own"
}

build_messages() { # the slow part: only when a definition, or a pinned version, changed
  local wanted
  wanted=$(messages_fingerprint)
  if [[ ! -f $venv/.mbrl-messages || $(<"$venv/.mbrl-messages") != "$wanted" ]]; then
    .ci/build_messages.sh "$PWD/$venv"
    echo "$wanted" >"$venv/.mbrl-messages"
  fi
}

pip_download() { $venv/bin/python -m pip download --quiet --disable-pip-version-check -c constraints.txt --dest "$wheels" "$@"; }
pip_install() { $venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "$@"; }

case $variant in
  cpu | gpu) main ;;
  *)
    echo "set-up: unknown variant '$variant': use cpu or gpu" >&2
    exit 2
    ;;
esac
