"""What is scored live is what `learning` scores: the same rows, the same windows, the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import Origin, load_weights, prior_bundle, write_bundle
from mbrl_control.deployment.check import read_bundle
from mbrl_control.deployment.evaluator import OnnxStepModel
from mbrl_control.deployment.manifest import Calibration, KStep, Manifest, Promise, Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.rollout_graph import GraphShape
from mbrl_control.dynamics.ensemble import EnsembleShape, ProbabilisticEnsemble
from mbrl_control.dynamics.nominal import NominalPrior
from mbrl_control.dynamics.prior import prior_of
from mbrl_control.learning.calibration import calibrate
from mbrl_control.learning.detection import innovation
from mbrl_control.learning.open_loop import predictions
from mbrl_control.learning.promise import promise
from mbrl_control.live.open_loop import NoiseGains, look_ahead
from mbrl_control.live.score import Scorer, StartScore, windowed
from mbrl_control.live.tape import Tape
from mbrl_control.live.watch import LiveWatch, Scored
from mbrl_control.replay.carried_weight import on_command_side
from mbrl_control.replay.motion import AHEAD, MOVES, SPACING, STARTS, Filling, motion_windows
from mbrl_control.replay.streams import Streams
from mbrl_control.replay.transitions import cut_transitions
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import BeliefState, CommandInterface, SafeCommand, Stage, Transitions
from tests.unit import synthetic_log
from tests.unit.noisy_arm import knowing, noisy_arm

DT_NS = 20_000_000
DELAY_S = 0.012


@pytest.fixture(scope="module", params=list(CommandInterface))
def arm(request: pytest.FixtureRequest) -> Arm:
    return load_arm(arm_file("planar"), request.param)


@pytest.fixture(scope="module")
def bundle(arm: Arm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks of random weights that disagree, and a scale unlike one."""
    joints, history = arm.joints, 3 if arm.interface is CommandInterface.VELOCITY else 1
    shape = EnsembleShape(3, joints, history, 12)
    ensemble = ProbabilisticEnsemble(shape, prior_of(arm, 0.02), torch.Generator().manual_seed(3))
    ensemble.target_std = torch.tensor([1e-3, 0.05, 0.5]).repeat_interleave(joints)
    scale = tuple(np.linspace(0.5, 2.0, 3 * joints).tolist())
    calibration = Calibration(
        steps=AHEAD, scale=scale, ece=0, ece_worst=0, ece_raw=0, ece_constant=0, nll=0, nll_raw=0, nll_constant=0,
        sharpness_ratio=1,
    )  # fmt: skip
    promised = Promise(steps=AHEAD, windows=9, innovation=(1, 1, 1), log_mean=(0, 0, 0), log_std=(1, 1, 1))
    stated = KStep(steps=AHEAD, position=0.01, velocity=0.1, nominal_position=0.1, nominal_velocity=1.0)
    training = Training(
        log_sha256=(), log_bytes=(), rows=1, payload_kg=0.0, holdout_nll=0.0, coverage_90=0.9, k_step=(stated,),
        calibration=(calibration,), promise=promised,
    )  # fmt: skip
    registry = Registry(tmp_path_factory.mktemp("models"), arm.model_name)
    path, _ = write_bundle(ensemble, arm, registry, Origin(0, DELAY_S, training), GraphShape(horizon=3, refresh=1))
    return path


@pytest.fixture(scope="module")
def streams(arm: Arm) -> Streams:
    """6 s of motion, 1 s of rest, a gap, 3 s of motion; torques are small beside the arm's."""
    whole = synthetic_log.arm_streams(synthetic_log.Arm(), 10.0, np.random.default_rng(1))
    seconds = (whole.belief_ns - whole.belief_ns[0]) * 1e-9
    velocity = np.where(((seconds > 6.0) & (seconds < 7.0))[:, None], 0.0, whole.velocity)
    kept = (seconds < 7.2) | (seconds > 7.4)
    return replace(
        whole,
        interface=arm.interface,
        belief_ns=whole.belief_ns[kept],
        position=whole.position[kept],
        velocity=velocity[kept],
        effort=whole.effort[kept],
    )


def opened(bundle: Path, arm: Arm) -> Scorer:
    checked = read_bundle(bundle, arm)
    return Scorer(checked.manifest, OnnxStepModel(checked), arm)


def rows_of(streams: Streams, scorer: Scorer, arm: Arm, since_ns: int = 0) -> Transitions:
    return on_command_side(cut_transitions(streams, scorer.grid, since_ns), arm)


def test_predictions_of_the_deployed_graph_are_those_of_learning(arm: Arm, bundle: Path, streams: Streams) -> None:
    scorer, model = opened(bundle, arm), OnnxStepModel(read_bundle(bundle, arm))
    rows = rows_of(streams, scorer, arm)
    (expected,) = predictions(load_weights(bundle, arm), rows, (AHEAD,))
    gains = NoiseGains.of(scorer.manifest, AHEAD)
    for place in range(0, len(expected.starts), 37):
        found = look_ahead(model, gains, rows, int(expected.starts[place]), AHEAD)
        np.testing.assert_allclose(found.error, expected.error[place], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.variance, expected.variance[place], rtol=1e-4)
    assert expected.epistemic.min() > 0.0


def test_noise_is_carried_on_as_the_prior_says() -> None:
    """Also of an ideal servo, whose lag is nothing."""
    manifest = Manifest.model_construct(
        dt_s=0.02, lag_s=(0.0, 0.03, 0.2), joint_names=("a", "b", "c"), command_interface=CommandInterface.VELOCITY
    )
    gains = NoiseGains.of(manifest, AHEAD)
    decay, moved, past = NominalPrior(0.02, manifest.lag_s).noise_propagation(AHEAD)
    np.testing.assert_allclose(gains.velocity, decay[:, -1].T, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(gains.moved, moved[:, -1].T, rtol=1e-12, atol=1e-300)
    assert bool((past[-1] == 1.0).all())


def messages(streams: Streams) -> list[tuple[int, int, Any]]:
    """All of the streams, in the order of their time: stamp, kind, content."""
    nothing = np.zeros((2, 2, 2))
    found: list[tuple[int, int, Any]] = [
        (stamp, 0, BeliefState(stamp, streams.position[i], streams.velocity[i], nothing, streams.effort[i]))
        for i, stamp in enumerate(streams.belief_ns.tolist())
    ]
    for i, stamp in enumerate(streams.command_ns.tolist()):
        applied = streams.applied[i]
        found.append((stamp, 1, SafeCommand(stamp, 1, i, applied, applied, 1, Stage.NONE, "", True)))
    found += [(stamp, 2, bool(streams.publishing[i])) for i, stamp in enumerate(streams.relay_ns.tolist())]
    return sorted(found, key=lambda each: each[:2])


def write(tape: Tape, message: tuple[int, int, Any]) -> None:
    stamp, kind, content = message
    if kind == 0:
        tape.believe(content)
    elif kind == 1:
        tape.apply(content)
    else:
        tape.report(stamp, content)


def watched(scorer: Scorer, arm: Arm, streams: Streams) -> tuple[int, list[Scored]]:
    """When the first start is, and the windows found while the messages come in."""
    tape, watch, found = Tape(arm), LiveWatch(scorer, None, np.random.default_rng(0)), []
    watch._next_ns = first = int(streams.belief_ns[0]) + scorer.needs_ns
    for number, message in enumerate(messages(streams)):
        write(tape, message)
        if number % 50 == 0:
            windows, verdict = watch.advance(tape)
            assert verdict is None
            found += windows
    return first, found


def test_the_tape_gives_the_rows_of_the_log(arm: Arm, bundle: Path, streams: Streams) -> None:
    scorer, tape = opened(bundle, arm), Tape(arm)
    for message in messages(streams):
        write(tape, message)
    begin = tape.span_ns()[0] + scorer.needs_ns
    found, expected = scorer.rows(tape, begin), rows_of(streams, scorer, arm, begin)
    assert len(found) == len(expected) > 200
    for name in ("position", "velocity", "history", "action", "next_position", "next_velocity", "next_effort"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-8, atol=1e-8, err_msg=name)
    np.testing.assert_array_equal(found.stamp_ns, expected.stamp_ns)


def test_windows_are_those_that_a_bundle_promises_by(arm: Arm, bundle: Path, streams: Streams) -> None:
    """Watched message by message, or cut from the log: the same windows of motion, the same innovation and loss."""
    scorer = opened(bundle, arm)
    first, found = watched(scorer, arm, streams)
    rows = rows_of(streams, scorer, arm, first)
    (expected,) = predictions(load_weights(bundle, arm), rows, (AHEAD,))
    places = np.searchsorted(expected.starts, motion_windows(rows))
    # Behind the gap a log's windows begin with its rows, and live ones where they would have been without it.
    places = places[rows.stamp_ns[expected.starts[places[:, -1]]] < first + 5_000_000_000]
    assert len(found) > len(places) >= 8
    scale = np.array(scorer.manifest.training.calibration[0].scale)  # type: ignore[union-attr]
    scores = innovation(expected, scale)
    for scored, place in zip(found, places, strict=False):
        window, squared = scored.window, expected.error[place][:, : arm.joints] ** 2
        assert window.begin_ns == rows.stamp_ns[expected.starts[place[0]]]
        assert window.end_ns - window.begin_ns == STARTS * SPACING * DT_NS
        np.testing.assert_allclose(window.innovation, scores[place].mean(axis=0), rtol=1e-4)
        assert window.position == pytest.approx(float(np.sqrt(squared.mean())), rel=1e-4)


def test_nothing_is_scored_at_rest_or_over_a_gap(arm: Arm, bundle: Path, streams: Streams) -> None:
    """From 6 to 7 s it rests, from 7.2 to 7.4 s nothing is believed. The last start of a window is 0.4 s behind its
    first, and has at least one moving step."""
    _, found = watched(opened(bundle, arm), arm, streams)
    seconds = (np.array([each.window.begin_ns for each in found]) - streams.belief_ns[0]) * 1e-9
    assert (seconds > 7.4).any()
    assert not ((seconds > 5.6) & (seconds < 7.4)).any()
    assert (seconds < 5.5).sum() >= 8


def test_a_bundle_without_calibration_has_errors_and_no_innovation(arm: Arm, tmp_path: Path, streams: Streams) -> None:
    history = 3 if arm.interface is CommandInterface.VELOCITY else 1
    path = prior_bundle(
        arm, Registry(tmp_path, arm.model_name), 0.02, DELAY_S, history, 0, GraphShape(horizon=3, refresh=1)
    )
    scorer = opened(path, arm)
    assert scorer.promise is scorer.stated is None
    _, found = watched(scorer, arm, streams)
    assert len(found) > 8
    assert all(np.isnan(each.window.innovation).all() and np.isfinite(each.window.position) for each in found)


def test_broken_messages_do_not_reach_the_tape(arm: Arm) -> None:
    tape, zeros = Tape(arm), np.zeros(arm.joints)
    nan = np.full(arm.joints, np.nan)
    with pytest.raises(ValueError, match="belief"):
        tape.believe(BeliefState(1, nan, zeros, np.zeros((2, 2, 2)), zeros))
    with pytest.raises(ValueError, match="safe_command"):
        tape.apply(SafeCommand(1, 1, 1, nan, nan, 1, Stage.NONE, "", True))
    tape.believe(BeliefState(1, zeros, zeros, np.zeros((2, 2, 2)), nan))
    tape.apply(SafeCommand(1, 1, 1, zeros, zeros, 1, Stage.NONE, "", True))
    assert tape.span_ns() == (0, 0), "the relay has said nothing yet"
    tape.report(1, True)
    assert tape.span_ns() == (1, 1)


@given(st.lists(st.sampled_from([True, True, True, True, False, None]), max_size=60))
def test_a_window_is_five_moving_starts_in_a_row(marks: list[bool | None]) -> None:
    """None: the start is missing. Against the definition, run by run."""
    filling, found = Filling[int](SPACING), []
    for number, mark in enumerate(marks):
        if mark is not None:
            found += [filling.add(SPACING * number, number if mark else None)]
    expected, run = [], 0
    for number, mark in enumerate(marks):
        run = run + 1 if mark else 0
        if run == STARTS:
            expected.append(tuple(range(number - STARTS + 1, number + 1)))
            run = 0
    assert [each for each in found if each] == expected


def test_a_promise_is_of_windows_in_motion_alone() -> None:
    rows = noisy_arm(0.05, 4, 12_000)
    ensemble = knowing(0.05)
    found = promise(ensemble, rows, calibrate(ensemble, rows))
    assert found is not None
    assert found.windows == len(motion_windows(rows))
    # Of that arm the noise is known: velocity and effort are off by their spread, the logarithm a little below.
    np.testing.assert_allclose(found.innovation[1:], 1.0, rtol=0.15)
    assert all(-1.0 < value < 0.1 for value in found.log_mean[1:])
    still = replace(rows, velocity=0.1 * MOVES * np.ones_like(rows.velocity))
    assert promise(ensemble, still, calibrate(ensemble, rows)) is None


def test_the_mean_of_starts_is_the_window() -> None:
    starts = [StartScore(True, np.array([1.0, 2.0, np.nan]) * (i + 1), float(i)) for i in range(STARTS)]
    window = windowed(starts, 4 * SPACING * DT_NS, DT_NS)
    np.testing.assert_allclose(window.innovation, [3.0, 6.0, np.nan])
    assert window.position == pytest.approx(np.sqrt(2.0))
    assert (window.begin_ns, window.end_ns) == (0, STARTS * SPACING * DT_NS)
