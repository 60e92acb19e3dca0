"""Identities as vectors: those of a data set's people, and those of nobody."""

import numpy as np
import pytest

from data_pipelines.datasets import open_data
from data_pipelines.records import aligned_crop, decode
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.roles.identities import distance, known_identities, nobody

PEOPLE, LENGTH = 40, 16


@pytest.fixture(scope="module")
def known():
    """People who differ in a few ways alone, as puppets do, and are not of unit length."""
    rng = np.random.default_rng(0)
    ways = rng.normal(size=(6, LENGTH))
    return np.float32(4 * (rng.normal(size=(PEOPLE, 6)) @ ways + 0.5))


def test_distances_are_told_by_directions():
    x, y = np.float32([[2, 0], [0, 3]]), np.float32([5, 0])
    np.testing.assert_allclose(distance(x, y), [0, 1], atol=1e-6)


def test_nobody_is_far_from_everybody_and_of_their_kind(known):
    for key in range(5):
        drawn = nobody(known, known[:1], 0.2, np.random.default_rng(key))
        assert distance(drawn, known).min() >= 0.2
        # No mix of directions in which the known ones do not lie
        directions = known / np.linalg.norm(known, axis=1, keepdims=True)
        mixed = np.linalg.lstsq(directions.T, drawn, rcond=None)[0] @ directions
        np.testing.assert_allclose(mixed, drawn, atol=1e-4)


def test_who_is_drawn_varies_as_the_known_ones_do():
    """Where the distance asks for little."""
    rng = np.random.default_rng(0)
    spread = np.float32([3, 1, 0.3, 0.01])
    known = np.float32(rng.normal(size=(500, 4)) * spread)
    directions = known / np.linalg.norm(known, axis=1, keepdims=True)
    drawn = [nobody(known, known[:1], 1e-6, np.random.default_rng(i)) for i in range(300)]
    np.testing.assert_allclose(np.std(drawn, 0), directions.std(0), rtol=0.2)


def test_others_have_to_be_avoided_too(known):
    first = nobody(known, known[:1], 0.2, np.random.default_rng(0))
    second = nobody(known, first[None], 0.2, np.random.default_rng(0))
    assert distance(first, second) >= 0.2


def test_what_cannot_be_drawn_is_told(known):
    with pytest.raises(InputError, match=r"Of 16384 .* none is 0.95 away .* the farthest is 0\.\d"):
        nobody(known, known[:1], 0.95, np.random.default_rng(0))
    with pytest.raises(InputError, match=r"show 1 person.*--known"):
        nobody(known[:1], known[:1], 0.2, np.random.default_rng(0))


def test_the_people_of_a_data_set_are_known_by_a_few_pictures(generator, lending):
    data = open_data(configs.load(lending / "config.json").data)
    found = known_identities(generator, data)
    source = data["puppet002"]
    crops = np.stack([aligned_crop(source.read(i, decode), 16, "eyes") for i in range(4)])
    expected = generator.merged("identity", generator.features("identity", crops))
    assert len(found) == 5
    np.testing.assert_allclose(found[2], expected, rtol=1e-3, atol=1e-4)
