"""Bundles of the two-link arm learned in virtual time, good and bad ones, and a tape that follows a lockstep's arm."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from mbrl_control.cli.locations import arm_file
from mbrl_control.deployment.bundle import Origin, write_bundle
from mbrl_control.deployment.manifest import Training
from mbrl_control.deployment.registry import Registry
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.judge import gate
from mbrl_control.learning.learn import Learned, learn
from mbrl_control.live.tape import Tape
from mbrl_control.planning.excitation import Excitation, ExcitationConfig
from mbrl_control.retrain import training_of
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import SafeCommand, Stage
from sim.lockstep import Lockstep, excite
from tests.patience import UNCUT_S

QUICK = FitSettings(trained_members=3, elites=2, width=24, epochs=20, max_seconds=UNCUT_S)
STEP_S = 0.1


@dataclass(frozen=True, slots=True)
class Taught:
    """What one session of excitation taught."""

    arm: Arm
    learned: Learned
    training: Training

    def store(self, registry: Registry, velocity_off: float = 0.0) -> int:
        """A signed version. ``velocity_off`` rad/s: every step is predicted so far off, whatever the manifest says."""
        ensemble = copy.deepcopy(self.learned.fitted.ensemble)
        joints = self.arm.joints
        with torch.no_grad():
            ensemble.target_mean[joints : 2 * joints] += velocity_off
        origin = Origin(0, self.learned.delay_s, self.training)
        path, _ = write_bundle(ensemble, self.arm, registry, origin)
        return int(path.name)


def taught(seconds: float = 90.0) -> Taught:
    lockstep = Lockstep(arm_file("planar"), 0)
    excite(lockstep, seconds, ExcitationConfig(), 0)
    arm = load_arm(arm_file("planar"))
    learned = learn([lockstep.streams()], arm, 0, None, QUICK)
    return Taught(arm, learned, training_of(learned, gate(learned.judged, np.random.default_rng(0)), 0.0))


@dataclass(slots=True)
class Moving:
    """An arm that is excited, and its tape."""

    lockstep: Lockstep
    tape: Tape = field(init=False)
    _beliefs: int = 0
    _commands: int = 0

    def __post_init__(self) -> None:
        self.tape = Tape(self.lockstep.arm)
        generator = np.random.default_rng(7)
        self.lockstep.follow(Excitation(self.lockstep.arm, ExcitationConfig(), self.lockstep.clock, generator).plan)

    @property
    def now_ns(self) -> int:
        return self.lockstep.clock.now_ns()

    def run(self, seconds: float) -> Iterator[Tape]:
        """The tape after every `STEP_S`."""
        for _ in range(round(seconds / STEP_S)):
            self.tape.report(self.now_ns, True)
            self.lockstep.run(STEP_S)
            record = self.lockstep.record
            for belief in record.belief[self._beliefs :]:
                self.tape.believe(belief)
            for stamp_ns, applied in zip(
                record.command_ns[self._commands :], record.applied[self._commands :], strict=True
            ):
                self.tape.apply(SafeCommand(stamp_ns, 1, 1, applied, applied, 1, Stage.NONE, "", True))
            self._beliefs, self._commands = len(record.belief), len(record.applied)
            yield self.tape


def moving(seed: int = 5) -> Moving:
    return Moving(Lockstep(arm_file("planar"), seed))
