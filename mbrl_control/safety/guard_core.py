"""The guard without ROS: one tick reads the state, judges, limits, and always yields a command.

Main flow: ``GuardCore.tick``. Everything it decides is in the pure modules beside it; this class only keeps
their state in one place. Nothing here sleeps, reads a clock or draws numbers except through what is passed in.
"""

from __future__ import annotations

import numpy as np

from mbrl_control.safety.command_law import CommandLaw
from mbrl_control.safety.config import GuardConfig, GuardError, GuardLimits
from mbrl_control.safety.guard_status import GuardStatus
from mbrl_control.safety.hold_law import Hold, drifted, standstill_lost
from mbrl_control.safety.limiter import Motion
from mbrl_control.safety.operator_gate import OperatorGate
from mbrl_control.safety.plan_track import PlanTrack
from mbrl_control.safety.requests import RELAY_GRACE_S, Reply, arm_refusal, reset_refusal, start_refusal
from mbrl_control.safety.state_machine import Event, Machine, expire, transition
from mbrl_control.safety.verdicts import OK, Action, Verdict, check_state, check_state_age, worst
from mbrl_control.signals import Array, OperatorState, Plan, SafeCommand, SensorSample, Stage

ENGAGED = (OperatorState.RUNNING, OperatorState.HOLD)
HOLDING = (OperatorState.ARMED, OperatorState.HOLD, OperatorState.OPERATOR_HOLD)
OPERATOR_EVENTS = (Event.ARM, Event.START, Event.RESET)


class GuardCore:
    """Single-threaded: its owner serialises the calls. Times are ns of the graph's clock."""

    def __init__(
        self,
        limits: GuardLimits,
        config: GuardConfig,
        generator: np.random.Generator,
        law: CommandLaw,
        first_epoch: int = 0,
    ) -> None:
        self._limits, self._config = limits, config
        self._law = law
        self._gate = OperatorGate(config.operators, generator)
        self._plans = PlanTrack(limits, config)
        self._machine = Machine(epoch=first_epoch)
        zeros = np.zeros(len(limits.joint_names))
        self._rest = Motion(zeros, zeros, zeros)
        self._motion = self._rest
        self._hold = Hold()
        self._sample: SensorSample | None = None
        """Newest well-formed sample; a broken one only shows in ``_content``."""
        self._newest_ns, self._received_ns = -1, 0
        self._content = OK
        self._state = Verdict(Action.LATCH, Stage.AGE, "no measured state yet")
        self._unclear_ns = 0
        self._drives_off = True
        self._sequence = 0
        self._speed_scale = 1.0
        self._payload_kg = 0.0
        self._trained_kg: dict[str, float] = {}
        """[kg] by model id, of the bundles announced."""

    @property
    def state(self) -> OperatorState:
        return self._machine.state

    def tick(self, now_ns: int, measured: SensorSample | None, received_ns: int) -> SafeCommand:
        """One command, in every state. ``measured``: newest sample, received at ``received_ns``; None: none yet."""
        self._take_state(measured, received_ns, now_ns)
        self._plans.advance(now_ns)
        plan = self._plans.age(now_ns)
        self._react(plan, now_ns)
        if self._machine.state == OperatorState.IDLE or self._drives_off:
            return self._silent(now_ns)
        request, stage, reason, sequence = self._request(plan, now_ns)
        return self._apply(request, stage, reason, sequence, now_ns)

    def receive_plan(self, plan: Plan, now_ns: int) -> Verdict:
        """Judge a plan at its arrival; the verdict says why it was refused."""
        if plan.model_id in self._plans.rejected_models:
            self._leave_model(plan.model_id, now_ns)
        return self._plans.receive(plan, self._machine.state in ENGAGED, now_ns)

    def refuse_plan(self, reason: str, now_ns: int) -> Verdict:
        """Count a message that is no plan at all as a malformed one."""
        return self._plans.refuse(reason, now_ns)

    def request(self, event: Event, operator_id: str, challenge: int, now_ns: int) -> Reply:
        """Operator's arm, start or reset."""
        if event not in OPERATOR_EVENTS:
            return Reply(False, f"{event.value} is no operator request")
        refusal = self._gate.admit(operator_id, challenge) or self._refusal(event, now_ns)
        if refusal:
            return Reply(False, refusal)
        after = transition(self._machine, event, f"{event.value} by {operator_id}", now_ns, self._config)
        if after is self._machine:
            return Reply(False, f"{event.value} is not possible in {self._machine.state.name}")
        self._enter(after)
        return Reply(True, f"{after.state.name}, epoch {after.epoch}")

    def raise_severity(self, event: Event, reason: str, now_ns: int) -> Reply:
        """Hold or stop, by anyone, without a challenge."""
        if event not in (Event.REQUEST_HOLD, Event.REQUEST_STOP):
            return Reply(False, f"{event.value} needs an operator")
        after = transition(self._machine, event, reason, now_ns, self._config)
        if after is self._machine:
            return Reply(True, f"already safe in {self._machine.state.name}")
        self._enter(after)
        return Reply(True, after.state.name)

    def declare_payload(self, mass_kg: float, operator_id: str, challenge: int) -> Reply:
        """Operator's word on what the arm carries [kg]; 0 takes it back."""
        refusal = self._gate.admit(operator_id, challenge)
        if refusal:
            return Reply(False, refusal)
        if not (np.isfinite(mass_kg) and mass_kg >= 0.0):
            return Reply(False, f"mass {mass_kg}: give a finite mass in kg, 0 for none")
        self._payload_kg = mass_kg
        return Reply(True, f"payload {mass_kg:g} kg, speed scale {self.speed_scale:g}")

    def bundle_announced(self, model_id: str, trained_payload_kg: float) -> None:
        """That bundle is active, trained with this payload [kg]: its plans lift the cap when it is the declared one."""
        if not (np.isfinite(trained_payload_kg) and trained_payload_kg >= 0.0):
            raise GuardError(f"trained payload {trained_payload_kg}: give a finite mass in kg")
        self._trained_kg[model_id] = trained_payload_kg
        self._plans.rejected_models.pop(model_id, None)

    def model_rejected(self, model_id: str, reason: str, now_ns: int) -> None:
        """Live motion spoke against that bundle, or it cannot be used: an arm that its plans moved is held for the
        operator, also where the planner heard first and left it; they are refused until it is announced again."""
        if not model_id:  # what could not be read has no name, and plans of the collector have none either
            return
        self._plans.rejected_models[model_id] = reason
        if model_id in self._plans.moved_by:
            self._leave_model(model_id, now_ns)

    def set_speed_scale(self, scale: float) -> None:
        """Parameter ``speed_scale`` in (0, 1]; the joints slow down within their acceleration limits."""
        if not (np.isfinite(scale) and 0.0 < scale <= 1.0):
            raise GuardError(f"speed_scale {scale}: give a number in (0, 1]")
        self._speed_scale = scale

    def relay_report(self, latched: bool, stamp_ns: int, now_ns: int) -> None:
        """A latched relay is a protective stop; reports from before the last arming (plus grace) are old news."""
        if latched and stamp_ns > self._machine.since_ns + round(RELAY_GRACE_S * 1e9):
            self._fault("command relay latched", now_ns)

    @property
    def speed_scale(self) -> float:
        """Cap on the rated velocities: parameter, halved for a declared payload that the newest plan's bundle does not
        know (within a tenth)."""
        newest = self._plans.newest
        trained = 0.0 if newest is None else self._trained_kg.get(newest.model_id, 0.0)
        known = self._payload_kg == 0.0 or abs(trained - self._payload_kg) <= 0.1 * self._payload_kg
        return self._speed_scale if known else min(self._speed_scale, self._config.payload_scale)

    def status(self) -> GuardStatus:
        newest = self._plans.newest
        return GuardStatus(
            state=self._machine.state,
            reasons=(self._machine.reason,) if self._state.ok else (self._machine.reason, self._state.reason),
            epoch=self._machine.epoch,
            speed_scale=self.speed_scale,
            payload_kg=self._payload_kg,
            model_id="" if newest is None else newest.model_id,
            challenge=self._gate.challenge,
            rejected_plans=self._plans.rejected,
            fresh_plans=self._plans.fresh,
            holds=len(self._machine.holds),
        )

    def _take_state(self, measured: SensorSample | None, received_ns: int, now_ns: int) -> None:
        """Newest sample wins; one from the future or the past is left out and shows as age."""
        if measured is not None and self._newest_ns < measured.stamp_ns <= now_ns + round(self._config.future_s * 1e9):
            self._newest_ns = measured.stamp_ns
            self._content = check_state(measured, self._limits)
            if self._content.stage not in (Stage.FINITE, Stage.SHAPE):
                self._sample, self._received_ns = measured, received_ns
        if self._sample is not None:
            age = check_state_age(self._sample.stamp_ns, self._received_ns, now_ns, self._config)
            self._state = worst(age, self._content)

    def _react(self, plan: Verdict, now_ns: int) -> None:
        """Worst action of all verdicts, then the clock of an automatic hold."""
        engaged = self._machine.state in ENGAGED
        verdict = worst(self._state, plan if engaged else OK)
        if self._plans.malformed_recently(now_ns) >= self._config.rejection_limit:
            verdict = worst(verdict, Verdict(Action.LATCH, Stage.SHAPE, "malformed plans in a row"))
        if self._drifts():
            verdict = worst(verdict, Verdict(Action.LATCH, Stage.STATE_MACHINE, "the arm drifts from the pose held"))
        if verdict.action == Action.LATCH:
            self._unclear_ns = now_ns
            self._fault(verdict.reason, now_ns)
        elif verdict.action == Action.HOLD:
            self._enter(transition(self._machine, Event.SOFT_FAULT, verdict.reason, now_ns, self._config))
        elif verdict.ok and self._machine.state == OperatorState.HOLD:
            self._enter(transition(self._machine, Event.HEALTHY, "healthy again", now_ns, self._config))
        self._enter(expire(self._machine, now_ns, self._config))
        if self._machine.state == OperatorState.PROTECTIVE_STOP and self._motion_unsure():
            if not self._drives_off:
                # A reset waits from here on too: by then the relay's ramp to zero has ended.
                self._unclear_ns = now_ns
            self._drives_off = True

    def _drifts(self) -> bool:
        sample = self._sample
        return (
            sample is not None and self._machine.state in HOLDING and drifted(self._hold, sample.position, self._config)
        )

    def _motion_unsure(self) -> bool:
        """In a protective stop: standstill is lost, or cannot be watched any more at rest."""
        if self._sample is None or not self._pose_trusted():
            return self._state.action == Action.LATCH and self._law.spent(self._motion)
        return standstill_lost(self._hold, self._sample.position, self._sample.velocity, self._config)

    def _request(self, plan: Verdict, now_ns: int) -> tuple[Array, Stage, str, int]:
        """Unlimited next command [J], why it is not the plan's, and the plan's sequence."""
        if self._machine.state == OperatorState.RUNNING:
            knots = self._plans.sample(now_ns) if plan.ok else None
            current = self._plans.current
            if knots is not None and current is not None:
                return knots, Stage.NONE, "", current.sequence
            reason = plan.reason or "plan has not begun or is used up"
            return self._braking(), Stage.AGE, reason, 0
        request, sample = self._braking(), self._sample
        if sample is not None and self._pose_trusted():
            self._hold, request = self._law.hold(self._hold, self._motion, sample)
        return request, Stage.STATE_MACHINE, self._machine.reason, 0

    def _braking(self) -> Array:
        return self._rest.command if self._sample is None else self._law.brake(self._sample)

    def _pose_trusted(self) -> bool:
        """Fresh and well-formed; a pose beyond its limit is bad news, but true."""
        return self._state.ok or self._state.stage == Stage.POSITION

    def _apply(self, request: Array, stage: Stage, reason: str, sequence: int, now_ns: int) -> SafeCommand:
        sample = self._sample
        if sample is None:
            raise GuardError("drives are on without any measured state")
        age_s = max(now_ns - sample.stamp_ns, 0) * 1e-9
        limited = self._law.limit(request, self._motion, sample, age_s, self._scale(now_ns))
        if stage == Stage.NONE and limited.stage != Stage.NONE:
            stage = limited.stage
            reason = f"{self._limits.joint_names[limited.joint]}: {stage.name.lower()}, factor {limited.factor:.3f}"
        rate = (limited.command - self._motion.command) / self._config.tick_s
        self._motion = Motion(limited.command, rate, request)
        return self._command(request, stage, reason, sequence, True, now_ns)

    def _scale(self, now_ns: int) -> float:
        """Speed cap with the ramp after every entry into RUNNING; a hold brakes at full limits."""
        if self._machine.state != OperatorState.RUNNING:
            return 1.0
        return self.speed_scale * min(1.0, (now_ns - self._machine.since_ns) * 1e-9 / self._config.ramp_s)

    def _silent(self, now_ns: int) -> SafeCommand:
        self._motion = self._rest
        return self._command(
            self._rest.command, Stage.STATE_MACHINE, f"drives off: {self._machine.reason}", 0, False, now_ns
        )

    def _command(
        self, request: Array, stage: Stage, reason: str, sequence: int, enabled: bool, now_ns: int
    ) -> SafeCommand:
        self._sequence += 1
        return SafeCommand(
            stamp_ns=now_ns,
            epoch=self._machine.epoch,
            sequence=self._sequence,
            requested=request.copy(),
            applied=self._motion.command.copy(),
            plan_sequence=sequence,
            limiting_stage=stage,
            reason=reason,
            drives_enabled=enabled,
            interface=self._limits.interface,
        )

    def _refusal(self, event: Event, now_ns: int) -> str:
        if event == Event.ARM:
            return arm_refusal(self._state, self._sample, self._config)
        if event == Event.RESET:
            return reset_refusal(
                self._state, self._sample, max(self._unclear_ns, self._machine.since_ns), now_ns, self._config
            )
        return start_refusal(self._state, self._plans, self._sample, self._hold, now_ns, self._config)

    def _leave_model(self, model_id: str, now_ns: int) -> None:
        reason = f"model {model_id} was rejected: {self._plans.rejected_models[model_id]}"
        self._enter(transition(self._machine, Event.REQUEST_HOLD, reason, now_ns, self._config))

    def _fault(self, reason: str, now_ns: int) -> None:
        self._enter(transition(self._machine, Event.HARD_FAULT, reason, now_ns, self._config))

    def _enter(self, after: Machine) -> None:
        """Entry actions: a new hold where motion ends, drives on when arming, plans counted anew before any start.

        In an operator's hold another node may take over planning: the start then waits for plans made since.
        """
        if after is self._machine:
            return
        self._machine = after
        self._hold = Hold()
        if after.state == OperatorState.ARMED:
            self._drives_off = False
        if after.state in (OperatorState.ARMED, OperatorState.OPERATOR_HOLD):
            self._plans.restart_count()
