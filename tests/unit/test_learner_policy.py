"""The policy of retraining: pure, with the reason in words, and without a hot loop whatever the logs say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbrl_control.learner.policy import (
    Cause,
    Known,
    Memory,
    Policy,
    Seen,
    begun,
    decide,
    failures_of,
    passed,
    since_ns,
)

POLICY = Policy(minutes=10.0, retry_minutes=4.0, least_minutes=1.5)
KNOWN = Known(3, "planar/3", newest_ns=1_000, payload_kg=0.0)
PLENTY = Seen(newest_ns=9_000, new_s=600.0, regime_s=600.0, fresh_s=600.0)


def cause(known: Known = KNOWN, memory: Memory = Memory(), **changed: float) -> Cause:
    return decide(POLICY, known, memory, replace(PLENTY, **changed)).cause  # type: ignore[arg-type]


def test_each_cause_and_the_motion_it_needs() -> None:
    assert cause() is Cause.MINUTES
    assert cause(new_s=599.0) is Cause.WAIT
    assert cause(new_s=100.0, fresh_s=100.0, payload_kg=2.0) is Cause.PAYLOAD
    assert cause(new_s=80.0, fresh_s=80.0, payload_kg=2.0) is Cause.WAIT
    assert cause(new_s=100.0, fresh_s=100.0, drift_ns=1_001) is Cause.DRIFT
    # What the active bundle has learned from, and what was tried, is no drift any more.
    assert cause(new_s=100.0, fresh_s=100.0, drift_ns=1_000) is Cause.WAIT
    assert cause(memory=Memory(tried_ns=2_000), new_s=100.0, fresh_s=100.0, drift_ns=1_500) is Cause.WAIT


def test_nothing_is_tried_that_the_gate_could_not_judge() -> None:
    assert cause(regime_s=89.0) is Cause.WAIT
    assert "1.5 of 1.5" not in decide(POLICY, KNOWN, Memory(), replace(PLENTY, regime_s=60.0)).reason


def test_while_live_motion_judges_a_candidate_nothing_else_is_a_cause() -> None:
    judged = replace(KNOWN, candidate="planar/4")
    for seen in (PLENTY, replace(PLENTY, drift_ns=1_001), replace(PLENTY, payload_kg=2.0)):
        decision = decide(POLICY, judged, Memory(), seen)
        assert decision.cause is Cause.WAIT
        assert "planar/4 is compared with planar/3" in decision.reason


def test_without_an_active_bundle_a_payload_is_no_change() -> None:
    assert cause(known=Known(), new_s=100.0, fresh_s=100.0, payload_kg=2.0) is Cause.WAIT
    assert cause(known=Known(), payload_kg=2.0) is Cause.MINUTES


@given(
    st.floats(0.0, 1e5), st.floats(0.0, 1e5), st.integers(1, 20), st.integers(0, 10**12), st.sampled_from([0.0, 2.0])
)
def test_after_failures_only_new_motion_counts_whatever_else_is_seen(
    new_s: float, regime_s: float, failures: int, drift_ns: int, payload_kg: float
) -> None:
    memory = Memory(tried_ns=2_000, failures=failures)
    seen = Seen(9_000, new_s, regime_s, min(new_s, regime_s), payload_kg, drift_ns)
    due = new_s >= 240.0 * 2 ** min(failures - 1, 3) and regime_s >= 90.0
    assert decide(POLICY, KNOWN, memory, seen).cause is (Cause.RETRY if due else Cause.WAIT)


def test_an_attempt_counts_as_failed_from_its_begin_and_moves_the_mark() -> None:
    attempt = begun(KNOWN, Memory(), PLENTY)
    assert attempt == Memory(tried_ns=9_000, failures=1)
    assert since_ns(KNOWN, attempt) == 9_000
    assert begun(KNOWN, attempt, PLENTY).failures == 2
    assert passed(attempt, 4) == Memory(tried_ns=9_000, failures=0, made=4)


def test_a_bundle_that_was_rolled_back_is_a_failure() -> None:
    after = passed(begun(KNOWN, Memory(), PLENTY), 4)
    assert failures_of(replace(KNOWN, version=4, model_id="planar/4", newest_ns=9_000), after) == 0
    assert failures_of(KNOWN, after) == 1
    assert cause(memory=after, new_s=239.0) is Cause.WAIT


def test_who_learned_elsewhere_since_ends_the_pause() -> None:
    tried = Memory(tried_ns=2_000, failures=4)
    assert failures_of(replace(KNOWN, newest_ns=2_001), tried) == 0


@pytest.mark.parametrize("name", ["minutes", "retry_minutes", "least_minutes"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_policy_without_a_bound_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Policy(**{name: value})
