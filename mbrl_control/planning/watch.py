"""What of a planner's cycles and models is counted, and what of it somebody has to do something about. Without ROS.

The control thread hands in its cycles, any other may ask: what it then reads are single values, and an array that
stays.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.planning.cycle import BudgetEnded, Cycle, NotReady, Unexpected
from mbrl_control.planning.protocol import ModelFailed
from mbrl_control.signals import PlanOutcome

RECENT = 500
"""Cycles that are judged: ten seconds at 50 Hz."""
MOST, LEAST = 0.01, 5
"""Share of them that may be without a new plan in time, and how many it takes at least: a refinement that is tried
again (`Longest.after`), or a busy moment of the machine, is none of anybody's business. The trials of a new model are
not judged at all (`Cycle.trial`)."""
PATIENCE_NS = 5_000_000_000
"""For a model or a belief to come, as processes start one after the other."""

_COUNTED = ("cycles", "skipped", "late", "refined", "trials", "unexpected", "refused_models")
_LATE, _FAILED = 1, 2
"""0: a newly optimized plan was out by its deadline."""


class CycleWatch:
    """Of one planner, from its first activation on."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._outcomes = dict.fromkeys(PlanOutcome, 0)
        self._recent = np.zeros(RECENT, dtype=np.int8)
        self._judged = 0
        self._after_trial = False
        self._faults: dict[str, Unexpected] = {}
        self._untold: list[Unexpected] = []
        self._model = self._refusal = self._failure = ""
        self.last_failure = ""
        """Of any cycle, in words."""
        self._lacking, self._lacking_since_ns = "", 0
        self.model_failures = 0
        """Cycles in a row that ended with `ModelFailed`."""
        self._unrefined = 0

    def begin(self) -> None:
        """Another activation: what was before it is counted, but judged no more."""
        self._judged, self._lacking = 0, ""

    def use(self, model_id: str) -> None:
        """That model is planned with from now on."""
        self._model, self._refusal, self._unrefined = model_id, "", 0

    def refuse(self, reason: str) -> None:
        """The announced model cannot be planned with."""
        self._counts["refused_models"] += 1
        self._refusal = reason

    @property
    def no_model(self) -> str:
        """Why there is none."""
        none = "none was announced; look at dynamics_model, and at `mbrl-control models list`"
        return f"no model is in use: {self._refusal or none}"

    def take(self, cycle: Cycle, published_ns: int, skipped: int) -> None:
        """A cycle whose plan, if any, is out; ``skipped`` deadlines before it were given up.

        Late is a cycle without a newly optimized plan at its deadline, and each that was skipped; a trial is neither
        late nor in time, and makes none late that it skips.
        """
        report, failure = cycle.report, cycle.failure
        self._counts["cycles"] += 1
        self._counts["skipped"] += skipped
        self._counts["refined"] += report.refined
        self._counts["trials"] += cycle.trial
        after_trial, self._after_trial = self._after_trial, cycle.trial
        self._outcomes[report.outcome] += 1
        self.last_failure = cycle.reason or self.last_failure
        self.model_failures = self.model_failures + 1 if isinstance(failure, ModelFailed) else 0
        if isinstance(failure, NotReady):
            self._lack(cycle.reason, published_ns)
            return
        self._lacking = ""
        if self._judged and not after_trial:  # what the first cycle skipped, it did while a model was loaded
            self._judge(_LATE, skipped)
        if failure is not None and not isinstance(failure, BudgetEnded):
            self._failure = cycle.reason
            self._judge(_FAILED)
            self._keep(failure)
        elif not cycle.trial:
            self._judge(_LATE if published_ns > report.deadline_ns or not report.outcome.optimized else 0)
            self._unrefined = 0 if report.refined else self._unrefined + 1

    def stumble(self, failure: Exception) -> None:
        """Something went wrong between two cycles; the plans go on."""
        self.last_failure = str(failure)
        self._keep(failure)

    def untold(self) -> list[Unexpected]:
        """Faults that nobody foresaw, one of each place in the program, once."""
        told = []
        while self._untold:
            told.append(self._untold.pop())
        return told

    def facts(self) -> dict[str, str]:
        """For the diagnostics."""
        counts = {name: str(value) for name, value in self._counts.items()}
        ended = {f"cycles_{outcome.name.lower()}": str(count) for outcome, count in self._outcomes.items() if count}
        return counts | ended | {"last_failure": self.last_failure}

    def trouble(self, now_ns: int) -> str:
        """In one sentence with its remedy; empty: all is well."""
        if self._refusal:
            return self._refused()
        if self._lacking and now_ns - self._lacking_since_ns > PATIENCE_NS:
            return self._lacking
        return self._unpunctual()

    def unrefined(self) -> str:
        """What to do where settings ask for derivatives that there is never time for; empty: nothing."""
        if self._unrefined < RECENT:
            return ""
        return (
            f"none of the last {RECENT} cycles refined its plan, as the settings ask: derivatives of this model take "
            "longer than is left of half a period; what is followed is what the samples found. Take a smaller network, "
            "a longer `period_s`, or a method that samples"
        )

    def _keep(self, failure: Exception) -> None:
        if not isinstance(failure, Unexpected):
            return
        self._counts["unexpected"] += 1
        if failure.place not in self._faults:
            self._faults[failure.place] = failure
            self._untold.append(failure)

    def _lack(self, what: str, now_ns: int) -> None:
        if not self._lacking:
            self._lacking_since_ns = now_ns
        self._lacking = what

    def _judge(self, how: int, times: int = 1) -> None:
        self._counts["late"] += times if how else 0
        for _ in range(min(times, RECENT)):
            self._recent[self._judged % RECENT] = how
            self._judged += 1

    def _refused(self) -> str:
        if not self._model:
            return self.no_model
        return f"{self._model} stays in use, the model announced after it was refused: {self._refusal}"

    def _unpunctual(self) -> str:
        recent = self._recent[: self._judged]
        late, failed = int(np.count_nonzero(recent)), int(np.count_nonzero(recent == _FAILED))
        if late < LEAST or late <= MOST * len(recent):
            return ""
        often = f"more than {MOST:.0%} of the last {RECENT} cycles"
        if 2 * failed > late:
            return f"{often} found no new plan: {self._failure}"
        return (
            f"{often} had no new plan by their deadline: lower `samples` or the rate (a longer `period_s`), take a "
            "smaller network, or give the planner a processor (`mbrl-control doctor`)"
        )
