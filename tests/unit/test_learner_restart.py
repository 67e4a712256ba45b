"""A watch that begins anew sees what one sees that has run on, and reads no more for it than would be learned from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.robot import Arm, load_arm
from tests.unit.synthetic_log import T0_NS, arm_streams, write_streams
from tests.unit.synthetic_log import Arm as Simulated
from tests.unit.test_learner_watch import SECOND, residual, watch_of


@pytest.fixture(scope="module")
def arm() -> Arm:
    return load_arm(arm_file("planar"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs in files of 3 s: of the arm, with a load from within one on, and one of another arm among them.

    The logger of the third one ran 5 s before there was a state: a summary has it longer than it is.
    """
    root = tmp_path_factory.mktemp("runs")
    layout = [(0, 3, None), (12, 2, ("a", "b")), (20, 3, None), (34, 3, None)]
    for run, (begin_s, files, names) in enumerate(layout):
        folder = root / f"run_{run}" / "log"
        folder.mkdir(parents=True)
        for number in range(files):
            start_ns = T0_NS + (begin_s + 3 * number) * SECOND + 37_000_000
            streams = arm_streams(Simulated(), 3.0, np.random.default_rng(10 * run + number), start_ns=start_ns)
            streams = replace(streams, joint_names=names or streams.joint_names, payload_kg=float(run == 3))
            if (run, number) == (2, 1):
                streams = replace(streams, payload_ns=np.array([start_ns + SECOND]))
            if (run, number) == (2, 2):
                streams = replace(streams, payload_kg=1.0)
            early = (residual(begin_s - 5.0, "planar/1"),) if (run, number) == (2, 0) else ()
            late = (residual(begin_s + 2.0, "planar/1"),) if number == 0 else ()
            write_streams(folder / f"log_{number}.mcap", streams, others=early + late)
    return root


@settings(max_examples=15)
@given(st.floats(0.0, 50.0), st.floats(1.0, 40.0))
@example(44.0, 40.0)  # nothing is new
@example(44.0, 20.0)  # the run that seems longer than it is fits
def test_a_watch_that_begins_anew_sees_what_an_old_one_sees(
    arm: Arm, runs: Path, mark_s: float, newest_s: float
) -> None:
    mark_ns = T0_NS + round(mark_s * SECOND)
    old, _ = watch_of(runs, arm, newest_s)
    old.look(0)
    old.look(mark_ns)
    fresh, _ = watch_of(runs, arm, newest_s)
    fresh.look(mark_ns)
    assert fresh.logs() == old.logs()
    assert fresh.seen(mark_ns, "planar/1") == old.seen(mark_ns, "planar/1")
    assert fresh.seen(mark_ns, "planar/1").regime_s > 0.0
    # A rollback puts the mark back.
    back_ns = (mark_ns + T0_NS) // 2
    fresh.look(back_ns)
    assert fresh.logs() == old.logs()
    assert fresh.seen(back_ns, "planar/1") == old.seen(back_ns, "planar/1")


def test_what_is_older_than_the_mark_and_would_not_be_learned_from_is_not_read(arm: Arm, tmp_path: Path) -> None:
    """Who reads it finds the damage."""
    for name in ("a", "b"):
        path = tmp_path / f"{name}.mcap"
        write_streams(path, arm_streams(Simulated(), 10.0, np.random.default_rng(1)))
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        path.write_bytes(damaged)
    for number in range(2):
        start_ns = T0_NS + 60 * (number + 1) * SECOND
        later = arm_streams(Simulated(), 10.0, np.random.default_rng(1), start_ns=start_ns)
        write_streams(tmp_path / f"later_{number}.mcap", later)
    mark_ns = T0_NS + 3600 * SECOND
    fresh, told = watch_of(tmp_path, arm, newest_s=15.0)
    fresh.look(mark_ns)
    assert [log.name for log in fresh.logs()] == ["later_1.mcap"]
    assert told == []
    # With room for more it would be learned from.
    wider, told = watch_of(tmp_path, arm, newest_s=25.0)
    wider.look(mark_ns)
    assert [log.name for log in wider.logs()] == ["later_1.mcap", "later_0.mcap"]
    assert [event for event, _, _ in told] == ["skipped", "skipped"]
