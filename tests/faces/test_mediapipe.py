"""MediaPipe's networks on rendered faces."""

import contextlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import numpy as np
import pytest

from data_pipelines.puppets.anatomy import build
from data_pipelines.puppets.camera import Camera
from data_pipelines.puppets.parameters import Performance, Scene, sample_persona
from data_pipelines.puppets.renderer import render
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, mediapipe
from faceswap_jax.faces.ahead import mapped
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.ibug import LEFT_EYE, RIGHT_EYE
from faceswap_jax.faces.landmarks import open_landmarker
from tests.support.face_scenes import similarity
from tests.support.mirroring import mirror_landmarks


def test_each_landmark_is_of_the_mesh():
    assert mediapipe.MEDIAPIPE_TO_IBUG.shape == (68, 2) and mediapipe.MEDIAPIPE_TO_IBUG.max() < 468


@pytest.mark.parametrize("missing", ["mediapipe", "ai_edge_litert"])
def test_without_the_networks_the_error_names_the_extra(tmp_path, monkeypatch, missing):
    for name in {missing, *(name for name in sys.modules if name.startswith(f"{missing}."))}:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(InputError, match=r"faceswap-jax\[faces\]"):
        open_landmarker(tmp_path / "a.mp4")


@pytest.fixture(scope="module")
def single():
    """Landmarks by one pass."""
    landmarker = mediapipe.MediaPipeLandmarker(0)
    yield landmarker
    landmarker.close()


@pytest.fixture(scope="module")
def networks():
    """Those of one thread."""
    return mediapipe._Networks(0)


@pytest.fixture(scope="module")
def ninefold():
    """Landmarks by nine windows."""
    landmarker = mediapipe.MediaPipeLandmarker()
    yield landmarker
    landmarker.close()


def puppet(persona: int, size: int = 256, **performance: float):
    """A rendered face, seen from the front unless told otherwise, and its landmarks."""
    scene = Scene(light_azimuth=0, background_pattern=0)
    return render(sample_persona(0, persona), Performance(**performance), scene, size)


def backdrop(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Soft and sharp blobs."""
    rng = np.random.default_rng(seed)
    waves = [
        cv2.resize(rng.normal(0, 30, (cells, cells, 3)), (192, 192), interpolation=cv2.INTER_CUBIC)
        for cells in (4, 16, 64)
    ]
    picture = np.clip(128 + sum(waves), 0, 255).astype(np.uint8)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)


def put(scene: np.ndarray, persona: int, side: int, x: int, y: int) -> np.ndarray:
    """Draws a puppet, whose face fills half of the side, into a scene; its landmarks there."""
    frame = puppet(persona, side)
    scene[y : y + side, x : x + side] = frame.image
    return frame.landmarks + np.float32([x, y])


def error(face: Face, truth: np.ndarray) -> float:
    """Mean distance from the truth as a share of the face's height."""
    return np.linalg.norm(face.landmarks - truth, axis=1).mean() / np.ptp(truth[:, 1])


@pytest.mark.parametrize("persona", [0, 3, 4])
def test_landmarks_and_irises_of_puppets(single, ninefold, persona):
    frame = puppet(persona, 320)
    one, nine = (landmarker(frame.image, 0) for landmarker in (single, ninefold))
    assert len(one) == len(nine) == 1
    # The puppets are no people: the network's idea of their jaws and brows differs.
    assert error(one[0], frame.landmarks) < 0.08 and error(nine[0], frame.landmarks) < 0.08
    assert error(one[0], nine[0].landmarks) < 0.01
    assert one[0].confidence == nine[0].confidence > 0.5
    for face in one + nine:
        assert face.landmarks.dtype == face.irises.dtype == np.float32
        right, left = face.irises
        assert right[0] < left[0], "the person's right is at the picture's left"
        for iris, eye in ((right, RIGHT_EYE), (left, LEFT_EYE)):
            corners = face.landmarks[[eye[0], eye[3]]]
            assert np.linalg.norm(iris - corners.mean(0)) < 0.25 * np.linalg.norm(
                corners[1] - corners[0]
            )


def test_irises_follow_the_gaze(single):
    errors, idle = [], []
    for persona in (2, 3, 4, 6):
        for gaze in (-0.7, 0.0, 0.7):
            frame = puppet(persona, 320, gaze_x=gaze, lid_left=0.9, lid_right=0.9)
            anatomy = build(frame.persona, frame.performance)
            radii = np.array([[eye.radius] for eye in anatomy.eyes])
            points = anatomy.pose.to_world(anatomy.ball_centres + radii * anatomy.gaze())
            truth = Camera(320, frame.scene.camera_scale).project(points)
            (face,) = single(frame.image, 0)
            eyes = np.array([face.landmarks[eye].mean(0) for eye in (RIGHT_EYE, LEFT_EYE)])
            distance = np.linalg.norm(truth[1] - truth[0])
            errors.append(np.linalg.norm(face.irises - truth, axis=1) / distance)
            idle.append(np.linalg.norm(eyes - truth, axis=1) / distance)
    assert np.mean(errors) < 0.026 and np.mean(errors) < 0.4 * np.mean(idle)


def test_mirrored_picture_gives_mirrored_landmarks(ninefold):
    image = puppet(3, 300, yaw=12, roll=8, gaze_x=0.5).image
    (face,), (mirrored,) = ninefold(image, 0), ninefold(image[:, ::-1], 0)
    assert error(mirrored, mirror_landmarks(face.landmarks, 300)) < 0.02
    irises = np.array([299, 0]) + face.irises[::-1] * [-1, 1]
    assert np.abs(mirrored.irises - irises).max() < 0.04 * np.linalg.norm(irises[1] - irises[0])


@pytest.mark.parametrize(
    ("scale", "degrees", "x", "y"),
    [(1, 0, 60.5, 30.25), (3.7, 0, 0, 0), (0.4, 0, 20, 70), (1.3, 35, 200, -40)],
)
def test_landmarks_follow_the_picture(ninefold, scale, degrees, x, y):
    """Shifted, enlarged, reduced, tilted: the same points of the face."""
    frame = puppet(4, 256)
    transform = similarity(scale, degrees, x, y)
    side = int(256 * max(1, scale) + max(x, y))
    image = align.warp(frame.image, transform, side, side)
    (face,), (moved,) = ninefold(frame.image, 0), ninefold(image, 0)
    assert error(moved, align.transform_points(face.landmarks, transform)) < 0.02


@pytest.mark.parametrize("degrees", range(0, 360, 45))
def test_a_face_is_found_whichever_way_up(single, degrees):
    """A detector takes the chin of a face that is upside down for a forehead."""
    frame = puppet(4, 256)
    linear = similarity(1, degrees, 0, 0)
    transform = similarity(1, degrees, *(192 - linear[:, :2] @ [128, 128]))
    (face,) = single(align.warp(frame.image, transform, 384, 384), 0)
    expected = align.transform_points(frame.landmarks, transform)
    # The height of the upright face
    distance = np.linalg.norm(face.landmarks - expected, axis=1).mean()
    assert distance < 0.06 * np.ptp(frame.landmarks[:, 1])


def test_nine_windows_steady_the_landmarks(single, ninefold):
    image, rng = puppet(4, 256).image, np.random.default_rng(0)
    noisy = [
        np.clip(image + rng.normal(0, 5, image.shape), 0, 255).astype(np.uint8) for _ in range(12)
    ]
    one, nine = (
        np.std([landmarker(picture, 0)[0].landmarks for picture in noisy], axis=0).mean()
        for landmarker in (single, ninefold)
    )
    assert nine < 0.85 * one


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(1080, 720, 200), (1080, 720, 150), (1080, 1920, 150), (540, 960, 100), (2160, 3840, 320)],
)
def test_small_faces(single, height, width, side):
    """Faces of half of `side`: seven to ten percent of the frame's height."""
    for persona, (x, y) in ((3, (width // 3, height // 4)), (4, (width - side, height - side))):
        scene = backdrop(height, width, seed=persona)
        truth = put(scene, persona, side, x, y)
        (face,) = single(scene, 0)
        assert error(face, truth) < 0.12


def test_many_faces_once_each_and_the_largest_first(single):
    scene = backdrop(720, 960)
    truths = [
        put(scene, persona, side, x, y)
        for persona, side, x, y in (
            (3, 280, 20, 400),
            (4, 400, 560, 60),
            (0, 320, 200, 0),
            (4, 260, 330, 420),
        )
    ]
    faces = single(scene, 0)
    sides = [np.ptp(face.landmarks, 0).max() for face in faces]
    assert len(faces) == 4 and sides == sorted(sides, reverse=True)
    for truth in truths:
        assert sum(error(face, truth) < 0.12 for face in faces) == 1


def test_small_faces_where_searched_parts_overlap_are_found_once(single, networks):
    """Too small for the detectors at first sight; two parts show the one in the middle, one each of the others."""
    scene = backdrop(1080, 1920)
    truths = [
        put(scene, persona, 130, x, y)
        for persona, x, y in ((3, 610, 400), (4, 1190, 480), (3, 100, 800))
    ]
    assert all(
        len(net(*mediapipe.Pyramid(scene).reduced(net.side))) == 0
        for net in (networks._short_range, networks._full_range)
    )
    faces = single(scene, 0)
    assert len(faces) == 3
    for truth in truths:
        assert sum(error(face, truth) < 0.15 for face in faces) == 1


@pytest.mark.parametrize(
    ("height", "width"),
    [(240, 320), (97, 33), (1, 1), (1, 700), (600, 2), (480, 480), (1080, 720), (200, 1900)],
)
def test_no_face_in_noise(single, height, width):
    rng = np.random.default_rng(0)
    assert single(rng.integers(0, 256, (height, width, 3), np.uint8), 0) == []
    assert single(np.full((height, width, 3), 128, np.uint8), 0) == []


@pytest.mark.parametrize("length", [1, 33, 192, 193, 270, 336, 337, 480])
def test_searched_parts_cover_the_frame(length):
    starts = mediapipe._spread(length, 192)
    assert starts[0] == 0 and starts[-1] == max(0, length - 192) and len(starts) <= 3
    assert (np.diff(starts) <= 0.75 * 192).all()


def test_same_landmarks_from_any_memory_layout_and_in_any_order(single):
    images = [puppet(persona, 200).image for persona in (3, 4)]
    first = [single(image, 0)[0] for image in images]
    again = [single(np.asfortranarray(image), 0)[0] for image in reversed(images)]
    for one, other in zip(first, reversed(again), strict=True):
        assert np.array_equal(one.landmarks, other.landmarks) and np.array_equal(
            one.irises, other.irises
        )


def test_several_threads_find_the_same_as_one(single):
    images = [puppet(persona, 200).image for persona in (0, 1, 3, 4)] * 3
    alone = [single(image, 0)[0] for image in images]
    together = mapped(lambda image: single(image, 0)[0], images)
    for one, other in zip(alone, together, strict=True):
        assert np.array_equal(one.landmarks, other.landmarks)


def test_networks_run_as_in_mediapipe(networks):
    """The detectors' boxes and the mesh equal those of MediaPipe's own graphs."""
    pytest.importorskip("mediapipe.python.solution_base")
    with own_graphs() as (short_range, full_range, mesh):
        # MediaPipe leaves out what the full-range detector is less sure of.
        detectors = (
            (short_range, networks._short_range, 0.5),
            (full_range, networks._full_range, 0.6),
        )
        for persona in (0, 1, 3, 4):
            pyramid = mediapipe.Pyramid(puppet(persona, 384, yaw=5 * persona).image)
            for theirs, detector, sure in detectors:
                picture, _ = pyramid.reduced(detector.side)
                found = detector(picture, np.ones(2))
                (box,) = mediapipe._merge(found[found[:, 8] >= sure])
                np.testing.assert_allclose(box, theirs(picture), atol=0.02)
            window = pyramid.crop(
                np.array([[1.6, 0, 40], [0, 1.6, 70.0]]), mediapipe.MESH_RESOLUTION
            )
            ours, presence = networks._mesh(window / np.float32(255))
            assert presence.item() > 0
            np.testing.assert_allclose(ours.reshape(-1, 3)[:, :2], mesh(window), atol=0.02)
        empty = backdrop(192, 192)
        assert mesh(empty) is None and networks._mesh(empty / np.float32(255))[1].item() < 0


@contextlib.contextmanager
def own_graphs():
    """MediaPipe's detectors, as functions from a picture to centre, size, eyes and score in pixels, and its mesh."""
    from mediapipe.framework.calculator_pb2 import CalculatorGraphConfig
    from mediapipe.framework.formats.rect_pb2 import NormalizedRect
    from mediapipe.python.solution_base import PacketDataType, SolutionBase
    from mediapipe.python.solutions.face_detection import FaceDetection

    config = CalculatorGraphConfig(
        input_stream=["image", "roi"],
        input_side_packet=["with_attention"],
        output_stream=["landmarks"],
    )
    config.node.add(
        calculator="FaceLandmarkCpu",
        input_stream=["IMAGE:image", "ROI:roi"],
        input_side_packet=["WITH_ATTENTION:with_attention"],
        output_stream=["LANDMARKS:landmarks"],
    )
    types = {
        "image": PacketDataType.IMAGE_FRAME,
        "roi": PacketDataType.PROTO,
        "landmarks": PacketDataType.PROTO,
    }
    whole = NormalizedRect(x_center=0.5, y_center=0.5, width=1, height=1)

    def detect(graph, picture):
        (detection,) = graph.process(picture).detections
        box, eyes = (
            detection.location_data.relative_bounding_box,
            detection.location_data.relative_keypoints[:2],
        )
        points = [box.xmin + box.width / 2, box.ymin + box.height / 2, box.width, box.height]
        points += [value for eye in eyes for value in (eye.x, eye.y)]
        return [*(np.array(points) * len(picture)), detection.score[0]]

    def locate(graph, picture):
        found = graph.process({"image": np.ascontiguousarray(picture), "roi": whole}).landmarks
        return found and np.array([(point.x, point.y) for point in found.landmark]) * len(picture)

    with contextlib.ExitStack() as stack:
        detectors = [stack.enter_context(FaceDetection(model_selection=model)) for model in (0, 1)]
        mesh = stack.enter_context(
            SolutionBase(
                graph_config=config,
                side_inputs={"with_attention": False},
                outputs=["landmarks"],
                stream_type_hints=types,
            )
        )
        yield *(partial(detect, graph) for graph in detectors), partial(locate, mesh)


def test_another_process_agrees_and_is_silent(tmp_path, ninefold):
    code = """
import sys
import numpy as np
from pathlib import Path
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
landmarker = open_landmarker(Path("a.mp4"))
assert isinstance(landmarker, MediaPipeLandmarker)
assert "mediapipe" not in sys.modules and "jax" not in sys.modules
(face,) = landmarker(np.load("image.npy"), 0)
np.save("points.npy", np.concatenate([face.landmarks, face.irises]))
landmarker.close()
print("a real complaint", file=sys.stderr)
"""
    image = puppet(3).image
    np.save(tmp_path / "image.npy", image)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == ["a real complaint"]
    (face,) = ninefold(image, 0)
    assert np.array_equal(
        np.load(tmp_path / "points.npy"), np.concatenate([face.landmarks, face.irises])
    )


def test_threads_keep_their_stderr(capfd):
    def load(_):
        with mediapipe.without_chatter():
            os.write(2, b"INFO: chatter\n")
            time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(load, range(32)))
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def test_other_lines_and_errors_pass_the_filter(capfd):
    with pytest.raises(ZeroDivisionError), mediapipe.without_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"ERROR: no memory left\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "ERROR: no memory left\n"
