"""`mbrl-control up` starts what the launch files start, and sends a real arm nothing unless told to."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from mbrl_control.cadence import ANCHOR_VARIABLE, FACTOR_VARIABLE
from mbrl_control.cli import up
from mbrl_control.cli.errors import UserError
from mbrl_control.cli.locations import arm_file
from mbrl_control.cli.main import build_app, main
from mbrl_control.cli.processes import Graph
from mbrl_control.cli.session import Session
from mbrl_control.cli.task_client import WITHOUT_ROS2_RUN, operator_command
from mbrl_control.cli.wiring import Wiring
from mbrl_control.scheduling import PRIORITY_VARIABLE, PROCESSORS_VARIABLE
from tests.launch.stand_ins import Recorded, run, values_of


@pytest.mark.parametrize(
    ("file", "real", "simulator"),
    [("sim.launch.py", False, None), ("sim.launch.py", False, "pybullet"), ("real.launch.py", True, None)],
)
def test_up_starts_the_same_nodes_with_the_same_parameters_and_placement(
    file: str, real: bool, simulator: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `up` would hand to the operating system, word by word, against what `launch_ros` gets."""
    common = ["--robot", "planar", "--out", str(tmp_path / "up"), "--namespace", "cell/arm"]
    chosen = ["--sim", simulator] if simulator else []
    started = started_by_up([*common, *chosen, *(["--real"] if real else [])], monkeypatch)
    arguments = {"robot_type": "planar", "out": str(tmp_path / "launched"), "namespace": "/cell/arm/"}
    launched = run(file, arguments | ({"sim": simulator} if simulator else {}))
    nodes = launched.of("Node")
    assert [action.keywords["executable"] for action in nodes] == [start.name for start in started.starts]
    for action, start in zip(nodes, started.starts, strict=True):
        if start.name == "sim_driver":
            assert values_of(action)["simulator"] == (simulator or "mujoco")
        assert in_words(action, tmp_path) == relocated(start.arguments(started.folder), tmp_path)
        environment = started.environment_of(start.spec)
        for name in (PRIORITY_VARIABLE, PROCESSORS_VARIABLE, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            assert action.keywords["additional_env"].get(name) == environment.get(name)
        assert ANCHOR_VARIABLE in environment


@pytest.mark.parametrize(
    ("options", "dry"),
    [((), False), (("--dry-run",), True), (("--real",), True), (("--real", "--go-live"), False)],
    ids=lambda options: " ".join(options) if isinstance(options, tuple) else "",
)
def test_up_publishes_commands_to_a_real_arm_only_when_told_to(
    options: tuple[str, ...], dry: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    graph = started_by_up(["--robot", "panda", "--out", str(tmp_path / "up"), *options], monkeypatch)
    (relay,) = (start for start in graph.starts if start.name == "command_relay")
    assert relay.parameters["dry_run"] is dry
    assert graph.namespace == ("" if "--real" in options else "panda")
    # A driver's domain and discovery are left alone; a simulated graph keeps to itself.
    assert ("ROS_DOMAIN_ID" in graph.environment) is ("--real" not in options)


def test_up_slows_the_whole_graph_and_its_operator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    graph = started_by_up(["--out", str(tmp_path / "up"), "--real-time-factor", "0.25"], monkeypatch)
    assert graph.environment[FACTOR_VARIABLE] == "0.25"
    assert f"{FACTOR_VARIABLE}=0.25" in operator_of(graph, arm_file("panda"))


@pytest.mark.parametrize("command", ["velocity", "effort"])
@pytest.mark.parametrize("domain", ["", "17"])
def test_the_operators_command_is_the_same_word_by_word(
    domain: str, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """But for the program, and for the clock, which begins with each graph."""
    if domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", domain)
    graph = started_by_up(["--real", "--command", command, "--out", str(tmp_path / "up")], monkeypatch)
    launched = run("real.launch.py", {"command_interface": command, "out": str(tmp_path / "launched")})
    (message,) = (action.keywords["msg"] for action in launched.of("LogInfo"))
    told = shlex.split(message.partition("command a line): ")[2])
    wanted = operator_of(graph, arm_file("panda"), "ros2", "run", "mbrl_nodes", "demo_task")
    assert f"command_interface:={command}" in told
    assert (f"ROS_DOMAIN_ID={domain}" in told) is bool(domain)
    assert [w for w in told if ANCHOR_VARIABLE not in w] == [w for w in wanted if ANCHOR_VARIABLE not in w]


def operator_of(graph: Graph, arm: Path, *program: str) -> list[str]:
    return operator_command(graph.starts, graph.environment, arm, program or WITHOUT_ROS2_RUN)


@pytest.mark.parametrize("command", ["up", "collect"])
def test_a_simulator_is_refused_where_the_arm_is_real(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = ["--real", "--go-live", "--sim", "pybullet", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main([command, *live])
    assert ended.value.code == 2
    assert "--sim pybullet: a real arm has no simulator; drop it" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [(), ("--real",), ("--real", "--go-live")], ids=" ".join)
def test_an_exported_factor_slows_no_graph_that_was_not_told_to_be_slow(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FACTOR_VARIABLE, "0.25")
    graph = started_by_up(["--out", str(tmp_path / "up"), *options], monkeypatch)
    assert graph.environment[FACTOR_VARIABLE] == "1.0"


def test_a_real_arm_is_never_slowed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"real-time-factor 0\.25: a real arm runs in real time"):
        Session(tmp_path, arm_file("panda"), "panda", 0, 0.5, wiring=Wiring(real=True), real_time_factor=0.25)


def started_by_up(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Graph:
    """The graph that `mbrl-control up` would run: caught just before its first process."""
    caught: list[Graph] = []

    def catch(graph: Graph, **_: object) -> None:
        caught.append(graph)
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "prepare", lambda _: "")
    monkeypatch.setattr(Graph, "start", catch)
    with pytest.raises(SystemExit) as ended:
        build_app()(args=["up", *arguments])
    assert ended.value.code == 0
    return caught[0]


def in_words(action: Recorded, folder: Path) -> list[str]:
    """The command line behind the executable that `launch_ros.actions.Node` builds."""
    files = [word for path in action.keywords["parameters"] for word in ("--params-file", path)]
    words = ["--ros-args", "-r", f"__ns:=/{action.keywords['namespace']}", *files, *action.keywords["ros_arguments"]]
    return relocated(words, folder)


def relocated(words: list[str], folder: Path) -> list[Any]:
    """Parameter files of a run replaced by their content, whose paths below the run's folder are made relative."""
    contents: list[Any] = []
    for word in words:
        path = Path(word)
        own = path.suffix == ".yaml" and path.is_relative_to(folder)
        text = path.read_text() if own else word
        for run_folder in ("up", "launched"):
            text = text.replace(str(folder / run_folder), "RUN")
        contents.append(yaml.safe_load(text) if own else text)
    return contents
