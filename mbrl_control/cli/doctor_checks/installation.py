"""Python, this project's version, and the packages that every part of it needs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import mbrl_control
from mbrl_control.cli.doctor_checks.check import Check, Level
from mbrl_control.cli.doctor_checks.children import Ended, run_child, run_module
from mbrl_control.cli.doctor_checks.ros import SETUP, RosSource, installed_version

PROJECT = "mbrl_control"
RUNTIME = "onnxruntime"
"""Either package of it."""
TESTED_PYTHON = (3, 11)
_PROBE = "mbrl_control.cli.doctor_checks.imports_probe"


@dataclass(frozen=True, slots=True)
class Package:
    """One the library needs."""

    module: str
    impossible: str
    """Without it."""
    needed_by_a_robot: bool = True
    """Nothing on a robot's computer uses it otherwise: a warning there, a failure everywhere else."""
    shown: bool = False
    """A line of its own."""


LIBRARY = {
    "numpy": Package("numpy", "anything", shown=True),
    "torch": Package("torch", "retrain, models prior", needed_by_a_robot=False, shown=True),
    "onnx": Package("onnx", "export of a retrained model", needed_by_a_robot=False, shown=True),
    "mujoco": Package("mujoco", "demo and up in simulation", needed_by_a_robot=False, shown=True),
    "pybullet": Package("pybullet", "the PyBullet simulator", needed_by_a_robot=False, shown=True),
    "cryptography": Package("cryptography", "signatures of bundles", needed_by_a_robot=False),
    "tensorboard": Package("tensorboard", "curves of a fit", needed_by_a_robot=False),
    "mcap": Package("mcap", "the log", shown=True),
    "lz4": Package("lz4.frame", "compressed logs"),
    "matplotlib": Package("matplotlib", "plots of a report", needed_by_a_robot=False),
    "mcap-ros2-support": Package("mcap_ros2", "logs"),
    "onnxscript": Package("onnxscript", "export of a retrained model", needed_by_a_robot=False),
    "pillow": Package("PIL", "frames of a report", needed_by_a_robot=False),
    "pydantic": Package("pydantic", "reading any description or manifest"),
    "PyYAML": Package("yaml", "reading any description"),
    "rich": Package("rich", "progress of demo and retrain"),
    "rosbags": Package("rosbags", "reading logs"),
    "safetensors": Package("safetensors", "weights of a bundle"),
    "scipy": Package("scipy", "delay estimate and reports"),
    "setuptools": Package("setuptools", "building the packages"),
    "trimesh": Package("trimesh", "meshes of an own arm", needed_by_a_robot=False),
    "typer": Package("typer", "the command line"),
    "zstandard": Package("zstandard", "compressed logs"),
}
"""By distribution, as setup.py names them; a test compares."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What is there."""

    versions: Mapping[str, str | None]
    """By distribution; None: absent."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Distributions that are there and do not import, with the reason."""


def read_installed() -> Installed:
    """Versions from the packages' files; imports tried in a child."""
    versions = {name: installed_version(name) for name in LIBRARY}
    modules = {name: LIBRARY[name].module for name, found in versions.items() if found is not None}
    if installed_version("onnxruntime") or installed_version("onnxruntime-gpu"):
        modules[RUNTIME] = "mbrl_control.deployment.quiet_runtime"
    ended = run_module(_PROBE, *modules.values(), limit_s=30.0)
    return Installed(versions, broken_imports(ended, list(modules)))


def broken_imports(ended: Ended, tried: Sequence[str]) -> dict[str, str]:
    """Why, by distribution. The child tells each import's end, in order: one that killed it is the first untold."""
    results = [str(line["error"]) for line in ended.told]
    broken = {name: error for name, error in zip(tried, results, strict=False) if error}
    if ended.failure is not None and len(results) < len(tried):
        broken[tried[len(results)]] = ended.failure
    return broken


def python_check(found: tuple[int, ...], ros: RosSource) -> Check:
    """The ROS wheels in use exist for CPython 3.11; a ROS installation brings its own Python."""
    shown = ".".join(map(str, found))
    found = found[:2]
    tested = ".".join(map(str, TESTED_PYTHON))
    if found == TESTED_PYTHON:
        return Check("python", "ok", shown)
    if ros.installed and found > TESTED_PYTHON:
        remedy = f"run the tests here before an arm moves: the project is tested with {tested}"
        return Check("python", "warn", f"{shown}, that of ROS 2 {ros.distribution}", remedy)
    return Check("python", "fail", shown, f"use Python {tested}: `make setup` finds it")


def read_git() -> Ended:
    """`git status` of the checkout, if it is one."""
    folder = str(_checkout())
    return run_child(["git", "-C", folder, "status", "--porcelain=v2", "--branch"], 5.0)


def _checkout() -> Path:
    return Path(mbrl_control.__file__).resolve().parents[1]


def project_check(release: str | None, git: Ended, folder: Path | None = None) -> Check:
    """``release``: of the installed package, None when it runs from its source only."""
    place = folder or _checkout()
    if release is None:
        return Check("project", "warn", f"{place}, not installed", SETUP)
    found = f"{release} in {place}"
    if git.failure is not None:
        return Check("project", "ok", f"{found}, no git state ({git.failure})")
    lines = git.output.splitlines()
    head = next((line.split()[2][:8] for line in lines if line.startswith("# branch.oid")), "?")
    changed = sum(not line.startswith("#") for line in lines)
    return Check("project", "ok", f"{found}, git {head}, {f'{changed} files changed' if changed else 'clean'}")


def package_checks(installed: Installed, ros: RosSource) -> list[Check]:
    """A line for each package that users ask about, one for the others."""
    shown = [name for name, package in LIBRARY.items() if package.shown]
    others = [name for name in LIBRARY if name not in shown]
    return [*(_package_check(name, installed, ros) for name in shown), _others_check(others, installed, ros)]


def _package_check(name: str, installed: Installed, ros: RosSource) -> Check:
    package, found = LIBRARY[name], installed.versions[name]
    level: Level = "fail" if package.needed_by_a_robot or not ros.installed else "warn"
    if found is None:
        return Check(name, level, f"not installed; without it: no {package.impossible}", add(ros, [name]))
    if name in installed.broken:
        return Check(name, level, f"{found} does not import: {installed.broken[name]}", reinstall([name], installed))
    if name == "mujoco" and int(found.split(".")[0]) >= 4:
        remedy = f"4.0 has a wrong sparse Newton Hessian: {pip()} install 'mujoco<4'"
        return Check(name, "fail", found, remedy)
    return Check(name, "ok", found)


def _others_check(names: Sequence[str], installed: Installed, ros: RosSource) -> Check:
    missing = [name for name in names if installed.versions[name] is None]
    broken = [name for name in names if name in installed.broken]
    if not (missing or broken):
        return Check("other packages", "ok", f"all {len(names)} of the library")
    needed = any(LIBRARY[name].needed_by_a_robot for name in [*missing, *broken])
    level: Level = "fail" if needed or not ros.installed else "warn"
    lacking = [f"{name} not installed (no {LIBRARY[name].impossible})" for name in missing]
    lacking += [f"{name} does not import ({installed.broken[name]})" for name in broken]
    remedies = [add(ros, missing)] * bool(missing) + [reinstall(broken, installed)] * bool(broken)
    return Check("other packages", level, "; ".join(lacking), "; ".join(remedies))


def pip() -> str:
    """The command of this very environment."""
    local = Path(sys.prefix) == Path.cwd() / ".venv"
    return ".venv/bin/pip" if local else f"{sys.executable} -m pip"


def add(ros: RosSource, names: Sequence[str]) -> str:
    """How packages are installed where ROS 2 comes from wheels, and where it is an installation."""
    if ros.installed:
        return f"in the checkout: {pip()} install -c constraints.txt {' '.join(names)}"
    return SETUP


def reinstall(names: Sequence[str], installed: Installed) -> str:
    """Files are damaged or were overwritten."""
    wanted = " ".join(f"{name}=={installed.versions[name]}" for name in names)
    return f"{pip()} install --force-reinstall --no-deps {wanted}"


def read_tested(folder: Path | None = None) -> dict[str, str] | None:
    """Pinned versions of constraints.txt by distribution, None outside a checkout."""
    path = (folder or _checkout()) / "constraints.txt"
    if not path.is_file():
        return None
    lines = [line.strip().split("==") for line in path.read_text(encoding="utf-8").splitlines() if "==" in line]
    return {pair[0]: pair[1] for pair in lines if not pair[0].startswith("#")}


def tested_check(tested: Mapping[str, str] | None, versions: Mapping[str, str | None]) -> Check:
    """``versions``: of what is installed, by the names of constraints.txt."""
    name = "tested versions"
    if tested is None:
        return Check(name, "info", "not compared: no constraints.txt beside the package")
    present = {package: found.split("+")[0] for package, found in versions.items() if found is not None}
    other = {package: found for package, found in present.items() if found != tested[package]}
    if not other:
        return Check(name, "ok", f"{len(present)} installed packages are those of constraints.txt")
    found = ", ".join(f"{package} {version} (tested: {tested[package]})" for package, version in other.items())
    wanted = " ".join(f"{package}=={tested[package]}" for package in other)
    return Check(name, "warn", found, f"{pip()} install {wanted}")
