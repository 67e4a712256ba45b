"""Checks, warms and announces the active bundle of the registry; a bad one is announced as REJECTED with the reason.

The planner loads the announced folder in its own process, only if its manifest is still the announced one. Bundles
are read in an own thread, so that diagnostics and lifecycle answer while a model warms up.
"""

from __future__ import annotations

import math
from pathlib import Path

from mbrl_msgs.msg import ModelStatus

from mbrl_control.cadence import Tick
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, load_model
from mbrl_control.deployment.registry import Registry
from mbrl_control.robot import Arm
from mbrl_nodes.arm_parameters import arm_of, declare_arm
from mbrl_nodes.convert import stamp_from_ns
from mbrl_nodes.runtime import LATCHED_QOS, GraphNode, run

POLL_NS = 200_000_000


class DynamicsModelNode(GraphNode):
    """Follows `active.json`; see the module's description."""

    def __init__(self) -> None:
        super().__init__("dynamics_model")
        declare_arm(self)
        self.declare("models", "", "folder of the registry, holds <robot>/<version>/")
        self._arm: Arm | None = None
        self._registry: Registry | None = None
        self._seen: tuple[int | None, str] | None = None
        self._announced = ""

    def setup(self) -> None:
        for name in ("arm", "models"):
            if not self.get_parameter(name).value:
                raise ValueError(f"dynamics_model: {name}: is empty; give a path")
        self._arm = arm_of(self)
        self._registry = Registry(Path(self.get_parameter("models").value).resolve(), self._arm.model_name)
        self._publisher = self.create_publisher(ModelStatus, "model_status", LATCHED_QOS)
        self._seen = None

    def start(self) -> None:
        self.run_control(POLL_NS, self._poll)

    def diagnose(self) -> dict[str, str]:
        return {"announced": self._announced}

    def _poll(self, tick: Tick) -> None:
        """Announce on every change of what `active.json` says, once."""
        try:
            version, fault = self._registry.active(), ""
        except BundleError as error:
            version, fault = None, str(error)
        if (version, fault) == self._seen:
            return
        self._seen = (version, fault)
        if fault:
            self._reject("", self._registry.folder, fault)
        elif version is not None:
            self._announce(version)

    def _announce(self, version: int) -> None:
        path = self._registry.path(version)
        model_id = f"{self._registry.robot}/{version}"
        try:
            model = load_model(path, self._arm)
        except BundleError as error:
            self._reject(model_id, path, str(error))
            return
        self._publish(_active(model))

    def _reject(self, model_id: str, path: Path, reason: str) -> None:
        self.get_logger().error(reason)
        message = ModelStatus(status=ModelStatus.REJECTED, model_id=model_id, path=str(path), reason=reason)
        message.holdout_nll = math.nan
        self._publish(message)

    def _publish(self, message: ModelStatus) -> None:
        message.stamp = stamp_from_ns(self.now_ns())
        self._announced = f"{message.model_id}: {message.reason or 'active'}"
        self._publisher.publish(message)


def _active(model: DeployedModel) -> ModelStatus:
    manifest = model.manifest
    return ModelStatus(
        status=ModelStatus.ACTIVE,
        model_id=model.model_id,
        path=str(model.path),
        manifest_sha256=model.manifest_sha256,
        rollout_sha256=manifest.files["rollout.onnx"],
        has_spread=manifest.has_spread,
        delay=manifest.delay_s,
        payload=0.0 if manifest.training is None else manifest.training.payload_kg,
        holdout_nll=manifest.holdout_nll,
    )


def main() -> None:
    """Entry point."""
    run(DynamicsModelNode)


if __name__ == "__main__":
    main()
