"""What sound is like, in bands."""

import numpy as np

from faceswap_jax.faces import mel
from faceswap_jax.faces.audio import RATE


def tone(frequency, first=0):
    """Silent before a sample."""
    time = np.arange(mel.WINDOW) / RATE
    sound = 0.5 * np.sin(2 * np.pi * frequency * time)
    sound[:first] = 0
    return sound


def test_a_higher_tone_is_loud_in_a_higher_band():
    features = mel.log_mel(np.stack([tone(200), tone(800), tone(3000)]))
    assert features.shape == (3, mel.STEPS * mel.BANDS) and features.dtype == np.float32
    loudest = features.reshape(3, mel.STEPS, mel.BANDS).argmax(2)
    assert (loudest == loudest[:, :1]).all() and (np.diff(loudest[:, 0]) > 2).all()


def test_steps_are_in_the_order_of_time():
    (features,) = mel.log_mel(tone(800, first=mel.WINDOW // 2)[None])
    steps = features.reshape(mel.STEPS, mel.BANDS).max(1)
    assert steps[:2].max() < np.log(2 * mel.QUIET) < steps[2:].min()


def test_silence_is_as_quiet_in_every_band():
    (features,) = mel.log_mel(np.zeros((1, mel.WINDOW)))
    np.testing.assert_allclose(features, np.log(mel.QUIET), rtol=1e-6)
