#!/usr/bin/env bash
# Set-up from nothing on Debian 12: environment, pinned packages, messages, own packages. Usage: setup.sh cpu|gpu
set -euo pipefail
cd "$(dirname "$0")/.."
variant=${1:-cpu}
venv=.venv
stamp=$venv/.mbrl-setup
wheels=$PWD/$venv/.mbrl-wheels # on the environment's own disk: /tmp may be small, or memory
downloading=0
torch_index=${TORCH_INDEX-} # an index with the CPU build of torch; the registry's own carries CUDA (several GB)
unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE PYTHONPATH # of another ROS environment
source .ci/environments.sh

main() {
  local started=$SECONDS wanted
  one_at_a_time
  find_python
  wanted="$variant $(fingerprint)"
  restore_environment "${wanted/ /-}"
  if [[ -f $stamp && $(<"$stamp") == "$wanted" ]] && is_here && is_whole; then
    echo "set-up is up to date ($venv, $variant)"
    return
  fi
  check_prerequisites
  make_environment
  rm -f "$stamp"
  install_packages
  build_messages
  pip_install --no-build-isolation --no-deps -e ros2_ws/src/mbrl_nodes
  compile_packages
  list_packages >"$venv/.mbrl-installed"
  echo "$wanted" >"$stamp"
  echo "$((SECONDS - started - downloading))" >"$venv/.mbrl-setup-seconds"
  echo "$PWD" >"$venv/.mbrl-home"
  echo "set-up finished in $((SECONDS - started - downloading)) s, and $downloading s of downloads"
  keep_environment "${wanted/ /-}"
}

fingerprint() { # of everything that decides what the environment holds
  {
    messages_fingerprint
    [[ -z $python ]] || "$python" -VV
    sha256sum constraints.txt {.,ros2_ws/src/mbrl_nodes}/{setup.py,setup.cfg,pyproject.toml} .ci/{setup,environments}.sh
  } | sha256sum | cut -d' ' -f1
}

messages_fingerprint() {
  find ros2_ws/src/mbrl_msgs .ci/build_messages.sh constraints.txt -type f -print0 | sort -z | xargs -0 sha256sum |
    sha256sum | cut -d' ' -f1
}

one_at_a_time() { # two at once would unpack into each other; the lock ends with this process
  exec 9<.ci/setup.sh
  flock -n 9 || { echo "set-up: waiting for another one in this folder" && flock 9; }
}

is_here() { # scripts and links of an environment name its folder: it cannot be moved
  local made
  made=$(grep -s '^command = ' "$venv/pyvenv.cfg" || true) # absent where another tool made it
  [[ -x $venv/bin/python && (-z $made || $made == *" $(readlink -f "$venv")") ]]
}

is_whole() { # nothing that set-up installed is gone or has another version since; own additions are fine
  local gone
  [[ -f $venv/.mbrl-installed ]] || return 1
  gone=$(list_packages | comm -13 - "$venv/.mbrl-installed")
  [[ -z $gone ]] && return
  echo "set-up: repairing what is gone or changed:" $gone
  if [[ $gone == *mbrl_msgs* ]]; then rm -f "$venv/.mbrl-messages"; fi
  return 1
}

list_packages() {
  "$venv/bin/python" -c 'import importlib.metadata as m
print(*{f"{package.name}=={package.version}" for package in m.distributions()}, sep="\n")' | LC_ALL=C sort
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
  elif [[ -f $venv/.mbrl-variant ]] && ! is_here; then
    echo "set-up: $venv was made in another folder or its Python is gone, making it anew"
    rm -rf "$venv"
  fi
  if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    "$python" -m venv --clear "$venv"
  fi
  echo "$variant" >"$venv/.mbrl-variant"
}

install_packages() { # a new environment is filled from a folder downloaded before, so that set-up can be timed without the network
  local own=".[$variant,data,ray,ros,build,test]" begun=$SECONDS
  rm -rf "$wheels"
  mkdir "$wheels"
  trap 'rm -rf "$wheels"' EXIT
  pip_install setuptools
  if "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    pip_install --no-build-isolation -e "$own"
    return
  fi
  check_space
  echo "set-up: downloading packages: about 0.7 GB with the CPU build of torch, several GB with CUDA"
  if [[ $variant == cpu && -n $torch_index ]]; then
    pip_download --no-deps --index-url "$torch_index" "$(grep '^torch==' constraints.txt)"
  fi
  pip_download --find-links "$wheels" --no-build-isolation "$own"
  downloading=$((SECONDS - begun))
  echo "set-up: installing packages into $venv"
  pip_install --no-index --find-links "$wheels" --no-build-isolation -e "$own"
}

check_space() { # packages and, until they are unpacked, their downloads
  local free_mb needed_mb=4000
  if [[ $variant == gpu || -z $torch_index ]]; then needed_mb=12000; fi
  free_mb=$(df -Pm "$venv" | awk 'NR == 2 { print $4 }')
  if ((free_mb < needed_mb)); then
    echo "set-up: $free_mb MB free here, about $needed_mb MB needed (4000 with TORCH_INDEX); free some, or set up elsewhere" >&2
    exit 2
  fi
}

build_messages() { # the slow part: only when a definition, or a pinned version, changed
  local wanted
  wanted=$(messages_fingerprint)
  if [[ ! -f $venv/.mbrl-messages || $(<"$venv/.mbrl-messages") != "$wanted" ]]; then
    .ci/build_messages.sh "$PWD/$venv"
    echo "$wanted" >"$venv/.mbrl-messages"
  fi
}

compile_packages() { # with all processors, where pip uses one; what is written for other Pythons has errors here
  "$venv/bin/python" -m compileall -qq -j 0 "$venv/lib" || true
}

pip_download() { run_pip download --dest "$wheels" "$@"; }
pip_install() { run_pip install --no-compile "$@"; }
run_pip() { # patient: single wheels have 100 MB and more
  local verb=$1
  shift
  TMPDIR=$wheels "$venv/bin/python" -m pip "$verb" --quiet --disable-pip-version-check --retries 10 --timeout 60 -c constraints.txt "$@"
}

case $variant in
  cpu | gpu) main ;;
  *)
    echo "set-up: unknown variant '$variant': use cpu or gpu" >&2
    exit 2
    ;;
esac
