"""The topics of the graph in one place: relative name, message type, quality-of-service class."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class QosClass(Enum):
    """How a topic is offered; a reader must ask for no more than this."""

    STREAM = "stream"
    """Best effort, volatile, depth 1..10: high rate, the newest value counts."""
    RELIABLE = "reliable"
    """Reliable, volatile: events and reports."""
    LATCHED = "latched"
    """Reliable, transient local, depth 1: the last value reaches late joiners."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the graph."""

    name: str
    """Relative to the arm's namespace, except where it starts with a slash."""
    type: str
    """`package/msg/Name`; empty where a reader takes any."""
    qos: QosClass


JOINT_STATES = Topic("joint_states", "sensor_msgs/msg/JointState", QosClass.STREAM)
BELIEF = Topic("belief", "mbrl_msgs/msg/BeliefState", QosClass.STREAM)
GOAL = Topic("goal", "mbrl_msgs/msg/Goal", QosClass.LATCHED)
PLAN = Topic("plan", "mbrl_msgs/msg/Plan", QosClass.STREAM)
PLANNER_REPORT = Topic("planner_report", "mbrl_msgs/msg/PlannerReport", QosClass.STREAM)
MODEL_STATUS = Topic("model_status", "mbrl_msgs/msg/ModelStatus", QosClass.LATCHED)
MODEL_RESIDUAL = Topic("model_residual", "mbrl_msgs/msg/ModelResidual", QosClass.RELIABLE)
SAFE_COMMAND = Topic("safe_command", "mbrl_msgs/msg/SafeCommand", QosClass.STREAM)
CONTROLLER_COMMANDS = Topic("forward_velocity_controller/commands", "std_msgs/msg/Float64MultiArray", QosClass.STREAM)
RELAY_STATUS = Topic("relay_status", "mbrl_msgs/msg/RelayStatus", QosClass.LATCHED)
SAFETY_STATUS = Topic("safety_status", "mbrl_msgs/msg/SafetyStatus", QosClass.LATCHED)
OPERATOR_HEARTBEAT = Topic("operator_heartbeat", "mbrl_msgs/msg/Heartbeat", QosClass.STREAM)
ESTOP = Topic("estop", "std_msgs/msg/Bool", QosClass.LATCHED)
PHASE = Topic("phase", "std_msgs/msg/String", QosClass.LATCHED)
DIAGNOSTICS = Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", QosClass.RELIABLE)

GRAPH_TOPICS: tuple[Topic, ...] = (
    JOINT_STATES,
    BELIEF,
    GOAL,
    PLAN,
    PLANNER_REPORT,
    MODEL_STATUS,
    MODEL_RESIDUAL,
    SAFE_COMMAND,
    CONTROLLER_COMMANDS,
    RELAY_STATUS,
    SAFETY_STATUS,
    OPERATOR_HEARTBEAT,
    ESTOP,
    PHASE,
    DIAGNOSTICS,
)


def matches(logged_name: str, topic: Topic) -> bool:
    """Tell whether a fully resolved name in a log (`/arm/belief`) is this topic, whatever the namespace."""
    return logged_name == topic.name or logged_name.endswith("/" + topic.name.lstrip("/"))
