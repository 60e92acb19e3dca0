"""What MC-AAD reads off pictures: from runs, compared, and several pictures together."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.models import expression, iresnet
from faceswap_jax.models.blendshapes import BlendshapesConfig
from faceswap_jax.pretrained import embedder, runs, shipped
from faceswap_jax.pretrained import expression as reader
from faceswap_jax.pretrained.features import FEATURES, shapes_of
from tests.support.frozen import WRITERS


@pytest.fixture(scope="module", params=FEATURES)
def role(request):
    return request.param


@pytest.fixture(scope="module")
def run(role, tmp_path_factory):
    """A run of the task that trains a network for it."""
    folder = tmp_path_factory.mktemp("runs") / role
    WRITERS[role](folder)
    return str(folder)


def test_a_run_gives_vectors_of_the_length_that_its_shape_tells(role, run):
    feature = FEATURES[role]
    shape, weights = feature.load(run, "eyes")
    crops = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)
    vectors = feature.read(shape, weights, crops)
    assert vectors.shape == (3, feature.length(shape))
    fresh = jax.eval_shape(lambda key: feature.init(shape, key), jax.random.key(0))
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, weights)


def test_a_run_of_another_alignment_is_refused(role, run):
    with pytest.raises(InputError, match=r"aligned as 'eyes'; set config\.alignment=eyes"):
        FEATURES[role].load(run, "stable")


def test_a_run_that_ships_is_the_run_to_half_precision(role, run, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    parts = {"identity": embedder, "expression": reader}[role].parts
    runs.ship(Path(run), role, parts, shipped.path_of(role))
    loads = [FEATURES[role].load(path, "eyes") for path in (run, shipped.PUPPETS)]
    (shape, weights), (same_shape, same_weights) = loads
    assert shape == same_shape
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-6), weights, same_weights)


def test_blendshapes_of_mediapipe_are_a_feature_for_every_alignment():
    feature = FEATURES["expression"]
    shape, weights = feature.load("mediapipe", "ffhq")
    vectors = jax.eval_shape(partial(feature.read, shape), weights, jnp.zeros((3, 16, 16, 3)))
    assert vectors.shape == (3, feature.length(shape)) == (3, 51)
    fresh = jax.eval_shape(lambda key: feature.init(shape, key), jax.random.key(0))
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, weights)


@pytest.mark.parametrize(
    "of_expression",
    [expression.ExpressionConfig(19, levels=(4, 6)), BlendshapesConfig(0.5, 0.6, 1.1)],
)
def test_shapes_go_through_the_config_in_the_order_of_the_table(of_expression):
    shapes = {"expression": of_expression, "identity": iresnet.IResNetConfig()}
    described = {role: embedder.described(shape) for role, shape in shapes.items()}
    found = shapes_of(ml_collections.ConfigDict(described))
    assert list(found) == ["identity", "expression"] and found == shapes


def test_distances_are_about_1_where_nothing_is_in_common_and_0_where_all_is():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50, 500))
    for kind in FEATURES.values():
        np.testing.assert_allclose(kind.distance(x, y), 1, atol=0.2)
        np.testing.assert_allclose(kind.distance(x, x), 0, atol=1e-5)
