"""What embedders see, and where they come from."""

import shutil

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from experiments import comb
from experiments import identity as experiment
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.models import iresnet
from faceswap_jax.pretrained import embedder, insightface
from faceswap_jax.tasks.identity import Task

CONFIG = iresnet.IResNetConfig((1, 1), (6, 8), stem=4, embedding=5, side=16)
TEMPLATE = np.array([(38.2946, 51.6963), (73.5318, 51.5014)])


def eyes(side):
    """Eyes of an aligned crop, pixel centres at integers."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (31.0, 77.0), (92.0, 50.0)
    return align.transform_points(
        points[[36, 42]], align.alignment_transform(points, side, "eyes")
    ).astype(np.float64)


@pytest.mark.parametrize("size, side", [(256, 112), (128, 112), (64, 112), (64, 48), (256, 56)])
def test_the_eyes_lie_where_the_template_has_them(size, side):
    y, x = np.mgrid[:size, :size]
    for eye, goal in zip(eyes(size), TEMPLATE, strict=True):
        blob = np.exp(-(((x - eye[0]) ** 2 + (y - eye[1]) ** 2) / (0.03 * size) ** 2))
        seen = np.asarray(embedder.view(jnp.float32(blob)[None, ..., None], side))[0, ..., 0]
        assert seen.shape == (side, side)
        v, u = np.mgrid[:side, :side]
        centre = np.array([(u * seen).sum(), (v * seen).sum()]) / seen.sum()
        # A tenth of a pixel of the template: its eyes are not quite level, those of crops are.
        np.testing.assert_allclose((centre + 0.5) * 112 / side - 0.5, goal, atol=0.12)


def test_enlarging_is_opencv_s():
    crop = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    (a, b), (c, d) = eyes(64)
    scale = (TEMPLATE[1, 0] - TEMPLATE[0, 0]) / (c - a)
    middle = TEMPLATE.mean(0) - scale * np.array([(a + c) / 2, (b + d) / 2])
    transform = np.array([[scale, 0, middle[0]], [0, scale, middle[1]]])
    # OpenCV rounds positions to 1/32 of a pixel.
    expected = cv2.warpAffine(crop, transform, (112, 112), flags=cv2.INTER_LINEAR)
    np.testing.assert_allclose(embedder.view(crop[None], 112)[0], expected, atol=0.04)


def test_shrinking_hides_what_is_too_fine():
    stripes = np.zeros((1, 256, 256, 3), np.float32)
    stripes[:, ::2] = 1
    assert np.abs(embedder.view(stripes, 32) - 0.5).max() < 0.05
    np.testing.assert_allclose(embedder.view(np.full_like(stripes, 0.7), 48), 0.7, rtol=1e-5)


def test_the_gradient_is_the_transpose():
    x, y = (jax.random.normal(jax.random.key(i), (2, s, s, 3)) for i, s in enumerate((32, 16)))
    seen, back = jax.vjp(lambda x: embedder.view(x, 16), x)
    np.testing.assert_allclose((seen * y).sum(), (x * back(y)[0]).sum(), rtol=1e-4)


@pytest.fixture(scope="module")
def network():
    """Whose statistics are not those of fresh networks."""

    @jax.jit
    def used():
        params, statistics = iresnet.init(CONFIG, jax.random.key(0))
        x = jax.random.uniform(jax.random.key(1), (8, 16, 16, 3))
        return params, iresnet.apply(CONFIG, params, statistics, x, train=True)[1]

    return used()


embed = jax.jit(embedder.embed, static_argnums=0)


def test_embeddings_have_unit_length_and_ignore_what_is_masked(network):
    crops = jax.random.uniform(jax.random.key(7), (3, 32, 32, 3))
    masks = jnp.zeros((3, 32, 32)).at[:, 8:24, 10:22].set(1.0)
    other = jnp.where(masks[..., None] > 0, crops, 1 - crops)
    seen = embed(CONFIG, *network, crops, masks)
    np.testing.assert_allclose(jnp.linalg.norm(seen, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(seen, embed(CONFIG, *network, other, masks))
    assert jnp.abs(seen - embed(CONFIG, *network, crops)).max() > 1e-2
    grey = jnp.where(masks[..., None] > 0, crops, 0.5)
    np.testing.assert_allclose(seen, embed(CONFIG, *network, grey), atol=1e-5)


def test_an_identity_can_be_descended_to(network):
    """Gradients with respect to the picture bring its embedding to another picture's."""
    crops = jax.random.uniform(jax.random.key(8), (2, 32, 32, 3))
    goal, x = embed(CONFIG, *network, crops[:1]), crops[1:]
    gradient = jax.jit(
        jax.value_and_grad(lambda x: 1 - (embedder.embed(CONFIG, *network, x) * goal).sum())
    )
    first = gradient(x)[0]
    for _ in range(60):
        value, g = gradient(x)
        x = x - 0.5 * g / jnp.linalg.norm(g)
    assert value < first / 5


@pytest.fixture
def trained(tmp_path):
    """A run's folder and the state that its checkpoint holds."""
    config = experiment.get_config()
    config.identities = ("ada", "ben", "eve")
    config.model.update(blocks=(1, 1), channels=(6, 8), stem=4, embedding=5, side=16)
    task, folder = Task(config), tmp_path / "run"
    state = task.init_state(task.phases[0], jax.random.key(3))
    folder.mkdir()
    configs.save(config, folder / "config.json")
    with Checkpoints(folder, config, writing=True) as checkpoints:
        checkpoints.save(state)
    return folder, state


def test_the_embedder_of_a_run(trained):
    folder, state = trained
    loaded = embedder.load(folder)
    assert loaded.config == CONFIG
    for result, expected in (
        (loaded.params, state.params["embedder"]),
        (loaded.statistics, state.extras["statistics"]),
    ):
        assert jax.tree.structure(result) == jax.tree.structure(expected)
        for a, b in zip(*map(jax.tree.leaves, (result, expected)), strict=True):
            assert isinstance(a, np.ndarray)
            np.testing.assert_array_equal(a, b)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(InputError, match="run' has no checkpoint yet"):
        embedder.load(folder)


def test_a_file_is_read_as_such(tmp_path, monkeypatch):
    found = (CONFIG, {"stem": 1}, {})
    monkeypatch.setattr(
        insightface, "read", lambda path: found if path.name == "net.onnx" else None
    )
    loaded = embedder.load(tmp_path / "net.onnx")
    assert (loaded.config, loaded.params, loaded.statistics) == found


def test_wrong_places_are_told(tmp_path):
    (tmp_path / "comb").mkdir()
    configs.save(comb.get_config(), tmp_path / "comb" / "config.json")
    save_file({"conv1.weight": np.zeros((4, 3, 3, 3), np.float32)}, tmp_path / "net.safetensors")
    for path, message in (
        (tmp_path / "comb", "holds a run of 'autoencoder'; give one of 'identity'"),
        (tmp_path, "holds no run"),
        (tmp_path / "nothing.onnx", "There is no file"),
        (tmp_path / "nothing", "neither a run nor a file"),
        (tmp_path / "net.safetensors", "'layer1.0.conv1.weight' is missing"),
    ):
        with pytest.raises(InputError, match=message):
            embedder.load(path)
