"""The doctor's judgement of a given ROS 2, its variables, shared memory and exchange over DDS."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from mbrl_control.cli.doctor_checks import ros, round_trip, shared_memory
from mbrl_control.cli.doctor_checks.children import Ended
from mbrl_control.cli.doctor_checks.ros import RosSource
from mbrl_control.cli.doctor_checks.round_trip import Exchange
from mbrl_control.cli.doctor_checks.shared_memory import SharedFile, SharedMemory

WHEELS = RosSource(wheel="9.1.2", distribution=None, fast_dds="3.2.3")
ROBOT = RosSource(wheel=None, distribution="jazzy")
MIB = 2**20


class TestSource:
    @pytest.mark.parametrize(
        ("source", "level", "word"),
        [
            (WHEELS, "ok", "Fast DDS 3.2.3"),
            (ROBOT, "ok", "jazzy"),
            (RosSource("9.1.2", "jazzy", "3.2.3", (), ("PYTHONPATH",)), "warn", "PYTHONPATH"),
            (RosSource(None, None, None, ("/opt/ros/jazzy",)), "fail", "not sourced"),
            (RosSource(None, None), "fail", "neither"),
        ],
    )
    def test_levels(self, source: RosSource, level: str, word: str) -> None:
        check = ros.ros_check(source)
        assert check.level == level
        assert word in check.found

    def test_an_installation_that_is_not_sourced_says_how(self) -> None:
        check = ros.ros_check(RosSource(None, None, None, ("/opt/ros/humble", "/opt/ros/jazzy")))
        assert ". /opt/ros/jazzy/setup.sh" in check.remedy

    def test_it_is_read_from_shell_and_disk(self, tmp_path: Path) -> None:
        (tmp_path / "jazzy").mkdir()
        (tmp_path / "jazzy" / "setup.sh").touch()
        env = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy", "LD_LIBRARY_PATH": "/usr/lib"}
        source = ros.read_ros(env, tmp_path)
        assert source.distribution == "jazzy"
        assert source.unsourced == (str(tmp_path / "jazzy"),)
        assert source.mixed_in == ("AMENT_PREFIX_PATH",)

    def test_messages_are_built_as_their_ros_is(self) -> None:
        assert ros.messages_check(None, WHEELS).level == "ok"
        missing = "ModuleNotFoundError: No module named 'mbrl_msgs'"
        for source, way in ((WHEELS, "make setup"), (ROBOT, "colcon build")):
            check = ros.messages_check(missing, source)
            assert (check.level, check.found) == ("fail", missing)
            assert way in check.remedy


@pytest.mark.parametrize(
    ("env", "name", "level"),
    [
        ({}, "ROS domain", "ok"),
        ({"ROS_DOMAIN_ID": "101"}, "ROS domain", "ok"),
        ({"ROS_DOMAIN_ID": "102"}, "ROS domain", "fail"),
        ({"ROS_DOMAIN_ID": "-1"}, "ROS domain", "fail"),
        ({"ROS_DOMAIN_ID": "seven"}, "ROS domain", "fail"),
        ({}, "ROS security", "ok"),
        ({"ROS_SECURITY_ENABLE": "true"}, "ROS security", "fail"),
        ({"ROS_SECURITY_ENABLE": "false"}, "ROS security", "ok"),
        ({}, "RMW", "ok"),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, "RMW", "warn"),
        ({}, "discovery", "ok"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "discovery", "info"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, "discovery", "warn"),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "x.xml"}, "discovery", "info"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}, "discovery", "warn"),
        (
            {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
            "discovery",
            "warn",
        ),
        (
            {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"},
            "discovery",
            "info",
        ),
        (
            {
                "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
                "ROS_LOCALHOST_ONLY": "1",
            },
            "discovery",
            "warn",
        ),
    ],
    ids=str,
)
def test_variables(env: dict[str, str], name: str, level: str) -> None:
    checks = {check.name: check for check in ros.environment_checks(env, WHEELS)}
    assert checks.pop(name).level == level
    assert {check.level for check in checks.values()} == {"ok"}


def test_an_installation_may_have_security() -> None:
    checks = ros.environment_checks({"ROS_SECURITY_ENABLE": "true"}, ROBOT)
    assert {check.level for check in checks if check.name == "ROS security"} == {"info"}


class TestSharedMemory:
    LIVE, DEAD = (
        SharedFile("fastdds_1", MIB, live=True, foreign=False),
        SharedFile("fastdds_1", MIB, live=False, foreign=False),
    )
    OTHERS, OTHERS_DEAD = (
        SharedFile("fastdds_1", MIB, live=True, foreign=True),
        SharedFile("fastdds_1", MIB, live=False, foreign=True),
    )

    @pytest.mark.parametrize(
        ("memory", "level", "word"),
        [
            (SharedMemory("/dev/shm", True, 500 * MIB), "ok", "none"),
            (SharedMemory("/dev/shm", True, 500 * MIB, (LIVE,)), "ok", "1 in use (1.0 MiB)"),
            (SharedMemory("/dev/shm", True, 500 * MIB, (LIVE, DEAD)), "info", "1 in use, 1 left over"),
            (SharedMemory("/dev/shm", True, 500 * MIB, (OTHERS_DEAD,)), "info", "1 left over"),
            (SharedMemory("/dev/shm", True, 500 * MIB, (OTHERS,)), "warn", "another user"),
            (SharedMemory("/dev/shm", True, 500 * MIB, private=True), "info", "this container's own"),
            (SharedMemory("/dev/shm", True, 10 * MIB), "warn", "10 MiB free"),
            (SharedMemory("/dev/shm", False, 0), "warn", "cannot be written"),
        ],
    )
    def test_levels(self, memory: SharedMemory, level: str, word: str) -> None:
        check = shared_memory.shared_memory_check(memory)
        assert check.level == level
        assert word in check.found

    def test_a_way_around_it_is_named_with_both_variables(self) -> None:
        for memory in (
            SharedMemory("/dev/shm", False, 0),
            SharedMemory("/dev/shm", True, 500 * MIB, (self.OTHERS,)),
            SharedMemory("/dev/shm", True, 500 * MIB, private=True),
        ):
            assert ros.UDP in shared_memory.shared_memory_check(memory).remedy

    def test_files_are_removed_only_while_no_graph_runs(self) -> None:
        def remedy(*files: SharedFile) -> str:
            return shared_memory.shared_memory_check(SharedMemory("/dev/shm", True, 500 * MIB, files)).remedy

        assert "while no graph runs" in remedy(self.DEAD)
        assert "end the running graphs" in remedy(self.DEAD, self.LIVE)

    def test_a_locked_segment_is_in_use_with_all_that_belongs_to_it(self, tmp_path: Path) -> None:
        for name in ("fastdds_1a", "fastdds_1a_el", "fastdds_port7_el", "sem.fastdds_port7_mutex", "other"):
            (tmp_path / name).touch()
        with (tmp_path / "fastdds_1a_el").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            files = shared_memory.read_shared_memory(tmp_path).files
        assert {file.name for file in files if file.live} == {"fastdds_1a", "fastdds_1a_el"}
        assert {file.name for file in files if not file.live} == {"fastdds_port7_el", "sem.fastdds_port7_mutex"}
        assert not any(file.live for file in shared_memory.read_shared_memory(tmp_path).files)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        assert not shared_memory.read_shared_memory(tmp_path / "absent").writable

    def test_a_container_leaves_a_mark(self, tmp_path: Path) -> None:
        assert not shared_memory.in_container(tmp_path)
        (tmp_path / ".dockerenv").touch()
        assert shared_memory.in_container(tmp_path)


class TestRoundTrip:
    GOOD = Exchange(None, True, 20, 0.6, "rmw_fastrtps_cpp")
    DEAF = Exchange(None, True, 0)
    ALONE = Exchange(None, False, 0)

    @pytest.mark.parametrize(
        ("usual", "udp", "words", "remedy"),
        [
            (DEAF, GOOD, "find each other, no message arrives; by UDP alone", f"tried, works: `{ros.UDP}`"),
            (ALONE, GOOD, "find nobody; by UDP alone", ros.UDP),
            (DEAF, DEAF, "by UDP neither", "firewall"),
            (ALONE, ALONE, "do not find each other", "ip link set lo up"),
            (Exchange("No module named mbrl_nodes"), None, "mbrl_nodes", "ROS 2"),
        ],
        ids=["shared memory", "discovery by UDP", "no data", "no discovery", "no nodes"],
    )
    def test_failures_are_told_apart(self, usual: Exchange, udp: Exchange | None, words: str, remedy: str) -> None:
        check = round_trip.round_trip_check(usual, udp, None, {})
        assert check.level == "fail"
        assert words in check.found
        assert remedy in check.remedy

    def test_it_works(self) -> None:
        check = round_trip.round_trip_check(self.GOOD, None, None, {})
        assert (check.level, check.remedy) == ("ok", "")
        assert "median 0.6 ms" in check.found

    def test_without_messages_it_is_not_a_second_failure(self) -> None:
        check = round_trip.round_trip_check(Exchange("no mbrl_msgs"), None, "no mbrl_msgs", {})
        assert check.level == "info"

    def test_the_old_variable_stands_in_the_way(self) -> None:
        check = round_trip.round_trip_check(self.DEAF, self.GOOD, None, {"ROS_LOCALHOST_ONLY": "1"})
        assert f"`unset ROS_LOCALHOST_ONLY; {ros.UDP}`" in check.remedy

    def test_what_is_tried_is_what_the_remedy_says(self) -> None:
        env = round_trip.over_udp({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST", "ROS_LOCALHOST_ONLY": "1", "A": "b"})
        assert env == {
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
            "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
            "A": "b",
        }

    def test_the_childs_line_is_read(self) -> None:
        line = {"discovered": True, "returned": 3, "median_ms": 1.5, "rmw": "r"}
        assert round_trip.told_exchange(Ended(None, json.dumps(line))) == Exchange(None, True, 3, 1.5, "r")
        assert round_trip.told_exchange(Ended("ended by signal 9")).failure == "ended by signal 9"
