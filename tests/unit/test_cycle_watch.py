"""What the planner's watch counts, and when somebody has to look: late plans, failing cycles, refused models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbrl_control.planning.cycle import BudgetEnded, Cycle, NotReady, named, without_plan
from mbrl_control.planning.optimize import AllScoresInvalid
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.planning.watch import LEAST, MOST, PATIENCE_NS, RECENT, CycleWatch
from mbrl_control.signals import PlanOutcome

DUE_NS = 10**18
IDLE = without_plan(7, DUE_NS, DUE_NS, 0.0, "icem", NotReady("no model is in use"))


def cycle(outcome: PlanOutcome = PlanOutcome.OPTIMIZED, failure: Exception | None = None) -> Cycle:
    return Cycle(None, replace(IDLE.report, outcome=outcome, model_id="arm/1", refined=1), failure)


def taken(watch: CycleWatch, *cycles: Cycle, late_ns: int = 0, skipped: int = 0) -> CycleWatch:
    for each in cycles:
        watch.take(each, DUE_NS + late_ns, skipped)
    return watch


def planning() -> CycleWatch:
    watch = CycleWatch()
    watch.begin()
    watch.use("arm/1")
    return watch


def test_a_planner_that_never_refines_says_so_until_it_does_or_another_model_comes() -> None:
    watch, plain = planning(), cycle()
    plain = replace(plain, report=replace(plain.report, refined=0))
    taken(watch, *[plain] * (RECENT - 1))
    assert watch.unrefined() == ""
    taken(watch, plain)
    assert "derivatives of this model take longer" in watch.unrefined()
    assert taken(watch, cycle()).unrefined() == ""
    taken(watch, *[plain] * RECENT).use("arm/2")
    assert watch.unrefined() == ""


@pytest.mark.parametrize("outcome", [PlanOutcome.OPTIMIZED, PlanOutcome.BUDGET_ENDED])
def test_a_planner_that_is_always_late_is_in_trouble_though_every_plan_is_new(outcome: PlanOutcome) -> None:
    watch = taken(planning(), *[cycle(outcome)] * LEAST, late_ns=1)
    assert watch.facts()["late"] == str(LEAST)
    for remedy in ("`samples`", "`period_s`", "smaller network"):
        assert remedy in watch.trouble(DUE_NS)


def test_a_plan_at_its_deadline_is_in_time() -> None:
    watch = taken(planning(), *[cycle()] * RECENT, late_ns=0)
    assert (watch.facts()["late"], watch.trouble(DUE_NS)) == ("0", "")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 8) | st.integers(200, RECENT)), max_size=8))
def test_trouble_is_a_share_of_the_last_cycles_and_no_less_than_a_few(runs: list[tuple[bool, int]]) -> None:
    watch, late = planning(), [each for each, times in runs for _ in range(times)]
    for each in late:
        taken(watch, cycle(), late_ns=int(each))
    recent = late[-RECENT:]
    assert bool(watch.trouble(DUE_NS)) == (sum(recent) >= LEAST and sum(recent) > MOST * len(recent))
    assert watch.facts()["late"] == str(sum(late))


def test_deadlines_that_are_given_up_are_late_but_for_those_before_the_first_plan() -> None:
    watch = taken(planning(), cycle(), skipped=30)
    assert (watch.facts()["late"], watch.facts()["skipped"], watch.trouble(DUE_NS)) == ("0", "30", "")
    taken(watch, cycle(), skipped=2 * RECENT)
    assert watch.facts()["late"] == str(2 * RECENT)
    assert "had no new plan by their deadline" in watch.trouble(DUE_NS)


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (BudgetEnded("the budget ended before the first iteration"), "lower `samples`"),
        (AllScoresInvalid("all 48 sequences have a non-finite cost"), "found no new plan: all 48 sequences"),
        (ModelFailed("onnxruntime: device lost"), "found no new plan: onnxruntime: device lost"),
    ],
)
def test_cycles_that_fall_back_are_in_trouble_for_what_failed(failure: Exception, said: str) -> None:
    watch = taken(planning(), *[cycle(PlanOutcome.SHIFTED, failure)] * LEAST)
    assert said in watch.trouble(DUE_NS)
    assert watch.facts()["late"] == watch.facts()["cycles_shifted"] == str(LEAST)
    assert watch.facts()["last_failure"] == str(failure)


def test_another_activation_is_judged_anew_and_counted_on() -> None:
    watch = taken(planning(), *[cycle()] * LEAST, late_ns=1)
    watch.begin()
    assert watch.trouble(DUE_NS) == ""
    assert watch.facts()["late"] == str(LEAST)


def test_without_a_model_nothing_is_said_for_a_while_then_that_none_was_announced() -> None:
    watch = taken(CycleWatch(), IDLE, IDLE)
    assert watch.trouble(DUE_NS + PATIENCE_NS) == ""
    assert watch.trouble(DUE_NS + PATIENCE_NS + 1) == IDLE.reason
    assert "none was announced" in watch.no_model
    facts = watch.facts()
    assert (facts["cycles"], facts["cycles_failed"], facts["late"]) == ("2", "2", "0")
    taken(watch, cycle())
    assert watch.trouble(DUE_NS + 2 * PATIENCE_NS) == ""


def test_a_refused_first_model_is_in_trouble_at_once_with_its_reason_until_another_serves() -> None:
    watch = CycleWatch()
    watch.refuse("field 'period_s': 0.02 s fits no grid of arm/1; set it to 0.05 or 0.025")
    assert watch.trouble(0) == watch.no_model
    assert watch.no_model.startswith("no model is in use: field 'period_s': 0.02 s fits no grid")
    watch.use("arm/2")
    assert watch.trouble(0) == ""
    assert watch.facts()["refused_models"] == "1"


def test_a_refused_successor_is_told_beside_the_model_that_stays() -> None:
    watch = planning()
    watch.refuse("golden.npz: cost: differs")
    assert watch.trouble(0) == "arm/1 stays in use, the model announced after it was refused: golden.npz: cost: differs"


def test_cycles_in_a_row_that_could_not_be_computed_are_counted() -> None:
    lost = cycle(PlanOutcome.SHIFTED, ModelFailed("device lost"))
    watch = taken(planning(), lost, lost)
    assert watch.model_failures == 2
    assert taken(watch, cycle(), lost).model_failures == 1


def test_what_goes_wrong_between_two_cycles_is_told_once_and_makes_no_cycle_late() -> None:
    watch = taken(planning(), *[cycle()] * RECENT)
    for _ in range(LEAST + 1):
        watch.stumble(named(KeyError("weights")))
    facts = watch.facts()
    assert (facts["unexpected"], facts["late"], watch.trouble(DUE_NS)) == (str(LEAST + 1), "0", "")
    assert "KeyError: 'weights'" in facts["last_failure"]
    assert len(watch.untold()) == 1
