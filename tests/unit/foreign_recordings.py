"""Recordings as other programs write them: a motion known in closed form, in each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mbrl_control.cli.locations import arm_file
from mbrl_control.episode_log.errors import LogError
from mbrl_control.replay.importing.mapping import load_map
from mbrl_control.replay.importing.report import ImportReport
from mbrl_control.replay.importing.run import import_recording
from mbrl_control.robot import load_arm

T0_NS = 1_700_000_000_000_000_000
JOINTS = ("joint_a", "joint_b")
"""Of the source; the planar arm calls them shoulder and elbow."""
OMEGA = np.array([2.0, 3.0])
AMPLITUDE = np.array([0.6, 0.4])
ROS = get_typestore(Stores.ROS2_HUMBLE)


def position(seconds: Any) -> Any:
    """[N, 2] rad."""
    return 0.2 + AMPLITUDE * np.sin(OMEGA * np.asarray(seconds)[:, None])


def velocity(seconds: Any) -> Any:
    """[N, 2] rad/s."""
    return AMPLITUDE * OMEGA * np.cos(OMEGA * np.asarray(seconds)[:, None])


@dataclass(frozen=True)
class Motion:
    """State and commands at the same instants."""

    seconds: np.ndarray
    """[N]."""

    @property
    def ns(self) -> np.ndarray:
        return T0_NS + np.rint(self.seconds * 1e9).astype(np.int64)

    @property
    def q(self) -> np.ndarray:
        return np.asarray(position(self.seconds))

    @property
    def dq(self) -> np.ndarray:
        return np.asarray(velocity(self.seconds))

    @property
    def u(self) -> np.ndarray:
        """Leads the velocity by 40 ms."""
        return np.asarray(velocity(self.seconds + 0.04))


def regular(duration: float = 3.0, period: float = 0.01) -> Motion:
    return Motion(np.arange(0.0, duration, period))


def jittered(rng: np.random.Generator, duration: float = 3.0, period: float = 0.01) -> Motion:
    """Stamps off by up to 40 % of the period."""
    seconds = np.arange(0.0, duration, period)
    return Motion(seconds + rng.uniform(-0.4, 0.4, len(seconds)) * period + 0.4 * period)


def run(source: Path, mapping: dict[str, Any] | str, out: Path, robot: str = "planar") -> ImportReport:
    """Import with a map given as a tree or as YAML."""
    path = out.with_suffix(".map.yaml")
    path.write_text(mapping if isinstance(mapping, str) else yaml.safe_dump(mapping, sort_keys=False))
    read = load_map(path)
    return import_recording(source, path, read, load_arm(arm_file(robot), read.interface), out)


def refused(tmp_path: Path, source: Path, mapping: dict[str, Any] | str, match: str, robot: str = "planar") -> None:
    with pytest.raises(LogError, match=match):
        run(source, mapping, tmp_path / "refused", robot)
    assert not list(tmp_path.glob("refused*/")), "nothing is left behind"


def write_csv(path: Path, motion: Motion, unit: float = 1.0, skip: tuple[str, ...] = ()) -> list[str]:
    """A table `t` [ms], `q_*`, `dq_*`, `tau_*`, `u_*`; its lines, to be broken and written again."""
    groups = {"q": motion.q * unit, "dq": motion.dq * unit, "tau": 3.0 * motion.dq, "u": motion.u * unit}
    groups = {name: values for name, values in groups.items() if name not in skip}
    head = ["t", *(f"{name}_{joint}" for name in groups for joint in JOINTS)]
    table = np.concatenate(list(groups.values()), axis=1)
    times = [f"{ns // 1_000_000}.{ns % 1_000_000:06d}" for ns in motion.ns.tolist()]
    lines = [",".join(head), *(",".join([t, *map(repr, row)]) for t, row in zip(times, table.tolist(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return lines


TABLE: dict[str, Any] = {
    "joints": {"joint_a": "shoulder", "joint_b": "elbow"},
    "tables": {
        "state": {"time": "t", "time_unit": "ms", "position": "q_{joint}", "velocity": "dq_{joint}"},
        "command": {"time": "t", "time_unit": "ms", "command": "u_{joint}"},
    },
}
BAG: dict[str, Any] = {
    "joints": {"joint_a": "shoulder", "joint_b": "elbow"},
    "topics": {"state": {"name": "/joint_states"}, "command": {"name": "/commands", "joints": ["joint_a", "joint_b"]}},
}
HDF5: dict[str, Any] = {
    "joints": {"joint_a": "shoulder", "joint_b": "elbow"},
    "hdf5": {"dt_s": 0.01, "position": [0, 1], "velocity": [2, 3], "command": [0, 1]},
}


def joint_state(ns: int, names: tuple[str, ...], q: Any, dq: Any, effort: Any = ()) -> Any:
    types = ROS.types
    stamp = types["builtin_interfaces/msg/Time"](ns // 1_000_000_000, ns % 1_000_000_000)
    arrays = [np.asarray(values, dtype=np.float64) for values in (q, dq, effort)]
    return types["sensor_msgs/msg/JointState"](types["std_msgs/msg/Header"](stamp, ""), list(names), *arrays)


def command(u: Any) -> Any:
    layout = ROS.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    return ROS.types["std_msgs/msg/Float64MultiArray"](layout, np.asarray(u, dtype=np.float64))


def write_bag(
    folder: Path,
    motion: Motion,
    plugin: StoragePlugin = StoragePlugin.SQLITE3,
    command_topic: str = "/commands",
    header_ahead_ns: int = 0,
    compression: CompressionMode = CompressionMode.NONE,
    garble: Callable[[int, bytes], bytes] = lambda number, data: data,
) -> None:
    """Joints in turns in this and that order, a gripper among them, some messages of the gripper alone.

    ``garble`` says what becomes of each message, by its number in the bag, before it is packed.
    """
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        kinds = {"/joint_states": "sensor_msgs/msg/JointState", command_topic: "std_msgs/msg/Float64MultiArray"}
        topics = {name: writer.add_connection(name, kind, typestore=ROS) for name, kind in kinds.items()}
        for number, (topic, ns, message) in enumerate(bag_messages(motion, command_topic, header_ahead_ns)):
            writer.write(topics[topic], ns, garble(number, bytes(ROS.serialize_cdr(message, kinds[topic]))))


def bag_messages(
    motion: Motion, command_topic: str = "/commands", header_ahead_ns: int = 0
) -> Iterator[tuple[str, int, Any]]:
    """Topic, time of receipt, message."""
    rows = zip(motion.ns.tolist(), motion.q, motion.dq, motion.u, strict=True)
    for i, (ns, q, dq, u) in enumerate(rows):
        names, order = (("joint_a", "finger", "joint_b"), [0, 2, 1]) if i % 2 else (("joint_b", "joint_a"), [1, 0])
        full_q, full_dq = (np.append(values, 0.02)[order] for values in (q, dq))
        yield "/joint_states", ns, joint_state(ns + header_ahead_ns, names, full_q, full_dq)
        if i % 50 == 7:
            yield "/joint_states", ns, joint_state(ns + header_ahead_ns, ("finger",), [0.02], [0.0])
        yield command_topic, ns, command(u)


def write_mcap(
    path: Path, messages: Iterable[tuple[str, int, Any]], compression: CompressionType, chunked: bool = True
) -> None:
    """`bag_messages` in one file without checksums, so that damage gets as far as it can."""
    kinds = {"/joint_states": "sensor_msgs/msg/JointState", "/commands": "std_msgs/msg/Float64MultiArray"}
    with path.open("wb") as stream:
        writer = McapWriter(stream, 2048, compression, use_chunking=chunked, enable_crcs=False)
        writer.start(profile="ros2", library="test")
        channels = {}
        for name, kind in kinds.items():
            text = ROS.generate_msgdef(kind, ros_version=2)[0]
            channels[name] = writer.register_channel(
                name, "cdr", writer.register_schema(kind, "ros2msg", text.encode())
            )
        for topic, ns, message in messages:
            writer.add_message(channels[topic], ns, bytes(ROS.serialize_cdr(message, kinds[topic])), ns)
        writer.finish()
