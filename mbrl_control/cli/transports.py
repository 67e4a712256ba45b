"""What carries a graph's messages: UDP, on the loopback where the graph stays on this machine; never shared memory.

Fast DDS looks whether the reader of a shared-memory port is alive before it writes to it for the first time. Where that
reader happens not to be waiting, the writer sleeps for a third of a second with the locks held that its process needs
to receive anything: whenever a process joined (a task, `ros2 topic echo`), the guard or the estimator could be deaf for
that long. A port's lock, too, is one that a process of normal priority may hold while the guard waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping

RANGE_VARIABLE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
TRANSPORTS_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Of Fast DDS 3 and 2."""
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")
DISCOVERY_VARIABLES = (RANGE_VARIABLE, TRANSPORTS_VARIABLE, *PROFILE_VARIABLES)
"""What another process needs to be where the graph is, beside the domain."""
_CHOSEN_ELSEWHERE = (TRANSPORTS_VARIABLE, *PROFILE_VARIABLES, "ROS_LOCALHOST_ONLY", "ROS_STATIC_PEERS")
PROFILE = "loopback.xml"


def transports(environment: Mapping[str, str], at_home: bool) -> dict[str, str]:
    """Variables to set beside ``environment``; nothing where the user chose transports already.

    ``at_home``: the graph stays on this machine unless the user gave another range.
    """
    given = environment.get(RANGE_VARIABLE, "").upper()
    reach = given or ("LOCALHOST" if at_home else "")
    if any(environment.get(name) for name in _CHOSEN_ELSEWHERE):
        return {RANGE_VARIABLE: reach} if reach else {}
    if reach == "LOCALHOST":
        from mbrl_control.cli.locations import launch_file  # loads NumPy, which `--help` does without

        # Within LOCALHOST rmw_fastrtps makes transports of its own, shared memory among them, and ignores all others.
        profile = str(launch_file(PROFILE))
        # Fast DDS 3 knows the older name, too, and every node warns of it.
        older = environment.get("ROS_DISTRO", "") in _WITH_FAST_DDS_2
        return {RANGE_VARIABLE: "SYSTEM_DEFAULT", PROFILE_VARIABLES[older]: profile}
    return {TRANSPORTS_VARIABLE: "UDPv4"}
