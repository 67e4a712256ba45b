"""`colcon build` of the workspace, plain and with symlinks: what is installed where, and does it answer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.architecture.source import NODES, ROOT, node_names
from tests.launch.workspace import WHOLE, Workspace, build
from tests.patience import SLOW_S

pytestmark = pytest.mark.timeout(SLOW_S)
LAYOUTS = {"plain": (), "symlinks, as developers do": ("--symlink-install",), "merged": ("--merge-install",)}


@pytest.fixture(scope="module", params=LAYOUTS, ids=list(LAYOUTS))
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return build(tmp_path_factory.mktemp("ws"), *LAYOUTS[request.param])


def test_every_package_is_in_the_index(workspace: Workspace) -> None:
    for package in workspace.packages:
        share = workspace.prefix(package) / "share"
        assert (share / "ament_index/resource_index/packages" / package).is_file()
        assert (share / package / "package.xml").is_file()


def test_scripts_are_where_ros_looks_for_them(workspace: Workspace) -> None:
    for package, names in (("mbrl_nodes", node_names()), ("mbrl_control", ["mbrl-control"])):
        for name in names:
            script = workspace.prefix(package) / "lib" / package / name
            assert os.access(script, os.X_OK), script


def test_shared_files_are_installed(workspace: Workspace) -> None:
    launch = {path.name for path in (ROOT / "launch").iterdir() if path.is_file()}
    params = {path.name for path in (NODES / "params").iterdir()}
    assert launch
    assert params
    for package, folder, names in (("mbrl_control", "launch", launch), ("mbrl_nodes", "params", params)):
        installed = workspace.prefix(package) / "share" / package / folder
        assert {path.name for path in installed.iterdir() if path.is_file()} == names
    bundles = {path.relative_to(ROOT) for path in (ROOT / "models").rglob("*") if path.is_file()}
    assert all((workspace.prefix("mbrl_control") / "share/mbrl_control" / path).is_file() for path in bundles)


def test_the_installed_command_line_finds_its_files(workspace: Workspace) -> None:
    """Not those of another installation: arm, graph description and parameter files. Symlinks lead to this checkout."""
    code = (
        "import json, mbrl_control, mbrl_nodes, sim; from mbrl_control.cli import locations as l\n"
        "print(json.dumps([mbrl_control.__file__, mbrl_nodes.__file__, sim.__file__, str(l.arm_file('panda')),"
        " str(l.launch_file('graph.yaml')), str(l.params_file('sim.yaml'))]))"
    )
    linked = (workspace.install.parent / "build/mbrl_control/setup.py").is_symlink()
    done = workspace.run(["python", "-c", code])
    assert done.returncode == 0, done.stderr
    for path in map(Path, json.loads(done.stdout)):
        assert path.is_file()
        assert path.is_relative_to(workspace.install.parent) or (linked and path.is_relative_to(ROOT)), path
    script = workspace.prefix("mbrl_control") / "lib/mbrl_control/mbrl-control"
    done = workspace.run([str(script), "robot", "check", "panda"])
    assert done.returncode == 0, done.stderr


def test_an_installed_node_answers(workspace: Workspace) -> None:
    """It starts, and refuses simulated time in words: the shortest whole way through entry point and middleware."""
    script = workspace.prefix("mbrl_nodes") / "lib/mbrl_nodes/guard"
    done = workspace.run([str(script), "--ros-args", "-p", "use_sim_time:=true"])
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["state"] == "failed"
    assert "use_sim_time: deadlines and watchdogs count on a steady clock" in done.stderr


def test_continuous_integration_builds_the_messages_too() -> None:
    assert f"export {WHOLE}=1" in (ROOT / ".ci/run").read_text()
