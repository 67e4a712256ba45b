"""The whole report on this machine; the exchange over DDS, also where shared memory or loopback fails it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mbrl_control.cli.doctor_checks import round_trip, shared_memory
from mbrl_control.cli.processes import free_domain, graph_environment
from mbrl_control.cli.transports import DISCOVERY_VARIABLES, RANGE_VARIABLE
from tests.patience import HUNG_S, SLOW_S

pytestmark = [pytest.mark.ros, pytest.mark.timeout(SLOW_S)]
ROOT = Path(__file__).parents[2]
OWN_SHM = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "sh")
"""A container's fault: the process that follows gets a /dev/shm of its own."""
NO_NETWORK = ("unshare", "--net")


def permitted(prefix: tuple[str, ...]) -> bool:
    return subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0


def documented_names() -> list[str]:
    """First column of the table in docs/doctor.md."""
    rows = [line for line in (ROOT / "docs" / "doctor.md").read_text().splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """As other ROS 2 programs have it within one machine: shared memory and UDP."""
    env = graph_environment(tmp_path, free_domain())
    return {name: value for name, value in env.items() if name not in DISCOVERY_VARIABLES} | {
        RANGE_VARIABLE: "LOCALHOST"
    }


def test_the_report_of_this_machine_is_whole() -> None:
    code = "from mbrl_control.cli.main import main; main(['doctor', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HUNG_S, check=False)
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert set(report) == {"ok", "checks"}
    assert [check["name"] for check in report["checks"]] == documented_names()
    for check in report["checks"]:
        assert set(check) == {"name", "level", "found", "remedy"}
        assert check["found"]
        assert check["level"] == "info" or bool(check["remedy"]) == (check["level"] != "ok")
    assert report["ok"] == all(check["level"] != "fail" for check in report["checks"])
    assert done.returncode == (0 if report["ok"] else 1)
    assert "wakes" in done.stderr
    levels = {check["name"]: check["level"] for check in report["checks"]}
    assert levels["DDS round trip"] == levels["messages"] == levels["python"] == levels["project"] == "ok"


def files(live: bool) -> set[str]:
    return {file.name for file in shared_memory.read_shared_memory().files if file.live is live}


def test_plans_come_back_and_nothing_stays_behind(environment: dict[str, str]) -> None:
    left_before = files(live=False)
    exchange = round_trip.exchange(environment)
    assert (exchange.failure, exchange.discovered, exchange.returned) == (None, True, 20)
    assert files(live=False) - left_before == set()


@pytest.mark.skipif(not permitted(OWN_SHM), reason="needs the right to mount")
def test_a_shared_memory_of_ones_own_lets_no_message_through_but_udp_does(environment: dict[str, str]) -> None:
    usual = round_trip.exchange(environment, OWN_SHM)
    assert (usual.discovered, usual.returned) == (True, 0)
    udp = round_trip.exchange(round_trip.over_udp(environment), OWN_SHM)
    assert (udp.discovered, udp.returned) == (True, 20)
    check = round_trip.round_trip_check(usual, udp, None, {})
    assert check.level == "fail"
    assert "FASTDDS_BUILTIN_TRANSPORTS=UDPv4" in check.remedy


@pytest.mark.skipif(not permitted(NO_NETWORK), reason="needs the right to leave the network")
def test_without_loopback_nobody_is_found(environment: dict[str, str]) -> None:
    exchange = round_trip.exchange(environment, NO_NETWORK)
    assert (exchange.failure, exchange.discovered, exchange.returned) == (None, False, 0)


def test_a_running_process_is_seen_in_shared_memory(environment: dict[str, str]) -> None:
    before = files(live=True)
    with round_trip.answering(environment):
        deadline = time.monotonic() + 20.0
        while not files(live=True) - before and time.monotonic() < deadline:
            time.sleep(0.1)
        assert files(live=True) - before
