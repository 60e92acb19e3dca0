"""The network that hears, as others load it."""

import numpy as np
import pytest

from experiments import identity
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel
from faceswap_jax.pretrained import listener
from tests.support.listening import EMBEDDING, write_listener


def test_features_are_directions_that_tell_sounds_apart(tmp_path):
    hear = listener.load(write_listener(tmp_path, 0))
    windows = np.random.default_rng(0).normal(scale=0.1, size=(4, mel.WINDOW))
    windows[0] = 0
    features = hear(windows)
    assert features.shape == (4, EMBEDDING)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    # Each by itself, and silence unlike noise
    np.testing.assert_allclose(hear(windows[1:2]), features[1:2], atol=1e-6)
    cosines = features @ features.T
    assert cosines[0, 1:].max() < cosines[1:, 1:].min()


def test_a_digest_is_of_the_weights(tmp_path):
    one, same, other = (write_listener(tmp_path / str(i), i // 2) for i in range(3))
    digests = [listener.load(run).digest for run in (one, same, other)]
    assert digests[0] == digests[1] != digests[2] and len(digests[0]) == 16


def test_a_run_that_does_not_hear_is_told(tmp_path):
    configs.save(identity.get_config(), tmp_path / "config.json")
    with pytest.raises(InputError, match=f"{tmp_path}' holds a run of 'identity'.*'sync'"):
        listener.load(tmp_path)
