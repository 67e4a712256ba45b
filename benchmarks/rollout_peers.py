"""The peers of `bench rollout`, in their own environment: ``python rollout_peers.py KIND THREADS PROBLEM.npz``.

KIND ``mbrl``: mbrl-lib's `ModelEnv.evaluate_action_sequences`, deterministic and with a member per particle, so that it
computes what the others do (no noise is drawn, no variance computed: both would cost it more); ``mbrl_default``: the
same with the library's own defaults, which draw noise and members, so its answer is not compared. ``mppi``:
pytorch-mppi's rollout costs with the dynamics as one `baddbmm` per layer, the members as its rollout samples;
``mppi_wide``: the members side by side in one wide state, which is its faster path.
THREADS 0: torch's own default.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rollout_child import serve

JOINTS = 7
Evaluate = Callable[[], torch.Tensor]
Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""[members, in, out] weights and [members, 1, out] biases."""


def compete() -> None:
    kind, threads, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    warnings.filterwarnings("ignore")
    if threads:
        torch.set_num_threads(threads)
    with np.load(path) as arrays:
        problem = {name: torch.from_numpy(arrays[name]) for name in arrays}
    count = sum(name.startswith("w") for name in problem)
    layers = [(problem[f"w{index}"], problem[f"b{index}"]) for index in range(count)]
    make = {"mppi": mppi, "mppi_wide": mppi_wide}.get(kind, mbrl)
    with torch.inference_mode():
        evaluate = make(layers, problem["state"], problem["actions"], problem["goal"], kind == "mbrl_default")
        answer = evaluate().reshape(-1).tolist()
        serve(evaluate, [] if kind == "mbrl_default" else answer, {"threads": torch.get_num_threads()})


def mbrl(layers: Layers, state: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor, defaults: bool) -> Evaluate:
    """Negated, as mbrl-lib counts rewards."""
    import gymnasium as gym
    from mbrl.models import GaussianMLP, ModelEnv, OneDTransitionRewardModel

    members, width, outputs = len(layers[0][0]), layers[0][0].shape[2], layers[-1][0].shape[2]
    model = GaussianMLP(
        layers[0][0].shape[1],
        outputs,
        "cpu",
        num_layers=len(layers) - 1,
        ensemble_size=members,
        hid_size=width,
        deterministic=not defaults,
        propagation_method="random_model" if defaults else "fixed_model",
        activation_fn_cfg={"_target_": "torch.nn.SiLU"},
    )
    linear = [module[0] for module in model.hidden_layers] + [model.mean_and_logvar]
    for target, (weights, bias) in zip(linear, layers, strict=True):
        target.weight.data[:, :, : weights.shape[2]] = weights
        target.bias.data[:] = -20.0  # a log-variance: what noise it draws changes nothing
        target.bias.data[:, :, : bias.shape[2]] = bias
    # Particle p of every sequence goes to member p: the assignment is drawn otherwise.
    order = torch.arange(len(actions) * members).reshape(-1, members).T.flatten()
    model.sample_propagation_indices = lambda *_: order
    env = gym.Env()
    env.observation_space = gym.spaces.Box(-np.inf, np.inf, (outputs,))
    env.action_space = gym.spaces.Box(-1.0, 1.0, (actions.shape[2],))

    def reward(_: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        return -(observation[:, :JOINTS] - goal).square().sum(1, keepdim=True)

    def never(_: torch.Tensor, observation: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(observation), 1, dtype=torch.bool)

    wrapped = OneDTransitionRewardModel(model, target_is_delta=True, normalize=False, learned_rewards=False)
    planner = ModelEnv(env, wrapped, never, reward, torch.Generator().manual_seed(0))
    initial = state.numpy()
    return lambda: -planner.evaluate_action_sequences(actions, initial, members)


def mppi(layers: Layers, state: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor, _: bool) -> Evaluate:
    members = len(layers[0][0])

    def dynamics(flat: torch.Tensor, action: torch.Tensor, __: int) -> torch.Tensor:
        inputs = torch.cat([flat, action], dim=1).view(members, -1, flat.shape[1] + action.shape[1])
        return flat + _through(layers, inputs).view(len(flat), -1)

    def cost(flat: torch.Tensor, _action: torch.Tensor, __: int) -> torch.Tensor:
        return (flat[:, :JOINTS] - goal).square().sum(1)

    further = {
        "rollout_samples": members,
        "terminal_state_cost": lambda states, _actions: torch.zeros(states.shape[:2]),
        "step_dependent_dynamics": True,
    }
    return _costs_of(dynamics, cost, state, actions, further)


def mppi_wide(layers: Layers, state: torch.Tensor, actions: torch.Tensor, goal: torch.Tensor, _: bool) -> Evaluate:
    members, size = len(layers[0][0]), state.shape[0]

    def dynamics(wide: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        motion = wide.view(-1, members, size).transpose(0, 1)
        change = _through(layers, torch.cat([motion, action.expand(members, -1, -1)], dim=2))
        return (motion + change).transpose(0, 1).reshape(-1, members * size)

    def cost(wide: torch.Tensor, _action: torch.Tensor) -> torch.Tensor:
        return (wide.view(-1, members, size)[..., :JOINTS] - goal).square().sum(2).mean(1)

    return _costs_of(dynamics, cost, state.repeat(members), actions, {})


def _through(layers: Layers, hidden: torch.Tensor) -> torch.Tensor:
    """[members, rows, in] -> [members, rows, out]."""
    for index, (weights, bias) in enumerate(layers):
        hidden = torch.baddbmm(bias, hidden, weights)
        if index < len(layers) - 1:
            hidden = torch.nn.functional.silu(hidden)
    return hidden


def _costs_of(
    dynamics: Callable[..., torch.Tensor],
    cost: Callable[..., torch.Tensor],
    state: torch.Tensor,
    actions: torch.Tensor,
    further: dict[str, Any],
) -> Evaluate:
    from pytorch_mppi import MPPI

    samples, horizon, joints = actions.shape
    planner = MPPI(dynamics, cost, len(state), torch.eye(joints), num_samples=samples, horizon=horizon, **further)
    planner.state = state
    return lambda: planner._compute_rollout_costs(actions)[0]


if __name__ == "__main__":
    compete()
