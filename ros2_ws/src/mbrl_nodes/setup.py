"""ament_python package `mbrl_nodes`: the ROS 2 nodes, one per file, and their parameters."""

from pathlib import Path

from setuptools import setup

NAME = "mbrl_nodes"
NODES = [
    "state_estimator",
    "dynamics_model",
    "mpc_planner",
    "guard",
    "command_relay",
    "data_logger",
    "log_player",
    "sim_driver",
    "collector",
    "demo_task",
    "dds_probe",
]
PARAMETERS = sorted(path.as_posix() for path in Path("params").glob("*.yaml"))

setup(
    name=NAME,
    version="0.1.0",
    description="ROS 2 nodes of mbrl_control",
    maintainer="mbrl_control maintainers",
    maintainer_email="maintainers@example.com",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/params", PARAMETERS),
    ],
    install_requires=["setuptools", "mbrl_control"],
    zip_safe=False,
    entry_points={"console_scripts": [f"{node} = {NAME}.{node}:main" for node in NODES]},
)
