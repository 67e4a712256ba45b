"""The doctor's judgement of a given machine: processors, clock, wake-ups, memory, disk; children with a time limit."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from mbrl_control.cli.doctor_checks import check as checks
from mbrl_control.cli.doctor_checks import children, machine, processors, rollouts, scheduling
from mbrl_control.cli.doctor_checks.check import Check, Group
from mbrl_control.cli.doctor_checks.children import Ended
from mbrl_control.cli.doctor_checks.machine import Memory
from mbrl_control.cli.doctor_checks.processors import Processors
from mbrl_control.cli.doctor_checks.scheduling import Wakeups
from mbrl_control.cli.locations import launch_file
from mbrl_control.graph import load_graph
from tests.patience import HUNG_S

GIB, MIB = 2**30, 2**20


def put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content + "\n")


class TestProcessors:
    def test_cores(self) -> None:
        check = processors.cores_check(Processors((0, 1, 5), "0-7", "5-7", None))
        assert check.level == "ok"
        assert check.found == "3 allowed of 0-7, isolated: 5-7; 5 reserved for the planner"
        assert processors.cores_check(Processors((3,), "0-7", "", None)).level == "warn"

    @pytest.mark.parametrize(("quota", "level"), [(None, "ok"), (4.0, "info"), (2.0, "info"), (1.99, "warn")])
    def test_a_quota_below_two_cores_is_a_warning(self, quota: float | None, level: str) -> None:
        assert processors.quota_check(Processors((0, 1), "0-1", "", quota)).level == level

    def test_the_tightest_quota_of_version_2_counts(self, tmp_path: Path) -> None:
        put(tmp_path, "proc/self/cgroup", "0::/a/b")
        put(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000")
        put(tmp_path, "sys/fs/cgroup/a/cpu.max", "150000 100000")
        put(tmp_path, "sys/fs/cgroup/a/b/cpu.max", "400000 100000")
        assert processors.read_processors(tmp_path).quota == 1.5

    def test_version_1_in_a_container_that_shows_the_hosts_path(self, tmp_path: Path) -> None:
        put(tmp_path, "proc/self/cgroup", "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n0::/")
        put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000")
        put(tmp_path, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
        assert processors.read_processors(tmp_path).quota == 0.5

    def test_no_quota(self, tmp_path: Path) -> None:
        assert processors.read_processors(tmp_path).quota is None
        put(tmp_path, "proc/self/cgroup", "3:cpu:/\n0::/")
        put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1")
        put(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
        put(tmp_path, "sys/fs/cgroup/unified/cpu.max", "max 100000")
        assert processors.read_processors(tmp_path).quota is None

    @pytest.mark.parametrize(
        ("governors", "level"),
        [({}, "ok"), ({"performance": 8}, "ok"), ({"powersave": 8}, "warn"), ({"performance": 7, "x": 1}, "warn")],
    )
    def test_governor(self, governors: dict[str, int], level: str) -> None:
        assert processors.governor_check(governors).level == level

    def test_governors_of_the_allowed_processors_are_read(self, tmp_path: Path) -> None:
        for number in (*os.sched_getaffinity(0), 4095):
            put(tmp_path, f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor", "powersave")
        assert processors.read_governors(tmp_path) == {"powersave": len(os.sched_getaffinity(0))}


class TestThrottling:
    @pytest.mark.parametrize(
        ("runtime", "period", "level", "words"),
        [
            ("950000", "1000000", "info", "after 950 of 1000 ms"),
            ("-1", "1000000", "ok", "off"),
            ("1000000", "1000000", "ok", "off"),
        ],
    )
    def test_what_the_kernel_leaves_to_real_time_threads(
        self, tmp_path: Path, runtime: str, period: str, level: str, words: str
    ) -> None:
        put(tmp_path, "proc/sys/kernel/sched_rt_runtime_us", runtime)
        put(tmp_path, "proc/sys/kernel/sched_rt_period_us", period)
        found = scheduling.throttling_check(scheduling.read_throttling(tmp_path))
        assert found.level == level
        assert words in found.found

    def test_a_kernel_that_does_not_say(self, tmp_path: Path) -> None:
        assert scheduling.read_throttling(tmp_path) is None
        assert scheduling.throttling_check(None).level == "info"


class TestIdle:
    @pytest.mark.parametrize(("dear", "level"), [(True, "info"), (False, "ok")])
    def test_a_guest_that_halts_is_told_of(self, dear: bool, level: str) -> None:
        assert processors.idle_check(dear).level == level


class TestClock:
    @pytest.mark.parametrize(
        ("resolution_s", "source", "level"),
        [
            (1e-9, "tsc", "ok"),
            (1e-9, "", "ok"),
            (1e-9, "hpet", "warn"),
            (1e-9, "acpi_pm", "warn"),
            (4e-3, "tsc", "warn"),
        ],
    )
    def test_resolution_and_source(self, resolution_s: float, source: str, level: str) -> None:
        assert processors.clock_check(resolution_s, source).level == level

    @pytest.mark.parametrize(("synchronized", "level"), [(True, "ok"), (False, "info"), (None, "info")])
    def test_a_wall_clock_on_its_own_is_no_fault(self, synchronized: bool | None, level: str) -> None:
        assert processors.wall_clock_check(synchronized).level == level

    def test_the_kernel_answers(self) -> None:
        assert processors.read_synchronized() in (True, False)


class TestWakeups:
    CALM = Wakeups(None, 200, 0.1, 0.8, 0, "SCHED_OTHER")

    @pytest.mark.parametrize(
        ("measured", "level", "word"),
        [
            (CALM, "ok", ""),
            (Wakeups(None, 200, 1.0, 4.99, 0, ""), "ok", ""),
            (Wakeups(None, 200, 1.1, 4.0, 0, ""), "warn", "tick"),
            (Wakeups(None, 200, 0.1, 5.0, 0, ""), "warn", "tick"),
            (Wakeups(None, 200, 0.1, 0.2, 1, ""), "warn", "tick"),
            (Wakeups(None, 200, 0.1, 25.0, 4, ""), "warn", "stops the arm"),
            (Wakeups("no answer within 9 s"), "warn", "again"),
        ],
    )
    def test_thresholds(self, measured: Wakeups, level: str, word: str) -> None:
        for check in (
            scheduling.wakeup_checks(measured, None)[0],
            scheduling.wakeup_checks(self.CALM, measured)[1],
        ):
            assert check.level == level
            assert word in check.remedy

    def test_with_sched_fifo_only_that_measurement_matters(self) -> None:
        restless = Wakeups(None, 200, 8.0, 30.0, 7, "SCHED_OTHER")
        assert [check.level for check in scheduling.wakeup_checks(restless, self.CALM)] == ["info", "ok"]
        assert [check.level for check in scheduling.wakeup_checks(restless, restless)] == ["warn", "warn"]
        assert [check.level for check in scheduling.wakeup_checks(restless, None)] == ["warn", "info"]

    def test_priorities_of_guard_and_planner_are_the_graphs(self) -> None:
        placed = {node.name: (node.priority, node.processor) for node in load_graph(launch_file("graph.yaml"))}
        assert placed["guard"] == (scheduling.GUARD_PRIORITY, "others")
        planner_priority, processor = placed["mpc_planner"]
        assert processor == "reserved"
        assert 0 < rollouts._PRIORITY < planner_priority, "real-time as the planner is, and never in the way of one"

    def test_the_child_measures(self) -> None:
        ended = children.run_module(scheduling._PROBE, "0.2", limit_s=HUNG_S)
        measured = scheduling.wakeups(ended)
        assert (measured.failure, measured.ticks, measured.scheduling) == (None, 40, "SCHED_OTHER")
        assert 0.0 < measured.p99_ms <= measured.max_ms

    def test_the_child_measures_rollouts(self) -> None:
        check = rollouts.rollouts_check(rollouts.read_rollouts(HUNG_S))
        assert check.level == "info"
        assert check.found.startswith("16 sequences of panda/1: ")
        assert "1 lane of 1 thread " in check.found

    def test_a_model_that_does_not_run_fails(self) -> None:
        check = rollouts.rollouts_check(Ended("BundleError: no shipped model"))
        assert (check.level, "no shipped model" in check.found) == ("fail", True)

    def test_permissions(self) -> None:
        for judge, limit in ((scheduling.realtime_check, "rtprio"), (scheduling.memory_lock_check, "memlock")):
            assert judge(None).level == "ok"
            refused = judge("not permitted")
            assert refused.level == "warn"
            assert limit in refused.remedy


class TestMachine:
    @pytest.mark.parametrize(
        ("memory", "level"),
        [
            (Memory(8 * GIB, None), "ok"),
            (Memory(8 * GIB, 4 * GIB), "ok"),
            (Memory(8 * GIB, GIB), "fail"),
            (Memory(3 * GIB // 2, None), "warn"),
            (Memory(GIB, 4 * GIB), "fail"),
        ],
    )
    def test_memory(self, memory: Memory, level: str) -> None:
        assert machine.memory_check(memory).level == level

    def test_memory_is_read(self, tmp_path: Path) -> None:
        put(tmp_path, "proc/meminfo", "MemTotal:  1000 kB\nMemAvailable:   600 kB")
        assert machine.read_memory(tmp_path) == Memory(600 * 1024, None)
        put(tmp_path, "proc/self/cgroup", "4:memory:/\n0::/a")
        put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
        put(tmp_path, "sys/fs/cgroup/a/memory.max", "max")
        assert machine.read_memory(tmp_path) == Memory(600 * 1024, None)
        put(tmp_path, "sys/fs/cgroup/memory.max", "4096")
        assert machine.read_memory(tmp_path) == Memory(600 * 1024, 4096)

    @pytest.mark.parametrize(
        ("mib", "sync_ms", "level"), [(100, 1, "fail"), (1000, 1, "warn"), (5000, 1, "ok"), (5000, 900, "info")]
    )
    def test_disk(self, mib: int, sync_ms: float, level: str) -> None:
        ended = Ended(None, json.dumps({"free": mib * MIB, "sync_ms": sync_ms}))
        assert machine.disk_check(ended, "/here").level == level

    def test_a_folder_that_cannot_be_written(self) -> None:
        check = machine.disk_check(Ended("PermissionError: [Errno 13] Permission denied"), "/here")
        assert check.level == "fail"
        assert "/here" in check.found

    @pytest.mark.parametrize(("encoding", "level"), [("UTF-8", "ok"), ("utf8", "ok"), ("ISO-8859-1", "warn")])
    def test_encoding(self, encoding: str, level: str) -> None:
        assert machine.encoding_check(encoding).level == level

    def test_kernel(self) -> None:
        assert machine.kernel_check("6.1", True, True).found == "6.1, PREEMPT_RT, in a container"
        assert machine.kernel_check("6.1", False, False).found == "6.1, not PREEMPT_RT"


class TestChildren:
    def test_what_it_printed_before_it_failed_counts(self) -> None:
        ended = children.run_code("print('{\"a\": 1}\\nnoise\\n[2]', flush=True); raise ValueError('x')", HUNG_S)
        assert ended.failure == "ValueError: x"
        assert ended.told == ({"a": 1},)

    def test_one_that_hangs_is_ended(self) -> None:
        # A shell: the interpreter alone may take longer than this limit on a slow machine.
        ended = children.run_child(["sh", "-c", """echo '{"a": 1}'; exec sleep 3600"""], 3.0)
        assert ended.failure == "no answer within 3 s"
        assert ended.told == ({"a": 1},)

    def test_one_that_crashes_or_is_not_there(self) -> None:
        assert children.run_code("import os; os.kill(os.getpid(), 11)", HUNG_S).failure == "ended by signal 11"
        assert children.run_child(["/no/such/program"], 5.0).failure == "/no/such/program: No such file or directory"

    def test_one_that_says_nothing(self) -> None:
        assert children.run_code("import sys; sys.exit(3)", HUNG_S).failure == "exit status 3"


class TestReport:
    GROUPS = (
        Group("First", (Check("a", "ok", "fine"), Check("a long name", "warn", "slow", "do this"))),
        Group("Second", (Check("b", "info", "so it is"), Check("c", "fail", "gone", "do that"))),
    )

    def test_json(self) -> None:
        report = json.loads(checks.as_json(self.GROUPS))
        assert report["ok"] is False
        assert report["checks"][1] == {"name": "a long name", "level": "warn", "found": "slow", "remedy": "do this"}
        assert json.loads(checks.as_json(self.GROUPS[:1]))["ok"] is True

    def test_columns_are_aligned(self) -> None:
        lines = re.sub("\033\\[[0-9;]*m", "", checks.as_text(self.GROUPS)).splitlines()
        found = [(line, word) for line in lines for word in ("fine", "slow", "gone", "-> do") if word in line]
        assert len(found) == 5
        assert len({line.index(word) for line, word in found}) == 1

    @pytest.mark.parametrize(
        ("groups", "words"),
        [
            (GROUPS, "1 ok, 1 info, 1 warn, 1 fail. Not ready: c"),
            (GROUPS[:1], "1 ok, 0 info, 1 warn, 0 fail. Usable; better after: a long name"),
            ((Group("x", (Check("a", "ok", "fine"),)),), "1 ok, 0 info, 0 warn, 0 fail. Ready."),
        ],
    )
    def test_summary(self, groups: tuple[Group, ...], words: str) -> None:
        assert checks.summary(groups).startswith(words)


def test_it_says_what_is_missing_where_almost_everything_is_missing() -> None:
    code = """
import sys
needed = {"typer", "rich", "shellingham", "annotated_doc", "pygments", "markdown_it", "mdurl"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name in {"numpy", "yaml", "pydantic", "torch", "onnxruntime", "mujoco", "scipy", "mcap", "rclpy", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from mbrl_control.cli import doctor, main
main.build_app()
print(doctor.round_trip.read_round_trip()[0].failure)
"""
    ended = children.run_child([sys.executable, "-c", code], 30.0)
    assert ended.failure is None
    assert ended.output.strip() in ("No module named 'yaml'", "No module named 'pydantic'")
