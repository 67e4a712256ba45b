"""What carries a graph's messages: nothing in shared memory, and other ROS 2 programs of the machine still meet it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mbrl_control.cli.doctor_checks import round_trip, shared_memory
from mbrl_control.cli.processes import free_domain, graph_environment
from mbrl_control.cli.transports import DISCOVERY_VARIABLES

OTHERS = ("env", *(word for name in DISCOVERY_VARIABLES for word in ("-u", name)))
"""Another program starts without what the graph sets."""


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name in DISCOVERY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return graph_environment(tmp_path, free_domain())


def test_no_shared_memory(environment: dict[str, str]) -> None:
    def ours() -> set[str]:
        return {file.name for file in shared_memory.read_shared_memory().files if file.live}

    before = ours()
    with round_trip.answering(environment):
        exchange = round_trip.told_exchange(
            round_trip.run_module(round_trip.PROBE, "ping", "4.0", limit_s=10.0, environment=environment)
        )
        # The answering one goes on for a moment.
        time.sleep(0.2)
        assert ours() <= before
    assert (exchange.failure, exchange.discovered, exchange.returned) == (None, True, 20)


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_programs_with_ros_own_transports_meet_the_graph(environment: dict[str, str], reach: str) -> None:
    exchange = round_trip.exchange(environment, (*OTHERS, f"ROS_AUTOMATIC_DISCOVERY_RANGE={reach}"))
    assert (exchange.failure, exchange.discovered, exchange.returned) == (None, True, 20)
