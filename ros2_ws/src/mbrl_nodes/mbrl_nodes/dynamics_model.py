"""Announces the active bundle of the registry, and judges it while it runs.

Bundles are checked and warmed before they are announced; a bad one is announced as REJECTED with the reason. The
planner loads the announced folder in its own process, only if its manifest is still the announced one.

Then the active bundle, the one before and a candidate predict what the arm has just done (`mbrl_control.live`). One
that is left is announced as REJECTED, at which the guard holds, and the one before as ACTIVE. All of it happens in an
own thread without deadlines, so that diagnostics and lifecycle answer while a model warms up.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from mbrl_msgs.msg import ModelResidual, ModelStatus
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from mbrl_control.cadence import Tick
from mbrl_control.deployment.manifest import Manifest
from mbrl_control.deployment.registry import Registry
from mbrl_control.live.keeper import Announcement, ModelKeeper, Status
from mbrl_control.live.watch import Scored
from mbrl_control.replay.motion import AHEAD, STARTS
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import doubles, stamp_from_ns
from mbrl_nodes.live_inputs import LiveInputs
from mbrl_nodes.runtime import MODEL_QOS, GraphNode, run

POLL_NS = 100_000_000
_RESIDUAL_QOS = QoSProfile(reliability=ReliabilityPolicy.RELIABLE, history=HistoryPolicy.KEEP_LAST, depth=50)


class DynamicsModelNode(GraphNode):
    """Thin: every decision is the keeper's."""

    def __init__(self) -> None:
        super().__init__("dynamics_model")
        declare_arm(self)
        self.declare("models", "", "folder of the registry, holds <robot>/<version>/")
        self._keeper: ModelKeeper | None = None
        self._announced = ""

    def setup(self) -> None:
        for name in ("arm", "models"):
            if not self.get_parameter(name).value:
                raise ValueError(f"dynamics_model: {name}: is empty; give a path")
        arm = arm_of(self)
        registry = Registry(Path(self.get_parameter("models").value).resolve(), arm.model_name)
        self._publisher = self.create_publisher(ModelStatus, "model_status", MODEL_QOS)
        self._residuals = self.create_publisher(ModelResidual, "model_residual", _RESIDUAL_QOS)
        self._inputs = LiveInputs(self, arm)
        self._keeper = ModelKeeper(registry, arm, self._announce, np.random.default_rng(0))

    def start(self) -> None:
        self.run_control(POLL_NS, self._poll)

    def diagnose(self) -> dict[str, str]:
        facts = {} if self._keeper is None else self._keeper.facts()
        refused = {} if self._keeper is None else {"refused_messages": str(self._inputs.refused)}
        return {"announced": self._announced} | facts | refused

    def trouble(self) -> str:
        return "" if self._keeper is None else self._keeper.trouble()

    def _poll(self, tick: Tick) -> None:
        assert self._keeper is not None, "set up before it is started"
        for scored in self._keeper.poll(self._inputs.take()):
            self._residuals.publish(_residual(scored))

    def _announce(self, said: Announcement) -> None:
        if said.status is Status.REJECTED:
            self.get_logger().error(f"{said.model_id or 'registry'}: {said.reason}")
        message = ModelStatus(
            stamp=stamp_from_ns(self.now_ns()),
            status=said.status.value,
            model_id=said.model_id,
            path=str(said.path),
            manifest_sha256=said.manifest_sha256,
            reason=said.reason,
            holdout_nll=math.nan,
        )
        if said.manifest is not None:
            _describe(message, said.manifest)
        self._announced = f"{said.model_id}: {said.reason or said.status.name.lower()}"
        self._publisher.publish(message)


def _describe(message: ModelStatus, manifest: Manifest) -> None:
    message.rollout_sha256 = manifest.files["rollout.onnx"]
    message.has_spread = manifest.has_spread
    message.delay = manifest.delay_s
    message.payload = 0.0 if manifest.training is None else manifest.training.payload_kg
    message.holdout_nll = manifest.holdout_nll


def _residual(scored: Scored) -> ModelResidual:
    promise, window = scored.scorer.promise, scored.window
    return ModelResidual(
        stamp=stamp_from_ns(window.end_ns),
        window=stamp_from_ns(window.begin_ns),
        role=scored.role.value,
        model_id=scored.scorer.model_id,
        rows=STARTS,
        steps=AHEAD,
        innovation=doubles(window.innovation),
        position_error=window.position,
        promised=math.nan if promise is None else promise.innovation[0],
        exceeded=scored.exceeded,
    )


def main() -> None:
    """Entry point."""
    run(DynamicsModelNode)


if __name__ == "__main__":
    main()
