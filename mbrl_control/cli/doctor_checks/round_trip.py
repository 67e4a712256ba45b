"""One real exchange over DDS: two child processes, a plan there and back, on a ROS domain of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended, run_module
from mbrl_control.cli.doctor_checks.ros import UDP
from mbrl_control.cli.transports import DISCOVERY_VARIABLES

PROBE = "mbrl_nodes.dds_probe"
LIMIT_S = 4.0
"""For an exchange; finding each other takes 0.1 to 1 s, twenty plans there and back some 20 ms."""
_START_S = 6.0
"""More for the interpreters to start on a busy machine."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the sending process saw."""

    failure: str | None
    """It ended badly; None: the rest counts."""
    discovered: bool = False
    returned: int = 0
    """Plans that came back."""
    median_ms: float | None = None
    """There and back."""
    rmw: str = ""


def read_round_trip() -> tuple[Exchange, Exchange | None]:
    """As `mbrl-control up` would start its nodes; where no plan comes back, by UDP only too."""
    try:
        # It imports pydantic and YAML, which may be what is missing.
        from mbrl_control.cli.processes import free_domain, graph_environment
        from mbrl_control.graph import GraphError
    except ImportError as error:
        return Exchange(str(error)), None
    try:
        domain = free_domain()
    except GraphError as error:
        return Exchange(str(error)), None
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        environment = graph_environment(Path(folder), domain)
        usual = exchange(environment)
        if usual.failure is not None or usual.returned:
            return usual, None
        return usual, exchange(over_udp(environment))


def over_udp(environment: Mapping[str, str]) -> dict[str, str]:
    """What `ros.UDP` sets."""
    replaced = ("ROS_LOCALHOST_ONLY", *DISCOVERY_VARIABLES)
    other = {name: value for name, value in environment.items() if name not in replaced}
    return other | dict(pair.split("=") for pair in UDP.split()[1:])


def exchange(environment: Mapping[str, str], echo_prefix: Sequence[str] = ()) -> Exchange:
    """Two processes, one answering. ``echo_prefix``: a command that starts the answering one elsewhere."""
    with answering(environment, echo_prefix):
        limit_s = LIMIT_S + _START_S
        return told_exchange(run_module(PROBE, "ping", str(LIMIT_S), limit_s=limit_s, environment=environment))


def told_exchange(ended: Ended) -> Exchange:
    if ended.failure is not None:
        return Exchange(ended.failure)
    (told,) = ended.told
    return Exchange(None, **told)


@contextmanager
def answering(environment: Mapping[str, str], prefix: Sequence[str] = ()) -> Iterator[None]:
    """It ends by itself after its limit, here as soon as it is not needed; cleanly, so that nothing stays behind."""
    command = [*prefix, sys.executable, "-m", PROBE, "echo", str(LIMIT_S + _START_S)]
    silent = subprocess.DEVNULL
    child = subprocess.Popen(command, env=dict(environment), stdin=silent, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(3.0)
        except subprocess.TimeoutExpired:
            child.kill()


def round_trip_check(usual: Exchange, udp: Exchange | None, messages: str | None, env: Mapping[str, str]) -> Check:
    """``udp``: the second try, None when there was none. ``messages``: why they cannot be imported, None: they can."""
    name = "DDS round trip"
    if messages is not None:
        return Check(name, "info", "not tried: the messages do not import, see above")
    if usual.failure is not None:
        return Check(name, "fail", usual.failure, "see the lines of ROS 2 above; `make setup` installs what is missing")
    if usual.returned:
        found = f"{usual.returned} plans there and back between two processes, median {usual.median_ms:.1f} ms"
        return Check(name, "ok", f"{found} ({usual.rmw})")
    if udp is not None and udp.returned:
        also = "unset ROS_LOCALHOST_ONLY; " if env.get("ROS_LOCALHOST_ONLY") else ""
        remedy = f"tried, works: `{also}{UDP}` (the graph is then seen in the network); or mend shared memory, above"
        what = "processes find each other, no message arrives" if usual.discovered else "processes find nobody"
        return Check(name, "fail", f"{what}; by UDP alone they arrive", remedy)
    if usual.discovered:
        remedy = "neither shared memory nor UDP carries them: let loopback through the firewall (UDP ports from 7400)"
        return Check(name, "fail", "processes find each other, no message arrives, by UDP neither", remedy)
    remedy = "bring loopback up (`sudo ip link set lo up`), let it through the firewall; see discovery above"
    return Check(name, "fail", f"processes of this machine do not find each other within {LIMIT_S:.0f} s", remedy)
