"""One shipped bundle (`models/`), anew: excitation of the simulated arm in virtual time, learning, gate, export.

The same learning as `mbrl-control retrain`, without a graph, so that a busy machine changes nothing. In the graph a
command takes some milliseconds more to act than here (polling of the nodes); a run's own retraining finds that.
Example: `mbrl-control bench make_bundle --robot panda --command effort`. Ends with one line of JSON; minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from mbrl_control.cli.locations import arm_file, shipped_models
from mbrl_control.cli.provenance import source_commit
from mbrl_control.deployment.bundle import Origin
from mbrl_control.deployment.lifecycle import promote
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.pins import pin
from mbrl_control.deployment.registry import Registry
from mbrl_control.deployment.signing import SIGNATURE
from mbrl_control.learning.fit_ensemble import FitSettings
from mbrl_control.learning.judge import gate
from mbrl_control.learning.learn import learn
from mbrl_control.planning.excitation import ExcitationConfig
from mbrl_control.retrain import store, training_of
from mbrl_control.robot import Arm, load_arm
from mbrl_control.signals import CommandInterface
from sim.lockstep import Lockstep, excite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", required=True, help="a shipped arm: panda, planar or ur5e")
    parser.add_argument(
        "--command", type=CommandInterface, default=CommandInterface.VELOCITY, help="velocity or effort"
    )
    parser.add_argument("--seconds", type=float, default=90.0, help="of excitation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--models", type=Path, default=shipped_models(), help="registries of all arms (default: shipped)"
    )
    options = parser.parse_args()
    began, arm = time.monotonic(), load_arm(arm_file(options.robot), options.command)
    with tempfile.TemporaryDirectory() as folder:
        manifest = _make(options, arm, Registry(Path(folder), arm.model_name))
        place = options.models / arm.model_name
        shutil.rmtree(place, ignore_errors=True)
        # What is shipped is pinned by the package; its maker's signature would count nowhere else.
        shipped = options.models == shipped_models()
        left_out = shutil.ignore_patterns(SIGNATURE) if shipped else None
        shutil.copytree(Path(folder) / arm.model_name, place, ignore=left_out)
        if shipped:
            pin(options.models)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    facts = {"model_id": manifest.model_id, "delay_ms": round(manifest.delay_s * 1e3, 1), "bytes": size}
    print(json.dumps(facts | {"wall_s": round(time.monotonic() - began, 1)}))


def _make(options: argparse.Namespace, arm: Arm, registry: Registry) -> Manifest:
    """RetrainRefused where the model is no better than the prior."""
    lockstep = Lockstep(arm_file(options.robot), options.seed, interface=options.command)
    excite(lockstep, options.seconds, ExcitationConfig(), options.seed)
    settings = replace(FitSettings.deployed(options.command), max_seconds=math.inf)
    learned = learn([lockstep.streams()], arm, options.seed, None, settings)
    verdict = gate(learned.judged, np.random.default_rng(options.seed))
    said = ["--robot", options.robot, "--command", options.command.value, "--seconds", f"{options.seconds:g}"]
    made_by = (shlex.join(["mbrl-control", "bench", "make_bundle", *said, "--seed", str(options.seed)]),)
    training = training_of(learned, verdict, payload_kg=0.0)
    origin = Origin(time.time_ns(), learned.delay_s, training, git_sha=source_commit(), made_by=made_by)
    manifest = store(learned, arm, registry, origin)
    promote(registry, manifest.version, arm)
    return manifest


if __name__ == "__main__":
    main()
