"""The method that the settings name."""

from __future__ import annotations

from mbrl_control.planning.config import PlannerConfig, PlannerConfigError
from mbrl_control.planning.methods.cem import CrossEntropy
from mbrl_control.planning.methods.kept import Kept
from mbrl_control.planning.methods.mppi import PathIntegral
from mbrl_control.planning.methods.noise import KnotNoise
from mbrl_control.planning.methods.protocol import Method
from mbrl_control.planning.methods.random_shooting import RandomShooting
from mbrl_control.planning.methods.refine import Descent, LinearQuadratic, Refiner

_BETA = {"icem": 2.0}
"""Exponent of a method's own noise where it is not white."""

_REFINERS: dict[str, Refiner] = {"gradient": Descent(), "ilqr": LinearQuadratic()}


def refiner_of(config: PlannerConfig) -> Refiner | None:
    """Of a method that only refines, or the one that is to follow on sampling."""
    return _REFINERS.get(config.method) or _REFINERS.get(config.refine)


def method_of(config: PlannerConfig, horizon: int) -> Method:
    """Raises PlannerConfigError where the settings do not fit the model's horizon."""
    beta = _BETA.get(config.method, 0.0) if config.noise_beta is None else config.noise_beta
    try:
        noise = KnotNoise(beta, horizon, config.knots, config.interpolation)
    except ValueError as error:
        raise PlannerConfigError(f"planner settings: {error}") from error
    if config.method in _REFINERS:
        return Kept()
    if config.method == "mppi":
        return PathIntegral(noise, config.temperature)
    if config.method == "random_shooting":
        return RandomShooting(noise)
    return CrossEntropy(noise, config.elites, keep=config.method == "icem", momentum=config.momentum)
