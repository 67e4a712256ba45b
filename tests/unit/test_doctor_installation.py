"""The doctor's judgement of given installations: packages, extras, ONNX Runtime, GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mbrl_control.cli.doctor_checks import extras, gpu, gpu_probe, installation
from mbrl_control.cli.doctor_checks.check import Check
from mbrl_control.cli.doctor_checks.children import Ended
from mbrl_control.cli.doctor_checks.gpu import Gpu
from mbrl_control.cli.doctor_checks.installation import LIBRARY, Installed
from mbrl_control.cli.doctor_checks.ros import RosSource
from mbrl_control.deployment.quiet_runtime import ort
from tests.architecture.source import ROOT, literals

WHEELS = RosSource(wheel="9.1.2", distribution=None)
ROBOT = RosSource(wheel=None, distribution="jazzy")
VERSIONS: dict[str, str | None] = {**dict.fromkeys(LIBRARY, "1.2.3"), "mujoco": "3.17.0"}
CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"


def canonical(requirement: str) -> str:
    return requirement.split("<")[0].split("[")[0]


def told(*lines: dict[str, Any], failure: str | None = None) -> Ended:
    return Ended(failure, "a library says hello\n" + "".join(json.dumps(line) + "\n" for line in lines))


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


class TestPython:
    def test_the_tested_one(self) -> None:
        assert installation.python_check((3, 11, 9), WHEELS).level == "ok"

    @pytest.mark.parametrize(("found", "source", "level"), [((3, 12), WHEELS, "fail"), ((3, 10), ROBOT, "fail")])
    def test_another_one(self, found: tuple[int, ...], source: RosSource, level: str) -> None:
        assert installation.python_check(found, source).level == level

    def test_that_of_a_robots_ros_is_a_warning(self) -> None:
        check = installation.python_check((3, 12, 3), ROBOT)
        assert check.level == "warn"
        assert "jazzy" in check.found


class TestProject:
    STATUS = "# branch.oid 0123456789abcdef\n# branch.head main\n1 .M N... x\n? y\n"

    def test_a_checkout_says_its_commit_and_its_changes(self) -> None:
        check = installation.project_check("0.1.0", Ended(None, self.STATUS), Path("/here"))
        assert check.found == "0.1.0 in /here, git 01234567, 2 files changed"
        assert "clean" in installation.project_check("0.1.0", Ended(None, self.STATUS[:48]), Path("/")).found

    def test_without_git_or_installation(self) -> None:
        check = installation.project_check("0.1.0", Ended("fatal: not a git repository"), Path("/"))
        assert check.level == "ok"
        assert "not a git repository" in check.found
        assert installation.project_check(None, Ended("git: No such file"), Path("/")).level == "warn"


class TestPackages:
    def test_every_package_of_the_library_has_its_words(self) -> None:
        declared = literals(ROOT / "setup.py")["LIBRARY"]
        assert isinstance(declared, list)
        assert {canonical(name) for name in declared} == set(LIBRARY)

    def test_all_there(self) -> None:
        checks = installation.package_checks(Installed(VERSIONS), WHEELS)
        assert {check.level for check in checks} == {"ok"}

    @pytest.mark.parametrize("name", sorted(LIBRARY))
    def test_a_missing_one_is_named_with_what_it_makes_impossible(self, name: str) -> None:
        installed = Installed({**VERSIONS, name: None})
        (check,) = (c for c in installation.package_checks(installed, WHEELS) if c.level != "ok")
        assert check.level == "fail"
        assert name in f"{check.name} {check.found}"
        assert LIBRARY[name].impossible in check.found
        assert "make setup" in check.remedy

    @pytest.mark.parametrize("name", sorted(LIBRARY))
    def test_a_robot_needs_no_simulator_and_no_training(self, name: str) -> None:
        installed = Installed({**VERSIONS, name: None})
        (check,) = (c for c in installation.package_checks(installed, ROBOT) if c.level != "ok")
        assert check.level == ("fail" if LIBRARY[name].needed_by_a_robot else "warn")
        assert f"install -c constraints.txt {name}" in check.remedy
        assert "make" not in check.remedy

    def test_a_broken_one_is_put_back(self) -> None:
        installed = Installed(VERSIONS, {"torch": "OSError: libc10.so", "scipy": "ImportError: x"})
        checks = by_name([c for c in installation.package_checks(installed, WHEELS) if c.level != "ok"])
        assert set(checks) == {"torch", "other packages"}
        assert "libc10.so" in checks["torch"].found
        assert "--force-reinstall --no-deps torch==1.2.3" in checks["torch"].remedy
        assert "scipy==1.2.3" in checks["other packages"].remedy

    def test_mujoco_4_is_refused(self) -> None:
        checks = by_name(installation.package_checks(Installed({**VERSIONS, "mujoco": "4.0.0"}), WHEELS))
        assert checks["mujoco"].level == "fail"
        assert "mujoco<4" in checks["mujoco"].remedy

    def test_the_import_that_killed_the_child_is_the_first_untold(self) -> None:
        ended = told({"module": "a", "error": ""}, {"module": "b", "error": "ImportError: x"}, failure="signal 11")
        assert installation.broken_imports(ended, ["A", "B", "C", "D"]) == {"B": "ImportError: x", "C": "signal 11"}

    def test_the_child_itself(self) -> None:
        ended = installation.run_module(installation._PROBE, "json", "no_such_module", limit_s=20.0)
        broken = installation.broken_imports(ended, ["json", "none"])
        assert broken == {"none": "ModuleNotFoundError: No module named 'no_such_module'"}


class TestTestedVersions:
    def test_the_file_is_read(self) -> None:
        tested = installation.read_tested(ROOT)
        assert tested is not None
        assert tested["torch"] == "2.13.0"
        assert "setuptools" not in tested  # a range

    def test_outside_a_checkout(self, tmp_path: Path) -> None:
        tested = installation.read_tested(tmp_path)
        assert tested is None
        assert installation.tested_check(tested, {}).level == "info"

    def test_a_build_of_the_same_version_is_the_same(self) -> None:
        tested = {"torch": "2.13.0", "numpy": "2.4.6"}
        assert installation.tested_check(tested, {"torch": "2.13.0+cpu", "numpy": None}).level == "ok"

    def test_another_version_is_named_with_the_way_back(self) -> None:
        check = installation.tested_check({"numpy": "2.4.6", "rich": "1"}, {"numpy": "2.3.0", "rich": "1"})
        assert check.level == "warn"
        assert "numpy 2.3.0 (tested: 2.4.6)" in check.found
        assert check.remedy.endswith("install numpy==2.4.6")


class TestExtras:
    LINES = ("numpy", 'onnxruntime; extra == "cpu"', 'ros-rclpy[fastrtps]; extra == "ros"', "x ; extra == 'test'")

    def test_every_extra_has_its_words(self) -> None:
        declared = literals(ROOT / "setup.py")["EXTRAS"]
        assert isinstance(declared, dict)
        assert list(declared) == list(extras.ADDS)

    def test_they_are_read_from_the_metadata(self) -> None:
        assert extras.read_extras(self.LINES) == {"cpu": ["onnxruntime"], "ros": ["ros-rclpy"], "test": ["x"]}

    @pytest.mark.parametrize(
        ("source", "present", "levels"),
        [
            (WHEELS, {"a", "b", "c", "d", "e"}, ["ok"] * 7),
            (WHEELS, {"a", "c", "d", "e"}, ["ok", "info", "ok", "ok", "ok", "ok", "ok"]),
            (WHEELS, set(), ["info", "info", "ok", "ok", "warn", "warn", "info"]),
            (WHEELS, {"onnxruntime-gpu"}, ["ok", "info", "ok", "ok", "warn", "warn", "info"]),
            (ROBOT, {"a"}, ["ok", "info", "ok", "ok", "ok", "ok", "info"]),
        ],
    )
    def test_levels(self, source: RosSource, present: set[str], levels: list[str]) -> None:
        wanted = {"cpu": ["a"], "gpu": ["b"], "data": [], "ray": [], "ros": ["c"], "build": ["d"], "test": ["e"]}
        checks = extras.extra_checks(wanted, source, lambda name: "1" if name in present else None)
        assert [check.level for check in checks] == levels
        for check, extra in zip(checks, wanted, strict=True):
            assert check.name == f"extra {extra}"
            assert "not installed" not in check.found or (wanted[extra][0] in check.found and check.remedy)

    def test_what_a_project_that_is_not_installed_would_add(self) -> None:
        checks = extras.extra_checks({}, WHEELS)
        assert {check.level for check in checks} == {"info"}
        assert all(adds in check.found for check, adds in zip(checks, extras.ADDS.values(), strict=True))


class TestOnnxRuntime:
    def test_one_of_them(self) -> None:
        assert gpu.runtime_check(Gpu(False, "1.32.0", None, None), None).level == "ok"
        assert gpu.runtime_check(Gpu(False, None, "1.31.1", None), None).found == "1.31.1 (gpu)"

    def test_both_are_a_conflict(self) -> None:
        check = gpu.runtime_check(Gpu(False, "1.32.0", "1.31.1", None), None)
        assert check.level == "fail"
        assert "uninstall -y onnxruntime onnxruntime-gpu" in check.remedy

    def test_none_or_a_broken_one(self) -> None:
        assert gpu.runtime_check(Gpu(False, None, None, None), None).level == "fail"
        check = gpu.runtime_check(Gpu(False, None, "1.31.1", None), "ImportError: x")
        assert check.level == "fail"
        assert "onnxruntime-gpu==1.31.1" in check.remedy


class TestTorchGpu:
    FOUND = Gpu(True, None, "1.31.1", "2.13.0")

    def check(self, tried: Ended | None, found: Gpu = FOUND) -> Check:
        return gpu.torch_check(found, tried)

    def test_no_gpu_is_no_fault(self) -> None:
        check = self.check(None, Gpu(False, "1.32.0", None, "2.13.0+cpu"))
        assert (check.level, check.remedy) == ("info", "")

    def test_a_gpu_that_the_cpu_build_cannot_use(self) -> None:
        check = self.check(None, Gpu(True, "1.32.0", None, "2.13.0+cpu"))
        assert check.level == "info"
        assert "make setup GPU=1" in check.remedy

    @pytest.mark.parametrize(
        ("line", "level", "word"),
        [
            ({"available": True, "device": "H100", "difference": 1e-6}, "ok", "H100"),
            ({"available": True, "device": "H100", "difference": 1e-3}, "warn", "differs"),
            ({"available": False}, "warn", "does not see"),
        ],
    )
    def test_used_for_real(self, line: dict[str, Any], level: str, word: str) -> None:
        check = self.check(told({"build": "13.0", **line}))
        assert check.level == level
        assert word in check.found

    def test_a_driver_that_hangs(self) -> None:
        assert self.check(told(failure="no answer within 25 s")).level == "warn"

    def test_where_there_is_nothing_to_try_no_child_is_started(self) -> None:
        assert gpu.try_torch(Gpu(False, None, "1", "2.13.0")) is None
        assert gpu.try_torch(Gpu(True, None, "1", "2.13.0+cpu")) is None
        assert gpu.try_onnx(Gpu(True, "1", None, "2.13.0")) is None


class TestOnnxGpu:
    FOUND = Gpu(True, None, "1.31.1", "2.13.0")

    def used(self, provider: str, *really: str, difference: float = 1e-6) -> tuple[dict[str, Any], ...]:
        return {"provider": provider}, {"provider": provider, "used": [*really, CPU], "difference": difference}

    def check(self, *lines: dict[str, Any], failure: str | None = None, found: Gpu = FOUND) -> Check:
        return gpu.onnx_check(found, told({"listed": [TENSORRT, CUDA]}, *lines, failure=failure))

    def test_without_the_package(self) -> None:
        assert gpu.onnx_check(Gpu(False, "1.32.0", None, None), None).remedy == ""
        check = gpu.onnx_check(Gpu(True, "1.32.0", None, None), None)
        assert check.level == "info"
        assert "make setup GPU=1" in check.remedy

    def test_both_used(self) -> None:
        check = self.check(*self.used(TENSORRT, TENSORRT, CUDA), *self.used(CUDA, CUDA))
        assert (check.level, check.remedy) == ("ok", "")
        assert "Tensorrt, CUDA used" in check.found

    def test_listed_is_not_usable(self) -> None:
        check = self.check(*self.used(TENSORRT), *self.used(CUDA))
        assert check.level == "warn"
        assert "CUDA listed, not usable" in check.found

    def test_one_of_two_is_enough(self) -> None:
        check = self.check(*self.used(TENSORRT), *self.used(CUDA, CUDA))
        assert check.level == "info"
        assert check.found.startswith("CUDA used")

    def test_one_that_computes_something_else_is_not_usable(self) -> None:
        check = self.check(*self.used(CUDA, CUDA, difference=1e-3))
        assert check.level == "warn"
        assert "differs" in check.found

    def test_one_that_kills_the_child_is_named(self) -> None:
        check = self.check(*self.used(TENSORRT, TENSORRT), {"provider": CUDA}, failure="ended by signal 11")
        assert check.level == "info"
        assert "CUDA: ended by signal 11" in check.found
        assert self.check({"provider": CUDA}, failure="ended by signal 11").level == "warn"

    def test_the_gpu_package_on_a_machine_without_a_gpu_is_no_fault(self) -> None:
        assert self.check(*self.used(CUDA), found=Gpu(False, None, "1.31.1", "2.13.0")).level == "info"

    def test_no_provider_at_all(self) -> None:
        assert gpu.onnx_check(self.FOUND, told({"listed": []})).level == "warn"


def test_a_gpu_is_known_by_its_device_file(tmp_path: Path) -> None:
    versions = {"onnxruntime": "1.32.0", "torch": "2.13.0"}
    assert gpu.read_gpu(tmp_path, versions.get) == Gpu(False, "1.32.0", None, "2.13.0")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert gpu.read_gpu(tmp_path, versions.get).device


def test_the_probes_graph_is_the_product_it_is_compared_with() -> None:
    session = ort.InferenceSession(gpu_probe.product_graph(), providers=[CPU])
    left, right = gpu_probe.matrices()
    (product,) = session.run(None, {"left": left})
    assert np.abs(product - left.astype(np.float64) @ right.astype(np.float64)).max() < gpu.SAME / 10
    assert 0.3 < np.abs(product).max() <= 1.0  # else rounding to TF32 would stay below the limit
