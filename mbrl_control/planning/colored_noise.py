"""Power-law noise along the horizon: smooth samples explore better than white ones.

Source: Timmer and Koenig, "On generating power law noise", Astronomy and Astrophysics 300 (1995), as
used by iCEM (Pinneri et al., CoRL 2020, section 3.1). The spectral density falls as 1 / f^beta.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mbrl_control.signals import Array


def colored_noise(beta: float, batch: int, horizon: int, joints: int, generator: np.random.Generator) -> Array:
    """Draw [batch, horizon, joints] of zero mean, unit variance (over draws) and PSD ~ f^-beta along the horizon.

    The constant component takes the power of the lowest frequency, so that a sample may also be an offset.
    """
    scale = _amplitudes(beta, horizon)
    shape = (batch, joints, len(scale))
    spectrum = scale * (generator.standard_normal(shape) + 1j * generator.standard_normal(shape))
    # The constant and, for an even length, the Nyquist component are real and carry the power of both parts.
    spectrum[..., 0] = spectrum[..., 0].real * np.sqrt(2.0)
    if horizon % 2 == 0:
        spectrum[..., -1] = spectrum[..., -1].real * np.sqrt(2.0)
    noise = np.fft.irfft(spectrum, n=horizon, axis=-1)
    return np.ascontiguousarray(noise.transpose(0, 2, 1))


@lru_cache(maxsize=8)
def _amplitudes(beta: float, horizon: int) -> Array:
    """Amplitude of each frequency [horizon // 2 + 1] of the real transform, for a unit variance in time."""
    if horizon < 2:
        raise ValueError(f"coloured noise needs a horizon of at least 2 steps, got {horizon}")
    frequency = np.fft.rfftfreq(horizon)
    frequency[0] = frequency[1]
    scale = np.asarray(frequency ** (-beta / 2.0), dtype=np.float64)
    scale /= _standard_deviation(scale, horizon)
    scale.flags.writeable = False
    return scale


def _standard_deviation(scale: Array, horizon: int) -> float:
    """Of one sample in time, summed over the components of the inverse transform."""
    power = 2.0 * scale**2
    twice = np.full(len(scale), 2.0)
    twice[0] = 1.0
    if horizon % 2 == 0:
        twice[-1] = 1.0
    # A complex pair contributes 2 |X|^2, a real component |X|^2; the inverse transform divides by n^2.
    return float(np.sqrt(np.sum(twice * power)) / horizon)
