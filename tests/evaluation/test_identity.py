"""Retrieval of personas, and embeddings of puppets' faces."""

from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from data_pipelines.puppets.tracks import render_frame
from faceswap_jax.evaluation.identity import (
    InceptionViews,
    IResNetEmbedder,
    cosine,
    distances,
    embed_frames,
    feature_distance,
    retrieved,
    template,
)
from faceswap_jax.faces.align import alignment_transform, crop, cut_face, transform_points
from faceswap_jax.faces.embedding import DlibEmbedder, SFaceEmbedder
from faceswap_jax.losses.distributions import kernel_distance
from faceswap_jax.models import iresnet
from faceswap_jax.pretrained import embedder as embedders
from faceswap_jax.pretrained import set_features
from tests.support.face_scenes import similarity
from tests.support.frozen import write_inception

SIZE, PUPPETS, FRAMES = 192, 4, range(0, 60, 12)


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    personas = rng.uniform(-3, 5, (20, 9))
    errors = rng.uniform(0.1, 1, 9)
    return rng, personas, errors


def test_sets_of_faces_are_as_far_apart_as_their_features():
    """Of 40 directions about one, others about it, and some about another; frames without a face do not count."""
    rng = np.random.default_rng(0)
    middle, other = np.eye(8, dtype=np.float32)[:2]

    def about(direction):
        faces = direction + rng.normal(0, 0.2, (40, 8)).astype(np.float32)
        return faces / np.linalg.norm(faces, axis=1, keepdims=True)

    real, alike, unlike = about(middle), about(middle), about(other)
    assert abs(feature_distance(alike, real)) < 0.05 * feature_distance(unlike, real)
    missing = np.full((3, 8), np.nan, np.float32)
    with_missing = np.concatenate([unlike, missing])
    assert feature_distance(with_missing, real) == feature_distance(unlike, real)
    assert np.isnan(feature_distance(missing, real))


def test_distances_by_definition(world):
    rng, personas, errors = world
    readings = rng.normal(size=(4, 9))
    result = distances(readings, personas, errors)
    for i, reading in enumerate(readings):
        for j, persona in enumerate(personas):
            parts = [((r - p) / e) ** 2 for r, p, e in zip(reading, persona, errors, strict=True)]
            assert result[i, j] == pytest.approx((sum(parts) / 9) ** 0.5, rel=1e-5)


def test_retrieval_with_the_oracle_s_errors(world):
    """Errors of the given size leave a distance of 1 and no doubt; a parameter that is hardly read hardly counts."""
    rng, personas, errors = world
    truth = rng.integers(20, size=500)
    readings = personas[truth] + rng.normal(size=(500, 9)) * errors
    distance = distances(readings, personas, errors)
    assert distance[np.arange(500), truth].mean() == pytest.approx(1, abs=0.05)
    assert retrieved(distance, truth).mean() > 0.99
    assert retrieved(distance, (truth + 1) % 20).mean() < 0.01
    readings[:, 0] += rng.normal(size=500) * 50
    assert retrieved(distances(readings, personas, errors), truth).mean() < 0.7
    errors[0] = 50
    assert retrieved(distances(readings, personas, errors), truth).mean() > 0.95


def test_retrieval_by_chance(world):
    rng, personas, errors = world
    readings = rng.uniform(-3, 5, (4000, 9))
    assert retrieved(
        distances(readings, personas, errors), rng.integers(20, size=4000)
    ).mean() == pytest.approx(1 / 20, abs=0.02)
    assert retrieved(np.array([[3.0, 1, 2], [0, 1, 2]]), 1).tolist() == [1, 0]


@pytest.fixture(scope="module", params=[DlibEmbedder, SFaceEmbedder])
def embedder(request):
    return request.param()


@pytest.fixture(scope="module")
def puppets():
    """Frames and landmarks of some puppets [puppet, frame, ...]."""
    rendered = [[render_frame(3, p, 0, frame, SIZE) for frame in FRAMES] for p in range(PUPPETS)]
    return (
        np.array([[frame.image for frame in track] for track in rendered]),
        np.array([[frame.landmarks for frame in track] for track in rendered]),
    )


@pytest.fixture(scope="module")
def embeddings(embedder, puppets):
    return np.stack([embed_frames(embedder, *track) for track in zip(*puppets, strict=True)])


def test_embeddings_tell_puppets_apart(embeddings):
    """Every frame is nearer to the mean of its own puppet's other frames than to any other puppet's mean, mostly."""
    assert embeddings.shape == (PUPPETS, len(FRAMES), 128) and embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=-1), 1, atol=1e-5)
    means = np.stack([template(e) for e in embeddings])
    hits, own, others = [], [], []
    for p, track in enumerate(embeddings):
        for i in range(len(track)):
            rest = template(np.delete(track, i, axis=0))
            values = (
                cosine(track[i][None], rest)[0],
                *(cosine(track[i][None], means[q])[0] for q in range(PUPPETS)),
            )
            hits.append(max(values[1 + q] for q in range(PUPPETS) if q != p) < values[0])
            own.append(values[0])
            others += [values[1 + q] for q in range(PUPPETS) if q != p]
    print(
        f"cosine with the own puppet {np.mean(own):.3f}, with another {np.mean(others):.3f}; nearest {np.mean(hits)}"
    )
    assert np.mean(hits) >= 0.9
    assert np.mean(own) > np.mean(others) + 0.02


def test_the_face_s_place_size_and_tilt_hardly_matter(embedder, puppets, embeddings):
    image, points = puppets[0][0, 0], puppets[1][0, 0]
    transform = similarity(1.4, 25, 90, -60)
    moved = cv2.warpAffine(
        image, transform, (400, 360), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    result = embedder(moved, transform_points(points, transform))
    assert cosine(result[None], embeddings[0, 0])[0] > 0.99


def test_a_frame_without_a_face(embedder, puppets):
    images, points = puppets[0][0, :2], puppets[1][0, :2].copy()
    points[0] = np.nan
    result = embed_frames(embedder, images, points)
    assert np.isnan(result[0]).all() and np.isfinite(result[1]).all()
    np.testing.assert_allclose(template(result), result[1], atol=1e-6)
    assert np.isnan(cosine(result, result[1])).tolist() == [True, False]


def test_sets_of_faces_as_inception_sees_them_are_compared_by_kid(puppets, tmp_path):
    write_inception(tmp_path / "inception.npz")
    views = InceptionViews(tmp_path / "inception.npz")
    seen = [
        embed_frames(views, images[:2], points[:2]) for images, points in zip(*puppets, strict=True)
    ]
    assert seen[0].shape == (2, views.size) == (2, 128)

    shape, weights = set_features.load_for(str(tmp_path / "inception.npz"), "stable")
    features = []
    for images, points in zip(*puppets, strict=True):
        pairs = zip(images[:2], points[:2], strict=True)
        crops = np.stack([cut_face(*face, shape.side, "stable") for face in pairs])
        features.append(set_features.vectors(shape, weights, crops / np.float32(255)))
    expected = kernel_distance(features[0], features[1])
    assert feature_distance(seen[0], seen[1]) == pytest.approx(expected, rel=1e-3)


@pytest.fixture
def network(monkeypatch):
    """A small network with random weights, which every path leads to."""
    config = iresnet.IResNetConfig((1, 1), (8, 8), stem=8, embedding=16, side=32)

    @jax.jit
    def used():
        params, statistics = iresnet.init(config, jax.random.key(0))
        x = jax.random.uniform(jax.random.key(1), (8, 32, 32, 3))
        return params, iresnet.apply(config, params, statistics, x, train=True)[1]

    loaded = embedders.Embedder(config, *used())
    monkeypatch.setattr(embedders, "load", lambda path: loaded)
    return loaded


def test_an_iresnet_in_place_of_dlib(network, puppets):
    """It sees the aligned face, wherever it is in the frame, and no frame without one."""
    images, points = puppets[0][0, :3], puppets[1][0, :3].copy()
    points[1] = np.nan
    embed = IResNetEmbedder(Path("any"))
    result = embed_frames(embed, images, points)
    assert result.shape == (3, 16) and result.dtype == np.float32
    assert np.isnan(result[1]).all() and np.isfinite(result[[0, 2]]).all()
    np.testing.assert_allclose(np.linalg.norm(result[[0, 2]], axis=1), 1, rtol=1e-5)
    for i in (0, 2):
        aligned = crop(images[i], alignment_transform(points[i], 128, "eyes"), 128)[
            None
        ] / np.float32(255)
        expected = embedders.embed(network.config, network.params, network.statistics, aligned)[0]
        assert cosine(result[i : i + 1], np.asarray(expected))[0] > 0.999
    assert cosine(result[:1], result[2])[0] < 0.999
    transform = similarity(1.4, 25, 90, -60)
    moved = cv2.warpAffine(
        images[0], transform, (400, 360), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    embedded = embed(moved, transform_points(points[0], transform))
    assert cosine(embedded[None], result[0])[0] > 0.999


def test_templates_are_mean_directions():
    directions = np.float32([[1, 0, 0], [0, 1, 0]])
    np.testing.assert_allclose(template(directions), np.sqrt([0.5, 0.5, 0]))
    np.testing.assert_allclose(cosine(directions, np.float32([0.6, 0, 0.8])), [0.6, 0])
