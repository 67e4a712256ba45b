"""On a local Ray cluster of two nodes: the same ensembles as without it, and what is told when it fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from mbrl_control.learning import ray_fit
from mbrl_control.learning.errors import DataError, ScaleOutError
from mbrl_control.learning.fit_ensemble import FitResult
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.ray_fit import RayFits, connected, remote, result_of
from mbrl_control.learning.ray_rows import rows_of, store, table_of
from mbrl_control.learning.search import Search, fit_here
from mbrl_control.learning.split_fit import FitTask, fit_split
from tests.oracle.servo_rows import PRIOR, servo_rows
from tests.oracle.torque_rows import NOTHING, prior_of_arm
from tests.oracle.torque_rows import rows_of as torque_rows
from tests.patience import SLOW_S, UNCUT_S

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed (extra `ray`)")

ROOT = Path(__file__).parents[2]
STORE_BYTES = 80_000_000
SETTINGS = FitSettings(trained_members=3, elites=2, width=12, epochs=4, batch_size=64, max_seconds=UNCUT_S)
TASK = FitTask(servo_rows(3000, 0, 0.02), PRIOR, 3, SETTINGS, np.linspace(0.5, 1.5, 3000))


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Two nodes of one processor each, on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        with TemporaryDirectory(prefix="ray-") as place:  # short: it holds sockets
            patch.setenv("RAY_TMPDIR", place)
            node = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
            cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
            try:
                cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
                with connected(cluster.address) as ray:
                    yield ray
            finally:
                cluster.shutdown()


pytestmark = pytest.mark.timeout(SLOW_S)


def nothing(_share: float) -> None:
    pass


def assert_same(one: FitResult | DataError, other: FitResult | DataError) -> None:
    assert isinstance(one, FitResult)
    assert isinstance(other, FitResult)
    assert (one.epochs, one.holdout_nll) == (other.epochs, other.holdout_nll)
    for name, value in one.ensemble.state_dict().items():
        assert torch.equal(value, other.ensemble.state_dict()[name]), name


def test_members_on_two_nodes_are_those_of_the_same_split_here_to_the_bit(ray: Any) -> None:
    assert ray.cluster_resources()["CPU"] == 2
    prior = prior_of_arm("planar")
    rows = torque_rows(prior, np.array([[2.0, 1.0], [0.5, 0.3]]), NOTHING, noise=0.01)
    torques = FitTask(rows, prior, 0, replace(SETTINGS, epochs=2))
    shares: list[float] = []
    fits = RayFits(ray)([TASK, torques], shares.append)
    for fit, task in zip(fits, (TASK, torques), strict=True):
        assert_same(fit, fit_split(task))
    assert shares[-1] == 1.0


def test_seeds_and_a_sweep_are_the_ones_without_ray_from_a_parent_too(ray: Any) -> None:
    task = replace(TASK, warm_start=fit_split(TASK).ensemble)
    grid = {"learning_rate": (1e-3, 5e-3)}
    on_ray, here = Search(2, grid, RayFits(ray)), Search(2, grid, fit_here)
    assert_same(on_ray(task, nothing, None), here(task, nothing, None))
    told, wanted = (
        [(trial.seed, trial.changed, trial.validation_nll, trial.chosen) for trial in search.trials]
        for search in (on_ray, here)
    )
    assert told == wanted


def test_rows_lie_in_the_cluster_once_in_blocks_with_where_they_come_from(ray: Any) -> None:
    rows = replace(TASK.transitions, session=np.arange(3000) // 1000, segment=np.arange(3000) // 10)
    blocks = store(ray, rows, TASK.row_weights, per_block=700)
    assert len(blocks.references) == 5
    back, weights = rows_of(ray.get(list(blocks.references)))
    for name in rows.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(rows, name))
        assert getattr(back, name).dtype == getattr(rows, name).dtype
    assert weights is not None
    assert TASK.row_weights is not None
    np.testing.assert_array_equal(weights, TASK.row_weights)
    assert back.position.flags.writeable
    tasks = [TASK, replace(TASK, seed=4), replace(TASK, transitions=rows)]
    assert len(RayFits(ray)._blocks(tasks)) == 2


def test_the_blocks_are_a_dataset_of_ray_data(ray: Any) -> None:
    dataset = store(ray, TASK.transitions, None, per_block=700).dataset()
    assert dataset.count() == 3000
    assert {"position", "stamp_ns", "session", "segment"} <= set(dataset.schema().names)


def test_without_ray_data_a_dataset_says_what_to_install(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ScaleOutError, match=r"Ray Data: .*; pip install 'mbrl_control\[ray\]'"):
        store(ray, TASK.transitions, None).dataset()


def test_a_worker_that_dies_is_replaced_once(ray: Any, tmp_path: Path) -> None:
    def die_once(marker: Path) -> str:
        if not marker.exists():
            marker.touch()
            os._exit(1)
        return "done"

    def die() -> None:
        os._exit(1)

    assert result_of(ray, remote(ray, die_once).remote(tmp_path / "died"), "member 0") == "done"
    with pytest.raises(ScaleOutError, match="member 1: its worker died 2 times"):
        result_of(ray, remote(ray, die).remote(), "member 1")


def test_errors_of_a_task_are_told_as_here_and_its_bugs_with_its_name(ray: Any) -> None:
    def wrong() -> None:
        raise DataError("transitions: too few")

    def bug() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(DataError, match=r"^transitions: too few$"):
        result_of(ray, remote(ray, wrong).remote(), "member 0")
    with pytest.raises(ScaleOutError, match="member 2: ZeroDivisionError: a bug; every node needs the same program"):
        result_of(ray, remote(ray, bug).remote(), "member 2")


def test_a_node_with_another_program_is_refused_by_name(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_fit, "programs", lambda: ("torch 0.1",))
    with pytest.raises(ScaleOutError, match=r"node .*: has Python .*; here it is torch 0\.1"):
        RayFits(ray)([TASK], nothing)


def test_too_few_rows_fail_a_candidate_and_not_the_others(ray: Any) -> None:
    few = replace(TASK, transitions=servo_rows(100, 0), row_weights=None)
    refused, fitted = RayFits(ray)([few, TASK], nothing)
    assert isinstance(refused, DataError)
    assert "100 rows" in str(refused)
    assert isinstance(fitted, FitResult)


def test_a_table_keeps_its_columns_apart_without_a_cluster() -> None:
    rows = TASK.transitions
    table = table_of(rows, None, slice(10, 20))
    assert table.num_rows == 10
    back, weights = rows_of([table])
    assert weights is None
    np.testing.assert_array_equal(back.history, rows.history[10:20])
