"""MediaPipe's blendshapes in JAX: against LiteRT, network by network and together; what they see; their gradient."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.faces.blendshapes import NAMES, READ, BlendshapeReader, networks
from faceswap_jax.faces.mediapipe import FACE_MARGIN, Network
from faceswap_jax.models import blendshapes as model
from faceswap_jax.pretrained import blendshapes
from faceswap_jax.pretrained.blendshapes import SPREAD, WINDOWS

STORED = np.load(Path(__file__).parents[1] / "faces/blendshapes.npz")
SIDE = 256


@pytest.fixture(scope="module")
def params():
    return blendshapes.read()


@pytest.fixture(scope="module")
def lite():
    """LiteRT: from a view to points, and from points to scores."""
    files = networks()
    mesh = Network(files["face_landmarks_detector.tflite"])
    mixer = Network(files["face_blendshapes.tflite"])

    def points(view):
        found, *_ = mesh(view)
        return found.reshape(-1, 3)[READ, :2]

    return points, lambda points: mixer(points)[0]


@pytest.fixture(scope="module")
def crops():
    """Puppets of two people that do something."""
    return np.stack([cut(samples.sample_frame(7, number, SIDE)) for number in (7, 13)])


@pytest.fixture(scope="module")
def apply(params):
    return partial(jax.jit(model.apply, static_argnums=0), params=params)


def cut(frame):
    crop = align.cut_face(frame.image, frame.landmarks, SIDE, "eyes")
    return crop / np.float32(255)


def puppet(persona, **performance):
    return render(sample_persona(0, persona), Performance(**performance), Scene(), SIDE)


def test_the_weights_are_those_of_the_networks(params):
    fresh = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, fresh)


def test_points_are_those_of_litert(params, lite, crops):
    of_litert, _ = lite
    noise = np.random.default_rng(0).random((1, SIDE, SIDE, 3), np.float32)
    views = np.concatenate([crops, noise])
    found = jax.jit(model.points)(params, views)
    np.testing.assert_allclose(found, [of_litert(view) for view in views], atol=1e-3)


def test_scores_of_points_are_those_of_litert(params, lite):
    _, of_litert = lite
    drawn = np.random.default_rng(0).normal(size=(2, 478, 2)).astype(np.float32)
    meshes = np.stack([STORED["mesh_7"], STORED["mesh_13"], *drawn])
    found = model.scores(params, meshes[:, READ])
    np.testing.assert_allclose(found, [of_litert(mesh[READ]) for mesh in meshes], atol=1e-4)


def test_scores_of_crops_are_those_of_litert(lite, crops, apply):
    """Behind a window that SciPy samples."""
    points, scores = lite
    window = WINDOWS["eyes"]
    steps = (np.arange(model.SIDE) - (model.SIDE - 1) / 2) * SIDE * window.width / model.SIDE
    rows = SIDE * window.y - 0.5 + steps
    columns = SIDE * window.x - 0.5 + steps

    def by_litert(crop):
        places = np.meshgrid(rows, columns, np.arange(3), indexing="ij")
        view = map_coordinates(crop, places, order=1, mode="nearest")
        return scores(points(view))

    expected = [by_litert(crop) for crop in crops]
    np.testing.assert_allclose(apply(window, crops=crops), expected, atol=1e-3)


@pytest.fixture(scope="module")
def reader():
    return BlendshapeReader()


@pytest.fixture(scope="module")
def placed(reader):
    """Puppets of five people at rest, and where MediaPipe looks for their faces."""
    frames = [puppet(persona) for persona in range(1, 6)]
    return [(frame, reader.window(frame.image, frame.landmarks)) for frame in frames]


@pytest.mark.parametrize("alignment", align.ALIGNMENTS)
def test_windows_are_where_mediapipe_looks(placed, alignment):
    found = []
    for frame, box in placed:
        transform = align.alignment_transform(frame.landmarks, SIDE, alignment)
        (middle,) = align.transform_points(box.centre[None], transform)
        width = FACE_MARGIN * box.side * align.transform_scale(transform)
        found.append([*(middle + 0.5) / SIDE, width / SIDE])
    x, y, width = np.mean(found, 0)
    window = WINDOWS[alignment]
    assert abs(x - window.x) < 0.02 and abs(y - window.y) < 0.04
    assert 0.92 < width / window.width < 1.08


@pytest.mark.parametrize(
    ("movement", "name"),
    [
        ({"mouth_open": 1.0}, "jawOpen"),
        ({"smile": 1.0}, "mouthSmileLeft"),
        ({"gaze_x": 0.8}, "eyeLookOutLeft"),
    ],
)
def test_crops_say_what_the_frame_says(reader, apply, movement, name):
    """Where a reader looks that follows the mesh."""
    number = NAMES.index(name)
    frames = [puppet(1, **movement), puppet(1)]
    does, rests = apply(WINDOWS["eyes"], crops=np.stack([cut(frame) for frame in frames]))
    of_frames = [
        reader(frame.image, reader.window(frame.image, frame.landmarks)).scores for frame in frames
    ]
    expected = of_frames[0] - of_frames[1]
    assert expected[number] > 0.2
    np.testing.assert_allclose((does - rests)[number], expected[number], atol=0.15)


def test_vectors_leave_out_the_neutral_score_and_have_one_unit(params, crops, apply):
    window = WINDOWS["eyes"]
    vectors = jax.jit(partial(blendshapes.vectors, window))(params, crops)
    assert vectors.shape == (len(crops), blendshapes.LENGTH) == (len(crops), 51)
    scores = apply(window, crops=crops)
    np.testing.assert_allclose(SPREAD * vectors, scores[:, 1:], atol=1e-4)


def test_pixels_that_follow_the_gradient_show_the_other_expression(params, crops):
    read = partial(blendshapes.vectors, WINDOWS["eyes"], params)
    wanted = jax.jit(read)(crops)[1]

    @jax.jit
    @jax.value_and_grad
    def distance(crops):
        return 0.5 * ((read(crops) - wanted) ** 2).mean()

    before, gradient = distance(crops[:1])
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    # The face is looked at everywhere but in the corners of the crop.
    moved = np.abs(gradient)[0, 64:-64, 64:-64].max((1, 2)) > 0
    assert moved.all()

    step = 0.01 / np.abs(gradient).max()
    after, _ = distance(crops[:1] - step * gradient)
    assert after < before


def test_without_litert_the_error_names_the_extra(monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.schema_py_generated"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(InputError, match=r"needs LiteRT.*pip install 'faceswap-jax\[faces\]'"):
        blendshapes.load_for("eyes")
