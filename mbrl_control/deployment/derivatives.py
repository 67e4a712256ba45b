"""`Derivatives` on `gradient.onnx` and `jacobian.onnx`. NumPy and onnxruntime only."""

from __future__ import annotations

import numpy as np

from mbrl_control.deployment.check import GRADIENT, JACOBIAN, CheckedBundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.golden import compare, golden_case
from mbrl_control.deployment.session import Resident, Session
from mbrl_control.planning.protocol import MOST_OBSTACLES, Expansion, Objective
from mbrl_control.signals import Array

_FAR_M = 1e3
"""Where obstacles lie that there are not."""


class OnnxDerivatives:
    """Of one checked bundle, for one thread at a time; each graph is compared with its golden case as it opens."""

    def __init__(self, bundle: CheckedBundle) -> None:
        self._gradient, self._jacobian = (self._opened(bundle, name) for name in (GRADIENT, JACOBIAN))

    def gradient(self, state: Array, actions: Array, objective: Objective) -> Array:
        """See Derivatives."""
        values = _named(objective) | {"state": state, "actions": actions[None]}
        return self._gradient.run(values)["gradient"].astype(np.float64)

    def expand(self, states: Array, actions: Array, objective: Objective) -> Expansion:
        """See Derivatives."""
        out = self._jacobian.run(_named(objective) | {"state": states, "actions": actions})
        names = ("jacobian", "stage_gradient", "stage_hessian")
        return Expansion(*(out[name].astype(np.float64) for name in names))

    @staticmethod
    def _opened(bundle: CheckedBundle, name: str) -> Resident:
        golden, place = golden_case(bundle, name), bundle.path / name
        session = Resident(Session(bundle.content[name], str(place)), str(place))
        missing = sorted({*session.inputs, *session.outputs} - set(golden))
        if missing:
            raise BundleError(f"{place}: {missing[0]}: has no golden value; export the bundle again")
        compare(session.run(golden), golden, session.outputs, place)
        return session


def _named(objective: Objective) -> dict[str, Array]:
    """ValueError for more obstacles than the graphs have room for."""
    missing = MOST_OBSTACLES - len(objective.obstacles)
    if missing < 0:
        raise ValueError(f"obstacles: {len(objective.obstacles)}, derivatives have room for {MOST_OBSTACLES}")
    nowhere = np.full((missing, 7), _FAR_M)
    nowhere[:, 6] = 0.0
    return {
        "goal_position": objective.tool,
        "goal_joint": objective.joint,
        "weights": objective.weights,
        "trust": objective.trust,
        "obstacles": np.concatenate([objective.obstacles, nowhere]),
    }
