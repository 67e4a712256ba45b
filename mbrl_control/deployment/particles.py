"""What happens to the particles of trajectory sampling, drawn once: the inputs of `rollout_full.onnx`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_control.signals import Array


@dataclass(frozen=True, slots=True)
class Particles:
    """Of every member, the same for all sequences and all cycles (a scenario: Ng and Jordan, PEGASUS, UAI 2000)."""

    count: int = 1
    noise: bool = False
    """Sample the predicted noise; else each particle is its member's mean."""
    shuffle: bool = False
    """TS1: particles change members after every step; else TS-infinity."""
    seed: int = 0

    @property
    def rows(self) -> int:
        """P of the graph: where particles differ from their members' means, those stand before them."""
        return self.count + 1 if self.noise or self.shuffle else self.count

    def scenario(self, horizon: int, members: int, joints: int) -> dict[str, Array]:
        """noise [P, H, E, 2J]; shuffle and order [P, H, E]; counted [P], see `FullRolloutGraph`."""
        drawn = self._drawn(horizon, members, joints)
        if self.rows == self.count:
            return drawn
        means = Particles()._drawn(horizon, members, joints) | {"counted": np.zeros(1)}
        return {name: np.concatenate([means[name], value]) for name, value in drawn.items()}

    def _drawn(self, horizon: int, members: int, joints: int) -> dict[str, Array]:
        generator, shape = np.random.default_rng(self.seed), (self.count, horizon, members)
        noise = generator.standard_normal((*shape, 2 * joints)) if self.noise else np.zeros((*shape, 2 * joints))
        places = np.argsort(generator.random(shape), axis=2) if self.shuffle else np.broadcast_to(range(members), shape)
        order, owner = np.empty(shape), np.broadcast_to(np.arange(members), (self.count, members))
        for step in range(horizon):
            order[:, step] = np.argsort(owner, axis=1)
            owner = np.take_along_axis(owner, places[:, step], axis=1)
        counted = np.ones(self.count)
        return {"noise": noise, "shuffle": places.astype(np.float64), "order": order, "counted": counted}
