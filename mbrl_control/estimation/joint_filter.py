"""Joint-wise Kalman filter: position and velocity samples to a Gaussian belief at measurement time.

Model per joint: constant velocity driven by white acceleration noise (Bar-Shalom, Li, Kirubarajan,
"Estimation with Applications to Tracking and Navigation", 2001, section 6.2.2). Both position and velocity
are measured; rounding of an encoder with quantum h adds the variance h^2/12 of a uniform error. Nothing is
predicted past the newest sample: delay is compensated elsewhere, once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from mbrl_control.robot import SensorNoise
from mbrl_control.signals import Array, BeliefState, SensorSample


class FilterError(ValueError):
    """A configuration the filter cannot work with."""


class FilterEvent(IntEnum):
    """What a sample did to the belief."""

    INITIALISED = 0
    UPDATED = 1
    GAP_BRIDGED = 2
    """Samples were missing: the covariance was inflated, the belief lives on."""
    REINITIALISED = 3
    """So many samples were missing that the old belief says nothing any more."""
    DUPLICATE = 4
    OUT_OF_ORDER = 5
    REFUSED = 6
    """Not finite or of the wrong shape."""


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """Noise and timing of the samples; every value must be finite and positive (quanta may be 0)."""

    position_std: float
    """rad."""
    velocity_std: float
    """rad/s."""
    position_quantum: float = 0.0
    """rad."""
    velocity_quantum: float = 0.0
    """rad/s."""
    acceleration_density: float = 0.2
    """rad^2/s^3, spectral density of the white acceleration noise."""
    period_s: float = 0.004
    gap_periods: float = 3.0
    """Longer intervals count as a gap."""
    restart_periods: float = 50.0
    """Longer intervals start the belief anew."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0.0 or (value == 0.0 and not name.endswith("quantum")):
                raise FilterError(f"FilterConfig.{name} = {value}: give a finite positive number")
        if self.restart_periods <= self.gap_periods:
            raise FilterError(f"FilterConfig.restart_periods = {self.restart_periods}: must exceed gap_periods")


def config_for(noise: SensorNoise, period_s: float) -> FilterConfig:
    """Configuration from the arm file's noise block and the period of ``joint_states`` [s]."""
    return FilterConfig(
        noise.position_std, noise.velocity_std, noise.position_quantum, noise.velocity_quantum, period_s=period_s
    )


@dataclass(frozen=True, slots=True)
class FilterState:
    """Belief and counters carried from sample to sample; ``stamp_ns`` < 0 before the first one."""

    stamp_ns: int
    mean: Array
    """[2, J] position rad, velocity rad/s."""
    covariance: Array
    """[3, J] var(position), cov(position, velocity), var(velocity)."""
    dropped: int = 0
    """Duplicate, out-of-order and refused samples."""
    gaps: int = 0


class JointFilter:
    """Vectorised over joints; holds only constants, so ``update`` is a pure function."""

    def __init__(self, names: tuple[str, ...], config: FilterConfig) -> None:
        if not names or len(set(names)) != len(names):
            raise FilterError(f"joint names must be given and unique, got {list(names)}")
        self.names = names
        self._config = config
        self._position_var = config.position_std**2 + config.position_quantum**2 / 12.0
        self._velocity_var = config.velocity_std**2 + config.velocity_quantum**2 / 12.0

    def initial(self) -> FilterState:
        """State before the first sample."""
        joints = len(self.names)
        return FilterState(-1, np.zeros((2, joints)), np.zeros((3, joints)))

    def update(self, state: FilterState, sample: SensorSample) -> tuple[FilterState, BeliefState | None, FilterEvent]:
        """Take in one sample [J]; the belief is None when the sample was dropped."""
        if not self._usable(sample):
            return replace(state, dropped=state.dropped + 1), None, FilterEvent.REFUSED
        if state.stamp_ns < 0:
            return self._restart(state, sample, FilterEvent.INITIALISED)
        elapsed = (sample.stamp_ns - state.stamp_ns) * 1e-9
        if elapsed <= 0.0:
            event = FilterEvent.DUPLICATE if elapsed == 0.0 else FilterEvent.OUT_OF_ORDER
            return replace(state, dropped=state.dropped + 1), None, event
        periods = elapsed / self._config.period_s
        if periods > self._config.restart_periods:
            return self._restart(replace(state, gaps=state.gaps + 1), sample, FilterEvent.REINITIALISED)
        gap = periods > self._config.gap_periods
        mean, covariance = self._step(state, sample, elapsed, periods if gap else 1.0)
        state = FilterState(sample.stamp_ns, mean, covariance, state.dropped, state.gaps + gap)
        return state, _belief(state, sample), FilterEvent.GAP_BRIDGED if gap else FilterEvent.UPDATED

    def _usable(self, sample: SensorSample) -> bool:
        joints = (len(self.names),)
        if sample.position.shape != joints or sample.velocity.shape != joints:
            return False
        return bool(np.isfinite(sample.position).all() and np.isfinite(sample.velocity).all())

    def _restart(
        self, state: FilterState, sample: SensorSample, event: FilterEvent
    ) -> tuple[FilterState, BeliefState, FilterEvent]:
        covariance = np.zeros((3, len(self.names)))
        covariance[0], covariance[2] = self._position_var, self._velocity_var
        mean = np.stack([sample.position, sample.velocity])
        state = FilterState(sample.stamp_ns, mean, covariance, state.dropped, state.gaps)
        return state, _belief(state, sample), event

    def _step(self, state: FilterState, sample: SensorSample, dt: float, inflation: float) -> tuple[Array, Array]:
        """Predict over dt [s], then correct. ``inflation`` >= 1 scales the process noise.

        Over a gap the acceleration is no longer white but may have kept its sign, so the velocity variance
        has to grow with the square of the time: the noise density is scaled by the number of periods.
        """
        density = self._config.acceleration_density * inflation
        pp, pv, vv = state.covariance
        drift = dt * vv
        pp = pp + dt * (pv + pv + drift) + density * dt**3 / 3.0
        pv = pv + drift + density * dt**2 / 2.0
        vv = vv + density * dt
        position = state.mean[0] + dt * state.mean[1]
        # The innovation covariance S = P + R is 2 x 2: K = P S^-1 in closed form, then P <- (I - K) P.
        s_pp, s_vv = pp + self._position_var, vv + self._velocity_var
        inverse = 1.0 / (s_pp * s_vv - pv * pv)
        k_pp = (pp * s_vv - pv * pv) * inverse
        k_pv = pv * self._position_var * inverse
        k_vp = pv * self._velocity_var * inverse
        k_vv = (vv * s_pp - pv * pv) * inverse
        e_p, e_v = sample.position - position, sample.velocity - state.mean[1]
        mean, covariance = np.empty_like(state.mean), np.empty_like(state.covariance)
        mean[0] = position + k_pp * e_p + k_pv * e_v
        mean[1] = state.mean[1] + k_vp * e_p + k_vv * e_v
        # For H = I the posterior is K R, with R diagonal.
        covariance[0] = k_pp * self._position_var
        covariance[1:] = np.array([k_pv, k_vv]) * self._velocity_var
        return mean, covariance


def _belief(state: FilterState, sample: SensorSample) -> BeliefState:
    covariance = state.covariance[[0, 1, 1, 2]].T.reshape(-1, 2, 2)
    return BeliefState(state.stamp_ns, state.mean[0], state.mean[1], covariance, sample.effort)
