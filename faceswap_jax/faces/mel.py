"""What a little sound is like: how loud each band of the mel scale is, in a few steps of time. The plain baseline."""

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.faces.audio import RATE

WINDOW = 3200
"""Samples that are heard together, 0.2 s."""

STEPS = 4
BANDS = 20
RANGE = (60.0, 7600.0)
"""Hz, from the lowest band to the highest."""

QUIET = 1e-6
"""Energy below which nothing is heard."""


def log_mel(windows: Float[np.ndarray, "n 3200"]) -> Float32[np.ndarray, "n 80"]:
    """The logarithm of the energy in each band, step after step.

    Args:
        windows: sound at 16 kHz in -1..1.
    """
    length = WINDOW // STEPS
    steps = windows.reshape(len(windows), STEPS, length) * np.hanning(length)
    energy = np.square(np.abs(np.fft.rfft(steps)))
    bands = energy @ _bands(length).T / length
    return np.log(bands + QUIET).reshape(len(windows), STEPS * BANDS).astype(np.float32)


def _bands(length: int) -> Float[np.ndarray, "bands frequencies"]:
    """How much of each frequency counts in each band: triangles that overlap by half, as wide as the ear hears."""
    low, high = (_mel(frequency) for frequency in RANGE)
    corners = _frequency(np.linspace(low, high, BANDS + 2))
    frequencies = np.fft.rfftfreq(length, 1 / RATE)
    left, middle, right = (corners[i : BANDS + i, None] for i in range(3))
    rising = (frequencies - left) / (middle - left)
    falling = (right - frequencies) / (right - middle)
    return np.clip(np.minimum(rising, falling), 0, None)


def _mel(frequency: float) -> float:
    """O'Shaughnessy's scale."""
    return 2595 * np.log10(1 + frequency / 700)


def _frequency(mel: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k"]:
    return 700 * (10 ** (mel / 2595) - 1)
