"""The deployed models: `OnnxEvaluator` scores rollouts, `OnnxStepModel` makes one step. NumPy and onnxruntime only."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mbrl_control.deployment.check import FULL, GOLDEN, ROLLOUT, STEP, CheckedBundle, read_bundle
from mbrl_control.deployment.derivatives import OnnxDerivatives
from mbrl_control.deployment.errors import BundleError
from mbrl_control.deployment.golden import compare, golden_case, require_extended
from mbrl_control.deployment.graph_names import (
    ACTIONS,
    BATCH,
    FULL_INPUTS,
    OBSTACLES,
    PARTICLES,
    ROLLOUT_BATCH_AXES,
    SCENARIOS,
    STEP_OUTPUTS,
)
from mbrl_control.deployment.lanes import Lanes, Layout
from mbrl_control.deployment.particles import Particles
from mbrl_control.deployment.session import Float32, Resident, Session
from mbrl_control.dynamics.protocol import Prediction
from mbrl_control.planning.protocol import UNLIMITED, Objective, Scores
from mbrl_control.rewards.names import DISTRUST, FURTHER_NAMES, TERM_NAMES
from mbrl_control.robot import Arm
from mbrl_control.signals import Array

_WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """How the rollout of a bundle is opened."""

    sequences: int = 16
    """Scored per call."""
    layout: Layout = field(default_factory=Layout)
    obstacles: int = 0
    """Capsules that every objective brings."""
    particles: Particles | None = None
    """None: each member's own mean."""
    trusted: bool = False
    """Objectives may cut the horizon."""
    derivatives: bool = False
    """Open those graphs, too."""
    further_terms: bool = False
    """Objectives weigh some of `FURTHER_NAMES`."""

    @property
    def graph(self) -> str:
        """The file with the rollouts."""
        return FULL if self.full else ROLLOUT

    @property
    def full(self) -> bool:
        """Needs the graph that can do more and costs more."""
        needs = (self.obstacles > 0, self.particles is not None, self.trusted, self.derivatives, self.further_terms)
        return any(needs)


class OnnxEvaluator:
    """`RolloutEvaluator` on `rollout.onnx`, or `rollout_full.onnx`; scores are overwritten by the next call."""

    def __init__(self, bundle: CheckedBundle, opening: Opening | None = None) -> None:
        self.manifest, self._opening = bundle.manifest, opening or Opening()
        manifest, opening = self.manifest, self._opening
        particles = opening.particles or Particles()
        name, sizes = opening.graph, {BATCH: opening.sequences}
        joints, horizon = len(manifest.joint_names), manifest.horizon
        shapes = {
            "state": ((2 + manifest.history) * joints,),
            ACTIONS: (opening.sequences, horizon, joints),
            "goal_position": (horizon, 3),
            "goal_joint": (horizon, joints),
            "weights": (len(self.term_names),),
        }
        self._scenario: dict[str, Array] = {}
        if opening.full:
            require_extended(bundle)
            scenarios = particles.rows * manifest.members
            sizes |= {PARTICLES: particles.rows, OBSTACLES: opening.obstacles, SCENARIOS: scenarios}
            self._scenario = particles.scenario(horizon, manifest.members, joints)
            shapes |= {"trust": (horizon,), "obstacles": (opening.obstacles, 7)}
            shapes |= {key: value.shape for key, value in self._scenario.items()}
        self.sizes = sizes
        """Of the graph's open axes."""
        self._lanes = Lanes(bundle.content[name], str(bundle.path / name), sizes, opening.layout)
        if opening.full:
            _check_full(bundle)
        _check_session(self._lanes, bundle, name, shapes)

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
        names = self.manifest.term_names
        if not self._opening.full:
            return names
        return (*TERM_NAMES, *FURTHER_NAMES, *names[len(TERM_NAMES) :])

    @property
    def validated_spread(self) -> Array:
        """[H] rad/s, see `Training.spread`, its last one held; `UNLIMITED` for a prior, whose members cannot disagree.
        BundleError where the bundle does not state any."""
        training = self.manifest.training
        if training is None:
            return np.full(self.horizon, UNLIMITED)
        if not training.spread:
            raise BundleError(f"{self.manifest.model_id}: training.spread: empty, so trust has no measure; retrain")
        known = np.array(training.spread)
        return known[np.minimum(np.arange(self.horizon), len(known) - 1)]

    def evaluate(self, state: Array, actions: Array, objective: Objective) -> Scores:
        """State [S], actions [B, H, J]; ValueError on another shape."""
        values = {
            "state": state,
            ACTIONS: actions,
            "goal_position": objective.tool,
            "goal_joint": objective.joint,
            "weights": objective.weights,
            "trust": objective.trust,
            "obstacles": objective.obstacles,
        }
        names = (*self.term_names, DISTRUST) if self._opening.full else self.term_names
        found = self._lanes.run(values | self._scenario)
        return Scores(term_names=names, **found | {"cost": self._counted(found["cost"])})

    def _counted(self, cost: Array) -> Array:
        """Without the members' means, where they only stand before the particles."""
        particles = self._opening.particles
        if particles is None or particles.rows == particles.count:
            return cost
        each = cost.reshape(self.manifest.members, particles.rows, -1)
        return each[:, 1:].reshape(-1, each.shape[-1])


class OnnxStepModel:
    """`DynamicsModel` with one row and `StepModel` on `model.onnx`; for one thread at a time."""

    def __init__(self, bundle: CheckedBundle) -> None:
        self.manifest = bundle.manifest
        place = str(bundle.path / STEP)
        self._session = Resident(Session(bundle.content[STEP], place), place)
        joints = len(self.manifest.joint_names)
        size = (2 + self.manifest.history) * joints
        shapes = {"state": (self.members, 1, size), "action": (1, joints)}
        if {*self._session.outputs} != {*STEP_OUTPUTS}:
            found = list(self._session.outputs)
            raise BundleError(f"{place}: outputs: {found}, expected {list(STEP_OUTPUTS)}; export again")
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
        each = np.broadcast_to(state, (self.members, 1, state.shape[0]))
        out = self._session.run({"state": each, "action": action[None]})
        mean: Array = out["next_state"][:, 0].astype(np.float64).mean(axis=0)
        return mean


class DeployedModel:
    """Both graphs of one checked, warm bundle."""

    def __init__(self, bundle: CheckedBundle, opening: Opening | None = None) -> None:
        self.manifest = bundle.manifest
        self.manifest_sha256 = bundle.manifest_sha256
        self.path = bundle.path
        self.rollout = OnnxEvaluator(bundle, opening)
        self.step_model = OnnxStepModel(bundle)
        self.derivatives = OnnxDerivatives(bundle) if opening is not None and opening.derivatives else None
        self.without_cuda = ""
        """Why the GPU that rollouts were to run on is not used; empty: it is, or none was to be."""

    @property
    def model_id(self) -> str:
        return self.manifest.model_id

    @property
    def rollouts(self) -> str:
        """How they are computed, in words."""
        return f"{self.rollout.layout}, as CUDA failed" if self.without_cuda else str(self.rollout.layout)


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
    session: Resident | Lanes, bundle: CheckedBundle, name: str, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Shapes as the manifest says, golden outputs met; the calls also warm the session up."""
    place = bundle.path / name
    if session.inputs != shapes:
        raise BundleError(f"{place}: inputs: {session.inputs}, the manifest implies {shapes}; export the bundle again")
    golden = golden_case(bundle, name)
    missing = sorted(({*shapes} | {*session.outputs}) - set(golden))
    if missing:
        raise BundleError(f"{bundle.path / GOLDEN}: {missing[0]}: missing; export the bundle again")
    if name == FULL:
        # Opened for other numbers of particles and obstacles than the golden case has: `_check_full` compared that.
        golden = {key: np.resize(golden[key], shape) for key, shape in shapes.items()}
    elif name == ROLLOUT:
        golden = {key: _repeated(value, key, shapes[ACTIONS][0], bundle) for key, value in golden.items()}
    for _ in range(_WARM_UP):
        out = session.run({key: golden[key] for key in shapes})
    if name != FULL:
        compare(out, golden, session.outputs, place)


def _check_full(bundle: CheckedBundle) -> None:
    """The golden case of `rollout_full.onnx`, in a session of its own sizes."""
    golden, place = golden_case(bundle, FULL), bundle.path / FULL
    counted = {BATCH: ACTIONS, PARTICLES: "noise", OBSTACLES: "obstacles", SCENARIOS: "cost"}
    missing = sorted({*FULL_INPUTS, *ROLLOUT_BATCH_AXES} - set(golden))
    if missing:
        raise BundleError(f"{bundle.path / GOLDEN}: {missing[0]}: missing; export the bundle again")
    session = Session(bundle.content[FULL], str(place), {axis: len(golden[key]) for axis, key in counted.items()})
    compare(session.run(golden), golden, session.outputs, place)


def _repeated(value: Float32, name: str, sequences: int, bundle: CheckedBundle) -> Float32:
    """The golden sequences over and over, as many as the graph is opened for."""
    axis = 0 if name == ACTIONS else ROLLOUT_BATCH_AXES.get(name)
    if axis is not None and value.ndim <= axis:
        raise BundleError(f"{bundle.path / GOLDEN}: {name}: shape {value.shape} has no axis {axis}; export again")
    return value if axis is None else np.take(value, np.arange(sequences) % value.shape[axis], axis)
