"""Is there a simulation model of an arm, and is it of the same arm as URDF and YAML?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mbrl_control.kinematics import forward_kinematics
from mbrl_control.robot import Arm, ArmError, load_arm
from mbrl_control.robot_file import YamlFile
from mbrl_control.signals import CommandInterface
from sim.engines import Simulator, open_arm
from sim.randomization import randomization_faults
from sim.renderers import open_renderer

__all__ = ["Simulator", "check_simulation_model", "load_filmed_arm", "load_simulated_arm"]
_TOLERANCE_M = 1e-6


def load_simulated_arm(
    path: Path, simulator: Simulator = Simulator.MUJOCO, interface: CommandInterface = CommandInterface.VELOCITY
) -> Arm:
    """The arm of a YAML file that the simulator takes as it is; ArmError names file and remedy."""
    arm = load_arm(path, interface)
    if simulator is Simulator.MUJOCO:
        check_simulation_model(path, arm)
    else:
        open_arm(simulator, path, seed=0)  # reads the URDF itself: all there is to compare is that it can
    return arm


def load_filmed_arm(path: Path, simulator: Simulator, interface: CommandInterface) -> Arm:
    """As :func:`load_simulated_arm`; and the pictures of a report can be drawn."""
    arm = load_simulated_arm(path, simulator, interface)
    open_renderer(simulator, path)
    return arm


def check_simulation_model(path: Path, arm: Arm) -> Path:
    """The MJCF beside the YAML file ``path``: it loads, has the arm's joints, and puts the tool where the URDF does."""
    import mujoco

    model_file = path.with_suffix(".mjcf.xml")
    remedy = f"generate it: python -m sim.generate {path}"
    if not model_file.is_file():
        raise ArmError.at(model_file, "file", "no such file", remedy)
    try:
        model = mujoco.MjModel.from_xml_path(str(model_file))
    except ValueError as error:
        raise ArmError.at(model_file, "file", f"not a model ({error})", remedy) from error
    names = tuple(model.joint(index).name for index in range(model.njnt))
    if names != arm.joint_names:
        raise ArmError.at(model_file, "joint", f"joints are {names}, the YAML names {arm.joint_names}", remedy)
    tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, arm.tool_frame)
    if tool < 0:
        raise ArmError.at(model_file, "site", f"has none named {arm.tool_frame}", remedy)
    data = mujoco.MjData(model)
    data.qpos[:] = arm.home
    mujoco.mj_kinematics(model, data)
    away = float(np.linalg.norm(data.site_xpos[tool] - forward_kinematics(arm, arm.home)))
    if not away <= _TOLERANCE_M:
        fault = f"puts the tool {away:.2g} m from where the URDF puts it at home"
        raise ArmError.at(model_file, f"site {arm.tool_frame}", fault, remedy)
    return model_file


def simulation_model_is_stale(path: Path) -> bool:
    """The MJCF beside the YAML file ``path`` is not what its URDF and YAML make now."""
    from sim.generate import generated_files

    model_file = path.with_suffix(".mjcf.xml")
    return model_file.read_text(encoding="utf-8") != generated_files(path)[model_file]


def faults_of_randomization(path: Path, arm: Arm) -> list[ArmError]:
    """Of the ranges in the YAML file ``path``, where it gives any."""
    source = YamlFile(path)
    return list(randomization_faults(source, arm.command_delay_s)) if "randomization" in source.tree else []


def write_simulation_model(path: Path) -> Path:
    """Generate the MJCF beside the YAML of an own arm, and check it."""
    from sim.generate import generated_files

    model_file = path.with_suffix(".mjcf.xml")
    with model_file.open("x", encoding="utf-8") as file:
        file.write(generated_files(path)[model_file])
    return check_simulation_model(path, load_arm(path))
