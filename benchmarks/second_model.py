"""A second model beside the shipped one, of its size and with other weights, for benches that swap.

Learned as shipped ones are (`make_bundle`), in virtual time, from other motion and another beginning (seed), and let
through by the same gate: so it plans as well, and shares no weight. A fit that goes on from the shipped weights with
as little motion is refused by the gate of `retrain`, which would have it no worse than those by 2 %. Half a minute of
one processor, before anything is measured.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.deployed import size_of
from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.cli.processes import GraphFailed
from mbrl_control.cli.provenance import source_commit
from mbrl_control.cli.shipped import copy_shipped
from mbrl_control.deployment.bundle import Origin
from mbrl_control.deployment.check import WEIGHTS, CheckedBundle, read_bundle
from mbrl_control.deployment.registry import Registry
from mbrl_control.learning.fit_settings import FitSettings
from mbrl_control.learning.judge import RetrainRefused, Verdict, gate
from mbrl_control.learning.learn import learn
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.retrain import store, training_of
from mbrl_control.robot import load_arm
from mbrl_control.signals import CommandInterface
from sim.lockstep import Lockstep, excite

EXCITED_S = 90.0
"""As for shipped bundles."""
_OWN_SEED = 1000
"""Shipped bundles were learned from those below."""


@dataclass(frozen=True, slots=True)
class SecondModel:
    """The bundle, and the numbers that let it through."""

    bundle: CheckedBundle
    verdict: Verdict


def learn_second(robot: str, command: CommandInterface, seed: int, models: Path) -> SecondModel:
    """Into the new registry ``models``, under the number after the shipped bundle's.

    BundleError where none is shipped; GraphFailed where the gate refuses, or what was learned is no other model of the
    same size.
    """
    arm = load_arm(arm_file(robot), command)
    registry = Registry(models, arm.model_name)
    shipped = copy_shipped(shipped_models(), arm, registry)
    lockstep = Lockstep(arm_file(robot), _OWN_SEED + seed, interface=command)
    excite(lockstep, EXCITED_S, ExcitationConfig(), _OWN_SEED + seed)
    settings = replace(FitSettings.deployed(command), max_seconds=math.inf)
    learned = learn([lockstep.streams()], arm, _OWN_SEED + seed, None, settings)
    try:
        verdict = gate(learned.judged, np.random.default_rng(seed))
    except RetrainRefused as error:
        raise GraphFailed(f"the second model: {error}; or give another --seed") from error
    training = training_of(learned, verdict, payload_kg=0.0)
    origin = Origin(time.time_ns(), learned.delay_s, training, git_sha=source_commit())
    manifest = store(learned, arm, registry, origin)
    first, second = (read_bundle(registry.path(each.version), arm) for each in (shipped, manifest))
    require_other(first, second)
    return SecondModel(second, verdict)


def require_other(first: CheckedBundle, second: CheckedBundle) -> None:
    """GraphFailed unless the second has other weights in networks of the same size."""
    sizes = size_of(first.manifest), size_of(second.manifest)
    if sizes[0] != sizes[1]:
        raise GraphFailed(
            f"the second model: size: {sizes[1]}, the shipped one has {sizes[0]}: swaps between them are not the same "
            "work; make the shipped bundle anew (make models)"
        )
    if first.content[WEIGHTS] == second.content[WEIGHTS]:
        raise GraphFailed("the second model: weights: are those of the shipped one; give another --seed")
