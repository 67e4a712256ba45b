"""The example units of deploy/systemd: programs, options and files they name exist; no restart goes into motion."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from mbrl_control.cli.main import build_app
from mbrl_control.cli.up import up
from mbrl_control.graph import load_graph
from tests.architecture.source import ROOT

FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".service", ".timer"})
PROGRAM = "/opt/mbrl-control/venv/bin/mbrl-control"
Unit = dict[str, dict[str, str]]


def parse(path: Path) -> Unit:
    """Sections of a unit file; a key said twice is an error here, as none of these units needs one."""
    sections: Unit = {}
    for line in path.read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            current = sections.setdefault(heading[1], {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            assert key not in current, f"{path.name}: {key} twice"
            current[key] = value
    return sections


def environment() -> dict[str, str]:
    lines = (FOLDER / "graph.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def command_of(name: str, changed: dict[str, str] | None = None) -> list[str]:
    """Words that the program of a unit is started with, its variables replaced."""
    line = parse(FOLDER / name)["Service"]["ExecStart"]
    for variable, value in (environment() | (changed or {})).items():
        line = line.replace(f"${{{variable}}}", value).replace(f"${variable}", value)
    words = shlex.split(line)
    if words[:2] == ["/bin/sh", "-c"]:
        words = shlex.split(words[2].removeprefix("exec ").replace("$$", "$"))
    assert words[0] == PROGRAM
    return words[1:]


def options_of(verb: str) -> set[str]:
    """Options of a verb of the command line."""
    if verb == "up":  # loaded late by the command line
        app = typer.Typer()
        app.command()(up)
        command = typer.main.get_command(app)
    else:
        command = typer.main.get_command(build_app()).commands[verb]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


@pytest.mark.parametrize(
    "name", ["mbrl-control.service", "mbrl-control-retrain.service", "mbrl-control-learner.service"]
)
def test_the_program_is_an_entry_point_and_has_the_verb_and_the_options(name: str) -> None:
    verb, *words = command_of(name)
    assert "mbrl-control = mbrl_control.cli.main:main" in (ROOT / "setup.py").read_text()
    assert {word for word in words if word.startswith("--")} <= options_of(verb)


def test_old_logs_go_before_a_run_begins() -> None:
    """`log prune` below the folder that runs are written to, with options that it has."""
    words = shlex.split(parse(FOLDER / "mbrl-control.service")["Service"]["ExecStartPre"])
    assert words[:3] == [PROGRAM, "log", "prune"]
    assert words[3] == "/var/lib/mbrl-control/out"
    group = typer.main.get_command(build_app()).commands["log"]  # type: ignore[attr-defined]
    options = {option for parameter in group.commands["prune"].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_the_graph_comes_up_idle_and_dry_after_every_restart() -> None:
    """No option brings an arm into motion; of those that let commands through, the example has none."""
    unit = parse(FOLDER / "mbrl-control.service")
    assert "--real" in command_of("mbrl-control.service")
    assert "--go-live" not in command_of("mbrl-control.service")
    assert not any(word in option for option in options_of("up") for word in ("arm", "start", "reset"))
    assert unit["Service"]["Restart"] == "on-failure"
    assert unit["Service"]["RestartPreventExitStatus"] == "2"
    assert 0 < int(unit["Unit"]["StartLimitBurst"]) <= 5


@pytest.mark.parametrize("name", ["ROBOT", "COMMAND"])
def test_what_is_learned_is_what_runs(name: str) -> None:
    """Arm, command and registry of all units are the same, whatever the variable says."""

    def chosen(unit: str) -> dict[str, str]:
        service = parse(FOLDER / unit)["Service"]
        words = command_of(unit, {name: "other"})
        found = {option: words[words.index(option) + 1] for option in ("--robot", "--command", "--registry")}
        return found | {"--registry": str(Path(service["WorkingDirectory"], found["--registry"]))}

    graph = chosen("mbrl-control.service")
    assert graph == chosen("mbrl-control-retrain.service") == chosen("mbrl-control-learner.service")
    assert "other" in graph.values()


def test_no_log_grows_for_ever() -> None:
    """A run has one log, and what is learned from is the newest: each run ends, and is followed by the next."""
    service = parse(FOLDER / "mbrl-control.service")["Service"]
    assert service["RuntimeMaxSec"] == "1d"
    assert service["Restart"] == "on-failure"  # a run that has reached its time counts as one that failed


def test_the_newest_log_is_learned_from_as_far_as_memory_holds(tmp_path: Path) -> None:
    """The unit's own shell command, with the program replaced by one that shows its arguments."""
    for age, name in enumerate(("newest", "newer", "old")):
        log = tmp_path / "out" / name / "log"
        log.mkdir(parents=True)
        os.utime(log, (1e9 - age, 1e9 - age))
    service = parse(FOLDER / "mbrl-control-retrain.service")["Service"]
    shell, option, script = shlex.split(
        service["ExecStart"].replace("$$", "$").replace(PROGRAM, "echo").replace("%%", "%")
    )
    done = subprocess.run([shell, option, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    words = done.stdout.split()
    assert words[-2:] == ["--log", "out/newest/log"]
    megabytes_a_minute = 57
    assert float(words[words.index("--minutes") + 1]) * megabytes_a_minute < 1024 * float(
        service["MemoryMax"].rstrip("G")
    )


def test_real_time_is_permitted_as_far_as_the_graph_asks_for_it() -> None:
    service = parse(FOLDER / "mbrl-control.service")["Service"]
    assert int(service["LimitRTPRIO"]) >= max(spec.priority for spec in load_graph(ROOT / "launch/graph.yaml"))
    assert service["LimitMEMLOCK"] == "infinity"
    assert service["KillMode"] == "mixed"


@pytest.mark.parametrize("unit", ["mbrl-control-retrain.service", "mbrl-control-learner.service"])
def test_what_is_learned_unattended_moves_no_arm_before_live_motion_spoke_for_it(unit: str) -> None:
    assert "--shadow" in command_of(unit, {})


def test_learning_stays_away_from_control() -> None:
    control, learning = (parse(FOLDER / f"mbrl-control{x}.service")["Service"] for x in ("", "-retrain"))
    assert not {*control["CPUAffinity"].split()} & {*learning["CPUAffinity"].split()}
    assert (learning["Nice"], learning["IOSchedulingClass"], learning["Type"]) == ("19", "idle", "oneshot")
    service = parse(FOLDER / "mbrl-control-learner.service")["Service"]
    same = ("CPUAffinity", "Nice", "CPUSchedulingPolicy", "IOSchedulingClass", "MemoryMax")
    assert [service[key] for key in same] == [learning[key] for key in same]
    assert (service["KillMode"], service["RestartPreventExitStatus"]) == ("mixed", "2")
    timer = parse(FOLDER / "mbrl-control-retrain.timer")
    assert (FOLDER / timer["Timer"]["Unit"]).is_file()
    assert timer["Timer"]["OnCalendar"].startswith("*-*-*")


def test_the_learner_of_a_first_boot_comes_after_the_graph_and_finds_its_folders() -> None:
    """A folder that is missing is an option that is wrong, after which it would not be begun again."""
    unit = parse(FOLDER / "mbrl-control-learner.service")
    assert "mbrl-control.service" in unit["Unit"]["After"].split()
    program, option, *folders = shlex.split(unit["Service"]["ExecStartPre"])
    assert (Path(program).name, option) == ("mkdir", "-p")
    words = command_of("mbrl-control-learner.service")
    assert {words[words.index(option) + 1] for option in ("--logs", "--registry")} <= set(folders)


def test_what_learns_unattended_asks_live_motion_before_a_model_may_run() -> None:
    assert "--shadow" in command_of("mbrl-control-learner.service")


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_variables_are_defined_and_nothing_of_a_certain_machine_is_in_it(path: Path) -> None:
    text = path.read_text()
    used = set(re.findall(r"(?<!\$)\$\{?([A-Z_]+)", text))
    assert used <= set(environment())
    assert re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|password|token|secret|/home/|/work/", text.lower()) == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_has_nothing_to_object(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mbrl-control")
    for path in UNITS:
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, str(program)))
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / path.name) for path in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # It also reads the machine's own units, whose faults are not ours.
    assert [line for line in done.stderr.splitlines() if str(tmp_path) in line or "mbrl-control" in line] == []
    assert done.returncode == 0, done.stderr
