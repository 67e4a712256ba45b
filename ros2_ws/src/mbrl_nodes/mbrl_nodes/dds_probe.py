"""Messages there and back between two processes, for `mbrl-control doctor`.

``python -m mbrl_nodes.dds_probe echo 5`` returns every plan it gets, for 5 s; ``... ping 5`` sends plans until one
comes back, then measures, and prints one JSON line. By hand also between two machines or containers.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import rclpy
from mbrl_msgs.msg import Plan
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from mbrl_nodes.convert import doubles
from mbrl_nodes.runtime import COMMAND_QOS

THERE, BACK = "dds_probe/there", "dds_probe/back"
PATIENCE_S = 0.2
"""For one message to come back before the next one is sent."""
MEASURED = 20
_JOINTS, _KNOTS = 7, 16


def main() -> None:
    """Command line: ``ping`` or ``echo``, and for how many seconds at most."""
    role, limit_s = {"ping": ping, "echo": echo}[sys.argv[1]], float(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node(f"dds_probe_{sys.argv[1]}")
    deadline = time.monotonic() + limit_s
    try:
        # A signal ends a wait with an exception: the normal end of the answering process.
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            role(node, lambda: rclpy.ok() and time.monotonic() < deadline)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
        # Else the middleware's shared memory stays behind.
        rclpy.get_default_context().destroy()


def echo(node: Node, alive: Callable[[], bool]) -> None:
    """Send back what comes."""
    publisher = node.create_publisher(Plan, BACK, COMMAND_QOS)
    node.create_subscription(Plan, THERE, publisher.publish, COMMAND_QOS)
    while alive():
        rclpy.spin_once(node, timeout_sec=0.1)


def ping(node: Node, alive: Callable[[], bool]) -> None:
    """Send plans; print whether the two processes found each other, and how long a plan takes there and back."""
    publisher = node.create_publisher(Plan, THERE, COMMAND_QOS)
    returned: list[int] = []
    node.create_subscription(Plan, BACK, lambda plan: returned.append(plan.sequence), COMMAND_QOS)
    plan = a_plan()
    trips_ms: list[float] = []
    found = False
    while alive() and len(trips_ms) < MEASURED:
        found = found or (publisher.get_subscription_count() > 0 and node.count_publishers(BACK) > 0)
        plan.sequence += 1
        sent = time.monotonic()
        publisher.publish(plan)
        while alive() and time.monotonic() < sent + PATIENCE_S and plan.sequence not in returned:
            rclpy.spin_once(node, timeout_sec=0.01)
        if plan.sequence in returned:
            trips_ms.append((time.monotonic() - sent) * 1e3)
    report = {
        "discovered": found or bool(trips_ms),
        "returned": len(trips_ms),
        "median_ms": statistics.median(trips_ms) if trips_ms else None,
        "rmw": get_rmw_implementation_identifier(),
    }
    print(json.dumps(report), flush=True)


def a_plan() -> Plan:
    """As large as a 7-joint arm's: 16 knots with predictions."""
    plan = Plan(model_id="dds_probe", joint_names=[f"joint{index}" for index in range(_JOINTS)])
    row = np.linspace(-1.0, 1.0, _KNOTS * _JOINTS)
    plan.times, plan.epistemic = doubles(row[:_KNOTS]), doubles(row[:_KNOTS])
    plan.knots, plan.position, plan.velocity, plan.effort = (doubles(row) for _ in range(4))
    plan.variance = doubles(np.concatenate([row, row, row]))
    return plan


if __name__ == "__main__":
    main()
