"""Who may import whom. A new package is held to the general rules until it gets its own row."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Module, imports, loaded_by, modules

BASE = frozenset({"signals", "cadence", "command_interface"})
ARM_FILES = frozenset(
    {"robot_file", "robot_fields", "robot_parts", "robot_faults", "urdf_file", "urdf_chain", "mesh_files", "inertial"}
)
VALUES = BASE | ARM_FILES | {"robot", "kinematics", "rigid_body", "rigid_load"}
PROTOCOLS = frozenset({"dynamics.protocol", "rewards.protocol", "rewards.names"})
ALLOWED: dict[str, frozenset[str]] = {
    "command_interface": frozenset(),
    "signals": frozenset({"command_interface"}),
    "cadence": frozenset(),
    "scheduling": frozenset(),
    "robot": BASE | ARM_FILES,
    **dict.fromkeys(ARM_FILES, BASE | ARM_FILES),
    "graph": BASE | {"scheduling"},
    "kinematics": VALUES,
    "rigid_body": VALUES,
    "rigid_load": VALUES,
    "block_bootstrap": BASE,
    "arm_setup": VALUES,
    "estimation": VALUES,
    "dynamics": VALUES,
    "rewards": VALUES,
    "safety": VALUES,
    "episode_log": VALUES,
    "planning": VALUES | PROTOCOLS,
    "replay": VALUES | {"episode_log"},
    "learning": VALUES | {"dynamics", "rewards", "planning", "replay", "block_bootstrap"},
    "deployment": VALUES | {"dynamics", "rewards", "planning.protocol", "scheduling"},
    "live": VALUES | {"deployment", "replay", "dynamics.protocol", "planning.protocol", "block_bootstrap"},
    "planner_model": VALUES | {"deployment", "planning"},
    "report": VALUES | {"episode_log", "replay", "deployment.check", "deployment.manifest", "cli.locations"},
    "golden_logs": VALUES | {"episode_log", "replay", "deployment"},
    "learned_from": VALUES | {"episode_log", "replay", "golden_logs"},
    "judged_log": VALUES | {"episode_log", "replay", "learning", "deployment", "dynamics", "live"},
    "learner": VALUES
    | {"episode_log", "replay.regimes"}
    | {"deployment.registry", "deployment.check", "deployment.files", "deployment.errors"},
    "retrain": VALUES
    | {"episode_log", "replay", "learning", "deployment", "live", "dynamics", "rewards", "golden_logs", "learned_from"},
}
"""Below `mbrl_control`: what each part may import of the other parts. `live` cuts rows as the replay does: it scores
what was promised."""

SIM_USERS = (
    "mbrl_nodes.sim_controller",
    "mbrl_nodes.sim_driver",
    "mbrl_control.envs",
    "mbrl_control.report",
    "mbrl_control.cli.closed_loop",
    "mbrl_control.cli.simulation",
    "benchmarks",
    "sim",
)
"""`report` reads the simulator's truth file, `cli.simulation` compares the simulation model with the URDF,
`cli.closed_loop` hands a retraining, which knows no simulator, the closed loop that a candidate has to pass."""

CLOSED_LOOP = ("sim.lockstep", "sim.lockstep_parts", "sim.lockstep_model", "sim.closed_loop")
CHAINED = ("cadence", "estimation", "planning", "replay.streams", "replay.transitions")
PLANNED_WITH = ("deployment", "dynamics", "rewards.names", "learning.stability")
"""The simulator's closed loop chains an arm with what controls it in the graph, without ROS: these modules alone know
more than values and arms. A retraining needs the loop as benches do; no control process loads it."""

CONTROL = (
    "mbrl_control.planning",
    "mbrl_control.safety",
    "mbrl_control.estimation",
    "mbrl_control.live",
    "mbrl_control.deployment.evaluator",
    "mbrl_control.deployment.slot",
    "mbrl_control.deployment.registry",
    "mbrl_control.learner",
    "mbrl_control.deployment.check",
    "mbrl_control.deployment.manifest",
    "mbrl_control.deployment.session",
    "mbrl_control.deployment.lifecycle",
    "mbrl_control.deployment.trial_child",
    "mbrl_control.deployment.trial_run",
    "mbrl_control.deployment.quiet_runtime",
    "mbrl_nodes",
)
OFFLINE = ("trimesh", "mbrl_control.arm_setup", "torch", "onnxscript", "mbrl_control.learning", "mbrl_control.retrain")
PICKLES = frozenset({"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"})

ALL = sorted(modules())


def under(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


QUIET = "mbrl_control.deployment.quiet_runtime"


@pytest.mark.parametrize("name", [name for name in ALL if not under(name, QUIET, "tests")])
def test_onnxruntime_is_only_imported_without_its_telemetry(name: str) -> None:
    assert [target for target in imports(name) if under(target, "onnxruntime")] == []


@pytest.mark.parametrize("name", [name for name in ALL if not under(name, "sim.quiet_bullet")])
def test_pybullet_is_only_imported_without_its_greeting(name: str) -> None:
    assert [target for target in imports(name) if under(target, "pybullet")] == []


def forbidden_imports(name: str) -> list[str]:
    part = name.split(".")[1] if name.count(".") else ""
    if not name.startswith("mbrl_control.") or part not in ALLOWED:
        return []
    inside = [target for target in imports(name) if target.startswith("mbrl_control.")]
    own = f"mbrl_control.{part}"
    permitted = [f"mbrl_control.{other}" for other in ALLOWED[part]]
    return [target for target in inside if not under(target, own, *permitted)]


@pytest.mark.parametrize("name", ALL)
def test_imports_point_one_way(name: str) -> None:
    assert forbidden_imports(name) == []


@pytest.mark.parametrize("name", [name for name in ALL if under(name, "mbrl_control")])
def test_the_library_knows_neither_nodes_nor_benchmarks(name: str) -> None:
    assert [target for target in imports(name) if under(target, "mbrl_nodes", "benchmarks")] == []


@pytest.mark.parametrize("name", [name for name in ALL if not under(name, "mbrl_nodes")])
def test_only_the_nodes_import_ros(name: str) -> None:
    ros = [
        target
        for target in imports(name)
        if under(target, "rclpy", "mbrl_msgs") or target.split(".")[0].endswith("_msgs")
    ]
    assert ros == []


@pytest.mark.parametrize("name", [name for name in ALL if not under(name, *SIM_USERS)])
def test_only_a_few_import_the_simulator(name: str) -> None:
    assert [target for target in imports(name) if under(target, "sim", "mujoco", "pybullet")] == []


@pytest.mark.parametrize("name", [name for name in ALL if under(name, "sim")])
def test_the_simulator_knows_only_values_and_arms(name: str) -> None:
    inside = [target for target in imports(name) if under(target, "mbrl_control", "mbrl_nodes", "benchmarks")]
    known = ("signals", "robot", "kinematics", *ARM_FILES)
    known = (*known, *CHAINED, *PLANNED_WITH) if name in CLOSED_LOOP else known
    allowed = [f"mbrl_control.{part}" for part in known]
    assert [target for target in inside if not under(target, *allowed)] == []


@pytest.mark.parametrize("name", [name for name in ALL if under(name, *CONTROL)])
def test_a_control_process_never_loads_training_code(name: str) -> None:
    chains = [" -> ".join(chain) for target, chain in loaded_by(name).items() if under(target, *OFFLINE)]
    assert chains == []


def calls(module: Module) -> list[ast.Call]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> object:
    values = [pair.value for pair in call.keywords if pair.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def unsafe(call: ast.Call) -> bool:
    """A call that can run code hidden in a file, or writes a file that can."""
    function = ast.unparse(call.func)
    return (
        (function == "torch.load" and keyword(call, "weights_only") is not True)
        or function in {"torch.save", "yaml.load", "yaml.unsafe_load"}
        or keyword(call, "allow_pickle") is True
    )


@pytest.mark.parametrize("name", ALL)
def test_no_file_can_carry_code(name: str) -> None:
    assert [target for target in imports(name) if target.split(".")[0] in PICKLES] == []
    assert [ast.unparse(call) for call in calls(modules()[name]) if unsafe(call)] == []


def swallows(handler: ast.ExceptHandler) -> bool:
    """Catches everything, or catches broadly and does nothing."""
    if handler.type is None:
        return True
    broad = ast.unparse(handler.type) in {"Exception", "BaseException"}
    return broad and all(isinstance(step, ast.Pass | ast.Continue) for step in handler.body)


@pytest.mark.parametrize("name", ALL)
def test_no_error_is_swallowed(name: str) -> None:
    handlers = [node for node in ast.walk(modules()[name].tree) if isinstance(node, ast.ExceptHandler)]
    assert [handler.lineno for handler in handlers if swallows(handler)] == []
