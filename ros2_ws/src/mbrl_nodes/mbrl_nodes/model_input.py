"""What the planner plans with: the announced bundle, opened as is fastest here, exchanged between two cycles.

The first is loaded in the executor's thread, those that follow in threads of their own.
"""

from __future__ import annotations

from pathlib import Path

from mbrl_msgs.msg import ModelStatus

from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.evaluator import DeployedModel, Opening
from mbrl_control.deployment.layout_choice import LayoutChoice, load_measured
from mbrl_control.deployment.opener import Opener
from mbrl_control.deployment.slot import ModelSlot
from mbrl_control.planner_model import planning_model
from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.planner import Planner
from mbrl_control.planning.watch import CycleWatch
from mbrl_control.robot import Arm
from mbrl_control.scheduling import keep_garbage_short
from mbrl_nodes.runtime import MODEL_QOS, GraphNode


class ModelInput:
    """Subscription of one node; once there is a first model, what it changes belongs to the control thread."""

    def __init__(
        self, node: GraphNode, arm: Arm, config: PlannerConfig, opening: Opening, planner: Planner, watch: CycleWatch
    ) -> None:
        self._node, self._arm, self._config, self._opening = node, arm, config, opening
        self._planner, self._watch = planner, watch
        self._measured: LayoutChoice | None = None
        self._in_use: tuple[ModelSlot, Opener] | None = None
        node.create_subscription(ModelStatus, "model_status", self._receive, MODEL_QOS)

    @property
    def ready(self) -> bool:
        """The control thread plans from here on."""
        return self._in_use is not None

    def facts(self) -> dict[str, str]:
        """For the diagnostics."""
        if self._in_use is None:
            return {"model": "none", "rollouts": "none"}
        model = self._in_use[0].current
        told = {"model": model.model_id, "rollouts": model.rollouts, "rollouts_measured": str(self._measured)}
        return told | ({"without_cuda": model.without_cuda} if model.without_cuda else {})

    def exchange(self) -> None:
        """Take over what has finished loading; to be called between two cycles, where one is `ready`."""
        assert self._in_use is not None
        slot, opener = self._in_use
        self._leave_lost_gpu(slot, opener)
        result = slot.swap()
        if result is None:
            return
        if result.refused:
            self._refuse(result.refused)
            return
        try:
            self._planner.use(planning_model(slot.current, self._config))
        except Exception as error:  # of whatever kind: no bundle may end the thread that moves the arm
            slot.rollback()
            self._refuse(_reason(error))
            return
        self._begin_with(slot.current)

    def _receive(self, message: ModelStatus) -> None:
        if message.status != ModelStatus.ACTIVE:
            return
        path, manifest_sha256 = Path(message.path), message.manifest_sha256
        if self._in_use is not None:
            self._in_use[0].request(path, manifest_sha256)
            return
        try:
            # Here, at this node's own priority: it has no plan yet that this could delay.
            loaded = load_measured(path, self._arm, manifest_sha256, self._opening, self._node.graph_clock)
            first, opener, self._measured = loaded
            self._planner.use(planning_model(first, self._config))
        except Exception as error:  # the same: the next bundle that is announced may be a good one
            self._refuse(_reason(error))
            return
        self._begin_with(first, self._measured.without_cuda)
        keep_garbage_short()
        self._in_use = ModelSlot(first, self._arm, opener), opener

    def _begin_with(self, model: DeployedModel, without_cuda: str = "") -> None:
        self._watch.use(model.model_id)
        if without := without_cuda or model.without_cuda:
            self._node.get_logger().warning(f"{model.model_id}: rollouts run on the processor: {without}")

    def _leave_lost_gpu(self, slot: ModelSlot, opener: Opener) -> None:
        """The same bundle once more, for the processor, where the GPU fails cycle after cycle."""
        watch = self._watch
        if slot.current.rollout.layout.cuda and opener.gives_up(watch.model_failures, watch.last_failure):
            self._node.get_logger().warning(f"{slot.current.model_id}: the GPU is lost; loading for the processor")
            slot.again()

    def _refuse(self, reason: str) -> None:
        self._watch.refuse(reason)
        self._node.get_logger().error(f"model refused: {reason}")


def _reason(error: Exception) -> str:
    named = isinstance(error, BundleError | PlannerConfigError)
    return str(error) if named else f"{type(error).__name__}: {error}"
