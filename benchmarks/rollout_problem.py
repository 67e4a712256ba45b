"""The evaluation that all contestants of `bench rollout` compute: a plain ensemble, written down once, in NumPy.

Members of a residual network, silu between the layers: ``x' = x + f(x, a)``, state ``x`` [14] (position, velocity of
seven joints), action ``a`` [7]. Each member rolls out its own mean over the horizon (TS-infinity without the sampling);
a sequence costs the mean over members of the summed squared distance of the positions from a goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEMBERS, SEQUENCES, HORIZON = 5, 128, 15
JOINTS, STATE, ACTION = 7, 14, 7
ROOF_SIZE = 1536
"""Of the square matrices whose product is the roof: large enough for every thread, small enough for a turn."""


@dataclass(frozen=True, slots=True)
class Network:
    """Hidden layers of every member."""

    width: int
    depth: int

    def __str__(self) -> str:
        return f"{self.width}x{self.depth}"

    @property
    def flops(self) -> int:
        """Multiplications and additions of one evaluation's matrix products."""
        sizes = [STATE + ACTION, *[self.width] * self.depth, STATE]
        return 2 * MEMBERS * SEQUENCES * HORIZON * sum(a * b for a, b in pairwise(sizes))


@dataclass(frozen=True, slots=True)
class Problem:
    """Weights and inputs, float32."""

    layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    """[E, in, out] and [E, 1, out], the output layer last."""
    state: NDArray[np.float32]
    actions: NDArray[np.float32]
    """[B, H, 7]."""
    goal: NDArray[np.float32]
    """[7]."""

    def save(self, path: Path) -> None:
        """As ``path``.npz, for processes that cannot import this."""
        named = {
            f"{kind}{index}": value
            for index, pair in enumerate(self.layers)
            for kind, value in zip("wb", pair, strict=True)
        }
        np.savez(path, state=self.state, actions=self.actions, goal=self.goal, **named)

    @staticmethod
    def load(path: Path) -> Problem:
        """What `save` wrote."""
        with np.load(path) as arrays:
            count = sum(name.startswith("w") for name in arrays)
            layers = tuple((arrays[f"w{index}"], arrays[f"b{index}"]) for index in range(count))
            return Problem(layers, arrays["state"], arrays["actions"], arrays["goal"])


def problem_of(network: Network, seed: int) -> Problem:
    """Random weights of the usual scale; steps small enough for states of order one."""
    generator = np.random.default_rng(seed)
    sizes = [STATE + ACTION, *[network.width] * network.depth, STATE]
    layers = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        scale = fan_in**-0.5 * (0.1 if index == network.depth else 1.0)
        weights = scale * generator.normal(size=(MEMBERS, fan_in, fan_out))
        layers.append((weights.astype(np.float32), 0.1 * scale * generator.normal(size=(MEMBERS, 1, fan_out))))
    single = tuple((weights, bias.astype(np.float32)) for weights, bias in layers)
    actions = generator.uniform(-1.0, 1.0, (SEQUENCES, HORIZON, ACTION))
    state, goal = generator.normal(size=STATE), generator.normal(size=JOINTS)
    return Problem(single, *(value.astype(np.float32) for value in (state, actions, goal)))


def reference(problem: Problem) -> NDArray[np.float64]:
    """[B] costs, float64: what every contestant has to answer."""
    state = np.tile(problem.state.astype(np.float64), (MEMBERS, SEQUENCES, 1))
    cost = np.zeros((MEMBERS, SEQUENCES))
    for step in range(HORIZON):
        action = np.broadcast_to(problem.actions[:, step].astype(np.float64), (MEMBERS, SEQUENCES, ACTION))
        state = state + networks(problem, np.concatenate([state, action], axis=2))
        cost += np.square(state[..., :JOINTS] - problem.goal).sum(axis=2)
    return np.asarray(cost.mean(axis=0))


def networks(problem: Problem, both: NDArray[np.float64]) -> NDArray[np.float64]:
    """States with their actions [E, N, 21] -> what each member adds to the states [E, N, 14], float64."""
    hidden = both
    for index, (weights, bias) in enumerate(problem.layers):
        hidden = hidden @ weights + bias
        if index < len(problem.layers) - 1:
            hidden = hidden / (1.0 + np.exp(-hidden))
    return hidden
