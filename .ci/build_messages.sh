#!/usr/bin/env bash
# Builds mbrl_msgs into the virtual environment itself: afterwards nothing has to be sourced.
# -O2 and no build type: a release would define NDEBUG, and take an int for the bits of a float instead of refusing it.
# The ROS wheels' CMake targets name two folders of the machine that built them; they are pointed at this one.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
venv=${1:-$root/.venv}
include=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
numpy=$("$venv/bin/python" -c 'import numpy; print(numpy.get_include())')
find "$venv/share" -name '*.cmake' -exec grep -q /opt/python/cp311-cp311 {} \; -exec sed -i \
  -e "s#/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include#$numpy#g" \
  -e "s#/opt/python/cp311-cp311/include/python3.11#$include#g" {} +
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export PATH="$venv/bin:$PATH"
export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"
unset LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE
colcon --log-base "$build/log" build --base-paths "$root/ros2_ws/src/mbrl_msgs" --build-base "$build/build" --merge-install \
  --install-base "$venv" --cmake-args "-DPython3_EXECUTABLE=$venv/bin/python" -DBUILD_TESTING=OFF \
  -DMBRL_MSGS_PYTHON_ONLY=ON \
  -DCMAKE_C_FLAGS=-O2 -DCMAKE_CXX_FLAGS=-O2
