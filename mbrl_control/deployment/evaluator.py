"""The deployed models: `OnnxEvaluator` scores rollouts, `OnnxStepModel` makes one step. NumPy and onnxruntime only."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mbrl_control.deployment.check import GOLDEN, ROLLOUT, STEP, CheckedBundle, read_bundle
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.graph_names import ROLLOUT_BATCH_AXES, STEP_OUTPUTS
from mbrl_control.deployment.lanes import ACTIONS, Lanes, Layout
from mbrl_control.deployment.session import Float32, Session, worst_difference
from mbrl_control.dynamics.protocol import Prediction
from mbrl_control.planning.protocol import Scores
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

_TOLERANCE = 1e-4
"""Golden outputs come from another CPU's vector units: ten times the export's parity."""
_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """How the rollout of a bundle is opened."""

    sequences: int = 16
    """Scored per call."""
    layout: Layout = field(default_factory=Layout)


class OnnxEvaluator:
    """`RolloutEvaluator` on `rollout.onnx`; scores are overwritten by the next call."""

    def __init__(self, bundle: CheckedBundle, opening: Opening | None = None) -> None:
        self.manifest, opening = bundle.manifest, opening or Opening()
        place = str(bundle.path / ROLLOUT)
        self._lanes = Lanes(bundle.content[ROLLOUT], place, opening.sequences, opening.layout)
        joints, terms = len(self.manifest.joint_names), len(self.manifest.term_names)
        shapes = {
            "state": ((2 + self.manifest.history) * joints,),
            "actions": (opening.sequences, self.manifest.horizon, joints),
            "goal_position": (self.manifest.horizon, 3),
            "goal_joint": (self.manifest.horizon, joints),
            "weights": (terms,),
        }
        _check_session(self._lanes, bundle, ROLLOUT, shapes)

    @property
    def layout(self) -> Layout:
        return self._lanes.layout

    @property
    def batch_size(self) -> int:
        return self._lanes.sequences

    @property
    def horizon(self) -> int:
        return self.manifest.horizon

    @property
    def term_names(self) -> tuple[str, ...]:
        return self.manifest.term_names

    def evaluate(self, state: Array, actions: Array, goal_position: Array, goal_joint: Array, weights: Array) -> Scores:
        """State [S], actions [B, H, J], goals [H, 3] m and [H, J] rad, weights [T]; ValueError on another shape."""
        values = self._lanes.run(
            {
                "state": state,
                "actions": actions,
                "goal_position": goal_position,
                "goal_joint": goal_joint,
                "weights": weights,
            }
        )
        return Scores(term_names=self.manifest.term_names, **values)


class OnnxStepModel:
    """`DynamicsModel` with one row and `StepModel` on `model.onnx`."""

    def __init__(self, bundle: CheckedBundle) -> None:
        self.manifest = bundle.manifest
        self._session = Session(bundle.content[STEP], str(bundle.path / STEP))
        joints = len(self.manifest.joint_names)
        size = (2 + self.manifest.history) * joints
        shapes = {"state": (self.members, 1, size), "action": (1, joints)}
        if {*self._session.outputs} != {*STEP_OUTPUTS}:
            found = list(self._session.outputs)
            raise BundleError(f"{bundle.path / STEP}: outputs: {found}, expected {list(STEP_OUTPUTS)}; export again")
        _check_session(self._session, bundle, STEP, shapes)

    @property
    def members(self) -> int:
        return self.manifest.members

    def predict(self, state: Array, action: Array) -> Prediction:
        """State [E, 1, S], action [1, J] rad/s or N m."""
        out = self._session.run({"state": state, "action": action})
        values = (out[name].astype(np.float64) for name in ("next_state", "mean", "variance"))
        return Prediction(*values)

    def step(self, state: Array, action: Array) -> Array:
        """State [S] and mean command [J] over the step -> mean state [S] one dt later."""
        predicted = self.predict(np.broadcast_to(state, (self.members, 1, state.shape[0])), action[None])
        mean: Array = predicted.state[:, 0].mean(axis=0)
        return mean


class DeployedModel:
    """Both graphs of one checked, warm bundle."""

    def __init__(self, bundle: CheckedBundle, opening: Opening | None = None) -> None:
        self.manifest = bundle.manifest
        self.manifest_sha256 = bundle.manifest_sha256
        self.path = bundle.path
        self.rollout = OnnxEvaluator(bundle, opening)
        self.step_model = OnnxStepModel(bundle)

    @property
    def model_id(self) -> str:
        return self.manifest.model_id


def load_model(
    path: Path, arm: Arm, manifest_sha256: str | None = None, opening: Opening | None = None
) -> DeployedModel:
    """Read once, check the hashes of those bytes, open, compare with the golden outputs, warm up.

    ``manifest_sha256``: of the bundle that was announced, when it was. BundleError for whatever is wrong.
    """
    bundle = read_bundle(path, arm)
    if manifest_sha256 is not None and bundle.manifest_sha256 != manifest_sha256:
        raise BundleError(f"{path}: changed since it was announced; activate it again")
    try:
        return DeployedModel(bundle, opening)
    except BundleError:
        raise
    except Exception as error:  # untrusted bytes: whatever they break must not break the caller's control thread
        raise BundleError(f"{path}: {type(error).__name__}: {error}; export the bundle again") from error


def _check_session(
    session: Session | Lanes, bundle: CheckedBundle, name: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Shapes as the manifest says, golden outputs met; the calls also warm the session up."""
    place = bundle.path / name
    if session.inputs != shapes:
        raise BundleError(f"{place}: inputs: {session.inputs}, the manifest implies {shapes}; export the bundle again")
    golden = _golden(bundle, "step" if name == STEP else "rollout")
    missing = sorted(({*shapes} | {*session.outputs}) - set(golden))
    if missing:
        raise BundleError(f"{bundle.path / GOLDEN}: {missing[0]}: missing; export the bundle again")
    if name == ROLLOUT:
        golden = {key: _repeated(value, key, shapes[ACTIONS][0], bundle) for key, value in golden.items()}
    for _ in range(_WARM_UP):
        out = session.run({key: golden[key] for key in shapes})
    output, value = worst_difference(out, golden, session.outputs)
    if value > _TOLERANCE:
        raise BundleError(f"{place}: {output}: differs from golden.npz by {value:.2e} on this CPU; export it here")


def _repeated(value: Float32, name: str, sequences: int, bundle: CheckedBundle) -> Float32:
    """The golden sequences over and over, as many as the graph is opened for."""
    axis = 0 if name == ACTIONS else ROLLOUT_BATCH_AXES.get(name)
    if axis is not None and value.ndim <= axis:
        raise BundleError(f"{bundle.path / GOLDEN}: {name}: shape {value.shape} has no axis {axis}; export again")
    return value if axis is None else np.take(value, np.arange(sequences) % value.shape[axis], axis)


def _golden(bundle: CheckedBundle, graph: str) -> dict[str, Float32]:
    prefix = f"{graph}."
    try:
        with np.load(io.BytesIO(bundle.content[GOLDEN]), allow_pickle=False) as archive:
            return {key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)}
    except (ValueError, OSError) as error:
        raise BundleError(f"{bundle.path / GOLDEN}: cannot be read ({error}); export the bundle again") from error
